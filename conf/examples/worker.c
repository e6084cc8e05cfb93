/* SPDX-License-Identifier: Apache-2.0 */
/* Example 2: carry out jobs one after the other: start the next one, report progress, report its end, and so on.
 *
 * Driven by a poll loop of its own, with no thread of this program or for its callbacks.
 *
 * As in the second example of the AWS IoT Device SDK v1 for Python, which does not work as printed. Here statuses are an enum;
 * replies to updates are subscribed for every job; nothing sleeps in a callback, since nothing else is heard meanwhile: a step
 * of the work is due at a time, like everything else in a poll loop. The next job is started when the service has accepted the
 * end of the former one, or announces one, and a job in hand is found again after a reconnect.
 *
 *   cc worker.c example.c $(pkg-config --cflags --libs iotjobs) -o worker */
#include "example.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 3, STEP_MSEC = 500 };

typedef struct Worker {
        IotJobsClient *client;
        char job_id[IOTJOBS_JOB_ID_MAX]; /* in hand; "" = none */
        int64_t execution_number;
        int steps_done;
        int64_t due;                          /* milliseconds; when the next step is done */
        char last_token[IOTJOBS_TOKEN_MAX]; /* of the final update, while its answer is not there; "" = not at the end yet */
} Worker;

static int64_t now_msec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- requests: none of them waits; while offline they wait in the queue ---- */

static void start_next(Worker *w) {
        static const IotJobsDetail details[] = { { "device", "ready for work" } };
        IotJobsStartNext p = { .details = details, .n_details = 1 };
        IotJobsError e = { 0 };

        (void) printf("Starting next pending job...\n");
        if (iotjobs_client_send_jobs_start_next(w->client, NULL, &p, &e) < 0)
                fail("start next", &e);
}

static void update(Worker *w, IotJobsRequest *common, IotJobsStatus status, const char *key, const char *value) {
        IotJobsDetail detail = { key, value };
        IotJobsUpdate p = {
                .job_id = w->job_id,
                .status = status,
                .details = &detail,
                .n_details = 1,
                .execution_number = w->execution_number,
        };
        IotJobsError e = { 0 };

        if (iotjobs_client_send_jobs_update(w->client, common, &p, &e) < 0)
                fail("update", &e);
}

/* ---- the work ---- */

static void finish(Worker *w) {
        IotJobsRequest common = { 0 };

        update(w, &common, IOTJOBS_STATUS_SUCCEEDED, "result", "job completed successfully");
        memcpy(w->last_token, common.used_token, sizeof w->last_token);
}

static void take(Worker *w, const IotJobsExecution *x) {
        if (strcmp(w->job_id, x->job_id) == 0 && w->execution_number == x->execution_number) {
                if (w->last_token[0]) /* the service still has it in progress: the final update was lost */
                        finish(w);
                return;
        }
        (void) printf("Started job %s\nJob document: %.*s\n", x->job_id, (int) x->document_len, x->document ? x->document : "");
        (void) snprintf(w->job_id, sizeof w->job_id, "%s", x->job_id);
        w->execution_number = x->execution_number;
        w->steps_done = 0;
        w->last_token[0] = '\0';
        w->due = now_msec() + STEP_MSEC;
        update(w, NULL, IOTJOBS_STATUS_IN_PROGRESS, "progress", "starting execution");
}

static void step(Worker *w) {
        char text[64];

        w->steps_done++;
        w->due = now_msec() + STEP_MSEC;
        (void) printf("Completed step %d of job %s\n", w->steps_done, w->job_id);
        (void) snprintf(text, sizeof text, "completed step %d/%d", w->steps_done, STEPS);
        update(w, NULL, IOTJOBS_STATUS_IN_PROGRESS, "progress", text);
        if (w->steps_done == STEPS)
                finish(w);
}

static bool is_working(const Worker *w) {
        return w->job_id[0] && !w->last_token[0];
}

/* ---- what comes ---- */

static void put_away(Worker *w) {
        w->job_id[0] = w->last_token[0] = '\0';
        start_next(w);
}

static void on_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Worker *w = userdata;

        (void) c;
        if (m->fault) {
                (void) printf("Unusable message on %s: %s\n", m->topic, m->fault);
        } else if (m->reply == IOTJOBS_REPLY_REJECTED) {
                (void) printf("Rejected on %s: %s, %s\n", m->topic, m->code_text, m->error_message);
                if (m->type == IOTJOBS_TOPIC_UPDATE && strcmp(m->job_id, w->job_id) == 0)
                        put_away(w); /* cancelled, timed out, deleted: it is not ours any more */
        } else if (m->type == IOTJOBS_TOPIC_START_NEXT) {
                if (m->execution)
                        take(w, m->execution);
                else
                        (void) printf("No job is pending\n");
        } else if (m->type == IOTJOBS_TOPIC_NOTIFY_NEXT) {
                if (m->execution && !w->job_id[0])
                        start_next(w);
        } else if (w->last_token[0] && m->client_token && strcmp(m->client_token, w->last_token) == 0) {
                (void) printf("Job %s completed successfully\n", w->job_id);
                put_away(w);
        }
}

static void on_connection(IotJobsClient *c, const IotJobsConnectionEvent *event, void *userdata) {
        (void) c;
        (void) printf("%s\n", event->text);
        if (event->type == IOTJOBS_CONNECTION_ONLINE)
                start_next(userdata); /* it hands back a job that is in progress, so that it can be sent at any time */
}

static void subscribe(Worker *w, IotJobsTopicType type, IotJobsReplyType reply) {
        IotJobsError e = { 0 };

        /* No job id: of every job. Made at each connect, and before ONLINE is told. */
        if (iotjobs_client_create_job_subscription_async(w->client, NULL, on_message, w, type, reply, NULL, &e) < 0)
                fail("subscribe", &e);
}

static void run(Worker *w, int signals) {
        struct pollfd p[] = {
                { .fd = iotjobs_client_fd(w->client), .events = iotjobs_client_events(w->client) },
                { .fd = signals, .events = POLLIN },
        };

        while (!p[1].revents) {
                int timeout = iotjobs_client_timeout(w->client);

                if (is_working(w)) {
                        int64_t left = w->due - now_msec();

                        if (left <= 0) {
                                step(w);
                                continue;
                        }
                        if (timeout < 0 || timeout > left)
                                timeout = (int) left;
                }
                if (poll(p, 2, timeout) < 0 && errno != EINTR) {
                        perror("poll");
                        return;
                }
                (void) iotjobs_client_dispatch(w->client);
        }
}

int main(int argc, char **argv) {
        Arguments a = arguments_parse(argc, argv);
        int signals = end_signals();
        Worker w = { .client = client_for(&a, 1) };
        IotJobsError e = { 0 };

        iotjobs_client_set_connection_handler(w.client, on_connection, &w);
        subscribe(&w, IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST);
        subscribe(&w, IOTJOBS_TOPIC_START_NEXT, IOTJOBS_REPLY_ACCEPTED);
        subscribe(&w, IOTJOBS_TOPIC_START_NEXT, IOTJOBS_REPLY_REJECTED);
        subscribe(&w, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED);
        subscribe(&w, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_REJECTED);
        if (iotjobs_client_configure_offline_queue(w.client, -1, IOTJOBS_DROP_NEWEST, &e) < 0)
                fail("offline queue", &e);
        if (iotjobs_client_connect_async(w.client, &e) < 0)
                fail("connect", &e);
        run(&w, signals);
        (void) iotjobs_client_free(w.client);
        return EXIT_SUCCESS;
}
