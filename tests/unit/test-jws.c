/* SPDX-License-Identifier: Apache-2.0 */
/* A JWS without the cryptography: parts, claims, and the answer of iot-jobs-verify. */
#include "jws/jws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "jws/answer.h"
#include "unit.h"

/* ---- base64url ---- */

static const struct Pair {
        const char *bytes, *text;
} pairs[] = {
        { "", "" },           { "f", "Zg" },       { "fo", "Zm8" },         { "foo", "Zm9v" },
        { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "-_-_" },
        { "\xff\xff\xff\xff", "_____w" },
};

START_TEST(base64url_known) {
        const struct Pair *p = &pairs[_i];
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_FREE char *bytes = NULL;
        size_t n = 99;

        base64url_encode(p->bytes, strlen(p->bytes), &b);
        ck_assert_str_eq(b.data ? b.data : "", p->text);
        ck_assert_int_eq(base64url_decode(p->text, strlen(p->text), &bytes, &n), 0);
        ck_assert_uint_eq(n, strlen(p->bytes));
        ck_assert_str_eq(bytes, p->bytes);
}
END_TEST

START_TEST(base64url_every_byte) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_FREE char *back = NULL;
        unsigned char all[256];
        size_t n = 0;

        for (size_t i = 0; i < sizeof all; i++)
                all[i] = (unsigned char) i;
        base64url_encode(all, sizeof all, &b);
        ck_assert_int_eq(base64url_decode(b.data, b.len, &back, &n), 0);
        ck_assert_uint_eq(n, sizeof all);
        ck_assert_mem_eq(back, all, sizeof all);
}
END_TEST

/* One text for the same bytes, no other. */
START_TEST(base64url_strict) {
        static const char *const bad[] = { "A", "Zm9vA", "Zg==", "Zg=", "Zm8=",  "Zm9v ", " Zm9v", "Zm\n9v", "Zm9v\n", "Z", "Zm9vY",
                                           "Zh",   "Zm9", "Zm9vYh", "+/+/", "Zm9v.", "Zm\xc3\xa9", "====" };
        size_t n = 0;
        char *bytes = NULL;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(base64url_decode(bad[i], strlen(bad[i]), &bytes, &n) == -EINVAL, "\"%s\" was taken", bad[i]);
        ck_assert_int_eq(base64url_decode("Zm\0v", 4, &bytes, &n), -EINVAL);
        ck_assert_ptr_null(bytes);
}
END_TEST

/* ---- parts ---- */

/* 64 bytes of zero. */
#define SIGNATURE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void make(Buf *b, const char *header, const char *payload) {
        base64url_encode(header, strlen(header), b);
        buf_puts(b, ".");
        base64url_encode(payload, strlen(payload), b);
        buf_puts(b, "." SIGNATURE);
        ck_assert_int_eq(buf_error(b), 0);
}

static void expect_fault(const char *text, size_t len, const char *path, const char *reason) {
        Jws j = { 0 };
        JwsFault fault = { 0 };

        ck_assert_msg(jws_parse(text, len, &j, &fault) == -EINVAL, "%.200s was taken", text);
        ck_assert_msg(strcmp(fault.path, path) == 0 && strcmp(fault.reason, reason) == 0,
                      "%.200s\n  expected %s: %s\n  found    %s: %s", text, path, reason, fault.path, fault.reason);
        ck_assert_ptr_null(j.payload); /* untouched */
}

START_TEST(parts) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JWS Jws j = { 0 };
        JwsFault fault = { 0 };

        make(&b, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"fleet-2026.1\",\"jwk\":{},\"b64\":true}", "{\"operation\":\"a\"}");
        ck_assert_int_eq(jws_parse(b.data, b.len, &j, &fault), 0);
        ck_assert_int_eq(j.algorithm, JWS_ES256);
        ck_assert_str_eq(j.kid, "fleet-2026.1");
        ck_assert_str_eq(j.payload, "{\"operation\":\"a\"}");
        ck_assert_uint_eq(j.payload_len, strlen(j.payload));
        ck_assert_uint_eq(j.signed_len, (size_t) (strrchr(b.data, '.') - b.data));
        ck_assert_int_eq(j.signature[0], 0);
}
END_TEST

