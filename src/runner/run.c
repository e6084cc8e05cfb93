/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void run_release_slots(Run *run) {
        slot_release(&run->slot);
        while (run->n_all_slots > 0)
                slot_release(&run->all_slots[--run->n_all_slots]);
        free(run->all_slots);
        run->all_slots = NULL;
}

void run_done(Run *run) {
        run->plan = plan_free(run->plan);
        child_done(&run->child);
        close_fd_p(&run->inhibit_fd);
        limits_done(&run->limits);
        run->output = output_free(run->output);
        redact_done(&run->redact);
        free(run->steps);
        for (size_t i = 0; run->shown_names && i < run->doc.n_steps; i++)
                free(run->shown_names[i]);
        free(run->shown_names);
        jobdoc_done(&run->doc);
        free(run->exit_rules);
        free(run->payload);
        free(run->document);
        free(run->handler_path);
        run->record = record_free(run->record);
        record_state_done(&run->state);
        run->store = record_store_free(run->store);
        run_release_slots(run);
        user_done(&run->user);
        keylock_release(&run->lock);
        close_fd_p(&run->slots_fd);
        close_fd_p(&run->runs_fd);
        /* Last: whoever sees this connection end finds the key unlocked. */
        run->conn = conn_free(run->conn);
        *run = RUN_EMPTY;
}

int answer_set(WireMessage *answer, WireType type, const char *path, const char *format, ...) {
        va_list ap;

        wire_message_done(answer);
        *answer = (WireMessage){ .type = type };
        (void) snprintf(answer->path, sizeof answer->path, "%s", path);
        va_start(ap, format);
        (void) vsnprintf(answer->reason, sizeof answer->reason, format, ap);
        va_end(ap);
        return 0;
}

void run_trace(const Run *run, const char *boot_id, int64_t pid, uint64_t start_time, TreeTrace *ret) {
        *ret = (TreeTrace){ .pid = (pid_t) pid, .start_time = start_time };
        (void) snprintf(ret->key, sizeof ret->key, "%s", run->key_text);
        (void) snprintf(ret->boot_id, sizeof ret->boot_id, "%s", boot_id);
        (void) snprintf(ret->state, sizeof ret->state, "%s", run->config->state_directory);
}

void run_fields_add(RunFields *f, const char *name, const char *value) {
        size_t n = 0;

        while (f->field[n].name)
                n++;
        if (n + 1 < ELEMENTSOF(f->field))
                f->field[n] = (LogField){ name, value };
}

void run_fields(const Run *run, uint32_t step, uint32_t attempt, RunFields *ret) {
        *ret = (RunFields){};
        (void) snprintf(ret->execution, sizeof ret->execution, "%" PRId64, run->key.number);
        run_fields_add(ret, "IOT_JOB_ID", run->key.job_id);
        run_fields_add(ret, "IOT_JOB_EXECUTION", ret->execution);
        if (attempt == 0)
                return;
        (void) snprintf(ret->step, sizeof ret->step, "%" PRIu32, step + 1);
        (void) snprintf(ret->attempt, sizeof ret->attempt, "%" PRIu32, attempt);
        run_fields_add(ret, "IOT_JOB_STEP", ret->step);
        if (run->doc_good && step < run->doc.n_steps)
                run_fields_add(ret, "IOT_JOB_HANDLER", run_step_program(run, step));
        run_fields_add(ret, "IOT_JOB_ATTEMPT", ret->attempt);
}
