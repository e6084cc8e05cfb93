/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of one run. Each event has one function, in which a switch over the state says what it means there. */
#include "plan/plan.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "plan/internal.h"

static const char *const state_names[STATE_COUNT] = {
        [STATE_NEW] = "new",           [STATE_PLANNED] = "planned",   [STATE_WAITING] = "waiting",
        [STATE_FORKING] = "forking",   [STATE_RUNNING] = "running",   [STATE_STOPPING] = "stopping",
        [STATE_CLEANING] = "cleaning", [STATE_TELLING] = "telling",   [STATE_GATHERING] = "gathering",
        [STATE_REBOOTING] = "rebooting", [STATE_ENDING] = "ending",   [STATE_FINISHED] = "finished",
        [STATE_GONE] = "gone",
};

static const PlanStepConfig *current(const Plan *p) {
        return &p->config.steps[p->step];
}

static uint64_t after(uint64_t now, uint64_t usec) {
        uint64_t at;

        return __builtin_add_overflow(now, usec, &at) ? USEC_NEVER : at;
}

/* The only place where the state changes. */
static void enter_state(PlanStep *s, PlanState state) {
        Plan *p = s->p;

        if (p->state == state)
                return;
        plan_add_log(s, LEVEL_DEBUG, NULL, "run is %s, was %s", state_names[state], state_names[p->state]);
        p->state = state;
        p->ack_by = state == STATE_FINISHED ? after(s->event->now, PLAN_ACK_WAIT_USEC) : USEC_NEVER;
        if (state != STATE_RUNNING)
                p->timeout_at = USEC_NEVER;
        p->told_by = state == STATE_TELLING ? after(s->event->now, PLAN_TOLD_WAIT_USEC) : USEC_NEVER;
        p->reboot_by = state == STATE_REBOOTING ? after(s->event->now, p->config.reboot_timeout_usec) : USEC_NEVER;
}

static uint64_t whole_seconds(uint64_t usec) {
        return usec / USEC_PER_SEC + (usec % USEC_PER_SEC > 0);
}

/* Longest until the execution can be over, if something else comes first; 0 = no bound. */
static uint64_t max_seconds_after(const Plan *p, uint64_t seconds) {
        uint64_t plan = plan_max_seconds(p);

        return plan == 0 ? 0 : MIN_OF(plan + seconds, (uint64_t) WIRE_SECONDS_MAX);
}

/* ---- single actions ---- */

static WireMessage *tell(PlanStep *s, WireType type) {
        PlanAction *a = plan_add(s, PLAN_ACTION_TELL);

        if (!a)
                return NULL;
        a->message.type = type;
        return &a->message;
}

static void check(PlanStep *s, int r) {
        if (r < 0)
                s->failed = true;
}

static void tell_plan(PlanStep *s) {
        const Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_PLAN);

        if (!m)
                return;
        (void) memcpy(m->claim, p->config.claim, sizeof m->claim);
        m->phase = p->phase;
        m->steps = (uint32_t) p->config.n_steps;
        m->max_seconds = plan_max_seconds(p);
        check(s, plan_running_details(p, &m->details));
}

static void tell_unable(PlanStep *s, const char *reason) {
        WireMessage *m = tell(s, WIRE_UNABLE);

        if (m)
                plan_format(m->reason, sizeof m->reason, "%s", reason);
}

static void tell_attached(PlanStep *s) {
        const Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_ATTACHED);

        if (!m)
                return;
        (void) memcpy(m->claim, p->config.claim, sizeof m->claim);
        m->state = p->earlier_start || p->starts > 0 ? WIRE_RUN_STARTED : WIRE_RUN_PREPARED;
}

static void tell_deferred(PlanStep *s, uint64_t seconds) {
        const Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_DEFERRED);
        char reason[WIRE_REASON_MAX];

        if (!m)
                return;
        plan_format(reason, sizeof reason, "deferred: will be tried again in %llu s (restart %u of %u)",
                    (unsigned long long) seconds, p->restarts, p->config.max_attempts);
        m->seconds = seconds;
        m->max_seconds = max_seconds_after(p, seconds);
        check(s, plan_paused_details(p, reason, &m->details));
}

static void tell_rebooting(PlanStep *s) {
        const Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_REBOOTING);
        char reason[WIRE_REASON_MAX];

        if (!m)
                return;
        plan_format(reason, sizeof reason, "rebooting: the step goes on after it (restart %u of %u)", p->restarts,
                    p->config.max_attempts);
        m->max_seconds = max_seconds_after(p, whole_seconds(p->config.reboot_timeout_usec));
        check(s, plan_paused_details(p, reason, &m->details));
}

static void tell_progress(PlanStep *s) {
        Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_PROGRESS);

        if (!m)
                return;
        check(s, plan_running_details(p, &m->details));
        p->progress_dirty = false;
        p->progress_next = after(s->event->now, PLAN_PROGRESS_GAP_USEC);
}

static void tell_result(PlanStep *s) {
        const Plan *p = s->p;
        WireMessage *m = tell(s, WIRE_RESULT);

        if (!m)
                return;
        m->status = p->status;
        check(s, proto_details_copy(&m->details, &p->details));
}

static RecordEntry *persist(PlanStep *s, RecordType type) {
        PlanAction *a = plan_add(s, PLAN_ACTION_PERSIST);

        if (!a)
                return NULL;
        a->entry.type = type;
        s->p->persisting = true;
        s->p->persisted = type;
        return &a->entry;
}

/* A line about the attempt that is or was: which one, and in which boot. */
static RecordEntry *persist_attempt(PlanStep *s, RecordType type) {
        const Plan *p = s->p;
        RecordEntry *entry = persist(s, type);

        if (!entry)
                return NULL;
        entry->step = p->step;
        entry->attempt = p->attempt;
        entry->restarts = p->restarts;
        (void) memcpy(entry->boot_id, p->config.boot_id, sizeof entry->boot_id);
        return entry;
}

static void kill_with(PlanStep *s, int signal) {
        PlanAction *a = plan_add(s, PLAN_ACTION_KILL);

        if (a)
                a->signal = signal;
        s->p->killed_with = signal;
}

/* Nothing of ours was exec'ed yet: no grace, and nothing to wait for. */
static void kill_gate(PlanStep *s) {
        kill_with(s, SIGKILL);
        s->p->tree = false;
}

