/* SPDX-License-Identifier: Apache-2.0 */
/* What a transport's owner asks for while it runs: subscriptions, publications with an id, last wills; and the manners of
 * MQTT 5. The connection itself is tested in test-transport.c. */
#include <fcntl.h>

#include "certs.h"
#include "transport-rig.h"
#include "transport/exchange.h"
#include "transport/packet.h"
#include "unit.h"

/* ---- packets, without a connection ---- */

static Publish read_back(int protocol, Buf *b) {
        size_t header = 1;
        Publish p;

        while ((unsigned char) b->data[header] & 0x80U)
                header++;
        header++;
        ck_assert_int_eq(packet_read_publish(protocol, (unsigned char) b->data[0] & 0x0FU,
                                             (const unsigned char *) b->data + header, b->len - header, &p),
                         0);
        return p;
}

START_TEST(publish_is_read_as_it_was_written) {
        static unsigned char payload[70000];
        const size_t lengths[] = { 0, 1, 100, 127, 128, 16383, 16384, 70000 };

        memset(payload, 'x', sizeof payload);
        for (int protocol = 3; protocol <= 5; protocol++) {
                for (unsigned qos = 0; qos <= 1; qos++) {
                        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                                Publish in = { .topic = "a/b", .topic_len = 3, .payload = payload };
                                Buf b CLEANUP_BUF = { 0 };
                                Publish out;

                                in.len = lengths[i];
                                in.qos = qos;
                                in.mid = 0x1234;
                                in.retained = i == 1;
                                packet_append_publish(&b, protocol, &in);
                                ck_assert_uint_eq(packet_publish_size(protocol, &in), b.len);
                                out = read_back(protocol, &b);
                                ck_assert_uint_eq(out.topic_len, 3);
                                ck_assert_mem_eq(out.topic, "a/b", 3);
                                ck_assert_uint_eq(out.len, lengths[i]);
                                ck_assert_uint_eq(out.qos, qos);
                                ck_assert_uint_eq(out.mid, qos > 0 ? 0x1234 : 0);
                                ck_assert(out.retained == in.retained);
                                if (out.len > 0)
                                        ck_assert_mem_eq(out.payload, payload, out.len);
                        }
                }
        }
}
END_TEST

START_TEST(publish_has_limits) {
        Publish p = { .topic = "a", .topic_len = 1, .len = PACKET_REMAINING_MAX - 3 };

        ck_assert_uint_eq(packet_publish_size(4, &p), (size_t) PACKET_REMAINING_MAX + 5);
        p.qos = 1;
        ck_assert_uint_eq(packet_publish_size(4, &p), 0);
        p = (Publish){ .topic = "a", .topic_len = 65536 };
        ck_assert_uint_eq(packet_publish_size(4, &p), 0);
        p = (Publish){ .topic = "a", .topic_len = 1, .len = SIZE_MAX };
        ck_assert_uint_eq(packet_publish_size(4, &p), 0);
}
END_TEST

static int read_publish(int protocol, unsigned flags, const char *body, size_t n, Publish *ret) {
        return packet_read_publish(protocol, flags, (const unsigned char *) body, n, ret);
}

START_TEST(malformed_publish_is_refused) {
        Publish p;

        ck_assert_int_eq(read_publish(4, 0, "", 0, &p), -EBADMSG);
        ck_assert_int_eq(read_publish(4, 0, "\0", 1, &p), -EBADMSG);
        ck_assert_int_eq(read_publish(4, 0, "\0\0", 2, &p), -EBADMSG);
        ck_assert_int_eq(read_publish(4, 0, "\0\2a", 3, &p), -EBADMSG);
        ck_assert_int_eq(read_publish(4, 0, "\0\1a", 3, &p), 0);
        ck_assert_int_eq(read_publish(4, 2, "\0\1a", 3, &p), -EBADMSG);     /* no mid */
        ck_assert_int_eq(read_publish(4, 2, "\0\1a\0\0", 5, &p), -EBADMSG); /* mid 0 */
        ck_assert_int_eq(read_publish(4, 2, "\0\1a\0\1", 5, &p), 0);
        ck_assert_int_eq(read_publish(5, 0, "\0\1a", 3, &p), -EBADMSG);     /* no properties */
        ck_assert_int_eq(read_publish(5, 0, "\0\1a\2\1", 5, &p), -EBADMSG); /* not so many */
        ck_assert_int_eq(read_publish(5, 0, "\0\1a\x80\x80\x80\x80\0", 8, &p), -EBADMSG);
        ck_assert_int_eq(read_publish(5, 0, "\0\1a\2\1\1xy", 8, &p), 0);
        ck_assert_uint_eq(p.len, 2);
}
END_TEST

START_TEST(puback_and_its_reason) {
        static const unsigned char full[] = { 0x01, 0x02, 0x87, 0x0D, 0x26, 0,   1,   'k', 0,
                                              1,    'v',  0x1F, 0,    3,    'w', 'h', 'y' };
        static const unsigned char strange[] = { 0x02, 0x7F, 0x00 };
        const char *why;
        unsigned code;
        size_t len;
        uint16_t mid;

        ck_assert_int_eq(packet_read_puback(5, full, sizeof full, &mid, &code), 0);
        ck_assert_uint_eq(mid, 0x102);
        ck_assert_uint_eq(code, 0x87);
        why = packet_reason_string(full + 3, sizeof full - 3, &len);
        ck_assert_ptr_nonnull(why);
        ck_assert_uint_eq(len, 3);
        ck_assert_mem_eq(why, "why", 3);
        for (size_t n = 0; n < sizeof full - 3; n++) /* cut anywhere: no reason, and nothing read behind it */
                ck_assert_ptr_null(packet_reason_string(full + 3, n, &len));
        ck_assert_ptr_null(packet_reason_string(strange, sizeof strange, &len));
        ck_assert_int_eq(packet_read_puback(5, full, 2, &mid, &code), 0);
        ck_assert_uint_eq(code, 0);
        ck_assert_int_eq(packet_read_puback(4, full, 3, &mid, &code), -EBADMSG);
        ck_assert_int_eq(packet_read_puback(4, full, 1, &mid, &code), -EBADMSG);
        ck_assert_int_eq(packet_read_puback(4, (const unsigned char *) "\0\0", 2, &mid, &code), -EBADMSG);
}
END_TEST

