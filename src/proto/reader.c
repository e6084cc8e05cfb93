/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reader.h"

#include <errno.h>
#include <string.h>

/* Digits only, no sign, no space: what strtoll would let through is refused. */
static bool parse_digits(const char *text, int64_t *ret) {
        int64_t v = 0;

        if (*text == '\0')
                return false;
        for (; *text != '\0'; text++)
                if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10, &v) ||
                    __builtin_add_overflow(v, *text - '0', &v))
                        return false;
        *ret = v;
        return true;
}

int reader_number(const json_t *o, const char *name, const char *where, int64_t *ret, Error *e) {
        const json_t *value = json_object_get(o, name);

        if (!json_is_string(value))
                return json_get_int(o, name, where, 0, INT64_MAX, ret, e);
        if (!parse_digits(json_string_value(value), ret))
                return error_set(e, EINVAL, "%s%s: a number of at most 63 bits expected", where, name);
        return 1;
}

int reader_token(const json_t *o, char ret[static LIMIT_CLIENT_TOKEN + 1], Error *e) {
        const char *text;
        size_t n;
        int r;

        r = json_get_string(o, "clientToken", "", &text, e);
        if (r <= 0)
                return r;
        n = strlen(text);
        if (n > LIMIT_CLIENT_TOKEN)
                return error_set(e, EINVAL, "clientToken: %zu bytes; at most %d expected", n,
                                 LIMIT_CLIENT_TOKEN);
        memcpy(ret, text, n + 1);
        return 1;
}

static int set_pair(ProtoDetails *d, const char *key, const char *value, Error *e) {
        int r = proto_details_set(d, key, value);

        return r == -ENOMEM ? error_set(e, ENOMEM, "statusDetails: out of memory") : r;
}

int reader_details_checked(const json_t *o, ProtoDetails *ret, Error *e) {
        CLEANUP_DETAILS ProtoDetails d = {};
        const char *key;
        json_t *map, *value;
        int r;

        r = json_get_object(o, "statusDetails", "", &map, e);
        if (r <= 0 || json_object_size(map) == 0)
                return r < 0 ? r : 0;
        if (json_object_size(map) > LIMIT_DETAILS_PAIRS)
                return error_set(e, EINVAL, "statusDetails: %zu pairs; at most %d expected",
                                 json_object_size(map), LIMIT_DETAILS_PAIRS);
        json_object_foreach(map, key, value) {
                if (!json_is_string(value))
                        return error_set(e, EINVAL, "statusDetails.%s: a string expected",
                                         proto_details_key_valid(key) ? key : "?");
                r = set_pair(&d, key, json_string_value(value), e);
                if (r < 0)
                        return r;
        }
        r = proto_details_check(&d, e);
        if (r < 0)
                return r;
        *ret = d;
        d = (ProtoDetails){};
        return 1;
}

int reader_details(const json_t *o, const char *where, ProtoDetails *ret, Error *e) {
        CLEANUP_DETAILS ProtoDetails d = {};
        const char *key;
        json_t *map, *value;
        int r;

        r = json_get_object(o, "statusDetails", where, &map, e);
        if (r <= 0)
                return r;
        json_object_foreach(map, key, value) {
                if (!json_is_string(value))
                        continue;
                r = set_pair(&d, key, json_string_value(value), e);
                if (r == -E2BIG)
                        break;
                if (r < 0)
                        return r;
        }
        *ret = d;
        d = (ProtoDetails){};
        return 1;
}
