/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures with real keys: the vectors of the RFCs, keys made here, every way to tamper, and the program itself. */
#include "verify/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "base/seccomp.h"
#include "jws/answer.h"
#include "unit.h"
#include "verify/sign.h"

enum { NOW = 1800000000, BUILT = 1790000000 };

static const JwsExpected loose = { .thing = "pump-1", .job = "j1", .now = NOW, .built = BUILT };

/* ---- keys ---- */

typedef enum KeyName {
        ED_A,
        ED_B,
        EC_A,
        EC_B,
        N_KEYS,
} KeyName;

static const char *const key_ids[] = { [ED_A] = "ed-a", [ED_B] = "ed-b", [EC_A] = "ec-a", [EC_B] = "ec-b" };
static EVP_PKEY *made[N_KEYS];

static void make_keys(void) {
        ck_assert_int_eq(signature_init(), 0);
        for (size_t i = 0; i < N_KEYS; i++) {
                made[i] = i <= ED_B ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen("P-256");
                ck_assert_ptr_nonnull(made[i]);
        }
}

static void free_keys(void) {
        for (size_t i = 0; i < N_KEYS; i++) {
                EVP_PKEY_free(made[i]);
                made[i] = NULL;
        }
}

/* What a device trusts, without files; NULL-terminated list of keys, which stay their owner's. */
static TrustedKeys trust(TrustedKey *room, const int *names, size_t n) {
        for (size_t i = 0; i < n; i++) {
                room[i] = (TrustedKey){ .key = made[names[i]] };
                ck_assert_int_eq(signature_algorithm(room[i].key, &room[i].algorithm), 0);
                (void) snprintf(room[i].kid, sizeof room[i].kid, "%s", key_ids[names[i]]);
        }
        return (TrustedKeys){ .keys = room, .n = n };
}

#define TRUST(...)                                                                              \
        trust((TrustedKey[N_KEYS]){ 0 }, (const int[]){ __VA_ARGS__ },                          \
              sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

static void sign(KeyName key, const char *kid, const char *payload, Buf *ret) {
        Error e = { 0 };

        ck_assert_msg(sign_jws(made[key], kid, payload, strlen(payload), ret, &e) == 0, "%s", e.text);
}

/* A good signature under a header that sign_jws() would not write. */
static void sign_header(KeyName key, const char *header, const char *payload, Buf *ret) {
        unsigned char signature[JWS_SIGNATURE_BYTES];
        JwsAlgorithm algorithm;
        Error e = { 0 };

        base64url_encode(header, strlen(header), ret);
        buf_puts(ret, ".");
        base64url_encode(payload, strlen(payload), ret);
        ck_assert_int_eq(signature_algorithm(made[key], &algorithm), 0);
        ck_assert_int_eq(signature_make(made[key], algorithm, ret->data, ret->len, signature, &e), 0);
        buf_puts(ret, ".");
        base64url_encode(signature, sizeof signature, ret);
}

static void expect_good(const char *text, const TrustedKeys *keys, const JwsExpected *expected, const char *payload,
                        const char *kid) {
        CLEANUP_JWS Jws j = { 0 };
        char signer[JWS_KID_MAX + 1] = "";
        JwsFault fault = { 0 };
        int r = verify_jws(text, strlen(text), keys, expected, &j, signer, &fault);

        ck_assert_msg(r == 0, "%s: %s: %s", text, fault.path, fault.reason);
        ck_assert_str_eq(j.payload, payload);
        ck_assert_str_eq(signer, kid);
}

/* `reason` NULL: whatever it is. */
static void expect_bad(const char *text, const TrustedKeys *keys, const JwsExpected *expected, const char *path,
                       const char *reason) {
        Jws j = { 0 };
        char signer[JWS_KID_MAX + 1] = "";
        JwsFault fault = { 0 };
        int r = verify_jws(text, strlen(text), keys, expected, &j, signer, &fault);

        ck_assert_msg(r == -EINVAL, "%s: result %d", text, r);
        if (path)
                ck_assert_str_eq(fault.path, path);
        if (reason)
                ck_assert_str_eq(fault.reason, reason);
        ck_assert_ptr_null(j.payload);
        ck_assert_str_eq(signer, "");
}

/* ---- the RFCs' own examples ---- */

static EVP_PKEY *p256_public(const char *x, const char *y) {
        CLEANUP_FREE char *xb = NULL, *yb = NULL;
        unsigned char point[65] = { 4 };
        char group[] = "prime256v1";
        OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                                OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
                                OSSL_PARAM_construct_end() };
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        EVP_PKEY *key = NULL;
        size_t n = 0;

        ck_assert_int_eq(base64url_decode(x, strlen(x), &xb, &n), 0);
        memcpy(point + 1, xb, 32);
        ck_assert_int_eq(base64url_decode(y, strlen(y), &yb, &n), 0);
        memcpy(point + 33, yb, 32);
        ck_assert_int_eq(EVP_PKEY_fromdata_init(ctx), 1);
        ck_assert_int_eq(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
        EVP_PKEY_CTX_free(ctx);
        return key;
}

/* RFC 7515 appendix A.3 */
START_TEST(rfc7515_es256) {
        CLEANUP_PKEY EVP_PKEY *key = p256_public("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                                                 "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        TrustedKey one = { .kid = "rfc", .key = key, .algorithm = JWS_ES256 };
        TrustedKeys keys = { .keys = &one, .n = 1 };
        char text[] = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
                      "c19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-K"
                      "g6NU1Q";

        expect_good(text, &keys, &loose, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}",
                    "rfc");
        text[sizeof text - 4] ^= 1;
        expect_bad(text, &keys, &loose, "jws.signature", "wrong: none of the 1 trusted keys for ES256 signed this");
}
END_TEST

/* RFC 8037 appendix A.4 and A.5: its payload is no job document, but the signature is good. */
START_TEST(rfc8037_eddsa) {
        static const char text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcv"
                                   "Mg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        CLEANUP_FREE char *x = NULL;
        CLEANUP_JWS Jws j = { 0 };
        CLEANUP_PKEY EVP_PKEY *key = NULL;
        JwsFault fault = { 0 };
        size_t n = 0;

        ck_assert_int_eq(base64url_decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", 43, &x, &n), 0);
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *) x, n);
        ck_assert_ptr_nonnull(key);
        ck_assert_int_eq(jws_parse(text, sizeof text - 1, &j, &fault), 0);
        ck_assert_str_eq(j.payload, "Example of Ed25519 signing");
        ck_assert_int_eq(signature_check(key, j.algorithm, text, j.signed_len, j.signature), 1);
        j.signature[5] ^= 4;
        ck_assert_int_eq(signature_check(key, j.algorithm, text, j.signed_len, j.signature), 0);
        {
                TrustedKey one = { .kid = "rfc", .key = key, .algorithm = JWS_EDDSA };
                TrustedKeys keys = { .keys = &one, .n = 1 };

                expect_bad(text, &keys, &loose, "jws.payload", "JSON line 1 column 7: invalid token near 'Example'");
        }
}
END_TEST

