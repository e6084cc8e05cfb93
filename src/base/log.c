/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"

enum {
        LOG_TEXT_MAX = 2048,
        LOG_VALUE_MAX = 2048,
        /* The journal's socket holds a few lines only (net.unix.max_dgram_qlen, 10 by default), fewer than a handler can write in one
         * go: wait for it to read, in all so long in a second. */
        JOURNAL_WAIT_MSEC = 200,
};

/* What log_open() decided; written once before threads exist. */
static const char *log_identifier = "iot-jobs";
static LogLevel log_max = LOG_LEVEL_INFO;
static int journal_fd = -1;
/* How long lines of this thread have waited since when, as CLOCK_BOOTTIME. */
static _Thread_local uint64_t wait_window, waited;

static const struct {
        const char *name;
        LogLevel level;
} level_names[] = {
        { "error", LOG_LEVEL_ERROR },   { "warning", LOG_LEVEL_WARNING }, { "notice", LOG_LEVEL_NOTICE },
        { "info", LOG_LEVEL_INFO },     { "debug", LOG_LEVEL_DEBUG },
};

int log_level_parse(const char *text, LogLevel *ret) {
        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (strcmp(text, level_names[i].name) == 0) {
                        *ret = level_names[i].level;
                        return 0;
                }
        return -EINVAL;
}

const char *log_level_name(LogLevel level) {
        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (level_names[i].level == level)
                        return level_names[i].name;
        return level < LOG_LEVEL_ERROR ? "error" : "debug";
}

int log_target_parse(const char *text, LogTarget *ret) {
        if (strcmp(text, "journal") == 0)
                *ret = LOG_TARGET_JOURNAL;
        else if (strcmp(text, "stderr") == 0)
                *ret = LOG_TARGET_STDERR;
        else
                return -EINVAL;
        return 0;
}

