/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to the broker: HTTP proxy and WebSocket against scripted peers that say exactly what a test wants, then against
 * programs that nobody here wrote. Keys in tokens are in test-keys.c. */
#include "certs.h"
#include "transport-rig.h"

#include <fcntl.h>
#include <time.h>

#include "proto/sigv4.h"
#include "transport/digest.h"
#include "transport/http.h"

enum { HEAD_MAX = 8192, NEVER_SEC = 3600, FRAME_FIN = 0x80, FRAME_MASK = 0x80 };

/* ---- scripted HTTP ---- */

static char seen_head[HEAD_MAX]; /* the last request that a script has read */

/* Everything up to the empty line. */
static bool read_head(Fake *f) {
        size_t n = 0;

        while (n + 1 < sizeof seen_head && fake_read(f, seen_head + n, 1)) {
                seen_head[++n] = '\0';
                if (n >= 4 && strcmp(seen_head + n - 4, "\r\n\r\n") == 0)
                        return true;
        }
        fake_fail(f, "no whole request came");
        return false;
}

static bool send_text(Fake *f, const char *text) {
        return fake_send(f, text, strlen(text));
}

static void fail_with_head(Fake *f) {
        char text[200];

        (void) snprintf(text, sizeof text, "not the request that was expected: %.150s", seen_head);
        fake_fail(f, text);
}

static void must_have(Fake *f, const char *line) {
        char text[200];

        if (strstr(seen_head, line))
                return;
        (void) snprintf(text, sizeof text, "the request has no %.150s", line);
        fake_fail(f, text);
}

static void drain_bytes(Fake *f) {
        char byte;

        while (fake_read(f, &byte, 1))
                ;
}

/* Read the request, send what the test wants, wait for the other side to go. */
static void script_answer(Fake *f) {
        if (fake_accept(f) && read_head(f) && send_text(f, f->userdata))
                drain_bytes(f);
}

static TransportConfig once(uint16_t port) {
        TransportConfig c = rig_config(port);

        c.reconnect_min_usec = c.reconnect_max_usec = NEVER_SEC * USEC_PER_SEC;
        return c;
}

/* A first attempt that fails with these words. */
static void expect_refusal(const TransportConfig *c, const char *part, const char *other) {
        Rig rig;
        Seen *s;

        rig_open(&rig, c);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
        ck_assert_msg(strstr(s->event.text, part) != NULL, "%s\nhas no \"%s\"", s->event.text, part);
        ck_assert_msg(strstr(s->event.text, other) != NULL, "%s\nhas no \"%s\"", s->event.text, other);
        seen_free(s);
        rig_close(&rig);
}

/* ---- proxy, scripted ---- */

static TransportConfig proxy_config(uint16_t port) {
        TransportConfig c = once(port);

        c.host = "nowhere.test"; /* only the proxy could look it up */
        c.port = 1883;
        c.proxy_host = "broker.test";
        c.proxy_port = port;
        return c;
}

static bool bring_online(Fake *f) {
        Packet p = fake_expect(f, 1);

        if (p.type != 1 || !fake_send_bytes(f, 0x20, 0x02, 0x00, 0x00))
                return false;
        p = fake_expect(f, 8);
        fake_suback(f, &p, -1);
        return p.type == 8;
}

static void script_proxy(Fake *f) {
        if (!fake_accept(f) || !read_head(f))
                return;
        if (strncmp(seen_head, "CONNECT nowhere.test:1883 HTTP/1.1\r\n", 36) != 0)
                fail_with_head(f);
        must_have(f, "\r\nHost: nowhere.test:1883\r\n");
        if (f->userdata)
                must_have(f, f->userdata);
        else if (strstr(seen_head, "Authorization"))
                fake_fail(f, "a password nobody has set");
        if (send_text(f, "HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 200 Connection established\r\nX: y\r\n\r\n") &&
            bring_online(f))
                fake_drain(f);
}

START_TEST(proxy_is_asked_for_the_broker) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_start(&f, script_proxy);
        c = proxy_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

