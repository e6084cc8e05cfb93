/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#define KEY "{\"thing\":\"t:1\",\"job\":\"job_1\",\"number\":2,\"queuedAt\":1625268804}"

static const JobKey key = { .thing = "t:1", .job_id = "job_1", .number = 2, .queued_at = 1625268804 };

/* ---- round trips ---- */

static void set(WireMessage *m, const char *name, const char *value) {
        ck_assert_int_eq(proto_details_set(&m->details, name, value), 0);
}

/* One message of each type, with every member it has. */
static void fill(WireMessage *m, WireType type) {
        *m = (WireMessage) { .type = type };
        switch (type) {
        case WIRE_NONE:
        case WIRE_GO:
        case WIRE_NO_RECORD:
        case WIRE_TOLD:
        case WIRE_TYPE_COUNT:
                break;
        case WIRE_DEADLINE:
                m->seconds = 86400;
                break;
        case WIRE_DEFERRED:
                m->seconds = 60;
                m->max_seconds = 3660;
                set(m, "claim", "12345678");
                set(m, "reason", "deferred");
                break;
        case WIRE_REBOOTING:
                m->max_seconds = 0;
                set(m, "claim", "12345678");
                break;
        case WIRE_HISTORY:
                m->count = 512;
                (void) strcpy(m->key.thing, key.thing);
                break;
        case WIRE_INVENTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
                (void) strcpy(m->key.thing, key.thing);
                break;
        case WIRE_PAUSED:
                m->paused_since = 1700000000;
                break;
        case WIRE_ENDS:
                m->ends = calloc(WIRE_ENDS_MAX, sizeof *m->ends);
                for (m->n_ends = 0; m->n_ends < WIRE_ENDS_MAX; m->n_ends++) {
                        WireEnd *end = &m->ends[m->n_ends];

                        *end = (WireEnd) { .key = key, .at = 1700000000 - (int64_t) m->n_ends, .status = PROTO_STATUS_FAILED };
                        end->key.number = (int64_t) m->n_ends + 1;
                        ck_assert_int_eq(proto_details_set(&end->details, "reason", "exited with status 3"), 0);
                }
                m->more = true;
                break;
        case WIRE_PREPARE:
                m->document = "{\"a\":\n\"\xC3\xA4\"}";
                m->document_len = strlen(m->document);
                m->key = key;
                break;
        case WIRE_CANCEL:
                m->by_operator = m->by_deadline = true;
                m->key = key;
                break;
        case WIRE_ATTACH:
        case WIRE_ACK:
        case WIRE_DROP:
                m->key = key;
                break;
        case WIRE_RUNS:
                m->runs = calloc(WIRE_RUNS_MAX, sizeof *m->runs);
                for (m->n_runs = 0; m->n_runs < WIRE_RUNS_MAX; m->n_runs++) {
                        m->runs[m->n_runs] = (WireRun) { .key = key, .state = m->n_runs % WIRE_RUN_STATE_COUNT };
                        m->runs[m->n_runs].key.number = (int64_t) m->n_runs + 1;
                        if (m->runs[m->n_runs].state == WIRE_RUN_DEFERRED)
                                m->runs[m->n_runs].seconds = m->n_runs;
                        (void) strcpy(m->runs[m->n_runs].claim, "Abcdef78");
                }
                m->more = true;
                break;
        case WIRE_PLAN:
                (void) strcpy(m->claim, "12345678");
                m->phase = WIRE_PHASE_RERUN;
                m->steps = 3;
                m->max_seconds = 7200;
                set(m, "claim", "12345678");
                set(m, "step", "1/3 Get");
                break;
        case WIRE_REJECTED:
                (void) strcpy(m->path, "steps[0].action.input.handler");
                (void) strcpy(m->reason, "missing");
                break;
        case WIRE_UNABLE:
                (void) strcpy(m->reason, "cannot write \"x\": No space left on device");
                m->paused_since = 1;
                break;
        case WIRE_ATTACHED:
                (void) strcpy(m->claim, "ZZZZZZZZ");
                m->state = WIRE_RUN_STARTED;
                break;
        case WIRE_PROGRESS:
                set(m, "progress", "40");
                break;
        case WIRE_RESULT:
                m->status = PROTO_STATUS_FAILED;
                set(m, "reason", "exited with status 3");
                set(m, "exitCode", "3");
                break;
        }
}