/* RFC 8037 appendix A.1, A.4: signing with its private key gives its signature. */
START_TEST(rfc8037_signing) {
        CLEANUP_FREE char *d = NULL;
        CLEANUP_PKEY EVP_PKEY *key = NULL;
        CLEANUP_BUF Buf b = { 0 };
        static const char input[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        unsigned char signature[JWS_SIGNATURE_BYTES];
        Error e = { 0 };
        size_t n = 0;

        ck_assert_int_eq(base64url_decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", 43, &d, &n), 0);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *) d, n);
        ck_assert_ptr_nonnull(key);
        ck_assert_int_eq(signature_make(key, JWS_EDDSA, input, sizeof input - 1, signature, &e), 0);
        base64url_encode(signature, sizeof signature, &b);
        ck_assert_str_eq(b.data, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
}
END_TEST

/* ---- whom to believe ---- */

#define DOCUMENT "{\"operation\":\"a\",\"thing\":\"pump-1\",\"job\":\"j1\",\"expires\":1800000060}"

START_TEST(round_trip) {
        TrustedKeys all = TRUST(ED_A, ED_B, EC_A, EC_B);

        for (KeyName k = 0; k < N_KEYS; k++) {
                CLEANUP_BUF Buf named = { 0 }, plain = { 0 };

                sign(k, key_ids[k], DOCUMENT, &named);
                expect_good(named.data, &all, &loose, DOCUMENT, key_ids[k]);
                sign(k, NULL, DOCUMENT, &plain); /* every key of the kind is tried */
                expect_good(plain.data, &all, &loose, DOCUMENT, key_ids[k]);
        }
}
END_TEST

/* ES256 signatures differ each time, with r or s that start with zeros now and then: all must be 64 bytes and good. */
START_TEST(es256_many) {
        TrustedKeys keys = TRUST(EC_A);

        for (int i = 0; i < 300; i++) {
                CLEANUP_BUF Buf b = { 0 };

                sign(EC_A, NULL, "{}", &b);
                expect_good(b.data, &keys, &loose, "{}", "ec-a");
        }
}
END_TEST

START_TEST(wrong_key) {
        CLEANUP_BUF Buf ed = { 0 }, ec = { 0 }, named = { 0 };
        TrustedKeys other = TRUST(ED_B, EC_B), one = TRUST(ED_B), none = { 0 };

        sign(ED_A, NULL, DOCUMENT, &ed);
        sign(EC_A, NULL, DOCUMENT, &ec);
        expect_bad(ed.data, &other, &loose, "jws.signature", "wrong: none of the 1 trusted keys for EdDSA signed this");
        expect_bad(ec.data, &other, &loose, "jws.signature", "wrong: none of the 1 trusted keys for ES256 signed this");
        expect_bad(ec.data, &one, &loose, "jws.header.alg", "no key for ES256 is trusted here (policy.trusted_keys)");
        expect_bad(ed.data, &none, &loose, "jws", "signed, but this device trusts no keys (policy.trusted_keys)");
        sign(ED_A, "ed-b", DOCUMENT, &named); /* with another's name */
        expect_bad(named.data, &other, &loose, "jws.signature", "wrong: key \"ed-b\" did not sign this");
}
END_TEST

/* A kid is binding: the right key under another name does not help. */
START_TEST(unknown_kid) {
        CLEANUP_BUF Buf b = { 0 };
        TrustedKeys keys = TRUST(ED_A, EC_A);

        sign(ED_A, "ed-x", DOCUMENT, &b);
        expect_bad(b.data, &keys, &loose, "jws.header.kid", "no key \"ed-x\" is trusted here (policy.trusted_keys)");
}
END_TEST

START_TEST(two_keys) {
        CLEANUP_BUF Buf first = { 0 }, second = { 0 };
        TrustedKeys both = TRUST(EC_A, EC_B), old = TRUST(EC_A), next = TRUST(EC_B);

        sign(EC_A, NULL, DOCUMENT, &first);
        sign(EC_B, NULL, DOCUMENT, &second);
        expect_good(first.data, &both, &loose, DOCUMENT, "ec-a"); /* while keys are changed, both are good */
        expect_good(second.data, &both, &loose, DOCUMENT, "ec-b");
        expect_bad(second.data, &old, &loose, "jws.signature", NULL);
        expect_bad(first.data, &next, &loose, "jws.signature", NULL);
}
END_TEST

/* The algorithm is the key's, not the header's. */
START_TEST(wrong_algorithm) {
        static const char *const refused[] = { "none", "None", "nOnE", "HS256", "HS512", "RS256", "PS256", "ES384",
                                               "ES512", "ES256K", "Ed448", "eddsa", "" };
        TrustedKeys keys = TRUST(ED_A, EC_A);

        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                CLEANUP_BUF Buf b = { 0 };
                char header[64];

                (void) snprintf(header, sizeof header, "{\"alg\":\"%s\"}", refused[i]);
                sign_header(EC_A, header, DOCUMENT, &b);
                expect_bad(b.data, &keys, &loose, "jws.header.alg", NULL);
        }
        {
                CLEANUP_BUF Buf crossed = { 0 }, named = { 0 };

                sign_header(EC_A, "{\"alg\":\"EdDSA\"}", DOCUMENT, &crossed);
                expect_bad(crossed.data, &keys, &loose, "jws.signature", "wrong: none of the 1 trusted keys for EdDSA signed this");
                sign_header(EC_A, "{\"alg\":\"EdDSA\",\"kid\":\"ec-a\"}", DOCUMENT, &named);
                expect_bad(named.data, &keys, &loose, "jws.header.alg", "key \"ec-a\" is for ES256, not for EdDSA");
        }
}
END_TEST

/* A key in the header, a header nobody understands, a header that is no header. */
START_TEST(hostile_headers) {
        static const struct {
                const char *header, *path;
        } headers[] = {
                { "{\"alg\":\"EdDSA\",\"crit\":[\"exp\"],\"exp\":1}", "jws.header.crit" },
                { "{\"alg\":\"EdDSA\",\"kid\":\"../../etc/ed-a\"}", "jws.header.kid" },
                { "{\"alg\":\"EdDSA\",\"kid\":\"ed-a.pem\"}", "jws.header.kid" },
                { "{\"alg\":\"EdDSA\",\"kid\":[\"ed-a\"]}", "jws.header.kid" },
                { "{\"alg\":\"EdDSA\",\"alg\":\"none\"}", "jws.header" },
                { "{}", "jws.header.alg" },
                { "[]", "jws.header" },
                { "", "jws.header" },
        };
        TrustedKeys keys = TRUST(ED_A);
        CLEANUP_BUF Buf own_key = { 0 };

        for (size_t i = 0; i < ELEMENTSOF(headers); i++) {
                CLEANUP_BUF Buf b = { 0 };

                sign_header(ED_A, headers[i].header, DOCUMENT, &b);
                expect_bad(b.data, &keys, &loose, headers[i].path, NULL);
        }
        sign_header(ED_B, "{\"alg\":\"EdDSA\",\"jwk\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"},\"jku\":\"http://[::1]/\"}",
                    DOCUMENT, &own_key);
        expect_bad(own_key.data, &keys, &loose, "jws.signature", NULL);
}
END_TEST

/* Every single character of each part, changed to another of the alphabet, and every cut. */
START_TEST(tampered) {
        KeyName key = _i ? EC_A : ED_A;
        TrustedKeys keys = TRUST(ED_A, EC_A);
        CLEANUP_BUF Buf b = { 0 };

        sign(key, NULL, DOCUMENT, &b);
        for (size_t i = 0; i < b.len; i++) {
                char was = b.data[i];

                b.data[i] = was == 'A' ? 'B' : 'A';
                expect_bad(b.data, &keys, &loose, NULL, NULL);
                b.data[i] = was;
        }
        expect_good(b.data, &keys, &loose, DOCUMENT, key_ids[key]);
        while (b.len > 0) {
                b.data[--b.len] = '\0';
                expect_bad(b.data, &keys, &loose, NULL, NULL);
        }
}
END_TEST

/* Parts of two good documents do not make a third. */
START_TEST(mixed) {
        TrustedKeys keys = TRUST(ED_A);
        CLEANUP_BUF Buf a = { 0 }, b = { 0 }, mix = { 0 };

        sign(ED_A, NULL, "{\"operation\":\"a\"}", &a);
        sign(ED_A, NULL, "{\"operation\":\"b\"}", &b);
        buf_append(&mix, a.data, (size_t) (strrchr(a.data, '.') - a.data));
        buf_puts(&mix, strrchr(b.data, '.'));
        expect_bad(mix.data, &keys, &loose, "jws.signature", NULL);
}
END_TEST

/* Signatures that are no numbers of the curve. */
START_TEST(degenerate_signatures) {
        static const char *const parts[] = { "eyJhbGciOiJFUzI1NiJ9.e30.", "eyJhbGciOiJFZERTQSJ9.e30." };
        TrustedKeys keys = TRUST(ED_A, EC_A);

        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                for (int fill = 0; fill < 256; fill += 51) {
                        CLEANUP_BUF Buf b = { 0 };
                        unsigned char signature[JWS_SIGNATURE_BYTES];

                        memset(signature, fill, sizeof signature);
                        buf_puts(&b, parts[i]);
                        base64url_encode(signature, sizeof signature, &b);
                        expect_bad(b.data, &keys, &loose, "jws.signature", NULL);
                }
}
END_TEST

START_TEST(surroundings) {
        static const char *const around[][2] = { { " ", "" }, { "", " " }, { "", "\n" }, { "\n", "" }, { "", "=" }, { "", "==" },
                                                 { "", "." }, { ".", "" }, { "\"", "\"" }, { "\t", "\t" }, { "", "A" } };
        TrustedKeys keys = TRUST(ED_A);
        CLEANUP_BUF Buf b = { 0 };

        sign(ED_A, NULL, "{}", &b);
        for (size_t i = 0; i < ELEMENTSOF(around); i++) {
                CLEANUP_BUF Buf text = { 0 };

                buf_printf(&text, "%s%s%s", around[i][0], b.data, around[i][1]);
                expect_bad(text.data, &keys, &loose, NULL, NULL);
        }
}
END_TEST

/* Claims count only once the signature is good, and then they do count. */
START_TEST(claims) {
        static const JwsExpected other_thing = { .thing = "pump-2", .job = "j1", .now = NOW, .built = BUILT };
        static const JwsExpected other_job = { .thing = "pump-1", .job = "j2", .now = NOW, .built = BUILT };
        static const JwsExpected later = { .thing = "pump-1", .job = "j1", .now = NOW + 60, .built = BUILT };
        static const JwsExpected in_1970 = { .thing = "pump-1", .job = "j1", .now = 0, .built = BUILT };
        static const JwsExpected required = { .thing = "pump-1", .job = "j1", .now = NOW, .built = BUILT, .required = true };
        TrustedKeys keys = TRUST(ED_A), others = TRUST(ED_B);
        CLEANUP_BUF Buf b = { 0 }, bare = { 0 };

        sign(ED_A, NULL, DOCUMENT, &b);
        sign(ED_A, NULL, "{\"operation\":\"a\"}", &bare);
        expect_good(b.data, &keys, &required, DOCUMENT, "ed-a");
        expect_bad(b.data, &keys, &other_thing, "jws.payload.thing", "signed for \"pump-1\", not for this thing");
        expect_bad(b.data, &keys, &other_job, "jws.payload.job", "signed for \"j1\", not for this job");
        expect_bad(b.data, &keys, &later, "jws.payload.expires", "expired 0 s ago");
        expect_bad(b.data, &keys, &in_1970, "jws.payload.expires",
                   "cannot be judged: this machine's clock is before the program was built");
        expect_bad(bare.data, &keys, &required, "jws.payload.thing", "missing; required by policy.require_signature");
        expect_good(bare.data, &keys, &in_1970, "{\"operation\":\"a\"}", "ed-a"); /* no claim depends on the clock */
        expect_bad(b.data, &others, &other_thing, "jws.signature", NULL);
}
END_TEST

START_TEST(signing_refuses) {
        CLEANUP_PKEY EVP_PKEY *rsa = EVP_RSA_gen(1024), *p384 = EVP_EC_gen("P-384");
        CLEANUP_BUF Buf b = { 0 }, large = { 0 };
        Error e = { 0 };

        ck_assert_int_eq(sign_jws(rsa, NULL, "{}", 2, &b, &e), -EINVAL);
        ck_assert_str_eq(e.text, "neither an Ed25519 nor a P-256 key");
        ck_assert_int_eq(sign_jws(p384, NULL, "{}", 2, &b, &e), -EINVAL);
        ck_assert_int_eq(sign_jws(made[ED_A], "a b", "{}", 2, &b, &e), -EINVAL);
        ck_assert_int_eq(sign_jws(made[ED_A], NULL, "{}x", 3, &b, &e), -EINVAL);
        ck_assert_str_eq(e.text, "jws.payload: JSON line 1 column 3: end of file expected near 'x'");
        buf_puts(&large, "{\"x\":\"");
        while (large.len < 24500)
                buf_puts(&large, "x");
        buf_puts(&large, "\"}");
        ck_assert_int_eq(sign_jws(made[ED_A], NULL, large.data, large.len, &b, &e), -EFBIG);
        ck_assert_uint_eq(b.len, 0);
}
END_TEST

/* ---- the directory of keys ---- */

static char directory[256];

static void put_file(const char *name, const char *text, mode_t mode) {
        char path[512];
        FILE *f;

        (void) snprintf(path, sizeof path, "%s/%s", directory, name);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(text, f), 0);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_int_eq(chmod(path, mode), 0);
}

