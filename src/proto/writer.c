/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/writer.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

static void put_separator(Buf *b) {
        char last = b->len > 0 ? b->data[b->len - 1] : '{';

        if (last != '{' && last != '[')
                buf_append(b, ",", 1);
}

static void put_escaped(Buf *b, unsigned char c) {
        if (c == '"' || c == '\\') {
                char text[2] = { '\\', (char) c };

                buf_append(b, text, sizeof text);
        } else
                buf_printf(b, "\\u%04x", c);
}

static void put_string(Buf *b, const char *text) {
        const char *end = text + strlen(text), *plain = text;

        buf_append(b, "\"", 1);
        while (text < end) {
                unsigned char c = (unsigned char) *text;
                uint32_t cp;
                size_t n = utf8_decode(text, end, &cp);

                if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
                        text += n;
                        continue;
                }
                buf_append(b, plain, (size_t) (text - plain));
                if (n == 0)
                        buf_puts(b, "\xEF\xBF\xBD");
                else
                        put_escaped(b, c);
                plain = ++text;
        }
        buf_append(b, plain, (size_t) (end - plain));
        buf_append(b, "\"", 1);
}

static void put_name(Buf *b, const char *name) {
        put_separator(b);
        put_string(b, name);
        buf_append(b, ":", 1);
}

void writer_open(Buf *b, const char *name, char bracket) {
        if (name)
                put_name(b, name);
        else
                put_separator(b);
        buf_append(b, &bracket, 1);
}

void writer_close(Buf *b, char bracket) {
        buf_append(b, &bracket, 1);
}

void writer_string(Buf *b, const char *name, const char *text) {
        put_name(b, name);
        put_string(b, text);
}

void writer_int(Buf *b, const char *name, int64_t value) {
        put_name(b, name);
        buf_printf(b, "%" PRId64, value);
}

void writer_bool(Buf *b, const char *name, bool value) {
        put_name(b, name);
        buf_puts(b, value ? "true" : "false");
}

void writer_raw(Buf *b, const char *name, const char *json, size_t len) {
        put_name(b, name);
        buf_append(b, json, len);
}

void writer_details(Buf *b, const ProtoDetails *d) {
        if (d->n == 0)
                return;
        writer_open(b, "statusDetails", '{');
        for (size_t i = 0; i < d->n; i++)
                writer_string(b, d->pair[i].key, d->pair[i].value);
        writer_close(b, '}');
}

int writer_finish(Buf *b, Buf *ret) {
        if (buf_error(b) < 0)
                return buf_error(b);
        buf_done(ret);
        *ret = *b;
        *b = (Buf){};
        return 0;
}
