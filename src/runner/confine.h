/* SPDX-License-Identifier: Apache-2.0 */
/* What a child of ours gives up before it touches what comes from outside. Each function is for a child alone, but where it says
 * otherwise, and calls nothing that a copy of a single-threaded process may not. */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

enum { CONFINE_ADDRESS_SPACE = 128 * 1024 * 1024 }; /* bytes; most of it is never there */

/* In the parent: a user that nobody else is, from systemd's range for dynamic users, another each time: who shares its user could
 * attach to the child and answer in its place. */
uid_t confine_pick_user(void);
/* The same, from those numbers of 32 bits that are no one's: without a look at /etc/passwd. A user namespace need not have them. */
uid_t confine_pick_nobody(void);

/* Be that user, in no group. 0 or negative errno. */
int confine_become(uid_t uid) MUST_USE;

/* Have `in` (-1 = nothing) as descriptor 0, `out` as 1, and no other. Neither is 0 or 1. 0 or negative errno. */
int confine_descriptors(int in, int out) MUST_USE;

/* Make room for this much in malloc(), so that the kernel need not be asked, and do without more. 0 or negative errno. */
int confine_memory(size_t bytes) MUST_USE;

/* The limits of a resource; a lower one that we may not raise stays. 0 or negative errno. */
int confine_limits(int resource, uint64_t soft, uint64_t hard) MUST_USE;
static inline MUST_USE int confine_limit(int resource, uint64_t value) {
        return confine_limits(resource, value, value);
}

/* In the parent: does this kernel know filters of system calls? */
bool confine_has_filter(void);

/* For good: read(), write() and _exit(0) are all there is. Memory is what malloc() has by now: more is refused with ENOMEM. Anything
 * else, another exit status too, kills by SIGSYS. 0 or negative errno. (The kernel's own "strict mode" is no cheaper, and not to be had
 * in a container, where somebody else's filter is there already.) */
int confine_filter(void) MUST_USE;
