/* SPDX-License-Identifier: Apache-2.0 */
/* The cloud's side: what is asked, and what an answer or a notification changes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

/* ---- requests ---- */

static void request_sent(Engine *e, Job *j, JobRequest request) {
        j->request = request;
        j->request_deadline = e->now + e->config.operation_timeout_usec;
}

void cloud_request_over(Engine *e, Job *j) {
        j->request = REQUEST_NONE;
        j->token[0] = '\0';
        if (j->recheck) {
                j->recheck = false;
                if (j->cloud == CLOUD_OPEN)
                        job_enter_cloud(e, j, CLOUD_UNKNOWN);
        }
}

void cloud_describe(Engine *e, Job *j, bool with_document) {
        ProtoRequest *r = engine_publish(e, TOPIC_DESCRIBE, j->token);

        if (!r)
                return;
        memcpy(r->job_id, j->key.job_id, sizeof r->job_id);
        if (j->key.number > 0)
                r->execution_number = j->key.number;
        r->include_document = with_document;
        j->document_asked = with_document;
        request_sent(e, j, REQUEST_DESCRIBE);
}

static ProtoRequest *publish_update(Engine *e, Job *j, ProtoStatus status, const ProtoDetails *details,
                                    JobRequest request) {
        ProtoRequest *r = engine_publish(e, TOPIC_UPDATE, j->token);

        if (!r)
                return NULL;
        memcpy(r->job_id, j->key.job_id, sizeof r->job_id);
        r->status = status;
        r->expected_version = j->version;
        if (j->key.number > 0)
                r->execution_number = j->key.number;
        if (details && details->n > 0) {
                r->has_details = true;
                if (proto_details_copy(&r->details, details) < 0)
                        e->error = -ENOMEM;
        }
        j->request_version = j->version;
        request_sent(e, j, request);
        return r;
}

/* IN_PROGRESS with what the plan said last, and the dead-man timer: what is left of the plan, and the margin for reporting it. */
static void update_and_arm(Engine *e, Job *j, JobRequest request) {
        ProtoDetails only_claim CLEANUP_DETAILS = {};
        ProtoRequest *r;

        if (proto_details_set(&only_claim, "claim", j->claim) < 0)
                e->error = -ENOMEM;
        r = publish_update(e, j, PROTO_STATUS_IN_PROGRESS, j->claim_stripped ? &only_claim : &j->plan_details, request);
        if (!r || e->config.step_timeout_margin_sec == 0 || j->max_seconds == 0)
                return;
        uint64_t seconds = j->max_seconds + e->config.step_timeout_margin_sec;
        uint64_t minutes = seconds / 60 + (seconds % 60 != 0);
        r->step_timeout = (int64_t) MIN_OF(minutes, (uint64_t) LIMIT_TIMEOUT_MINUTES);
}

void cloud_claim(Engine *e, Job *j) {
        update_and_arm(e, j, REQUEST_CLAIM);
}

void cloud_pause(Engine *e, Job *j) {
        update_and_arm(e, j, REQUEST_PAUSE);
}

void cloud_progress(Engine *e, Job *j) {
        if (!publish_update(e, j, PROTO_STATUS_IN_PROGRESS, &j->progress, REQUEST_PROGRESS))
                return;
        j->progress_dirty = false;
        j->progress_at = e->now + e->config.progress_interval_usec;
}

/* What the service refuses is cut down step by step; the status itself is never lost. */
static int strip_details(const Job *j, ProtoDetails *ret) {
        static const char *const kept[] = { "claim", "step", "reason", "exitCode", "signal" };
        size_t n = j->strip == 1 ? ELEMENTSOF(kept) : j->strip == 2 ? 1 : 0;

        for (size_t i = 0; i < n; i++) {
                const char *value = proto_details_get(&j->final_details, kept[i]);

                if (value && proto_details_set(ret, kept[i], value) < 0)
                        return -ENOMEM;
        }
        return 0;
}

void cloud_final(Engine *e, Job *j) {
        ProtoDetails fewer CLEANUP_DETAILS = {};

        if (j->strip > 0 && strip_details(j, &fewer) < 0)
                e->error = -ENOMEM;
        (void) publish_update(e, j, j->final_status, j->strip > 0 ? &fewer : &j->final_details, REQUEST_FINAL);
}