#define ALG_EXPECTED " is not taken; EdDSA or ES256 expected"
#define KID_EXPECTED "the name of a key expected: 1 to 64 letters, digits and ._+-, no leading dot"

static const struct BadHeader {
        const char *header, *path, *reason;
} bad_headers[] = {
        { "{\"alg\":\"none\"}", "jws.header.alg", "\"none\"" ALG_EXPECTED },
        { "{\"alg\":\"None\"}", "jws.header.alg", "\"None\"" ALG_EXPECTED },
        { "{\"alg\":\"\"}", "jws.header.alg", "\"\"" ALG_EXPECTED },
        { "{\"alg\":\"HS256\"}", "jws.header.alg", "\"HS256\"" ALG_EXPECTED },
        { "{\"alg\":\"RS256\"}", "jws.header.alg", "\"RS256\"" ALG_EXPECTED },
        { "{\"alg\":\"ES384\"}", "jws.header.alg", "\"ES384\"" ALG_EXPECTED },
        { "{\"alg\":\"ES256K\"}", "jws.header.alg", "\"ES256K\"" ALG_EXPECTED },
        { "{\"alg\":\"es256\"}", "jws.header.alg", "\"es256\"" ALG_EXPECTED },
        { "{\"alg\":\"Ed25519\"}", "jws.header.alg", "\"Ed25519\"" ALG_EXPECTED },
        { "{\"alg\":\"EdDSA \"}", "jws.header.alg", "\"EdDSA \"" ALG_EXPECTED },
        { "{\"alg\":\"x\\ny\"}", "jws.header.alg", "\"x | y\"" ALG_EXPECTED },
        { "{\"alg\":null}", "jws.header.alg", "a string expected" },
        { "{\"alg\":[\"ES256\"]}", "jws.header.alg", "a string expected" },
        { "{}", "jws.header.alg", "missing" },
        { "{\"Alg\":\"ES256\"}", "jws.header.alg", "missing" },
        { "{\"alg\":\"ES256\",\"alg\":\"none\"}", "jws.header", "JSON line 1 column 20: duplicate object key near '\"alg\"'" },
        { "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", "jws.header.crit", "no extension is understood" },
        { "{\"alg\":\"ES256\",\"crit\":[]}", "jws.header.crit", "no extension is understood" },
        { "{\"alg\":\"ES256\",\"crit\":null}", "jws.header.crit", "no extension is understood" },
        { "{\"alg\":\"ES256\",\"kid\":7}", "jws.header.kid", "a string expected" },
        { "{\"alg\":\"ES256\",\"kid\":null}", "jws.header.kid", "a string expected" },
        { "{\"alg\":\"ES256\",\"kid\":\"\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\"../x\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\"a/b\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\".\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\"a b\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\"\xc3\xa4\"}", "jws.header.kid", KID_EXPECTED },
        { "{\"alg\":\"ES256\",\"kid\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "jws.header.kid",
          KID_EXPECTED },
        { "{\"alg\":\"ES256\"", "jws.header", "JSON line 1 column 14: '}' expected near end of file" },
        { "{\"alg\":\"ES256\"}x", "jws.header", "JSON line 1 column 16: end of file expected near 'x'" },
        { "{\"alg\":\"ES\\u0000\"}", "jws.header", "JSON line 1 column 17: a NUL (\\u0000) is not allowed" },
        { "[\"ES256\"]", "jws.header", "JSON: an object expected, found an array" },
        { "\xff", "jws.header", "JSON line 1 column 0: unable to decode byte 0xff" },
};

START_TEST(bad_header) {
        CLEANUP_BUF Buf b = { 0 };

        make(&b, bad_headers[_i].header, "{}");
        expect_fault(b.data, b.len, bad_headers[_i].path, bad_headers[_i].reason);
}
END_TEST

#define HEADER "eyJhbGciOiJFZERTQSJ9" /* {"alg":"EdDSA"} */
#define THREE "three parts with dots between them expected"
#define NOT_BASE64URL "not base64url without padding"

