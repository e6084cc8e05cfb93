/* SPDX-License-Identifier: Apache-2.0 */
/* The one carrier of text meant for a person or for statusDetails: what failed, which thing, why.
 * A plain value, nothing to free. PURE: formats text, calls nothing else. */
#pragma once

#include "base/macro.h"

enum { ERROR_TEXT_MAX = 512 };

typedef struct Error {
        int code; /* positive errno, 0 = none */
        char text[ERROR_TEXT_MAX];
} Error;

/* Fill *e (may be NULL) and return -code, so that `return error_set(e, EINVAL, "…", …);` works.
 * An over-long text is cut on a UTF-8 boundary. */
int error_set(Error *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same with ": strerror(code)" appended. */
int error_errno(Error *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Put "context: " before the text that is there; returns -e->code. */
int error_wrap(Error *e, const char *format, ...) PRINTF_LIKE(2, 3);
