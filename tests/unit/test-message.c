/* SPDX-License-Identifier: Apache-2.0 */
/* Replies and notifications of proto/message.h, and malformed payloads of both directions. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "proto/message.h"

#define T "$aws/things/T/jobs/"

static int decode_bytes(const char *tail, const char *payload, size_t len, ProtoMessage *m, Error *e) {
        char text[TOPIC_TEXT_MAX];
        Topic t;
        int r;

        (void) snprintf(text, sizeof text, T "%s", tail);
        t = topic_parse(text, "T");
        *e = (Error){};
        r = proto_message_decode(&t, payload, len, m, e);
        ck_assert_int_eq(e->code, -r);
        return r;
}

static int decode(const char *tail, const char *payload, ProtoMessage *m, Error *e) {
        return decode_bytes(tail, payload, strlen(payload), m, e);
}

/* ---- the examples of the protocol notes ---- */

START_TEST(get_pending) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Error e;

        ck_assert_int_eq(
                decode("get/accepted",
                       "{\"clientToken\":\"dev-01-7\",\"timestamp\":1625328544,\"inProgressJobs\":[],"
                       "\"queuedJobs\":[{\"jobId\":\"test_job\",\"queuedAt\":1625268804,"
                       "\"lastUpdatedAt\":1625268805,\"executionNumber\":1,\"versionNumber\":2}]}",
                       &m, &e),
                0);
        ck_assert(m.kind == TOPIC_GET_PENDING && m.reply == TOPIC_ACCEPTED);
        ck_assert(m.has_token && strcmp(m.token, "dev-01-7") == 0);
        ck_assert_int_eq(m.timestamp, 1625328544);
        ck_assert_uint_eq(m.n_list, 1);
        ck_assert_str_eq(m.list[0].job_id, "test_job");
        ck_assert_int_eq(m.list[0].status, PROTO_STATUS_QUEUED);
        ck_assert(m.list[0].queued_at == 1625268804 && m.list[0].last_updated_at == 1625268805);
        ck_assert(m.list[0].started_at == 0 && m.list[0].number == 1 && m.list[0].version == 2);
        ck_assert(m.list[0].seconds_left == -1 && !m.list[0].document);
        ck_assert_str_eq(m.passed_over, "");
}
END_TEST

START_TEST(notify) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Error e;

        /* IN_PROGRESS comes first whatever the order in the text; other statuses are not pending. */
        ck_assert_int_eq(decode("notify",
                                "{\"timestamp\":1517017906,\"jobs\":{\"QUEUED\":[{\"jobId\":\"job2\"}],"
                                "\"PAUSED\":[{\"jobId\":\"x\"}],\"SUCCEEDED\":7,"
                                "\"IN_PROGRESS\":[{\"jobId\":\"job1\",\"startedAt\":1517017472}]},"
                                "\"clientToken\":\"ignored\"}",
                                &m, &e),
                         0);
        ck_assert(m.kind == TOPIC_NOTIFY && m.reply == TOPIC_REQUEST && !m.has_token);
        ck_assert_uint_eq(m.n_list, 2);
        ck_assert_str_eq(m.list[0].job_id, "job1");
        ck_assert_int_eq(m.list[0].status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(m.list[0].started_at, 1517017472);
        ck_assert(m.list[0].number == -1 && m.list[0].version == -1 && m.list[0].queued_at == 0);
        ck_assert_str_eq(m.list[1].job_id, "job2");
        ck_assert_int_eq(m.list[1].status, PROTO_STATUS_QUEUED);
        proto_message_done(&m);

        ck_assert_int_eq(decode("notify", "{\"jobs\":{}}", &m, &e), 0);
        ck_assert_uint_eq(m.n_list, 0);
        proto_message_done(&m);
        ck_assert_int_eq(decode("notify", "{\"jobs\":{\"QUEUED\":[],\"IN_PROGRESS\":null}}", &m, &e), 0);
        ck_assert_uint_eq(m.n_list, 0);
}
END_TEST

#define DOCUMENT "{ \"operation\" : \"customJob\",\"n\":1.50 }"
#define EXECUTION                                                                                            \
        "{\"jobId\":\"test_job\",\"thingName\":\"T\",\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":"   \
        "\"b\"},"                                                                                            \
        "\"queuedAt\":1625268804,\"startedAt\":1625329827,\"lastUpdatedAt\":1625329828,\"versionNumber\":2," \
        "\"executionNumber\":3,\"approximateSecondsBeforeTimedOut\":599,\"jobDocument\":" DOCUMENT "}"

static void assert_execution(const ProtoExecution *x) {
        ck_assert_str_eq(x->job_id, "test_job");
        ck_assert_int_eq(x->status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_uint_eq(x->details.n, 1);
        ck_assert_str_eq(proto_details_get(&x->details, "a"), "b");
        ck_assert(x->queued_at == 1625268804 && x->started_at == 1625329827 &&
                  x->last_updated_at == 1625329828);
        ck_assert(x->version == 2 && x->number == 3 && x->seconds_left == 599);
        ck_assert_uint_eq(x->document_len, strlen(DOCUMENT));
        ck_assert_int_eq(memcmp(x->document, DOCUMENT, strlen(DOCUMENT)), 0);
}

START_TEST(executions) {
        static const char *const tails[] = { "start-next/accepted", "test_job/get/accepted",
                                             "$next/get/accepted", "notify-next" };
        static const char payload[] =
                "{\"clientToken\":\"t\",\"timestamp\":1625329827,\"execution\":" EXECUTION "}";

        for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
                CLEANUP_MESSAGE ProtoMessage m = {};
                Error e;

                ck_assert_int_eq(decode(tails[i], payload, &m, &e), 0);
                ck_assert(m.has_execution && !m.has_state && !m.document && !m.owned_document);
                assert_execution(&m.execution);
                ck_assert(m.execution.document > payload && m.execution.document < payload + sizeof payload);
                ck_assert(m.has_token == (m.kind != TOPIC_NOTIFY_NEXT));
                ck_assert_str_eq(m.job_id, i == 1 ? "test_job" : i == 2 ? "$next" : "");
        }
}
END_TEST