START_TEST(proxy_gets_user_and_password) {
        Fake f = { .userdata = (char[]){ "\r\nProxy-Authorization: Basic dXMgZXI6cDp3\r\n" } };
        TransportConfig c;
        Rig rig;

        fake_start(&f, script_proxy);
        c = proxy_config(f.port);
        c.proxy_user = "us er";
        c.proxy_password = "p:w";
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

START_TEST(proxy_refusals_are_named) {
        static const struct {
                const char *answer, *user, *password, *part;
        } known[] = {
                { "HTTP/1.1 407 No\r\n\r\n", NULL, NULL, "asks for a user name and password (407)" },
                { "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n", "u", "p",
                  "refuses the password of user u (407)" },
                { "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", "u", NULL,
                  "none is set" },
                { "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM, Negotiate\r\nContent-Length: 0\r\n\r\n", "u", "p",
                  "NTLM, Negotiate" },
                { "HTTP/1.1 403 Filtered\r\nContent-Length: 9\r\n\r\nno \xc3\xa4 way", NULL, NULL,
                  "makes no connection: 403 Filtered: \"no ?? way\"" },
                { "HTTP/1.1 502 Bad Gateway\r\n\r\n<p>dead\r\nhost</p>", NULL, NULL,
                  "502 Bad Gateway: \"<p>dead host</p>\"" },
                { "HTTP/1.1 200 OK\r\n\r\nhello", NULL, NULL, "sent 5 bytes behind its answer" },
                { "SSH-2.0-OpenSSH\r\n", NULL, NULL, "the proxy does not speak HTTP" },
                { "HTTP/1.1 200 OK\r\nbad line\r\n\r\n", NULL, NULL, "the proxy sent a damaged HTTP header" },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Fake f = { .userdata = (void *) (uintptr_t) known[i].answer };
                TransportConfig c;

                fake_start(&f, script_answer);
                c = proxy_config(f.port);
                c.proxy_user = known[i].user;
                c.proxy_password = known[i].password;
                expect_refusal(&c, known[i].part, "through the proxy broker.test:");
                fake_stop(&f);
        }
}
END_TEST

static void script_hang_up(Fake *f) {
        if (fake_accept(f) && read_head(f))
                fake_hang_up(f);
}

START_TEST(proxy_that_hangs_up_is_named) {
        Fake f = { 0 };
        TransportConfig c;

        fake_start(&f, script_hang_up);
        c = proxy_config(f.port);
        expect_refusal(&c, "closed the connection without an answer", "the proxy broker.test:");
        fake_stop(&f);
}
END_TEST

static void script_endless_header(Fake *f) {
        if (!fake_accept(f) || !read_head(f) || !send_text(f, "HTTP/1.1 200 OK\r\n"))
                return;
        while (send_text(f, "X-Header: and on and on and on and on and on and on and on and on\r\n"))
                ;
}

START_TEST(endless_headers_end) {
        for (int websocket = 0; websocket < 2; websocket++) {
                Fake f = { 0 };
                TransportConfig c;

                fake_start(&f, script_endless_header);
                c = websocket ? once(f.port) : proxy_config(f.port);
                c.websocket = websocket;
                c.username = websocket ? "user" : NULL;
                expect_refusal(&c, "more than 16384 bytes of HTTP header", websocket ? "the server" : "the proxy");
                fake_stop(&f);
        }
}
END_TEST

static void script_silent(Fake *f) {
        if (fake_accept(f))
                drain_bytes(f);
}

START_TEST(silence_has_a_deadline) {
        for (int websocket = 0; websocket < 2; websocket++) {
                Fake f = { 0 };
                TransportConfig c;

                fake_start(&f, script_silent);
                c = websocket ? once(f.port) : proxy_config(f.port);
                c.websocket = websocket;
                c.username = websocket ? "user" : NULL;
                c.connect_timeout_usec = 200 * RIG_MSEC;
                expect_refusal(&c, websocket ? "no answer to the WebSocket request" : "the proxy made no connection",
                               "in 200 ms");
                fake_stop(&f);
        }
}
END_TEST

/* A refusal whose body never ends is told all the same. */
START_TEST(body_without_end_is_quoted) {
        Fake f = { .userdata = (char[]){ "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nthe beginning" } };
        TransportConfig c;

        fake_start(&f, script_answer);
        c = proxy_config(f.port);
        expect_refusal(&c, "403 Forbidden: \"the beginning\"", "the proxy");
        fake_stop(&f);
}
END_TEST

START_TEST(unreachable_proxy_is_named) {
        TransportConfig c = proxy_config(1);

        c.proxy_port = rig_free_port();
        expect_refusal(&c, "cannot connect to the proxy broker.test:", "127.0.0.1: Connection refused");
        c.proxy_host = "no-proxy.test";
        expect_refusal(&c, "cannot look up the proxy's name no-proxy.test", "nowhere.test:1883");
}
END_TEST

/* ---- WebSocket, scripted ---- */

static void accept_key(char *ret, size_t size) {
        const char *at = strstr(seen_head, "\r\nSec-WebSocket-Key: ");
        unsigned char digest[DIGEST_SHA1_SIZE];
        Buf b CLEANUP_BUF = { 0 };
        char text[128];

        ck_assert_ptr_nonnull(at);
        (void) snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", at + 21);
        ck_assert(digest_sha1(text, strlen(text), digest));
        http_put_base64(&b, digest, sizeof digest);
        (void) snprintf(ret, size, "%s", b.data);
}

/* Take the request and agree; `more` are further fields, `behind` is what comes with the end of the answer. */
static bool upgrade(Fake *f, const char *more, const char *behind) {
        char key[64], text[512];

        if (!fake_accept(f) || !read_head(f))
                return false;
        accept_key(key, sizeof key);
        (void) snprintf(text, sizeof text,
                        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n%s\r\n%s",
                        key, more, behind);
        return send_text(f, text);
}

static bool send_frame(Fake *f, unsigned first, const void *payload, size_t len) {
        unsigned char head[4] = { (unsigned char) first, (unsigned char) (len < 126 ? len : 126),
                                  (unsigned char) (len >> 8), (unsigned char) len };

        return fake_send(f, head, len < 126 ? 2 : 4) && (len == 0 || fake_send(f, payload, len));
}

/* The next frame of the client; its opcode with FIN, 0 = closed or not as it must be. */
static unsigned read_frame(Fake *f, unsigned char *ret, size_t size, size_t *ret_len) {
        unsigned char head[2], more[2], mask[4];
        size_t len;

        if (!fake_read(f, head, 2))
                return 0;
        len = head[1] & 0x7F;
        if (!(head[1] & FRAME_MASK) || len == 127)
                fake_fail(f, "a frame without a mask, or a huge one");
        if (len == 126) {
                if (!fake_read(f, more, 2))
                        return 0;
                len = (size_t) more[0] << 8 | more[1];
        }
        if (len > size || !fake_read(f, mask, 4) || !fake_read(f, ret, len))
                return 0;
        for (size_t i = 0; i < len; i++)
                ret[i] ^= mask[i % 4];
        *ret_len = len;
        return head[0];
}

/* A whole MQTT packet of this type in a binary message. */
static bool expect_packet(Fake *f, unsigned type, Packet *ret) {
        unsigned char frame[512];
        size_t len = 0;
        unsigned first = read_frame(f, frame, sizeof frame, &len);

        if (first != (FRAME_FIN | 2) || len < 2 || frame[0] >> 4 != (int) type) {
                fake_fail(f, "not the packet that was expected");
                return false;
        }
        *ret = (Packet){ .type = (unsigned char) type, .len = len - 2 };
        memcpy(ret->body, frame + 2, len - 2);
        return true;
}

static bool websocket_online(Fake *f) {
        Packet p;
        unsigned char suback[] = { 0x90, 0x03, 0, 0, 1 };

        if (!expect_packet(f, 1, &p) || !send_frame(f, FRAME_FIN | 2, "\x20\x02\x00\x00", 4) ||
            !expect_packet(f, 8, &p))
                return false;
        memcpy(suback + 2, p.body, 2);
        return send_frame(f, FRAME_FIN | 2, suback, sizeof suback);
}

static TransportConfig websocket_config(uint16_t port) {
        TransportConfig c = once(port);

        c.websocket = true;
        c.username = "user"; /* a custom authorizer: nothing is signed */
        return c;
}

static void script_upgrade(Fake *f) {
        if (!upgrade(f, f->userdata, "") || !websocket_online(f))
                return;
        if (strncmp(seen_head, "GET /mqtt HTTP/1.1\r\n", 20) != 0)
                fail_with_head(f);
        must_have(f, "\r\nUpgrade: websocket\r\n");
        must_have(f, "\r\nConnection: Upgrade\r\n");
        must_have(f, "\r\nSec-WebSocket-Version: 13\r\n");
        must_have(f, "\r\nSec-WebSocket-Protocol: mqtt\r\n");
        drain_bytes(f);
}

START_TEST(websocket_with_and_without_a_subprotocol) {
        static const char *const fields[] = { "", "Sec-WebSocket-Protocol: mqtt\r\n" };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                Fake f = { .userdata = (void *) (uintptr_t) fields[i] };
                TransportConfig c;
                char host[64];
                Rig rig;

                fake_start(&f, script_upgrade);
                c = websocket_config(f.port);
                rig_open(&rig, &c);
                rig_expect(&rig, TRANSPORT_ONLINE);
                rig_close(&rig);
                fake_stop(&f);
                (void) snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", f.port);
                ck_assert_ptr_nonnull(strstr(seen_head, host));
        }
}
END_TEST

