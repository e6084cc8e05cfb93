/* SPDX-License-Identifier: Apache-2.0 */
/* Where a job document lies inside a message. PURE, no allocation, no recursion.
 * The document is found by a lexical scan (strings, escapes, brackets, depth limit), not by parsing: its bytes travel
 * unchanged, and a document that strict JSON refuses (duplicate keys, 2^64, a lone surrogate) cannot hide its job. */
#pragma once

#include "base/error.h"

typedef struct Extent {
        size_t start, len; /* bytes of the value, without white space around it; len 0 = no such member */
} Extent;

/* Find the value of member "jobDocument", either at the top or inside the top-level member "execution" (the two places
 * the protocol has). Key spelled with escapes counts too. The first of several wins inside one object, and a second
 * one is an error, so that two readers cannot disagree.
 * 0, or -EBADMSG: brackets or strings do not close, or two documents; -E2BIG: nested deeper than EXTENT_DEPTH_MAX. */
enum { EXTENT_DEPTH_MAX = 512 };
int extent_find_document(const char *payload, size_t len, Extent *ret, Error *e) MUST_USE;
