/* SPDX-License-Identifier: Apache-2.0 */
/* The engine and the operator of the device: pause, resume, cancel, and what is shown. */
#include "engine-rig.h"

#define CLAIM "abcd1234"

/* ---- a small world around one engine ---- */

static void feed(EngineEvent event) {
        step(&event);
}

static size_t logged(const char *part) {
        size_t n = 0;

        for (size_t i = 0; i < actions.n; i++)
                n += actions.item[i].type == ENGINE_ACTION_LOG && actions.item[i].level <= 6 && strstr(actions.item[i].text, part);
        return n;
}

static void pass(uint64_t seconds) {
        now += seconds * SEC;
        feed((EngineEvent) { .type = ENGINE_EVENT_TIMER });
}

static JobKey key_of(const char *id) {
        JobKey k = { .thing = "T", .number = 1, .queued_at = 1000 };

        (void) snprintf(k.job_id, sizeof k.job_id, "%s", id);
        return k;
}

static void hear(ProtoMessage m) {
        feed((EngineEvent) { .type = ENGINE_EVENT_MESSAGE, .message = &m });
}

static void answer(TopicKind kind, TopicReply reply, const char *id, ProtoMessage m) {
        m.kind = kind;
        m.reply = reply;
        m.has_token = true;
        memcpy(m.token, last_token, sizeof m.token);
        (void) snprintf(m.job_id, sizeof m.job_id, "%s", id);
        hear(m);
}

static void accept_update(const char *id) {
        answer(TOPIC_UPDATE, TOPIC_ACCEPTED, id, (ProtoMessage) {});
}

static void list(TopicKind kind, ProtoExecution *x, size_t n) {
        if (kind == TOPIC_GET_PENDING)
                answer(kind, TOPIC_ACCEPTED, "", (ProtoMessage) { .list = x, .n_list = n });
        else
                hear((ProtoMessage) { .kind = kind, .list = x, .n_list = n });
}

static void notify_next(ProtoExecution *x) {
        ProtoMessage m = { .kind = TOPIC_NOTIFY_NEXT, .has_execution = true, .execution = *x };

        m.execution.document = "{\"operation\":\"op\"}";
        m.execution.document_len = strlen(m.execution.document);
        hear(m);
}

static void describe_answer(ProtoExecution x, bool document, const char *claim) {
        ProtoMessage m = { .has_execution = true, .execution = x };

        if (document) {
                m.execution.document = "{\"operation\":\"op\"}";
                m.execution.document_len = strlen(m.execution.document);
        }
        if (claim)
                ck_assert_int_eq(proto_details_set(&m.execution.details, "claim", claim), 0);
        answer(TOPIC_DESCRIBE, TOPIC_ACCEPTED, x.job_id, m);
        proto_details_done(&m.execution.details);
}

static void runner_says(uint32_t run, WireMessage m) {
        feed((EngineEvent) { .type = ENGINE_EVENT_RUNNER, .run = run, .wire = &m });
        proto_details_done(&m.details);
}

static WireMessage with_claim(WireMessage m) {
        ck_assert_int_eq(proto_details_set(&m.details, "claim", CLAIM), 0);
        (void) strcpy(m.claim, CLAIM);
        return m;
}

static void runner_plan(uint32_t run) {
        runner_says(run, with_claim((WireMessage) { .type = WIRE_PLAN, .steps = 1, .max_seconds = 10 }));
}

static void runner_result(uint32_t run, ProtoStatus status) {
        runner_says(run, with_claim((WireMessage) { .type = WIRE_RESULT, .status = status }));
}

static void inventory(WireRun *runs, size_t n, int64_t paused_since) {
        runner_says(0, (WireMessage) { .type = WIRE_RUNS, .runs = runs, .n_runs = n, .paused_since = paused_since });
}

static void pause_now(int64_t since) {
        feed((EngineEvent) { .type = ENGINE_EVENT_PAUSED, .paused_since = since });
}

