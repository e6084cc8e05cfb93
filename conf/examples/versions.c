/* SPDX-License-Identifier: Apache-2.0 */
/* Example 3: describe a job, then carry out the next one with optimistic locking: each update names the version of the execution
 * it expects, so that nobody's change is overwritten unseen.
 *
 * Driven by the library's own thread; the work is done in the main thread, which may therefore wait for replies and sleep.
 *
 * As in the third example of the AWS IoT Device SDK v1 for Python, which does not work as printed. Here the version comes from the
 * service's reply (includeJobExecutionState) and is not counted by hand; a reply belongs to a request by its token; all values
 * of statusDetails are strings, as the service asks; rejections are heard of for every kind of request.
 *
 *   cc versions.c example.c $(pkg-config --cflags --libs iotjobs) -o versions */
#include "example.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_SEC = 10, WORK_MSEC = 500 };

/* What the callbacks (library's thread) leave for the main thread. */
typedef struct Inbox {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool started; /* a job was started: */
        char job_id[IOTJOBS_JOB_ID_MAX];
        int64_t execution_number;
        int64_t version;
        char awaited[IOTJOBS_TOKEN_MAX]; /* token of the request whose reply is waited for; "" = none */
        bool accepted, rejected;         /* that reply is here */
} Inbox;

static Inbox inbox = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* ---- in the library's thread ---- */

static void keep(const IotJobsMessage *m) {
        bool awaited = m->client_token && inbox.awaited[0] && strcmp(m->client_token, inbox.awaited) == 0;

        if (m->type == IOTJOBS_TOPIC_START_NEXT && m->execution) {
                inbox.started = true;
                (void) snprintf(inbox.job_id, sizeof inbox.job_id, "%s", m->execution->job_id);
                inbox.execution_number = m->execution->execution_number;
                inbox.version = m->execution->version;
        }
        if (m->type == IOTJOBS_TOPIC_UPDATE && awaited) {
                if (m->state)
                        inbox.version = m->state->version;
                inbox.accepted = m->reply == IOTJOBS_REPLY_ACCEPTED;
                inbox.rejected = !inbox.accepted;
        }
}

static void on_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        (void) c;
        (void) userdata;
        (void) printf("Received job message on %s\n", m->topic);
        if (m->fault) {
                (void) printf("It cannot be used: %s\n", m->fault);
                return;
        }
        if (m->execution)
                (void) printf("Job %s accepted - Status: %s, Version: %lld\n", m->execution->job_id,
                              iotjobs_status_name(m->execution->status), (long long) m->execution->version);
        if (m->execution && m->execution->document)
                (void) printf("Document: %.*s\n", (int) m->execution->document_len, m->execution->document);
        if (m->reply == IOTJOBS_REPLY_REJECTED)
                (void) printf("Job operation rejected - Code: %s, Message: %s\n", m->code_text, m->error_message);
        (void) pthread_mutex_lock(&inbox.lock);
        keep(m);
        (void) pthread_cond_broadcast(&inbox.changed);
        (void) pthread_mutex_unlock(&inbox.lock);
}

/* ---- in the main thread ---- */

/* Wait for a job. false: the user wants to end. */
static bool wait_for_job(int signals, char job_id[static IOTJOBS_JOB_ID_MAX], int64_t *ret_number, int64_t *ret_version) {
        bool started = false;

        while (!started) {
                char buffer[256];

                if (read(signals, buffer, sizeof buffer) > 0)
                        return false;
                (void) pthread_mutex_lock(&inbox.lock);
                if (!inbox.started) {
                        struct timespec until;

                        (void) clock_gettime(CLOCK_REALTIME, &until);
                        until.tv_sec++; /* to look at the signals */
                        (void) pthread_cond_timedwait(&inbox.changed, &inbox.lock, &until);
                }
                started = inbox.started;
                inbox.started = false;
                memcpy(job_id, inbox.job_id, IOTJOBS_JOB_ID_MAX);
                *ret_number = inbox.execution_number;
                *ret_version = inbox.version;
                (void) pthread_mutex_unlock(&inbox.lock);
        }
        return true;
}

