/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer that is always followed by a NUL. PURE: memory only.
 * A failed allocation is remembered: append as often as you like, look at buf_error() once. */
#pragma once

#include "base/macro.h"

typedef struct Buf {
        char *data; /* owned; NULL while empty */
        size_t len; /* bytes, without the closing NUL */
        size_t cap;
        int error; /* 0, or -ENOMEM after a failed append; the content is then incomplete */
} Buf;

void buf_append(Buf *b, const void *data, size_t len);
void buf_puts(Buf *b, const char *text);
void buf_printf(Buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_clear(Buf *b);            /* empty it, keep the memory, forget the error */
void buf_done(Buf *b);             /* free the content; usable again afterwards */
static inline int buf_error(const Buf *b) {
        return b->error;
}
/* Give the content away (NUL-terminated, caller frees); NULL after a failed append. */
char *buf_steal(Buf *b);

#define CLEANUP_BUF __attribute__((cleanup(buf_done)))
