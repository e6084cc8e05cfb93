/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation on the control socket. Refusals one by one are in tests/fuzz/corpus/control. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "control/control.h"
#include "unit.h"

static ControlRequest request_of(ControlVerb verb) {
        ControlRequest q = { .verb = verb };

        if (verb == CONTROL_SHOW || verb == CONTROL_CANCEL)
                (void) snprintf(q.job_id, sizeof q.job_id, "job-%d", 1);
        if (verb == CONTROL_CANCEL)
                q.number = 7;
        if (verb == CONTROL_HISTORY)
                q.count = 512;
        return q;
}

START_TEST(requests_round_trip) {
        ControlRequest q = request_of((ControlVerb) _i), back = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};

        ck_assert_int_eq(control_request_encode(&q, &b), 0);
        ck_assert_msg(control_request_decode(b.data, b.len, &back, &e) == 0, "%s", e.text);
        ck_assert_int_eq(back.verb, q.verb);
        ck_assert_str_eq(back.job_id, q.job_id);
        ck_assert_int_eq(back.number, q.number);
        ck_assert_int_eq(back.count, q.count);
        for (size_t n = 0; n < b.len; n++)
                ck_assert_int_eq(control_request_decode(b.data, n, &back, &e), -EBADMSG);
}
END_TEST

static const struct {
        const char *packet, *names;
} refused[] = {
        { "", "packet" },
        { "status", "" },
        { "{}", "verb" },
        { "{\"verb\":\"stop\"}", "verb" },
        { "{\"verb\":\"show\"}", "job" },
        { "{\"verb\":\"show\",\"job\":\"../etc\"}", "job" },
        { "{\"verb\":\"cancel\",\"job\":\"$next\"}", "job" },
        { "{\"verb\":\"cancel\",\"job\":\"j\",\"execution\":0}", "execution" },
        { "{\"verb\":\"history\"}", "count" },
        { "{\"verb\":\"history\",\"count\":0}", "count" },
        { "{\"verb\":\"history\",\"count\":100001}", "count" },
        { "{\"verb\":\"pause\"}{", "" },
};

START_TEST(requests_that_are_refused) {
        ControlRequest q = {};
        Error e = {};

        ck_assert_int_eq(control_request_decode(refused[_i].packet, strlen(refused[_i].packet), &q, &e), -EBADMSG);
        ck_assert_msg(strstr(e.text, refused[_i].names) && e.text[0], "%s: %s", refused[_i].packet, e.text);
}
END_TEST

START_TEST(a_request_that_is_too_long) {
        char packet[CONTROL_REQUEST_MAX + 2];
        ControlRequest q;
        Error e = {};
        int n = snprintf(packet, sizeof packet, "{\"verb\":\"status\",\"x\":\"%0*d\"}", CONTROL_REQUEST_MAX - 24, 0);

        ck_assert_int_eq(n, CONTROL_REQUEST_MAX);
        ck_assert_int_eq(control_request_decode(packet, CONTROL_REQUEST_MAX, &q, &e), 0);
        packet[CONTROL_REQUEST_MAX] = ' ';
        ck_assert_int_eq(control_request_decode(packet, CONTROL_REQUEST_MAX + 1, &q, &e), -EBADMSG);
}
END_TEST

START_TEST(requests_that_are_not_encoded) {
        Buf b CLEANUP_BUF = {};
        ControlRequest q = { .verb = CONTROL_VERB_COUNT };

        ck_assert_int_eq(control_request_encode(&q, &b), -EINVAL);
        q = (ControlRequest) { .verb = CONTROL_SHOW };
        ck_assert_int_eq(control_request_encode(&q, &b), -EINVAL);
        q = (ControlRequest) { .verb = CONTROL_CANCEL, .job_id = "j", .number = -1 };
        ck_assert_int_eq(control_request_encode(&q, &b), -EINVAL);
        q = (ControlRequest) { .verb = CONTROL_HISTORY };
        ck_assert_int_eq(control_request_encode(&q, &b), -EINVAL);
        ck_assert_uint_eq(b.len, 0);
}
END_TEST

/* ---- answers ---- */

static void fill_status(ControlReply *a, size_t jobs) {
        a->type = CONTROL_REPLY_STATUS;
        control_status_init(&a->status);
        (void) strcpy(a->status.thing, "dev-1");
        (void) strcpy(a->status.error, "no route\nto host \x1B[31m\xFF");
        a->status.connected = true;
        a->status.paused_since = 1700000000;
        a->jobs = calloc(MAX_OF(jobs, (size_t) 1), sizeof *a->jobs);
        ck_assert_ptr_nonnull(a->jobs);
        for (; a->n_jobs < jobs; a->n_jobs++) {
                ControlJob *j = &a->jobs[a->n_jobs];

                *j = (ControlJob) { .number = 1, .queued_at = 1700000000, .phase = a->n_jobs % CONTROL_PHASE_COUNT,
                                    .status = PROTO_STATUS_IN_PROGRESS, .since = 3, .resume_in = -1, .deadline_in = 60, .progress = 40 };
                (void) snprintf(j->job_id, sizeof j->job_id, "job-%zu", a->n_jobs);
                (void) strcpy(j->step, "2/3 Install");
        }
        a->n_ended = 1;
        a->ended[0] = (ControlEnded) { .job_id = "old", .number = 1, .status = PROTO_STATUS_FAILED, .ago = 9 };
}