/* 101, but not for us. "ACCEPT" stands for the right Sec-WebSocket-Accept. */
static void script_bad_upgrade(Fake *f) {
        const char *answer = f->userdata, *at = strstr(answer, "ACCEPT");
        char key[64];

        if (!fake_accept(f) || !read_head(f))
                return;
        accept_key(key, sizeof key);
        if (at ? fake_send(f, answer, (size_t) (at - answer)) && send_text(f, key) && send_text(f, at + 6)
               : send_text(f, answer))
                drain_bytes(f);
}

START_TEST(wrong_upgrades_are_named) {
        static const struct {
                const char *answer, *part;
        } known[] = {
                { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                  "xACCEPT\r\n\r\n",
                  "Accept is wrong" },
                { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n", "Accept is missing" },
                { "HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
                  "did not upgrade" },
                { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", "did not upgrade" },
                { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
                  "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n",
                  "the WebSocket subprotocol \"mqttv3.1\", expected \"mqtt\"" },
                { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
                  "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                  "extension" },
                { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                  "refuses the WebSocket connection: 200 OK: \"hi\"" },
                { "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n",
                  "404 Not Found: \"gone\"" },
                { "HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n{\"message\":\"Forbidden\"}",
                  "403 Forbidden: \"{\"message\":\"Forbidden\"}\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Fake f = { .userdata = (void *) (uintptr_t) known[i].answer };
                TransportConfig c;

                fake_start(&f, script_bad_upgrade);
                c = websocket_config(f.port);
                expect_refusal(&c, known[i].part, "");
                fake_stop(&f);
        }
}
END_TEST

/* Pings are answered, packets may be cut into frames and frames packed into one message, and the first bytes may come with the
 * end of the HTTP answer. */
static void script_frames(Fake *f) {
        static const unsigned char message[] = { 0x30, 0x09, 0x00, 0x06, 't', 'e', 's', 't', '/', 'a', 'x' };
        unsigned char frame[256], twice[2 * sizeof message];
        size_t len = 0;

        if (!upgrade(f, "", "\x89\x02hi") || read_frame(f, frame, sizeof frame, &len) != (FRAME_FIN | 10) || len != 2 ||
            memcmp(frame, "hi", 2) != 0)
                fake_fail(f, "no pong for a ping");
        if (!websocket_online(f))
                return;
        for (size_t i = 0; i < sizeof message; i++) {
                (void) send_frame(f, (i == 0 ? 2U : 0U) | (i == sizeof message - 1 ? FRAME_FIN : 0U), message + i, 1);
                (void) send_frame(f, FRAME_FIN | 9, NULL, 0);
        }
        memcpy(twice, message, sizeof message);
        memcpy(twice + sizeof message, message, sizeof message);
        (void) send_frame(f, FRAME_FIN | 2, twice, sizeof twice);
        (void) send_frame(f, FRAME_FIN | 2, NULL, 0);
        for (size_t i = 0; i < sizeof message; i++)
                if (read_frame(f, frame, sizeof frame, &len) != (FRAME_FIN | 10) || len != 0)
                        fake_fail(f, "not every ping has its pong");
        drain_bytes(f);
}

START_TEST(frames_of_every_shape) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_start(&f, script_frames);
        c = websocket_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 3; i++)
                rig_expect_message(&rig, "test/a", "x");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

typedef struct Ending {
        const char *bytes;
        size_t len;
        const char *part;
} Ending;

static void script_ending(Fake *f) {
        const Ending *ending = f->userdata;

        if (upgrade(f, "", "") && websocket_online(f) && fake_send(f, ending->bytes, ending->len))
                drain_bytes(f);
}

#define ENDING(bytes, part)                                                                                            \
        { bytes, sizeof bytes - 1, part }

START_TEST(endings_are_named) {
        static const Ending known[] = {
                ENDING("\x88\x05\x03\xe8"
                       "bye",
                       "closed the WebSocket connection (normal closure): bye"),
                ENDING("\x88\x02\x03\xe9", "closed the WebSocket connection (going away)"),
                ENDING("\x88\x02\x03\xe7", "no WebSocket"), /* 999 may not be sent */
                ENDING("\x88\x05\x0f\xa0"
                       "\x1b[m",
                       "closed the WebSocket connection: ?[m"),
                ENDING("\x88\x00", "the broker closed the WebSocket connection"),
                ENDING("\x81\x01x", "text message"),
                ENDING("\xc2\x01x", "no WebSocket"),
                ENDING("\x83\x01x", "no WebSocket"),
                ENDING("\x80\x01x", "no WebSocket"),
                ENDING("\x82\x7f\x00\x00\x00\x00\x00\x04\x00\x11x", "more than 262160 bytes"),
                ENDING("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx", "more than 262160 bytes"),
                ENDING("\x82\x02\xf0\x00", "127.0.0.1"), /* what MQTT does not take */
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Fake f = { .userdata = (void *) (uintptr_t) &known[i] };
                TransportConfig c;
                Rig rig;

                fake_start(&f, script_ending);
                c = websocket_config(f.port);
                rig_open(&rig, &c);
                rig_expect(&rig, TRANSPORT_ONLINE);
                rig_expect_text(&rig, TRANSPORT_OFFLINE, known[i].part);
                rig_close(&rig);
                fake_stop(&f);
        }
}
END_TEST

/* A peer that only pings, and does not read the pongs. */
static void script_ping_flood(Fake *f) {
        char pings[4096];

        for (size_t i = 0; i < sizeof pings; i += 2)
                memcpy(pings + i, "\x89", 2);
        if (!upgrade(f, "", "") || !websocket_online(f))
                return;
        while (fake_send(f, pings, sizeof pings))
                ;
}

START_TEST(a_flood_of_pings_ends) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_start(&f, script_ping_flood);
        c = websocket_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "WebSocket");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

/* ---- signed ---- */

#define SIGNED_HOST "broker.test"

static void write_credentials(const char *id, const char *secret) {
        FILE *f = fopen(rig_path("credentials"), "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(fprintf(f,
                                 "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=t/k\n",
                                 id, secret),
                         0);
        ck_assert_int_eq(fclose(f), 0);
}

static TransportConfig signed_config(uint16_t port) {
        TransportConfig c = rig_config(port);

        (void) unsetenv("AWS_ACCESS_KEY_ID");
        (void) unsetenv("AWS_SECRET_ACCESS_KEY");
        (void) unsetenv("AWS_PROFILE");
        c.host = SIGNED_HOST;
        c.websocket = true;
        c.region = "eu-west-1";
        c.aws_credentials_file = rig_path("credentials");
        return c;
}

/* What the request must say, given the time that it says. */
static void check_signature(Fake *f, const char *id, const char *secret) {
        const char *date = strstr(seen_head, "&X-Amz-Date=");
        Buf want CLEANUP_BUF = { 0 };
        struct tm tm = { 0 };

        if (!date || !strptime(date + 12, "%Y%m%dT%H%M%SZ", &tm) ||
            llabs((long long) timegm(&tm) - clock_wall_sec()) > 60) {
                fake_fail(f, "no date, or not of today");
                return;
        }
        buf_puts(&want, "GET ");
        if (sigv4_presign(&(Sigv4Request){ .host = SIGNED_HOST,
                                           .region = "eu-west-1",
                                           .access_key_id = id,
                                           .secret_access_key = secret,
                                           .session_token = "t/k",
                                           .time = timegm(&tm),
                                           .expires = 86400 },
                          &digest_sigv4, &want, NULL) < 0 ||
            strncmp(seen_head, want.data, want.len) != 0)
                fail_with_head(f);
}

/* The first connection is closed as AWS does after 24 hours; the second one needs a new signature with what is in the file
 * then. */
static void script_two_signatures(Fake *f) {
        if (!upgrade(f, "", "") || !websocket_online(f))
                return;
        check_signature(f, "ID1", "s1");
        write_credentials("ID2", "s2");
        (void) send_frame(f, FRAME_FIN | 8, "\x03\xe8", 2);
        drain_bytes(f);
        if (!upgrade(f, "", "") || !websocket_online(f))
                return;
        check_signature(f, "ID2", "s2");
        drain_bytes(f);
}

START_TEST(each_connection_is_signed_anew) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        write_credentials("ID1", "s1");
        fake_start(&f, script_two_signatures);
        c = signed_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "normal closure");
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

