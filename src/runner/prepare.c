/* SPDX-License-Identifier: Apache-2.0 */
/* From the first message and the record to a plan, or to the one answer that needs none. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/message_id.h"
#include "runner/bounds.h"
#include "runner/run.h"
#include "runner/trust.h"

/* ---- answers ---- */

/* For the log it is the agent that says both: it knows what it has said already about a job it asks for again and again. */
static int unable(const Run *run, WireMessage *answer, const Error *e) {
        RunFields f;

        run_fields(run, 0, 0, &f);
        log_full(LOG_LEVEL_DEBUG, NULL, NULL, f.field, "cannot run now: %s", e->text);
        return answer_set(answer, WIRE_UNABLE, "", "%s", e->text);
}

/* What is quoted from a document may be an address with a signature in it. */
static void hide_secrets(const Run *run, char *text) {
        RedactState state = REDACT_TEXT;

        text[redact_text(&run->redact, text, strlen(text), &state)] = '\0';
}

static int rejected(const Run *run, WireMessage *answer, const char *path, const char *given) {
        char reason[WIRE_REASON_MAX];
        RunFields f;

        (void) snprintf(reason, sizeof reason, "%s", given);
        hide_secrets(run, reason);

        run_fields(run, 0, 0, &f);
        run_fields_add(&f, "IOT_JOB_STATUS", proto_status_name(PROTO_STATUS_REJECTED));
        log_full(LOG_LEVEL_DEBUG, NULL, NULL, f.field, "refusing: %s%s%s", path, path[0] ? ": " : "", reason);
        return answer_set(answer, WIRE_REJECTED, path, "%s", reason);
}

/* Over for long: the tombstone's verdict again; ack and drop find their work done. 1 = no tombstone. */
static int answer_from_tombstone(Run *run, WireType asked, WireMessage *answer) {
        ProtoDetails details CLEANUP_DETAILS = {};
        ProtoStatus status;
        Error e = {};
        int r = record_tombstone_find(run->store, &run->key, &status, &details, &e);

        if (r < 0)
                return unable(run, answer, &e);
        if (r == 0)
                return 1;
        if (asked == WIRE_ACK || asked == WIRE_DROP)
                return 0;
        *answer = (WireMessage){ .type = WIRE_RESULT, .status = status, .details = details };
        details = (ProtoDetails){};
        return 0;
}

/* ---- the steps ---- */

static uint64_t step_timeout(const Run *run, const ConfigOverride *o) {
        int64_t timeout = run->doc.timeout >= 0 ? run->doc.timeout : run->config->handler_timeout;

        /* An override of 0 lifts the configured limit for this handler; one above 0 caps whatever the limit is. */
        if (o && o->timeout == 0 && run->doc.timeout < 0)
                timeout = 0;
        if (o && o->timeout > 0 && (timeout == 0 || timeout > o->timeout))
                timeout = o->timeout;
        return (uint64_t) timeout * USEC_PER_SEC;
}

static PlanOutcome outcome_of(ConfigOutcome o) {
        switch (o) {
        case CONFIG_OUTCOME_SUCCESS:
                return PLAN_OUTCOME_SUCCESS;
        case CONFIG_OUTCOME_FAILURE:
                break;
        case CONFIG_OUTCOME_RETRY:
                return PLAN_OUTCOME_RETRY;
        case CONFIG_OUTCOME_REBOOT:
                return PLAN_OUTCOME_REBOOT;
        case CONFIG_OUTCOME_REJECT:
                return PLAN_OUTCOME_REJECT;
        }
        return PLAN_OUTCOME_FAILURE;
}

static size_t add_rules(PlanExitRule *to, const ConfigExitCodes *codes) {
        for (size_t i = 0; i < codes->n; i++)
                to[i] = (PlanExitRule){ .from = (uint8_t) codes->item[i].from,
                                        .to = (uint8_t) codes->item[i].to,
                                        .outcome = outcome_of(codes->item[i].outcome) };
        return codes->n;
}

static int make_exit_rules(Run *run) {
        const Config *c = run->config;
        size_t n = c->exit_codes.n;

        for (size_t i = 0; i < c->n_overrides; i++)
                n += c->overrides[i].exit_codes.n;
        run->exit_rules = calloc(n + 1, sizeof *run->exit_rules);
        if (!run->exit_rules)
                return -ENOMEM;
        n = add_rules(run->exit_rules, &c->exit_codes);
        for (size_t i = 0; i < c->n_overrides; i++)
                n += add_rules(run->exit_rules + n, &c->overrides[i].exit_codes);
        return 0;
}

