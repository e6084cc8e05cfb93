/* SPDX-License-Identifier: Apache-2.0 */
/* The client on a Transport of its own, which lives from connect to disconnect. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "client/core.h"
#include "client/names.h"
#include "client/shared.h"

enum { ANSWER_GRACE_SEC = 2 }; /* the transport says better than "timed out" why it was one */

/* ---- what the transport tells ---- */

static void went_online(IotJobsClient *c, const TransportEvent *event) {
        c->online = true;
        core_finish_connect(c, 0, NULL);
        core_push_connection(c, &(IotJobsConnectionEvent){ .type = IOTJOBS_CONNECTION_ONLINE,
                                                           .text = "connected",
                                                           .session_present = event->session_present,
                                                           .retry_ms = -1 });
        core_wake(c); /* what waited for this is due now */
}

/* The SUBSCRIBEs that had no answer are asked for again by the transport; who waits for one is told. */
static void forget_connection(IotJobsClient *c, int result, const char *why) {
        c->online = false;
        c->outstanding = 0;
        core_finish_flush(c, -ENOTCONN);
        for (size_t i = c->subs.n; i-- > 0;) {
                Sub *sub = c->subs.list[i];

                if (sub->state == SUB_ASKED || sub->state == SUB_WANTED)
                        subscriptions_fail(c, sub, result, why, false);
                else
                        sub->state = SUB_WANTED;
        }
}

static int connect_error(const TransportEvent *event) {
        switch (event->error) {
        case 0:
        case EAGAIN:
                return -ENOTCONN;
        default:
                return -event->error;
        }
}

static void went_offline(IotJobsClient *c, const TransportEvent *event) {
        bool told = core_connect_waits(c);

        core_finish_connect(c, connect_error(event), event->text);
        /* The transport may have noticed first that no SUBACK came. */
        forget_connection(c, event->error == ETIMEDOUT && event->is_subscription ? -ETIMEDOUT : -ENOTCONN, event->text);
        if (told)
                return; /* by the result of iotjobs_client_connect() */
        core_push_connection(c, &(IotJobsConnectionEvent){
                                        .type = IOTJOBS_CONNECTION_OFFLINE,
                                        .text = event->text,
                                        .topic = event->topic,
                                        .topic_is_subscription = event->is_subscription,
                                        .retry_ms = (int64_t) (event->retry_usec / USEC_PER_MSEC),
                                        .code = event->code });
}

static void was_refused(IotJobsClient *c, const TransportEvent *event) {
        Sub *sub = subs_find(&c->subs, event->topic);

        if (sub)
                sub->state = SUB_REFUSED;
        if (sub && sub->required && core_connect_waits(c)) {
                char text[512];

                (void) snprintf(text, sizeof text, "%s: %s", event->topic, event->text);
                core_finish_connect(c, -EACCES, text);
        }
        core_push_connection(c, &(IotJobsConnectionEvent){ .type = IOTJOBS_CONNECTION_REFUSED,
                                                           .topic = event->topic,
                                                           .text = event->text,
                                                           .retry_ms = -1 });
}

/* The service never sets the retain flag: somebody else left this behind, and it may be old. */
static void came(IotJobsClient *c, const TransportEvent *event) {
        if (!subs_next_match(&c->subs, event->topic, 0))
                return;
        if (event->retained)
                core_push_dropped(c, event->topic, "retained by the broker, which the Jobs service never asks for");
        else
                core_push_message(c, event->topic, event->payload, event->payload_len);
}

static void was_published(IotJobsClient *c, const TransportEvent *event) {
        if (c->outstanding > 0)
                c->outstanding--;
        if (event->code >= 128)
                core_push_dropped(c, event->topic, event->text ? event->text : "the broker refused the publication");
}

