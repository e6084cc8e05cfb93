/* SPDX-License-Identifier: Apache-2.0 */
/* The Jobs service as a value: every rule of the protocol notes, sections 1 to 5. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "sim/model-document.h"
#include "sim/model.h"

#define P "$aws/things/T/jobs/"
#define DOC "{\"operation\":\"test\"}"
enum { T0 = 1700000000 };

static Model *m;
static ModelOutput out;
static Error err;
static uint64_t now;

static void setup(void) {
        ck_assert_int_eq(model_new(NULL, &m), 0);
        out = (ModelOutput) {};
        err = (Error) {};
        now = T0 * USEC_PER_SEC;
}

static void teardown(void) {
        model_output_done(&out);
        m = model_free(m);
}

static void setup_with(const ModelOptions *options) {
        teardown();
        ck_assert_int_eq(model_new(options, &m), 0);
}

static void after_seconds(uint64_t s) {
        now += s * USEC_PER_SEC;
}

/* ---- acting ---- */

static int create_full(const char *thing, const char *job, const char *document, int64_t timeout, int64_t retries) {
        ModelCreate c = { thing, job, document, strlen(document), timeout, retries };

        model_output_clear(&out);
        return model_create(m, now, &c, &out, &err);
}

static void create(const char *job) {
        ck_assert_int_eq(create_full("T", job, DOC, 0, 0), 0);
}

static void create_timed(const char *job, int64_t timeout, int64_t retries) {
        ck_assert_int_eq(create_full("T", job, DOC, timeout, retries), 0);
}

static void request_forced(const char *tail, const char *payload, ProtoCode code) {
        char topic[512];

        (void) snprintf(topic, sizeof topic, P "%s", tail);
        model_output_clear(&out);
        ck_assert_int_eq(model_request(m, now, topic, payload, strlen(payload), code, &out), 0);
}

static void request(const char *tail, const char *payload) {
        request_forced(tail, payload, PROTO_CODE_NONE);
}

static void update(const char *job, const char *status) {
        char tail[128], payload[128];

        (void) snprintf(tail, sizeof tail, "%s/update", job);
        (void) snprintf(payload, sizeof payload, "{\"status\":\"%s\"}", status);
        request(tail, payload);
}

static void tick(void) {
        model_output_clear(&out);
        ck_assert_int_eq(model_tick(m, now, &out), 0);
}

static int cancel(const char *job, bool force) {
        model_output_clear(&out);
        return model_cancel(m, now, "T", job, force, &out, &err);
}

static int remove_job(const char *job, bool force) {
        model_output_clear(&out);
        return model_delete(m, now, "T", job, force, &out, &err);
}

/* ---- looking ---- */

static json_t *published(size_t i, const char *tail) {
        char topic[512];
        json_t *v;
        json_error_t e;

        (void) snprintf(topic, sizeof topic, P "%s", tail);
        ck_assert_uint_lt(i, out.n_publications);
        ck_assert_str_eq(out.publication[i].topic, topic);
        ck_assert_uint_eq(strlen(out.publication[i].payload), out.publication[i].len);
        v = json_loadb(out.publication[i].payload, out.publication[i].len, 0, &e);
        ck_assert_msg(v != NULL, "%s: %s", e.text, out.publication[i].payload);
        return v;
}

/* Publication i is this topic and, as JSON, this payload; every %d in it stands for T0 + seconds. */
static void expect(size_t i, const char *tail, const char *payload) {
        json_t *got = published(i, tail), *want = json_loads(payload, 0, NULL);

        ck_assert_msg(want != NULL, "bad JSON in the test: %s", payload);
        ck_assert_msg(json_equal(got, want), "got  %s\nwant %s", out.publication[i].payload, payload);
        json_decref(got);
        json_decref(want);
}

static void expect_count(size_t n) {
        for (size_t i = 0; i < out.n_publications && out.n_publications != n; i++)
                fprintf(stderr, "# %s %s\n", out.publication[i].topic, out.publication[i].payload);
        ck_assert_uint_eq(out.n_publications, n);
}

/* One number or string of publication i, "execution.jobId". */
static const json_t *member(json_t *v, const char *path) {
        char part[64];

        while (v && *path) {
                size_t n = strcspn(path, ".");

                (void) snprintf(part, sizeof part, "%.*s", (int) n, path);
                v = json_object_get(v, part);
                path += n + (path[n] == '.');
        }
        return v;
}

static bool has(size_t i, const char *path) {
        json_t *v = json_loads(out.publication[i].payload, 0, NULL);
        bool found = member(v, path) != NULL;

        json_decref(v);
        return found;
}

static int64_t number(size_t i, const char *path) {
        json_t *v = json_loads(out.publication[i].payload, 0, NULL);
        const json_t *at = member(v, path);
        int64_t n;

        ck_assert_msg(json_is_integer(at), "%s in %s", path, out.publication[i].payload);
        n = json_integer_value(at);
        json_decref(v);
        return n;
}

static void expect_string(size_t i, const char *path, const char *want) {
        json_t *v = json_loads(out.publication[i].payload, 0, NULL);
        const json_t *at = member(v, path);

        ck_assert_msg(json_is_string(at), "%s in %s", path, out.publication[i].payload);
        ck_assert_str_eq(json_string_value(at), want);
        json_decref(v);
}

static void expect_topic(size_t i, const char *tail) {
        json_decref(published(i, tail));
}

static void expect_rejected(const char *tail, const char *code) {
        char reply[256];

        (void) snprintf(reply, sizeof reply, "%s/rejected", tail);
        expect_count(1);
        expect_topic(0, reply);
        expect_string(0, "code", code);
        ck_assert_uint_eq(out.n_changes, 0);
}

static ProtoStatus status_of(const char *job) {
        const ProtoExecution *x = model_find(m, "T", job, -1);

        return x ? x->status : PROTO_STATUS_NONE;
}

static int64_t version_of(const char *job) {
        const ProtoExecution *x = model_find(m, "T", job, -1);

        ck_assert_ptr_nonnull(x);
        return x->version;
}

static void expect_change(size_t i, const char *job, int64_t execution, ProtoStatus status, int64_t version) {
        ck_assert_uint_lt(i, out.n_changes);
        ck_assert_str_eq(out.change[i].key.thing, "T");
        ck_assert_str_eq(out.change[i].key.job_id, job);
        ck_assert_int_eq(out.change[i].key.number, execution);
        ck_assert_int_eq(out.change[i].status, status);
        ck_assert_int_eq(out.change[i].version, version);
}

/* ---- section 5.3: the worked sequence, every publication ---- */

