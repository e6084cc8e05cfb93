/* SPDX-License-Identifier: Apache-2.0 */
/* A broker that does exactly what a test's script says, byte by byte, over TCP or TLS on the loopback. The script runs in
 * a thread of its own and uses the fake_… calls; each one waits FAKE_WAIT_SEC at most. A script that finds something wrong
 * says so by fake_fail(), which the test sees in fake_stop(). */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "unit.h"

enum { FAKE_WAIT_SEC = 30, FAKE_PACKET_MAX = 4096 };

typedef struct Fake Fake;
typedef void (*FakeScript)(Fake *f);

typedef struct Packet {
        unsigned char type, flags; /* type 0 = none: closed or nothing came */
        size_t len;
        unsigned char body[FAKE_PACKET_MAX];
} Packet;

struct Fake {
        int listener;
        uint16_t port;
        FakeScript script;
        pthread_t thread;
        SSL_CTX *ctx; /* NULL = plain */
        int fd;
        SSL *ssl;
        char problem[256];
        char sni[128]; /* of the last TLS handshake */
        char alpn[64];
        void *userdata;
};

/* ---- listening ---- */

static inline int fake_listen(const char *address, uint16_t port, int backlog, uint16_t *ret_port) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
        socklen_t size = sizeof at;
        const int on = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(inet_pton(AF_INET, address, &at.sin_addr), 1);
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
        ck_assert_int_eq(bind(fd, (const struct sockaddr *) &at, sizeof at), 0);
        ck_assert_int_eq(listen(fd, backlog), 0);
        ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &at, &size), 0);
        *ret_port = ntohs(at.sin_port);
        return fd;
}

static inline void *fake_thread(void *userdata) {
        Fake *f = userdata;

        f->script(f);
        return NULL;
}

static inline void fake_start(Fake *f, FakeScript script) {
        f->fd = -1;
        f->script = script;
        f->listener = fake_listen("127.0.0.1", 0, 16, &f->port);
        ck_assert_int_eq(pthread_create(&f->thread, NULL, fake_thread, f), 0);
}

static inline void fake_fail(Fake *f, const char *what) {
        if (f->problem[0] == '\0')
                (void) snprintf(f->problem, sizeof f->problem, "%s", what);
}

static inline void fake_hang_up(Fake *f) {
        SSL_free(f->ssl);
        f->ssl = NULL;
        if (f->fd >= 0)
                (void) close(f->fd);
        f->fd = -1;
}

/* Wait for the script's end; the test fails if it found something wrong. */
static inline void fake_stop(Fake *f) {
        (void) pthread_join(f->thread, NULL);
        fake_hang_up(f);
        (void) close(f->listener);
        SSL_CTX_free(f->ctx);
        ck_assert_msg(f->problem[0] == '\0', "fake broker: %s", f->problem);
}

/* ---- TLS ---- */

static inline int fake_on_sni(SSL *ssl, int *alert, void *userdata) {
        Fake *f = userdata;
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

        (void) alert;
        (void) snprintf(f->sni, sizeof f->sni, "%s", name ? name : "");
        return SSL_TLSEXT_ERR_OK;
}

static inline int fake_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                               const unsigned char *in, unsigned in_len, void *userdata) {
        Fake *f = userdata;

        (void) ssl;
        (void) snprintf(f->alpn, sizeof f->alpn, "%.*s", (int) in[0], (const char *) in + 1);
        if (in_len < 1 || strcmp(f->alpn, "unknown") == 0)
                return SSL_TLSEXT_ERR_ALERT_FATAL;
        *out = in + 1;
        *out_len = in[0];
        return SSL_TLSEXT_ERR_OK;
}

/* Server side from DIR/NAME.pem; `ca` (a file in DIR) makes a client certificate of that CA necessary. */
static inline void fake_use_tls(Fake *f, const char *dir, const char *name, const char *ca) {
        char path[512];

        f->ctx = SSL_CTX_new(TLS_server_method());
        ck_assert_ptr_nonnull(f->ctx);
        (void) snprintf(path, sizeof path, "%s/%s.pem", dir, name);
        ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(f->ctx, path), 1);
        (void) snprintf(path, sizeof path, "%s/%s.key", dir, name);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(f->ctx, path, SSL_FILETYPE_PEM), 1);
        SSL_CTX_set_tlsext_servername_callback(f->ctx, fake_on_sni);
        SSL_CTX_set_tlsext_servername_arg(f->ctx, f);
        SSL_CTX_set_alpn_select_cb(f->ctx, fake_on_alpn, f);
        if (ca) {
                (void) snprintf(path, sizeof path, "%s/%s", dir, ca);
                ck_assert_int_eq(SSL_CTX_load_verify_locations(f->ctx, path, NULL), 1);
                SSL_CTX_set_verify(f->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        }
}

/* ---- bytes ---- */