static const struct BadText {
        const char *text, *path, *reason;
} bad_texts[] = {
        { "", "jws", "empty" },
        { "x", "jws", THREE },
        { ".", "jws", THREE },
        { HEADER ".e30", "jws", THREE },
        { HEADER ".e30." SIGNATURE ".", "jws", THREE },
        { HEADER ".e30.x.y.z", "jws", THREE },
        { "..", "jws.header", "JSON line 1 column 0: unexpected token near end of file" },
        { ".e30." SIGNATURE, "jws.header", "JSON line 1 column 0: unexpected token near end of file" },
        { HEADER "=.e30." SIGNATURE, "jws.header", NOT_BASE64URL },
        { HEADER "==.e30." SIGNATURE, "jws.header", NOT_BASE64URL },
        { " " HEADER ".e30." SIGNATURE, "jws.header", NOT_BASE64URL },
        { HEADER " .e30." SIGNATURE, "jws.header", NOT_BASE64URL },
        { HEADER "..", "jws.payload", "empty" },
        { HEADER ".." SIGNATURE, "jws.payload", "empty" },
        { HEADER ".e30=." SIGNATURE, "jws.payload", NOT_BASE64URL },
        { HEADER ".e3 0." SIGNATURE, "jws.payload", NOT_BASE64URL },
        { HEADER ".e31." SIGNATURE, "jws.payload", NOT_BASE64URL }, /* loose bits */
        { HEADER ".e30.", "jws.signature", "0 bytes long, not 64" },
        { HEADER ".e30.AA", "jws.signature", "1 bytes long, not 64" },
        { HEADER ".e30." SIGNATURE "AA", "jws.signature", "66 bytes long, not 64" },
        { HEADER ".e30." SIGNATURE "==", "jws.signature", NOT_BASE64URL },
        { HEADER ".e30." SIGNATURE "\n", "jws.signature", NOT_BASE64URL },
        { HEADER ".e30." SIGNATURE " ", "jws.signature", NOT_BASE64URL },
        { HEADER "\n.e30." SIGNATURE, "jws.header", NOT_BASE64URL },
};

START_TEST(bad_text) {
        expect_fault(bad_texts[_i].text, strlen(bad_texts[_i].text), bad_texts[_i].path, bad_texts[_i].reason);
}
END_TEST

START_TEST(sizes) {
        CLEANUP_BUF Buf b = { 0 }, header = { 0 };
        CLEANUP_JWS Jws j = { 0 };
        JwsFault fault = { 0 };

        /* As large as a document may be, and one byte more: three letters more for two bytes of payload. */
        buf_puts(&b, HEADER ".");
        while (b.len + sizeof "." SIGNATURE - 1 + 4 <= JWS_TEXT_MAX)
                buf_puts(&b, "AAAA");
        while (b.len + sizeof "." SIGNATURE - 1 < JWS_TEXT_MAX)
                buf_puts(&b, "A");
        buf_puts(&b, "." SIGNATURE);
        ck_assert_uint_eq(b.len, JWS_TEXT_MAX);
        ck_assert_int_eq(jws_parse(b.data, b.len, &j, &fault), 0);
        buf_puts(&b, "A");
        expect_fault(b.data, b.len, "jws", "larger than 32768 bytes");

        buf_puts(&header, "{\"alg\":\"EdDSA\",\"x\":\"");
        while (header.len < JWS_HEADER_MAX)
                buf_puts(&header, "x");
        buf_puts(&header, "\"}");
        buf_clear(&b);
        make(&b, header.data, "{}");
        expect_fault(b.data, b.len, "jws.header", "larger than 2048 bytes");
}
END_TEST

/* ---- claims ---- */

#define MISSING "missing; required by policy.require_signature"

enum { NOW = 1800000000, BUILT = 1790000000 };

static const JwsExpected loose = { .thing = "pump-1", .job = "j1", .now = NOW, .built = BUILT };
static const JwsExpected required = { .thing = "pump-1", .job = "j1", .now = NOW, .built = BUILT, .required = true };
static const JwsExpected early = { .thing = "pump-1", .job = "j1", .now = 0, .built = BUILT };
static const JwsExpected early_required = { .thing = "pump-1", .job = "j1", .now = BUILT - 1, .built = BUILT, .required = true };
static const JwsExpected on_the_dot = { .thing = "pump-1", .job = "j1", .now = BUILT, .built = BUILT };
static const JwsExpected again = { .thing = "pump-1", .job = "j1", .now = 0, .built = BUILT, .required = true, .accepted = true };

