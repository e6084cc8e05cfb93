/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/core.h"
#include "client/names.h"
#include "client/shared.h"
#include "proto/types.h"

/* ---- who wants to know ---- */

/* Take the next ack of this subscription out of the list; NULL = none. */
static Ack *take_ack(IotJobsClient *c, unsigned sub, bool waiters_only) {
        for (Ack **at = &c->acks; *at; at = &(*at)->next) {
                Ack *ack = *at;

                if (ack->sub != sub || (waiters_only && !ack->waiter))
                        continue;
                *at = ack->next;
                return ack;
        }
        return NULL;
}

static bool has_ack(const IotJobsClient *c, unsigned sub) {
        for (const Ack *ack = c->acks; ack; ack = ack->next)
                if (ack->sub == sub)
                        return true;
        return false;
}

/* result: the granted QoS, 128 and above, or negative errno. */
static void answer(IotJobsClient *c, Ack *ack, int result, const char *text) {
        if (ack->waiter)
                core_waiter_finish(ack->waiter, result >= 128 ? -EACCES : MIN_OF(result, 0), text);
        else if (ack->handler)
                core_push_ack(c, ack, result);
        free(ack);
}

static void answer_all(IotJobsClient *c, unsigned sub, int result, const char *text, bool waiters_only) {
        for (;;) {
                Ack *ack = take_ack(c, sub, waiters_only);

                if (!ack)
                        return;
                answer(c, ack, result, text);
        }
}

void subscriptions_answered(IotJobsClient *c, Sub *sub, int code, const char *text) {
        char why[512];

        if (code < 128) {
                sub->state = SUB_GRANTED;
                sub->granted = code;
                sub->kept = true;
                answer_all(c, sub->id, code, NULL, false);
                return;
        }
        sub->state = SUB_REFUSED;
        (void) snprintf(why, sizeof why, "%s: %s", sub->filter, text ? text : "the broker refused the subscription");
        answer_all(c, sub->id, code, why, false);
        if (sub->kept || sub->required)
                core_push_connection(c, &(IotJobsConnectionEvent){ .type = IOTJOBS_CONNECTION_REFUSED,
                                                                   .topic = sub->filter,
                                                                   .text = text ? text : "refused",
                                                                   .retry_ms = -1 });
        else
                subs_remove(&c->subs, sub);
}

static void forget(IotJobsClient *c, Sub *sub) {
        /* -ENOENT: the broker has refused it, and the transport does not keep it either. */
        if (c->transport && transport_unsubscribe(c->transport, sub->filter) < 0)
                sub->state = SUB_REFUSED;
        subs_remove(&c->subs, sub);
}

void subscriptions_fail(IotJobsClient *c, Sub *sub, int result, const char *text, bool acks_too) {
        char why[512];

        (void) snprintf(why, sizeof why, "%s: %s", sub->filter, text);
        answer_all(c, sub->id, result, why, !acks_too);
        sub->state = SUB_WANTED;
        if (!sub->kept && !sub->required && !has_ack(c, sub->id))
                forget(c, sub);
}

/* ---- making one ---- */

typedef struct Wanted {
        IotJobsMessageHandler handler;
        void *userdata;
        IotJobsTopicType type;
        IotJobsReplyType reply;
        char filter[IOTJOBS_TOPIC_MAX];
} Wanted;

/* The filter, as the mode has it. SDK v1 tells "no job id" from "an empty one", takes the reply type UNRECOGNIZED for
 * REQUEST, and needs a job id where we take its absence for "every job". */
static int make_filter(const IotJobsClient *c, Wanted *w, const char *job_id, Error *e) {
        bool of_job = w->type == IOTJOBS_TOPIC_DESCRIBE || w->type == IOTJOBS_TOPIC_UPDATE;
        bool v1 = c->config.v1, notice = w->type == IOTJOBS_TOPIC_NOTIFY || w->type == IOTJOBS_TOPIC_NOTIFY_NEXT;

        if (w->type == IOTJOBS_TOPIC_WILDCARD)
                job_id = NULL;
        else if (v1 && job_id && job_id[0] == '\0')
                return error_set(e, EINVAL, "job id: empty, expected 1 to %d of a-z A-Z 0-9 _ - (v1 mode)", LIMIT_JOB_ID);
        else if (!v1 && of_job && (!job_id || job_id[0] == '\0'))
                job_id = "+";
        if (v1 && w->reply == IOTJOBS_REPLY_UNRECOGNIZED && !notice)
                w->reply = IOTJOBS_REPLY_REQUEST;
        return iotjobs_topic_format(c->config.thing, w->type, w->reply, job_id, w->filter, (IotJobsError *) e);
}

