/* SPDX-License-Identifier: Apache-2.0 */
/* The engine by hand: single events in, actions looked at one by one. What happens over long histories is the business of
 * tests/model. */
#include "engine-rig.h"

/* ---- a small world around one engine ---- */

static EngineConfig default_config(void) {
        return (EngineConfig) {
                .thing = "T",
                .max_concurrent = 1,
                .progress_interval_usec = 5 * SEC,
                .poll_interval_usec = (uint64_t) 3600 * SEC,
                .operation_timeout_usec = 10 * SEC,
                .step_timeout_margin_sec = 86400,
        };
}

static void simple(EngineEventType type) {
        EngineEvent event = { .type = type };

        step(&event);
}

static void pass(uint64_t usec) {
        now += usec;
        simple(ENGINE_EVENT_TIMER);
}

static bool logged(const char *part) {
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_LOG && strstr(actions.item[i].text, part))
                        return true;
        return false;
}

static void message(ProtoMessage *m) {
        EngineEvent event = { .type = ENGINE_EVENT_MESSAGE, .message = m };

        step(&event);
}

static ProtoMessage reply_to(TopicKind kind, TopicReply reply, const char *id) {
        ProtoMessage m = { .kind = kind, .reply = reply, .has_token = true };

        (void) snprintf(m.job_id, sizeof m.job_id, "%s", id ? id : "");
        memcpy(m.token, last_token, sizeof m.token);
        return m;
}

static void accept_update(const char *id) {
        ProtoMessage m = reply_to(TOPIC_UPDATE, TOPIC_ACCEPTED, id);

        message(&m);
}

static void reject(TopicKind kind, const char *id, ProtoCode code) {
        ProtoMessage m = reply_to(kind, TOPIC_REJECTED, id);

        m.code = code;
        message(&m);
}

static void reject_with_state(const char *id, ProtoCode code, ProtoStatus status, const char *claim, int64_t version) {
        ProtoMessage m = reply_to(TOPIC_UPDATE, TOPIC_REJECTED, id);

        m.code = code;
        m.has_state = true;
        m.state_status = status;
        m.state_version = version;
        if (claim)
                ck_assert_int_eq(proto_details_set(&m.state_details, "claim", claim), 0);
        message(&m);
        proto_details_done(&m.state_details);
}

static void list(TopicKind kind, ProtoExecution *x, size_t n) {
        ProtoMessage m = { .kind = kind, .list = x, .n_list = n };

        if (kind == TOPIC_GET_PENDING) {
                m = reply_to(kind, TOPIC_ACCEPTED, NULL);
                m.list = x;
                m.n_list = n;
        }
        message(&m);
}

static void notify_next(ProtoExecution *x, const char *document) {
        ProtoMessage m = { .kind = TOPIC_NOTIFY_NEXT, .has_execution = x != NULL };

        if (x) {
                m.execution = *x;
                m.execution.document = document;
                m.execution.document_len = document ? strlen(document) : 0;
        }
        message(&m);
}

static void describe_answer(ProtoExecution *x, const char *document, const char *claim) {
        ProtoMessage m = reply_to(TOPIC_DESCRIBE, TOPIC_ACCEPTED, x->job_id);

        m.has_execution = true;
        m.execution = *x;
        m.execution.document = document;
        m.execution.document_len = document ? strlen(document) : 0;
        if (claim)
                ck_assert_int_eq(proto_details_set(&m.execution.details, "claim", claim), 0);
        message(&m);
        proto_details_done(&m.execution.details);
}

static void runner(uint32_t run, WireMessage *m) {
        EngineEvent event = { .type = ENGINE_EVENT_RUNNER, .run = run, .wire = m };

        step(&event);
}

static void runner_plan(uint32_t run, const char *claim) {
        WireMessage m = { .type = WIRE_PLAN, .steps = 1, .max_seconds = 3610 };

        (void) snprintf(m.claim, sizeof m.claim, "%s", claim);
        ck_assert_int_eq(proto_details_set(&m.details, "claim", claim), 0);
        ck_assert_int_eq(proto_details_set(&m.details, "step", "1/1 op"), 0);
        runner(run, &m);
        proto_details_done(&m.details);
}

static void runner_result(uint32_t run, ProtoStatus status, const char *claim) {
        WireMessage m = { .type = WIRE_RESULT, .status = status };

        if (claim)
                ck_assert_int_eq(proto_details_set(&m.details, "claim", claim), 0);
        ck_assert_int_eq(proto_details_set(&m.details, "stdout", "out"), 0);
        runner(run, &m);
        proto_details_done(&m.details);
}

static void runner_closed(uint32_t run) {
        EngineEvent event = { .type = ENGINE_EVENT_RUNNER_CLOSED, .run = run };

        step(&event);
}

static void inventory_answer(WireRun *runs, size_t n) {
        WireMessage m = { .type = WIRE_RUNS, .runs = runs, .n_runs = n };

        runner(0, &m);
}

static void start_with(EngineConfig config) {
        now = (uint64_t) 1000 * SEC;
        publications = 0;
        ck_assert_int_eq(engine_new(&config, "p", &engine), 0);
        simple(ENGINE_EVENT_START);
        ck_assert_uint_eq(told(WIRE_INVENTORY)->run, 0);
}

static void go_online(WireRun *runs, size_t n_runs, ProtoExecution *x, size_t n) {
        inventory_answer(runs, n_runs);
        simple(ENGINE_EVENT_ONLINE);
        (void) published(TOPIC_GET_PENDING);
        list(TOPIC_GET_PENDING, x, n);
}

static void start(void) {
        start_with(default_config());
        go_online(NULL, 0, NULL, 0);
        publications = 0;
}

/* Behind each case, whatever came of it. */
static void stop(void) {
        engine_actions_done(&actions);
        engine = engine_free(engine);
}

/* A job that was announced, prepared and planned: its claim is in flight. Returns its run. */
static uint32_t up_to_claim(const char *id, const char *claim) {
        ProtoExecution x = execution(id, PROTO_STATUS_QUEUED, 1);
        uint32_t run;

        list(TOPIC_NOTIFY, &x, 1);
        quiet();
        notify_next(&x, "{\"operation\":\"op\"}");
        run = told(WIRE_PREPARE)->run;
        runner_plan(run, claim);
        (void) published(TOPIC_UPDATE);
        return run;
}

static uint32_t up_to_running(const char *id, const char *claim) {
        uint32_t run = up_to_claim(id, claim);

        accept_update(id);
        (void) told(WIRE_GO);
        return run;
}

/* ---- cases ---- */

START_TEST(plain_job_takes_two_publications) {
        const ProtoRequest *r;
        uint32_t run;

        start();
        run = up_to_claim("J", "abcd1234");
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(r->expected_version, 1);
        ck_assert_int_eq(r->execution_number, 1);
        ck_assert_str_eq(proto_details_get(&r->details, "claim"), "abcd1234");
        ck_assert_int_eq(r->step_timeout, (3610 + 86400 + 59) / 60);
        accept_update("J");
        ck_assert_uint_eq(told(WIRE_GO)->run, run);
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(r->expected_version, 2);
        accept_update("J");
        ck_assert_uint_eq(told(WIRE_ACK)->run, run);
        list(TOPIC_NOTIFY, NULL, 0);
        notify_next(NULL, NULL);
        runner_closed(run);
        quiet();
        ck_assert_uint_eq(publications, 2);
}
END_TEST

START_TEST(backlog_takes_two_publications_each) {
        ProtoExecution two[2] = { execution("A", PROTO_STATUS_QUEUED, 1), execution("B", PROTO_STATUS_QUEUED, 1) };
        uint32_t run;

        start();
        list(TOPIC_NOTIFY, two, 2);
        notify_next(&two[0], "{}");
        run = told(WIRE_PREPARE)->run;
        runner_plan(run, "aaaaaaaa");
        accept_update("A");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "aaaaaaaa");
        accept_update("A");
        (void) told(WIRE_ACK);
        list(TOPIC_NOTIFY, &two[1], 1);
        quiet(); /* B's document comes with notify-next */
        notify_next(&two[1], "{}");
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "B");
        ck_assert_uint_eq(publications, 2);
}
END_TEST

START_TEST(document_is_asked_for_when_it_does_not_come) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start();
        list(TOPIC_NOTIFY, &x, 1);
        quiet();
        ck_assert(engine_deadline(engine) < now + SEC);
        pass(SEC / 2);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&x, "{}", NULL);
        (void) told(WIRE_PREPARE);
}
END_TEST

