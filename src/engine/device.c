/* SPDX-License-Identifier: Apache-2.0 */
/* The device's side: what runners are told, and what their words change. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

void device_inventory(Engine *e) {
        EngineAction *a = engine_act(e, ENGINE_ACTION_RUNNER);

        if (!a)
                return;
        a->wire.type = WIRE_INVENTORY;
        memcpy(a->wire.key.thing, e->config.thing, sizeof a->wire.key.thing);
        e->inventory_wanted = false;
        e->inventory_in_flight = true;
        e->inventory_asked_at = e->now;
        e->inventory_slow = false;
        e->inventory_overflow = false;
}

static void wait_for_runner(Engine *e, Job *j) {
        j->asked_at = e->now;
        j->slow = false;
        job_enter_local(e, j, LOCAL_PREPARING);
}

/* A runner in a sleep that nothing ends (state on a dead network disk) cannot be helped, nor would another one fare better; but
 * it must not be a riddle why nothing runs. */
void device_watch(Engine *e) {
        if (e->inventory_in_flight && !e->inventory_slow && e->now >= e->inventory_asked_at + RUNNER_SLOW_USEC) {
                e->inventory_slow = true;
                engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_UNABLE, NULL, PROTO_STATUS_NONE,
                           "no job starts: the runner has not listed the runs on this device for 60 s, still waiting");
        }
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (j->local != LOCAL_PREPARING || j->slow || e->now < j->asked_at + RUNNER_SLOW_USEC)
                        continue;
                j->slow = true;
                engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_UNABLE, j, PROTO_STATUS_NONE,
                           "the runner has not answered for 60 s, still waiting");
        }
}

void device_prepare(Engine *e, Job *j) {
        EngineAction *a = engine_tell(e, j, WIRE_PREPARE);

        if (!a)
                return;
        a->wire.document_len = j->document_len;
        if (j->document) { /* ours is kept until the plan is there, in case the runner has to be asked again */
                a->owned_document = malloc(j->document_len + 1);
                if (!a->owned_document) {
                        e->error = -ENOMEM;
                        return;
                }
                memcpy(a->owned_document, j->document, j->document_len + 1);
                a->wire.document = a->owned_document;
        }
        wait_for_runner(e, j);
}

void device_attach(Engine *e, Job *j) {
        if (engine_tell(e, j, WIRE_ATTACH))
                wait_for_runner(e, j);
}

void device_told(Engine *e, Job *j) {
        if (engine_tell(e, j, WIRE_TOLD))
                j->told_by = USEC_NEVER;
}

void device_deadline(Engine *e, Job *j, int64_t seconds_left) {
        EngineAction *a;

        j->deadline_at = seconds_left < 0 ? 0 : e->now + MIN_OF((uint64_t) seconds_left, WIRE_WAIT_MAX) * USEC_PER_SEC;
        if (seconds_left < 0 || !j->connected || (j->local != LOCAL_RUNNING && j->local != LOCAL_REBOOTING))
                return;
        a = engine_tell(e, j, WIRE_DEADLINE);
        if (a)
                a->wire.seconds = MIN_OF((uint64_t) seconds_left, WIRE_WAIT_MAX);
}

void device_cancel(Engine *e, Job *j) {
        EngineAction *a = engine_tell(e, j, WIRE_CANCEL);

        if (!a)
                return;
        a->wire.by_operator = j->cancel_wanted && j->cloud != CLOUD_OVER;
        a->wire.by_deadline = j->too_late && j->cloud != CLOUD_OVER && j->local == LOCAL_DEFERRED;
        job_enter_local(e, j, LOCAL_STOPPING);
}

static void tell_and_remove(Engine *e, Job *j, WireType type) {
        if (engine_tell(e, j, type))
                job_remove(e, j);
}

void device_stop(Engine *e, Job *j) {
        if (j->local == LOCAL_DEFERRED && e->now < j->runner_retry_at)
                return;
        if (j->local == LOCAL_RUNNING)
                j->record = RECORD_RUN_STARTED; /* whoever has to be asked after this runner */
        device_cancel(e, j);
}

