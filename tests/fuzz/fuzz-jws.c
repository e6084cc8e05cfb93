/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a JWS, as the header or the payload of one, and as an answer of iot-jobs-verify: no crash, no leak, and what comes
 * out keeps the promises of jws.h and answer.h. The first byte says as which; the rest are the bytes. */
#include "jws/jws.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "jws/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fault(const JwsFault *fault) {
        assert(fault->reason[0] && utf8_valid(fault->reason, strlen(fault->reason)));
        assert(strncmp(fault->path, "jws", 3) == 0 && !strstr(fault->path, ": "));
}

/* Whatever is refused can be told and understood. */
static void check_refusal(const JwsFault *fault) {
        JwsAnswer a = { .verdict = JWS_REFUSED, .fault = *fault }, back = { 0 };
        CLEANUP_BUF Buf b = { 0 };

        check_fault(fault);
        jws_answer_encode(&a, &b);
        assert(jws_answer_parse(b.data, b.len, JWS_EXIT_REFUSED, &back) == 0);
        assert(strcmp(back.fault.path, fault->path) == 0 && back.verdict == JWS_REFUSED);
}

/* Only one text stands for the same bytes: each part encoded again is the part. */
static void check_parts(const Jws *j, const char *text, size_t len) {
        const char *dot = memchr(text, '.', len);
        CLEANUP_BUF Buf again = { 0 };

        assert(dot && j->signed_len < len && text[j->signed_len] == '.' && j->payload_len > 0);
        assert(!j->kid[0] || jws_kid_valid(j->kid));
        buf_append(&again, text, (size_t) (dot + 1 - text));
        base64url_encode(j->payload, j->payload_len, &again);
        buf_puts(&again, ".");
        base64url_encode(j->signature, sizeof j->signature, &again);
        assert(again.len == len && memcmp(again.data, text, len) == 0);
}

static void try_text(const char *text, size_t len) {
        Jws j = { 0 };
        JwsFault fault = { 0 };
        int r = jws_parse(text, len, &j, &fault);

        if (r == 0)
                check_parts(&j, text, len);
        else {
                assert(r == -EINVAL && !j.payload);
                check_refusal(&fault);
        }
        jws_done(&j);
}

static void try_header(const char *text, size_t len) {
        static const char signature[JWS_SIGNATURE_BYTES];
        CLEANUP_BUF Buf b = { 0 };

        base64url_encode(text, len, &b);
        buf_puts(&b, ".e30.");
        base64url_encode(signature, sizeof signature, &b);
        if (b.len <= JWS_TEXT_MAX)
                try_text(b.data, b.len);
}

static void try_claims(const char *text, size_t len) {
        static const JwsExpected expected[] = {
                { .thing = "t", .job = "j", .now = 1800000000, .built = 1790000000 },
                { .thing = "t", .job = "j", .now = 1800000000, .built = 1790000000, .required = true },
                { .thing = "t", .job = "j", .now = 0, .built = 1790000000 },
                { .thing = "t", .job = "j", .now = 0, .built = 1790000000, .accepted = true },
        };
        JwsFault fault = { 0 };
        int r = jws_claims_check(text, len, &expected[len % ELEMENTSOF(expected)], &fault);

        assert(r == 0 || r == -EINVAL);
        if (r < 0)
                check_refusal(&fault);
}

/* What may be signed comes back from the signing input as it was. */
static void try_signing(const char *text, size_t len) {
        static const char *const kids[] = { NULL, "fleet", "../x" };
        static const char signature[JWS_SIGNATURE_BYTES];
        const char *kid = kids[len % ELEMENTSOF(kids)];
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JWS Jws j = { 0 };
        JwsFault fault = { 0 };

        if (jws_signing_input(len % 2 ? JWS_EDDSA : JWS_ES256, kid, text, len, &b, &fault) < 0) {
                check_refusal(&fault);
                return;
        }
        buf_puts(&b, ".");
        base64url_encode(signature, sizeof signature, &b);
        if (b.len > JWS_TEXT_MAX)
                return;
        assert(jws_parse(b.data, b.len, &j, &fault) == 0);
        assert(strcmp(j.kid, kid ? kid : "") == 0 && j.algorithm == (len % 2 ? JWS_EDDSA : JWS_ES256));
        assert(j.payload_len == len && memcmp(j.payload, text, len) == 0);
}

static void try_answer(const char *text, size_t len, int exit_code) {
        JwsAnswer a = { 0 };
        CLEANUP_BUF Buf b = { 0 };

        if (jws_answer_parse(text, len, exit_code, &a) < 0)
                return;
        switch (a.verdict) {
        case JWS_VERIFIED:
                assert(exit_code == JWS_EXIT_VERIFIED && jws_kid_valid(a.kid));
                assert(a.payload_len > 0 && a.payload + a.payload_len == text + len);
                break;
        case JWS_REFUSED:
                assert(exit_code == JWS_EXIT_REFUSED && a.fault.path[0] && a.fault.reason[0] && !a.payload);
                break;
        case JWS_UNABLE:
                assert(exit_code == JWS_EXIT_UNABLE && a.fault.reason[0] && !a.payload);
                break;
        }
        jws_answer_encode(&a, &b);
        assert(!buf_error(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        enum { AS_TEXT, AS_HEADER, AS_CLAIMS, AS_SIGNED, AS_ANSWER, N_WAYS = AS_ANSWER + 4 };
        size_t len = size > 0 ? size - 1 : 0;
        CLEANUP_FREE char *text = malloc(len ? len : 1); /* exactly the bytes: a read behind them is seen */
        int way = size > 0 ? data[0] % N_WAYS : 0;

        if (!text)
                return 0;
        if (len)
                memcpy(text, data + 1, len);
        if (way == AS_TEXT)
                try_text(text, len);
        else if (way == AS_HEADER)
                try_header(text, len);
        else if (way == AS_CLAIMS)
                try_claims(text, len);
        else if (way == AS_SIGNED)
                try_signing(text, len);
        else
                try_answer(text, len, way - AS_ANSWER);
        return 0;
}