/* A 403 whose Date is 2 hours from ours, or whose body speaks of the time, is the clock's fault; another one is not. */
START_TEST(a_wrong_clock_is_named) {
        static const struct {
                int off_sec;
                const char *body, *part, *other;
        } known[] = {
                { 7200, "x", "the clock of this machine is 1", "minutes slow" },
                { -7200, "x", "the clock of this machine is 1", "minutes fast" },
                { 0, "Signature expired: 20200101", "look at the clock of this machine",
                  "403 Forbidden: \"Signature expired" },
                { 0, "{\"message\":\"Signature not yet current\"}", "look at the clock", "403" },
                { 0, "no", "refuses the WebSocket connection: 403 Forbidden: \"no\"", "" },
        };

        write_credentials("ID", "s");
        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                time_t at = (time_t) clock_wall_sec() + known[i].off_sec;
                char date[64], answer[512];
                struct tm tm;
                Fake f = { .userdata = answer };
                TransportConfig c;

                ck_assert_uint_gt(strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &tm)), 0);
                (void) snprintf(answer, sizeof answer,
                                "HTTP/1.1 403 Forbidden\r\nDate: %s\r\nContent-Length: %zu\r\n\r\n%s", date,
                                strlen(known[i].body), known[i].body);
                fake_start(&f, script_answer);
                c = signed_config(f.port);
                c.reconnect_min_usec = c.reconnect_max_usec = NEVER_SEC * USEC_PER_SEC;
                expect_refusal(&c, known[i].part, known[i].other);
                fake_stop(&f);
        }
}
END_TEST