/* Of an override, where make_exit_rules() has put them. */
static const PlanExitRule *exit_rules_of(const Run *run, const ConfigOverride *o) {
        const PlanExitRule *rules = run->exit_rules + run->config->exit_codes.n;

        for (const ConfigOverride *before = run->config->overrides; before < o; before++)
                rules += before->exit_codes.n;
        return rules;
}

static void fill_step(const Run *run, size_t i, PlanStepConfig *ret) {
        const JobStep *step = &run->doc.steps[i];
        const Config *c = run->config;
        const ConfigOverride *o = run_step_override(run, i);
        int64_t grace = o && o->kill_grace >= 0 ? o->kill_grace : c->kill_grace;
        int on_interrupt = o && o->on_interrupt >= 0 ? o->on_interrupt : (int) c->on_interrupt;

        *ret = (PlanStepConfig){
                .name = run->shown_names[i],
                .command = step->command,
                .timeout_usec = step_timeout(run, o),
                .kill_grace_usec = (uint64_t) grace * USEC_PER_SEC,
                .on_interrupt =
                        on_interrupt == CONFIG_INTERRUPT_RERUN ? PLAN_INTERRUPT_RERUN : PLAN_INTERRUPT_FAIL,
                .on_cancel = o && o->on_cancel == CONFIG_CANCEL_FINISH ? PLAN_CANCEL_FINISH : PLAN_CANCEL_STOP,
                .exit_rules = o ? exit_rules_of(run, o) : NULL,
                .n_exit_rules = o ? o->exit_codes.n : 0,
                .ignore_failure = step->ignore_failure,
                .allow_stderr = step->allow_stderr,
                .report_stdout = c->report_output != CONFIG_REPORT_NEVER &&
                                 (run->doc.include_stdout || c->report_output == CONFIG_REPORT_ALWAYS),
        };
}

/* A record whose document is refused by now can still be told of, cancelled, acknowledged: steps that never run stand in. */
static int stand_in_steps(Run *run) {
        run->n_steps = (size_t) run->state.started.step + 1;
        run->steps = calloc(run->n_steps, sizeof *run->steps);
        if (!run->steps)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_steps; i++)
                run->steps[i] = (PlanStepConfig){
                        .name = "?",
                        .kill_grace_usec = (uint64_t) run->config->kill_grace * USEC_PER_SEC,
                        .on_interrupt = PLAN_INTERRUPT_FAIL,
                        .allow_stderr = -1,
                };
        return 0;
}

static int real_steps(Run *run) {
        run->n_steps = run->doc.n_steps;
        run->steps = calloc(run->n_steps, sizeof *run->steps);
        run->shown_names = calloc(run->n_steps, sizeof *run->shown_names);
        if (!run->steps || !run->shown_names)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_steps; i++) {
                run->shown_names[i] = strdup(run->doc.steps[i].name);
                if (!run->shown_names[i])
                        return -ENOMEM;
                hide_secrets(run, run->shown_names[i]);
                fill_step(run, i, &run->steps[i]);
        }
        return 0;
}

void run_handler_json_path(const Run *run, size_t step, char ret[static WIRE_PATH_MAX]) {
        const char *path = run->doc.steps[step].path;

        if (path[0])
                (void) snprintf(ret, WIRE_PATH_MAX, "%s.input.%s", path,
                                run->doc.steps[step].command ? "command" : "handler");
        else
                (void) snprintf(ret, WIRE_PATH_MAX, "operation");
}

int run_find_handler(const Run *run, size_t step, char **ret, Error *e) {
        const JobStep *s = &run->doc.steps[step];
        const char *named[] = { s->directory, NULL };

        if (s->command)
                return trust_find_program(run_search_path(run->config), s->args[0], run->uid, ret, e);
        return trust_find_handler(s->directory ? named
                                               : (const char *const *) run->config->handler_directories,
                                  s->handler, s->try_suffix, run->uid, ret, e);
}

/* ---- the plan ---- */

static void make_claim(char ret[static WIRE_CLAIM_MAX]) {
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        enum { LETTERS = sizeof alphabet - 1, FAIR = 256 / LETTERS * LETTERS };
        size_t n = 0;

        while (n < WIRE_CLAIM_MAX - 1) {
                uint64_t word = random_u64();

                for (size_t i = 0; i < sizeof word && n < WIRE_CLAIM_MAX - 1; i++, word >>= 8)
                        if ((word & 255) < FAIR)
                                ret[n++] = alphabet[(word & 255) % LETTERS];
        }
        ret[n] = '\0';
}

