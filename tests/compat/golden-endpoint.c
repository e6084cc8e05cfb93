/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_MAX = 1 << 20, WAIT_SEC = 20 };

struct Endpoint {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t more;
        int listener, stop[2];
        Heard heard[HEARD_MAX];
        size_t n;
};

typedef struct Packet {
        unsigned char first, *body;
        size_t len, at; /* `at`: how far it is read */
} Packet;

/* ---- bytes ---- */

static bool read_all(int fd, void *to, size_t n) {
        for (size_t got = 0; got < n;) {
                ssize_t r = read(fd, (char *) to + got, n - got);

                if (r <= 0)
                        return false;
                got += (size_t) r;
        }
        return true;
}

static bool send_all(int fd, const void *from, size_t n) {
        return send(fd, from, n, MSG_NOSIGNAL) == (ssize_t) n;
}

static bool read_packet(int fd, Packet *p) {
        unsigned char byte;
        size_t shift = 0;

        *p = (Packet){ 0 };
        if (!read_all(fd, &p->first, 1))
                return false;
        do {
                if (shift > 21 || !read_all(fd, &byte, 1))
                        return false;
                p->len |= (size_t) (byte & 0x7F) << shift;
                shift += 7;
        } while (byte & 0x80);
        if (p->len > PACKET_MAX)
                return false;
        p->body = calloc(1, p->len + 1);
        return p->body && read_all(fd, p->body, p->len);
}

static unsigned take_u16(Packet *p) {
        unsigned v = 0;

        if (p->at + 2 <= p->len)
                v = (unsigned) p->body[p->at] << 8 | p->body[p->at + 1];
        p->at += 2;
        return v;
}

static int take_byte(Packet *p) {
        return p->at < p->len ? p->body[p->at++] : 0;
}

/* Points into the packet; *ret_len 0 where it is cut short. */
static const unsigned char *take_bytes(Packet *p, size_t *ret_len) {
        size_t n = take_u16(p), at = p->at;

        if (at + n > p->len) {
                *ret_len = 0;
                return p->body;
        }
        p->at = at + n;
        *ret_len = n;
        return p->body + at;
}

static void take_text(Packet *p, char ret[static HEARD_TEXT_MAX]) {
        size_t n;
        const unsigned char *text = take_bytes(p, &n);

        if (n >= HEARD_TEXT_MAX)
                n = HEARD_TEXT_MAX - 1;
        memcpy(ret, text, n);
        ret[n] = '\0';
}

static char *copy_bytes(const unsigned char *from, size_t n) {
        char *copy = calloc(1, n + 1);

        if (copy && n > 0)
                memcpy(copy, from, n);
        return copy;
}

/* ---- packets ---- */

static void add(Endpoint *e, const Heard *h) {
        (void) pthread_mutex_lock(&e->lock);
        if (e->n < HEARD_MAX)
                e->heard[e->n++] = *h;
        else
                free(h->payload);
        (void) pthread_cond_broadcast(&e->more);
        (void) pthread_mutex_unlock(&e->lock);
}

static bool on_connect(Endpoint *e, int fd, Packet *p) {
        Heard h = { .type = HEARD_CONNECT };
        const unsigned char connack[] = { 0x20, 2, 0, 0 };
        char protocol[HEARD_TEXT_MAX];

        take_text(p, protocol);
        (void) snprintf(h.protocol, sizeof h.protocol, "%.15s", protocol);
        h.level = take_byte(p);
        h.flags = take_byte(p);
        h.keep_alive = (int) take_u16(p);
        take_text(p, h.client_id);
        if (h.flags & 0x04) {
                const unsigned char *payload;

                take_text(p, h.will_topic);
                payload = take_bytes(p, &h.len);
                h.payload = copy_bytes(payload, h.len);
        }
        if (h.flags & 0x80)
                take_text(p, h.username);
        if (h.flags & 0x40)
                take_text(p, h.password);
        add(e, &h);
        return send_all(fd, connack, sizeof connack);
}

static bool on_publish(Endpoint *e, int fd, Packet *p) {
        Heard h = { .type = HEARD_PUBLISH, .qos = p->first >> 1 & 3, .retain = p->first & 1 };
        unsigned char puback[] = { 0x40, 2, 0, 0 };

        take_text(p, h.topic);
        if (h.qos > 0) {
                unsigned mid = take_u16(p);

                puback[2] = (unsigned char) (mid >> 8);
                puback[3] = (unsigned char) mid;
        }
        h.len = p->at < p->len ? p->len - p->at : 0;
        h.payload = copy_bytes(p->body + p->len - h.len, h.len);
        add(e, &h);
        return h.qos == 0 || send_all(fd, puback, sizeof puback);
}

