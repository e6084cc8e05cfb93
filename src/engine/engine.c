/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

int engine_new(const EngineConfig *config, const char *token_prefix, Engine **ret) {
        Engine *e;

        if (!proto_thing_name_valid(config->thing) || config->max_concurrent < 1 || config->max_concurrent > 10 ||
            strlen(token_prefix) >= ENGINE_TOKEN_PREFIX_MAX)
                return -EINVAL;
        e = calloc(1, sizeof *e);
        if (!e)
                return -ENOMEM;
        e->config = *config;
        (void) snprintf(e->token_prefix, sizeof e->token_prefix, "%s", token_prefix);
        e->notify_due = USEC_NEVER;
        e->deadline = USEC_NEVER;
        *ret = e;
        return 0;
}

Engine *engine_free(Engine *e) {
        if (!e)
                return NULL;
        for (size_t i = 0; i < e->n_jobs; i++)
                job_free(e->jobs[i]);
        free(e);
        return NULL;
}

/* ---- one job: what its states ask for ---- */

static void request_timed_out(Engine *e, Job *j) {
        engine_log(e, LEVEL_DEBUG, NULL, j, PROTO_STATUS_NONE, "no answer from the service, asking again");
        if (j->request == REQUEST_PROGRESS)
                j->progress_dirty = true;
        if (j->request == REQUEST_CLAIM && e->paused_since > 0)
                j->recheck = true; /* did it arrive? Then it goes on */
        cloud_request_over(e, j);
        /* The first repetition at once: an update that did arrive is recognised by its version mismatch. */
        if (j->tries++ > 0)
                j->retry_at = e->now + engine_backoff(e, j->tries, BACKOFF_DOUBLINGS);
}

/* What the service keeps back of one job, whatever the reason, does not keep the others. */
static bool is_asked_in_vain(const Engine *e, const Job *j) {
        return (j->tries >= TRIES_IN_ORDER || j->disputes >= TRIES_IN_ORDER) &&
                (j->request != REQUEST_NONE || e->now < j->retry_at);
}

/* Starts happen in the cloud's order: an earlier one that is about to start goes first. */
static bool earlier_one_is_starting(const Engine *e, const Job *j) {
        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *k = e->jobs[i];

                if (k != j && (k->local == LOCAL_PREPARING || k->local == LOCAL_PLANNED) && k->cloud != CLOUD_OVER &&
                    job_before(k, j) && !is_asked_in_vain(e, k))
                        return true;
        }
        return false;
}

/* A deferred run has kept its place. */
static bool goes_on_before(const Job *a, const Job *b) {
        bool a_deferred = a->record == RECORD_RUN_DEFERRED, b_deferred = b->record == RECORD_RUN_DEFERRED;

        return a_deferred != b_deferred ? a_deferred : job_before(a, b);
}

/* What a restart finds under way may be more than may be, after a verdict that could not be written, say, or with a new
 * configuration: it goes on one by one. */
static bool has_room(const Engine *e, const Job *j) {
        size_t others = 0;

        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *k = e->jobs[i];
                bool waits = k->local == LOCAL_PREPARING || k->local == LOCAL_PLANNED || k->local == LOCAL_RECORDED;

                others += k != j && job_holds_slot(k) && (!waits || (goes_on_before(k, j) && !is_asked_in_vain(e, k)));
        }
        return others < e->config.max_concurrent;
}

static bool claimed_by_another(const Job *j) {
        return j->cloud == CLOUD_OPEN && j->details_known && j->status == PROTO_STATUS_IN_PROGRESS &&
                !job_accepts_claim(j, j->cloud_claim);
}

/* Tell the cloud first, so that its timer is armed anew; when it is due read the document afresh, and prepare it. */
static void advance_deferred(Engine *e, Job *j) {
        bool due = e->now >= j->resume_at && e->now >= j->runner_retry_at && e->inventory_done &&
                   !engine_reboot_pending(e);

        if (j->cloud == CLOUD_UNKNOWN)
                cloud_describe(e, j, due);
        else if (j->pause_news)
                cloud_pause(e, j);
        else if (j->too_late) {
                if (e->now >= j->runner_retry_at)
                        device_cancel(e, j);
        } else if (e->now >= j->look_at)
                cloud_describe(e, j, due);
        else if (due && j->has_document)
                device_prepare(e, j);
        else if (due && j->without_document)
                device_finish_with_reason(e, j, PROTO_STATUS_FAILED, "the job document is refused by now: jobDocument: missing");
        else if (due)
                cloud_describe(e, j, true);
}