/* SIGTERM, and SIGKILL when the grace is over. */
static void begin_kill(PlanStep *s) {
        Plan *p = s->p;
        uint64_t grace = current(p)->kill_grace_usec;

        kill_with(s, grace > 0 ? SIGTERM : SIGKILL);
        p->kill_at = after(s->event->now, grace > 0 ? grace : (uint64_t) PLAN_KILL_AGAIN_USEC);
}

static void exit_now(PlanStep *s) {
        enter_state(s, STATE_GONE);
        (void) plan_add(s, PLAN_ACTION_EXIT);
}

static void bury_and_exit(PlanStep *s) {
        const Plan *p = s->p;
        PlanAction *a = plan_add(s, PLAN_ACTION_BURY);

        if (a) {
                a->message.type = WIRE_RESULT;
                a->message.status = p->status;
                check(s, proto_details_copy(&a->message.details, &p->details));
        }
        exit_now(s);
}

static void forget_and_exit(PlanStep *s) {
        (void) plan_add(s, PLAN_ACTION_FORGET);
        exit_now(s);
}

/* ---- the verdict ---- */

static void log_exit_fields(PlanStep *s, const PlanVerdict *v) {
        const Plan *p = s->p;
        PlanAction *a = s->failed || s->actions->n == 0 ? NULL : &s->actions->item[s->actions->n - 1];

        if (!a)
                return;
        a->status = v->status;
        if (v->by_exit) {
                a->exit_code = p->signalled ? -1 : p->code;
                a->exit_signal = p->signalled ? p->code : 0;
        }
}

static void log_result(PlanStep *s, const PlanVerdict *v) {
        const char *status = proto_status_name(v->status);
        const char *colon = v->reason[0] ? ": " : "";

        if (v->status == PROTO_STATUS_CANCELED)
                plan_add_log(s, LEVEL_NOTICE, MESSAGE_ID_JOB_CANCELLED, "job finished: %s%s%s", status, colon, v->reason);
        else
                plan_add_log(s, v->status == PROTO_STATUS_SUCCEEDED ? LEVEL_INFO : LEVEL_WARNING, MESSAGE_ID_JOB_FINISHED,
                             "job finished: %s%s%s", status, colon, v->reason);
        log_exit_fields(s, v);
}

/* After a verdict, when no process is left. Without a durable record this process is the only one that knows it. */
static void settle(PlanStep *s) {
        const Plan *p = s->p;

        if (p->acked)
                bury_and_exit(s);
        else if (p->stop || (!p->connected && p->durable))
                exit_now(s);
}

/* Everything ends here: durable first, then logged and told. */
static void finish(PlanStep *s, const PlanVerdict *v) {
        Plan *p = s->p;
        ProtoDetails details CLEANUP_DETAILS = {};
        RecordEntry *entry;

        check(s, plan_result_details(p, v, &details));
        if (s->failed)
                return;
        p->status = v->status;
        p->details = details;
        details = (ProtoDetails) {};
        p->has_result = true;
        p->progress_dirty = false;
        if (!p->acked) {
                entry = persist(s, RECORD_RESULT);
                if (!entry)
                        return;
                entry->status = p->status;
                check(s, proto_details_copy(&entry->details, &p->details));
                p->durable = true;
        }
        log_result(s, v);
        if (!p->acked)
                tell_result(s);
        enter_state(s, p->tree ? STATE_ENDING : STATE_FINISHED);
        if (!p->tree)
                settle(s);
}

static void finish_canceled(PlanStep *s) {
        PlanVerdict of_cloud = { .status = PROTO_STATUS_CANCELED, .reason = "cancelled, timed out or deleted in the cloud" };
        PlanVerdict of_operator = { .status = PROTO_STATUS_REJECTED, .reason = "cancelled on the device" };

        finish(s, s->p->by_operator ? &of_operator : &of_cloud);
}

/* Deferred for longer than the service waits: what was asked for cannot be had, and that is told while it can be. */
static void finish_too_late(PlanStep *s) {
        PlanVerdict v = { .status = PROTO_STATUS_FAILED };
        char subject[WIRE_REASON_MAX];

        plan_subject(s->p, s->p->step, subject, sizeof subject);
        plan_format(v.reason, sizeof v.reason, "timed out: %s was to be tried again, and the service's own deadline comes before that",
                    subject);
        finish(s, &v);
}

static void finish_interrupted(PlanStep *s, const char *how) {
        PlanVerdict v = { .status = PROTO_STATUS_FAILED };

        plan_format(v.reason, sizeof v.reason, "interrupted: %s", how);
        finish(s, &v);
}

/* "step 2/3 Install: …" where there are several, so that the reason alone says which. */
static void prefix_reason(const Plan *p, PlanVerdict *v, const char *text) {
        char subject[WIRE_REASON_MAX];

        plan_subject(p, p->step, subject, sizeof subject);
        if (p->config.n_steps > 1)
                plan_format(v->reason, sizeof v->reason, "%s: %s", subject, text);
        else
                plan_format(v->reason, sizeof v->reason, "%s", text);
}

/* It ends here, whatever the step's failure would mean. */
static void finish_failed(PlanStep *s, const char *text) {
        PlanVerdict v = { .status = PROTO_STATUS_FAILED, .with_output = s->p->exited };

        if (s->p->cancelled) {
                finish_canceled(s);
                return;
        }
        prefix_reason(s->p, &v, text);
        finish(s, &v);
}

/* What the step would go on with has become something that policy does not run. */
static void finish_refused(PlanStep *s) {
        PlanVerdict v = { .status = PROTO_STATUS_FAILED };

        plan_format(v.reason, sizeof v.reason, "the job document is refused by now: %.*s",
                    (int) MIN_OF(s->event->text_len, sizeof v.reason / 2), s->event->text);
        finish(s, &v);
}

/* ---- steps ---- */

static void fork_step(PlanStep *s) {
        Plan *p = s->p;

        p->why = WHY_NOTHING;
        p->exited = p->signalled = false;
        p->code = 0;
        p->stderr_lines = 0;
        p->kill_at = USEC_NEVER;
        p->killed_with = 0;
        p->start_error[0] = p->limit[0] = '\0';
        plan_forget_step_report(p);
        enter_state(s, STATE_FORKING);
        (void) plan_add(s, PLAN_ACTION_FORK);
}

