/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"
#include "transport-rig.h"
#include "unit.h"

#define JOBS "$aws/things/lamp/jobs/"

typedef struct Heard {
        ClientEventType type;
        TopicKind kind; /* of parts; UNRECOGNIZED = no parts */
        char topic[300], text[400], job_id[80], document[64];
        bool has_execution;
        size_t n;
} Heard;

static Heard heard[64];
static size_t n_heard, n_taken;

static void on_event(const ClientEvent *event, void *userdata) {
        Heard *h = &heard[n_heard++ % ELEMENTSOF(heard)];

        ck_assert_ptr_eq(userdata, heard);
        *h = (Heard){ .type = event->type, .kind = event->parts ? event->parts->kind : TOPIC_UNRECOGNIZED };
        (void) snprintf(h->topic, sizeof h->topic, "%s", event->topic ? event->topic : "");
        (void) snprintf(h->text, sizeof h->text, "%s", event->text ? event->text : "");
        if (!event->message)
                return;
        h->has_execution = event->message->has_execution;
        h->n = event->message->n_list;
        (void) snprintf(h->job_id, sizeof h->job_id, "%s", event->message->execution.job_id);
        (void) snprintf(h->document, sizeof h->document, "%.*s", (int) event->message->execution.document_len,
                        event->message->execution.document ? event->message->execution.document : "");
}

static const Heard *next_event(Client *c) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;
        struct pollfd p = { .fd = client_fd(c), .events = POLLIN };

        while (n_taken == n_heard && clock_boottime_usec() < until)
                if (poll(&p, 1, 100) > 0)
                        client_dispatch(c, on_event, heard);
        ck_assert_msg(n_taken < n_heard, "no event came");
        return &heard[n_taken++ % ELEMENTSOF(heard)];
}

static Client *open_client(uint16_t port) {
        TransportConfig config = rig_config(port);
        Client *c = NULL;
        Error e = { 0 };

        ck_assert_msg(client_new(&config, "lamp", &c, &e) == 0, "%s", e.text);
        ck_assert_int_eq(client_start(c), 0);
        return c;
}

static void expect_online(Client *c) {
        const Heard *h;

        do {
                h = next_event(c);
        } while (h->type == CLIENT_OFFLINE);
        ck_assert_int_eq((int) h->type, CLIENT_ONLINE);
}

START_TEST(bad_thing_name_is_named) {
        TransportConfig config = rig_config(1883);
        Client *c = NULL;
        Error e = { 0 };

        ck_assert_int_eq(client_new(&config, "a/b", &c, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "thing_name a/b"));
        ck_assert_int_eq(client_new(&config, "", &c, &e), -EINVAL);
        config.port = 0;
        ck_assert_int_eq(client_new(&config, "lamp", &c, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "port"));
        ck_assert_ptr_null(client_free(NULL, 0));
}
END_TEST

/* The ten filters, each once, whatever their order and packets. */
static void script_filters(Fake *f) {
        static const char *const expected[] = {
                JOBS "notify",
                JOBS "notify-next",
                JOBS "get/accepted",
                JOBS "get/rejected",
                JOBS "start-next/accepted",
                JOBS "start-next/rejected",
                JOBS "+/get/accepted",
                JOBS "+/get/rejected",
                JOBS "+/update/accepted",
                JOBS "+/update/rejected",
        };
        unsigned seen = 0;

        if (!fake_accept_mqtt(f))
                return;
        while (seen != 0x3FF) {
                Packet p = fake_expect(f, 8);

                if (p.type != 8)
                        return;
                for (size_t at = 2; at + 2 < p.len;) {
                        size_t len = (size_t) p.body[at] << 8 | p.body[at + 1], i = 0;

                        while (i < ELEMENTSOF(expected) &&
                               (strlen(expected[i]) != len || memcmp(expected[i], p.body + at + 2, len) != 0))
                                i++;
                        if (i == ELEMENTSOF(expected) || (seen & 1U << i))
                                fake_fail(f, "a filter that was not expected");
                        seen |= 1U << i;
                        at += 2 + len + 1;
                }
                fake_suback(f, &p, -1);
        }
        fake_drain(f);
}

