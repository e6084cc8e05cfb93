/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the library share: clients on a loopback broker, driven in each of the three ways, and what they hear. */
#pragma once

#include <iotjobs/iotjobs.h>
#include <iotjobs/sd-event.h>
#include <pthread.h>

#include "transport-rig.h"
#include "unit.h"

#define JOBS "$aws/things/lamp/jobs/"

typedef enum Drive { DRIVE_POLL, DRIVE_THREAD, DRIVE_SD_EVENT, DRIVE_COUNT } Drive;

enum { HEARD_MAX = 64 };

typedef struct Heard { /* one message or connection event, copied */
        bool is_message;
        IotJobsTopicType type;
        IotJobsReplyType reply;
        IotJobsConnectionEventType event;
        char topic[300], text[600];
        int64_t retry_ms;
} Heard;

typedef struct Ears { /* filled by callbacks in whatever thread, looked at by the test's */
        pthread_mutex_t lock;
        Heard heard[HEARD_MAX];
        size_t n, taken;
        int acks, last_granted, last_id;
} Ears;

typedef struct Lib { /* a client and its driver */
        IotJobsClient *c;
        Drive drive;
        sd_event *loop;
        IotJobsSdEvent glue;
        Ears ears;
} Lib;

static inline UNUSED void ears_add(Ears *ears, const Heard *h) {
        (void) pthread_mutex_lock(&ears->lock);
        ears->heard[ears->n++ % HEARD_MAX] = *h;
        (void) pthread_mutex_unlock(&ears->lock);
}

static inline UNUSED void lib_on_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Heard h = { .is_message = true, .type = m->type, .reply = m->reply };

        (void) c;
        (void) snprintf(h.topic, sizeof h.topic, "%s", m->topic);
        (void) snprintf(h.text, sizeof h.text, "%.*s", (int) m->payload_len, (const char *) m->payload);
        ears_add(userdata, &h);
}

static inline UNUSED void lib_on_connection(IotJobsClient *c, const IotJobsConnectionEvent *event, void *userdata) {
        Heard h = { .event = event->type, .retry_ms = event->retry_ms };

        (void) c;
        ck_assert_ptr_nonnull(event->text);
        (void) snprintf(h.topic, sizeof h.topic, "%s", event->topic ? event->topic : "");
        (void) snprintf(h.text, sizeof h.text, "%s", event->text);
        ears_add(userdata, &h);
}

static inline UNUSED void lib_on_ack(IotJobsClient *c, int id, int granted, void *userdata) {
        Ears *ears = userdata;

        (void) c;
        (void) pthread_mutex_lock(&ears->lock);
        ears->acks++;
        ears->last_granted = granted;
        ears->last_id = id;
        (void) pthread_mutex_unlock(&ears->lock);
}

/* Let callbacks run, for at most this long. */
static inline UNUSED void lib_turn(Lib *l, int ms) {
        switch (l->drive) {
        case DRIVE_POLL: {
                struct pollfd p = { .fd = iotjobs_client_fd(l->c), .events = iotjobs_client_events(l->c) };
                int own = iotjobs_client_timeout(l->c);

                (void) poll(&p, 1, own >= 0 && own < ms ? own : ms);
                ck_assert_int_ge(iotjobs_client_dispatch(l->c), 0);
                return;
        }
        case DRIVE_SD_EVENT:
                ck_assert_int_ge(sd_event_run(l->loop, (uint64_t) ms * 1000), 0);
                return;
        case DRIVE_THREAD:
        case DRIVE_COUNT:
                (void) poll(NULL, 0, MIN_OF(ms, 2));
                return;
        }
}

static inline UNUSED void lib_adopt(Lib *l, IotJobsClient *c, Drive drive) {
        IotJobsError e = { 0 };

        *l = (Lib){ .c = c, .drive = drive };
        (void) pthread_mutex_init(&l->ears.lock, NULL);
        iotjobs_client_set_connection_handler(l->c, lib_on_connection, &l->ears);
        if (drive == DRIVE_THREAD)
                ck_assert_msg(iotjobs_client_start_thread(l->c, &e) == 0, "%s", e.text);
        if (drive == DRIVE_SD_EVENT) {
                ck_assert_int_ge(sd_event_new(&l->loop), 0);
                ck_assert_int_eq(iotjobs_sd_event_attach(&l->glue, l->c, l->loop, SD_EVENT_PRIORITY_NORMAL), 0);
        }
}