static void assert_equal(const WireMessage *a, const WireMessage *b) {
        ck_assert_int_eq(a->type, b->type);
        ck_assert(job_key_equal(&a->key, &b->key));
        ck_assert_uint_eq(a->document_len, b->document_len);
        ck_assert(a->document_len == 0 || memcmp(a->document, b->document, a->document_len) == 0);
        ck_assert_str_eq(a->claim, b->claim);
        ck_assert_int_eq(a->phase, b->phase);
        ck_assert_uint_eq(a->steps, b->steps);
        ck_assert_uint_eq(a->max_seconds, b->max_seconds);
        ck_assert_uint_eq(a->seconds, b->seconds);
        ck_assert_int_eq(a->state, b->state);
        ck_assert_int_eq(a->status, b->status);
        ck_assert(proto_details_equal(&a->details, &b->details));
        ck_assert_str_eq(a->reason, b->reason);
        ck_assert_str_eq(a->path, b->path);
        ck_assert_uint_eq(a->n_runs, b->n_runs);
        ck_assert_int_eq(a->more, b->more);
        for (size_t i = 0; i < a->n_runs; i++) {
                ck_assert(job_key_equal(&a->runs[i].key, &b->runs[i].key));
                ck_assert_int_eq(a->runs[i].state, b->runs[i].state);
                ck_assert_str_eq(a->runs[i].claim, b->runs[i].claim);
                ck_assert_uint_eq(a->runs[i].seconds, b->runs[i].seconds);
        }
        ck_assert_uint_eq(a->n_ends, b->n_ends);
        for (size_t i = 0; i < a->n_ends; i++) {
                ck_assert(job_key_equal(&a->ends[i].key, &b->ends[i].key));
                ck_assert_int_eq(a->ends[i].at, b->ends[i].at);
                ck_assert_int_eq(a->ends[i].status, b->ends[i].status);
                ck_assert(proto_details_equal(&a->ends[i].details, &b->ends[i].details));
        }
        ck_assert_uint_eq(a->count, b->count);
        ck_assert_int_eq(a->by_operator, b->by_operator);
        ck_assert_int_eq(a->by_deadline, b->by_deadline);
        ck_assert_int_eq(a->paused_since, b->paused_since);
}

START_TEST(round_trip) {
        WireMessage m CLEANUP_WIRE = {}, back CLEANUP_WIRE = {}, copy CLEANUP_WIRE = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};

        fill(&m, (WireType) _i);
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        ck_assert_uint_le(b.len, WIRE_PACKET_MAX);
        ck_assert_msg(wire_decode(b.data, b.len, &back, &e) == 0, "%s", e.text);
        assert_equal(&m, &back);
        ck_assert_int_eq(wire_message_copy(&copy, &back), 0);
        assert_equal(&m, &copy);
        if (m.n_runs > 0)
                ck_assert_ptr_ne(copy.runs, back.runs);
}
END_TEST

/* Cut anywhere, a packet is refused; and the decoder reads nothing behind its end (the copy is exact: ASan sees it). */
START_TEST(every_prefix_is_refused) {
        WireMessage m CLEANUP_WIRE = {};
        Buf b CLEANUP_BUF = {};

        fill(&m, (WireType) _i);
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        for (size_t n = 0; n < b.len && n < 600; n++) {
                WireMessage back CLEANUP_WIRE = {};
                char *cut CLEANUP_FREE = malloc(n + 1);
                char *exact = cut + 1;

                (void) memcpy(exact, b.data, n);
                ck_assert_msg(wire_decode(exact, n, &back, NULL) == -EBADMSG, "%zu bytes of %s", n, b.data);
        }
}
END_TEST

