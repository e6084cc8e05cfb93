/* SPDX-License-Identifier: Apache-2.0 */
/* Device side of one run: events in, actions out (architecture section 4). PURE.
 *
 * The shell (runner/perform.c, or the simulation) calls plan_step() with one event and carries the actions out in order.
 * Write-ahead: if a PERSIST fails, the shell drops the remaining actions of that step and reports PLAN_EVENT_PERSIST_FAILED.
 * What an action brought about comes back only as a new event. Events that fit no state (a second GO, a TREE_EMPTY of a
 * child killed at the gate) are ignored.
 *
 * A run's way: OPEN → (PERSIST prepared) TELL plan → GO → TAKE_SLOT → SLOT_TAKEN → FORK → FORKED → PERSIST started, RELEASE →
 * EXITED → TREE_EMPTY → next FORK, or PERSIST result, TELL result → ACK → BURY, EXIT.
 *
 * Two ways lead out of it and back (an exit code that means so):
 * retry: PERSIST deferred, TELL deferred, EXIT. The next runner gets the document read afresh with its `prepare`: OPEN → TELL plan
 * (phase retry) → GO → …
 * reboot: PERSIST rebooting, TELL rebooting → TOLD, or PLAN_TOLD_WAIT_USEC without it → TAKE_ALL_SLOTS → SLOT_TAKEN → REBOOT. In the
 * next boot: OPEN → TELL attached, TAKE_SLOT → SLOT_TAKEN → FORK (phase post-reboot), without GO. */
#pragma once

#include "record/record.h"

typedef enum PlanOnInterrupt { PLAN_INTERRUPT_FAIL, PLAN_INTERRUPT_RERUN } PlanOnInterrupt;
typedef enum PlanOnCancel {
        PLAN_CANCEL_STOP,
        PLAN_CANCEL_FINISH, /* the step that runs may end by itself (its timeout counts); no other starts */
} PlanOnCancel;
typedef enum PlanReportOutput { PLAN_REPORT_ON_FAILURE, PLAN_REPORT_ALWAYS, PLAN_REPORT_NEVER } PlanReportOutput;

/* What an exit code means. */
typedef enum PlanOutcome {
        PLAN_OUTCOME_SUCCESS,
        PLAN_OUTCOME_FAILURE,
        PLAN_OUTCOME_RETRY,
        PLAN_OUTCOME_REBOOT,
        PLAN_OUTCOME_REJECT,
} PlanOutcome;

typedef struct PlanExitRule {
        uint8_t from, to; /* both included */
        PlanOutcome outcome;
} PlanExitRule;

typedef struct PlanStepConfig {
        const char *name;          /* borrowed for the plan's life; "" or NULL = none */
        bool command;              /* a command of the document, no handler */
        uint64_t timeout_usec;     /* 0 = none */
        uint64_t kill_grace_usec;
        PlanOnInterrupt on_interrupt;
        PlanOnCancel on_cancel;
        const PlanExitRule *exit_rules; /* borrowed for the plan's life: of the handler's override */
        size_t n_exit_rules;
        bool ignore_failure;
        int64_t allow_stderr; /* -1 = no limit */
        bool report_stdout;   /* includeStdOut or report_output = always, already joined with "never" */
} PlanStepConfig;

typedef struct PlanConfig {
        JobKey key;
        char claim[WIRE_CLAIM_MAX]; /* new random one; a record's own claim wins */
        char boot_id[BOOT_ID_MAX];
        const PlanStepConfig *steps; /* borrowed for the plan's life; at least one */
        size_t n_steps;
        /* Borrowed for the plan's life. OPEN_RUN of a new run or of a deferred one: as it came with `prepare`; else the record's. */
        const char *document;
        size_t document_len;
        PlanReportOutput report_output;
        uint32_t max_attempts; /* restarts of the execution */
        /* The first rule that fits counts: of the step, then of these, then 0 success, 65 reject, 75 retry, 194 reboot, any other
         * failure. Borrowed for the plan's life. */
        const PlanExitRule *exit_rules;
        size_t n_exit_rules;
        uint64_t retry_delay_usec;    /* before the first retry; doubled for each in a row, at most PLAN_RETRY_DELAY_MAX_SEC */
        uint64_t reboot_timeout_usec; /* after REBOOT */
} PlanConfig;