/* What is missing for a signature is said when the transport is made. */
START_TEST(what_cannot_be_signed_is_refused_at_once) {
        TransportConfig c = signed_config(443);
        Transport *t = NULL;
        Error e = { 0 };

        ck_assert_int_eq(transport_new(&c, &t, &e), -ENOENT);
        ck_assert_msg(strstr(e.text, "credentials: No such file") != NULL, "%s", e.text);
        write_credentials("ID", "s");
        c.region = NULL;
        ck_assert_int_eq(transport_new(&c, &t, &e), -EINVAL);
        ck_assert_msg(strstr(e.text, "no region in the host name \"broker.test\"") != NULL, "%s", e.text);
        c.host = "abc-ats.iot.eu-west-1.amazonaws.com";
        ck_assert_int_eq(transport_new(&c, &t, &e), 0);
        ck_assert_ptr_null(transport_free(t, 0));
}
END_TEST

/* ---- programs that nobody here wrote ---- */

static pid_t helper_pid;
static uint16_t helper_port, secure_port, websocket_port, secure_websocket_port;

static void start_program(pid_t *ret, char *const *argv) {
        *ret = fork();
        if (*ret == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                int log = open(rig_path("helper.log"), O_WRONLY | O_CREAT | O_APPEND, 0600);

                (void) dup2(log, STDOUT_FILENO);
                (void) dup2(log, STDERR_FILENO);
                (void) execvp(argv[0], argv);
                _exit(127);
        }
        ck_assert_int_gt(*ret, 0);
}