START_TEST(names) {
        for (int t = WIRE_NONE; t < WIRE_TYPE_COUNT; t++)
                for (int u = WIRE_NONE; u < t; u++)
                        ck_assert_str_ne(wire_type_name((WireType) t), wire_type_name((WireType) u));
        ck_assert_str_eq(wire_type_name(WIRE_PREPARE), "prepare");
        ck_assert_str_eq(wire_type_name(WIRE_TYPE_COUNT), "");
        ck_assert_str_eq(wire_run_state_name(WIRE_RUN_RESULT), "result");
        ck_assert_str_eq(wire_run_state_name(WIRE_RUN_STATE_COUNT), "");
        ck_assert_str_eq(wire_phase_name(WIRE_PHASE_RUN), "run");
        ck_assert_str_eq(wire_phase_name(WIRE_PHASE_RERUN), "rerun");
        ck_assert_str_eq(wire_phase_name(WIRE_PHASE_RETRY), "retry");
        ck_assert_str_eq(wire_phase_name(WIRE_PHASE_POST_REBOOT), "post-reboot");
        ck_assert_str_eq(wire_run_state_name(WIRE_RUN_REBOOTED), "rebooted");
        ck_assert_str_eq(wire_phase_name(WIRE_PHASE_COUNT), "");
}
END_TEST

START_TEST(claims) {
        ck_assert(wire_claim_valid("aZ09bY18"));
        ck_assert(!wire_claim_valid(""));
        ck_assert(!wire_claim_valid("aZ09bY1"));
        ck_assert(!wire_claim_valid("aZ09bY181"));
        ck_assert(!wire_claim_valid("aZ09bY1-"));
        ck_assert(!wire_claim_valid("aZ09 Y18"));
}
END_TEST

/* ---- documents ---- */

START_TEST(document_bytes_are_unchanged) {
        char bytes[256];
        WireMessage m CLEANUP_WIRE = { .type = WIRE_PREPARE, .key = key, .document = bytes, .document_len = 256 };
        WireMessage back CLEANUP_WIRE = {};
        Buf b CLEANUP_BUF = {};

        for (int i = 0; i < 256; i++)
                bytes[i] = (char) i;
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        ck_assert_int_eq(wire_decode(b.data, b.len, &back, NULL), 0);
        ck_assert_uint_eq(back.document_len, 256);
        ck_assert_int_eq(memcmp(back.document, bytes, 256), 0);
        ck_assert(back.document > b.data && back.document + 256 == b.data + b.len);
}
END_TEST

static void try_document(size_t len, bool travels) {
        char *bytes CLEANUP_FREE = calloc(1, len + 1);
        WireMessage m CLEANUP_WIRE = { .type = WIRE_PREPARE, .key = key, .document = bytes, .document_len = len };
        WireMessage back CLEANUP_WIRE = {};
        Buf b CLEANUP_BUF = {};

        ck_assert_int_eq(wire_encode(&m, &b), 0);
        ck_assert_int_eq(wire_decode(b.data, b.len, &back, NULL), 0);
        ck_assert_uint_eq(back.document_len, len);
        ck_assert_int_eq(back.document != NULL, travels);
        m.document = NULL;
        ck_assert_int_eq(wire_encode(&m, &b), travels ? -EINVAL : 0);
}

START_TEST(document_sizes) {
        try_document(0, true);
        try_document(1, true);
        try_document(LIMIT_DOCUMENT, true);
        try_document(LIMIT_DOCUMENT + 1, false);
        try_document(LIMIT_PAYLOAD, false);
}
END_TEST

/* ---- refusals ---- */

