/* SPDX-License-Identifier: Apache-2.0 */
/* The public keys a device trusts: the files NAME.pem (or NAME.pub, PEM all the same) of one directory. NAME is the key's id.
 *
 * Only regular files that belong to root or to the owner, are writable by nobody else, and whose name is a key id count;
 * links are not followed. The directory itself must be as good. What a file ought to be and is not is remembered with
 * its reason, so that a document which names it is told. */
#pragma once

#include <sys/types.h>

#include "verify/signature.h"

enum {
        TRUSTED_KEYS_MAX = 64,         /* files of one directory */
        TRUSTED_KEY_BYTES_MAX = 16384, /* of one file */
        TRUSTED_KEY_WHY_MAX = 192,
};

typedef struct TrustedKey {
        char kid[JWS_KID_MAX + 1];
        EVP_PKEY *key; /* owned; NULL = it cannot be used */
        JwsAlgorithm algorithm;
        char why[TRUSTED_KEY_WHY_MAX]; /* it cannot be used */
} TrustedKey;

typedef struct TrustedKeys {
        TrustedKey *keys; /* by id */
        size_t n;
} TrustedKeys;

/* `dir_fd` may be O_PATH. 0 (caller: trusted_keys_done); -EPERM, -E2BIG with text in e: this directory is no good; other
 * negative errno: it could not be read. */
int trusted_keys_load(int dir_fd, uid_t owner, TrustedKeys *ret, Error *e) MUST_USE;
void trusted_keys_done(TrustedKeys *k);
#define CLEANUP_TRUSTED_KEYS __attribute__((cleanup(trusted_keys_done)))