START_TEST(nothing_pending) {
        static const char *const tails[] = { "start-next/accepted", "$next/get/accepted", "notify-next" };
        static const char *const payloads[] = { "{\"timestamp\":5}", "{\"timestamp\":5,\"execution\":null}",
                                                "{\"timestamp\":5,\"execution\":{}}" };

        for (size_t i = 0; i < ELEMENTSOF(tails); i++)
                for (size_t k = 0; k < ELEMENTSOF(payloads); k++) {
                        CLEANUP_MESSAGE ProtoMessage m = {};
                        Error e;

                        ck_assert_int_eq(decode(tails[i], payloads[k], &m, &e), 0);
                        ck_assert(!m.has_execution && m.timestamp == 5);
                }
}
END_TEST

START_TEST(update_accepted) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Error e;

        ck_assert_int_eq(
                decode("j/update/accepted", "{\"clientToken\":\"\",\"timestamp\":1625329900}", &m, &e), 0);
        ck_assert(m.has_token && m.token[0] == '\0' && !m.has_state && !m.document && m.state_version == -1);
        ck_assert_str_eq(m.job_id, "j");
        proto_message_done(&m);

        ck_assert_int_eq(decode("j/update/accepted",
                                "{\"timestamp\":1625329900,\"executionState\":{\"status\":\"IN_PROGRESS\","
                                "\"statusDetails\":{\"progress\":\"50%\"},\"versionNumber\":3},"
                                "\"jobDocument\":" DOCUMENT "}",
                                &m, &e),
                         0);
        ck_assert(m.has_state && m.state_status == PROTO_STATUS_IN_PROGRESS && m.state_version == 3 &&
                  !m.has_token);
        ck_assert_str_eq(proto_details_get(&m.state_details, "progress"), "50%");
        ck_assert(m.document_len == strlen(DOCUMENT) && memcmp(m.document, DOCUMENT, m.document_len) == 0);
}
END_TEST

START_TEST(rejected) {
        static const char *const tails[] = { "get/rejected", "start-next/rejected", "j/get/rejected",
                                             "$next/update/rejected", "j/update/rejected" };

        for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
                CLEANUP_MESSAGE ProtoMessage m = {};
                Error e;

                ck_assert_int_eq(decode(tails[i],
                                        "{\"code\":\"VersionMismatch\",\"message\":\"Expected version 99 but "
                                        "found version 1\","
                                        "\"clientToken\":\"tok\",\"timestamp\":1756200000,"
                                        "\"executionState\":{\"status\":\"QUEUED\",\"versionNumber\":\"1\"}}",
                                        &m, &e),
                                 0);
                ck_assert_int_eq(m.code, PROTO_CODE_VERSION_MISMATCH);
                ck_assert_str_eq(m.message, "Expected version 99 but found version 1");
                ck_assert(m.has_state && m.state_status == PROTO_STATUS_QUEUED && m.state_version == 1);
                ck_assert(m.has_token && m.state_details.n == 0);
        }
}
END_TEST

START_TEST(rejected_oddly) {
        static const struct {
                const char *payload;
                ProtoCode code;
                const char *message;
        } rows[] = {
                { "{}", PROTO_CODE_UNKNOWN, "" },
                { "{\"code\":null}", PROTO_CODE_UNKNOWN, "" },
                { "{\"code\":\"\"}", PROTO_CODE_UNKNOWN, "" },
                { "{\"code\":\"Teapot\",\"message\":418}", PROTO_CODE_UNKNOWN, "" },
                { "{\"code\":\"InvalidJson\",\"message\":\"a\\nb\\u001b[0m\"}", PROTO_CODE_INVALID_JSON,
                  "a | b\xEF\xBF\xBD[0m" },
        };
        CLEANUP_MESSAGE ProtoMessage m = {};
        CLEANUP_BUF Buf b = {};
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ck_assert_int_eq(decode("get/rejected", rows[i].payload, &m, &e), 0);
                ck_assert_int_eq(m.code, rows[i].code);
                ck_assert_str_eq(m.message, rows[i].message);
                proto_message_done(&m);
        }
        /* A long message is cut on a character. */
        buf_puts(&b, "{\"message\":\"x");
        for (int i = 0; i < 400; i++)
                buf_puts(&b, "\xE2\x82\xAC");
        buf_puts(&b, "\"}");
        ck_assert_int_eq(decode("get/rejected", b.data, &m, &e), 0);
        ck_assert_uint_eq(strlen(m.message), 1 + 3 * ((sizeof m.message - 2) / 3));
        ck_assert(utf8_valid(m.message, strlen(m.message)));
}
END_TEST

/* ---- odd parts that must not hide the rest ---- */

/* Documents strict JSON refuses, or that are no documents at all. Each has an end that can be found. */
static const char *const odd_documents[] = {
        "{\"a\":1,\"a\":2}",
        "{\"a\":18446744073709551616}",
        "{\"a\":1e999}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\xFF\xFE\xC3\"}",
        "{\"a\":\"\xED\xA0\x80\"}",
        "{\"a\":\"line\nfeed\"}",
        "{\"a\":NaN,}",
        "{a:'b'}",
        "{\"a\":01}",
        "{\"a\" 1}",
        "{,}",
        "[]",
        "[1,2]",
        "17",
        "true",
        "18446744073709551616",
        "NaN",
        "{\"jobDocument\":{\"jobDocument\":1},\"execution\":{\"jobDocument\":2}}",
        "{\"jobId\":\"other\"}",
        "{\"a\":\"\\\"}]\\\\\"}",
};

