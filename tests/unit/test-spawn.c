/* SPDX-License-Identifier: Apache-2.0 */
/* A handler's process until it is the handler. What it then finds: test-runner.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fileio.h"
#include "runner/spawn.h"
#include "unit.h"

static char dir[64];
static int work_fd, stdin_fd;

static const char *path_of(const char *below) {
        static char path[256];

        (void) snprintf(path, sizeof path, "%s/%s", dir, below);
        return path;
}

static void setup(void) {
        unit_directory(dir, sizeof dir, "test-spawn");
        work_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        ck_assert(work_fd >= 0 && stdin_fd >= 0);
}

static void teardown(void) {
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, dir), 0);
}

static int group_fd;
static bool private_network;

static int try_fork(const char *path, char *const *args, Child *ret, Error *e) {
        Environment env CLEANUP_ENVIRONMENT = {};
        const SpawnRequest request = {
                .path = path, .args = args, .environment = &env, .work_fd = work_fd, .stdin_fd = stdin_fd,
                .group_fd = group_fd, .private_network = private_network,
        };
        int r;

        environment_put(&env, "PATH=/usr/bin:/bin");
        environment_put(&env, "WORD=said");
        r = spawn_fork(&request, ret, e);
        ck_assert_ptr_null(env.item); /* taken over, or gone */
        return r;
}

static Child fork_shell(const char *script) {
        static char option[] = "-c";
        char *const args[] = { option, (char *) (uintptr_t) script, NULL };
        Child c = CHILD_NONE;
        Error e = {};

        ck_assert_msg(try_fork("/bin/sh", args, &c, &e) == 0, "%s", e.text);
        ck_assert_int_gt(c.pid, 0);
        ck_assert_uint_gt(c.start_time, 0);
        return c;
}

static bool exists(const char *below) {
        return access(path_of(below), F_OK) == 0;
}

static int wait_for(const Child *c) {
        int status = 0;

        ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
        return status;
}

START_TEST(a_child_becomes_the_handler) {
        Child c = fork_shell("echo $WORD > out; echo tail >&2; exit 7");
        char text[16] = "";

        ck_assert(!exists("out"));
        ck_assert_int_eq(waitpid(c.pid, NULL, WNOHANG), 0);
        ck_assert_int_eq(spawn_release(&c), 0);
        ck_assert_msg(c.launch == NULL, "it is out of our memory");
        ck_assert_int_eq(WEXITSTATUS(wait_for(&c)), 7);
        ck_assert_int_eq(spawn_exec_error(&c), 0);
        ck_assert_int_eq(read(c.output_fd[OUTPUT_STDERR], text, sizeof text), 5);
        ck_assert_str_eq(text, "tail\n");
        ck_assert(exists("out"));
        child_done(&c);
}
END_TEST

START_TEST(a_child_that_is_not_wanted_has_done_nothing) {
        Child c = fork_shell("touch out");
        pid_t pid = c.pid;

        child_done(&c);
        ck_assert_int_eq(c.pid, 0);
        ck_assert_msg(waitpid(pid, NULL, 0) < 0 && errno == ECHILD, "it was not waited for");
        ck_assert(!exists("out"));
}
END_TEST

/* Its parent died: the gate closes without a word. */
START_TEST(a_closed_gate_ends_the_child) {
        Child c = fork_shell("touch out");

        ck_assert_int_eq(close(c.gate_fd), 0);
        c.gate_fd = -1;
        ck_assert_int_eq(wait_for(&c), 0);
        ck_assert_int_eq(spawn_exec_error(&c), 0);
        child_done(&c);
        ck_assert(!exists("out"));
}
END_TEST

START_TEST(a_child_may_be_killed_at_its_gate) {
        Child c = fork_shell("touch out");

        ck_assert_int_eq(kill(c.pid, SIGTERM), 0);
        ck_assert_int_eq(WTERMSIG(wait_for(&c)), SIGTERM);
        ck_assert_int_lt(spawn_release(&c), 0);
        ck_assert_int_eq(spawn_exec_error(&c), 0);
        child_done(&c);
        ck_assert(!exists("out"));
}
END_TEST

