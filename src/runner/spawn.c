/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* ---- the child ---- */

/* The child shares our memory until it has become the handler: a copy of it, made page by page as both go on, costs more than all
 * else a start does. As with vfork(), only one of us goes on at a time, since even errno is shared: we wait for its word from the
 * gate, it waits there for ours. It calls the kernel and changes nothing of ours, and what it stands on and reads, which is this,
 * stays until it is out of here.
 * A child that is to become another user never shares memory with us, who keep our rights: it gets a copy, and the kernel lets no
 * user trace it until it has become the handler. */
struct Launch {
        const char *path;
        char **argv;
        Environment environment;
        const User *user; /* of the caller; not looked at any more once the child is made */
        int work_fd, stdin_fd, gate_fd, group_fd, write_fd[OUTPUT_COUNT];
        bool private_network;
        _Alignas(16) char stack[RUNNER_CHILD_STACK];
};

/* AddressSanitizer would look for the end of our stack from there. */
#define ON_OWN_STACK __attribute__((no_sanitize("address")))

static ON_OWN_STACK void default_signals(void) {
        /* The kernel's own structure, larger than any architecture has it; all zero is SIG_DFL. The C library's function
         * keeps its two internal signals to itself, and its posix_spawn(), which the agent starts us with, ignores them. */
        static const unsigned char by_default[128];
        sigset_t none;

        for (long sig = 1; sig < NSIG; sig++)
                (void) syscall(SYS_rt_sigaction, sig, by_default, NULL, NSIG / 8L);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static ON_OWN_STACK void close_from(unsigned first) {
        if (close_range(first, ~0U, 0) < 0)
                for (long fd = (long) first; fd < sysconf(_SC_OPEN_MAX); fd++)
                        (void) close((int) fd);
}

/* Descriptors 0–3 and the gate, nothing else. None of the sources is one of 0–2: the runner keeps those open. */
static ON_OWN_STACK bool arrange_descriptors(const Launch *l) {
        int progress = fcntl(l->write_fd[OUTPUT_PROGRESS], F_DUPFD_CLOEXEC, 16);
        int gate = fcntl(l->gate_fd, F_DUPFD_CLOEXEC, 16);

        if (gate < 0 || progress < 0 || dup2(l->stdin_fd, 0) < 0 || dup2(l->write_fd[OUTPUT_STDOUT], 1) < 0 ||
            dup2(l->write_fd[OUTPUT_STDERR], 2) < 0 || dup2(progress, 3) < 0 ||
            dup3(gate, GATE_FD, O_CLOEXEC) < 0)
                return false;
        close_from(GATE_FD + 1);
        return true;
}

/* The C library's functions would change other threads too, had we any; and of old kernels' two generations of these calls, the
 * one without 16-bit numbers is meant. */
#ifdef SYS_setresuid32
#define SET_GROUPS SYS_setgroups32
#define SET_GID    SYS_setresgid32
#define SET_UID    SYS_setresuid32
#else
#define SET_GROUPS SYS_setgroups
#define SET_GID    SYS_setresgid
#define SET_UID    SYS_setresuid
#endif

/* All rights of the user, and none of ours. */
static ON_OWN_STACK bool take_rights(const User *u) {
        return syscall(SET_GROUPS, u->n_groups, u->groups) == 0 && syscall(SET_GID, u->gid, u->gid, u->gid) == 0 &&
               syscall(SET_UID, u->uid, u->uid, u->uid) == 0;
}

/* Of its new network. */
static ON_OWN_STACK bool loopback_up(void) {
        struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* any kind will do */

        return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
}

/* Where it runs, before it is anything else. */
static ON_OWN_STACK bool enter_place(const Launch *l) {
        return (l->group_fd <= 0 || write(l->group_fd, "0", 1) == 1) && (!l->private_network || loopback_up()) &&
               fchdir(l->work_fd) == 0;
}

static ON_OWN_STACK int child_main(void *userdata) {
        const struct timespec pause = { .tv_nsec = RUNNER_BUSY_TEXT_MSEC * 1000000L };
        const Launch *l = userdata;
        int error = 0;
        char token;

        (void) setsid();
        (void) umask(022);
        if (!enter_place(l) || !arrange_descriptors(l)) {
                error = errno;
                (void) !write(l->gate_fd, &error, sizeof error);
                _exit(126);
        }
        default_signals();
        /* Without a token the runner died or thought better of it: nothing may run. */
        if (write(GATE_FD, &error, sizeof error) != sizeof error || read(GATE_FD, &token, 1) != 1)
                _exit(0);
        if (l->user && !take_rights(l->user)) {
                error = errno | SPAWN_NO_RIGHTS;
                (void) !write(GATE_FD, &error, sizeof error);
                _exit(126);
        }
        /* The keys of who started the agent by hand, or of the runner's unit; where there are no keyrings there is nothing to leave. */
        (void) syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        for (int i = 0; i < RUNNER_BUSY_TEXT_TRIES; i++) {
                (void) execve(l->path, l->argv, l->environment.item);
                if (errno != ETXTBSY) /* somebody is just installing it */
                        break;
                (void) nanosleep(&pause, NULL);
        }
        error = errno;
        (void) !write(GATE_FD, &error, sizeof error);
        _exit(127);
}

/* ---- its parent ---- */

static Launch *launch_free(Launch *l) {
        if (!l)
                return NULL;
        environment_done(&l->environment);
        free(l->argv);
        free(l);
        return NULL;
}
DEFINE_CLEANUP(Launch *, launch_free)

static Launch *launch_new(const SpawnRequest *r) {
        Launch *l CLEANUP(launch_free) = malloc(sizeof *l); /* the stack is not to be touched */
        size_t n = 0, at = 0;

        if (!l)
                return NULL;
        while (r->args && r->args[n])
                n++;
        l->path = r->path;
        l->work_fd = r->work_fd;
        l->stdin_fd = r->stdin_fd;
        l->user = r->user;
        l->group_fd = r->group_fd;
        l->private_network = r->private_network;
        l->environment = *r->environment;
        *r->environment = (Environment){};
        l->argv = calloc(n + 2, sizeof *l->argv);
        if (!l->argv)
                return NULL;
        if (!r->args_have_name)
                l->argv[at++] = (char *) (uintptr_t) r->path;
        for (size_t i = 0; i < n; i++)
                l->argv[at++] = r->args[i];
        return TAKE(l);
}

static void close_all(int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                close_fd_p(&fds[i]);
}

/* The pipes and the gate of a child. */
static int open_pipes(Child *c, Launch *l) {
        const struct timeval patience = { .tv_sec = RUNNER_EXEC_SEC };
        int p[2];

        for (int s = 0; s < OUTPUT_COUNT; s++) {
                if (pipe2(p, O_CLOEXEC) < 0)
                        return -errno;
                c->output_fd[s] = p[0];
                l->write_fd[s] = p[1];
                if (fcntl(p[0], F_SETFL, O_NONBLOCK) < 0)
                        return -errno;
                /* Or it could not open /dev/stderr. */
                if (l->user && fchown(p[1], l->user->uid, l->user->gid) < 0)
                        return -errno;
        }
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
                return -errno;
        c->gate_fd = p[0];
        l->gate_fd = p[1];
        return setsockopt(c->gate_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ? -errno : 0;
}

/* What the child says at its gate: 1 and an errno, 0 = nothing, it is out of our memory; or negative errno. */
static int hear(const Child *c, int flags, int *ret_error) {
        ssize_t n;

        do
                n = recv(c->gate_fd, ret_error, sizeof *ret_error, flags);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? -ETIMEDOUT : -errno;
        return n == sizeof *ret_error;
}

static int start_child(Child *c) {
        Launch *l = c->launch;
        int error = 0, r;
        int flags = (l->user ? 0 : CLONE_VM) | (l->private_network ? CLONE_NEWNET : 0) | SIGCHLD;
        pid_t pid = clone(child_main, l->stack + sizeof l->stack, flags, l);

        if (pid < 0)
                return -errno;
        c->pid = pid;
        (void) close(l->gate_fd); /* or the child's end would not be heard */
        r = hear(c, 0, &error);
        l->gate_fd = -1;
        if (r <= 0)
                return r < 0 ? r : -ECHILD;
        return error > 0 ? -error : process_start_time(c->pid, &c->start_time);
}

int spawn_fork(const SpawnRequest *request, Child *ret, Error *e) {
        Child c = CHILD_NONE;
        int r = -ENOMEM;

        c.launch = launch_new(request);
        if (c.launch) {
                Launch *l = c.launch;

                l->gate_fd = l->write_fd[0] = l->write_fd[1] = l->write_fd[2] = -1;
                r = open_pipes(&c, l);
                if (r == 0)
                        r = start_child(&c);
                close_all(l->write_fd, OUTPUT_COUNT);
                close_fd_p(&l->gate_fd);
        }
        if (r < 0) {
                child_done(&c);
                return error_errno(e, -r, "cannot start a process%s%s for %s", request->group_fd > 0 ? " with limits" : "",
                                   request->private_network ? " with a private network" : "", request->path);
        }
        *ret = c;
        return 0;
}

int spawn_release(Child *c) {
        if (send(c->gate_fd, "g", 1, MSG_NOSIGNAL) != 1)
                return -errno;
        c->released = true;
        if (hear(c, 0, &c->exec_error) == 0)
                c->launch = launch_free(c->launch);
        return 0;
}

int spawn_exec_error(Child *c) {
        int error = 0;

        if (c->exec_error == 0 && c->gate_fd >= 0 && hear(c, MSG_DONTWAIT, &error) > 0)
                c->exec_error = error;
        close_fd_p(&c->gate_fd);
        c->gate_fd = -1;
        c->launch = launch_free(c->launch);
        return c->exec_error;
}

void child_done(Child *c) {
        close_fd_p(&c->gate_fd);
        if (c->launch && c->pid > 0) {
                (void) kill(c->pid, SIGKILL); /* it has no descendants: gone at once */
                (void) waitpid(c->pid, NULL, 0);
        }
        c->launch = launch_free(c->launch);
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

void spawn_explain(const char *path, const char *user, int error, Error *e) {
        char interpreter[RUNNER_SHEBANG_MAX];

        interpreter_of(path, interpreter);
        if (error & SPAWN_NO_RIGHTS)
                error_errno(e, error & ~SPAWN_NO_RIGHTS, "cannot take the rights of user \"%s\" to run %s", user, path);
        else if (error == ENOEXEC)
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
                error_set(e, error,
                          "permission denied: user \"%s\" may not execute %s, or its interpreter %s", user, path,
                          interpreter);
        else if (error == EACCES)
                error_set(e, error, "permission denied: user \"%s\" may not execute %s", user, path);
        else if (error == ETXTBSY)
                error_set(e, error, "%s is still open for writing", path);
        else
                error_errno(e, error, "cannot execute %s", path);
}
