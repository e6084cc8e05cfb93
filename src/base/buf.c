/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool buf_reserve(Buf *b, size_t more) {
        size_t need, cap;
        char *data;

        if (b->error)
                return false;
        if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need)) {
                b->error = -ENOMEM;
                return false;
        }
        if (need <= b->cap)
                return true;
        cap = MAX_OF(b->cap * 2, (size_t) 64);
        if (cap < need)
                cap = need;
        data = realloc(b->data, cap);
        if (!data) {
                b->error = -ENOMEM;
                return false;
        }
        b->data = data;
        b->cap = cap;
        return true;
}

void buf_append(Buf *b, const void *data, size_t len) {
        if (!buf_reserve(b, len))
                return;
        if (len > 0)
                memcpy(b->data + b->len, data, len);
        b->len += len;
        b->data[b->len] = '\0';
}

void buf_puts(Buf *b, const char *text) {
        buf_append(b, text, strlen(text));
}

void buf_printf(Buf *b, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0 || !buf_reserve(b, (size_t) n))
                return;
        va_start(ap, format);
        (void) vsnprintf(b->data + b->len, (size_t) n + 1, format, ap);
        va_end(ap);
        b->len += (size_t) n;
}

void buf_clear(Buf *b) {
        b->len = 0;
        b->error = 0;
        if (b->data)
                b->data[0] = '\0';
}

void buf_done(Buf *b) {
        free(b->data);
        *b = (Buf) {};
}

char *buf_steal(Buf *b) {
        char *data;

        if (!buf_reserve(b, 0)) {
                buf_done(b);
                return NULL;
        }
        b->data[b->len] = '\0';
        data = b->data;
        *b = (Buf) {};
        return data;
}
