/* SPDX-License-Identifier: Apache-2.0 */
/* The client itself: its lock, the callbacks that wait to be run, who waits for what. Everything but what is marked is to be
 * called with the lock held, and nothing here runs the caller's code (dispatch.c does).
 *
 * A thread that waits inside a blocking call pumps the connection itself (core_wait), so it needs nobody else to be driven;
 * what comes meanwhile is queued for whoever dispatches. */
#pragma once

#include <iotjobs/client.h>
#include <iotjobs/jobs.h>
#include <pthread.h>

#include "base/error.h"
#include "client/configure.h"
#include "client/offline.h"
#include "client/subs.h"
#include "transport/transport.h"

enum {
        CALLBACK_BYTES_MAX = 4 << 20, /* waiting for dispatch; more: nothing is read, or (while a call waits) dropped */
        CALLBACKS_PER_DISPATCH = 1024,
        FREE_WAIT_SEC = 1, /* for DISCONNECT */
};

typedef enum CallbackType { CALLBACK_MESSAGE, CALLBACK_CONNECTION, CALLBACK_ACK } CallbackType;

typedef struct Callback { /* one that waits to be run */
        struct Callback *next;
        CallbackType type;
        size_t bytes;
        const char *topic, *payload; /* MESSAGE; inside data */
        size_t len;
        IotJobsConnectionEvent event; /* CONNECTION; strings inside data */
        IotJobsAckHandler ack;        /* ACK */
        void *userdata;
        int id, granted;
        char data[];
} Callback;

typedef struct Waiter { /* on the stack of a blocking call */
        struct Waiter *next;
        bool done;
        int result;
        Error *e;         /* may be NULL */
        int fd;           /* raised when done */
        bool for_connect; /* done by ONLINE, failed by OFFLINE */
        bool for_flush;
        bool drained_too; /* of for_flush: the offline queue as well */
} Waiter;

typedef struct Ack { /* somebody who wants to know what SUBACK said */
        struct Ack *next;
        unsigned sub;
        int id;
        IotJobsAckHandler handler; /* NULL: none */
        void *userdata;
        Waiter *waiter; /* or this */
        uint64_t by;    /* shared handle: USEC_NEVER, or when it is given up */
} Ack;

typedef struct Shared Shared; /* shared.h */

struct IotJobsClient {
        pthread_mutex_t lock;
        pthread_cond_t changed; /* broadcast when a count below, or dispatching, falls; CLOCK_MONOTONIC */
        Configuration config;

        /* Descriptors: poll_fd is the caller's, and holds net_fd and wake_fd; net_fd holds the transport's. */
        int poll_fd, net_fd, wake_fd;
        bool woken;

        Transport *transport; /* from connect to disconnect */
        Shared *handle;       /* or this, for life */
        bool online;
        unsigned outstanding;  /* publications without PUBACK on this connection */
        bool heeds_pubacks;    /* PUBACKs wake us: somebody waits for them */
        unsigned last_publish; /* id */

        Subs subs;
        Ack *acks;
        int last_ack_id;
        OfflineQueue offline;

        char token_prefix[24];
        uint64_t token_count;

        Callback *first_callback, **callback_tail;
        size_t callback_bytes;
        size_t dropped_messages; /* for want of room, not told yet */
        IotJobsConnectionHandler connection_handler;
        void *connection_userdata;

        Waiter *waiters;
        unsigned inside;  /* threads in blocking calls */
        unsigned reapers; /* threads that say goodbye on an old transport */
        unsigned reading; /* threads that look at the files without the lock; the configuration stays as it is meanwhile */

        bool has_thread, polled; /* who drives */
        pthread_t thread;
        bool dispatching;
        pthread_t dispatcher;
        bool freed, free_in_callback;
};

/* Without the lock. */
int core_new(const IotJobsOptions *options, bool shared, IotJobsClient **ret, Error *e) MUST_USE;
void core_lock(IotJobsClient *c);
/* The same for who changes the configuration, or what comes of it: waits until nobody reads the files. */
void core_lock_settled(IotJobsClient *c);
void core_unlock(IotJobsClient *c);

void core_release(IotJobsClient *c); /* without the lock, and for good */
void core_fd_lower(int fd);

void core_wake(IotJobsClient *c); /* make whoever polls look again */
/* Queue a callback. Strings and payload are copied. Nothing happens where there is no memory for it. */
void core_push_connection(IotJobsClient *c, const IotJobsConnectionEvent *event);
void core_push_message(IotJobsClient *c, const char *topic, const void *payload, size_t len);
void core_push_ack(IotJobsClient *c, const Ack *ack, int granted);
void core_push_dropped(IotJobsClient *c, const char *topic, const char *text);
/* What was thrown away for want of room, once there is room to say so. */
void core_tell_dropped(IotJobsClient *c);

/* Take what the connection has to tell, and do what is due. */
void core_pump(IotJobsClient *c);
/* CLOCK_BOOTTIME in microseconds of the next thing that is due without the connection; USEC_NEVER = none. */
uint64_t core_deadline(IotJobsClient *c);
/* For poll(): rounded up, -1 = for ever. */
int core_msec_until(uint64_t at, uint64_t now);

/* A blocking call: begin, wait, end. 0; -ENFILE and the like where a descriptor is wanting. */
int core_wait_begin(IotJobsClient *c, Waiter *w, Error *e) MUST_USE;
/* Lets go of the lock while it sleeps. w->result, with its text in *w->e (-ECANCELED: the client is being freed); or
 * -ETIMEDOUT and w is not done: the caller knows what was waited for. */
int core_wait(IotJobsClient *c, Waiter *w, uint64_t until) MUST_USE;
void core_wait_end(IotJobsClient *c, Waiter *w);
void core_waiter_finish(Waiter *w, int result, const char *text);
/* Everybody who waits for the connection: it is up (0), or it is not (negative errno). */
void core_finish_connect(IotJobsClient *c, int result, const char *text);
/* Let PUBACKs wake us only while somebody waits for them. */
void core_heed_pubacks(IotJobsClient *c);
void core_finish_flush(IotJobsClient *c, int result);
bool core_connect_waits(const IotJobsClient *c);

/* connection.c: the own transport */
void connection_pump(IotJobsClient *c);
/* Let go of the transport: the caller frees it, without the lock. NULL where there is none. */
Transport *connection_take(IotJobsClient *c, const char *why);
int connection_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) MUST_USE;

/* requests.c */
void requests_drain(IotJobsClient *c, uint64_t now);
/* Hand to whatever the client lives on. 0, -ENOTCONN, -ENOBUFS, -ENOMEM, -E2BIG, -EIO. */
int requests_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) MUST_USE;

/* subscriptions.c */
/* SUBACK's answer for this subscription: granted QoS, or >= 128. What was never granted and is refused goes. */
void subscriptions_answered(IotJobsClient *c, Sub *sub, int code, const char *text);
/* No answer will come on this connection. Whoever waits inside a call is told so, and a subscription that only such calls
 * wanted goes. `acks_too`: also those who wait for a callback. */
void subscriptions_fail(IotJobsClient *c, Sub *sub, int result, const char *text, bool acks_too);
