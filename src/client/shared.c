/* SPDX-License-Identifier: Apache-2.0 */
#include "client/shared.h"

#include <errno.h>
#include <iotjobs/mosquitto.h>
#include <mosquitto.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/names.h"
#include "proto/topic.h"

enum {
        FILTERS_PER_SUBSCRIBE = 8, /* more, and AWS closes the connection */
        MIDS = UINT16_MAX + 1,
        REFUSED_RETRY_SEC = 60, /* a refused filter is asked for again after this, doubling … */
        REFUSED_RETRY_MAX_SEC = 1024,
};

struct Shared {
        struct mosquitto *mosq; /* the caller's */
        bool connected;

        /* A call into libmosquitto under way: by which thread, and the packet id it was given. libmosquitto writes that id
         * before it sends, so a callback out of the same call can be told. Calls of one thread may nest. */
        pthread_t caller;
        unsigned depth;
        int *mid;

        unsigned char published[MIDS / 8]; /* packet ids of publications that are not acknowledged */
        uint64_t ask_again_at;             /* for what was refused; USEC_NEVER = nothing was */
        uint64_t ask_again_delay;
        bool told_online;
};

/* ---- calls into libmosquitto, with the lock open ---- */

typedef struct Call {
        int mid;
        int *outer;
} Call;

static bool calls_myself(const Shared *s) {
        return s->depth > 0 && pthread_equal(s->caller, pthread_self());
}

static void call_begin(IotJobsClient *c, Call *call) {
        Shared *s = c->handle;

        while (s->depth > 0 && !calls_myself(s))
                (void) pthread_cond_wait(&c->changed, &c->lock);
        *call = (Call){ .mid = 0, .outer = s->mid };
        s->caller = pthread_self();
        s->depth++;
        s->mid = &call->mid;
        c->inside++;
        core_unlock(c);
}

static void call_end(IotJobsClient *c, const Call *call) {
        Shared *s;

        core_lock(c);
        s = c->handle;
        s->mid = call->outer;
        s->depth--;
        c->inside--;
        (void) pthread_cond_broadcast(&c->changed);
}

/* For what is forwarded: the packet id of another thread's call is known when that call is over. */
static void wait_for_call(IotJobsClient *c) {
        while (c->handle->depth > 0 && !calls_myself(c->handle))
                (void) pthread_cond_wait(&c->changed, &c->lock);
}

static int error_of_rc(int rc) {
        switch (rc) {
        case MOSQ_ERR_SUCCESS:
                return 0;
        case MOSQ_ERR_NO_CONN:
        case MOSQ_ERR_CONN_LOST:
                return -ENOTCONN;
        case MOSQ_ERR_NOMEM:
                return -ENOMEM;
        case MOSQ_ERR_PAYLOAD_SIZE:
        case MOSQ_ERR_OVERSIZE_PACKET:
                return -E2BIG;
        default:
                return -EIO;
        }
}

/* ---- publications ---- */

static bool mid_test(const Shared *s, int mid) {
        return mid > 0 && mid < MIDS && (s->published[mid / 8] & 1U << mid % 8);
}

static void mid_set(IotJobsClient *c, int mid) {
        Shared *s = c->handle;

        if (mid <= 0 || mid >= MIDS || mid_test(s, mid))
                return;
        s->published[mid / 8] |= (unsigned char) (1U << mid % 8);
        c->outstanding++;
}

static void mid_clear(IotJobsClient *c, int mid) {
        Shared *s = c->handle;

        s->published[mid / 8] &= (unsigned char) ~(1U << mid % 8);
        if (c->outstanding > 0)
                c->outstanding--;
        if (c->outstanding == 0)
                core_finish_flush(c, 0);
}

int shared_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) {
        Shared *s = c->handle;
        Call call;
        int rc;

        if (!s->connected)
                return -ENOTCONN;
        call_begin(c, &call);
        rc = mosquitto_publish(s->mosq, &call.mid, topic, (int) len, payload, c->config.qos, false);
        call_end(c, &call);
        /* Negative: its on_publish came out of the very call. */
        if (rc == MOSQ_ERR_SUCCESS && call.mid > 0 && s->connected)
                mid_set(c, call.mid);
        return error_of_rc(rc);
}

/* ---- subscriptions ---- */

static bool required_granted(const IotJobsClient *c) {
        for (size_t i = 0; i < c->subs.n; i++)
                if (c->subs.list[i]->required && c->subs.list[i]->state != SUB_GRANTED)
                        return false;
        return true;
}

