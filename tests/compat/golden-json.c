/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The end of a string that begins at text[at], behind its closing quote. */
static size_t string_end(const char *text, size_t len, size_t at) {
        for (at++; at < len && text[at] != '"'; at++)
                if (text[at] == '\\')
                        at++;
        return at < len ? at + 1 : len;
}

static size_t number_end(const char *text, size_t len, size_t at) {
        while (at < len && (isalnum((unsigned char) text[at]) || strchr("+-.", text[at])))
                at++;
        return at;
}

static bool is_big(const char *text, size_t len) {
        char digits[24];

        if (strcspn(text, ".eE") < len)
                return false;
        if (len >= sizeof digits)
                return true;
        memcpy(digits, text, len);
        digits[len] = '\0';
        errno = 0;
        (void) strtoll(digits, NULL, 10);
        return errno == ERANGE;
}

json_t *golden_parse(const char *text, size_t len) {
        char *out = malloc(len * 2 + 16);
        size_t n = 0;
        json_t *ret;

        for (size_t at = 0; out && at < len;) {
                size_t end = at + 1;

                if (text[at] == '"')
                        end = string_end(text, len, at);
                else if (text[at] == '-' || isdigit((unsigned char) text[at]))
                        end = number_end(text, len, at);
                if (text[at] != '"' && end - at > 18 && is_big(text + at, end - at)) {
                        memcpy(out + n, "\"\\u0001number:", 14);
                        memcpy(out + n + 14, text + at, end - at);
                        out[n + 14 + end - at] = '"';
                        n += 15 + end - at;
                } else {
                        memcpy(out + n, text + at, end - at);
                        n += end - at;
                }
                at = end;
        }
        ret = out ? json_loadb(out, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
        free(out);
        return ret;
}

bool golden_truth(const json_t *value) {
        if (!value || json_is_null(value) || json_is_false(value))
                return false;
        if (json_is_string(value))
                return json_string_length(value) > 0;
        if (json_is_number(value))
                return json_number_value(value) < 0 || json_number_value(value) > 0;
        if (json_is_array(value))
                return json_array_size(value) > 0;
        return !json_is_object(value) || json_object_size(value) > 0;
}

static size_t skip_space(const char *text, size_t len, size_t at) {
        while (at < len && strchr(" \t\r\n", text[at]))
                at++;
        return at;
}

/* Behind the value that begins at text[at]: at the ',' or ']' on its own level. */
static size_t value_end(const char *text, size_t len, size_t at) {
        int depth = 0;

        while (at < len) {
                if (text[at] == '"') {
                        at = string_end(text, len, at);
                        continue;
                }
                if (depth == 0 && (text[at] == ',' || text[at] == ']'))
                        return at;
                depth += text[at] == '{' || text[at] == '[';
                depth -= text[at] == '}' || text[at] == ']';
                at++;
        }
        return len;
}

long golden_parse_array(const char *text, size_t len, json_t ***ret) {
        size_t at = skip_space(text, len, 0);
        json_t **list = NULL;
        long n = 0;

        if (at == len || text[at] != '[')
                return -1;
        at = skip_space(text, len, at + 1);
        while (at < len && text[at] != ']') {
                size_t end = value_end(text, len, at);
                json_t **more = realloc(list, (size_t) (n + 1) * sizeof *list);

                if (!more)
                        abort();
                list = more;
                list[n++] = golden_parse(text + at, end - at);
                at = skip_space(text, len, end < len && text[end] == ',' ? end + 1 : end);
        }
        *ret = list;
        return at < len ? n : -1;
}