START_TEST(test_worked_sequence) {
        create("J1");
        expect_count(2);
        expect(0, "notify",
               "{\"timestamp\":1700000000,\"jobs\":{\"QUEUED\":[{\"jobId\":\"J1\",\"queuedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"executionNumber\":1,\"versionNumber\":1}]}}");
        expect(1, "notify-next",
               "{\"timestamp\":1700000000,\"execution\":{\"jobId\":\"J1\",\"status\":\"QUEUED\",\"queuedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"versionNumber\":1,\"executionNumber\":1,\"jobDocument\":" DOC "}}");

        after_seconds(1);
        create("J2");
        expect_count(1);
        expect(0, "notify",
               "{\"timestamp\":1700000001,\"jobs\":{\"QUEUED\":["
               "{\"jobId\":\"J1\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"executionNumber\":1,\"versionNumber\":1},"
               "{\"jobId\":\"J2\",\"queuedAt\":1700000001,\"lastUpdatedAt\":1700000001,\"executionNumber\":1,\"versionNumber\":1}"
               "]}}");

        after_seconds(1);
        request("start-next", "{\"clientToken\":\"t1\"}");
        expect_count(1);
        expect(0, "start-next/accepted",
               "{\"clientToken\":\"t1\",\"timestamp\":1700000002,\"execution\":{\"jobId\":\"J1\",\"status\":\"IN_PROGRESS\","
               "\"queuedAt\":1700000000,\"startedAt\":1700000002,\"lastUpdatedAt\":1700000002,\"versionNumber\":2,"
               "\"executionNumber\":1,\"jobDocument\":" DOC "}}");

        after_seconds(1);
        create("J3");
        expect_count(1);
        expect(0, "notify",
               "{\"timestamp\":1700000003,\"jobs\":{\"IN_PROGRESS\":[{\"jobId\":\"J1\",\"queuedAt\":1700000000,"
               "\"startedAt\":1700000002,\"lastUpdatedAt\":1700000002,\"executionNumber\":1,\"versionNumber\":2}],"
               "\"QUEUED\":["
               "{\"jobId\":\"J2\",\"queuedAt\":1700000001,\"lastUpdatedAt\":1700000001,\"executionNumber\":1,\"versionNumber\":1},"
               "{\"jobId\":\"J3\",\"queuedAt\":1700000003,\"lastUpdatedAt\":1700000003,\"executionNumber\":1,\"versionNumber\":1}"
               "]}}");

        after_seconds(1);
        request("J1/update", "{\"status\":\"SUCCEEDED\",\"expectedVersion\":2,\"clientToken\":\"t2\"}");
        expect_count(3);
        expect(0, "J1/update/accepted", "{\"clientToken\":\"t2\",\"timestamp\":1700000004}");
        expect(1, "notify",
               "{\"timestamp\":1700000004,\"jobs\":{\"QUEUED\":["
               "{\"jobId\":\"J2\",\"queuedAt\":1700000001,\"lastUpdatedAt\":1700000001,\"executionNumber\":1,\"versionNumber\":1},"
               "{\"jobId\":\"J3\",\"queuedAt\":1700000003,\"lastUpdatedAt\":1700000003,\"executionNumber\":1,\"versionNumber\":1}"
               "]}}");
        expect(2, "notify-next",
               "{\"timestamp\":1700000004,\"execution\":{\"jobId\":\"J2\",\"status\":\"QUEUED\",\"queuedAt\":1700000001,"
               "\"lastUpdatedAt\":1700000001,\"versionNumber\":1,\"executionNumber\":1,\"jobDocument\":" DOC "}}");

        after_seconds(1);
        request("J3/update", "{\"status\":\"IN_PROGRESS\"}");
        expect_count(2);
        expect(0, "J3/update/accepted", "{\"timestamp\":1700000005}");
        expect(1, "notify-next",
               "{\"timestamp\":1700000005,\"execution\":{\"jobId\":\"J3\",\"status\":\"IN_PROGRESS\",\"queuedAt\":1700000003,"
               "\"startedAt\":1700000005,\"lastUpdatedAt\":1700000005,\"versionNumber\":2,\"executionNumber\":1,"
               "\"jobDocument\":" DOC "}}");

        after_seconds(1);
        request("J2/update", "{\"status\":\"REJECTED\"}");
        expect_count(2);
        expect(0, "J2/update/accepted", "{\"timestamp\":1700000006}");
        expect(1, "notify",
               "{\"timestamp\":1700000006,\"jobs\":{\"IN_PROGRESS\":[{\"jobId\":\"J3\",\"queuedAt\":1700000003,"
               "\"startedAt\":1700000005,\"lastUpdatedAt\":1700000005,\"executionNumber\":1,\"versionNumber\":2}]}}");

        after_seconds(1);
        ck_assert_int_eq(remove_job("J3", true), 0);
        expect_count(2);
        expect(0, "notify", "{\"timestamp\":1700000007,\"jobs\":{}}");
        expect(1, "notify-next", "{\"timestamp\":1700000007}");
}
END_TEST

/* ---- section 5.2: each row ---- */

static size_t notifications(bool *ret_notify, bool *ret_next) {
        *ret_notify = *ret_next = false;
        for (size_t i = 0; i < out.n_publications; i++) {
                const char *tail = out.publication[i].topic + strlen(P);

                if (strcmp(tail, "notify") == 0) {
                        ck_assert(!*ret_notify && !*ret_next); /* once, and before notify-next */
                        *ret_notify = true;
                } else if (strcmp(tail, "notify-next") == 0) {
                        ck_assert(!*ret_next);
                        *ret_next = true;
                } else
                        ck_assert_uint_eq(i, 0); /* the reply comes first */
        }
        return out.n_publications;
}

static void expect_notifications(bool notify, bool next) {
        bool got_notify, got_next;

        (void) notifications(&got_notify, &got_next);
        ck_assert_int_eq(got_notify, notify);
        ck_assert_int_eq(got_next, next);
}

START_TEST(test_notify_queued_into_empty_list) {
        create("A");
        expect_notifications(true, true);
}
END_TEST

START_TEST(test_notify_queued_behind_others) {
        create("A");
        create("B");
        expect_notifications(true, false);
}
END_TEST

START_TEST(test_notify_first_started) {
        create("A");
        create("B");
        request("start-next", "{}");
        expect_notifications(false, false);
        teardown();
        setup();
        create("A");
        create("B");
        update("A", "IN_PROGRESS");
        expect_notifications(false, false);
}
END_TEST

START_TEST(test_notify_progress) {
        create("A");
        update("A", "IN_PROGRESS");
        update("A", "IN_PROGRESS");
        expect_notifications(false, false);
}
END_TEST

START_TEST(test_notify_non_first_moves_to_front) {
        create("A");
        create("B");
        update("B", "IN_PROGRESS");
        expect_notifications(false, true);
        expect_string(1, "execution.jobId", "B");
        expect_string(1, "execution.status", "IN_PROGRESS");
        ck_assert_int_eq(number(1, "execution.startedAt"), T0);
}
END_TEST

START_TEST(test_notify_non_first_stays_behind) {
        create("A");
        create("B");
        update("A", "IN_PROGRESS");
        update("B", "IN_PROGRESS");
        expect_notifications(false, false);
}
END_TEST

/* An earlier-queued one that starts later goes in front: queuedAt decides, not startedAt. */
START_TEST(test_notify_earlier_queued_starts_later) {
        create("A");
        create("B");
        update("B", "IN_PROGRESS");
        update("A", "IN_PROGRESS");
        expect_notifications(false, true);
        expect_string(1, "execution.jobId", "A");
}
END_TEST

static const char *const device_endings[] = { "SUCCEEDED", "FAILED", "REJECTED" };

START_TEST(test_notify_first_ends) {
        create("A");
        create("B");
        update("A", "IN_PROGRESS");
        update("A", device_endings[_i]);
        expect_notifications(true, true);
        expect_string(2, "execution.jobId", "B");
        update("B", device_endings[_i]); /* straight from QUEUED, and the list is empty afterwards */
        expect_notifications(true, true);
        ck_assert(!has(2, "execution"));
        ck_assert(!has(1, "jobs.QUEUED"));
}
END_TEST

START_TEST(test_notify_non_first_ends) {
        create("A");
        create("B");
        update("B", device_endings[_i]);
        expect_notifications(true, false);
}
END_TEST

START_TEST(test_notify_cancel) {
        create("A");
        create("B");
        create("C");
        ck_assert_int_eq(cancel("B", false), 0);
        expect_notifications(true, false);
        ck_assert_int_eq(cancel("A", false), 0);
        expect_notifications(true, true);
        expect_string(1, "execution.jobId", "C");
}
END_TEST

START_TEST(test_notify_delete) {
        create("A");
        create("B");
        create("C");
        ck_assert_int_eq(remove_job("B", true), 0);
        expect_notifications(true, false);
        ck_assert_int_eq(remove_job("A", true), 0);
        expect_notifications(true, true);
        update("C", "SUCCEEDED");
        ck_assert_int_eq(remove_job("C", false), 0); /* was not pending any more: nothing changed for the device */
        expect_count(0);
        expect_change(0, "C", 1, PROTO_STATUS_NONE, 2);
}
END_TEST

START_TEST(test_notify_timed_out) {
        create_timed("A", 1, 0);
        create_timed("B", 1, 0);
        update("A", "IN_PROGRESS");
        after_seconds(1);
        update("B", "IN_PROGRESS");
        after_seconds(60);
        tick();
        /* Both are due: A (first) and then B, each an event of its own. */
        expect_count(4);
        expect_topic(0, "notify");
        expect_topic(1, "notify-next");
        expect_string(1, "execution.jobId", "B");
        expect_topic(2, "notify");
        expect_topic(3, "notify-next");
        ck_assert(!has(3, "execution"));
}
END_TEST

START_TEST(test_notify_non_first_timed_out) {
        create("A");
        create_timed("B", 1, 0);
        update("A", "IN_PROGRESS");
        update("B", "IN_PROGRESS");
        after_seconds(60);
        tick();
        expect_count(1);
        expect_topic(0, "notify");
}
END_TEST

/* ---- section 4.2: transitions ---- */

static void bring_to(const char *job, ProtoStatus s) {
        create_timed(job, 1, 0);
        if (s == PROTO_STATUS_QUEUED)
                return;
        if (s == PROTO_STATUS_CANCELED) {
                ck_assert_int_eq(cancel(job, false), 0);
                return;
        }
        update(job, "IN_PROGRESS");
        if (s == PROTO_STATUS_TIMED_OUT) {
                after_seconds(60);
                tick();
        } else if (s != PROTO_STATUS_IN_PROGRESS)
                update(job, proto_status_name(s));
        ck_assert_int_eq(status_of(job), s);
}

static const ProtoStatus reachable[] = { PROTO_STATUS_QUEUED,   PROTO_STATUS_IN_PROGRESS, PROTO_STATUS_SUCCEEDED,
                                         PROTO_STATUS_FAILED,   PROTO_STATUS_TIMED_OUT,   PROTO_STATUS_REJECTED,
                                         PROTO_STATUS_CANCELED };
static const ProtoStatus settable[] = { PROTO_STATUS_IN_PROGRESS, PROTO_STATUS_SUCCEEDED, PROTO_STATUS_FAILED,
                                        PROTO_STATUS_REJECTED };