/* ONLINE is told when every SUBACK is there, and none that is required was refused. */
static void conclude(IotJobsClient *c) {
        Shared *s = c->handle;
        bool refused = false;

        for (size_t i = 0; i < c->subs.n; i++) {
                if (!s->told_online && (c->subs.list[i]->state == SUB_ASKED || c->subs.list[i]->state == SUB_WANTED))
                        return;
                refused |= c->subs.list[i]->state == SUB_REFUSED;
        }
        if (refused && s->ask_again_at == USEC_NEVER) {
                s->ask_again_delay = s->ask_again_delay == 0 ? REFUSED_RETRY_SEC * USEC_PER_SEC
                                                             : MIN_OF(s->ask_again_delay * 2,
                                                                      REFUSED_RETRY_MAX_SEC * USEC_PER_SEC);
                s->ask_again_at = clock_boottime_usec() + s->ask_again_delay;
                core_wake(c);
        }
        if (s->told_online || !s->connected || !required_granted(c))
                return;
        s->told_online = c->online = true;
        core_push_connection(c, &(IotJobsConnectionEvent){
                                        .type = IOTJOBS_CONNECTION_ONLINE, .text = "connected", .retry_ms = -1 });
}

static void set_asked(IotJobsClient *c, unsigned id, int mid, int rc) {
        Sub *sub = subs_find_id(&c->subs, id);

        if (!sub)
                return;
        if (rc == MOSQ_ERR_SUCCESS) {
                sub->state = SUB_ASKED;
                sub->mid = mid;
        } else
                sub->state = SUB_WANTED;
}

/* At most eight filters in one packet. */
static int ask_for(IotJobsClient *c, const unsigned *ids, size_t n) {
        char copies[FILTERS_PER_SUBSCRIBE][IOTJOBS_TOPIC_MAX];
        char *filters[FILTERS_PER_SUBSCRIBE];
        Call call;
        int rc;

        for (size_t i = 0; i < n; i++) {
                const Sub *sub = subs_find_id(&c->subs, ids[i]);

                memcpy(copies[i], sub->filter, sizeof copies[i]);
                filters[i] = copies[i];
        }
        call_begin(c, &call);
        rc = mosquitto_subscribe_multiple(c->handle->mosq, &call.mid, (int) n, filters, c->config.qos, 0, NULL);
        call_end(c, &call);
        for (size_t i = 0; i < n; i++)
                set_asked(c, ids[i], call.mid, rc);
        return error_of_rc(rc);
}

static void ask_for_all(IotJobsClient *c, SubState state) {
        unsigned ids[SUBS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < c->subs.n; i++)
                if (c->subs.list[i]->state == state)
                        ids[n++] = c->subs.list[i]->id;
        for (size_t at = 0; at < n && c->handle->connected;) {
                unsigned some[FILTERS_PER_SUBSCRIBE];
                size_t k = 0;

                for (; at < n && k < FILTERS_PER_SUBSCRIBE; at++)
                        if (subs_find_id(&c->subs, ids[at])) /* the lock was open */
                                some[k++] = ids[at];
                if (k > 0 && ask_for(c, some, k) < 0)
                        return; /* its reason is forwarded as a disconnection */
        }
}

int shared_subscribe(IotJobsClient *c, unsigned sub_id) {
        if (!c->handle->connected)
                return 0;
        return ask_for(c, &sub_id, 1);
}

void shared_unsubscribe(IotJobsClient *c, const char *filter) {
        Call call;

        if (!c->handle->connected)
                return;
        call_begin(c, &call);
        (void) mosquitto_unsubscribe(c->handle->mosq, &call.mid, filter);
        call_end(c, &call);
}

bool shared_connected(const IotJobsClient *c) {
        return c->handle->connected;
}

/* ---- time ---- */

void shared_tick(IotJobsClient *c, uint64_t now) {
        Shared *s = c->handle;
        Ack *late;

        do {
                late = c->acks;
                while (late && late->by > now)
                        late = late->next;
                if (late) {
                        Sub *sub = subs_find_id(&c->subs, late->sub);

                        late->by = USEC_NEVER;
                        if (sub)
                                subscriptions_fail(c, sub, -ETIMEDOUT, "no SUBACK in time", true);
                }
        } while (late);
        if (s->connected && now >= s->ask_again_at) {
                s->ask_again_at = USEC_NEVER;
                ask_for_all(c, SUB_REFUSED);
        }
}

uint64_t shared_deadline(const IotJobsClient *c) {
        uint64_t at = c->handle->ask_again_at;

        for (const Ack *ack = c->acks; ack; ack = ack->next)
                at = MIN_OF(at, ack->by);
        return at;
}

Shared *shared_free(Shared *s) {
        free(s);
        return NULL;
}

/* ---- what the caller forwards ---- */

static void went_up(IotJobsClient *c) {
        Shared *s = c->handle;

        s->connected = true;
        s->told_online = false;
        s->ask_again_at = USEC_NEVER;
        s->ask_again_delay = 0;
        for (Ack *ack = c->acks; ack; ack = ack->next)
                if (!ack->waiter)
                        ack->by = clock_boottime_usec() + (uint64_t) c->config.operation_timeout * USEC_PER_SEC;
        for (size_t i = 0; i < c->subs.n; i++)
                c->subs.list[i]->state = SUB_WANTED;
        ask_for_all(c, SUB_WANTED);
        conclude(c);
}

