/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Why no key could even be tried. */
static int no_key(const Jws *j, const TrustedKeys *keys, JwsFault *fault) {
        if (keys->n == 0)
                return jws_fault(fault, "jws", "signed, but this device trusts no keys (policy.trusted_keys)");
        if (!j->kid[0])
                return jws_fault(fault, "jws.header.alg", "no key for %s is trusted here (policy.trusted_keys)",
                                 jws_algorithm_to_string(j->algorithm));
        for (size_t i = 0; i < keys->n; i++)
                if (strcmp(keys->keys[i].kid, j->kid) == 0) {
                        const TrustedKey *k = &keys->keys[i];

                        if (!k->key)
                                return jws_fault(fault, "jws.header.kid", "key \"%s\" cannot be used: %s", j->kid,
                                                 k->why);
                        return jws_fault(fault, "jws.header.alg", "key \"%s\" is for %s, not for %s", j->kid,
                                         jws_algorithm_to_string(k->algorithm), jws_algorithm_to_string(j->algorithm));
                }
        return jws_fault(fault, "jws.header.kid", "no key \"%s\" is trusted here (policy.trusted_keys)", j->kid);
}

static int find_signer(const char *text, const Jws *j, const TrustedKeys *keys, const TrustedKey **ret,
                       JwsFault *fault) {
        size_t tried = 0;

        for (size_t i = 0; i < keys->n; i++) {
                const TrustedKey *k = &keys->keys[i];
                int r;

                if (!k->key || k->algorithm != j->algorithm || (j->kid[0] && strcmp(k->kid, j->kid) != 0))
                        continue;
                r = signature_check(k->key, j->algorithm, text, j->signed_len, j->signature);
                if (r < 0)
                        return r;
                if (r > 0) {
                        *ret = k;
                        return 0;
                }
                tried++;
        }
        if (tried == 0)
                return no_key(j, keys, fault);
        if (j->kid[0])
                return jws_fault(fault, "jws.signature", "wrong: key \"%s\" did not sign this", j->kid);
        return jws_fault(fault, "jws.signature", "wrong: none of the %zu trusted keys for %s signed this", tried,
                         jws_algorithm_to_string(j->algorithm));
}

int verify_jws(const char *text, size_t len, const TrustedKeys *keys, const JwsExpected *expected, Jws *ret,
               char ret_kid[static JWS_KID_MAX + 1], JwsFault *fault) {
        CLEANUP_JWS Jws j = { 0 };
        const TrustedKey *signer = NULL;
        int r = jws_parse(text, len, &j, fault);

        if (r == 0)
                r = find_signer(text, &j, keys, &signer, fault);
        if (r == 0)
                r = jws_claims_check(j.payload, j.payload_len, expected, fault);
        if (r < 0)
                return r;
        (void) snprintf(ret_kid, JWS_KID_MAX + 1, "%s", signer->kid);
        *ret = j;
        j = (Jws){ 0 };
        return 0;
}