static void stop_program(pid_t *pid) {
        if (*pid > 0) {
                (void) kill(*pid, SIGTERM);
                (void) waitpid(*pid, NULL, 0);
        }
        *pid = 0;
}

static void write_broker_conf(const char *path) {
        FILE *f = fopen(path, "we");
        const uint16_t ports[] = { rig_broker_port, secure_port, websocket_port, secure_websocket_port };

        ck_assert_ptr_nonnull(f);
        (void) fprintf(f, "allow_anonymous true\npersistence false\nlog_type none\n%s",
                       geteuid() == 0 ? "user root\n" : "" /* else it could not read our files */);
        for (size_t i = 0; i < ELEMENTSOF(ports); i++) {
                (void) fprintf(f, "listener %u 127.0.0.1\n%s", ports[i], i >= 2 ? "protocol websockets\n" : "");
                if (i % 2 == 1)
                        (void) fprintf(f, "certfile %s\nkeyfile %s\n", rig_path("server.pem"), rig_path("server.key"));
        }
        ck_assert_int_eq(fclose(f), 0);
}

static void real_setup(void) {
        Authority a;

        rig_make_dir();
        a = certs_authority("ca");
        certs_write(rig_dir, "ca", "pem", a.cert, NULL, NULL);
        certs_leaf(&a, rig_dir, "server", "server", "DNS:localhost,DNS:broker.test,IP:127.0.0.1", 0, -CERTS_DAY,
                   100 * CERTS_DAY);
        certs_authority_done(&a);
        rig_broker_port = rig_free_port();
        secure_port = rig_free_port();
        websocket_port = rig_free_port();
        secure_websocket_port = rig_free_port();
        helper_port = rig_free_port();
        write_broker_conf(rig_path("mosquitto.conf"));
        start_program(&rig_broker_pid, (char *const[]){ (char[]){ "/usr/sbin/mosquitto" }, (char[]){ "-c" },
                                                        (char *) (uintptr_t) rig_path("mosquitto.conf"), NULL });
}