/* Tell whatever the client lives on. */
static int ask(IotJobsClient *c, Sub *sub, Error *e) {
        char filter[IOTJOBS_TOPIC_MAX];
        int r = 0;

        memcpy(filter, sub->filter, sizeof filter); /* *sub may go while the lock is open */
        if (c->handle)
                r = shared_subscribe(c, sub->id);
        else if (c->transport) {
                r = transport_subscribe(c->transport, sub->id, sub->filter);
                if (r == 0)
                        sub->state = SUB_ASKED;
        }
        return r < 0 ? error_errno(e, -r, "subscription %s", filter) : 0;
}

static int add_sub(IotJobsClient *c, const Wanted *w, bool required, Sub **ret, Error *e) {
        int r = subs_add(&c->subs, w->filter, ret);

        if (r == -ENOSPC)
                return error_set(e, ENOSPC, "subscription %s: there are %d already, and no more are taken", w->filter,
                                 SUBS_MAX);
        if (r < 0)
                return error_errno(e, -r, "subscription %s", w->filter);
        (*ret)->type = w->type;
        (*ret)->reply = w->reply;
        (*ret)->handler = w->handler;
        (*ret)->userdata = w->userdata;
        (*ret)->required = required;
        return 0;
}

/* Takes `ack`. The subscription's ack id, or 0 while there is no connection to ask. */
static int subscribe(IotJobsClient *c, const Wanted *w, Ack *ack, Error *e) {
        Sub *sub = subs_find(&c->subs, w->filter);
        bool fresh = !sub;
        unsigned id;
        int r;

        if (fresh) {
                r = add_sub(c, w, false, &sub, e);
                if (r < 0) {
                        free(ack);
                        return r;
                }
        }
        id = ack->sub = sub->id;
        ack->next = c->acks;
        c->acks = ack;
        if (!fresh) {
                sub->handler = w->handler;
                sub->userdata = w->userdata;
                if (sub->state == SUB_GRANTED)
                        answer_all(c, id, sub->granted, NULL, false);
                return 0;
        }
        r = ask(c, sub, e);
        if (r == 0)
                return 0;
        sub = subs_find_id(&c->subs, id);
        free(take_ack(c, id, false));
        if (sub)
                subs_remove(&c->subs, sub);
        return r;
}

static uint64_t operation_timeout(const IotJobsClient *c) {
        return (uint64_t) c->config.operation_timeout * USEC_PER_SEC;
}

static int begin(IotJobsClient *c, Wanted *w, const char *job_id, Error *e) {
        int r;

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        if (!w->handler)
                return error_set(e, EINVAL, "handler: missing");
        r = make_filter(c, w, job_id, e);
        if (r == 0)
                core_lock(c);
        return r;
}

static bool connected(const IotJobsClient *c) {
        return c->handle ? shared_connected(c) : c->online;
}

static int subscribe_and_wait(IotJobsClient *c, const Wanted *w, Error *e) {
        Waiter waiter = { .e = e };
        Ack *ack = calloc(1, sizeof *ack);
        Sub *sub;
        int r = ack ? core_wait_begin(c, &waiter, e) : error_errno(e, ENOMEM, "subscription %s", w->filter);

        if (r < 0) {
                free(ack);
                return r;
        }
        *ack = (Ack){ .waiter = &waiter, .by = USEC_NEVER };
        r = subscribe(c, w, ack, e);
        if (r == 0)
                r = core_wait(c, &waiter, clock_boottime_usec() + operation_timeout(c));
        if (r == -ETIMEDOUT && !waiter.done) {
                (void) error_set(e, ETIMEDOUT, "%s: no SUBACK after %d s", w->filter, c->config.operation_timeout);
                waiter.done = true;
                waiter.e = NULL;
        }
        for (Ack **at = &c->acks; *at;) { /* it points to this stack */
                Ack *mine = *at;

                if (mine->waiter != &waiter) {
                        at = &mine->next;
                        continue;
                }
                *at = mine->next;
                sub = subs_find_id(&c->subs, mine->sub);
                free(mine);
                if (sub && !sub->kept && !sub->required && !has_ack(c, sub->id))
                        forget(c, sub);
                break;
        }
        core_wait_end(c, &waiter);
        return r;
}

int iotjobs_client_create_job_subscription(IotJobsClient *c, IotJobsMessageHandler handler, void *userdata,
                                           IotJobsTopicType type, IotJobsReplyType reply, const char *job_id,
                                           IotJobsError *error) {
        Wanted w = { .handler = handler, .userdata = userdata, .type = type, .reply = reply };
        Error *e = error_of(error);
        int r = begin(c, &w, job_id, e);

        if (r < 0)
                return r;
        core_pump(c);
        if (c->freed)
                r = error_set(e, ECANCELED, "%s: the client is being freed", w.filter);
        else if (!connected(c))
                r = error_set(e, ENOTCONN, "%s: not connected", w.filter);
        else
                r = subscribe_and_wait(c, &w, e);
        core_unlock(c);
        return r;
}