START_TEST(test_every_transition) {
        ProtoStatus from = reachable[_i];

        for (size_t i = 0; i < ELEMENTSOF(settable); i++) {
                ProtoStatus to = settable[i];
                char job[16];
                int64_t version;

                (void) snprintf(job, sizeof job, "J%zu", i);
                bring_to(job, from);
                version = version_of(job);
                after_seconds(1);
                update(job, proto_status_name(to));
                if (proto_status_terminal(from)) {
                        char tail[32];

                        (void) snprintf(tail, sizeof tail, "%s/update", job);
                        expect_rejected(tail, "InvalidStateTransition");
                        expect_string(0, "executionState.status", proto_status_name(from));
                        ck_assert_int_eq(number(0, "executionState.versionNumber"), version);
                        ck_assert_int_eq(status_of(job), from);
                        ck_assert_int_eq(version_of(job), version);
                } else {
                        ck_assert_int_eq(status_of(job), to);
                        ck_assert_int_eq(version_of(job), version + 1);
                        expect_change(0, job, 1, to, version + 1);
                        ck_assert_int_eq(model_find(m, "T", job, -1)->last_updated_at, (int64_t) (now / USEC_PER_SEC));
                }
                ck_assert_int_eq(remove_job(job, true), 0);
        }
}
END_TEST

START_TEST(test_versions_of_service_changes) {
        bring_to("A", PROTO_STATUS_TIMED_OUT);
        ck_assert_int_eq(version_of("A"), 3);
        bring_to("B", PROTO_STATUS_CANCELED);
        ck_assert_int_eq(version_of("B"), 2);
        create("C");
        ck_assert_int_eq(version_of("C"), 1);
        expect_change(0, "C", 1, PROTO_STATUS_QUEUED, 1);
        ck_assert_int_eq(out.change[0].key.queued_at, (int64_t) (now / USEC_PER_SEC));
}
END_TEST

START_TEST(test_started_at_is_set_once) {
        create("A");
        after_seconds(5);
        update("A", "IN_PROGRESS");
        after_seconds(5);
        update("A", "IN_PROGRESS");
        ck_assert_int_eq(model_find(m, "T", "A", -1)->queued_at, T0);
        ck_assert_int_eq(model_find(m, "T", "A", -1)->started_at, T0 + 5);
        ck_assert_int_eq(model_find(m, "T", "A", -1)->last_updated_at, T0 + 10);
}
END_TEST

START_TEST(test_straight_to_the_end_has_no_start) {
        create("A");
        update("A", "FAILED");
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_FAILED);
        ck_assert_int_eq(model_find(m, "T", "A", -1)->started_at, 0);
}
END_TEST

/* ---- section 4.3: statusDetails ---- */

START_TEST(test_details_are_replaced_as_a_whole) {
        create("A");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\",\"b\":\"2\"}}");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"c\":\"3\"},\"includeJobExecutionState\":true}");
        expect(0, "A/update/accepted",
               "{\"timestamp\":1700000000,\"executionState\":{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"c\":\"3\"},"
               "\"versionNumber\":3}}");
        ck_assert_str_eq(proto_details_get(&out.change[0].details, "c"), "3");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"includeJobExecutionState\":true}"); /* absent: stays */
        expect_string(0, "executionState.statusDetails.c", "3");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{},\"includeJobExecutionState\":true}");
        expect_string(0, "executionState.statusDetails.c", "3");
        request("A/update", "{\"status\":\"SUCCEEDED\"}");
        ck_assert_str_eq(proto_details_get(&model_find(m, "T", "A", -1)->details, "c"), "3");
}
END_TEST

START_TEST(test_details_left_out_when_empty) {
        create("A");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"includeJobExecutionState\":true}");
        expect(0, "A/update/accepted",
               "{\"timestamp\":1700000000,\"executionState\":{\"status\":\"IN_PROGRESS\",\"versionNumber\":2}}");
}
END_TEST

/* ---- section 2: replies ---- */

START_TEST(test_get_pending) {
        request("get", "{\"clientToken\":\"x\"}"); /* a thing nobody has heard of */
        expect_count(1);
        expect(0, "get/accepted", "{\"clientToken\":\"x\",\"timestamp\":1700000000,\"inProgressJobs\":[],\"queuedJobs\":[]}");
        create("A");
        create("B");
        update("B", "IN_PROGRESS");
        request("get", "{}");
        expect_count(1);
        expect(0, "get/accepted",
               "{\"timestamp\":1700000000,\"inProgressJobs\":[{\"jobId\":\"B\",\"queuedAt\":1700000000,\"startedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"executionNumber\":1,\"versionNumber\":2}],"
               "\"queuedJobs\":[{\"jobId\":\"A\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"executionNumber\":1,"
               "\"versionNumber\":1}]}");
}
END_TEST

START_TEST(test_empty_token_is_a_token) {
        request("get", "{\"clientToken\":\"\"}");
        expect_string(0, "clientToken", "");
}
END_TEST

START_TEST(test_start_next) {
        request("start-next", "{\"clientToken\":\"n\"}");
        expect_count(1);
        expect(0, "start-next/accepted", "{\"clientToken\":\"n\",\"timestamp\":1700000000}");
        create("A");
        request("start-next",
                "{\"statusDetails\":{\"by\":\"me\"},\"stepTimeoutInMinutes\":10,\"clientToken\":\"n\"}");
        expect_count(1);
        expect(0, "start-next/accepted",
               "{\"clientToken\":\"n\",\"timestamp\":1700000000,\"execution\":{\"jobId\":\"A\",\"status\":\"IN_PROGRESS\","
               "\"statusDetails\":{\"by\":\"me\"},\"queuedAt\":1700000000,\"startedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"versionNumber\":2,\"executionNumber\":1,"
               "\"approximateSecondsBeforeTimedOut\":599,\"jobDocument\":" DOC "}}");
        expect_change(0, "A", 1, PROTO_STATUS_IN_PROGRESS, 2);
}
END_TEST

START_TEST(test_start_next_hands_back_the_job_in_hand) {
        create("A");
        create("B");
        request("start-next", "{\"statusDetails\":{\"by\":\"me\"}}");
        after_seconds(3);
        request("start-next", "{\"statusDetails\":{\"by\":\"you\"},\"stepTimeoutInMinutes\":1}");
        expect_count(1);
        expect(0, "start-next/accepted",
               "{\"timestamp\":1700000003,\"execution\":{\"jobId\":\"A\",\"status\":\"IN_PROGRESS\","
               "\"statusDetails\":{\"by\":\"me\"},\"queuedAt\":1700000000,\"startedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"versionNumber\":2,\"executionNumber\":1,\"jobDocument\":" DOC "}}");
        ck_assert_uint_eq(out.n_changes, 0);
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
}
END_TEST

START_TEST(test_describe) {
        create("A");
        request("A/get", "{\"clientToken\":\"d\"}"); /* the document comes by default */
        expect_count(1);
        expect(0, "A/get/accepted",
               "{\"clientToken\":\"d\",\"timestamp\":1700000000,\"execution\":{\"jobId\":\"A\",\"status\":\"QUEUED\","
               "\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":1,\"executionNumber\":1,"
               "\"jobDocument\":" DOC "}}");
        request("A/get", "{\"includeJobDocument\":false,\"executionNumber\":1}");
        ck_assert(!has(0, "execution.jobDocument"));
        ck_assert_int_eq(version_of("A"), 1);
        request("A/get", "{\"executionNumber\":2}");
        expect_rejected("A/get", "ResourceNotFound");
        request("B/get", "{}");
        expect_rejected("B/get", "ResourceNotFound");
        update("A", "SUCCEEDED");
        request("A/get", "{\"clientToken\":\"d\"}");
        expect_rejected("A/get", "TerminalStateReached");
        expect_string(0, "clientToken", "d");
        ck_assert(!has(0, "executionState"));
}
END_TEST

START_TEST(test_describe_next) {
        request("$next/get", "{\"clientToken\":\"d\"}");
        expect_count(1);
        expect(0, "$next/get/accepted", "{\"clientToken\":\"d\",\"timestamp\":1700000000}");
        create("A");
        create("B");
        request("$next/get", "{\"executionNumber\":7,\"includeJobDocument\":false}");
        expect_count(1);
        expect(0, "$next/get/accepted",
               "{\"timestamp\":1700000000,\"execution\":{\"jobId\":\"A\",\"status\":\"QUEUED\",\"queuedAt\":1700000000,"
               "\"lastUpdatedAt\":1700000000,\"versionNumber\":1,\"executionNumber\":1}}");
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_QUEUED);
        ck_assert_int_eq(version_of("A"), 1);
        ck_assert_uint_eq(out.n_changes, 0);
}
END_TEST