static void put_pem(const char *name, EVP_PKEY *key, bool private, mode_t mode) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *text = NULL;
        CLEANUP_FREE char *copy = NULL;
        long n;

        if (private)
                ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
        else
                ck_assert_int_eq(PEM_write_bio_PUBKEY(bio, key), 1);
        n = BIO_get_mem_data(bio, &text);
        copy = strndup(text, (size_t) n);
        BIO_free(bio);
        put_file(name, copy, mode);
}

static void make_directory(void) {
        make_keys();
        unit_directory(directory, sizeof directory, "test-verify");
        put_pem("fleet.pem", made[ED_A], false, 0644);
        put_pem("spare.pub", made[EC_A], false, 0444);
}

static void remove_directory(void) {
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, directory), 0);
        free_keys();
}

static int load(TrustedKeys *ret, Error *e) {
        CLEANUP_FD int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        return trusted_keys_load(fd, geteuid(), ret, e);
}

START_TEST(keys_good) {
        CLEANUP_TRUSTED_KEYS TrustedKeys keys = { 0 };
        Error e = { 0 };

        put_file("README", "not a key", 0666); /* other names are nobody's business */
        put_file("fleet.pem.dpkg-old", "x", 0644);
        put_file("fleet.pem~", "x", 0644);
        put_file(".hidden.pem", "x", 0644);
        put_file("a b.pem", "x", 0644);
        put_file(".pem", "x", 0644);
        ck_assert_msg(load(&keys, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(keys.n, 2);
        ck_assert_str_eq(keys.keys[0].kid, "fleet");
        ck_assert_int_eq(keys.keys[0].algorithm, JWS_EDDSA);
        ck_assert_str_eq(keys.keys[1].kid, "spare");
        ck_assert_int_eq(keys.keys[1].algorithm, JWS_ES256);
        ck_assert_int_eq(EVP_PKEY_eq(keys.keys[0].key, made[ED_A]), 1);
}
END_TEST

static void expect_unusable(const TrustedKeys *keys, const char *kid, const char *why) {
        for (size_t i = 0; i < keys->n; i++)
                if (strcmp(keys->keys[i].kid, kid) == 0) {
                        ck_assert_ptr_null(keys->keys[i].key);
                        ck_assert_msg(strstr(keys->keys[i].why, why) != NULL, "%s: \"%s\", not \"%s\"", kid, keys->keys[i].why,
                                      why);
                        return;
                }
        ck_abort_msg("no key %s", kid);
}

START_TEST(keys_bad) {
        CLEANUP_TRUSTED_KEYS TrustedKeys keys = { 0 };
        CLEANUP_PKEY EVP_PKEY *rsa = EVP_RSA_gen(1024), *p384 = EVP_EC_gen("P-384"), *ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
        CLEANUP_BUF Buf large = { 0 }, b = { 0 };
        char link_path[512];
        Error e = { 0 };

        put_pem("rsa.pem", rsa, false, 0644);
        put_pem("p384.pem", p384, false, 0644);
        put_pem("ed448.pem", ed448, false, 0644);
        put_pem("private.pem", made[ED_B], true, 0644);
        put_pem("open.pem", made[ED_B], false, 0666);
        put_pem("group.pem", made[ED_B], false, 0664);
        put_file("empty.pem", "", 0644);
        put_file("text.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0644);
        while (large.len <= TRUSTED_KEY_BYTES_MAX)
                buf_puts(&large, "#");
        put_file("large.pem", large.data, 0644);
        (void) snprintf(link_path, sizeof link_path, "%s/link.pem", directory);
        ck_assert_int_eq(symlink("fleet.pem", link_path), 0);
        (void) snprintf(link_path, sizeof link_path, "%s/folder.pem", directory);
        ck_assert_int_eq(mkdir(link_path, 0755), 0);
        (void) snprintf(link_path, sizeof link_path, "%s/fifo.pem", directory);
        ck_assert_int_eq(mkfifo(link_path, 0644), 0);

        ck_assert_msg(load(&keys, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(keys.n, 14);
        expect_unusable(&keys, "rsa", "neither an Ed25519 nor a P-256 key");
        expect_unusable(&keys, "p384", "neither an Ed25519 nor a P-256 key");
        expect_unusable(&keys, "ed448", "neither an Ed25519 nor a P-256 key");
        expect_unusable(&keys, "private", "no public key in PEM");
        expect_unusable(&keys, "open", "writable by others (mode 0666)");
        expect_unusable(&keys, "group", "writable by others (mode 0664)");
        expect_unusable(&keys, "empty", "no public key in PEM");
        expect_unusable(&keys, "text", "no public key in PEM");
        expect_unusable(&keys, "large", "larger than 16384 bytes");
        expect_unusable(&keys, "link", "a link");
        expect_unusable(&keys, "folder", "no regular file");
        expect_unusable(&keys, "fifo", "no regular file");

        /* Who names one of them is told why; who names none does without. */
        sign(ED_B, "open", "{}", &b);
        expect_bad(b.data, &keys, &loose, "jws.header.kid", "key \"open\" cannot be used: it is writable by others (mode 0666)");
        buf_clear(&b);
        sign(ED_B, NULL, "{}", &b);
        expect_bad(b.data, &keys, &loose, "jws.signature", "wrong: none of the 1 trusted keys for EdDSA signed this");
}
END_TEST

START_TEST(keys_owner) {
        CLEANUP_TRUSTED_KEYS TrustedKeys keys = { 0 };
        CLEANUP_FD int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Error e = { 0 };

        if (geteuid() == 0) { /* a stranger's key, and then a stranger's directory */
                ck_assert_int_eq(fchownat(fd, "fleet.pem", 12345, (gid_t) -1, 0), 0);
                ck_assert_int_eq(trusted_keys_load(fd, 0, &keys, &e), 0);
                expect_unusable(&keys, "fleet", "belongs to user 12345, not to root or user 0");
                trusted_keys_done(&keys);
                ck_assert_int_eq(trusted_keys_load(fd, 12345, &keys, &e), 0);
                ck_assert_ptr_nonnull(keys.keys[0].key);
                ck_assert_int_eq(fchown(fd, 12345, (gid_t) -1), 0);
        }
        trusted_keys_done(&keys);
        ck_assert_int_eq(trusted_keys_load(fd, 54321, &keys, &e), -EPERM);
        ck_assert_ptr_nonnull(strstr(e.text, "directory of trusted keys: it belongs to user"));
}
END_TEST

START_TEST(keys_directory) {
        CLEANUP_TRUSTED_KEYS TrustedKeys keys = { 0 };
        Error e = { 0 };

        ck_assert_int_eq(chmod(directory, 0777), 0);
        ck_assert_int_eq(load(&keys, &e), -EPERM);
        ck_assert_str_eq(e.text, "directory of trusted keys: it is writable by others (mode 0777)");
        ck_assert_int_eq(chmod(directory, 0755), 0);
        for (int i = 0; i <= TRUSTED_KEYS_MAX; i++) {
                char name[32];

                (void) snprintf(name, sizeof name, "k%d.pem", i);
                put_file(name, "x", 0644);
        }
        ck_assert_int_eq(load(&keys, &e), -E2BIG);
        ck_assert_str_eq(e.text, "more than 64 keys");
        ck_assert_ptr_null(keys.keys);
}
END_TEST

START_TEST(private_keys) {
        CLEANUP_PKEY EVP_PKEY *key = NULL, *rsa = EVP_RSA_gen(1024);
        BIO *bio = BIO_new(BIO_s_mem());
        char *text = NULL;
        Error e = { 0 };
        long n;

        ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, made[EC_A], NULL, NULL, 0, NULL, NULL), 1);
        n = BIO_get_mem_data(bio, &text);
        ck_assert_msg(sign_read_key(text, (size_t) n, &key, &e) == 0, "%s", e.text);
        ck_assert_int_eq(EVP_PKEY_eq(key, made[EC_A]), 1);
        EVP_PKEY_free(TAKE(key));
        (void) BIO_reset(bio);
        ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, made[EC_A], EVP_aes_128_cbc(), (const unsigned char *) "pass", 4, NULL, NULL),
                         1);
        n = BIO_get_mem_data(bio, &text);
        ck_assert_int_eq(sign_read_key(text, (size_t) n, &key, &e), -EINVAL);
        ck_assert_ptr_nonnull(strstr(e.text, "no private key in PEM without a passphrase"));
        (void) BIO_reset(bio);
        ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, rsa, NULL, NULL, 0, NULL, NULL), 1);
        n = BIO_get_mem_data(bio, &text);
        ck_assert_int_eq(sign_read_key(text, (size_t) n, &key, &e), -EINVAL);
        ck_assert_str_eq(e.text, "neither an Ed25519 nor a P-256 key");
        ck_assert_ptr_null(key);
        BIO_free(bio);
}
END_TEST

