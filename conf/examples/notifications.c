/* SPDX-License-Identifier: Apache-2.0 */
/* Example 1: hear of jobs as they come and go, and ask for those that are pending now.
 *
 * Driven by the library's own thread: callbacks run there, this program's main thread only waits for its end.
 *
 * As in the first example of the AWS IoT Device SDK v1 for Python. Two things are different on purpose: the answer to the query
 * is subscribed to (AWS IoT sends it anyway, other brokers do not), and nothing is parsed by hand.
 *
 *   cc notifications.c example.c $(pkg-config --cflags --libs iotjobs) -o notifications */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>

static void on_notification(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        (void) c;
        (void) userdata;
        (void) printf("Job notification on %s: %.*s\n", m->topic, (int) m->payload_len, (const char *) m->payload);
        if (m->fault)
                (void) printf("That is no message of the Jobs service: %s\n", m->fault);
        if (m->execution)
                (void) printf("Job %s status: %s\n", m->execution->job_id, iotjobs_status_name(m->execution->status));
        for (size_t i = 0; i < m->n_pending; i++)
                (void) printf("Job %s status: %s\n", m->pending[i].job_id, iotjobs_status_name(m->pending[i].status));
}

static void subscribe(IotJobsClient *c, IotJobsTopicType type, IotJobsReplyType reply) {
        IotJobsError e = { 0 };

        if (iotjobs_client_create_job_subscription(c, on_notification, NULL, type, reply, NULL, &e) < 0)
                fail("subscribe", &e);
}

int main(int argc, char **argv) {
        Arguments a = arguments_parse(argc, argv);
        int signals = end_signals();
        IotJobsClient *c = client_for(&a, 0);
        IotJobsError e = { 0 };

        if (iotjobs_client_start_thread(c, &e) < 0)
                fail("thread", &e);
        if (iotjobs_client_connect(c, &e) < 0)
                fail("connect", &e);
        subscribe(c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST);
        subscribe(c, IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST);
        subscribe(c, IOTJOBS_TOPIC_GET_PENDING, IOTJOBS_REPLY_ACCEPTED);
        if (iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, &e) < 0)
                fail("query", &e);
        (void) printf("Waiting for notifications\n");
        wait_for_end(signals);
        (void) iotjobs_client_free(c); /* says DISCONNECT, too */
        return EXIT_SUCCESS;
}
