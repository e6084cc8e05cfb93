/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* snprintf cuts on a byte; step back to the start of the character it cut. */
static void cut_on_character(char *text) {
        size_t n = strlen(text);
        size_t back = 0;

        if (n + 1 < ERROR_TEXT_MAX)
                return;
        while (back < 3 && back < n && ((unsigned char) text[n - 1 - back] & 0xC0) == 0x80)
                back++;
        if (back < n && (unsigned char) text[n - 1 - back] >= 0xC0)
                text[n - 1 - back] = '\0';
}

int error_set(Error *e, int code, const char *format, ...) {
        va_list ap;

        if (e) {
                e->code = code;
                va_start(ap, format);
                (void) vsnprintf(e->text, sizeof e->text, format, ap);
                va_end(ap);
                cut_on_character(e->text);
        }
        return -code;
}

int error_errno(Error *e, int code, const char *format, ...) {
        va_list ap;
        size_t n;

        if (e) {
                e->code = code;
                va_start(ap, format);
                (void) vsnprintf(e->text, sizeof e->text, format, ap);
                va_end(ap);
                n = strlen(e->text);
                /* strerrordesc_np has no locale and no static buffer: safe in any thread. */
                const char *why = strerrordesc_np(code);
                (void) snprintf(e->text + n, sizeof e->text - n, ": %s", why ? why : "unknown error");
                cut_on_character(e->text);
        }
        return -code;
}

int error_wrap(Error *e, const char *format, ...) {
        char head[ERROR_TEXT_MAX];
        va_list ap;

        if (!e)
                return -1;
        va_start(ap, format);
        (void) vsnprintf(head, sizeof head, format, ap);
        va_end(ap);

        size_t nh = strlen(head), room = sizeof e->text - 1;
        if (nh + 2 < room) {
                size_t nt = MIN_OF(strlen(e->text), room - nh - 2);
                memmove(e->text + nh + 2, e->text, nt);
                memcpy(e->text, head, nh);
                memcpy(e->text + nh, ": ", 2);
                e->text[nh + 2 + nt] = '\0';
                cut_on_character(e->text);
        }
        return -e->code;
}
