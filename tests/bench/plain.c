/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine, the broker and libmosquitto do without anything of ours: requests and replies of the same sizes on the
 * same topics. "plain responder": answers every describe request with one fixed execution and the request's token. "plain
 * client": asks as `describe` does, and only counts the replies. One thread each, with a poll loop of its own. */
#include <mosquitto.h>
#include <poll.h>
#include <stdbool.h>

#include "measure.h"

enum { PAYLOAD_MAX = 1024 };

typedef struct Plain {
        struct mosquitto *mosq;
        char topic[256]; /* to publish to */
        const char *filter;
        long window, sent;
        Measure measure;
        uint64_t at[4096];
        bool client, subscribed, end;
} Plain;

_Noreturn static void fail(const char *what, const char *why) {
        (void) fprintf(stderr, "plain: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

static void publish(Plain *p, const char *topic, const char *payload, int len) {
        int rc = mosquitto_publish(p->mosq, NULL, topic, len, payload, 0, false);

        if (rc != MOSQ_ERR_SUCCESS)
                fail("publish", mosquitto_strerror(rc));
}

static void ask(Plain *p) {
        char payload[PAYLOAD_MAX];
        int n = snprintf(payload, sizeof payload, "{\"clientToken\":\"0123456789abcdef-%lx\",\"includeJobDocument\":true}", p->sent);

        p->at[p->sent++ % p->window] = measure_now_nsec();
        publish(p, p->topic, payload, n);
}

static void hear_reply(Plain *p) {
        long all = p->measure.wanted + p->measure.warm_up;

        measure_trip(&p->measure, p->at[p->measure.done % p->window]);
        while (p->sent < all && p->sent - p->measure.done < p->window)
                ask(p);
        p->end = p->measure.done == all;
}

static void answer(Plain *p, const struct mosquitto_message *m) {
        static const char key[] = "\"clientToken\":\"";
        const char *token = memmem(m->payload, (size_t) m->payloadlen, key, sizeof key - 1), *end = NULL;
        char topic[256], payload[PAYLOAD_MAX];
        int n;

        if (token) {
                token += sizeof key - 1;
                end = memchr(token, '"', (size_t) ((const char *) m->payload + m->payloadlen - token));
        }
        if (!end)
                fail(m->topic, "a request without a token");
        n = snprintf(payload, sizeof payload,
                     "{\"timestamp\":1700000000,\"clientToken\":\"%.*s\",\"execution\":{\"jobId\":\"bench\",\"status\":\"QUEUED\","
                     "\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":1,\"executionNumber\":1,"
                     "\"jobDocument\":{\"operation\":\"ok\"}}}",
                     (int) (end - token), token);
        (void) snprintf(topic, sizeof topic, "%s/accepted", m->topic);
        publish(p, topic, payload, n);
}

static void on_message(struct mosquitto *mosq, void *userdata, const struct mosquitto_message *m) {
        Plain *p = userdata;

        (void) mosq;
        if (p->client)
                hear_reply(p);
        else
                answer(p, m);
}

static void on_connect(struct mosquitto *mosq, void *userdata, int rc) {
        const Plain *p = userdata;

        if (rc != 0)
                fail("connect", mosquitto_connack_string(rc));
        (void) mosquitto_subscribe(mosq, NULL, p->filter, 0);
}

static void on_subscribe(struct mosquitto *mosq, void *userdata, int mid, int n, const int *granted) {
        Plain *p = userdata;

        (void) mosq;
        (void) mid;
        if (n != 1 || granted[0] != 0)
                fail(p->filter, "subscription refused");
        p->subscribed = true;
}

static void pump(Plain *p) {
        struct pollfd f = { .fd = mosquitto_socket(p->mosq), .events = POLLIN };
        int rc = MOSQ_ERR_SUCCESS;

        if (mosquitto_want_write(p->mosq))
                rc = mosquitto_loop_write(p->mosq, 1);
        if (rc == MOSQ_ERR_SUCCESS && poll(&f, 1, 1000) == 0)
                rc = mosquitto_loop_misc(p->mosq);
        else if (rc == MOSQ_ERR_SUCCESS)
                rc = mosquitto_loop_read(p->mosq, 1);
        if (rc != MOSQ_ERR_SUCCESS)
                fail("connection", mosquitto_strerror(rc));
}

static void open_plain(Plain *p, char **argv) {
        int rc;

        p->mosq = mosquitto_new(NULL, true, p);
        if (!p->mosq)
                fail("mosquitto_new", "out of memory");
        mosquitto_connect_callback_set(p->mosq, on_connect);
        mosquitto_subscribe_callback_set(p->mosq, on_subscribe);
        mosquitto_message_callback_set(p->mosq, on_message);
        (void) mosquitto_int_option(p->mosq, MOSQ_OPT_TCP_NODELAY, 1);
        rc = mosquitto_tls_set(p->mosq, argv[4], NULL, argv[5], argv[6], NULL);
        if (rc == MOSQ_ERR_SUCCESS)
                rc = mosquitto_connect(p->mosq, argv[2], (int) strtol(argv[3], NULL, 10), 60);
        if (rc != MOSQ_ERR_SUCCESS)
                fail("connect", mosquitto_strerror(rc));
        while (!p->subscribed)
                pump(p);
}

int main(int argc, char **argv) {
        static char filter[256 + sizeof "/accepted"];
        static Plain p = { .window = 1 };

        p.client = argc == 10 && strcmp(argv[1], "client") == 0;
        if (!p.client && (argc != 8 || strcmp(argv[1], "responder") != 0))
                fail("usage", "plain responder HOST PORT CA CERT KEY THING | plain client HOST PORT CA CERT KEY THING WINDOW REQUESTS");
        (void) snprintf(p.topic, sizeof p.topic, "$aws/things/%s/jobs/bench/get", argv[7]);
        (void) snprintf(filter, sizeof filter, "%s%s", p.topic, p.client ? "/accepted" : "");
        p.filter = filter;
        (void) mosquitto_lib_init();
        open_plain(&p, argv);
        if (p.client) {
                p.window = strtol(argv[8], NULL, 10);
                if (p.window < 1 || p.window > (long) (sizeof p.at / sizeof *p.at))
                        fail("WINDOW", "1 to 4096");
                measure_init(&p.measure, strtol(argv[9], NULL, 10));
                ask(&p);
        } else {
                puts("ready");
                (void) fflush(stdout);
        }
        while (!p.end)
                pump(&p);
        measure_print(&p.measure);
        mosquitto_destroy(p.mosq);
        (void) mosquitto_lib_cleanup();
        return EXIT_SUCCESS;
}
