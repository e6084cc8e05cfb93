/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to runners: through the socket unit where there is one, else by starting the program. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/agent.h"
#include "agent/server.h"
#include "build-config.h"

extern char **environ;

static Link *link_find(const Agent *a, uint32_t run) {
        for (Link *l = a->links; l; l = l->next)
                if (l->run == run)
                        return l;
        return NULL;
}

static void link_unlink(Link *l) {
        Link **at = &l->agent->links;

        while (*at != l)
                at = &(*at)->next;
        *at = l->next;
        sd_event_source_disable_unref(l->io);
        (void) close(l->fd);
        free(l);
}

static void link_gone(Link *l) {
        Agent *a = l->agent;
        EngineEvent event = { .type = ENGINE_EVENT_RUNNER_CLOSED, .run = l->run };

        link_unlink(l);
        if (event.run == LINK_ASK)
                server_lost_runner(a->server);
        else
                agent_feed(a, &event);
}

static void link_take_packet(Link *l, const char *packet, size_t len) {
        WireMessage m CLEANUP_WIRE = {};
        Error e = {};
        EngineEvent event = { .type = ENGINE_EVENT_RUNNER, .run = l->run, .wire = &m };

        if (wire_decode(packet, len, &m, &e) < 0) {
                log_error("runner sent something that is not of the conversation, hanging up: %s", e.text);
                link_gone(l);
                return;
        }
        /* May close the link. */
        if (l->run == LINK_ASK)
                server_take_answer(l->agent->server, &m);
        else
                agent_feed(l->agent, &event);
}

static int on_link(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Link *l = userdata;
        char *packet CLEANUP_FREE = NULL;
        ssize_t n = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

        (void) source;
        (void) revents;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0 || n > WIRE_PACKET_MAX) {
                link_gone(l);
                return 0;
        }
        packet = malloc((size_t) n);
        if (!packet)
                return 0; /* it is still there when memory is */
        n = recv(fd, packet, (size_t) n, MSG_DONTWAIT);
        if (n <= 0)
                link_gone(l);
        else
                link_take_packet(l, packet, (size_t) n);
        return 0;
}

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
static int spawn_runner(const Agent *a, int *ret_fd) {
        char program[PATH_MAX], log_option[64];
        char *argv[] = { program, (char *) "--config", (char *) (uintptr_t) a->config_path, NULL, NULL };
        int pair[2], r;
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t attr;
        pid_t pid;

        find_program(a->config, program);
        if (a->log_argument) {
                (void) snprintf(log_option, sizeof log_option, "--log=%s", a->log_argument);
                argv[3] = log_option;
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
        *ret_fd = pair[0];
        return 0;
}

/* Never waits: a full backlog means busy, the engine tries again. */
static int connect_runner(const char *path, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd CLEANUP_FD = -1;

        if (strlen(path) >= sizeof address.sun_path)
                return -ENAMETOOLONG;
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof address) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int open_runner(Agent *a, int *ret_fd) {
        const char *socket_path = a->config->runner_socket;
        int r;

        if (getenv("IOT_JOBS_RUNNER"))
                return spawn_runner(a, ret_fd);
        r = connect_runner(socket_path, ret_fd);
        if (r == 0) {
                a->socket_warned = false;
                return 0;
        }
        /* Under systemd privileges are the socket unit's to give: no way around it. */
        if (!getenv("INVOCATION_ID") && (r == -ENOENT || r == -ECONNREFUSED || r == -EACCES))
                return spawn_runner(a, ret_fd);
        if (!a->socket_warned)
                log_error("cannot reach the runner socket %s, waiting for it: %s. Is iot-jobs-runner.socket active?",
                          socket_path, strerrordesc_np(-r));
        a->socket_warned = true;
        return r;
}

static int link_open(Agent *a, uint32_t run, Link **ret) {
        int fd CLEANUP_FD = -1;
        Link *l;
        int r;

        r = open_runner(a, &fd);
        if (r < 0)
                return r;
        l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->agent = a;
        l->run = run;
        r = sd_event_add_io(a->event, &l->io, fd, EPOLLIN, on_link, l);
        if (r < 0) {
                free(l);
                return r;
        }
        l->fd = TAKE_FD(fd);
        l->next = a->links;
        a->links = l;
        *ret = l;
        return 0;
}

static bool opens_a_conversation(WireType t) {
        return t == WIRE_INVENTORY || t == WIRE_PREPARE || t == WIRE_ATTACH || t == WIRE_CANCEL || t == WIRE_ACK ||
                t == WIRE_DROP || t == WIRE_HISTORY || t == WIRE_PAUSE || t == WIRE_RESUME;
}

static int send_packet(const Link *l, const Buf *packet) {
        return send(l->fd, packet->data, packet->len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int link_send(Agent *a, uint32_t run, const WireMessage *m) {
        Buf packet CLEANUP_BUF = {};
        Link *l = link_find(a, run);
        int r;

        r = wire_encode(m, &packet);
        if (r < 0)
                return r;
        if (l) {
                r = send_packet(l, &packet);
                if (r != -EPIPE && r != -ECONNRESET)
                        return r;
                /* That runner has ended. Go means nothing to another one: its end, still to be read, says the rest. */
                if (!opens_a_conversation(m->type))
                        return 0;
                link_unlink(l);
        }
        r = link_open(a, run, &l);
        return r < 0 ? r : send_packet(l, &packet);
}

void link_hold(Agent *a, uint32_t run, bool hold) {
        Link *l = link_find(a, run);

        if (l)
                (void) sd_event_source_set_enabled(l->io, hold ? SD_EVENT_OFF : SD_EVENT_ON);
}

void link_close(Agent *a, uint32_t run) {
        Link *l = link_find(a, run);

        if (l)
                link_unlink(l);
}

void link_close_all(Agent *a) {
        while (a->links)
                link_unlink(a->links);
}