static void assert_document_travels(const char *document, size_t len) {
        static const struct {
                const char *tail, *head, *end;
                bool top;
        } rows[] = {
                { "start-next/accepted",
                  "{\"execution\":{\"jobId\":\"odd\",\"jobDocument\":", "},\"timestamp\":5}", false },
                { "odd/get/accepted",
                  "{\"execution\":{\"jobDocument\": ", " ,\"jobId\":\"odd\"},\"timestamp\":5}", false },
                { "notify-next",
                  "{\"timestamp\":5,\"execution\":{\"job\\u0044ocument\":", ",\"jobId\":\"odd\"}}", false },
                { "odd/update/accepted", "{\"timestamp\":5,\"jobDocument\":", "}", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CLEANUP_MESSAGE ProtoMessage m = {};
                CLEANUP_BUF Buf b = {};
                const char *got;
                size_t got_len;
                Error e;

                buf_puts(&b, rows[i].head);
                buf_append(&b, document, len);
                buf_puts(&b, rows[i].end);
                ck_assert_msg(decode_bytes(rows[i].tail, b.data, b.len, &m, &e) == 0, "%s: %.80s", e.text,
                              document);
                ck_assert_int_eq(m.timestamp, 5);
                ck_assert(rows[i].top || strcmp(m.execution.job_id, "odd") == 0);
                got = rows[i].top ? m.document : m.execution.document;
                got_len = rows[i].top ? m.document_len : m.execution.document_len;
                ck_assert_ptr_nonnull(got);
                ck_assert_uint_eq(got_len, len);
                ck_assert_int_eq(memcmp(got, document, len), 0);
        }
}

START_TEST(odd_documents_travel) {
        CLEANUP_BUF Buf b = {};

        for (size_t i = 0; i < ELEMENTSOF(odd_documents); i++)
                assert_document_travels(odd_documents[i], strlen(odd_documents[i]));
        assert_document_travels("{\"a\":\"\0\"}", 9);

        for (int i = 0; i < 500; i++)
                buf_puts(&b, "{\"d\":");
        buf_puts(&b, "1");
        for (int i = 0; i < 500; i++)
                buf_puts(&b, "}");
        assert_document_travels(b.data, b.len);

        buf_clear(&b);
        buf_puts(&b, "[0");
        for (int i = 0; i < 20000; i++)
                buf_puts(&b, ",{}");
        buf_puts(&b, "]");
        assert_document_travels(b.data, b.len);
}
END_TEST

START_TEST(document_as_string) {
        static const struct {
                const char *json;
                const char *document;
                size_t len;
        } rows[] = {
                { "\"{\\\"a\\\":\\\"\\u00e4\\\\n\\\"}\"", "{\"a\":\"\xC3\xA4\\n\"}", 12 },
                { "\"\"", "", 0 },
                { "\"hello\"", "hello", 5 },
                { "\"{\\u0000}\"", "{\0}", 3 },
                /* These cannot be unescaped, and stay. */
                { "\"\\ud800\"", "\"\\ud800\"", 8 },
                { "\"\\x\"", "\"\\x\"", 4 },
                { "\"\xFF\"", "\"\xFF\"", 3 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (int top = 0; top < 2; top++) {
                        CLEANUP_MESSAGE ProtoMessage m = {};
                        CLEANUP_BUF Buf b = {};
                        const char *got;
                        size_t got_len;
                        Error e;

                        buf_printf(&b,
                                   top ? "{\"jobDocument\":%s}"
                                       : "{\"execution\":{\"jobId\":\"j\",\"jobDocument\":%s}}",
                                   rows[i].json);
                        ck_assert_int_eq(decode_bytes(top ? "j/update/accepted" : "notify-next", b.data,
                                                      b.len, &m, &e),
                                         0);
                        got = top ? m.document : m.execution.document;
                        got_len = top ? m.document_len : m.execution.document_len;
                        ck_assert_ptr_nonnull(got);
                        ck_assert_msg(got_len == rows[i].len && memcmp(got, rows[i].document, got_len) == 0,
                                      "row %zu", i);
                }
}
END_TEST

START_TEST(document_absent) {
        static const struct {
                const char *tail, *payload;
        } rows[] = {
                { "notify-next", "{\"execution\":{\"jobId\":\"j\"}}" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"jobDocument\":null}}" },
                /* where that kind of message has none */
                { "notify-next", "{\"jobDocument\":1,\"execution\":{\"jobId\":\"j\"}}" },
                { "j/update/accepted", "{\"execution\":{\"jobDocument\":1}}" },
                { "j/update/accepted", "{\"jobDocument\":null}" },
                { "get/accepted", "{\"jobDocument\":1}" },
                { "get/accepted", "{\"execution\":{\"jobDocument\":1}}" },
                { "j/update/rejected", "{\"jobDocument\":1}" },
                { "start-next/rejected", "{\"execution\":{\"jobId\":\"j\",\"jobDocument\":1}}" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CLEANUP_MESSAGE ProtoMessage m = {};
                Error e;

                ck_assert_msg(decode(rows[i].tail, rows[i].payload, &m, &e) == 0, "row %zu: %s", i, e.text);
                ck_assert_msg(!m.document && !m.execution.document, "row %zu", i);
        }
}
END_TEST

START_TEST(lists_survive_odd_entries) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Error e;

        ck_assert_int_eq(
                decode("get/accepted",
                       "{\"inProgressJobs\":[{\"jobId\":\"../x\"},{\"jobId\":\"a\"},7,{}],"
                       "\"queuedJobs\":[null,{\"jobId\":\"b\",\"queuedAt\":\"soon\"},{\"jobId\":\"c\"}]}",
                       &m, &e),
                0);
        ck_assert_uint_eq(m.n_list, 2);
        ck_assert_str_eq(m.list[0].job_id, "a");
        ck_assert_int_eq(m.list[0].status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_str_eq(m.list[1].job_id, "c");
        ck_assert_int_eq(m.list[1].queued_at, 0);
        ck_assert_str_eq(m.passed_over,
                         "inProgressJobs[0].jobId: \"../x\": 1 to 64 of [a-zA-Z0-9_-] expected");
        proto_message_done(&m);

        ck_assert_int_eq(decode("notify", "{\"jobs\":{\"QUEUED\":[3]}}", &m, &e), 0);
        ck_assert_uint_eq(m.n_list, 0);
        ck_assert_str_eq(m.passed_over, "jobs.QUEUED[0]: an object expected");
}
END_TEST

START_TEST(lists_are_cut) {
        static const struct {
                unsigned in_progress, queued;
        } rows[] = { { 0, 15 }, { 15, 0 },  { 3, 12 },  { 0, 16 },
                     { 16, 0 }, { 16, 16 }, { 5, 100 }, { 500, 500 } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CLEANUP_MESSAGE ProtoMessage m = {};
                CLEANUP_BUF Buf b = {};
                unsigned all = rows[i].in_progress + rows[i].queued;
                Error e;

                buf_puts(&b, "{\"inProgressJobs\":[");
                for (unsigned k = 0; k < rows[i].in_progress; k++)
                        buf_printf(&b, "%s{\"jobId\":\"p%u\"}", k > 0 ? "," : "", k);
                buf_puts(&b, "],\"queuedJobs\":[");
                for (unsigned k = 0; k < rows[i].queued; k++)
                        buf_printf(&b, "%s{\"jobId\":\"q%u\"}", k > 0 ? "," : "", k);
                buf_puts(&b, "]}");
                ck_assert_int_eq(decode("get/accepted", b.data, &m, &e), 0);
                ck_assert_uint_eq(m.n_list, MIN_OF(all, (unsigned) LIMIT_PENDING_LISTED_MAX));
                ck_assert((m.passed_over[0] != '\0') == (all > LIMIT_PENDING_LISTED_MAX));
                for (size_t k = 0; k < m.n_list; k++) {
                        bool p = k < rows[i].in_progress;
                        char id[8];

                        (void) snprintf(id, sizeof id, "%c%zu", p ? 'p' : 'q',
                                        p ? k : k - rows[i].in_progress);
                        ck_assert_str_eq(m.list[k].job_id, id);
                        ck_assert_int_eq(m.list[k].status,
                                         p ? PROTO_STATUS_IN_PROGRESS : PROTO_STATUS_QUEUED);
                }
        }
}
END_TEST

START_TEST(details_leniently) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        CLEANUP_BUF Buf b = {};
        Error e;

        ck_assert_int_eq(
                decode("notify-next",
                       "{\"execution\":{\"jobId\":\"j\",\"status\":\"PAUSED\",\"statusDetails\":{\"a\":1,"
                       "\"claim\":\"abc\",\"n\":null,\"odd key\":\"x\\ny\",\"o\":{}}}}",
                       &m, &e),
                0);
        ck_assert_int_eq(m.execution.status, PROTO_STATUS_NONE);
        ck_assert_uint_eq(m.execution.details.n, 2);
        ck_assert_str_eq(proto_details_get(&m.execution.details, "claim"), "abc");
        ck_assert_str_eq(proto_details_get(&m.execution.details, "odd key"), "x\ny");
        proto_message_done(&m);

        buf_puts(&b, "{\"executionState\":{\"statusDetails\":{\"k\":\"v\"");
        for (int i = 0; i < 30; i++)
                buf_printf(&b, ",\"k%d\":\"v\"", i);
        buf_puts(&b, "}}}");
        ck_assert_int_eq(decode("j/update/accepted", b.data, &m, &e), 0);
        ck_assert_uint_eq(m.state_details.n, LIMIT_DETAILS_PAIRS);
        ck_assert_str_eq(proto_details_get(&m.state_details, "k8"), "v");
        ck_assert(m.has_state && m.state_status == PROTO_STATUS_NONE);
}
END_TEST

START_TEST(numbers) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Error e;

        ck_assert_int_eq(
                decode("notify-next",
                       "{\"timestamp\":1517017906.789,\"execution\":{\"jobId\":\"j\",\"queuedAt\":"
                       "9223372036854775807,"
                       "\"startedAt\":1.5e9,\"versionNumber\":\"9223372036854775807\",\"executionNumber\":"
                       "9223372036854775807,\"approximateSecondsBeforeTimedOut\":0}}",
                       &m, &e),
                0);
        ck_assert_int_eq(m.timestamp, 1517017906);
        ck_assert(m.execution.queued_at == INT64_MAX && m.execution.started_at == 1500000000);
        ck_assert(m.execution.version == INT64_MAX && m.execution.number == INT64_MAX &&
                  m.execution.seconds_left == 0);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(refused) {
        static const struct {
                const char *tail, *payload, *text;
        } rows[] = {
                { "notify", "{}", "jobs: missing" },
                { "notify", "{\"jobs\":null}", "jobs: missing" },
                { "notify", "{\"jobs\":[]}", "jobs: an object expected, found an array" },
                { "notify", "{\"jobs\":{\"QUEUED\":{}}}", "jobs.QUEUED: an array expected, found an object" },
                { "notify", "{\"jobs\":{},\"timestamp\":\"now\"}",
                  "timestamp: an integer expected, found a string" },
                { "notify", "{\"jobs\":{},\"timestamp\":-1}", "timestamp: -1 is not an integer" },
                { "notify", "{\"jobs\":{},\"timestamp\":-1.5}", "timestamp: -1.5 is no time" },
                { "notify", "{\"jobs\":{},\"timestamp\":1e19}", "timestamp: 1e+19 is no time" },
                { "get/accepted", "{\"queuedJobs\":{}}", "queuedJobs: an array expected" },
                { "get/accepted", "{\"inProgressJobs\":\"\"}", "inProgressJobs: an array expected" },
                { "get/accepted", "{\"clientToken\":5}", "clientToken: a string expected" },
                { "notify-next", "{\"execution\":[]}", "execution: an object expected" },
                { "notify-next", "{\"execution\":{\"status\":\"QUEUED\"}}", "execution.jobId: missing" },
                { "notify-next", "{\"execution\":{\"jobId\":7}}", "execution.jobId: a string expected" },
                { "notify-next", "{\"execution\":{\"jobId\":\"../../etc\"}}",
                  "execution.jobId: \"../../etc\": 1 to 64" },
                { "notify-next", "{\"execution\":{\"jobId\":\"\"}}", "execution.jobId: \"\"" },
                { "notify-next", "{\"execution\":{\"jobId\":\"$next\"}}", "execution.jobId" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"status\":1}}",
                  "execution.status: a string expected" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"versionNumber\":-1}}",
                  "execution.versionNumber: -1" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"executionNumber\":1.5}}",
                  "execution.executionNumber" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"executionNumber\":\"x\"}}",
                  "execution.executionNumber" },
                { "notify-next", "{\"execution\":{\"jobId\":\"j\",\"statusDetails\":[]}}",
                  "execution.statusDetails" },
                { "j/update/accepted", "{\"executionState\":1}", "executionState: an object expected" },
                { "j/update/rejected", "{\"executionState\":{\"versionNumber\":{}}}",
                  "executionState.versionNumber" },
                { "j/update/rejected", "{\"code\":409}", "code: a string expected" },
                { "get", "{}", "topic" },
                { "j/update", "{\"status\":\"FAILED\"}", "topic" },
                { "foo", "{}", "topic" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ProtoMessage m = { .timestamp = 77 };
                Error e;

                ck_assert_msg(decode(rows[i].tail, rows[i].payload, &m, &e) == -EINVAL, "row %zu: %s", i,
                              e.text);
                ck_assert_msg(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
                ck_assert_int_eq(m.timestamp, 77);
        }
}
END_TEST

START_TEST(too_large) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        CLEANUP_BUF Buf b = {};
        Error e;

        buf_puts(&b, "{\"execution\":{\"jobId\":\"j\",\"jobDocument\":\"");
        while (b.len < LIMIT_PAYLOAD - 3)
                buf_puts(&b, "x");
        buf_puts(&b, "\"}}");
        ck_assert_int_eq(decode_bytes("notify-next", b.data, b.len, &m, &e), 0);
        proto_message_done(&m);
        buf_puts(&b, " ");
        ck_assert_int_eq(decode_bytes("notify-next", b.data, b.len, &m, &e), -E2BIG);
        ck_assert_str_eq(e.text, "payload: 131073 bytes; at most 131072 expected");
}
END_TEST

/* ---- malformed JSON on every topic ---- */

#define BYTES(text)                                                                                          \
        { text, sizeof(text) - 1 }

static const struct {
        const char *text;
        size_t len;
} malformed[] = {
        BYTES(" "),
        BYTES("{"),
        BYTES("}"),
        BYTES("["),
        BYTES("]"),
        BYTES("{]"),
        BYTES("[}"),
        BYTES("[]"),
        BYTES("[{}]"),
        BYTES("null"),
        BYTES("true"),
        BYTES("0"),
        BYTES("\"x\""),
        BYTES("nul"),
        BYTES("hello"),
        BYTES("{\"a\""),
        BYTES("{\"a\":"),
        BYTES("{\"a\":}"),
        BYTES("{\"a\":1"),
        BYTES("{\"a\":1,"),
        BYTES("{\"a\":1,}"),
        BYTES("{,}"),
        BYTES("{\"a\" 1}"),
        BYTES("{\"a\"::1}"),
        BYTES("{a:1}"),
        BYTES("{1:2}"),
        BYTES("{'a':1}"),
        BYTES("{\"a\":'b'}"),
        BYTES("{\"a\":1 \"b\":2}"),
        BYTES("{\"a\":1,,\"b\":2}"),
        BYTES("{\"a\":[1,]}"),
        BYTES("{\"a\":[1 2]}"),
        BYTES("{\"a\":{]}"),
        BYTES("{\"a\":[}]"),
        BYTES("{\"a\":01}"),
        BYTES("{\"a\":+1}"),
        BYTES("{\"a\":.5}"),
        BYTES("{\"a\":1.}"),
        BYTES("{\"a\":1e}"),
        BYTES("{\"a\":-}"),
        BYTES("{\"a\":0x10}"),
        BYTES("{\"a\":NaN}"),
        BYTES("{\"a\":Infinity}"),
        BYTES("{\"a\":TRUE}"),
        BYTES("{\"a\":tru}"),
        BYTES("{\"a\":undefined}"),
        BYTES("{\"a\":\"b}"),
        BYTES("{\"a\":\"\\\"}"),
        BYTES("{\"a\":\"\\x\"}"),
        BYTES("{\"a\":\"\\u12\"}"),
        BYTES("{\"a\":\"\\u12g4\"}"),
        BYTES("{\"a\":\"\\ud800\"}"),
        BYTES("{\"a\":\"\\udc00x\"}"),
        BYTES("{\"a\":\"\\u0000\"}"),
        BYTES("{\"a\":\"x\ny\"}"),
        BYTES("{\"a\":\"x\ty\"}"),
        BYTES("{\"a\":\"\x01\"}"),
        BYTES("{\"a\":\"\0\"}"),
        BYTES("{\"a\":\"\xFF\"}"),
        BYTES("{\"a\":\"\xC0\xAF\"}"),
        BYTES("{\"a\":\"\xED\xA0\x80\"}"),
        BYTES("{\"a\":\"\xF4\x90\x80\x80\"}"),
        BYTES("{\"a\":\"\xE2\x82\"}"),
        BYTES("{\"\xFF\":1}"),
        BYTES("\xEF\xBB\xBF{}"),
        BYTES("{\0}\0"),
        BYTES("\xFF\xFE{\0}\0"),
        BYTES("{}\0"),
        BYTES("{} x"),
        BYTES("{}{}"),
        BYTES("{}}"),
        BYTES("{},"),
        BYTES("{/*c*/}"),
        BYTES("{}//"),
        BYTES("#\n{}"),
        BYTES("{\f}"),
        BYTES("{\xC2\xA0}"),
        BYTES("{\"a\":1,\"a\":2}"),
        BYTES("{\"a\":1,\"\\u0061\":2}"),
        BYTES("{\"b\":[{\"a\":1,\"a\":1}]}"),
        BYTES("<xml/>"),
        BYTES("a=b&c=d"),
        BYTES("{\"jobDocument\":{\"a\":1}"),
        BYTES("{\"execution\":{\"jobDocument\":[}}"),
};

static const char *const reply_tails[] = {
        "get/accepted",      "get/rejected",      "start-next/accepted",   "start-next/rejected",
        "j/get/accepted",    "j/get/rejected",    "$next/get/accepted",    "$next/get/rejected",
        "j/update/accepted", "j/update/rejected", "$next/update/rejected", "notify",
        "notify-next",
};

static const char *const request_tails[] = { "get",       "start-next", "j/get",
                                             "$next/get", "j/update",   "$next/update" };

START_TEST(malformed_replies) {
        ck_assert_uint_ge(ELEMENTSOF(malformed), 40);
        for (size_t t = 0; t < ELEMENTSOF(reply_tails); t++) {
                ProtoMessage m = { .timestamp = 77 };
                Error e;

                for (size_t i = 0; i < ELEMENTSOF(malformed); i++) {
                        int r = decode_bytes(reply_tails[t], malformed[i].text, malformed[i].len, &m, &e);

                        ck_assert_msg(r == -EBADMSG, "%s %zu: %s", reply_tails[t], i, malformed[i].text);
                        ck_assert_msg(strstr(e.text, "JSON"), "%zu: %s", i, e.text);
                        ck_assert_msg(utf8_valid(e.text, strlen(e.text)), "%zu", i);
                }
                ck_assert_int_eq(decode_bytes(reply_tails[t], NULL, 0, &m, &e), -EBADMSG);
                ck_assert_int_eq(m.timestamp, 77);
        }
}
END_TEST

START_TEST(malformed_requests) {
        for (size_t t = 0; t < ELEMENTSOF(request_tails); t++)
                for (size_t i = 0; i < ELEMENTSOF(malformed); i++) {
                        char text[TOPIC_TEXT_MAX];
                        ProtoRequest r;
                        ProtoCode code = PROTO_CODE_NONE;
                        Error e = {};
                        Topic topic;

                        (void) snprintf(text, sizeof text, T "%s", request_tails[t]);
                        topic = topic_parse(text, NULL);
                        ck_assert_int_eq(proto_request_decode(&topic, malformed[i].text, malformed[i].len, &r,
                                                              &code, &e),
                                         -EINVAL);
                        ck_assert_msg(code == PROTO_CODE_INVALID_JSON, "%s %zu: %s", text, i,
                                      malformed[i].text);
                        ck_assert(!r.has_token && e.text[0] != '\0');
                        ck_assert(utf8_valid(e.text, strlen(e.text)));
                        proto_request_done(&r);
                }
}
END_TEST

/* Well-formed, but beyond a limit of what is read into memory. */
START_TEST(beyond_limits) {
        CLEANUP_BUF Buf deep = {}, wide = {};
        const char *payloads[3] = { "{\"a\":18446744073709551616}" };

        buf_puts(&deep, "{\"a\":");
        for (int i = 0; i < 600; i++)
                buf_puts(&deep, i < 300 ? "[" : "]");
        buf_puts(&deep, "}");
        buf_puts(&wide, "{\"a\":[0");
        for (int i = 0; i < 30000; i++)
                buf_puts(&wide, ",{}");
        buf_puts(&wide, "]}");
        payloads[1] = deep.data;
        payloads[2] = wide.data;
        for (size_t i = 0; i < ELEMENTSOF(payloads); i++) {
                Topic topic = topic_parse(T "get", NULL);
                ProtoMessage m;
                ProtoRequest r;
                ProtoCode code;
                Error e;

                for (size_t t = 0; t < ELEMENTSOF(reply_tails); t++)
                        ck_assert_int_eq(decode(reply_tails[t], payloads[i], &m, &e), -E2BIG);
                ck_assert_int_eq(
                        proto_request_decode(&topic, payloads[i], strlen(payloads[i]), &r, &code, &e),
                        -EINVAL);
                ck_assert_int_eq(code, PROTO_CODE_INVALID_REQUEST);
        }
}
END_TEST

/* ---- the service's side ---- */

static void assert_encodes(const ProtoMessage *m, const char *payload) {
        CLEANUP_BUF Buf b = {};

        buf_puts(&b, "what was there before");
        ck_assert_int_eq(proto_message_encode(m, &b), 0);
        ck_assert_str_eq(b.data, payload);
}

static ProtoMessage message(TopicKind kind, TopicReply reply) {
        ProtoMessage m;

        proto_message_init(&m, kind, reply);
        m.timestamp = 5;
        return m;
}

static ProtoExecution summary(const char *job_id, ProtoStatus status) {
        ProtoExecution x;

        proto_execution_init(&x);
        (void) snprintf(x.job_id, sizeof x.job_id, "%s", job_id);
        x.status = status;
        return x;
}

START_TEST(encode_lists) {
        ProtoExecution list[] = { summary("a", PROTO_STATUS_QUEUED), summary("b", PROTO_STATUS_IN_PROGRESS),
                                  summary("c", PROTO_STATUS_QUEUED) };
        ProtoMessage m = message(TOPIC_GET_PENDING, TOPIC_ACCEPTED);

        assert_encodes(&m, "{\"timestamp\":5,\"inProgressJobs\":[],\"queuedJobs\":[]}");
        m.has_token = true;
        assert_encodes(&m, "{\"clientToken\":\"\",\"timestamp\":5,\"inProgressJobs\":[],\"queuedJobs\":[]}");
        m.has_token = false;
        list[1] = (ProtoExecution){ "b",
                                    .status = PROTO_STATUS_IN_PROGRESS,
                                    .queued_at = 1,
                                    .started_at = 2,
                                    .last_updated_at = 3,
                                    .version = 4,
                                    .number = 6,
                                    .seconds_left = 7,
                                    .document = "{}",
                                    .document_len = 2,
                                    .thing = "T" };
        m.list = list;
        m.n_list = ELEMENTSOF(list);
        /* A summary has neither status, details, timer, document nor thing. */
#define B                                                                                                    \
        "{\"jobId\":\"b\",\"queuedAt\":1,\"startedAt\":2,\"lastUpdatedAt\":3,\"versionNumber\":4,"           \
        "\"executionNumber\":6}"
        assert_encodes(&m, "{\"timestamp\":5,\"inProgressJobs\":[" B
                           "],\"queuedJobs\":[{\"jobId\":\"a\"},{\"jobId\":\"c\"}]}");
        m.kind = TOPIC_NOTIFY;
        m.reply = TOPIC_REQUEST;
        m.has_token = true;
        assert_encodes(&m, "{\"timestamp\":5,\"jobs\":{\"IN_PROGRESS\":[" B
                           "],\"QUEUED\":[{\"jobId\":\"a\"},{\"jobId\":\"c\"}]}}");
        m.n_list = 1;
        assert_encodes(&m, "{\"timestamp\":5,\"jobs\":{\"QUEUED\":[{\"jobId\":\"a\"}]}}");
        m.list = list + 1;
        assert_encodes(&m, "{\"timestamp\":5,\"jobs\":{\"IN_PROGRESS\":[" B "]}}");
        m.n_list = 0;
        assert_encodes(&m, "{\"timestamp\":5,\"jobs\":{}}");
}
END_TEST

START_TEST(encode_executions) {
        static const char odd[] = "{ \"a\" : 1,\"a\":2 }";
        ProtoMessage m = message(TOPIC_NOTIFY_NEXT, TOPIC_REQUEST);

        assert_encodes(&m, "{\"timestamp\":5}");
        m.has_execution = true;
        m.execution = summary("j", PROTO_STATUS_QUEUED);
        assert_encodes(&m, "{\"timestamp\":5,\"execution\":{\"jobId\":\"j\",\"status\":\"QUEUED\"}}");
        m.execution.document = odd;
        m.execution.document_len = strlen(odd);
        m.execution.thing = "T";
        m.execution.seconds_left = 0;
        m.execution.queued_at = m.execution.started_at = m.execution.last_updated_at = INT64_MAX;
        m.execution.version = m.execution.number = 0;
        ck_assert_int_eq(proto_details_set(&m.execution.details, "k", "\"\xC3\xA4\xFF\x01\\"), 0);
        assert_encodes(
                &m,
                "{\"timestamp\":5,\"execution\":{\"jobId\":\"j\",\"thingName\":\"T\",\"status\":\"QUEUED\","
                "\"statusDetails\":{\"k\":\"\\\"\xC3\xA4\xEF\xBF\xBD\\u0001\\\\\"},"
                "\"queuedAt\":9223372036854775807,\"startedAt\":9223372036854775807,"
                "\"lastUpdatedAt\":9223372036854775807,\"versionNumber\":0,\"executionNumber\":0,"
                "\"approximateSecondsBeforeTimedOut\":0,\"jobDocument\":{ \"a\" : 1,\"a\":2 }}}");
        proto_message_done(&m);
}
END_TEST

START_TEST(encode_update_and_rejected) {
        ProtoMessage m = message(TOPIC_UPDATE, TOPIC_ACCEPTED);

        m.has_token = true;
        (void) snprintf(m.token, sizeof m.token, "dev-01-10");
        assert_encodes(&m, "{\"clientToken\":\"dev-01-10\",\"timestamp\":5}");
        m.has_state = true;
        m.state_status = PROTO_STATUS_IN_PROGRESS;
        m.state_version = 3;
        m.document = "[1]";
        m.document_len = 3;
        assert_encodes(&m, "{\"clientToken\":\"dev-01-10\",\"timestamp\":5,\"executionState\":{\"status\":"
                           "\"IN_PROGRESS\","
                           "\"versionNumber\":3},\"jobDocument\":[1]}");
        m.reply = TOPIC_REJECTED;
        m.code = PROTO_CODE_VERSION_MISMATCH;
        (void) snprintf(m.message, sizeof m.message, "why");
        ck_assert_int_eq(proto_details_set(&m.state_details, "k", "v"), 0);
        assert_encodes(&m, "{\"clientToken\":\"dev-01-10\",\"timestamp\":5,\"code\":\"VersionMismatch\","
                           "\"message\":\"why\","
                           "\"executionState\":{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"k\":\"v\"},"
                           "\"versionNumber\":3}}");
        proto_message_done(&m);
}
END_TEST

START_TEST(encode_refused) {
        static const struct {
                TopicKind kind;
                TopicReply reply;
        } rows[] = {
                { TOPIC_UNRECOGNIZED, TOPIC_REQUEST }, { TOPIC_UNRECOGNIZED, TOPIC_ACCEPTED },
                { TOPIC_GET_PENDING, TOPIC_REQUEST },  { TOPIC_UPDATE, TOPIC_REQUEST },
                { TOPIC_NOTIFY, TOPIC_ACCEPTED },      { TOPIC_NOTIFY_NEXT, TOPIC_ACCEPTED },
                { TOPIC_UPDATE, TOPIC_REJECTED + 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ProtoMessage m = message(rows[i].kind, rows[i].reply);
                CLEANUP_BUF Buf b = {};

                ck_assert_msg(proto_message_encode(&m, &b) == -EINVAL, "row %zu", i);
                ck_assert_ptr_null(b.data);
        }
}
END_TEST

static void assert_same_execution(const ProtoExecution *a, const ProtoExecution *b, bool whole) {
        ck_assert_str_eq(a->job_id, b->job_id);
        ck_assert_int_eq(a->status, b->status);
        ck_assert(a->queued_at == b->queued_at && a->started_at == b->started_at);
        ck_assert(a->last_updated_at == b->last_updated_at && a->version == b->version &&
                  a->number == b->number);
        if (!whole)
                return;
        ck_assert_int_eq(a->seconds_left, b->seconds_left);
        ck_assert(proto_details_equal(&a->details, &b->details));
        ck_assert_uint_eq(a->document_len, b->document_len);
        ck_assert((a->document != NULL) == (b->document != NULL));
        ck_assert(!a->document || memcmp(a->document, b->document, a->document_len) == 0);
}

static void fill_execution(ProtoExecution *x, unsigned v) {
        *x = summary("job-1", v & 1 ? PROTO_STATUS_IN_PROGRESS : PROTO_STATUS_QUEUED);
        x->queued_at = v & 2 ? 1517016947 : 0;
        x->started_at = v & 4 ? INT64_MAX : 0;
        x->last_updated_at = v & 8 ? 1 : 0;
        x->version = v & 16 ? INT64_MAX : -1;
        x->number = v & 32 ? 9007199254740993 : -1;
        x->seconds_left = v & 64 ? 0 : -1;
        if (v & 128) {
                x->document = odd_documents[v % ELEMENTSOF(odd_documents)];
                x->document_len = strlen(x->document);
        }
        if (v & 256)
                ck_assert_int_eq(proto_details_set(&x->details, "a:b", "x | \"y\" \\ \xF0\x9F\x98\x80"), 0);
}

/* What the service's side writes the device's side reads, member for member. */
START_TEST(message_round_trip) {
        static const char *const tails[] = { "get/accepted",          "notify",
                                             "start-next/accepted",   "job-1/get/accepted",
                                             "notify-next",           "get/rejected",
                                             "job-1/update/rejected", "job-1/update/accepted" };

        for (unsigned v = 0; v < ELEMENTSOF(tails) << 9; v++) {
                const char *tail = tails[v >> 9];
                char text[TOPIC_TEXT_MAX];
                CLEANUP_MESSAGE ProtoMessage got = {};
                CLEANUP_BUF Buf b = {};
                ProtoExecution list[3];
                ProtoMessage m;
                Topic t;
                Error e;

                (void) snprintf(text, sizeof text, T "%s", tail);
                t = topic_parse(text, "T");
                m = message(t.kind, t.reply);
                if (t.reply != TOPIC_REQUEST && v & 1) {
                        m.has_token = true;
                        (void) snprintf(m.token, sizeof m.token, "tok\"%u", v);
                }
                if (t.kind == TOPIC_UPDATE) {
                        m.has_state = v & 2;
                        m.state_status = m.has_state ? PROTO_STATUS_QUEUED + v % 8 : PROTO_STATUS_NONE;
                        m.state_version = m.has_state && v & 4 ? (int64_t) v : -1;
                        if (m.has_state && v & 8)
                                ck_assert_int_eq(proto_details_set(&m.state_details, "k", "v"), 0);
                }
                if (t.reply == TOPIC_REJECTED) {
                        m.code = PROTO_CODE_INVALID_TOPIC + v % 9;
                        (void) snprintf(m.message, sizeof m.message, "because %u", v);
                } else if (t.kind == TOPIC_GET_PENDING || t.kind == TOPIC_NOTIFY) {
                        for (unsigned i = 0; i < 3; i++)
                                fill_execution(&list[i], (v ^ i * 37) & 126);
                        list[0].status = PROTO_STATUS_IN_PROGRESS;
                        m.list = list;
                        m.n_list = v % 4;
                } else if (t.kind == TOPIC_UPDATE) {
                        if (v & 16) {
                                m.document = odd_documents[v % ELEMENTSOF(odd_documents)];
                                m.document_len = strlen(m.document);
                        }
                } else {
                        m.has_execution = v & 1;
                        if (m.has_execution)
                                fill_execution(&m.execution, v & 511);
                }
                ck_assert_int_eq(proto_message_encode(&m, &b), 0);
                ck_assert_msg(decode_bytes(tail, b.data, b.len, &got, &e) == 0, "%s: %s", e.text, b.data);
                ck_assert(got.timestamp == 5 && got.has_token == m.has_token &&
                          strcmp(got.token, m.token) == 0);
                ck_assert(got.code == m.code && strcmp(got.message, m.message) == 0);
                ck_assert(got.has_state == m.has_state && got.state_status == m.state_status);
                ck_assert(got.state_version == m.state_version &&
                          proto_details_equal(&got.state_details, &m.state_details));
                ck_assert(got.document_len == m.document_len &&
                          (got.document != NULL) == (m.document != NULL));
                ck_assert(!m.document || memcmp(got.document, m.document, m.document_len) == 0);
                ck_assert_uint_eq(got.n_list, m.n_list);
                for (size_t i = 0; i < m.n_list; i++)
                        assert_same_execution(&got.list[i], &m.list[i], false);
                ck_assert(got.has_execution == m.has_execution);
                assert_same_execution(&got.execution, &m.execution, true);
                proto_details_done(&m.state_details);
                proto_details_done(&m.execution.details);
        }
}
END_TEST

static TCase *cases_decode(void) {
        TCase *c = tcase_create("decode");

        tcase_add_test(c, get_pending);
        tcase_add_test(c, notify);
        tcase_add_test(c, executions);
        tcase_add_test(c, nothing_pending);
        tcase_add_test(c, update_accepted);
        tcase_add_test(c, rejected);
        tcase_add_test(c, rejected_oddly);
        tcase_add_test(c, odd_documents_travel);
        tcase_add_test(c, document_as_string);
        tcase_add_test(c, document_absent);
        tcase_add_test(c, lists_survive_odd_entries);
        tcase_add_test(c, lists_are_cut);
        tcase_add_test(c, details_leniently);
        tcase_add_test(c, numbers);
        return c;
}

static TCase *cases_refuse(void) {
        TCase *c = tcase_create("refuse");

        tcase_set_timeout(c, 60);
        tcase_add_test(c, refused);
        tcase_add_test(c, too_large);
        tcase_add_test(c, malformed_replies);
        tcase_add_test(c, malformed_requests);
        tcase_add_test(c, beyond_limits);
        return c;
}

static TCase *cases_encode(void) {
        TCase *c = tcase_create("encode");

        tcase_set_timeout(c, 60);
        tcase_add_test(c, encode_lists);
        tcase_add_test(c, encode_executions);
        tcase_add_test(c, encode_update_and_rejected);
        tcase_add_test(c, encode_refused);
        tcase_add_test(c, message_round_trip);
        return c;
}

UNIT_MAIN("message", cases_decode(), cases_refuse(), cases_encode())