static const struct {
        const char *packet, *names;
} refused[] = {
        { "x", "" },
        { "[]", "" },
        { "{}", "type" },
        { "{\"type\":null}", "type" },
        { "{\"type\":1}", "type" },
        { "{\"type\":\"none\"}", "type" },
        { "{\"type\":\"Go\"}", "type" },
        { "{\"type\":\"go\"}x", "" },
        { "{\"type\":\"go\"}\n", "packet" },
        { "{\"type\":\"go\"}\nx", "packet" },
        { "{\"type\":\"go\",\"type\":\"go\"}", "" },
        { "{\"type\":\"go\",\"x\":\"\\u0000\"}", "" },
        { "{\"type\":\"inventory\"}", "thing" },
        { "{\"type\":\"inventory\",\"thing\":\"a/b\"}", "thing" },
        { "{\"type\":\"inventory\",\"thing\":\"\"}", "thing" },
        { "{\"type\":\"ack\"}", "key" },
        { "{\"type\":\"ack\",\"key\":\"t.j.1.2\"}", "key" },
        { "{\"type\":\"ack\",\"key\":{\"job\":\"j\",\"number\":1,\"queuedAt\":2}}", "key.thing" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"number\":1,\"queuedAt\":2}}", "key.job" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"../x\",\"number\":1,\"queuedAt\":2}}", "key.job" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"$next\",\"number\":1,\"queuedAt\":2}}", "key.job" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"queuedAt\":2}}", "key.number" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":0,\"queuedAt\":2}}", "key.number" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":1.0,\"queuedAt\":2}}", "key.number" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":1}}", "key.queuedAt" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":1,\"queuedAt\":0}}", "key.queuedAt" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":1,\"queuedAt\":-5}}", "key.queuedAt" },
        { "{\"type\":\"ack\",\"key\":{\"thing\":\"t\",\"job\":\"j\",\"number\":1,\"queuedAt\":9223372036854775808}}", "" },
        { "{\"type\":\"prepare\",\"key\":" KEY "}\n{}", "documentBytes" },
        { "{\"type\":\"prepare\",\"key\":" KEY ",\"documentBytes\":2}", "documentBytes" },
        { "{\"type\":\"prepare\",\"key\":" KEY ",\"documentBytes\":2}\n{", "documentBytes" },
        { "{\"type\":\"prepare\",\"key\":" KEY ",\"documentBytes\":2}\n{}\n", "documentBytes" },
        { "{\"type\":\"prepare\",\"key\":" KEY ",\"documentBytes\":-1}\n", "documentBytes" },
        { "{\"type\":\"prepare\",\"key\":" KEY ",\"documentBytes\":40000}\n{}", "documentBytes" },
        { "{\"type\":\"plan\",\"phase\":\"run\",\"steps\":1,\"maxSeconds\":0,\"details\":{}}", "claim" },
        { "{\"type\":\"plan\",\"claim\":\"short\",\"phase\":\"run\",\"steps\":1,\"maxSeconds\":0,\"details\":{}}", "claim" },
        { "{\"type\":\"plan\",\"claim\":\"12345678\",\"phase\":\"walk\",\"steps\":1,\"maxSeconds\":0,\"details\":{}}", "phase" },
        { "{\"type\":\"plan\",\"claim\":\"12345678\",\"phase\":\"run\",\"steps\":0,\"maxSeconds\":0,\"details\":{}}", "steps" },
        { "{\"type\":\"plan\",\"claim\":\"12345678\",\"phase\":\"run\",\"steps\":1,\"maxSeconds\":-1,\"details\":{}}", "maxSeconds" },
        { "{\"type\":\"plan\",\"claim\":\"12345678\",\"phase\":\"run\",\"steps\":1,\"maxSeconds\":0}", "details" },
        { "{\"type\":\"rejected\",\"path\":\"\"}", "reason" },
        { "{\"type\":\"rejected\",\"reason\":\"\",\"path\":\"\"}", "reason" },
        { "{\"type\":\"rejected\",\"reason\":\"x\"}", "path" },
        { "{\"type\":\"attached\",\"claim\":\"12345678\",\"state\":\"dead\"}", "state" },
        { "{\"type\":\"progress\",\"details\":[]}", "details" },
        { "{\"type\":\"progress\",\"details\":{\"a\":1}}", "details.a" },
        { "{\"type\":\"progress\",\"details\":{\"a b\":\"1\"}}", "details" },
        { "{\"type\":\"progress\",\"details\":{\"a\":\"\"}}", "details" },
        { "{\"type\":\"progress\",\"details\":{\"a\":\"x\\ny\"}}", "details" },
        { "{\"type\":\"progress\",\"details\":{\"1\":\"x\",\"2\":\"x\",\"3\":\"x\",\"4\":\"x\",\"5\":\"x\",\"6\":\"x\",\"7\":\"x\","
          "\"8\":\"x\",\"9\":\"x\",\"10\":\"x\",\"11\":\"x\"}}", "details" },
        { "{\"type\":\"result\",\"details\":{}}", "status" },
        { "{\"type\":\"result\",\"status\":\"IN_PROGRESS\",\"details\":{}}", "status" },
        { "{\"type\":\"result\",\"status\":\"TIMED_OUT\",\"details\":{}}", "status" },
        { "{\"type\":\"result\",\"status\":\"\",\"details\":{}}", "status" },
        { "{\"type\":\"deferred\",\"maxSeconds\":1,\"details\":{}}", "seconds" },
        { "{\"type\":\"deferred\",\"seconds\":-1,\"maxSeconds\":1,\"details\":{}}", "seconds" },
        { "{\"type\":\"deferred\",\"seconds\":31622401,\"maxSeconds\":1,\"details\":{}}", "seconds" },
        { "{\"type\":\"deferred\",\"seconds\":60,\"details\":{}}", "maxSeconds" },
        { "{\"type\":\"deferred\",\"seconds\":60,\"maxSeconds\":1}", "details" },
        { "{\"type\":\"rebooting\",\"details\":{}}", "maxSeconds" },
        { "{\"type\":\"deadline\"}", "seconds" },
        { "{\"type\":\"deadline\",\"seconds\":\"60\"}", "seconds" },
        { "{\"type\":\"told\"}\nx", "packet" },
        { "{\"type\":\"runs\",\"runs\":[{\"key\":" KEY ",\"claim\":\"12345678\",\"state\":\"deferred\"}],\"more\":false}",
          "runs[0].seconds" },
        { "{\"type\":\"history\",\"thing\":\"t\"}", "count" },
        { "{\"type\":\"history\",\"thing\":\"t\",\"count\":100001}", "count" },
        { "{\"type\":\"pause\"}", "thing" },
        { "{\"type\":\"paused\",\"pausedSince\":-1}", "pausedSince" },
        { "{\"type\":\"runs\",\"runs\":[],\"more\":false,\"pausedSince\":true}", "pausedSince" },
        { "{\"type\":\"cancel\",\"key\":" KEY ",\"byOperator\":1}", "byOperator" },
        { "{\"type\":\"ends\",\"more\":false}", "ends" },
        { "{\"type\":\"ends\",\"ends\":[]}", "more" },
        { "{\"type\":\"ends\",\"ends\":[1],\"more\":false}", "ends[0]" },
        { "{\"type\":\"ends\",\"ends\":[{\"key\":" KEY ",\"status\":\"FAILED\",\"details\":{}}],\"more\":false}", "ends[0].at" },
        { "{\"type\":\"ends\",\"ends\":[{\"key\":" KEY ",\"at\":1,\"status\":\"QUEUED\",\"details\":{}}],\"more\":false}", "ends[0].status" },
        { "{\"type\":\"ends\",\"ends\":[{\"key\":" KEY ",\"at\":1,\"status\":\"FAILED\",\"details\":{\"a\":\"x\"}},"
          "{\"key\":" KEY ",\"at\":1,\"status\":\"FAILED\"}],\"more\":false}", "ends[1].details" },
        { "{\"type\":\"runs\",\"more\":false}", "runs" },
        { "{\"type\":\"runs\",\"runs\":[]}", "more" },
        { "{\"type\":\"runs\",\"runs\":[1],\"more\":false}", "runs[0]" },
        { "{\"type\":\"runs\",\"runs\":[{\"key\":" KEY ",\"claim\":\"12345678\",\"state\":\"result\"},"
          "{\"key\":" KEY ",\"claim\":\"12345678\"}],\"more\":false}", "runs[1].state" },
        { "{\"type\":\"runs\",\"runs\":[{\"key\":{\"thing\":\"/\"},\"claim\":\"12345678\",\"state\":\"result\"}],"
          "\"more\":false}", "runs[0].key.thing" },
};

