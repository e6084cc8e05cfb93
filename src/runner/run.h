/* SPDX-License-Identifier: Apache-2.0 */
/* One run in the hands of its runner: everything that perform.c needs to carry out what the plan decides. */
#pragma once

#include "config/config.h"
#include "jobdoc/jobdoc.h"
#include "plan/plan.h"
#include "runner/conn.h"
#include "runner/keylock.h"
#include "runner/output.h"
#include "runner/slot.h"
#include "runner/spawn.h"
#include "runner/tree.h"
#include "runner/user.h"

typedef struct Run {
        const Config *config; /* borrowed */
        uid_t uid;            /* ours: whom handlers may belong to, beside root */
        User user;            /* the same: handlers run as us */
        JobKey key;
        char key_text[JOB_KEY_TEXT_MAX];
        char boot_id[BOOT_ID_MAX];

        Conn *conn;            /* to the agent; NULL = none */
        int runs_fd, slots_fd; /* RUNTIME/runs, RUNTIME/slots */
        KeyLock lock;
        RecordStore *store;
        Record *record;
        RecordState state; /* the record as it was found */

        char *document; /* owned */
        size_t document_len;
        JobDoc doc;
        bool doc_good; /* false: the record's document is refused today; it can still be told of, not started */
        PlanStepConfig *steps;
        size_t n_steps;
        Redact redact;
        Plan *plan;

        Output *output;
        Slot slot;
        Child child;
        uint32_t step, attempt; /* of the child */
        char *handler_path;     /* of the child; before the first one: of the first step's file, as it was found */
} Run;

#define RUN_EMPTY                                                                                            \
        ((Run){ .runs_fd = -1,                                                                               \
                .slots_fd = -1,                                                                              \
                .lock = { .fd = -1, .listen_fd = -1 },                                                       \
                .slot = { .fd = -1 },                                                                        \
                .child = CHILD_NONE })

/* Free everything, lock file and socket last. */
void run_done(Run *run);
#define CLEANUP_RUN __attribute__((cleanup(run_done)))

/* The answer to a request that needs no plan. */
int answer_set(WireMessage *answer, WireType type, const char *path, const char *format, ...)
        PRINTF_LIKE(4, 5);

/* From a locked key and the first message to a plan. run->conn, key, lock, store are there. 1 = run->plan waits for OPEN (with
 * run->state), nothing of an earlier runner is left alive; 0 = *answer is all there is to say (WIRE_NONE: nothing). Logs what it refuses. */
int run_prepare(Run *run, const WireMessage *first, WireMessage *answer) MUST_USE;

/* The file of a step's handler, checked now: the path (caller frees), or negative errno with the reason in e. */
int run_find_handler(const Run *run, size_t step, char **ret, Error *e) MUST_USE;
/* "steps[0].action.input.handler", for reports. */
void run_handler_json_path(const Run *run, size_t step, char ret[static WIRE_PATH_MAX]);

/* What finds the processes of this run. */
void run_trace(const Run *run, const char *boot_id, int64_t pid, uint64_t start_time, TreeTrace *ret);

/* Make STATE/work/KEY and RUNTIME/runs/KEY.document; the descriptors go into the request, the paths into the environment. `path`, the
 * handler's file, is taken over. */
int run_start_step(Run *run, const PlanAction *action, char *path, Error *e) MUST_USE;
int run_remove_work(const Run *run, Error *e) MUST_USE;

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