START_TEST(lost_claim_reply_is_reconciled) {
        uint32_t run;

        start();
        run = up_to_claim("J", "abcd1234");
        pass(11 * (uint64_t) SEC);
        (void) published(TOPIC_UPDATE); /* again, with a new token */
        reject_with_state("J", PROTO_CODE_VERSION_MISMATCH, PROTO_STATUS_IN_PROGRESS, "abcd1234", 2);
        ck_assert_uint_eq(told(WIRE_GO)->run, run);
        runner_result(run, PROTO_STATUS_FAILED, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
}
END_TEST

START_TEST(claim_of_another_device_means_hands_off) {
        uint32_t run;

        start();
        run = up_to_claim("J", "abcd1234");
        reject_with_state("J", PROTO_CODE_VERSION_MISMATCH, PROTO_STATUS_IN_PROGRESS, "zzzzzzzz", 2);
        ck_assert_uint_eq(told(WIRE_DROP)->run, run);
        ck_assert(logged("other device"));
        /* Looked at anew: another device's, with a running timer. */
        (void) published(TOPIC_DESCRIBE);
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        x.seconds_left = 100;
        describe_answer(&x, NULL, "zzzzzzzz");
        quiet();
        ck_assert(logged("left alone"));
}
END_TEST

START_TEST(claim_refused_because_over_never_starts) {
        static const ProtoCode codes[] = { PROTO_CODE_VERSION_MISMATCH, PROTO_CODE_INVALID_STATE_TRANSITION };

        for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
                start();
                (void) up_to_claim("J", "abcd1234");
                reject_with_state("J", codes[i], PROTO_STATUS_CANCELED, NULL, 2);
                (void) told(WIRE_DROP);
                stop();
        }
        start();
        (void) up_to_claim("J", "abcd1234");
        reject(TOPIC_UPDATE, "J", PROTO_CODE_RESOURCE_NOT_FOUND);
        (void) told(WIRE_DROP);
}
END_TEST

START_TEST(invalid_transition_without_terminal_state_is_tried_again) {
        start();
        (void) up_to_claim("J", "abcd1234");
        reject_with_state("J", PROTO_CODE_INVALID_STATE_TRANSITION, PROTO_STATUS_QUEUED, NULL, 5);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 5);
}
END_TEST

START_TEST(transient_refusals_are_retried_with_backoff) {
        static const ProtoCode codes[] = { PROTO_CODE_REQUEST_THROTTLED, PROTO_CODE_INTERNAL_ERROR, PROTO_CODE_UNKNOWN };

        for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
                uint32_t run;

                start();
                run = up_to_running("J", "abcd1234");
                runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
                for (unsigned k = 0; k < 20; k++) {
                        reject(TOPIC_UPDATE, "J", codes[i]);
                        quiet();
                        ck_assert(engine_deadline(engine) > now && engine_deadline(engine) <= now + 65 * (uint64_t) SEC);
                        now = engine_deadline(engine);
                        simple(ENGINE_EVENT_TIMER);
                        while (!only(ENGINE_ACTION_PUBLISH)) { /* other deadlines may come first */
                                now = engine_deadline(engine);
                                simple(ENGINE_EVENT_TIMER);
                        }
                        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
                }
                accept_update("J");
                (void) told(WIRE_ACK);
                stop();
        }
}
END_TEST

START_TEST(details_are_stripped_but_never_the_status) {
        const ProtoRequest *r;
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_result(run, PROTO_STATUS_FAILED, "abcd1234");
        r = published(TOPIC_UPDATE);
        ck_assert_str_eq(proto_details_get(&r->details, "stdout"), "out");
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        r = published(TOPIC_UPDATE);
        ck_assert_ptr_null(proto_details_get(&r->details, "stdout"));
        ck_assert_str_eq(proto_details_get(&r->details, "claim"), "abcd1234");
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        r = published(TOPIC_UPDATE);
        ck_assert(!r->has_details);
        ck_assert_int_eq(r->status, PROTO_STATUS_FAILED);
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        ck_assert(logged("trying again later"));
        quiet();
        /* Whatever was wrong may be put right: the verdict is kept for that, and slowly tried with all it has. */
        publications = 0;
        for (unsigned i = 0; i < 4 * 600; i++)
                if (only(ENGINE_ACTION_PUBLISH))
                        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_JSON);
                else
                        pass(SEC / 4);
        ck_assert_uint_gt(publications, 20);
        ck_assert_uint_lt(publications, 100);
        for (unsigned i = 0; i < 400 && !only(ENGINE_ACTION_PUBLISH); i++)
                pass(SEC / 4);
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_FAILED);
        accept_update("J");
        (void) told(WIRE_ACK);
}
END_TEST

START_TEST(final_status_found_in_the_cloud_counts_as_accepted) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_result(run, PROTO_STATUS_FAILED, "abcd1234");
        reject_with_state("J", PROTO_CODE_INVALID_STATE_TRANSITION, PROTO_STATUS_FAILED, "abcd1234", 3);
        (void) told(WIRE_ACK);
        ck_assert(logged("reported FAILED"));
}
END_TEST

START_TEST(final_after_terminal_state_reached_describes_once) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        reject(TOPIC_UPDATE, "J", PROTO_CODE_TERMINAL_STATE_REACHED);
        (void) published(TOPIC_DESCRIBE);
        reject(TOPIC_DESCRIBE, "J", PROTO_CODE_TERMINAL_STATE_REACHED);
        (void) told(WIRE_ACK);
}
END_TEST

START_TEST(force_cancel_stops_the_run_and_sends_nothing) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        publications = 0;
        list(TOPIC_NOTIFY, NULL, 0);
        (void) published(TOPIC_DESCRIBE);
        reject(TOPIC_DESCRIBE, "J", PROTO_CODE_TERMINAL_STATE_REACHED);
        ck_assert_uint_eq(told(WIRE_CANCEL)->run, run);
        /* The next job waits until the runner says that nothing is left. */
        ProtoExecution x = execution("K", PROTO_STATUS_QUEUED, 1);
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "{}");
        quiet();
        runner_result(run, PROTO_STATUS_CANCELED, "abcd1234");
        ck_assert_uint_eq(publications, 1);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER)
                        ck_assert(actions.item[i].wire.type == WIRE_ACK || actions.item[i].wire.type == WIRE_PREPARE);
}
END_TEST

START_TEST(service_timeout_on_progress_stops_the_run) {
        WireMessage m = { .type = WIRE_PROGRESS };
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        ck_assert_int_eq(proto_details_set(&m.details, "claim", "abcd1234"), 0);
        ck_assert_int_eq(proto_details_set(&m.details, "progress", "40"), 0);
        runner(run, &m);
        proto_details_done(&m.details);
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_IN_PROGRESS);
        reject_with_state("J", PROTO_CODE_VERSION_MISMATCH, PROTO_STATUS_TIMED_OUT, "abcd1234", 3);
        (void) told(WIRE_CANCEL);
}
END_TEST

START_TEST(deleted_and_created_again_is_another_run) {
        ProtoExecution again = execution("J", PROTO_STATUS_QUEUED, 1);
        uint32_t run;

        again.queued_at = 2000;
        start();
        run = up_to_running("J", "abcd1234");
        list(TOPIC_NOTIFY, &again, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&again, NULL, NULL);
        (void) told(WIRE_CANCEL);
        notify_next(&again, "{}");
        quiet();
        runner_result(run, PROTO_STATUS_CANCELED, "abcd1234");
        bool prepared = false;
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER && actions.item[i].wire.type == WIRE_PREPARE) {
                        ck_assert_int_eq(actions.item[i].wire.key.queued_at, 2000);
                        prepared = true;
                }
        ck_assert(prepared);
}
END_TEST

START_TEST(refused_document_is_rejected_and_blocks_nothing) {
        WireMessage m = { .type = WIRE_REJECTED, .reason = "missing", .path = "operation" };
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        const ProtoRequest *r;

        start();
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "[]");
        runner(told(WIRE_PREPARE)->run, &m);
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_REJECTED);
        ck_assert_str_eq(proto_details_get(&r->details, "reason"), "operation: missing");
        accept_update("J");
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER)); /* there is no record to ack */
        x = execution("K", PROTO_STATUS_QUEUED, 1);
        notify_next(&x, "{}");
        (void) told(WIRE_PREPARE);
}
END_TEST

START_TEST(unable_keeps_the_job_queued_and_comes_back) {
        WireMessage m = { .type = WIRE_UNABLE, .reason = "disk full" };
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start();
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "{}");
        runner(told(WIRE_PREPARE)->run, &m);
        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH));
        ck_assert(logged("disk full"));
        now = engine_deadline(engine);
        simple(ENGINE_EVENT_TIMER);
        ck_assert(published(TOPIC_DESCRIBE)->include_document); /* read afresh */
        describe_answer(&x, "{}", NULL);
        (void) told(WIRE_PREPARE);
}
END_TEST

