/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator of the device wants: pause, resume, cancel.
 *
 * A pause holds back what was not begun. What the cloud sees IN_PROGRESS by us goes on to its end, with its retries and reboots:
 * the service's timers run for it, and half a job done is no state to leave a device in. What was only prepared is forgotten, so that
 * the cloud sees QUEUED, no runner waits, and the document is read afresh when it goes on. */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

static const char cancelled[] = "cancelled on the device";

/* ---- pause ---- */

static void resume_jobs(Engine *e) {
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (j->local != LOCAL_NONE && j->local != LOCAL_RECORDED)
                        continue;
                j->runner_retry_at = 0; /* it was the pause that refused it */
                j->runner_tries = 0;
        }
}

void operator_pause(Engine *e, int64_t since) {
        bool was_paused = e->paused_since > 0;

        e->paused_since = since;
        e->paused_at = e->now;
        if (was_paused == (since > 0))
                return;
        e->moved = true;
        if (since > 0)
                engine_log(e, LEVEL_NOTICE, MESSAGE_ID_PAUSED, NULL, PROTO_STATUS_NONE,
                           "paused by the operator of the device: what was begun goes on to its end, nothing else starts");
        else {
                engine_log(e, LEVEL_NOTICE, MESSAGE_ID_RESUMED, NULL, PROTO_STATUS_NONE, "resumed: jobs start again");
                resume_jobs(e);
        }
}

void operator_inventory(Engine *e, int64_t since) {
        /* An inventory that was asked for before may have been answered before. */
        if (e->paused_at == 0 || e->paused_at < e->inventory_asked_at)
                operator_pause(e, since);
}

bool operator_holds_back(const Engine *e, const Job *j) {
        if (e->paused_since == 0)
                return false;
        if (j->local == LOCAL_RECORDED || j->local == LOCAL_PLANNED) /* begun, or to be asked whether it was */
                return j->record == RECORD_PREPARED_ONLY && j->cloud == CLOUD_OPEN && j->status != PROTO_STATUS_IN_PROGRESS;
        return j->local == LOCAL_NONE;
}

/* The runner lets go of what it planned; the job is as if it had just been heard of. */
static void unprepare(Engine *e, Job *j) {
        if (j->request != REQUEST_NONE || e->now < j->runner_retry_at || !engine_tell(e, j, WIRE_DROP))
                return;
        j->lost = true;
        job_remove(e, j);
}

/* ---- cancel ---- */

void operator_cancel(Engine *e, const JobKey *key) {
        Job *j = job_find(e, key);

        if (!j || j->left_alone || j->cancel_wanted || j->local == LOCAL_FINISHED || j->cloud == CLOUD_OVER)
                return;
        engine_log(e, LEVEL_NOTICE, MESSAGE_ID_JOB_CANCELLED, j, PROTO_STATUS_NONE, "the operator of the device cancels it");
        j->cancel_wanted = true;
        e->moved = true;
}

/* Nothing on the device knows it. What the cloud has of it is looked at first: it may be IN_PROGRESS elsewhere. */
static void refuse_unknown(Engine *e, Job *j) {
        if (!e->online || !e->listed || j->request != REQUEST_NONE || e->now < j->retry_at)
                return;
        if (j->cloud == CLOUD_UNKNOWN || (j->status == PROTO_STATUS_IN_PROGRESS && !j->details_known)) {
                cloud_describe(e, j, false);
                return;
        }
        if (j->status == PROTO_STATUS_IN_PROGRESS && j->cloud_claim[0] && j->seconds_left >= 0 && !job_accepts_claim(j, j->cloud_claim)) {
                j->cancel_wanted = false; /* another device has it, and the service watches over it: not ours to end */
                return;
        }
        if (j->status == PROTO_STATUS_IN_PROGRESS) { /* an orphan; only with the claim that was seen now */
                j->adopting = true;
                memcpy(j->adopted_claim, j->cloud_claim, sizeof j->adopted_claim);
        }
        device_finish_with_reason(e, j, PROTO_STATUS_REJECTED, cancelled);
}

static void advance_cancel(Engine *e, Job *j) {
        switch (j->local) {
        case LOCAL_NONE:
                refuse_unknown(e, j);
                return;
        case LOCAL_RECORDED:
                if (j->record != RECORD_FINISHED && e->now >= j->runner_retry_at)
                        device_cancel(e, j);
                return;
        case LOCAL_DEFERRED:
        case LOCAL_RUNNING:
        case LOCAL_PLANNED:
        case LOCAL_REBOOTING:
                device_stop(e, j);
                return;
        case LOCAL_PREPARING:
        case LOCAL_STOPPING:
                return; /* its answer comes first */
        case LOCAL_FINISHED: /* if somebody else's word turns out to stand in the cloud, it is wanted still */
        case LOCAL_COUNT:
                return;
        }
}

void operator_advance(Engine *e, Job *j) {
        if (j->cancel_wanted)
                advance_cancel(e, j);
        else if ((j->local == LOCAL_RECORDED || j->local == LOCAL_PLANNED) && operator_holds_back(e, j))
                unprepare(e, j);
}

/* ---- what has ended ---- */

void operator_note_end(Engine *e, const Job *j) {
        if (j->cloud != CLOUD_OVER || j->lost)
                return;
        e->ended[e->n_ended++ % ENGINE_ENDED_KEPT] = (EngineEnded){
                .key = j->key,
                .status = j->reported ? j->final_status : PROTO_STATUS_NONE,
                .at = e->now,
        };
}
