/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

/* The byte behind a string's closing quote; `p` is behind the opening one. */
static const char *skip_string(const char *p, const char *end) {
        while (p < end) {
                if (*p == '"')
                        return p + 1;
                p += *p == '\\' && end - p > 1 ? 2 : 1;
        }
        return end;
}

static bool is_scalar_byte(char c) {
        return c > ' ' && c != '"' && c != ',' && c != ':' && c != '[' && c != ']' && c != '{' && c != '}';
}

/* Refuse what would cost memory or stack out of proportion, before the parser allocates anything. Only brackets,
 * strings and colons are looked at: up to the first syntax error, which ends the parser's work, the counts are exact. */
static int check_limits(const char *text, size_t len, Error *e) {
        const char *end = text + len, *p = text;
        size_t depth = 0, values = 0;

        while (p < end) {
                const char *at = p;
                char c = *p++;

                switch (c) {
                case '{':
                case '[':
                        depth++;
                        values++;
                        break;
                case '}':
                case ']':
                        depth -= depth > 0;
                        break;
                case '"':
                        p = skip_string(p, end);
                        values++;
                        break;
                case ':': /* the string before it was a name, not a value */
                        values -= values > 0;
                        break;
                default:
                        if (is_scalar_byte(c)) {
                                while (p < end && is_scalar_byte(*p))
                                        p++;
                                values++;
                        }
                }
                if (depth > JSON_DEPTH_MAX)
                        return error_set(e, E2BIG, "JSON nested deeper than %d at byte %zu", JSON_DEPTH_MAX,
                                         (size_t) (at - text));
                if (values > JSON_VALUES_MAX)
                        return error_set(e, E2BIG, "JSON of more than %d values at byte %zu", JSON_VALUES_MAX,
                                         (size_t) (at - text));
        }
        return 0;
}

/* The parser's message quotes the text it stumbled over: bytes from outside. */
static int parse_error(const json_error_t *j, Error *e) {
        CLEANUP_FREE char *clean = NULL;
        int code = EBADMSG;

        if (json_error_code(j) == json_error_out_of_memory)
                return error_set(e, ENOMEM, "JSON: out of memory");
        if (json_error_code(j) == json_error_numeric_overflow)
                code = E2BIG;
        if (json_error_code(j) == json_error_null_character || json_error_code(j) == json_error_null_byte_in_key)
                return error_set(e, code, "JSON line %d column %d: a NUL (\\u0000) is not allowed", j->line, j->column);
        clean = text_sanitize(j->text, strlen(j->text), JSON_ERROR_TEXT_LENGTH, false);
        return error_set(e, code, "JSON line %d column %d: %s", j->line, j->column,
                         clean ? clean : "malformed");
}

static const char *type_name(const json_t *value) {
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                return "an object";
        case JSON_ARRAY:
                return "an array";
        case JSON_STRING:
                return "a string";
        case JSON_INTEGER:
                return "an integer";
        case JSON_REAL:
                return "a fraction";
        case JSON_TRUE:
        case JSON_FALSE:
                return "a boolean";
        case JSON_NULL:
                return "null";
        }
        return "something else";
}

int json_parse_object(const char *text, size_t len, json_t **ret, Error *e) {
        CLEANUP_JSON json_t *value = NULL;
        json_error_t j;
        int r;

        if (len == 0)
                text = "";
        r = check_limits(text, len, e);
        if (r < 0)
                return r;
        value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &j);
        if (!value)
                return parse_error(&j, e);
        if (!json_is_object(value))
                return error_set(e, EBADMSG, "JSON: an object expected, found %s", type_name(value));
        *ret = TAKE(value);
        return 0;
}

/* NULL if absent. */
static json_t *get_member(const json_t *o, const char *name) {
        json_t *value = json_object_get(o, name);

        return json_is_null(value) ? NULL : value;
}

static int wrong_type(const char *where, const char *name, const char *expected, const json_t *found,
                      Error *e) {
        return error_set(e, EINVAL, "%s%s: %s expected, found %s", where, name, expected, type_name(found));
}

int json_get_string(const json_t *o, const char *name, const char *where, const char **ret, Error *e) {
        const json_t *value = get_member(o, name);

        if (!value)
                return 0;
        if (!json_is_string(value))
                return wrong_type(where, name, "a string", value, e);
        *ret = json_string_value(value);
        return 1;
}

int json_get_bool(const json_t *o, const char *name, const char *where, bool *ret, Error *e) {
        const json_t *value = get_member(o, name);

        if (!value)
                return 0;
        if (!json_is_boolean(value))
                return wrong_type(where, name, "true or false", value, e);
        *ret = json_is_true(value);
        return 1;
}

int json_get_int(const json_t *o, const char *name, const char *where, int64_t min, int64_t max, int64_t *ret,
                 Error *e) {
        const json_t *value = get_member(o, name);
        int64_t v;

        if (!value)
                return 0;
        if (!json_is_integer(value))
                return wrong_type(where, name, "an integer", value, e);
        v = json_integer_value(value);
        if (v < min || v > max)
                return error_set(e, EINVAL,
                                 "%s%s: %" PRId64 " is not an integer from %" PRId64 " to %" PRId64, where,
                                 name, v, min, max);
        *ret = v;
        return 1;
}

int json_get_object(const json_t *o, const char *name, const char *where, json_t **ret, Error *e) {
        json_t *value = get_member(o, name);

        if (!value)
                return 0;
        if (!json_is_object(value))
                return wrong_type(where, name, "an object", value, e);
        *ret = value;
        return 1;
}

int json_get_array(const json_t *o, const char *name, const char *where, json_t **ret, Error *e) {
        json_t *value = get_member(o, name);

        if (!value)
                return 0;
        if (!json_is_array(value))
                return wrong_type(where, name, "an array", value, e);
        *ret = value;
        return 1;
}
