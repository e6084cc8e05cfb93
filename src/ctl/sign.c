/* SPDX-License-Identifier: Apache-2.0 */
/* sign: make the signed form of a document. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ctl/ctl.h"
#include "verify/sign.h"

/* "+3600": seconds from now; else epoch seconds. 0 = nothing of the kind. */
static int64_t parse_expires(const char *text) {
        bool relative = text[0] == '+';
        const char *digits = text + relative;
        size_t n = strspn(digits, "0123456789");

        if (n == 0 || n > 12 || digits[n])
                return 0;
        return strtoll(digits, NULL, 10) + (relative ? clock_wall_sec() : 0);
}

static int set_claims(const CtlOptions *o, json_t *document) {
        int64_t expires = o->expires ? parse_expires(o->expires) : 0;
        int r = 0;

        if (o->expires && expires <= 0)
                return ctl_fail("--expires=%s: epoch seconds, or +SECONDS from now, expected", o->expires);
        if (o->thing)
                r |= json_object_set_new(document, "thing", json_string(o->thing));
        if (o->job)
                r |= json_object_set_new(document, "job", json_string(o->job));
        if (o->expires)
                r |= json_object_set_new(document, "expires", json_integer(expires));
        return r == 0 ? CTL_EXIT_OK : ctl_fail("a claim is no valid text");
}

/* The document's own bytes, unless something is to be added to it. */
static int make_payload(const CtlOptions *o, char **ret, size_t *ret_len) {
        CLEANUP_JSON json_t *document = NULL;
        char *text CLEANUP_FREE = NULL, *changed;
        Error e = {};
        size_t len;

        if (ctl_read_file(o->document, &text, &len) < 0)
                return CTL_EXIT_FAILED;
        if (json_parse_object(text, len, &document, &e) < 0)
                return ctl_fail("%s: %s", o->document, e.text);
        if (!o->thing && !o->job && !o->expires) {
                *ret = TAKE(text);
                *ret_len = len;
                return CTL_EXIT_OK;
        }
        if (set_claims(o, document) != CTL_EXIT_OK)
                return CTL_EXIT_FAILED;
        changed = json_dumps(document, JSON_COMPACT);
        if (!changed)
                return ctl_fail("no memory");
        *ret = changed;
        *ret_len = strlen(changed);
        return CTL_EXIT_OK;
}

int ctl_sign(const CtlOptions *o) {
        char *payload CLEANUP_FREE = NULL, *pem CLEANUP_FREE = NULL;
        EVP_PKEY *key CLEANUP_PKEY = NULL;
        Buf jws CLEANUP_BUF = {};
        Error e = {};
        size_t len = 0;

        if (signature_init() < 0)
                return ctl_fail("no memory");
        if (ctl_read_file(o->key, &pem, &len) < 0)
                return CTL_EXIT_FAILED;
        if (sign_read_key(pem, len, &key, &e) < 0)
                return ctl_fail("%s: %s", o->key, e.text);
        if (make_payload(o, &payload, &len) != CTL_EXIT_OK)
                return CTL_EXIT_FAILED;
        if (sign_jws(key, o->kid, payload, len, &jws, &e) < 0)
                return ctl_fail("%s: %s", o->document, e.text);
        /* Nothing in a compact JWS needs an escape. */
        if (printf("{\"jws\":\"%s\"}\n", jws.data) < 0 || fflush(stdout) != 0)
                return ctl_fail("cannot write the signed document");
        return CTL_EXIT_OK;
}
