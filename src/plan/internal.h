/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of plan/ share. Nothing here is for anybody else. */
#pragma once

#include "base/message_id.h"
#include "plan/plan.h"

/* Levels of base/log.h by number: the plan may not include the log. */
enum { LEVEL_ERROR = 3, LEVEL_WARNING = 4, LEVEL_NOTICE = 5, LEVEL_INFO = 6, LEVEL_DEBUG = 7 };

enum {
        VALUE_BYTES = 3 * LIMIT_DETAILS_VALUE + 1, /* a UTF-16 unit takes at most 3 bytes of UTF-8 */
};

typedef enum PlanState {
        STATE_NEW,      /* before OPEN */
        STATE_PLANNED,  /* the plan is told, `go` is awaited */
        STATE_WAITING,  /* for a slot */
        STATE_FORKING,  /* FORK said, the child not yet at the gate */
        STATE_RUNNING,  /* the handler lives */
        STATE_STOPPING, /* it lives and is being killed: `why` says for what */
        STATE_CLEANING, /* it has ended; what it left behind and trailing output are waited for */
        STATE_TELLING,  /* a reboot is recorded; that the cloud was told of it is awaited */
        STATE_GATHERING, /* every slot is awaited, so that no other run is left */
        STATE_REBOOTING, /* the reboot command was given */
        STATE_ENDING,   /* the verdict is told (or left to the next runner), processes are still being killed */
        STATE_FINISHED, /* the verdict is told, nothing is left, `ack` is awaited */
        STATE_GONE,     /* EXIT said */
        STATE_COUNT,
} PlanState;

typedef enum PlanWhy {
        WHY_NOTHING, /* the handler's own ending is the verdict */
        WHY_TIMEOUT,
        WHY_DEADLINE, /* the service's own */
        WHY_CANCEL,
} PlanWhy;

/* A plain value but for `details`, which is set once: a step that runs out of memory is undone by putting the old value
 * back. Texts are in here for that reason. */
struct Plan {
        PlanConfig config;
        PlanState state;

        uint32_t step, attempt, restarts;
        uint32_t retries;      /* deferrals of the step in a row */
        WirePhase phase;
        PlanOutcome paused;    /* RETRY, REBOOT: recorded as the end of the attempt; SUCCESS: not */
        uint64_t due_at;       /* of RETRY */
        uint32_t starts;       /* attempts released in this life */
        bool earlier_start;    /* the record knows of a start */
        bool connected;        /* to an agent */
        bool persisting;       /* the last PERSIST may yet fail; its type: */
        RecordType persisted;

        /* the step's process */
        bool tree;             /* a process of the run may be left */
        PlanWhy why;
        bool cancelled;        /* over in the cloud; the step may end by itself */
        bool by_operator;      /* not the cloud but the operator of the device cancelled it */
        bool stop;             /* the runner is told to stop: no further step */
        bool exited, signalled;
        int code;
        uint64_t stderr_lines;
        uint64_t timeout_at;
        uint64_t deadline_at;  /* of the execution: shortly before the service gives up */
        uint64_t told_by, reboot_by;
        uint64_t kill_at;      /* the next signal */
        int killed_with;       /* the last signal, 0 = none */
        char start_error[WIRE_REASON_MAX];
        char limit[WIRE_REASON_MAX]; /* that ended it; "" = none */

        /* what the step says of itself */
        int percent; /* -1 = nothing */
        char text[VALUE_BYTES];
        char stdout_tail[VALUE_BYTES], stderr_tail[VALUE_BYTES];
        struct {
                char key[LIMIT_DETAILS_KEY + 1];
                char value[VALUE_BYTES];
        } own[PLAN_OWN_KEYS_MAX];
        size_t n_own;
        bool own_warned;
        bool progress_news;       /* there is more to tell than the plan said */
        bool progress_dirty;      /* and the agent does not know it yet */
        uint64_t progress_next;   /* not told before this */

        /* the verdict */
        bool has_result;
        bool durable;
        bool acked; /* or known to be over in the cloud without wanting an answer */
        ProtoStatus status;
        ProtoDetails details;
        uint64_t ack_by;
};

/* One plan_step() at work. */
typedef struct PlanStep {
        Plan *p;
        const PlanEvent *event;
        PlanActions *actions;
        bool failed; /* out of memory: the whole step is undone */
} PlanStep;

/* ---- actions.c ---- */

/* NULL: out of memory, s->failed is set. */
PlanAction *plan_add(PlanStep *s, PlanActionType type);
void plan_add_log(PlanStep *s, int level, const char *message_id, const char *format, ...) PRINTF_LIKE(4, 5);
/* As snprintf(3), but a text that does not fit is cut on a character of UTF-8. */
void plan_format(char *ret, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
/* Forget what is behind the first n. */
void plan_actions_cut(PlanActions *a, size_t n);

/* ---- report.c ---- */

typedef struct PlanVerdict {
        ProtoStatus status;
        char reason[2 * WIRE_REASON_MAX]; /* "" = none */
        bool by_exit;                     /* exitCode or signal belongs into the report */
        bool with_output;                 /* the step's output may */
} PlanVerdict;

/* "step 2/3 Install", or "Install" where there is but one. */
void plan_subject(const Plan *p, uint32_t step, char *ret, size_t size);
/* statusDetails of a running step: claim, step, progress, the handler's own. */
int plan_running_details(const Plan *p, ProtoDetails *ret) MUST_USE;
/* And of one that waits: with the reason, and what its last attempt exited with, where that is known. */
int plan_paused_details(const Plan *p, const char *reason, ProtoDetails *ret) MUST_USE;
/* What the handler's exit code means. */
PlanOutcome plan_outcome(const Plan *p);
int plan_result_details(const Plan *p, const PlanVerdict *v, ProtoDetails *ret) MUST_USE;
/* Longest that the steps from p->step on can take; 0 = no bound. */
uint64_t plan_max_seconds(const Plan *p);

void plan_forget_step_report(Plan *p);
/* Tails of the event, cleaned. 0, -ENOMEM. */
int plan_take_output(Plan *p, const PlanEvent *event) MUST_USE;
/* A line of descriptor 3. 1 = something new, 0 = nothing, -E2BIG = a fourth key of its own, -ENOMEM. */
int plan_take_progress(Plan *p, const char *line, size_t len) MUST_USE;
