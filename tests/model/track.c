/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "world.h"

const char *track_text(World *w, const Track *t) {
        static char text[4][LIMIT_JOB_ID + 48];
        static unsigned turn;
        char *s = text[turn++ % 4];

        (void) w;
        (void) snprintf(s, sizeof(text[0]), "%s#%lld@%lld", t->key.job_id, (long long) t->key.number,
                        (long long) (t->key.queued_at - EPOCH_SEC));
        return s;
}

Track *track_find(World *w, const char *job_id, int64_t number, int64_t queued_at) {
        for (unsigned i = w->n_tracks; i-- > 0;) {
                Track *t = &w->track[i];

                if (t->key.number == number && t->key.queued_at == queued_at &&
                    strcmp(t->key.job_id, job_id) == 0)
                        return t;
        }
        return NULL;
}

Track *track_latest(World *w, unsigned job) {
        for (unsigned i = w->n_tracks; i-- > 0;)
                if (w->track[i].job == job)
                        return &w->track[i];
        return NULL;
}

static SimState state_of(const Track *t, const TrackDevice *td, bool runner) {
        bool over = t->gone || proto_status_terminal(t->status);

        if (td->live > 0)
                return td->killing ? STATE_KILLING : STATE_RUNNING;
        if (over && !runner && !td->record.exists)
                return STATE_ACKED;
        if (td->final_sent)
                return STATE_REPORTING;
        if (td->result)
                return STATE_FINISHED;
        if (td->rebooting)
                return STATE_REBOOTING;
        if (td->go)
                return STATE_STARTING;
        if (td->claim_sent)
                return STATE_CLAIMING;
        if (td->planned)
                return STATE_PLANNED;
        if (runner || td->asked)
                return STATE_PREPARING;
        if (td->deferred)
                return STATE_DEFERRED;
        return td->seen ? STATE_QUEUED : STATE_UNKNOWN;
}

static bool has_runner(const World *w, unsigned dev, int track) {
        for (unsigned i = 0; i < w->n_runners; i++)
                if (w->runner[i].id != 0 && w->runner[i].dev == dev && w->runner[i].track == track &&
                    w->runner[i].phase != RUNNER_DEAD)
                        return true;
        return false;
}

static void triggers_fire(World *w, Track *t, unsigned dev) {
        for (unsigned i = 0; i < w->sc.n_triggers; i++) {
                Trigger *g = &w->sc.trigger[i];

                if (g->used || g->state != t->dev[dev].state)
                        continue;
                if (g->skip > 0) {
                        g->skip--;
                        continue;
                }
                g->used = true;
                world_push(w, (Event){ .at = w->now + g->delay,
                                       .type = EVENT_TRIGGER,
                                       .dev = dev,
                                       .value = i,
                                       .id = (uint32_t) track_index(w, t) });
        }
}

/* In a noisy run any step of the way may be somebody's last. */
static void crash_by_chance(World *w, Track *t, unsigned dev) {
        static const Fault crashes[] = { FAULT_KILL_AGENT, FAULT_KILL_RUNNER, FAULT_POWER_CUT,
                                         FAULT_DISCONNECT };

        if (!w->faults_on || !rng_chance(&w->rng, w->sc.noise))
                return;
        world_push(w, (Event){ .at = w->now + rng_below(&w->rng, 20 * MSEC),
                               .type = EVENT_CRASH,
                               .dev = dev,
                               .id = (uint32_t) track_index(w, t),
                               .value = crashes[rng_below(&w->rng, ELEMENTSOF(crashes))] });
}

void track_update(World *w, Track *t, unsigned dev) {
        TrackDevice *td = &t->dev[dev];
        SimState s = state_of(t, td, has_runner(w, dev, track_index(w, t)));

        if (s == td->state)
                return;
        TRACE(w, 2, "    %s on device %u: %s -> %s", track_text(w, t), dev, sim_state_name(td->state),
              sim_state_name(s));
        td->state = s;
        triggers_fire(w, t, dev);
        crash_by_chance(w, t, dev);
}

void track_update_all(World *w, unsigned dev) {
        for (unsigned i = 0; i < w->n_tracks; i++)
                track_update(w, &w->track[i], dev);
}

/* A request names no queuedAt; the claim in it says whose it is where a job was made anew. Else the newest. */
Track *track_of_request(World *w, const ProtoRequest *r) {
        const char *claim = proto_details_get(&r->details, "claim");
        Track *newest = NULL;

        for (unsigned i = w->n_tracks; i-- > 0;) {
                Track *t = &w->track[i];

                if (strcmp(t->key.job_id, r->job_id) != 0 ||
                    (r->execution_number > 0 && t->key.number != r->execution_number))
                        continue;
                newest = newest ? newest : t;
                for (unsigned c = 0; claim && c < t->n_run_claims; c++)
                        if (strcmp(t->run_claim[c], claim) == 0)
                                return t;
        }
        return newest;
}

