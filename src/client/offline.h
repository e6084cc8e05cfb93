/* SPDX-License-Identifier: Apache-2.0 */
/* Requests made while offline, and the pace at which they leave once online again. PURE: `now` is any clock in microseconds
 * that does not go back. */
#pragma once

#include "base/macro.h"

enum {
        OFFLINE_ITEMS_MAX = 10000,
        OFFLINE_BYTES_MAX = 16 << 20, /* of topics and payloads, whatever the number of requests */
        OFFLINE_RATE_MAX = 1000,      /* requests a second */
};

typedef struct OfflineItem {
        struct OfflineItem *next;
        const char *topic;
        const char *payload; /* both inside data */
        size_t len;
        size_t bytes; /* what it counts against OFFLINE_BYTES_MAX */
        char data[];
} OfflineItem;

typedef struct OfflineQueue { /* zero-initialise, then offline_set_limit() and offline_set_rate() */
        OfflineItem *first, *last;
        size_t n, bytes;
        size_t limit; /* requests; 0 = none is kept */
        bool drop_oldest;
        uint64_t interval_usec; /* between two of them */
        uint64_t next_at;       /* the next one may leave from then on */
} OfflineQueue;

/* What is there already stays. */
void offline_set_limit(OfflineQueue *q, size_t limit, bool drop_oldest);
void offline_set_rate(OfflineQueue *q, double per_second); /* > 0 */
/* Copies. The number of older requests that were dropped for it (0 or more); -ENOTCONN (the limit is 0), -ENOBUFS (full, and
 * the newest is to be dropped; or too large for the whole queue), -ENOMEM. */
int offline_push(OfflineQueue *q, const char *topic, const void *payload, size_t len) MUST_USE;
/* When the next request is due; USEC_NEVER: none waits. */
uint64_t offline_due(const OfflineQueue *q);
/* The oldest request if it is due (caller frees), else NULL. */
OfflineItem *offline_take(OfflineQueue *q, uint64_t now);
/* Put one back that offline_take() gave, in front: it could not be sent after all. */
void offline_put_back(OfflineQueue *q, OfflineItem *item);
void offline_done(OfflineQueue *q);