void cloud_query_list(Engine *e) {
        if (!engine_publish(e, TOPIC_GET_PENDING, e->list_token))
                return;
        e->list_wanted = false;
        e->list_deadline = e->now + e->config.operation_timeout_usec;
        e->list_not_before = e->now + LIST_GAP_USEC;
}

/* ---- what the cloud says of one execution ---- */

static void note_details(Job *j, const ProtoDetails *details, int64_t seconds_left) {
        const char *claim = proto_details_get(details, "claim");

        (void) snprintf(j->cloud_claim, sizeof j->cloud_claim, "%s", claim ? claim : "");
        j->seconds_left = seconds_left;
        j->details_known = true;
}

static JobKey key_of(const Engine *e, const ProtoExecution *x) {
        JobKey key = { .number = MAX_OF(x->number, (int64_t) 0), .queued_at = MAX_OF(x->queued_at, (int64_t) 0) };

        memcpy(key.thing, e->config.thing, sizeof key.thing);
        memcpy(key.job_id, x->job_id, sizeof key.job_id);
        return key;
}

/* A message without executionNumber or queuedAt only hints that there is something to be described. */
static Job *learn_hint(Engine *e, const ProtoExecution *x, const JobKey *key) {
        Job *j = job_find_hint(e, x->job_id);

        for (size_t i = 0; !j && i < e->n_jobs; i++)
                if (strcmp(e->jobs[i]->key.job_id, x->job_id) == 0)
                        j = e->jobs[i];
        if (j) {
                job_doubt(e, j);
                return j;
        }
        j = job_add(e, key);
        if (j)
                j->status = x->status;
        return j;
}

static void take_state(Engine *e, Job *j, ProtoStatus status, int64_t version) {
        j->status = status;
        j->version = version;
        j->left_alone = false;
        job_enter_cloud(e, j, CLOUD_OPEN);
}

/* A pending execution, from a list or notify-next. NULL: nothing to keep. */
static Job *learn(Engine *e, const ProtoExecution *x) {
        JobKey key = key_of(e, x);
        uint64_t until;
        Job *j;

        if (x->status != PROTO_STATUS_QUEUED && x->status != PROTO_STATUS_IN_PROGRESS)
                return NULL;
        if (key.number == 0 || key.queued_at == 0 || x->version < 0)
                return learn_hint(e, x, &key);
        until = job_finished_until(e, &key);
        if (until == USEC_NEVER)
                return NULL;
        if (until > 0) {
                e->notify_due = MIN_OF(e->notify_due, until); /* is it listed still? */
                return NULL;
        }
        j = job_find(e, &key);
        if (!j) {
                j = job_add(e, &key);
                if (!j)
                        return NULL;
                engine_log(e, LEVEL_INFO, MESSAGE_ID_JOB_RECEIVED, j, x->status, "job received");
                take_state(e, j, x->status, x->version);
        } else if (x->version < j->version) {
                return j; /* an old message */
        } else if (j->local == LOCAL_NONE) {
                if (x->version > j->version)
                        j->details_known = false;
                if (j->request == REQUEST_NONE && (x->version > j->version || j->cloud == CLOUD_UNKNOWN))
                        take_state(e, j, x->status, x->version);
        } else if (x->version > j->version && !(j->request != REQUEST_NONE && x->version == j->request_version + 1))
                job_doubt(e, j); /* not our doing */
        return j;
}

static bool is_stale(const Job *j, const ProtoExecution *x) {
        return x->version >= 0 && x->version < j->version;
}

/* Another execution under our job id: ours was deleted and created again, or superseded by a retry. */
static void superseded(Engine *e, Job *j, const ProtoExecution *x) {
        engine_log(e, j->local == LOCAL_NONE ? LEVEL_INFO : LEVEL_NOTICE, MESSAGE_ID_JOB_CANCELLED, j,
                   PROTO_STATUS_NONE, "execution is gone in the cloud: another one took its place");
        job_enter_cloud(e, j, CLOUD_OVER);
        (void) learn(e, x);
}

/* A hint got its full key. */
static Job *complete_hint(Engine *e, Job *j, const JobKey *key) {
        Job *known = job_find(e, key);

        if (known && known != j) {
                job_remove(e, j);
                return known;
        }
        if (job_finished_until(e, key) > 0) {
                job_remove(e, j);
                return NULL;
        }
        j->key = *key;
        engine_log(e, LEVEL_INFO, MESSAGE_ID_JOB_RECEIVED, j, PROTO_STATUS_NONE, "job received");
        return j;
}

