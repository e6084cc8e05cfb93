/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/pace.h"

uint64_t pace_backoff(uint64_t min, uint64_t max, unsigned failures, uint64_t random) {
        uint64_t ceiling = min;

        for (unsigned i = 0; i < failures && ceiling < max; i++)
                ceiling = ceiling > max / 2 ? max : ceiling * 2;
        if (ceiling > max)
                ceiling = max;
        if (ceiling <= min)
                return ceiling;
        return min + random % (ceiling - min + 1);
}

void bucket_init(Bucket *b, unsigned rate) {
        /* A quarter of a second's worth at once: in any one second at most 1.25 times the rate leaves. */
        *b = (Bucket){ .rate = rate, .burst = MAX_OF(rate / 4, 1U) };
}

uint64_t bucket_take(Bucket *b, uint64_t now_usec) {
        uint64_t token, depth;

        if (b->rate == 0)
                return 0;
        token = MAX_OF(USEC_PER_SEC / b->rate, UINT64_C(1));
        depth = token * b->burst;
        if (b->full_usec < now_usec)
                b->full_usec = now_usec;
        if (b->full_usec + token > now_usec + depth)
                return b->full_usec + token - (now_usec + depth);
        b->full_usec += token;
        return 0;
}
