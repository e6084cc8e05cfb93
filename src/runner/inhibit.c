/* SPDX-License-Identifier: Apache-2.0 */
/* The D-Bus specification, as much of it as one call and its answer take. */
#include "runner/inhibit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/conn.h"

enum {
        ANSWER_MAX = 16384, /* all that the bus says until we have our answer */
        HEADER_LEN = 16,    /* the fixed part of a message, with the length of its fields */
        FIELD_REPLY_SERIAL = 5,
        CALL_SERIAL = 2,
};

typedef enum MessageType { MESSAGE_CALL = 1, MESSAGE_RETURN = 2, MESSAGE_ERROR = 3 } MessageType;

/* ---- what we say ---- */

static void put_u32(Buf *b, uint32_t v) {
        buf_append(b, &v, sizeof v); /* aligned by the caller; in our own byte order, as the message says */
}

static void align(Buf *b, size_t start, size_t to) {
        while ((b->len - start) % to)
                buf_append(b, "", 1);
}

static void put_string(Buf *b, size_t start, const char *s) {
        align(b, start, 4);
        put_u32(b, (uint32_t) strlen(s));
        buf_append(b, s, strlen(s) + 1);
}

/* A header field: its number, and a variant of type 's', 'o' or 'g'. */
static void put_field(Buf *b, size_t start, unsigned char number, char type, const char *value) {
        const char head[] = { (char) number, 1, type, '\0' };
        unsigned char len = (unsigned char) strlen(value);

        align(b, start, 8);
        buf_append(b, head, sizeof head);
        if (type == 'g') {
                buf_append(b, &len, 1);
                buf_append(b, value, (size_t) len + 1);
        } else
                put_string(b, start, value);
}

static void put_call(Buf *b, uint32_t serial, const char *destination, const char *path, const char *interface,
                     const char *member, const char *const *args) {
        static const union {
                uint16_t word;
                char first;
        } order = { 1 };
        const char head[] = { order.first ? 'l' : 'B', MESSAGE_CALL, 0, 1 };
        Buf body CLEANUP_BUF = {};
        size_t start = b->len, n = 0;
        uint32_t fields;

        for (; args && args[n]; n++)
                put_string(&body, 0, args[n]);
        buf_append(b, head, sizeof head);
        put_u32(b, (uint32_t) body.len);
        put_u32(b, serial);
        put_u32(b, 0); /* length of the fields, below */
        put_field(b, start, 1, 'o', path);
        put_field(b, start, 2, 's', interface);
        put_field(b, start, 3, 's', member);
        put_field(b, start, 6, 's', destination);
        if (n > 0)
                put_field(b, start, 8, 'g', &"ssss"[4 - MIN_OF(n, (size_t) 4)]);
        fields = (uint32_t) (b->len - start - HEADER_LEN);
        if (!b->error)
                memcpy(b->data + start + HEADER_LEN - sizeof fields, &fields, sizeof fields);
        align(b, start, 8);
        if (body.error)
                b->error = body.error;
        else if (body.len > 0)
                buf_append(b, body.data, body.len);
}

/* All at once: the bus takes what comes before it has said yes. */
static void put_conversation(Buf *b, const char *why) {
        const char *const args[] = { "shutdown:sleep", "iot-jobs", why, "block", NULL };
        char user[16];

        (void) snprintf(user, sizeof user, "%u", (unsigned) geteuid());
        buf_append(b, "", 1);
        buf_puts(b, "AUTH EXTERNAL ");
        for (const char *p = user; *p; p++)
                buf_printf(b, "%02x", (unsigned) *p);
        buf_puts(b, "\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        put_call(b, 1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", NULL);
        put_call(b, CALL_SERIAL, "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
                 "Inhibit", args);
}

/* ---- what we hear ---- */

typedef struct Answer {
        char data[ANSWER_MAX];
        size_t len, at; /* read, and understood of it */
        bool begun;     /* the two lines of the beginning are behind us */
        int fd;         /* that came along; -1 = none */
} Answer;

static uint32_t u32_at(const char *p) {
        uint32_t v;

        memcpy(&v, p, sizeof v);
        return v;
}

static size_t aligned(size_t n, size_t to) {
        return (n + to - 1) / to * to;
}

/* The call that a message answers; 0 = none, or nonsense. `fields` of len bytes start at a multiple of 8. */
static uint32_t reply_serial(const char *fields, size_t len) {
        size_t at = 0;

        while ((at = aligned(at, 8)) + 8 <= len) {
                unsigned char number = (unsigned char) fields[at];
                char type = fields[at + 2];
                uint32_t n;

                if (fields[at + 1] != 1 || fields[at + 3] != '\0')
                        return 0;
                at += 4;
                n = type == 'g' ? (unsigned char) fields[at] : u32_at(fields + at);
                if (number == FIELD_REPLY_SERIAL)
                        return type == 'u' ? n : 0;
                at += type == 'g' ? 1 : 4;
                if (type == 's' || type == 'o' || type == 'g') {
                        if (n >= len - at)
                                return 0;
                        at += n + 1;
                } else if (type != 'u')
                        return 0;
        }
        return 0;
}