static void went_down(IotJobsClient *c, const char *why) {
        Shared *s = c->handle;

        s->connected = s->told_online = c->online = false;
        s->ask_again_at = USEC_NEVER;
        memset(s->published, 0, sizeof s->published);
        c->outstanding = 0;
        core_finish_flush(c, -ENOTCONN);
        for (Ack *ack = c->acks; ack; ack = ack->next)
                ack->by = USEC_NEVER; /* asked for again at the next connect */
        for (size_t i = c->subs.n; i-- > 0;) {
                Sub *sub = c->subs.list[i];

                if (sub->state == SUB_ASKED)
                        subscriptions_fail(c, sub, -ENOTCONN, why, false);
                else
                        sub->state = SUB_WANTED;
        }
        core_push_connection(c, &(IotJobsConnectionEvent){
                                        .type = IOTJOBS_CONNECTION_OFFLINE, .text = why, .retry_ms = -1 });
}

int iotjobs_client_new_on_mosquitto(const IotJobsOptions *options, struct mosquitto *handle, bool connected,
                                    IotJobsClient **ret, IotJobsError *error) {
        Error *e = error_of(error);
        IotJobsClient *c = NULL;
        int r;

        if (!handle)
                return error_set(e, EINVAL, "handle: missing");
        r = core_new(options, true, &c, e);
        if (r < 0)
                return r;
        c->handle = calloc(1, sizeof *c->handle);
        if (!c->handle) {
                core_release(c);
                return error_errno(e, ENOMEM, "client");
        }
        c->handle->mosq = handle;
        c->handle->ask_again_at = USEC_NEVER;
        if (connected) {
                core_lock(c);
                went_up(c);
                core_unlock(c);
        }
        *ret = c;
        return 0;
}

bool iotjobs_client_on_connect(IotJobsClient *c, int rc) {
        if (!c || !c->handle)
                return false;
        core_lock(c);
        if (rc == 0)
                went_up(c);
        else {
                char text[64];

                (void) snprintf(text, sizeof text, "the broker refused the connection (CONNACK %d)", rc);
                went_down(c, text);
        }
        core_unlock(c);
        return true;
}

bool iotjobs_client_on_disconnect(IotJobsClient *c, int rc) {
        char text[96];

        if (!c || !c->handle)
                return false;
        (void) snprintf(text, sizeof text, rc == 0 ? "disconnected by its owner" : "the connection broke: %s",
                        mosquitto_strerror(rc));
        core_lock(c);
        went_down(c, text);
        core_unlock(c);
        return true;
}

bool iotjobs_client_on_message(IotJobsClient *c, const struct mosquitto_message *message) {
        bool ours;

        if (!c || !c->handle || !message || !message->topic)
                return false;
        if (topic_parse(message->topic, c->config.thing).kind == TOPIC_UNRECOGNIZED)
                return false;
        core_lock(c);
        ours = subs_next_match(&c->subs, message->topic, 0) != NULL;
        if (ours && message->retain)
                core_push_dropped(c, message->topic, "retained by the broker, which the Jobs service never asks for");
        else if (ours)
                core_push_message(c, message->topic, message->payload,
                                  message->payloadlen > 0 ? (size_t) message->payloadlen : 0);
        core_unlock(c);
        return ours;
}

bool iotjobs_client_on_subscribe(IotJobsClient *c, int mid, int qos_count, const int *granted_qos) {
        unsigned ids[SUBS_MAX];
        int n = 0;

        if (!c || !c->handle)
                return false;
        core_lock(c);
        wait_for_call(c);
        for (size_t i = 0; i < c->subs.n; i++)
                if (c->subs.list[i]->state == SUB_ASKED && c->subs.list[i]->mid == mid)
                        ids[n++] = c->subs.list[i]->id;
        for (int i = 0; i < n; i++) {
                Sub *sub = subs_find_id(&c->subs, ids[i]);
                char text[64];

                if (i >= qos_count)
                        break;
                (void) snprintf(text, sizeof text, "the broker refused the subscription (SUBACK 0x%02x)",
                                (unsigned) granted_qos[i]);
                subscriptions_answered(c, sub, granted_qos[i], text);
        }
        if (n > 0)
                conclude(c);
        core_unlock(c);
        return n > 0;
}

bool iotjobs_client_on_publish(IotJobsClient *c, int mid) {
        bool ours = false;

        if (!c || !c->handle)
                return false;
        core_lock(c);
        wait_for_call(c);
        if (c->handle->depth > 0 && *c->handle->mid == mid) {
                *c->handle->mid = -mid; /* out of the very call that sends it: done before it is known */
                ours = true;
        } else if (mid_test(c->handle, mid)) {
                mid_clear(c, mid);
                ours = true;
        }
        core_unlock(c);
        return ours;
}
