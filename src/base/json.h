/* SPDX-License-Identifier: Apache-2.0 */
/* Strict JSON by Jansson, and getters that name the path of what is wrong. PURE. */
#pragma once

#include <jansson.h>

#include "base/error.h"

enum {
        JSON_DEPTH_MAX = 32,    /* nesting of arrays and objects; contract section 2 */
        JSON_VALUES_MAX = 4096, /* values in one text: 128 KiB of `[{},{},…` would cost 10 MiB otherwise */
};

DEFINE_CLEANUP(json_t *, json_decref)
#define CLEANUP_JSON __attribute__((cleanup(json_decref_p)))

/* Parse a whole text: UTF-8, one object, no duplicate keys, numbers inside 64 bits, at most JSON_DEPTH_MAX deep
 * and JSON_VALUES_MAX values (both checked before anything is allocated).
 * 0 and *ret (caller owns), or -EBADMSG (malformed; text says where), -E2BIG (a limit; a number past 64 bits or
 * outside a double is one too), -ENOMEM. A NUL in a string counts as malformed: the getters hand out C strings. */
int json_parse_object(const char *text, size_t len, json_t **ret, Error *e) MUST_USE;

/* Members of an object. null counts as absent. 1 = present, 0 = absent (ret untouched), -EINVAL = wrong type or
 * range, with "PATH: a string expected" in e, where PATH is `where` + name (where may be ""). */
int json_get_string(const json_t *o, const char *name, const char *where, const char **ret, Error *e) MUST_USE;
int json_get_bool(const json_t *o, const char *name, const char *where, bool *ret, Error *e) MUST_USE;
int json_get_int(const json_t *o, const char *name, const char *where, int64_t min, int64_t max, int64_t *ret,
                 Error *e) MUST_USE;
int json_get_object(const json_t *o, const char *name, const char *where, json_t **ret, Error *e) MUST_USE;
int json_get_array(const json_t *o, const char *name, const char *where, json_t **ret, Error *e) MUST_USE;
