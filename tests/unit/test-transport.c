/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>

#include "certs.h"
#include "transport-rig.h"
#include "transport/frame.h"
#include "transport/pace.h"
#include "unit.h"

/* ---- pure parts ---- */

START_TEST(backoff_grows_between_its_bounds) {
        uint64_t most = 0;

        for (unsigned failures = 1; failures <= 12; failures++) {
                uint64_t ceiling = MIN_OF(UINT64_C(1000) << failures, UINT64_C(64000));

                for (uint64_t random = 0; random < 200; random++) {
                        uint64_t d =
                                pace_backoff(1000, 64000, failures, random * UINT64_C(0x9E3779B97F4A7C15));

                        ck_assert_uint_ge(d, 1000);
                        ck_assert_uint_le(d, ceiling);
                        most = MAX_OF(most, d);
                }
        }
        ck_assert_uint_gt(most, 60000);
        ck_assert_uint_eq(pace_backoff(5, 5, 9, 77), 5);
        ck_assert_uint_le(pace_backoff(1, UINT64_MAX, 4000000000U, UINT64_MAX - 1), UINT64_MAX);
}
END_TEST

START_TEST(bucket_gives_a_burst_then_the_rate) {
        uint64_t now = 1000 * USEC_PER_SEC, taken = 0;
        Bucket b;

        bucket_init(&b, 0);
        for (int i = 0; i < 1000; i++)
                ck_assert_uint_eq(bucket_take(&b, now), 0);
        bucket_init(&b, 50);
        for (int i = 0; i < 50 / 4; i++)
                ck_assert_uint_eq(bucket_take(&b, now), 0);
        ck_assert_uint_eq(bucket_take(&b, now), USEC_PER_SEC / 50);
        now += 3600 * USEC_PER_SEC; /* full again, not fuller */
        for (uint64_t end = now + 2 * USEC_PER_SEC; now < end;) {
                uint64_t wait = bucket_take(&b, now);

                taken++;
                if (wait == 0)
                        continue;
                now += wait; /* always enough: the next call takes */
                ck_assert_uint_eq(bucket_take(&b, now), 0);
        }
        ck_assert_uint_ge(taken, 100);
        ck_assert_uint_le(taken, 100 + 50 / 4 + 1);
}
END_TEST

static void scan_in_chunks(const unsigned char *data, size_t len, size_t chunk, size_t *ret_packets,
                           uint32_t *ret_bytes) {
        FrameScanner s = { 0 };

        *ret_packets = 0;
        *ret_bytes = 0;
        for (size_t at = 0; at < len;) {
                size_t n = MIN_OF(chunk, len - at), used = 0;
                FrameStep step = frame_scan(&s, data + at, n, &used);

                ck_assert_uint_ge(used, 1);
                ck_assert_uint_le(used, n);
                ck_assert_int_ne(step, FRAME_BAD);
                if (step == FRAME_HEADER) {
                        ++*ret_packets;
                        *ret_bytes += s.remaining;
                }
                at += used;
        }
        ck_assert_uint_eq(s.left, 0);
}

START_TEST(frames_are_found_however_they_are_cut) {
        unsigned char data[2 + 3 + 300 + 2];
        size_t packets;
        uint32_t bytes;

        memset(data, 0, sizeof data);
        data[0] = 0xD0; /* PINGRESP, then a PUBLISH of 300 bytes, then PINGRESP */
        data[2] = 0x30;
        data[3] = 0x80 | (300 & 0x7F);
        data[4] = 300 >> 7;
        data[305] = 0xD0;
        for (size_t chunk = 1; chunk <= sizeof data; chunk++) {
                scan_in_chunks(data, sizeof data, chunk, &packets, &bytes);
                ck_assert_uint_eq(packets, 3);
                ck_assert_uint_eq(bytes, 300);
        }
}
END_TEST

START_TEST(frames_of_every_length_form) {
        static const struct {
                unsigned char digits[4];
                size_t n;
                uint32_t value;
        } forms[] = {
                { { 0x7F }, 1, 127 },
                { { 0x80, 0x01 }, 2, 128 },
                { { 0xFF, 0xFF, 0x7F }, 3, 2097151 },
                { { 0xFF, 0xFF, 0xFF, 0x7F }, 4, 268435455 },
        };
        const unsigned char bad[] = { 0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01 };
        FrameScanner s;
        size_t used;

        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                unsigned char data[5] = { 0x32 };

                s = (FrameScanner){ 0 };
                memcpy(data + 1, forms[i].digits, forms[i].n);
                ck_assert_int_eq(frame_scan(&s, data, 1 + forms[i].n, &used), FRAME_HEADER);
                ck_assert_uint_eq(used, 1 + forms[i].n);
                ck_assert_uint_eq(s.remaining, forms[i].value);
                ck_assert_uint_eq(s.type, 3);
                ck_assert_uint_eq(s.flags, 2);
        }
        s = (FrameScanner){ 0 };
        ck_assert_int_eq(frame_scan(&s, bad, sizeof bad, &used), FRAME_BAD);
}
END_TEST

START_TEST(topic_of_a_publish) {
        char topic[8];

        ck_assert(frame_publish_topic((const unsigned char *) "\0\3a\033b??", 7, topic, sizeof topic));
        ck_assert_str_eq(topic, "a?b");
        ck_assert(!frame_publish_topic((const unsigned char *) "\0\3ab", 4, topic, sizeof topic));
        ck_assert(!frame_publish_topic((const unsigned char *) "\0\10abcdefgh", 10, topic, sizeof topic));
        ck_assert(!frame_publish_topic((const unsigned char *) "\0", 1, topic, sizeof topic));
}
END_TEST

/* ---- configuration ---- */

static void expect_refused(const TransportConfig *config, const char *part) {
        Transport *t = NULL;
        Error e = { 0 };

        ck_assert_int_lt(transport_new(config, &t, &e), 0);
        ck_assert_ptr_null(t);
        ck_assert_msg(strstr(e.text, part) != NULL, "\"%s\" does not say \"%s\"", e.text, part);
}

