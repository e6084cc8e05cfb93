/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriptions of one session: those that the settings require and those that the owner has added. Asks for them through
 * a libmosquitto handle, at most eight a packet, looks at every code of every SUBACK, tells the owner, and asks again slowly
 * for what was refused. Reads no clock. */
#pragma once

#include <mosquitto.h>

#include "transport/exchange.h"
#include "transport/settings.h"

enum {
        SUBSCRIBER_PER_PACKET = 8, /* more, and AWS closes the connection */
        /* Room for the settings' filters, the owner's, and some that are unsubscribed before their SUBACK. */
        SUBSCRIBER_FILTERS_MAX = 3 * TRANSPORT_FILTERS_MAX,
};

typedef enum FilterState {
        FILTER_WANTED,
        FILTER_ASKED,
        FILTER_GRANTED,
        FILTER_REFUSED,
} FilterState;

typedef struct Filter {
        FilterState state;
        int mid; /* of the SUBSCRIBE that asks for it */
        uint64_t answer_by;
        char *text;
        uint64_t serial; /* of the owner's Subscription; 0 = required by the settings */
        unsigned id;
        bool kept;    /* was granted once, in this session or an earlier one */
        bool dropped; /* the owner no longer wants it; goes with its SUBACK */
} Filter;

typedef struct Subscriber {
        const Settings *settings;
        Exchange *exchange;
        struct mosquitto *mosq; /* NULL: not connected yet */
        bool cautious;
        int last_mid; /* the packet identifier that libmosquitto has used last */
        bool behind;  /* the owner's list has something for which there was no room */
        Filter *filter;
        size_t n, room; /* at most SUBSCRIBER_FILTERS_MAX */
        uint64_t suback_by;                     /* USEC_NEVER = none is due */
        uint64_t ask_again_at, ask_again_delay; /* refused filters */
} Subscriber;

typedef enum SubscriberResult {
        SUBSCRIBER_BUSY,    /* some SUBACK is still to come */
        SUBSCRIBER_REFUSED, /* a required filter was refused */
        SUBSCRIBER_READY,
} SubscriberResult;

/* cautious: one filter at a time, each after the other's SUBACK, so that it shows which one makes the broker hang up. */
void subscriber_init(Subscriber *s, const Settings *settings, Exchange *exchange, bool cautious);
void subscriber_done(Subscriber *s);

/* Each: 0, or negative errno with the reason in e: the connection must end. */
int subscriber_begin(Subscriber *s, struct mosquitto *mosq, uint64_t now, Error *e) MUST_USE;
/* The owner's list has changed. Nothing before subscriber_begin(). */
int subscriber_sync(Subscriber *s, uint64_t now, Error *e) MUST_USE;
/* why: the broker's reason string, or NULL. */
int subscriber_on_suback(Subscriber *s, int mid, const int *codes, int n, const char *why, uint64_t now,
                         Error *e) MUST_USE;
/* Ask again for what was refused, if it is time. *ret_asked: it was. */
int subscriber_tick(Subscriber *s, uint64_t now, bool *ret_asked, Error *e) MUST_USE;

SubscriberResult subscriber_result(const Subscriber *s);
/* A filter without its SUBACK, or NULL. */
const char *subscriber_unanswered(const Subscriber *s);
