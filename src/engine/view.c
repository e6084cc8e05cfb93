/* SPDX-License-Identifier: Apache-2.0 */
/* What is going on, for people. Changes nothing. */
#include "engine/internal.h"

static EnginePhase phase_of(const Job *j) {
        if (j->left_alone)
                return ENGINE_PHASE_LEFT_ALONE;
        switch (j->local) {
        case LOCAL_NONE:
        case LOCAL_COUNT:
                break;
        case LOCAL_RECORDED:
                if (j->record == RECORD_PREPARED_ONLY)
                        break;
                return j->record == RECORD_FINISHED ? ENGINE_PHASE_REPORTING : ENGINE_PHASE_RECOVERING;
        case LOCAL_PREPARING: /* also what is attached to: then it was begun before */
                return job_holds_slot(j) && j->record != RECORD_NOT_KNOWN && j->record != RECORD_PREPARED_ONLY
                        ? ENGINE_PHASE_RECOVERING
                        : ENGINE_PHASE_STARTING;
        case LOCAL_PLANNED:
                return ENGINE_PHASE_STARTING;
        case LOCAL_RUNNING:
                return ENGINE_PHASE_RUNNING;
        case LOCAL_DEFERRED:
                return ENGINE_PHASE_DEFERRED;
        case LOCAL_REBOOTING:
                return ENGINE_PHASE_REBOOTING;
        case LOCAL_STOPPING:
                return ENGINE_PHASE_STOPPING;
        case LOCAL_FINISHED:
                return ENGINE_PHASE_REPORTING;
        }
        return ENGINE_PHASE_QUEUED;
}

/* The newest that was said. */
static const ProtoDetails *details_of(const Job *j) {
        if (j->local == LOCAL_FINISHED)
                return &j->final_details;
        if (j->local == LOCAL_DEFERRED || j->local == LOCAL_REBOOTING || j->progress.n == 0)
                return &j->plan_details;
        return &j->progress;
}

static EngineJobView view_of(const Job *j) {
        return (EngineJobView){
                .key = &j->key,
                .details = details_of(j),
                .phase = phase_of(j),
                .status = j->local == LOCAL_FINISHED ? j->final_status : j->status,
                .since = j->entered_at,
                .resume_at = j->resume_at,
                .deadline = j->deadline_at > 0 ? j->deadline_at : USEC_NEVER,
                .cancelling = j->cancel_wanted,
        };
}

size_t engine_view_jobs(const Engine *e, EngineJobView ret[static ENGINE_JOBS_MAX]) {
        const Job *order[ENGINE_JOBS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < e->n_jobs; i++) { /* few, and mostly in order */
                size_t at = n++;

                for (; at > 0 && job_before(e->jobs[i], order[at - 1]); at--)
                        order[at] = order[at - 1];
                order[at] = e->jobs[i];
        }
        for (size_t i = 0; i < n; i++)
                ret[i] = view_of(order[i]);
        return n;
}

size_t engine_view_ended(const Engine *e, EngineEnded ret[static ENGINE_ENDED_KEPT]) {
        size_t n = MIN_OF(e->n_ended, (size_t) ENGINE_ENDED_KEPT);

        for (size_t i = 0; i < n; i++)
                ret[i] = e->ended[(e->n_ended - 1 - i) % ENGINE_ENDED_KEPT];
        return n;
}

int64_t engine_paused_since(const Engine *e) {
        return e->paused_since;
}