static bool stderr_is_journal(void) {
        const char *e = getenv("JOURNAL_STREAM");
        unsigned long long dev, ino;
        struct stat st;

        return e && sscanf(e, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
                st.st_dev == dev && st.st_ino == ino;
}

/* What is sent without MSG_DONTWAIT waits, and not for ever. */
static int open_journal(void) {
        const struct timeval limit = { .tv_usec = JOURNAL_WAIT_MSEC * 1000 };
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
                return -1;
        return TAKE_FD(fd);
}

void log_open(const char *identifier, LogTarget target) {
        log_identifier = identifier;
        if (target == LOG_TARGET_AUTO)
                target = stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR;
        if (journal_fd >= 0) {
                (void) close(journal_fd);
                journal_fd = -1;
        }
        if (target == LOG_TARGET_JOURNAL)
                journal_fd = open_journal();
}

void log_set_level(LogLevel max) {
        log_max = max;
}

LogLevel log_get_level(void) {
        return log_max;
}

bool log_to_journal(void) {
        return journal_fd >= 0;
}

/* systemd's "Native Journal Protocol": NAME=value LF, or NAME LF le64 length value LF where the value has a
 * line break. */
static void append_native(Buf *b, const char *name, const char *value) {
        size_t len = strlen(value);

        buf_puts(b, name);
        if (memchr(value, '\n', len)) {
                unsigned char le[8];

                for (size_t i = 0; i < sizeof le; i++)
                        le[i] = (unsigned char) ((uint64_t) len >> (8 * i));
                buf_append(b, "\n", 1);
                buf_append(b, le, sizeof le);
        } else
                buf_append(b, "=", 1);
        buf_append(b, value, len);
        buf_append(b, "\n", 1);
}

static ssize_t journal_sendmsg(const struct msghdr *mh) {
        ssize_t n = sendmsg(journal_fd, mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        uint64_t began;

        if (n >= 0 || errno != EAGAIN)
                return n;
        began = clock_boottime_usec();
        if (began - wait_window >= USEC_PER_SEC) {
                wait_window = began;
                waited = 0;
        }
        if (waited >= JOURNAL_WAIT_MSEC * USEC_PER_MSEC) {
                errno = EAGAIN;
                return -1;
        }
        n = sendmsg(journal_fd, mh, MSG_NOSIGNAL);
        waited += clock_boottime_usec() - began;
        return n;
}

/* A datagram over the socket's buffer goes as a sealed memfd instead, as the protocol has it. */
static bool journal_send_fd(const Buf *b, struct msghdr *mh) {
        int fd CLEANUP_FD = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct cmsghdr *c;

        if (fd < 0 || write(fd, b->data, b->len) != (ssize_t) b->len ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return false;
        mh->msg_iov = NULL;
        mh->msg_iovlen = 0;
        mh->msg_control = &control;
        mh->msg_controllen = sizeof control;
        c = CMSG_FIRSTHDR(mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        return journal_sendmsg(mh) >= 0;
}

static bool journal_send(LogLevel level, const char *identifier, const char *message_id,
                         const LogField *fields, const char *text) {
        static const struct sockaddr_un address = {
                .sun_family = AF_UNIX,
                .sun_path = "/run/systemd/journal/socket",
        };
        Buf b CLEANUP_BUF = {};
        char number[2] = { (char) ('0' + (int) level), '\0' };

        append_native(&b, "PRIORITY", number);
        append_native(&b, "SYSLOG_IDENTIFIER", identifier);
        if (message_id)
                append_native(&b, "MESSAGE_ID", message_id);
        for (const LogField *f = fields; f && f->name; f++)
                if (f->value)
                        append_native(&b, f->name, f->value);
        append_native(&b, "MESSAGE", text);
        if (buf_error(&b))
                return false;

        struct iovec iov = { .iov_base = b.data, .iov_len = b.len };
        struct msghdr mh = {
                .msg_name = (void *) (uintptr_t) &address,
                .msg_namelen = sizeof address,
                .msg_iov = &iov,
                .msg_iovlen = 1,
        };
        if (journal_sendmsg(&mh) >= 0)
                return true;
        return (errno == EMSGSIZE || errno == ENOBUFS) && journal_send_fd(&b, &mh);
}

/* Printable on a terminal and one line: control bytes become \xNN, so that no text can forge a line. */
static void append_escaped(Buf *b, const char *text, size_t max, bool quote) {
        size_t n = 0;

        for (const unsigned char *p = (const unsigned char *) text; *p && n < max; p++, n++) {
                if (*p < 0x20 || *p == 0x7F)
                        buf_printf(b, "\\x%02x", *p);
                else if (quote && (*p == '"' || *p == '\\'))
                        buf_printf(b, "\\%c", *p);
                else
                        buf_append(b, p, 1);
        }
}

static void append_value(Buf *b, const char *value) {
        bool quote = value[0] == '\0' || strpbrk(value, " \"\\=\t\n") != NULL;

        if (quote)
                buf_puts(b, "\"");
        append_escaped(b, value, LOG_VALUE_MAX, quote);
        if (quote)
                buf_puts(b, "\"");
}

/* stderr may be a pipe nobody reads: look before writing, and never more than a pipe takes at once. */
static void write_never_blocking(const char *data, size_t len) {
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = MIN_OF(len, (size_t) 4096) };
        struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

        if (pwritev2(STDERR_FILENO, &iov, 1, -1, RWF_NOWAIT) >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
                return;
        if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
                (void) !write(STDERR_FILENO, iov.iov_base, iov.iov_len);
}

static void stderr_send(LogLevel level, const char *identifier, const LogField *fields, const char *text) {
        Buf b CLEANUP_BUF = {};

        buf_printf(&b, "%s ", log_level_name(level));
        if (identifier != log_identifier) {
                append_escaped(&b, identifier, 64, false);
                buf_puts(&b, ": ");
        }
        append_escaped(&b, text, LOG_TEXT_MAX, false);
        for (const LogField *f = fields; f && f->name; f++)
                if (f->value) {
                        buf_printf(&b, " %s=", f->name);
                        append_value(&b, f->value);
                }
        buf_puts(&b, "\n");
        if (buf_error(&b))
                return;
        if (b.len > 4096) { /* one write, one line */
                b.len = 4096;
                b.data[4095] = '\n';
        }
        write_never_blocking(b.data, b.len);
}

void log_full(LogLevel level, const char *identifier, const char *message_id, const LogField *fields,
              const char *format, ...) {
        char text[LOG_TEXT_MAX];
        int saved = errno;
        va_list ap;

        if (level > log_max)
                return;
        if (!identifier)
                identifier = log_identifier;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (journal_fd < 0 || !journal_send(level, identifier, message_id, fields, text))
                stderr_send(level, identifier, fields, text);
        errno = saved;
}