static void cancel(const char *id) {
        JobKey k = key_of(id);

        feed((EngineEvent) { .type = ENGINE_EVENT_CANCEL, .key = &k });
}

static void begin(void) {
        EngineConfig config = { .thing = "T", .max_concurrent = 1, .progress_interval_usec = 5 * SEC, .operation_timeout_usec = 10 * SEC };

        now = (uint64_t) 1000 * SEC;
        ck_assert_int_eq(engine_new(&config, "p", &engine), 0);
        feed((EngineEvent) { .type = ENGINE_EVENT_START });
        (void) told(WIRE_INVENTORY);
}

static void start_with(WireRun *runs, size_t n_runs, ProtoExecution *x, size_t n, int64_t paused_since) {
        begin();
        inventory(runs, n_runs, paused_since);
        feed((EngineEvent) { .type = ENGINE_EVENT_ONLINE });
        (void) published(TOPIC_GET_PENDING);
        list(TOPIC_GET_PENDING, x, n);
}

static void start(void) {
        start_with(NULL, 0, NULL, 0, 0);
}

static void stop(void) {
        engine_actions_done(&actions);
        engine = engine_free(engine);
}

static uint32_t up_to_prepare(const char *id) {
        ProtoExecution x = execution(id, PROTO_STATUS_QUEUED, 1);

        list(TOPIC_NOTIFY, &x, 1);
        notify_next(&x);
        return told(WIRE_PREPARE)->run;
}

static uint32_t up_to_claim(const char *id) {
        uint32_t run = up_to_prepare(id);

        runner_plan(run);
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_IN_PROGRESS);
        return run;
}

static uint32_t up_to_running(const char *id) {
        uint32_t run = up_to_claim(id);

        accept_update(id);
        (void) told(WIRE_GO);
        return run;
}

static void expect_rejected(const char *id) {
        const ProtoRequest *r = published(TOPIC_UPDATE);

        ck_assert_str_eq(r->job_id, id);
        ck_assert_int_eq(r->status, PROTO_STATUS_REJECTED);
}

/* ---- pause ---- */

START_TEST(a_pause_lets_what_runs_end_and_starts_nothing_else) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1) };
        uint32_t run;

        start();
        run = up_to_running("J");
        pause_now(1700000000);
        ck_assert_uint_eq(logged("paused"), 1);
        quiet();
        ck_assert_int_eq(engine_paused_since(engine), 1700000000);
        list(TOPIC_NOTIFY, two, 2);
        runner_result(run, PROTO_STATUS_SUCCEEDED);
        ck_assert_int_eq(published(TOPIC_UPDATE)->status, PROTO_STATUS_SUCCEEDED);
        accept_update("J");
        (void) told(WIRE_ACK);
        list(TOPIC_NOTIFY, &two[1], 1);
        notify_next(&two[1]);
        quiet();
        for (int i = 0; i < 10; i++) { /* and it does not go on about it */
                pass(60);
                quiet();
                ck_assert_uint_eq(logged(""), 0);
        }
        pause_now(0);
        ck_assert_uint_eq(logged("resumed"), 1);
        ck_assert_str_eq(told(WIRE_PREPARE)->wire.key.job_id, "K");
        stop();
}
END_TEST

START_TEST(a_pause_is_found_again_after_a_restart) {
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);

        start_with(NULL, 0, &x, 1, 1700000000);
        quiet();
        notify_next(&x);
        quiet();
        pause_now(0);
        (void) told(WIRE_PREPARE);
        stop();
}
END_TEST

START_TEST(what_is_being_planned_is_let_go) {
        uint32_t run, again;

        start();
        run = up_to_prepare("J");
        pause_now(1);
        quiet(); /* its answer comes first */
        runner_plan(run);
        ck_assert_uint_eq(told(WIRE_DROP)->run, run);
        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH));
        feed((EngineEvent) { .type = ENGINE_EVENT_RUNNER_CLOSED, .run = run });
        pass(100);
        quiet();
        pause_now(0);
        ck_assert(published(TOPIC_DESCRIBE)->include_document); /* read afresh: its addresses may have run out */
        describe_answer(execution("J", PROTO_STATUS_QUEUED, 1), true, NULL);
        again = told(WIRE_PREPARE)->run;
        ck_assert_uint_ne(again, run);
        stop();
}
END_TEST