START_TEST(subscribes_to_everything_a_device_hears) {
        Fake f = { 0 };
        Client *c;

        fake_start(&f, script_filters);
        c = open_client(f.port);
        expect_online(c);
        (void) client_free(c, RIG_WAIT_SEC * USEC_PER_SEC);
        fake_stop(&f);
}
END_TEST

/* ---- with a broker, and a Rig that plays the service ---- */

static void service_say(Rig *service, const char *topic, const char *payload) {
        ck_assert_int_eq(transport_publish(service->t, topic, payload, strlen(payload)), 0);
}

static void open_service(Rig *service) {
        static const char *const filters[] = { JOBS "#", NULL };
        TransportConfig config = rig_config(rig_broker_port);

        config.client_id = "service";
        config.filters = filters;
        rig_open(service, &config);
        rig_expect_online(service);
}

START_TEST(requests_reach_the_service) {
        ProtoRequest r CLEANUP_REQUEST;
        Error e = { 0 };
        Client *c;
        Rig service;
        Seen *s;

        open_service(&service);
        c = open_client(rig_broker_port);
        proto_request_init(&r, TOPIC_UPDATE);
        (void) snprintf(r.job_id, sizeof r.job_id, "j1");
        r.status = PROTO_STATUS_IN_PROGRESS;
        r.expected_version = 3;
        ck_assert_int_eq(client_publish(c, &r, &e), -ENOTCONN);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "j1/update"));
        expect_online(c);
        ck_assert_int_eq(client_publish(c, &r, &e), 0);
        s = rig_next(&service);
        ck_assert_str_eq(s->event.topic, JOBS "j1/update");
        ck_assert_ptr_nonnull(strstr(s->event.payload, "IN_PROGRESS"));
        ck_assert(!s->event.retained);
        seen_free(s);
        (void) snprintf(r.job_id, sizeof r.job_id, "no/job");
        ck_assert_int_eq(client_publish(c, &r, &e), -EINVAL);
        (void) client_free(c, RIG_WAIT_SEC * USEC_PER_SEC);
        rig_close(&service);
}
END_TEST

START_TEST(messages_are_decoded) {
        const Heard *h;
        Client *c;
        Rig service;

        open_service(&service);
        c = open_client(rig_broker_port);
        expect_online(c);
        service_say(&service, JOBS "notify-next",
                    "{\"timestamp\":1,\"execution\":{\"jobId\":\"j1\",\"status\":\"QUEUED\",\"queuedAt\":1,"
                    "\"lastUpdatedAt\":1,"
                    "\"versionNumber\":1,\"executionNumber\":1,\"jobDocument\":{\"a\": 1}}}");
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_MESSAGE);
        ck_assert_int_eq((int) h->kind, TOPIC_NOTIFY_NEXT);
        ck_assert_str_eq(h->job_id, "j1");
        ck_assert_str_eq(h->document, "{\"a\": 1}");
        service_say(&service, JOBS "$next/get/accepted", "{\"timestamp\":1,\"clientToken\":\"t\"}");
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_MESSAGE);
        ck_assert_int_eq((int) h->kind, TOPIC_DESCRIBE);
        ck_assert(!h->has_execution);
        service_say(&service, JOBS "get/accepted",
                    "{\"timestamp\":1,\"queuedJobs\":[{\"jobId\":\"a\"},{\"jobId\":\"b\"}],"
                    "\"inProgressJobs\":[]}");
        h = next_event(c);
        ck_assert_int_eq((int) h->kind, TOPIC_GET_PENDING);
        ck_assert_uint_eq(h->n, 2);
        (void) client_free(c, RIG_WAIT_SEC * USEC_PER_SEC);
        rig_close(&service);
}
END_TEST

