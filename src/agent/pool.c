/* SPDX-License-Identifier: Apache-2.0 */
/* Runners that the agent starts itself, where no socket unit does. To start one costs as much as a small job does, so one that has
 * ended its run waits a moment for the next: it is handed a connection of its own, and is to that as if newly started. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "build-config.h"

extern char **environ;

enum { POOL_IDLE_SEC = 1 };

struct Spare {
        int channel; /* connections go to it; a byte comes from it when it is free for one */
        bool linked; /* its last connection is still open */
        bool retired; /* it gets no other one */
        Spare *next;
};

/* A build tree's agent finds its own runner beside it; an installed one has it in libexecdir. */
static void find_program(const Config *c, char ret[static PATH_MAX]) {
        const char *forced = getenv("IOT_JOBS_RUNNER");
        char self[PATH_MAX / 2];
        ssize_t n;

        if (forced || c->runner_path) {
                (void) snprintf(ret, PATH_MAX, "%s", forced ? forced : c->runner_path);
                return;
        }
        n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n > 0) {
                static const char tail[] = "/agent/iot-jobs-agent";
                size_t len = (size_t) n, cut = sizeof tail - 1;

                self[len] = '\0';
                if (len > cut && strcmp(self + len - cut, tail) == 0) {
                        self[len - cut] = '\0';
                        (void) snprintf(ret, PATH_MAX, "%s/runner/iot-jobs-runner", self);
                        if (access(ret, X_OK) == 0)
                                return;
                }
        }
        (void) snprintf(ret, PATH_MAX, "%s/iot-jobs-runner", IOT_JOBS_LIBEXECDIR);
}

static int prepare_spawn(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, int fd) {
        sigset_t all, none;
        int r;

        (void) sigfillset(&all);
        (void) sigemptyset(&none);
        r = posix_spawn_file_actions_adddup2(fa, fd, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0) /* libraries open descriptors that are not close-on-exec */
                r = posix_spawn_file_actions_addclosefrom_np(fa, STDERR_FILENO + 1);
        if (r == 0)
                r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(attr, &all);
        if (r == 0)
                r = posix_spawnattr_setsigmask(attr, &none);
        return -r;
}

/* Its own session: what ends the agent, a terminal or a supervisor, does not end the runner. */
static int spawn_runner(const Agent *a, int *ret_channel) {
        char program[PATH_MAX], log_option[64];
        char *argv[] = { program, (char *) "--several", (char *) "--config", (char *) (uintptr_t) a->config_path, NULL, NULL };
        int pair[2], r;
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t attr;
        pid_t pid;

        find_program(a->config, program);
        if (a->log_argument) {
                (void) snprintf(log_option, sizeof log_option, "--log=%s", a->log_argument);
                argv[4] = log_option;
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        (void) posix_spawn_file_actions_init(&fa);
        (void) posix_spawnattr_init(&attr);
        r = prepare_spawn(&fa, &attr, pair[1]);
        if (r == 0) {
                r = -posix_spawn(&pid, program, &fa, &attr, argv, environ);
                if (r < 0)
                        log_error("cannot start the runner %s: %s", program, strerrordesc_np(-r));
        }
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&fa);
        (void) close(pair[1]);
        if (r < 0) {
                (void) close(pair[0]);
                return r;
        }
        *ret_channel = pair[0];
        return 0;
}

static void spare_remove(Agent *a, Spare *s) {
        Spare **at = &a->spares;

        while (*at != s)
                at = &(*at)->next;
        *at = s->next;
        (void) close(s->channel);
        free(s);
}

static int spare_new(Agent *a, Spare **ret) {
        Spare *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        r = spawn_runner(a, &s->channel);
        if (r < 0) {
                free(s);
                return r;
        }
        s->next = a->spares;
        a->spares = s;
        *ret = s;
        return 0;
}

/* NULL = none is free. One that has hung up its connection may still be busy with what it has begun. */
static Spare *find_free(Agent *a) {
        for (Spare *s = a->spares, *next; s; s = next) {
                char byte;
                ssize_t n;

                next = s->next;
                if (s->linked)
                        continue;
                n = recv(s->channel, &byte, 1, MSG_DONTWAIT);
                if (n > 0)
                        return s;
                if (n == 0 || errno != EAGAIN) /* it was killed, or has served its time */
                        spare_remove(a, s);
        }
        return NULL;
}

static int pass_connection(const Spare *s, int fd) {
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (char[]){ 0 }, .iov_len = 1 };
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        return sendmsg(s->channel, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int pool_connect(Agent *a, int *ret_fd, Spare **ret) {
        int pair[2], r;
        Spare *s;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        while ((s = find_free(a)) && pass_connection(s, pair[1]) < 0)
                spare_remove(a, s);
        r = 0;
        if (!s) {
                r = spare_new(a, &s);
                if (r == 0)
                        r = pass_connection(s, pair[1]);
                if (r < 0 && s)
                        spare_remove(a, s);
        }
        (void) close(pair[1]);
        if (r < 0) {
                (void) close(pair[0]);
                return r;
        }
        s->linked = true;
        *ret_fd = pair[0];
        *ret = s;
        return 0;
}

/* A channel that is closed ends its runner, once that has ended what it is at. */
static void let_go(Agent *a) {
        for (Spare *s = a->spares, *next; s; s = next) {
                next = s->next;
                if (!s->linked)
                        spare_remove(a, s);
        }
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Agent *a = userdata;
        uint64_t until = a->spare_used + POOL_IDLE_SEC * USEC_PER_SEC;

        if (until <= usec) {
                let_go(a);
                return 0;
        }
        (void) sd_event_source_set_time(source, until);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The timer is set once a burst of jobs, not with each: it looks when the last one was. */
void pool_release(Agent *a, Spare *s) {
        int enabled = SD_EVENT_OFF, r;

        s->linked = false;
        if (s->retired) {
                spare_remove(a, s);
                return;
        }
        r = sd_event_now(a->event, CLOCK_BOOTTIME, &a->spare_used);
        if (r >= 0 && a->spare_timer)
                r = sd_event_source_get_enabled(a->spare_timer, &enabled);
        if (r >= 0 && enabled != SD_EVENT_OFF)
                return;
        if (r >= 0 && !a->spare_timer)
                r = sd_event_add_time_relative(a->event, &a->spare_timer, CLOCK_BOOTTIME, POOL_IDLE_SEC * USEC_PER_SEC, 0,
                                               on_idle, a);
        else if (r >= 0) {
                (void) sd_event_source_set_time(a->spare_timer, a->spare_used + POOL_IDLE_SEC * USEC_PER_SEC);
                r = sd_event_source_set_enabled(a->spare_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0) /* no clock to wait by */
                let_go(a);
}

void pool_retire(Agent *a) {
        let_go(a);
        for (Spare *s = a->spares; s; s = s->next)
                s->retired = true;
}

void pool_done(Agent *a) {
        while (a->spares)
                spare_remove(a, a->spares);
        a->spare_timer = sd_event_source_disable_unref(a->spare_timer);
}
