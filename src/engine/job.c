/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "engine/internal.h"

const char *job_local_name(JobLocal s) {
        static const char *const names[LOCAL_COUNT] = {
                [LOCAL_NONE] = "none",       [LOCAL_RECORDED] = "recorded", [LOCAL_PREPARING] = "preparing",
                [LOCAL_PLANNED] = "planned", [LOCAL_RUNNING] = "running",   [LOCAL_STOPPING] = "stopping",
                [LOCAL_DEFERRED] = "deferred", [LOCAL_REBOOTING] = "rebooting",
                [LOCAL_FINISHED] = "finished",
        };
        return names[s];
}

const char *job_cloud_name(JobCloud s) {
        static const char *const names[CLOUD_COUNT] = {
                [CLOUD_UNKNOWN] = "unknown",
                [CLOUD_OPEN] = "open",
                [CLOUD_OVER] = "over",
        };
        return names[s];
}

Job *job_find(Engine *e, const JobKey *key) {
        for (size_t i = 0; i < e->n_jobs; i++)
                if (job_key_equal(&e->jobs[i]->key, key))
                        return e->jobs[i];
        return NULL;
}

Job *job_find_hint(Engine *e, const char *job_id) {
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if ((j->key.number == 0 || j->key.queued_at == 0) && strcmp(j->key.job_id, job_id) == 0)
                        return j;
        }
        return NULL;
}

Job *job_find_run(Engine *e, uint32_t run) {
        for (size_t i = 0; i < e->n_jobs; i++)
                if (e->jobs[i]->run == run)
                        return e->jobs[i];
        return NULL;
}

void job_free(Job *j) {
        if (!j)
                return;
        free(j->document);
        proto_details_done(&j->plan_details);
        proto_details_done(&j->progress);
        proto_details_done(&j->final_details);
        free(j);
}

static void job_take_out(Engine *e, Job *j) {
        for (size_t i = 0; i < e->n_jobs; i++)
                if (e->jobs[i] == j) {
                        e->jobs[i] = e->jobs[--e->n_jobs];
                        break;
                }
        job_free(j);
}

/* Which of two that no runner knows goes first: what is left alone, then the later in the cloud's order. */
static bool gives_way_before(const Job *a, const Job *b) {
        if (a->left_alone != b->left_alone)
                return a->left_alone;
        return job_before(b, a);
}

/* Room for another: the service lists again what goes, when the ones before it are done. */
static bool job_make_room(Engine *e, const Job *candidate) {
        Job *last = NULL;

        if (e->n_jobs < ENGINE_JOBS_MAX)
                return true;
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (j->local == LOCAL_NONE && j->request == REQUEST_NONE && (!last || gives_way_before(j, last)))
                        last = j;
        }
        if (!last || !gives_way_before(last, candidate))
                return false;
        job_take_out(e, last);
        return true;
}

static uint32_t job_new_run(Engine *e) {
        if (++e->next_run == 0) /* 0 is the inventory's */
                e->next_run = 1;
        return e->next_run;
}

Job *job_add(Engine *e, const JobKey *key) {
        Job *j = calloc(1, sizeof *j);

        if (!j) {
                e->error = -ENOMEM;
                return NULL;
        }
        j->key = *key;
        j->seq = e->next_seq++;
        j->version = -1;
        j->seconds_left = -1;
        j->request_version = -1;
        j->recheck_at = j->look_at = j->told_by = USEC_NEVER;
        if (!job_make_room(e, j)) {
                job_free(j);
                return NULL;
        }
        j->run = job_new_run(e);
        e->jobs[e->n_jobs++] = j;
        return j;
}

static Finished *find_finished(Engine *e, const JobKey *key) {
        size_t n = MIN_OF(e->n_finished, (size_t) FINISHED_KEYS);

        for (size_t i = 0; i < n; i++)
                if (job_key_equal(&e->finished[i].key, key))
                        return &e->finished[i];
        return NULL;
}

uint64_t job_finished_until(Engine *e, const JobKey *key) {
        const Finished *f = find_finished(e, key);

        return f && f->until > e->now ? f->until : 0;
}

static void remember_finished(Engine *e, const JobKey *key, uint64_t until) {
        Finished *f = find_finished(e, key);

        if (key->number == 0 || key->queued_at == 0)
                return;
        if (!f)
                f = &e->finished[e->n_finished++ % FINISHED_KEYS];
        *f = (Finished) { .key = *key, .until = until };
}

static void job_start_afresh(Engine *e, Job *j) {
        Job fresh = {
                .key = j->key,
                .seq = j->seq,
                .rank = j->rank,
                .status = j->status,
                .version = j->version,
                .seconds_left = -1,
                .request_version = -1,
                .recheck_at = USEC_NEVER,
                .look_at = USEC_NEVER,
                .told_by = USEC_NEVER,
                .listed_in = j->listed_in,
                .cancel_wanted = j->cancel_wanted,
                .retry_at = j->retry_at,
                .disputes = j->disputes,
        };

        proto_details_done(&j->plan_details);
        proto_details_done(&j->progress);
        proto_details_done(&j->final_details);
        free(j->document);
        *j = fresh;
        e->moved = true;
        j->run = job_new_run(e); /* late words of the old connection find nobody */
}

