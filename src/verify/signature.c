/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/signature.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum {
        P256_BYTES = JWS_SIGNATURE_BYTES / 2,   /* of r, and of s */
        DER_MAX = 2 + 2 * (2 + 1 + P256_BYTES), /* SEQUENCE of two INTEGERs with a sign byte each */
};

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
#define CLEANUP_MD_CTX __attribute__((cleanup(EVP_MD_CTX_free_p)))
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)
#define CLEANUP_ECDSA_SIG __attribute__((cleanup(ECDSA_SIG_free_p)))

int signature_init(void) {
        const uint64_t options = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;

        return OPENSSL_init_crypto(options, NULL) == 1 ? 0 : -ENOMEM;
}

const char *signature_openssl_reason(void) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        ERR_clear_error();
        return reason ? reason : "unknown";
}

int signature_algorithm(const EVP_PKEY *key, JwsAlgorithm *ret) {
        char group[32] = "";

        if (EVP_PKEY_is_a(key, "ED25519")) {
                *ret = JWS_EDDSA;
                return 0;
        }
        if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
            strcmp(group, "prime256v1") == 0) {
                *ret = JWS_ES256;
                return 0;
        }
        return -EINVAL;
}

static const EVP_MD *digest_of(JwsAlgorithm algorithm) {
        switch (algorithm) {
        case JWS_EDDSA: /* hashes by itself */
                return NULL;
        case JWS_ES256:
                return EVP_sha256();
        }
        return NULL;
}

/* r and s as JWS has them → as OpenSSL wants them. The length, or -ENOMEM. */
static int encode_der(const unsigned char *raw, unsigned char ret[static DER_MAX]) {
        CLEANUP_ECDSA_SIG ECDSA_SIG *pair = ECDSA_SIG_new();
        BIGNUM *r = BN_bin2bn(raw, P256_BYTES, NULL), *s = BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL);
        unsigned char *end = ret;
        int n;

        if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
                BN_free(r);
                BN_free(s);
                return -ENOMEM;
        }
        n = i2d_ECDSA_SIG(pair, &end);
        return n > 0 ? n : -ENOMEM;
}

static int decode_der(const unsigned char *der, size_t len, unsigned char ret[static JWS_SIGNATURE_BYTES]) {
        CLEANUP_ECDSA_SIG ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long) len);

        if (!pair || BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret, P256_BYTES) != P256_BYTES ||
            BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret + P256_BYTES, P256_BYTES) != P256_BYTES)
                return -EIO;
        return 0;
}

int signature_check(EVP_PKEY *key, JwsAlgorithm algorithm, const char *input, size_t len,
                    const unsigned char signature[static JWS_SIGNATURE_BYTES]) {
        CLEANUP_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        unsigned char der[DER_MAX];
        size_t n = JWS_SIGNATURE_BYTES;
        bool good;

        if (!ctx || EVP_DigestVerifyInit(ctx, NULL, digest_of(algorithm), NULL, key) != 1)
                return -ENOMEM;
        if (algorithm == JWS_ES256) {
                int r = encode_der(signature, der);

                if (r < 0)
                        return r;
                n = (size_t) r;
                signature = der;
        }
        good = EVP_DigestVerify(ctx, signature, n, (const unsigned char *) input, len) == 1;
        ERR_clear_error(); /* of a bad one */
        return good;
}

int signature_make(EVP_PKEY *key, JwsAlgorithm algorithm, const char *input, size_t len,
                   unsigned char ret[static JWS_SIGNATURE_BYTES], Error *e) {
        CLEANUP_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        unsigned char made[DER_MAX];
        size_t n = sizeof made;
        int r = 0;

        if (!ctx || EVP_DigestSignInit(ctx, NULL, digest_of(algorithm), NULL, key) != 1 ||
            EVP_DigestSign(ctx, made, &n, (const unsigned char *) input, len) != 1)
                return error_set(e, EIO, "cannot sign: %s", signature_openssl_reason());
        if (algorithm == JWS_ES256)
                r = decode_der(made, n, ret);
        else
                memcpy(ret, made, JWS_SIGNATURE_BYTES);
        return r < 0 ? error_set(e, EIO, "cannot sign: %s", signature_openssl_reason()) : 0;
}
