/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind unicode_is_other(), for utf8.c alone. PURE. */
#pragma once

#include "base/macro.h"

typedef struct UnicodeRange {
        uint32_t first, last;
} UnicodeRange;

/* Code points of general category C: ascending, neither overlapping nor touching. */
extern const UnicodeRange unicode_other[];
extern const size_t n_unicode_other;
