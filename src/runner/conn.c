/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "runner/bounds.h"

typedef struct Packet {
        struct Packet *next;
        size_t len;
        char data[];
} Packet;

struct Conn {
        int fd;
        Packet *first, **last;
        size_t n_queued;
};

int conn_new(int fd, Conn **ret) {
        Conn *c = calloc(1, sizeof *c);
        int flags;

        if (!c) {
                (void) close(fd);
                return -ENOMEM;
        }
        flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && !(flags & O_NONBLOCK))
                (void) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        c->fd = fd;
        c->last = &c->first;
        *ret = c;
        return 0;
}

Conn *conn_free(Conn *c) {
        if (!c)
                return NULL;
        while (c->first) {
                Packet *p = c->first;

                c->first = p->next;
                free(p);
        }
        (void) close(c->fd);
        free(c);
        return NULL;
}

int conn_fd(const Conn *c) {
        return c->fd;
}

bool conn_has_unsent(const Conn *c) {
        return c->first != NULL;
}

static int packet_send(int fd, const char *data, size_t len) {
        while (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static int conn_queue(Conn *c, const Buf *b) {
        Packet *p;

        if (c->n_queued >= RUNNER_QUEUE_MAX)
                return -ENOBUFS;
        p = malloc(sizeof *p + b->len);
        if (!p)
                return -ENOMEM;
        p->next = NULL;
        p->len = b->len;
        memcpy(p->data, b->data, b->len);
        *c->last = p;
        c->last = &p->next;
        c->n_queued++;
        return 0;
}

int conn_send(Conn *c, const WireMessage *m) {
        Buf b CLEANUP_BUF = {};
        int r = wire_encode(m, &b);

        if (r < 0)
                return r;
        if (!c->first) {
                r = packet_send(c->fd, b.data, b.len);
                if (r != -EAGAIN)
                        return r;
        }
        return conn_queue(c, &b);
}

int conn_flush(Conn *c) {
        while (c->first) {
                Packet *p = c->first;
                int r = packet_send(c->fd, p->data, p->len);

                if (r == -EAGAIN)
                        return 0;
                if (r < 0)
                        return r;
                c->first = p->next;
                if (!c->first)
                        c->last = &c->first;
                c->n_queued--;
                free(p);
        }
        return 0;
}

void conn_drain(Conn *c) {
        uint64_t deadline = clock_boottime_usec() + RUNNER_SEND_SEC * USEC_PER_SEC;

        while (c->first) {
                if (conn_flush(c) < 0)
                        return;
                if (c->first && fd_wait(c->fd, POLLOUT, deadline) <= 0)
                        return;
        }
}

int packet_receive(int fd, char *buf, size_t *ret_len, int *ret_passed) {
        struct iovec iov = { .iov_base = buf, .iov_len = WIRE_PACKET_MAX + 1 };
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = ret_passed ? &control : NULL,
                .msg_controllen = ret_passed ? sizeof control : 0,
        };
        ssize_t n;

        do
                n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        if (ret_passed) {
                *ret_passed = -1;
                for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
                        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
                                memcpy(ret_passed, CMSG_DATA(c), sizeof(int));
        }
        if (n > WIRE_PACKET_MAX || (mh.msg_flags & MSG_TRUNC))
                return -EMSGSIZE;
        *ret_len = (size_t) n;
        return n > 0;
}

int peer_uid(int fd, uid_t *ret) {
        struct ucred u;
        socklen_t len = sizeof u;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) < 0)
                return -errno;
        *ret = u.uid;
        return 0;
}

int fd_wait(int fd, short events, uint64_t deadline) {
        struct pollfd p = { .fd = fd, .events = events };

        for (;;) {
                uint64_t now = clock_boottime_usec();
                uint64_t left = now >= deadline ? 0 : deadline - now;
                struct timespec t = {
                        .tv_sec = (time_t) (left / USEC_PER_SEC),
                        .tv_nsec = (long) (left % USEC_PER_SEC) * 1000,
                };
                int r = ppoll(&p, 1, &t, NULL);

                if (r > 0)
                        return 1;
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0 && left == 0)
                        return 0;
        }
}
