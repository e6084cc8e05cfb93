/* SPDX-License-Identifier: Apache-2.0 */
/* A handler's process until it is the handler. What it then finds: test-runner.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
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

static int try_fork(const char *path, char *const *args, Child *ret, Error *e) {
        Environment env CLEANUP_ENVIRONMENT = {};
        const SpawnRequest request = {
                .path = path, .args = args, .environment = &env, .work_fd = work_fd, .stdin_fd = stdin_fd
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
        tcase_add_test(c, later_assignments_replace_earlier_ones);
        return c;
}

UNIT_MAIN("spawn", cases())