START_TEST(test_update_flags) {
        create("A");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"includeJobDocument\":true,\"includeJobExecutionState\":true,"
                            "\"expectedVersion\":\"1\",\"executionNumber\":\"1\",\"clientToken\":\"u\"}");
        expect_count(1);
        expect(0, "A/update/accepted",
               "{\"clientToken\":\"u\",\"timestamp\":1700000000,\"executionState\":{\"status\":\"IN_PROGRESS\","
               "\"versionNumber\":2},\"jobDocument\":" DOC "}");
}
END_TEST

START_TEST(test_jobs_named_like_operations) {
        create("get");
        create("notify");
        create("accepted");
        request("get/get", "{}");
        expect_count(1);
        expect_topic(0, "get/get/accepted");
        update("notify", "IN_PROGRESS");
        expect_topic(0, "notify/update/accepted");
        update("accepted", "SUCCEEDED");
        expect_topic(0, "accepted/update/accepted");
}
END_TEST

START_TEST(test_document_bytes_travel_unchanged) {
        static const char odd[] = "{ \"a\" : 1.0, \"a\":18446744073709551616, \"s\":\"\\ud800\" ,\"u\":\"\xc3\xa9\"}";

        ck_assert_int_eq(create_full("T", "A", odd, 0, 0), 0);
        ck_assert_ptr_nonnull(strstr(out.publication[1].payload, odd));
        model_output_clear(&out);
        request("A/get", "{}");
        ck_assert_ptr_nonnull(strstr(out.publication[0].payload, odd));
}
END_TEST

START_TEST(test_thing_name_option) {
        setup_with(&(ModelOptions) { .send_thing_name = true });
        create("A");
        expect_string(1, "execution.thingName", "T");
        ck_assert(!has(0, "thingName"));
        request("start-next", "{\"clientToken\":\"\\\"execution\\\":{\"}");
        expect_string(0, "execution.thingName", "T");
        expect_string(0, "clientToken", "\"execution\":{");
        request("$next/get", "{}");
        expect_string(0, "execution.thingName", "T");
        update("A", "SUCCEEDED");
        ck_assert(!has(2, "execution"));
}
END_TEST

/* ---- section 3: errors ---- */

START_TEST(test_invalid_topic) {
        static const char *const tails[] = { "foo", "A/start", "A/get/now", "" };

        create("A");
        for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
                request(tails[i], "{\"clientToken\":\"t\"}");
                expect_rejected(tails[i], "InvalidTopic");
                expect_string(0, "clientToken", "t");
        }
        request("foo", "not json");
        expect_rejected("foo", "InvalidTopic");
        ck_assert(!has(0, "clientToken"));
}
END_TEST

START_TEST(test_what_is_no_request_gets_no_answer) {
        static const char *const topics[] = {
                P "get/accepted",     P "get/rejected",        P "start-next/accepted", P "A/get/accepted",
                P "$next/get/rejected", P "A/update/rejected", P "notify",              P "notify-next",
                P "foo/rejected",     P "foo/rejected/rejected", P "A/start/accepted",  P "bad.id/get/rejected",
                P "notify-namespace-aws-gg-deployment", P "A/namespace-aws-gg-deployment/get",
                "$aws/things/bad.thing/jobs/get", "$aws/things/T/shadow/get", "iot-jobs-sim/request", "",
        };

        create("A");
        for (size_t i = 0; i < ELEMENTSOF(topics); i++) {
                model_output_clear(&out);
                ck_assert_int_eq(model_request(m, now, topics[i], "{}", 2, PROTO_CODE_NONE, &out), 0);
                ck_assert_msg(out.n_publications == 0, "%s was answered on %s", topics[i],
                              out.n_publications > 0 ? out.publication[0].topic : "");
                ck_assert_int_eq(model_request(m, now, topics[i], "{}", 2, PROTO_CODE_INTERNAL_ERROR, &out), 0);
                ck_assert_uint_eq(out.n_publications, 0);
        }
        ck_assert_int_eq(version_of("A"), 1);
}
END_TEST

START_TEST(test_invalid_json) {
        static const char *const tails[] = { "get", "start-next", "A/get", "$next/get", "A/update" };
        static const char *const payloads[] = { "{", "[]", "\"x\"", "7", "{\"a\":}", "\xff\xfe", "{\"clientToken\":\"\xc3\"}" };

        create("A");
        for (size_t i = 0; i < ELEMENTSOF(tails); i++)
                for (size_t j = 0; j < ELEMENTSOF(payloads); j++) {
                        request(tails[i], payloads[j]);
                        expect_rejected(tails[i], "InvalidJson");
                }
        ck_assert_int_eq(version_of("A"), 1);
}
END_TEST

START_TEST(test_invalid_request) {
        static const struct {
                const char *tail, *payload;
        } rows[] = {
                { "A/update", "{}" },
                { "A/update", "{\"status\":null}" },
                { "A/update", "{\"status\":\"DONE\"}" },
                { "A/update", "{\"status\":7}" },
                { "A/update", "{\"status\":\"CANCELED\"}" },
                { "A/update", "{\"status\":\"TIMED_OUT\"}" },
                { "A/update", "{\"status\":\"REMOVED\"}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":[]}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":1}}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"\"}}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"x\\ny\"}}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a b\":\"x\"}}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"1\":\"x\",\"2\":\"x\",\"3\":\"x\",\"4\":\"x\","
                              "\"5\":\"x\",\"6\":\"x\",\"7\":\"x\",\"8\":\"x\",\"9\":\"x\",\"10\":\"x\",\"11\":\"x\"}}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":0}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":-2}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":10081}" },
                { "A/update", "{\"status\":\"SUCCEEDED\",\"stepTimeoutInMinutes\":10081}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"expectedVersion\":\"two\"}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"includeJobDocument\":\"yes\"}" },
                { "A/update", "{\"status\":\"IN_PROGRESS\",\"clientToken\":5}" },
                { "start-next", "{\"stepTimeoutInMinutes\":-1}" },
                { "start-next", "{\"stepTimeoutInMinutes\":0}" },
                { "start-next", "{\"stepTimeoutInMinutes\":10081}" },
                { "start-next", "{\"statusDetails\":{\"a\":true}}" },
                { "A/get", "{\"includeJobDocument\":1}" },
                { "A/get", "{\"executionNumber\":true}" },
                { "$next/update", "{\"status\":\"IN_PROGRESS\"}" },
                { "bad.id/update", "{\"status\":\"IN_PROGRESS\"}" },
                { "bad.id/get", "{}" },
                { "/get", "{}" },
                { "12345678901234567890123456789012345678901234567890123456789012345/get", "{}" },
        };

        create("A");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                request(rows[i].tail, rows[i].payload);
                expect_rejected(rows[i].tail, "InvalidRequest");
                ck_assert(has(0, "message"));
                ck_assert_int_eq(version_of("A"), 1);
        }
}
END_TEST

START_TEST(test_resource_not_found) {
        create("A");
        ck_assert_int_eq(create_full("U", "B", DOC, 0, 0), 0);
        update("B", "IN_PROGRESS"); /* another thing's */
        expect_rejected("B/update", "ResourceNotFound");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"executionNumber\":2,\"clientToken\":\"c\"}");
        expect_rejected("A/update", "ResourceNotFound");
        expect_string(0, "clientToken", "c");
        ck_assert(!has(0, "executionState"));
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"executionNumber\":9223372036854775807}");
        expect_rejected("A/update", "ResourceNotFound");
        ck_assert_int_eq(remove_job("A", true), 0);
        update("A", "IN_PROGRESS");
        expect_rejected("A/update", "ResourceNotFound");
}
END_TEST

START_TEST(test_version_mismatch) {
        create("A");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"}}");
        request("A/update", "{\"status\":\"SUCCEEDED\",\"expectedVersion\":99,\"clientToken\":\"tok-ver\"}");
        expect_count(1);
        expect(0, "A/update/rejected",
               "{\"code\":\"VersionMismatch\",\"message\":\"Expected version 99 but found version 2\","
               "\"clientToken\":\"tok-ver\",\"timestamp\":1700000000,"
               "\"executionState\":{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"},\"versionNumber\":2}}");
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(version_of("A"), 2);
        request("A/update", "{\"status\":\"SUCCEEDED\",\"expectedVersion\":0}"); /* no special meaning */
        expect_rejected("A/update", "VersionMismatch");
        request("A/update", "{\"status\":\"SUCCEEDED\",\"expectedVersion\":2}");
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_SUCCEEDED);
}
END_TEST

START_TEST(test_invalid_state_transition) {
        create("A");
        update("A", "QUEUED");
        expect_rejected("A/update", "InvalidStateTransition");
        expect_string(0, "executionState.status", "QUEUED");
        update("A", "IN_PROGRESS");
        update("A", "QUEUED");
        expect_rejected("A/update", "InvalidStateTransition");
        request("A/update", "{\"status\":\"FAILED\",\"statusDetails\":{\"reason\":\"x\"}}");
        update("A", "FAILED"); /* the same terminal status again */
        expect_rejected("A/update", "InvalidStateTransition");
        expect_string(0, "executionState.status", "FAILED");
        expect_string(0, "executionState.statusDetails.reason", "x");
        ck_assert_int_eq(number(0, "executionState.versionNumber"), 3);
}
END_TEST

