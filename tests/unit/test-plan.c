/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "unit.h"

/* ---- memory that runs out ----
 *
 * Sanitizers bring an allocator of their own; there these tests only see that nothing else changes. */

#if defined(__SANITIZE_ADDRESS__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC 1
#endif

static int failing_allocation; /* the n-th from here fails; 0 = none */

#if OWN_MALLOC
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static bool allocation_fails(void) {
        if (failing_allocation == 0 || --failing_allocation > 0)
                return false;
        errno = ENOMEM;
        return true;
}

void *malloc(size_t n) {
        return allocation_fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
        return allocation_fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
        return allocation_fails() ? NULL : __libc_realloc(p, n);
}

/* The C library's own call its allocator past the ones above. */
void *reallocarray(void *p, size_t n, size_t size) {
        return realloc(p, n * size);
}

char *strdup(const char *text) {
        size_t n = strlen(text) + 1;
        char *copy = malloc(n);

        return copy ? memcpy(copy, text, n) : NULL;
}
#endif

/* ---- a bench: a plan in a shell that does nothing but write down what it is told ----
 *
 * A script is a list of words, one event each; the trace is a list of words, one action each. LOG actions are left out. */

typedef struct Bench {
        Plan *plan;
        PlanConfig config;
        PlanStepConfig steps[3];
        PlanExitRule rules[4], step_rules[2];
        uint64_t now;
        int failing_persist; /* the n-th PERSIST from here fails; 0 = none */
        bool short_of_memory; /* every event first fails in each of its allocations */
        int shortages;
        bool gone;
        Buf trace;
        PlanAction last_tell; /* details of the newest TELL; owned */
        size_t warnings;
} Bench;

static void bench_init(Bench *b) {
        *b = (Bench) { .now = 1000000 };
        for (size_t i = 0; i < ELEMENTSOF(b->steps); i++)
                b->steps[i] = (PlanStepConfig) {
                        .timeout_usec = 60 * USEC_PER_SEC,
                        .kill_grace_usec = 10 * USEC_PER_SEC,
                        .allow_stderr = -1,
                };
        b->steps[0].name = "Get";
        b->steps[1].name = "Install";
        b->steps[2].name = "Check";
        b->config = (PlanConfig) {
                .key = { .thing = "t", .job_id = "j", .number = 1, .queued_at = 1625268804 },
                .claim = "NewClaim",
                .boot_id = "boot-1",
                .steps = b->steps,
                .n_steps = 1,
                .document = "{}",
                .document_len = 2,
                .max_attempts = 2,
                .retry_delay_usec = 60 * USEC_PER_SEC,
                .reboot_timeout_usec = 900 * USEC_PER_SEC,
        };
}

static void bench_done(Bench *b) {
        b->plan = plan_free(b->plan);
        buf_done(&b->trace);
        wire_message_done(&b->last_tell.message);
}
#define CLEANUP_BENCH __attribute__((cleanup(bench_done)))

static void put(Bench *b, const char *format, ...) PRINTF_LIKE(2, 3);
static void put(Bench *b, const char *format, ...) {
        char text[128];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (b->trace.len > 0)
                buf_puts(&b->trace, " ");
        buf_puts(&b->trace, text);
}

static void trace_tell(Bench *b, const PlanAction *a) {
        const WireMessage *m = &a->message;
        Buf packet CLEANUP_BUF = {};

        ck_assert_msg(wire_encode(m, &packet) == 0, "a %s that cannot be sent", wire_type_name(m->type));
        wire_message_done(&b->last_tell.message);
        ck_assert_int_eq(wire_message_copy(&b->last_tell.message, m), 0);
        if (m->type == WIRE_RESULT)
                put(b, "T:%s", proto_status_name(m->status));
        else if (m->type == WIRE_PLAN)
                put(b, "T:plan-%s", wire_phase_name(m->phase));
        else if (m->type == WIRE_ATTACHED)
                put(b, "T:attached-%s", wire_run_state_name(m->state));
        else if (m->type == WIRE_DEFERRED)
                put(b, "T:deferred+%llu", (unsigned long long) m->seconds);
        else
                put(b, "T:%s", wire_type_name(m->type));
}

/* What a record cannot hold could not be made durable either. */
static void trace_persist(Bench *b, const PlanAction *a) {
        Buf line CLEANUP_BUF = {};

        ck_assert_int_eq(record_encode(&a->entry, &line), 0);
        switch (a->entry.type) {
        case RECORD_PREPARED:
                put(b, "P:prepared");
                break;
        case RECORD_STARTED:
                put(b, a->entry.restarts > 0 ? "P:started%u.%u/%u" : "P:started%u.%u", a->entry.step, a->entry.attempt,
                    a->entry.restarts);
                ck_assert_str_eq(a->entry.boot_id, b->config.boot_id);
                ck_assert_int_eq(a->entry.pid, 42);
                ck_assert_uint_eq(a->entry.start_time, 5);
                break;
        case RECORD_RESULT:
                put(b, "P:%s", proto_status_name(a->entry.status));
                break;
        case RECORD_DEFERRED:
                put(b, "P:deferred%u.%u/%u+%llu", a->entry.step, a->entry.attempt, a->entry.restarts,
                    (unsigned long long) a->entry.delay);
                ck_assert_str_eq(a->entry.boot_id, b->config.boot_id);
                ck_assert_uint_eq(a->entry.at, b->now);
                break;
        case RECORD_DOCUMENT:
                put(b, "P:document");
                ck_assert_str_eq(a->entry.document, b->config.document);
                break;
        case RECORD_REBOOTING:
                put(b, "P:rebooting%u.%u/%u", a->entry.step, a->entry.attempt, a->entry.restarts);
                ck_assert_str_eq(a->entry.boot_id, b->config.boot_id);
                break;
        case RECORD_TYPE_COUNT:
                ck_abort();
        }
}

static void trace_action(Bench *b, const PlanAction *a) {
        ck_assert_msg(!b->gone, "an action after EXIT");
        switch (a->type) {
        case PLAN_ACTION_PERSIST:
                trace_persist(b, a);
                break;
        case PLAN_ACTION_TELL:
                trace_tell(b, a);
                break;
        case PLAN_ACTION_TAKE_SLOT:
                put(b, "slot");
                break;
        case PLAN_ACTION_TAKE_ALL_SLOTS:
                put(b, "all-slots");
                break;
        case PLAN_ACTION_REBOOT:
                put(b, "reboot");
                break;
        case PLAN_ACTION_FORK:
                put(b, "fork%u.%u%s", a->step, a->attempt,
                    a->phase == WIRE_PHASE_RERUN         ? "r"
                    : a->phase == WIRE_PHASE_RETRY       ? "t"
                    : a->phase == WIRE_PHASE_POST_REBOOT ? "b"
                                                         : "");
                break;
        case PLAN_ACTION_RELEASE:
                put(b, "release");
                break;
        case PLAN_ACTION_KILL:
                put(b, a->signal == SIGTERM ? "TERM" : a->signal == SIGKILL ? "KILL" : "what");
                break;
        case PLAN_ACTION_LOG:
                ck_assert(a->text[0] != '\0' && utf8_valid(a->text, strlen(a->text)));
                b->warnings += a->level <= 4;
                break;
        case PLAN_ACTION_BURY:
                put(b, "bury:%s", proto_status_name(a->message.status));
                break;
        case PLAN_ACTION_FORGET:
                put(b, "forget");
                break;
        case PLAN_ACTION_EXIT:
                put(b, "exit");
                b->gone = true;
                break;
        }
}

/* Fail each of the event's allocations in turn: it must then have had no effect, and is said again. */
static void step_short_of_memory(Bench *b, const PlanEvent *event, PlanActions *actions) {
        const char *state = plan_state_name(b->plan);
        uint64_t deadline = plan_deadline(b->plan);

        for (int n = 1; n < 1000; n++) {
                int r;

                failing_allocation = n;
                r = plan_step(b->plan, event, actions);
                if (failing_allocation > 0) { /* it needs fewer than n */
                        failing_allocation = 0;
                        ck_assert_int_eq(r, 0);
                        return;
                }
                ck_assert_int_eq(r, -ENOMEM);
                ck_assert_uint_eq(actions->n, 0);
                ck_assert_str_eq(plan_state_name(b->plan), state);
                ck_assert_uint_eq(plan_deadline(b->plan), deadline);
                b->shortages++;
        }
        ck_abort_msg("no end of allocations");
}

static void feed(Bench *b, PlanEvent event) {
        PlanActions actions = {};

        event.now = b->now;
        if (b->short_of_memory)
                step_short_of_memory(b, &event, &actions);
        else
                ck_assert_int_eq(plan_step(b->plan, &event, &actions), 0);
        for (size_t i = 0; i < actions.n; i++) {
                const PlanAction *a = &actions.item[i];

                if (a->type == PLAN_ACTION_PERSIST && b->failing_persist > 0 && --b->failing_persist == 0) {
                        put(b, "(");
                        trace_persist(b, a);
                        put(b, "fails)");
                        plan_actions_done(&actions);
                        feed(b, (PlanEvent) { .type = PLAN_EVENT_PERSIST_FAILED, .text = "No space", .text_len = 8 });
                        return;
                }
                trace_action(b, a);
        }
        plan_actions_done(&actions);
}