START_TEST(lost_runner_is_attached_again) {
        WireMessage attached = { .type = WIRE_ATTACHED, .state = WIRE_RUN_STARTED, .claim = "abcd1234" };
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_closed(run);
        (void) told(WIRE_ATTACH);
        runner(run, &attached);
        quiet();
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
}
END_TEST

static WireRun recorded(const char *id, WireRunState state) {
        WireRun r = { .key = { .thing = "T", .number = 1, .queued_at = 1000 }, .state = state, .claim = "abcd1234" };

        (void) snprintf(r.key.job_id, sizeof r.key.job_id, "%s", id);
        return r;
}

START_TEST(started_run_is_attached_before_the_cloud_is_known) {
        WireRun r = recorded("J", WIRE_RUN_STARTED);

        start_with(default_config());
        inventory_answer(&r, 1);
        ck_assert_str_eq(told(WIRE_ATTACH)->wire.key.job_id, "J");
}
END_TEST

START_TEST(stored_result_is_reported_after_a_restart) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        WireRun r = recorded("J", WIRE_RUN_RESULT);
        uint32_t run;

        start_with(default_config());
        inventory_answer(&r, 1);
        run = told(WIRE_ATTACH)->run;
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        quiet();
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, NULL, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        accept_update("J");
        (void) told(WIRE_ACK);
}
END_TEST

START_TEST(prepared_record_of_a_cancelled_job_is_dropped) {
        WireRun r = recorded("J", WIRE_RUN_PREPARED);

        start_with(default_config());
        inventory_answer(&r, 1);
        quiet(); /* nothing was started: the cloud decides first */
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, NULL, 0);
        (void) published(TOPIC_DESCRIBE);
        reject(TOPIC_DESCRIBE, "J", PROTO_CODE_TERMINAL_STATE_REACHED);
        (void) told(WIRE_DROP);
}
END_TEST

START_TEST(prepared_record_with_our_claim_goes_on) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        WireRun r = recorded("J", WIRE_RUN_PREPARED);
        uint32_t run;

        start_with(default_config());
        go_online(&r, 1, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, NULL, "abcd1234");
        run = told(WIRE_ATTACH)->run;
        runner_plan(run, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
        accept_update("J");
        (void) told(WIRE_GO);
}
END_TEST

START_TEST(vanished_record_falls_back_to_the_cloud) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        WireMessage m = { .type = WIRE_NO_RECORD };
        WireRun r = recorded("J", WIRE_RUN_PREPARED);

        start_with(default_config());
        go_online(&r, 1, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, NULL, NULL);
        runner(told(WIRE_ATTACH)->run, &m);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&x, "{}", NULL);
        (void) told(WIRE_PREPARE);
}
END_TEST

static void orphan(EngineOnOrphan policy, const char *claim, int64_t seconds_left) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        EngineConfig c = default_config();

        c.on_orphan = policy;
        x.seconds_left = seconds_left;
        start_with(c);
        go_online(NULL, 0, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, "{}", claim);
}

START_TEST(orphans_follow_policy) {
        const ProtoRequest *r;

        orphan(ENGINE_ORPHAN_FAIL, NULL, -1);
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_FAILED);
        ck_assert(strncmp(proto_details_get(&r->details, "reason"), "orphaned: ", 10) == 0);
        accept_update("J");
        quiet();
        stop();

        orphan(ENGINE_ORPHAN_RUN, NULL, -1);
        runner_plan(told(WIRE_PREPARE)->run, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
        accept_update("J");
        (void) told(WIRE_GO);
        stop();

        orphan(ENGINE_ORPHAN_LEAVE, NULL, -1);
        quiet();
}
END_TEST

START_TEST(foreign_claim_with_a_timer_is_left_alone_and_later_jobs_go_on) {
        ProtoExecution both[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1) };
        EngineConfig c = default_config();

        both[0].seconds_left = 100;
        start_with(c);
        go_online(NULL, 0, both, 2);
        ck_assert_str_eq(published(TOPIC_DESCRIBE)->job_id, "J");
        describe_answer(&both[0], "{}", "zzzzzzzz");
        ck_assert(logged("left alone"));
        ck_assert_str_eq(published(TOPIC_DESCRIBE)->job_id, "K"); /* not the head: nothing announces its document */
        describe_answer(&both[1], "{}", NULL);
        (void) told(WIRE_PREPARE);
}
END_TEST

START_TEST(three_at_a_time_start_in_order) {
        ProtoExecution x[3] = { execution("A", PROTO_STATUS_QUEUED, 1), execution("B", PROTO_STATUS_QUEUED, 1),
                                execution("C", PROTO_STATUS_QUEUED, 1) };
        EngineConfig c = default_config();
        uint32_t a = 0, b;

        c.max_concurrent = 2;
        start_with(c);
        go_online(NULL, 0, x, 3);
        describe_answer(&x[0], "{}", NULL);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER)
                        a = actions.item[i].run;
        ck_assert_str_eq(published(TOPIC_DESCRIBE)->job_id, "B");
        describe_answer(&x[1], "{}", NULL);
        b = told(WIRE_PREPARE)->run;
        runner_plan(b, "bbbbbbbb");
        quiet(); /* A is first */
        runner_plan(a, "aaaaaaaa");
        ck_assert_str_eq(published(TOPIC_UPDATE)->job_id, "A");
        accept_update("A");
        ck_assert_str_eq(published(TOPIC_UPDATE)->job_id, "B");
        accept_update("B");
        ck_assert_uint_eq(told(WIRE_GO)->run, b); /* and C waits for a slot */
}
END_TEST

START_TEST(stale_and_foreign_messages_change_nothing) {
        ProtoExecution old = execution("J", PROTO_STATUS_QUEUED, 1);
        char token[sizeof last_token];
        uint32_t run;

        start();
        run = up_to_claim("J", "abcd1234");
        memcpy(token, last_token, sizeof token);
        (void) snprintf(last_token, sizeof last_token, "somebody-1");
        accept_update("J");
        quiet();
        memcpy(last_token, token, sizeof token);
        accept_update("K"); /* our token on another job's topic */
        quiet();
        accept_update("J");
        (void) told(WIRE_GO);
        accept_update("J"); /* doubled */
        quiet();
        list(TOPIC_NOTIFY, &old, 1); /* from before the claim */
        quiet();
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        accept_update("J");
        list(TOPIC_NOTIFY, &old, 1);
        notify_next(&old, "{}");
        quiet(); /* it is over: nothing starts again */
}
END_TEST

START_TEST(dropped_message_asks_the_cloud) {
        start();
        simple(ENGINE_EVENT_DROPPED);
        if (!only(ENGINE_ACTION_PUBLISH))
                pass(SEC);
        (void) published(TOPIC_GET_PENDING);
}
END_TEST

START_TEST(silence_after_a_final_status_asks_the_cloud) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        accept_update("J");
        pass(4 * (uint64_t) SEC);
        quiet();
        pass(2 * (uint64_t) SEC);
        (void) published(TOPIC_GET_PENDING);
}
END_TEST

START_TEST(progress_is_coalesced_and_the_final_does_not_wait) {
        WireMessage m = { .type = WIRE_PROGRESS };
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        ck_assert_int_eq(proto_details_set(&m.details, "claim", "abcd1234"), 0);
        for (int i = 0; i < 100; i++) {
                char v[8];

                (void) snprintf(v, sizeof v, "%d", i);
                ck_assert_int_eq(proto_details_set(&m.details, "progress", v), 0);
                runner(run, &m);
                if (i == 0) {
                        (void) published(TOPIC_UPDATE);
                        accept_update("J");
                } else
                        quiet();
        }
        proto_details_done(&m.details);
        pass(5 * (uint64_t) SEC);
        ck_assert_str_eq(proto_details_get(&published(TOPIC_UPDATE)->details, "progress"), "99");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234"); /* that update's reply is still out */
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 4);
}
END_TEST

START_TEST(offline_voids_requests_and_reconnect_reconciles) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        simple(ENGINE_EVENT_OFFLINE);
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        quiet();
        simple(ENGINE_EVENT_ONLINE);
        bool inventory = false;
        for (size_t i = 0; i < actions.n; i++) {
                inventory |= actions.item[i].type == ENGINE_ACTION_RUNNER && actions.item[i].wire.type == WIRE_INVENTORY;
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH)
                        ck_assert_int_eq(actions.item[i].request.kind, TOPIC_GET_PENDING);
        }
        ck_assert(inventory);
        list(TOPIC_GET_PENDING, &x, 1);
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
}
END_TEST

START_TEST(nothing_starts_without_the_inventory) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        WireMessage unable = { .type = WIRE_UNABLE, .reason = "state directory is read-only" };

        start_with(default_config());
        runner(0, &unable);
        ck_assert(logged("read-only"));
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, &x, 1);
        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH));
        now = engine_deadline(engine);
        simple(ENGINE_EVENT_TIMER);
        (void) told(WIRE_INVENTORY);
        inventory_answer(NULL, 0);
        (void) published(TOPIC_DESCRIBE);
}
END_TEST

