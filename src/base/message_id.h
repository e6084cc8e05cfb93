/* SPDX-License-Identifier: Apache-2.0 */
/* MESSAGE_ID of each kind of event, in one place. Stable: operators filter by them. Names and numbers only. */
#pragma once

#define MESSAGE_ID_AGENT_STARTED          "5b4eb53a827a4f908adc9d91a4571270" /* agent started */
#define MESSAGE_ID_AGENT_STOPPED          "ed49c1c22d794d9b90bf154111db94a7" /* agent stopped */
#define MESSAGE_ID_ONLINE                 "362472b06c244564a8d385fcc60a5387" /* connected, every subscription granted */
#define MESSAGE_ID_OFFLINE                "33f06301e226435a8b29e476813fb0e3" /* connection lost or refused */
#define MESSAGE_ID_SUBSCRIPTION_REFUSED   "6c5b86a581744cf0afad8a0ae98d996d" /* a SUBACK refused a filter */
#define MESSAGE_ID_POLICY_LACKS           "a45266dcecc44d79b73674c06f983d5c" /* a right is probably missing in the IoT policy */
#define MESSAGE_ID_CONFIG_RELOADED        "91a33d6bb7cc4b68915a9e1e17c53aa6" /* configuration and certificates read again */
#define MESSAGE_ID_CONFIG_BAD             "676834a8adb847e2aabfef4edd089bfc" /* a configuration problem */
#define MESSAGE_ID_CERTIFICATE_EXPIRES    "6f0700aba6d34d9c8386629c9a2975f2" /* a certificate is near its end */
#define MESSAGE_ID_MESSAGE_DROPPED        "30c6dac633ff477bb3e45436b18cfbe2" /* a message could not be used */
#define MESSAGE_ID_PAUSED                 "8db8c930b11d4ce9b95e974fc6a689d9" /* the operator paused: nothing new starts */
#define MESSAGE_ID_RESUMED                "6638bc542f2941f99be57304e89f3f4c" /* and goes on */
#define MESSAGE_ID_JOB_RECEIVED           "baa9df19dd4f417eb9fe033f5d38bb9e" /* an execution became known */
#define MESSAGE_ID_JOB_CLAIMED            "f5a1f46cb7a64141a626d29e2e42d62f" /* the cloud accepted IN_PROGRESS */
#define MESSAGE_ID_JOB_STARTED            "7f0b35ced7f34adaaedc207dda056071" /* a step's handler was started */
#define MESSAGE_ID_JOB_STEP_ENDED         "4220dbc4eeb3446d8c51ca35f7eaf777" /* a step ended */
#define MESSAGE_ID_JOB_FINISHED           "af86f443cc314f28a745323949a99c9e" /* the verdict, durable */
#define MESSAGE_ID_JOB_REPORTED           "f178013f75414ebe91123a1b03b05f7f" /* the cloud accepted the final status */
#define MESSAGE_ID_JOB_REPORT_REFUSED     "5ea777e683d249dd9c8e5ba1859eaef8" /* the cloud refuses the final status, even alone */
#define MESSAGE_ID_JOB_REJECTED           "22b022f136c14de1a529b215ee7fb04d" /* the document or handler was refused */
#define MESSAGE_ID_JOB_UNABLE             "f5dc6f5b6a6f4777bd1b98eaec66a55b" /* cannot run now, will try again */
#define MESSAGE_ID_JOB_CANCELLED          "4adc879f566640e382ae90d6dadb9c52" /* cancelled, timed out or deleted in the cloud */
#define MESSAGE_ID_JOB_INTERRUPTED        "07c9f98b5bd84f92b832ec86afbae991" /* a run was cut off */
#define MESSAGE_ID_JOB_DEFERRED           "74f3b050407d4ca79514aec8d495e42c" /* a step is to be tried again later */
#define MESSAGE_ID_JOB_REBOOTING          "0df24451a33248769cee1c01d4d7932e" /* a step asked for a reboot; it comes; it came */
#define MESSAGE_ID_JOB_ORPHANED           "6377bbf60f1a4f92af523fb86f742311" /* in progress in the cloud, no record here */
#define MESSAGE_ID_JOB_FOREIGN            "8af69b455be24a9bbebc2f194bbdbe89" /* claimed by another device */
#define MESSAGE_ID_RUNNER_LOST            "16bb9f274df74294b9920522f2210019" /* the runner went away */
#define MESSAGE_ID_RECORD_BAD             "cdafa9f81a8f476d95dbe9030a568fca" /* a record could not be read or written */
#define MESSAGE_ID_HANDLER_OUTPUT         "84ebb1b192724dbfb2733f7df243869f" /* a line of a handler */
#define MESSAGE_ID_OUTPUT_DROPPED         "68b2564558fc42daa1d23656ca63b99b" /* handler lines dropped */