START_TEST(what_was_claimed_goes_on) {
        uint32_t run;

        start();
        run = up_to_claim("J");
        pause_now(1);
        quiet();
        accept_update("J");
        ck_assert_uint_eq(told(WIRE_GO)->run, run);
        stop();
}
END_TEST

/* Did a claim arrive whose answer was lost? Then it goes on, else it is let go: the cloud says which. */
START_TEST(a_claim_without_an_answer) {
        for (int arrived = 0; arrived < 2; arrived++) {
                uint32_t run;

                start();
                run = up_to_claim("J");
                pause_now(1);
                pass(11);
                ck_assert(!published(TOPIC_DESCRIBE)->include_document);
                if (arrived) {
                        describe_answer(execution("J", PROTO_STATUS_IN_PROGRESS, 2), false, CLAIM);
                        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
                        accept_update("J");
                        ck_assert_uint_eq(told(WIRE_GO)->run, run);
                } else {
                        describe_answer(execution("J", PROTO_STATUS_QUEUED, 1), false, NULL);
                        ck_assert_uint_eq(told(WIRE_DROP)->run, run);
                        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH));
                }
                stop();
        }
}
END_TEST

START_TEST(what_was_prepared_before_a_restart) {
        for (int claimed = 0; claimed < 2; claimed++) {
                ProtoExecution x = execution("J", claimed ? PROTO_STATUS_IN_PROGRESS : PROTO_STATUS_QUEUED, claimed ? 2 : 1);
                WireRun r = { .key = key_of("J"), .state = WIRE_RUN_PREPARED, .claim = CLAIM };

                start_with(&r, 1, &x, 1, 1);
                (void) published(TOPIC_DESCRIBE);
                describe_answer(x, false, claimed ? CLAIM : NULL);
                (void) told(claimed ? WIRE_ATTACH : WIRE_DROP);
                stop();
        }
}
END_TEST

START_TEST(a_runner_that_knows_of_a_pause_says_so) {
        for (int waits = 0; waits < 10; waits += 9) {
                uint32_t run;

                start();
                run = up_to_prepare("J");
                runner_says(run, (WireMessage) { .type = WIRE_UNABLE, .reason = "paused", .paused_since = 5 });
                ck_assert_int_eq(engine_paused_since(engine), 5);
                ck_assert_uint_eq(logged("trying again"), 0);
                for (int i = 0; i < waits; i++) {
                        pass(100);
                        quiet();
                }
                pause_now(0);
                (void) published(TOPIC_DESCRIBE); /* at once: no runner is to be spared */
                stop();
        }
}
END_TEST

/* What it said before the operator said otherwise. */
START_TEST(an_older_no_of_a_runner_pauses_nothing) {
        uint32_t run;

        start();
        run = up_to_prepare("J");
        now += SEC;
        pause_now(5);
        now += SEC;
        pause_now(0);
        runner_says(run, (WireMessage) { .type = WIRE_UNABLE, .reason = "paused", .paused_since = 5 });
        ck_assert_int_eq(engine_paused_since(engine), 0);
        pass(2);
        (void) published(TOPIC_DESCRIBE);
        stop();
}
END_TEST