START_TEST(bad_configuration_is_named) {
        const char *many[TRANSPORT_FILTERS_MAX + 2] = { NULL };
        TransportConfig c;

#define REFUSED(change, part)                                                                                \
        do {                                                                                                 \
                c = rig_config(1883);                                                                        \
                change;                                                                                      \
                expect_refused(&c, part);                                                                    \
        } while (0)
        REFUSED(c.host = NULL, "host");
        REFUSED(c.host = "", "host");
        REFUSED(c.port = 0, "port");
        REFUSED(c.client_id = NULL, "client_id");
        REFUSED(c.client_id = "\xff", "client_id");
        REFUSED(c.protocol = 6, "protocol: 6");
        REFUSED(c.qos = 2, "qos: 2");
        REFUSED(c.keep_alive_sec = 4, "keep_alive: 4");
        REFUSED(c.keep_alive_sec = 65536, "keep_alive: 65536");
        REFUSED(c.connect_timeout_usec = 0, "connect_timeout");
        REFUSED(c.reconnect_max_usec = 1, "reconnect_max");
        REFUSED(c.cert_file = "/x", "key_file: missing");
        REFUSED(c.key_file = "/x", "cert_file: missing");
        REFUSED((c.cert_file = "/x", c.key_file = "/y"), "ca_file: missing");
        REFUSED(c.password = "x", "password");
        REFUSED(c.filters = ((const char *const[]){ "a/#/b", NULL }), "a/#/b");
        REFUSED(c.host = "https://broker.test/", "host: has the byte 0x2f at 6");
        REFUSED(c.host = "a\r\nb", "host: has the byte 0x0d at 1");
        REFUSED(c.key_uri = "pkcs11:a", "cert_file: missing, key_uri is set");
        REFUSED((c.key_uri = "pkcs11:a", c.key_file = "/x"), "key_uri: set together with key_file");
        REFUSED(c.engine = "pkcs11", "engine: set without key_uri");
        REFUSED((c.ca_file = c.cert_file = "/x", c.key_uri = "a\nb"), "key_uri: has a control character (0x0a)");
        REFUSED((c.websocket = true, c.ca_file = c.key_file = "/x"), "a WebSocket connection needs neither");
        REFUSED(c.alpn = "mqtt", "alpn: set without ca_file");
        REFUSED((c.ca_file = "/x", c.websocket = true, c.alpn = "mqtt"), "alpn: \"mqtt\" together with websocket");
        REFUSED(c.proxy_port = 1, "proxy_port: set without proxy_host");
        REFUSED(c.proxy_user = "u", "proxy_user: set without proxy_host");
        REFUSED((c.proxy_host = "p", c.proxy_port = 1, c.proxy_password = "x"),
                "proxy_password: set without proxy_user");
        REFUSED(c.proxy_host = "p", "proxy_port: 0");
        REFUSED((c.proxy_host = "http://p", c.proxy_port = 1), "proxy_host: has the byte 0x2f");
        REFUSED((c.proxy_host = "p", c.proxy_port = 1, c.proxy_user = "a:b"), "proxy_user: has a ':'");
        REFUSED((c.proxy_host = "p", c.proxy_port = 1, c.proxy_user = "a\nb"), "proxy_user: has a control");
        REFUSED(c.region = "eu west", "region: \"eu west\"");
        REFUSED(c.access_key_id = "A", "access_key_id: set without websocket");
        REFUSED(c.aws_profile = "A", "aws_profile: set without websocket");
        REFUSED((c.websocket = true, c.access_key_id = "A"), "access_key_id: set without secret_access_key");
        REFUSED((c.websocket = true, c.secret_access_key = "A"), "secret_access_key: set without access_key_id");
        REFUSED((c.websocket = true, c.session_token = "A"), "session_token: set without access_key_id");
        REFUSED((c.websocket = true, c.access_key_id = c.secret_access_key = "A", c.aws_profile = "x"),
                "aws_profile: set together with access_key_id");
        REFUSED((c.websocket = true, c.access_key_id = c.secret_access_key = "A", c.username = "x"),
                "access_key_id: set together with username");
        REFUSED(c.will_qos = 1, "will_qos: set without will_topic");
        REFUSED(c.will_retain = true, "will_retain: set without will_topic");
        REFUSED((c.will_payload = "x", c.will_len = 1), "will_payload: set without will_topic");
        REFUSED((c.will_topic = "a", c.will_len = 1), "will_payload: missing");
        REFUSED((c.will_topic = "a", c.will_payload = "x", c.will_len = 65536), "will_payload: 65536 bytes");
        REFUSED(c.will_topic = "a/#", "will_topic: a/#");
        REFUSED((c.will_topic = "a", c.will_qos = 2), "will_qos: 2");
        for (size_t i = 0; i <= TRANSPORT_FILTERS_MAX; i++)
                many[i] = "a";
        REFUSED(c.filters = many, "filters: 49");
#undef REFUSED
}
END_TEST

/* ---- with certificates ---- */

static void write_file(const char *name, const char *text) {
        FILE *f = fopen(rig_path(name), "we");

        ck_assert_ptr_nonnull(f);
        (void) fputs(text, f);
        ck_assert_int_eq(fclose(f), 0);
}

static void certs_setup(void) {
        Authority ca, other;

        rig_make_dir();
        ca = certs_authority("Unit CA");
        other = certs_authority("Other CA");
        certs_write(rig_dir, "ca", "pem", ca.cert, NULL, NULL);
        certs_write(rig_dir, "other", "pem", other.cert, NULL, NULL);
        certs_leaf(&ca, rig_dir, "server", "server", "DNS:broker.test,IP:127.0.0.1", 0, -CERTS_DAY,
                   CERTS_DAY);
        certs_leaf(&ca, rig_dir, "wrong", "wrong", "DNS:elsewhere.test", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "cn-only", "broker.test", NULL, 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "nul", "nul", "broker.test\0.evil.test", 22, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "partial", "partial", "DNS:b*.test", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "subpartial", "subpartial", "DNS:s*.broker.test", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "sub", "sub", "DNS:*.broker.test", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "top", "top", "DNS:*.test", 0, -CERTS_DAY, CERTS_DAY);
        certs_leaf(&ca, rig_dir, "expired", "expired", "DNS:broker.test", 0, -9 * CERTS_DAY, -2 * CERTS_DAY);
        certs_leaf(&ca, rig_dir, "future", "future", "DNS:broker.test", 0, 2 * CERTS_DAY, 9 * CERTS_DAY);
        certs_leaf(&ca, rig_dir, "client", "client", NULL, 0, -CERTS_DAY, 300 * CERTS_DAY);
        certs_leaf(&ca, rig_dir, "soon", "soon", NULL, 0, -CERTS_DAY, 10 * CERTS_DAY + 60);
        certs_leaf(&ca, rig_dir, "past", "past", NULL, 0, -9 * CERTS_DAY, -2 * CERTS_DAY);
        certs_leaf(&other, rig_dir, "stranger", "stranger", NULL, 0, -CERTS_DAY, 300 * CERTS_DAY);
        certs_authority_done(&ca);
        certs_authority_done(&other);
}

static TransportConfig tls_config(uint16_t port) {
        TransportConfig c = rig_config(port);

        c.host = "broker.test";
        c.ca_file = rig_path("ca.pem");
        return c;
}

START_TEST(bad_files_are_named) {
        EVP_PKEY *key = certs_key();
        TransportConfig c;

        certs_write(rig_dir, "locked", "key", NULL, key, EVP_aes_128_cbc());
        EVP_PKEY_free(key);
        write_file("text.pem", "not PEM at all\n");
        write_file("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
#define REFUSED(change, part)                                                                                \
        do {                                                                                                 \
                c = tls_config(8883);                                                                        \
                c.cert_file = rig_path("client.pem");                                                        \
                c.key_file = rig_path("client.key");                                                         \
                change;                                                                                      \
                expect_refused(&c, part);                                                                    \
        } while (0)
        REFUSED(c.ca_file = rig_path("none.pem"), "none.pem: No such file");
        REFUSED(c.ca_file = rig_path("text.pem"), "text.pem: holds no certificate");
        REFUSED(c.ca_file = rig_path("cut.pem"), "cut.pem: holds no certificate");
        REFUSED(c.ca_file = rig_dir, "not a regular file");
        REFUSED(c.cert_file = rig_path("none.pem"), "cert_file");
        REFUSED(c.cert_file = rig_path("text.pem"), "text.pem: holds no certificate");
        REFUSED(c.key_file = rig_path("none.key"), "none.key: No such file");
        REFUSED(c.key_file = rig_path("client.pem"), "client.pem: holds no private key");
        REFUSED(c.key_file = rig_path("server.key"), "does not belong to the certificate in cert_file");
        REFUSED(c.key_file = rig_path("locked.key"), "locked.key: is encrypted");
#undef REFUSED
}
END_TEST

START_TEST(unreadable_key_is_named) {
        TransportConfig c = tls_config(8883);

        c.cert_file = rig_path("client.pem");
        c.key_file = rig_path("client.key");
        ck_assert_int_eq(chmod(c.key_file, 0), 0);
        ck_assert_int_eq(chmod(rig_dir, 0755), 0);
        if (geteuid() == 0)
                ck_assert_int_eq(seteuid(65534), 0);
        expect_refused(&c, "client.key: Permission denied");
        if (getuid() == 0)
                ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(chmod(c.key_file, 0600), 0);
}
END_TEST

/* Let the test go on. */
static void open_gate(Fake *f) {
        const int *gate = f->userdata;

        if (write(gate[1], "x", 1) != 1)
                fake_fail(f, "gate");
}

static void script_online_until_closed(Fake *f) {
        if (fake_bring_online(f))
                fake_drain(f);
}

static void script_accept_only(Fake *f) {
        if (fake_accept(f))
                fake_drain(f);
}

/* A server of this name with this certificate is refused with this sentence. */
static void expect_host_refused(const char *host, const char *name, const char *part) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, name, NULL);
        fake_start(&f, script_accept_only);
        c = tls_config(f.port);
        c.host = host;
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, part);
        rig_close(&rig);
        fake_stop(&f);
}

static void expect_certificate_refused(const char *name, const char *part) {
        expect_host_refused("broker.test", name, part);
}

START_TEST(wrong_host_name_is_refused) {
        expect_certificate_refused(
                "wrong", "the server's certificate is not for broker.test (it is for elsewhere.test)");
}
END_TEST