/* ---- who wakes whom ---- */

static bool raised(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) == 1;
}

static void push_message(Exchange *x) {
        ck_assert_int_eq(exchange_push_message(x, "abc", 2, "xyz", 3, false), 0);
}

static size_t free_batch(Event *e) {
        size_t n = 0, bytes = 0;

        for (; e; n++) {
                Event *next = e->next;

                bytes += e->bytes;
                free(e);
                e = next;
        }
        ck_assert_uint_gt(bytes + 1, n);
        return n;
}

START_TEST(owner_is_woken_once_and_only_when_it_sleeps) {
        Exchange *x CLEANUP(exchange_unref) = NULL;
        Event *e;
        int fd;

        ck_assert_int_eq(exchange_new(&x), 0);
        fd = exchange_event_fd(x);
        push_message(x);
        ck_assert(!raised(fd)); /* staged */
        push_message(x);
        exchange_flush(x);
        ck_assert(raised(fd));
        e = exchange_take_events(x, true);
        ck_assert_str_eq(e->public.topic, "ab");
        ck_assert_str_eq(e->public.payload, "xyz");
        ck_assert_uint_eq(free_batch(e), 2);
        /* It is awake now and looks again by itself. */
        push_message(x);
        exchange_flush(x);
        ck_assert(!raised(fd));
        ck_assert_uint_eq(free_batch(exchange_take_events(x, false)), 1);
        ck_assert_ptr_null(exchange_take_events(x, false));
        /* It has seen that nothing is left. */
        push_message(x);
        exchange_flush(x);
        ck_assert(raised(fd));
        /* It leaves in the middle: what is left, or comes, raises again. */
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 1);
        push_message(x);
        exchange_flush(x);
        ck_assert(!raised(fd));
        exchange_rest(x);
        ck_assert(raised(fd));
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 1);
        exchange_rest(x);
        ck_assert(!raised(fd));
        push_message(x);
        exchange_flush(x);
        ck_assert(raised(fd));
}
END_TEST

static void push_puback(Exchange *x, int code) {
        ck_assert_int_eq(exchange_push(x, &(TransportEvent){ .type = TRANSPORT_PUBACK, .id = 1, .topic = "t", .code = code }), 0);
        exchange_flush(x);
}

/* Good PUBACKs alone wake nobody who does not want them; whatever else comes does, and takes them along. */
START_TEST(quiet_pubacks_wait_for_others) {
        Exchange *x CLEANUP(exchange_unref) = NULL;
        size_t n = 0;
        int fd;

        ck_assert_int_eq(exchange_new(&x), 0);
        fd = exchange_event_fd(x);
        push_puback(x, 0);
        ck_assert(raised(fd)); /* nobody asked for quiet */
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 1);
        exchange_rest(x);
        exchange_quiet_pubacks(x, true);
        push_puback(x, 0);
        push_puback(x, 0);
        ck_assert(!raised(fd));
        push_message(x);
        exchange_flush(x);
        ck_assert(raised(fd));
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 3);
        push_puback(x, 0); /* it is awake: left in the middle, it is not woken for this either */
        exchange_rest(x);
        ck_assert(!raised(fd));
        push_puback(x, 0x87); /* refused */
        ck_assert(raised(fd));
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 2);
        exchange_rest(x);
        push_puback(x, 0);
        exchange_quiet_pubacks(x, false); /* what waits is wanted now */
        ck_assert(raised(fd));
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), 1);
        exchange_rest(x);
        /* They may not fill what the network thread may have waiting: then it would stop reading, and nobody would know. */
        exchange_quiet_pubacks(x, true);
        while (!raised(fd) && n++ < 4096)
                push_puback(x, 0);
        ck_assert_uint_lt(n, 4096);
        ck_assert_uint_gt(n, 16);
        ck_assert_uint_eq(free_batch(exchange_take_events(x, true)), n);
}
END_TEST

START_TEST(network_is_woken_once_and_only_when_it_sleeps) {
        Exchange *x CLEANUP(exchange_unref) = NULL;
        Event *online;
        Orders orders;
        uint64_t connection;
        int fd;

        ck_assert_int_eq(exchange_new(&x), 0);
        fd = exchange_wake_fd(x);
        ck_assert_int_eq(exchange_set_online(x, false), 0);
        online = exchange_take_events(x, true);
        connection = online->connection;
        (void) free_batch(online);
#define PUBLISH() ck_assert_int_eq(exchange_publish(x, connection, 0, "a", "b", 1), 0)
        /* Awake: it looks before it sleeps. */
        PUBLISH();
        ck_assert(!raised(fd));
        ck_assert(!exchange_sleep(x, true));
        ck_assert(exchange_sleep(x, false)); /* it cannot send now: no reason to stay awake */
        ck_assert_ptr_nonnull(exchange_first_publication(x));
        ck_assert(!exchange_sleep(x, true));
        free(exchange_take_publication(x));
        /* Asleep: the first one wakes it, the second need not. */
        ck_assert(exchange_sleep(x, true));
        PUBLISH();
        ck_assert(raised(fd));
        exchange_take_orders(x, &orders);
        PUBLISH();
        ck_assert(!raised(fd));
        for (int i = 0; i < 2; i++)
                free(exchange_take_publication(x));
        ck_assert_ptr_null(exchange_take_publication(x));
        /* Corked, and corked again: a bunch wakes it at the end. */
        ck_assert(exchange_sleep(x, true));
        exchange_cork(x);
        exchange_cork(x);
        PUBLISH();
        PUBLISH();
        exchange_uncork(x);
        ck_assert(!raised(fd));
        exchange_uncork(x);
        ck_assert(raised(fd));
#undef PUBLISH
}
END_TEST