static inline UNUSED IotJobsOptions lib_options(void) {
        IotJobsOptions o = iotjobs_options_default("unit", "lamp");

        o.qos = 1;
        return o;
}

/* A client for the broker on this port, not connected. */
static inline UNUSED void lib_open(Lib *l, const IotJobsOptions *o, uint16_t port, Drive drive) {
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };

        ck_assert_msg(iotjobs_client_new(o, &c, &e) == 0, "%s", e.text);
        ck_assert_msg(iotjobs_client_configure_endpoint(c, "127.0.0.1", port, &e) == 0, "%s", e.text);
        ck_assert_int_eq(iotjobs_client_configure_plaintext(c, true, &e), 0);
        ck_assert_int_eq(iotjobs_client_configure_reconnect(c, 1, 1, 3600, &e), 0);
        lib_adopt(l, c, drive);
}

static inline UNUSED void lib_close(Lib *l) {
        if (l->drive == DRIVE_SD_EVENT && l->loop) {
                iotjobs_sd_event_detach(&l->glue);
                l->loop = sd_event_unref(l->loop);
        }
        l->c = iotjobs_client_free(l->c);
        (void) pthread_mutex_destroy(&l->ears.lock);
}

/* The broker may still be on its way up. */
static inline UNUSED void lib_connect(Lib *l) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;
        IotJobsError e = { 0 };
        int r;

        do {
                r = iotjobs_client_connect(l->c, &e);
                if (r == -ECONNREFUSED)
                        (void) poll(NULL, 0, 10);
        } while (r == -ECONNREFUSED && clock_boottime_usec() < until);
        ck_assert_msg(r == 0, "%d %s", r, e.text);
}

static inline UNUSED bool lib_take(Lib *l, Heard *ret) {
        bool some;

        (void) pthread_mutex_lock(&l->ears.lock);
        some = l->ears.taken < l->ears.n;
        if (some)
                *ret = l->ears.heard[l->ears.taken++ % HEARD_MAX];
        (void) pthread_mutex_unlock(&l->ears.lock);
        return some;
}

static inline UNUSED Heard lib_next(Lib *l) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;
        Heard h = { 0 };
        bool some;

        while (!(some = lib_take(l, &h)) && clock_boottime_usec() < until)
                lib_turn(l, 50);
        ck_assert_msg(some, "nothing was heard");
        return h;
}

static inline UNUSED Heard lib_expect_event(Lib *l, IotJobsConnectionEventType type) {
        Heard h = lib_next(l);

        ck_assert_msg(!h.is_message && h.event == type, "heard %s %d: %s %s, expected event %d",
                      h.is_message ? "message" : "event", (int) h.event, h.topic, h.text, (int) type);
        return h;
}

static inline UNUSED Heard lib_expect_message(Lib *l, const char *topic) {
        Heard h = lib_next(l);

        ck_assert_msg(h.is_message, "heard event %d: %s", (int) h.event, h.text);
        ck_assert_str_eq(h.topic, topic);
        return h;
}

static inline UNUSED void lib_expect_online(Lib *l) {
        Heard h;

        do {
                h = lib_next(l);
        } while (!h.is_message && h.event == IOTJOBS_CONNECTION_OFFLINE);
        ck_assert(!h.is_message);
        ck_assert_int_eq((int) h.event, IOTJOBS_CONNECTION_ONLINE);
}

static inline UNUSED int lib_acks(Lib *l) {
        int n;

        (void) pthread_mutex_lock(&l->ears.lock);
        n = l->ears.acks;
        (void) pthread_mutex_unlock(&l->ears.lock);
        return n;
}

static inline UNUSED void lib_wait_acks(Lib *l, int n) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;

        while (lib_acks(l) < n && clock_boottime_usec() < until)
                lib_turn(l, 50);
        ck_assert_int_eq(lib_acks(l), n);
}

/* ---- a Rig that plays the service: hears every request, says what it is told ---- */

static inline UNUSED void service_open(Rig *service) {
        static const char *const filters[] = { JOBS "#", NULL };
        TransportConfig config = rig_config(rig_broker_port);

        config.client_id = "service";
        config.filters = filters;
        rig_open(service, &config);
        rig_expect_online(service);
}

static inline UNUSED void service_say(Rig *service, const char *topic, const char *payload) {
        ck_assert_int_eq(transport_publish(service->t, topic, payload, strlen(payload)), 0);
        rig_expect_message(service, topic, payload); /* it hears itself */
}
