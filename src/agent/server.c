/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "agent/status.h"
#include "base/clock.h"
#include "control/control.h"

enum {
        BACKLOG = 16,
        TIMER_ACCURACY_USEC = 10 * 1000,
        PRIORITY = SD_EVENT_PRIORITY_NORMAL + 10, /* jobs, network and signals first */
};

typedef struct Client Client;

struct Client {
        Server *server;
        int fd;
        uid_t uid;
        sd_event_source *io, *timer;
        Buf pending;  /* an answer that the socket does not take yet: nothing else is read meanwhile */
        bool closing; /* when that is gone */
        bool watching, news;
        uint64_t pushed_at;
        bool asking; /* waits for a runner's answer to `request`, or for its turn */
        uint64_t turn;
        ControlRequest request;
        Client *next;
};

struct Server {
        Agent *agent;
        int fd;
        bool own;
        int directory_fd; /* of the own socket */
        char name[CONTROL_NAME_MAX];
        sd_event_source *io, *ask_timer;
        Client *clients;
        size_t n_clients;
        uint64_t turns;
        bool asked;        /* a runner has been asked and has not answered in full */
        ControlVerb verb;  /* what */
        Client *asker;     /* for whom; NULL = for one that has gone */
        bool held;         /* the asker does not take what it asked for: the runner is not listened to */
};

/* ---- one client ---- */

static void ask_next(Server *s);
static void push_news(Client *c);

static void hold(Server *s, bool on) {
        s->held = on;
        link_hold(s->agent, LINK_ASK, on);
}

static void client_free(Client *c) {
        Server *s = c->server;
        Client **at = &s->clients;

        while (*at != c)
                at = &(*at)->next;
        *at = c->next;
        s->n_clients--;
        if (s->asker == c) {
                s->asker = NULL;
                hold(s, false);
        }
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->timer);
        (void) close(c->fd);
        buf_done(&c->pending);
        free(c);
}