/* ---- the program ---- */

/* All of `input` fits into the pipe: it is written before anybody reads. */
static int run_program(char *const argv[], const char *input, size_t len, Buf *ret) {
        posix_spawn_file_actions_t actions;
        int in[2], out[2], status = 0;
        char chunk[4096];
        ssize_t n;
        pid_t pid;

        ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
        ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
        ck_assert_int_eq(write_all(in[1], input, len), 0);
        (void) close(in[1]);
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
        (void) posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        (void) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        ck_assert_int_eq(posix_spawn(&pid, TEST_VERIFY, &actions, NULL, argv, (char *[]){ NULL }), 0);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) close(in[0]);
        (void) close(out[1]);
        while ((n = read(out[0], chunk, sizeof chunk)) > 0)
                buf_append(ret, chunk, (size_t) n);
        (void) close(out[0]);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status);
}

#define RUN(text, ret, ...) \
        run_program((char *[]){ (char *) "iot-jobs-verify", __VA_ARGS__, NULL }, (text), strlen(text), (ret))
#define FOR (char *) "--thing", (char *) "pump-1", (char *) "--job", (char *) "j1"

static void sign_until(int64_t expires, Buf *ret) {
        CLEANUP_BUF Buf payload = { 0 };

        buf_printf(&payload, "{\"operation\":\"a\",\"thing\":\"pump-1\",\"job\":\"j1\",\"expires\":%lld}", (long long) expires);
        sign(ED_A, "fleet", payload.data, ret);
}