START_TEST(a_handler_that_cannot_be_executed) {
        Child c = CHILD_NONE;
        Error e = {};

        ck_assert_int_eq(try_fork(path_of("none"), NULL, &c, &e), 0);
        errno = 0;
        ck_assert_int_eq(spawn_release(&c), 0);
        ck_assert_int_eq(c.exec_error, ENOENT);
        ck_assert_int_eq(WEXITSTATUS(wait_for(&c)), 127);
        ck_assert_int_eq(spawn_exec_error(&c), ENOENT);
        child_done(&c);
}
END_TEST

START_TEST(a_child_that_cannot_be_set_up) {
        Child c = CHILD_NONE;
        Error e = {};

        work_fd = stdin_fd;
        ck_assert_int_eq(try_fork("/bin/true", NULL, &c, &e), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(e.text, "cannot start a process for /bin/true"));
        ck_assert_int_eq(c.pid, 0);
        ck_assert_msg(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "it was not waited for");
}
END_TEST

/* A file that is being installed is not given up at once. */
START_TEST(a_handler_that_is_open_for_writing) {
        int fd = open(path_of("busy"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        Child c = CHILD_NONE;
        Error e = {};

        ck_assert_int_eq(write_all(fd, "#!/bin/sh\nexit 3\n", 17), 0);
        ck_assert_int_eq(try_fork(path_of("busy"), NULL, &c, &e), 0);
        if (fork() == 0) { /* with a copy of the descriptor, for a while */
                (void) usleep(50000);
                _exit(0);
        }
        (void) close(fd);
        ck_assert_int_eq(spawn_release(&c), 0);
        ck_assert_int_eq(c.exec_error, 0);
        ck_assert_int_eq(WEXITSTATUS(wait_for(&c)), 3);
        ck_assert_int_eq(spawn_exec_error(&c), 0);
        child_done(&c);
        ck_assert_int_gt(wait(NULL), 0);
}
END_TEST

/* What a script says, on one line. */
static const char *said_by(const char *script) {
        static char text[4096];
        Child c = fork_shell(script);
        ssize_t n;

        ck_assert_int_eq(spawn_release(&c), 0);
        ck_assert_int_eq(WEXITSTATUS(wait_for(&c)), 0);
        n = read(c.output_fd[OUTPUT_STDOUT], text, sizeof text - 1);
        ck_assert_int_gt(n, 0);
        text[n] = '\0';
        text[strcspn(text, "\n")] = '\0';
        child_done(&c);
        return text;
}

/* All that is ours and that a process hands down unless it takes care. */
static void spoil_ourselves(void) {
        sigset_t all;

        (void) sigfillset(&all);
        ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);
        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, sig == SIGCHLD ? SIG_DFL : SIG_IGN); /* we wait for it */
        (void) umask(077);
        for (int fd = 20; fd < 30; fd++)
                ck_assert_int_eq(dup2(work_fd, fd), fd); /* without close-on-exec */
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", "/run/n", 1) | setenv("LISTEN_FDS", "1", 1) | setenv("INVOCATION_ID", "i", 1) |
                                 setenv("JOURNAL_STREAM", "8:1", 1) | setenv("CREDENTIALS_DIRECTORY", "/run/c", 1),
                         0);
        ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
}