START_TEST(common_name_alone_is_refused) {
        expect_certificate_refused("cn-only", "the server's certificate is not for broker.test");
}
END_TEST

START_TEST(name_with_a_nul_is_refused) {
        expect_certificate_refused(
                "nul", "the server's certificate is not for broker.test (it is for broker.test?.evil.test)");
}
END_TEST

START_TEST(wildcards_in_the_wrong_place_are_refused) {
        expect_certificate_refused("partial", "the server's certificate is not for broker.test");
        expect_certificate_refused("top", "the server's certificate is not for broker.test");
        expect_host_refused("sub.broker.test", "subpartial",
                            "the server's certificate is not for sub.broker.test");
}
END_TEST

START_TEST(wildcard_for_a_whole_label_is_taken) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "sub", NULL);
        fake_start(&f, script_online_until_closed);
        c = tls_config(f.port);
        c.host = "sub.broker.test";
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

START_TEST(expired_certificate_is_refused_with_dates) {
        expect_certificate_refused("expired", "(CN=expired) expired on 20");
}
END_TEST

START_TEST(certificate_of_tomorrow_is_refused_with_dates) {
        expect_certificate_refused("future", "(CN=future) is valid only from 20");
}
END_TEST

START_TEST(wrong_ca_is_refused) {
        expect_certificate_refused("stranger", "does not come from a CA in ca_file");
}
END_TEST

START_TEST(sni_alpn_and_client_certificate_are_sent) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", "ca.pem");
        fake_start(&f, script_online_until_closed);
        c = tls_config(f.port);
        c.alpn = "x-amzn-mqtt-ca";
        c.cert_file = rig_path("client.pem");
        c.key_file = rig_path("client.key");
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
        ck_assert_str_eq(f.sni, "broker.test");
        ck_assert_str_eq(f.alpn, "x-amzn-mqtt-ca");
}
END_TEST

START_TEST(address_as_host_is_checked_and_sends_no_sni) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_online_until_closed);
        c = tls_config(f.port);
        c.host = "127.0.0.1";
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
        ck_assert_str_eq(f.sni, "");
}
END_TEST

START_TEST(unknown_alpn_is_named) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_accept_only);
        c = tls_config(f.port);
        c.alpn = "unknown";
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "ALPN protocol \"unknown\"");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

static void expect_client_refused(const char *client, int tls_max, const char *part) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;
        char name[32];

        fake_use_tls(&f, rig_dir, "server", "ca.pem");
        ck_assert_int_eq(SSL_CTX_set_max_proto_version(f.ctx, tls_max), 1);
        fake_start(&f, script_accept_only);
        c = tls_config(f.port);
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        if (client) {
                (void) snprintf(name, sizeof name, "%s.pem", client);
                c.cert_file = rig_path(name);
                (void) snprintf(name, sizeof name, "%s.key", client);
                c.key_file = rig_path(name);
        }
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, part);
        rig_close(&rig);
        fake_stop(&f);
}

START_TEST(refused_client_certificate_is_named) {
        expect_client_refused(NULL, TLS1_3_VERSION, "the server wants a client certificate");
        expect_client_refused(NULL, TLS1_2_VERSION, "the server wants a client certificate");
        expect_client_refused("stranger", TLS1_3_VERSION, "stranger.pem");
        expect_client_refused("stranger", TLS1_2_VERSION, "stranger.pem");
}
END_TEST

START_TEST(old_tls_is_refused) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        SSL_CTX_set_security_level(f.ctx, 0);
        ck_assert_int_eq(SSL_CTX_set_min_proto_version(f.ctx, TLS1_VERSION), 1);
        ck_assert_int_eq(SSL_CTX_set_max_proto_version(f.ctx, TLS1_1_VERSION), 1);
        fake_start(&f, script_accept_only);
        c = tls_config(f.port);
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "the server speaks neither TLS 1.2 nor 1.3");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

static void script_garbage(Fake *f) {
        if (fake_accept(f) && fake_send(f, "220 mail.example ESMTP\r\n", 24))
                fake_drain(f);
}

START_TEST(garbage_instead_of_tls) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_start(&f, script_garbage);
        c = tls_config(f.port);
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "the server does not speak TLS");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

/* Close the TCP connection under TLS, then take the client back. */
static void script_cut_tls(Fake *f) {
        if (!fake_bring_online(f))
                return;
        SSL_set_quiet_shutdown(f->ssl, 1);
        fake_hang_up(f);
        if (fake_bring_online(f))
                fake_drain(f);
}

START_TEST(close_without_close_notify) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_cut_tls);
        c = tls_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "closed the connection (without close_notify)");
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

/* Many messages in few TLS records: what TLS has decrypted is seen by no poll. */
static void script_burst(Fake *f) {
        unsigned char burst[100 * 12], *at = burst;

        if (!fake_bring_online(f))
                return;
        for (unsigned i = 1; i <= 100; i++) {
                const unsigned char one[] = { 0x32, 10,  0,   6,   't', 'e',
                                              's',  't', '/', 'a', 0,   (unsigned char) i };

                memcpy(at, one, sizeof one);
                at += sizeof one;
        }
        if (!fake_send(f, burst, sizeof burst))
                fake_fail(f, "burst");
        for (int i = 0; i < 100; i++)
                (void) fake_expect(f, 4);
        fake_drain(f);
}

START_TEST(nothing_is_stranded_inside_tls) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_burst);
        c = tls_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 100; i++)
                rig_expect_message(&rig, "test/a", "");
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

enum { NEAR_FULL = 19, NEAR_FULL_BYTES = 220500, LAST_BUT_ONE_BYTES = 6000, LAST_BYTES = 8000 };

/* Fill the owner's queue nearly, then send two messages in one TLS record: with the first of them the queue is full and
 * reading pauses, while TLS has decrypted the second already and the socket is empty. */
static void script_pause_inside_a_record(Fake *f) {
        static unsigned char payload[NEAR_FULL_BYTES], record[16384];
        static const unsigned char first[] = { 0x32, 0xFA, 0x2E, 0, 6, 't', 'e', 's', 't', '/', 'a', 0, 20 };
        static const unsigned char second[] = { 0x32, 0xCA, 0x3E, 0, 6, 't', 'e', 's', 't', '/', 'b', 0, 21 };
        size_t at = 0;

        if (!fake_bring_online(f))
                return;
        for (uint16_t i = 1; i <= NEAR_FULL; i++) {
                (void) fake_publish(f, "test/a", payload, sizeof payload, i);
                (void) fake_expect(f, 4);
        }
        memcpy(record, first, sizeof first);
        at += sizeof first + LAST_BUT_ONE_BYTES;
        memcpy(record + at, second, sizeof second);
        at += sizeof second + LAST_BYTES;
        if (!fake_send(f, record, at))
                fake_fail(f, "record");
        (void) fake_expect(f, 4); /* the first of the two is there: now the owner may look */
        open_gate(f);
        (void) fake_expect(f, 4);
        fake_drain(f);
}

START_TEST(nothing_is_stranded_by_a_pause) {
        Fake f = { 0 };
        TransportConfig c;
        int gate[2];
        char byte;
        Rig rig;

        ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
        f.userdata = gate;
        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_pause_inside_a_record);
        c = tls_config(f.port);
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(read(gate[0], &byte, 1), 1);
        for (int i = 0; i <= NEAR_FULL; i++)
                rig_expect(&rig, TRANSPORT_MESSAGE);
        rig_expect(&rig, TRANSPORT_MESSAGE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

START_TEST(own_certificate_near_its_end) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_cut_tls);
        c = tls_config(f.port);
        c.cert_file = rig_path("soon.pem");
        c.key_file = rig_path("soon.key");
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_CERTIFICATE, "in 10 days");
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect(&rig, TRANSPORT_ONLINE); /* and no second notice */
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

START_TEST(own_certificate_past_its_end) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_online_until_closed);
        c = tls_config(f.port);
        c.cert_file = rig_path("past.pem");
        c.key_file = rig_path("past.key");
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_CERTIFICATE, "past.pem expired on 20");
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