/* As soon as it may be, and not while nobody listens. */
static void flush_progress(PlanStep *s) {
        const Plan *p = s->p;

        if (p->progress_dirty && p->connected && s->event->now >= p->progress_next)
                tell_progress(s);
}

static void next_step(PlanStep *s) {
        Plan *p = s->p;

        if (p->step + 1 == p->config.n_steps) {
                PlanVerdict v = { .status = PROTO_STATUS_SUCCEEDED, .with_output = true };

                finish(s, &v);
                return;
        }
        if (p->stop) {
                char subject[WIRE_REASON_MAX], how[2 * WIRE_REASON_MAX];

                plan_subject(p, p->step + 1, subject, sizeof subject);
                plan_format(how, sizeof how, "the runner was stopped before %s", subject);
                if (current(p)->on_interrupt == PLAN_INTERRUPT_FAIL)
                        finish_interrupted(s, how);
                else if (p->tree)
                        enter_state(s, STATE_ENDING);
                else
                        exit_now(s);
                return;
        }
        p->step++;
        p->attempt = 1;
        p->retries = 0;
        p->phase = WIRE_PHASE_RUN;
        fork_step(s);
        p->progress_news = p->progress_dirty = true;
        flush_progress(s);
}

static void step_failed(PlanStep *s, PlanVerdict *v, const char *text) {
        const Plan *p = s->p;
        bool ignored = current(p)->ignore_failure && v->status == PROTO_STATUS_FAILED;
        char subject[WIRE_REASON_MAX];

        prefix_reason(p, v, text);
        plan_subject(p, p->step, subject, sizeof subject);
        plan_add_log(s, ignored ? LEVEL_NOTICE : LEVEL_WARNING, MESSAGE_ID_JOB_STEP_ENDED, "%s: %s%s", subject, text,
                     ignored ? ", ignoring" : "");
        log_exit_fields(s, &(PlanVerdict) { .by_exit = v->by_exit });
        if (ignored)
                next_step(s);
        else
                finish(s, v);
}

static void step_succeeded(PlanStep *s) {
        char subject[WIRE_REASON_MAX];

        plan_subject(s->p, s->p->step, subject, sizeof subject);
        plan_add_log(s, LEVEL_INFO, MESSAGE_ID_JOB_STEP_ENDED, "%s: done", subject);
        log_exit_fields(s, &(PlanVerdict) { .by_exit = true });
        next_step(s);
}

/* The attempt is over and the record says how it goes on. A runner that is told to stop leaves that to the next one, but not before
 * its tree is gone. */
static void pause_run(PlanStep *s, PlanOutcome how) {
        Plan *p = s->p;

        p->paused = how;
        p->progress_dirty = false;
        if (p->tree)
                enter_state(s, STATE_ENDING);
        else if (p->stop || how == PLAN_OUTCOME_RETRY)
                exit_now(s);
        else
                enter_state(s, STATE_TELLING);
}

/* In seconds, doubled for each deferral in a row. */
static uint64_t retry_delay(const Plan *p) {
        uint64_t delay = MIN_OF(whole_seconds(p->config.retry_delay_usec), (uint64_t) PLAN_RETRY_DELAY_MAX_SEC);

        for (uint32_t i = 0; i < p->retries && delay > 0 && delay < PLAN_RETRY_DELAY_MAX_SEC; i++)
                delay *= 2;
        return MIN_OF(delay, (uint64_t) PLAN_RETRY_DELAY_MAX_SEC);
}

static void defer(PlanStep *s) {
        Plan *p = s->p;
        uint64_t delay = retry_delay(p);
        char subject[WIRE_REASON_MAX];
        RecordEntry *entry;

        p->restarts++;
        p->retries++;
        entry = persist_attempt(s, RECORD_DEFERRED);
        if (!entry)
                return;
        entry->retries = p->retries;
        entry->at = s->event->now;
        entry->delay = delay;
        p->due_at = after(s->event->now, delay * USEC_PER_SEC);
        plan_subject(p, p->step, subject, sizeof subject);
        plan_add_log(s, LEVEL_NOTICE, MESSAGE_ID_JOB_DEFERRED,
                     "%s: exited with status %d, will be tried again in %llu s (restart %u of %u)", subject, p->code,
                     (unsigned long long) delay, p->restarts, p->config.max_attempts);
        log_exit_fields(s, &(PlanVerdict) { .by_exit = true });
        tell_deferred(s, delay);
        pause_run(s, PLAN_OUTCOME_RETRY);
}

static void ask_for_reboot(PlanStep *s) {
        Plan *p = s->p;
        char subject[WIRE_REASON_MAX];

        p->restarts++;
        p->retries = 0;
        if (!persist_attempt(s, RECORD_REBOOTING))
                return;
        plan_subject(p, p->step, subject, sizeof subject);
        plan_add_log(s, LEVEL_NOTICE, MESSAGE_ID_JOB_REBOOTING,
                     "%s: exited with status %d, the device reboots when no other job runs (restart %u of %u)", subject,
                     p->code, p->restarts, p->config.max_attempts);
        log_exit_fields(s, &(PlanVerdict) { .by_exit = true });
        tell_rebooting(s);
        pause_run(s, PLAN_OUTCOME_REBOOT);
}

/* The handler's own ending. */
static void judge_exit(PlanStep *s) {
        const Plan *p = s->p;
        PlanVerdict v = { .status = PROTO_STATUS_FAILED, .by_exit = true, .with_output = true };
        int64_t allowed = current(p)->allow_stderr;
        bool may_restart = p->restarts < p->config.max_attempts;
        char text[WIRE_REASON_MAX];

        plan_format(text, sizeof text, "exited with status %d", p->code);
        switch (plan_outcome(p)) {
        case PLAN_OUTCOME_SUCCESS:
                if (allowed < 0 || p->stderr_lines <= (uint64_t) allowed) {
                        step_succeeded(s);
                        return;
                }
                plan_format(text, sizeof text, "wrote %llu lines to stderr, %lld are allowed",
                            (unsigned long long) p->stderr_lines, (long long) allowed);
                break;
        case PLAN_OUTCOME_RETRY:
        case PLAN_OUTCOME_REBOOT:
                if (may_restart && plan_outcome(p) == PLAN_OUTCOME_RETRY) {
                        defer(s);
                        return;
                }
                if (may_restart) {
                        ask_for_reboot(s);
                        return;
                }
                plan_format(text, sizeof text, "gave up after %u restarts: exited with status %d", p->restarts, p->code);
                break;
        case PLAN_OUTCOME_REJECT:
                v.status = PROTO_STATUS_REJECTED;
                break;
        case PLAN_OUTCOME_FAILURE:
                break;
        }
        step_failed(s, &v, text);
}