/* The cloud is open and may be asked. */
static void advance_online(Engine *e, Job *j) {
        if (j->local != LOCAL_NONE && j->local != LOCAL_PREPARING && j->local != LOCAL_STOPPING &&
            claimed_by_another(j)) {
                job_lose(e, j, "another device's claim is in the cloud");
                device_settle(e, j);
                return;
        }
        switch (j->local) {
        case LOCAL_PLANNED:
                if (j->cloud == CLOUD_UNKNOWN)
                        cloud_describe(e, j, false);
                else if (!operator_holds_back(e, j) && !earlier_one_is_starting(e, j) && !engine_reboot_pending(e) && has_room(e, j))
                        cloud_claim(e, j);
                return;
        case LOCAL_DEFERRED:
                advance_deferred(e, j);
                return;
        case LOCAL_REBOOTING:
                if (j->cloud == CLOUD_UNKNOWN)
                        cloud_describe(e, j, false);
                else if (j->pause_news)
                        cloud_pause(e, j);
                else if (e->now >= j->look_at)
                        cloud_describe(e, j, false);
                return;
        case LOCAL_RUNNING:
                if (j->cloud == CLOUD_UNKNOWN || e->now >= j->look_at)
                        cloud_describe(e, j, false);
                else if (j->progress_dirty && e->now >= j->progress_at)
                        cloud_progress(e, j);
                return;
        case LOCAL_FINISHED:
                if (j->cloud == CLOUD_UNKNOWN)
                        cloud_describe(e, j, false);
                else
                        cloud_final(e, j);
                return;
        case LOCAL_NONE:
        case LOCAL_RECORDED:
        case LOCAL_PREPARING:
        case LOCAL_STOPPING:
        case LOCAL_COUNT:
                return;
        }
}

static void job_advance(Engine *e, Job *j) {
        if (j->request != REQUEST_NONE && e->now >= j->request_deadline)
                request_timed_out(e, j);
        if (j->local == LOCAL_FINISHED && (j->request == REQUEST_PROGRESS || j->request == REQUEST_PAUSE)) {
                /* The final status never waits. The update on its way will most likely raise the version by one; if not,
                 * the mismatch tells. */
                cloud_request_over(e, j);
                j->version = j->request_version + 1;
        } else if (j->local == LOCAL_FINISHED && j->request == REQUEST_DESCRIBE && j->cloud == CLOUD_OPEN)
                cloud_request_over(e, j); /* a look at the service's deadline, which does not matter any more */
        if (j->left_alone && e->now >= j->recheck_at) {
                j->left_alone = false;
                j->recheck_at = USEC_NEVER;
                j->details_known = false;
                job_doubt(e, j);
        }
        if (j->cloud == CLOUD_OVER) {
                device_settle(e, j);
                return;
        }
        operator_advance(e, j);
        /* What was started or has ended is fetched whether the cloud can be asked or not. */
        if (j->local == LOCAL_RECORDED && j->record != RECORD_PREPARED_ONLY && e->now >= j->runner_retry_at &&
            !(j->record == RECORD_RUN_REBOOTED && engine_reboot_pending(e)))
                device_attach(e, j);
        if (e->online && e->listed && j->request == REQUEST_NONE && e->now >= j->retry_at)
                advance_online(e, j);
        if (j->local == LOCAL_REBOOTING && j->told_by != USEC_NEVER &&
            (!e->online || !j->pause_news || e->now >= j->told_by))
                device_told(e, j);
        if (j->cloud == CLOUD_OVER && j->local == LOCAL_RECORDED)
                device_settle(e, j);
}

/* ---- which one starts next ---- */

typedef enum Readiness { READY, WAIT, SKIP } Readiness;