static void on_event(const TransportEvent *event, void *userdata) {
        IotJobsClient *c = userdata;
        Sub *sub;

        switch (event->type) {
        case TRANSPORT_ONLINE:
                went_online(c, event);
                return;
        case TRANSPORT_OFFLINE:
                went_offline(c, event);
                return;
        case TRANSPORT_REFUSED:
                was_refused(c, event);
                return;
        case TRANSPORT_MESSAGE:
                came(c, event);
                return;
        case TRANSPORT_DROPPED:
                core_push_dropped(c, event->topic, event->text);
                return;
        case TRANSPORT_SUBACK:
                sub = subs_find_id(&c->subs, event->id);
                if (sub)
                        subscriptions_answered(c, sub, event->code, event->text);
                return;
        case TRANSPORT_PUBACK:
                was_published(c, event);
                return;
        case TRANSPORT_CERTIFICATE:
                core_push_connection(c, &(IotJobsConnectionEvent){ .type = IOTJOBS_CONNECTION_CERTIFICATE,
                                                                   .text = event->text,
                                                                   .retry_ms = -1 });
                return;
        }
}

void connection_pump(IotJobsClient *c) {
        transport_dispatch(c->transport, on_event, c);
}

int connection_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) {
        int r;

        if (++c->last_publish == 0)
                c->last_publish = 1;
        r = transport_publish_with_id(c->transport, c->last_publish, topic, payload, len);
        if (r == 0)
                c->outstanding++;
        return r;
}

/* ---- making and ending it ---- */

typedef struct Made { /* a TransportConfig and what it borrows */
        TransportConfig config;
        const char *filters[SUBS_MAX + 1];
        Buf username;
} Made;

static void made_done(Made *m) {
        if (m->username.data)
                explicit_bzero(m->username.data, m->username.len);
        buf_done(&m->username);
}
#define CLEANUP_MADE __attribute__((cleanup(made_done)))

/* Borrows from the client: for as long as the lock is held. */
static int make_config(IotJobsClient *c, Made *ret, Error *e) {
        size_t n = 0;

        for (size_t i = 0; i < c->subs.n; i++)
                if (c->subs.list[i]->required)
                        ret->filters[n++] = c->subs.list[i]->filter;
        ret->filters[n] = NULL;
        return configuration_to_transport(&c->config, ret->filters, &ret->username, &ret->config, e);
}

/* Subscriptions of before: they are made before ONLINE is told. */
static int hand_over_subscriptions(IotJobsClient *c, Transport *t, Error *e) {
        for (size_t i = 0; i < c->subs.n; i++) {
                Sub *sub = c->subs.list[i];
                int r = sub->required ? 0 : transport_subscribe(t, sub->id, sub->filter);

                if (r < 0)
                        return error_errno(e, -r, "subscription %s", sub->filter);
                sub->state = sub->required ? SUB_WANTED : SUB_ASKED;
        }
        return 0;
}

/* Looking at the files may take its time, with a key in a slow token: callbacks, requests and subscriptions go on meanwhile.
 * Whoever would change what the config borrows waits (core_lock_settled). */
static int read_files(IotJobsClient *c, const TransportConfig *config, Transport **ret, Error *e) {
        int r;

        c->reading++;
        core_unlock(c);
        r = transport_new(config, ret, e);
        core_lock(c);
        c->reading--;
        (void) pthread_cond_broadcast(&c->changed);
        return r == 0 && c->freed ? error_set(e, ECANCELED, "the client is being freed") : r;
}

static int make_transport(IotJobsClient *c, Error *e) {
        struct epoll_event event = { .events = EPOLLIN };
        CLEANUP_MADE Made made = { 0 };
        Transport *t = NULL;
        int r = make_config(c, &made, e);

        if (r == 0)
                r = read_files(c, &made.config, &t, e);
        if (r == 0)
                r = hand_over_subscriptions(c, t, e);
        if (r == 0 && epoll_ctl(c->net_fd, EPOLL_CTL_ADD, transport_fd(t), &event) < 0)
                r = error_errno(e, errno, "connection");
        if (r == 0) {
                r = transport_start(t);
                if (r < 0) {
                        (void) epoll_ctl(c->net_fd, EPOLL_CTL_DEL, transport_fd(t), NULL);
                        (void) error_errno(e, -r, "thread of the connection");
                }
        }
        if (r < 0) {
                (void) transport_free(t, 0);
                return r;
        }
        c->transport = t;
        c->outstanding = 0;
        c->heeds_pubacks = true; /* as a new transport does */
        core_heed_pubacks(c);
        return 0;
}