/* Its retries belong to it, and so does a reboot. */
START_TEST(what_is_deferred_goes_on) {
        uint32_t run;

        start();
        run = up_to_running("J");
        runner_says(run, with_claim((WireMessage) { .type = WIRE_DEFERRED, .seconds = 60, .max_seconds = 10 }));
        accept_update("J");
        pause_now(1);
        pass(61);
        for (int i = 0; i < 3 && !only(ENGINE_ACTION_RUNNER); i++) /* however often it is looked at first */
                describe_answer(execution("J", PROTO_STATUS_IN_PROGRESS, 3), published(TOPIC_DESCRIBE)->include_document, CLAIM);
        run = told(WIRE_PREPARE)->run;
        runner_says(run, with_claim((WireMessage) { .type = WIRE_PLAN, .phase = WIRE_PHASE_RETRY, .steps = 1 }));
        (void) published(TOPIC_UPDATE);
        accept_update("J");
        (void) told(WIRE_GO);
        stop();
}
END_TEST

/* An inventory that was under way when the pause came was answered before it, perhaps. */
START_TEST(an_older_inventory_resumes_nothing) {
        begin();
        now += SEC;
        pause_now(7);
        inventory(NULL, 0, 0);
        ck_assert_int_eq(engine_paused_since(engine), 7);
        now += SEC;
        feed((EngineEvent) { .type = ENGINE_EVENT_OFFLINE });
        feed((EngineEvent) { .type = ENGINE_EVENT_ONLINE });
        inventory(NULL, 0, 0); /* but a newer one counts */
        ck_assert_int_eq(engine_paused_since(engine), 0);
        stop();
}
END_TEST

/* ---- cancel ---- */

START_TEST(what_runs_is_stopped_and_rejected) {
        uint32_t run;

        start();
        run = up_to_running("J");
        cancel("J");
        ck_assert(told(WIRE_CANCEL)->wire.by_operator);
        ck_assert_uint_eq(told(WIRE_CANCEL)->run, run);
        cancel("J"); /* twice is once */
        quiet();
        runner_result(run, PROTO_STATUS_REJECTED);
        expect_rejected("J");
        accept_update("J");
        ck_assert_uint_eq(told(WIRE_ACK)->run, run);
        stop();
}
END_TEST

START_TEST(what_waits_is_refused_in_the_cloud) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1) };

        start();
        (void) up_to_running("J");
        list(TOPIC_NOTIFY, two, 2);
        cancel("K");
        expect_rejected("K");
        ck_assert_str_eq(proto_details_get(&published(TOPIC_UPDATE)->details, "reason"), "cancelled on the device");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 1);
        accept_update("K");
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER)); /* J is none of its business */
        stop();
}
END_TEST

START_TEST(what_waits_is_refused_when_the_cloud_can_be_asked) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_QUEUED, 1) };

        start();
        (void) up_to_running("J");
        list(TOPIC_NOTIFY, two, 2);
        feed((EngineEvent) { .type = ENGINE_EVENT_OFFLINE });
        cancel("K");
        quiet();
        feed((EngineEvent) { .type = ENGINE_EVENT_ONLINE });
        for (size_t i = 0; i < actions.n; i++) /* the inventory is asked for, too */
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH)
                        ck_assert_int_eq(actions.item[i].request.kind, TOPIC_GET_PENDING);
        list(TOPIC_GET_PENDING, two, 2);
        expect_rejected("K");
        stop();
}
END_TEST

START_TEST(what_is_being_planned_is_cancelled_when_it_is) {
        uint32_t run;

        start();
        run = up_to_prepare("J");
        cancel("J");
        quiet();
        runner_plan(run);
        ck_assert(told(WIRE_CANCEL)->wire.by_operator);
        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH)); /* never claimed */
        runner_result(run, PROTO_STATUS_REJECTED);
        expect_rejected("J");
        stop();
}
END_TEST

START_TEST(a_runner_that_goes_away_is_asked_again) {
        uint32_t run;

        start();
        run = up_to_running("J");
        cancel("J");
        feed((EngineEvent) { .type = ENGINE_EVENT_RUNNER_CLOSED, .run = run });
        pass(2);
        ck_assert(told(WIRE_CANCEL)->wire.by_operator);
        runner_says(run, (WireMessage) { .type = WIRE_NO_RECORD }); /* the disk has lost it */
        (void) published(TOPIC_DESCRIBE);
        describe_answer(execution("J", PROTO_STATUS_IN_PROGRESS, 2), false, CLAIM);
        expect_rejected("J");
        stop();
}
END_TEST