static void real_teardown(void) {
        stop_program(&helper_pid);
        rig_broker_stop();
        rig_remove_dir();
}

/* Online, and a message there and back that fills several frames and reads. */
static void expect_works(const TransportConfig *config) {
        TransportConfig c = *config;
        char *payload CLEANUP_FREE = calloc(1, 100001);
        Rig rig;

        c.reconnect_min_usec = 20 * RIG_MSEC;
        c.reconnect_max_usec = 200 * RIG_MSEC;
        memset(payload, 'p', 100000);
        rig_open(&rig, &c);
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/big", payload, 100000), 0);
        ck_assert_int_eq(transport_publish(rig.t, "test/small", "s", 1), 0);
        rig_expect_message(&rig, "test/big", payload);
        rig_expect_message(&rig, "test/small", "s");
        rig_close(&rig);
}

static TransportConfig secure(TransportConfig c) {
        c.ca_file = rig_path("ca.pem");
        return c;
}

static TransportConfig authorized(TransportConfig c) {
        c.websocket = true;
        c.username = "user";
        return c;
}

START_TEST(mosquitto_by_websocket) {
        TransportConfig c = authorized(rig_config(websocket_port));

        expect_works(&c);
        c = secure(authorized(rig_config(secure_websocket_port)));
        expect_works(&c);
}
END_TEST

START_TEST(mosquitto_by_signed_websocket) {
        TransportConfig c = signed_config(secure_websocket_port);

        write_credentials("ID", "s");
        c = secure(c);
        expect_works(&c);
}
END_TEST

/* websockify on its own knows the subprotocol "binary" only. */
static const char websockify[] =
        "import sys\n"
        "from websockify import websockifyserver, websocketproxy\n"
        "websockifyserver.CompatibleWebSocket.select_subprotocol = lambda self, protocols: 'mqtt'\n"
        "websocketproxy.WebSocketProxy(listen_host='127.0.0.1', listen_port=int(sys.argv[1]), "
        "target_host='127.0.0.1',\n"
        "        target_port=int(sys.argv[2]), ssl_only=True, cert=sys.argv[3], key=sys.argv[4]).start_server()\n";

START_TEST(websockify_with_tls) {
        TransportConfig c = secure(authorized(rig_config(helper_port)));
        char from[8], to[8];

        (void) snprintf(from, sizeof from, "%u", helper_port);
        (void) snprintf(to, sizeof to, "%u", rig_broker_port);
        start_program(&helper_pid, (char *const[]){ (char[]){ "/usr/bin/python3" }, (char[]){ "-c" },
                                                    (char *) (uintptr_t) websockify, from, to,
                                                    (char *) (uintptr_t) rig_path("server.pem"),
                                                    (char *) (uintptr_t) rig_path("server.key"), NULL });
        expect_works(&c);
        stop_program(&helper_pid);
}
END_TEST