static void script_cut_then_online(Fake *f) {
        if (!fake_bring_online(f))
                return;
        ck_assert_int_eq(rename(rig_path("client.key"), rig_path("client.away")), 0);
        fake_hang_up(f);
        if (fake_bring_online(f))
                fake_drain(f);
}

START_TEST(files_are_read_afresh_for_each_connection) {
        Fake f = { 0 };
        TransportConfig c;
        Rig rig;

        fake_use_tls(&f, rig_dir, "server", NULL);
        fake_start(&f, script_cut_then_online);
        c = tls_config(f.port);
        c.cert_file = rig_path("client.pem");
        c.key_file = rig_path("client.key");
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "client.key: No such file");
        ck_assert_int_eq(rename(rig_path("client.away"), rig_path("client.key")), 0);
        rig_expect_online(&rig);
        rig_close(&rig);
        fake_stop(&f);
}
END_TEST

/* ---- against a script ---- */

static Fake plain_fake; /* zero before each test: every test has a process of its own */

static void open_plain(Rig *rig, FakeScript script, const TransportConfig *base) {
        TransportConfig c;

        fake_start(&plain_fake, script);
        c = base ? *base : rig_config(plain_fake.port);
        c.port = plain_fake.port;
        rig_open(rig, &c);
}

static void close_plain(Rig *rig) {
        rig_close(rig);
        fake_stop(&plain_fake);
}

static void script_refuse_then_take(Fake *f) {
        static const unsigned char codes[] = { 1, 2, 3, 4, 5, 7, 99 };

        for (size_t i = 0; i < sizeof codes; i++) {
                if (!fake_accept(f))
                        return;
                (void) fake_expect(f, 1);
                (void) fake_send_bytes(f, 0x20, 0x02, 0x00, codes[i]);
        }
        script_online_until_closed(f);
}

START_TEST(connack_refusals_are_named_and_retried) {
        Rig rig;

        open_plain(&rig, script_refuse_then_take, NULL);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "unacceptable protocol version");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "client id rejected");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "server unavailable");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "bad user name or password");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "not authorized (CONNACK 5)");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "not authorized (AWS IoT)");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "CONNACK 99");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_bad_beginnings(Fake *f) {
        if (!fake_accept(f))
                return;
        (void) fake_send(f, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        fake_drain(f);
        if (!fake_accept_mqtt(f))
                return;
        (void) fake_send_bytes(f, 0x20, 0x02, 0x00, 0x00);
        fake_drain(f);
        if (!fake_accept_mqtt(f))
                return;
        (void) fake_send_bytes(f, 0x34, 0x07, 0x00, 0x01, 'a', 0x00, 0x01, 'x', 'y');
        fake_drain(f);
        if (!fake_accept_mqtt(f))
                return;
        (void) fake_send_bytes(f, 0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01);
        fake_drain(f);
        if (!fake_accept_mqtt(f))
                return;
        (void) fake_send_bytes(f, 0x40, 0x01, 0x00);
        fake_drain(f);
        script_online_until_closed(f);
}

START_TEST(what_is_not_mqtt_ends_the_connection) {
        Rig rig;

        open_plain(&rig, script_bad_beginnings, NULL);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "first packet is not a CONNACK");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "second CONNACK");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "QoS 2");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "length that MQTT does not allow");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "PUBACK packet is malformed");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_bad_subacks(Fake *f) {
        Packet p;

        for (int kind = 0; kind < 4; kind++) {
                if (!fake_accept_mqtt(f))
                        return;
                p = fake_expect(f, 8);
                if (kind == 0) /* short */
                        (void) fake_send_bytes(f, 0x90, 0x03, p.body[0], p.body[1], 0x01);
                else if (kind == 1) /* empty: CVE-2024-10525 */
                        (void) fake_send_bytes(f, 0x90, 0x02, p.body[0], p.body[1]);
                else if (kind == 2) /* for something else */
                        (void) fake_send_bytes(f, 0x90, 0x04, 0x7F, 0x7F, 0x01, 0x01);
                else /* long */
                        (void) fake_send_bytes(f, 0x90, 0x05, p.body[0], p.body[1], 0x01, 0x01, 0x01);
                fake_drain(f);
        }
        script_online_until_closed(f);
}

START_TEST(subacks_are_counted) {
        static const char *const two[] = { "test/a", "test/b", NULL };
        TransportConfig c = rig_config(1);
        Rig rig;

        c.filters = two;
        open_plain(&rig, script_bad_subacks, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "SUBACK has 1 codes for 2 filters");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "SUBACK has no codes");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "SUBACK that nothing was asked for");
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "SUBACK has 3 codes for 2 filters");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_no_suback_then_take(Fake *f) {
        if (!fake_accept_mqtt(f))
                return;
        (void) fake_expect(f, 8);
        fake_drain(f);
        script_online_until_closed(f);
}

START_TEST(missing_suback_has_a_deadline) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.operation_timeout_usec = 200 * USEC_PER_MSEC;
        open_plain(&rig, script_no_suback_then_take, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "no SUBACK for test/# in 200 ms");
        rig_expect_online(&rig);
        close_plain(&rig);
}
END_TEST

static void script_no_connack_then_take(Fake *f) {
        script_accept_only(f);
        script_online_until_closed(f);
}

START_TEST(missing_connack_has_a_deadline) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.connect_timeout_usec = 300 * USEC_PER_MSEC;
        open_plain(&rig, script_no_connack_then_take, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "no CONNACK in 300 ms");
        rig_expect_online(&rig);
        close_plain(&rig);
}
END_TEST

START_TEST(stalled_handshake_has_a_deadline) {
        TransportConfig c = tls_config(1);
        Rig rig;

        c.connect_timeout_usec = 300 * USEC_PER_MSEC;
        c.reconnect_min_usec = c.reconnect_max_usec = 3600 * USEC_PER_SEC;
        open_plain(&rig, script_accept_only, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "the TLS handshake did not end in 300 ms");
        close_plain(&rig);
}
END_TEST

/* First SUBACK refuses the second filter; the next SUBSCRIBE must name it alone. */
static void script_refuse_filter(Fake *f) {
        Packet p;

        if (!fake_accept_mqtt(f))
                return;
        p = fake_expect(f, 8);
        fake_suback(f, &p, 1);
        (void) fake_publish(f, "test/a", "still here", 10, 7);
        (void) fake_expect(f, 4);
        p = fake_expect(f, 8);
        if (fake_count_filters(&p) != 1 || memcmp(p.body + 4, "test/b", 6) != 0)
                fake_fail(f, "not the refused filter alone");
        fake_suback(f, &p, -1);
        fake_drain(f);
}

START_TEST(refused_filter_is_named_and_asked_for_again) {
        static const char *const two[] = { "test/a", "test/b", NULL };
        TransportConfig c = rig_config(1);
        Seen *s;
        Rig rig;

        c.filters = two;
        open_plain(&rig, script_refuse_filter, &c);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_REFUSED);
        ck_assert_str_eq(s->event.topic, "test/b");
        seen_free(s);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "", 0), -ENOTCONN);
        rig_expect_message(&rig, "test/a", "still here");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_count_filters(Fake *f) {
        size_t seen = 0;

        if (!fake_accept_mqtt(f))
                return;
        while (seen < 20) {
                Packet p = fake_expect(f, 8);
                size_t n = fake_count_filters(&p);

                if (p.type != 8 || n > 8) {
                        fake_fail(f, "more than eight filters in a packet");
                        return;
                }
                fake_suback(f, &p, -1);
                seen += n;
        }
        if (seen != 20)
                fake_fail(f, "not 20 filters");
        fake_drain(f);
}