void device_settle(Engine *e, Job *j) {
        switch (j->local) {
        case LOCAL_NONE:
                job_remove(e, j);
                return;
        case LOCAL_RECORDED:
                if (e->now < j->runner_retry_at)
                        return;
                if (j->record == RECORD_FINISHED || j->record == RECORD_PREPARED_ONLY)
                        tell_and_remove(e, j, j->record == RECORD_FINISHED ? WIRE_ACK : WIRE_DROP);
                else
                        device_cancel(e, j);
                return;
        case LOCAL_PREPARING:
        case LOCAL_STOPPING:
                return; /* its answer comes first */
        case LOCAL_PLANNED:
                if (j->record == RECORD_PREPARED_ONLY)
                        tell_and_remove(e, j, WIRE_DROP);
                else /* a rerun, or a retry: something of it did run, keep a tombstone */
                        device_cancel(e, j);
                return;
        case LOCAL_DEFERRED:
        case LOCAL_REBOOTING:
        case LOCAL_RUNNING:
                device_stop(e, j);
                return;
        case LOCAL_FINISHED:
                if (j->record != RECORD_NOT_KNOWN) {
                        tell_and_remove(e, j, WIRE_ACK);
                        return;
                }
                engine_hang_up(e, j);
                job_remove(e, j);
                return;
        case LOCAL_COUNT:
                return;
        }
}

void device_finish(Engine *e, Job *j, ProtoStatus status, const ProtoDetails *details) {
        proto_details_done(&j->final_details);
        j->final_status = status;
        j->strip = 0;
        if (proto_details_copy(&j->final_details, details) < 0)
                e->error = -ENOMEM;
        j->progress_dirty = false;
        job_enter_local(e, j, LOCAL_FINISHED);
}

void device_finish_with_reason(Engine *e, Job *j, ProtoStatus status, const char *reason) {
        ProtoDetails d CLEANUP_DETAILS = {};

        if (j->claim[0] && proto_details_set(&d, "claim", j->claim) < 0)
                e->error = -ENOMEM;
        if (proto_details_set(&d, "reason", reason) < 0)
                e->error = -ENOMEM;
        device_finish(e, j, status, &d);
}

/* ---- inventory ---- */

static JobRecord record_of(WireRunState s) {
        switch (s) {
        case WIRE_RUN_PREPARED:
                return RECORD_PREPARED_ONLY;
        case WIRE_RUN_STARTED:
                return RECORD_RUN_STARTED;
        case WIRE_RUN_REBOOTED:
                return RECORD_RUN_REBOOTED;
        case WIRE_RUN_DEFERRED:
                return RECORD_RUN_DEFERRED;
        case WIRE_RUN_REBOOTING:
                return RECORD_RUN_REBOOTING;
        case WIRE_RUN_RESULT:
                return RECORD_FINISHED;
        case WIRE_RUN_STATE_COUNT:
                break;
        }
        return RECORD_RUN_STARTED;
}

/* Back to what is known without the runner's connection. */
static void let_go(Engine *e, Job *j) {
        job_enter_local(e, j,
                        j->record == RECORD_NOT_KNOWN      ? LOCAL_NONE
                        : j->record == RECORD_RUN_DEFERRED ? LOCAL_DEFERRED
                                                           : LOCAL_RECORDED);
}

static void take_run(Engine *e, const WireRun *run) {
        Job *j;

        if (strcmp(run->key.thing, e->config.thing) != 0)
                return;
        j = job_find(e, &run->key);
        if (!j) {
                j = job_add(e, &run->key);
                if (!j) {
                        e->inventory_overflow = true; /* asked again when some of these are done */
                        return;
                }
        } else if (j->local != LOCAL_NONE)
                return; /* we know more than the inventory */
        j->record = record_of(run->state);
        memcpy(j->claim, run->claim, sizeof j->claim);
        job_forget_document(j);
        j->resume_at = e->now + run->seconds * USEC_PER_SEC;
        let_go(e, j);
        job_doubt(e, j);
}