/* The service always says both number and time; one that does not is taken at its word: what is left out is no
 * difference. */
static JobKey described_key(const Engine *e, const Job *j, const ProtoExecution *x) {
        JobKey key = key_of(e, x);

        if (key.number == 0)
                key.number = MAX_OF(j->key.number, (int64_t) 1);
        if (key.queued_at == 0)
                key.queued_at = MAX_OF(j->key.queued_at, (int64_t) 1);
        return key;
}

/* Whether the service waits for the retry. Its timers are what they are only when it was told of the deferral. */
static void weigh_deferral(const Engine *e, Job *j, int64_t seconds_left) {
        j->too_late = j->local == LOCAL_DEFERRED && !j->pause_news && seconds_left >= 0 && e->now < j->resume_at &&
                      e->now + wire_give_up_after((uint64_t) seconds_left) <= j->resume_at;
}

static void described(Engine *e, Job *j, const ProtoExecution *x) {
        JobKey key = described_key(e, j, x);

        if (strcmp(x->job_id, j->key.job_id) != 0) {
                engine_log(e, LEVEL_WARNING, NULL, j, PROTO_STATUS_NONE,
                           "the service describes job %s instead, asking again", x->job_id);
                job_dispute(e, j);
                return;
        }
        if (j->key.number == 0 || j->key.queued_at == 0) {
                j = complete_hint(e, j, &key);
                if (!j)
                        return;
        } else if (!job_key_equal(&j->key, &key)) {
                superseded(e, j, x);
                return;
        }
        if (proto_status_terminal(x->status)) {
                engine_log(e, LEVEL_NOTICE, MESSAGE_ID_JOB_CANCELLED, j, x->status, "execution is over in the cloud");
                job_enter_cloud(e, j, CLOUD_OVER);
                return;
        }
        take_state(e, j, x->status, x->version);
        note_details(j, &x->details, x->seconds_left);
        device_deadline(e, j, x->seconds_left);
        j->look_at = USEC_NEVER;
        weigh_deferral(e, j, x->seconds_left);
        if (j->local != LOCAL_NONE && !(j->local == LOCAL_DEFERRED && j->document_asked))
                return;
        if (x->document) {
                if (job_set_document(e, j, x->document, x->document_len) < 0)
                        e->error = -ENOMEM;
        } else
                j->without_document = j->document_asked; /* asking again would bring the same */
}

/* ---- replies to updates ---- */

static void claim_accepted(Engine *e, Job *j, int64_t version) {
        EngineAction *a;

        j->version = version;
        j->status = PROTO_STATUS_IN_PROGRESS;
        (void) snprintf(j->cloud_claim, sizeof j->cloud_claim, "%s", j->claim);
        if (j->local != LOCAL_PLANNED)
                return; /* its runner went away meanwhile: attach, plan and claim come again */
        if (j->cloud != CLOUD_OPEN)
                return; /* became doubtful meanwhile: an update names no queuedAt, it may have hit a job created anew */
        if (engine_reboot_pending(e))
                return; /* another job's: claimed again in the next boot */
        engine_log(e, LEVEL_INFO, MESSAGE_ID_JOB_CLAIMED, j, PROTO_STATUS_IN_PROGRESS, "claimed");
        a = engine_tell(e, j, WIRE_GO);
        if (!a)
                return;
        j->adopting = false;
        job_enter_local(e, j, LOCAL_RUNNING);
}

static void final_accepted(Engine *e, Job *j) {
        engine_log(e, LEVEL_INFO, MESSAGE_ID_JOB_REPORTED, j, j->final_status, "reported %s",
                   proto_status_name(j->final_status));
        j->reported = true;
        job_enter_cloud(e, j, CLOUD_OVER);
        e->notify_due = e->now + NOTIFY_DUE_USEC;
        e->next_expected = e->now + NEXT_DUE_USEC;
}

/* Or it does not want to hear it. How long the service waits now is worth a question, since this may take long. */
static void pause_told(const Engine *e, Job *j) {
        j->pause_news = false;
        if (j->local == LOCAL_DEFERRED)
                j->look_at = e->now;
        else if (j->local == LOCAL_REBOOTING) /* it waits for other runs, or not at all */
                j->look_at = e->now + LOOK_USEC;
}