/* ---- news from the cloud's own books ---- */

static Track *track_new(World *w, const JobKey *key) {
        Track *t = &w->track[w->n_tracks];
        unsigned job = 0;

        while (job < w->sc.n_jobs && strcmp(w->sc.job[job].id, key->job_id) != 0)
                job++;
        assert(job < w->sc.n_jobs);
        if (w->n_tracks == TRACKS_MAX) {
                world_violate(w, P8_NEVER_GIVE_UP, "more than %d executions of %u jobs", TRACKS_MAX,
                              w->sc.n_jobs);
                return NULL;
        }
        w->n_tracks++;
        t->key = *key;
        t->job = job;
        t->status = PROTO_STATUS_QUEUED;
        t->gone = t->touched = t->disturbed = t->outcome_open = t->stripped = false;
        t->version = 1;
        t->created_at = w->now;
        t->terminal_at = 0;
        t->ended_by = t->runs_on = -1;
        t->n_claims = t->n_run_claims = 0;
        t->document_len = (size_t) snprintf(t->document, sizeof(t->document),
                                            "{\"operation\":\"%s\",\"generation\":%u,\"nonce\":\"00000000\"}",
                                            key->job_id, w->sc.job[job].generation);
        w->pending++;
        if (key->number > 1) {
                Track *former = NULL;

                for (unsigned i = 0; i + 1 < w->n_tracks; i++)
                        if (w->track[i].job == job && w->track[i].key.number == key->number - 1)
                                former = &w->track[i];
                if (former)
                        fault_count_in(w, FAULT_RETRY_EXECUTION, former, 0, former->dev[0].state_when_over);
        }
        for (unsigned d = 0; d < DEVICES; d++)
                triggers_fire(w, t, d);
        return t;
}

void track_note_run(Track *t, const char *claim) {
        for (unsigned i = 0; i < t->n_run_claims; i++)
                if (strcmp(t->run_claim[i], claim) == 0)
                        return;
        if (t->n_run_claims < CLAIMS_MAX)
                (void) snprintf(t->run_claim[t->n_run_claims++], WIRE_CLAIM_MAX, "%s", claim);
}

/* An update names no queuedAt: one that is late may hit the execution that took the place of its own, at the same version.
 * The service cannot tell, nor can the device prevent it. */
static bool is_misdirected(const Track *t, const char *claim) {
        if (!claim || t->n_run_claims == CLAIMS_MAX)
                return false;
        for (unsigned i = 0; i < t->n_run_claims; i++)
                if (strcmp(t->run_claim[i], claim) == 0)
                        return false;
        return true;
}

static void note_claim(Track *t, const char *claim) {
        if (is_misdirected(t, claim))
                t->touched = t->outcome_open = true;
        if (!claim || strlen(claim) >= WIRE_CLAIM_MAX)
                return;
        for (unsigned i = 0; i < t->n_claims; i++)
                if (strcmp(t->claim[i], claim) == 0)
                        return;
        if (t->n_claims < CLAIMS_MAX)
                (void) snprintf(t->claim[t->n_claims++], WIRE_CLAIM_MAX, "%s", claim);
}

static void track_over(World *w, Track *t, const char *claim) {
        t->terminal_at = w->now > 0 ? w->now : 1;
        t->ended_by = is_misdirected(t, claim) ? -1 : w->cloud_actor;
        for (unsigned d = 0; d < DEVICES; d++)
                t->dev[d].state_when_over = t->dev[d].state;
        w->pending--;
        check_final(w, t);
        check_timed_out(w, t);
}

void track_cloud_change(World *w, const ModelChange *c) {
        Track *t = track_find(w, c->key.job_id, c->key.number, c->key.queued_at);
        const char *claim = proto_details_get(&c->details, "claim");
        bool was_over;

        if (!t && c->status == PROTO_STATUS_NONE)
                return;
        if (!t)
                t = track_new(w, &c->key);
        if (!t)
                return;
        TRACE(w, 1, "cloud: %s is %s, version %lld", track_text(w, t),
              c->status == PROTO_STATUS_NONE ? "gone" : proto_status_name(c->status), (long long) c->version);
        was_over = t->terminal_at != 0;
        if (c->status == PROTO_STATUS_NONE)
                t->gone = true;
        else {
                if (c->status == PROTO_STATUS_TIMED_OUT && !was_over)
                        for (unsigned d = 0; d < DEVICES; d++)
                                fault_count(w, FAULT_SERVICE_TIMEOUT, t, d);
                t->status = c->status;
                t->version = c->version;
                if (c->status == PROTO_STATUS_IN_PROGRESS)
                        note_claim(t, claim);
        }
        if (!was_over && (t->gone || proto_status_terminal(t->status)))
                track_over(w, t, claim);
        for (unsigned d = 0; d < DEVICES; d++)
                track_update(w, t, d);
}
