/* SPDX-License-Identifier: Apache-2.0 */
/* proto/types.h, proto/topic.h, and the requests of proto/message.h. Messages: test-message.c. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "proto/message.h"

#define A10      "aaaaaaaaaa"
#define A60      A10 A10 A10 A10 A10 A10
#define JOB64    A60 "aaaa"
#define THING128 A60 A60 "tttttttt"
#define T        "$aws/things/T/jobs/"

/* ---- types ---- */

START_TEST(statuses) {
        static const struct {
                const char *name;
                bool terminal;
        } rows[PROTO_STATUS_COUNT] = {
                [PROTO_STATUS_NONE] = { "", false },
                [PROTO_STATUS_QUEUED] = { "QUEUED", false },
                [PROTO_STATUS_IN_PROGRESS] = { "IN_PROGRESS", false },
                [PROTO_STATUS_SUCCEEDED] = { "SUCCEEDED", true },
                [PROTO_STATUS_FAILED] = { "FAILED", true },
                [PROTO_STATUS_TIMED_OUT] = { "TIMED_OUT", true },
                [PROTO_STATUS_REJECTED] = { "REJECTED", true },
                [PROTO_STATUS_REMOVED] = { "REMOVED", true },
                [PROTO_STATUS_CANCELED] = { "CANCELED", true },
        };

        for (ProtoStatus s = PROTO_STATUS_NONE; s < PROTO_STATUS_COUNT; s++) {
                ck_assert_str_eq(proto_status_name(s), rows[s].name);
                ck_assert(proto_status_terminal(s) == rows[s].terminal);
                ck_assert_int_eq(proto_status_parse(rows[s].name), s);
        }
        ck_assert_int_eq(proto_status_parse("SUCCESS"), PROTO_STATUS_NONE);
        ck_assert_int_eq(proto_status_parse("queued"), PROTO_STATUS_NONE);
        ck_assert_int_eq(proto_status_parse("QUEUED "), PROTO_STATUS_NONE);
}
END_TEST

START_TEST(codes) {
        static const char *const names[] = { "InvalidTopic",        "InvalidJson",
                                             "InvalidRequest",      "InvalidStateTransition",
                                             "ResourceNotFound",    "VersionMismatch",
                                             "InternalError",       "RequestThrottled",
                                             "TerminalStateReached" };

        ck_assert_uint_eq(ELEMENTSOF(names), PROTO_CODE_UNKNOWN - PROTO_CODE_INVALID_TOPIC);
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                ck_assert_str_eq(proto_code_name(PROTO_CODE_INVALID_TOPIC + (ProtoCode) i), names[i]);
                ck_assert_int_eq(proto_code_parse(names[i]), PROTO_CODE_INVALID_TOPIC + (ProtoCode) i);
        }
        ck_assert_int_eq(proto_code_parse(""), PROTO_CODE_NONE);
        ck_assert_int_eq(proto_code_parse("invalidtopic"), PROTO_CODE_UNKNOWN);
        ck_assert_int_eq(proto_code_parse("Teapot"), PROTO_CODE_UNKNOWN);
        for (ProtoCode c = PROTO_CODE_NONE; c < PROTO_CODE_COUNT; c++)
                ck_assert_ptr_nonnull(proto_code_name(c));
}
END_TEST