static void judge_signal(PlanStep *s) {
        PlanVerdict v = { .status = PROTO_STATUS_FAILED, .by_exit = true, .with_output = true };
        char text[WIRE_REASON_MAX], buf[PLAN_SIGNAL_NAME_MAX];

        plan_format(text, sizeof text, "killed by %s", plan_signal_name(s->p->code, buf));
        step_failed(s, &v, text);
}

static const char near_deadline[] = "timed out: the service's own deadline is near";

/* Cancelled on the device, but allowed to finish, and it was the last step: then all was done. */
static bool all_is_done(const Plan *p) {
        return p->by_operator && p->why == WHY_NOTHING && p->exited && !p->signalled && !p->start_error[0] &&
                plan_outcome(p) == PLAN_OUTCOME_SUCCESS && p->step + 1 == p->config.n_steps;
}

/* The step is over, or as good as over (STOP): what was it? */
static void judge(PlanStep *s) {
        const Plan *p = s->p;
        PlanVerdict v = { .status = PROTO_STATUS_FAILED, .with_output = true };
        char text[WIRE_REASON_MAX + 32];

        if (p->cancelled && !all_is_done(p)) {
                finish_canceled(s);
                return;
        }
        switch (p->why) {
        case WHY_CANCEL:
                finish_canceled(s);
                return;
        case WHY_TIMEOUT:
                plan_format(text, sizeof text, "timed out after %llu s",
                                (unsigned long long) whole_seconds(current(p)->timeout_usec));
                step_failed(s, &v, text);
                return;
        case WHY_DEADLINE:
                finish_failed(s, near_deadline);
                return;
        case WHY_NOTHING:
                break;
        }
        if (p->start_error[0]) {
                plan_format(text, sizeof text, "could not be started: %s", p->start_error);
                step_failed(s, &v, text);
        } else if (!p->exited)
                step_failed(s, &v, "ended, and nobody saw how");
        else if (p->limit[0]) {
                v.by_exit = true;
                step_failed(s, &v, p->limit);
        } else if (p->signalled)
                judge_signal(s);
        else
                judge_exit(s);
}

/* ---- OPEN ---- */

static void open_new(PlanStep *s) {
        Plan *p = s->p;
        RecordEntry *entry = persist(s, RECORD_PREPARED);

        if (!entry)
                return;
        entry->key = p->config.key;
        (void) memcpy(entry->claim, p->config.claim, sizeof entry->claim);
        entry->document = p->config.document;
        entry->document_len = p->config.document_len;
        enter_state(s, STATE_PLANNED);
        tell_plan(s);
}

/* An attempt that has no ending: its runner or its device died. */
static void open_interrupted(PlanStep *s, const RecordEntry *started) {
        Plan *p = s->p;
        bool rebooted = strcmp(started->boot_id, p->config.boot_id) != 0;
        bool again = current(p)->on_interrupt != PLAN_INTERRUPT_FAIL && started->restarts < p->config.max_attempts;
        char subject[WIRE_REASON_MAX], how[2 * WIRE_REASON_MAX];

        plan_subject(p, p->step, subject, sizeof subject);
        plan_format(how, sizeof how, "%s was cut off when %s", subject,
                        rebooted ? "the device went down" : "its runner was killed");
        /* Where this ends the run, its verdict is the warning. */
        plan_add_log(s, again ? LEVEL_WARNING : LEVEL_INFO, MESSAGE_ID_JOB_INTERRUPTED, "interrupted: %s", how);
        if (current(p)->on_interrupt == PLAN_INTERRUPT_FAIL) {
                finish_interrupted(s, how);
        } else if (started->restarts >= p->config.max_attempts) {
                size_t n = strlen(how);

                plan_format(how + n, sizeof how - n, "; given up after %u restarts", started->restarts);
                finish_interrupted(s, how);
        } else {
                p->phase = WIRE_PHASE_RERUN;
                p->attempt = started->attempt + 1;
                p->restarts = started->restarts + 1;
                enter_state(s, STATE_PLANNED);
                tell_plan(s);
        }
}

/* To be tried again; the document with which was read afresh. */
static void open_deferred(PlanStep *s, const RecordState *record) {
        Plan *p = s->p;
        uint64_t left = record_seconds_left(record, p->config.boot_id, s->event->now);
        RecordEntry *entry;

        if (s->event->open == PLAN_OPEN_ATTACH || left > 0) {
                tell_deferred(s, left);
                exit_now(s);
                return;
        }
        if (s->event->text) {
                finish_refused(s);
                return;
        }
        p->phase = WIRE_PHASE_RETRY;
        p->attempt++;
        if (record->document && (record->document_len != p->config.document_len ||
                                 memcmp(record->document, p->config.document, record->document_len) != 0)) {
                entry = persist(s, RECORD_DOCUMENT);
                if (!entry)
                        return;
                entry->document = p->config.document;
                entry->document_len = p->config.document_len;
        }
        enter_state(s, STATE_PLANNED);
        tell_plan(s);
}

/* In the same boot the reboot is still to come; in another one it came, and the step goes on without a word from the cloud: it may be
 * the one that repairs the network. */
static void open_rebooting(PlanStep *s, const RecordEntry *rebooting) {
        Plan *p = s->p;
        char subject[WIRE_REASON_MAX];

        if (s->event->text) {
                finish_refused(s);
                return;
        }
        if (strcmp(rebooting->boot_id, p->config.boot_id) == 0) {
                tell_rebooting(s);
                pause_run(s, PLAN_OUTCOME_REBOOT);
                return;
        }
        p->phase = WIRE_PHASE_POST_REBOOT;
        p->attempt++;
        plan_subject(p, p->step, subject, sizeof subject);
        plan_add_log(s, LEVEL_NOTICE, MESSAGE_ID_JOB_REBOOTING, "%s: the device has rebooted, going on", subject);
        enter_state(s, STATE_WAITING);
        tell_attached(s);
        p->progress_news = true; /* the cloud still says that it reboots */
        tell_progress(s);
        (void) plan_add(s, PLAN_ACTION_TAKE_SLOT);
}

