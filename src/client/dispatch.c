/* SPDX-License-Identifier: Apache-2.0 */
/* Where the caller's code is run, one callback at a time and never with the lock held; the thread that may do it; and the
 * end of a client, which has to wait for all of that. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "client/core.h"
#include "client/names.h"
#include "client/reply.h"

/* ---- one callback ---- */

static void run_connection(IotJobsClient *c, const Callback *cb) {
        IotJobsConnectionHandler handler = c->connection_handler;
        void *userdata = c->connection_userdata;

        if (!handler)
                return;
        core_unlock(c);
        handler(c, &cb->event, userdata);
        core_lock(c);
}

static void run_ack(IotJobsClient *c, const Callback *cb) {
        core_unlock(c);
        cb->ack(c, cb->id, cb->granted, cb->userdata);
        core_lock(c);
}

/* A request that comes back is only for who asked for just that topic: what "#" brings along is nobody's. */
static bool wants(const Sub *sub, const IotJobsMessage *m) {
        bool request = m->reply == IOTJOBS_REPLY_REQUEST && m->type != IOTJOBS_TOPIC_NOTIFY &&
                       m->type != IOTJOBS_TOPIC_NOTIFY_NEXT;

        return !request || (sub->reply == IOTJOBS_REPLY_REQUEST && sub->type == m->type);
}

/* Handlers come and go while they run, so the next one is looked up each time. */
static int run_message(IotJobsClient *c, const Callback *cb) {
        Reply reply = { 0 };
        unsigned id = 0;
        int n = 0;
        Sub *sub = subs_next_match(&c->subs, cb->topic, 0);

        if (!sub || !reply_decode(&reply, c->config.thing, cb->topic, cb->payload, cb->len))
                return 0;
        for (; sub && !c->freed; sub = subs_next_match(&c->subs, cb->topic, id)) {
                IotJobsMessageHandler handler = sub->handler;
                void *userdata = sub->userdata;

                id = sub->id;
                if (!handler || !wants(sub, &reply.message))
                        continue;
                core_unlock(c);
                handler(c, &reply.message, userdata);
                core_lock(c);
                n++;
        }
        reply_done(&reply);
        return n;
}

static int run(IotJobsClient *c, const Callback *cb) {
        switch (cb->type) {
        case CALLBACK_MESSAGE:
                return run_message(c, cb);
        case CALLBACK_CONNECTION:
                run_connection(c, cb);
                return 1;
        case CALLBACK_ACK:
                run_ack(c, cb);
                return 1;
        }
        return 0;
}

/* ---- all that wait ---- */

static Callback *take_callback(IotJobsClient *c) {
        Callback *cb = c->first_callback;

        if (!cb)
                return NULL;
        c->first_callback = cb->next;
        if (!c->first_callback)
                c->callback_tail = &c->first_callback;
        c->callback_bytes -= cb->bytes;
        return cb;
}

/* Whoever is inside a call, or saying goodbye on an old connection, goes first. */
static void wait_for_others(IotJobsClient *c) {
        while (c->inside > 0 || c->reapers > 0 || c->reading > 0)
                (void) pthread_cond_wait(&c->changed, &c->lock);
}

/* Takes the lock over from the caller. *ret_gone: a callback has freed the client. */
static int dispatch(IotJobsClient *c, bool *ret_gone) {
        int n = 0;

        if (c->woken) {
                c->woken = false;
                core_fd_lower(c->wake_fd);
        }
        c->dispatching = true;
        c->dispatcher = pthread_self();
        core_pump(c);
        for (int i = 0; i < CALLBACKS_PER_DISPATCH && !c->freed; i++) {
                Callback *cb = take_callback(c);

                if (!cb)
                        break;
                n += run(c, cb);
                free(cb);
        }
        core_tell_dropped(c);
        c->dispatching = false;
        *ret_gone = c->free_in_callback;
        if (*ret_gone) {
                wait_for_others(c);
                core_unlock(c);
                core_release(c);
                return n;
        }
        if (c->first_callback || c->freed)
                core_wake(c);
        (void) pthread_cond_broadcast(&c->changed);
        core_unlock(c);
        return n;
}