void job_remove(Engine *e, Job *j) {
        if (j->lost) {
                job_start_afresh(e, j);
                return;
        }
        operator_note_end(e, j);
        if (j->cloud == CLOUD_OVER)
                remember_finished(e, &j->key, j->gone ? e->now + GONE_USEC : USEC_NEVER);
        job_take_out(e, j);
}

void job_doubt(Engine *e, Job *j) {
        if (j->cloud == CLOUD_OVER)
                return;
        if (j->request != REQUEST_NONE)
                j->recheck = true;
        else
                job_enter_cloud(e, j, CLOUD_UNKNOWN);
}

void job_dispute(Engine *e, Job *j) {
        if (++j->disputes > DISPUTES_AT_ONCE)
                j->retry_at = e->now + engine_backoff(e, j->disputes - DISPUTES_AT_ONCE, BACKOFF_DOUBLINGS);
}

void job_lose(Engine *e, Job *j, const char *why) {
        /* What becomes of it is the one warning: see leave_alone(). */
        engine_log(e, LEVEL_NOTICE, MESSAGE_ID_JOB_FOREIGN, j, PROTO_STATUS_NONE, "%s: left to the other device", why);
        j->lost = true;
        job_dispute(e, j);
        job_enter_cloud(e, j, CLOUD_OVER);
}

void job_enter_local(Engine *e, Job *j, JobLocal local) {
        if (j->local == local)
                return;
        engine_log(e, LEVEL_DEBUG, NULL, j, PROTO_STATUS_NONE, "device side: %s → %s", job_local_name(j->local),
                   job_local_name(local));
        j->local = local;
        j->entered_at = e->now;
        e->moved = true;
        if (local == LOCAL_PLANNED || local == LOCAL_RUNNING || local == LOCAL_DEFERRED || local == LOCAL_FINISHED)
                job_forget_document(j);
        j->look_at = local != LOCAL_RUNNING                                          ? USEC_NEVER
                     : j->deadline_at > 0 && j->deadline_at < e->now + NEAR_USEC ? e->now
                                                                                 : e->now + LOOK_USEC;
        j->told_by = local == LOCAL_REBOOTING ? e->now + TOLD_USEC : USEC_NEVER;
}

void job_enter_cloud(Engine *e, Job *j, JobCloud cloud) {
        if (j->cloud == cloud)
                return;
        engine_log(e, LEVEL_DEBUG, NULL, j, PROTO_STATUS_NONE, "cloud side: %s → %s", job_cloud_name(j->cloud),
                   job_cloud_name(cloud));
        j->cloud = cloud;
        e->moved = true;
}

bool job_holds_slot(const Job *j) {
        switch (j->local) {
        case LOCAL_NONE:
        case LOCAL_FINISHED:
                return false;
        case LOCAL_RECORDED: /* a run that was started and has no verdict may have processes left, or goes on */
                return j->record != RECORD_PREPARED_ONLY && j->record != RECORD_FINISHED;
        case LOCAL_PREPARING:
        case LOCAL_PLANNED:
        case LOCAL_RUNNING:
        case LOCAL_DEFERRED:
        case LOCAL_REBOOTING:
        case LOCAL_STOPPING:
        case LOCAL_COUNT:
                return true;
        }
        return true;
}

bool engine_reboot_pending(const Engine *e) {
        for (size_t i = 0; i < e->n_jobs; i++) {
                const Job *j = e->jobs[i];

                if (j->record == RECORD_RUN_REBOOTING && j->local != LOCAL_NONE && j->local != LOCAL_FINISHED)
                        return true;
        }
        return false;
}

/* IN_PROGRESS before QUEUED, then by queuedAt; ties as the service listed them, then as we heard of them. */
bool job_before(const Job *a, const Job *b) {
        bool a_started = a->status == PROTO_STATUS_IN_PROGRESS, b_started = b->status == PROTO_STATUS_IN_PROGRESS;

        if (a_started != b_started)
                return a_started;
        if (a->key.queued_at != b->key.queued_at)
                return a->key.queued_at < b->key.queued_at;
        if (a->rank != b->rank)
                return a->rank < b->rank;
        return a->seq < b->seq;
}

bool job_accepts_claim(const Job *j, const char *claim) {
        return strcmp(claim, j->claim) == 0 || (j->adopting && strcmp(claim, j->adopted_claim) == 0);
}

static void bound_documents(Engine *e) {
        Job *last = NULL;
        size_t n = 0;

        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (!j->document)
                        continue;
                n++;
                if (j->local == LOCAL_NONE && (!last || job_before(last, j)))
                        last = j;
        }
        if (n > ENGINE_DOCUMENTS_MAX && last)
                job_forget_document(last);
}

int job_set_document(Engine *e, Job *j, const char *document, size_t len) {
        char *copy = NULL;

        if (len <= LIMIT_DOCUMENT) { /* a larger one is refused by its size alone: not kept */
                copy = malloc(len + 1);
                if (!copy)
                        return -ENOMEM;
                if (len > 0)
                        memcpy(copy, document, len);
                copy[len] = '\0';
        }
        free(j->document);
        j->document = copy;
        j->document_len = len;
        j->has_document = true;
        bound_documents(e);
        return 0;
}

void job_forget_document(Job *j) {
        free(j->document);
        j->document = NULL;
        j->document_len = 0;
        j->has_document = false;
}