static void inventory_failed(Engine *e, const char *why) {
        e->inventory_in_flight = false;
        e->inventory_wanted = true;
        e->inventory_retry_at = e->now + engine_backoff(e, e->inventory_tries, RUNNER_BACKOFF_DOUBLINGS);
        engine_log(e, e->inventory_tries++ == 0 ? LEVEL_WARNING : LEVEL_DEBUG, MESSAGE_ID_JOB_UNABLE, NULL,
                   PROTO_STATUS_NONE, "no job starts: cannot list the runs on this device, trying again: %s", why);
}

static void take_inventory(Engine *e, const WireMessage *m) {
        switch (m->type) {
        case WIRE_RUNS:
                for (size_t i = 0; i < m->n_runs; i++)
                        take_run(e, &m->runs[i]);
                if (m->more)
                        return;
                e->inventory_in_flight = false;
                e->inventory_done = true;
                e->inventory_tries = 0;
                operator_inventory(e, m->paused_since);
                (void) engine_act(e, ENGINE_ACTION_HANG_UP); /* the next inventory has a connection of its own */
                return;
        case WIRE_UNABLE:
                inventory_failed(e, m->reason);
                return;
        case WIRE_NONE:
        case WIRE_INVENTORY:
        case WIRE_HISTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
        case WIRE_PAUSED:
        case WIRE_ENDS:
        case WIRE_PREPARE:
        case WIRE_GO:
        case WIRE_ATTACH:
        case WIRE_CANCEL:
        case WIRE_ACK:
        case WIRE_DROP:
        case WIRE_TOLD:
        case WIRE_DEADLINE:
        case WIRE_DEFERRED:
        case WIRE_REBOOTING:
        case WIRE_PLAN:
        case WIRE_REJECTED:
        case WIRE_NO_RECORD:
        case WIRE_ATTACHED:
        case WIRE_PROGRESS:
        case WIRE_RESULT:
        case WIRE_TYPE_COUNT:
                return;
        }
}

/* ---- one run ---- */

static void runner_later(Engine *e, Job *j) {
        j->runner_retry_at = e->now + engine_backoff(e, j->runner_tries++, RUNNER_BACKOFF_DOUBLINGS);
}

static void take_plan(Engine *e, Job *j, const WireMessage *m) {
        if (j->local != LOCAL_PREPARING)
                return;
        memcpy(j->claim, m->claim, sizeof j->claim);
        j->record = m->phase == WIRE_PHASE_RUN     ? RECORD_PREPARED_ONLY
                    : m->phase == WIRE_PHASE_RETRY ? RECORD_RUN_DEFERRED
                                                   : RECORD_RUN_STARTED;
        j->max_seconds = m->max_seconds;
        proto_details_done(&j->plan_details);
        if (proto_details_copy(&j->plan_details, &m->details) < 0)
                e->error = -ENOMEM;
        j->runner_tries = 0;
        j->warned = false;
        job_enter_local(e, j, LOCAL_PLANNED);
}

static void take_rejected(Engine *e, Job *j, const WireMessage *m) {
        char reason[WIRE_PATH_MAX + 2 + WIRE_REASON_MAX];

        if (j->local != LOCAL_PREPARING)
                return;
        (void) snprintf(reason, sizeof reason, "%s%s%s", m->path, m->path[0] ? ": " : "", m->reason);
        if (j->record == RECORD_RUN_DEFERRED) { /* something of it did run */
                device_finish_with_reason(e, j, PROTO_STATUS_FAILED, reason);
                return;
        }
        engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_REJECTED, j, PROTO_STATUS_REJECTED, "refused: %s", reason);
        j->record = RECORD_NOT_KNOWN;
        device_finish_with_reason(e, j, PROTO_STATUS_REJECTED, reason);
}

