/* SPDX-License-Identifier: Apache-2.0 */
/* The one source of chance: xoshiro256** (Blackman and Vigna's public domain algorithm, written anew), seeded by splitmix64. */
#pragma once

#include "base/macro.h"

typedef struct Rng {
        uint64_t s[4];
} Rng;

static inline uint64_t rng_rotate(uint64_t x, int k) {
        return (x << k) | (x >> (64 - k));
}

static inline void rng_seed(Rng *r, uint64_t seed) {
        for (unsigned i = 0; i < 4; i++) {
                uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

                z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
                z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
                r->s[i] = z ^ (z >> 31);
        }
}

static inline uint64_t rng_next(Rng *r) {
        uint64_t result = rng_rotate(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;

        r->s[2] ^= r->s[0];
        r->s[3] ^= r->s[1];
        r->s[1] ^= r->s[2];
        r->s[0] ^= r->s[3];
        r->s[2] ^= t;
        r->s[3] = rng_rotate(r->s[3], 45);
        return result;
}

/* 0 … n-1; n > 0. The bias of the remainder does not matter here. */
static inline uint64_t rng_below(Rng *r, uint64_t n) {
        return rng_next(r) % n;
}

/* from … to, both included. */
static inline uint64_t rng_between(Rng *r, uint64_t from, uint64_t to) {
        return from + rng_below(r, to - from + 1);
}

static inline bool rng_chance(Rng *r, unsigned per_mille) {
        return rng_below(r, 1000) < per_mille;
}