START_TEST(what_is_deferred_is_cancelled) {
        uint32_t run;

        start();
        run = up_to_running("J");
        runner_says(run, with_claim((WireMessage) { .type = WIRE_DEFERRED, .seconds = 3600, .max_seconds = 10 }));
        accept_update("J");
        cancel("J");
        ck_assert(told(WIRE_CANCEL)->wire.by_operator);
        runner_result(told(WIRE_CANCEL)->run, PROTO_STATUS_REJECTED);
        for (int i = 0; i < 2 && published(TOPIC_UPDATE)->status == PROTO_STATUS_IN_PROGRESS; i++)
                accept_update("J");
        expect_rejected("J");
        stop();
}
END_TEST

/* IN_PROGRESS in the cloud, and nobody here knows why. */
START_TEST(an_orphan_is_looked_at_first) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_IN_PROGRESS, 5) };

        start();
        (void) up_to_running("J");
        list(TOPIC_NOTIFY, two, 2);
        cancel("K");
        (void) published(TOPIC_DESCRIBE);
        describe_answer(two[1], false, "zzzzzzzz");
        expect_rejected("K");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 5);
        stop();
}
END_TEST

/* The service watches over another device's run. */
START_TEST(what_another_device_has_is_left_to_it) {
        ProtoExecution two[2] = { execution("J", PROTO_STATUS_IN_PROGRESS, 2), execution("K", PROTO_STATUS_IN_PROGRESS, 5) };

        start();
        (void) up_to_running("J");
        list(TOPIC_NOTIFY, two, 2);
        cancel("K");
        (void) published(TOPIC_DESCRIBE);
        two[1].seconds_left = 600;
        describe_answer(two[1], false, "zzzzzzzz");
        quiet();
        stop();
}
END_TEST

/* Cancelled before it was claimed, and found to be somebody's, who is not known: it is refused all the same. */
START_TEST(what_was_taken_meanwhile_is_still_cancelled) {
        uint32_t run;

        start();
        run = up_to_prepare("J");
        cancel("J");
        runner_plan(run);
        runner_result(run, PROTO_STATUS_REJECTED);
        expect_rejected("J");
        answer(TOPIC_UPDATE, TOPIC_REJECTED, "J",
               (ProtoMessage) { .code = PROTO_CODE_VERSION_MISMATCH, .has_state = true, .state_status = PROTO_STATUS_IN_PROGRESS,
                                .state_version = 2 });
        (void) told(WIRE_ACK);
        describe_answer(execution("J", PROTO_STATUS_IN_PROGRESS, 2), false, NULL);
        expect_rejected("J");
        ck_assert_int_eq(published(TOPIC_UPDATE)->expected_version, 2);
        stop();
}
END_TEST

START_TEST(a_cancel_that_comes_too_late) {
        uint32_t run;

        start();
        run = up_to_running("J");
        runner_result(run, PROTO_STATUS_SUCCEEDED);
        cancel("J");
        quiet();
        accept_update("J");
        (void) told(WIRE_ACK);
        cancel("J"); /* nobody knows it any more */
        quiet();
        cancel("never");
        quiet();
        stop();
}
END_TEST

START_TEST(the_clouds_own_cancel_goes_before) {
        uint32_t run;

        start();
        run = up_to_running("J");
        notify_next(&(ProtoExecution) { .status = PROTO_STATUS_QUEUED, .job_id = "K", .queued_at = 1, .version = 1, .number = 1 });
        (void) published(TOPIC_DESCRIBE);
        answer(TOPIC_DESCRIBE, TOPIC_REJECTED, "J", (ProtoMessage) { .code = PROTO_CODE_TERMINAL_STATE_REACHED });
        ck_assert(!told(WIRE_CANCEL)->wire.by_operator);
        cancel("J");
        quiet();
        runner_result(run, PROTO_STATUS_CANCELED);
        for (size_t i = 0; i < actions.n; i++) /* K starts */
                if (actions.item[i].type == ENGINE_ACTION_RUNNER && actions.item[i].run == run)
                        ck_assert_int_eq(actions.item[i].wire.type, WIRE_ACK);
        stop();
}
END_TEST