/* Topic, JSON, fields, existence, version, transition. */
START_TEST(test_order_of_the_checks) {
        create("A");
        update("A", "SUCCEEDED");
        request("nothing", "{");
        expect_rejected("nothing", "InvalidTopic");
        request("B/update", "{\"status\":\"CANCELED\",");
        expect_rejected("B/update", "InvalidJson");
        request("B/update", "{\"status\":\"CANCELED\"}");
        expect_rejected("B/update", "InvalidRequest");
        request("B/update", "{\"status\":\"IN_PROGRESS\",\"expectedVersion\":9}");
        expect_rejected("B/update", "ResourceNotFound");
        request("B/update", "{\"status\":\"QUEUED\"}");
        expect_rejected("B/update", "ResourceNotFound");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"expectedVersion\":9}");
        expect_rejected("A/update", "VersionMismatch");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"expectedVersion\":2}");
        expect_rejected("A/update", "InvalidStateTransition");
}
END_TEST

static const ProtoCode forced[] = { PROTO_CODE_INTERNAL_ERROR, PROTO_CODE_REQUEST_THROTTLED, PROTO_CODE_RESOURCE_NOT_FOUND,
                                    PROTO_CODE_INVALID_REQUEST };

START_TEST(test_forced_codes) {
        static const char *const tails[] = { "get", "start-next", "A/get", "A/update" };

        create("A");
        for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
                request_forced(tails[i], "{\"status\":\"SUCCEEDED\",\"clientToken\":\"f\"}", forced[_i]);
                expect_rejected(tails[i], proto_code_name(forced[_i]));
                expect_string(0, "clientToken", "f");
                ck_assert(!has(0, "executionState"));
        }
        ck_assert_int_eq(version_of("A"), 1);
        request_forced("A/update", "{\"status\":\"SUCCEEDED\"}", PROTO_CODE_VERSION_MISMATCH);
        expect_rejected("A/update", "VersionMismatch");
        expect_string(0, "executionState.status", "QUEUED");
        ck_assert_int_eq(number(0, "executionState.versionNumber"), 1);
}
END_TEST

START_TEST(test_empty_payload) {
        create("A");
        request("get", "");
        expect_topic(0, "get/accepted");
        request("$next/get", "");
        expect_topic(0, "$next/get/accepted");
        request("A/update", "");
        expect_rejected("A/update", "InvalidRequest");
        request("start-next", "");
        expect_topic(0, "start-next/accepted");
        setup_with(&(ModelOptions) { .empty_is_invalid = true });
        request("get", "");
        expect_rejected("get", "InvalidJson");
        request("A/update", "");
        expect_rejected("A/update", "InvalidJson");
}
END_TEST

/* ---- sections 4.5 and 4.6: timers ---- */

START_TEST(test_in_progress_timer) {
        create_timed("A", 20, 0);
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER); /* QUEUED: not running, however long */
        after_seconds(100000);
        tick();
        ck_assert_uint_eq(out.n_changes, 0);
        request("A/get", "{}");
        ck_assert(!has(0, "execution.approximateSecondsBeforeTimedOut"));
        request("start-next", "{}");
        ck_assert_int_eq(number(0, "execution.approximateSecondsBeforeTimedOut"), 1199);
        ck_assert_uint_eq(model_deadline(m), now + 1200 * USEC_PER_SEC);
        after_seconds(600);
        update("A", "IN_PROGRESS"); /* never extends it */
        ck_assert_uint_eq(model_deadline(m), now + 600 * USEC_PER_SEC);
        request("A/get", "{}");
        ck_assert_int_eq(number(0, "execution.approximateSecondsBeforeTimedOut"), 599);
        now += 600 * USEC_PER_SEC - 1;
        tick();
        expect_count(0);
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(model_seconds_left(model_find(m, "T", "A", -1), now), 0);
        now++;
        tick();
        expect_change(0, "A", 1, PROTO_STATUS_TIMED_OUT, 4);
        expect_count(2);
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
        ck_assert_int_eq(model_seconds_left(model_find(m, "T", "A", -1), now), -1);
}
END_TEST

static void update_step(const char *job, int minutes) {
        char tail[64], payload[128];

        (void) snprintf(tail, sizeof tail, "%s/update", job);
        (void) snprintf(payload, sizeof payload, "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":%d}", minutes);
        request(tail, payload);
}

static uint64_t at_minute(uint64_t minute) {
        return (T0 + minute * 60) * USEC_PER_SEC;
}

START_TEST(test_timers_worked_example) {
        create_timed("A", 20, 0);
        update("A", "IN_PROGRESS"); /* 12:00 */
        now = at_minute(5);
        update_step("A", 7);
        ck_assert_uint_eq(model_deadline(m), at_minute(12));
        now = at_minute(10);
        update_step("A", 5);
        ck_assert_uint_eq(model_deadline(m), at_minute(15));
        now = at_minute(13);
        update_step("A", 9);
        ck_assert_uint_eq(model_deadline(m), at_minute(20)); /* not 22: capped by the in-progress timer */
        now = at_minute(20);
        tick();
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_TIMED_OUT);
}
END_TEST

START_TEST(test_step_timer) {
        create("A");
        request("start-next", "{\"stepTimeoutInMinutes\":2}");
        ck_assert_uint_eq(model_deadline(m), at_minute(2));
        now = at_minute(1);
        update("A", "IN_PROGRESS"); /* absent: untouched */
        ck_assert_uint_eq(model_deadline(m), at_minute(2));
        update_step("A", -1); /* discarded */
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
        request("A/get", "{}");
        ck_assert(!has(0, "execution.approximateSecondsBeforeTimedOut"));
        update_step("A", 10080);
        ck_assert_uint_eq(model_deadline(m), at_minute(10081));
        request("A/update", "{\"status\":\"SUCCEEDED\",\"stepTimeoutInMinutes\":5}"); /* valid, ignored */
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
        now = at_minute(20000);
        tick();
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_SUCCEEDED);
}
END_TEST

START_TEST(test_discarding_the_step_timer_keeps_the_other) {
        create_timed("A", 20, 0);
        request("start-next", "{\"stepTimeoutInMinutes\":2}");
        update_step("A", -1);
        ck_assert_uint_eq(model_deadline(m), at_minute(20));
}
END_TEST

/* A rejected request changes nothing, timers included. */
START_TEST(test_rejected_update_leaves_timers) {
        create("A");
        request("start-next", "{\"stepTimeoutInMinutes\":2}");
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":50,\"expectedVersion\":7}");
        expect_rejected("A/update", "VersionMismatch");
        ck_assert_uint_eq(model_deadline(m), at_minute(2));
}
END_TEST

/* A request that arrives after the deadline meets the timed out execution, though nobody called model_tick(). */
START_TEST(test_due_timers_act_before_a_request) {
        create_timed("A", 1, 0);
        create("B");
        request("start-next", "{}");
        after_seconds(60);
        request("A/update", "{\"status\":\"SUCCEEDED\"}");
        expect_count(3);
        expect_topic(0, "notify");
        expect_topic(1, "notify-next");
        expect_topic(2, "A/update/rejected");
        expect_string(2, "code", "InvalidStateTransition");
        expect_string(2, "executionState.status", "TIMED_OUT");
}
END_TEST

START_TEST(test_timer_in_notify_next) {
        create("A");
        create_timed("B", 10, 0);
        update("B", "IN_PROGRESS");
        ck_assert_int_eq(number(1, "execution.approximateSecondsBeforeTimedOut"), 599);
}
END_TEST

START_TEST(test_clock_never_goes_back) {
        create_timed("A", 1, 0);
        request("start-next", "{}");
        now = at_minute(1) - 1;
        tick();
        now = at_minute(0) - 1000;
        create("B");
        ck_assert_int_eq(model_find(m, "T", "B", -1)->queued_at, T0 + 59);
        request("get", "{}");
        ck_assert_int_eq(number(0, "timestamp"), T0 + 59);
}
END_TEST

/* ---- section 4.7: cancel, delete, retry ---- */

START_TEST(test_cancel) {
        ck_assert_int_eq(cancel("A", false), -ENOENT);
        ck_assert_ptr_nonnull(strstr(err.text, "ResourceNotFound"));
        create("A");
        ck_assert_int_eq(cancel("A", false), 0);
        expect_change(0, "A", 1, PROTO_STATUS_CANCELED, 2);
        expect_count(2);
        ck_assert_int_eq(cancel("A", true), -EPERM);
        ck_assert_ptr_nonnull(strstr(err.text, "InvalidStateTransition"));
        ck_assert_ptr_nonnull(strstr(err.text, "CANCELED"));
        expect_count(0);
        update("A", "IN_PROGRESS");
        expect_rejected("A/update", "InvalidStateTransition");
        expect_string(0, "executionState.status", "CANCELED");
        request("A/get", "{}");
        expect_rejected("A/get", "TerminalStateReached");
}
END_TEST