int iotjobs_client_create_job_subscription_async(IotJobsClient *c, IotJobsAckHandler ack, IotJobsMessageHandler handler,
                                                 void *userdata, IotJobsTopicType type, IotJobsReplyType reply,
                                                 const char *job_id, IotJobsError *error) {
        Wanted w = { .handler = handler, .userdata = userdata, .type = type, .reply = reply };
        Error *e = error_of(error);
        Ack *who;
        int r = begin(c, &w, job_id, e), id = 0;

        if (r < 0)
                return r;
        who = calloc(1, sizeof *who);
        if (!who) {
                core_unlock(c);
                return error_errno(e, ENOMEM, "subscription %s", w.filter);
        }
        if (connected(c)) {
                c->last_ack_id = c->last_ack_id % UINT16_MAX + 1;
                id = c->last_ack_id;
        }
        *who = (Ack){ .id = id,
                      .handler = ack,
                      .userdata = userdata,
                      .by = c->handle && id > 0 ? clock_boottime_usec() + operation_timeout(c) : USEC_NEVER };
        r = subscribe(c, &w, who, e);
        core_wake(c);
        core_unlock(c);
        return r < 0 ? r : id;
}

/* ---- and taking it back ---- */

int iotjobs_client_remove_job_subscription(IotJobsClient *c, IotJobsTopicType type, IotJobsReplyType reply,
                                           const char *job_id, IotJobsError *error) {
        Wanted w = { .type = type, .reply = reply };
        Error *e = error_of(error);
        Sub *sub;
        int r;

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        r = make_filter(c, &w, job_id, e);
        if (r < 0)
                return r;
        core_lock(c);
        sub = subs_find(&c->subs, w.filter);
        if (!sub)
                r = error_set(e, ENOENT, "%s: no such subscription", w.filter);
        else if (sub->required)
                r = error_set(e, EBUSY, "%s: is one of iotjobs_client_subscribe_all()", w.filter);
        else {
                answer_all(c, sub->id, -ECANCELED, "the subscription was removed", false);
                forget(c, sub);
                if (c->handle)
                        shared_unsubscribe(c, w.filter);
        }
        core_unlock(c);
        return r;
}

/* ---- everything ---- */

static const struct {
        IotJobsTopicType type;
        IotJobsReplyType reply;
} everything[] = {
        { IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST },       { IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST },
        { IOTJOBS_TOPIC_GET_PENDING, IOTJOBS_REPLY_ACCEPTED }, { IOTJOBS_TOPIC_GET_PENDING, IOTJOBS_REPLY_REJECTED },
        { IOTJOBS_TOPIC_START_NEXT, IOTJOBS_REPLY_ACCEPTED },  { IOTJOBS_TOPIC_START_NEXT, IOTJOBS_REPLY_REJECTED },
        { IOTJOBS_TOPIC_DESCRIBE, IOTJOBS_REPLY_ACCEPTED },    { IOTJOBS_TOPIC_DESCRIBE, IOTJOBS_REPLY_REJECTED },
        { IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED },      { IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_REJECTED },
};

static int require(IotJobsClient *c, Wanted *w, Error *e) {
        bool of_job = w->type == IOTJOBS_TOPIC_DESCRIBE || w->type == IOTJOBS_TOPIC_UPDATE;
        int r = make_filter(c, w, of_job ? "+" : NULL, e);
        Sub *sub = r == 0 ? subs_find(&c->subs, w->filter) : NULL;

        if (r < 0)
                return r;
        if (!sub)
                return add_sub(c, w, true, &sub, e);
        sub->handler = w->handler;
        sub->userdata = w->userdata;
        sub->required = true;
        return 0;
}

int iotjobs_client_subscribe_all(IotJobsClient *c, IotJobsMessageHandler handler, void *userdata,
                                 IotJobsError *error) {
        Error *e = error_of(error);
        int r = 0;

        if (!c || !handler)
                return error_set(e, EINVAL, c ? "handler: missing" : "client: missing");
        core_lock_settled(c);
        if (c->transport || (c->handle && shared_connected(c)))
                r = error_set(e, EISCONN, "subscribe to everything: connected already; call it before connecting");
        for (size_t i = 0; i < ELEMENTSOF(everything) && r == 0; i++) {
                Wanted w = { .handler = handler,
                             .userdata = userdata,
                             .type = everything[i].type,
                             .reply = everything[i].reply };

                r = require(c, &w, e);
        }
        core_unlock(c);
        return r;
}