START_TEST(at_most_eight_filters_in_a_packet) {
        TransportConfig c = rig_config(1);
        const char *filters[21] = { NULL };
        char text[20][8];
        Rig rig;

        for (int i = 0; i < 20; i++) {
                (void) snprintf(text[i], sizeof text[i], "t/%d", i);
                filters[i] = text[i];
        }
        c.filters = filters;
        open_plain(&rig, script_count_filters, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_no_filters(Fake *f) {
        if (fake_accept_mqtt(f))
                fake_drain(f);
}

START_TEST(no_filters_is_online_at_once) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.filters = NULL;
        open_plain(&rig, script_no_filters, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

/* Announce 256 MiB and send what the client takes of it. */
static void script_giant(Fake *f) {
        const unsigned char head[] = { 0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0x00, 0x0A, 't', 'e',
                                       's',  't',  '/',  'g',  'i',  'a',  'n',  't' };
        static unsigned char block[65536];

        if (!fake_bring_online(f))
                return;
        (void) fake_publish(f, "test/a", "before", 6, 1);
        (void) fake_expect(f, 4);
        if (fake_send(f, head, sizeof head))
                for (int i = 0; i < 4096 && fake_send(f, block, sizeof block); i++)
                        if (i == 4095)
                                fake_fail(f, "256 MiB were taken");
        script_online_until_closed(f);
}

static long rss_kib(void) {
        char line[256];
        long kib = -1;
        FILE *f = fopen("/proc/self/status", "re");

        while (f && fgets(line, sizeof line, f))
                if (sscanf(line, "VmHWM: %ld", &kib) == 1)
                        break;
        if (f)
                (void) fclose(f);
        return kib;
}

START_TEST(giant_packet_ends_the_connection_before_it_is_held) {
        long before;
        Seen *s;
        Rig rig;

        open_plain(&rig, script_giant, NULL);
        rig_expect(&rig, TRANSPORT_ONLINE);
        before = rss_kib();
        rig_expect_message(&rig, "test/a", "before");
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_DROPPED);
        ck_assert_str_eq(s->event.topic, "test/giant");
        ck_assert_ptr_nonnull(strstr(s->event.text, "268435455 bytes"));
        seen_free(s);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "test/giant");
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_lt(rss_kib() - before, 64 << 10);
        close_plain(&rig);
}
END_TEST

/* MQTT 5 with a server keep alive of one second: the first PINGREQ is answered, the second is not. */
static void script_half_open(Fake *f) {
        Packet p;

        for (int round = 0; round < 2; round++) {
                if (!fake_accept(f))
                        return;
                (void) fake_expect(f, 1);
                (void) fake_send_bytes(f, 0x20, 0x06, 0x00, 0x00, 0x03, 0x13, 0x00, 0x01);
                p = fake_expect(f, 8);
                (void) fake_send_bytes(f, 0x90, 0x04, p.body[0], p.body[1], 0x00, 0x01);
                if (round == 1)
                        break;
                (void) fake_expect(f, 12);
                (void) fake_send_bytes(f, 0xD0, 0x00);
                (void) fake_expect(f, 12);
                fake_drain(f);
        }
        fake_drain(f);
}

START_TEST(half_open_connection_is_noticed) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.protocol = 5;
        c.operation_timeout_usec = 500 * USEC_PER_MSEC;
        open_plain(&rig, script_half_open, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "no PINGRESP in 500 ms");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_kick_after_subscribe(Fake *f) {
        for (int i = 0; i < 8; i++) {
                if (!fake_accept_mqtt(f))
                        return;
                (void) fake_expect(f, 8);
                fake_hang_up(f);
        }
        script_online_until_closed(f);
}

START_TEST(kick_after_subscribe_names_the_filter_and_keeps_the_backoff) {
        uint64_t most = 0;
        TransportConfig c = rig_config(1);
        Rig rig;

        c.reconnect_max_usec = 100 * RIG_MSEC;
        open_plain(&rig, script_kick_after_subscribe, &c);
        for (int i = 0; i < 8; i++) {
                Seen *s = rig_next(&rig);

                ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
                ck_assert_ptr_nonnull(strstr(s->event.text, "without an answer to SUBSCRIBE test/#"));
                ck_assert_str_eq(s->event.topic, "test/#");
                ck_assert_uint_ge(s->event.retry_usec, 1 * RIG_MSEC);
                ck_assert_uint_le(s->event.retry_usec, 100 * RIG_MSEC);
                most = MAX_OF(most, s->event.retry_usec);
                seen_free(s);
        }
        /* Reset each time it would stay within the first ceiling; kept, all eight within it: 1 in 10^9. */
        ck_assert_uint_gt(most, 2 * RIG_MSEC);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

static void script_kick_when_online(Fake *f) {
        for (int i = 0; i < 12; i++) {
                if (!fake_bring_online(f))
                        return;
                fake_hang_up(f);
        }
        script_online_until_closed(f);
}

START_TEST(backoff_is_reset_after_a_stable_time_only) {
        TransportConfig c = rig_config(1);
        uint64_t most = 0;
        Rig rig;

        /* Every connection counts as stable: the ceiling stays at the first one. */
        c.reconnect_max_usec = 100 * RIG_MSEC;
        c.stable_usec = 0;
        open_plain(&rig, script_kick_when_online, &c);
        for (int i = 0; i < 12; i++) {
                Seen *s;

                rig_expect(&rig, TRANSPORT_ONLINE);
                s = rig_next(&rig);
                ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
                ck_assert_uint_le(s->event.retry_usec, 2 * RIG_MSEC);
                seen_free(s);
        }
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);

        /* None does: it grows, although every one came online. */
        plain_fake = (Fake){ 0 };
        c.stable_usec = 3600 * USEC_PER_SEC;
        open_plain(&rig, script_kick_when_online, &c);
        for (int i = 0; i < 12; i++) {
                Seen *s;

                rig_expect(&rig, TRANSPORT_ONLINE);
                s = rig_next(&rig);
                most = MAX_OF(most, s->event.retry_usec);
                seen_free(s);
        }
        ck_assert_uint_gt(most, 2 * RIG_MSEC);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

/* A PUBLISH whose PUBACK never comes; the connection drops; nothing of it may come again by itself. */
static void script_lose_publish(Fake *f) {
        Packet p;

        if (!fake_bring_online(f))
                return;
        (void) fake_expect(f, 3);
        fake_hang_up(f);
        if (!fake_bring_online(f))
                return;
        p = fake_expect(f, 3);
        if (p.len != 13 || memcmp(p.body + 2, "test/second", 11) == 0 || p.flags != 2 ||
            memcmp(p.body + 10, "two", 3) != 0)
                fake_fail(f, "not the second publication");
        (void) fake_send_bytes(f, 0x40, 0x02, p.body[8], p.body[9]);
        fake_drain(f);
}

START_TEST(nothing_is_kept_across_connections) {
        Seen *s;
        Rig rig;

        open_plain(&rig, script_lose_publish, NULL);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "zero", 4), -ENOTCONN);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "one", 3), 0);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_OFFLINE);
        ck_assert_ptr_nonnull(strstr(s->event.text, "without an answer to PUBLISH test/x"));
        ck_assert_str_eq(s->event.topic, "test/x");
        seen_free(s);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "lost", 4), -ENOTCONN);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "two", 3), 0);
        close_plain(&rig);
}
END_TEST

/* Hang up after the first of three publications, the others still waiting for the rate; after that only what is published
 * on the new connection may come. */
static void script_hang_up_on_queue(Fake *f) {
        const int *gate = f->userdata;
        Packet p;
        char byte;

        if (!fake_bring_online(f))
                return;
        (void) fake_expect(f, 3);
        if (read(gate[2], &byte, 1) != 1) /* all three are handed in */
                fake_fail(f, "gate");
        fake_hang_up(f);
        if (!fake_bring_online(f))
                return;
        /* The client has seen the last SUBACK when it answers this. */
        (void) fake_publish(f, "test/a", "", 0, 1);
        (void) fake_expect(f, 4);
        open_gate(f);
        p = fake_expect(f, 3);
        if (p.len != 13 || memcmp(p.body + 10, "new", 3) != 0)
                fake_fail(f, "an old publication");
        fake_drain(f);
}

START_TEST(only_the_connection_that_was_announced_takes_publications) {
        TransportConfig c = rig_config(1);
        int gate[4];
        char byte;
        Rig rig;

        c.publish_rate = 1;
        ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
        ck_assert_int_eq(pipe2(gate + 2, O_CLOEXEC), 0);
        plain_fake.userdata = gate;
        open_plain(&rig, script_hang_up_on_queue, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 3; i++)
                ck_assert_int_eq(transport_publish(rig.t, "test/x", "old", 3), 0);
        ck_assert_int_eq(write(gate[3], "x", 1), 1);
        ck_assert_int_eq(read(gate[0], &byte, 1), 1);
        /* Another connection is online by now, which the owner has not been told. */
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "old", 3), -ENOTCONN);
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "new", 3), 0);
        close_plain(&rig);
}
END_TEST