enum {
        PLAN_OWN_KEYS_MAX = 3,                /* details of the handler's own */
        PLAN_ACK_WAIT_USEC = 5000000,         /* a runner with a durable result waits so long for its ack */
        PLAN_PROGRESS_GAP_USEC = 100000,      /* least time between two TELL progress */
        PLAN_KILL_AGAIN_USEC = 1000000,       /* SIGKILL is said again this often until TREE_EMPTY */
        PLAN_TRAILING_USEC = 2000000,         /* EXITED said tree_empty, but no TREE_EMPTY came: kill after all */
        PLAN_SIGNAL_NAME_MAX = 16,
        PLAN_RETRY_DELAY_MAX_SEC = 3600,
        PLAN_TOLD_WAIT_USEC = 10000000,       /* a reboot waits so long for the cloud to be told */
};

/* The packet that a runner's life began with. */
typedef enum PlanOpen {
        PLAN_OPEN_RUN,    /* prepare: go on with what the record says (RECORD_NONE: a new run) */
        PLAN_OPEN_ATTACH, /* attach: the same, but a deferred run only says that it is */
        PLAN_OPEN_CANCEL, /* over in the cloud: CANCELED; by_operator: REJECTED; by_deadline: FAILED. Unless there is a result */
        PLAN_OPEN_ACK,    /* reported: bury it */
        PLAN_OPEN_DROP,   /* the claim was refused: forget it; as ack if something of it was ever started */
} PlanOpen;

typedef enum PlanEventType {
        /* First event of a runner's life: open, record, text. The shell has locked the key, replayed the record (may be RECORD_NONE,
         * then open must be PLAN_OPEN_RUN), and ended whatever an earlier runner of this key left behind. text, if any: why the
         * document of a run that was started is refused by now; what would go on with it fails instead. */
        PLAN_EVENT_OPEN,
        PLAN_EVENT_GO,
        PLAN_EVENT_SLOT_TAKEN,     /* the slot, or all of them */
        PLAN_EVENT_TOLD,
        PLAN_EVENT_REBOOT_FAILED,  /* text: the reboot command could not be started, or failed */
        PLAN_EVENT_DEADLINE,       /* seconds: see WIRE_DEADLINE */
        PLAN_EVENT_FORKED,         /* pid, start_time, cgroup: the child waits at the gate, has not exec'ed */
        PLAN_EVENT_START_FAILED,   /* text: the fork, a trust check or the exec failed; nothing runs */
        /* The handler's own process ended: signalled, code; output tails. tree_empty: no other process of the run is left
         * (else what it left behind is killed). */
        PLAN_EVENT_EXITED,
        PLAN_EVENT_TREE_EMPTY,     /* once, after EXITED: no process of the run is left, trailing output is read */
        PLAN_EVENT_PROGRESS,       /* one line of descriptor 3 */
        PLAN_EVENT_PERSIST_FAILED, /* text */
        PLAN_EVENT_CANCEL,         /* the cloud ended the execution; by_operator: the operator of the device wants it to end */
        PLAN_EVENT_STOP,           /* the runner itself is told to stop (SIGTERM): interruption */
        PLAN_EVENT_ATTACH,         /* a new agent connection took over (it sent prepare or attach) */
        PLAN_EVENT_DISCONNECTED,   /* the agent's connection is gone */
        PLAN_EVENT_ACK,
        PLAN_EVENT_DROP,
        PLAN_EVENT_TIMER, /* plan_deadline() has come */
} PlanEventType;