/* ---- a script for the broker ---- */

static Fake fake; /* zero before each test: every test has a process of its own */

static void open_fake(Rig *rig, FakeScript script, TransportConfig *c) {
        fake_start(&fake, script);
        c->port = fake.port;
        rig_open(rig, c);
}

static void close_fake(Rig *rig) {
        rig_close(rig);
        fake_stop(&fake);
}

/* CONNECT, then CONNACK of the client's version with these properties (MQTT 5). */
static Packet accept_with(Fake *f, int protocol, const unsigned char *props, size_t n) {
        unsigned char answer[64] = { 0x20 };
        Packet p = { 0 };

        if (!fake_accept(f))
                return p;
        p = fake_expect(f, 1);
        answer[1] = (unsigned char) (protocol == 5 ? 3 + n : 2);
        if (protocol == 5) {
                answer[4] = (unsigned char) n;
                if (n > 0)
                        memcpy(answer + 5, props, n);
        }
        (void) fake_send(f, answer, 2U + answer[1]);
        return p;
}

typedef struct Asked {
        size_t n;
        char filter[8][64];
        unsigned char options[8];
        unsigned char mid[2];
} Asked;

/* A SUBSCRIBE taken apart. */
static Asked expect_subscribe(Fake *f, int protocol) {
        Packet p = fake_expect(f, 8);
        size_t at = protocol == 5 ? 3 : 2;
        Asked a = { 0 };

        memcpy(a.mid, p.body, 2);
        while (at + 2 < p.len && a.n < 8) {
                size_t len = (size_t) p.body[at] << 8 | p.body[at + 1];

                (void) snprintf(a.filter[a.n], sizeof a.filter[0], "%.*s", (int) len, (const char *) p.body + at + 2);
                a.options[a.n++] = p.body[at + 2 + len];
                at += 2 + len + 1;
        }
        if (at < p.len)
                fake_fail(f, "more than eight filters in a SUBSCRIBE");
        return a;
}

static void expect_filters(Fake *f, const Asked *a, const char *expected) {
        char text[100] = "", problem[200];

        for (size_t i = 0; i < a->n; i++)
                (void) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? " " : "",
                                a->filter[i]);
        if (strcmp(text, expected) != 0) {
                (void) snprintf(problem, sizeof problem, "SUBSCRIBE to %s, expected %s", text, expected);
                fake_fail(f, problem);
        }
}

/* The same code for each filter, or `codes` in turn. */
static void send_suback(Fake *f, int protocol, const Asked *a, const char *codes) {
        unsigned char answer[32] = { 0x90 };
        size_t head = protocol == 5 ? 5 : 4;

        answer[1] = (unsigned char) (head - 2 + a->n);
        memcpy(answer + 2, a->mid, 2);
        for (size_t i = 0; i < a->n; i++)
                answer[head + i] = (unsigned char) codes[i];
        if (!fake_send(f, answer, head + a->n))
                fake_fail(f, "SUBACK could not be sent");
}

static const char granted[] = "\1\1\1\1\1\1\1\1";

/* From CONNECT to SUBACK: these filters in one packet, all granted. */
static void bring_online(Fake *f, int protocol, const char *filters) {
        Asked a;

        (void) accept_with(f, protocol, NULL, 0);
        a = expect_subscribe(f, protocol);
        expect_filters(f, &a, filters);
        send_suback(f, protocol, &a, granted);
}

static void expect_unsubscribe(Fake *f, const char *filter) {
        Packet p = fake_expect(f, 10);

        if (p.len != 4 + strlen(filter) || memcmp(p.body + 4, filter, strlen(filter)) != 0)
                fake_fail(f, "not the UNSUBSCRIBE that was expected");
        (void) fake_send_bytes(f, 0xB0, 0x02, p.body[0], p.body[1]);
}

/* An event about `topic` with this id and code. */
static void expect_answer(Rig *rig, TransportEventType type, unsigned id, const char *topic, int code,
                          const char *part) {
        Seen *s = rig_next(rig);

        ck_assert_msg(s->event.type == type, "event %d (%s), expected %d", (int) s->event.type,
                      s->event.text ? s->event.text : "", (int) type);
        ck_assert_uint_eq(s->event.id, id);
        ck_assert_int_eq(s->event.code, code);
        ck_assert_str_eq(s->event.topic, topic);
        ck_assert_msg(strstr(s->event.text, part) != NULL, "\"%s\" does not say \"%s\"", s->event.text, part);
        seen_free(s);
}

/* ---- subscriptions ---- */

static void script_subscribe_online(Fake *f) {
        Asked a;

        bring_online(f, 4, "test/#");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        send_suback(f, 4, &a, "\1");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "b");
        send_suback(f, 4, &a, "\x80");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "b");
        send_suback(f, 4, &a, "\x80");
        /* Time enough for asking again, which must not happen. */
        for (uint16_t mid = 1; mid <= 200; mid++) {
                (void) fake_publish(f, "test/x", "", 0, mid);
                (void) fake_expect(f, 4);
        }
        fake_hang_up(f);
        bring_online(f, 4, "test/# a");
        fake_drain(f);
}