static void start_tinyproxy(const char *more) {
        const char *conf = rig_path("tinyproxy.conf");
        FILE *f = fopen(conf, "we");

        ck_assert_ptr_nonnull(f);
        (void) fprintf(f, "Port %u\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nAllow 127.0.0.1\n%s", helper_port,
                       more);
        ck_assert_int_eq(fclose(f), 0);
        start_program(&helper_pid, (char *const[]){ (char[]){ "tinyproxy" }, (char[]){ "-d" }, (char[]){ "-c" },
                                                    (char *) (uintptr_t) conf, NULL });
}

static TransportConfig proxied(TransportConfig c) {
        c.host = "localhost"; /* which only the proxy can look up here */
        c.proxy_host = "127.0.0.1";
        c.proxy_port = helper_port;
        return c;
}

START_TEST(tinyproxy_for_every_transport) {
        TransportConfig c = proxied(rig_config(rig_broker_port));

        start_tinyproxy("");
        expect_works(&c);
        c = secure(proxied(rig_config(secure_port)));
        expect_works(&c);
        c = secure(authorized(proxied(rig_config(secure_websocket_port))));
        expect_works(&c);
        c = proxied(once(rig_free_port()));
        expect_refusal(&c, "makes no connection: 5", "through the proxy");
        stop_program(&helper_pid);
}
END_TEST

/* Through the time until the proxy listens, to what it says. */
static void expect_refusal_in_the_end(const TransportConfig *config, const char *part) {
        TransportConfig c = *config;
        bool found = false;
        Rig rig;

        c.reconnect_min_usec = c.reconnect_max_usec = 50 * RIG_MSEC;
        rig_open(&rig, &c);
        for (int i = 0; i < 600 && !found; i++) {
                Seen *s = rig_next(&rig);

                ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
                found = strstr(s->event.text, part) != NULL;
                ck_assert_msg(found || strstr(s->event.text, "Connection refused"), "%s", s->event.text);
                seen_free(s);
        }
        ck_assert(found);
        rig_close(&rig);
}

START_TEST(tinyproxy_with_a_password) {
        TransportConfig c = secure(proxied(rig_config(secure_port)));

        start_tinyproxy("BasicAuth user pass\n");
        expect_refusal_in_the_end(&c, "asks for a user name and password (407)");
        c.proxy_user = "user";
        c.proxy_password = "wrong";
        expect_refusal_in_the_end(&c, "makes no connection: 401");
        c.proxy_password = "pass";
        expect_works(&c);
        stop_program(&helper_pid);
}
END_TEST

static TCase *scripted_cases(void) {
        TCase *tc = tcase_create("scripted");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_make_dir, rig_remove_dir);
        tcase_add_test(tc, proxy_is_asked_for_the_broker);
        tcase_add_test(tc, proxy_gets_user_and_password);
        tcase_add_test(tc, proxy_refusals_are_named);
        tcase_add_test(tc, proxy_that_hangs_up_is_named);
        tcase_add_test(tc, endless_headers_end);
        tcase_add_test(tc, silence_has_a_deadline);
        tcase_add_test(tc, body_without_end_is_quoted);
        tcase_add_test(tc, unreachable_proxy_is_named);
        tcase_add_test(tc, websocket_with_and_without_a_subprotocol);
        tcase_add_test(tc, wrong_upgrades_are_named);
        tcase_add_test(tc, frames_of_every_shape);
        tcase_add_test(tc, endings_are_named);
        tcase_add_test(tc, a_flood_of_pings_ends);
        tcase_add_test(tc, each_connection_is_signed_anew);
        tcase_add_test(tc, a_wrong_clock_is_named);
        tcase_add_test(tc, what_cannot_be_signed_is_refused_at_once);
        return tc;
}

static TCase *real_cases(void) {
        TCase *tc = tcase_create("real");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, real_setup, real_teardown);
        tcase_add_test(tc, mosquitto_by_websocket);
        tcase_add_test(tc, mosquitto_by_signed_websocket);
        tcase_add_test(tc, websockify_with_tls);
        tcase_add_test(tc, tinyproxy_for_every_transport);
        tcase_add_test(tc, tinyproxy_with_a_password);
        return tc;
}

UNIT_MAIN("links", scripted_cases(), real_cases())