/* ---- what is shown ---- */

static EngineJobView view(const char *id) {
        EngineJobView jobs[ENGINE_JOBS_MAX];
        size_t n = engine_view_jobs(engine, jobs);

        for (size_t i = 0; i < n; i++)
                if (strcmp(jobs[i].key->job_id, id) == 0)
                        return jobs[i];
        ck_abort_msg("no job %s", id);
        return (EngineJobView) {};
}

START_TEST(a_job_is_shown_in_each_phase) {
        WireMessage progress = { .type = WIRE_PROGRESS };
        ProtoExecution x = execution("J", PROTO_STATUS_QUEUED, 1);
        uint32_t run;

        start();
        pause_now(1);
        list(TOPIC_NOTIFY, &x, 1);
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_QUEUED);
        ck_assert_int_eq(view("J").status, PROTO_STATUS_QUEUED);
        ck_assert_uint_eq(view("J").deadline, USEC_NEVER);
        pause_now(0);
        notify_next(&x);
        run = told(WIRE_PREPARE)->run;
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_STARTING);
        runner_plan(run);
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_STARTING);
        accept_update("J");
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_RUNNING);
        ck_assert_uint_eq(view("J").since, now);
        ck_assert_int_eq(proto_details_set(&progress.details, "progress", "40"), 0);
        runner_says(run, progress);
        ck_assert_str_eq(proto_details_get(view("J").details, "progress"), "40");
        runner_says(run, with_claim((WireMessage) { .type = WIRE_DEFERRED, .seconds = 60, .max_seconds = 10 }));
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_DEFERRED);
        ck_assert_uint_eq(view("J").resume_at, now + (uint64_t) 60 * SEC);
        cancel("J");
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_STOPPING);
        ck_assert(view("J").cancelling);
        runner_result(run, PROTO_STATUS_REJECTED);
        ck_assert_int_eq(view("J").phase, ENGINE_PHASE_REPORTING);
        ck_assert_int_eq(view("J").status, PROTO_STATUS_REJECTED);
        stop();
}
END_TEST

START_TEST(records_are_shown_as_what_they_are) {
        static const struct {
                WireRunState state;
                EnginePhase phase;
        } cases[] = {
                { WIRE_RUN_PREPARED, ENGINE_PHASE_QUEUED },      { WIRE_RUN_STARTED, ENGINE_PHASE_RECOVERING },
                { WIRE_RUN_DEFERRED, ENGINE_PHASE_DEFERRED },    { WIRE_RUN_REBOOTED, ENGINE_PHASE_RECOVERING },
                { WIRE_RUN_REBOOTING, ENGINE_PHASE_RECOVERING }, { WIRE_RUN_RESULT, ENGINE_PHASE_RECOVERING },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                WireRun r = { .key = key_of("J"), .state = cases[i].state, .claim = CLAIM };

                begin();
                inventory(&r, 1, 0);
                ck_assert_msg(view("J").phase == cases[i].phase, "%s", wire_run_state_name(cases[i].state));
                stop();
        }
}
END_TEST

START_TEST(the_services_deadline_is_shown) {
        ProtoExecution x = execution("J", PROTO_STATUS_IN_PROGRESS, 2);

        start();
        (void) up_to_running("J");
        x.seconds_left = 90;
        notify_next(&x);
        ck_assert_uint_eq(view("J").deadline, now + (uint64_t) 90 * SEC);
        stop();
}
END_TEST