START_TEST(subscribe_while_online) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.reconnect_min_usec = c.reconnect_max_usec = 1;
        open_fake(&rig, script_subscribe_online, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 7, "a"), 0);
        ck_assert_int_eq(transport_subscribe(rig.t, 8, "a"), -EEXIST);
        ck_assert_int_eq(transport_subscribe(rig.t, 8, "test/#"), -EEXIST);
        ck_assert_int_eq(transport_subscribe(rig.t, 8, "a/#/b"), -EINVAL);
        ck_assert_int_eq(transport_subscribe(rig.t, 8, ""), -EINVAL);
        expect_answer(&rig, TRANSPORT_SUBACK, 7, "a", 1, "granted with QoS 1");
        ck_assert_int_eq(transport_subscribe(rig.t, 9, "b"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 9, "b", 0x80, "refused the subscription (SUBACK 0x80)");
        ck_assert_int_eq(transport_unsubscribe(rig.t, "b"), -ENOENT); /* was not kept */
        ck_assert_int_eq(transport_subscribe(rig.t, 10, "b"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 10, "b", 0x80, "refused");
        for (int i = 0; i < 200; i++)
                rig_expect_message(&rig, "test/x", "");
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

static void script_subscribe_before(Fake *f) {
        Asked a;

        (void) accept_with(f, 4, NULL, 0);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "test/# a b");
        send_suback(f, 4, &a, "\1\0\x80");
        fake_drain(f);
}

START_TEST(subscribe_before_the_connection) {
        TransportConfig c = rig_config(1);
        Error e;
        Rig rig = { 0 };

        rig.tail = &rig.first;
        fake_start(&fake, script_subscribe_before);
        c.port = fake.port;
        ck_assert_int_eq(transport_new(&c, &rig.t, &e), 0);
        ck_assert_int_eq(transport_subscribe(rig.t, 1, "a"), 0);
        ck_assert_int_eq(transport_subscribe(rig.t, 2, "b"), 0);
        ck_assert_int_eq(transport_start(rig.t), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 1, "a", 0, "QoS 0");
        expect_answer(&rig, TRANSPORT_SUBACK, 2, "b", 0x80, "refused");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

/* The connection ends before the SUBACK: asked again on the next one, answered once, and from then on kept. Two in a packet
 * make the broker hang up, so the next attempt asks one at a time. */
static void script_late_suback(Fake *f) {
        Asked a;

        bring_online(f, 4, "test/#");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        fake_hang_up(f);
        (void) accept_with(f, 4, NULL, 0);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "test/#");
        send_suback(f, 4, &a, granted);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        send_suback(f, 4, &a, granted);
        fake_hang_up(f);
        bring_online(f, 4, "test/# a");
        fake_drain(f);
}

START_TEST(suback_may_come_on_the_next_connection) {
        TransportConfig c = rig_config(1);
        Seen *s;
        Rig rig;

        open_fake(&rig, script_late_suback, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 3, "a"), 0);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
        ck_assert(s->event.is_subscription);
        ck_assert_str_eq(s->event.topic, "a");
        ck_assert_int_eq(s->event.error, ECONNRESET);
        ck_assert_int_eq(s->event.code, 0);
        seen_free(s);
        expect_answer(&rig, TRANSPORT_SUBACK, 3, "a", 1, "granted");
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

static void script_hang_up_on_second(Fake *f) {
        Asked a;

        (void) accept_with(f, 4, NULL, 0);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "one two three");
        fake_hang_up(f);
        (void) accept_with(f, 4, NULL, 0);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "one");
        send_suback(f, 4, &a, granted);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "two");
        fake_hang_up(f);
}

START_TEST(filter_that_makes_the_broker_hang_up_is_found) {
        static const char *const filters[] = { "one", "two", "three", NULL };
        TransportConfig c = rig_config(1);
        Rig rig;

        c.filters = filters;
        open_fake(&rig, script_hang_up_on_second, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "without an answer to SUBSCRIBE one");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "without an answer to SUBSCRIBE two");
        close_fake(&rig);
}
END_TEST

/* What was granted once is kept, whatever the broker says later; and it keeps nobody offline. */
static void script_refuse_later(Fake *f) {
        Asked a;

        bring_online(f, 4, "test/#");
        a = expect_subscribe(f, 4);
        send_suback(f, 4, &a, granted);
        fake_hang_up(f);
        (void) accept_with(f, 4, NULL, 0);
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "test/# a");
        send_suback(f, 4, &a, "\1\x80");
        (void) fake_expect(f, 3); /* online although it was refused */
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        send_suback(f, 4, &a, "\x80");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        send_suback(f, 4, &a, granted);
        (void) fake_publish(f, "a", "x", 1, 1);
        fake_drain(f);
}

START_TEST(kept_filter_is_asked_for_again_slowly) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.reconnect_max_usec = 400 * USEC_PER_MSEC; /* asked again after eight times this: the publication is faster */
        open_fake(&rig, script_refuse_later, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 5, "a"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 5, "a", 1, "granted");
        rig_expect(&rig, TRANSPORT_OFFLINE);
        expect_answer(&rig, TRANSPORT_REFUSED, 5, "a", 0x80, "refused");
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "x", "y", 1), 0);
        expect_answer(&rig, TRANSPORT_REFUSED, 5, "a", 0x80, "refused");
        rig_expect_message(&rig, "a", "x");
        close_fake(&rig);
}
END_TEST

static void script_unsubscribe(Fake *f) {
        Asked a, again;

        bring_online(f, 4, "test/#");
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "a");
        send_suback(f, 4, &a, granted);
        expect_unsubscribe(f, "a");
        /* Asked for, taken back, asked for again before the first answer. */
        a = expect_subscribe(f, 4);
        expect_filters(f, &a, "b");
        (void) fake_publish(f, "test/now", "", 0, 1);
        (void) fake_expect(f, 4);
        expect_unsubscribe(f, "b");
        again = expect_subscribe(f, 4);
        expect_filters(f, &again, "b");
        send_suback(f, 4, &a, granted);
        send_suback(f, 4, &again, "\0");
        a = expect_subscribe(f, 4); /* and nothing about the first b any more */
        expect_filters(f, &a, "c");
        send_suback(f, 4, &a, granted);
        fake_hang_up(f);
        bring_online(f, 4, "test/# b c");
        fake_drain(f);
}