static void open_result(PlanStep *s, const RecordEntry *result) {
        Plan *p = s->p;

        check(s, proto_details_copy(&p->details, &result->details));
        if (s->failed)
                return;
        p->status = result->status;
        p->has_result = true;
        p->durable = true;
        if (!p->acked)
                tell_result(s);
        enter_state(s, STATE_FINISHED);
        settle(s);
}

/* What the record says comes before what was configured. */
static void take_record(Plan *p, const RecordState *record) {
        const RecordEntry *last = record->phase == RECORD_IS_DEFERRED    ? &record->deferred
                                  : record->phase == RECORD_IS_REBOOTING ? &record->rebooting
                                                                         : &record->started;

        (void) memcpy(p->config.claim, record->claim, sizeof p->config.claim);
        if (last->attempt == 0)
                return;
        p->earlier_start = true;
        p->attempt = last->attempt;
        p->restarts = last->restarts;
        p->retries = record->deferred.step == last->step ? record->deferred.retries : 0;
        /* A document parses to the same steps every time, unless it was read afresh: then the last one stands for one it lacks. */
        p->step = last->step < p->config.n_steps ? last->step : (uint32_t) p->config.n_steps - 1;
}

static void open_for_run(PlanStep *s, const RecordState *record) {
        switch (record->phase) {
        case RECORD_NONE:
                open_new(s);
                return;
        case RECORD_IS_PREPARED:
                enter_state(s, STATE_PLANNED);
                tell_plan(s);
                return;
        case RECORD_IS_STARTED:
                open_interrupted(s, &record->started);
                return;
        case RECORD_IS_DEFERRED:
                open_deferred(s, record);
                return;
        case RECORD_IS_REBOOTING:
                open_rebooting(s, &record->rebooting);
                return;
        case RECORD_HAS_RESULT:
                open_result(s, &record->result);
                return;
        }
}

static void on_open(PlanStep *s) {
        static const RecordState none = { .phase = RECORD_NONE };
        const RecordState *record = s->event->record ? s->event->record : &none;
        Plan *p = s->p;

        if (p->state != STATE_NEW)
                return;
        p->connected = true;
        if (record->phase != RECORD_NONE)
                take_record(p, record);
        switch (s->event->open) {
        case PLAN_OPEN_RUN:
        case PLAN_OPEN_ATTACH:
                open_for_run(s, record);
                return;
        case PLAN_OPEN_DROP:
                if (record->phase == RECORD_IS_PREPARED) {
                        forget_and_exit(s);
                        return;
                }
                break; /* started after the agent last looked: it is over all the same, but leaves a tombstone */
        case PLAN_OPEN_CANCEL:
        case PLAN_OPEN_ACK:
                break;
        }
        p->acked = s->event->open != PLAN_OPEN_CANCEL;
        p->by_operator = s->event->by_operator;
        if (record->phase == RECORD_HAS_RESULT) {
                open_result(s, &record->result);
        } else if (record->phase == RECORD_IS_DEFERRED && s->event->by_deadline && !p->by_operator && !p->acked) {
                finish_too_late(s);
        } else if (record->phase != RECORD_NONE) {
                finish_canceled(s);
        } else {
                if (!p->acked)
                        (void) tell(s, WIRE_NO_RECORD);
                exit_now(s);
        }
}

/* ---- the way of a step ---- */

static void on_go(PlanStep *s) {
        if (s->p->state != STATE_PLANNED)
                return;
        enter_state(s, STATE_WAITING);
        (void) plan_add(s, PLAN_ACTION_TAKE_SLOT);
}

static void on_slot_taken(PlanStep *s) {
        if (s->p->state == STATE_WAITING)
                fork_step(s);
        if (s->p->state != STATE_GATHERING)
                return;
        plan_add_log(s, LEVEL_NOTICE, MESSAGE_ID_JOB_REBOOTING, "no other job runs, rebooting the device");
        enter_state(s, STATE_REBOOTING);
        (void) plan_add(s, PLAN_ACTION_REBOOT);
}

/* The cloud knows, or was given the time to hear of it. */
static void gather_slots(PlanStep *s) {
        enter_state(s, STATE_GATHERING);
        (void) plan_add(s, PLAN_ACTION_TAKE_ALL_SLOTS);
}

static void on_told(PlanStep *s) {
        if (s->p->state == STATE_TELLING)
                gather_slots(s);
}

static void on_reboot_failed(PlanStep *s) {
        char text[WIRE_REASON_MAX];

        if (s->p->state != STATE_GATHERING && s->p->state != STATE_REBOOTING)
                return;
        plan_format(text, sizeof text, "the device cannot be rebooted: %.*s",
                    (int) MIN_OF(s->event->text_len, sizeof text - 1), s->event->text ? s->event->text : "");
        finish_failed(s, text);
}

/* The device gives up a moment before the service does, so that what is reported is what happened. */
static void on_deadline(PlanStep *s) {
        s->p->deadline_at = after(s->event->now, wire_give_up_after(s->event->seconds));
}

static const char *how_started(WirePhase phase) {
        switch (phase) {
        case WIRE_PHASE_RETRY:
        case WIRE_PHASE_RERUN:
                return " again";
        case WIRE_PHASE_POST_REBOOT:
                return " after the reboot";
        case WIRE_PHASE_RUN:
        case WIRE_PHASE_COUNT:
                break;
        }
        return "";
}

static void on_forked(PlanStep *s) {
        const PlanEvent *event = s->event;
        Plan *p = s->p;
        RecordEntry *entry;
        char subject[WIRE_REASON_MAX];

        if (p->state != STATE_FORKING)
                return;
        entry = persist_attempt(s, RECORD_STARTED);
        if (!entry)
                return;
        entry->pid = event->pid;
        entry->start_time = event->start_time;
        plan_format(entry->cgroup, sizeof entry->cgroup, "%s", event->cgroup ? event->cgroup : "");
        (void) plan_add(s, PLAN_ACTION_RELEASE);
        p->tree = true;
        p->starts++;
        plan_subject(p, p->step, subject, sizeof subject);
        plan_add_log(s, LEVEL_INFO, MESSAGE_ID_JOB_STARTED, "%s: started%s", subject, how_started(p->phase));
        enter_state(s, STATE_RUNNING);
        if (current(p)->timeout_usec > 0)
                p->timeout_at = after(event->now, current(p)->timeout_usec);
}

