/* SPDX-License-Identifier: Apache-2.0 */
/* The shutdown inhibitor, towards a bus that is made here. That a real one understands: tests/system/test_vm.py. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/fileio.h"
#include "runner/inhibit.h"
#include "unit.h"

static char dir[64], bus[96];
static int listen_fd;

static void setup(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        unit_directory(dir, sizeof dir, "test-inhibit");
        (void) snprintf(bus, sizeof bus, "%s/bus", dir);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", bus);
        listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(listen_fd, (const struct sockaddr *) &address, sizeof address), 0);
        ck_assert_int_eq(listen(listen_fd, 4), 0);
}

static void teardown(void) {
        (void) close(listen_fd);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, dir), 0);
}

/* ---- what a bus says ---- */

static const char agreed[] = "OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";

static void put_u32(Buf *b, uint32_t v) {
        buf_append(b, &v, sizeof v);
}

static void pad(Buf *b, size_t start, size_t to) {
        while ((b->len - start) % to)
                buf_append(b, "", 1);
}

static void put_string(Buf *b, size_t start, const char *s) {
        pad(b, start, 4);
        put_u32(b, (uint32_t) strlen(s));
        buf_append(b, s, strlen(s) + 1);
}

/* type 2 = an answer, 3 = an error, 4 = a signal. serial: of the call. text: the body, NULL = a descriptor. */
static void put_message(Buf *b, char type, uint32_t serial, const char *text) {
        size_t start = b->len;
        uint32_t n;

        buf_append(b, (const char[]){ __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B', type, 1, 1 }, 4);
        put_u32(b, text ? (uint32_t) strlen(text) + 5 : 4);
        put_u32(b, 77);
        put_u32(b, 0);
        buf_append(b, "\6\1s", 4);
        put_string(b, start, ":1.42");
        pad(b, start, 8);
        buf_append(b, text ? "\10\1g\0\1s" : "\10\1g\0\1h", 7);
        pad(b, start, 8);
        if (type != 4) {
                buf_append(b, "\5\1u", 4);
                put_u32(b, serial);
        }
        pad(b, start, 8);
        buf_append(b, "\7\1s", 4);
        put_string(b, start, "org.freedesktop.login1");
        n = (uint32_t) (b->len - start - 16);
        memcpy(b->data + start + 12, &n, sizeof n);
        pad(b, start, 8);
        if (text)
                put_string(b, b->len, text);
        else
                put_u32(b, 0);
}

static void greet(Buf *b) {
        buf_puts(b, agreed);
        put_message(b, 2, 1, ":1.42");
        put_message(b, 4, 0, ":1.42");
}

static void grant(Buf *b) {
        greet(b);
        put_message(b, 2, 2, NULL);
}

static void refuse(Buf *b) {
        greet(b);
        put_message(b, 3, 2, "Permission denied");
}

static void send_with_fd(int to, const char *data, size_t len, int fd) {
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = len };
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof fd)];
        } control = {};
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        (void) !sendmsg(to, &mh, MSG_NOSIGNAL);
}

/* What was said to it, until it has the whole call. */
static bool hears(int fd, const char *word) {
        char text[4096];
        size_t len = 0;
        ssize_t n;

        while (len < sizeof text && !memmem(text, len, "block", 6) && (n = read(fd, text + len, sizeof text - len)) > 0)
                len += (size_t) n;
        return memmem(text, len, word, strlen(word)) && memmem(text, len, "shutdown:sleep", 15) && memmem(text, len, "Inhibit", 8);
}

/* A bus in a process of its own; says `b` in pieces, and hands a descriptor over with the last one. */
static pid_t start_bus(const Buf *b, size_t piece, int passed) {
        pid_t pid = fork();
        char left;

        ck_assert_int_ge(pid, 0);
        if (pid > 0)
                return pid;
        int fd = accept(listen_fd, NULL, NULL);

        if (!hears(fd, "job 7 runs update"))
                _exit(1);
        for (size_t at = 0; at < b->len; at += piece) {
                size_t n = MIN_OF(piece, b->len - at);

                if (at + n == b->len && passed >= 0)
                        send_with_fd(fd, b->data + at, n, passed);
                else
                        (void) !send(fd, b->data + at, n, MSG_NOSIGNAL);
        }
        if (b->len > 0) /* until the other side goes; who says nothing goes first */
                while (read(fd, &left, 1) > 0)
                        ;
        _exit(0);
}

