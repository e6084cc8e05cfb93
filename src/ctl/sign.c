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

/* The claims asked for, as the text of an object. */
static int make_claims(const CtlOptions *o, char **ret) {
        CLEANUP_JSON json_t *claims = json_object();
        int64_t expires = o->expires ? parse_expires(o->expires) : 0;
        int r = 0;

        if (o->expires && expires <= 0)
                return ctl_fail("--expires=%s: epoch seconds, or +SECONDS from now, expected", o->expires);
        if (o->thing)
                r |= json_object_set_new(claims, "thing", json_string(o->thing));
        if (o->job)
                r |= json_object_set_new(claims, "job", json_string(o->job));
        if (o->expires)
                r |= json_object_set_new(claims, "expires", json_integer(expires));
        *ret = r == 0 ? json_dumps(claims, JSON_COMPACT) : NULL;
        return *ret ? CTL_EXIT_OK : ctl_fail("a claim is no valid text");
}

static int check_own_claims(const CtlOptions *o, const json_t *document) {
        const struct {
                const char *name, *given;
        } claims[] = { { "thing", o->thing }, { "job", o->job }, { "expires", o->expires } };

        for (size_t i = 0; i < ELEMENTSOF(claims); i++)
                if (claims[i].given && json_object_get(document, claims[i].name))
                        return ctl_fail("%s: it has a member \"%s\" already; leave that or --%s out", o->document, claims[i].name,
                                        claims[i].name);
        return CTL_EXIT_OK;
}

/* The claims in front of the document's own bytes: what it says of numbers, for one, must reach the handlers as it is written. */
static int make_payload(const CtlOptions *o, Buf *ret) {
        CLEANUP_JSON json_t *document = NULL;
        char *text CLEANUP_FREE = NULL, *claims CLEANUP_FREE = NULL;
        const char *members;
        Error e = {};
        size_t len, n;

        if (ctl_read_file(o->document, &text, &len) < 0)
                return CTL_EXIT_FAILED;
        if (json_parse_object(text, len, &document, &e) < 0)
                return ctl_fail("%s: %s", o->document, e.text);
        if (check_own_claims(o, document) != CTL_EXIT_OK || make_claims(o, &claims) != CTL_EXIT_OK)
                return CTL_EXIT_FAILED;
        n = strlen(claims);
        members = text;
        if (n > 2) { /* not "{}" */
                members = (const char *) memchr(text, '{', len) + 1;
                buf_append(ret, claims, n - 1);
                buf_puts(ret, json_object_size(document) > 0 ? "," : "");
        }
        buf_append(ret, members, len - (size_t) (members - text));
        return buf_error(ret) < 0 ? ctl_fail("no memory") : CTL_EXIT_OK;
}

int ctl_sign(const CtlOptions *o) {
        char *pem CLEANUP_FREE = NULL;
        EVP_PKEY *key CLEANUP_PKEY = NULL;
        Buf payload CLEANUP_BUF = {}, jws CLEANUP_BUF = {};
        Error e = {};
        size_t len = 0;

        if (signature_init() < 0)
                return ctl_fail("no memory");
        if (ctl_read_file(o->key, &pem, &len) < 0)
                return CTL_EXIT_FAILED;
        if (sign_read_key(pem, len, &key, &e) < 0)
                return ctl_fail("%s: %s", o->key, e.text);
        if (make_payload(o, &payload) != CTL_EXIT_OK)
                return CTL_EXIT_FAILED;
        if (sign_jws(key, o->kid, payload.data, payload.len, &jws, &e) < 0)
                return ctl_fail("%s: %s", o->document, e.text);
        /* Nothing in a compact JWS needs an escape. */
        if (printf("{\"jws\":\"%s\"}\n", jws.data) < 0 || fflush(stdout) != 0)
                return ctl_fail("cannot write the signed document");
        return CTL_EXIT_OK;
}
