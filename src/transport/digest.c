/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/digest.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static bool done(bool good) {
        ERR_clear_error();
        return good;
}

static bool sha256(const void *data, size_t len, unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        return done(EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1);
}

static bool hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                        unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        if (key_len > INT_MAX)
                return false;
        return done(HMAC(EVP_sha256(), key, (int) key_len, data, len, ret, NULL) != NULL);
}

const Sigv4Digests digest_sigv4 = { .sha256 = sha256, .hmac_sha256 = hmac_sha256 };

bool digest_sha1(const void *data, size_t len, unsigned char ret[static DIGEST_SHA1_SIZE]) {
        return done(EVP_Digest(data, len, ret, NULL, EVP_sha1(), NULL) == 1);
}
