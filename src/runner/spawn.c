/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "runner/bounds.h"

enum { GATE_FD = 4 };

void environment_put(Environment *e, const char *assignment) {
        size_t name = strcspn(assignment, "=") + 1;
        char *copy = strdup(assignment), **item;

        if (!copy)
                goto fail;
        for (size_t i = 0; i < e->n; i++)
                if (strncmp(e->item[i], assignment, name) == 0) {
                        free(e->item[i]);
                        e->item[i] = copy;
                        return;
                }
        item = reallocarray(e->item, e->n + 2, sizeof *item);
        if (!item)
                goto fail;
        e->item = item;
        e->item[e->n++] = copy;
        e->item[e->n] = NULL;
        return;
fail:
        free(copy);
        e->failed = true;
}

void environment_printf(Environment *e, const char *format, ...) {
        char *text = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                e->failed = true;
                return;
        }
        environment_put(e, text);
        free(text);
}

void environment_done(Environment *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->item[i]);
        free(e->item);
        *e = (Environment){};
}

static void default_signals(void) {
        /* The kernel's own structure, larger than any architecture has it; all zero is SIG_DFL. The C library's function
         * keeps its two internal signals to itself, and its posix_spawn(), which the agent starts us with, ignores them. */
        static const unsigned char by_default[128];
        sigset_t none;

        for (long sig = 1; sig < NSIG; sig++)
                (void) syscall(SYS_rt_sigaction, sig, by_default, NULL, NSIG / 8L);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_from(unsigned first) {
        if (close_range(first, ~0U, 0) < 0)
                for (long fd = (long) first; fd < sysconf(_SC_OPEN_MAX); fd++)
                        (void) close((int) fd);
}

/* Descriptors 0–3 and the gate, nothing else. None of the sources is one of 0–2: the runner keeps those open. */
static bool arrange_descriptors(const SpawnRequest *r, const int *write_fd, int gate) {
        int progress = fcntl(write_fd[OUTPUT_PROGRESS], F_DUPFD_CLOEXEC, 16);

        gate = fcntl(gate, F_DUPFD_CLOEXEC, 16);
        if (gate < 0 || progress < 0 || dup2(r->stdin_fd, 0) < 0 || dup2(write_fd[OUTPUT_STDOUT], 1) < 0 ||
            dup2(write_fd[OUTPUT_STDERR], 2) < 0 || dup2(progress, 3) < 0 ||
            dup3(gate, GATE_FD, O_CLOEXEC) < 0)
                return false;
        close_from(GATE_FD + 1);
        return true;
}

static _Noreturn void child_main(const SpawnRequest *r, char *const *argv, const int *write_fd, int gate) {
        const struct timespec pause = { .tv_nsec = RUNNER_BUSY_TEXT_MSEC * 1000000L };
        char token;
        int error;

        (void) setsid();
        (void) umask(022);
        if (fchdir(r->work_fd) < 0 || !arrange_descriptors(r, write_fd, gate))
                _exit(126);
        default_signals();
        /* Without a token the runner died or thought better of it: nothing may run. */
        if (read(GATE_FD, &token, 1) != 1)
                _exit(0);
        for (int i = 0; i < RUNNER_BUSY_TEXT_TRIES; i++) {
                (void) execve(r->path, argv, r->environment);
                if (errno != ETXTBSY) /* somebody is just installing it */
                        break;
                (void) nanosleep(&pause, NULL);
        }
        error = errno;
        (void) !write(GATE_FD, &error, sizeof error);
        _exit(127);
}

static char **argv_new(const SpawnRequest *r) {
        size_t n = 0;
        char **argv;

        while (r->args && r->args[n])
                n++;
        argv = calloc(n + 2, sizeof *argv);
        if (!argv)
                return NULL;
        argv[0] = (char *) (uintptr_t) r->path;
        for (size_t i = 0; i < n; i++)
                argv[i + 1] = r->args[i];
        return argv;
}

static void close_all(int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                close_fd_p(&fds[i]);
}

int spawn_fork(const SpawnRequest *request, Child *ret, Error *e) {
        char **argv CLEANUP_FREE = argv_new(request);
        int write_fd[OUTPUT_COUNT] = { -1, -1, -1 }, gate[2] = { -1, -1 };
        Child c = CHILD_NONE;
        int r = argv ? 0 : -ENOMEM;

        for (int s = 0; s < OUTPUT_COUNT && r == 0; s++) {
                int p[2];

                if (pipe2(p, O_CLOEXEC) < 0) {
                        r = -errno;
                        break;
                }
                c.output_fd[s] = p[0];
                write_fd[s] = p[1];
                if (fcntl(p[0], F_SETFL, O_NONBLOCK) < 0)
                        r = -errno;
        }
        if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) < 0)
                r = -errno;
        if (r == 0) {
                c.pid = fork();
                if (c.pid < 0)
                        r = -errno;
                else if (c.pid == 0)
                        child_main(request, argv, write_fd, gate[1]);
        }
        c.gate_fd = TAKE_FD(gate[0]);
        if (r == 0) {
                r = process_start_time(c.pid, &c.start_time);
                if (r < 0) {
                        (void) kill(c.pid, SIGKILL);
                        (void) waitpid(c.pid, NULL, 0);
                }
        }
        close_all(write_fd, OUTPUT_COUNT);
        close_all(gate, 2);
        if (r < 0) {
                child_done(&c);
                return error_errno(e, -r, "cannot start a process for %s", request->path);
        }
        *ret = c;
        return 0;
}

