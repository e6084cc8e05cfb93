/* SPDX-License-Identifier: Apache-2.0 */
/* A compact JWS (RFC 7515) around a job document: its parts and its claims, without the cryptography. PURE.
 *
 *   base64url(header) "." base64url(payload) "." base64url(signature)
 *
 * Strict where leniency has been the way in elsewhere: one algorithm per key type and none without a key, no padding, no white
 * space, no bits that decode to nothing, nothing that asks for more understanding than there is ("crit"). Whatever else a
 * header says about keys ("jwk", "jku", "x5u", …) is not looked at: keys come from the device's own directory only. */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "proto/limits.h"

enum {
        JWS_KID_MAX = 64,         /* [A-Za-z0-9._+-], no leading dot: the name of a key's file without its suffix */
        JWS_HEADER_MAX = 2048,    /* bytes of its JSON */
        JWS_SIGNATURE_BYTES = 64, /* of either algorithm */
        JWS_TEXT_MAX = LIMIT_DOCUMENT, /* the whole; it arrives inside a document */
};

typedef enum JwsAlgorithm {
        JWS_EDDSA, /* Ed25519 (RFC 8037) */
        JWS_ES256, /* P-256 with SHA-256, r and s of 32 bytes each (RFC 7518 section 3.4) */
} JwsAlgorithm;

const char *jws_algorithm_to_string(JwsAlgorithm a); /* "EdDSA", "ES256" */

typedef struct JwsFault {
        char reason[384]; /* "missing", "a string expected", … */
        char path[64];    /* "jws", "jws.header.alg", "jws.payload.thing" */
} JwsFault;

/* Fills the fault, returns -EINVAL. */
int jws_fault(JwsFault *fault, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);

typedef struct Jws {
        JwsAlgorithm algorithm;
        char kid[JWS_KID_MAX + 1]; /* "" = none */
        size_t signed_len;         /* the signing input is that many bytes of the text, from its start */
        char *payload;             /* owned, NUL-terminated. Nobody may look at it before the signature was verified */
        size_t payload_len;
        unsigned char signature[JWS_SIGNATURE_BYTES];
} Jws;

/* Take the text apart. 0 (caller: jws_done), -EINVAL with the fault, -ENOMEM. */
int jws_parse(const char *text, size_t len, Jws *ret, JwsFault *fault) MUST_USE;
void jws_done(Jws *j);
#define CLEANUP_JWS __attribute__((cleanup(jws_done)))

/* What the payload's claims are held against. */
typedef struct JwsExpected {
        const char *thing, *job;
        int64_t now;   /* epoch seconds */
        int64_t built; /* epoch seconds: the clock cannot be right while it is before this */
        bool required; /* policy.require_signature: `thing` and `expires` must be there */
        bool accepted; /* the run began in time (it comes back after a reboot, say): time is not looked at */
} JwsExpected;

/* The payload is an object; its members `thing`, `job`, `expires` are as expected where they are. 0, -EINVAL with the fault,
 * -ENOMEM. */
int jws_claims_check(const char *payload, size_t len, const JwsExpected *expected, JwsFault *fault) MUST_USE;

/* ---- making one ---- */

/* `kid` may be NULL. What comes out is the signing input: header and payload, without the second dot. The payload must be an
 * object in strict JSON. 0, -EINVAL with the fault, -ENOMEM. */
int jws_signing_input(JwsAlgorithm algorithm, const char *kid, const char *payload, size_t len, Buf *ret,
                      JwsFault *fault) MUST_USE;

bool jws_kid_valid(const char *kid);

void base64url_encode(const void *data, size_t len, Buf *ret);
/* Exactly what base64url_encode() makes, nothing else: 0 and *ret (owned, followed by a NUL), -EINVAL, -ENOMEM. */
int base64url_decode(const char *text, size_t len, char **ret, size_t *ret_len) MUST_USE;