/* Send, and wait for the service's word. true: accepted, and *version is the new one. */
static bool update(IotJobsClient *c, IotJobsUpdate *p, int64_t *version) {
        IotJobsRequest common = { 0 };
        IotJobsError e = { 0 };
        struct timespec until;
        bool accepted;
        int r = 0;

        p->expected_version = *version;
        p->include_state = true;
        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += REPLY_SEC;
        /* Locked from before the request goes out until its token is known: the reply cannot be missed. */
        (void) pthread_mutex_lock(&inbox.lock);
        inbox.accepted = inbox.rejected = false;
        if (iotjobs_client_send_jobs_update(c, &common, p, &e) < 0)
                (void) printf("Update of %s not sent: %s\n", p->job_id, e.text);
        else {
                memcpy(inbox.awaited, common.used_token, sizeof inbox.awaited);
                while (!inbox.accepted && !inbox.rejected && r == 0)
                        r = pthread_cond_timedwait(&inbox.changed, &inbox.lock, &until);
                if (r == ETIMEDOUT)
                        (void) printf("No reply to the update of %s\n", p->job_id);
        }
        accepted = inbox.accepted;
        if (accepted)
                *version = inbox.version;
        inbox.awaited[0] = '\0';
        (void) pthread_mutex_unlock(&inbox.lock);
        return accepted;
}

static void process(IotJobsClient *c, const char *job_id, int64_t number, int64_t version) {
        static const IotJobsDetail at_work[] = { { "stage", "processing" } }, done[] = { { "result", "completed" } };
        IotJobsUpdate p = { .job_id = job_id, .execution_number = number };
        struct timespec work = { .tv_nsec = WORK_MSEC * 1000000L };

        p.status = IOTJOBS_STATUS_IN_PROGRESS;
        p.details = at_work;
        p.n_details = 1;
        if (!update(c, &p, &version))
                return;
        (void) nanosleep(&work, NULL);
        p.status = IOTJOBS_STATUS_SUCCEEDED;
        p.details = done;
        if (update(c, &p, &version))
                (void) printf("Job %s completed with version %lld\n", job_id, (long long) version);
}

static void subscribe(IotJobsClient *c, IotJobsTopicType type, IotJobsReplyType reply) {
        IotJobsError e = { 0 };

        if (iotjobs_client_create_job_subscription(c, on_message, NULL, type, reply, NULL, &e) < 0)
                fail("subscribe", &e);
}

static void start_next(IotJobsClient *c) {
        static const IotJobsDetail details[] = {
                { "device_info", "ready" },
                { "capabilities", "firmware_update,config_change" },
        };
        IotJobsStartNext p = { .details = details, .n_details = 2, .has_step_timeout = true, .step_timeout_minutes = 30 };
        IotJobsError e = { 0 };

        if (iotjobs_client_send_jobs_start_next(c, NULL, &p, &e) < 0)
                fail("start next", &e);
}

int main(int argc, char **argv) {
        Arguments a = arguments_parse(argc, argv);
        int signals = end_signals();
        IotJobsClient *c = client_for(&a, 1);
        char job_id[IOTJOBS_JOB_ID_MAX];
        int64_t number, version;
        IotJobsError e = { 0 };

        if (iotjobs_client_start_thread(c, &e) < 0)
                fail("thread", &e);
        if (iotjobs_client_connect(c, &e) < 0)
                fail("connect", &e);
        subscribe(c, IOTJOBS_TOPIC_START_NEXT, IOTJOBS_REPLY_ACCEPTED);
        subscribe(c, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED);
        subscribe(c, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_REJECTED);
        subscribe(c, IOTJOBS_TOPIC_DESCRIBE, IOTJOBS_REPLY_ACCEPTED);
        subscribe(c, IOTJOBS_TOPIC_DESCRIBE, IOTJOBS_REPLY_REJECTED);
        if (iotjobs_client_send_jobs_describe(c, NULL, a.job, 0, true, &e) < 0)
                fail("describe", &e);
        start_next(c);
        while (wait_for_job(signals, job_id, &number, &version)) {
                process(c, job_id, number, version);
                start_next(c);
        }
        (void) iotjobs_client_free(c);
        return EXIT_SUCCESS;
}
