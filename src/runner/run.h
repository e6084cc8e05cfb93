/* SPDX-License-Identifier: Apache-2.0 */
/* One run in the hands of its runner: everything that perform.c needs to carry out what the plan decides. */
#pragma once

#include "config/config.h"
#include "jobdoc/jobdoc.h"
#include "plan/plan.h"
#include "runner/bounds.h"
#include "runner/conn.h"
#include "runner/keylock.h"
#include "runner/limit.h"
#include "runner/output.h"
#include "runner/slot.h"
#include "runner/spawn.h"
#include "runner/tree.h"
#include "runner/user.h"

typedef struct Run {
        const Config *config; /* borrowed */
        uid_t uid;            /* ours: whom handlers may belong to, beside root */
        User user;            /* the same */
        JobKey key;
        char key_text[JOB_KEY_TEXT_MAX];
        char boot_id[BOOT_ID_MAX];

        Conn *conn;            /* to the agent; NULL = none */
        int runs_fd, slots_fd; /* RUNTIME/runs, RUNTIME/slots */
        KeyLock lock;
        RecordStore *store;
        Record *record;
        RecordState state; /* the record as it was found */

        char *document; /* owned; as it came */
        size_t document_len;
        char *payload; /* of a signed one: what was signed, and what handlers get; NULL = not signed */
        size_t payload_len;
        JobDoc doc;
        bool doc_good; /* false: the record's document is refused today; it can still be told of, not started */
        char refusal[WIRE_REASON_MAX]; /* why, of a run that was started; "" = not */
        PlanStepConfig *steps;
        size_t n_steps;
        char **shown_names; /* owned; of the steps, without secrets */
        PlanExitRule *exit_rules; /* of the configuration, then of each override */
        Redact redact;
        Plan *plan;

        Output *output;
        Slot slot;
        Slot *all_slots; /* owned; for a reboot: SLOTS_MAX of them, the first n_all_slots are held */
        size_t n_all_slots;
        Child child;
        uint32_t step, attempt; /* of the child */
        char child_user[RUNNER_USER_MAX + 1];
        Limits limits;
        int inhibit_fd;         /* of the child's step: no shutdown while it is open; -1 = none */
        char *handler_path;     /* of the child; before the first one: of the first step's file, as it was found */
} Run;

#define RUN_EMPTY                                                                                            \
        ((Run){ .runs_fd = -1,                                                                               \
                .slots_fd = -1,                                                                              \
                .lock = { .fd = -1, .listen_fd = -1 },                                                       \
                .slot = { .fd = -1 },                                                                        \
                .child = CHILD_NONE,                                                                         \
                .limits = LIMITS_NONE,                                                                       \
                .inhibit_fd = -1 })

/* Give back the slot, or all of them. */
void run_release_slots(Run *run);
/* Free everything, lock file and socket last. */
void run_done(Run *run);
#define CLEANUP_RUN __attribute__((cleanup(run_done)))

/* The answer to a request that needs no plan. */
int answer_set(WireMessage *answer, WireType type, const char *path, const char *format, ...)
        PRINTF_LIKE(4, 5);

/* From a locked key and the first message to a plan. run->conn, key, lock, store are there. 1 = run->plan waits for OPEN (with
 * run->state), nothing of an earlier runner is left alive; 0 = *answer is all there is to say (WIRE_NONE: nothing). Logs what it refuses. */
int run_prepare(Run *run, const WireMessage *first, WireMessage *answer) MUST_USE;

/* Parse run->document into run->doc, by policy, with its signature verified and its users known. 0; -EINVAL with the fault; or
 * another negative errno with the reason in e: not now. */
int run_read_document(Run *run, JobFault *fault, Error *e) MUST_USE;
/* What handlers get. */
const char *run_handler_document(const Run *run, size_t *ret_len);
/* Whom a step runs as. 0 and *ret, filled into *storage (caller: user_done), or NULL = as us; or negative errno with the reason in e:
 * -ENOENT, -EPERM, -E2BIG refuse for good. */
int run_find_user(const Run *run, size_t step, User *storage, const User **ret, Error *e) MUST_USE;

/* The file of a step's handler, or its command's program, checked now: the path (caller frees), or negative errno with the reason
 * in e. */
int run_find_handler(const Run *run, size_t step, char **ret, Error *e) MUST_USE;
/* "steps[0].action.input.handler", for reports. */
void run_handler_json_path(const Run *run, size_t step, char ret[static WIRE_PATH_MAX]);
/* Its override in the configuration, or NULL. */
const ConfigOverride *run_step_override(const Run *run, size_t step);
/* What a step's lines in the log are marked with: its handler, or its program's name. */
const char *run_step_program(const Run *run, size_t step);
/* The directories that handlers have in PATH. */
const char *run_search_path(const Config *config);

/* P4: nothing of a dead runner may be alive when anything is said about its run. From the record's state; blocks. */
int run_end_leftovers(const Run *run, Error *e) MUST_USE;
/* What finds the processes of this run. */
void run_trace(const Run *run, const char *boot_id, int64_t pid, uint64_t start_time, TreeTrace *ret);

/* Make STATE/work/KEY and RUNTIME/runs/KEY.document, which belong to the step's user, and fork its child. `path`, the handler's file,
 * is taken over. */
int run_start_step(Run *run, const PlanAction *action, char *path, Error *e) MUST_USE;
/* The child's gate is about to be opened; and nothing of it is left. */
void run_enter_step(Run *run, size_t step);
void run_leave_step(Run *run);
int run_remove_work(const Run *run, Error *e) MUST_USE;
/* The document's copy alone, with what is secret in it: nobody needs it until the next start. */
int run_remove_document(const Run *run, Error *e) MUST_USE;

/* The journal's fields of a run. Values live as long as the struct. */
typedef struct RunFields {
        char execution[24], step[16], attempt[16], exit_code[16], signal[PLAN_SIGNAL_NAME_MAX];
        LogField field[12];
} RunFields;
/* step, attempt: 0-based step as in PlanAction and its attempt; attempt 0 = neither is known. */
void run_fields(const Run *run, uint32_t step, uint32_t attempt, RunFields *ret);
void run_fields_add(RunFields *f, const char *name, const char *value);

/* Carry out the plan until it says EXIT. `first` is the message of the first packet. Returns an exit status. */
int run_perform(Run *run, const WireMessage *first) MUST_USE;