START_TEST(refusals) {
        WireMessage m CLEANUP_WIRE = { .steps = 77 };
        Error e = {};

        ck_assert_msg(wire_decode(refused[_i].packet, strlen(refused[_i].packet), &m, &e) == -EBADMSG, "%s",
                      refused[_i].packet);
        ck_assert_msg(strstr(e.text, refused[_i].names) && e.text[0] != '\0', "%s: said \"%s\"", refused[_i].packet, e.text);
        ck_assert_uint_eq(m.steps, 77);
        ck_assert_int_eq(wire_decode(refused[_i].packet, strlen(refused[_i].packet), &m, NULL), -EBADMSG);
}
END_TEST

START_TEST(unknown_members_are_ignored) {
        static const char packet[] = "{\"new\":[{\"deep\":{}}],\"type\":\"attach\",\"claim\":5,\"key\":"
                                     "{\"thing\":\"t:1\",\"x\":null,\"job\":\"job_1\",\"number\":2,\"queuedAt\":1625268804}}";
        WireMessage m CLEANUP_WIRE = {};

        ck_assert_int_eq(wire_decode(packet, strlen(packet), &m, NULL), 0);
        ck_assert_int_eq(m.type, WIRE_ATTACH);
        ck_assert(job_key_equal(&m.key, &key));
        ck_assert_str_eq(m.claim, "");
}
END_TEST