int spawn_release(Child *c) {
        if (send(c->gate_fd, "g", 1, MSG_NOSIGNAL) != 1)
                return -errno;
        c->released = true;
        return 0;
}

int spawn_exec_error(Child *c) {
        int error = 0;

        if (c->gate_fd >= 0 && recv(c->gate_fd, &error, sizeof error, MSG_DONTWAIT) != sizeof error)
                error = 0;
        close_fd_p(&c->gate_fd);
        c->gate_fd = -1;
        return error;
}

void child_done(Child *c) {
        close_fd_p(&c->gate_fd);
        close_all(c->output_fd, OUTPUT_COUNT);
        *c = CHILD_NONE;
}

/* The program of a `#!` line, or "" if the file has none. */
static void interpreter_of(const char *path, char ret[static RUNNER_SHEBANG_MAX]) {
        char line[RUNNER_SHEBANG_MAX];
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
        char *p;

        ret[0] = '\0';
        if (n < 3 || line[0] != '#' || line[1] != '!')
                return;
        line[n] = '\0';
        p = line + 2 + strspn(line + 2, " \t");
        p[strcspn(p, " \t\n")] = '\0'; /* the kernel takes a carriage return as part of the name */
        memcpy(ret, p, strlen(p) + 1);
}

void spawn_explain(const char *path, int error, Error *e) {
        char interpreter[RUNNER_SHEBANG_MAX];

        interpreter_of(path, interpreter);
        if (error == ENOEXEC)
                error_set(e, error,
                          "exec format error: %s is neither a program for this machine nor begins with an "
                          "interpreter line such as #!/bin/sh",
                          path);
        else if (error == ENOENT && strchr(interpreter, '\r'))
                error_set(e, error,
                          "interpreter missing: the first line of %s ends in a carriage return (a file with "
                          "DOS line ends)",
                          path);
        else if (error == ENOENT && interpreter[0])
                error_set(e, error, "interpreter missing: %s asks for %s, which is not there", path,
                          interpreter);
        else if (error == ENOENT && access(path, F_OK) == 0)
                error_set(e, error, "the dynamic loader that %s asks for is missing", path);
        else if (error == EACCES && interpreter[0])
                error_set(e, error, "permission denied: %s, or its interpreter %s, may not be executed", path,
                          interpreter);
        else if (error == ETXTBSY)
                error_set(e, error, "%s is still open for writing", path);
        else
                error_errno(e, error, "cannot execute %s", path);
}