START_TEST(unsubscribe_at_any_time) {
        TransportConfig c = rig_config(1);
        Rig rig;

        open_fake(&rig, script_unsubscribe, &c);
        ck_assert_int_eq(transport_unsubscribe(rig.t, "a"), -ENOENT);
        ck_assert_int_eq(transport_unsubscribe(rig.t, "test/#"), -ENOENT); /* the settings' */
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 1, "a"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 1, "a", 1, "granted");
        ck_assert_int_eq(transport_unsubscribe(rig.t, "a"), 0);
        ck_assert_int_eq(transport_unsubscribe(rig.t, "a"), -ENOENT);
        ck_assert_int_eq(transport_subscribe(rig.t, 2, "b"), 0);
        rig_expect_message(&rig, "test/now", "");
        ck_assert_int_eq(transport_unsubscribe(rig.t, "b"), 0);
        ck_assert_int_eq(transport_subscribe(rig.t, 3, "b"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 3, "b", 0, "QoS 0"); /* nothing of id 2 */
        ck_assert_int_eq(transport_subscribe(rig.t, 4, "c"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 4, "c", 1, "granted");
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

START_TEST(so_many_subscriptions_and_no_more) {
        static const char *const two[] = { "x/0", "x/1", NULL };
        TransportConfig c = rig_config(1);
        char filter[16];
        Transport *t;
        Error e = { 0 };

        ck_assert_int_eq(transport_new(&c, &t, &e), 0);
        for (int i = 1; i < TRANSPORT_FILTERS_MAX; i++) {
                (void) snprintf(filter, sizeof filter, "x/%d", i);
                ck_assert_int_eq(transport_subscribe(t, 1, filter), 0);
        }
        ck_assert_int_eq(transport_subscribe(t, 1, "y"), -ENOSPC);
        ck_assert_int_eq(transport_unsubscribe(t, "x/5"), 0);
        ck_assert_int_eq(transport_subscribe(t, 1, "y"), 0);
        c.filters = two;
        ck_assert_int_eq(transport_reconfigure(t, &c, false, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "at most 48 together"));
        ck_assert_int_eq(transport_unsubscribe(t, "x/7"), 0);
        ck_assert_int_eq(transport_reconfigure(t, &c, false, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "x/1: subscribed to besides already"));
        ck_assert_int_eq(transport_unsubscribe(t, "x/1"), 0);
        ck_assert_int_eq(transport_reconfigure(t, &c, false, &e), 0);
        ck_assert_int_eq(transport_subscribe(t, 1, "x/0"), -EEXIST);
        ck_assert_ptr_null(transport_free(t, 0));
}
END_TEST

static void script_eight_a_packet(Fake *f) {
        size_t seen = 0;

        (void) accept_with(f, 4, NULL, 0);
        while (seen < 21) {
                Asked a = expect_subscribe(f, 4);

                if (a.n == 0)
                        return;
                send_suback(f, 4, &a, granted);
                seen += a.n;
        }
        fake_drain(f);
}

START_TEST(at_most_eight_a_packet) {
        TransportConfig c = rig_config(1);
        Rig rig = { 0 };
        char filter[16];
        Error e;

        rig.tail = &rig.first;
        fake_start(&fake, script_eight_a_packet);
        c.port = fake.port;
        ck_assert_int_eq(transport_new(&c, &rig.t, &e), 0);
        for (unsigned i = 0; i < 20; i++) {
                (void) snprintf(filter, sizeof filter, "x/%u", i);
                ck_assert_int_eq(transport_subscribe(rig.t, i + 1, filter), 0);
        }
        ck_assert_int_eq(transport_start(rig.t), 0);
        for (unsigned i = 0; i < 20; i++) {
                (void) snprintf(filter, sizeof filter, "x/%u", i);
                expect_answer(&rig, TRANSPORT_SUBACK, i + 1, filter, 1, "granted");
        }
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

static void script_no_suback(Fake *f) {
        bring_online(f, 4, "test/#");
        (void) expect_subscribe(f, 4);
        fake_drain(f);
}

START_TEST(missing_suback_of_an_added_filter_has_a_deadline) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.operation_timeout_usec = 300 * USEC_PER_MSEC;
        open_fake(&rig, script_no_suback, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 1, "a"), 0);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "no SUBACK for a in 300 ms");
        close_fake(&rig);
}
END_TEST

/* ---- publications ---- */

static void answer_publish(Fake *f, const Packet *p, unsigned char code) {
        size_t at = 2 + ((size_t) p->body[0] << 8 | p->body[1]);

        if (code == 0)
                (void) fake_send_bytes(f, 0x40, 0x02, p->body[at], p->body[at + 1]);
        else
                (void) fake_send_bytes(f, 0x40, 0x09, p->body[at], p->body[at + 1], code, 0x05, 0x1F, 0x00, 0x02, 'n',
                                       'o');
}

static void script_outcomes(Fake *f) {
        Packet p;

        bring_online(f, 5, "test/#");
        (void) fake_send_bytes(f, 0x40, 0x02, 0x77, 0x77); /* for nothing that was sent */
        p = fake_expect(f, 3);
        if ((p.body[3] & 0x80) == 0)
                fake_fail(f, "a packet identifier that may be a SUBSCRIBE's");
        answer_publish(f, &p, 0);
        p = fake_expect(f, 3);
        answer_publish(f, &p, 0x87);
        p = fake_expect(f, 3);
        answer_publish(f, &p, 0);
        p = fake_expect(f, 3);
        if (memcmp(p.body + 2, "last", 4) != 0)
                fake_fail(f, "not the last publication");
        fake_drain(f);
}