START_TEST(too_large_a_packet) {
        char *packet CLEANUP_FREE = malloc(WIRE_PACKET_MAX + 1);
        WireMessage m CLEANUP_WIRE = {};

        (void) memset(packet, ' ', WIRE_PACKET_MAX + 1);
        (void) memcpy(packet, "{\"type\":\"go\"}", 13);
        ck_assert_int_eq(wire_decode(packet, WIRE_PACKET_MAX + 1, &m, NULL), -EBADMSG);
        ck_assert_int_eq(wire_decode(packet, WIRE_PACKET_MAX, &m, NULL), 0);
}
END_TEST

START_TEST(too_many_runs) {
        Buf b CLEANUP_BUF = {};
        WireMessage m CLEANUP_WIRE = {};
        Error e = {};

        buf_puts(&b, "{\"type\":\"runs\",\"more\":false,\"runs\":[");
        for (int i = 0; i <= WIRE_RUNS_MAX; i++)
                buf_printf(&b, "%s{\"key\":" KEY ",\"claim\":\"12345678\",\"state\":\"result\"}", i > 0 ? "," : "");
        buf_puts(&b, "]}");
        ck_assert_int_eq(wire_decode(b.data, b.len, &m, &e), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(e.text, "runs"));
}
END_TEST

START_TEST(encoder_refuses_what_the_decoder_would) {
        for (int t = WIRE_NONE; t <= WIRE_TYPE_COUNT; t++) {
                WireMessage m CLEANUP_WIRE = { .type = (WireType) t };
                Buf b CLEANUP_BUF = {};
                /* Empty is good only where nothing, or only numbers, details, runs or a document that is there, is needed. */
                bool fits = t == WIRE_GO || t == WIRE_NO_RECORD || t == WIRE_PROGRESS || t == WIRE_RUNS || t == WIRE_TOLD ||
                        t == WIRE_DEADLINE || t == WIRE_DEFERRED || t == WIRE_REBOOTING || t == WIRE_PAUSED || t == WIRE_ENDS;

                ck_assert_msg(wire_encode(&m, &b) == (fits ? 0 : -EINVAL), "type %d", t);
                ck_assert(fits || b.len == 0);
        }
}
END_TEST

