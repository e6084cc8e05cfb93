/* SPDX-License-Identifier: Apache-2.0 */
/* libiotjobs on a libmosquitto handle that the caller owns and drives. The library sets no callback on it, never connects,
 * disconnects or destroys it; it only calls mosquitto_publish(), mosquitto_subscribe_multiple() and mosquitto_unsubscribe().
 * The caller forwards its own callbacks below, from the thread they come in; each returns true if the event was the library's.
 * Messages are handed to the job handlers by the client's driver (thread, poll loop or sd-event), not inside the forwarding
 * call. The handle must outlive the client.
 *
 * Blocking calls need the handle to be driven by another thread (mosquitto_loop_start()): where the calling thread itself drives
 * it they end with -ETIMEDOUT; use the ..._async ones there. A handle that several threads use, the client's among them, must be
 * one that libmosquitto knows to be so (mosquitto_loop_start() or mosquitto_threaded_set()). iotjobs_client_free() may not be
 * called from inside a callback of libmosquitto. Forward on_publish for QoS 0 as well: iotjobs_client_flush() counts them.
 * With a handle of MQTT 5 forward the reason codes as they come.
 *
 * With TLS a loop of your own around mosquitto_loop() and mosquitto_reconnect() is safer than mosquitto_loop_start(): up to
 * libmosquitto 2.0.21 the thread of the latter ends for good, without a word, when a connection is cut without close_notify. */
#ifndef IOTJOBS_MOSQUITTO_H
#define IOTJOBS_MOSQUITTO_H

#include <iotjobs/client.h>

IOTJOBS_BEGIN

struct mosquitto;
struct mosquitto_message;

/* options: client_id is only the token of v1 mode (NULL = no token there); protocol, websocket and clean_session are not looked
 * at. `connected`: is the handle connected now? */
int iotjobs_client_new_on_mosquitto(const IotJobsOptions *options, struct mosquitto *handle, bool connected,
                                    IotJobsClient **ret, IotJobsError *e) IOTJOBS_MUST_USE;

/* rc 0: subscriptions are made again and the client goes online. */
bool iotjobs_client_on_connect(IotJobsClient *c, int rc);
bool iotjobs_client_on_disconnect(IotJobsClient *c, int rc);
/* true: the topic is one of the thing's Jobs topics and some subscription made here takes it. */
bool iotjobs_client_on_message(IotJobsClient *c, const struct mosquitto_message *message);
bool iotjobs_client_on_subscribe(IotJobsClient *c, int mid, int qos_count, const int *granted_qos);
bool iotjobs_client_on_publish(IotJobsClient *c, int mid);

IOTJOBS_END
#endif