static void update_accepted(Engine *e, Job *j, JobRequest request) {
        switch (request) {
        case REQUEST_CLAIM:
                claim_accepted(e, j, j->request_version + 1);
                return;
        case REQUEST_PAUSE:
                pause_told(e, j);
                j->version = j->request_version + 1;
                return;
        case REQUEST_PROGRESS:
                j->version = j->request_version + 1;
                return;
        case REQUEST_FINAL:
                final_accepted(e, j);
                return;
        case REQUEST_NONE:
        case REQUEST_DESCRIBE:
                return;
        }
}

static void retry_later(Engine *e, Job *j) {
        j->retry_at = e->now + engine_backoff(e, j->tries++, BACKOFF_DOUBLINGS);
}

/* An update was refused with nothing to go by: look at the execution before anything else is sent for it. */
static void look_again(Engine *e, Job *j) {
        job_dispute(e, j);
        job_enter_cloud(e, j, CLOUD_UNKNOWN);
}

static void over_in_cloud(Engine *e, Job *j, ProtoStatus status, const char *how) {
        engine_log(e, j->local == LOCAL_NONE ? LEVEL_INFO : LEVEL_NOTICE, MESSAGE_ID_JOB_CANCELLED, j, status,
                   "execution is over in the cloud: %s", how);
        job_enter_cloud(e, j, CLOUD_OVER);
}

/* What was started and is gone was deleted. What was not may be found later, as just after it was made: the next lists
 * are believed again. */
static void gone_in_cloud(Engine *e, Job *j) {
        j->gone = j->status == PROTO_STATUS_QUEUED;
        over_in_cloud(e, j, PROTO_STATUS_NONE, "it does not exist any more");
}

/* VersionMismatch or InvalidStateTransition told us what the cloud has. "This was us" means equal status and claim: an
 * update whose reply was lost, or that was delivered twice, is refused the second time. */
static void reconcile(Engine *e, Job *j, JobRequest request, const ProtoMessage *m) {
        const char *claim = proto_details_get(&m->state_details, "claim");
        bool ours = strcmp(claim ? claim : "", j->claim) == 0;

        if (proto_status_terminal(m->state_status)) {
                if (request == REQUEST_FINAL && m->state_status == j->final_status &&
                    (ours || (j->strip >= STRIP_MAX && !claim)))
                        final_accepted(e, j);
                else
                        over_in_cloud(e, j, m->state_status, proto_status_name(m->state_status));
                return;
        }
        if (m->state_status == PROTO_STATUS_IN_PROGRESS && !job_accepts_claim(j, claim ? claim : "")) {
                job_lose(e, j, "claimed by another device");
                return;
        }
        if (m->state_status == PROTO_STATUS_NONE || m->state_version < 0) {
                look_again(e, j);
                return;
        }
        j->status = m->state_status;
        if (request == REQUEST_CLAIM && m->state_status == PROTO_STATUS_IN_PROGRESS && ours) {
                claim_accepted(e, j, m->state_version);
                return;
        }
        if (request == REQUEST_PROGRESS && !proto_details_equal(&m->state_details, &j->progress))
                j->progress_dirty = true;
        if (request == REQUEST_PAUSE && proto_details_equal(&m->state_details, &j->plan_details))
                pause_told(e, j);
        /* Ask for the same thing at the version there is now; if that goes on, less and less often. */
        if (j->version == m->state_version || j->tries > 2)
                retry_later(e, j);
        else
                j->tries++;
        j->version = m->state_version;
}