START_TEST(program_verifies) {
        CLEANUP_BUF Buf b = { 0 }, out = { 0 };
        char arg[32];
        CLEANUP_FD int fd = open(directory, O_PATH | O_DIRECTORY); /* handed down */
        JwsAnswer a = { 0 };
        int code;

        sign_until(clock_wall_sec() + 3600, &b);
        code = RUN(b.data, &out, (char *) "--keys", directory, FOR, (char *) "--require");
        ck_assert_int_eq(code, JWS_EXIT_VERIFIED);
        ck_assert_int_eq(jws_answer_parse(out.data, out.len, code, &a), 0);
        ck_assert_str_eq(a.kid, "fleet");
        ck_assert_uint_gt(a.payload_len, 0);
        ck_assert_int_eq(strncmp(a.payload, "{\"operation\":\"a\"", 16), 0);
        buf_clear(&out);
        (void) snprintf(arg, sizeof arg, "%d", fd);
        code = RUN(b.data, &out, (char *) "--keys-fd", arg, FOR);
        ck_assert_int_eq(jws_answer_parse(out.data, out.len, code, &a), 0);
        ck_assert_int_eq(a.verdict, JWS_VERIFIED);
}
END_TEST

/* The largest document there can be passes whole. */
/* "Name:\tvalue" of /proc/PID/status, as a number. */
static long status_of(pid_t pid, const char *name) {
        char path[64], line[256];
        size_t len = strlen(name);
        long value = -1;
        FILE *f;

        (void) snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
        f = fopen(path, "re");
        ck_assert_ptr_nonnull(f);
        while (value < 0 && fgets(line, sizeof line, f))
                if (strncmp(line, name, len) == 0 && line[len] == ':')
                        value = strtol(line + len + 1, NULL, 10);
        (void) fclose(f);
        return value;
}