START_TEST(a_status_round_trips) {
        ControlReply a CLEANUP_REPLY = {}, back CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};

        fill_status(&a, CONTROL_JOBS_MAX);
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        ck_assert_msg(control_reply_decode(b.data, b.len, &back, &e) == 0, "%s", e.text);
        ck_assert_str_eq(back.status.thing, "dev-1");
        ck_assert_str_eq(back.status.error, "no route | to host \xEF\xBF\xBD[31m\xEF\xBF\xBD");
        ck_assert(back.status.connected && !back.status.synced);
        ck_assert_int_eq(back.status.paused_since, 1700000000);
        ck_assert_int_eq(back.status.retry_in, -1);
        ck_assert_uint_eq(back.n_jobs, CONTROL_JOBS_MAX);
        for (size_t i = 0; i < back.n_jobs; i++) {
                ck_assert_str_eq(back.jobs[i].job_id, a.jobs[i].job_id);
                ck_assert_int_eq(back.jobs[i].phase, a.jobs[i].phase);
                ck_assert_int_eq(back.jobs[i].progress, 40);
                ck_assert_int_eq(back.jobs[i].resume_in, -1);
                ck_assert_str_eq(back.jobs[i].step, "2/3 Install");
        }
        ck_assert_uint_eq(back.n_ended, 1);
        ck_assert_int_eq(back.ended[0].status, PROTO_STATUS_FAILED);
}
END_TEST

/* The agent may be in someone's hands: what it says goes to root's terminal. */
START_TEST(what_is_said_is_fit_for_a_terminal) {
        static const char packet[] = "{\"type\":\"error\",\"error\":\"failed\",\"text\":\"\\u001b]0;x\\u0007\\r\\nrm -rf\\u202e\"}";
        ControlReply a CLEANUP_REPLY = {};

        ck_assert_int_eq(control_reply_decode(packet, sizeof packet - 1, &a, NULL), 0);
        ck_assert_str_eq(a.text, "\xEF\xBF\xBD]0;x\xEF\xBF\xBD | rm -rf\xEF\xBF\xBD");
}
END_TEST

START_TEST(the_largest_status_fits) {
        ControlReply a CLEANUP_REPLY = {}, back CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};

        fill_status(&a, CONTROL_JOBS_MAX);
        memset(a.status.endpoint, '"', sizeof a.status.endpoint - 1);
        memset(a.status.summary, '\\', sizeof a.status.summary - 1);
        for (size_t i = 0; i < a.n_jobs; i++) {
                memset(a.jobs[i].job_id, 'x', LIMIT_JOB_ID);
                memset(a.jobs[i].step, '"', sizeof a.jobs[i].step - 1);
                a.jobs[i].number = a.jobs[i].queued_at = a.jobs[i].since = a.jobs[i].resume_in = a.jobs[i].deadline_in = INT64_MAX;
        }
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        ck_assert_int_eq(control_reply_decode(b.data, b.len, &back, NULL), 0);
        ck_assert_uint_eq(strlen(back.jobs[0].step), CONTROL_STEP_MAX - 1);
}
END_TEST

START_TEST(a_long_text_is_cut_on_a_character) {
        ControlReply a CLEANUP_REPLY = { .type = CONTROL_REPLY_ERROR }, back CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};

        memset(a.text, 0xFF, sizeof a.text - 1); /* each becomes three bytes */
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        ck_assert_int_eq(control_reply_decode(b.data, b.len, &back, NULL), 0);
        ck_assert_uint_eq(strlen(back.text), (CONTROL_TEXT_MAX - 1) / 3 * 3);
        ck_assert(utf8_valid(back.text, strlen(back.text)));
}
END_TEST

START_TEST(a_job_with_all_its_details) {
        ControlReply a CLEANUP_REPLY = { .type = CONTROL_REPLY_JOB }, back CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};
        char key[8], value[LIMIT_DETAILS_VALUE * 3 + 1] = "";

        a.jobs = calloc(1, sizeof *a.jobs);
        a.n_jobs = 1;
        (void) strcpy(a.jobs->job_id, "j");
        for (size_t i = 0; i < LIMIT_DETAILS_VALUE; i++)
                memcpy(value + 3 * i, "\xE2\x82\xAC", 4);
        for (int i = 0; i < LIMIT_DETAILS_PAIRS; i++) {
                (void) snprintf(key, sizeof key, "k%d", i);
                ck_assert_int_eq(proto_details_set(&a.jobs->details, key, value), 0);
        }
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        ck_assert_int_eq(control_reply_decode(b.data, b.len, &back, NULL), 0);
        ck_assert(proto_details_equal(&a.jobs->details, &back.jobs->details));
}
END_TEST

