/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests of TLS, made on the spot in a directory of the test's own. */
#pragma once

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#define CERTS_DAY 86400L

typedef struct Authority {
        EVP_PKEY *key;
        X509 *cert;
} Authority;

static inline EVP_PKEY *certs_key(void) {
        EVP_PKEY *key = EVP_EC_gen("P-256");

        ck_assert_ptr_nonnull(key);
        return key;
}

static inline void certs_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
        X509_EXTENSION *ext;
        X509V3_CTX ctx;

        X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
        ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        ck_assert_ptr_nonnull(ext);
        ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
        X509_EXTENSION_free(ext);
}

static inline X509 *certs_blank(EVP_PKEY *key, const char *cn, long from, long to) {
        static long serial = 1;
        X509 *cert = X509_new();

        ck_assert_ptr_nonnull(cert);
        (void) X509_set_version(cert, 2);
        (void) ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
        (void) X509_gmtime_adj(X509_getm_notBefore(cert), from);
        (void) X509_gmtime_adj(X509_getm_notAfter(cert), to);
        (void) X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                          (const unsigned char *) cn, -1, -1, 0);
        (void) X509_set_pubkey(cert, key);
        return cert;
}

static inline Authority certs_authority(const char *cn) {
        Authority a = { .key = certs_key() };

        a.cert = certs_blank(a.key, cn, -CERTS_DAY, 3650 * CERTS_DAY);
        (void) X509_set_issuer_name(a.cert, X509_get_subject_name(a.cert));
        certs_extension(a.cert, a.cert, NID_basic_constraints, "critical,CA:TRUE");
        certs_extension(a.cert, a.cert, NID_subject_key_identifier, "hash");
        ck_assert_int_gt(X509_sign(a.cert, a.key, EVP_sha256()), 0);
        return a;
}

static inline void certs_authority_done(Authority *a) {
        EVP_PKEY_free(a->key);
        X509_free(a->cert);
}

static inline void certs_write(const char *dir, const char *name, const char *suffix, X509 *cert,
                               EVP_PKEY *key, const EVP_CIPHER *cipher) {
        char path[512];
        FILE *f;

        (void) snprintf(path, sizeof path, "%s/%s.%s", dir, name, suffix);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        if (cert)
                ck_assert_int_eq(PEM_write_X509(f, cert), 1);
        if (key)
                ck_assert_int_eq(PEM_write_PrivateKey(f, key, cipher, (const unsigned char *) "secret",
                                                      cipher ? 6 : 0, NULL, NULL),
                                 1);
        ck_assert_int_eq(fclose(f), 0);
}

/* A subjectAltName whose DNS name is any bytes, a NUL too. */
static inline void certs_raw_name(X509 *cert, const char *bytes, int len) {
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();

        ck_assert_int_eq(ASN1_STRING_set(text, bytes, len), 1);
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        (void) sk_GENERAL_NAME_push(names, name);
        ck_assert_int_eq(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
        GENERAL_NAMES_free(names);
}

/* DIR/NAME.pem and DIR/NAME.key. `alt`: subjectAltName, NULL = none; raw_len > 0: `alt` is the bytes of one DNS name. */
static inline void certs_leaf(const Authority *a, const char *dir, const char *name, const char *cn,
                              const char *alt, int raw_len, long from, long to) {
        EVP_PKEY *key = certs_key();
        X509 *cert = certs_blank(key, cn, from, to);

        (void) X509_set_issuer_name(cert, X509_get_subject_name(a->cert));
        if (raw_len > 0)
                certs_raw_name(cert, alt, raw_len);
        else if (alt)
                certs_extension(cert, a->cert, NID_subject_alt_name, alt);
        ck_assert_int_gt(X509_sign(cert, a->key, EVP_sha256()), 0);
        certs_write(dir, name, "pem", cert, NULL, NULL);
        certs_write(dir, name, "key", NULL, key, NULL);
        X509_free(cert);
        EVP_PKEY_free(key);
}