START_TEST(outcome_of_publications_with_an_id) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.protocol = 5;
        open_fake(&rig, script_outcomes, &c);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 1, "a", "x", 1), -ENOTCONN);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 11, "a", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 11, "a", 0, "");
        ck_assert_int_eq(transport_publish_with_id(rig.t, 12, "b", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 12, "b", 0x87, "not authorized (PUBACK 0x87): no");
        ck_assert_int_eq(transport_publish_with_id(rig.t, 13, "c/#", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 13, "c/#", 0x90, "a topic that MQTT does not allow");
        ck_assert_int_eq(transport_publish(rig.t, "c/\xff", "x", 1), 0);
        rig_expect_text(&rig, TRANSPORT_DROPPED, "not valid UTF-8");
        ck_assert_int_eq(transport_publish(rig.t, "d", "x", 1), 0); /* without an id: no event */
        ck_assert_int_eq(transport_publish_with_id(rig.t, 14, "last", "x", 1), 0);
        close_fake(&rig);
        ck_assert_ptr_null(rig.first);
}
END_TEST

static void script_qos_0(Fake *f) {
        Packet p;

        bring_online(f, 4, "test/#");
        for (int i = 0; i < 3; i++) {
                p = fake_expect(f, 3);
                if (p.flags != 0)
                        fake_fail(f, "not QoS 0");
        }
        fake_hang_up(f);
        bring_online(f, 4, "test/#");
        fake_drain(f);
}

START_TEST(qos_0_is_told_when_it_is_sent) {
        TransportConfig c = rig_config(1);
        Seen *s;
        Rig rig;

        c.qos = 0;
        open_fake(&rig, script_qos_0, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 1, "a", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 1, "a", 0, "");
        ck_assert_int_eq(transport_publish(rig.t, "a", "x", 1), 0);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 2, "forbidden", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 2, "forbidden", 0, "");
        /* No answer was due; but the broker hangs up right behind it, as AWS does when a policy is missing. */
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
        ck_assert_ptr_nonnull(strstr(s->event.text, "right after PUBLISH forbidden"));
        ck_assert_str_eq(s->event.topic, "forbidden");
        ck_assert(!s->event.is_subscription);
        seen_free(s);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

/* ---- MQTT 5 ---- */

static void script_version_5_subacks(Fake *f) {
        Asked a;

        bring_online(f, 5, "test/#");
        a = expect_subscribe(f, 5);
        if (a.options[0] != (4 | 1))
                fake_fail(f, "no-local is missing");
        (void) fake_send_bytes(f, 0x90, 0x0A, a.mid[0], a.mid[1], 0x06, 0x1F, 0x00, 0x03, 'o', 'f', 'f', 0x87);
        a = expect_subscribe(f, 5);
        send_suback(f, 5, &a, "\x97");
        fake_drain(f);
}

START_TEST(version_5_subscriptions) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.protocol = 5;
        c.no_local = true;
        open_fake(&rig, script_version_5_subacks, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_subscribe(rig.t, 1, "a"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 1, "a", 0x87, "(SUBACK 0x87, not authorized): off");
        ck_assert_int_eq(transport_subscribe(rig.t, 2, "b"), 0);
        expect_answer(&rig, TRANSPORT_SUBACK, 2, "b", 0x97, "quota exceeded");
        close_fake(&rig);
}
END_TEST

static void script_ends_of_version_5(Fake *f) {
        bring_online(f, 5, "test/#");
        (void) fake_send_bytes(f, 0xE0, 0x08, 0x8E, 0x06, 0x1F, 0x00, 0x03, 'b', 'y', 'e');
        fake_drain(f);
        if (!fake_accept(f))
                return;
        (void) fake_expect(f, 1);
        (void) fake_send_bytes(f, 0x20, 0x03, 0x00, 0x86, 0x00);
        fake_drain(f);
        /* An old broker answers in its own version. */
        if (!fake_accept(f))
                return;
        (void) fake_expect(f, 1);
        (void) fake_send_bytes(f, 0x20, 0x02, 0x00, 0x01);
        fake_drain(f);
        bring_online(f, 5, "test/#");
        fake_drain(f);
}

static void expect_offline(Rig *rig, int code, int error, const char *part) {
        Seen *s = rig_next(rig);

        ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
        ck_assert_msg(s->event.code == code, "code %d (%s), expected %d", s->event.code, s->event.text, code);
        ck_assert_int_eq(s->event.error, error);
        ck_assert_ptr_null(s->event.topic);
        ck_assert_msg(strstr(s->event.text, part) != NULL, "\"%s\" does not say \"%s\"", s->event.text, part);
        seen_free(s);
}

START_TEST(reasons_have_their_numbers) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.protocol = 5;
        open_fake(&rig, script_ends_of_version_5, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        expect_offline(&rig, 142, ECONNRESET, "session taken over: another client has the same client id (142): bye");
        expect_offline(&rig, 0x86, ECONNREFUSED, "bad user name or password (CONNACK 134)");
        expect_offline(&rig, 0x84, ECONNREFUSED, "unsupported protocol version");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_fake(&rig);
}
END_TEST

/* Receive Maximum 2, Maximum Packet Size 40, Server Keep Alive 1. */
static void script_limits(Fake *f) {
        static const unsigned char props[] = { 0x21, 0x00, 0x02, 0x27, 0x00, 0x00, 0x00, 0x28, 0x13, 0x00, 0x01 };
        Packet p[3];
        Asked a;

        (void) accept_with(f, 5, props, sizeof props);
        a = expect_subscribe(f, 5);
        send_suback(f, 5, &a, granted);
        p[0] = fake_expect(f, 3);
        p[1] = fake_expect(f, 3);
        /* The third waits; the next thing to come is a PINGREQ. */
        (void) fake_expect(f, 12);
        (void) fake_send_bytes(f, 0xD0, 0x00);
        answer_publish(f, &p[1], 0);
        p[2] = fake_expect(f, 3);
        if (p[2].body[2] != 'c')
                fake_fail(f, "not the third publication");
        answer_publish(f, &p[0], 0);
        answer_publish(f, &p[2], 0);
        fake_drain(f);
}

START_TEST(limits_of_a_version_5_broker_are_kept) {
        TransportConfig c = rig_config(1);
        char large[64] = "";
        Rig rig;

        memset(large, 'x', sizeof large);
        c.protocol = 5;
        open_fake(&rig, script_limits, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 9, "l", large, sizeof large), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 9, "l", 0x95, "larger than the broker takes");
        ck_assert_int_eq(transport_publish_with_id(rig.t, 1, "a", "x", 1), 0);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 2, "b", "x", 1), 0);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 3, "c", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 2, "b", 0, "");
        expect_answer(&rig, TRANSPORT_PUBACK, 1, "a", 0, "");
        expect_answer(&rig, TRANSPORT_PUBACK, 3, "c", 0, "");
        close_fake(&rig);
}
END_TEST