/* Let time pass; every deadline on the way is served. */
static void pass(Bench *b, uint64_t usec) {
        uint64_t until = b->now + usec;

        for (int i = 0; plan_deadline(b->plan) <= until; i++) {
                ck_assert_int_lt(i, 10000);
                b->now = MAX_OF(b->now, plan_deadline(b->plan));
                feed(b, (PlanEvent) { .type = PLAN_EVENT_TIMER });
        }
        b->now = until;
}

/* P prepared, S started, B in another boot, X restarted as often as may be, F has a result; D deferred, E in another boot, R rebooting,
 * N in another boot. */
static void script_record(char how, RecordState *ret) {
        const char *boot = strchr("BEN", how) ? "boot-0" : "boot-1";
        RecordEntry *attempt = how == 'D' || how == 'E' ? &ret->deferred : how == 'R' || how == 'N' ? &ret->rebooting : NULL;

        ret->phase = how == 'P' ? RECORD_IS_PREPARED
                     : how == 'F' ? RECORD_HAS_RESULT
                     : attempt == &ret->deferred ? RECORD_IS_DEFERRED
                     : attempt ? RECORD_IS_REBOOTING
                               : RECORD_IS_STARTED;
        if (how == 'F') {
                ret->result.status = PROTO_STATUS_FAILED;
                ck_assert_int_eq(proto_details_set(&ret->result.details, "reason", "old"), 0);
        }
        if (how == 'P' || how == 'F')
                return;
        ret->started = (RecordEntry) { .type = RECORD_STARTED, .attempt = 1, .pid = 7, .restarts = how == 'X' ? 2 : 0 };
        (void) strcpy(ret->started.boot_id, boot);
        if (!attempt)
                return;
        *attempt = (RecordEntry) { .attempt = 1, .restarts = 1, .retries = 1, .at = 1000000, .delay = 60 };
        (void) strcpy(attempt->boot_id, boot);
}

/* [c|o|l|a|d|t]open[RECORD][=|-][~]: how the life begins (t: by an attach, o: by a cancel of the operator, l: because it is too late) and what the record says; =: with another document than the
 * record's, -: of the same length, ~: which is refused. */
static bool script_open(Bench *b, const char *word) {
        RecordState record CLEANUP_RECORD_STATE = { .key = b->config.key, .claim = "OldClaim" };
        PlanEvent event = { .type = PLAN_EVENT_OPEN, .record = &record };
        const char *at = word;

        event.by_operator = *at == 'o' && at[1] == 'o';
        event.by_deadline = *at == 'l';
        event.open = *at == 'c' || event.by_operator || event.by_deadline ? PLAN_OPEN_CANCEL
                     : *at == 'a' ? PLAN_OPEN_ACK
                     : *at == 'd' ? PLAN_OPEN_DROP
                     : *at == 't' ? PLAN_OPEN_ATTACH
                                  : PLAN_OPEN_RUN;
        at += event.open != PLAN_OPEN_RUN;
        if (strncmp(at, "open", 4) != 0)
                return false;
        for (at += 4; *at != '\0'; at++)
                if (*at == '=' || *at == '-') {
                        record.document = strdup(*at == '=' ? "{\"former\":1}" : "[]");
                        record.document_len = strlen(record.document);
                } else if (*at == '~') {
                        event.text = "steps: missing";
                        event.text_len = strlen(event.text);
                } else
                        script_record(*at, &record);
        feed(b, event);
        return true;
}

static bool script_setting(Bench *b, const char *word) {
        if (strcmp(word, "2steps") == 0)
                b->config.n_steps = 2;
        else if (strcmp(word, "3steps") == 0)
                b->config.n_steps = 3;
        else if (strcmp(word, "ignore") == 0)
                b->steps[0].ignore_failure = true;
        else if (strcmp(word, "ignore-all") == 0)
                b->steps[0].ignore_failure = b->steps[1].ignore_failure = b->steps[2].ignore_failure = true;
        else if (strcmp(word, "rerun") == 0)
                b->steps[0].on_interrupt = b->steps[1].on_interrupt = PLAN_INTERRUPT_RERUN;
        else if (strcmp(word, "nograce") == 0)
                b->steps[0].kill_grace_usec = 0;
        else if (strcmp(word, "notimeout") == 0)
                b->steps[0].timeout_usec = 0;
        else if (strcmp(word, "finish") == 0)
                b->steps[0].on_cancel = PLAN_CANCEL_FINISH;
        else if (strcmp(word, "patient") == 0)
                b->config.max_attempts = 20;
        else if (strcmp(word, "never") == 0)
                b->config.max_attempts = 0;
        else if (strncmp(word, "stderr<=", 8) == 0)
                b->steps[0].allow_stderr = atoi(word + 8);
        else
                return false;
        return true;
}

static void script_event(Bench *b, const char *word) {
        static const struct {
                const char *word;
                PlanEventType type;
        } plain[] = {
                { "go", PLAN_EVENT_GO },         { "slot", PLAN_EVENT_SLOT_TAKEN },  { "empty", PLAN_EVENT_TREE_EMPTY },
                { "cancel", PLAN_EVENT_CANCEL }, { "stop", PLAN_EVENT_STOP },        { "attach", PLAN_EVENT_ATTACH },
                { "ack", PLAN_EVENT_ACK },       { "gone", PLAN_EVENT_DISCONNECTED }, { "drop", PLAN_EVENT_DROP },
                { "tick", PLAN_EVENT_TIMER },    { "told", PLAN_EVENT_TOLD },
        };
        PlanEvent e = { .type = PLAN_EVENT_EXITED };
        char *end;

        for (size_t i = 0; i < ELEMENTSOF(plain); i++)
                if (strcmp(word, plain[i].word) == 0) {
                        feed(b, (PlanEvent) { .type = plain[i].type });
                        return;
                }
        if (strcmp(word, "ocancel") == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_CANCEL, .by_operator = true });
        } else if (strncmp(word, "deadline", 8) == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_DEADLINE, .seconds = strtoull(word + 8, NULL, 10) });
        } else if (strcmp(word, "noreboot") == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_REBOOT_FAILED, .text = "systemctl: no such file", .text_len = 23 });
        } else if (strcmp(word, "forked") == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_FORKED, .pid = 42, .start_time = 5 });
        } else if (strcmp(word, "startfail") == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_START_FAILED, .text = "no such file", .text_len = 12 });
        } else if (strncmp(word, "say:", 4) == 0) {
                feed(b, (PlanEvent) { .type = PLAN_EVENT_PROGRESS, .text = word + 4, .text_len = strlen(word + 4) });
        } else if (strncmp(word, "exit", 4) == 0 || strncmp(word, "sig", 3) == 0) {
                if (strstr(word, "oom"))
                        e.limit = "out of memory: memory_max 64M";
                e.signalled = word[0] == 's';
                e.code = (int) strtol(word + (e.signalled ? 3 : 4), &end, 10);
                e.tree_empty = *end == '.';
                e.stdout_tail = "out";
                e.stdout_len = 3;
                e.stderr_tail = "err";
                e.stderr_len = 3;
                e.stderr_lines = 2;
                feed(b, e);
        } else if (word[0] == '+') {
                pass(b, strtoull(word + 1, NULL, 10) * USEC_PER_MSEC);
        } else if (word[0] == '!') {
                b->failing_persist = 1;
        } else
                ck_abort_msg("what is \"%s\"?", word);
}

static void run_script(Bench *b, const char *script) {
        char *copy CLEANUP_FREE = strdup(script), *save = NULL;

        for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                if (!b->plan && script_setting(b, word))
                        continue;
                if (!b->plan)
                        ck_assert_int_eq(plan_new(&b->config, &b->plan), 0);
                if (!script_open(b, word))
                        script_event(b, word);
        }
}

static const char *detail(const Bench *b, const char *key) {
        const char *v = proto_details_get(&b->last_tell.message.details, key);

        return v ? v : "";
}

/* ---- every order of events ---- */

#define TO_GO "P:prepared T:plan-run slot"
#define TO_FORK TO_GO " fork0.1"
#define TO_RUN TO_FORK " P:started0.1 release"

