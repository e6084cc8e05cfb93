/* SPDX-License-Identifier: Apache-2.0 */
#include "client/core.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "client/shared.h"

/* ---- descriptors ---- */

static void fd_raise(int fd) {
        const uint64_t one = 1;

        /* Fails only when the counter is full, and then the descriptor is readable already. */
        if (write(fd, &one, sizeof one) < 0)
                return;
}

void core_fd_lower(int fd) {
        uint64_t count;

        /* EAGAIN: nobody has raised it. */
        if (read(fd, &count, sizeof count) < 0)
                return;
}

static int epoll_with(int fd_inside) {
        struct epoll_event event = { .events = EPOLLIN };
        int fd = epoll_create1(EPOLL_CLOEXEC);

        if (fd >= 0 && fd_inside >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, fd_inside, &event) < 0) {
                int r = -errno;

                (void) close(fd);
                return r;
        }
        return fd >= 0 ? fd : -errno;
}

static int open_descriptors(IotJobsClient *c) {
        struct epoll_event event = { .events = EPOLLIN };

        c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->wake_fd < 0)
                return -errno;
        c->net_fd = epoll_with(-1);
        if (c->net_fd < 0)
                return c->net_fd;
        c->poll_fd = epoll_with(c->net_fd);
        if (c->poll_fd < 0)
                return c->poll_fd;
        return epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->wake_fd, &event) < 0 ? -errno : 0;
}

/* ---- making ---- */

static int init_lock(IotJobsClient *c) {
        pthread_condattr_t attr;
        int r = pthread_mutex_init(&c->lock, NULL);

        if (r == 0)
                r = pthread_condattr_init(&attr);
        if (r != 0)
                return -r;
        r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (r == 0)
                r = pthread_cond_init(&c->changed, &attr);
        (void) pthread_condattr_destroy(&attr);
        return -r;
}

void core_release(IotJobsClient *c) {
        while (c->first_callback) {
                Callback *next = c->first_callback->next;

                free(c->first_callback);
                c->first_callback = next;
        }
        while (c->acks) {
                Ack *next = c->acks->next;

                free(c->acks);
                c->acks = next;
        }
        subs_done(&c->subs);
        offline_done(&c->offline);
        configuration_done(&c->config);
        c->handle = shared_free(c->handle);
        close_fd_p(&c->poll_fd);
        close_fd_p(&c->net_fd);
        close_fd_p(&c->wake_fd);
        (void) pthread_cond_destroy(&c->changed);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
}

int core_new(const IotJobsOptions *options, bool shared, IotJobsClient **ret, Error *e) {
        enum { DRAINING_RATE = 2 };
        IotJobsClient *c = calloc(1, sizeof *c);
        int r = c ? init_lock(c) : -ENOMEM;

        if (r < 0) {
                free(c);
                return error_errno(e, -r, "client");
        }
        c->poll_fd = c->net_fd = c->wake_fd = -1;
        c->callback_tail = &c->first_callback;
        offline_set_rate(&c->offline, DRAINING_RATE);
        (void) snprintf(c->token_prefix, sizeof c->token_prefix, "%016llx", (unsigned long long) random_u64());
        r = configuration_init(&c->config, options, shared, e);
        if (r == 0 && c->config.v1) /* as the SDK has it */
                offline_set_limit(&c->offline, OFFLINE_ITEMS_MAX, false);
        if (r == 0) {
                r = open_descriptors(c);
                if (r < 0)
                        (void) error_errno(e, -r, "client");
        }
        if (r < 0) {
                core_release(c);
                return r;
        }
        *ret = c;
        return 0;
}

int iotjobs_client_new(const IotJobsOptions *options, IotJobsClient **ret, IotJobsError *e) {
        return core_new(options, false, ret, (Error *) e);
}

void core_lock(IotJobsClient *c) {
        if (pthread_mutex_lock(&c->lock) != 0)
                abort();
}

void core_lock_settled(IotJobsClient *c) {
        core_lock(c);
        if (c->reading == 0)
                return;
        c->inside++; /* iotjobs_client_free() waits for us too */
        while (c->reading > 0)
                (void) pthread_cond_wait(&c->changed, &c->lock);
        c->inside--;
        (void) pthread_cond_broadcast(&c->changed);
}

void core_unlock(IotJobsClient *c) {
        if (pthread_mutex_unlock(&c->lock) != 0)
                abort();
}

/* ---- callbacks that wait ---- */

/* The thread that dispatches looks at the queue again before it ends, so it need not be woken. */
void core_wake(IotJobsClient *c) {
        if (c->woken || c->dispatching)
                return;
        c->woken = true;
        fd_raise(c->wake_fd);
}

static void append(IotJobsClient *c, Callback *cb) {
        cb->next = NULL;
        *c->callback_tail = cb;
        c->callback_tail = &cb->next;
        c->callback_bytes += cb->bytes;
        core_wake(c);
}

static Callback *callback_new(CallbackType type, size_t data) {
        Callback *cb = malloc(sizeof *cb + data);

        if (cb)
                *cb = (Callback){ .type = type, .bytes = sizeof *cb + data };
        return cb;
}

void core_push_connection(IotJobsClient *c, const IotJobsConnectionEvent *event) {
        const char *text = event->text ? event->text : "";
        size_t n = strlen(text) + 1, topic = event->topic ? strlen(event->topic) + 1 : 0;
        Callback *cb = callback_new(CALLBACK_CONNECTION, n + topic);

        if (!cb)
                return;
        cb->event = *event;
        cb->event.text = memcpy(cb->data, text, n);
        if (event->topic)
                cb->event.topic = memcpy(cb->data + n, event->topic, topic);
        append(c, cb);
}