START_TEST(runner_that_does_not_answer_is_spoken_of_once) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start_with(default_config());
        ck_assert(engine_deadline(engine) <= now + 60 * (uint64_t) SEC);
        pass(59 * (uint64_t) SEC);
        ck_assert(!logged("has not"));
        pass(2 * (uint64_t) SEC);
        ck_assert(logged("has not listed the runs"));
        pass(100 * (uint64_t) SEC);
        ck_assert(!logged("has not"));
        go_online(NULL, 0, NULL, 0);
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "{}");
        (void) told(WIRE_PREPARE);
        pass(61 * (uint64_t) SEC);
        ck_assert(logged("has not answered"));
        quiet(); /* no second runner */
        pass(61 * (uint64_t) SEC);
        ck_assert(!logged("has not"));
}
END_TEST

START_TEST(hint_without_queued_at_is_described_first) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1), full = x;

        x.queued_at = 0;
        start();
        list(TOPIC_NOTIFY, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&full, "{}", NULL);
        ck_assert_int_eq(told(WIRE_PREPARE)->wire.key.queued_at, 1000);
}
END_TEST

START_TEST(described_without_a_document_is_rejected_at_once) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_QUEUED, 1), execution("K", PROTO_STATUS_QUEUED, 1) };
        const ProtoRequest *r;

        two[1].queued_at++;
        start();
        list(TOPIC_NOTIFY, two, 2);
        pass(SEC / 2);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&two[0], NULL, NULL);
        for (size_t i = 0; i < actions.n; i++) /* K is asked for in the same step */
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH && actions.item[i].request.kind == TOPIC_UPDATE) {
                        r = &actions.item[i].request;
                        ck_assert_int_eq(r->status, PROTO_STATUS_REJECTED);
                        ck_assert_str_eq(proto_details_get(&r->details, "reason"), "jobDocument: missing");
                        stop();
                        return;
                }
        ck_abort_msg("not rejected");
}
END_TEST

/* The service contradicts itself: it refuses a claim for its state, and describes another. */
START_TEST(contradictions_are_asked_less_and_less_often) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start();
        (void) up_to_claim("J", "abcd1234");
        for (unsigned i = 0; i < 1000; i++) {
                const EngineAction *a = only(ENGINE_ACTION_PUBLISH);

                if (!a)
                        pass(SEC / 8);
                else if (a->request.kind == TOPIC_DESCRIBE)
                        describe_answer(&x, NULL, NULL);
                else if (i % 3 == 0)
                        reject(TOPIC_UPDATE, "J", PROTO_CODE_VERSION_MISMATCH);
                else if (i % 3 == 1)
                        reject(TOPIC_UPDATE, "J", PROTO_CODE_TERMINAL_STATE_REACHED);
                else
                        reject_with_state("J", PROTO_CODE_INVALID_STATE_TRANSITION, PROTO_STATUS_NONE, NULL, -1);
        }
        ck_assert_uint_lt(publications, 40); /* in about two minutes */
        for (unsigned i = 0; i < 1000 && !only(ENGINE_ACTION_PUBLISH); i++)
                pass(SEC / 8);
        if (only(ENGINE_ACTION_PUBLISH)->request.kind == TOPIC_DESCRIBE)
                describe_answer(&x, NULL, NULL);
        (void) published(TOPIC_UPDATE);
        accept_update("J");
        (void) told(WIRE_GO);
}
END_TEST

/* Each time it is lost to a device that nothing else shows: no runner is started over and over. */
START_TEST(a_claim_lost_again_and_again_is_tried_less_and_less_often) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        unsigned prepared = 0;

        start();
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "{}");
        for (unsigned i = 0; i < 1000; i++) {
                const EngineAction *asked = NULL, *runner_told = NULL;

                for (size_t k = 0; k < actions.n; k++)
                        if (actions.item[k].type == ENGINE_ACTION_PUBLISH)
                                asked = &actions.item[k];
                        else if (actions.item[k].type == ENGINE_ACTION_RUNNER && actions.item[k].wire.type == WIRE_PREPARE)
                                runner_told = &actions.item[k];
                if (runner_told) {
                        prepared++;
                        runner_plan(runner_told->run, "abcd1234");
                } else if (asked && asked->request.kind == TOPIC_DESCRIBE)
                        describe_answer(&x, "{}", NULL);
                else if (asked)
                        reject_with_state("J", PROTO_CODE_VERSION_MISMATCH, PROTO_STATUS_IN_PROGRESS, "zzzz9999", 2);
                else
                        pass(SEC / 8);
        }
        ck_assert_uint_gt(prepared, 3);
        ck_assert_uint_lt(prepared, 20);
}
END_TEST

START_TEST(a_result_is_reported_where_no_version_is_told) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, -1);
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        notify_next(NULL, NULL); /* doubt */
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, NULL, "abcd1234");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, -1);
}
END_TEST

/* What a description leaves out is no difference. */
START_TEST(a_description_without_number_or_time_is_of_the_same_execution) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1), without = x;

        without.number = -1;
        without.queued_at = 0;
        start();
        list(TOPIC_NOTIFY, &x, 1);
        pass(SEC / 2);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&without, "{}", NULL);
        ck_assert_int_eq(told(WIRE_PREPARE)->wire.key.queued_at, 1000);
}
END_TEST

START_TEST(a_description_of_another_job_changes_nothing) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1), other = execution("K", PROTO_STATUS_QUEUED, 1);
        ProtoMessage m;

        start();
        list(TOPIC_NOTIFY, &x, 1);
        pass(SEC / 2);
        m = reply_to(TOPIC_DESCRIBE, TOPIC_ACCEPTED, "J");
        m.has_execution = true;
        m.execution = other;
        message(&m);
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, "{}", NULL);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "J");
}
END_TEST

START_TEST(what_was_started_and_deleted_does_not_come_back) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        reject(TOPIC_UPDATE, "J", PROTO_CODE_RESOURCE_NOT_FOUND);
        (void) told(WIRE_ACK);
        pass((uint64_t) 60 * SEC);
        list(TOPIC_NOTIFY, &x, 1);
        quiet();
}
END_TEST

/* Just created, and not everywhere in the service yet. */
START_TEST(what_was_not_found_once_is_taken_when_it_is_listed_again) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start();
        list(TOPIC_NOTIFY, &x, 1);
        pass(SEC / 2);
        (void) published(TOPIC_DESCRIBE);
        reject(TOPIC_DESCRIBE, "J", PROTO_CODE_RESOURCE_NOT_FOUND);
        quiet();
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, "{}");
        quiet(); /* not again and again */
        pass((uint64_t) 29 * SEC);
        quiet();
        ck_assert_uint_le(engine_deadline(engine), now + 2 * SEC);
        pass(2 * SEC);
        (void) published(TOPIC_GET_PENDING);
        list(TOPIC_GET_PENDING, &x, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&x, "{}", NULL);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "J");
}
END_TEST

/* However many are another device's: they keep no room from what can be done. */
START_TEST(what_is_left_alone_gives_way) {
        ProtoExecution ours = execution("J", PROTO_STATUS_QUEUED, 1);

        start();
        for (unsigned i = 0; i < 2 * ENGINE_JOBS_MAX; i++) {
                char id[16];
                ProtoMessage m = { .kind = TOPIC_NOTIFY_NEXT, .has_execution = true };

                (void) snprintf(id, sizeof id, "F%u", i);
                m.execution = execution(id, PROTO_STATUS_IN_PROGRESS, 2);
                m.execution.queued_at = 100 + i;
                m.execution.seconds_left = 100000;
                ck_assert_int_eq(proto_details_set(&m.execution.details, "claim", "zzzz9999"), 0);
                message(&m);
                proto_details_done(&m.execution.details);
        }
        list(TOPIC_NOTIFY, &ours, 1);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&ours, "{}", NULL);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "J");
}
END_TEST