/* Left to whoever has it, or to policy: later jobs go on. */
static Readiness leave_alone(Engine *e, Job *j, const char *why) {
        uint64_t again = j->seconds_left >= 0 ? ((uint64_t) j->seconds_left + 60) * USEC_PER_SEC : e->config.poll_interval_usec;

        if (!j->warned)
                engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_FOREIGN, j, PROTO_STATUS_IN_PROGRESS, "left alone: %s", why);
        j->warned = true;
        j->left_alone = true;
        j->recheck_at = again > 0 ? e->now + again : USEC_NEVER;
        job_forget_document(j);
        return SKIP;
}

/* Only what was seen now is adopted: a claim that appears later is another device's. */
static void adopt(Job *j) {
        j->adopting = true;
        memcpy(j->adopted_claim, j->cloud_claim, sizeof j->adopted_claim);
}

/* IN_PROGRESS in the cloud and no record here. */
static Readiness judge_orphan(Engine *e, Job *j) {
        ProtoDetails d CLEANUP_DETAILS = {};

        if (j->cloud_claim[0] && j->seconds_left >= 0)
                return leave_alone(e, j, "claimed by another device, and the service's timer for it runs");
        switch (e->config.on_orphan) {
        case ENGINE_ORPHAN_RUN:
                engine_log(e, LEVEL_NOTICE, MESSAGE_ID_JOB_ORPHANED, j, PROTO_STATUS_IN_PROGRESS,
                           "in progress in the cloud without a record here: run, as jobs.on_orphan says");
                adopt(j);
                return READY;
        case ENGINE_ORPHAN_LEAVE:
                return leave_alone(e, j, "in progress in the cloud without a record here (jobs.on_orphan = \"leave\")");
        case ENGINE_ORPHAN_FAIL:
                break;
        }
        engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_ORPHANED, j, PROTO_STATUS_FAILED,
                   "in progress in the cloud without a record here");
        adopt(j);
        if (wire_claim_valid(j->cloud_claim))
                memcpy(j->claim, j->cloud_claim, sizeof j->claim); /* a valid one is exactly that long */
        if ((j->claim[0] && proto_details_set(&d, "claim", j->claim) < 0) ||
            proto_details_set(&d, "reason", "orphaned: in progress in the cloud, but this device has no record of it") < 0)
                e->error = -ENOMEM;
        device_finish(e, j, PROTO_STATUS_FAILED, &d);
        return SKIP;
}

/* The document of a QUEUED head comes by itself with notify-next: asking would cost a publication for every job. */
static bool document_is_on_its_way(const Engine *e, const Job *j) {
        bool final_in_flight = false;

        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *k = e->jobs[i];

                if (k->request == REQUEST_FINAL && k->cloud == CLOUD_OPEN)
                        final_in_flight = true;
                else if (k != j && k->status == PROTO_STATUS_IN_PROGRESS && k->cloud != CLOUD_OVER)
                        return false; /* then ours is not the head */
        }
        return final_in_flight || e->now < e->next_expected;
}

static Readiness judge_recorded(Engine *e, Job *j) {
        if (e->now < j->runner_retry_at)
                return WAIT;
        if (j->cloud == CLOUD_UNKNOWN || (j->status == PROTO_STATUS_IN_PROGRESS && !j->details_known)) {
                cloud_describe(e, j, false);
                return WAIT;
        }
        if (claimed_by_another(j)) {
                job_lose(e, j, "claimed by another device");
                device_settle(e, j);
                return SKIP;
        }
        return READY;
}

static Readiness judge(Engine *e, Job *j) {
        if (j->request != REQUEST_NONE || e->now < j->retry_at)
                return WAIT;
        if (j->local == LOCAL_RECORDED)
                return judge_recorded(e, j);
        if (e->now < j->runner_retry_at)
                return WAIT;
        if (j->cloud == CLOUD_UNKNOWN) {
                cloud_describe(e, j, true);
                return WAIT;
        }
        if (j->status == PROTO_STATUS_IN_PROGRESS && !j->adopting) {
                Readiness r;

                if (!j->details_known) {
                        cloud_describe(e, j, true);
                        return WAIT;
                }
                r = judge_orphan(e, j);
                if (r != READY)
                        return r;
        }
        if (j->has_document)
                return READY;
        if (j->without_document) {
                engine_log(e, LEVEL_WARNING, MESSAGE_ID_JOB_REJECTED, j, PROTO_STATUS_REJECTED,
                           "refused: jobDocument: missing");
                device_finish_with_reason(e, j, PROTO_STATUS_REJECTED, "jobDocument: missing");
                return SKIP;
        }
        if (!document_is_on_its_way(e, j))
                cloud_describe(e, j, true);
        return WAIT;
}