static int descriptors_of(pid_t pid) {
        char path[64];
        int n = 0;
        DIR *d;

        (void) snprintf(path, sizeof path, "/proc/%d/fd", (int) pid);
        d = opendir(path);
        ck_assert_ptr_nonnull(d);
        for (const struct dirent *entry; (entry = readdir(d));)
                n += entry->d_name[0] != '.';
        (void) closedir(d);
        return n;
}

/* When it waits for the document it has three descriptors, and may do next to nothing. */
START_TEST(program_gives_up_what_it_can) {
        char *argv[] = { (char *) "iot-jobs-verify", (char *) "--keys-fd", (char *) "9", FOR, NULL };
        const struct timespec pause = { .tv_nsec = 1000 * 1000 };
        CLEANUP_FD int keys = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        posix_spawn_file_actions_t actions;
        int in[2], status = 0;
        pid_t pid;

#if defined(SANITIZED)
        UNIT_SKIP("a sanitizer needs more than the filter lets through");
#endif
        if (!seccomp_there())
                UNIT_SKIP("this kernel cannot filter system calls");
        ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
        (void) posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        (void) posix_spawn_file_actions_adddup2(&actions, keys, 9);
        (void) posix_spawn_file_actions_addclosefrom_np(&actions, 10);
        ck_assert_int_eq(posix_spawn(&pid, TEST_VERIFY, &actions, NULL, argv, (char *[]){ NULL }), 0);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) close(in[0]);
        for (int i = 0; i < 10000 && status_of(pid, "Seccomp") != 2; i++)
                (void) nanosleep(&pause, NULL);
        ck_assert_int_eq(status_of(pid, "Seccomp"), 2);
        ck_assert_int_eq(status_of(pid, "NoNewPrivs"), 1);
        ck_assert_int_eq(descriptors_of(pid), 3);
        (void) close(in[1]);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), JWS_EXIT_REFUSED);
}
END_TEST

