/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#include "proto/sigv4.h"
#include "transport/digest.h"

#define HOST   "abc123-ats.iot.us-east-1.amazonaws.com"
#define KEY_ID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

enum { TIME = 1577934245 }; /* 2020-01-02T03:04:05Z */

static Sigv4Request request(void) {
        return (Sigv4Request){ .host = HOST, .access_key_id = KEY_ID, .secret_access_key = SECRET, .time = TIME };
}

static char *presign(const Sigv4Request *q) {
        Buf b = { 0 };
        Error e = { 0 };

        ck_assert_msg(sigv4_presign(q, &digest_sigv4, &b, &e) == 0, "%s", e.text);
        return buf_steal(&b);
}

static void assert_has(const char *text, const char *part) {
        ck_assert_msg(strstr(text, part) != NULL, "%s\nhas no %s", text, part);
}

/* Signatures that other implementations made: AWS' Python SDK v1 on the wire, and the vendor's sample code. */
START_TEST(known_signatures) {
        static const struct {
                const char *service;
                int64_t expires;
                const char *signature;
        } known[] = {
                { "iotdata", 86400, "81589e4779e7a4d959c6737843644305ef0cc0b01bc7f97d4be4442a21227b20" },
                { NULL, 86400, "9bc0e8549325faa76d2f786aeaa9b46573d04f9feb6e1795077ca01dadc2f3a7" },
                { NULL, 0, "7c0fe3507a9c6031cc7af0acc80c42b5c2c6130b19860f4795e3c7ce2e2ab4f6" },
        };
        Sigv4Request q = request();
        char *target CLEANUP_FREE = NULL;
        char want[1024];

        q.service = known[_i].service;
        q.expires = known[_i].expires;
        q.session_token = "TOK/+=";
        target = presign(&q);
        (void) snprintf(
                want, sizeof want,
                "/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%%2F20200102%%2Fus-east-1%%2F%s"
                "%%2Faws4_request&X-Amz-Date=20200102T030405Z%s&X-Amz-SignedHeaders=host&X-Amz-Signature=%s"
                "&X-Amz-Security-Token=TOK%%2F%%2B%%3D",
                q.service ? q.service : "iotdevicegateway", q.expires ? "&X-Amz-Expires=86400" : "",
                known[_i].signature);
        ck_assert_str_eq(target, want);
}
END_TEST

START_TEST(token_is_no_part_of_the_signature) {
        Sigv4Request q = request();
        char *without CLEANUP_FREE = presign(&q), *with CLEANUP_FREE = NULL, *empty CLEANUP_FREE = NULL;

        q.session_token = "";
        empty = presign(&q);
        ck_assert_str_eq(empty, without);
        q.session_token = "~a b"; /* refused: no token has a blank */
        ck_assert_int_eq(sigv4_presign(&q, &digest_sigv4, &(Buf){ 0 }, NULL), -EINVAL);
        q.session_token = "~a_b.-%";
        with = presign(&q);
        ck_assert_int_eq(strncmp(with, without, strlen(without)), 0);
        ck_assert_str_eq(with + strlen(without), "&X-Amz-Security-Token=~a_b.-%25");
}
END_TEST

START_TEST(host_is_signed_in_lower_case) {
        Sigv4Request q = request();
        char *lower CLEANUP_FREE = presign(&q), *upper CLEANUP_FREE = NULL;

        q.host = "ABC123-ats.iot.US-East-1.amazonaws.COM";
        upper = presign(&q);
        ck_assert_str_eq(upper, lower);
}
END_TEST

/* Everything that is signed changes the signature, and nothing else does. */
START_TEST(every_part_counts) {
        Sigv4Request q = request(), other[7];
        char *base CLEANUP_FREE = presign(&q);

        for (size_t i = 0; i < ELEMENTSOF(other); i++)
                other[i] = q;
        other[0].host = "abc124-ats.iot.us-east-1.amazonaws.com";
        other[1].region = "us-east-2";
        other[2].path = "/mqtt2";
        other[3].service = "iotdata";
        other[4].secret_access_key = "x";
        other[5].time++;
        other[6].expires = 1;
        for (size_t i = 0; i < ELEMENTSOF(other); i++) {
                char *target CLEANUP_FREE = presign(&other[i]);

                ck_assert_msg(strcmp(strstr(target, "Signature="), strstr(base, "Signature=")) != 0, "part %zu", i);
        }
}
END_TEST

START_TEST(dates) {
        static const struct {
                int64_t time;
                const char *text;
        } known[] = {
                { 0, "19700101T000000Z" },          { 951782400, "20000229T000000Z" },
                { 951868800, "20000301T000000Z" },  { 1709251199, "20240229T235959Z" },
                { 1735689599, "20241231T235959Z" }, { 4107542400, "21000301T000000Z" },
                { 4107542399, "21000228T235959Z" }, { 253402300799, "99991231T235959Z" },
        };
        Sigv4Request q = request();
        char *target CLEANUP_FREE = NULL;
        char want[64];

        q.time = known[_i].time;
        target = presign(&q);
        (void) snprintf(want, sizeof want, "&X-Amz-Date=%s&", known[_i].text);
        assert_has(target, want);
        (void) snprintf(want, sizeof want, "%%2F%.8s%%2Fus-east-1%%2F", known[_i].text);
        assert_has(target, want);
}
END_TEST