/* 64 publications without a PUBACK: that is the end. */
static void script_no_puback(Fake *f) {
        if (!fake_bring_online(f))
                return;
        for (int i = 0; i < 64; i++)
                (void) fake_expect(f, 3);
        fake_drain(f);
        script_online_until_closed(f);
}

START_TEST(missing_pubacks_end_the_connection) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.operation_timeout_usec = 500 * USEC_PER_MSEC;
        open_plain(&rig, script_no_puback, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 80; i++)
                ck_assert_int_eq(transport_publish(rig.t, "test/x", "x", 1), 0);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "64 publications without PUBACK");
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
}
END_TEST

/* Online, and then reads nothing any more, until the test has seen enough. */
static void script_deaf(Fake *f) {
        const int *gate = f->userdata;
        char byte;

        if (fake_bring_online(f) && read(gate[0], &byte, 1) != 1)
                fake_fail(f, "gate");
}

START_TEST(what_may_wait_is_bounded) {
        static char payload[65536];
        size_t taken = 0;
        int gate[2];
        Rig rig;
        int r;

        ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
        plain_fake.userdata = gate;
        open_plain(&rig, script_deaf, NULL);
        rig_expect(&rig, TRANSPORT_ONLINE);
        do {
                r = transport_publish(rig.t, "test/x", payload, sizeof payload);
                taken += r == 0;
        } while (r == 0 && taken < 1000);
        ck_assert_int_eq(r, -ENOBUFS);
        ck_assert_uint_le(taken * sizeof payload, TRANSPORT_OUT_BYTES_MAX);
        ck_assert_uint_ge(taken * sizeof payload, TRANSPORT_OUT_BYTES_MAX / 2);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", payload, (size_t) TRANSPORT_OUT_BYTES_MAX + 1),
                         -ENOBUFS);
        (void) transport_free(rig.t, 100 * USEC_PER_MSEC); /* bounded, although nothing can be flushed */
        ck_assert_int_eq(write(gate[1], "x", 1), 1);
        fake_stop(&plain_fake);
}
END_TEST

/* Every packet in single bytes. */
static void dribble(Fake *f, const unsigned char *data, size_t len) {
        for (size_t i = 0; i < len; i++)
                if (!fake_send(f, data + i, 1))
                        fake_fail(f, "dribble");
}

static void script_dribble(Fake *f) {
        static const unsigned char connack[] = { 0x20, 0x02, 0x01, 0x00 };
        unsigned char publish[] = { 0x31, 0x0B, 0x00, 0x06, 't', 'e', 's', 't', '/', 'a', 'b', 'y', 'e' };
        Packet p;

        if (!fake_accept(f))
                return;
        (void) fake_expect(f, 1);
        dribble(f, connack, sizeof connack);
        p = fake_expect(f, 8);
        dribble(f, (const unsigned char[]){ 0x90, 0x03, p.body[0], p.body[1], 0x00 }, 5);
        dribble(f, publish, sizeof publish);
        fake_drain(f);
}

START_TEST(bytes_may_come_one_by_one) {
        Seen *s;
        Rig rig;

        open_plain(&rig, script_dribble, NULL);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_ONLINE);
        ck_assert(s->event.session_present);
        seen_free(s);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_MESSAGE);
        ck_assert(s->event.retained);
        ck_assert_str_eq(s->event.topic, "test/a");
        ck_assert_str_eq(s->event.payload, "bye");
        seen_free(s);
        close_plain(&rig);
}
END_TEST

static void script_version_5(Fake *f) {
        Packet p;

        if (!fake_accept(f))
                return;
        p = fake_expect(f, 1);
        (void) fake_send_bytes(f, 0x20, 0x0A, 0x00, 0x87, 0x07, 0x1F, 0x00, 0x04, 'n', 'o', 'p', 'e');
        if (!fake_accept(f))
                return;
        p = fake_expect(f, 1);
        /* Variable header of 10 bytes, then the properties: Maximum Packet Size (0x27) must be our limit. */
        if (p.body[6] != 5 || !memmem(p.body + 10, p.len - 10, "\x27\x00\x04\x00\x00", 5))
                fake_fail(f, "no Maximum Packet Size of 256 KiB in CONNECT");
        (void) fake_send_bytes(f, 0x20, 0x03, 0x00, 0x00, 0x00);
        p = fake_expect(f, 8);
        (void) fake_send_bytes(f, 0x90, 0x04, p.body[0], p.body[1], 0x00, 0x01);
        p = fake_expect(f, 3);
        (void) fake_send_bytes(f, 0x40, 0x03, p.body[8], p.body[9], 0x87);
        p = fake_expect(f, 3);
        (void) fake_send_bytes(f, 0xE0, 0x01, 0x8E);
        fake_drain(f);
}

START_TEST(version_5_reasons) {
        TransportConfig c = rig_config(1);
        Seen *s;
        Rig rig;

        c.protocol = 5;
        c.reconnect_min_usec = 1;
        open_plain(&rig, script_version_5, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "not authorized (CONNACK 135): nope");
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "1", 1), 0);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_DROPPED);
        ck_assert_str_eq(s->event.topic, "test/x");
        ck_assert_ptr_nonnull(strstr(s->event.text, "not authorized (PUBACK 0x87)"));
        seen_free(s);
        ck_assert_int_eq(transport_publish(rig.t, "test/x", "2", 1), 0);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "session taken over");
        close_plain(&rig);
}
END_TEST

static void script_rate(Fake *f) {
        uint64_t first = 0;

        if (!fake_bring_online(f))
                return;
        for (int i = 0; i < 11; i++) {
                Packet p = fake_expect(f, 3);

                if (i == 0)
                        first = clock_boottime_usec();
                (void) fake_send_bytes(f, 0x40, 0x02, p.body[8], p.body[9]);
        }
        /* 20 a second, the first five at once: 11 take at least 0.3 s, however slow the machine. */
        if (clock_boottime_usec() - first < 290 * USEC_PER_MSEC)
                fake_fail(f, "faster than the limit");
        (void) fake_publish(f, "test/done", NULL, 0, 1);
        fake_drain(f);
}

START_TEST(publications_keep_to_the_rate) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.publish_rate = 20;
        open_plain(&rig, script_rate, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 11; i++)
                ck_assert_int_eq(transport_publish(rig.t, "test/x", "x", 1), 0);
        rig_expect_message(&rig, "test/done", "");
        close_plain(&rig);
}
END_TEST

/* Send 24 MiB to an owner that looks away. */
typedef struct Flood {
        bool stalled;
} Flood;

static void script_flood(Fake *f) {
        static char payload[200000];
        Flood *flood = f->userdata;
        struct pollfd p = { .events = POLLOUT };

        if (!fake_bring_online(f))
                return;
        for (uint16_t i = 1; i <= 120; i++) {
                p.fd = f->fd;
                if (!__atomic_load_n(&flood->stalled, __ATOMIC_ACQUIRE) && poll(&p, 1, 1000) == 0)
                        __atomic_store_n(&flood->stalled, true, __ATOMIC_RELEASE);
                if (!fake_publish(f, "test/flood", payload, sizeof payload, i)) {
                        fake_fail(f, "flood");
                        return;
                }
        }
        fake_drain(f);
}

START_TEST(an_owner_that_looks_away_stops_the_broker) {
        static Flood flood;
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;
        Rig rig;

        plain_fake.userdata = &flood;
        open_plain(&rig, script_flood, NULL);
        rig_expect(&rig, TRANSPORT_ONLINE);
        while (!__atomic_load_n(&flood.stalled, __ATOMIC_ACQUIRE) && clock_boottime_usec() < until)
                (void) usleep(10000);
        ck_assert(__atomic_load_n(&flood.stalled, __ATOMIC_ACQUIRE));
        for (int i = 0; i < 120; i++) {
                Seen *s = rig_next(&rig);

                ck_assert_int_eq((int) s->event.type, TRANSPORT_MESSAGE);
                ck_assert_uint_eq(s->event.payload_len, 200000);
                seen_free(s);
        }
        close_plain(&rig);
}
END_TEST

