/* SPDX-License-Identifier: Apache-2.0 */
/* Round trips of DescribeJobExecution through libiotjobs: --window requests are always under way, each reply is looked at
 * (token, job, document) and followed by the next request. Prints one line of JSON: requests a second, the process's CPU a
 * request, the median round trip; with --memory one before it at each power of ten, with the memory in use. With --connect
 * nothing is asked: it connects, subscribes to one topic, says so and waits for the end of its input. */
#include <getopt.h>
#include <iotjobs/iotjobs.h>
#include <poll.h>
#include <pthread.h>

#include "measure.h"

enum { WINDOW_MAX = 4096, MEMORY_FIRST = 10000 };

typedef struct Arguments {
        const char *host, *ca, *cert, *key, *thing, *job;
        long port, window, requests;
        bool thread, memory, connect;
} Arguments;

typedef struct Sent {
        char token[IOTJOBS_TOKEN_MAX];
        uint64_t at;
} Sent;

typedef struct Bench {
        const Arguments *a;
        IotJobsClient *c;
        long sent, next_look;
        Sent under_way[WINDOW_MAX]; /* a ring: the service answers in order */
        Measure measure;
        pthread_mutex_t lock; /* the first request is sent here, all others by callbacks */
        pthread_cond_t ended;
        bool end;
} Bench;

_Noreturn static void fail(const char *what, const char *why) {
        (void) fprintf(stderr, "describe: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

static Arguments arguments_parse(int argc, char **argv) {
        enum { HOST = 1, PORT, CA, CERT, KEY, THING, JOB, WINDOW, REQUESTS, THREAD, MEMORY, CONNECT };
        static const struct option options[] = {
                { "host", required_argument, NULL, HOST },         { "port", required_argument, NULL, PORT },
                { "ca", required_argument, NULL, CA },             { "cert", required_argument, NULL, CERT },
                { "key", required_argument, NULL, KEY },           { "thing", required_argument, NULL, THING },
                { "job", required_argument, NULL, JOB },           { "window", required_argument, NULL, WINDOW },
                { "requests", required_argument, NULL, REQUESTS }, { "thread", no_argument, NULL, THREAD },
                { "memory", no_argument, NULL, MEMORY },           { "connect", no_argument, NULL, CONNECT },
                { NULL, 0, NULL, 0 },
        };
        Arguments a = { .window = 1, .requests = 10000 };

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                const char **to = c == HOST    ? &a.host
                                  : c == CA    ? &a.ca
                                  : c == CERT  ? &a.cert
                                  : c == KEY   ? &a.key
                                  : c == THING ? &a.thing
                                  : c == JOB   ? &a.job
                                               : NULL;
                long *number = c == PORT ? &a.port : c == WINDOW ? &a.window : c == REQUESTS ? &a.requests : NULL;
                bool *flag = c == THREAD ? &a.thread : c == MEMORY ? &a.memory : c == CONNECT ? &a.connect : NULL;

                if (to)
                        *to = optarg;
                else if (number)
                        *number = strtol(optarg, NULL, 10);
                else if (flag)
                        *flag = true;
                else
                        exit(2);
        }
        if (!a.host || !a.ca || !a.cert || !a.key || !a.thing || !a.job)
                fail("usage", "--host, --port, --ca, --cert, --key, --thing and --job are needed");
        if (a.window < 1 || a.window > WINDOW_MAX || a.requests < a.window)
                fail("--window", "1 to 4096, and not more than --requests");
        return a;
}

static void ask(Bench *b) {
        Sent *s = b->under_way + b->sent++ % b->a->window;
        IotJobsRequest r = { 0 };
        IotJobsError e = { 0 };

        s->at = measure_now_nsec();
        if (iotjobs_client_send_jobs_describe(b->c, &r, b->a->job, 0, true, &e) != 0)
                fail("request", e.text);
        (void) memcpy(s->token, r.used_token, sizeof s->token);
}

static void look_at_memory(Bench *b) {
        if (!b->a->memory || b->measure.done != b->next_look)
                return;
        printf("{\"after\":%ld,\"rss_kib\":%ld,\"private_dirty_kib\":%ld}\n", b->measure.done, measure_memory_kib("Rss"),
               measure_memory_kib("Private_Dirty"));
        b->next_look *= 10;
}

static void check_reply(const IotJobsMessage *m, const Sent *s, const char *job) {
        if (m->fault || m->reply != IOTJOBS_REPLY_ACCEPTED)
                fail(m->topic, m->fault ? m->fault : m->error_message);
        if (!m->client_token || strcmp(m->client_token, s->token) != 0)
                fail(m->topic, "a reply to another request");
        if (!m->execution || !m->execution->document || strcmp(m->execution->job_id, job) != 0)
                fail(m->topic, "not the job that was asked for");
}

static void on_reply(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Bench *b = userdata;
        const Sent *s = b->under_way + b->measure.done % b->a->window;
        long all = b->measure.wanted + b->measure.warm_up;

        (void) c;
        (void) pthread_mutex_lock(&b->lock);
        check_reply(m, s, b->a->job);
        measure_trip(&b->measure, s->at);
        look_at_memory(b);
        while (b->sent < all && b->sent - b->measure.done < b->a->window)
                ask(b);
        b->end = b->measure.done == all;
        if (b->end)
                (void) pthread_cond_signal(&b->ended);
        (void) pthread_mutex_unlock(&b->lock);
}

static void on_connection(IotJobsClient *c, const IotJobsConnectionEvent *event, void *userdata) {
        (void) c;
        (void) userdata;
        if (event->type == IOTJOBS_CONNECTION_OFFLINE && event->retry_ms >= 0)
                fail("offline", event->text);
}

static IotJobsClient *open_client(const Arguments *a) {
        IotJobsOptions o = iotjobs_options_default(a->thing, a->thing);
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };

        if (iotjobs_client_new(&o, &c, &e) < 0 ||
            iotjobs_client_configure_endpoint(c, a->host, (int) a->port, &e) < 0 ||
            iotjobs_client_configure_credentials(c, a->ca, a->key, a->cert, &e) < 0)
                fail("configuration", e.text);
        iotjobs_client_set_connection_handler(c, on_connection, NULL);
        if (a->thread && iotjobs_client_start_thread(c, &e) < 0)
                fail("thread", e.text);
        if (iotjobs_client_connect(c, &e) < 0)
                fail("connection", e.text);
        return c;
}