START_TEST(test_cancel_in_progress_needs_force) {
        create_timed("A", 5, 3);
        update("A", "IN_PROGRESS");
        ck_assert_int_eq(cancel("A", false), -EPERM);
        ck_assert_ptr_nonnull(strstr(err.text, "force"));
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(version_of("A"), 2);
        ck_assert_int_eq(cancel("A", true), 0);
        ck_assert_uint_eq(out.n_changes, 1); /* and no retry */
        expect_change(0, "A", 1, PROTO_STATUS_CANCELED, 3);
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
}
END_TEST

START_TEST(test_delete) {
        ck_assert_int_eq(remove_job("A", true), -ENOENT);
        create("A");
        ck_assert_int_eq(remove_job("A", false), -EPERM);
        ck_assert_ptr_nonnull(strstr(err.text, "force"));
        create_timed("B", 1, 0);
        update("B", "IN_PROGRESS");
        ck_assert_int_eq(remove_job("B", true), 0);
        expect_change(0, "B", 1, PROTO_STATUS_NONE, 2);
        ck_assert_uint_eq(model_deadline(m), USEC_NEVER); /* its timer went with it */
        after_seconds(100);
        tick();
        expect_count(0);
        ck_assert_ptr_null(model_find(m, "T", "B", -1));
        update("A", "SUCCEEDED");
        ck_assert_int_eq(remove_job("A", false), 0);
        expect_count(0);
        request("A/get", "{}");
        expect_rejected("A/get", "ResourceNotFound");
        request("get", "{}");
        expect_topic(0, "get/accepted");
}
END_TEST

START_TEST(test_create_again_after_delete) {
        create("A");
        update("A", "IN_PROGRESS");
        ck_assert_int_eq(remove_job("A", true), 0);
        after_seconds(1);
        create("A");
        expect_notifications(true, true);
        ck_assert_int_eq(number(1, "execution.executionNumber"), 1);
        ck_assert_int_eq(number(1, "execution.versionNumber"), 1);
        ck_assert_int_eq(number(1, "execution.queuedAt"), T0 + 1);
}
END_TEST

START_TEST(test_retry_on_failure) {
        create_timed("A", 0, 1);
        request("A/update", "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"}}");
        after_seconds(2);
        update("A", "FAILED");
        /* One notify and one notify-next after both changes: the first entry's executionNumber changed. */
        expect_count(3);
        expect_topic(0, "A/update/accepted");
        expect(1, "notify",
               "{\"timestamp\":1700000002,\"jobs\":{\"QUEUED\":[{\"jobId\":\"A\",\"queuedAt\":1700000002,"
               "\"lastUpdatedAt\":1700000002,\"executionNumber\":2,\"versionNumber\":1}]}}");
        expect(2, "notify-next",
               "{\"timestamp\":1700000002,\"execution\":{\"jobId\":\"A\",\"status\":\"QUEUED\",\"queuedAt\":1700000002,"
               "\"lastUpdatedAt\":1700000002,\"versionNumber\":1,\"executionNumber\":2,\"jobDocument\":" DOC "}}");
        ck_assert_uint_eq(out.n_changes, 2);
        expect_change(0, "A", 1, PROTO_STATUS_FAILED, 3);
        expect_change(1, "A", 2, PROTO_STATUS_QUEUED, 1);
        request("A/update", "{\"status\":\"SUCCEEDED\",\"executionNumber\":1}"); /* the first one is over */
        expect_rejected("A/update", "InvalidStateTransition");
        request("A/get", "{\"executionNumber\":1}");
        expect_rejected("A/get", "TerminalStateReached");
        request("A/get", "{}"); /* without a number: the latest */
        ck_assert_int_eq(number(0, "execution.executionNumber"), 2);
        update("A", "FAILED"); /* the last retry is used up */
        expect_count(3);
        ck_assert_uint_eq(out.n_changes, 1);
        ck_assert(!has(2, "execution"));
        ck_assert_int_eq(model_find(m, "T", "A", 1)->version, 3);
        ck_assert_ptr_null(model_find(m, "T", "A", 3));
        ck_assert_ptr_null(model_find(m, "T", "A", 0));
}
END_TEST

START_TEST(test_retry_goes_behind_others) {
        create_timed("A", 0, 1);
        create("B");
        update("A", "FAILED");
        expect_notifications(true, true);
        expect_string(2, "execution.jobId", "B");
        request("get", "{}");
        expect(0, "get/accepted",
               "{\"timestamp\":1700000000,\"inProgressJobs\":[],\"queuedJobs\":["
               "{\"jobId\":\"B\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"executionNumber\":1,\"versionNumber\":1},"
               "{\"jobId\":\"A\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"executionNumber\":2,\"versionNumber\":1}"
               "]}");
}
END_TEST

START_TEST(test_retry_on_time_out) {
        create_timed("A", 1, 10);
        for (int i = 1; i <= 11; i++) {
                update("A", "IN_PROGRESS");
                ck_assert_uint_eq(model_deadline(m), now + 60 * USEC_PER_SEC); /* anew for each */
                after_seconds(60);
                tick();
                expect_change(0, "A", i, PROTO_STATUS_TIMED_OUT, 3);
                if (i <= 10)
                        expect_change(1, "A", i + 1, PROTO_STATUS_QUEUED, 1);
        }
        ck_assert_uint_eq(out.n_changes, 1);
        ck_assert_int_eq(model_find(m, "T", "A", -1)->number, 11);
        request("get", "{}");
        expect_topic(0, "get/accepted");
        ck_assert_int_eq(remove_job("A", false), 0); /* all eleven */
        ck_assert_ptr_null(model_find(m, "T", "A", 1));
}
END_TEST

/* A time-out is retried only where the job has a timeout, not for a step timer of the device alone. */
START_TEST(test_no_retry_of_a_step_timeout_without_job_timeout) {
        create_timed("A", 0, 3);
        update_step("A", 1);
        after_seconds(60);
        tick();
        ck_assert_uint_eq(out.n_changes, 1);
        ck_assert_int_eq(status_of("A"), PROTO_STATUS_TIMED_OUT);
}
END_TEST

START_TEST(test_no_retry_of_other_endings) {
        static const char *const endings[] = { "SUCCEEDED", "REJECTED" };

        for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
                create_timed(endings[i], 5, 3);
                update(endings[i], endings[i]);
                ck_assert_uint_eq(out.n_changes, 1);
                ck_assert_int_eq(model_find(m, "T", endings[i], -1)->number, 1);
        }
}
END_TEST

/* ---- limits ---- */

static void expect_refused(int r, int code, const char *text) {
        ck_assert_int_eq(r, -code);
        ck_assert_msg(strstr(err.text, text), "%s: lacks %s", err.text, text);
        ck_assert_uint_eq(out.n_publications, 0);
        ck_assert_uint_eq(out.n_changes, 0);
}

START_TEST(test_create_refuses) {
        static char large[LIMIT_DOCUMENT + 2], name[LIMIT_THING_NAME + 2];

        expect_refused(create_full("T", "A", DOC, 10081, 0), EINVAL, "10080");
        expect_refused(create_full("T", "A", DOC, -1, 0), EINVAL, "InvalidRequest");
        expect_refused(create_full("T", "A", DOC, 0, 11), EINVAL, "10");
        expect_refused(create_full("T", "A", DOC, 0, -1), EINVAL, "retries");
        expect_refused(create_full("a/b", "A", DOC, 0, 0), EINVAL, "a/b");
        expect_refused(create_full("", "A", DOC, 0, 0), EINVAL, "thing");
        expect_refused(create_full("T", "a.b", DOC, 0, 0), EINVAL, "a.b");
        expect_refused(create_full("T", "$next", DOC, 0, 0), EINVAL, "$next");
        expect_refused(create_full("T", "A", "[]", 0, 0), EINVAL, "object");
        expect_refused(create_full("T", "A", "{\"a\":}", 0, 0), EINVAL, "document");
        memset(name, 'n', sizeof name - 1);
        expect_refused(create_full(name, "A", DOC, 0, 0), EINVAL, "thing");
        name[LIMIT_THING_NAME] = '\0';
        ck_assert_int_eq(create_full(name, "A", DOC, 10080, 10), 0);
        name[LIMIT_JOB_ID + 1] = '\0';
        model_output_clear(&out);
        expect_refused(create_full("T", name, DOC, 0, 0), EINVAL, "job");
        name[LIMIT_JOB_ID] = '\0';
        ck_assert_int_eq(create_full("T", name, DOC, 1, 0), 0);
        memset(large, ' ', sizeof large - 1);
        memcpy(large, DOC, strlen(DOC));
        model_output_clear(&out);
        expect_refused(create_full("T", "A", large, 0, 0), EINVAL, "32768");
        large[LIMIT_DOCUMENT] = '\0';
        ck_assert_int_eq(create_full("T", "A", large, 0, 0), 0);
        model_output_clear(&out);
        expect_refused(create_full("T", "A", DOC, 0, 0), EEXIST, "ResourceAlreadyExists");
        ck_assert_int_eq(create_full("U", "A", DOC, 0, 0), 0); /* another target of the same job */
}
END_TEST

