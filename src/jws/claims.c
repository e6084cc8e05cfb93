/* SPDX-License-Identifier: Apache-2.0 */
/* What the signer says a document is for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "jws/jws.h"

enum { QUOTED_MAX = 128 };

/* A claim that is there must hold: null and "" are claims too. */
static int check_name(const json_t *payload, const char *name, const char *expected, bool required, JwsFault *fault) {
        const json_t *value = json_object_get(payload, name);
        CLEANUP_FREE char *clean = NULL;
        char path[32];

        (void) snprintf(path, sizeof path, "jws.payload.%s", name);
        if (!value && required)
                return jws_fault(fault, path, "missing; required by policy.require_signature");
        if (!value)
                return 0;
        if (!json_is_string(value))
                return jws_fault(fault, path, "a string expected");
        if (strcmp(json_string_value(value), expected) == 0)
                return 0;
        clean = text_sanitize(json_string_value(value), json_string_length(value), QUOTED_MAX, false);
        if (!clean)
                return -ENOMEM;
        return jws_fault(fault, path, "signed for \"%s\", not for this %s", clean, name);
}

/* A whole number, or the digits of one. */
static bool parse_seconds(const json_t *value, int64_t *ret) {
        const char *digits = json_string_value(value);
        size_t n = digits ? strspn(digits, "0123456789") : 0;

        if (json_is_integer(value)) {
                *ret = json_integer_value(value);
                return true;
        }
        if (n == 0 || n > 18 || digits[n])
                return false;
        for (*ret = 0; *digits; digits++)
                *ret = *ret * 10 + (*digits - '0');
        return true;
}

static int check_time(const json_t *payload, const JwsExpected *expected, JwsFault *fault) {
        const json_t *value = json_object_get(payload, "expires");
        int64_t expires = 0;

        if (!value && expected->required)
                return jws_fault(fault, "jws.payload.expires", "missing; required by policy.require_signature");
        if (value && !parse_seconds(value, &expires))
                return jws_fault(fault, "jws.payload.expires", "seconds since 1970 expected");
        if (!value || expected->accepted)
                return 0;
        if (expected->now < expected->built)
                return jws_fault(fault, "jws.payload.expires",
                                 "cannot be judged: this machine's clock is before the program was built");
        if (expected->now >= expires)
                return jws_fault(fault, "jws.payload.expires", "expired %" PRIu64 " s ago",
                                 (uint64_t) expected->now - (uint64_t) expires);
        return 0;
}

int jws_claims_check(const char *payload, size_t len, const JwsExpected *expected, JwsFault *fault) {
        CLEANUP_JSON json_t *object = NULL;
        Error e = { 0 };
        int r = json_parse_object(payload, len, &object, &e);

        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return jws_fault(fault, "jws.payload", "%s", e.text);
        r = check_name(object, "thing", expected->thing, expected->required, fault);
        if (r == 0)
                r = check_name(object, "job", expected->job, false, fault);
        return r < 0 ? r : check_time(object, expected, fault);
}