static bool is_candidate(const Engine *e, const Job *j) {
        return j->cloud != CLOUD_OVER && !j->left_alone && !operator_holds_back(e, j) &&
                ((j->local == LOCAL_NONE && !is_asked_in_vain(e, j)) || (j->local == LOCAL_RECORDED && j->record == RECORD_PREPARED_ONLY));
}

static Job *next_candidate(Engine *e) {
        Job *first = NULL;

        for (size_t i = 0; i < e->n_jobs; i++)
                if (is_candidate(e, e->jobs[i]) && (!first || job_before(e->jobs[i], first)))
                        first = e->jobs[i];
        return first;
}

static size_t slots_used(const Engine *e) {
        size_t n = 0;

        for (size_t i = 0; i < e->n_jobs; i++)
                n += job_holds_slot(e->jobs[i]);
        return n;
}

static void engine_schedule(Engine *e) {
        if (!e->online || !e->listed || !e->inventory_done || engine_reboot_pending(e))
                return;
        /* Each round starts a job, waits, or takes a job out of the candidates: it ends. */
        for (size_t round = 0; round <= 2 * ENGINE_JOBS_MAX && slots_used(e) < e->config.max_concurrent; round++) {
                Job *j = next_candidate(e);

                if (!j)
                        return;
                switch (judge(e, j)) {
                case WAIT:
                        if (j->local == LOCAL_NONE && is_asked_in_vain(e, j)) /* once more */
                                continue;
                        return;
                case SKIP:
                        continue;
                case READY:
                        if (j->local == LOCAL_RECORDED)
                                device_attach(e, j);
                        else
                                device_prepare(e, j);
                        if (e->error)
                                return;
                        continue;
                }
        }
}

/* ---- the whole ---- */

static void advance_queries(Engine *e) {
        if (e->inventory_overflow && e->inventory_done && e->n_jobs < ENGINE_JOBS_MAX / 2)
                e->inventory_wanted = true;
        if (e->inventory_wanted && !e->inventory_in_flight && e->now >= e->inventory_retry_at)
                device_inventory(e);
        if (!e->online)
                return;
        if (e->list_token[0] && e->now >= e->list_deadline) {
                e->list_token[0] = '\0';
                e->list_wanted = true;
                if (e->list_tries++ > 0)
                        e->list_not_before = e->now + engine_backoff(e, e->list_tries, BACKOFF_DOUBLINGS);
        }
        if (e->now >= e->notify_due) {
                e->notify_due = USEC_NEVER;
                e->list_wanted = true;
        }
        if (e->listed && e->config.poll_interval_usec > 0 && e->now - e->list_last >= e->config.poll_interval_usec)
                e->list_wanted = e->inventory_wanted = true; /* the safety net is for both sides */
        if (e->list_wanted && !e->list_token[0] && e->now >= e->list_not_before)
                cloud_query_list(e);
}

static void earliest(const Engine *e, uint64_t at, uint64_t *deadline) {
        if (at > e->now && at < *deadline)
                *deadline = at;
}