static void take_unable(Engine *e, Job *j, const WireMessage *m) {
        /* Asked before the newest word of the operator it was answered before it, perhaps. */
        bool paused = m->paused_since > 0 && j->asked_at >= e->paused_at;

        if (j->local == LOCAL_NONE || j->local == LOCAL_DEFERRED || j->local == LOCAL_FINISHED)
                return;
        if (paused)
                operator_pause(e, m->paused_since);
        engine_log(e, j->warned || paused ? LEVEL_DEBUG : LEVEL_WARNING, MESSAGE_ID_JOB_UNABLE, j, PROTO_STATUS_NONE,
                   "cannot run now, trying again: %s", m->reason);
        j->warned = !paused;
        engine_hang_up(e, j);
        runner_later(e, j);
        let_go(e, j);
        if (j->local == LOCAL_NONE) { /* what is asked again is read again: the document may carry URLs that expire */
                job_forget_document(j);
                job_doubt(e, j);
        }
}

/* The record is gone (dropped, or the disk lost it): what the cloud says now decides alone. */
static void take_no_record(Engine *e, Job *j) {
        if (j->local != LOCAL_PREPARING && j->local != LOCAL_STOPPING)
                return;
        engine_hang_up(e, j);
        j->record = RECORD_NOT_KNOWN;
        j->claim[0] = '\0';
        job_enter_local(e, j, LOCAL_NONE);
        job_doubt(e, j);
}

static void take_attached(Engine *e, Job *j, const WireMessage *m) {
        if (j->local != LOCAL_PREPARING)
                return;
        memcpy(j->claim, m->claim, sizeof j->claim);
        j->record = record_of(m->state);
        j->runner_tries = 0;
        job_enter_local(e, j, LOCAL_RUNNING);
}

static void take_progress(Engine *e, Job *j, const WireMessage *m) {
        if (j->local != LOCAL_RUNNING)
                return;
        j->record = RECORD_RUN_STARTED;
        proto_details_done(&j->progress);
        if (proto_details_copy(&j->progress, &m->details) < 0)
                e->error = -ENOMEM;
        j->progress_dirty = true;
}

/* What its record says by now, with the details and the time that go to the cloud. */
static void take_pause(Engine *e, Job *j, const WireMessage *m, JobRecord record) {
        const char *claim = proto_details_get(&m->details, "claim");

        j->record = record;
        j->runner_tries = 0;
        j->warned = false;
        j->progress_dirty = false;
        j->max_seconds = m->max_seconds;
        j->pause_news = true;
        j->too_late = false;
        proto_details_done(&j->plan_details);
        if (proto_details_copy(&j->plan_details, &m->details) < 0)
                e->error = -ENOMEM;
        if (claim && wire_claim_valid(claim))
                (void) snprintf(j->claim, sizeof j->claim, "%s", claim);
}

static void take_deferred(Engine *e, Job *j, const WireMessage *m) {
        if (j->local != LOCAL_PREPARING && j->local != LOCAL_RUNNING && j->local != LOCAL_STOPPING)
                return;
        take_pause(e, j, m, RECORD_RUN_DEFERRED);
        j->resume_at = e->now + m->seconds * USEC_PER_SEC;
        j->without_document = false;
        engine_hang_up(e, j);
        let_go(e, j);
}

static void take_rebooting(Engine *e, Job *j, const WireMessage *m) {
        if (j->local == LOCAL_STOPPING)
                j->record = RECORD_RUN_REBOOTING; /* what it is told to do comes next */
        if (j->local != LOCAL_PREPARING && j->local != LOCAL_RUNNING)
                return;
        take_pause(e, j, m, RECORD_RUN_REBOOTING);
        engine_log(e, LEVEL_NOTICE, MESSAGE_ID_JOB_REBOOTING, j, PROTO_STATUS_IN_PROGRESS,
                   "asks for a reboot: no other job starts before it");
        job_enter_local(e, j, LOCAL_REBOOTING);
}