static inline bool fake_accept(Fake *f) {
        const struct timeval wait = { .tv_sec = FAKE_WAIT_SEC };
        struct pollfd p = { .fd = f->listener, .events = POLLIN };
        const int on = 1;

        fake_hang_up(f);
        if (poll(&p, 1, FAKE_WAIT_SEC * 1000) == 1)
                f->fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        if (f->fd < 0) {
                fake_fail(f, "nobody connected");
                return false;
        }
        (void) setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        (void) setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        (void) setsockopt(f->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
        if (!f->ctx)
                return true;
        f->ssl = SSL_new(f->ctx);
        (void) SSL_set_fd(f->ssl, f->fd);
        return SSL_accept(f->ssl) == 1; /* false is what some tests want */
}

static inline bool fake_send(Fake *f, const void *data, size_t len) {
        if (f->ssl)
                return SSL_write(f->ssl, data, (int) len) == (int) len;
        return send(f->fd, data, len, MSG_NOSIGNAL) == (ssize_t) len;
}

#define fake_send_bytes(f, ...)                                                                              \
        fake_send((f), (const unsigned char[]){ __VA_ARGS__ }, sizeof((const unsigned char[]){ __VA_ARGS__ }))

static inline bool fake_read(Fake *f, void *buf, size_t len) {
        unsigned char *at = buf;

        while (len > 0) {
                ssize_t n = f->ssl ? SSL_read(f->ssl, at, (int) len) : recv(f->fd, at, len, 0);

                if (n <= 0)
                        return false;
                at += n;
                len -= (size_t) n;
        }
        return true;
}

/* The next packet; type 0 when the other side has closed. */
static inline Packet fake_packet(Fake *f) {
        Packet p = { 0 };
        unsigned char byte = 0;
        unsigned shift = 0;

        if (!fake_read(f, &byte, 1))
                return p;
        p.flags = byte & 0x0F;
        p.type = (unsigned char) (byte >> 4);
        do {
                if (!fake_read(f, &byte, 1))
                        return (Packet){ 0 };
                p.len |= (size_t) (byte & 0x7F) << shift;
                shift += 7;
        } while (byte & 0x80);
        if (p.len > sizeof p.body || !fake_read(f, p.body, p.len))
                return (Packet){ 0 };
        return p;
}

static inline Packet fake_expect(Fake *f, unsigned char type) {
        Packet p = fake_packet(f);
        char text[64];

        if (p.type != type) {
                (void) snprintf(text, sizeof text, "packet of type %d, expected %d", p.type, type);
                fake_fail(f, text);
        }
        return p;
}

/* ---- MQTT 3.1.1 ---- */

static inline bool fake_accept_mqtt(Fake *f) {
        if (!fake_accept(f))
                return false;
        return fake_expect(f, 1).type == 1 && fake_send_bytes(f, 0x20, 0x02, 0x00, 0x00);
}

/* How many filters a SUBSCRIBE has (MQTT 3.1.1). */
static inline size_t fake_count_filters(const Packet *p) {
        size_t n = 0, at = 2;

        while (at + 2 < p->len) {
                at += 2 + ((size_t) p->body[at] << 8 | p->body[at + 1]) + 1;
                n++;
        }
        return n;
}

/* Answer a SUBSCRIBE; the filter number `refuse` (from 0; -1 = none) gets 0x80. */
static inline void fake_suback(Fake *f, const Packet *p, int refuse) {
        unsigned char answer[64] = { 0x90 };
        size_t n = fake_count_filters(p);

        answer[1] = (unsigned char) (2 + n);
        memcpy(answer + 2, p->body, 2);
        for (size_t i = 0; i < n; i++)
                answer[4 + i] = refuse == (int) i ? 0x80 : 0x01;
        if (!fake_send(f, answer, 4 + n))
                fake_fail(f, "SUBACK could not be sent");
}

/* From accept() to the last SUBACK, for a client with one packet of filters. */
static inline bool fake_bring_online(Fake *f) {
        Packet p;

        if (!fake_accept_mqtt(f))
                return false;
        p = fake_expect(f, 8);
        fake_suback(f, &p, -1);
        return p.type == 8;
}

/* A PUBLISH with QoS 1. */
static inline bool fake_publish(Fake *f, const char *topic, const void *payload, size_t len, uint16_t mid) {
        size_t topic_len = strlen(topic), body = 2 + topic_len + 2 + len, at = 0;
        unsigned char *packet = malloc(body + 5);
        uint32_t left = (uint32_t) body;
        bool ok;

        packet[at++] = 0x32;
        do {
                packet[at++] = (unsigned char) ((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
                left >>= 7;
        } while (left > 0);
        packet[at++] = (unsigned char) (topic_len >> 8);
        packet[at++] = (unsigned char) topic_len;
        memcpy(packet + at, topic, topic_len);
        at += topic_len;
        packet[at++] = (unsigned char) (mid >> 8);
        packet[at++] = (unsigned char) mid;
        if (len > 0)
                memcpy(packet + at, payload, len);
        ok = fake_send(f, packet, at + len);
        free(packet);
        return ok;
}

/* Read until the other side closes. */
static inline void fake_drain(Fake *f) {
        while (fake_packet(f).type != 0)
                ;
}