START_TEST(names) {
        static const struct {
                const char *text;
                bool thing, job, key;
        } rows[] = {
                { "", false, false, false },
                { "a", true, true, true },
                { "aZ09_-", true, true, true },
                { "a:b", true, false, true },
                { "a.b", false, false, false },
                { "a/b", false, false, false },
                { "../x", false, false, false },
                { "$next", false, false, false },
                { "+", false, false, false },
                { "j\xC3\xB6"
                  "b",
                  false, false, false },
                { "a b", false, false, false },
                { "a\n", false, false, false },
                { JOB64, true, true, true },
                { JOB64 "a", true, false, true },
                { THING128, true, false, true },
                { THING128 "t", false, false, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ck_assert_msg(proto_thing_name_valid(rows[i].text) == rows[i].thing, "row %zu", i);
                ck_assert_msg(proto_job_id_valid(rows[i].text) == rows[i].job, "row %zu", i);
                ck_assert_msg(proto_details_key_valid(rows[i].text) == rows[i].key, "row %zu", i);
        }
}
END_TEST

START_TEST(key_round_trip) {
        static const JobKey keys[] = {
                { "T", "j", 1, 0 },
                { "plant:7_a-B", "get", 2, 1517016947 },
                { THING128, JOB64, INT64_MAX, INT64_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                char text[JOB_KEY_TEXT_MAX];
                JobKey k;

                job_key_format(&keys[i], text);
                ck_assert_int_eq(job_key_parse(text, &k), 0);
                ck_assert(job_key_equal(&k, &keys[i]));
                ck_assert_uint_lt(strlen(text), 255 - strlen(".record"));
        }
        ck_assert(!job_key_equal(&(JobKey){ "T", "j", 1, 5 }, &(JobKey){ "T", "j", 1, 6 }));
        ck_assert(!job_key_equal(&(JobKey){ "T", "j", 1, 5 }, &(JobKey){ "T", "j", 2, 5 }));
        ck_assert(!job_key_equal(&(JobKey){ "T", "j", 1, 5 }, &(JobKey){ "T", "k", 1, 5 }));
        ck_assert(!job_key_equal(&(JobKey){ "T", "j", 1, 5 }, &(JobKey){ "U", "j", 1, 5 }));
}
END_TEST

START_TEST(key_refused) {
        static const char *const rows[] = {
                "",
                ".",
                "...",
                "T.j.1",
                "T.j.1.",
                "T.j..5",
                "T..1.5",
                ".j.1.5",
                "T.j.1.5.6",
                "T.j.1.5 ",
                "T.j.0.5",
                "T.j.-1.5",
                "T.j.+1.5",
                "T.j.01.5",
                "T.j.1.05",
                "T.j.1.00",
                "T.j.x.5",
                "T.j.1.5x",
                "T.j.9223372036854775808.5",
                "T.j.1.18446744073709551616",
                "T.a:b.1.5",
                "T/.j.1.5",
                "../T.j.1.5",
                THING128 "t.j.1.5",
                "T." JOB64 "a.1.5",
                "T.$next.1.5",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                JobKey k = { .number = 77 };

                ck_assert_msg(job_key_parse(rows[i], &k) == -EINVAL, "row %zu: %s", i, rows[i]);
                ck_assert_int_eq(k.number, 77);
        }
}
END_TEST

START_TEST(details_map) {
        CLEANUP_DETAILS ProtoDetails d = {}, copy = {};
        char key[8];

        for (int i = 0; i < LIMIT_DETAILS_PAIRS; i++) {
                (void) snprintf(key, sizeof key, "k%d", i);
                ck_assert_int_eq(proto_details_set(&d, key, "old"), 0);
                ck_assert_int_eq(proto_details_set(&d, key, key), 0);
        }
        ck_assert_uint_eq(d.n, LIMIT_DETAILS_PAIRS);
        ck_assert_int_eq(proto_details_set(&d, "more", "x"), -E2BIG);
        ck_assert_int_eq(proto_details_set(&d, "k3", "three"), 0);
        ck_assert_str_eq(proto_details_get(&d, "k3"), "three");
        ck_assert_ptr_null(proto_details_get(&d, "more"));

        ck_assert_int_eq(proto_details_copy(&copy, &d), 0);
        ck_assert(proto_details_equal(&copy, &d));
        proto_details_unset(&copy, "k0");
        proto_details_unset(&copy, "k9");
        proto_details_unset(&copy, "absent");
        ck_assert_uint_eq(copy.n, LIMIT_DETAILS_PAIRS - 2);
        ck_assert_str_eq(copy.pair[0].key, "k1");
        ck_assert_str_eq(copy.pair[7].key, "k8");
        ck_assert(!proto_details_equal(&copy, &d));
        /* Order does not matter for equality, content does. */
        ck_assert_int_eq(proto_details_set(&copy, "k9", "k9"), 0);
        ck_assert_int_eq(proto_details_set(&copy, "k0", "k0"), 0);
        ck_assert(proto_details_equal(&copy, &d));
        ck_assert_int_eq(proto_details_set(&copy, "k0", "other"), 0);
        ck_assert(!proto_details_equal(&copy, &d));
        proto_details_done(&copy);
        ck_assert_uint_eq(copy.n, 0);
        proto_details_done(&copy);
}
END_TEST

/* n times the same text. */
static char *repeated(const char *text, size_t n) {
        Buf b = {};
        char *all;

        while (n-- > 0)
                buf_puts(&b, text);
        all = buf_steal(&b);
        ck_assert_ptr_nonnull(all);
        return all;
}

START_TEST(details_check) {
        CLEANUP_FREE char *longest = repeated("x", LIMIT_DETAILS_VALUE);
        CLEANUP_FREE char *too_long = repeated("x", LIMIT_DETAILS_VALUE + 1);
        CLEANUP_FREE char *wide = repeated("\xF0\x9F\x98\x80", LIMIT_DETAILS_VALUE / 2);
        CLEANUP_FREE char *too_wide = repeated("\xF0\x9F\x98\x80", LIMIT_DETAILS_VALUE / 2 + 1);
        const struct {
                const char *key, *value;
                const char *text; /* part of the message; NULL = valid */
        } rows[] = {
                { "key", "value", NULL },
                { THING128, "v", NULL },
                { "a:b_c-D9", "\xC3\xA4 \xE2\x82\xAC \"\\", NULL },
                { "k", longest, NULL },
                { "k", wide, NULL },
                { "k", too_long, "statusDetails.k: 1025 characters; at most 1024 expected" },
                { "k", too_wide, "statusDetails.k: 1026 characters" },
                { "k", "", "statusDetails.k: empty" },
                { "k", "a\nb", "statusDetails.k: U+000A at byte 1" },
                { "k", "a\tb", "U+0009" },
                { "k", "\x7F", "U+007F" },
                { "k", "\xE2\x80\xAE", "U+202E at byte 0" },
                { "k", "\xEE\x80\x80", "U+E000" },
                { "k", "a\xFF", "not valid UTF-8 at byte 1" },
                { "", "v", "key \"\": 1 to 128 of [a-zA-Z0-9:_-] expected" },
                { "a b", "v", "key \"a b\"" },
                { "a\n\xFF", "v", "key \"a | \xEF\xBF\xBD\"" },
                { THING128 "k", "v", "1 to 128" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CLEANUP_DETAILS ProtoDetails d = {};
                Error e = {};

                ck_assert_int_eq(proto_details_set(&d, "first", "fine"), 0);
                ck_assert_int_eq(proto_details_set(&d, rows[i].key, rows[i].value), 0);
                ck_assert_msg(proto_details_check(&d, &e) == (rows[i].text ? -EINVAL : 0), "row %zu: %s", i,
                              e.text);
                ck_assert_msg(!rows[i].text || strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
        }
}
END_TEST

/* ---- topics ---- */

static const struct {
        const char *topic, *thing;
        TopicKind kind;
        TopicReply reply;
        const char *job_id;
} topic_rows[] = {
        { T "get", "T", TOPIC_GET_PENDING, TOPIC_REQUEST, "" },
        { T "get/accepted", "T", TOPIC_GET_PENDING, TOPIC_ACCEPTED, "" },
        { T "get/rejected", "T", TOPIC_GET_PENDING, TOPIC_REJECTED, "" },
        { T "start-next", "T", TOPIC_START_NEXT, TOPIC_REQUEST, "" },
        { T "start-next/accepted", "T", TOPIC_START_NEXT, TOPIC_ACCEPTED, "" },
        { T "start-next/rejected", "T", TOPIC_START_NEXT, TOPIC_REJECTED, "" },
        { T "job-1/get", "T", TOPIC_DESCRIBE, TOPIC_REQUEST, "job-1" },
        { T "job-1/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "job-1" },
        { T "job-1/get/rejected", "T", TOPIC_DESCRIBE, TOPIC_REJECTED, "job-1" },
        { T "$next/get", "T", TOPIC_DESCRIBE, TOPIC_REQUEST, "$next" },
        { T "$next/get/rejected", "T", TOPIC_DESCRIBE, TOPIC_REJECTED, "$next" },
        { T "job-1/update", "T", TOPIC_UPDATE, TOPIC_REQUEST, "job-1" },
        { T "job-1/update/accepted", "T", TOPIC_UPDATE, TOPIC_ACCEPTED, "job-1" },
        { T "job-1/update/rejected", "T", TOPIC_UPDATE, TOPIC_REJECTED, "job-1" },
        { T "$next/update", "T", TOPIC_UPDATE, TOPIC_REQUEST, "$next" },
        { T "$next/update/rejected", "T", TOPIC_UPDATE, TOPIC_REJECTED, "$next" },
        { T "notify", "T", TOPIC_NOTIFY, TOPIC_REQUEST, "" },
        { T "notify-next", "T", TOPIC_NOTIFY_NEXT, TOPIC_REQUEST, "" },
        { T "_-_/update/accepted", "T", TOPIC_UPDATE, TOPIC_ACCEPTED, "_-_" },
        { T "0/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "0" },
        { T JOB64 "/update/rejected", "T", TOPIC_UPDATE, TOPIC_REJECTED, JOB64 },
        { "$aws/things/" THING128 "/jobs/" JOB64 "/update/accepted", THING128, TOPIC_UPDATE, TOPIC_ACCEPTED,
          JOB64 },
        { "$aws/things/plant:7_a-B/jobs/job-1/update", "plant:7_a-B", TOPIC_UPDATE, TOPIC_REQUEST, "job-1" },
        { "$aws/things/jobs/jobs/get", "jobs", TOPIC_GET_PENDING, TOPIC_REQUEST, "" },
        /* Job ids that are words of the protocol. */
        { T "get/get", "T", TOPIC_DESCRIBE, TOPIC_REQUEST, "get" },
        { T "get/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "get" },
        { T "get/update", "T", TOPIC_UPDATE, TOPIC_REQUEST, "get" },
        { T "get/update/rejected", "T", TOPIC_UPDATE, TOPIC_REJECTED, "get" },
        { T "start-next/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "start-next" },
        { T "start-next/update", "T", TOPIC_UPDATE, TOPIC_REQUEST, "start-next" },
        { T "notify/get", "T", TOPIC_DESCRIBE, TOPIC_REQUEST, "notify" },
        { T "notify-next/update/rejected", "T", TOPIC_UPDATE, TOPIC_REJECTED, "notify-next" },
        { T "accepted/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "accepted" },
        { T "rejected/update", "T", TOPIC_UPDATE, TOPIC_REQUEST, "rejected" },
        { T "update/update/accepted", "T", TOPIC_UPDATE, TOPIC_ACCEPTED, "update" },
        { T "jobs/get/accepted", "T", TOPIC_DESCRIBE, TOPIC_ACCEPTED, "jobs" },
};

static const char *const unrecognized[] = {
        "",
        T,
        "$aws/things/T/jobs",
        T "get/",
        T "get/accepted/x",
        T "get/accepted/",
        T "get//accepted",
        T "Get/accepted",
        T "get/Accepted",
        T "get/acceptedx",
        T "get/#",
        T "#",
        T "+/get/accepted",
        T "notify/accepted",
        T "notify-next/rejected",
        T "notify/",
        T "notifyx",
        T "Notify",
        T "start_next",
        T "start-next/",
        T "job-1",
        T "job-1/",
        T "job-1/describe",
        T "job-1/accepted",
        T "job-1/start-next",
        T "job-1/update/",
        T "job-1/update/x",
        T "job-1/update/accepted/x",
        T "/update",
        T "/get/accepted",
        T "job.1/update/accepted",
        T "job 1/update",
        T "job:1/update",
        T "j\xC3\xB6"
          "b/get/accepted",
        T JOB64 "b/get/accepted",
        T "$nextx/get/accepted",
        T "$Next/get/accepted",
        T "$nex/get/accepted",
        T "$next",
        T "$next/start-next",
        T "../get",
        T "notify-namespace-aws-gg-deployment",
        T "notify-next-namespace-aws-gg-deployment",
        T "$next/namespace-aws-gg-deployment/get/accepted",
        T "job-1/namespace-aws-gg-deployment/update/accepted",
        "$aws/things/T/job/get",
        "$aws/things/T//jobs/get",
        "$aws/things//jobs/get",
        "$aws/thing/T/jobs/get",
        "$AWS/things/T/jobs/get",
        "aws/things/T/jobs/get/accepted",
        "/$aws/things/T/jobs/get",
        " $aws/things/T/jobs/get",
        T "get ",
        "$aws/things/T.x/jobs/get",
        "$aws/things/+/jobs/get",
        "$aws/things/" THING128 "t/jobs/get",
        "$aws/things/T/shadow/get",
        "$aws/events/job/job-1/completed",
        "get",
};

START_TEST(parse_known) {
        for (size_t i = 0; i < ELEMENTSOF(topic_rows); i++)
                for (int any = 0; any < 2; any++) {
                        Topic t = topic_parse(topic_rows[i].topic, any ? NULL : topic_rows[i].thing);

                        ck_assert_msg(t.kind == topic_rows[i].kind && t.reply == topic_rows[i].reply,
                                      "row %zu", i);
                        ck_assert_str_eq(t.job_id, topic_rows[i].job_id);
                        ck_assert_str_eq(t.thing, topic_rows[i].thing);
                }
}
END_TEST

START_TEST(parse_unrecognized) {
        for (size_t i = 0; i < ELEMENTSOF(unrecognized); i++)
                for (int any = 0; any < 2; any++) {
                        Topic t = topic_parse(unrecognized[i], any ? NULL : "T");

                        ck_assert_msg(t.kind == TOPIC_UNRECOGNIZED, "row %zu: %s", i, unrecognized[i]);
                        ck_assert(t.thing[0] == '\0' && t.job_id[0] == '\0');
                }
        /* The whole name counts, not a part of it. */
        ck_assert_int_eq(topic_parse("$aws/things/Tt/jobs/notify", "T").kind, TOPIC_UNRECOGNIZED);
        ck_assert_int_eq(topic_parse(T "notify", "Tt").kind, TOPIC_UNRECOGNIZED);
        ck_assert_int_eq(topic_parse(T "notify", "t").kind, TOPIC_UNRECOGNIZED);
        ck_assert_int_eq(topic_parse(T "notify", "").kind, TOPIC_UNRECOGNIZED);
}
END_TEST

START_TEST(format_round_trip) {
        for (size_t i = 0; i < ELEMENTSOF(topic_rows); i++) {
                Topic t = topic_parse(topic_rows[i].topic, NULL);
                char text[TOPIC_TEXT_MAX];

                ck_assert_int_eq(topic_format(&t, text), 0);
                ck_assert_str_eq(text, topic_rows[i].topic);
        }
}
END_TEST

START_TEST(format_filters) {
        char text[TOPIC_TEXT_MAX];

        ck_assert_int_eq(topic_format(&(Topic){ TOPIC_UPDATE, TOPIC_ACCEPTED, "T", "+" }, text), 0);
        ck_assert_str_eq(text, T "+/update/accepted");
        ck_assert_int_eq(topic_format(&(Topic){ TOPIC_DESCRIBE, TOPIC_REJECTED, "T", "+" }, text), 0);
        ck_assert_str_eq(text, T "+/get/rejected");
}
END_TEST

START_TEST(format_refused) {
        static const Topic rows[] = {
                { TOPIC_UNRECOGNIZED, TOPIC_REQUEST, "T", "" },
                { TOPIC_NOTIFY_NEXT + 1, TOPIC_REQUEST, "T", "" },
                { TOPIC_GET_PENDING, TOPIC_REJECTED + 1, "T", "" },
                { TOPIC_GET_PENDING, TOPIC_REQUEST, "", "" },
                { TOPIC_GET_PENDING, TOPIC_REQUEST, "a/b", "" },
                { TOPIC_GET_PENDING, TOPIC_REQUEST, "+", "" },
                { TOPIC_GET_PENDING, TOPIC_REQUEST, "T", "job" },
                { TOPIC_START_NEXT, TOPIC_ACCEPTED, "T", "job" },
                { TOPIC_NOTIFY, TOPIC_REQUEST, "T", "job" },
                { TOPIC_NOTIFY, TOPIC_ACCEPTED, "T", "" },
                { TOPIC_NOTIFY_NEXT, TOPIC_REJECTED, "T", "" },
                { TOPIC_DESCRIBE, TOPIC_REQUEST, "T", "" },
                { TOPIC_UPDATE, TOPIC_REQUEST, "T", "" },
                { TOPIC_UPDATE, TOPIC_REQUEST, "T", "../x" },
                { TOPIC_UPDATE, TOPIC_REQUEST, "T", "#" },
                { TOPIC_UPDATE, TOPIC_REQUEST, "T", "$nex" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char text[TOPIC_TEXT_MAX] = "untouched";

                ck_assert_msg(topic_format(&rows[i], text) == -EINVAL, "row %zu", i);
                ck_assert_str_eq(text, "untouched");
        }
}
END_TEST

START_TEST(invalid_requests) {
        static const char *const yes[] = { T "foo",
                                           T "job-1/start",
                                           T "",
                                           T "job-1",
                                           T "get/",
                                           T "job-1/get/x",
                                           T "job.1/update",
                                           T "a/b/c/d",
                                           T "$next/foo",
                                           T "Notify",
                                           T "job-1/describe/",
                                           T "namespace" };
        static const char *const no[] = {
                /* answers, also to these answers, would go round in circles */
                T "foo/rejected",
                T "foo/rejected/rejected",
                T "foo/accepted",
                T "job-1/start/rejected",
                T "/rejected",
                T "rejected/rejected",
                T "job-1/accepted",
                T "notify-namespace-aws-gg-deployment",
                T "notify-next-namespace-aws-gg-deployment",
                T "job-1/namespace-aws-gg-deployment/get",
                T "$next/namespace-aws-gg-deployment/update/accepted",
                "$aws/things/T/jobs",
                "$aws/things/T/shadow/get",
                "$aws/things/a.b/jobs/foo",
                "$aws/things//jobs/foo",
                "$aws/things/+/jobs/foo",
                "foo",
                "",
                T A60 A60 A60 A60,
        };
        char thing[LIMIT_THING_NAME + 1];

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                memset(thing, 'x', sizeof thing);
                ck_assert_msg(topic_is_invalid_request(yes[i], thing), "row %zu: %s", i, yes[i]);
                ck_assert_str_eq(thing, "T");
        }
        memset(thing, 'x', sizeof thing);
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                ck_assert_msg(!topic_is_invalid_request(no[i], thing), "row %zu: %s", i, no[i]);
        for (size_t i = 0; i < ELEMENTSOF(topic_rows); i++)
                ck_assert_msg(!topic_is_invalid_request(topic_rows[i].topic, thing), "row %zu", i);
        ck_assert_int_eq(thing[0], 'x');
        ck_assert(topic_is_invalid_request("$aws/things/" THING128 "/jobs/x", thing));
        ck_assert_str_eq(thing, THING128);
}
END_TEST

/* ---- requests, the device's side ---- */

static ProtoRequest request(TopicKind kind, const char *job_id) {
        ProtoRequest r;

        proto_request_init(&r, kind);
        (void) snprintf(r.job_id, sizeof r.job_id, "%s", job_id);
        if (kind == TOPIC_UPDATE)
                r.status = PROTO_STATUS_IN_PROGRESS;
        return r;
}

static void set_token(ProtoRequest *r, const char *token) {
        r->has_token = true;
        (void) snprintf(r->token, sizeof r->token, "%s", token);
}

static void assert_encodes(const ProtoRequest *r, const char *topic, const char *payload) {
        CLEANUP_BUF Buf b = {};
        char text[TOPIC_TEXT_MAX];
        Error e = {};

        buf_puts(&b, "what was there before");
        ck_assert_msg(proto_request_encode(r, "T", text, &b, &e) == 0, "%s", e.text);
        ck_assert_str_eq(text, topic);
        ck_assert_str_eq(b.data, payload);
}

START_TEST(encode_exactly) {
        ProtoRequest r = request(TOPIC_GET_PENDING, "");

        assert_encodes(&r, T "get", "{}");
        set_token(&r, "");
        assert_encodes(&r, T "get", "{\"clientToken\":\"\"}");
        /* Members another kind has are not looked at. */
        r.step_timeout = 5;
        r.status = PROTO_STATUS_CANCELED;
        set_token(&r, "\"\\\x01\xC3\xA4");
        assert_encodes(&r, T "get", "{\"clientToken\":\"\\\"\\\\\\u0001\xC3\xA4\"}");

        r = request(TOPIC_START_NEXT, "");
        assert_encodes(&r, T "start-next", "{}");
        r.has_details = true;
        assert_encodes(&r, T "start-next", "{}");
        ck_assert_int_eq(proto_details_set(&r.details, "StartedBy", "agent"), 0);
        r.step_timeout = 10;
        set_token(&r, "dev-01-8");
        assert_encodes(&r, T "start-next",
                       "{\"statusDetails\":{\"StartedBy\":\"agent\"},\"stepTimeoutInMinutes\":10,"
                       "\"clientToken\":\"dev-01-8\"}");
        proto_request_done(&r);

        r = request(TOPIC_DESCRIBE, "$next");
        assert_encodes(&r, T "$next/get", "{\"includeJobDocument\":true}");
        r = request(TOPIC_DESCRIBE, "job-1");
        r.include_document = false;
        r.execution_number = INT64_MAX;
        assert_encodes(&r, T "job-1/get",
                       "{\"executionNumber\":9223372036854775807,\"includeJobDocument\":false}");

        r = request(TOPIC_UPDATE, "job-1");
        assert_encodes(&r, T "job-1/update", "{\"status\":\"IN_PROGRESS\"}");
        r.has_details = true;
        ck_assert_int_eq(proto_details_set(&r.details, "progress", "50%"), 0);
        ck_assert_int_eq(proto_details_set(&r.details, "b", "c"), 0);
        r.expected_version = 2;
        r.execution_number = 1;
        r.include_state = true;
        r.include_document = true;
        r.step_timeout = -1;
        set_token(&r, "t");
        assert_encodes(&r, T "job-1/update",
                       "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"progress\":\"50%\",\"b\":\"c\"},"
                       "\"expectedVersion\":2,\"executionNumber\":1,\"includeJobExecutionState\":true,"
                       "\"includeJobDocument\":true,\"stepTimeoutInMinutes\":-1,\"clientToken\":\"t\"}");
        r.has_details = false; /* the stored map stays */
        r.expected_version = 0;
        r.include_state = r.include_document = r.has_token = false;
        r.step_timeout = 0;
        r.status = PROTO_STATUS_SUCCEEDED;
        assert_encodes(&r, T "job-1/update",
                       "{\"status\":\"SUCCEEDED\",\"expectedVersion\":0,\"executionNumber\":1}");
        proto_request_done(&r);
}
END_TEST

static void assert_not_encoded(const ProtoRequest *r, const char *thing, const char *text) {
        CLEANUP_BUF Buf b = {};
        char topic[TOPIC_TEXT_MAX] = "untouched";
        Error e = {};

        ck_assert_int_eq(proto_request_encode(r, thing, topic, &b, &e), -EINVAL);
        ck_assert_msg(strstr(e.text, text), "%s", e.text);
        ck_assert_str_eq(topic, "untouched");
        ck_assert_ptr_null(b.data);
}

START_TEST(encode_refused) {
        static const ProtoStatus not_settable[] = { PROTO_STATUS_NONE,      PROTO_STATUS_QUEUED,
                                                    PROTO_STATUS_TIMED_OUT, PROTO_STATUS_REMOVED,
                                                    PROTO_STATUS_CANCELED,  PROTO_STATUS_COUNT };
        static const int64_t minutes[] = { -2, -1, LIMIT_TIMEOUT_MINUTES + 1, INT64_MAX, INT64_MIN };
        ProtoRequest r;

        r = request(TOPIC_GET_PENDING, "");
        assert_not_encoded(&r, "", "thingName");
        assert_not_encoded(&r, "a/b", "thingName");
        assert_not_encoded(&r, THING128 "t", "thingName");
        set_token(&r, JOB64 "x");
        assert_not_encoded(&r, "T", "clientToken: 65 bytes; at most 64 expected");
        set_token(&r, "\xFF");
        assert_not_encoded(&r, "T", "clientToken: not valid UTF-8");
        r = request(TOPIC_NOTIFY, "");
        assert_not_encoded(&r, "T", "request");
        r = request(TOPIC_UNRECOGNIZED, "");
        assert_not_encoded(&r, "T", "request");
        r = request(TOPIC_DESCRIBE, "");
        assert_not_encoded(&r, "T", "jobId");
        r = request(TOPIC_DESCRIBE, "+");
        assert_not_encoded(&r, "T", "jobId");
        r = request(TOPIC_UPDATE, "$next");
        assert_not_encoded(&r, "T", "jobId");
        r = request(TOPIC_UPDATE, "../x");
        assert_not_encoded(&r, "T", "jobId");
        for (size_t i = 0; i < ELEMENTSOF(not_settable); i++) {
                r = request(TOPIC_UPDATE, "j");
                r.status = not_settable[i];
                assert_not_encoded(&r, "T", "status");
        }
        for (size_t i = 0; i < ELEMENTSOF(minutes); i++) {
                r = request(TOPIC_START_NEXT, "");
                r.step_timeout = minutes[i];
                assert_not_encoded(&r, "T", "stepTimeoutInMinutes");
                r = request(TOPIC_UPDATE, "j");
                r.step_timeout = minutes[i];
                if (minutes[i] != -1)
                        assert_not_encoded(&r, "T", "stepTimeoutInMinutes");
        }
        r = request(TOPIC_UPDATE, "j");
        r.expected_version = -2;
        assert_not_encoded(&r, "T", "expectedVersion");
        r = request(TOPIC_UPDATE, "j");
        r.has_details = true;
        ck_assert_int_eq(proto_details_set(&r.details, "k", "a\nb"), 0);
        assert_not_encoded(&r, "T", "statusDetails.k");
        proto_request_done(&r);
}
END_TEST

/* ---- requests, the service's side ---- */

static int decode(const char *topic, const char *payload, ProtoRequest *r, ProtoCode *code, Error *e) {
        Topic t = topic_parse(topic, NULL);

        *e = (Error){};
        *code = PROTO_CODE_NONE;
        return proto_request_decode(&t, payload, strlen(payload), r, code, e);
}

START_TEST(decode_all_members) {
        ProtoRequest r;
        ProtoCode code;
        Error e;

        ck_assert_int_eq(
                decode(T "get", "{\"clientToken\":\"dev-01-7\",\"status\":7,\"other\":[1]}", &r, &code, &e),
                0);
        ck_assert(r.kind == TOPIC_GET_PENDING && r.has_token && !r.has_details);
        ck_assert_str_eq(r.token, "dev-01-7");
        proto_request_done(&r);

        ck_assert_int_eq(decode(T "start-next",
                                "{\"statusDetails\":{\"a\":\"b\"},\"stepTimeoutInMinutes\":10080}", &r, &code,
                                &e),
                         0);
        ck_assert(r.kind == TOPIC_START_NEXT && !r.has_token && r.has_details && r.step_timeout == 10080);
        ck_assert_str_eq(proto_details_get(&r.details, "a"), "b");
        proto_request_done(&r);

        ck_assert_int_eq(
                decode(T "$next/get", "{\"executionNumber\":3,\"includeJobDocument\":false}", &r, &code, &e),
                0);
        ck_assert(r.kind == TOPIC_DESCRIBE && r.execution_number == 3 && !r.include_document);
        ck_assert_str_eq(r.job_id, "$next");
        proto_request_done(&r);

        ck_assert_int_eq(
                decode(T "job-1/update",
                       "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"1\",\"b\":\"2\"},"
                       "\"expectedVersion\":9007199254740993,\"executionNumber\":9223372036854775807,"
                       "\"includeJobExecutionState\":true,\"includeJobDocument\":true,"
                       "\"stepTimeoutInMinutes\":-1,\"clientToken\":\"\"}",
                       &r, &code, &e),
                0);
        ck_assert_str_eq(r.job_id, "job-1");
        ck_assert(r.status == PROTO_STATUS_FAILED && r.has_details && r.details.n == 2);
        ck_assert(r.expected_version == 9007199254740993 && r.execution_number == INT64_MAX);
        ck_assert(r.include_state && r.include_document && r.step_timeout == -1);
        ck_assert(r.has_token && r.token[0] == '\0');
        proto_request_done(&r);
}
END_TEST

/* Digits as a string, as device SDK v1 sends them; null and {} as absent; an empty payload. */
START_TEST(decode_leniently) {
        ProtoRequest r;
        ProtoCode code;
        Error e;

        ck_assert_int_eq(decode(T "j/update",
                                "{\"status\":\"SUCCEEDED\",\"expectedVersion\":\"2\","
                                "\"executionNumber\":\"9223372036854775807\"}",
                                &r, &code, &e),
                         0);
        ck_assert(r.expected_version == 2 && r.execution_number == INT64_MAX);
        ck_assert(!r.include_document && !r.include_state);

        ck_assert_int_eq(
                decode(T "j/update",
                       "{\"status\":\"REJECTED\",\"statusDetails\":null,\"expectedVersion\":null,"
                       "\"executionNumber\":null,\"includeJobExecutionState\":null,"
                       "\"includeJobDocument\":null,\"stepTimeoutInMinutes\":null,\"clientToken\":null}",
                       &r, &code, &e),
                0);
        ck_assert(!r.has_details && r.expected_version == -1 && r.execution_number == -1 && !r.include_state);
        ck_assert(!r.include_document && r.step_timeout == 0 && !r.has_token);

        ck_assert_int_eq(decode(T "start-next", "{\"statusDetails\":{}}", &r, &code, &e), 0);
        ck_assert(!r.has_details);
        ck_assert_int_eq(decode(T "start-next", "", &r, &code, &e), 0);
        ck_assert_int_eq(decode(T "get", "", &r, &code, &e), 0);
        ck_assert_int_eq(decode(T "j/get", "", &r, &code, &e), 0);
        ck_assert(r.include_document && r.execution_number == -1);
        ck_assert_int_eq(decode(T "j/update", "", &r, &code, &e), -EINVAL);
        ck_assert_int_eq(code, PROTO_CODE_INVALID_REQUEST);

        /* Well-formed, and for the state machine to refuse. */
        ck_assert_int_eq(decode(T "j/update", "{\"status\":\"QUEUED\"}", &r, &code, &e), 0);
        ck_assert_int_eq(r.status, PROTO_STATUS_QUEUED);
}
END_TEST

#define UP(rest) "{\"clientToken\":\"tok\",\"status\":\"IN_PROGRESS\"," rest "}"

START_TEST(decode_refused) {
        static const struct {
                const char *tail, *payload;
                const char *text; /* part of the message */
                bool token;       /* the token is there to be echoed */
        } rows[] = {
                { "j/update", "{\"clientToken\":\"tok\"}",
                  "Value null at 'status' failed to satisfy constraint: Member must not be null", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":null}", "Value null at 'status'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":\"CANCELED\"}",
                  "Value 'CANCELED' at 'status'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":\"TIMED_OUT\"}", "'TIMED_OUT'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":\"REMOVED\"}", "'REMOVED'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":\"DONE\\n\"}", "'DONE'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":\"\"}", "'' at 'status'", true },
                { "j/update", "{\"clientToken\":\"tok\",\"status\":1}", "status: a string expected", true },
                { "$next/update", UP("\"a\":1"), "Value '$next' at 'jobId'", true },
                { "j/update", UP("\"expectedVersion\":-1"), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":1.5"), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":\"\""), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":\"-1\""), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":\" 1\""), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":\"1x\""), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":\"9223372036854775808\""), "expectedVersion", true },
                { "j/update", UP("\"expectedVersion\":true"), "expectedVersion: an integer expected", true },
                { "j/update", UP("\"executionNumber\":[]"),
                  "executionNumber: an integer expected, found an array", true },
                { "j/get", "{\"clientToken\":\"tok\",\"executionNumber\":\"one\"}", "executionNumber", true },
                { "j/get", "{\"clientToken\":\"tok\",\"includeJobDocument\":1}",
                  "includeJobDocument: true or false", true },
                { "j/update", UP("\"includeJobDocument\":\"true\""), "includeJobDocument", true },
                { "j/update", UP("\"includeJobExecutionState\":0"), "includeJobExecutionState", true },
                { "j/update", UP("\"stepTimeoutInMinutes\":0"),
                  "stepTimeoutInMinutes: 0; 1 to 10080, or -1, expected", true },
                { "j/update", UP("\"stepTimeoutInMinutes\":-2"), "stepTimeoutInMinutes", true },
                { "j/update", UP("\"stepTimeoutInMinutes\":10081"), "stepTimeoutInMinutes: 10081", true },
                { "j/update", UP("\"stepTimeoutInMinutes\":\"5\""), "stepTimeoutInMinutes: an integer",
                  true },
                { "start-next", "{\"clientToken\":\"tok\",\"stepTimeoutInMinutes\":-1}",
                  "-1; 1 to 10080 expected", true },
                { "start-next", "{\"clientToken\":\"tok\",\"stepTimeoutInMinutes\":0}",
                  "0; 1 to 10080 expected", true },
                { "start-next", "{\"clientToken\":\"tok\",\"statusDetails\":[]}",
                  "statusDetails: an object expected", true },
                { "start-next", "{\"clientToken\":\"tok\",\"statusDetails\":\"x\"}", "statusDetails", true },
                { "j/update", UP("\"statusDetails\":{\"a\":1}"), "statusDetails.a: a string expected", true },
                { "j/update", UP("\"statusDetails\":{\"a\":null}"), "statusDetails.a: a string expected",
                  true },
                { "j/update", UP("\"statusDetails\":{\"a\":[\"x\"]}"), "statusDetails.a", true },
                { "j/update", UP("\"statusDetails\":{\"a\":\"\"}"), "statusDetails.a: empty", true },
                { "j/update", UP("\"statusDetails\":{\"a\":\"x\\ny\"}"), "statusDetails.a: U+000A", true },
                { "j/update", UP("\"statusDetails\":{\"a b\":\"x\"}"), "statusDetails: key \"a b\"", true },
                { "j/update", UP("\"statusDetails\":{\"\":\"x\"}"), "statusDetails: key", true },
                { "j/update",
                  UP("\"statusDetails\":{\"0\":\"\",\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\","
                     "\"6\":\"\",\"7\":\"\",\"8\":\"\",\"9\":\"\",\"10\":\"\"}"),
                  "statusDetails: 11 pairs", true },
                { "get", "{\"clientToken\":7}", "clientToken: a string expected", false },
                { "get", "{\"clientToken\":\"" THING128 "x\"}", "clientToken: 129 bytes; at most 128",
                  false },
                { "get", "{\"clientToken\":\"tok\",\"a\":18446744073709551616}", "JSON", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char topic[TOPIC_TEXT_MAX];
                ProtoRequest r;
                ProtoCode code;
                Error e;

                (void) snprintf(topic, sizeof topic, T "%s", rows[i].tail);
                ck_assert_msg(decode(topic, rows[i].payload, &r, &code, &e) == -EINVAL, "row %zu", i);
                ck_assert_msg(code == PROTO_CODE_INVALID_REQUEST, "row %zu: %s", i, proto_code_name(code));
                ck_assert_msg(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
                ck_assert_msg(r.has_token == rows[i].token, "row %zu", i);
                if (rows[i].token)
                        ck_assert_str_eq(r.token, "tok");
                proto_request_done(&r);
        }
}
END_TEST

START_TEST(decode_longest) {
        CLEANUP_FREE char *value = repeated("\xE2\x82\xAC", LIMIT_DETAILS_VALUE);
        CLEANUP_BUF Buf b = {};
        ProtoRequest r;
        ProtoCode code;
        Error e;

        buf_printf(&b, "{\"status\":\"FAILED\",\"clientToken\":\"%s\",\"statusDetails\":{", THING128);
        for (int i = 0; i < LIMIT_DETAILS_PAIRS; i++)
                buf_printf(&b, "%s\"k%d\":\"%s\"", i > 0 ? "," : "", i, value);
        buf_puts(&b, "}}");
        ck_assert_int_eq(decode("$aws/things/" THING128 "/jobs/" JOB64 "/update", b.data, &r, &code, &e), 0);
        ck_assert_str_eq(r.token, THING128);
        ck_assert_str_eq(r.job_id, JOB64);
        ck_assert_uint_eq(r.details.n, LIMIT_DETAILS_PAIRS);
        ck_assert_str_eq(proto_details_get(&r.details, "k9"), value);
        proto_request_done(&r);

        buf_clear(&b);
        buf_puts(&b, "{}");
        while (b.len <= LIMIT_PAYLOAD)
                buf_puts(&b, " ");
        ck_assert_int_eq(decode(T "get", b.data, &r, &code, &e), -EINVAL);
        ck_assert_int_eq(code, PROTO_CODE_INVALID_REQUEST);
        ck_assert_str_eq(e.text, "payload: 131073 bytes; at most 131072 expected");
        b.data[--b.len] = '\0';
        ck_assert_int_eq(decode(T "get", b.data, &r, &code, &e), 0);
}
END_TEST

START_TEST(decode_wrong_topic) {
        static const char *const topics[] = { T "notify", T "notify-next", T "get/accepted",
                                              T "j/update/rejected", T "foo" };
        ProtoRequest r;
        ProtoCode code;
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(topics); i++) {
                ck_assert_int_eq(decode(topics[i], "{}", &r, &code, &e), -EINVAL);
                ck_assert_int_eq(code, PROTO_CODE_INVALID_TOPIC);
                proto_request_done(&r);
        }
}
END_TEST

/* What the device's side writes the service's side reads, member for member. */
START_TEST(request_round_trip) {
        static const TopicKind kinds[] = { TOPIC_GET_PENDING, TOPIC_START_NEXT, TOPIC_DESCRIBE,
                                           TOPIC_UPDATE };
        static const ProtoStatus settable[] = { PROTO_STATUS_IN_PROGRESS, PROTO_STATUS_SUCCEEDED,
                                                PROTO_STATUS_FAILED, PROTO_STATUS_REJECTED };

        for (unsigned v = 0; v < 4 << 7; v++) {
                TopicKind kind = kinds[v & 3];
                bool update = kind == TOPIC_UPDATE, describe = kind == TOPIC_DESCRIBE;
                ProtoRequest r = request(kind, update || describe ? "job-1" : ""), got;
                CLEANUP_BUF Buf b = {};
                char topic[TOPIC_TEXT_MAX];
                Topic t;
                ProtoCode code;
                Error e = {};

                if (v & 4)
                        set_token(&r, "t\"\\\xC3\xA4");
                if (v & 8 && (update || describe))
                        r.execution_number = INT64_MAX - v;
                if (v & 16 && (update || describe))
                        r.include_document = !describe;
                if (v & 32 && update) {
                        r.expected_version = v;
                        r.include_state = true;
                }
                if (v & 64 && (update || kind == TOPIC_START_NEXT))
                        r.step_timeout = v % LIMIT_TIMEOUT_MINUTES + 1;
                if (v & 128 && (update || kind == TOPIC_START_NEXT)) {
                        r.has_details = true;
                        ck_assert_int_eq(proto_details_set(&r.details, "a:b", "x | \"y\" \\"), 0);
                }
                if (update)
                        r.status = settable[v >> 3 & 3];
                ck_assert_int_eq(proto_request_encode(&r, "plant:7", topic, &b, &e), 0);
                t = topic_parse(topic, NULL);
                ck_assert_msg(proto_request_decode(&t, b.data, b.len, &got, &code, &e) == 0, "%s", e.text);
                ck_assert(got.kind == r.kind && strcmp(got.job_id, r.job_id) == 0 && got.status == r.status);
                ck_assert(got.has_token == r.has_token && strcmp(got.token, r.token) == 0);
                ck_assert(got.has_details == r.has_details && proto_details_equal(&got.details, &r.details));
                ck_assert(got.expected_version == r.expected_version &&
                          got.execution_number == r.execution_number);
                ck_assert(got.include_state == r.include_state && got.include_document == r.include_document);
                ck_assert(got.step_timeout == r.step_timeout);
                proto_request_done(&got);
                proto_request_done(&r);
        }
}
END_TEST

static TCase *cases_types(void) {
        TCase *c = tcase_create("types");

        tcase_add_test(c, statuses);
        tcase_add_test(c, codes);
        tcase_add_test(c, names);
        tcase_add_test(c, key_round_trip);
        tcase_add_test(c, key_refused);
        tcase_add_test(c, details_map);
        tcase_add_test(c, details_check);
        return c;
}

static TCase *cases_topics(void) {
        TCase *c = tcase_create("topics");

        tcase_add_test(c, parse_known);
        tcase_add_test(c, parse_unrecognized);
        tcase_add_test(c, format_round_trip);
        tcase_add_test(c, format_filters);
        tcase_add_test(c, format_refused);
        tcase_add_test(c, invalid_requests);
        return c;
}

static TCase *cases_requests(void) {
        TCase *c = tcase_create("requests");

        tcase_add_test(c, encode_exactly);
        tcase_add_test(c, encode_refused);
        tcase_add_test(c, decode_all_members);
        tcase_add_test(c, decode_leniently);
        tcase_add_test(c, decode_refused);
        tcase_add_test(c, decode_longest);
        tcase_add_test(c, decode_wrong_topic);
        tcase_add_test(c, request_round_trip);
        return c;
}

UNIT_MAIN("proto", cases_types(), cases_topics(), cases_requests())