/* The record keeps the verdict; whether the cloud still wants it is seen when it is reported. */
static void take_result(Engine *e, Job *j, const WireMessage *m) {
        const char *claim = proto_details_get(&m->details, "claim");

        if (j->local == LOCAL_NONE || j->local == LOCAL_FINISHED || j->local == LOCAL_RECORDED || j->local == LOCAL_DEFERRED)
                return;
        j->record = RECORD_FINISHED;
        j->runner_tries = 0;
        if (claim && wire_claim_valid(claim))
                (void) snprintf(j->claim, sizeof j->claim, "%s", claim);
        if (m->status == PROTO_STATUS_CANCELED && j->cloud != CLOUD_OVER) {
                /* Stopped because the execution looked over; if the cloud says otherwise, that is the truth to tell. */
                device_finish_with_reason(e, j, PROTO_STATUS_FAILED, "interrupted: stopped as cancelled in the cloud");
                job_doubt(e, j);
                return;
        }
        device_finish(e, j, m->status, &m->details);
}

void device_on_message(Engine *e, uint32_t run, const WireMessage *m) {
        Job *j;

        if (run == 0) {
                take_inventory(e, m);
                return;
        }
        j = job_find_run(e, run);
        if (!j)
                return;
        switch (m->type) {
        case WIRE_PLAN:
                take_plan(e, j, m);
                return;
        case WIRE_REJECTED:
                take_rejected(e, j, m);
                return;
        case WIRE_UNABLE:
                take_unable(e, j, m);
                return;
        case WIRE_NO_RECORD:
                take_no_record(e, j);
                return;
        case WIRE_ATTACHED:
                take_attached(e, j, m);
                return;
        case WIRE_PROGRESS:
                take_progress(e, j, m);
                return;
        case WIRE_RESULT:
                take_result(e, j, m);
                return;
        case WIRE_DEFERRED:
                take_deferred(e, j, m);
                return;
        case WIRE_REBOOTING:
                take_rebooting(e, j, m);
                return;
        case WIRE_NONE:
        case WIRE_INVENTORY:
        case WIRE_HISTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
        case WIRE_PAUSED:
        case WIRE_ENDS:
        case WIRE_PREPARE:
        case WIRE_GO:
        case WIRE_ATTACH:
        case WIRE_CANCEL:
        case WIRE_ACK:
        case WIRE_DROP:
        case WIRE_TOLD:
        case WIRE_DEADLINE:
        case WIRE_RUNS:
        case WIRE_TYPE_COUNT:
                return; /* nothing a runner says */
        }
}

void device_on_closed(Engine *e, uint32_t run) {
        Job *j;

        if (run == 0) {
                if (e->inventory_in_flight)
                        inventory_failed(e, "the runner went away");
                return;
        }
        j = job_find_run(e, run);
        if (!j)
                return;
        j->connected = false;
        switch (j->local) {
        case LOCAL_NONE:
        case LOCAL_RECORDED:
        case LOCAL_DEFERRED:
        case LOCAL_FINISHED:
        case LOCAL_COUNT:
                return;
        case LOCAL_PLANNED:
        case LOCAL_PREPARING:
        case LOCAL_REBOOTING: /* the reboot itself, likely */
        case LOCAL_STOPPING:
                runner_later(e, j);
                if (j->runner_tries > 1)
                        engine_log(e, LEVEL_WARNING, MESSAGE_ID_RUNNER_LOST, j, PROTO_STATUS_NONE,
                                   "the runner went away, trying again");
                break;
        case LOCAL_RUNNING:
                engine_log(e, LEVEL_WARNING, MESSAGE_ID_RUNNER_LOST, j, PROTO_STATUS_NONE,
                           "the runner went away in the middle of the run");
                j->record = RECORD_RUN_STARTED; /* at worst: the next runner for the key reads the record */
                break;
        }
        let_go(e, j);
}