static int ask(Error *e) {
        return inhibit_shutdown(bus, "job 7 runs update", e);
}

static void end_bus(pid_t pid) {
        int status;

        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
}

/* ---- cases ---- */

/* The inhibitor lives as long as our descriptor, and no child inherits it. In any pieces. */
START_TEST(granted) {
        static const size_t pieces[] = { 1, 3, 16, 4096 };
        struct pollfd gone = { .events = POLLIN };
        Buf b CLEANUP_BUF = {};
        Error e = {};
        int p[2], fd;
        pid_t pid;

        grant(&b);
        ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
        pid = start_bus(&b, pieces[_i], p[1]);
        (void) close(p[1]);
        fd = ask(&e);
        ck_assert_msg(fd >= 0, "%s", e.text);
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        end_bus(pid);
        gone.fd = p[0];
        ck_assert_int_eq(poll(&gone, 1, 0), 0);
        ck_assert_int_eq(close(fd), 0);
        ck_assert_int_eq(poll(&gone, 1, 0), 1);
}
END_TEST

static void without_call(Buf *b) {
        greet(b);
        put_message(b, 2, 2, "no descriptor");
}

static void denied(Buf *b) {
        buf_puts(b, "REJECTED EXTERNAL\r\n");
}

static void no_descriptors(Buf *b) {
        buf_puts(b, "OK 0123\r\nERROR\r\n");
}

static void goes_away(Buf *b) {
        (void) b;
}

static void endless(Buf *b) {
        greet(b);
        buf_append(b, "l\2\1\1\377\377\377\177\0\0\0\0\0\0\0\0", 16);
}

static void endless_fields(Buf *b) {
        greet(b);
        buf_append(b, "l\2\1\1\0\0\0\0\0\0\0\0\377\377\377\377", 16);
}

/* A field that says to be longer than all of them. */
static void long_field(Buf *b) {
        greet(b);
        buf_append(b, "l\2\1\1\0\0\0\0\0\0\0\0\20\0\0\0", 16);
        buf_append(b, "\6\1s\0\377\377\377\177:1.42\0\0\0", 16);
        put_message(b, 3, 2, "Permission denied");
}

static void chatter(Buf *b) {
        greet(b);
        for (int i = 0; i < 400; i++)
                put_message(b, 4, 0, "a signal that is for somebody else");
}

static const struct Refusal {
        void (*say)(Buf *b);
        int code;
        const char *text;
} refusals[] = {
        { refuse, -EACCES, "Permission denied" },
        { without_call, -EBADMSG, "does not answer as expected" },
        { denied, -EACCES, "the answer of systemd-logind" },
        { no_descriptors, -EACCES, "the answer of systemd-logind" },
        { goes_away, -ECONNRESET, "the answer of systemd-logind" },
        { endless, -EMSGSIZE, "the answer of systemd-logind" },
        { endless_fields, -EMSGSIZE, "the answer of systemd-logind" },
        { long_field, -EACCES, "Permission denied" },
        { chatter, -EMSGSIZE, "the answer of systemd-logind" },
        { greet, -ETIMEDOUT, "the answer of systemd-logind" },
};

START_TEST(refused) {
        const struct Refusal *f = &refusals[_i];
        Buf b CLEANUP_BUF = {};
        Error e = {};
        pid_t pid;

        f->say(&b);
        pid = start_bus(&b, 4096, -1);
        ck_assert_int_eq(ask(&e), f->code);
        ck_assert_msg(strstr(e.text, f->text), "%s", e.text);
        end_bus(pid);
}
END_TEST

START_TEST(no_bus) {
        Error e = {};

        ck_assert_int_eq(inhibit_shutdown("/nonexistent/bus", "x", &e), -ENOENT);
        ck_assert_ptr_nonnull(strstr(e.text, "the system bus /nonexistent/bus"));
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("inhibit");

        tcase_set_timeout(c, 30);
        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_loop_test(c, granted, 0, 4);
        tcase_add_loop_test(c, refused, 0, (int) ELEMENTSOF(refusals));
        tcase_add_test(c, no_bus);
        return c;
}

UNIT_MAIN("inhibit", cases())