START_TEST(jobs_are_shown_in_the_clouds_order) {
        EngineJobView jobs[ENGINE_JOBS_MAX];
        ProtoExecution x[3] = { execution("C", PROTO_STATUS_QUEUED, 1), execution("A", PROTO_STATUS_QUEUED, 1),
                                execution("B", PROTO_STATUS_IN_PROGRESS, 1) };

        x[0].queued_at = 3000;
        x[1].queued_at = 2000;
        x[2].queued_at = 4000;
        begin();
        inventory(NULL, 0, 1);
        feed((EngineEvent) { .type = ENGINE_EVENT_ONLINE });
        list(TOPIC_GET_PENDING, x, 3);
        ck_assert_uint_eq(engine_view_jobs(engine, jobs), 3);
        ck_assert_str_eq(jobs[0].key->job_id, "B");
        ck_assert_str_eq(jobs[1].key->job_id, "A");
        ck_assert_str_eq(jobs[2].key->job_id, "C");
        stop();
}
END_TEST

START_TEST(what_has_ended_is_kept_for_a_while) {
        EngineEnded ended[ENGINE_ENDED_KEPT];

        start();
        for (int i = 0; i < ENGINE_ENDED_KEPT + 4; i++) {
                char id[8];
                uint32_t run;

                (void) snprintf(id, sizeof id, "J%d", i);
                run = up_to_running(id);
                runner_result(run, PROTO_STATUS_FAILED);
                accept_update(id);
                list(TOPIC_NOTIFY, NULL, 0);
        }
        ck_assert_uint_eq(engine_view_ended(engine, ended), ENGINE_ENDED_KEPT);
        ck_assert_str_eq(ended[0].key.job_id, "J19");
        ck_assert_str_eq(ended[ENGINE_ENDED_KEPT - 1].key.job_id, "J4");
        ck_assert_int_eq(ended[0].status, PROTO_STATUS_FAILED);
        stop();
}
END_TEST

static TCase *cases(void) {
        TCase *t = tcase_create("operator");

        tcase_add_test(t, a_pause_lets_what_runs_end_and_starts_nothing_else);
        tcase_add_test(t, a_pause_is_found_again_after_a_restart);
        tcase_add_test(t, what_is_being_planned_is_let_go);
        tcase_add_test(t, what_was_claimed_goes_on);
        tcase_add_test(t, a_claim_without_an_answer);
        tcase_add_test(t, what_was_prepared_before_a_restart);
        tcase_add_test(t, a_runner_that_knows_of_a_pause_says_so);
        tcase_add_test(t, an_older_no_of_a_runner_pauses_nothing);
        tcase_add_test(t, what_is_deferred_goes_on);
        tcase_add_test(t, an_older_inventory_resumes_nothing);
        tcase_add_test(t, what_runs_is_stopped_and_rejected);
        tcase_add_test(t, what_waits_is_refused_in_the_cloud);
        tcase_add_test(t, what_waits_is_refused_when_the_cloud_can_be_asked);
        tcase_add_test(t, what_is_being_planned_is_cancelled_when_it_is);
        tcase_add_test(t, a_runner_that_goes_away_is_asked_again);
        tcase_add_test(t, what_is_deferred_is_cancelled);
        tcase_add_test(t, an_orphan_is_looked_at_first);
        tcase_add_test(t, what_another_device_has_is_left_to_it);
        tcase_add_test(t, what_was_taken_meanwhile_is_still_cancelled);
        tcase_add_test(t, a_cancel_that_comes_too_late);
        tcase_add_test(t, the_clouds_own_cancel_goes_before);
        tcase_add_test(t, a_job_is_shown_in_each_phase);
        tcase_add_test(t, records_are_shown_as_what_they_are);
        tcase_add_test(t, the_services_deadline_is_shown);
        tcase_add_test(t, jobs_are_shown_in_the_clouds_order);
        tcase_add_test(t, what_has_ended_is_kept_for_a_while);
        return t;
}

UNIT_MAIN("operator", cases())