static const struct Claims {
        const char *payload;
        const JwsExpected *expected;
        const char *path, *reason; /* NULL = good */
} claims[] = {
        { "{}", &loose, NULL, NULL },
        { "{\"thing\":\"pump-1\",\"job\":\"j1\",\"expires\":1800000001}", &loose, NULL, NULL },
        { "{\"thing\":\"pump-1\",\"job\":\"j1\",\"expires\":1800000001}", &required, NULL, NULL },
        { "{\"thing\":\"pump-1\",\"expires\":\"1800000001\"}", &required, NULL, NULL },
        { "{\"thing\":\"pump-1\",\"expires\":9223372036854775807}", &required, NULL, NULL },
        { "{\"expires\":1800000001}", &required, "jws.payload.thing", MISSING },
        { "{\"thing\":\"pump-1\",\"job\":\"j1\"}", &required, "jws.payload.expires", MISSING },
        { "{\"thing\":\"pump-2\"}", &loose, "jws.payload.thing", "signed for \"pump-2\", not for this thing" },
        { "{\"thing\":\"PUMP-1\"}", &loose, "jws.payload.thing", "signed for \"PUMP-1\", not for this thing" },
        { "{\"thing\":\"\"}", &loose, "jws.payload.thing", "signed for \"\", not for this thing" },
        { "{\"thing\":null}", &loose, "jws.payload.thing", "a string expected" },
        { "{\"thing\":[\"pump-1\"]}", &loose, "jws.payload.thing", "a string expected" },
        { "{\"thing\":\"p\\u202e\\n\"}", &loose, "jws.payload.thing", "signed for \"p\xef\xbf\xbd\", not for this thing" },
        { "{\"job\":\"j2\"}", &loose, "jws.payload.job", "signed for \"j2\", not for this job" },
        { "{\"thing\":\"pump-1\",\"job\":\"j2\",\"expires\":1800000001}", &required, "jws.payload.job",
          "signed for \"j2\", not for this job" },
        { "{\"job\":1}", &loose, "jws.payload.job", "a string expected" },
        { "{\"expires\":1800000000}", &loose, "jws.payload.expires", "expired 0 s ago" },
        { "{\"expires\":1799999999}", &loose, "jws.payload.expires", "expired 1 s ago" },
        { "{\"expires\":0}", &loose, "jws.payload.expires", "expired 1800000000 s ago" },
        { "{\"expires\":-9223372036854775808}", &loose, "jws.payload.expires", "expired 9223372038654775808 s ago" },
        { "{\"expires\":null}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":\"\"}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":\"2030-01-01\"}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":\"9999999999999999999\"}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":1800000001.5}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":true}", &loose, "jws.payload.expires", "seconds since 1970 expected" },
        { "{\"expires\":9223372036854775808}", &loose, "jws.payload",
          "JSON line 1 column 30: too big integer near '9223372036854775808'" },
        { "{\"expires\":1800000001,\"expires\":1}", &loose, "jws.payload",
          "JSON line 1 column 31: duplicate object key near '\"expires\"'" },
        /* a clock that cannot be right */
        { "{\"expires\":1800000001}", &early, "jws.payload.expires",
          "cannot be judged: this machine's clock is before the program was built" },
        { "{\"thing\":\"pump-1\",\"expires\":1800000001}", &early_required, "jws.payload.expires",
          "cannot be judged: this machine's clock is before the program was built" },
        { "{\"thing\":\"pump-1\"}", &early, NULL, NULL },
        { "{\"expires\":1800000001}", &on_the_dot, NULL, NULL },
        /* accepted in time: everything but the time still counts */
        { "{\"thing\":\"pump-1\",\"expires\":1}", &again, NULL, NULL },
        { "{\"thing\":\"pump-2\",\"expires\":1}", &again, "jws.payload.thing", "signed for \"pump-2\", not for this thing" },
        { "{\"thing\":\"pump-1\"}", &again, "jws.payload.expires", MISSING },
        /* no document */
        { "x", &loose, "jws.payload", "JSON line 1 column 1: invalid token near 'x'" },
        { "[]", &loose, "jws.payload", "JSON: an object expected, found an array" },
};