static const struct {
        const char *script, *trace;
} orders[] = {
        /* the plain way */
        { "open", "P:prepared T:plan-run" },
        { "open go slot forked", TO_RUN },
        { "open go slot forked exit0. empty ack", TO_RUN " P:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "open go go slot slot forked forked exit0. exit0. empty empty ack ack", TO_RUN " P:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "2steps open go slot forked exit0. empty forked exit0. empty",
          TO_RUN " fork1.1 T:progress P:started1.1 release P:SUCCEEDED T:SUCCEEDED" },

        /* ends of a handler */
        { "open go slot forked exit3. empty", TO_RUN " P:FAILED T:FAILED" },
        { "open go slot forked exit65. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "open go slot forked sig9. empty", TO_RUN " P:FAILED T:FAILED" },
        { "2steps open go slot forked exit3. empty", TO_RUN " P:FAILED T:FAILED" },
        { "2steps ignore open go slot forked exit3. empty forked exit0. empty",
          TO_RUN " fork1.1 T:progress P:started1.1 release P:SUCCEEDED T:SUCCEEDED" },
        { "2steps ignore open go slot forked sig11. empty forked", TO_RUN " fork1.1 T:progress P:started1.1 release" },
        { "2steps ignore open go slot forked exit65. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "ignore open go slot forked exit3. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "stderr<=2 open go slot forked exit0. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "stderr<=1 open go slot forked exit0. empty", TO_RUN " P:FAILED T:FAILED" },
        { "stderr<=0 open go slot forked exit65. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "stderr<=5 open go slot forked exit1. empty", TO_RUN " P:FAILED T:FAILED" },
        { "open go slot forked empty", TO_RUN " P:FAILED T:FAILED" }, /* nobody saw how: no success */
        { "open go slot startfail", TO_FORK " P:FAILED T:FAILED" },
        { "open go slot forked startfail", TO_RUN " P:FAILED T:FAILED" },
        { "2steps ignore open go slot startfail", TO_FORK " fork1.1 T:progress" },

        /* what it leaves behind is stopped before the verdict, and before the next step */
        { "open go slot forked exit0 empty", TO_RUN " TERM P:SUCCEEDED T:SUCCEEDED" },
        { "open go slot forked exit0 +9999", TO_RUN " TERM" },
        { "open go slot forked exit0 +10000", TO_RUN " TERM KILL" },
        { "open go slot forked exit0 +12500 empty", TO_RUN " TERM KILL KILL KILL P:SUCCEEDED T:SUCCEEDED" },
        { "nograce open go slot forked exit0 +1000 empty", TO_RUN " KILL KILL P:SUCCEEDED T:SUCCEEDED" },
        { "open go slot forked exit0. +1999", TO_RUN },
        { "open go slot forked exit0. +2000", TO_RUN " TERM" },

        /* timeout */
        { "open go slot forked +59999", TO_RUN },
        { "open go slot forked +60000", TO_RUN " TERM" },
        { "open go slot forked +60000 sig15. empty", TO_RUN " TERM P:FAILED T:FAILED" },
        { "open go slot forked +60000 exit0. empty", TO_RUN " TERM P:FAILED T:FAILED" },
        { "open go slot forked +71500 sig9. empty", TO_RUN " TERM KILL KILL P:FAILED T:FAILED" },
        { "notimeout open go slot forked +999999999", TO_RUN },
        { "2steps ignore open go slot forked +60000 sig15. empty", TO_RUN " TERM fork1.1 T:progress" },

        /* cancel in every state */
        { "open cancel", "P:prepared T:plan-run P:CANCELED T:CANCELED" },
        { "open go cancel slot", TO_GO " P:CANCELED T:CANCELED" },
        { "open go slot cancel forked exit0. empty", TO_FORK " KILL P:CANCELED T:CANCELED" },
        { "open go slot forked cancel", TO_RUN " TERM" },
        { "open go slot forked cancel cancel +10000 sig9. empty ack", TO_RUN " TERM KILL P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "open go slot forked cancel exit0. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "2steps open go slot forked exit0 cancel empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "2steps ignore open go slot forked cancel exit3. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "open go slot forked +60000 cancel sig15. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "open go slot forked exit3. empty cancel ack", TO_RUN " P:FAILED T:FAILED T:FAILED bury:FAILED exit" },
        { "open go slot forked stop cancel", TO_RUN " P:FAILED T:FAILED TERM T:FAILED" },
        { "rerun open go slot forked stop cancel empty", TO_RUN " TERM P:CANCELED T:CANCELED exit" },

        /* ack before a result: over in the cloud, no answer wanted */
        /* by the operator of the device: the cloud is told, whatever happens to runner and agent */
        { "open ocancel ack", "P:prepared T:plan-run P:REJECTED T:REJECTED bury:REJECTED exit" },
        { "open go slot forked ocancel sig15. empty ack", TO_RUN " TERM P:REJECTED T:REJECTED bury:REJECTED exit" },
        { "open go slot forked ocancel exit0. empty", TO_RUN " TERM P:REJECTED T:REJECTED" },
        { "open go slot forked ocancel cancel sig15. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "open go slot forked cancel ocancel sig15. empty", TO_RUN " TERM P:REJECTED T:REJECTED" },
        { "open go slot forked ocancel ack sig15. empty", TO_RUN " TERM bury:CANCELED exit" },
        { "open go slot forked ocancel stop sig15. empty", TO_RUN " TERM P:REJECTED T:REJECTED exit" },
        { "open go slot forked exit75. empty ocancel", TO_RUN " P:deferred0.1/1+60 T:deferred+60 exit" },
        { "oopenD ack", "P:REJECTED T:REJECTED bury:REJECTED exit" },
        { "oopenS ack", "P:REJECTED T:REJECTED bury:REJECTED exit" },
        { "finish open go slot forked ocancel exit0. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "finish open go slot forked ocancel exit3. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "finish open go slot forked ocancel exit75. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "finish 2steps open go slot forked ocancel exit0. empty", TO_RUN " P:REJECTED T:REJECTED" },
        { "open ack", "P:prepared T:plan-run bury:CANCELED exit" },
        { "open go ack", TO_GO " bury:CANCELED exit" },
        { "open go slot ack", TO_FORK " KILL bury:CANCELED exit" },
        { "open go slot forked ack sig15. empty", TO_RUN " TERM bury:CANCELED exit" },
        { "open go slot forked stop ack sig15. empty", TO_RUN " P:FAILED T:FAILED TERM bury:FAILED exit" },

        /* drop before any start forgets the record; after one it stops and buries, as ack does */
        { "open drop", "P:prepared T:plan-run forget exit" },
        { "open go drop", TO_GO " forget exit" },
        { "open go slot drop", TO_FORK " KILL forget exit" },
        { "open go slot forked drop", TO_RUN " TERM" },
        { "open go slot forked drop sig15 empty", TO_RUN " TERM bury:CANCELED exit" },
        { "open go slot forked exit0. empty drop ack", TO_RUN " P:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "2steps open go slot forked exit0. empty drop", TO_RUN " fork1.1 T:progress KILL bury:CANCELED exit" },

        /* the agent's connection */
        { "open gone", "P:prepared T:plan-run exit" },
        { "open go gone slot", TO_FORK },
        { "open go slot gone forked exit0. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED exit" },
        { "open go slot forked gone exit0. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED exit" },
        { "open go slot forked exit0. gone attach empty ack", TO_RUN " T:attached-started P:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "open go slot forked exit0. empty gone", TO_RUN " P:SUCCEEDED T:SUCCEEDED exit" },
        { "open go slot forked exit0. empty +4999", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "open go slot forked exit0. empty +5000", TO_RUN " P:SUCCEEDED T:SUCCEEDED exit" },
        { "open go slot forked exit0. empty +4000 attach +4999", TO_RUN " P:SUCCEEDED T:SUCCEEDED T:SUCCEEDED" },
        { "open attach go", "P:prepared T:plan-run T:plan-run slot" },
        { "open go attach", TO_GO " T:attached-prepared" },
        { "open go slot attach", TO_FORK " T:attached-prepared" },
        { "open go slot forked attach", TO_RUN " T:attached-started" },
        { "open go slot forked say:40 attach", TO_RUN " T:progress T:attached-started T:progress" },
        { "open go slot forked cancel attach", TO_RUN " TERM T:attached-started" },
        { "open go slot forked stop attach", TO_RUN " P:FAILED T:FAILED TERM T:FAILED" },

        /* progress: at most one each 100 ms, the newest at last */
        { "open go slot forked say:1 say:2 say:3 +99", TO_RUN " T:progress" },
        { "open go slot forked say:1 say:2 say:3 +100 +1000", TO_RUN " T:progress T:progress" },
        { "open go slot forked say:1 say:1 say:1 +1000", TO_RUN " T:progress" },
        { "open go slot forked gone say:1 +1000 attach", TO_RUN " T:attached-started T:progress" },
        { "open go slot forked say:1 say:2 exit0. empty +1000", TO_RUN " T:progress P:SUCCEEDED T:SUCCEEDED" },
        { "open go slot forked exit0. empty say:9 +1000", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "open go slot forked cancel say:9 +1000", TO_RUN " TERM" },

        /* the runner is told to stop */
        { "open stop", "P:prepared T:plan-run exit" },
        { "open go stop", TO_GO " exit" },
        { "open go slot stop", TO_FORK " KILL exit" },
        { "open go slot forked stop +10000 sig9. empty", TO_RUN " P:FAILED T:FAILED TERM KILL exit" },
        { "rerun open go slot forked stop sig15. empty", TO_RUN " TERM exit" },
        { "open go slot forked +60000 stop sig15. empty", TO_RUN " TERM P:FAILED T:FAILED exit" },
        { "open go slot forked cancel stop sig15. empty", TO_RUN " TERM P:CANCELED T:CANCELED exit" },
        { "open go slot forked exit0 stop empty", TO_RUN " TERM P:SUCCEEDED T:SUCCEEDED exit" },
        { "2steps open go slot forked exit0 stop empty", TO_RUN " TERM P:FAILED T:FAILED exit" },
        { "2steps rerun open go slot forked exit0 stop empty", TO_RUN " TERM exit" },
        { "open go slot forked exit0. empty stop", TO_RUN " P:SUCCEEDED T:SUCCEEDED exit" },
        { "open go slot forked stop startfail", TO_RUN " P:FAILED T:FAILED TERM exit" },

        /* the record cannot be written */
        { "! open", "( P:prepared fails) T:unable exit" },
        { "open go slot ! forked", TO_FORK " ( P:started0.1 fails) KILL T:unable exit" },
        { "open go slot forked ! exit0. empty gone attach ack",
          TO_RUN " ( P:SUCCEEDED fails) T:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "open go slot forked ! exit0. empty +999999 tick", TO_RUN " ( P:SUCCEEDED fails) T:SUCCEEDED" },
        { "open go slot forked gone ! exit0. empty attach ack",
          TO_RUN " ( P:SUCCEEDED fails) T:SUCCEEDED T:SUCCEEDED bury:SUCCEEDED exit" },
        { "2steps open go slot forked exit0. empty ! forked ack",
          TO_RUN " fork1.1 T:progress ( P:started1.1 fails) KILL P:FAILED T:FAILED bury:FAILED exit" },
        { "open go slot forked ! stop sig15. empty", TO_RUN " ( P:FAILED fails) T:FAILED TERM exit" },
        { "! open stop ack cancel attach", "( P:prepared fails) T:unable exit" },
        { "open ! cancel ack", "P:prepared T:plan-run ( P:CANCELED fails) T:CANCELED bury:CANCELED exit" },
        { "open go ! cancel ack", TO_GO " ( P:CANCELED fails) T:CANCELED bury:CANCELED exit" },
        { "open go slot ! cancel ack", TO_FORK " KILL ( P:CANCELED fails) T:CANCELED bury:CANCELED exit" },
        { "open go slot forked cancel ! sig15. empty ack", TO_RUN " TERM ( P:CANCELED fails) T:CANCELED bury:CANCELED exit" },
        { "! openS ack", "( P:FAILED fails) T:FAILED bury:FAILED exit" },
        { "rerun openS go slot ! forked", "T:plan-rerun slot fork0.2r ( P:started0.2/1 fails) KILL T:unable exit" },

        /* retry: recorded, told, and left to the next runner */
        { "open go slot forked exit75. empty", TO_RUN " P:deferred0.1/1+60 T:deferred+60 exit" },
        { "open go slot forked exit75 empty", TO_RUN " TERM P:deferred0.1/1+60 T:deferred+60 exit" },
        { "open go slot forked gone exit75. empty", TO_RUN " P:deferred0.1/1+60 T:deferred+60 exit" },
        { "2steps open go slot forked exit0. empty forked exit75. empty",
          TO_RUN " fork1.1 T:progress P:started1.1 release P:deferred1.1/1+60 T:deferred+60 exit" },
        { "never open go slot forked exit75. empty", TO_RUN " P:FAILED T:FAILED" },
        { "never ignore 2steps open go slot forked exit75. empty", TO_RUN " fork1.1 T:progress" },
        { "open go slot forked cancel exit75. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "open go slot forked +60000 exit75. empty", TO_RUN " TERM P:FAILED T:FAILED" },
        { "open go slot forked exit75 stop", TO_RUN " TERM P:deferred0.1/1+60 T:deferred+60" },
        { "open go slot forked exit75 stop +1500 attach empty", TO_RUN " TERM P:deferred0.1/1+60 T:deferred+60 T:deferred+59 exit" },
        { "open go slot forked exit75 stop cancel empty", TO_RUN " TERM P:deferred0.1/1+60 T:deferred+60 P:CANCELED T:CANCELED exit" },
        { "open go slot forked ! exit75. empty ack", TO_RUN " ( P:deferred0.1/1+60 fails) P:FAILED T:FAILED bury:FAILED exit" },
        { "openD", "T:deferred+60 exit" },
        { "+59000 openD", "T:deferred+1 exit" },
        { "+59001 openD", "T:deferred+1 exit" },
        { "+60000 openD go slot forked", "T:plan-retry slot fork0.2t P:started0.2/1 release" },
        { "+60000 openD go slot forked exit75. empty",
          "T:plan-retry slot fork0.2t P:started0.2/1 release P:deferred0.2/2+120 T:deferred+120 exit" },
        { "+60000 openD go slot forked exit194. empty",
          "T:plan-retry slot fork0.2t P:started0.2/1 release P:rebooting0.2/2 T:rebooting" },
        { "2steps +60000 openD go slot forked exit0. empty forked exit75. empty",
          "T:plan-retry slot fork0.2t P:started0.2/1 release fork1.1 T:progress P:started1.1/1 release P:deferred1.1/2+60 "
          "T:deferred+60 exit" },
        { "+60000 openD=", "P:document T:plan-retry" },
        { "+60000 openD-", "P:document T:plan-retry" },
        { "+60000 ! openD=", "( P:document fails) T:unable exit" },
        { "+60000 openD~ ack", "P:FAILED T:FAILED bury:FAILED exit" },
        { "openD~", "T:deferred+60 exit" },
        { "+60000 openD gone", "T:plan-retry exit" },
        { "+60000 openD drop", "T:plan-retry bury:CANCELED exit" },
        { "+60000 openD cancel ack", "T:plan-retry P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "+60000 openD go slot ! forked", "T:plan-retry slot fork0.2t ( P:started0.2/1 fails) KILL T:unable exit" },
        { "openE go slot forked", "T:plan-retry slot fork0.2t P:started0.2/1 release" },
        { "topenD", "T:deferred+60 exit" },
        { "lopenD", "P:FAILED T:FAILED" },
        { "lopenD ack", "P:FAILED T:FAILED bury:FAILED exit" },
        { "lopenD cancel ack", "P:FAILED T:FAILED T:FAILED bury:FAILED exit" },
        { "lopenF ack", "T:FAILED bury:FAILED exit" },
        { "lopenS ack", "P:CANCELED T:CANCELED bury:CANCELED exit" }, /* it is no more what was weighed */
        { "+99000 topenD", "T:deferred+0 exit" },
        { "topenE=", "T:deferred+0 exit" },
        { "copenD ack", "P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "aopenD", "bury:CANCELED exit" },
        { "dopenD", "bury:CANCELED exit" },

        /* reboot: recorded, told, and nothing else runs */
        { "open go slot forked exit194. empty", TO_RUN " P:rebooting0.1/1 T:rebooting" },
        { "open go slot forked exit194. empty told slot", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty slot told told slot slot",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty +9999", TO_RUN " P:rebooting0.1/1 T:rebooting" },
        { "open go slot forked exit194. empty +10000 told slot", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty gone +10000 slot", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty told +9999999 slot", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty attach told attach slot attach",
          TO_RUN " P:rebooting0.1/1 T:rebooting T:rebooting all-slots T:rebooting reboot T:rebooting" },
        { "open go slot forked exit194. empty told slot +899999", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked exit194. empty told slot +900000 ack",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:FAILED T:FAILED bury:FAILED exit" },
        { "ignore 2steps open go slot forked exit194. empty told slot +900000",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:FAILED T:FAILED" },
        { "open go slot forked exit194. empty told slot noreboot",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:FAILED T:FAILED" },
        { "open go slot forked exit194. empty told noreboot",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots P:FAILED T:FAILED" },
        { "open go slot forked noreboot exit0. empty", TO_RUN " P:SUCCEEDED T:SUCCEEDED" },
        { "never open go slot forked exit194. empty", TO_RUN " P:FAILED T:FAILED" },
        { "open go slot forked exit194. empty cancel ack",
          TO_RUN " P:rebooting0.1/1 T:rebooting P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "open go slot forked exit194. empty told cancel",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots P:CANCELED T:CANCELED" },
        { "open go slot forked exit194. empty told slot cancel +1000 stop",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:CANCELED T:CANCELED exit" },
        { "open go slot forked exit194. empty told slot ack stop",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot bury:CANCELED exit" },
        { "open go slot forked exit194. empty told slot cancel +900000 ack",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "open go slot forked exit194. empty told slot cancel noreboot",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot P:CANCELED T:CANCELED" },
        { "open go slot forked exit194. empty drop", TO_RUN " P:rebooting0.1/1 T:rebooting bury:CANCELED exit" },
        { "open go slot forked exit194. empty stop", TO_RUN " P:rebooting0.1/1 T:rebooting exit" },
        { "open go slot forked exit194. empty told slot stop", TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot exit" },
        { "open go slot forked exit194 stop attach empty", TO_RUN " TERM P:rebooting0.1/1 T:rebooting T:rebooting exit" },
        { "open go slot forked ! exit194. empty", TO_RUN " ( P:rebooting0.1/1 fails) P:FAILED T:FAILED" },
        { "openR told slot", "T:rebooting all-slots reboot" },
        { "topenR +10000", "T:rebooting all-slots" },
        { "openR~", "P:FAILED T:FAILED" },
        { "copenR ack", "P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "dopenR", "bury:CANCELED exit" },
        { "openN", "T:attached-started T:progress slot" },
        { "topenN slot forked", "T:attached-started T:progress slot fork0.2b P:started0.2/1 release" },
        { "topenN gone slot forked exit0. empty",
          "T:attached-started T:progress slot fork0.2b P:started0.2/1 release P:SUCCEEDED T:SUCCEEDED exit" },
        { "topenN go attach slot forked", "T:attached-started T:progress slot T:attached-started T:progress fork0.2b P:started0.2/1 release" },
        { "topenN slot forked exit194. empty",
          "T:attached-started T:progress slot fork0.2b P:started0.2/1 release P:rebooting0.2/2 T:rebooting" },
        { "topenN slot ! forked", "T:attached-started T:progress slot fork0.2b ( P:started0.2/1 fails) KILL T:unable exit" },
        { "topenN stop", "T:attached-started T:progress slot exit" },
        { "topenN cancel", "T:attached-started T:progress slot P:CANCELED T:CANCELED" },
        { "topenN~", "P:FAILED T:FAILED" },
        { "copenN ack", "P:CANCELED T:CANCELED bury:CANCELED exit" },

        /* on_cancel = finish: what runs may end, and nothing else starts */
        { "finish open go slot forked cancel cancel +59000", TO_RUN },
        { "finish open go slot forked cancel exit0. empty ack", TO_RUN " P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "finish 2steps open go slot forked cancel exit0. empty", TO_RUN " P:CANCELED T:CANCELED" },
        { "finish open go slot forked cancel exit75. empty", TO_RUN " P:CANCELED T:CANCELED" },
        { "finish open go slot forked cancel exit194. empty", TO_RUN " P:CANCELED T:CANCELED" },
        { "finish open go slot forked cancel +60000 sig15. empty", TO_RUN " TERM P:CANCELED T:CANCELED" },
        { "finish open go slot forked cancel say:50 +1000", TO_RUN },
        { "finish open go slot forked cancel stop", TO_RUN " P:CANCELED T:CANCELED TERM" },
        { "finish rerun open go slot forked cancel stop", TO_RUN " P:CANCELED T:CANCELED TERM" },
        { "finish open go slot forked cancel attach", TO_RUN " T:attached-started" },
        { "finish open go slot forked ack exit0. empty", TO_RUN " bury:CANCELED exit" },
        { "finish open go cancel", TO_GO " P:CANCELED T:CANCELED" },

        /* the service's own deadline: half of it, or 30 s before it, whichever is later; the newest counts */
        { "open go slot forked deadline40 +19999", TO_RUN },
        { "open go slot forked deadline40 +20000", TO_RUN " TERM" },
        { "open go slot forked deadline60 +29999", TO_RUN },
        { "open go slot forked deadline60 +30000 sig15. empty", TO_RUN " TERM P:FAILED T:FAILED" },
        { "notimeout open go slot forked deadline1000 +969999", TO_RUN },
        { "notimeout open go slot forked deadline1000 +970000", TO_RUN " TERM" },
        { "open go slot forked deadline0 tick", TO_RUN " TERM" },
        { "open go slot forked deadline40 deadline600 +59999", TO_RUN },
        { "ignore 2steps open go slot forked deadline40 +20000 sig15. empty", TO_RUN " TERM P:FAILED T:FAILED" },
        { "open go deadline40 +20000", TO_GO " P:FAILED T:FAILED" },
        { "open deadline40 +20000 go slot forked tick", TO_RUN " TERM" },
        { "open go slot forked exit194. empty told deadline40 +20000",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots P:FAILED T:FAILED" },
        { "open go slot forked exit194. empty told slot deadline40 +20000",
          TO_RUN " P:rebooting0.1/1 T:rebooting all-slots reboot" },
        { "open go slot forked deadline40 cancel +20000", TO_RUN " TERM KILL KILL KILL KILL KILL KILL KILL KILL KILL KILL KILL" },

        /* what a record says when a life begins */
        { "openP", "T:plan-run" },
        { "openP go slot forked", "T:plan-run slot fork0.1 P:started0.1 release" },
        { "openP drop", "T:plan-run forget exit" },
        { "openS ack", "P:FAILED T:FAILED bury:FAILED exit" },
        { "openB ack", "P:FAILED T:FAILED bury:FAILED exit" },
        { "rerun openS go slot forked exit0. empty", "T:plan-rerun slot fork0.2r P:started0.2/1 release P:SUCCEEDED T:SUCCEEDED" },
        { "rerun 2steps openB go slot forked exit0. empty forked",
          "T:plan-rerun slot fork0.2r P:started0.2/1 release fork1.1 T:progress P:started1.1/1 release" },
        { "rerun openX", "P:FAILED T:FAILED" },
        { "rerun openS cancel", "T:plan-rerun P:CANCELED T:CANCELED" },
        { "rerun openS drop", "T:plan-rerun bury:CANCELED exit" },
        { "rerun openS go drop", "T:plan-rerun slot bury:CANCELED exit" },
        { "rerun openS gone", "T:plan-rerun exit" },
        { "rerun openS go attach", "T:plan-rerun slot T:attached-started" },
        { "openF ack", "T:FAILED bury:FAILED exit" },
        { "openF gone", "T:FAILED exit" },
        { "openF cancel", "T:FAILED T:FAILED" },
        { "copen", "T:noRecord exit" },
        { "copenP ack", "P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "copenS ack", "P:CANCELED T:CANCELED bury:CANCELED exit" },
        { "copenF ack", "T:FAILED bury:FAILED exit" },
        { "aopen", "exit" },
        { "aopenP", "bury:CANCELED exit" },
        { "aopenS", "bury:CANCELED exit" },
        { "aopenF", "bury:FAILED exit" },
        { "dopen", "exit" },
        { "dopenP", "forget exit" },
        { "dopenS", "bury:CANCELED exit" },
        { "dopenF", "bury:FAILED exit" },
};

START_TEST(order) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        run_script(&b, orders[_i].script);
        ck_assert_msg(strcmp(b.trace.data ? b.trace.data : "", orders[_i].trace) == 0, "%s:\n  did  %s\n  want %s",
                      orders[_i].script, b.trace.data, orders[_i].trace);
        ck_assert_int_eq(b.gone, strcmp(plan_state_name(b.plan), "gone") == 0);
        if (b.gone)
                ck_assert_uint_eq(plan_deadline(b.plan), USEC_NEVER);
}
END_TEST

/* Without memory nothing happens; when it is back everything does, once. */
START_TEST(order_without_memory) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        b.short_of_memory = true;
        run_script(&b, orders[_i].script);
        ck_assert_str_eq(b.trace.data ? b.trace.data : "", orders[_i].trace);
        ck_assert_msg(b.shortages > 0 || !OWN_MALLOC, "%s", orders[_i].script);
}
END_TEST

/* ---- exit codes and signals ---- */

START_TEST(exit_code) {
        Bench b CLEANUP_BENCH;
        char script[64], text[64];
        const char *status = _i == 0 ? "SUCCEEDED" : _i == 65 ? "REJECTED" : _i == 75 || _i == 194 ? "" : "FAILED";

        bench_init(&b);
        (void) snprintf(script, sizeof script, "open go slot forked exit%d. empty", _i);
        run_script(&b, script);
        ck_assert_str_eq(proto_status_name(b.last_tell.message.status), status);
        (void) snprintf(text, sizeof text, "%d", _i);
        ck_assert_str_eq(detail(&b, "exitCode"), _i == 0 ? "" : text);
        if (_i == 75 || _i == 194) {
                ck_assert_int_eq(b.last_tell.message.type, _i == 75 ? WIRE_DEFERRED : WIRE_REBOOTING);
                return;
        }
        ck_assert_str_eq(detail(&b, "signal"), "");
        (void) snprintf(text, sizeof text, "exited with status %d", _i);
        ck_assert_str_eq(detail(&b, "reason"), _i == 0 ? "" : text);
        ck_assert_str_eq(detail(&b, "stderr"), _i == 0 ? "" : "err");
        ck_assert_str_eq(detail(&b, "stdout"), _i == 0 ? "" : "out");
        ck_assert_str_eq(detail(&b, "step"), "1/1 Get");
        ck_assert_str_eq(detail(&b, "claim"), "NewClaim");
}
END_TEST

START_TEST(signal_number) {
        Bench b CLEANUP_BENCH;
        char script[64], reason[64], buf[PLAN_SIGNAL_NAME_MAX];
        const char *name = plan_signal_name(_i, buf);

        bench_init(&b);
        (void) snprintf(script, sizeof script, "open go slot forked sig%d. empty", _i);
        run_script(&b, script);
        ck_assert_int_eq(b.last_tell.message.status, PROTO_STATUS_FAILED);
        (void) snprintf(reason, sizeof reason, "killed by %s", name);
        ck_assert_str_eq(detail(&b, "reason"), reason);
        ck_assert_str_eq(detail(&b, "signal"), name);
        ck_assert_str_eq(detail(&b, "exitCode"), "");
}
END_TEST

/* P1: what ran into its limit has failed, however it exited; the next step knows nothing of that. */
static const struct {
        const char *script, *reason, *key, *value;
        ProtoStatus status;
} limited[] = {
        { "open go slot forked sig9oom empty", "out of memory: memory_max 64M", "signal", "SIGKILL", PROTO_STATUS_FAILED },
        { "open go slot forked exit0oom empty", "out of memory: memory_max 64M", "exitCode", "0", PROTO_STATUS_FAILED },
        { "open go slot forked exit75oom empty", "out of memory: memory_max 64M", "exitCode", "75", PROTO_STATUS_FAILED },
        { "2steps ignore open go slot forked sig9oom empty forked sig9. empty", "step 2/2 Install: killed by SIGKILL", "signal",
          "SIGKILL", PROTO_STATUS_FAILED },
};

START_TEST(limit) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        run_script(&b, limited[_i].script);
        ck_assert_int_eq(b.last_tell.message.status, limited[_i].status);
        ck_assert_str_eq(detail(&b, "reason"), limited[_i].reason);
        ck_assert_str_eq(detail(&b, limited[_i].key), limited[_i].value);
}
END_TEST

START_TEST(signal_names) {
        char buf[PLAN_SIGNAL_NAME_MAX], want[32];

        for (int n = 1; n < 32; n++) {
                const char *abbreviation = sigabbrev_np(n);

                (void) snprintf(want, sizeof want, "SIG%s", n == SIGIO ? "IO" : abbreviation);
                ck_assert_str_eq(plan_signal_name(n, buf), want);
        }
        ck_assert_str_eq(plan_signal_name(SIGRTMIN, buf), "SIGRTMIN");
        ck_assert_str_eq(plan_signal_name(SIGRTMIN + 3, buf), "SIGRTMIN+3");
        ck_assert_str_eq(plan_signal_name(SIGRTMAX, buf), "SIGRTMIN+30");
        ck_assert_str_eq(plan_signal_name(32, buf), "signal 32");
        ck_assert_str_eq(plan_signal_name(0, buf), "signal 0");
        ck_assert_str_eq(plan_signal_name(65, buf), "signal 65");
}
END_TEST

/* ---- what is said ---- */

static const struct {
        const char *script, *key, *value;
} said[] = {
        { "2steps open go slot forked exit3. empty", "reason", "step 1/2 Get: exited with status 3" },
        { "2steps open go slot forked exit0. empty forked sig9. empty", "reason", "step 2/2 Install: killed by SIGKILL" },
        { "2steps open go slot forked exit0. empty forked exit0. empty", "step", "2/2 Install" },
        { "2steps open go slot forked exit0. empty forked exit0. empty", "reason", "" },
        { "open go slot forked +60000 sig15. empty", "reason", "timed out after 60 s" },
        { "open go slot forked +60000 sig15. empty", "signal", "" },
        { "open go slot forked +60000 sig15. empty", "stderr", "err" },
        { "open go slot startfail", "reason", "could not be started: no such file" },
        { "open go slot startfail", "exitCode", "" },
        { "stderr<=1 open go slot forked exit0. empty", "reason", "wrote 2 lines to stderr, 1 are allowed" },
        { "stderr<=1 open go slot forked exit7. empty", "reason", "exited with status 7" },
        { "open go slot forked exit75. empty", "reason", "deferred: will be tried again in 60 s (restart 1 of 2)" },
        { "open go slot forked exit75. empty", "step", "1/1 Get" },
        { "open go slot forked exit75. empty", "claim", "NewClaim" },
        { "open go slot forked exit75. empty", "exitCode", "75" },
        { "open go slot forked exit75. empty", "stderr", "" },
        { "lopenD", "reason", "timed out: Get was to be tried again, and the service's own deadline comes before that" },
        { "+50000 openD", "reason", "deferred: will be tried again in 10 s (restart 1 of 2)" },
        { "+50000 openD", "claim", "OldClaim" },
        { "2steps +60000 openD~", "reason", "the job document is refused by now: steps: missing" },
        { "never open go slot forked exit75. empty", "reason", "gave up after 0 restarts: exited with status 75" },
        { "2steps openN slot forked exit194. empty +10000 slot", "reason",
          "rebooting: the step goes on after it (restart 2 of 2)" },
        { "open go slot forked exit194. empty", "exitCode", "194" },
        { "openR", "exitCode", "" },
        { "openN", "reason", "" },
        { "openN", "step", "1/1 Get" },
        { "open go slot forked exit194. empty told slot +900000", "reason", "the reboot did not come within 900 s" },
        { "2steps open go slot forked exit194. empty told slot noreboot", "reason",
          "step 1/2 Get: the device cannot be rebooted: systemctl: no such file" },
        { "open go slot forked ! exit75. empty", "reason", "exited with status 75, but the retry cannot be recorded: No space" },
        { "open go slot forked ! exit194. empty", "reason", "exited with status 194, but the reboot cannot be recorded: No space" },
        { "open go slot forked deadline40 +20000 sig15. empty", "reason", "timed out: the service's own deadline is near" },
        { "open go slot forked deadline40 +20000 sig15. empty", "stderr", "err" },
        { "open go deadline40 +20000", "reason", "timed out: the service's own deadline is near, and no slot was free" },
        { "open go slot forked exit194. empty told deadline40 +20000", "reason",
          "timed out: the service's own deadline is near, and the device could not be rebooted yet" },
        { "openS", "reason", "interrupted: Get was cut off when its runner was killed" },
        { "openB", "reason", "interrupted: Get was cut off when the device went down" },
        { "2steps openB", "reason", "interrupted: step 1/2 Get was cut off when the device went down" },
        { "rerun openX", "reason", "interrupted: Get was cut off when its runner was killed; given up after 2 restarts" },
        { "openS", "claim", "OldClaim" },
        { "openF", "reason", "old" },
        { "open go slot forked stop", "reason", "interrupted: the runner was stopped during Get" },
        { "2steps open go slot forked exit0 stop", "reason", "interrupted: the runner was stopped before step 2/2 Install" },
        { "2steps open go slot forked exit0. empty ! forked", "reason", "step 2/2 Install: could not be started: No space" },
        { "openP", "claim", "OldClaim" },
        { "open", "step", "1/1 Get" },
        { "open", "claim", "NewClaim" },
        { "3steps open", "step", "1/3 Get" },
        { "open go slot forked say:40", "progress", "40" },
        { "open go slot forked say:40%", "progress", "40" },
        { "open go slot forked say:007", "progress", "7" },
        { "open go slot forked say:100", "progress", "100" },
        { "open go slot forked say:101", "progress", "" },
        { "open go slot forked say:101", "step", "1/1 Get: 101" },
        { "open go slot forked say:%", "step", "1/1 Get: %" },
        { "open go slot forked say:loading", "step", "1/1 Get: loading" },
        { "open go slot forked say:loading\r\n", "step", "1/1 Get: loading" },
        { "open go slot forked say:loading exit0. empty", "step", "1/1 Get: loading" },
        { "open go slot forked say:a=1", "a", "1" },
        { "open go slot forked say:a=1=2", "a", "1=2" },
        { "open go slot forked say:a:b=1", "a:b", "1" },
        { "open go slot forked say:a=1 say:a= exit0. empty", "a", "" },
        { "open go slot forked say:a=1 say:b=2 say:c=3 say:d=4 say:c=5 exit0. empty", "c", "5" },
        { "open go slot forked say:a=1 say:b=2 say:c=3 say:d=4 say:c=5 exit0. empty", "d", "" },
        { "2steps open go slot forked say:a=1 exit0. empty", "a", "1" },
        { "2steps open go slot forked say:50 exit0. +100 empty", "progress", "" },
        { "open go slot forked say:claim=evil", "claim", "NewClaim" },
        { "open go slot forked say:claim=evil", "step", "1/1 Get: claim=evil" },
        { "open go slot forked say:reason=x exit3. empty", "reason", "exited with status 3" },
        { "open go slot forked say:exitCode=0 exit3. empty", "exitCode", "3" },
        { "open go slot forked say:b\xC3\xA4r=1", "step", "1/1 Get: b\xC3\xA4r=1" },
        { "open go slot forked say:\xFF\x01", "step", "1/1 Get: \xEF\xBF\xBD\xEF\xBF\xBD" },
};

START_TEST(what_is_said) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        run_script(&b, said[_i].script);
        ck_assert_msg(strcmp(detail(&b, said[_i].key), said[_i].value) == 0, "%s: %s is \"%s\", not \"%s\"", said[_i].script,
                      said[_i].key, detail(&b, said[_i].key), said[_i].value);
}
END_TEST

START_TEST(reported_output) {
        static const struct {
                PlanReportOutput report;
                bool asked; /* report_stdout */
                int code;
                const char *out, *err;
        } cases[] = {
                { PLAN_REPORT_ON_FAILURE, false, 0, "", "" },   { PLAN_REPORT_ON_FAILURE, true, 0, "out", "" },
                { PLAN_REPORT_ON_FAILURE, false, 1, "out", "err" }, { PLAN_REPORT_ON_FAILURE, false, 65, "out", "err" },
                { PLAN_REPORT_ALWAYS, true, 0, "out", "err" },  { PLAN_REPORT_ALWAYS, true, 1, "out", "err" },
                { PLAN_REPORT_NEVER, false, 0, "", "" },        { PLAN_REPORT_NEVER, true, 1, "", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench b CLEANUP_BENCH;
                char script[64];

                bench_init(&b);
                b.config.report_output = cases[i].report;
                b.steps[0].report_stdout = cases[i].asked;
                (void) snprintf(script, sizeof script, "open go slot forked exit%d. empty", cases[i].code);
                run_script(&b, script);
                ck_assert_str_eq(detail(&b, "stdout"), cases[i].out);
                ck_assert_str_eq(detail(&b, "stderr"), cases[i].err);
        }
}
END_TEST

/* The tails of TREE_EMPTY are newer; a huge and hostile one is cut to what the service takes. */
START_TEST(tails) {
        Bench b CLEANUP_BENCH;
        char flood[8192];

        (void) memset(flood, '\xE2', sizeof flood);
        (void) memcpy(flood + sizeof flood - 4, "last", 4);
        bench_init(&b);
        run_script(&b, "open go slot forked exit1.");
        feed(&b, (PlanEvent) { .type = PLAN_EVENT_TREE_EMPTY, .stdout_tail = flood, .stdout_len = sizeof flood,
                               .stderr_tail = flood, .stderr_len = sizeof flood });
        ck_assert_int_eq(b.last_tell.message.type, WIRE_RESULT);
        ck_assert_int_eq(proto_details_check(&b.last_tell.message.details, NULL), 0);
        ck_assert_pstr_eq(strrchr(detail(&b, "stdout"), 'l'), "last");
        ck_assert_uint_eq(utf8_utf16_units(detail(&b, "stdout"), strlen(detail(&b, "stdout"))), LIMIT_DETAILS_VALUE);
        ck_assert_str_eq(detail(&b, "stderr"), detail(&b, "stdout"));
        bench_done(&b);
        bench_init(&b);
        run_script(&b, "open go slot forked");
        feed(&b, (PlanEvent) { .type = PLAN_EVENT_EXITED, .code = 1, .stderr_tail = "a\nb\0c", .stderr_len = 5 });
        feed(&b, (PlanEvent) { .type = PLAN_EVENT_TREE_EMPTY });
        ck_assert_str_eq(detail(&b, "stderr"), "a | b\xEF\xBF\xBD" "c");
}
END_TEST

START_TEST(everything_at_once_fits) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        run_script(&b, "open go slot forked say:50 say:text say:k1=1 say:k2=2 say:k3=3 exit9. empty");
        ck_assert_uint_eq(b.last_tell.message.details.n, LIMIT_DETAILS_PAIRS);
}
END_TEST

START_TEST(plan_says_how_long) {
        static const struct {
                const char *script;
                uint64_t seconds;
                WireType told;
        } cases[] = {
                { "open", 70, WIRE_PLAN },
                { "3steps open", 210, WIRE_PLAN },
                { "2steps notimeout open", 0, WIRE_PLAN },
                { "rerun 2steps openS", 140, WIRE_PLAN },
                { "openE", 70, WIRE_PLAN },
                { "2steps open go slot forked exit75. empty", 200, WIRE_DEFERRED },
                { "notimeout open go slot forked exit75. empty", 0, WIRE_DEFERRED },
                { "2steps +50000 openD", 150, WIRE_DEFERRED },
                { "2steps open go slot forked exit194. empty", 1040, WIRE_REBOOTING },
                { "notimeout openR", 0, WIRE_REBOOTING },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench b CLEANUP_BENCH;

                bench_init(&b);
                run_script(&b, cases[i].script);
                ck_assert_int_eq(b.last_tell.message.type, cases[i].told);
                ck_assert_uint_eq(b.last_tell.message.max_seconds, cases[i].seconds);
                ck_assert_uint_eq(b.last_tell.message.steps, cases[i].told == WIRE_PLAN ? b.config.n_steps : 0);
        }
}
END_TEST

/* Doubled each time, up to an hour; a step that passed begins anew, and so does one after a reboot. */
START_TEST(delays_of_retries) {
        static const struct {
                uint64_t first;
                uint32_t retries;
                uint64_t delay;
        } cases[] = {
                { 60, 0, 60 },   { 60, 1, 120 },       { 60, 5, 1920 },          { 60, 6, 3600 }, { 60, UINT32_MAX - 1, 3600 },
                { 1, 0, 1 },     { 1, 11, 2048 },      { 1, 12, 3600 },          { 0, 9, 0 },     { 9999, 0, 3600 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                RecordState record = { .phase = RECORD_IS_DEFERRED, .claim = "OldClaim" };
                Bench b CLEANUP_BENCH;
                char want[32];

                bench_init(&b);
                b.config.retry_delay_usec = cases[i].first * USEC_PER_SEC;
                record.key = b.config.key;
                record.deferred = (RecordEntry) { .attempt = 1, .restarts = 1, .retries = cases[i].retries };
                run_script(&b, "+0");
                feed(&b, (PlanEvent) { .type = PLAN_EVENT_OPEN, .record = &record });
                run_script(&b, "go slot forked exit75. empty");
                (void) snprintf(want, sizeof want, "/2+%llu T:deferred+%llu exit", (unsigned long long) cases[i].delay,
                                (unsigned long long) cases[i].delay);
                ck_assert_msg(strstr(b.trace.data, want), "case %zu: %s", i, b.trace.data);
        }
}
END_TEST

/* The step's rules come before the general ones, and these before what is built in; the first that fits counts. */
START_TEST(rules_of_exit_codes) {
        static const struct {
                int code;
                const char *trace;
        } cases[] = {
                { 0, "T:FAILED" },      { 1, "T:FAILED" },     { 3, "T:deferred+60" },  { 9, "T:FAILED" },
                { 10, "T:SUCCEEDED" },  { 15, "T:REJECTED" },  { 19, "T:SUCCEEDED" },   { 20, "T:FAILED" },
                { 65, "T:FAILED" },     { 75, "T:rebooting" }, { 194, "T:rebooting" },  { 255, "T:REJECTED" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench b CLEANUP_BENCH;
                char script[64];

                bench_init(&b);
                b.rules[0] = (PlanExitRule) { 10, 19, PLAN_OUTCOME_SUCCESS };
                b.rules[1] = (PlanExitRule) { 75, 75, PLAN_OUTCOME_REBOOT };
                b.rules[2] = (PlanExitRule) { 65, 65, PLAN_OUTCOME_FAILURE };
                b.rules[3] = (PlanExitRule) { 0, 3, PLAN_OUTCOME_FAILURE };
                b.step_rules[0] = (PlanExitRule) { 3, 3, PLAN_OUTCOME_RETRY };
                b.step_rules[1] = (PlanExitRule) { 15, 15, PLAN_OUTCOME_REJECT };
                b.config.exit_rules = b.rules;
                b.config.n_exit_rules = 4;
                b.steps[0].exit_rules = b.step_rules;
                b.steps[0].n_exit_rules = 2;
                if (cases[i].code == 255)
                        b.step_rules[1].to = 255;
                (void) snprintf(script, sizeof script, "open go slot forked exit%d. empty", cases[i].code);
                run_script(&b, script);
                ck_assert_msg(strstr(b.trace.data, cases[i].trace), "code %d: %s", cases[i].code, b.trace.data);
        }
}
END_TEST

START_TEST(commands_have_no_handler) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        b.steps[0].name = NULL;
        b.steps[0].command = true;
        run_script(&b, "openS");
        ck_assert_str_eq(detail(&b, "reason"), "interrupted: the command was cut off when its runner was killed");
        ck_assert_str_eq(detail(&b, "step"), "1/1");
}
END_TEST

START_TEST(hostile_names_do_no_harm) {
        Bench b CLEANUP_BENCH;
        char name[4000];

        for (size_t i = 0; i + 2 < sizeof name; i += 2)
                (void) memcpy(name + i, "\xC3\xA4", 2);
        (void) memcpy(name, "a\nb\x7F\xC2\x85", 6);
        name[sizeof name - 2] = '\0';
        bench_init(&b);
        b.steps[0].name = name;
        b.steps[1].name = NULL;
        run_script(&b, "2steps open go slot forked exit1. empty");
        ck_assert_int_eq(b.last_tell.message.type, WIRE_RESULT); /* and its encoding was checked by trace_tell() */
        ck_assert_ptr_null(strpbrk(detail(&b, "step"), "\n\x7F"));
        bench_done(&b);
        bench_init(&b);
        b.steps[1].name = NULL;
        run_script(&b, "2steps open go slot forked exit0. empty forked exit1. empty");
        ck_assert_str_eq(detail(&b, "step"), "2/2");
        ck_assert_str_eq(detail(&b, "reason"), "step 2/2: exited with status 1");
}
END_TEST

START_TEST(started_is_told) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        run_script(&b, "open go slot");
        ck_assert(!plan_started(b.plan));
        run_script(&b, "forked");
        ck_assert(plan_started(b.plan));
        bench_done(&b);
        bench_init(&b);
        run_script(&b, "open go slot ! forked");
        ck_assert(!plan_started(b.plan));
}
END_TEST

START_TEST(bad_configurations) {
        Bench b CLEANUP_BENCH;

        bench_init(&b);
        b.config.n_steps = 0;
        ck_assert_int_eq(plan_new(&b.config, &b.plan), -EINVAL);
        b.config.n_steps = WIRE_STEPS_MAX + 1;
        ck_assert_int_eq(plan_new(&b.config, &b.plan), -EINVAL);
        b.config.n_steps = 1;
        b.config.claim[0] = '-';
        ck_assert_int_eq(plan_new(&b.config, &b.plan), -EINVAL);
        ck_assert_ptr_null(plan_free(NULL));
}
END_TEST

/* ---- any order of events ---- */

static uint64_t next_random(uint64_t *state) {
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

typedef struct Truth {
        uint64_t random;
        Bench *b;
        bool started_durable[4][8]; /* [step][attempt] */
        bool released[4][8];
        uint32_t step, attempt;
        bool child, gate, tree; /* a handler lives; waits at the gate; something of the run lives */
        bool passed[4];         /* the step's process exited 0, or its failure may be ignored */
        bool result_told;
        ProtoStatus told;
        bool unable_told;
        bool stopped;
        bool paused;           /* the record says that a restart is to come */
        bool gathering, slots; /* all of them are wanted; are there */
        int releases;
} Truth;

/* What must hold of every single action. */
static void check_action(Truth *t, const PlanAction *a) {
        switch (a->type) {
        case PLAN_ACTION_PERSIST:
                ck_assert_msg(!t->tree || a->entry.type != RECORD_DEFERRED || t->stopped, "deferred while something of it lives");
                t->paused = a->entry.type == RECORD_DEFERRED || a->entry.type == RECORD_REBOOTING;
                if (a->entry.type == RECORD_STARTED) {
                        ck_assert_msg(!t->started_durable[a->entry.step][a->entry.attempt], "an attempt recorded twice");
                        t->started_durable[a->entry.step][a->entry.attempt] = true;
                }
                break;
        case PLAN_ACTION_FORK:
                ck_assert_msg(!t->tree, "a step is forked while something of the former lives");
                ck_assert_msg(!t->paused, "a step is forked while a restart is pending");
                t->step = a->step;
                t->attempt = a->attempt;
                t->gate = true;
                break;
        case PLAN_ACTION_RELEASE:
                ck_assert_msg(t->gate, "nobody at the gate");
                ck_assert_msg(t->started_durable[t->step][t->attempt], "exec before the record is durable");
                ck_assert_msg(!t->released[t->step][t->attempt], "an attempt started twice");
                t->released[t->step][t->attempt] = true;
                t->releases++;
                t->gate = false;
                t->child = t->tree = true;
                break;
        case PLAN_ACTION_KILL:
                if (a->signal == SIGKILL)
                        t->gate = false;
                break;
        case PLAN_ACTION_TELL:
                if (a->message.type == WIRE_RESULT) {
                        ck_assert_msg(!t->result_told || t->told == a->message.status, "two verdicts");
                        t->result_told = true;
                        t->told = a->message.status;
                }
                if (a->message.type == WIRE_UNABLE) {
                        ck_assert_msg(t->releases == 0, "unable, but something ran");
                        t->unable_told = true;
                }
                ck_assert_msg(a->message.type != WIRE_PROGRESS || !t->result_told, "progress after the result");
                if (a->message.type == WIRE_RESULT && a->message.status == PROTO_STATUS_SUCCEEDED)
                        for (size_t i = t->b->config.n_steps; i-- > 0;)
                                ck_assert_msg(t->passed[i], "SUCCEEDED, but step %zu did not", i);
                break;
        case PLAN_ACTION_FORGET:
                ck_assert_msg(t->releases == 0, "forgotten, but something ran");
                break;
        case PLAN_ACTION_EXIT:
                ck_assert_msg(!t->tree, "exit with processes left");
                break;
        case PLAN_ACTION_TAKE_ALL_SLOTS:
                t->gathering = true;
                break;
        case PLAN_ACTION_REBOOT:
                ck_assert_msg(t->paused && t->slots && !t->tree, "a reboot that was not recorded, or with something alive");
                break;
        case PLAN_ACTION_TAKE_SLOT:
        case PLAN_ACTION_LOG:
        case PLAN_ACTION_BURY:
                break;
        }
}

static void feed_truth(Truth *t, PlanEvent event) {
        PlanActions actions = {};

        event.now = t->b->now;
        t->stopped |= event.type == PLAN_EVENT_STOP;
        ck_assert_int_eq(plan_step(t->b->plan, &event, &actions), 0);
        for (size_t i = 0; i < actions.n; i++) {
                const PlanAction *a = &actions.item[i];
                bool fails = a->type == PLAN_ACTION_PERSIST && next_random(&t->random) % 12 == 0;

                if (fails) {
                        plan_actions_done(&actions);
                        feed_truth(t, (PlanEvent) { .type = PLAN_EVENT_PERSIST_FAILED, .text = "full", .text_len = 4 });
                        return;
                }
                check_action(t, a);
                trace_action(t->b, a);
        }
        plan_actions_done(&actions);
}

static void exit_randomly(Truth *t, PlanEvent *e) {
        static const int codes[] = { 0, 0, 0, 0, 1, 65, 75, 194, 255 };

        e->signalled = next_random(&t->random) % 5 == 0;
        e->code = e->signalled ? 9 : codes[next_random(&t->random) % ELEMENTSOF(codes)];
        e->tree_empty = next_random(&t->random) % 2;
        t->passed[t->step] = (!e->signalled && e->code == 0) ||
                (t->b->steps[t->step].ignore_failure && (e->signalled || (e->code != 65 && e->code != 194)));
        t->child = false;
}

/* An event that the world could bring about now, or one that only a confused peer would send. */
static bool pick_event(Truth *t, PlanEvent *e) {
        static const PlanEventType any[] = { PLAN_EVENT_GO,     PLAN_EVENT_GO,     PLAN_EVENT_GO,           PLAN_EVENT_CANCEL,
                                             PLAN_EVENT_STOP,   PLAN_EVENT_ATTACH, PLAN_EVENT_DISCONNECTED, PLAN_EVENT_ACK,
                                             PLAN_EVENT_DROP,   PLAN_EVENT_TIMER,  PLAN_EVENT_PROGRESS,     PLAN_EVENT_TOLD,
                                             PLAN_EVENT_TOLD,   PLAN_EVENT_DEADLINE };
        const char *state = plan_state_name(t->b->plan);
        unsigned dice = (unsigned) (next_random(&t->random) % 100);

        if (dice < 30) {
                e->type = any[next_random(&t->random) % ELEMENTSOF(any)];
                e->text = dice % 2 ? "50" : "a=b";
                e->text_len = strlen(e->text);
                e->seconds = next_random(&t->random) % 200;
                return true;
        }
        if (dice < 40) {
                t->b->now += next_random(&t->random) % (30 * USEC_PER_SEC);
                e->type = PLAN_EVENT_TIMER;
                return true;
        }
        if (t->gathering && !t->slots) {
                t->slots = dice < 90;
                e->type = t->slots ? PLAN_EVENT_SLOT_TAKEN : PLAN_EVENT_REBOOT_FAILED;
                e->text = "why";
                e->text_len = 3;
                return true;
        }
        if (strcmp(state, "waiting") == 0) {
                e->type = PLAN_EVENT_SLOT_TAKEN;
                return true;
        }
        if (t->gate && !t->child && strcmp(state, "forking") == 0) {
                e->type = dice < 50 ? PLAN_EVENT_START_FAILED : PLAN_EVENT_FORKED;
                e->pid = 42;
                e->start_time = 5;
                e->text = "why";
                e->text_len = 3;
                if (e->type == PLAN_EVENT_START_FAILED) {
                        t->gate = false;
                        t->passed[t->step] = t->b->steps[t->step].ignore_failure;
                }
                return true;
        }
        if (t->child) {
                e->type = PLAN_EVENT_EXITED;
                exit_randomly(t, e);
                return true;
        }
        if (t->tree) {
                e->type = PLAN_EVENT_TREE_EMPTY;
                t->tree = false;
                return true;
        }
        return false;
}

START_TEST(random_orders) {
        Bench b CLEANUP_BENCH;
        static const char *const opens[] = { "open", "open", "open", "openP", "openS", "openB", "openF", "copenP", "copenS",
                                              "openD", "openE=", "topenD", "lopenD", "openR", "openN", "topenN", "copenN" };

        for (uint64_t seed = (uint64_t) _i * 2000; seed < (uint64_t) (_i + 1) * 2000; seed++) {
                Truth t = { .random = seed, .b = &b };
                const char *open;

                bench_init(&b);
                b.config.n_steps = 1 + (size_t) (next_random(&t.random) % 3);
                for (size_t i = 0; i < 3; i++) {
                        b.steps[i].ignore_failure = next_random(&t.random) % 3 == 0;
                        b.steps[i].on_interrupt = next_random(&t.random) % 2 ? PLAN_INTERRUPT_RERUN : PLAN_INTERRUPT_FAIL;
                        b.steps[i].on_cancel = next_random(&t.random) % 2 ? PLAN_CANCEL_FINISH : PLAN_CANCEL_STOP;
                }
                /* A timeout that is ignored passes a step too. */
                for (size_t i = 0; i < 3; i++)
                        t.passed[i] = b.steps[i].ignore_failure;
                open = opens[next_random(&t.random) % ELEMENTSOF(opens)];
                t.paused = strcmp(open, "openR") == 0;
                run_script(&b, open);
                for (int n = 0; n < 60 && !b.gone; n++) {
                        PlanEvent e = {};

                        if (pick_event(&t, &e))
                                feed_truth(&t, e);
                }
                /* Whatever happened: the world comes to rest, and then the run does too. */
                for (int n = 0; n < 20 && !b.gone; n++) {
                        if (t.child) {
                                PlanEvent e = { .type = PLAN_EVENT_EXITED };

                                exit_randomly(&t, &e);
                                feed_truth(&t, e);
                        }
                        if (t.tree) {
                                t.tree = false;
                                feed_truth(&t, (PlanEvent) { .type = PLAN_EVENT_TREE_EMPTY });
                        }
                        feed_truth(&t, (PlanEvent) { .type = PLAN_EVENT_STOP });
                }
                ck_assert_msg(b.gone, "seed %llu: still %s after %s", (unsigned long long) seed, plan_state_name(b.plan),
                              b.trace.data);
                bench_done(&b);
        }
        bench_init(&b);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("plan");

        tcase_set_timeout(c, 120);
        tcase_add_loop_test(c, order, 0, (int) ELEMENTSOF(orders));
        tcase_add_loop_test(c, order_without_memory, 0, (int) ELEMENTSOF(orders));
        tcase_add_loop_test(c, exit_code, 0, 256);
        tcase_add_loop_test(c, signal_number, 1, 65);
        tcase_add_loop_test(c, limit, 0, (int) ELEMENTSOF(limited));
        tcase_add_test(c, signal_names);
        tcase_add_loop_test(c, what_is_said, 0, (int) ELEMENTSOF(said));
        tcase_add_test(c, reported_output);
        tcase_add_test(c, tails);
        tcase_add_test(c, everything_at_once_fits);
        tcase_add_test(c, plan_says_how_long);
        tcase_add_test(c, delays_of_retries);
        tcase_add_test(c, rules_of_exit_codes);
        tcase_add_test(c, commands_have_no_handler);
        tcase_add_test(c, hostile_names_do_no_harm);
        tcase_add_test(c, started_is_told);
        tcase_add_test(c, bad_configurations);
        tcase_add_loop_test(c, random_orders, 0, 5);
        return c;
}

UNIT_MAIN("plan", cases())