START_TEST(what_cannot_be_used_is_dropped_with_its_topic) {
        const Heard *h;
        Client *c;
        Rig service;

        open_service(&service);
        c = open_client(rig_broker_port);
        expect_online(c);
        service_say(&service, JOBS "notify", "{\"timestamp\":");
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_DROPPED);
        ck_assert_str_eq(h->topic, JOBS "notify");
        ck_assert_int_eq((int) h->kind, TOPIC_NOTIFY);
        ck_assert_ptr_nonnull(strstr(h->text, "message on " JOBS "notify: "));
        /* Not for us, or nobody's: no event. */
        service_say(&service, JOBS "j1/elsewhere/get/accepted", "{}");
        service_say(&service, JOBS "a.b/get/accepted", "{}");
        service_say(&service, JOBS "$next/get/accepted", "{\"timestamp\":1}");
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_MESSAGE);
        (void) client_free(c, RIG_WAIT_SEC * USEC_PER_SEC);
        rig_close(&service);
}
END_TEST

/* A PUBLISH with the retain flag, as a broker sends it after SUBSCRIBE. */
static void script_retained(Fake *f) {
        static const char topic[] = JOBS "notify-next";
        unsigned char packet[64] = { 0x31, sizeof topic - 1 + 2 + 2, 0, sizeof topic - 1 };
        size_t seen = 0;

        if (!fake_accept_mqtt(f))
                return;
        while (seen < 10) {
                Packet p = fake_expect(f, 8);

                if (p.type != 8)
                        return;
                seen += fake_count_filters(&p);
                fake_suback(f, &p, -1);
        }
        memcpy(packet + 4, topic, sizeof topic - 1);
        memcpy(packet + 4 + sizeof topic - 1, "{}", 2);
        (void) fake_send(f, packet, 4 + sizeof topic - 1 + 2);
        fake_drain(f);
}

START_TEST(retained_messages_are_dropped) {
        Fake f = { 0 };
        const Heard *h;
        Client *c;

        fake_start(&f, script_retained);
        c = open_client(f.port);
        expect_online(c);
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_DROPPED);
        ck_assert_ptr_nonnull(strstr(h->text, "retained"));
        ck_assert_int_eq((int) h->kind, TOPIC_NOTIFY_NEXT);
        (void) client_free(c, RIG_WAIT_SEC * USEC_PER_SEC);
        fake_stop(&f);
}
END_TEST

static void free_it(const ClientEvent *event, void *userdata) {
        Client **c = userdata;

        (void) event;
        *c = client_free(*c, RIG_WAIT_SEC * USEC_PER_SEC);
}

START_TEST(reconfigure_and_free_in_the_handler) {
        TransportConfig config = rig_config(rig_broker_port);
        struct pollfd p = { .events = POLLIN };
        const Heard *h;
        Error e = { 0 };
        Client *c = open_client(rig_broker_port);

        expect_online(c);
        ck_assert_int_eq(client_reconfigure(c, &config, true, &e), 0);
        h = next_event(c);
        ck_assert_int_eq((int) h->type, CLIENT_OFFLINE);
        if (n_taken < n_heard) /* that it is up again was told in the same breath: once more */
                ck_assert_int_eq(client_reconfigure(c, &config, true, &e), 0);
        p.fd = client_fd(c);
        ck_assert_int_eq(poll(&p, 1, RIG_WAIT_SEC * 1000), 1);
        client_dispatch(c, free_it, &c);
        ck_assert_ptr_null(c);
}
END_TEST

static TCase *script_cases(void) {
        TCase *tc = tcase_create("script");

        tcase_set_timeout(tc, 120);
        tcase_add_test(tc, bad_thing_name_is_named);
        tcase_add_test(tc, subscribes_to_everything_a_device_hears);
        tcase_add_test(tc, retained_messages_are_dropped);
        return tc;
}

static TCase *broker_cases(void) {
        TCase *tc = tcase_create("broker");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_broker_setup, rig_broker_teardown);
        tcase_add_test(tc, requests_reach_the_service);
        tcase_add_test(tc, messages_are_decoded);
        tcase_add_test(tc, what_cannot_be_used_is_dropped_with_its_topic);
        tcase_add_test(tc, reconfigure_and_free_in_the_handler);
        return tc;
}

UNIT_MAIN("client", script_cases(), broker_cases())