START_TEST(claim) {
        const struct Claims *c = &claims[_i];
        JwsFault fault = { 0 };
        int r = jws_claims_check(c->payload, strlen(c->payload), c->expected, &fault);

        if (!c->reason) {
                ck_assert_msg(r == 0, "%s: %s: %s", c->payload, fault.path, fault.reason);
                return;
        }
        ck_assert_msg(r == -EINVAL, "%s was taken", c->payload);
        ck_assert_str_eq(fault.path, c->path);
        ck_assert_str_eq(fault.reason, c->reason);
}
END_TEST

/* ---- making one ---- */

START_TEST(signing_input) {
        CLEANUP_BUF Buf b = { 0 }, plain = { 0 };
        JwsFault fault = { 0 };

        ck_assert_int_eq(jws_signing_input(JWS_ES256, "a", "{}", 2, &b, &fault), 0);
        ck_assert_str_eq(b.data, "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30");
        ck_assert_int_eq(jws_signing_input(JWS_EDDSA, NULL, "{}", 2, &plain, &fault), 0);
        ck_assert_str_eq(plain.data, HEADER ".e30");
        ck_assert_int_eq(jws_signing_input(JWS_EDDSA, "../a", "{}", 2, &b, &fault), -EINVAL);
        ck_assert_str_eq(fault.path, "jws.header.kid");
        ck_assert_int_eq(jws_signing_input(JWS_EDDSA, NULL, "{", 1, &b, &fault), -EINVAL);
        ck_assert_str_eq(fault.path, "jws.payload");
}
END_TEST

/* ---- the answer ---- */

START_TEST(answer_verified) {
        static const char payload[] = "{\"operation\":\"a\"}\n\0verified";
        JwsAnswer a = { .verdict = JWS_VERIFIED, .kid = "fleet", .payload = payload, .payload_len = sizeof payload }, back;
        CLEANUP_BUF Buf b = { 0 };

        jws_answer_encode(&a, &b);
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_VERIFIED, &back), 0);
        ck_assert_int_eq(back.verdict, JWS_VERIFIED);
        ck_assert_str_eq(back.kid, "fleet");
        ck_assert_uint_eq(back.payload_len, sizeof payload);
        ck_assert_mem_eq(back.payload, payload, sizeof payload);
        for (int code = -1; code < 256; code++)
                if (code != JWS_EXIT_VERIFIED)
                        ck_assert_int_eq(jws_answer_parse(b.data, b.len, code, &back), -EBADMSG);
        for (size_t n = 0; n < b.len; n++) /* cut short anywhere */
                ck_assert_int_eq(jws_answer_parse(b.data, n, JWS_EXIT_VERIFIED, &back), -EBADMSG);
        buf_puts(&b, "x");
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_VERIFIED, &back), -EBADMSG);
}
END_TEST

START_TEST(answer_refused) {
        JwsAnswer a = { .verdict = JWS_REFUSED, .fault = { .path = "jws.header.alg", .reason = "\"x: y\" is\nno good\t\x1b" } };
        JwsAnswer back = { 0 };
        CLEANUP_BUF Buf b = { 0 };

        jws_answer_encode(&a, &b);
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_REFUSED, &back), 0);
        ck_assert_int_eq(back.verdict, JWS_REFUSED);
        ck_assert_str_eq(back.fault.path, "jws.header.alg");
        ck_assert_str_eq(back.fault.reason, "\"x: y\" is | no good \xef\xbf\xbd");
        ck_assert_ptr_null(back.payload);
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_VERIFIED, &back), -EBADMSG);
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_UNABLE, &back), -EBADMSG);
}
END_TEST

/* However long a reason is and becomes, its reader has room for it. */
START_TEST(answer_long_reason) {
        JwsAnswer a = { .verdict = JWS_UNABLE }, back = { 0 };
        CLEANUP_BUF Buf b = { 0 };

        memset(a.fault.reason, 1, sizeof a.fault.reason - 1);
        jws_answer_encode(&a, &b);
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_UNABLE, &back), 0);
        ck_assert_int_eq(back.verdict, JWS_UNABLE);
        ck_assert(utf8_valid(back.fault.reason, strlen(back.fault.reason)));
        ck_assert_uint_ge(strlen(back.fault.reason), sizeof back.fault.reason - 3);
}
END_TEST