static void wait_until(Client *c, uint64_t at) {
        (void) sd_event_source_set_time(c->timer, at);
        (void) sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void wait_idle(Client *c, uint64_t seconds) {
        wait_until(c, clock_boottime_usec() + seconds * USEC_PER_SEC);
}

/* What it is listened to for, and how long. */
static void client_rest(Client *c) {
        (void) sd_event_source_set_io_events(c->io, c->pending.len > 0 ? EPOLLOUT : c->asking ? 0 : EPOLLIN);
        if (c->pending.len > 0)
                wait_idle(c, CONTROL_TAKE_SEC);
        else if (!c->asking && !c->watching)
                wait_idle(c, CONTROL_IDLE_SEC);
        else if (!c->news)
                (void) sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
}

/* 1 = taken, 0 = it waits, negative = the client is of no use any more. */
static int client_flush(Client *c) {
        if (c->pending.len > 0 && send(c->fd, c->pending.data, c->pending.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        buf_clear(&c->pending);
        return c->closing ? -ECONNRESET : 1;
}

/* false: the client is gone. */
static bool client_send(Client *c, const ControlReply *a) {
        int r = c->pending.len > 0 ? -EBUSY : control_reply_encode(a, &c->pending); /* one that does not read gets nothing more */

        if (r == 0)
                r = client_flush(c);
        if (r < 0) {
                client_free(c);
                return false;
        }
        client_rest(c);
        return true;
}

static void refuse(Client *c, ControlError error, const char *text) {
        ControlReply a = { .type = CONTROL_REPLY_ERROR, .error = error };

        (void) snprintf(a.text, sizeof a.text, "%s", text);
        (void) client_send(c, &a);
}

static void client_done(Client *c, const char *text) {
        ControlReply a = { .type = CONTROL_REPLY_DONE };

        a.status.paused_since = engine_paused_since(c->server->agent->engine);
        (void) snprintf(a.text, sizeof a.text, "%s", text);
        (void) client_send(c, &a);
}

static bool may_change(const Server *s, uid_t uid) {
        return uid == 0 || (s->own && uid == geteuid());
}

/* ---- what needs a runner: the records are root's ---- */

/* The asker is served, or gone. */
static void ask_over(Server *s) {
        s->asked = s->held = false;
        s->asker = NULL;
        (void) sd_event_source_set_enabled(s->ask_timer, SD_EVENT_OFF);
        link_close(s->agent, LINK_ASK);
        ask_next(s);
}

static void ask_failed(Server *s, const char *why) {
        Client *c = s->asker;

        if (c) {
                s->asker = NULL;
                c->asking = false;
                refuse(c, CONTROL_FAILED, why);
        }
        ask_over(s);
}

static int send_ask(Server *s, const Client *c) {
        WireMessage m = { .type = c->request.verb == CONTROL_HISTORY ? WIRE_HISTORY
                                  : c->request.verb == CONTROL_PAUSE ? WIRE_PAUSE
                                                                     : WIRE_RESUME };

        m.count = (uint32_t) c->request.count;
        (void) snprintf(m.key.thing, sizeof m.key.thing, "%s", s->agent->config->thing_name);
        return link_send(s->agent, LINK_ASK, &m);
}

/* One at a time: a reader cannot take the runners away from the jobs. What changes something goes first. */
static Client *next_asker(const Server *s) {
        Client *found = NULL;

        for (Client *c = s->clients; c; c = c->next) {
                bool change = c->request.verb != CONTROL_HISTORY;

                if (c->asking && (!found || change > (found->request.verb != CONTROL_HISTORY) ||
                                  (change == (found->request.verb != CONTROL_HISTORY) && c->turn < found->turn)))
                        found = c;
        }
        return found;
}

static void ask_next(Server *s) {
        Client *c;

        while (!s->asked && (c = next_asker(s))) {
                int r = send_ask(s, c);

                if (r < 0) {
                        link_close(s->agent, LINK_ASK);
                        c->asking = false;
                        refuse(c, CONTROL_FAILED, "no runner can be reached; the journal says why");
                        continue;
                }
                s->asked = true;
                s->asker = c;
                s->verb = c->request.verb;
                (void) sd_event_source_set_time(s->ask_timer, clock_boottime_usec() + CONTROL_ASK_SEC * USEC_PER_SEC);
                (void) sd_event_source_set_enabled(s->ask_timer, SD_EVENT_ONESHOT);
        }
}

static int on_ask_timer(UNUSED sd_event_source *source, UNUSED uint64_t usec, void *userdata) {
        ask_failed(userdata, "the runner does not answer");
        return 0;
}

static void take_ends(Server *s, const WireMessage *m) {
        ControlReply a CLEANUP_REPLY = { .type = CONTROL_REPLY_HISTORY, .more = m->more };
        WireMessage copy CLEANUP_WIRE = {};
        Client *c = s->asker;

        if (!c || wire_message_copy(&copy, m) < 0) {
                ask_failed(s, "no memory");
                return;
        }
        for (size_t i = 0; i < copy.n_ends; i++) {
                proto_details_unset(&copy.ends[i].details, "claim");
                copy.ends[i].at = MAX_OF(copy.ends[i].at, (int64_t) 0);
        }
        a.ends = TAKE(copy.ends);
        a.n_ends = copy.n_ends;
        copy.n_ends = 0;
        c->asking = m->more;
        if (!client_send(c, &a) || !m->more)
                ask_over(s);
        else if (c->pending.len > 0)
                hold(s, true); /* the runner waits, we do not */
}

static void take_paused(Server *s, const WireMessage *m) {
        EngineEvent event = { .type = ENGINE_EVENT_PAUSED, .paused_since = m->paused_since };
        Client *c;

        agent_feed(s->agent, &event); /* whether the asker is still there or not: it is durable */
        c = s->asker;
        if (c) {
                c->asking = false;
                s->asker = NULL;
                client_done(c, m->paused_since > 0 ? "paused: what was begun goes on to its end, nothing else starts" : "resumed");
        }
        ask_over(s);
}

void server_take_answer(Server *s, const WireMessage *m) {
        if (!s || !s->asked)
                return;
        if (m->type == WIRE_ENDS && s->verb == CONTROL_HISTORY)
                take_ends(s, m);
        else if (m->type == WIRE_PAUSED && s->verb != CONTROL_HISTORY)
                take_paused(s, m);
        else
                ask_failed(s, m->type == WIRE_UNABLE ? m->reason : "the runner answered something else");
}

void server_lost_runner(Server *s) {
        if (s && s->asked)
                ask_failed(s, "the runner went away before it answered; the journal says why");
}

static void take_ask(Client *c, const ControlRequest *q) {
        Server *s = c->server;

        c->request = *q;
        c->asking = true;
        c->turn = s->turns++;
        client_rest(c);
        if (s->held && q->verb != CONTROL_HISTORY)
                ask_failed(s, "interrupted: somebody else could not wait"); /* a reader that does not read stops no pause */
        else
                ask_next(s); /* may be the end of the client */
}

/* ---- requests ---- */

static void take_show(Client *c, const ControlRequest *q) {
        ControlReply a CLEANUP_REPLY = {};
        int r = status_fill_job(c->server->agent, q->job_id, q->number, &a);

        if (r == -ENOENT)
                refuse(c, CONTROL_NO_SUCH_JOB, "no such job is known here; it may have ended: see history");
        else if (r < 0)
                refuse(c, CONTROL_FAILED, "no memory");
        else
                (void) client_send(c, &a);
}

static void take_status(Client *c) {
        ControlReply a CLEANUP_REPLY = {};

        if (status_fill(c->server->agent, &a) < 0) {
                refuse(c, CONTROL_FAILED, "no memory");
                return;
        }
        c->news = false;
        c->pushed_at = clock_boottime_usec();
        (void) client_send(c, &a);
}

/* Why not; NULL = it may be. */
static const char *too_late(const ControlJob *j) {
        if (j->phase == CONTROL_REPORTING)
                return "it has ended; its result is being reported";
        if (j->phase == CONTROL_LEFT_ALONE)
                return "this device leaves it alone: another one has it, or jobs.on_orphan says so";
        return NULL;
}

static void take_cancel(Client *c, const ControlRequest *q) {
        Agent *agent = c->server->agent;
        ControlReply a CLEANUP_REPLY = {};
        JobKey key = { .number = 0 };
        EngineEvent event = { .type = ENGINE_EVENT_CANCEL, .key = &key };
        int r = status_fill_job(agent, q->job_id, q->number, &a);

        if (r == -ENOENT)
                refuse(c, CONTROL_NO_SUCH_JOB, "no such job is known here; it may have ended: see history");
        else if (r < 0)
                refuse(c, CONTROL_FAILED, "no memory");
        else if (too_late(a.jobs))
                refuse(c, CONTROL_TOO_LATE, too_late(a.jobs));
        else {
                (void) snprintf(key.thing, sizeof key.thing, "%s", agent->config->thing_name);
                memcpy(key.job_id, a.jobs->job_id, sizeof key.job_id);
                key.number = MAX_OF(a.jobs->number, (int64_t) 0);
                key.queued_at = MAX_OF(a.jobs->queued_at, (int64_t) 0);
                agent_feed(agent, &event);
                client_done(c, agent->online ? "it is being cancelled"
                                             : "it is being cancelled; if it has not begun, as soon as the agent is connected");
        }
}

/* May be the end of the client. */
static void take_request(Client *c, const ControlRequest *q) {
        bool allowed = may_change(c->server, c->uid);

        switch (q->verb) {
        case CONTROL_STATUS:
                take_status(c);
                return;
        case CONTROL_WATCH:
                c->watching = true;
                take_status(c);
                return;
        case CONTROL_SHOW:
                take_show(c, q);
                return;
        case CONTROL_HISTORY:
                take_ask(c, q);
                return;
        case CONTROL_CANCEL:
                if (!allowed)
                        break;
                take_cancel(c, q);
                return;
        case CONTROL_PAUSE:
        case CONTROL_RESUME:
                if (!allowed)
                        break;
                take_ask(c, q);
                return;
        case CONTROL_VERB_COUNT:
                return;
        }
        refuse(c, CONTROL_DENIED, c->server->own ? "this is for root and the agent's own user" : "this is for root");
}

static void receive(Client *c) {
        char packet[CONTROL_REQUEST_MAX + 1];
        ssize_t n = recv(c->fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC);
        ControlRequest q;
        Error e = {};

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0 || c->watching) { /* whoever watches has nothing more to ask */
                client_free(c);
                return;
        }
        if (control_request_decode(packet, MIN_OF((size_t) n, sizeof packet), &q, &e) == 0) {
                take_request(c, &q);
                return;
        }
        c->closing = true;
        refuse(c, CONTROL_BAD_REQUEST, e.text);
}

static int on_client(UNUSED sd_event_source *source, UNUSED int fd, uint32_t revents, void *userdata) {
        Client *c = userdata;
        Server *s = c->server;

        if (revents & EPOLLOUT) {
                int r = client_flush(c);

                if (r < 0)
                        client_free(c);
                else if (r > 0) {
                        client_rest(c);
                        if (s->asker == c)
                                hold(s, false);
                        if (c->news)
                                push_news(c);
                }
        } else if (revents & EPOLLIN)
                receive(c);
        else /* it hung up while it was not listened to */
                client_free(c);
        return 0;
}

/* ---- watching ---- */

static void push_news(Client *c) {
        uint64_t due = c->pushed_at + CONTROL_WATCH_GAP_MSEC * USEC_PER_MSEC;

        c->news = true;
        if (c->pending.len > 0)
                return; /* when it has taken that */
        if (clock_boottime_usec() >= due)
                take_status(c);
        else
                wait_until(c, due);
}

void server_changed(Server *s) {
        Client *next;

        for (Client *c = s ? s->clients : NULL; c; c = next) {
                next = c->next;
                if (c->watching && !c->news)
                        push_news(c);
        }
}

static int on_client_timer(UNUSED sd_event_source *source, UNUSED uint64_t usec, void *userdata) {
        Client *c = userdata;

        if (c->watching && c->news && c->pending.len == 0)
                push_news(c);
        else
                client_free(c); /* silent, or does not take its answer */
        return 0;
}

/* ---- the socket ---- */

static int client_new(Server *s, int fd, uid_t uid, Client **ret) {
        Client *c = calloc(1, sizeof *c);
        sd_event *loop = s->agent->event;
        int r;

        if (!c)
                return -ENOMEM;
        *c = (Client){ .server = s, .fd = fd, .uid = uid, .next = s->clients };
        s->clients = c;
        s->n_clients++;
        r = sd_event_add_io(loop, &c->io, fd, EPOLLIN, on_client, c);
        if (r >= 0)
                r = sd_event_add_time(loop, &c->timer, CLOCK_BOOTTIME, 0, TIMER_ACCURACY_USEC, on_client_timer, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->io, PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_priority(c->timer, PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_ratelimit(c->io, USEC_PER_SEC, CONTROL_REQUESTS_PER_SEC);
        *ret = c;
        return r;
}

static int on_connect(UNUSED sd_event_source *source, int fd, UNUSED uint32_t revents, void *userdata) {
        Server *s = userdata;
        int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred who;
        socklen_t len = sizeof who;
        Client *c;

        if (client_fd < 0)
                return 0;
        if (getsockopt(client_fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || client_new(s, client_fd, who.uid, &c) < 0) {
                if (s->clients && s->clients->fd == client_fd)
                        client_free(s->clients);
                else
                        (void) close(client_fd);
                return 0;
        }
        if (s->n_clients > CONTROL_CLIENTS_MAX - (may_change(s, who.uid) ? 0 : CONTROL_CLIENTS_KEPT)) {
                c->closing = true;
                refuse(c, CONTROL_BUSY, "too many clients are connected to the agent");
        } else
                client_rest(c);
        return 0;
}

/* The one that a socket unit passes: any other descriptor is none of ours. */
static int find_passed(void) {
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names), found = -1;

        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (found < 0 && strcmp(names[i], "control") == 0 && sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 1) > 0)
                        found = fd;
                else {
                        log_warning("systemd passes a socket \"%s\" that is not for this program, closing it", names[i]);
                        (void) close(fd);
                }
        }
        for (int i = 0; names && names[i]; i++)
                free(names[i]);
        free(names);
        if (found >= 0)
                (void) fcntl(found, F_SETFL, O_NONBLOCK);
        return found;
}

/* A path through a descriptor is short, whatever the directory's is. */
static int bind_own(Server *s, int fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        mode_t mask;
        int r;

        (void) snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", s->directory_fd, s->name);
        (void) unlinkat(s->directory_fd, s->name, 0); /* a killed agent's: the lock is ours now */
        mask = umask(0177);
        r = bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r == 0 && listen(fd, BACKLOG) < 0)
                r = -errno;
        return r;
}

static int make_own(Server *s) {
        int fd CLEANUP_FD = -1;
        int r;

        s->directory_fd = agent_open_directory(s->agent->config);
        if (s->directory_fd < 0)
                return s->directory_fd;
        control_socket_name(s->agent->config->thing_name, s->name);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        r = bind_own(s, fd);
        if (r < 0)
                return r;
        s->own = true;
        s->fd = TAKE_FD(fd);
        return 0;
}

static int listen_to(Server *s) {
        int r = sd_event_add_io(s->agent->event, &s->io, s->fd, EPOLLIN, on_connect, s);

        if (r >= 0)
                r = sd_event_source_set_priority(s->io, PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_ratelimit(s->io, USEC_PER_SEC, CONTROL_ACCEPTS_PER_SEC);
        return r;
}

int server_new(Agent *a, Server **ret) {
        Server *s CLEANUP(server_free) = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        s->agent = a;
        s->directory_fd = -1;
        s->fd = find_passed();
        r = s->fd < 0 ? make_own(s) : 0;
        if (r < 0)
                log_warning("no control socket, iot-jobsctl cannot reach this agent: %s", strerrordesc_np(-r));
        r = s->fd < 0 ? 0 : listen_to(s);
        if (r >= 0)
                r = sd_event_add_time(a->event, &s->ask_timer, CLOCK_BOOTTIME, 0, TIMER_ACCURACY_USEC, on_ask_timer, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->ask_timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        while (s->clients)
                client_free(s->clients);
        sd_event_source_disable_unref(s->io);
        sd_event_source_disable_unref(s->ask_timer);
        if (s->own)
                (void) unlinkat(s->directory_fd, s->name, 0);
        close_fd_p(&s->fd);
        close_fd_p(&s->directory_fd);
        free(s);
        return NULL;
}
