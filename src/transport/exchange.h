/* SPDX-License-Identifier: Apache-2.0 */
/* All that the owner's thread and the network thread share: events one way, publications, subscriptions and orders the
 * other, each way with a descriptor that becomes readable when the other thread sleeps. Nobody waits inside the lock. */
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
        unsigned id;       /* 0 = no PUBACK event is wanted */
        const char *topic; /* inside data, as is the payload */
        const char *payload;
        size_t topic_len, len;
        size_t bytes; /* what it counts against TRANSPORT_OUT_BYTES_MAX */
        char data[];
} Publication;

typedef struct Subscription { /* made by transport_subscribe() */
        char *filter;
        unsigned id;
        uint64_t serial; /* tells two that come one after the other with the same filter apart; never 0 */
        bool kept;       /* was granted once */
} Subscription;

typedef struct Orders { /* from the owner to the network thread */
        bool stop;
        uint64_t stop_by_usec; /* CLOCK_BOOTTIME */
        Settings *settings;    /* new ones, or NULL; the taker owns them */
        bool reconnect;
        bool subscriptions; /* the list has changed */
} Orders;

typedef struct Exchange Exchange;

/* Two references: the owner's and the network thread's. The last one to let go frees. */
int exchange_new(Exchange **ret) MUST_USE;
Exchange *exchange_ref(Exchange *x);
Exchange *exchange_unref(Exchange *x);
DEFINE_CLEANUP(Exchange *, exchange_unref)

/* ---- the owner's side ---- */

int exchange_event_fd(const Exchange *x);
/* The whole list. From here on the owner counts as awake: new events do not raise the descriptor until it has found the list
 * empty, or calls exchange_rest(). `first`: lower the descriptor. */
Event *exchange_take_events(Exchange *x, bool first);
void exchange_rest(Exchange *x);
/* Events of so many bytes are gone. */
/* As transport_quiet_pubacks(). */
void exchange_quiet_pubacks(Exchange *x, bool quiet);
void exchange_events_done(Exchange *x, size_t bytes);
/* As transport_publish(); `connection` is the one whose ONLINE event the owner has seen. */
int exchange_publish(Exchange *x, uint64_t connection, unsigned id, const char *topic, const void *payload,
                     size_t len) MUST_USE;
/* While corked, publications do not wake the network thread one by one, but as a bunch. */
void exchange_cork(Exchange *x);
void exchange_uncork(Exchange *x);
/* As transport_subscribe() and transport_unsubscribe(); `max`: how many there may be. */
int exchange_subscribe(Exchange *x, unsigned id, const char *filter, size_t max) MUST_USE;
int exchange_unsubscribe(Exchange *x, const char *filter) MUST_USE;
bool exchange_has_subscription(Exchange *x, const char *filter);
size_t exchange_n_subscriptions(Exchange *x);
void exchange_order_settings(Exchange *x, Settings *settings, bool reconnect); /* takes settings */
/* Tell the thread to stop by then, and wait until it has ended: true, or false after the time. */
bool exchange_order_stop(Exchange *x, uint64_t wait_usec);

/* ---- the network thread's side ---- */

int exchange_wake_fd(const Exchange *x);
void exchange_take_orders(Exchange *x, Orders *ret);
/* Copies everything behind the pointers. The owner sees it after exchange_flush(). 0 or -ENOMEM. */
int exchange_push(Exchange *x, const TransportEvent *e);
/* The same for MESSAGE: the topic is not NUL-terminated. */
int exchange_push_message(Exchange *x, const char *topic, size_t topic_len, const void *payload, size_t len,
                          bool retained);
void exchange_flush(Exchange *x);
/* Too much waits for the owner: do not read on. The wake descriptor becomes readable when there is room again. */
bool exchange_full(Exchange *x);
/* Before and after sleeping. exchange_sleep() is false if publications wait and are `wanted`: do not sleep. */
bool exchange_sleep(Exchange *x, bool wanted);
void exchange_wake(Exchange *x);
/* Publications are taken from now on (ONLINE is queued and flushed), and no more: what waits is dropped. 0 or -ENOMEM. */
int exchange_set_online(Exchange *x, bool session_present);
void exchange_set_offline(Exchange *x);
Publication *exchange_first_publication(Exchange *x); /* the one that is next, or NULL; stays in the list */
Publication *exchange_take_publication(Exchange *x);  /* the same, and out of the list; caller frees */
void exchange_publication_done(Exchange *x, size_t bytes);
/* What the owner wants now, in its order; each `filter` is the caller's to free. Their number, or -ENOMEM. */
ssize_t exchange_get_subscriptions(Exchange *x, Subscription ret[static TRANSPORT_FILTERS_MAX]) MUST_USE;
/* The broker's first answer: kept, or forgotten. false: the owner has forgotten it already. */
bool exchange_answer_subscription(Exchange *x, uint64_t serial, bool granted);
void exchange_set_ended(Exchange *x);