START_TEST(dead_first_address_does_not_stop_us) {
        struct sockaddr_in at = { .sin_family = AF_INET };
        TransportConfig c;
        uint16_t port;
        int full, fill[3];
        Rig rig;

        fake_start(&plain_fake, script_online_until_closed);
        /* 127.0.0.2 with the same port: a listener whose queue is full answers no more, like a black hole. */
        full = fake_listen("127.0.0.2", plain_fake.port, 0, &port);
        at.sin_port = htons(port);
        (void) inet_pton(AF_INET, "127.0.0.2", &at.sin_addr);
        for (size_t i = 0; i < ELEMENTSOF(fill); i++) {
                fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                (void) connect(fill[i], (const struct sockaddr *) &at, sizeof at);
        }
        c = rig_config(plain_fake.port);
        c.host = "dead-first.test";
        rig_open(&rig, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        close_plain(&rig);
        for (size_t i = 0; i < ELEMENTSOF(fill); i++)
                (void) close(fill[i]);
        (void) close(full);
}
END_TEST

START_TEST(what_cannot_be_reached_is_named) {
        TransportConfig c = rig_config(rig_free_port());
        Rig rig;

        c.host = "dead-first.test";
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE,
                        "127.0.0.2: Connection refused, 127.0.0.1: Connection refused");
        rig_close(&rig);
        c.host = "nowhere.test";
        rig_open(&rig, &c);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "cannot look up the name nowhere.test");
        rig_close(&rig);
}
END_TEST

/* The word behind `key` in a thread's status. */
static bool thread_status(const char *tid, const char *key, char ret[static 32]) {
        char path[300], line[128];
        bool found = false;
        FILE *f;

        (void) snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
        f = fopen(path, "re");
        while (f && !found && fgets(line, sizeof line, f))
                found = strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%31s", ret) == 1;
        if (f)
                (void) fclose(f);
        return found;
}

/* Voluntary context switches of the network thread. */
static long network_switches(void) {
        DIR *dir = opendir("/proc/self/task");
        const struct dirent *entry;
        char text[32];
        long n = -1;

        ck_assert_ptr_nonnull(dir);
        while ((entry = readdir(dir))) {
                if (!thread_status(entry->d_name, "Name:", text) || strcmp(text, "iot-jobs-net") != 0)
                        continue;
                if (thread_status(entry->d_name, "voluntary_ctxt_switches:", text))
                        n = atol(text);
        }
        (void) closedir(dir);
        return n;
}

START_TEST(an_idle_connection_sleeps) {
        long before;
        Rig rig;

        open_plain(&rig, script_online_until_closed, NULL);
        rig_expect(&rig, TRANSPORT_ONLINE);
        (void) usleep(100000);
        before = network_switches();
        ck_assert_int_gt(before, 0);
        (void) usleep(500000);
        ck_assert_int_le(network_switches() - before, 2); /* a loop that ticks or spins has many */
        close_plain(&rig);
}
END_TEST

START_TEST(a_stuck_resolver_does_not_hold_the_owner) {
        TransportConfig c;
        Rig rig;

        ck_assert_int_eq(pipe2(rig_resolver_gate, O_CLOEXEC), 0);
        fake_start(&plain_fake, script_accept_only);
        c = rig_config(plain_fake.port);
        c.host = "stuck.test";
        rig_open(&rig, &c);
        (void) transport_free(rig.t, 50 * USEC_PER_MSEC);
        /* The thread left behind sees the order when the resolver lets go, and connects nowhere. */
        rig_release_resolver();
        (void) shutdown(plain_fake.listener, SHUT_RD);
        (void) pthread_join(plain_fake.thread, NULL);
        /* In the middle of its own clean-up it would look like a leak. */
        for (int i = 0; i < RIG_WAIT_SEC * 100 && network_switches() >= 0; i++)
                (void) usleep(10000);
        ck_assert_int_lt(network_switches(), 0);
}
END_TEST

static int frees;

static void free_in_handler(const TransportEvent *event, void *userdata) {
        Rig *rig = userdata;

        (void) event;
        frees++;
        rig->t = transport_free(rig->t, RIG_WAIT_SEC * USEC_PER_SEC);
}

static void script_three_messages(Fake *f) {
        if (!fake_bring_online(f))
                return;
        for (uint16_t i = 1; i <= 3; i++)
                (void) fake_publish(f, "test/a", "", 0, i);
        for (int i = 0; i < 3; i++)
                (void) fake_expect(f, 4);
        open_gate(f);
        fake_drain(f);
}

START_TEST(free_inside_the_handler) {
        int gate[2];
        char byte;
        Rig rig;

        ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
        plain_fake.userdata = gate;
        open_plain(&rig, script_three_messages, NULL);
        ck_assert_int_eq(read(gate[0], &byte, 1), 1);
        transport_dispatch(rig.t, free_in_handler, &rig);
        ck_assert_int_eq(frees, 1); /* four events waited */
        ck_assert_ptr_null(rig.t);
        fake_stop(&plain_fake);
}
END_TEST

/* What was handed in and DISCONNECT arrive, in this order, although the owner is gone. */
static void script_goodbye(Fake *f) {
        if (!fake_bring_online(f))
                return;
        for (int i = 0; i < 10; i++)
                (void) fake_expect(f, 3);
        (void) fake_expect(f, 14);
        fake_drain(f);
}

START_TEST(free_sends_what_waits_and_disconnect) {
        TransportConfig c = rig_config(1);
        Rig rig;

        c.publish_rate = 1;
        open_plain(&rig, script_goodbye, &c);
        rig_expect(&rig, TRANSPORT_ONLINE);
        for (int i = 0; i < 10; i++)
                ck_assert_int_eq(transport_publish(rig.t, "test/x", "x", 1), 0);
        close_plain(&rig);
}
END_TEST

/* ---- against a real broker ---- */

START_TEST(messages_come_and_go_in_order) {
        char text[16];
        Rig rig;

        for (int protocol = 3; protocol <= 5; protocol++) {
                TransportConfig c = rig_config(rig_broker_port);

                c.protocol = protocol;
                c.qos = protocol == 4 ? 1 : protocol == 5 ? 1 : 0;
                rig_open(&rig, &c);
                rig_expect_online(&rig);
                for (int i = 0; i < 500; i++) {
                        (void) snprintf(text, sizeof text, "%d", i);
                        ck_assert_int_eq(transport_publish(rig.t, "test/order", text, strlen(text)), 0);
                }
                for (int i = 0; i < 500; i++) {
                        (void) snprintf(text, sizeof text, "%d", i);
                        rig_expect_message(&rig, "test/order", text);
                }
                rig_close(&rig);
        }
}
END_TEST

START_TEST(payload_of_any_bytes) {
        size_t len = 200000;
        char *payload = malloc(len);
        TransportConfig c = rig_config(rig_broker_port);
        Seen *s;
        Rig rig;

        for (size_t i = 0; i < len; i++)
                payload[i] = (char) (i * 7 + i / 251);
        rig_open(&rig, &c);
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/bytes", payload, len), 0);
        ck_assert_int_eq(transport_publish(rig.t, "test/bytes", NULL, 0), 0);
        s = rig_next(&rig);
        ck_assert_uint_eq(s->event.payload_len, len);
        ck_assert_mem_eq(s->event.payload, payload, len);
        seen_free(s);
        rig_expect_message(&rig, "test/bytes", "");
        rig_close(&rig);
        free(payload);
}
END_TEST

START_TEST(message_of_256_kib_is_named_and_survived) {
        size_t len = 256 << 10;
        char *payload = calloc(1, len);
        TransportConfig c = rig_config(rig_broker_port);
        Seen *s;
        Rig rig;

        rig_open(&rig, &c);
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/large", payload, len), 0);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_DROPPED);
        ck_assert_str_eq(s->event.topic, "test/large");
        seen_free(s);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "test/large");
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/small", "x", 1), 0);
        rig_expect_message(&rig, "test/small", "x");
        rig_close(&rig);
        free(payload);
}
END_TEST