START_TEST(program_large) {
        CLEANUP_BUF Buf payload = { 0 }, b = { 0 }, out = { 0 };
        JwsAnswer a = { 0 };
        int code;

        buf_puts(&payload, "{\"x\":\"");
        while (payload.len < 24400)
                buf_puts(&payload, "\xc3\xa4");
        buf_puts(&payload, "\"}");
        sign(EC_A, "spare", payload.data, &b);
        code = RUN(b.data, &out, (char *) "--keys", directory, FOR);
        ck_assert_int_eq(jws_answer_parse(out.data, out.len, code, &a), 0);
        ck_assert_uint_eq(a.payload_len, payload.len);
        ck_assert_mem_eq(a.payload, payload.data, payload.len);
        while (b.len <= JWS_TEXT_MAX)
                buf_puts(&b, "A");
        buf_clear(&out);
        code = RUN(b.data, &out, (char *) "--keys", directory, FOR);
        ck_assert_int_eq(code, JWS_EXIT_REFUSED);
        ck_assert_str_eq(out.data, "refused jws: larger than 32768 bytes\n");
}
END_TEST

START_TEST(program_refuses) {
        CLEANUP_BUF Buf good = { 0 }, old = { 0 }, out = { 0 };
        JwsAnswer a = { 0 };
        int code;

        sign_until(clock_wall_sec() + 3600, &good);
        sign_until(clock_wall_sec() - 3600, &old);
        code = RUN(good.data, &out, (char *) "--keys", directory, (char *) "--thing", (char *) "pump-2", (char *) "--job",
                   (char *) "j1");
        ck_assert_int_eq(code, JWS_EXIT_REFUSED);
        ck_assert_str_eq(out.data, "refused jws.payload.thing: signed for \"pump-1\", not for this thing\n");
        buf_clear(&out);
        code = RUN(old.data, &out, (char *) "--keys", directory, FOR);
        ck_assert_int_eq(jws_answer_parse(out.data, out.len, code, &a), 0);
        ck_assert_int_eq(a.verdict, JWS_REFUSED);
        ck_assert_str_eq(a.fault.path, "jws.payload.expires");
        buf_clear(&out);
        code = RUN(old.data, &out, (char *) "--keys", directory, FOR, (char *) "--accepted"); /* it ran already */
        ck_assert_int_eq(code, JWS_EXIT_VERIFIED);
        buf_clear(&out);
        code = RUN("", &out, (char *) "--keys", directory, FOR);
        ck_assert_int_eq(code, JWS_EXIT_REFUSED);
        ck_assert_str_eq(out.data, "refused jws: empty\n");
        buf_clear(&out);
        code = RUN(good.data, &out, (char *) "--keys", (char *) "/nonexistent/keys", FOR);
        ck_assert_int_eq(code, JWS_EXIT_REFUSED); /* waiting would help nobody */
        ck_assert_str_eq(out.data, "refused jws: directory of trusted keys /nonexistent/keys: No such file or directory\n");
        buf_clear(&out);
        code = RUN(good.data, &out, (char *) "--keys-fd", (char *) "99", FOR);
        ck_assert_int_eq(code, JWS_EXIT_REFUSED);
}
END_TEST

