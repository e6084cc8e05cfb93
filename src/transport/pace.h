/* SPDX-License-Identifier: Apache-2.0 */
/* Two small rules about time, as pure functions of it: how long to wait before the next attempt, and how many
 * publications a second. */
#pragma once

#include "base/macro.h"

/* Full jitter between the floor and an exponentially growing ceiling: failures 1, 2, 3 … wait between `min` and
 * 2×min, 4×min, 8×min …, never more than `max`. The floor stays because AWS allows one CONNECT a second per client id.
 * `random` is a random number. */
uint64_t pace_backoff(uint64_t min, uint64_t max, unsigned failures, uint64_t random);

/* A bucket of whole tokens. rate 0: no limit. */
typedef struct Bucket {
        unsigned rate;      /* tokens a second */
        unsigned burst;     /* capacity */
        uint64_t full_usec; /* when the bucket will be (or was) full */
} Bucket;

void bucket_init(Bucket *b, unsigned rate);
/* 0 = a token was taken, else how long to wait for one. */
uint64_t bucket_take(Bucket *b, uint64_t now_usec);