static PlanReportOutput report_output(ConfigReportOutput r) {
        switch (r) {
        case CONFIG_REPORT_ON_FAILURE:
                break;
        case CONFIG_REPORT_ALWAYS:
                return PLAN_REPORT_ALWAYS;
        case CONFIG_REPORT_NEVER:
                return PLAN_REPORT_NEVER;
        }
        return PLAN_REPORT_ON_FAILURE;
}

static int make_plan(Run *run) {
        PlanConfig c = {
                .key = run->key,
                .steps = run->steps,
                .n_steps = run->n_steps,
                .document = run->document,
                .document_len = run->document_len,
                .report_output = report_output(run->config->report_output),
                .max_attempts = (uint32_t) run->config->max_attempts,
                .exit_rules = run->exit_rules,
                .n_exit_rules = run->config->exit_codes.n,
                .retry_delay_usec = (uint64_t) run->config->retry_delay * USEC_PER_SEC,
                .reboot_timeout_usec = (uint64_t) run->config->reboot_timeout * USEC_PER_SEC,
        };

        make_claim(c.claim);
        memcpy(c.boot_id, run->boot_id, sizeof c.boot_id);
        return plan_new(&c, &run->plan);
}

int run_end_leftovers(const Run *run, Error *e) {
        const RecordEntry *s = &run->state.started;
        TreeTrace trace;
        int r;

        /* With a result too: a runner that is told to stop writes it before its tree has ended. */
        if (run->state.phase <= RECORD_IS_PREPARED || s->attempt == 0)
                return 0;
        if (s->cgroup[0] && strcmp(s->boot_id, run->boot_id) == 0)
                limits_kill_recorded(s->cgroup);
        run_trace(run, s->boot_id, s->pid, s->start_time, &trace);
        r = tree_end_trace(&trace, run->boot_id);
        if (r == -ETIMEDOUT)
                return error_set(e, ETIMEDOUT,
                                 "processes of the interrupted attempt do not end, even by SIGKILL");
        return r < 0 ? error_errno(e, -r, "looking for processes of the interrupted attempt in /proc") : 0;
}

/* A deferred run goes on with what came just now: addresses in it may have run out since. */
static bool is_read_afresh(const Run *run, const WireMessage *first) {
        return run->state.phase == RECORD_IS_DEFERRED && first->type == WIRE_PREPARE &&
               first->document_len <= LIMIT_DOCUMENT;
}

static int take_document(Run *run, const WireMessage *first) {
        if (run->state.phase != RECORD_NONE && !is_read_afresh(run, first)) {
                run->document = TAKE(run->state.document);
                run->document_len = run->state.document_len;
                return 0;
        }
        run->document = malloc(first->document_len + 1);
        if (!run->document)
                return -ENOMEM;
        if (first->document_len > 0)
                memcpy(run->document, first->document, first->document_len);
        run->document[first->document_len] = '\0';
        run->document_len = first->document_len;
        return 0;
}

static bool is_lack(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EIO || r == -EAGAIN;
}

/* Started, and not to go on: the plan says so to the cloud. */
static void note_refusal(Run *run, const JobFault *fault) {
        RunFields f;

        (void) snprintf(run->refusal, sizeof run->refusal, "%.200s%s%.300s", fault->path, fault->path[0] ? ": " : "",
                        fault->reason);
        hide_secrets(run, run->refusal);
        run_fields(run, 0, 0, &f);
        log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_JOB_INTERRUPTED, f.field, "The document of job %s is refused by now: %s",
                 run->key.job_id, run->refusal);
}

static int too_large(size_t len, JobFault *fault) {
        (void) snprintf(fault->reason, sizeof fault->reason, "the job document has %zu bytes; at most %d are taken", len,
                        LIMIT_DOCUMENT);
        return -EINVAL;
}

/* What is quoted from a refused document may be a secret of it. */
static int hide_in_refusals(Run *run) {
        size_t len;
        const char *text = run_handler_document(run, &len);

        return redact_init_refused(&run->redact, text, len, run->config->redact);
}

/* Syntax, policy, signature. 1 = good, or noted. */
static int check_document(Run *run, const WireMessage *first, WireMessage *answer) {
        JobFault fault = {};
        Error e = {};
        int r;

        if (run->state.phase == RECORD_IS_DEFERRED && first->type == WIRE_PREPARE && first->document_len > LIMIT_DOCUMENT)
                r = too_large(first->document_len, &fault);
        else
                r = run_read_document(run, &fault, &e);
        if (r == -EINVAL && hide_in_refusals(run) < 0)
                r = error_errno(&e, ENOMEM, "reading the job document");
        if (r == -EINVAL && run->state.phase > RECORD_IS_PREPARED) {
                note_refusal(run, &fault);
                return 1;
        }
        if (r == -EINVAL)
                return rejected(run, answer, fault.path, fault.reason);
        if (r == 0) {
                r = redact_init(&run->redact, &run->doc, run->config->redact);
                if (r < 0)
                        error_errno(&e, -r, "reading the job document");
        }
        if (r < 0)
                return unable(run, answer, &e);
        run->doc_good = true;
        return 1;
}

