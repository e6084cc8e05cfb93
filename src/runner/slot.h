/* SPDX-License-Identifier: Apache-2.0 */
/* The max_concurrent slots RUNTIME/slots/0…, each a lock. A slot names the run that uses it: who takes a slot whose holder died
 * without cleaning up first ends what that run left behind, so that nothing overlaps. */
#pragma once

#include "base/error.h"
#include "runner/tree.h"

enum { SLOTS_MAX = 10 }; /* the largest jobs.max_concurrent there can be */

typedef struct Slot {
        int fd;     /* -1 = none */
        bool dirty; /* `former` may still have processes */
        TreeTrace former;
} Slot;

/* One try. 1 = taken (look at ret->dirty), 0 = all are in use, negative errno. */
int slot_take(int slots_fd, int64_t n_slots, Slot *ret, Error *e) MUST_USE;
/* The same for slot `number` alone. */
int slot_take_number(int slots_fd, int64_t number, Slot *ret, Error *e) MUST_USE;
/* Name the run that uses the slot from now on. */
int slot_mark(Slot *s, const TreeTrace *t) MUST_USE;
/* The run's tree is empty: wipe the name, free the slot. */
void slot_release(Slot *s);