START_TEST(bad_requests_are_named) {
        static char longest[SIGV4_TOKEN_MAX + 2];
        const Sigv4Request q = request();
        Sigv4Request bad[16];
        static const char *const words[16] = {
                "host: missing",
                "host: longer",
                "host: has a character",
                "access key id: missing",
                "access key id: has a slash",
                "secret access key: missing",
                "secret access key: longer",
                "session token: longer",
                "path: does not begin",
                "path: has a character",
                "service: has a slash",
                "region: has a blank",
                "set the region",
                "expires:",
                "time:",
                "path: longer",
        };

        memset(longest, 'a', sizeof longest - 1);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                bad[i] = q;
        bad[0].host = "";
        bad[1].host = longest;
        bad[2].host = "a/b.iot.us-east-1.amazonaws.com";
        bad[3].access_key_id = NULL;
        bad[4].access_key_id = "AKID/x";
        bad[5].secret_access_key = "";
        bad[6].secret_access_key = longest;
        bad[7].session_token = longest;
        bad[8].path = "mqtt";
        bad[9].path = "/mqtt?x";
        bad[10].service = "a/b";
        bad[11].region = "eu west";
        bad[12].host = "broker.example";
        bad[13].expires = SIGV4_EXPIRES_MAX + 1;
        bad[14].time = -1;
        longest[0] = '/';
        bad[15].path = longest;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Buf b CLEANUP_BUF = { 0 };
                Error e = { 0 };

                ck_assert_int_eq(sigv4_presign(&bad[i], &digest_sigv4, &b, &e), -EINVAL);
                ck_assert_uint_eq(b.len, 0);
                assert_has(e.text, words[i]);
                ck_assert_ptr_null(strstr(e.text, SECRET));
        }
}
END_TEST

static bool no_sha256(const void *data, size_t len, unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        (void) data, (void) len, (void) ret;
        return false;
}

static bool no_hmac(const void *key, size_t key_len, const void *data, size_t len,
                    unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        (void) key, (void) key_len, (void) data, (void) len, (void) ret;
        return false;
}

START_TEST(without_digests_there_is_no_signature) {
        Sigv4Digests d = digest_sigv4;
        Sigv4Request q = request();
        Buf b CLEANUP_BUF = { 0 };

        d.hmac_sha256 = no_hmac;
        ck_assert_int_eq(sigv4_presign(&q, &d, &b, NULL), -EIO);
        d.sha256 = no_sha256;
        ck_assert_int_eq(sigv4_presign(&q, &d, &b, NULL), -EIO);
        ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(regions_of_endpoints) {
        static const struct {
                const char *host, *region;
        } known[] = {
                { HOST, "us-east-1" },
                { "abc.iot.eu-west-1.amazonaws.com", "eu-west-1" },
                { "abc.ats.iot.cn-north-1.amazonaws.com.cn", "cn-north-1" },
                { "a1b2c3-ats.iot.us-gov-west-1.amazonaws.com", "us-gov-west-1" },
                { "data.iot-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1" },
                { "vpce-0a1b-2c3d.data.iot.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2" },
                { "abc-ats.iot.eu-central-1.api.aws", "eu-central-1" },
                { "abc-ats.iot.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1" },
                { "ABC-ATS.IOT.EU-WEST-1.AMAZONAWS.COM", "eu-west-1" },
                { "iot.iot.eu-west-1.amazonaws.com", "eu-west-1" },
        };
        static const char *const none[] = {
                "",
                "localhost",
                "broker.example.com",
                "192.0.2.1",
                "::1",
                ".iot.eu-west-1.amazonaws.com",
                "iot.eu-west-1.amazonaws.com",
                "abc.iot.amazonaws.com",
                "abc.iot.eu-west-1.amazonaws.com.evil.example",
                "abc.iot.eu-west-1.example.com",
                "abc.iot.eu-west.amazonaws.com",
                "abc.iot.eu.amazonaws.com",
                "abc.iot.-west-1.amazonaws.com",
                "abc.iot.eu--1.amazonaws.com",
                "abc.iot.1-2-3.amazonaws.com",
                "abc.iot.eu-west-1a.amazonaws.com",
                "abc.iots.eu-west-1.amazonaws.com",
                "abc.iot.eu-west-1.amazonaws.com.",
                "abc.iot.averyveryverylongregionname-thatisnone-1.amazonaws.com",
                "abc.iot.eu-west-1.",
                "abc.iot.",
        };
        char region[SIGV4_REGION_MAX];

        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Error e = { 0 };

                ck_assert_msg(sigv4_region(known[i].host, region, &e) == 0, "%s", e.text);
                ck_assert_str_eq(region, known[i].region);
        }
        for (size_t i = 0; i < ELEMENTSOF(none); i++) {
                Error e = { 0 };

                ck_assert_msg(sigv4_region(none[i], region, &e) == -EINVAL, "%s gave %s", none[i], region);
                assert_has(e.text, none[i]);
                assert_has(e.text, "set the region");
        }
        ck_assert_int_eq(sigv4_region(NULL, region, NULL), -EINVAL);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("sigv4");

        tcase_add_loop_test(c, known_signatures, 0, 3);
        tcase_add_test(c, token_is_no_part_of_the_signature);
        tcase_add_test(c, host_is_signed_in_lower_case);
        tcase_add_test(c, every_part_counts);
        tcase_add_loop_test(c, dates, 0, 8);
        tcase_add_test(c, bad_requests_are_named);
        tcase_add_test(c, without_digests_there_is_no_signature);
        tcase_add_test(c, regions_of_endpoints);
        return c;
}

UNIT_MAIN("sigv4", cases())