static void expect_listed(const char *path, size_t n) {
        json_t *v = json_loads(out.publication[0].payload, 0, NULL);

        ck_assert_uint_eq(json_array_size(member(v, path)), n);
        json_decref(v);
}

START_TEST(test_lists_are_cut_at_ten) {
        char job[16];

        for (int i = 0; i < 12; i++) {
                (void) snprintf(job, sizeof job, "J%02d", i);
                create(job);
                expect_listed("jobs.QUEUED", (size_t) MIN_OF(i + 1, 10));
        }
        for (int i = 0; i < 3; i++) { /* the last ones: they move to the front */
                (void) snprintf(job, sizeof job, "J%02d", 11 - i);
                update(job, "IN_PROGRESS");
        }
        request("get", "{}");
        expect_listed("inProgressJobs", 3);
        expect_listed("queuedJobs", 7);
        setup_with(&(ModelOptions) { .listed_max = 15 });
        for (int i = 0; i < 20; i++) {
                (void) snprintf(job, sizeof job, "J%02d", i);
                create(job);
        }
        request("get", "{}");
        expect_listed("queuedJobs", 15);
}
END_TEST

/* Equal queuedAt: creation order, in both groups, however they were started. */
START_TEST(test_ties) {
        static const char *const ids[] = { "z", "m", "a", "q", "b" };
        static const int start_order[] = { 3, 0, 4, 2, 1 };
        json_t *v;

        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                create(ids[i]);
        request("get", "{}");
        v = json_loads(out.publication[0].payload, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                ck_assert_str_eq(json_string_value(json_object_get(json_array_get(member(v, "queuedJobs"), i), "jobId")), ids[i]);
        json_decref(v);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                update(ids[start_order[i]], "IN_PROGRESS");
        request("get", "{}");
        v = json_loads(out.publication[0].payload, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                ck_assert_str_eq(json_string_value(json_object_get(json_array_get(member(v, "inProgressJobs"), i), "jobId")),
                                 ids[i]);
        json_decref(v);
}
END_TEST

/* ---- many ---- */

static bool count_visit(const char *thing, const ProtoExecution *x, void *userdata) {
        size_t *n = userdata;

        (void) thing;
        (void) x;
        return ++*n != 7;
}

START_TEST(test_visit_in_creation_order) {
        size_t n = 0;

        create("B");
        create("A");
        ck_assert_int_eq(create_full("S", "C", DOC, 0, 0), 0);
        model_visit(m, NULL, count_visit, &n);
        ck_assert_uint_eq(n, 3);
        n = 0;
        model_visit(m, "T", count_visit, &n);
        ck_assert_uint_eq(n, 2);
        n = 6;
        model_visit(m, "T", count_visit, &n); /* stops when told */
        ck_assert_uint_eq(n, 7);
        n = 0;
        model_visit(m, "nobody", count_visit, &n);
        ck_assert_uint_eq(n, 0);
}
END_TEST

/* Ten thousand executions, one thing with a thousand of them, all through to their end in order. */
START_TEST(test_many) {
        enum { THINGS = 90, EACH = 100, BACKLOG = 1000 };
        char thing[16], job[16];

        for (int t = 0; t < THINGS; t++)
                for (int j = 0; j < EACH; j++) {
                        (void) snprintf(thing, sizeof thing, "thing%d", t);
                        (void) snprintf(job, sizeof job, "job%d", j);
                        ck_assert_int_eq(create_full(thing, job, DOC, 1 + (t * 7 + j * 13) % 50, 0), 0);
                        model_output_clear(&out);
                        (void) snprintf(job, sizeof job, "job%d", j / 2);
                }
        for (int j = 0; j < BACKLOG; j++) {
                (void) snprintf(job, sizeof job, "job%d", j);
                create(job);
        }
        for (int t = 0; t < THINGS; t++)
                for (int j = 0; j < EACH; j++) {
                        char topic[128];

                        (void) snprintf(topic, sizeof topic, "$aws/things/thing%d/jobs/job%d/update", t, j);
                        model_output_clear(&out);
                        ck_assert_int_eq(model_request(m, now, topic, "{\"status\":\"IN_PROGRESS\"}", 24, PROTO_CODE_NONE, &out), 0);
                        ck_assert_uint_eq(out.n_changes, 1);
                }
        for (int j = 0; j < BACKLOG; j++) {
                (void) snprintf(job, sizeof job, "job%d", j);
                request("start-next", "{}");
                expect_string(0, "execution.jobId", job);
                update(job, "SUCCEEDED");
                expect_count(3);
        }
        for (uint64_t last = 0; model_deadline(m) != USEC_NEVER;) {
                ck_assert_uint_gt(model_deadline(m), last);
                last = now = model_deadline(m);
                tick();
                ck_assert_uint_gt(out.n_changes, 0);
        }
        ck_assert_uint_eq(now, at_minute(50));
}
END_TEST

/* The index keeps what shares a bucket with what is removed. */
START_TEST(test_find_after_removals) {
        char job[16];

        for (int i = 0; i < 600; i++) {
                (void) snprintf(job, sizeof job, "job%d", i);
                create(job);
        }
        for (int i = 0; i < 600; i += 3) {
                (void) snprintf(job, sizeof job, "job%d", i);
                ck_assert_int_eq(remove_job(job, true), 0);
        }
        for (int i = 0; i < 600; i++) {
                (void) snprintf(job, sizeof job, "job%d", i);
                ck_assert_int_eq(model_find(m, "T", job, -1) != NULL, i % 3 != 0);
        }
}
END_TEST

/* What the lists and the heap say is compared with a walk over everything, after each of many random steps. */
typedef struct Oracle {
        const ProtoExecution *pending[64];
        size_t n;
        int64_t least_left;
} Oracle;

static bool oracle_visit(const char *thing, const ProtoExecution *x, void *userdata) {
        Oracle *o = userdata;
        int64_t left = model_seconds_left(x, now);

        (void) thing;
        if (x->status != PROTO_STATUS_QUEUED && x->status != PROTO_STATUS_IN_PROGRESS)
                return true;
        ck_assert_uint_lt(o->n, ELEMENTSOF(o->pending));
        o->pending[o->n++] = x;
        if (left >= 0 && (o->least_left < 0 || left < o->least_left))
                o->least_left = left;
        return true;
}

static int by_list_order(const void *a, const void *b) {
        const ProtoExecution *x = *(const ProtoExecution *const *) a, *y = *(const ProtoExecution *const *) b;

        if (x->status != y->status)
                return x->status == PROTO_STATUS_IN_PROGRESS ? -1 : 1;
        return x->queued_at < y->queued_at ? -1 : x->queued_at > y->queued_at;
}

static void check_against_oracle(void) {
        Oracle o = { .least_left = -1 };
        json_t *v;
        const json_t *running, *queued;

        model_visit(m, "T", oracle_visit, &o);
        qsort(o.pending, o.n, sizeof o.pending[0], by_list_order);
        if (o.least_left >= 0)
                ck_assert_int_eq((int64_t) ((model_deadline(m) - now - 1) / USEC_PER_SEC), o.least_left);
        else
                ck_assert_uint_eq(model_deadline(m), USEC_NEVER);
        request("get", "{}");
        v = json_loads(out.publication[0].payload, 0, NULL);
        running = json_object_get(v, "inProgressJobs");
        queued = json_object_get(v, "queuedJobs");
        ck_assert_uint_eq(json_array_size(running) + json_array_size(queued), MIN_OF(o.n, (size_t) 10));
        for (size_t i = 0; i < MIN_OF(o.n, (size_t) 10); i++) {
                const json_t *x = i < json_array_size(running) ? json_array_get(running, i)
                                                               : json_array_get(queued, i - json_array_size(running));

                ck_assert_str_eq(json_string_value(json_object_get(x, "jobId")), o.pending[i]->job_id);
                ck_assert_int_eq(json_integer_value(json_object_get(x, "executionNumber")), o.pending[i]->number);
                ck_assert_int_eq(json_integer_value(json_object_get(x, "versionNumber")), o.pending[i]->version);
        }
        json_decref(v);
}

static uint32_t random_state;

static uint32_t dice(uint32_t n) {
        random_state = random_state * 1664525 + 1013904223;
        return (random_state >> 8) % n;
}

START_TEST(test_random_steps_against_a_walk) {
        static const char *const statuses[] = { "IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED" };

        random_state = (uint32_t) _i * 77 + 5;
        for (int step = 0; step < 400; step++) {
                char job[8];

                after_seconds(1); /* distinct queuedAt: the oracle sorts by it */
                (void) snprintf(job, sizeof job, "j%u", dice(40));
                switch (dice(8)) {
                case 0:
                case 1:
                case 2:
                        (void) !create_full("T", job, DOC, dice(3), dice(4));
                        break;
                case 3:
                case 4:
                        update(job, statuses[dice(ELEMENTSOF(statuses))]);
                        break;
                case 5:
                        update_step(job, dice(4) == 0 ? -1 : (int) dice(3) + 1);
                        break;
                case 6:
                        (void) !cancel(job, dice(2) == 0);
                        break;
                case 7:
                        (void) !remove_job(job, dice(2) == 0);
                        break;
                }
                tick();
                check_against_oracle();
        }
}
END_TEST

/* ---- job documents ---- */

START_TEST(test_document_check) {
        static const char *const good[] = {
                "{}", " {\"a\":[1,-0.5e+3,true,false,null,\"x\",{}, [ ] ]}\n", "{\"a\":\"\\u00e9\\n\\/\\\"\"}",
                "{\"a\":1,\"a\":99999999999999999999,\"b\":\"\\ud800\"}", "{\"\":\"\"}",
        };
        static const char *const bad[] = {
                "",          "[]",        "1",          "{",         "{\"a\"}",       "{\"a\":}",   "{\"a\":1,}",
                "{,}",       "{\"a\":1}}", "{\"a\":[1,]}", "{\"a\":01}", "{\"a\":1.}",    "{\"a\":1e}", "{\"a\":-}",
                "{\"a\":tru}", "{'a':1}", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"x}", "{} {}",
                "{\"a\":[}]", "{\"a\":NaN}", "{\"\xff\":1}", "{\"a\" 1}", "{a:1}", "\xef\xbb\xbf{}",
        };
        char deep[2 * DOCUMENT_DEPTH_MAX + 16] = "{\"a\":";
        size_t n = strlen(deep);

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ck_assert_msg(document_check(good[i], strlen(good[i]), &err) == 0, "%s: %s", good[i], err.text);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                err.text[0] = '\0';
                ck_assert_msg(document_check(bad[i], strlen(bad[i]), &err) == -EINVAL, "%s was taken", bad[i]);
                ck_assert_ptr_nonnull(strstr(err.text, "document: "));
        }
        ck_assert_int_eq(document_check("{\"a\":\"\0\"}", 9, &err), -EINVAL); /* a NUL byte ends nothing */
        memset(deep + n, '[', DOCUMENT_DEPTH_MAX - 1);
        memset(deep + n + DOCUMENT_DEPTH_MAX - 1, ']', DOCUMENT_DEPTH_MAX - 1);
        strcpy(deep + n + 2 * (DOCUMENT_DEPTH_MAX - 1), "}");
        ck_assert_int_eq(document_check(deep, strlen(deep), &err), 0);
        memset(deep + n, '[', DOCUMENT_DEPTH_MAX);
        ck_assert_int_eq(document_check(deep, strlen(deep), &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, "nesting"));
}
END_TEST

START_TEST(test_document_fill) {
        static const char text[] = "{\"a\":\"${aws:iot:parameter:x}\",\"b\":\"<${aws:iot:parameter:unset}>\","
                                   "\"c\":\"${aws:iot:parameter:x}-${HOME}\",\"d\":\"${aws:iot:parameter:open\"}";
        DocumentParameter p[] = { { "x", "say \"hi\"\\\n" }, { "y", "1" } };
        Buf b = {};

        ck_assert_int_eq(document_fill(text, strlen(text), p, 1, &b, &err), 0);
        ck_assert_str_eq(b.data, "{\"a\":\"say \\\"hi\\\"\\\\\\u000a\",\"b\":\"<>\","
                                 "\"c\":\"say \\\"hi\\\"\\\\\\u000a-${HOME}\",\"d\":\"${aws:iot:parameter:open\"}");
        buf_clear(&b);
        ck_assert_int_eq(document_fill(text, strlen(text), p, 2, &b, &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, "y"));
        p[0].value = "\xff";
        ck_assert_int_eq(document_fill(text, strlen(text), p, 1, &b, &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, "UTF-8"));
        buf_done(&b);
}
END_TEST

/* ---- suite ---- */

static TCase *new_case(const char *name) {
        TCase *t = tcase_create(name);

        tcase_set_timeout(t, 120);
        tcase_add_checked_fixture(t, setup, teardown);
        return t;
}

static TCase *notification_cases(void) {
        TCase *t = new_case("notifications");

        tcase_add_test(t, test_worked_sequence);
        tcase_add_test(t, test_notify_queued_into_empty_list);
        tcase_add_test(t, test_notify_queued_behind_others);
        tcase_add_test(t, test_notify_first_started);
        tcase_add_test(t, test_notify_progress);
        tcase_add_test(t, test_notify_non_first_moves_to_front);
        tcase_add_test(t, test_notify_non_first_stays_behind);
        tcase_add_test(t, test_notify_earlier_queued_starts_later);
        tcase_add_loop_test(t, test_notify_first_ends, 0, (int) ELEMENTSOF(device_endings));
        tcase_add_loop_test(t, test_notify_non_first_ends, 0, (int) ELEMENTSOF(device_endings));
        tcase_add_test(t, test_notify_cancel);
        tcase_add_test(t, test_notify_delete);
        tcase_add_test(t, test_notify_timed_out);
        tcase_add_test(t, test_notify_non_first_timed_out);
        return t;
}

static TCase *state_cases(void) {
        TCase *t = new_case("states");

        tcase_add_loop_test(t, test_every_transition, 0, (int) ELEMENTSOF(reachable));
        tcase_add_test(t, test_versions_of_service_changes);
        tcase_add_test(t, test_started_at_is_set_once);
        tcase_add_test(t, test_straight_to_the_end_has_no_start);
        tcase_add_test(t, test_details_are_replaced_as_a_whole);
        tcase_add_test(t, test_details_left_out_when_empty);
        tcase_add_test(t, test_cancel);
        tcase_add_test(t, test_cancel_in_progress_needs_force);
        tcase_add_test(t, test_delete);
        tcase_add_test(t, test_create_again_after_delete);
        tcase_add_test(t, test_retry_on_failure);
        tcase_add_test(t, test_retry_goes_behind_others);
        tcase_add_test(t, test_retry_on_time_out);
        tcase_add_test(t, test_no_retry_of_a_step_timeout_without_job_timeout);
        tcase_add_test(t, test_no_retry_of_other_endings);
        return t;
}

static TCase *reply_cases(void) {
        TCase *t = new_case("replies");

        tcase_add_test(t, test_get_pending);
        tcase_add_test(t, test_empty_token_is_a_token);
        tcase_add_test(t, test_start_next);
        tcase_add_test(t, test_start_next_hands_back_the_job_in_hand);
        tcase_add_test(t, test_describe);
        tcase_add_test(t, test_describe_next);
        tcase_add_test(t, test_update_flags);
        tcase_add_test(t, test_jobs_named_like_operations);
        tcase_add_test(t, test_document_bytes_travel_unchanged);
        tcase_add_test(t, test_thing_name_option);
        return t;
}

static TCase *error_cases(void) {
        TCase *t = new_case("errors");

        tcase_add_test(t, test_invalid_topic);
        tcase_add_test(t, test_what_is_no_request_gets_no_answer);
        tcase_add_test(t, test_invalid_json);
        tcase_add_test(t, test_invalid_request);
        tcase_add_test(t, test_resource_not_found);
        tcase_add_test(t, test_version_mismatch);
        tcase_add_test(t, test_invalid_state_transition);
        tcase_add_test(t, test_order_of_the_checks);
        tcase_add_loop_test(t, test_forced_codes, 0, (int) ELEMENTSOF(forced));
        tcase_add_test(t, test_empty_payload);
        return t;
}

static TCase *timer_cases(void) {
        TCase *t = new_case("timers");

        tcase_add_test(t, test_in_progress_timer);
        tcase_add_test(t, test_timers_worked_example);
        tcase_add_test(t, test_step_timer);
        tcase_add_test(t, test_discarding_the_step_timer_keeps_the_other);
        tcase_add_test(t, test_rejected_update_leaves_timers);
        tcase_add_test(t, test_due_timers_act_before_a_request);
        tcase_add_test(t, test_timer_in_notify_next);
        tcase_add_test(t, test_clock_never_goes_back);
        return t;
}

static TCase *size_cases(void) {
        TCase *t = new_case("sizes");

        tcase_add_test(t, test_create_refuses);
        tcase_add_test(t, test_lists_are_cut_at_ten);
        tcase_add_test(t, test_ties);
        tcase_add_test(t, test_visit_in_creation_order);
        tcase_add_test(t, test_many);
        tcase_add_test(t, test_find_after_removals);
        tcase_add_loop_test(t, test_random_steps_against_a_walk, 0, 10);
        return t;
}

static TCase *document_cases(void) {
        TCase *t = new_case("documents");

        tcase_add_test(t, test_document_check);
        tcase_add_test(t, test_document_fill);
        return t;
}

UNIT_MAIN("model", notification_cases(), state_cases(), reply_cases(), error_cases(), timer_cases(), size_cases(),
          document_cases())