static void refused_as_invalid(Engine *e, Job *j, JobRequest request, const ProtoMessage *m) {
        switch (request) {
        case REQUEST_FINAL:
                if (j->strip < STRIP_MAX) {
                        j->strip++;
                        engine_log(e, j->report_refused ? LEVEL_DEBUG : LEVEL_WARNING, NULL, j, j->final_status,
                                   "the service refuses the status details (%s), sending fewer: %s",
                                   proto_code_name(m->code), m->message);
                        return;
                }
                /* Given up, it would look like an orphan one day, and be told as something else than it was. */
                engine_log(e, j->report_refused ? LEVEL_DEBUG : LEVEL_ERROR, MESSAGE_ID_JOB_REPORT_REFUSED, j,
                           j->final_status, "the service refuses the final status (%s), trying again later: %s",
                           proto_code_name(m->code), m->message);
                j->report_refused = true;
                j->strip = 0;
                retry_later(e, j);
                return;
        case REQUEST_CLAIM:
                if (!j->claim_stripped) {
                        j->claim_stripped = true;
                        return;
                }
                engine_log(e, LEVEL_ERROR, NULL, j, PROTO_STATUS_NONE,
                           "the service refuses the claim (%s), trying again later: %s", proto_code_name(m->code),
                           m->message);
                retry_later(e, j);
                return;
        case REQUEST_PAUSE:
                if (!j->claim_stripped) {
                        j->claim_stripped = true;
                        return;
                }
                pause_told(e, j);
                engine_log(e, LEVEL_WARNING, NULL, j, PROTO_STATUS_NONE,
                           "the service refuses to hear that the job is %s (%s), ignoring: %s",
                           job_local_name(j->local), proto_code_name(m->code), m->message);
                return;
        case REQUEST_PROGRESS:
                engine_log(e, LEVEL_WARNING, NULL, j, PROTO_STATUS_NONE,
                           "the service refuses a progress update (%s), ignoring: %s", proto_code_name(m->code),
                           m->message);
                return;
        case REQUEST_DESCRIBE:
        case REQUEST_NONE:
                engine_log(e, LEVEL_ERROR, NULL, j, PROTO_STATUS_NONE,
                           "the service refuses to describe the execution (%s), trying again later: %s",
                           proto_code_name(m->code), m->message);
                retry_later(e, j);
                return;
        }
}

static void request_rejected(Engine *e, Job *j, JobRequest request, const ProtoMessage *m) {
        switch (m->code) {
        case PROTO_CODE_REQUEST_THROTTLED:
        case PROTO_CODE_INTERNAL_ERROR:
        case PROTO_CODE_UNKNOWN:
        case PROTO_CODE_NONE:
        case PROTO_CODE_COUNT:
                if (request == REQUEST_PROGRESS)
                        j->progress_dirty = true;
                retry_later(e, j);
                return;
        case PROTO_CODE_VERSION_MISMATCH:
        case PROTO_CODE_INVALID_STATE_TRANSITION:
                if (m->has_state)
                        reconcile(e, j, request, m);
                else
                        look_again(e, j);
                return;
        case PROTO_CODE_TERMINAL_STATE_REACHED:
                if (request == REQUEST_DESCRIBE)
                        over_in_cloud(e, j, PROTO_STATUS_NONE, "it has ended");
                else
                        look_again(e, j); /* carries no state */
                return;
        case PROTO_CODE_RESOURCE_NOT_FOUND:
                gone_in_cloud(e, j);
                return;
        case PROTO_CODE_INVALID_REQUEST:
        case PROTO_CODE_INVALID_JSON:
        case PROTO_CODE_INVALID_TOPIC:
                refused_as_invalid(e, j, request, m);
                return;
        }
}

/* ---- lists and notifications ---- */

static void take_list(Engine *e, const ProtoMessage *m) {
        e->list_serial++;
        e->list_last = e->now;
        for (size_t i = 0; i < m->n_list; i++) {
                Job *j = learn(e, &m->list[i]);

                if (j) {
                        j->listed_in = e->list_serial;
                        j->rank = (uint32_t) i;
                }
        }
        /* Not listed proves nothing (lists are cut at ten, and may be old): ask before anything is based on it. */
        for (size_t i = 0; i < e->n_jobs; i++)
                if (e->jobs[i]->listed_in != e->list_serial && e->jobs[i]->local != LOCAL_STOPPING)
                        job_doubt(e, e->jobs[i]);
}

static void take_next(Engine *e, const ProtoMessage *m) {
        const ProtoExecution *x = m->has_execution ? &m->execution : NULL;
        Job *head = x ? learn(e, x) : NULL;

        e->next_expected = 0;
        if (head && !is_stale(head, x))
                device_deadline(e, head, x->seconds_left);
        if (head && head->local == LOCAL_NONE && head->key.number != 0 && head->key.queued_at != 0 && !is_stale(head, x)) {
                note_details(head, &x->details, x->seconds_left);
                if (x->document && job_set_document(e, head, x->document, x->document_len) < 0)
                        e->error = -ENOMEM;
        }
        /* Nothing, or a QUEUED one, is first: then none of ours can be IN_PROGRESS any more. */
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (j != head && (!x || (x->status == PROTO_STATUS_QUEUED && j->status == PROTO_STATUS_IN_PROGRESS)) &&
                    j->local != LOCAL_STOPPING)
                        job_doubt(e, j);
        }
}

