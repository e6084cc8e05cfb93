/* SPDX-License-Identifier: Apache-2.0 */
/* One process, several runs: what it takes, when it says that it is free, and when it ends. serve() is this file's. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/bounds.h"
#include "runner/channel.h"
#include "runner/serve.h"

#include "unit.h"

/* A "run" does what the first byte on its connection says, and answers with its number. */
enum { RUN_WELL = 'w', RUN_FAIL = 'f', RUN_LEAVE_CHILD = 'c', RUN_LEAVE_ZOMBIE = 'z', FAILED = 3 };

static int served;

static void leave_child(bool alive) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid > 0 && !alive) { /* dead, and nobody has asked for it */
                siginfo_t info;

                ck_assert_int_eq(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
        }
        if (pid > 0)
                return;
        (void) close_range(STDERR_FILENO + 1, ~0U, 0); /* or the connection would not end with the run */
        if (alive)
                while (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) /* the runner's end is its end */
                        (void) pause();
        _exit(0);
}

int serve(int fd, const char *config_file) {
        sigset_t all;
        char what = 0;

        ck_assert_str_eq(config_file, "the file");
        ck_assert_int_eq(recv(fd, &what, 1, 0), 1);
        served++;
        (void) sigfillset(&all);
        (void) sigprocmask(SIG_BLOCK, &all, NULL);
        if (what == RUN_LEAVE_CHILD || what == RUN_LEAVE_ZOMBIE)
                leave_child(what == RUN_LEAVE_CHILD);
        ck_assert_int_eq(send(fd, &served, sizeof served, MSG_NOSIGNAL), sizeof served);
        (void) close(fd);
        return what == RUN_FAIL ? FAILED : EXIT_SUCCESS;
}

static int channel;
static pid_t runner;

static void setup(void) {
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        runner = fork();
        if (runner == 0) {
                (void) setpgid(0, 0);
                (void) signal(SIGTERM, SIG_DFL); /* Check has an own mind about it */
                (void) close(pair[0]);
                _exit(channel_serve(pair[1], "the file"));
        }
        ck_assert_int_gt(runner, 0);
        (void) setpgid(runner, runner);
        (void) close(pair[1]);
        channel = pair[0];
}

static void teardown(void) {
        if (channel >= 0)
                (void) close(channel);
        (void) kill(-runner, SIGKILL);
}

static ssize_t pass(int fd) {
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        return sendmsg(channel, &mh, MSG_NOSIGNAL);
}

/* The number the run answers with; 0 = hung up without one. */
static int run(char what) {
        int pair[2], number = 0;
        char byte;

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        if (pass(pair[1]) == 1) {
                (void) close(pair[1]);
                (void) send(pair[0], &what, 1, MSG_NOSIGNAL);
                if (recv(pair[0], &number, sizeof number, 0) == sizeof number)
                        ck_assert_int_eq(recv(pair[0], &byte, 1, 0), 0); /* the run lets go of it */
        } else
                (void) close(pair[1]);
        (void) close(pair[0]);
        return number;
}

static bool says_free(void) {
        char byte;
        ssize_t n = recv(channel, &byte, 1, 0);

        ck_assert_int_ge(n, 0);
        return n == 1;
}

static int exit_status(void) {
        int status;

        ck_assert_int_eq(waitpid(runner, &status, 0), runner);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status);
}

START_TEST(an_ended_channel_ends_it) {
        for (int i = 1; i <= 3; i++) {
                ck_assert_int_eq(run(RUN_WELL), i);
                ck_assert(says_free());
        }
        (void) close(channel);
        channel = -1;
        ck_assert_int_eq(exit_status(), EXIT_SUCCESS);
}
END_TEST

START_TEST(it_serves_so_many_and_no_more) {
        for (int i = 1; i <= RUNNER_RUNS_MAX; i++) {
                ck_assert_int_eq(run(RUN_WELL), i);
                ck_assert_int_eq(says_free(), i < RUNNER_RUNS_MAX);
        }
        ck_assert_int_eq(run(RUN_WELL), 0);
        ck_assert_int_eq(exit_status(), EXIT_SUCCESS);
}
END_TEST

START_TEST(a_failure_ends_it) {
        ck_assert_int_eq(run(RUN_WELL), 1);
        ck_assert(says_free());
        ck_assert_int_eq(run(RUN_FAIL), 2);
        ck_assert(!says_free());
        ck_assert_int_eq(exit_status(), FAILED);
}
END_TEST

START_TEST(what_a_run_leaves_alive_ends_it) {
        ck_assert_int_eq(run(RUN_LEAVE_ZOMBIE), 1);
        ck_assert(says_free());
        ck_assert_int_eq(run(RUN_LEAVE_CHILD), 2);
        ck_assert_int_eq(exit_status(), EXIT_SUCCESS);
}
END_TEST

/* A run blocks the signals it waits for. */
START_TEST(an_idle_one_can_be_stopped) {
        int status;

        ck_assert_int_eq(run(RUN_WELL), 1);
        ck_assert(says_free());
        ck_assert_int_eq(kill(runner, SIGTERM), 0);
        ck_assert_int_eq(waitpid(runner, &status, 0), runner);
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), SIGTERM);
}
END_TEST

START_TEST(a_packet_without_a_connection_ends_it) {
        ck_assert_int_eq(send(channel, "x", 1, MSG_NOSIGNAL), 1);
        ck_assert_int_eq(exit_status(), EXIT_FAILURE);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("channel");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, an_ended_channel_ends_it);
        tcase_add_test(c, it_serves_so_many_and_no_more);
        tcase_add_test(c, a_failure_ends_it);
        tcase_add_test(c, what_a_run_leaves_alive_ends_it);
        tcase_add_test(c, an_idle_one_can_be_stopped);
        tcase_add_test(c, a_packet_without_a_connection_ends_it);
        return c;
}

UNIT_MAIN("channel", cases())