/* The files of later steps are judged when these start: an earlier one may install them. 1 = good. */
static int check_first_file(Run *run, WireMessage *answer) {
        char path[WIRE_PATH_MAX];
        Error e = {};
        int r;

        if (run->state.phase > RECORD_IS_PREPARED)
                return 1;
        r = run_find_handler(run, 0, &run->handler_path, &e);
        if (r == 0)
                return 1;
        if (is_lack(r))
                return unable(run, answer, &e);
        run_handler_json_path(run, 0, path);
        return rejected(run, answer, path, e.text);
}

/* What the operator limits does not run without its limits: the job waits until they can be had. What was begun fails, when the step
 * starts. 1 = good. */
static int check_limits(Run *run, WireMessage *answer) {
        Error e = {};

        for (size_t i = 0; i < run->doc.n_steps && run->state.phase <= RECORD_IS_PREPARED; i++)
                if (limits_check(&run->limits, run_step_override(run, i), &e) < 0)
                        return unable(run, answer, &e);
        return 1;
}

/* A record that was prepared and is refused today goes; it never started anything. */
static int forget_refused(Run *run, WireMessage *answer) {
        Error e = {};

        if (run->state.phase != RECORD_IS_PREPARED || answer->type != WIRE_REJECTED)
                return 0;
        if (run_remove_work(run, &e) < 0 || record_drop(run->record, &e) < 0)
                return unable(run, answer, &e);
        return 0;
}

/* No record: 1 = a document to plan. */
static int judge_first(Run *run, const WireMessage *first, WireMessage *answer) {
        JobFault fault = {};
        int r = answer_from_tombstone(run, first->type, answer);

        if (r <= 0 || first->type == WIRE_ACK || first->type == WIRE_DROP)
                return 0;
        if (first->type != WIRE_PREPARE)
                return answer_set(answer, WIRE_NO_RECORD, "", "%s", "");
        if (first->document_len > LIMIT_DOCUMENT && too_large(first->document_len, &fault) < 0)
                return rejected(run, answer, fault.path, fault.reason);
        return 1;
}

/* May the record's run go on from its document? What only needs telling (cancel, ack, drop, a result) does not ask, unless it is a
 * verdict of the device's own, which names the step. */
static bool needs_good_document(const Run *run, const WireMessage *first) {
        bool verdict = first->type == WIRE_CANCEL && (first->by_operator || first->by_deadline) && run->state.phase > RECORD_IS_PREPARED;

        return (first->type == WIRE_PREPARE || first->type == WIRE_ATTACH || verdict) && run->state.phase < RECORD_HAS_RESULT;
}

static int load_document(Run *run, const WireMessage *first, WireMessage *answer) {
        Error e = {};
        int r = take_document(run, first);

        if (r < 0) {
                error_errno(&e, -r, "reading the job document");
                return unable(run, answer, &e);
        }
        if (needs_good_document(run, first)) {
                r = check_document(run, first, answer);
                if (r > 0)
                        r = check_first_file(run, answer);
                if (r > 0)
                        r = check_limits(run, answer);
                if (r <= 0)
                        return forget_refused(run, answer);
        }
        r = make_exit_rules(run);
        if (r == 0)
                r = run->doc_good ? real_steps(run) : stand_in_steps(run);
        if (r == 0)
                r = make_plan(run);
        if (r < 0) {
                error_errno(&e, -r, "planning the run");
                return unable(run, answer, &e);
        }
        return 1;
}

int run_prepare(Run *run, const WireMessage *first, WireMessage *answer) {
        Error e = {};
        int r = boot_id_read(run->boot_id);

        if (r < 0) {
                error_errno(&e, -r, "/proc/sys/kernel/random/boot_id");
                return unable(run, answer, &e);
        }
        r = user_find(run->uid, &run->user);
        if (r < 0) {
                error_errno(&e, -r, "the entry of user %u in /etc/passwd", (unsigned) run->uid);
                return unable(run, answer, &e);
        }
        if (record_open(run->store, &run->key, &run->record, &run->state, &e) < 0)
                return unable(run, answer, &e);
        if (run->state.phase == RECORD_NONE) {
                r = judge_first(run, first, answer);
                if (r <= 0)
                        return r;
        }
        if (run_end_leftovers(run, &e) < 0)
                return unable(run, answer, &e);
        return load_document(run, first, answer);
}
