/* SPDX-License-Identifier: Apache-2.0 */
#include "jws/jws.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

enum { QUOTED_MAX = 64 }; /* UTF-16 units of the text that a reason repeats */

static const char *const algorithm_names[] = {
        [JWS_EDDSA] = "EdDSA",
        [JWS_ES256] = "ES256",
};

const char *jws_algorithm_to_string(JwsAlgorithm a) {
        return algorithm_names[a];
}

int jws_fault(JwsFault *fault, const char *path, const char *format, ...) {
        size_t len;
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(fault->reason, sizeof fault->reason, format, ap);
        va_end(ap);
        len = strlen(fault->reason);
        while (len > 0 && !utf8_valid(fault->reason, len)) /* cut inside a character */
                fault->reason[--len] = '\0';
        (void) snprintf(fault->path, sizeof fault->path, "%s", path);
        return -EINVAL;
}

bool jws_kid_valid(const char *kid) {
        size_t n = strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");

        return n > 0 && n <= JWS_KID_MAX && !kid[n] && kid[0] != '.';
}

void jws_done(Jws *j) {
        free(j->payload);
        *j = (Jws){ 0 };
}

/* ---- header ---- */

static int parse_algorithm(const json_t *header, JwsAlgorithm *ret, JwsFault *fault) {
        const json_t *alg = json_object_get(header, "alg");
        CLEANUP_FREE char *clean = NULL;

        if (!alg)
                return jws_fault(fault, "jws.header.alg", "missing");
        if (!json_is_string(alg))
                return jws_fault(fault, "jws.header.alg", "a string expected");
        for (size_t i = 0; i < ELEMENTSOF(algorithm_names); i++)
                if (strcmp(json_string_value(alg), algorithm_names[i]) == 0) {
                        *ret = (JwsAlgorithm) i;
                        return 0;
                }
        clean = text_sanitize(json_string_value(alg), json_string_length(alg), QUOTED_MAX, false);
        if (!clean)
                return -ENOMEM;
        return jws_fault(fault, "jws.header.alg", "\"%s\" is not taken; EdDSA or ES256 expected", clean);
}

static int parse_kid(const json_t *header, char ret[static JWS_KID_MAX + 1], JwsFault *fault) {
        const json_t *kid = json_object_get(header, "kid");

        if (!kid)
                return 0;
        if (!json_is_string(kid))
                return jws_fault(fault, "jws.header.kid", "a string expected");
        if (!jws_kid_valid(json_string_value(kid)))
                return jws_fault(fault, "jws.header.kid",
                                 "the name of a key expected: 1 to %d letters, digits and ._+-, no leading dot",
                                 JWS_KID_MAX);
        (void) snprintf(ret, JWS_KID_MAX + 1, "%s", json_string_value(kid));
        return 0;
}

static int parse_header(const char *text, size_t len, Jws *j, JwsFault *fault) {
        CLEANUP_JSON json_t *header = NULL;
        CLEANUP_FREE char *bytes = NULL;
        size_t n = 0;
        Error e = { 0 };
        int r = base64url_decode(text, len, &bytes, &n);

        if (r == -EINVAL)
                return jws_fault(fault, "jws.header", "not base64url without padding");
        if (r < 0)
                return r;
        if (n > JWS_HEADER_MAX)
                return jws_fault(fault, "jws.header", "larger than %d bytes", JWS_HEADER_MAX);
        r = json_parse_object(bytes, n, &header, &e);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return jws_fault(fault, "jws.header", "%s", e.text);
        if (json_object_get(header, "crit"))
                return jws_fault(fault, "jws.header.crit", "no extension is understood");
        r = parse_algorithm(header, &j->algorithm, fault);
        return r < 0 ? r : parse_kid(header, j->kid, fault);
}

/* ---- the other parts ---- */

static int parse_payload(const char *text, size_t len, Jws *j, JwsFault *fault) {
        int r = base64url_decode(text, len, &j->payload, &j->payload_len);

        if (r == -EINVAL)
                return jws_fault(fault, "jws.payload", "not base64url without padding");
        if (r == 0 && j->payload_len == 0)
                return jws_fault(fault, "jws.payload", "empty");
        return r;
}

static int parse_signature(const char *text, size_t len, Jws *j, JwsFault *fault) {
        CLEANUP_FREE char *bytes = NULL;
        size_t n = 0;
        int r = base64url_decode(text, len, &bytes, &n);

        if (r == -EINVAL)
                return jws_fault(fault, "jws.signature", "not base64url without padding");
        if (r < 0)
                return r;
        if (n != sizeof j->signature)
                return jws_fault(fault, "jws.signature", "%zu bytes long, not %zu", n, sizeof j->signature);
        memcpy(j->signature, bytes, sizeof j->signature);
        return 0;
}

int jws_parse(const char *text, size_t len, Jws *ret, JwsFault *fault) {
        CLEANUP_JWS Jws j = { 0 };
        const char *dot, *second, *end = text + len;
        int r;

        if (len == 0)
                return jws_fault(fault, "jws", "empty");
        if (len > JWS_TEXT_MAX)
                return jws_fault(fault, "jws", "larger than %d bytes", JWS_TEXT_MAX);
        dot = memchr(text, '.', len);
        second = dot ? memchr(dot + 1, '.', (size_t) (end - dot - 1)) : NULL;
        if (!second || memchr(second + 1, '.', (size_t) (end - second - 1)))
                return jws_fault(fault, "jws", "three parts with dots between them expected");
        j.signed_len = (size_t) (second - text);
        r = parse_header(text, (size_t) (dot - text), &j, fault);
        if (r == 0)
                r = parse_payload(dot + 1, (size_t) (second - dot - 1), &j, fault);
        if (r == 0)
                r = parse_signature(second + 1, (size_t) (end - second - 1), &j, fault);
        if (r < 0)
                return r;
        *ret = j;
        j = (Jws){ 0 };
        return 0;
}

/* ---- making one ---- */

int jws_signing_input(JwsAlgorithm algorithm, const char *kid, const char *payload, size_t len, Buf *ret,
                      JwsFault *fault) {
        CLEANUP_JSON json_t *object = NULL;
        CLEANUP_BUF Buf header = { 0 };
        Error e = { 0 };
        int r;

        if (kid && !jws_kid_valid(kid))
                return jws_fault(fault, "jws.header.kid",
                                 "the name of a key expected: 1 to %d letters, digits and ._+-, no leading dot",
                                 JWS_KID_MAX);
        r = json_parse_object(payload, len, &object, &e);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return jws_fault(fault, "jws.payload", "%s", e.text);
        buf_printf(&header, "{\"alg\":\"%s\"", algorithm_names[algorithm]);
        if (kid)
                buf_printf(&header, ",\"kid\":\"%s\"", kid);
        buf_puts(&header, "}");
        if (buf_error(&header) < 0)
                return -ENOMEM;
        base64url_encode(header.data, header.len, ret);
        buf_puts(ret, ".");
        base64url_encode(payload, len, ret);
        return buf_error(ret);
}