START_TEST(program_usage) {
        CLEANUP_BUF Buf out = { 0 };

        ck_assert_int_eq(RUN("", &out, FOR), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys", directory), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys", directory, (char *) "--keys-fd", (char *) "3", FOR), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys-fd", (char *) "-1", FOR), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys-fd", (char *) "3x", FOR), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys", directory, (char *) "--owner", (char *) "4294967295", FOR), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--keys", directory, FOR, (char *) "more"), JWS_EXIT_USAGE);
        ck_assert_int_eq(RUN("", &out, (char *) "--unknown"), JWS_EXIT_USAGE);
        ck_assert_uint_eq(out.len, 0);
        ck_assert_int_eq(RUN("", &out, (char *) "--version"), EXIT_SUCCESS);
        ck_assert_int_eq(strncmp(out.data, "iot-jobs-verify ", 16), 0);
        ck_assert_int_eq(RUN("", &out, (char *) "--help"), EXIT_SUCCESS);
}
END_TEST

static TCase *signature_cases(void) {
        TCase *t = tcase_create("signature");

        tcase_add_checked_fixture(t, make_keys, free_keys);
        tcase_add_test(t, rfc7515_es256);
        tcase_add_test(t, rfc8037_eddsa);
        tcase_add_test(t, rfc8037_signing);
        tcase_add_test(t, round_trip);
        tcase_add_test(t, es256_many);
        tcase_add_test(t, wrong_key);
        tcase_add_test(t, unknown_kid);
        tcase_add_test(t, two_keys);
        tcase_add_test(t, wrong_algorithm);
        tcase_add_test(t, hostile_headers);
        tcase_add_loop_test(t, tampered, 0, 2);
        tcase_add_test(t, mixed);
        tcase_add_test(t, degenerate_signatures);
        tcase_add_test(t, surroundings);
        tcase_add_test(t, claims);
        tcase_add_test(t, signing_refuses);
        tcase_set_timeout(t, 60);
        return t;
}

static TCase *directory_cases(void) {
        TCase *t = tcase_create("directory");

        tcase_add_checked_fixture(t, make_directory, remove_directory);
        tcase_add_test(t, keys_good);
        tcase_add_test(t, keys_bad);
        tcase_add_test(t, keys_owner);
        tcase_add_test(t, keys_directory);
        tcase_add_test(t, private_keys);
        tcase_add_test(t, program_verifies);
        tcase_add_test(t, program_gives_up_what_it_can);
        tcase_add_test(t, program_large);
        tcase_add_test(t, program_refuses);
        tcase_add_test(t, program_usage);
        tcase_set_timeout(t, 60);
        return t;
}

UNIT_MAIN("verify", signature_cases(), directory_cases())
