/* SPDX-License-Identifier: Apache-2.0 */
/* A program outside of this project, in what C17 and C++17 have in common: every header, and a client from start to end. */
#include <errno.h>
#include <iotjobs/client.h>
#include <iotjobs/iotjobs.h>
#include <iotjobs/jobs.h>
#include <iotjobs/mosquitto.h>
#include <iotjobs/topic.h>
#include <iotjobs/types.h>
#include <stdio.h>
#include <string.h>

#ifdef WITH_SD_EVENT
#include <iotjobs/sd-event.h>
#endif

/* Names that the library has inside: a static one must not take them away from a program. */
void buf_append(void);
void log_full(void);
void transport_new(void);
void buf_append(void) {
}
void log_full(void) {
}
void transport_new(void) {
}

static void on_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        (void) c;
        (void) m;
        (void) userdata;
}

static int use_client(void) {
        IotJobsOptions o = iotjobs_options_default("outside", "lamp");
        IotJobsClient *c = NULL;
        IotJobsError e;
        int r;

        memset(&e, 0, sizeof e);
        r = iotjobs_client_new(&o, &c, &e);
        if (r < 0)
                return r;
        r = iotjobs_client_subscribe_all(c, on_message, NULL, &e);
        if (r == 0)
                r = iotjobs_client_start_thread(c, &e);
        if (r == 0)
                r = iotjobs_client_configure_endpoint(c, "127.0.0.1", 1, &e);
        if (r == 0)
                r = iotjobs_client_configure_plaintext(c, true, &e);
        if (r == 0) /* port 1: nobody is there, and the whole way to find out is linked */
                r = iotjobs_client_connect(c, &e) == -ECONNREFUSED ? 0 : -EIO;
        iotjobs_client_free(c);
        return r;
}

int main(void) {
        IotJobsTopic t = iotjobs_topic_parse("$aws/things/lamp/jobs/j1/get/accepted", "lamp");

        buf_append();
        log_full();
        transport_new();
        if (strcmp(iotjobs_version(), IOTJOBS_VERSION) != 0 || t.type != IOTJOBS_TOPIC_DESCRIBE || use_client() < 0)
                return 1;
        (void) printf("%s\n", iotjobs_version());
        return 0;
}