static void list_answered(Engine *e, const ProtoMessage *m) {
        e->list_token[0] = '\0';
        if (m->reply == TOPIC_ACCEPTED) {
                e->list_tries = 0;
                e->listed = true;
                e->next_expected = 0;
                take_list(e, m);
                return;
        }
        engine_log(e, LEVEL_WARNING, NULL, NULL, PROTO_STATUS_NONE,
                   "the service refuses to list pending jobs (%s), trying again: %s", proto_code_name(m->code),
                   m->message);
        e->list_wanted = true;
        e->list_not_before = e->now + engine_backoff(e, e->list_tries++, BACKOFF_DOUBLINGS);
}

static Job *find_token(Engine *e, const ProtoMessage *m) {
        for (size_t i = 0; i < e->n_jobs; i++)
                if (e->jobs[i]->request != REQUEST_NONE && strcmp(e->jobs[i]->token, m->token) == 0)
                        return e->jobs[i];
        return NULL;
}

static void take_reply(Engine *e, const ProtoMessage *m) {
        JobRequest request;
        Job *j;

        if (!m->has_token || m->token[0] == '\0')
                return;
        if (strcmp(m->token, e->list_token) == 0) {
                if (m->kind == TOPIC_GET_PENDING)
                        list_answered(e, m);
                return;
        }
        j = find_token(e, m);
        if (!j || (m->kind != TOPIC_DESCRIBE && m->kind != TOPIC_UPDATE) ||
            (m->kind == TOPIC_DESCRIBE) != (j->request == REQUEST_DESCRIBE) || strcmp(m->job_id, j->key.job_id) != 0)
                return; /* not an answer to anything we wait for: another client's, or late */
        request = j->request;
        cloud_request_over(e, j);
        if (m->reply == TOPIC_REJECTED) {
                request_rejected(e, j, request, m);
                return;
        }
        j->tries = 0;
        if (request != REQUEST_DESCRIBE) {
                j->disputes = 0;
                update_accepted(e, j, request);
        } else if (m->has_execution)
                described(e, j, &m->execution);
        else
                gone_in_cloud(e, j);
}

void cloud_on_message(Engine *e, const ProtoMessage *m) {
        switch (m->kind) {
        case TOPIC_NOTIFY:
                e->notify_due = USEC_NEVER;
                take_list(e, m);
                /* A QUEUED head may have just become head: its document is then on its way. */
                e->next_expected = m->n_list > 0 && m->list[0].status == PROTO_STATUS_QUEUED ? e->now + NEXT_DUE_USEC : 0;
                return;
        case TOPIC_NOTIFY_NEXT:
                take_next(e, m);
                return;
        case TOPIC_GET_PENDING:
        case TOPIC_START_NEXT:
        case TOPIC_DESCRIBE:
        case TOPIC_UPDATE:
                take_reply(e, m);
                return;
        case TOPIC_UNRECOGNIZED:
                return;
        }
}

/* ---- the connection ---- */

void cloud_on_online(Engine *e) {
        e->online = true;
        e->listed = false;
        e->list_wanted = true;
        e->list_not_before = 0;
        e->list_token[0] = '\0';
        e->next_expected = 0;
        if (!e->inventory_done && !e->inventory_in_flight)
                e->inventory_wanted = true;
}

void cloud_on_offline(Engine *e) {
        e->online = false;
        e->listed = false;
        e->list_token[0] = '\0';
        e->notify_due = USEC_NEVER;
        e->next_expected = 0;
        e->inventory_done = false; /* reconcile anew at the next connect */
        for (size_t i = 0; i < e->n_jobs; i++) {
                Job *j = e->jobs[i];

                if (j->request == REQUEST_PROGRESS)
                        j->progress_dirty = true;
                if (j->request != REQUEST_NONE)
                        cloud_request_over(e, j);
                j->retry_at = 0;
                j->tries = 0;
        }
}