static void script_qos_0_only(Fake *f) {
        static const unsigned char props[] = { 0x24, 0x00 };
        Packet p;
        Asked a;

        (void) accept_with(f, 5, props, sizeof props);
        a = expect_subscribe(f, 5);
        send_suback(f, 5, &a, "\0");
        p = fake_expect(f, 3);
        if (p.flags != 0)
                fake_fail(f, "QoS 1, which the broker does not take");
        fake_drain(f);
}

START_TEST(broker_without_qos_1) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.protocol = 5;
        open_fake(&rig, script_qos_0_only, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish_with_id(rig.t, 1, "a", "x", 1), 0);
        expect_answer(&rig, TRANSPORT_PUBACK, 1, "a", 0, "");
        close_fake(&rig);
}
END_TEST

/* ---- last will ---- */

static void script_will(Fake *f) {
        for (int protocol = 3; protocol <= 5; protocol++) {
                Packet p = accept_with(f, protocol, NULL, 0);
                static const char tail[] = "\0\4gone\0\3bye";
                size_t flags = protocol == 3 ? 9 : 7;

                /* will, QoS 1, retain; in MQTT 5 no properties before the topic */
                if ((p.body[flags] & 0x3C) != 0x2C || p.len < sizeof tail ||
                    memcmp(p.body + p.len - (sizeof tail - 1), tail, sizeof tail - 1) != 0)
                        fake_fail(f, "not the will that was set");
                fake_drain(f);
        }
}

START_TEST(last_will_is_in_connect) {
        fake_start(&fake, script_will);
        for (int protocol = 3; protocol <= 5; protocol++) {
                TransportConfig c = rig_config(fake.port);
                Rig rig;

                c.protocol = protocol;
                c.filters = NULL;
                c.will_topic = "gone";
                c.will_payload = "bye";
                c.will_len = 3;
                c.will_qos = 1;
                c.will_retain = true;
                rig_open(&rig, &c);
                rig_expect(&rig, TRANSPORT_ONLINE);
                rig_close(&rig);
        }
        fake_stop(&fake);
}
END_TEST

/* ---- against a real broker, with TLS ---- */

static void tls_setup(void) {
        Authority ca;

        rig_make_dir();
        ca = certs_authority("Unit CA");
        certs_write(rig_dir, "ca", "pem", ca.cert, NULL, NULL);
        certs_leaf(&ca, rig_dir, "server", "server", "DNS:broker.test,IP:127.0.0.1", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "client", "client", NULL, 0, -CERTS_DAY, 300 * CERTS_DAY);
        certs_authority_done(&ca);
        if (geteuid() == 0) { /* the broker becomes a user of its own */
                ck_assert_int_eq(chmod(rig_dir, 0755), 0);
                ck_assert_int_eq(chmod(rig_path("server.key"), 0644), 0);
        }
        rig_broker_port = rig_free_port();
        rig_broker_start_with("cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\n", rig_path("ca.pem"),
                              rig_path("server.pem"), rig_path("server.key"));
}

static TransportConfig tls_config(int protocol) {
        TransportConfig c = rig_config(rig_broker_port);

        c.ca_file = rig_path("ca.pem");
        c.cert_file = rig_path("client.pem");
        c.key_file = rig_path("client.key");
        c.protocol = protocol;
        return c;
}

START_TEST(subscriptions_come_and_go) {
        TransportConfig c = tls_config(5);
        bool mine[30] = { false };
        char filter[16];
        unsigned id = 0;
        Rig rig;

        rig_open(&rig, &c);
        rig_expect_online(&rig);
        for (unsigned i = 0; i < 600; i++) {
                unsigned k = (i * 7919U) % ELEMENTSOF(mine);

                (void) snprintf(filter, sizeof filter, "x/%u", k);
                ck_assert_int_eq(
                        mine[k] ? transport_unsubscribe(rig.t, filter) : transport_subscribe(rig.t, ++id, filter), 0);
                mine[k] = !mine[k];
                rig_collect(&rig, 0);
        }
        /* The last one's answer: all are through. */
        ck_assert_int_eq(transport_subscribe(rig.t, 9999, "last"), 0);
        for (bool last = false; !last;) {
                Seen *s = rig_next(&rig);

                ck_assert_int_eq((int) s->event.type, TRANSPORT_SUBACK);
                ck_assert_int_eq(s->event.code, 1);
                last = s->event.id == 9999;
                seen_free(s);
        }
        for (unsigned k = 0; k < ELEMENTSOF(mine); k++) {
                (void) snprintf(filter, sizeof filter, "x/%u", k);
                ck_assert_int_eq(transport_publish(rig.t, filter, "", 0), 0);
        }
        ck_assert_int_eq(transport_publish(rig.t, "last", "", 0), 0);
        for (unsigned k = 0; k < ELEMENTSOF(mine); k++) {
                (void) snprintf(filter, sizeof filter, "x/%u", k);
                if (mine[k])
                        rig_expect_message(&rig, filter, "");
        }
        rig_expect_message(&rig, "last", "");
        rig_close(&rig);
}
END_TEST

typedef struct Echo {
        Rig *rig;
        unsigned left, in_flight, failed;
} Echo;

/* Each message that comes sends the next one: from inside the handler. */
static void on_echo(const TransportEvent *event, void *userdata) {
        Echo *echo = userdata;
        char text[16];

        if (event->type != TRANSPORT_MESSAGE) {
                echo->failed += event->type != TRANSPORT_PUBACK || event->code != 0;
                return;
        }
        echo->in_flight--;
        if (echo->left == 0)
                return;
        (void) snprintf(text, sizeof text, "%u", echo->left--);
        if (transport_publish_with_id(echo->rig->t, 5, "test/echo", text, strlen(text)) == 0)
                echo->in_flight++;
        else
                echo->failed++;
}