static uint64_t find_deadline(const Engine *e) {
        uint64_t d = USEC_NEVER;

        if (e->inventory_wanted)
                earliest(e, e->inventory_retry_at, &d);
        if (e->inventory_in_flight && !e->inventory_slow)
                earliest(e, e->inventory_asked_at + RUNNER_SLOW_USEC, &d);
        if (e->online) {
                if (e->list_token[0])
                        earliest(e, e->list_deadline, &d);
                if (e->list_wanted)
                        earliest(e, e->list_not_before, &d);
                if (e->listed && e->config.poll_interval_usec > 0)
                        earliest(e, e->list_last + e->config.poll_interval_usec, &d);
                earliest(e, e->notify_due, &d);
                if (e->n_jobs > 0)
                        earliest(e, e->next_expected, &d);
        }
        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *j = e->jobs[i];

                if (j->request != REQUEST_NONE)
                        earliest(e, j->request_deadline, &d);
                if (e->online)
                        earliest(e, j->retry_at, &d);
                if (j->local == LOCAL_NONE || j->local == LOCAL_RECORDED || j->local == LOCAL_DEFERRED)
                        earliest(e, j->runner_retry_at, &d);
                if (j->local == LOCAL_DEFERRED)
                        earliest(e, j->resume_at, &d);
                if (e->online)
                        earliest(e, j->look_at, &d);
                earliest(e, j->told_by, &d);
                if (j->local == LOCAL_RUNNING && j->progress_dirty)
                        earliest(e, j->progress_at, &d);
                if (j->left_alone)
                        earliest(e, j->recheck_at, &d);
                if (j->local == LOCAL_PREPARING && !j->slow)
                        earliest(e, j->asked_at + RUNNER_SLOW_USEC, &d);
        }
        return d;
}

static void take_event(Engine *e, const EngineEvent *event) {
        switch (event->type) {
        case ENGINE_EVENT_START:
                e->inventory_wanted = true;
                return;
        case ENGINE_EVENT_ONLINE:
                cloud_on_online(e);
                return;
        case ENGINE_EVENT_OFFLINE:
                cloud_on_offline(e);
                return;
        case ENGINE_EVENT_MESSAGE:
                cloud_on_message(e, event->message);
                return;
        case ENGINE_EVENT_DROPPED:
                e->list_wanted = true;
                return;
        case ENGINE_EVENT_RUNNER:
                device_on_message(e, event->run, event->wire);
                return;
        case ENGINE_EVENT_RUNNER_CLOSED:
                device_on_closed(e, event->run);
                return;
        case ENGINE_EVENT_RELOAD:
                e->config = *event->config;
                return;
        case ENGINE_EVENT_PAUSED:
                operator_pause(e, event->paused_since);
                return;
        case ENGINE_EVENT_CANCEL:
                operator_cancel(e, event->key);
                return;
        case ENGINE_EVENT_TIMER:
                return;
        }
}

int engine_step(Engine *e, const EngineEvent *event, EngineActions *actions) {
        e->now = event->now;
        e->rng ^= event->random;
        e->actions = actions;
        e->error = 0;
        take_event(e, event);
        advance_queries(e);
        device_watch(e);
        /* Until nothing moves: what one job gives up another may take. A job has few states, so this ends; the bound is
         * for our own bugs. */
        for (unsigned round = 0; round < ROUNDS_MAX; round++) {
                e->moved = false;
                for (size_t i = e->n_jobs; i-- > 0;) /* backwards: a removal puts the last one, already seen, in its place */
                        if (i < e->n_jobs)
                                job_advance(e, e->jobs[i]);
                engine_schedule(e);
                if (!e->moved)
                        break;
        }
        e->deadline = find_deadline(e);
        e->actions = NULL;
        return e->error;
}

uint64_t engine_deadline(const Engine *e) {
        return e->deadline;
}

void engine_summarize(const Engine *e, EngineSummary *ret) {
        const Job *first = NULL;

        *ret = (EngineSummary) { .online = e->online, .synced = e->online && e->listed && e->inventory_done };
        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *j = e->jobs[i];

                switch (j->local) {
                case LOCAL_DEFERRED:
                        ret->deferred++;
                        break;
                case LOCAL_REBOOTING:
                case LOCAL_RUNNING:
                case LOCAL_STOPPING:
                        ret->running++;
                        if (!first || job_before(j, first))
                                first = j;
                        break;
                case LOCAL_FINISHED:
                        ret->reporting++;
                        break;
                case LOCAL_NONE:
                case LOCAL_RECORDED:
                case LOCAL_PREPARING:
                case LOCAL_PLANNED:
                        ret->queued += !j->left_alone;
                        break;
                case LOCAL_COUNT:
                        break;
                }
        }
        if (first)
                ret->current = first->key;
        ret->rebooting = engine_reboot_pending(e);
}