START_TEST(a_history_round_trips) {
        ControlReply a CLEANUP_REPLY = { .type = CONTROL_REPLY_HISTORY, .more = true }, back CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};

        a.ends = calloc(WIRE_ENDS_MAX, sizeof *a.ends);
        for (; a.n_ends < WIRE_ENDS_MAX; a.n_ends++) {
                WireEnd *x = &a.ends[a.n_ends];

                *x = (WireEnd) { .key = { .job_id = "j", .number = 1, .queued_at = 2 }, .at = 3, .status = PROTO_STATUS_REJECTED };
                ck_assert_int_eq(proto_details_set(&x->details, "reason", "cancelled on the device"), 0);
        }
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        ck_assert_int_eq(control_reply_decode(b.data, b.len, &back, NULL), 0);
        ck_assert_uint_eq(back.n_ends, WIRE_ENDS_MAX);
        ck_assert(back.more);
        ck_assert_int_eq(back.ends[15].status, PROTO_STATUS_REJECTED);
        ck_assert_str_eq(proto_details_get(&back.ends[15].details, "reason"), "cancelled on the device");
}
END_TEST

START_TEST(answers_that_are_not_encoded) {
        Buf b CLEANUP_BUF = {};
        ControlJob job = { .job_id = "j" };
        ControlReply a = { .type = CONTROL_TYPE_COUNT };

        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        a = (ControlReply) { .type = CONTROL_REPLY_ERROR, .error = CONTROL_ERROR_COUNT };
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        a = (ControlReply) { .type = CONTROL_REPLY_STATUS, .n_jobs = CONTROL_JOBS_MAX + 1 };
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        a = (ControlReply) { .type = CONTROL_REPLY_JOB, .jobs = &job };
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        a.n_jobs = 1;
        ck_assert_int_eq(control_reply_encode(&a, &b), 0);
        buf_clear(&b);
        job.job_id[0] = '/';
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        job.job_id[0] = 'j';
        job.phase = CONTROL_PHASE_COUNT;
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        job.phase = CONTROL_QUEUED;
        job.status = PROTO_STATUS_COUNT;
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        job.status = PROTO_STATUS_NONE;
        job.since = -2;
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        job.since = -1;
        ck_assert_int_eq(proto_details_set(&job.details, "bad", "\n"), 0);
        ck_assert_int_eq(control_reply_encode(&a, &b), -EINVAL);
        proto_details_done(&job.details);
        ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(names) {
        ck_assert_str_eq(control_verb_name(CONTROL_WATCH), "watch");
        ck_assert_str_eq(control_verb_name(CONTROL_VERB_COUNT), "");
        ck_assert_str_eq(control_phase_name(CONTROL_LEFT_ALONE), "left-alone");
        ck_assert_str_eq(control_phase_name(CONTROL_PHASE_COUNT), "");
        ck_assert_str_eq(control_error_name(CONTROL_TOO_LATE), "too-late");
        ck_assert_str_eq(control_error_name(CONTROL_ERROR_COUNT), "");
}
END_TEST

START_TEST(socket_names) {
        char name[CONTROL_NAME_MAX], other[CONTROL_NAME_MAX], thing[LIMIT_THING_NAME + 1] = "";

        control_socket_name("dev-1", name);
        ck_assert_str_eq(name, "agent-dev-1.sock");
        memset(thing, 'x', LIMIT_THING_NAME);
        control_socket_name(thing, name);
        thing[LIMIT_THING_NAME - 1] = 'y';
        control_socket_name(thing, other);
        ck_assert_str_ne(name, other);
        ck_assert_uint_lt(strlen(name), CONTROL_NAME_MAX);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("control");

        tcase_add_loop_test(c, requests_round_trip, 0, CONTROL_VERB_COUNT);
        tcase_add_loop_test(c, requests_that_are_refused, 0, (int) ELEMENTSOF(refused));
        tcase_add_test(c, a_request_that_is_too_long);
        tcase_add_test(c, requests_that_are_not_encoded);
        tcase_add_test(c, a_status_round_trips);
        tcase_add_test(c, what_is_said_is_fit_for_a_terminal);
        tcase_add_test(c, the_largest_status_fits);
        tcase_add_test(c, a_long_text_is_cut_on_a_character);
        tcase_add_test(c, a_job_with_all_its_details);
        tcase_add_test(c, a_history_round_trips);
        tcase_add_test(c, answers_that_are_not_encoded);
        tcase_add_test(c, names);
        tcase_add_test(c, socket_names);
        return c;
}

UNIT_MAIN("control", cases())
