/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a run: statusDetails (contract section 3), the lines of descriptor 3, names of signals. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/utf8.h"
#include "plan/internal.h"
#include "plan/progress.h"

/* ---- signals ---- */

#define NAME_OF(signal) [signal] = #signal
static const char *const signal_names[] = {
        NAME_OF(SIGHUP),  NAME_OF(SIGINT),    NAME_OF(SIGQUIT), NAME_OF(SIGILL),  NAME_OF(SIGTRAP),   NAME_OF(SIGABRT),
        NAME_OF(SIGBUS),  NAME_OF(SIGFPE),    NAME_OF(SIGKILL), NAME_OF(SIGUSR1), NAME_OF(SIGSEGV),   NAME_OF(SIGUSR2),
        NAME_OF(SIGPIPE), NAME_OF(SIGALRM),   NAME_OF(SIGTERM), NAME_OF(SIGCHLD), NAME_OF(SIGCONT),   NAME_OF(SIGSTOP),
        NAME_OF(SIGTSTP), NAME_OF(SIGTTIN),   NAME_OF(SIGTTOU), NAME_OF(SIGURG),  NAME_OF(SIGXCPU),   NAME_OF(SIGXFSZ),
        NAME_OF(SIGPROF), NAME_OF(SIGVTALRM), NAME_OF(SIGWINCH), NAME_OF(SIGIO),  NAME_OF(SIGPWR),    NAME_OF(SIGSYS),
#ifdef SIGSTKFLT
        NAME_OF(SIGSTKFLT),
#endif
};

/* What the C library calls SIGRTMIN and SIGRTMAX (it keeps 32 and 33 for itself); its macros are calls. */
enum { REALTIME_MIN = 34, REALTIME_MAX = 64 };

const char *plan_signal_name(int number, char buf[static PLAN_SIGNAL_NAME_MAX]) {
        if (number > 0 && (size_t) number < ELEMENTSOF(signal_names) && signal_names[number])
                return signal_names[number];
        if (number == REALTIME_MIN)
                return "SIGRTMIN";
        if (number > REALTIME_MIN && number <= REALTIME_MAX)
                plan_format(buf, PLAN_SIGNAL_NAME_MAX, "SIGRTMIN+%d", number - REALTIME_MIN);
        else
                plan_format(buf, PLAN_SIGNAL_NAME_MAX, "signal %d", number & 0xFFFF);
        return buf;
}

/* ---- exit codes ---- */

static const PlanExitRule built_in[] = {
        { 0, 0, PLAN_OUTCOME_SUCCESS },
        { 65, 65, PLAN_OUTCOME_REJECT },
        { 75, 75, PLAN_OUTCOME_RETRY },
        { 194, 194, PLAN_OUTCOME_REBOOT },
        { 0, 255, PLAN_OUTCOME_FAILURE },
};

static const PlanExitRule *find_rule(const PlanExitRule *rules, size_t n, int code) {
        for (size_t i = 0; i < n; i++)
                if (code >= rules[i].from && code <= rules[i].to)
                        return &rules[i];
        return NULL;
}

PlanOutcome plan_outcome(const Plan *p) {
        const PlanStepConfig *step = &p->config.steps[p->step];
        const PlanExitRule *rule = find_rule(step->exit_rules, step->n_exit_rules, p->code);

        if (!rule)
                rule = find_rule(p->config.exit_rules, p->config.n_exit_rules, p->code);
        if (!rule)
                rule = find_rule(built_in, ELEMENTSOF(built_in), p->code);
        return rule ? rule->outcome : PLAN_OUTCOME_FAILURE;
}

/* ---- details ---- */

static const char *step_name(const Plan *p, uint32_t step) {
        return step < p->config.n_steps && p->config.steps[step].name ? p->config.steps[step].name : "";
}

void plan_subject(const Plan *p, uint32_t step, char *ret, size_t size) {
        const char *name = step_name(p, step);

        if (p->config.n_steps > 1)
                plan_format(ret, size, "step %u/%zu%s%s", step + 1, p->config.n_steps, name[0] ? " " : "", name);
        else
                plan_format(ret, size, "%s", name[0] ? name : p->config.steps[step].command ? "the command" : "the handler");
}

/* A value as the service takes it; an empty one is left out. */
static int put(ProtoDetails *d, const char *key, const char *value) {
        char *clean CLEANUP_FREE = text_sanitize(value, strlen(value), LIMIT_DETAILS_VALUE, false);

        if (!clean)
                return -ENOMEM;
        return clean[0] == '\0' ? 0 : proto_details_set(d, key, clean);
}

static int put_step(const Plan *p, ProtoDetails *d) {
        const char *name = step_name(p, p->step);
        Buf b CLEANUP_BUF = {};

        buf_printf(&b, "%u/%zu", p->step + 1, p->config.n_steps);
        if (name[0])
                buf_printf(&b, " %s", name);
        if (p->text[0])
                buf_printf(&b, ": %s", p->text);
        return buf_error(&b) < 0 ? -ENOMEM : put(d, "step", b.data);
}

static int put_number(ProtoDetails *d, const char *key, int number) {
        char text[16];

        plan_format(text, sizeof text, "%d", number);
        return put(d, key, text);
}

static int put_head(const Plan *p, ProtoDetails *d) {
        int r = put(d, "claim", p->config.claim);

        if (r == 0)
                r = put_step(p, d);
        if (r == 0 && p->percent >= 0)
                r = put_number(d, "progress", p->percent);
        return r;
}