static const struct BadAnswer {
        const char *text;
        int exit_code;
} bad_answers[] = {
        { "", 0 },
        { "\n", 0 },
        { "verified\n", 0 },
        { "verified 0 fleet\n", 0 },
        { "verified 2 \n{}", 0 },
        { "verified 2 .fleet\n{}", 0 },
        { "verified 2 a/b\n{}", 0 },
        { "verified 2 a b\n{}", 0 },
        { "verified 2 fleet\n{} ", 0 },
        { "verified 3 fleet\n{}", 0 },
        { "verified -2 fleet\n{}", 0 },
        { "verified 000002 fleet\n{}", 0 },
        { "verified 18446744073709551618 fleet\n{}", 0 },
        { "verified2 fleet\n{}", 0 },
        { "Verified 2 fleet\n{}", 0 },
        { " verified 2 fleet\n{}", 0 },
        { "verified 2 fleet\n{}", 1 },
        { "refused jws: x\n", 0 },
        { "refused jws: x", 1 },
        { "refused jws: x\ny", 1 },
        { "refused jws: \n", 1 },
        { "refused : x\n", 1 },
        { "refused jws x\n", 1 },
        { "refused jws: \xff\n", 1 },
        { "refused aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: x\n", 1 },
        { "unable\n", 3 },
        { "unable \n", 3 },
        { "unable x\n", 1 },
        { "perhaps x\n", 3 },
};

START_TEST(bad_answer) {
        const struct BadAnswer *b = &bad_answers[_i];
        JwsAnswer a = { .verdict = JWS_UNABLE };

        ck_assert_int_eq(jws_answer_parse(b->text, strlen(b->text), b->exit_code, &a), -EBADMSG);
        ck_assert_int_eq(a.verdict, JWS_UNABLE); /* untouched */
}
END_TEST

START_TEST(answer_limits) {
        CLEANUP_BUF Buf b = { 0 };
        JwsAnswer a = { 0 };

        buf_puts(&b, "refused jws: ");
        while (b.len < 1000)
                buf_puts(&b, "x");
        buf_puts(&b, "\n");
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_REFUSED, &a), -EBADMSG);
        ck_assert_int_eq(jws_answer_parse("unable \0x\n", 10, JWS_EXIT_UNABLE, &a), -EBADMSG);
        buf_clear(&b);
        buf_printf(&b, "verified %d a\n", JWS_ANSWER_MAX);
        for (size_t head = b.len; b.len < head + JWS_ANSWER_MAX;)
                buf_puts(&b, "x");
        ck_assert_int_eq(jws_answer_parse(b.data, b.len, JWS_EXIT_VERIFIED, &a), -EBADMSG);
}
END_TEST

static TCase *text_cases(void) {
        TCase *t = tcase_create("text");

        tcase_add_loop_test(t, base64url_known, 0, (int) ELEMENTSOF(pairs));
        tcase_add_test(t, base64url_every_byte);
        tcase_add_test(t, base64url_strict);
        tcase_add_test(t, parts);
        tcase_add_loop_test(t, bad_header, 0, (int) ELEMENTSOF(bad_headers));
        tcase_add_loop_test(t, bad_text, 0, (int) ELEMENTSOF(bad_texts));
        tcase_add_test(t, sizes);
        tcase_add_loop_test(t, claim, 0, (int) ELEMENTSOF(claims));
        tcase_add_test(t, signing_input);
        return t;
}

static TCase *answer_cases(void) {
        TCase *t = tcase_create("answer");

        tcase_add_test(t, answer_verified);
        tcase_add_test(t, answer_refused);
        tcase_add_test(t, answer_long_reason);
        tcase_add_loop_test(t, bad_answer, 0, (int) ELEMENTSOF(bad_answers));
        tcase_add_test(t, answer_limits);
        return t;
}

UNIT_MAIN("jws", text_cases(), answer_cases())