/* Nothing of ours: signals, descriptors, environment, umask, session, terminal. */
START_TEST(a_clean_slate) {
        spoil_ourselves();
        ck_assert_str_eq(said_by("umask"), "0022");
        ck_assert_str_eq(said_by("exec grep -E '^Sig(Blk|Ign|Pnd)|^ShdPnd' /proc/self/status | tr -d '\\n\\t'"),
                         "SigPnd:0000000000000000ShdPnd:0000000000000000SigBlk:0000000000000000"
                         "SigIgn:0000000000000000");
        ck_assert_str_eq(said_by("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 4 "); /* 4 is of ls itself */
        ck_assert_str_eq(said_by("echo $(tr '\\0' '\\n' </proc/$$/environ | cut -d= -f1)"), "PATH WORD");
        /* pid = group = session, no terminal. */
        ck_assert_str_eq(said_by("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && echo terminal $7"), "terminal 0");
}
END_TEST

enum { KEY_JOIN = 1, KEY_SEARCH = 10, KEY_SESSION = -3 }; /* of linux/keyctl.h */

/* Keys of who started us are not the handler's. */
START_TEST(no_keys_of_ours) {
        char script[256];

        if (syscall(SYS_keyctl, KEY_JOIN, NULL) < 0 || syscall(SYS_add_key, "user", "ours", "x", 1, KEY_SESSION) < 0)
                UNIT_SKIP("there are no keyrings");
        (void) snprintf(script, sizeof script, "exec python3 -c 'import ctypes; print(\"found\" if "
                        "ctypes.CDLL(None).syscall(%ld, %d, %d, b\"user\", b\"ours\", 0) > 0 else \"none\")'",
                        (long) SYS_keyctl, KEY_SEARCH, KEY_SESSION);
        ck_assert_int_gt(syscall(SYS_keyctl, KEY_SEARCH, KEY_SESSION, "user", "ours", 0), 0);
        ck_assert_str_eq(said_by(script), "none");
}
END_TEST

/* What the runner's service does not narrow, a handler has in full, as it was before the runner. */
START_TEST(the_rest_is_as_it_was) {
        static const char script[] =
                "exec awk '/^(Cap|NoNewPrivs|Seccomp:|Cpus_allowed_list)/ { printf \"%s%s \", $1, $2 }' /proc/self/status";
        char ours[4096] = "";
        FILE *f = popen(script, "r");

        ck_assert_ptr_nonnull(f);
        ck_assert_ptr_nonnull(fgets(ours, sizeof ours, f));
        (void) pclose(f);
        ck_assert_str_eq(said_by(script), ours);
        ck_assert_str_eq(said_by("cat /proc/self/oom_score_adj"), "0");
}
END_TEST

START_TEST(a_private_network) {
        if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
                UNIT_SKIP("no network namespace can be made"); /* its user is told so: test_users.py */
        private_network = true;
        ck_assert_str_eq(said_by("echo $(tail -n +3 /proc/net/dev | cut -d: -f1); [ $(readlink /proc/self/ns/net) != $(readlink /proc/$PPID/ns/net) ]"),
                         "lo");
        /* It is up: there is a way to its address. */
        ck_assert_str_eq(said_by("grep -c '00000000:' /proc/net/tcp >/dev/null; grep -q '127.0.0.1' /proc/net/fib_trie && echo up"), "up");
        private_network = false;
}
END_TEST

/* The file of a control group takes what is written there for who writes it. */
START_TEST(a_child_joins_its_group) {
        char text[8] = "";

        group_fd = open(path_of("procs"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_gt(group_fd, 2);
        ck_assert_str_eq(said_by("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 4 ");
        ck_assert_int_eq(pread(group_fd, text, sizeof text, 0), 1);
        ck_assert_str_eq(text, "0");
}
END_TEST

START_TEST(a_child_that_cannot_join_its_group) {
        Child c = CHILD_NONE;
        Error e = {};

        group_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(try_fork("/bin/true", NULL, &c, &e), -ENOSPC);
        ck_assert_ptr_nonnull(strstr(e.text, "cannot start a process with limits for /bin/true"));
}
END_TEST

START_TEST(later_assignments_replace_earlier_ones) {
        Environment env CLEANUP_ENVIRONMENT = {};

        environment_put(&env, "A=1");
        environment_printf(&env, "AB=%d", 2);
        environment_printf(&env, "A=%s", "3");
        ck_assert(!env.failed);
        ck_assert_uint_eq(env.n, 2);
        ck_assert_str_eq(env.item[0], "A=3");
        ck_assert_str_eq(env.item[1], "AB=2");
        ck_assert_ptr_null(env.item[2]);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("spawn");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, a_child_becomes_the_handler);
        tcase_add_test(c, a_child_that_is_not_wanted_has_done_nothing);
        tcase_add_test(c, a_closed_gate_ends_the_child);
        tcase_add_test(c, a_child_may_be_killed_at_its_gate);
        tcase_add_test(c, a_handler_that_cannot_be_executed);
        tcase_add_test(c, a_child_that_cannot_be_set_up);
        tcase_add_test(c, a_handler_that_is_open_for_writing);
        tcase_add_test(c, a_clean_slate);
        tcase_add_test(c, no_keys_of_ours);
        tcase_add_test(c, the_rest_is_as_it_was);
        tcase_add_test(c, a_private_network);
        tcase_add_test(c, a_child_joins_its_group);
        tcase_add_test(c, a_child_that_cannot_join_its_group);
        tcase_add_test(c, later_assignments_replace_earlier_ones);
        return c;
}

UNIT_MAIN("spawn", cases())
