/* SPDX-License-Identifier: Apache-2.0 */
/* A private key that stays in its token: PKCS#11 or TPM 2.0, through an OpenSSL engine or provider. Nothing of either is
 * loaded into the process before the first call. */
#pragma once

#include <openssl/evp.h>

#include "transport/settings.h"

typedef struct TlsKey {
        EVP_PKEY *key;   /* owned by whoever loaded it */
        bool pkcs1_only; /* RSA that cannot sign with PSS, and so not in TLS 1.3 */
} TlsKey;

/* The key that s->key_uri names, by s->engine: the name of an engine, or of a provider where there is no such engine; NULL:
 * "pkcs11" for "pkcs11:" URIs, else "tpm2". Asks nobody for a PIN: it belongs into the URI (pin-value) or a file that the URI
 * names (pin-source). A PIN that the token has refused is not tried a second time, since a token locks itself after a few.
 * 0, or negative errno with what is missing (package, token, PIN, object) in e, which never holds the PIN. */
int tls_key_load(const Settings *s, TlsKey *ret, Error *e) MUST_USE;