/* Each has a slot of its own: the claim that is refused for ever keeps only its own. */
START_TEST(what_cannot_be_claimed_keeps_only_its_own_slot) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_QUEUED, 1), execution("K", PROTO_STATUS_QUEUED, 1) };
        EngineConfig config = default_config();
        uint32_t run[2] = { 0 };
        bool claimed = false;

        two[1].queued_at++;
        config.max_concurrent = 2;
        start_with(config);
        go_online(NULL, 0, NULL, 0);
        list(TOPIC_NOTIFY, two, 2);
        notify_next(&two[0], "{}");
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER)
                        run[0] = actions.item[i].run;
        if (!only(ENGINE_ACTION_PUBLISH))
                pass(SEC);
        (void) published(TOPIC_DESCRIBE);
        describe_answer(&two[1], "{}", NULL);
        run[1] = told(WIRE_PREPARE)->run;
        runner_plan(run[1], "bbbbbbbb");
        quiet(); /* J goes first */
        runner_plan(run[0], "aaaaaaaa");
        for (unsigned i = 0; i < 400 && !claimed; i++) {
                const EngineAction *j = NULL;

                for (size_t k = 0; k < actions.n; k++)
                        if (actions.item[k].type == ENGINE_ACTION_PUBLISH) {
                                claimed = claimed || actions.item[k].request.job_id[0] == 'K';
                                if (actions.item[k].request.job_id[0] == 'J')
                                        j = &actions.item[k];
                        }
                if (claimed)
                        break;
                if (j)
                        reject(TOPIC_UPDATE, "J", PROTO_CODE_INTERNAL_ERROR);
                else
                        pass(SEC / 4);
        }
        ck_assert(claimed);
}
END_TEST

/* One is refused to be described, for ever; the other's turn comes all the same, and the first's when it is told. */
START_TEST(what_cannot_be_described_blocks_nothing) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_QUEUED, 1), execution("K", PROTO_STATUS_QUEUED, 1) };
        bool prepared = false;
        uint32_t run;

        two[1].queued_at++;
        start();
        list(TOPIC_NOTIFY, two, 2);
        for (unsigned i = 0; i < 400 && !prepared; i++) {
                const EngineAction *a = NULL;

                for (size_t k = 0; k < actions.n; k++)
                        if (actions.item[k].type == ENGINE_ACTION_PUBLISH && (!a || actions.item[k].request.job_id[0] == 'K'))
                                a = &actions.item[k];
                if (!a)
                        pass(SEC / 4);
                else if (a->request.job_id[0] == 'J')
                        reject(TOPIC_DESCRIBE, "J", i % 2 ? PROTO_CODE_INTERNAL_ERROR : PROTO_CODE_INVALID_REQUEST);
                else {
                        memcpy(last_token, a->request.token, sizeof last_token);
                        describe_answer(&two[1], "{}", NULL);
                        prepared = true;
                }
        }
        ck_assert(prepared);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "K");
        run = told(WIRE_PREPARE)->run;
        runner_plan(run, "abcd1234");
        accept_update("K");
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        accept_update("K");
        list(TOPIC_NOTIFY, two, 1);
        notify_next(&two[0], "{}");
        for (unsigned i = 0; i < 400 && !only(ENGINE_ACTION_RUNNER); i++)
                pass(SEC / 4);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "J");
}
END_TEST

/* The first action of a type, list queries apart; its token becomes the last. */
static const EngineAction *first_of(EngineActionType type) {
        for (size_t i = 0; i < actions.n; i++) {
                const EngineAction *a = &actions.item[i];

                if (a->type != type || (type == ENGINE_ACTION_PUBLISH && a->request.kind == TOPIC_GET_PENDING))
                        continue;
                if (type == ENGINE_ACTION_PUBLISH)
                        memcpy(last_token, a->request.token, sizeof last_token);
                return a;
        }
        return NULL;
}

START_TEST(documents_held_are_bounded) {
        unsigned described = 0, prepared = 0;
        uint32_t first = 0;

        /* One head announced after the other: twelve documents are held, the others are asked for at their turn. */
        start();
        for (unsigned i = 0; i < 40; i++) {
                char id[8];

                (void) snprintf(id, sizeof id, "J%u", i);
                ProtoExecution x = execution(id, PROTO_STATUS_QUEUED, 1);
                x.queued_at = 1000 + i;
                notify_next(&x, "{}");
                if (i == 0)
                        first = told(WIRE_PREPARE)->run;
        }
        for (unsigned round = 0; round < 500 && prepared < 40; round++) {
                const EngineAction *tell = round == 0 ? NULL : first_of(ENGINE_ACTION_RUNNER);
                const EngineAction *publish = first_of(ENGINE_ACTION_PUBLISH);
                WireMessage rejected = { .type = WIRE_REJECTED, .reason = "no" };
                char id[LIMIT_JOB_ID + 1];

                if (round == 0 || (tell && tell->wire.type == WIRE_PREPARE)) {
                        prepared++;
                        runner(tell ? tell->run : first, &rejected);
                } else if (publish && publish->request.kind == TOPIC_DESCRIBE) {
                        memcpy(id, publish->request.job_id, sizeof id);
                        ProtoExecution x = execution(id, PROTO_STATUS_QUEUED, 1);
                        x.queued_at = 1000 + atoi(id + 1);
                        described++;
                        describe_answer(&x, "{}", NULL);
                } else if (publish && publish->request.kind == TOPIC_UPDATE) {
                        memcpy(id, publish->request.job_id, sizeof id);
                        accept_update(id);
                } else
                        pass(SEC / 2);
        }
        ck_assert_uint_eq(prepared, 40);
        ck_assert_uint_ge(described, 40 - ENGINE_DOCUMENTS_MAX);
}
END_TEST

START_TEST(too_large_a_document_is_told_by_its_size) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        static char big[LIMIT_DOCUMENT + 2];

        memset(big, ' ', LIMIT_DOCUMENT + 1);
        start();
        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x, big);
        ck_assert_ptr_null(told(WIRE_PREPARE)->wire.document);
        ck_assert_uint_eq(told(WIRE_PREPARE)->wire.document_len, LIMIT_DOCUMENT + 1);
}
END_TEST

/* ---- retry, reboot, the service's deadline ---- */

static void runner_pause(uint32_t run, WireType type, uint64_t seconds) {
        WireMessage m = { .type = type, .seconds = seconds, .max_seconds = seconds + 600 };

        ck_assert_int_eq(proto_details_set(&m.details, "claim", "abcd1234"), 0);
        ck_assert_int_eq(proto_details_set(&m.details, "reason", "paused"), 0);
        runner(run, &m);
        proto_details_done(&m.details);
}

static void runner_plan_again(uint32_t run, WirePhase phase) {
        WireMessage m = { .type = WIRE_PLAN, .steps = 1, .max_seconds = 60, .phase = phase, .claim = "abcd1234" };

        ck_assert_int_eq(proto_details_set(&m.details, "claim", "abcd1234"), 0);
        runner(run, &m);
        proto_details_done(&m.details);
}

static void runner_attached(uint32_t run) {
        WireMessage m = { .type = WIRE_ATTACHED, .state = WIRE_RUN_STARTED, .claim = "abcd1234" };

        runner(run, &m);
}

static void runner_says(uint32_t run, WireType type, const char *reason) {
        WireMessage m = { .type = type };

        (void) snprintf(m.reason, sizeof m.reason, "%s", reason);
        runner(run, &m);
}

static WireRun deferred_for(uint64_t seconds) {
        WireRun run = recorded("J", WIRE_RUN_DEFERRED);

        run.seconds = seconds;
        return run;
}

/* What the service answers to the question how long it waits for J; -1 = without limit. */
static void look_answer(int64_t version, int64_t seconds_left) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, version);

        ck_assert(!published(TOPIC_DESCRIBE)->include_document);
        x.seconds_left = seconds_left;
        describe_answer(&x, NULL, "abcd1234");
}

/* J is deferred for a minute and the cloud knows. Returns its run. */
static uint32_t up_to_deferred(void) {
        uint32_t run = up_to_running("J", "abcd1234");

        runner_pause(run, WIRE_DEFERRED, 60);
        accept_update("J");
        look_answer(3, -1);
        return run;
}

START_TEST(a_deferral_is_told_and_the_timer_armed_anew) {
        const ProtoRequest *r;
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_DEFERRED, 60);
        ck_assert_uint_eq(only(ENGINE_ACTION_HANG_UP)->run, run);
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(r->expected_version, 2);
        ck_assert_str_eq(proto_details_get(&r->details, "claim"), "abcd1234");
        ck_assert_str_eq(proto_details_get(&r->details, "reason"), "paused");
        ck_assert_int_eq(r->step_timeout, (660 + 86400 + 59) / 60);
        accept_update("J");
        look_answer(3, 87000);
        quiet();
        pass((uint64_t) 59 * SEC);
        quiet();
}
END_TEST