static int put_own(const Plan *p, ProtoDetails *d) {
        int r = 0;

        for (size_t i = 0; i < p->n_own && r == 0; i++)
                r = put(d, p->own[i].key, p->own[i].value);
        return r;
}

int plan_running_details(const Plan *p, ProtoDetails *ret) {
        int r = put_head(p, ret);

        return r < 0 ? r : put_own(p, ret);
}

static int put_exit(const Plan *p, ProtoDetails *d) {
        char buf[PLAN_SIGNAL_NAME_MAX];

        return p->signalled ? put(d, "signal", plan_signal_name(p->code, buf)) : put_number(d, "exitCode", p->code);
}

int plan_paused_details(const Plan *p, const char *reason, ProtoDetails *ret) {
        int r = put_head(p, ret);

        if (r == 0)
                r = put(ret, "reason", reason);
        if (r == 0 && p->exited)
                r = put_exit(p, ret);
        return r < 0 ? r : put_own(p, ret);
}

/* report_output: after a failure both ends, unless "never"; after success what was asked for. */
static int put_output(const Plan *p, const PlanVerdict *v, ProtoDetails *d) {
        PlanReportOutput report = p->config.report_output;
        bool failure = v->status != PROTO_STATUS_SUCCEEDED;
        int r = 0;

        if (report == PLAN_REPORT_NEVER)
                return 0;
        if (failure || report == PLAN_REPORT_ALWAYS || p->config.steps[p->step].report_stdout)
                r = put(d, "stdout", p->stdout_tail);
        if (r == 0 && (failure || report == PLAN_REPORT_ALWAYS))
                r = put(d, "stderr", p->stderr_tail);
        return r;
}

int plan_result_details(const Plan *p, const PlanVerdict *v, ProtoDetails *ret) {
        int r = put_head(p, ret);

        if (r == 0)
                r = put(ret, "reason", v->reason);
        if (r == 0 && v->by_exit)
                r = put_exit(p, ret);
        if (r == 0 && v->with_output)
                r = put_output(p, v, ret);
        return r < 0 ? r : put_own(p, ret);
}

uint64_t plan_max_seconds(const Plan *p) {
        uint64_t sum = 0;

        for (size_t i = p->step; i < p->config.n_steps; i++) {
                const PlanStepConfig *step = &p->config.steps[i];

                if (step->timeout_usec == 0 || __builtin_add_overflow(sum, step->timeout_usec, &sum) ||
                    __builtin_add_overflow(sum, step->kill_grace_usec, &sum))
                        return 0;
        }
        return sum / USEC_PER_SEC + (sum % USEC_PER_SEC > 0);
}

/* ---- what the step says ---- */

void plan_forget_step_report(Plan *p) {
        p->percent = -1;
        p->text[0] = p->stdout_tail[0] = p->stderr_tail[0] = '\0';
}

static int take_text(char ret[static VALUE_BYTES], const char *data, size_t len, bool tail) {
        char *clean CLEANUP_FREE = text_sanitize(data, len, LIMIT_DETAILS_VALUE, tail);

        if (!clean)
                return -ENOMEM;
        plan_format(ret, VALUE_BYTES, "%s", clean);
        return 0;
}

int plan_take_output(Plan *p, const PlanEvent *event) {
        int r = 0;

        if (event->stderr_lines > p->stderr_lines)
                p->stderr_lines = event->stderr_lines;
        if (p->config.report_output == PLAN_REPORT_NEVER)
                return 0;
        if (event->stdout_tail)
                r = take_text(p->stdout_tail, event->stdout_tail, event->stdout_len, true);
        if (r == 0 && event->stderr_tail)
                r = take_text(p->stderr_tail, event->stderr_tail, event->stderr_len, true);
        return r;
}

static int set_own(Plan *p, const char *key, const char *value, size_t len) {
        char clean[VALUE_BYTES];
        size_t i = 0;

        while (i < p->n_own && strcmp(p->own[i].key, key) != 0)
                i++;
        if (i == PLAN_OWN_KEYS_MAX)
                return -E2BIG;
        if (take_text(clean, value, len, false) < 0)
                return -ENOMEM;
        if (i == p->n_own) {
                if (clean[0] == '\0')
                        return 0;
                plan_format(p->own[i].key, sizeof p->own[i].key, "%s", key);
                p->n_own++;
        } else if (strcmp(p->own[i].value, clean) == 0)
                return 0;
        (void) memcpy(p->own[i].value, clean, strlen(clean) + 1);
        return 1;
}

static int set_text(Plan *p, const char *text, size_t len) {
        char clean[VALUE_BYTES];

        if (take_text(clean, text, len, false) < 0)
                return -ENOMEM;
        if (strcmp(clean, p->text) == 0)
                return 0;
        (void) memcpy(p->text, clean, strlen(clean) + 1);
        return 1;
}

int plan_take_progress(Plan *p, const char *line, size_t len) {
        ProgressLine said;
        int former = p->percent;

        progress_parse(line, len, &said);
        switch (said.kind) {
        case PROGRESS_NOTHING:
                break;
        case PROGRESS_PERCENT:
                p->percent = said.percent;
                return said.percent != former;
        case PROGRESS_DETAIL:
                return set_own(p, said.key, said.text, said.len);
        case PROGRESS_TEXT:
                return set_text(p, said.text, said.len);
        }
        return 0;
}