static bool on_subscribe(Endpoint *e, int fd, Packet *p) {
        Heard h = { .type = HEARD_SUBSCRIBE };
        unsigned char suback[64] = { 0x90, 2, p->body[0], p->body[1] };

        p->at = 2;
        while (p->at + 2 < p->len && suback[1] < 60) {
                take_text(p, h.topic);
                h.qos = take_byte(p);
                suback[2 + suback[1]++] = (unsigned char) h.qos;
        }
        if (suback[1] != 3)
                h.topic[0] = '\0';
        add(e, &h);
        return send_all(fd, suback, 2U + suback[1]);
}

static bool answer(Endpoint *e, int fd, Packet *p) {
        const unsigned char pingresp[] = { 0xD0, 0 };
        unsigned char unsuback[] = { 0xB0, 2, 0, 0 };

        switch (p->first >> 4) {
        case 1:
                return on_connect(e, fd, p);
        case 3:
                return on_publish(e, fd, p);
        case 8:
                return p->len >= 2 && on_subscribe(e, fd, p);
        case 10:
                add(e, &(Heard){ .type = HEARD_UNSUBSCRIBE });
                memcpy(unsuback + 2, p->body, p->len >= 2 ? 2 : 0);
                return send_all(fd, unsuback, sizeof unsuback);
        case 12:
                return send_all(fd, pingresp, sizeof pingresp);
        default:
                return false; /* DISCONNECT, and what a client does not say */
        }
}

static bool readable(const Endpoint *e, int fd) {
        struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = e->stop[0], .events = POLLIN } };

        return poll(p, 2, -1) > 0 && p[1].revents == 0;
}

static void *serve(void *userdata) {
        Endpoint *e = userdata;

        while (readable(e, e->listener)) {
                int fd = accept(e->listener, NULL, NULL);
                bool on = fd >= 0;

                while (on && readable(e, fd)) {
                        Packet p;

                        on = read_packet(fd, &p) && answer(e, fd, &p);
                        free(p.body);
                }
                if (fd >= 0)
                        (void) close(fd);
        }
        return NULL;
}

/* ---- for the caller ---- */

Endpoint *endpoint_start(int *ret_port) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof at;
        Endpoint *e = calloc(1, sizeof *e);

        if (!e)
                return NULL;
        e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (e->listener < 0 || bind(e->listener, (struct sockaddr *) &at, sizeof at) < 0 ||
            listen(e->listener, 4) < 0 || getsockname(e->listener, (struct sockaddr *) &at, &size) < 0 ||
            pipe(e->stop) < 0)
                return NULL;
        (void) pthread_mutex_init(&e->lock, NULL);
        (void) pthread_cond_init(&e->more, NULL);
        if (pthread_create(&e->thread, NULL, serve, e) != 0)
                return NULL;
        *ret_port = ntohs(at.sin_port);
        return e;
}

void endpoint_clear(Endpoint *e) {
        (void) pthread_mutex_lock(&e->lock);
        for (size_t i = 0; i < e->n; i++)
                free(e->heard[i].payload);
        e->n = 0;
        (void) pthread_mutex_unlock(&e->lock);
}

void endpoint_stop(Endpoint *e) {
        if (write(e->stop[1], "", 1) == 1)
                (void) pthread_join(e->thread, NULL);
        endpoint_clear(e);
        (void) close(e->listener);
        (void) close(e->stop[0]);
        (void) close(e->stop[1]);
        (void) pthread_cond_destroy(&e->more);
        (void) pthread_mutex_destroy(&e->lock);
        free(e);
}

static size_t find(const Endpoint *e, const char *topic) {
        for (size_t i = 0; i < e->n; i++)
                if (!topic || (e->heard[i].type == HEARD_PUBLISH && strcmp(e->heard[i].topic, topic) == 0))
                        return i;
        return HEARD_MAX;
}

bool endpoint_collect(Endpoint *e, const char *topic, Heard **ret, size_t *ret_n) {
        struct timespec until;
        size_t n;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += WAIT_SEC;
        (void) pthread_mutex_lock(&e->lock);
        while ((n = find(e, topic)) == HEARD_MAX && pthread_cond_timedwait(&e->more, &e->lock, &until) == 0)
                ;
        if (n < HEARD_MAX) {
                n += !topic;
                *ret = calloc(n + 1, sizeof **ret);
                if (!*ret)
                        abort();
                memcpy(*ret, e->heard, n * sizeof **ret);
                *ret_n = n;
                for (size_t i = n; i < e->n; i++)
                        free(e->heard[i].payload);
                e->n = 0;
        }
        (void) pthread_mutex_unlock(&e->lock);
        return n < HEARD_MAX;
}

void heard_free(Heard *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(list[i].payload);
        free(list);
}