int iotjobs_client_dispatch(IotJobsClient *c) {
        bool gone;

        if (!c)
                return -EINVAL;
        core_lock(c);
        if (c->has_thread || c->dispatching) {
                core_unlock(c);
                return -EBUSY;
        }
        c->polled = true;
        return dispatch(c, &gone);
}

int iotjobs_client_fd(const IotJobsClient *c) {
        return c ? c->poll_fd : -EINVAL;
}

short iotjobs_client_events(const IotJobsClient *c) {
        (void) c;
        return POLLIN;
}

static int timeout_of(IotJobsClient *c) {
        return c->first_callback ? 0 : core_msec_until(core_deadline(c), clock_boottime_usec());
}

int iotjobs_client_timeout(IotJobsClient *c) {
        int r;

        if (!c)
                return -1;
        core_lock(c);
        r = timeout_of(c);
        core_unlock(c);
        return r;
}

/* ---- the thread ---- */

static void *thread_main(void *userdata) {
        IotJobsClient *c = userdata;
        bool gone = false;

        while (!gone) {
                struct pollfd p = { .fd = c->poll_fd, .events = POLLIN };

                (void) poll(&p, 1, iotjobs_client_timeout(c));
                core_lock(c);
                if (c->freed) {
                        core_unlock(c);
                        return NULL;
                }
                (void) dispatch(c, &gone);
        }
        return NULL;
}

/* Signals are the program's business. */
static int create_thread(IotJobsClient *c) {
        sigset_t all, old;
        int r;

        (void) sigfillset(&all);
        r = pthread_sigmask(SIG_SETMASK, &all, &old);
        if (r != 0)
                return -r;
        r = pthread_create(&c->thread, NULL, thread_main, c);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -r;
}

int iotjobs_client_start_thread(IotJobsClient *c, IotJobsError *error) {
        Error *e = error_of(error);
        int r;

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        core_lock(c);
        if (c->has_thread || c->polled)
                r = error_set(e, EALREADY, "the client is driven already, by %s",
                              c->has_thread ? "its thread" : "iotjobs_client_dispatch()");
        else if (c->transport)
                r = error_set(e, EISCONN, "the client is connected: start its thread before");
        else {
                r = create_thread(c);
                if (r < 0)
                        (void) error_errno(e, -r, "thread");
                c->has_thread = r == 0;
        }
        core_unlock(c);
        if (r == 0)
                (void) pthread_setname_np(c->thread, "iot-jobs-client");
        return r;
}

/* ---- the end ---- */

static void wake_everybody(IotJobsClient *c) {
        c->freed = true;
        for (Waiter *w = c->waiters; w; w = w->next)
                core_waiter_finish(w, -ECANCELED, "the client is being freed");
        c->woken = false;
        c->dispatching ? (void) 0 : core_wake(c);
        (void) pthread_cond_broadcast(&c->changed);
}

IotJobsClient *iotjobs_client_free(IotJobsClient *c) {
        Transport *t;
        pthread_t thread;
        bool inside, joins;

        if (!c)
                return NULL;
        core_lock(c);
        inside = c->dispatching && pthread_equal(c->dispatcher, pthread_self());
        wake_everybody(c);
        t = connection_take(c, "the client is being freed");
        thread = c->thread;
        joins = c->has_thread && !inside;
        if (inside && c->has_thread)
                (void) pthread_detach(c->thread);
        if (inside)
                c->free_in_callback = true; /* dispatch() does the rest when the callback returns */
        core_unlock(c);
        (void) transport_free(t, FREE_WAIT_SEC * USEC_PER_SEC);
        if (inside)
                return NULL;
        if (joins)
                (void) pthread_join(thread, NULL);
        core_lock(c);
        while (c->dispatching)
                (void) pthread_cond_wait(&c->changed, &c->lock);
        wait_for_others(c);
        core_unlock(c);
        core_release(c);
        return NULL;
}