/* It is weighed when the service has armed its timer anew: what it waits for then is what there is. */
START_TEST(a_deferral_that_the_service_does_not_wait_for_is_given_up) {
        static const struct {
                int64_t left;
                bool too_late;
        } cases[] = { { 91, false }, { 90, true }, { 60, true }, { 0, true }, { 1000, false } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ProtoExecution next = execution("K", PROTO_STATUS_QUEUED, 1);
                uint32_t run;

                start();
                run = up_to_running("J", "abcd1234");
                runner_pause(run, WIRE_DEFERRED, 60);
                ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
                accept_update("J");
                look_answer(3, cases[i].left);
                if (!cases[i].too_late) {
                        quiet();
                        stop();
                        continue;
                }
                ck_assert_uint_eq(told(WIRE_CANCEL)->run, run);
                ck_assert(told(WIRE_CANCEL)->wire.by_deadline && !told(WIRE_CANCEL)->wire.by_operator);
                runner_result(run, PROTO_STATUS_FAILED, "abcd1234");
                ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_FAILED);
                accept_update("J");
                (void) told(WIRE_ACK);
                notify_next(&next, "{}");
                ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "K"); /* its slot is free */
                stop();
        }
}
END_TEST

START_TEST(a_deferral_found_too_late_waits_for_its_runner) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        WireRun run = deferred_for(600);
        uint32_t n;

        start_with(default_config());
        go_online(&run, 1, &x, 1);
        look_answer(3, 100);
        n = told(WIRE_CANCEL)->run;
        runner_closed(n);
        quiet();
        pass((uint64_t) 2 * SEC);
        ck_assert(told(WIRE_CANCEL)->wire.by_deadline);
        runner_pause(n, WIRE_DEFERRED, 598); /* an old runner, which passes it over: not in a circle */
        accept_update("J");
        look_answer(4, 100000);
        quiet();
}
END_TEST

/* A timer that runs already will not stop for the retry's claim. */
START_TEST(a_near_deadline_is_asked_for_at_once) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        uint32_t run;

        start();
        run = up_to_deferred();
        pass((uint64_t) 60 * SEC);
        x.seconds_left = 50;
        describe_answer(&x, "{}", "abcd1234");
        ck_assert_uint_eq(told(WIRE_PREPARE)->run, run);
        runner_plan_again(run, WIRE_PHASE_RETRY);
        accept_update("J");
        (void) told(WIRE_GO);
        look_answer(4, 49);
        ck_assert_uint_eq(told(WIRE_DEADLINE)->wire.seconds, 49);
}
END_TEST

START_TEST(a_deferral_keeps_its_slot_and_its_document_is_read_afresh) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3), next[2];
        const EngineAction *a;
        uint32_t run;

        start();
        run = up_to_deferred();
        next[0] = x;
        next[1] = execution("K", PROTO_STATUS_QUEUED, 1);
        list(TOPIC_NOTIFY, next, 2);
        pass(SEC);
        quiet(); /* one at a time: K waits */
        ck_assert(engine_deadline(engine) <= now + (uint64_t) 59 * SEC);
        pass((uint64_t) 59 * SEC);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&x, "{\"fresh\":1}", "abcd1234");
        a = told(WIRE_PREPARE);
        ck_assert_uint_eq(a->run, run);
        ck_assert_str_eq(a->wire.document, "{\"fresh\":1}");
        runner_plan_again(run, WIRE_PHASE_RETRY);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 3);
        ck_assert_int_gt(published(TOPIC_UPDATE)->step_timeout, 0);
        accept_update("J");
        (void) told(WIRE_GO);
}
END_TEST

START_TEST(a_retry_waits_for_the_connection) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);

        start();
        (void) up_to_deferred();
        simple(ENGINE_EVENT_OFFLINE);
        pass((uint64_t) 7200 * SEC);
        quiet();
        go_online(NULL, 0, &x, 1);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
}
END_TEST

START_TEST(a_cancel_while_deferred_asks_a_runner_for_the_end) {
        ProtoExecution over = execution("J", PROTO_STATUS_CANCELED, 4);
        uint32_t run;

        start();
        run = up_to_deferred();
        list(TOPIC_NOTIFY, NULL, 0);
        ck_assert(!published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&over, NULL, "abcd1234");
        ck_assert_uint_eq(told(WIRE_CANCEL)->run, run);
        runner_result(run, PROTO_STATUS_CANCELED, "abcd1234");
        (void) told(WIRE_ACK);
}
END_TEST

START_TEST(a_runner_that_goes_on_a_cancel_with_a_deferral_is_asked_again) {
        ProtoExecution over = execution("J", PROTO_STATUS_CANCELED, 3);
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        list(TOPIC_NOTIFY, NULL, 0);
        describe_answer(&over, NULL, "abcd1234");
        (void) told(WIRE_CANCEL);
        runner_pause(run, WIRE_DEFERRED, 60); /* it was on its way */
        (void) told(WIRE_CANCEL);
        ck_assert_uint_eq(only(ENGINE_ACTION_HANG_UP)->run, run);
}
END_TEST

START_TEST(what_is_refused_at_its_retry_has_failed) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        const ProtoRequest *r;

        start();
        (void) up_to_deferred();
        pass((uint64_t) 60 * SEC);
        describe_answer(&x, NULL, "abcd1234");
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_FAILED);
        ck_assert_ptr_nonnull(strstr(proto_details_get(&r->details, "reason"), "jobDocument: missing"));
        accept_update("J");
        (void) told(WIRE_ACK); /* its record goes too */
        stop();

        start();
        (void) up_to_deferred();
        pass((uint64_t) 60 * SEC);
        describe_answer(&x, "{}", "abcd1234");
        runner_says(told(WIRE_PREPARE)->run, WIRE_REJECTED, "no");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_FAILED);
        accept_update("J");
        (void) told(WIRE_ACK);
}
END_TEST

START_TEST(a_retry_that_cannot_be_prepared_now_reads_its_document_again) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        uint32_t run;

        start();
        run = up_to_deferred();
        pass((uint64_t) 60 * SEC);
        describe_answer(&x, "{}", "abcd1234");
        (void) told(WIRE_PREPARE);
        runner_says(run, WIRE_UNABLE, "disk full");
        quiet();
        pass((uint64_t) 2 * SEC);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&x, "{}", "abcd1234");
        (void) told(WIRE_PREPARE);
        runner_closed(run);
        quiet();
        pass((uint64_t) 4 * SEC);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
}
END_TEST

START_TEST(a_deferral_found_after_a_restart_is_due_when_its_record_says) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        WireRun run = deferred_for(30);
        EngineSummary summary;

        start_with(default_config());
        go_online(&run, 1, &x, 1);
        ck_assert(!published(TOPIC_DESCRIBE)->include_document);
        describe_answer(&x, NULL, "abcd1234");
        quiet();
        engine_summarize(engine, &summary);
        ck_assert_uint_eq(summary.deferred, 1);
        ck_assert_uint_eq(summary.running + summary.queued, 0);
        pass((uint64_t) 29 * SEC);
        quiet();
        pass(SEC);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
}
END_TEST

/* Nothing new, the retry too, before the inventory of the connection: it may tell of a reboot. */
START_TEST(a_retry_waits_for_the_inventory) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);

        start();
        (void) up_to_deferred();
        simple(ENGINE_EVENT_OFFLINE);
        pass((uint64_t) 60 * SEC);
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, &x, 1);
        quiet();
        inventory_answer(NULL, 0);
        ck_assert(published(TOPIC_DESCRIBE)->include_document);
}
END_TEST

START_TEST(a_runner_lost_before_it_could_say_that_it_defers) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_closed(run);
        ck_assert_uint_eq(told(WIRE_ATTACH)->run, run);
        runner_pause(run, WIRE_DEFERRED, 55);
        ck_assert_str_eq(proto_details_get(&published(TOPIC_UPDATE)->details, "reason"), "paused");
}
END_TEST

START_TEST(news_of_a_pause_that_are_refused_or_lost) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_DEFERRED, 60);
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        ck_assert_uint_eq(published(TOPIC_UPDATE)->details.n, 1); /* the claim alone */
        ck_assert_int_gt(published(TOPIC_UPDATE)->step_timeout, 0);
        reject(TOPIC_UPDATE, "J", PROTO_CODE_INVALID_REQUEST);
        ck_assert(logged("refuses to hear that the job is deferred"));
        look_answer(2, -1);
        quiet();
        stop();

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_DEFERRED, 60);
        pass((uint64_t) 11 * SEC);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
        reject_with_state("J", PROTO_CODE_VERSION_MISMATCH, PROTO_STATUS_IN_PROGRESS, "abcd1234", 3);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 3); /* other details: it was something else */
        accept_update("J");
        look_answer(4, -1);
        quiet();
}
END_TEST

START_TEST(a_reboot_goes_on_when_the_cloud_was_told) {
        const ProtoRequest *r;
        EngineSummary summary;
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_REBOOTING, 0);
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
        r = published(TOPIC_UPDATE);
        ck_assert_int_eq(r->status, PROTO_STATUS_IN_PROGRESS);
        ck_assert_int_eq(r->step_timeout, (600 + 86400 + 59) / 60);
        engine_summarize(engine, &summary);
        ck_assert(summary.rebooting && summary.running == 1);
        accept_update("J");
        ck_assert_uint_eq(told(WIRE_TOLD)->run, run);
        pass((uint64_t) 20 * SEC - 1);
        quiet(); /* said once */
        pass(1); /* it waits for other runs, and the service for it */
        look_answer(3, 300);
        ck_assert_uint_eq(told(WIRE_DEADLINE)->wire.seconds, 300);
}
END_TEST