typedef struct PlanEvent {
        PlanEventType type;
        uint64_t now; /* CLOCK_BOOTTIME, microseconds */
        PlanOpen open;             /* OPEN */
        const RecordState *record; /* OPEN */
        int64_t pid;
        uint64_t start_time;
        const char *cgroup;
        const char *text; /* OPEN, START_FAILED, REBOOT_FAILED, PERSIST_FAILED, PROGRESS; may be NULL */
        uint64_t seconds; /* DEADLINE */
        size_t text_len;
        bool signalled;
        int code; /* exit code, or signal number */
        const char *limit; /* EXITED: which limit ended it, in words: a failure, whatever its exit; NULL = none */
        bool tree_empty;
        bool by_operator;   /* OPEN as a cancel, CANCEL */
        bool by_deadline;   /* OPEN as a cancel: see WIRE_CANCEL */
        const char *stdout_tail, *stderr_tail; /* raw bytes, EXITED/TREE_EMPTY: the newer wins; may be NULL */
        size_t stdout_len, stderr_len;
        uint64_t stderr_lines;
} PlanEvent;

typedef enum PlanActionType {
        PLAN_ACTION_PERSIST,   /* entry: durable before anything behind it in this list */
        PLAN_ACTION_TELL,      /* message: to the agent, if one is connected */
        PLAN_ACTION_TAKE_SLOT, /* wait for a slot lock, then SLOT_TAKEN */
        /* Give the own slot back, then wait for every slot lock there can be (of all agents of the machine: 10), one after the other
         * in their order, and keep each: nothing new starts, and two that want the same do not wait for each other. Then SLOT_TAKEN.
         * A PERSIST of a result gives them all back, if no process of the run is left. */
        PLAN_ACTION_TAKE_ALL_SLOTS,
        PLAN_ACTION_REBOOT,    /* run the reboot command → REBOOT_FAILED, or the end of everything */
        PLAN_ACTION_FORK,      /* step, attempt, phase: make the child wait at the gate → FORKED or START_FAILED */
        PLAN_ACTION_RELEASE,   /* open the gate: exec → later EXITED, or START_FAILED */
        PLAN_ACTION_KILL,      /* signal to every process of the run (SIGTERM, SIGKILL; SIGKILL again until TREE_EMPTY) */
        PLAN_ACTION_LOG,       /* level, message id, text: with the run's fields */
        PLAN_ACTION_BURY,      /* message.status, .details: tombstone + remove the record and the work directory */
        PLAN_ACTION_FORGET,    /* remove the record and the work directory, no tombstone */
        PLAN_ACTION_EXIT,      /* the runner's work is done; the last action of all. A child still at the gate is to be killed */
} PlanActionType;

typedef struct PlanAction {
        PlanActionType type;
        RecordEntry entry;   /* PERSIST; owned; of `prepared` the document is borrowed from the configuration */
        WireMessage message; /* TELL, BURY; owned */
        uint32_t step, attempt;
        WirePhase phase;
        int signal;
        int level; /* LogLevel */
        const char *message_id;
        char text[WIRE_REASON_MAX];
        ProtoStatus status; /* LOG of an ending, else NONE */
        int exit_code;      /* LOG; -1 = none */
        int exit_signal;    /* LOG; 0 = none */
} PlanAction;

typedef struct PlanActions {
        PlanAction *item; /* owned array */
        size_t n, cap;
} PlanActions;
void plan_actions_clear(PlanActions *a);
void plan_actions_done(PlanActions *a);

typedef struct Plan Plan;
/* -ENOMEM, -EINVAL (no step or too many, a bad claim). `config` is copied; what it points to is borrowed for the plan's life. */
int plan_new(const PlanConfig *config, Plan **ret) MUST_USE;
Plan *plan_free(Plan *p);
DEFINE_CLEANUP(Plan *, plan_free)

/* Append actions. 0 or -ENOMEM (the event has then had no effect that could be observed). */
int plan_step(Plan *p, const PlanEvent *event, PlanActions *actions) MUST_USE;
/* When the next TIMER event is wanted; USEC_NEVER = never. */
uint64_t plan_deadline(const Plan *p);
/* For logs and tests. */
const char *plan_state_name(const Plan *p);
bool plan_started(const Plan *p); /* a step was ever released in this runner's life */
/* "SIGKILL", "SIGRTMIN+3", "signal 99". */
const char *plan_signal_name(int number, char buf[static PLAN_SIGNAL_NAME_MAX]);