Transport *connection_take(IotJobsClient *c, const char *why) {
        Transport *t = c->transport;

        if (!t)
                return NULL;
        (void) epoll_ctl(c->net_fd, EPOLL_CTL_DEL, transport_fd(t), NULL);
        c->transport = NULL;
        core_finish_connect(c, -ECANCELED, why);
        forget_connection(c, -ENOTCONN, why);
        for (size_t i = 0; i < c->subs.n; i++)
                c->subs.list[i]->state = SUB_WANTED;
        return t;
}

static void tell_disconnected(IotJobsClient *c) {
        core_push_connection(c, &(IotJobsConnectionEvent){
                                        .type = IOTJOBS_CONNECTION_OFFLINE, .text = "disconnected", .retry_ms = -1 });
}

/* ---- public ---- */

/* Lock, and refuse where there is no connection of ours to speak of. */
static int begin(IotJobsClient *c, Error *e) {
        if (!c)
                return error_set(e, EINVAL, "client: missing");
        if (c->handle)
                return error_set(e, EOPNOTSUPP, "the client lives on a shared handle: connecting is the caller's business");
        core_lock_settled(c);
        return 0;
}

static int begin_connect(IotJobsClient *c, Error *e) {
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (c->freed)
                r = error_set(e, ECANCELED, "the client is being freed");
        else if (c->transport)
                r = error_set(e, EALREADY, c->online ? "already connected" : "already connecting");
        if (r < 0)
                core_unlock(c);
        return r;
}

int iotjobs_client_connect_async(IotJobsClient *c, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin_connect(c, e);

        if (r < 0)
                return r;
        r = make_transport(c, e);
        core_wake(c);
        core_unlock(c);
        return r;
}

int iotjobs_client_connect(IotJobsClient *c, IotJobsError *error) {
        Error *e = error_of(error);
        Waiter w = { .e = e, .for_connect = true };
        Transport *t = NULL;
        uint64_t until;
        int r = begin_connect(c, e);

        if (r < 0)
                return r;
        r = core_wait_begin(c, &w, e);
        if (r < 0) {
                core_unlock(c);
                return r;
        }
        r = make_transport(c, e);
        if (r == 0) {
                until = clock_boottime_usec() +
                        (uint64_t) (c->config.connect_timeout + ANSWER_GRACE_SEC +
                                    (c->subs.n > 0 ? c->config.operation_timeout : 0)) *
                                USEC_PER_SEC;
                r = core_wait(c, &w, until);
                if (r == -ETIMEDOUT && !w.done)
                        (void) error_set(e, ETIMEDOUT, "%s:%d: not connected after %d s", c->config.host,
                                         c->config.port, c->config.connect_timeout);
                w.done = true;
                if (r < 0)
                        t = connection_take(c, "the attempt to connect was given up");
        }
        core_unlock(c);
        (void) transport_free(t, FREE_WAIT_SEC * USEC_PER_SEC);
        core_lock(c);
        core_wait_end(c, &w);
        core_unlock(c);
        return r;
}

static uint64_t connect_timeout(const IotJobsClient *c) {
        return (uint64_t) c->config.connect_timeout * USEC_PER_SEC;
}

int iotjobs_client_disconnect(IotJobsClient *c, IotJobsError *error) {
        Error *e = error_of(error);
        Waiter w = { .for_flush = true };
        Transport *t;
        uint64_t until, left;
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (!c->transport || core_wait_begin(c, &w, NULL) < 0) {
                core_unlock(c);
                return error_set(e, ENOTCONN, "not connected");
        }
        until = clock_boottime_usec() + connect_timeout(c);
        r = c->online ? core_wait(c, &w, until) : 0;
        t = connection_take(c, "disconnected");
        if (t)
                tell_disconnected(c);
        left = MAX_OF(until, clock_boottime_usec() + USEC_PER_SEC) - clock_boottime_usec();
        core_unlock(c);
        (void) transport_free(t, left);
        core_lock(c);
        core_wait_end(c, &w);
        core_unlock(c);
        if (r == -ETIMEDOUT)
                return error_set(e, ETIMEDOUT, "the broker has not acknowledged everything; the connection is closed");
        return 0;
}

/* ---- saying goodbye in a thread, so that nobody waits ---- */

