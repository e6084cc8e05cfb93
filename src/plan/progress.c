/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/progress.h"

#include <string.h>

#include "proto/types.h"

/* ---- lines ---- */

void progress_reader_init(ProgressReader *r) {
        r->len = 0;
        r->cut = false;
}

static void line_done(ProgressReader *r, ProgressLineFunction line, void *userdata) {
        size_t len = r->len;
        bool cut = r->cut;

        progress_reader_init(r);
        if (len > 0 && !cut && r->line[len - 1] == '\r')
                len--;
        if (len > 0)
                line(r->line, len, cut, userdata);
}

void progress_reader_feed(ProgressReader *r, const char *data, size_t len, ProgressLineFunction line, void *userdata) {
        while (len > 0) {
                const char *end = memchr(data, '\n', len);
                size_t part = end ? (size_t) (end - data) : len;
                size_t n = MIN_OF(part, (size_t) PROGRESS_LINE_MAX - r->len);

                (void) memcpy(r->line + r->len, data, n);
                r->len += n;
                r->cut = r->cut || n < part;
                data += part;
                len -= part;
                if (end) {
                        line_done(r, line, userdata);
                        data++;
                        len--;
                }
        }
}

void progress_reader_end(ProgressReader *r, ProgressLineFunction line, void *userdata) {
        line_done(r, line, userdata);
}

/* ---- what a line means ---- */

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `40` or `40%`, at most 100; else -1. */
static int parse_percent(const char *line, size_t len) {
        int v = 0;

        if (len > 0 && line[len - 1] == '%')
                len--;
        if (len == 0 || len > 3)
                return -1;
        for (size_t i = 0; i < len; i++) {
                if (line[i] < '0' || line[i] > '9')
                        return -1;
                v = v * 10 + (line[i] - '0');
        }
        return v <= 100 ? v : -1;
}

static bool is_reserved(const char *key) {
        static const char *const reserved[] = { "claim",    "step",   "progress", "reason",
                                                "exitCode", "signal", "stdout",   "stderr" };

        for (size_t i = 0; i < ELEMENTSOF(reserved); i++)
                if (strcmp(key, reserved[i]) == 0)
                        return true;
        return false;
}

/* The key of `key=value`, if it is one a handler may set. */
static bool parse_key(const char *line, size_t len, char ret[static LIMIT_DETAILS_KEY + 1]) {
        const char *equals = memchr(line, '=', len);
        size_t n = equals ? (size_t) (equals - line) : 0;

        if (n == 0 || n > LIMIT_DETAILS_KEY)
                return false;
        (void) memcpy(ret, line, n);
        ret[n] = '\0';
        return strlen(ret) == n && proto_details_key_valid(ret) && !is_reserved(ret);
}

void progress_parse(const char *line, size_t len, ProgressLine *ret) {
        while (len > 0 && is_space(line[len - 1]))
                len--;
        while (len > 0 && is_space(line[0])) {
                line++;
                len--;
        }
        *ret = (ProgressLine){ .kind = PROGRESS_NOTHING, .percent = -1, .text = line, .len = len };
        if (len == 0)
                return;
        ret->percent = parse_percent(line, len);
        if (ret->percent >= 0) {
                ret->kind = PROGRESS_PERCENT;
                return;
        }
        if (!parse_key(line, len, ret->key)) {
                ret->key[0] = '\0';
                ret->kind = PROGRESS_TEXT;
                return;
        }
        ret->kind = PROGRESS_DETAIL;
        ret->text += strlen(ret->key) + 1;
        ret->len -= strlen(ret->key) + 1;
}