static void converse(int qos, unsigned window) {
        TransportConfig c = tls_config(4);
        Rig rig;
        Echo echo = { .rig = &rig, .left = 3000 };

        c.qos = qos;
        rig_open(&rig, &c);
        rig_expect_online(&rig);
        for (; echo.in_flight < window; echo.in_flight++)
                ck_assert_int_eq(transport_publish(rig.t, "test/echo", "x", 1), 0);
        while (echo.in_flight > 0) {
                struct pollfd p = { .fd = transport_fd(rig.t), .events = POLLIN };

                ck_assert_msg(poll(&p, 1, RIG_WAIT_SEC * 1000) == 1, "stuck with %u in flight", echo.in_flight);
                transport_dispatch(rig.t, on_echo, &echo);
        }
        ck_assert_uint_eq(echo.left, 0);
        ck_assert_uint_eq(echo.failed, 0);
        rig_close(&rig);
}

START_TEST(handler_keeps_the_conversation_going) {
        for (int qos = 0; qos <= 1; qos++) {
                converse(qos, 1);
                converse(qos, 32);
        }
}
END_TEST

START_TEST(own_publications_stay_away) {
        TransportConfig c = tls_config(5);
        Rig here, there;

        c.no_local = true;
        rig_open(&here, &c);
        rig_expect_online(&here);
        c.client_id = "other";
        rig_open(&there, &c);
        rig_expect_online(&there);
        ck_assert_int_eq(transport_publish(here.t, "test/a", "mine", 4), 0);
        rig_expect_message(&there, "test/a", "mine");
        ck_assert_int_eq(transport_publish(there.t, "test/b", "yours", 5), 0);
        rig_expect_message(&here, "test/b", "yours");
        rig_close(&here);
        rig_close(&there);
}
END_TEST

/* Mosquitto 2.0.11 takes a client's place without telling it why; script_ends_of_version_5() does. */
START_TEST(take_over_leaves_a_will) {
        TransportConfig c = tls_config(5);
        Rig watcher, first, second;

        c.client_id = "watcher";
        rig_open(&watcher, &c);
        rig_expect_online(&watcher);
        c.client_id = "same";
        c.will_topic = "test/will";
        c.will_payload = "gone";
        c.will_len = 4;
        c.will_qos = 1;
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        rig_open(&first, &c);
        rig_expect_online(&first);
        rig_open(&second, &c);
        rig_expect_online(&second);
        rig_expect(&first, TRANSPORT_OFFLINE);
        rig_expect_message(&watcher, "test/will", "gone");
        rig_close(&first);
        rig_close(&second); /* with DISCONNECT: no will */
        ck_assert_int_eq(transport_publish(watcher.t, "test/end", "", 0), 0);
        rig_expect_message(&watcher, "test/end", "");
        rig_close(&watcher);
}
END_TEST

START_TEST(subscriptions_outlive_the_broker) {
        for (int protocol = 3; protocol <= 5; protocol++) {
                TransportConfig c = tls_config(protocol);
                Rig rig;

                rig_open(&rig, &c);
                rig_expect_online(&rig);
                ck_assert_int_eq(transport_subscribe(rig.t, 1, "mine/+"), 0);
                expect_answer(&rig, TRANSPORT_SUBACK, 1, "mine/+", 1, "granted");
                rig_broker_stop();
                rig_expect(&rig, TRANSPORT_OFFLINE);
                rig_broker_start_again();
                rig_expect_online(&rig);
                ck_assert_int_eq(transport_publish(rig.t, "mine/x", "x", 1), 0);
                rig_expect_message(&rig, "mine/x", "x");
                rig_close(&rig);
        }
}
END_TEST

static TCase *pure_cases(void) {
        TCase *tc = tcase_create("packets");

        tcase_add_test(tc, publish_is_read_as_it_was_written);
        tcase_add_test(tc, publish_has_limits);
        tcase_add_test(tc, malformed_publish_is_refused);
        tcase_add_test(tc, puback_and_its_reason);
        tcase_add_test(tc, so_many_subscriptions_and_no_more);
        tcase_add_test(tc, owner_is_woken_once_and_only_when_it_sleeps);
        tcase_add_test(tc, quiet_pubacks_wait_for_others);
        tcase_add_test(tc, network_is_woken_once_and_only_when_it_sleeps);
        return tc;
}

static TCase *script_cases(void) {
        TCase *tc = tcase_create("script");

        tcase_set_timeout(tc, 120);
        tcase_add_test(tc, subscribe_while_online);
        tcase_add_test(tc, subscribe_before_the_connection);
        tcase_add_test(tc, suback_may_come_on_the_next_connection);
        tcase_add_test(tc, filter_that_makes_the_broker_hang_up_is_found);
        tcase_add_test(tc, kept_filter_is_asked_for_again_slowly);
        tcase_add_test(tc, unsubscribe_at_any_time);
        tcase_add_test(tc, at_most_eight_a_packet);
        tcase_add_test(tc, missing_suback_of_an_added_filter_has_a_deadline);
        tcase_add_test(tc, outcome_of_publications_with_an_id);
        tcase_add_test(tc, qos_0_is_told_when_it_is_sent);
        tcase_add_test(tc, version_5_subscriptions);
        tcase_add_test(tc, reasons_have_their_numbers);
        tcase_add_test(tc, limits_of_a_version_5_broker_are_kept);
        tcase_add_test(tc, broker_without_qos_1);
        tcase_add_test(tc, last_will_is_in_connect);
        return tc;
}

static TCase *broker_cases(void) {
        TCase *tc = tcase_create("broker");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, tls_setup, rig_broker_teardown);
        tcase_add_test(tc, subscriptions_come_and_go);
        tcase_add_test(tc, handler_keeps_the_conversation_going);
        tcase_add_test(tc, own_publications_stay_away);
        tcase_add_test(tc, take_over_leaves_a_will);
        tcase_add_test(tc, subscriptions_outlive_the_broker);
        return tc;
}

UNIT_MAIN("session", pure_cases(), script_cases(), broker_cases())
