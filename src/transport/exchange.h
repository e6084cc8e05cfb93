/* SPDX-License-Identifier: Apache-2.0 */
/* All that the owner's thread and the network thread share: events one way, publications and orders the other, each way
 * with a descriptor that becomes readable. Every member is behind the lock; nobody waits inside it. */
#pragma once

#include "transport/settings.h"
#include "transport/transport.h"

typedef struct Event {
        struct Event *next;
        TransportEvent public;
        uint64_t connection; /* which connection an ONLINE event speaks of */
        size_t bytes;        /* what it counts against TRANSPORT_QUEUE_BYTES_MAX */
        char data[];
} Event;

typedef struct Publication {
        struct Publication *next;
        const char *topic; /* inside data, as is the payload */
        const char *payload;
        size_t len;
        size_t bytes; /* what it counts against TRANSPORT_OUT_BYTES_MAX */
        char data[];
} Publication;

typedef struct Orders { /* from the owner to the network thread */
        bool stop;
        uint64_t stop_by_usec; /* CLOCK_BOOTTIME */
        Settings *settings;    /* new ones, or NULL; the taker owns them */
        bool reconnect;
} Orders;

typedef struct Exchange Exchange;

/* Two references: the owner's and the network thread's. The last one to let go frees. */
int exchange_new(Exchange **ret) MUST_USE;
Exchange *exchange_ref(Exchange *x);
Exchange *exchange_unref(Exchange *x);
DEFINE_CLEANUP(Exchange *, exchange_unref)

/* ---- the owner's side ---- */

int exchange_event_fd(const Exchange *x);
Event *
exchange_take_events(Exchange *x); /* the whole list; each one goes back through exchange_event_done() */
void exchange_event_done(Exchange *x, Event *e);
/* As transport_publish(); `connection` is the one whose ONLINE event the owner has seen. */
int exchange_publish(Exchange *x, uint64_t connection, const char *topic, const void *payload,
                     size_t len) MUST_USE;
void exchange_order_settings(Exchange *x, Settings *settings, bool reconnect); /* takes settings */
/* Tell the thread to stop by then, and wait until it has ended: true, or false after the time. */
bool exchange_order_stop(Exchange *x, uint64_t wait_usec);

/* ---- the network thread's side ---- */

int exchange_wake_fd(const Exchange *x);
void exchange_take_orders(Exchange *x, Orders *ret);
/* Copies everything behind the pointers. 0 or -ENOMEM. */
int exchange_push(Exchange *x, const TransportEvent *e);
/* Too much waits for the owner: do not read on. The wake descriptor becomes readable when there is room again. */
bool exchange_full(Exchange *x);
/* Publications are taken from now on (ONLINE is queued), and no more: what waits is dropped. 0 or -ENOMEM. */
int exchange_set_online(Exchange *x, bool session_present);
void exchange_set_offline(Exchange *x);
bool exchange_publication_waits(Exchange *x);
Publication *exchange_take_publication(Exchange *x); /* NULL = none; caller frees */
void exchange_publication_done(Exchange *x, size_t bytes);
void exchange_set_ended(Exchange *x);