static void subscribe(Bench *b, IotJobsReplyType reply) {
        IotJobsError e = { 0 };

        if (iotjobs_client_create_job_subscription(b->c, on_reply, b, IOTJOBS_TOPIC_DESCRIBE, reply, b->a->job, &e) < 0)
                fail("subscription", e.text);
}

static void run_by_poll(Bench *b) {
        struct pollfd p = { .fd = iotjobs_client_fd(b->c), .events = iotjobs_client_events(b->c) };

        while (!b->end) {
                (void) poll(&p, 1, iotjobs_client_timeout(b->c));
                if (iotjobs_client_dispatch(b->c) < 0)
                        fail("dispatch", "failed");
        }
}

static void run(Bench *b) {
        measure_init(&b->measure, b->a->requests);
        (void) pthread_mutex_lock(&b->lock);
        ask(b);
        while (b->a->thread && !b->end)
                (void) pthread_cond_wait(&b->ended, &b->lock);
        (void) pthread_mutex_unlock(&b->lock);
        if (!b->a->thread)
                run_by_poll(b);
        measure_print(&b->measure);
}

int main(int argc, char **argv) {
        static Bench b = { .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER, .next_look = MEMORY_FIRST };
        Arguments a = arguments_parse(argc, argv);

        b.a = &a;
        b.c = open_client(&a);
        subscribe(&b, IOTJOBS_REPLY_ACCEPTED);
        if (a.connect) {
                puts("subscribed");
                (void) fflush(stdout);
                (void) getchar();
        } else {
                subscribe(&b, IOTJOBS_REPLY_REJECTED);
                run(&b);
        }
        b.c = iotjobs_client_free(b.c);
        return EXIT_SUCCESS;
}