/* 1 = the answer to the call, with its type and (of an error) text; 0 = more must come; negative errno. */
static int next_message(Answer *a, int *ret_type, const char **ret_text) {
        size_t fields, body, whole;
        const char *m;

        do {
                size_t left = a->len - a->at;

                m = a->data + a->at;
                if (left < HEADER_LEN)
                        return 0;
                body = u32_at(m + 4);
                fields = u32_at(m + HEADER_LEN - 4);
                if (body > ANSWER_MAX || fields > ANSWER_MAX)
                        return -EMSGSIZE;
                whole = aligned(HEADER_LEN + fields, 8) + body;
                if (left < whole)
                        return whole > ANSWER_MAX - a->at ? -EMSGSIZE : 0;
                a->at += whole;
        } while (reply_serial(m + HEADER_LEN, fields) != CALL_SERIAL);
        *ret_type = m[1];
        *ret_text = "";
        if (m[1] == MESSAGE_ERROR && body > 5 && u32_at(m + whole - body) == strnlen(m + whole - body + 4, body - 4))
                *ret_text = m + whole - body + 4;
        return 1;
}

/* "OK GUID", "AGREE_UNIX_FD", then messages. */
static int begin(Answer *a) {
        const char *first = memchr(a->data, '\n', a->len);
        const char *second = first ? memchr(first + 1, '\n', a->len - (size_t) (first + 1 - a->data)) : NULL;

        if ((a->len >= 3 && memcmp(a->data, "OK ", 3) != 0) || (second && strncmp(first + 1, "AGREE_UNIX_FD", 13) != 0))
                return -EACCES;
        if (!second)
                return 0;
        /* The messages are moved to the beginning, for their alignment. */
        a->len -= (size_t) (second + 1 - a->data);
        memmove(a->data, second + 1, a->len);
        a->begun = true;
        return 1;
}

static int receive(int fd, Answer *a) {
        struct iovec iov = { .iov_base = a->data + a->len, .iov_len = sizeof a->data - a->len };
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        struct cmsghdr *c;
        ssize_t n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

        if (n <= 0)
                return n < 0 ? (errno == EAGAIN || errno == EINTR ? 0 : -errno) : iov.iov_len == 0 ? -EMSGSIZE : -ECONNRESET;
        a->len += (size_t) n;
        c = CMSG_FIRSTHDR(&mh);
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int))) {
                close_fd_p(&a->fd);
                memcpy(&a->fd, CMSG_DATA(c), sizeof a->fd);
        }
        return 0;
}

static int hear(int fd, uint64_t deadline, Answer *a, int *ret_type, const char **ret_text) {
        for (;;) {
                int r = a->begun ? 1 : begin(a);

                if (r > 0)
                        r = next_message(a, ret_type, ret_text);
                if (r != 0)
                        return r;
                r = fd_wait(fd, POLLIN, deadline);
                if (r > 0)
                        r = receive(fd, a);
                else if (r == 0)
                        r = -ETIMEDOUT;
                if (r < 0)
                        return r;
        }
}

static int bus_connect(const char *bus) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if ((size_t) snprintf(address.sun_path, sizeof address.sun_path, "%s", bus) >= sizeof address.sun_path)
                return -ENAMETOOLONG;
        if (connect(fd, (const struct sockaddr *) &address, sizeof address) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int ask(int fd, const char *why, Answer *a, Error *e) {
        uint64_t deadline = clock_boottime_usec() + INHIBIT_WAIT_MSEC * USEC_PER_MSEC;
        Buf b CLEANUP_BUF = {};
        const char *text = "";
        int type = 0, r;

        put_conversation(&b, why);
        r = buf_error(&b);
        errno = 0;
        /* Smaller than any socket's buffer. */
        if (r == 0 && send(fd, b.data, b.len, MSG_NOSIGNAL) != (ssize_t) b.len)
                r = errno ? -errno : -EIO;
        if (r == 0)
                r = hear(fd, deadline, a, &type, &text);
        if (r < 0)
                return error_errno(e, -r, "the answer of systemd-logind");
        if (type == MESSAGE_ERROR)
                return error_set(e, EACCES, "%.200s", text[0] ? text : "systemd-logind refuses");
        if (type != MESSAGE_RETURN || a->fd < 0)
                return error_set(e, EBADMSG, "systemd-logind does not answer as expected");
        return 0;
}

int inhibit_shutdown(const char *bus, const char *why, Error *e) {
        Answer *a CLEANUP_FREE = malloc(sizeof *a);
        int fd CLEANUP_FD = bus_connect(bus), r;

        if (!a)
                return error_errno(e, ENOMEM, "asking systemd-logind");
        if (fd < 0)
                return error_errno(e, -fd, "the system bus %s", bus);
        a->len = a->at = 0;
        a->begun = false;
        a->fd = -1;
        r = ask(fd, why, a, e);
        if (r == 0)
                return a->fd;
        close_fd_p(&a->fd);
        return r;
}
