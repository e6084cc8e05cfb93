/* SPDX-License-Identifier: Apache-2.0 */
/* The other side: making a signed document. For tools, never for the runner. */
#pragma once

#include "verify/signature.h"

/* A private key from its PEM text; one with a passphrase is refused. 0 and *ret (caller: EVP_PKEY_free), or negative errno with
 * text in e. */
int sign_read_key(const char *pem, size_t len, EVP_PKEY **ret, Error *e) MUST_USE;

/* The compact JWS of a payload, appended. `kid` may be NULL: then every trusted key is tried. The payload must be strict JSON, an
 * object, and what comes out must fit into a document. 0, or negative errno with text in e. */
int sign_jws(EVP_PKEY *key, const char *kid, const char *payload, size_t len, Buf *ret, Error *e) MUST_USE;