void core_push_dropped(IotJobsClient *c, const char *topic, const char *text) {
        core_push_connection(c, &(IotJobsConnectionEvent){ .type = IOTJOBS_CONNECTION_DROPPED,
                                                           .topic = topic,
                                                           .text = text,
                                                           .retry_ms = -1 });
}

void core_tell_dropped(IotJobsClient *c) {
        char text[160];

        if (c->dropped_messages == 0 || c->callback_bytes > CALLBACK_BYTES_MAX)
                return;
        (void) snprintf(text, sizeof text,
                        "%zu messages came while a call was waiting and no callback ran, more than there is room for",
                        c->dropped_messages);
        c->dropped_messages = 0;
        core_push_dropped(c, NULL, text);
}

void core_push_message(IotJobsClient *c, const char *topic, const void *payload, size_t len) {
        size_t n = strlen(topic) + 1;
        Callback *cb;

        if (c->callback_bytes > CALLBACK_BYTES_MAX) {
                c->dropped_messages++;
                return;
        }
        cb = callback_new(CALLBACK_MESSAGE, n + len + 1);
        if (!cb) {
                c->dropped_messages++;
                return;
        }
        cb->topic = memcpy(cb->data, topic, n);
        cb->payload = cb->data + n;
        cb->len = len;
        if (len > 0)
                memcpy(cb->data + n, payload, len);
        cb->data[n + len] = '\0';
        append(c, cb);
}

void core_push_ack(IotJobsClient *c, const Ack *ack, int granted) {
        Callback *cb = callback_new(CALLBACK_ACK, 0);

        if (!cb)
                return;
        cb->ack = ack->handler;
        cb->userdata = ack->userdata;
        cb->id = ack->id;
        cb->granted = granted;
        append(c, cb);
}

/* ---- what is due ---- */

/* Reading pauses while too much waits for dispatch; but whoever is inside a blocking call must hear the answer. */
void core_pump(IotJobsClient *c) {
        uint64_t now = clock_boottime_usec();

        if (c->transport && (c->callback_bytes <= CALLBACK_BYTES_MAX || c->waiters))
                connection_pump(c);
        if (c->handle)
                shared_tick(c, now);
        if (c->online)
                requests_drain(c, now);
        if (c->outstanding == 0)
                core_finish_flush(c, 0);
        core_heed_pubacks(c);
}

/* Nobody but a flush waits for a PUBACK: without one they need not wake anybody. */
void core_heed_pubacks(IotJobsClient *c) {
        bool heed = false;

        for (const Waiter *w = c->waiters; w; w = w->next)
                heed = heed || (w->for_flush && !w->done);
        if (!c->transport || heed == c->heeds_pubacks)
                return;
        c->heeds_pubacks = heed;
        transport_quiet_pubacks(c->transport, !heed);
}

uint64_t core_deadline(IotJobsClient *c) {
        uint64_t at = c->online ? offline_due(&c->offline) : USEC_NEVER;

        return c->handle ? MIN_OF(at, shared_deadline(c)) : at;
}

int core_msec_until(uint64_t at, uint64_t now) {
        enum { MOST = 3600 * 1000 };

        if (at == USEC_NEVER)
                return -1;
        if (at <= now)
                return 0;
        return (int) MIN_OF((at - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC, (uint64_t) MOST);
}

/* ---- blocking calls ---- */

int core_wait_begin(IotJobsClient *c, Waiter *w, Error *e) {
        w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->fd < 0)
                return error_errno(e, errno, "descriptor to wait with");
        w->next = c->waiters;
        c->waiters = w;
        c->inside++;
        if (c->freed)
                core_waiter_finish(w, -ECANCELED, "the client is being freed");
        core_heed_pubacks(c);
        return 0;
}

void core_wait_end(IotJobsClient *c, Waiter *w) {
        Waiter **at = &c->waiters;

        while (*at && *at != w)
                at = &(*at)->next;
        if (*at)
                *at = w->next;
        (void) close(w->fd);
        c->inside--;
        (void) pthread_cond_broadcast(&c->changed);
}

void core_waiter_finish(Waiter *w, int result, const char *text) {
        if (w->done)
                return;
        w->done = true;
        w->result = result;
        if (result < 0)
                (void) error_set(w->e, -result, "%s", text);
        fd_raise(w->fd);
}

int core_wait(IotJobsClient *c, Waiter *w, uint64_t until) {
        for (;;) {
                struct pollfd p[] = { { .fd = c->net_fd, .events = POLLIN }, { .fd = w->fd, .events = POLLIN } };
                uint64_t now, deadline;

                core_pump(c);
                if (w->done)
                        return w->result;
                now = clock_boottime_usec();
                if (now >= until)
                        return -ETIMEDOUT;
                deadline = MIN_OF(until, core_deadline(c));
                core_unlock(c);
                (void) poll(p, ELEMENTSOF(p), core_msec_until(deadline, now));
                core_lock(c);
                if (!w->done)
                        core_fd_lower(w->fd);
        }
}

void core_finish_connect(IotJobsClient *c, int result, const char *text) {
        for (Waiter *w = c->waiters; w; w = w->next)
                if (w->for_connect)
                        core_waiter_finish(w, result, text);
}

bool core_connect_waits(const IotJobsClient *c) {
        for (const Waiter *w = c->waiters; w; w = w->next)
                if (w->for_connect)
                        return true;
        return false;
}

void core_finish_flush(IotJobsClient *c, int result) {
        for (Waiter *w = c->waiters; w; w = w->next)
                if (w->for_flush && (result < 0 || !w->drained_too || c->offline.n == 0))
                        core_waiter_finish(w, result, "the connection broke");
}