typedef struct Reaper {
        IotJobsClient *client;
        Transport *transport;
        uint64_t wait_usec;
} Reaper;

static void *reaper_main(void *userdata) {
        Reaper *r = userdata;
        IotJobsClient *c = r->client;

        (void) transport_free(r->transport, r->wait_usec);
        free(r);
        core_lock(c);
        c->reapers--;
        (void) pthread_cond_broadcast(&c->changed);
        core_unlock(c);
        return NULL;
}

/* Takes the transport. */
static void reap(IotJobsClient *c, Reaper *reaper) {
        pthread_attr_t attr;
        pthread_t thread;
        int r = pthread_attr_init(&attr);

        c->reapers++;
        if (r == 0) {
                (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
                r = pthread_create(&thread, &attr, reaper_main, reaper);
                (void) pthread_attr_destroy(&attr);
        }
        if (r == 0)
                return;
        c->reapers--;
        (void) transport_free(reaper->transport, 0);
        free(reaper);
}

int iotjobs_client_disconnect_async(IotJobsClient *c, IotJobsError *error) {
        Error *e = error_of(error);
        Reaper *reaper;
        int r = begin(c, e);

        if (r < 0)
                return r;
        reaper = calloc(1, sizeof *reaper);
        if (!c->transport)
                r = error_set(e, ENOTCONN, "not connected");
        else if (!reaper)
                r = error_errno(e, ENOMEM, "disconnect");
        if (r < 0) {
                core_unlock(c);
                free(reaper);
                return r;
        }
        *reaper = (Reaper){ .client = c,
                            .transport = connection_take(c, "disconnected"),
                            .wait_usec = connect_timeout(c) };
        tell_disconnected(c);
        reap(c, reaper);
        core_unlock(c);
        return 0;
}

int iotjobs_client_reconnect(IotJobsClient *c, IotJobsError *error) {
        CLEANUP_MADE Made made = { 0 };
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (!c->transport)
                r = error_set(e, ENOTCONN, "not connected: call iotjobs_client_connect()");
        else
                r = make_config(c, &made, e);
        if (r == 0)
                r = transport_reconfigure(c->transport, &made.config, true, e);
        core_unlock(c);
        return r;
}

int iotjobs_client_check(IotJobsClient *c, IotJobsError *error) {
        CLEANUP_MADE Made made = { 0 };
        Error *e = error_of(error);
        Transport *t = NULL;
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = make_config(c, &made, e);
        if (r == 0)
                r = read_files(c, &made.config, &t, e);
        core_unlock(c);
        (void) transport_free(t, 0);
        return r;
}

bool iotjobs_client_is_online(IotJobsClient *c) {
        bool online;

        if (!c)
                return false;
        core_lock(c);
        core_pump(c);
        online = c->online;
        core_unlock(c);
        return online;
}

int iotjobs_client_flush(IotJobsClient *c, int timeout_ms, IotJobsError *error) {
        Error *e = error_of(error);
        Waiter w = { .e = e, .for_flush = true, .drained_too = true };
        int r;

        if (!c || timeout_ms < 0)
                return error_set(e, EINVAL, c ? "timeout: negative" : "client: missing");
        core_lock(c);
        if (c->freed)
                r = error_set(e, ECANCELED, "the client is being freed");
        else if (!c->online)
                r = error_set(e, ENOTCONN, "not connected");
        else {
                r = core_wait_begin(c, &w, e);
                if (r == 0) {
                        r = core_wait(c, &w, clock_boottime_usec() + (uint64_t) timeout_ms * USEC_PER_MSEC);
                        if (r == -ETIMEDOUT && !w.done)
                                (void) error_set(e, ETIMEDOUT, "%u publications have no PUBACK and %zu requests wait",
                                                 c->outstanding, c->offline.n);
                        core_wait_end(c, &w);
                }
        }
        core_unlock(c);
        return r;
}

void iotjobs_client_set_connection_handler(IotJobsClient *c, IotJobsConnectionHandler handler, void *userdata) {
        if (!c)
                return;
        core_lock(c);
        c->connection_handler = handler;
        c->connection_userdata = userdata;
        core_unlock(c);
}