START_TEST(bad_topic_is_reported_and_survived) {
        TransportConfig c = rig_config(rig_broker_port);
        Seen *s;
        Rig rig;

        rig_open(&rig, &c);
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/+/no", "x", 1), 0);
        s = rig_next(&rig);
        ck_assert_int_eq((int) s->event.type, TRANSPORT_DROPPED);
        ck_assert_str_eq(s->event.topic, "test/+/no");
        seen_free(s);
        ck_assert_int_eq(transport_publish(rig.t, "test/yes", "x", 1), 0);
        rig_expect_message(&rig, "test/yes", "x");
        rig_close(&rig);
}
END_TEST

START_TEST(broker_restart_is_survived) {
        TransportConfig c = rig_config(rig_broker_port);
        Rig rig;

        rig_open(&rig, &c);
        rig_expect_online(&rig);
        rig_broker_stop();
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "Connection refused");
        rig_broker_start();
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/again", "x", 1), 0);
        rig_expect_message(&rig, "test/again", "x");
        rig_close(&rig);
}
END_TEST

START_TEST(reconfigure_connects_again) {
        static const char *const other[] = { "other/#", NULL };
        TransportConfig c = rig_config(rig_broker_port);
        Error e = { 0 };
        Rig rig;

        rig_open(&rig, &c);
        rig_expect_online(&rig);
        c.port = 0;
        ck_assert_int_lt(transport_reconfigure(rig.t, &c, true, &e), 0);
        c.port = rig_broker_port;
        c.filters = other;
        ck_assert_int_eq(transport_reconfigure(rig.t, &c, true, &e), 0);
        rig_expect_text(&rig, TRANSPORT_OFFLINE, "new configuration");
        rig_expect(&rig, TRANSPORT_ONLINE);
        ck_assert_int_eq(transport_publish(rig.t, "test/old", "x", 1), 0);
        ck_assert_int_eq(transport_publish(rig.t, "other/new", "y", 1), 0);
        rig_expect_message(&rig, "other/new", "y");
        rig_close(&rig);
}
END_TEST

START_TEST(two_with_one_client_id) {
        TransportConfig c = rig_config(rig_broker_port);
        int offline = 0;
        Rig a, b;

        c.reconnect_max_usec = 200 * RIG_MSEC;
        rig_open(&a, &c);
        rig_expect_online(&a);
        rig_open(&b, &c);
        rig_expect_online(&b);
        /* They throw each other out; the delays grow, since nobody is stable. */
        while (offline < 8) {
                Seen *s = rig_next(&a);

                offline += s->event.type == TRANSPORT_OFFLINE;
                seen_free(s);
                rig_collect(&b, 0);
        }
        rig_close(&b);
        rig_expect_online(&a);
        rig_close(&a);
}
END_TEST

START_TEST(free_before_start_and_of_nothing) {
        TransportConfig c = rig_config(1);
        Transport *t;
        Error e;

        ck_assert_ptr_null(transport_free(NULL, 0));
        ck_assert_int_eq(transport_new(&c, &t, &e), 0);
        ck_assert_int_eq(transport_publish(t, "a", "b", 1), -ENOTCONN);
        ck_assert_ptr_null(transport_free(t, 0));
}
END_TEST

static TCase *pure_cases(void) {
        TCase *tc = tcase_create("pure");

        tcase_add_test(tc, backoff_grows_between_its_bounds);
        tcase_add_test(tc, bucket_gives_a_burst_then_the_rate);
        tcase_add_test(tc, frames_are_found_however_they_are_cut);
        tcase_add_test(tc, frames_of_every_length_form);
        tcase_add_test(tc, topic_of_a_publish);
        tcase_add_test(tc, bad_configuration_is_named);
        tcase_add_test(tc, free_before_start_and_of_nothing);
        return tc;
}

static TCase *tls_cases(void) {
        TCase *tc = tcase_create("tls");

        tcase_set_timeout(tc, 120);
        tcase_add_unchecked_fixture(tc, certs_setup, rig_remove_dir);
        tcase_add_test(tc, bad_files_are_named);
        tcase_add_test(tc, unreadable_key_is_named);
        tcase_add_test(tc, wrong_host_name_is_refused);
        tcase_add_test(tc, common_name_alone_is_refused);
        tcase_add_test(tc, name_with_a_nul_is_refused);
        tcase_add_test(tc, wildcards_in_the_wrong_place_are_refused);
        tcase_add_test(tc, wildcard_for_a_whole_label_is_taken);
        tcase_add_test(tc, expired_certificate_is_refused_with_dates);
        tcase_add_test(tc, certificate_of_tomorrow_is_refused_with_dates);
        tcase_add_test(tc, wrong_ca_is_refused);
        tcase_add_test(tc, sni_alpn_and_client_certificate_are_sent);
        tcase_add_test(tc, address_as_host_is_checked_and_sends_no_sni);
        tcase_add_test(tc, unknown_alpn_is_named);
        tcase_add_test(tc, refused_client_certificate_is_named);
        tcase_add_test(tc, old_tls_is_refused);
        tcase_add_test(tc, garbage_instead_of_tls);
        tcase_add_test(tc, stalled_handshake_has_a_deadline);
        tcase_add_test(tc, close_without_close_notify);
        tcase_add_test(tc, nothing_is_stranded_inside_tls);
        tcase_add_test(tc, nothing_is_stranded_by_a_pause);
        tcase_add_test(tc, own_certificate_near_its_end);
        tcase_add_test(tc, own_certificate_past_its_end);
        tcase_add_test(tc, files_are_read_afresh_for_each_connection);
        return tc;
}

static TCase *script_cases(void) {
        TCase *tc = tcase_create("script");

        tcase_set_timeout(tc, 120);
        tcase_add_test(tc, connack_refusals_are_named_and_retried);
        tcase_add_test(tc, what_is_not_mqtt_ends_the_connection);
        tcase_add_test(tc, subacks_are_counted);
        tcase_add_test(tc, missing_suback_has_a_deadline);
        tcase_add_test(tc, missing_connack_has_a_deadline);
        tcase_add_test(tc, refused_filter_is_named_and_asked_for_again);
        tcase_add_test(tc, at_most_eight_filters_in_a_packet);
        tcase_add_test(tc, no_filters_is_online_at_once);
        tcase_add_test(tc, giant_packet_ends_the_connection_before_it_is_held);
        tcase_add_test(tc, half_open_connection_is_noticed);
        tcase_add_test(tc, kick_after_subscribe_names_the_filter_and_keeps_the_backoff);
        tcase_add_test(tc, backoff_is_reset_after_a_stable_time_only);
        tcase_add_test(tc, nothing_is_kept_across_connections);
        tcase_add_test(tc, only_the_connection_that_was_announced_takes_publications);
        tcase_add_test(tc, missing_pubacks_end_the_connection);
        tcase_add_test(tc, what_may_wait_is_bounded);
        tcase_add_test(tc, bytes_may_come_one_by_one);
        tcase_add_test(tc, version_5_reasons);
        tcase_add_test(tc, publications_keep_to_the_rate);
        tcase_add_test(tc, an_owner_that_looks_away_stops_the_broker);
        tcase_add_test(tc, dead_first_address_does_not_stop_us);
        tcase_add_test(tc, what_cannot_be_reached_is_named);
        tcase_add_test(tc, an_idle_connection_sleeps);
        tcase_add_test(tc, a_stuck_resolver_does_not_hold_the_owner);
        tcase_add_test(tc, free_inside_the_handler);
        tcase_add_test(tc, free_sends_what_waits_and_disconnect);
        return tc;
}

static TCase *broker_cases(void) {
        TCase *tc = tcase_create("broker");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_broker_setup, rig_broker_teardown);
        tcase_add_test(tc, messages_come_and_go_in_order);
        tcase_add_test(tc, payload_of_any_bytes);
        tcase_add_test(tc, message_of_256_kib_is_named_and_survived);
        tcase_add_test(tc, bad_topic_is_reported_and_survived);
        tcase_add_test(tc, broker_restart_is_survived);
        tcase_add_test(tc, reconfigure_connects_again);
        tcase_add_test(tc, two_with_one_client_id);
        return tc;
}

UNIT_MAIN("transport", pure_cases(), tls_cases(), script_cases(), broker_cases())
