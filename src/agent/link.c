/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to runners: through the socket unit where there is one, else by starting the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/agent.h"
#include "agent/server.h"

static Link *link_find(const Agent *a, uint32_t run) {
        for (Link *l = a->links; l; l = l->next)
                if (l->run == run)
                        return l;
        return NULL;
}

static void link_free(Link *l) {
        sd_event_source_disable_unref(l->io);
        (void) close(l->fd);
        if (l->spare)
                pool_release(l->agent, l->spare);
        free(l);
}

static void link_unlink(Link *l) {
        Link **at = &l->agent->links;

        while (*at != l)
                at = &(*at)->next;
        *at = l->next;
        link_free(l);
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

static int open_runner(Agent *a, int *ret_fd, Spare **ret_spare) {
        const char *socket_path = a->config->runner_socket;
        int r;

        if (getenv("IOT_JOBS_RUNNER"))
                return pool_connect(a, ret_fd, ret_spare);
        r = connect_runner(socket_path, ret_fd);
        if (r == 0) {
                a->socket_warned = false;
                return 0;
        }
        /* Under systemd privileges are the socket unit's to give: no way around it. */
        if (!getenv("INVOCATION_ID") && (r == -ENOENT || r == -ECONNREFUSED || r == -EACCES))
                return pool_connect(a, ret_fd, ret_spare);
        if (!a->socket_warned)
                log_error("cannot reach the runner socket %s, waiting for it: %s. Is iot-jobs-runner.socket active?",
                          socket_path, strerrordesc_np(-r));
        a->socket_warned = true;
        return r;
}

static int link_open(Agent *a, uint32_t run, Link **ret) {
        Link *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->agent = a;
        l->run = run;
        r = open_runner(a, &l->fd, &l->spare);
        if (r < 0) {
                free(l);
                return r;
        }
        r = sd_event_add_io(a->event, &l->io, l->fd, EPOLLIN, on_link, l);
        if (r < 0) {
                link_free(l);
                return r;
        }
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