START_TEST(a_reboot_waits_for_the_cloud_ten_seconds_at_most) {
        EngineConfig c = default_config();
        uint32_t run;

        c.operation_timeout_usec = (uint64_t) 60 * SEC;
        start_with(c);
        go_online(NULL, 0, NULL, 0);
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_REBOOTING, 0);
        pass((uint64_t) 10 * SEC - 1);
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
        ck_assert_uint_eq(engine_deadline(engine), now + 1);
        pass(1);
        ck_assert_uint_eq(told(WIRE_TOLD)->run, run);
        stop();

        start();
        run = up_to_running("J", "abcd1234");
        simple(ENGINE_EVENT_OFFLINE);
        runner_pause(run, WIRE_REBOOTING, 0);
        ck_assert_uint_eq(told(WIRE_TOLD)->run, run);
        stop();

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_REBOOTING, 0);
        simple(ENGINE_EVENT_OFFLINE);
        ck_assert_uint_eq(told(WIRE_TOLD)->run, run);
}
END_TEST

/* Two at a time: J runs and asks for a reboot while K's claim is under way. */
START_TEST(nothing_is_let_loose_before_a_reboot) {
        ProtoExecution x[3] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1),
                                execution("L", PROTO_STATUS_QUEUED, 1) };
        EngineConfig c = default_config();
        char claim_token[sizeof last_token];
        ProtoMessage m;
        uint32_t j, k;

        c.max_concurrent = 3; /* L finds a slot free */
        start_with(c);
        go_online(NULL, 0, NULL, 0);
        j = up_to_running("J", "abcd1234");
        list(TOPIC_NOTIFY, x, 2);
        describe_answer(&x[1], "{}", NULL);
        k = told(WIRE_PREPARE)->run;
        runner_plan(k, "kkkkkkkk");
        ck_assert_str_eq(published(TOPIC_UPDATE)->job_id, "K");
        memcpy(claim_token, last_token, sizeof claim_token);
        runner_pause(j, WIRE_REBOOTING, 0);
        m = reply_to(TOPIC_UPDATE, TOPIC_ACCEPTED, "K");
        memcpy(m.token, claim_token, sizeof m.token);
        message(&m);
        quiet(); /* no go */
        list(TOPIC_NOTIFY, x, 3);
        notify_next(&x[2], "{}");
        pass(SEC);
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
        /* It does not come: then everything goes on. */
        runner_result(j, PROTO_STATUS_FAILED, "abcd1234");
        ck_assert(actions.n > 0);
        for (size_t i = 0, n = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH && strcmp(actions.item[i].request.job_id, "K") == 0)
                        ck_assert_uint_lt(n++, 2);
}
END_TEST

/* J is deferred and due, and K asks for a reboot. */
START_TEST(a_retry_waits_for_a_reboot) {
        ProtoExecution x[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 3), execution("K", PROTO_STATUS_IN_PROGRESS, 2) };
        WireRun runs[2] = { deferred_for(0), recorded("K", WIRE_RUN_REBOOTING) };
        EngineConfig c = default_config();

        c.max_concurrent = 2;
        start_with(c);
        inventory_answer(runs, 2);
        runner_pause(told(WIRE_ATTACH)->run, WIRE_REBOOTING, 0);
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, x, 2);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH)
                        ck_assert(!actions.item[i].request.include_document);
        pass((uint64_t) 11 * SEC);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH)
                        ck_assert(!actions.item[i].request.include_document);
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
}
END_TEST

/* The cancel crosses the news of the reboot: it may come all the same until the runner has answered. */
START_TEST(a_cancel_that_crosses_a_reboot) {
        ProtoExecution over = execution("J", PROTO_STATUS_CANCELED, 3), next = execution("K", PROTO_STATUS_QUEUED, 1);
        EngineConfig c = default_config();
        uint32_t run;

        c.max_concurrent = 2;
        start_with(c);
        go_online(NULL, 0, NULL, 0);
        run = up_to_running("J", "abcd1234");
        list(TOPIC_NOTIFY, NULL, 0);
        describe_answer(&over, NULL, "abcd1234");
        (void) told(WIRE_CANCEL);
        runner_pause(run, WIRE_REBOOTING, 0);
        quiet();
        list(TOPIC_NOTIFY, &next, 1);
        notify_next(&next, "{}");
        quiet();
        runner_result(run, PROTO_STATUS_CANCELED, "abcd1234");
        ck_assert(actions.n > 0);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER)
                        ck_assert(actions.item[i].wire.type == WIRE_ACK || actions.item[i].wire.type == WIRE_PREPARE);
}
END_TEST

START_TEST(a_cancel_while_rebooting) {
        ProtoExecution over = execution("J", PROTO_STATUS_CANCELED, 4);
        ProtoExecution next = execution("K", PROTO_STATUS_QUEUED, 1);
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        runner_pause(run, WIRE_REBOOTING, 0);
        accept_update("J");
        list(TOPIC_NOTIFY, &next, 1);
        describe_answer(&over, NULL, "abcd1234");
        ck_assert_uint_eq(told(WIRE_CANCEL)->run, run);
        notify_next(&next, "{}");
        quiet(); /* it may reboot yet */
        runner_result(run, PROTO_STATUS_CANCELED, "abcd1234");
        ck_assert(actions.n > 0);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_RUNNER)
                        ck_assert(actions.item[i].wire.type == WIRE_ACK || actions.item[i].wire.type == WIRE_PREPARE);
}
END_TEST

START_TEST(what_rebooted_goes_on_before_the_cloud_is_known) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 3);
        WireRun run = recorded("J", WIRE_RUN_REBOOTED);
        EngineSummary summary;
        uint32_t n;

        start_with(default_config());
        inventory_answer(&run, 1);
        n = told(WIRE_ATTACH)->run;
        runner_attached(n);
        quiet();
        engine_summarize(engine, &summary);
        ck_assert(summary.running == 1 && !summary.rebooting);
        pass((uint64_t) 3600 * SEC);
        quiet();
        runner_result(n, PROTO_STATUS_SUCCEEDED, "abcd1234");
        quiet();
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, &x, 1);
        describe_answer(&x, NULL, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
}
END_TEST

START_TEST(a_reboot_still_to_come_is_found_after_a_restart) {
        ProtoExecution x[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 3), execution("K", PROTO_STATUS_QUEUED, 1) };
        WireRun run = recorded("J", WIRE_RUN_REBOOTING);
        uint32_t n;

        start_with(default_config());
        inventory_answer(&run, 1);
        n = told(WIRE_ATTACH)->run;
        runner_pause(n, WIRE_REBOOTING, 0);
        (void) told(WIRE_TOLD); /* offline */
        simple(ENGINE_EVENT_ONLINE);
        list(TOPIC_GET_PENDING, x, 2);
        describe_answer(&x[0], NULL, "abcd1234");
        ck_assert_str_eq(published(TOPIC_UPDATE)->job_id, "J"); /* now it can be told */
        accept_update("J");
        quiet();
        /* Its runner goes, as at every shutdown; should the device stay up it is asked again. */
        runner_closed(n);
        quiet();
        pass((uint64_t) 2 * SEC);
        (void) told(WIRE_ATTACH);
}
END_TEST

/* J still waits for this boot to end, K came back from the last one: it need not begin what is cut off at once. */
START_TEST(what_rebooted_does_not_go_on_before_another_reboot) {
        WireRun runs[2] = { recorded("J", WIRE_RUN_REBOOTING), recorded("K", WIRE_RUN_REBOOTED) };
        uint32_t j;

        start_with(default_config());
        inventory_answer(runs, 2);
        ck_assert_str_eq(told(WIRE_ATTACH)->wire.key.job_id, "J");
        j = told(WIRE_ATTACH)->run;
        runner_pause(j, WIRE_REBOOTING, 0);
        (void) told(WIRE_TOLD);
        pass((uint64_t) 900 * SEC);
        quiet();
        runner_result(j, PROTO_STATUS_FAILED, "abcd1234");
        ck_assert_str_eq(told(WIRE_ATTACH)->wire.key.job_id, "K");
}
END_TEST