static void on_start_failed(PlanStep *s) {
        Plan *p = s->p;

        switch (p->state) {
        case STATE_FORKING:
        case STATE_RUNNING:
        case STATE_STOPPING:
                plan_format(p->start_error, sizeof p->start_error, "%.*s",
                                (int) MIN_OF(s->event->text_len, sizeof p->start_error - 1),
                                s->event->text ? s->event->text : "");
                if (p->start_error[0] == '\0')
                        (void) strcpy(p->start_error, "unknown error");
                p->tree = false;
                judge(s);
                return;
        case STATE_ENDING:
                p->tree = false;
                enter_state(s, STATE_FINISHED);
                settle(s);
                return;
        case STATE_NEW:
        case STATE_PLANNED:
        case STATE_WAITING:
        case STATE_CLEANING:
        case STATE_TELLING:
        case STATE_GATHERING:
        case STATE_REBOOTING:
        case STATE_FINISHED:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

static void on_exited(PlanStep *s) {
        const PlanEvent *event = s->event;
        Plan *p = s->p;

        switch (p->state) {
        case STATE_RUNNING:
        case STATE_STOPPING:
                break;
        case STATE_NEW:
        case STATE_PLANNED:
        case STATE_WAITING:
        case STATE_FORKING:
        case STATE_CLEANING:
        case STATE_TELLING:
        case STATE_GATHERING:
        case STATE_REBOOTING:
        case STATE_ENDING:
        case STATE_FINISHED:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
        p->exited = true;
        p->signalled = event->signalled;
        p->code = event->code;
        plan_format(p->limit, sizeof p->limit, "%s", event->limit ? event->limit : "");
        check(s, plan_take_output(p, event));
        enter_state(s, STATE_CLEANING);
        if (event->tree_empty)
                p->kill_at = after(event->now, PLAN_TRAILING_USEC);
        else if (p->killed_with == 0)
                begin_kill(s);
}

static void on_tree_empty(PlanStep *s) {
        Plan *p = s->p;

        switch (p->state) {
        case STATE_RUNNING:
        case STATE_STOPPING:
        case STATE_CLEANING:
                p->tree = false;
                p->kill_at = USEC_NEVER;
                check(s, plan_take_output(p, s->event));
                judge(s);
                return;
        case STATE_ENDING:
                p->tree = false;
                p->kill_at = USEC_NEVER;
                if (p->has_result)
                        enter_state(s, STATE_FINISHED);
                settle(s);
                return;
        case STATE_NEW:
        case STATE_PLANNED:
        case STATE_WAITING:
        case STATE_FORKING:
        case STATE_TELLING:
        case STATE_GATHERING:
        case STATE_REBOOTING:
        case STATE_FINISHED:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

static void on_progress(PlanStep *s) {
        Plan *p = s->p;
        int r;

        if (p->has_result || p->cancelled || p->why == WHY_CANCEL ||
            (p->state != STATE_RUNNING && p->state != STATE_STOPPING && p->state != STATE_CLEANING))
                return;
        r = plan_take_progress(p, s->event->text ? s->event->text : "", s->event->text ? s->event->text_len : 0);
        if (r == -E2BIG) {
                if (!p->own_warned)
                        plan_add_log(s, LEVEL_NOTICE, NULL, "the handler sets more than %d details of its own, ignoring",
                                     PLAN_OWN_KEYS_MAX);
                p->own_warned = true;
                return;
        }
        check(s, r);
        if (r <= 0)
                return;
        p->progress_news = p->progress_dirty = true;
        flush_progress(s);
}

/* ---- failures of the record ---- */

/* The step asked for a restart, which must not happen unrecorded. */
static void pause_not_recorded(PlanStep *s, const char *what, const char *why) {
        Plan *p = s->p;
        PlanVerdict v = { .status = PROTO_STATUS_FAILED, .by_exit = true, .with_output = true };
        char text[2 * WIRE_REASON_MAX];

        plan_format(text, sizeof text, "exited with status %d, but the %s cannot be recorded: %s", p->code, what, why);
        prefix_reason(p, &v, text);
        finish(s, &v);
}

static void start_not_recorded(PlanStep *s, const char *why) {
        Plan *p = s->p;

        kill_gate(s);
        p->starts--;
        if (p->starts == 0) {
                plan_add_log(s, LEVEL_DEBUG, NULL, "not started: %s", why); /* the agent says it aloud */
                tell_unable(s, why);
                exit_now(s);
                return;
        }
        /* Earlier steps did run: this is a verdict, not another try. */
        PlanVerdict v = { .status = PROTO_STATUS_FAILED };
        char text[WIRE_REASON_MAX + 32];

        plan_format(text, sizeof text, "could not be started: %s", why);
        prefix_reason(p, &v, text);
        finish(s, &v);
}

static void on_persist_failed(PlanStep *s) {
        char why[WIRE_REASON_MAX];
        Plan *p = s->p;

        if (!p->persisting)
                return;
        p->persisting = false;
        plan_format(why, sizeof why, "%.*s", (int) MIN_OF(s->event->text_len, sizeof why - 1),
                        s->event->text ? s->event->text : "");
        if (why[0] == '\0')
                (void) strcpy(why, "the record cannot be written");
        switch (p->persisted) {
        case RECORD_PREPARED:
        case RECORD_DOCUMENT:
                plan_add_log(s, LEVEL_DEBUG, NULL, "not now: %s", why);
                tell_unable(s, why);
                exit_now(s);
                return;
        case RECORD_STARTED:
                start_not_recorded(s, why);
                return;
        case RECORD_DEFERRED:
                pause_not_recorded(s, "retry", why);
                return;
        case RECORD_REBOOTING:
                pause_not_recorded(s, "reboot", why);
                return;
        case RECORD_RESULT:
                break;
        case RECORD_TYPE_COUNT:
                return;
        }
        /* What stood behind the PERSIST was not carried out: say it again, from memory. */
        p->durable = false;
        plan_add_log(s, LEVEL_ERROR, MESSAGE_ID_RECORD_BAD, "%s, told from memory only: %s", proto_status_name(p->status), why);
        tell_result(s);
        if (p->tree) {
                enter_state(s, STATE_ENDING);
                begin_kill(s);
        } else {
                enter_state(s, STATE_FINISHED);
                settle(s);
        }
}

/* ---- ends from outside ---- */

static const char *cancelled_by(const Plan *p) {
        return p->by_operator ? "cancelled on the device" : "over in the cloud";
}

static void cancel_running(PlanStep *s) {
        Plan *p = s->p;

        if (p->cancelled)
                return;
        if (current(p)->on_cancel == PLAN_CANCEL_FINISH) {
                p->cancelled = true;
                p->progress_dirty = false;
                plan_add_log(s, LEVEL_INFO, NULL, "%s; the step may finish, no other starts", cancelled_by(p));
                return;
        }
        p->why = WHY_CANCEL;
        plan_add_log(s, LEVEL_INFO, NULL, "%s, stopping the handler", cancelled_by(p));
        enter_state(s, STATE_STOPPING);
        begin_kill(s);
}

static void on_cancel(PlanStep *s) {
        Plan *p = s->p;

        switch (p->state) {
        case STATE_FORKING:
                kill_gate(s);
                finish_canceled(s);
                return;
        case STATE_PLANNED:
        case STATE_WAITING:
                finish_canceled(s);
                return;
        case STATE_TELLING:
        case STATE_GATHERING:
                finish_canceled(s);
                return;
        case STATE_REBOOTING: /* the device goes down: whatever a free slot let start now would be cut off */
                p->cancelled = true;
                return;
        case STATE_RUNNING:
                cancel_running(s);
                return;
        case STATE_STOPPING:
        case STATE_CLEANING:
                p->why = WHY_CANCEL;
                return;
        case STATE_ENDING:
                if (!p->has_result)
                        finish_canceled(s);
                else if (!p->acked)
                        tell_result(s);
                return;
        case STATE_FINISHED:
                if (p->acked)
                        bury_and_exit(s);
                else
                        tell_result(s);
                return;
        case STATE_NEW:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

/* Without a result it means what cancel means, but for the answer. */
static void on_ack(PlanStep *s) {
        if (s->p->state == STATE_NEW || s->p->state == STATE_GONE)
                return;
        s->p->acked = true;
        s->p->by_operator = false;
        on_cancel(s);
}

static void on_drop(PlanStep *s) {
        Plan *p = s->p;
        bool early = p->state == STATE_PLANNED || p->state == STATE_WAITING || p->state == STATE_FORKING;

        if (p->state == STATE_NEW || p->state == STATE_GONE)
                return;
        if (!early || p->earlier_start || p->starts > 0) {
                /* The agent's inventory was taken before the start. Over it is: stop, and keep a tombstone. */
                on_ack(s);
                return;
        }
        if (p->state == STATE_FORKING)
                kill_gate(s);
        forget_and_exit(s);
}

/* The verdict, as far as it is known, is durable before a process is touched. */
static void stop_running(PlanStep *s) {
        Plan *p = s->p;
        char subject[WIRE_REASON_MAX], how[2 * WIRE_REASON_MAX];

        plan_subject(p, p->step, subject, sizeof subject);
        plan_format(how, sizeof how, "the runner was stopped during %s", subject);
        plan_add_log(s, LEVEL_WARNING, MESSAGE_ID_JOB_INTERRUPTED, "interrupted: %s", how);
        if (p->why != WHY_NOTHING || p->cancelled)
                judge(s);
        else if (current(p)->on_interrupt == PLAN_INTERRUPT_FAIL)
                finish_interrupted(s, how);
        if (p->state == STATE_RUNNING || p->state == STATE_STOPPING)
                enter_state(s, STATE_ENDING);
        if (p->killed_with == 0)
                begin_kill(s);
}

static void on_stop(PlanStep *s) {
        Plan *p = s->p;

        p->stop = true;
        switch (p->state) {
        case STATE_FORKING:
                kill_gate(s);
                exit_now(s);
                return;
        case STATE_NEW:
        case STATE_PLANNED:
        case STATE_WAITING:
        case STATE_TELLING: /* the next runner goes on with it */
        case STATE_GATHERING:
        case STATE_FINISHED:
                exit_now(s);
                return;
        case STATE_REBOOTING: /* this is it, likely */
                if (p->cancelled)
                        finish_canceled(s);
                else
                        exit_now(s);
                return;
        case STATE_RUNNING:
        case STATE_STOPPING:
                stop_running(s);
                return;
        case STATE_CLEANING:
                judge(s);
                return;
        case STATE_ENDING:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

/* ---- the agent's connection ---- */

static void on_attach(PlanStep *s) {
        Plan *p = s->p;

        p->connected = true;
        switch (p->state) {
        case STATE_PLANNED:
                tell_plan(s);
                return;
        case STATE_WAITING:
        case STATE_FORKING:
        case STATE_RUNNING:
        case STATE_STOPPING:
        case STATE_CLEANING:
                tell_attached(s);
                if (p->progress_news)
                        tell_progress(s);
                return;
        case STATE_TELLING:
        case STATE_GATHERING:
        case STATE_REBOOTING:
                tell_rebooting(s);
                return;
        case STATE_ENDING:
                if (p->has_result)
                        tell_result(s);
                else if (p->paused == PLAN_OUTCOME_RETRY)
                        tell_deferred(s, whole_seconds(p->due_at - MIN_OF(p->due_at, s->event->now)));
                else if (p->paused == PLAN_OUTCOME_REBOOT)
                        tell_rebooting(s);
                else
                        tell_attached(s);
                return;
        case STATE_FINISHED:
                tell_result(s);
                p->ack_by = after(s->event->now, PLAN_ACK_WAIT_USEC);
                return;
        case STATE_NEW:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

static void on_disconnected(PlanStep *s) {
        Plan *p = s->p;

        p->connected = false;
        switch (p->state) {
        case STATE_NEW:
        case STATE_PLANNED:
                exit_now(s);
                return;
        case STATE_FINISHED:
                settle(s);
                return;
        case STATE_WAITING:
        case STATE_FORKING:
        case STATE_RUNNING:
        case STATE_STOPPING:
        case STATE_CLEANING:
        case STATE_TELLING:
        case STATE_GATHERING:
        case STATE_REBOOTING:
        case STATE_ENDING:
        case STATE_GONE:
        case STATE_COUNT:
                return;
        }
}

/* ---- time ---- */

/* What can still be given up because the service's deadline is near. */
static bool minds_deadline(const Plan *p) {
        return p->state == STATE_RUNNING || p->state == STATE_WAITING || p->state == STATE_TELLING ||
                p->state == STATE_GATHERING;
}

static void stop_for(PlanStep *s, PlanWhy why, const char *text) {
        s->p->why = why;
        plan_add_log(s, LEVEL_INFO, NULL, "%s, stopping the handler", text);
        enter_state(s, STATE_STOPPING);
        begin_kill(s);
}

static void near_the_deadline(PlanStep *s) {
        char text[WIRE_REASON_MAX];

        if (s->p->state == STATE_RUNNING) {
                stop_for(s, WHY_DEADLINE, "the service's own deadline is near");
                return;
        }
        plan_format(text, sizeof text, "%s, and %s", near_deadline,
                    s->p->state == STATE_WAITING ? "no slot was free" : "the device could not be rebooted yet");
        finish_failed(s, text);
}

static void reboot_overdue(PlanStep *s) {
        char text[WIRE_REASON_MAX];

        plan_format(text, sizeof text, "the reboot did not come within %llu s",
                    (unsigned long long) whole_seconds(s->p->config.reboot_timeout_usec));
        finish_failed(s, text);
}

static void on_timer(PlanStep *s) {
        uint64_t now = s->event->now;
        Plan *p = s->p;

        if (p->state == STATE_RUNNING && now >= p->timeout_at)
                stop_for(s, WHY_TIMEOUT, "timed out");
        else if (minds_deadline(p) && now >= p->deadline_at)
                near_the_deadline(s);
        else if (p->state == STATE_TELLING && now >= p->told_by)
                gather_slots(s);
        else if (p->state == STATE_REBOOTING && now >= p->reboot_by)
                reboot_overdue(s);
        else if (p->tree && now >= p->kill_at) {
                if (p->killed_with == 0) {
                        begin_kill(s);
                } else {
                        kill_with(s, SIGKILL);
                        p->kill_at = after(now, PLAN_KILL_AGAIN_USEC);
                }
        }
        if (!p->has_result)
                flush_progress(s);
        /* A verdict that only this process knows waits for its ack as long as it takes. */
        if (p->state == STATE_FINISHED && p->durable && now >= p->ack_by)
                exit_now(s);
}

uint64_t plan_deadline(const Plan *p) {
        uint64_t at = p->state == STATE_RUNNING ? p->timeout_at : USEC_NEVER;

        if (p->state == STATE_GONE || p->state == STATE_NEW)
                return USEC_NEVER;
        if (p->tree)
                at = MIN_OF(at, p->kill_at);
        if (p->progress_dirty && p->connected && !p->has_result)
                at = MIN_OF(at, p->progress_next);
        if (p->state == STATE_FINISHED && p->durable)
                at = MIN_OF(at, p->ack_by);
        if (minds_deadline(p))
                at = MIN_OF(at, p->deadline_at);
        return MIN_OF(at, MIN_OF(p->told_by, p->reboot_by));
}

/* ---- the step ---- */

static void dispatch(PlanStep *s) {
        switch (s->event->type) {
        case PLAN_EVENT_OPEN:
                on_open(s);
                return;
        case PLAN_EVENT_GO:
                on_go(s);
                return;
        case PLAN_EVENT_SLOT_TAKEN:
                on_slot_taken(s);
                return;
        case PLAN_EVENT_FORKED:
                on_forked(s);
                return;
        case PLAN_EVENT_START_FAILED:
                on_start_failed(s);
                return;
        case PLAN_EVENT_EXITED:
                on_exited(s);
                return;
        case PLAN_EVENT_TREE_EMPTY:
                on_tree_empty(s);
                return;
        case PLAN_EVENT_PROGRESS:
                on_progress(s);
                return;
        case PLAN_EVENT_PERSIST_FAILED:
                on_persist_failed(s);
                return;
        case PLAN_EVENT_CANCEL:
                s->p->by_operator = s->event->by_operator; /* the newest word counts */
                on_cancel(s);
                return;
        case PLAN_EVENT_STOP:
                on_stop(s);
                return;
        case PLAN_EVENT_ATTACH:
                on_attach(s);
                return;
        case PLAN_EVENT_DISCONNECTED:
                on_disconnected(s);
                return;
        case PLAN_EVENT_ACK:
                on_ack(s);
                return;
        case PLAN_EVENT_DROP:
                on_drop(s);
                return;
        case PLAN_EVENT_TIMER:
                on_timer(s);
                return;
        case PLAN_EVENT_TOLD:
                on_told(s);
                return;
        case PLAN_EVENT_REBOOT_FAILED:
                on_reboot_failed(s);
                return;
        case PLAN_EVENT_DEADLINE:
                on_deadline(s);
                return;
        }
}

int plan_step(Plan *p, const PlanEvent *event, PlanActions *actions) {
        PlanStep s = { .p = p, .event = event, .actions = actions };
        Plan before = *p;
        size_t n = actions->n;

        dispatch(&s);
        if (!s.failed)
                return 0;
        if (p->has_result && !before.has_result)
                proto_details_done(&p->details);
        *p = before;
        plan_actions_cut(actions, n);
        return -ENOMEM;
}

int plan_new(const PlanConfig *config, Plan **ret) {
        Plan *p;

        if (config->n_steps < 1 || config->n_steps > WIRE_STEPS_MAX || !config->steps || !wire_claim_valid(config->claim))
                return -EINVAL;
        p = calloc(1, sizeof *p);
        if (!p)
                return -ENOMEM;
        p->config = *config;
        p->attempt = 1;
        p->percent = -1;
        p->timeout_at = p->kill_at = p->ack_by = USEC_NEVER;
        p->deadline_at = p->told_by = p->reboot_by = USEC_NEVER;
        *ret = p;
        return 0;
}

Plan *plan_free(Plan *p) {
        if (!p)
                return NULL;
        proto_details_done(&p->details);
        free(p);
        return NULL;
}

const char *plan_state_name(const Plan *p) {
        return state_names[p->state];
}

bool plan_started(const Plan *p) {
        return p->starts > 0;
}
