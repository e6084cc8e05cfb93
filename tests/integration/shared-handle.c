/* SPDX-License-Identifier: Apache-2.0 */
/* usage: shared-handle HOST PORT CA CERT KEY THING
 *
 * An application that had an MQTT connection before it had jobs: its own libmosquitto handle, with its own messages below
 * "app/THING/", and libiotjobs on the same handle. Says what comes, line by line; SIGTERM ends it. */
#include <iotjobs/iotjobs.h>
#include <iotjobs/mosquitto.h>
#include <mosquitto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct Application {
        struct mosquitto *mosq;
        IotJobsClient *jobs;
        char hello[256], order[256]; /* topics */
} Application;

_Noreturn static void fail(const char *what, const char *why) {
        (void) fprintf(stderr, "shared-handle: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

/* ---- the application's callbacks; each asks the library first ---- */

static void on_connect(struct mosquitto *m, void *userdata, int rc) {
        Application *a = userdata;

        (void) iotjobs_client_on_connect(a->jobs, rc);
        if (rc == 0)
                (void) mosquitto_subscribe(m, NULL, a->order, 1);
}

static void on_disconnect(struct mosquitto *m, void *userdata, int rc) {
        Application *a = userdata;

        (void) m;
        (void) iotjobs_client_on_disconnect(a->jobs, rc);
}

static void on_message(struct mosquitto *m, void *userdata, const struct mosquitto_message *message) {
        Application *a = userdata;

        if (iotjobs_client_on_message(a->jobs, message))
                return;
        printf("order %.*s\n", message->payloadlen, (const char *) message->payload);
        (void) mosquitto_publish(m, NULL, a->hello, message->payloadlen, message->payload, 1, false);
}

static void on_subscribe(struct mosquitto *m, void *userdata, int mid, int n, const int *granted) {
        Application *a = userdata;

        (void) m;
        if (!iotjobs_client_on_subscribe(a->jobs, mid, n, granted))
                puts("listening for orders");
}

static void on_publish(struct mosquitto *m, void *userdata, int mid) {
        Application *a = userdata;

        (void) m;
        if (!iotjobs_client_on_publish(a->jobs, mid))
                puts("order confirmed");
}

/* ---- jobs ---- */

static void start_next(IotJobsClient *c) {
        IotJobsError e = { 0 };

        if (iotjobs_client_send_jobs_start_next(c, NULL, NULL, &e) < 0)
                (void) fprintf(stderr, "start next: %s\n", e.text);
}

static void on_job_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        IotJobsError e = { 0 };

        (void) userdata;
        if (m->type == IOTJOBS_TOPIC_NOTIFY_NEXT && m->execution) {
                start_next(c);
        } else if (m->type == IOTJOBS_TOPIC_START_NEXT && m->execution) {
                const IotJobsUpdate u = { .job_id = m->execution->job_id, .status = IOTJOBS_STATUS_SUCCEEDED };

                if (iotjobs_client_send_jobs_update(c, NULL, &u, &e) < 0)
                        (void) fprintf(stderr, "update: %s\n", e.text);
        } else if (m->type == IOTJOBS_TOPIC_UPDATE && m->reply == IOTJOBS_REPLY_ACCEPTED) {
                printf("done %s\n", m->job_id);
        }
}

static void on_job_connection(IotJobsClient *c, const IotJobsConnectionEvent *event, void *userdata) {
        (void) userdata;
        if (event->type == IOTJOBS_CONNECTION_ONLINE) {
                puts("online");
                start_next(c);
        } else if (event->type == IOTJOBS_CONNECTION_OFFLINE) {
                puts("offline");
        }
}

static void open_application(Application *a, char **argv) {
        IotJobsOptions options = iotjobs_options_default(NULL, argv[6]);
        IotJobsError e = { 0 };

        options.qos = 1;
        (void) snprintf(a->hello, sizeof a->hello, "app/%s/hello", argv[6]);
        (void) snprintf(a->order, sizeof a->order, "app/%s/order", argv[6]);
        (void) mosquitto_lib_init();
        a->mosq = mosquitto_new(argv[6], true, a);
        if (!a->mosq || mosquitto_tls_set(a->mosq, argv[3], NULL, argv[4], argv[5], NULL) != MOSQ_ERR_SUCCESS)
                fail("handle", "cannot be made");
        mosquitto_connect_callback_set(a->mosq, on_connect);
        mosquitto_disconnect_callback_set(a->mosq, on_disconnect);
        mosquitto_message_callback_set(a->mosq, on_message);
        mosquitto_subscribe_callback_set(a->mosq, on_subscribe);
        mosquitto_publish_callback_set(a->mosq, on_publish);
        (void) mosquitto_threaded_set(a->mosq, true); /* the library's thread publishes on it */
        if (iotjobs_client_new_on_mosquitto(&options, a->mosq, false, &a->jobs, &e) < 0 ||
            iotjobs_client_subscribe_all(a->jobs, on_job_message, a, &e) < 0)
                fail("jobs", e.text);
        iotjobs_client_set_connection_handler(a->jobs, on_job_connection, a);
        if (iotjobs_client_start_thread(a->jobs, &e) < 0)
                fail("thread", e.text);
}

static volatile sig_atomic_t ended;

static void on_signal(int sig) {
        (void) sig;
        ended = 1;
}

/* The owner's own loop: that of mosquitto_loop_start() ends for good when a broker that is killed cuts TLS short. */
static void run(struct mosquitto *m) {
        while (!ended)
                if (mosquitto_loop(m, 200, 1) != MOSQ_ERR_SUCCESS && !ended) {
                        (void) nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 * 1000 }, NULL);
                        (void) mosquitto_reconnect(m);
                }
}

int main(int argc, char **argv) {
        static Application a;
        int rc;

        if (argc != 7)
                fail("usage", "shared-handle HOST PORT CA CERT KEY THING");
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        (void) signal(SIGTERM, on_signal);
        open_application(&a, argv);
        rc = mosquitto_connect(a.mosq, argv[1], (int) strtol(argv[2], NULL, 10), 60);
        if (rc != MOSQ_ERR_SUCCESS)
                fail("connect", mosquitto_strerror(rc));
        run(a.mosq);
        /* Nothing is forwarded any more when the client goes, and the handle outlives it. */
        a.jobs = iotjobs_client_free(a.jobs);
        mosquitto_destroy(a.mosq);
        (void) mosquitto_lib_cleanup();
        return EXIT_SUCCESS;
}
