/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/sign.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

DEFINE_CLEANUP(BIO *, BIO_free)
#define CLEANUP_BIO __attribute__((cleanup(BIO_free_p)))

enum { DOCUMENT_AROUND = sizeof "{\"jws\":\"\"}" - 1 };

/* Nobody is asked. */
static int no_passphrase(char *buf, int size, int writing, void *userdata) {
        (void) buf;
        (void) size;
        (void) writing;
        (void) userdata;
        return -1;
}

int sign_read_key(const char *pem, size_t len, EVP_PKEY **ret, Error *e) {
        CLEANUP_BIO BIO *bio = len <= INT32_MAX ? BIO_new_mem_buf(pem, (int) len) : NULL;
        CLEANUP_PKEY EVP_PKEY *key = NULL;
        JwsAlgorithm algorithm;

        if (!bio)
                return error_set(e, ENOMEM, "private key: no memory");
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        if (!key)
                return error_set(e, EINVAL, "no private key in PEM without a passphrase (%s)",
                                 signature_openssl_reason());
        if (signature_algorithm(key, &algorithm) < 0)
                return error_set(e, EINVAL, "neither an Ed25519 nor a P-256 key");
        *ret = TAKE(key);
        return 0;
}

int sign_jws(EVP_PKEY *key, const char *kid, const char *payload, size_t len, Buf *ret, Error *e) {
        unsigned char signature[JWS_SIGNATURE_BYTES];
        CLEANUP_BUF Buf text = { 0 };
        JwsAlgorithm algorithm;
        JwsFault fault = { 0 };
        int r = signature_algorithm(key, &algorithm);

        if (r < 0)
                return error_set(e, EINVAL, "neither an Ed25519 nor a P-256 key");
        r = jws_signing_input(algorithm, kid, payload, len, &text, &fault);
        if (r == -EINVAL)
                return error_set(e, EINVAL, "%s: %s", fault.path, fault.reason);
        if (r < 0)
                return error_set(e, ENOMEM, "no memory for the signed document");
        r = signature_make(key, algorithm, text.data, text.len, signature, e);
        if (r < 0)
                return r;
        buf_puts(&text, ".");
        base64url_encode(signature, sizeof signature, &text);
        if (buf_error(&text) < 0)
                return error_set(e, ENOMEM, "no memory for the signed document");
        if (text.len + DOCUMENT_AROUND > JWS_TEXT_MAX)
                return error_set(e, EFBIG,
                                 "the signed document would have %zu bytes, more than the %d of a job document",
                                 text.len + DOCUMENT_AROUND, JWS_TEXT_MAX);
        buf_append(ret, text.data, text.len);
        return buf_error(ret) < 0 ? error_set(e, ENOMEM, "no memory for the signed document") : 0;
}