START_TEST(the_services_deadline_is_asked_for_once_the_job_lasts) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);
        const EngineAction *a;
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        ck_assert_uint_eq(engine_deadline(engine), now + (uint64_t) 20 * SEC);
        pass((uint64_t) 20 * SEC - 1);
        quiet();
        pass(1);
        ck_assert(!published(TOPIC_DESCRIBE)->include_document);
        x.seconds_left = 300;
        describe_answer(&x, NULL, "abcd1234");
        a = told(WIRE_DEADLINE);
        ck_assert_uint_eq(a->run, run);
        ck_assert_uint_eq(a->wire.seconds, 300);
        pass((uint64_t) 600 * SEC);
        quiet(); /* once */
        x.seconds_left = 200;
        notify_next(&x, NULL);
        ck_assert_uint_eq(told(WIRE_DEADLINE)->wire.seconds, 200);
        x.version = 1;
        notify_next(&x, NULL); /* an old one */
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
        stop();

        start();
        run = up_to_running("J", "abcd1234");
        x.version = 2;
        x.seconds_left = -1;
        pass((uint64_t) 20 * SEC);
        describe_answer(&x, NULL, "abcd1234");
        quiet(); /* no timer */
}
END_TEST

START_TEST(a_look_that_brings_no_answer_is_repeated) {
        start();
        (void) up_to_running("J", "abcd1234");
        pass((uint64_t) 20 * SEC);
        (void) published(TOPIC_DESCRIBE);
        pass((uint64_t) 10 * SEC);
        (void) published(TOPIC_DESCRIBE);
}
END_TEST

/* By a new configuration here; also after a verdict that could not be written: what waits for its claim goes on when there is room. */
START_TEST(more_under_way_than_may_be_goes_on_one_by_one) {
        ProtoExecution x[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1) };
        EngineConfig two = default_config(), one = default_config();
        EngineEvent reload = { .type = ENGINE_EVENT_RELOAD, .config = &one };
        uint32_t j, k;

        two.max_concurrent = 2;
        start_with(two);
        go_online(NULL, 0, NULL, 0);
        j = up_to_running("J", "abcd1234");
        list(TOPIC_NOTIFY, x, 2);
        describe_answer(&x[1], "{}", NULL);
        k = told(WIRE_PREPARE)->run;
        step(&reload);
        runner_plan(k, "kkkkkkkk");
        quiet();
        runner_result(j, PROTO_STATUS_SUCCEEDED, "abcd1234"); /* the slot is free, its report under way */
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH && strcmp(actions.item[i].request.job_id, "K") == 0)
                        j = 0;
        ck_assert_uint_eq(j, 0);
}
END_TEST

/* The service's answer does not matter to a verdict. */
START_TEST(a_look_does_not_keep_the_final_status_waiting) {
        uint32_t run;

        start();
        run = up_to_running("J", "abcd1234");
        pass((uint64_t) 20 * SEC);
        (void) published(TOPIC_DESCRIBE);
        runner_result(run, PROTO_STATUS_SUCCEEDED, "abcd1234");
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
}
END_TEST

static TCase *cases(void) {
        TCase *t = tcase_create("engine");

        tcase_add_checked_fixture(t, NULL, stop);
        tcase_add_test(t, more_under_way_than_may_be_goes_on_one_by_one);
        tcase_add_test(t, a_look_does_not_keep_the_final_status_waiting);

        tcase_add_test(t, plain_job_takes_two_publications);
        tcase_add_test(t, backlog_takes_two_publications_each);
        tcase_add_test(t, document_is_asked_for_when_it_does_not_come);
        tcase_add_test(t, lost_claim_reply_is_reconciled);
        tcase_add_test(t, claim_of_another_device_means_hands_off);
        tcase_add_test(t, claim_refused_because_over_never_starts);
        tcase_add_test(t, invalid_transition_without_terminal_state_is_tried_again);
        tcase_add_test(t, transient_refusals_are_retried_with_backoff);
        tcase_add_test(t, details_are_stripped_but_never_the_status);
        tcase_add_test(t, final_status_found_in_the_cloud_counts_as_accepted);
        tcase_add_test(t, final_after_terminal_state_reached_describes_once);
        tcase_add_test(t, force_cancel_stops_the_run_and_sends_nothing);
        tcase_add_test(t, service_timeout_on_progress_stops_the_run);
        tcase_add_test(t, deleted_and_created_again_is_another_run);
        tcase_add_test(t, refused_document_is_rejected_and_blocks_nothing);
        tcase_add_test(t, unable_keeps_the_job_queued_and_comes_back);
        tcase_add_test(t, lost_runner_is_attached_again);
        tcase_add_test(t, started_run_is_attached_before_the_cloud_is_known);
        tcase_add_test(t, stored_result_is_reported_after_a_restart);
        tcase_add_test(t, prepared_record_of_a_cancelled_job_is_dropped);
        tcase_add_test(t, prepared_record_with_our_claim_goes_on);
        tcase_add_test(t, vanished_record_falls_back_to_the_cloud);
        tcase_add_test(t, orphans_follow_policy);
        tcase_add_test(t, foreign_claim_with_a_timer_is_left_alone_and_later_jobs_go_on);
        tcase_add_test(t, three_at_a_time_start_in_order);
        tcase_add_test(t, stale_and_foreign_messages_change_nothing);
        tcase_add_test(t, dropped_message_asks_the_cloud);
        tcase_add_test(t, silence_after_a_final_status_asks_the_cloud);
        tcase_add_test(t, progress_is_coalesced_and_the_final_does_not_wait);
        tcase_add_test(t, offline_voids_requests_and_reconnect_reconciles);
        tcase_add_test(t, nothing_starts_without_the_inventory);
        tcase_add_test(t, runner_that_does_not_answer_is_spoken_of_once);
        tcase_add_test(t, hint_without_queued_at_is_described_first);
        tcase_add_test(t, documents_held_are_bounded);
        tcase_add_test(t, too_large_a_document_is_told_by_its_size);
        tcase_add_test(t, what_cannot_be_described_blocks_nothing);
        tcase_add_test(t, what_is_left_alone_gives_way);
        tcase_add_test(t, what_cannot_be_claimed_keeps_only_its_own_slot);
        tcase_add_test(t, described_without_a_document_is_rejected_at_once);
        tcase_add_test(t, contradictions_are_asked_less_and_less_often);
        tcase_add_test(t, a_claim_lost_again_and_again_is_tried_less_and_less_often);
        tcase_add_test(t, a_result_is_reported_where_no_version_is_told);
        tcase_add_test(t, a_description_without_number_or_time_is_of_the_same_execution);
        tcase_add_test(t, a_description_of_another_job_changes_nothing);
        tcase_add_test(t, what_was_started_and_deleted_does_not_come_back);
        tcase_add_test(t, what_was_not_found_once_is_taken_when_it_is_listed_again);
        tcase_add_test(t, a_deferral_is_told_and_the_timer_armed_anew);
        tcase_add_test(t, a_deferral_that_the_service_does_not_wait_for_is_given_up);
        tcase_add_test(t, a_deferral_found_too_late_waits_for_its_runner);
        tcase_add_test(t, a_near_deadline_is_asked_for_at_once);
        tcase_add_test(t, a_deferral_keeps_its_slot_and_its_document_is_read_afresh);
        tcase_add_test(t, a_retry_waits_for_the_connection);
        tcase_add_test(t, a_cancel_while_deferred_asks_a_runner_for_the_end);
        tcase_add_test(t, a_runner_that_goes_on_a_cancel_with_a_deferral_is_asked_again);
        tcase_add_test(t, what_is_refused_at_its_retry_has_failed);
        tcase_add_test(t, a_retry_that_cannot_be_prepared_now_reads_its_document_again);
        tcase_add_test(t, a_deferral_found_after_a_restart_is_due_when_its_record_says);
        tcase_add_test(t, a_retry_waits_for_the_inventory);
        tcase_add_test(t, a_runner_lost_before_it_could_say_that_it_defers);
        tcase_add_test(t, news_of_a_pause_that_are_refused_or_lost);
        tcase_add_test(t, a_reboot_goes_on_when_the_cloud_was_told);
        tcase_add_test(t, a_reboot_waits_for_the_cloud_ten_seconds_at_most);
        tcase_add_test(t, nothing_is_let_loose_before_a_reboot);
        tcase_add_test(t, a_retry_waits_for_a_reboot);
        tcase_add_test(t, a_cancel_that_crosses_a_reboot);
        tcase_add_test(t, a_cancel_while_rebooting);
        tcase_add_test(t, what_rebooted_goes_on_before_the_cloud_is_known);
        tcase_add_test(t, a_reboot_still_to_come_is_found_after_a_restart);
        tcase_add_test(t, what_rebooted_does_not_go_on_before_another_reboot);
        tcase_add_test(t, the_services_deadline_is_asked_for_once_the_job_lasts);
        tcase_add_test(t, a_look_that_brings_no_answer_is_repeated);
        return t;
}

UNIT_MAIN("engine", cases())
