/* SPDX-License-Identifier: Apache-2.0 */
/* The two signatures a JWS may have, by OpenSSL. */
#pragma once

#include <openssl/evp.h>

#include "jws/jws.h"

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
#define CLEANUP_PKEY __attribute__((cleanup(EVP_PKEY_free_p)))

/* Before anything else of OpenSSL, once: no configuration file, no atexit handler. 0 or -ENOMEM. */
int signature_init(void) MUST_USE;

/* Which algorithm a key is for: Ed25519 or P-256. A key is for one only. 0, or -EINVAL: for none. */
int signature_algorithm(const EVP_PKEY *key, JwsAlgorithm *ret) MUST_USE;

/* 1 = good, 0 = bad, -ENOMEM. The key must be for the algorithm. */
int signature_check(EVP_PKEY *key, JwsAlgorithm algorithm, const char *input, size_t len,
                    const unsigned char signature[static JWS_SIGNATURE_BYTES]) MUST_USE;

/* 0, or -EIO with OpenSSL's words in e. The key must be for the algorithm, and private. */
int signature_make(EVP_PKEY *key, JwsAlgorithm algorithm, const char *input, size_t len,
                   unsigned char ret[static JWS_SIGNATURE_BYTES], Error *e) MUST_USE;

/* OpenSSL's last error in words, "unknown" if there is none; forgets all. */
const char *signature_openssl_reason(void);