START_TEST(encoder_checks_values) {
        WireMessage m CLEANUP_WIRE = { .type = WIRE_RESULT, .status = PROTO_STATUS_REMOVED };
        Buf b CLEANUP_BUF = {};

        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m.status = PROTO_STATUS_CANCELED;
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        set(&m, "bad", "line\nbreak");
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        proto_details_done(&m.details);
        m = (WireMessage) { .type = WIRE_DEADLINE, .seconds = WIRE_WAIT_MAX + 1 };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m.type = WIRE_DEFERRED;
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m = (WireMessage) { .type = WIRE_REBOOTING, .max_seconds = (uint64_t) WIRE_SECONDS_MAX + 1 };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m = (WireMessage) { .type = WIRE_ATTACH, .key = key };
        m.key.queued_at = 0;
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m.key.queued_at = 1;
        m.key.number = 0;
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m = (WireMessage) { .type = WIRE_PAUSED, .paused_since = -1 };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m = (WireMessage) { .type = WIRE_HISTORY, .key = key, .count = WIRE_HISTORY_MAX + 1 };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        WireEnd ends[WIRE_ENDS_MAX + 1] = { { .key = key, .status = PROTO_STATUS_QUEUED } };
        m = (WireMessage) { .type = WIRE_ENDS, .ends = ends, .n_ends = 1 };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        for (m.n_ends = 0; m.n_ends <= WIRE_ENDS_MAX; m.n_ends++)
                ends[m.n_ends] = (WireEnd) { .key = key, .status = PROTO_STATUS_FAILED };
        ck_assert_int_eq(wire_encode(&m, &b), -EINVAL);
        m.n_ends = WIRE_ENDS_MAX;
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        m = (WireMessage) {};
}
END_TEST

/* A reason quotes what the device said, whatever its bytes: it must arrive. */
START_TEST(any_reason_arrives) {
        for (unsigned fill_with = 1; fill_with < 256; fill_with++) {
                WireMessage m CLEANUP_WIRE = { .type = WIRE_REJECTED }, back CLEANUP_WIRE = {};
                Buf b CLEANUP_BUF = {};
                Error e = {};

                (void) memset(m.reason, (int) fill_with, sizeof m.reason - 1);
                (void) memset(m.path, (int) fill_with, sizeof m.path - 1);
                ck_assert_int_eq(wire_encode(&m, &b), 0);
                ck_assert_msg(wire_decode(b.data, b.len, &back, &e) == 0, "byte %u: %s", fill_with, e.text);
                ck_assert_uint_gt(strlen(back.reason), sizeof m.reason - 5);
        }
}
END_TEST

START_TEST(largest_details_fit) {
        WireMessage m CLEANUP_WIRE = { .type = WIRE_RESULT, .status = PROTO_STATUS_FAILED }, back CLEANUP_WIRE = {};
        Buf value CLEANUP_BUF = {}, b CLEANUP_BUF = {};
        char name[LIMIT_DETAILS_KEY + 1];

        for (int i = 0; i < LIMIT_DETAILS_VALUE; i++)
                buf_puts(&value, "\xE2\x82\xAC"); /* 3 bytes, one UTF-16 unit: the most a unit takes */
        for (int i = 0; i < LIMIT_DETAILS_PAIRS; i++) {
                (void) memset(name, 'a' + i, LIMIT_DETAILS_KEY);
                name[LIMIT_DETAILS_KEY] = '\0';
                set(&m, name, value.data);
        }
        ck_assert_int_eq(wire_encode(&m, &b), 0);
        ck_assert_int_eq(wire_decode(b.data, b.len, &back, NULL), 0);
        ck_assert(proto_details_equal(&m.details, &back.details));
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("wire");

        tcase_add_loop_test(c, round_trip, WIRE_NONE + 1, WIRE_TYPE_COUNT);
        tcase_add_loop_test(c, every_prefix_is_refused, WIRE_NONE + 1, WIRE_TYPE_COUNT);
        tcase_add_test(c, names);
        tcase_add_test(c, claims);
        tcase_add_test(c, document_bytes_are_unchanged);
        tcase_add_test(c, document_sizes);
        tcase_add_loop_test(c, refusals, 0, (int) ELEMENTSOF(refused));
        tcase_add_test(c, unknown_members_are_ignored);
        tcase_add_test(c, too_large_a_packet);
        tcase_add_test(c, too_many_runs);
        tcase_add_test(c, encoder_refuses_what_the_decoder_would);
        tcase_add_test(c, encoder_checks_values);
        tcase_add_test(c, any_reason_arrives);
        tcase_add_test(c, largest_details_fit);
        return c;
}

UNIT_MAIN("wire", cases())
