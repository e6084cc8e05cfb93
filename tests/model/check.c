/* SPDX-License-Identifier: Apache-2.0 */
/* The promises P1–P6, checked against what the handlers really did and what the cloud finally says.
 *
 * P1  A SUCCEEDED that a device sends needs, for each step, a process of this execution on this device that exited 0 by
 *     itself (a step whose failure is ignored: one that was started, or could not be). `exitCode` and `signal` in the
 *     details were really seen. What crashes of the agent, the network and the service do leaves the verdict alone: it
 *     is what the script comes to, unless something happened to the run itself.
 *     The device gives up before the service does where it can know: no execution is TIMED_OUT while it waits for a retry that would
 *     have come too late, and none is given up for a deadline that the service does not have.
 * P2  (execution, step, attempt) is started at most once on a device, a step only once where on_interrupt says fail, and
 *     an execution on one device only (unless jobs.on_orphan = "run" may take over an execution without a timer).
 *     Also over boots. Restarts (retry, reboot, rerun) together stay within max_attempts. A step that asked for a reboot does not go
 *     on in that boot. A retry has a document that was read after the deferral, anything else the one it began with (P1).
 * P3  After the quiet phase: every execution is over in the cloud, no record is left, and a verdict that was durable is
 *     what the cloud has, unless the cloud had another end first. Excused: what policy leaves alone.
 * P4  A start finds fewer than max_concurrent other runs with a live process, and none of its own run; a runner that ends
 *     leaves no process of its run.
 *     A deferred or rebooting execution counts as one of them. A device reboots when no process is left, and nothing starts between
 *     that and the boot; an agent that knows of a reboot to come lets nothing loose.
 * P5  Nothing starts whose claim the cloud never accepted. An execution that is over has no process left a grace period and a bound
 *     after nothing keeps the device from knowing.
 *     After a cancel no further step starts (on_cancel = "finish").
 * P6  With max_concurrent = 1 and one device: at the first start of an execution no undisturbed one that stands before
 *     it in the cloud's order is QUEUED. Disturbed: a fault touched it or its messages. */
#include <stdio.h>
#include <string.h>

#include "world.h"

#define IDLE_BOUND                                                                                           \
        (150 * SEC) /* nothing under way although something is queued: the longest backoff, twice */
#define QUERY_BOUND (20 * SEC) /* 5 s of patience, a query that was under way and its repetition */
#define RESUME_BOUND (130 * SEC) /* after a boot: the longest backoff of a runner, twice */
#define GIVE_UP_BOUND (45 * SEC) /* the update that says so, the look at the service's timer, the report */
#define STOP_BOUND  (30 * SEC) /* on top of the grace: answers, backoff after a fault, the kill itself */

/* ---- P2, P4, P5, P6: at a start ---- */

/* Does the service run a timer for an execution that one of our devices claimed? */
static bool has_timer(const World *w, const Track *t) {
        const JobScript *j = &w->sc.job[t->job];
        bool bounded = w->sc.engine.step_timeout_margin_sec > 0;

        for (unsigned s = 0; s < j->n_steps; s++)
                bounded &= j->step[s].plan.timeout_usec > 0; /* a plan without an end has no step timer */
        return bounded || j->timeout_minutes > 0;
}

/* What the service may take: a job that waits says so, and arms the service's timer anew. */
bool is_pause(const ProtoRequest *r) {
        const char *reason = proto_details_get(&r->details, "reason");

        return r->kind == TOPIC_UPDATE && r->status == PROTO_STATUS_IN_PROGRESS && reason &&
               (strncmp(reason, "deferred:", 9) == 0 || strncmp(reason, "rebooting:", 10) == 0);
}

/* Restarts of the whole execution: retries, reboots, reruns. */
static unsigned restarts(const World *w, const Track *t, const TrackDevice *td) {
        unsigned n = 0;

        for (unsigned s = 0; s < w->sc.job[t->job].n_steps; s++)
                n += td->started[s] > 0 ? td->started[s] - 1U : 0;
        return n;
}

static void check_once(World *w, const Runner *r, Track *t, uint32_t step, uint32_t attempt) {
        TrackDevice *td = &t->dev[r->dev];
        const PlanStepConfig *c = &w->sc.plan_step[t->job][step];
        bool takeover = w->sc.engine.on_orphan == ENGINE_ORPHAN_RUN && !has_timer(w, t);

        if (attempt < 1 || attempt >= ATTEMPTS_MAX) {
                world_violate(w, P2_ONCE, "%s step %u: attempt %u", track_text(w, t), step + 1, attempt);
                return;
        }
        if (td->starts[step][attempt]++ > 0)
                world_violate(w, P2_ONCE, "%s: attempt %u of step %u is started a second time on device %u",
                              track_text(w, t), attempt, step + 1, r->dev);
        if (td->started[step]++ > td->pauses[step] && c->on_interrupt == PLAN_INTERRUPT_FAIL)
                world_violate(w, P2_ONCE, "%s: step %u is started again although on_interrupt says fail",
                              track_text(w, t), step + 1);
        if (restarts(w, t, td) > w->sc.max_attempts)
                world_violate(w, P2_ONCE, "%s: restart %u with a start of step %u, max_attempts is %u",
                              track_text(w, t), restarts(w, t, td), step + 1, w->sc.max_attempts);
        if (t->runs_on >= 0 && t->runs_on != (int) r->dev && !takeover)
                world_violate(w, P2_ONCE, "%s runs on both devices", track_text(w, t));
        t->runs_on = (int) r->dev;
}

static void check_overlap(World *w, const Runner *r, const Track *t) {
        unsigned others = 0;

        for (unsigned i = 0; i < w->n_tracks; i++)
                others += &w->track[i] != t && w->track[i].dev[r->dev].live > 0;
        if (others >= w->sc.engine.max_concurrent)
                world_violate(w, P4_NO_OVERLAP,
                              "%s starts on device %u while %u other executions have a live process",
                              track_text(w, t), r->dev, others);
        if (t->dev[r->dev].live > 0)
                world_violate(w, P4_NO_OVERLAP, "%s starts a step while %u of its own processes are alive",
                              track_text(w, t), t->dev[r->dev].live);
}

/* By this execution, or by the one that took its place: see track.c, is_misdirected(). */
static bool was_claimed(const World *w, const Runner *r, const Track *t) {
        for (unsigned i = 0; i < w->n_tracks; i++) {
                const Track *o = &w->track[i];

                if (o->job != t->job || o->key.number != t->key.number)
                        continue;
                for (unsigned c = 0; c < o->n_claims; c++)
                        if (strcmp(o->claim[c], r->claim) == 0)
                                return true;
        }
        return false;
}

static void check_claim(World *w, const Runner *r, const Track *t) {
        if (!was_claimed(w, r, t))
                world_violate(w, P5_CANCEL,
                              "%s is started, and the cloud never accepted this run's claim (it is %s there)",
                              track_text(w, t), t->gone ? "gone" : proto_status_name(t->status));
}

static void check_order(World *w, const Runner *r, const Track *t) {
        if (w->sc.engine.max_concurrent > 1 || w->dev[1].exists || t->disturbed ||
            t->dev[r->dev].started[0] > 1 ||
            t->touched) /* an orphan, and so IN_PROGRESS: that comes first in the cloud's list */
                return;
        for (unsigned i = 0; i < w->n_tracks; i++) {
                const Track *o = &w->track[i];
                bool before = o->key.queued_at < t->key.queued_at ||
                              (o->key.queued_at == t->key.queued_at && o < t);

                if (before && !o->disturbed && !o->gone && o->status == PROTO_STATUS_QUEUED)
                        world_violate(w, P6_ORDER, "%s starts before %s, which is queued before it",
                                      track_text(w, t), track_text(w, o));
        }
}

/* A step that asked for a reboot goes on in another boot, and nothing starts in this one once the command was given. */
static void check_boots(World *w, const Runner *r, const Track *t) {
        const TrackDevice *td = &t->dev[r->dev];

        if (td->reboot_asked && td->paused_boots == w->dev[r->dev].boots)
                world_violate(w, P2_ONCE, "%s goes on in the boot that was to end", track_text(w, t));
        for (unsigned i = 0; i < w->n_tracks; i++)
                if (w->track[i].dev[r->dev].reboot_given)
                        world_violate(w, P4_NO_OVERLAP, "%s starts while the device reboots for %s", track_text(w, t),
                                      track_text(w, &w->track[i]));
}

/* A retry has a document that was read after it was deferred; what goes on otherwise has the one it began with. */
static void check_document(World *w, const Runner *r, const Track *t) {
        const TrackDevice *td = &t->dev[r->dev];

        if (td->nonce_paused > 0 && r->nonce <= td->nonce_paused)
                world_violate(w, P1_TRUTH, "%s is tried again with a document from before", track_text(w, t));
        if (td->nonce_paused == 0 && td->nonce_used > 0 && r->nonce != td->nonce_used)
                world_violate(w, P1_TRUTH, "%s goes on with another document", track_text(w, t));
}

void check_release(World *w, Runner *r, Track *t, uint32_t step, uint32_t attempt) {
        TrackDevice *td = &t->dev[r->dev];

        assert(step < STEPS_MAX);
        check_boots(w, r, t);
        check_document(w, r, t);
        if (r->cancelled)
                world_violate(w, P5_CANCEL, "%s: step %u starts after a cancel", track_text(w, t), step + 1);
        td->reboot_asked = false;
        td->nonce_paused = 0;
        td->nonce_used = r->nonce;
        if (r->started_step != step || r->started_attempt != attempt)
                world_violate(w, P2_ONCE, "%s: step %u attempt %u starts before its record is durable",
                              track_text(w, t), step + 1, attempt);
        if (attempt > t->dev[r->dev].written[step])
                world_violate(w, P2_ONCE, "%s: attempt %u of step %u, which has begun %u times",
                              track_text(w, t), attempt, step + 1, t->dev[r->dev].written[step]);
        check_once(w, r, t, step, attempt);
        check_overlap(w, r, t);
        check_claim(w, r, t);
        check_order(w, r, t);
}

/* The device is about to reboot. */
void check_reboot(World *w, const Runner *r, const Track *t) {
        for (unsigned i = 0; i < w->n_tracks; i++)
                if (w->track[i].dev[r->dev].live > 0)
                        world_violate(w, P4_NO_OVERLAP, "the device reboots for %s while a process of %s is alive",
                                      track_text(w, t), track_text(w, &w->track[i]));
}

/* Nothing is let loose by an agent that knows of a reboot to come. */
void check_go(World *w, const Device *d, const Track *t) {
        for (unsigned i = 0; i < w->n_tracks; i++) {
                const Track *o = &w->track[i];
                const TrackDevice *od = &o->dev[d->index];

                if (o != t && od->reboot_heard && od->rebooting && !od->result && o->terminal_at == 0 &&
                    od->paused_boots == d->boots && !w->dev[1].exists)
                        world_violate(w, P4_NO_OVERLAP, "%s is let loose while %s waits for a reboot", track_text(w, t),
                                      track_text(w, o));
        }
}

/* ---- P1: at a report ---- */

static void check_details(World *w, const Track *t, const TrackDevice *td, const ProtoDetails *details) {
        const char *code = proto_details_get(details, "exitCode"),
                   *signal = proto_details_get(details, "signal");
        int n = code ? atoi(code) : 0;

        if (code && (n < 0 || n > 255 || !td->any_code[n]))
                world_violate(w, P1_TRUTH, "%s is reported with exit code %s, which no process had",
                              track_text(w, t), code);
        if (signal) {
                bool any = false;

                for (unsigned i = 0; i < ELEMENTSOF(td->any_signal); i++)
                        any |= td->any_signal[i];
                if (!any)
                        world_violate(w, P1_TRUTH, "%s is reported with %s, but no process ended by a signal",
                                      track_text(w, t), signal);
        }
}

static void check_success(World *w, const Track *t, unsigned dev) {
        const TrackDevice *td = &t->dev[dev];
        const JobScript *j = &w->sc.job[t->job];

        for (unsigned s = 0; s < j->n_steps; s++) {
                bool good = td->zero[s] ||
                            (j->step[s].plan.ignore_failure && (td->started[s] > 0 || td->ended[s]));

                if (!good || j->bad)
                        world_violate(w, P1_TRUTH,
                                      "%s is reported SUCCEEDED by device %u, but step %u did not exit 0",
                                      track_text(w, t), dev, s + 1);
        }
}

/* Progress is sent no more often than configured, and newest wins. */
static void check_progress(World *w, const Device *d, Track *t) {
        TrackDevice *td = &t->dev[d->index];

        if (!td->go || td->rebooting)
                return;
        if (td->progress_sent != 0 && !t->disturbed &&
            w->now - td->progress_sent < w->sc.engine.progress_interval_usec)
                world_violate(w, P7_HARMLESS, "%s: progress is sent %.3f s after the last", track_text(w, t),
                              (double) (w->now - td->progress_sent) / 1e6);
        td->progress_sent = w->now;
}

/* A claim comes in the cloud's order, and only where a slot is free for what it claims. */
static void check_claim_sent(World *w, const Device *d, const Track *t) {
        unsigned busy = 0;

        for (unsigned i = 0; i < w->n_tracks; i++) {
                const Track *o = &w->track[i];
                const TrackDevice *od = &o->dev[d->index];
                bool before = o->key.queued_at < t->key.queued_at ||
                              (o->key.queued_at == t->key.queued_at && o < t);

                /* A drop may find a run that has started since the inventory: its slot keeps the next one waiting. */
                busy += o != t && !od->result && !od->drop_sent &&
                        (od->live > 0 || od->go || (track_pauses(o, d->index) && !w->dev[1].exists));
                if (before && t->dev[d->index].started[0] == 0 && od->seen && !od->result && !od->claim_sent && !od->final_sent &&
                    !o->disturbed && !t->disturbed && !t->touched && !w->dev[1].exists && !o->gone &&
                    o->status == PROTO_STATUS_QUEUED)
                        world_violate(w, P6_ORDER, "%s is claimed before %s, which is queued before it",
                                      track_text(w, t), track_text(w, o));
        }
        if (busy >= w->sc.engine.max_concurrent)
                world_violate(w, P4_NO_OVERLAP, "%s is claimed while %u runs are under way", track_text(w, t),
                              busy);
}

/* The cloud and the device are reconciled before anything new starts. */
void check_prepare(World *w, const Device *d, const Track *t) {
        if (!d->heard_inventory || !d->heard_list)
                world_violate(w, P2_ONCE, "%s is prepared before %s of this connection has come",
                              track_text(w, t), d->heard_list ? "the inventory" : "the list");
}

/* The service's timer is armed anew where the rest of the plan has an end. */
static void check_armed(World *w, const Track *t, const ProtoRequest *r) {
        const JobScript *j = &w->sc.job[t->job];
        bool bounded = w->sc.engine.step_timeout_margin_sec > 0;

        for (unsigned s = 0; s < j->n_steps; s++)
                bounded &= j->step[s].plan.timeout_usec > 0;
        if (bounded && r->step_timeout < 1)
                world_violate(w, P3_NOTHING_LOST, "%s waits, and the service's timer was not armed for it",
                              track_text(w, t));
}

/* What every update has, and why a failure is one. */
static void check_update(World *w, const Device *d, const ProtoRequest *r) {
        const char *claim = proto_details_get(&r->details, "claim");
        Track *t = track_of_request(w, r);

        if (r->execution_number < 1 || r->expected_version < 1)
                world_violate(w, P2_ONCE, "an update of %s names no execution number or no version",
                              r->job_id);
        if (r->status == PROTO_STATUS_IN_PROGRESS && !claim)
                world_violate(w, P2_ONCE, "%s is set IN_PROGRESS without a claim", r->job_id);
        if (!t)
                return;
        if (is_pause(r)) {
                check_armed(w, t, r);
                return;
        }
        if (r->status == PROTO_STATUS_IN_PROGRESS && !t->dev[d->index].go)
                check_claim_sent(w, d, t);
        if (r->status == PROTO_STATUS_IN_PROGRESS)
                check_progress(w, d, t);
        else if (r->status != PROTO_STATUS_SUCCEEDED && !t->stripped &&
                 !proto_details_get(&r->details, "reason"))
                world_violate(w, P1_TRUTH, "%s is reported %s without a reason", track_text(w, t),
                              proto_status_name(r->status));
}

/* A claim is what begins an execution. */
static void check_pause(World *w, const Device *d, const Track *t, const ProtoRequest *r) {
        if (t && d->pause_heard && r->status == PROTO_STATUS_IN_PROGRESS && t->status == PROTO_STATUS_QUEUED &&
            t->dev[d->index].started[0] == 0)
                world_violate(w, PAUSE_HOLDS, "%s is claimed, although device %u is paused and knows it", track_text(w, t), d->index);
}

/* Nothing else than the operator's doing, and what does not change what becomes of a job. */
static bool is_between_us(const World *w) {
        for (unsigned i = 0; i < w->sc.n_triggers; i++) {
                Fault f = w->sc.trigger[i].fault;

                if (f != FAULT_LOCAL_CANCEL && f != FAULT_PAUSE && f != FAULT_KILL_AGENT && f != FAULT_DISCONNECT)
                        return false;
        }
        return w->sc.noise == 0 && w->crash == CRASH_NONE && !w->dev[1].exists;
}

static void check_cancelled_here(World *w, const Track *t, unsigned dev, const ProtoRequest *r) {
        static const char of_cloud[] = "interrupted: stopped as cancelled in the cloud";
        const char *reason = proto_details_get(&r->details, "reason");

        if (t->dev[dev].cancelled_here && is_between_us(w) && reason && strcmp(reason, of_cloud) == 0)
                world_violate(w, P1_TRUTH, "%s was cancelled on the device, which says: %s", track_text(w, t), reason);
}

void check_publish(World *w, Device *d, const ProtoRequest *r) {
        Track *t = track_of_request(w, r);

        if (r->kind == TOPIC_UPDATE) {
                check_update(w, d, r);
                check_pause(w, d, t, r);
        }
        if (r->kind != TOPIC_UPDATE || !proto_status_terminal(r->status))
                return;
        if (!t || t->terminal_at != 0 || t->dev[d->index].started[0] == 0)
                return;
        if (r->status == PROTO_STATUS_SUCCEEDED)
                check_success(w, t, d->index);
        check_cancelled_here(w, t, d->index, r);
        check_details(w, t, &t->dev[d->index], &r->details);
}

/* Does the step's script come to its end at all? Counts its restarts. */
static bool comes_to_its_end(const StepScript *s, uint32_t max_attempts, uint32_t *restarts_so_far) {
        for (unsigned i = 0; i < s->n_pauses; i++)
                if (++*restarts_so_far > max_attempts) {
                        *restarts_so_far = max_attempts;
                        return false;
                }
        return true;
}

static bool defers(const JobScript *j, unsigned step) {
        for (unsigned i = 0; i < j->step[step].n_pauses; i++)
                if (j->step[step].pause[i] == 75)
                        return true;
        return false;
}

/* What a job's script comes to where nothing interferes. NONE: too close to call. */
static ProtoStatus expected(const JobScript *j, uint32_t max_attempts) {
        uint32_t n = 0;

        if (j->bad)
                return PROTO_STATUS_REJECTED;
        for (unsigned i = 0; i < j->n_steps; i++) {
                const StepScript *s = &j->step[i];
                uint64_t timeout = s->plan.timeout_usec;
                bool starts = s->end != END_NO_EXEC && s->end != END_NO_FORK;

                if (starts && (s->end != END_HANG || s->n_pauses > 0) && timeout > 0 && s->duration + SEC > timeout)
                        return PROTO_STATUS_NONE;
                if (starts && defers(j, i) && j->bad_later)
                        return PROTO_STATUS_NONE; /* it depends on which one comes first */
                if (starts && !comes_to_its_end(s, max_attempts, &n)) {
                        if (!s->plan.ignore_failure)
                                return PROTO_STATUS_FAILED;
                        continue;
                }
                if (s->end == END_EXIT && s->code == 65)
                        return PROTO_STATUS_REJECTED;
                if ((s->end != END_EXIT || s->code != 0) && !s->plan.ignore_failure)
                        return PROTO_STATUS_FAILED;
        }
        return PROTO_STATUS_SUCCEEDED;
}

static void check_expected(World *w, const Track *t) {
        ProtoStatus e = expected(&w->sc.job[t->job], w->sc.max_attempts);

        if (t->outcome_open || t->dev[0].deadline_verdict || w->dev[1].exists || e == PROTO_STATUS_NONE || e == t->status)
                return;
        world_violate(w, P1_TRUTH, "%s is reported %s; its handlers come to %s, and nothing happened to them",
                      track_text(w, t), proto_status_name(t->status), proto_status_name(e));
}

/* The cloud has a final status. */
void check_final(World *w, Track *t) {
        TrackDevice *td;

        if (t->gone || t->ended_by < 0)
                return;
        td = &t->dev[t->ended_by];
        check_expected(w, t);
        if (t->status == PROTO_STATUS_SUCCEEDED)
                check_success(w, t, (unsigned) t->ended_by);
        if (t->status == PROTO_STATUS_REJECTED && td->started[0] > 0 && !td->any_code[65] && !td->cancelled_here)
                world_violate(w, P1_TRUTH, "%s is REJECTED after a step that did not ask for it",
                              track_text(w, t));
        /* Cancelled before it was claimed, and then somebody else's. */
        if (td->cancelled_here && t->touched && td->started[0] == 0)
                return;
        if (td->durable_result && td->durable_status != t->status)
                world_violate(w, P3_NOTHING_LOST,
                              "%s: the verdict %s was durable at %.6f s, the same device reports %s",
                              track_text(w, t), proto_status_name(td->durable_status),
                              (double) td->durable_at / 1e6, proto_status_name(t->status));
}

/* Waiting for a retry that comes too late keeps a slot for nothing, and what happened is told by nobody. */
void check_timed_out(World *w, const Track *t) {
        for (unsigned n = 0; n < DEVICES && t->status == PROTO_STATUS_TIMED_OUT && !t->gone && t->ended_by < 0; n++) {
                const TrackDevice *td = &t->dev[n];
                const Device *d = &w->dev[n];
                uint64_t since = MAX_OF(MAX_OF(td->deferred_at, w->cloud_leapt_at), MAX_OF(d->clear_since, d->calm_since));

                if (td->state_when_over != STATE_DEFERRED || td->due_at <= w->now || !d->agent_alive ||
                    d->clear_since == USEC_NEVER || w->now < since + GIVE_UP_BOUND)
                        continue;
                world_violate(w, P1_TRUTH, "%s is TIMED_OUT by the service %.0f s before its retry on device %u, known since %.6f s",
                              track_text(w, t), (double) (td->due_at - w->now) / 1e6, n, (double) since / 1e6);
        }
}

void check_given_up(World *w, const Track *t, const TrackDevice *td) {
        const ProtoExecution *x = model_find(w->model, t->key.thing, t->key.job_id, t->key.number);
        int64_t left = x ? model_seconds_left(x, cloud_now(w)) : 0;

        if (t->outcome_open || t->terminal_at != 0 || (left >= 0 && w->now + (uint64_t) left * SEC <= td->due_at + 61 * SEC))
                return;
        world_violate(w, P1_TRUTH, "%s is given up before its retry in %.0f s, for which the service waits (%lld s)", track_text(w, t),
                      ((double) td->due_at - (double) w->now) / 1e6, (long long) left);
}

void check_result_told(World *w, Runner *r, const WireMessage *m) {
        Track *t = &w->track[r->track];

        if (m->status == PROTO_STATUS_SUCCEEDED)
                check_success(w, t, r->dev);
        if (!r->resulted && !r->record_failed)
                world_violate(w, P3_NOTHING_LOST, "%s: %s is told before it is durable", track_text(w, t),
                              proto_status_name(m->status));
}

/* ---- P5: all the time ---- */

static uint64_t grace_of(const World *w, const Track *t) {
        uint64_t grace = 0;

        for (unsigned i = 0; i < w->sc.job[t->job].n_steps; i++) {
                const StepScript *s = &w->sc.job[t->job].step[i];
                uint64_t lasts = s->end == END_HANG ? s->plan.timeout_usec : s->duration;

                grace = MAX_OF(grace, s->plan.kill_grace_usec +
                                              (s->plan.on_cancel == PLAN_CANCEL_FINISH ? lasts : 0));
        }
        return grace;
}

void check_doomed(World *w) {
        if (w->live_procs == 0)
                return;
        for (unsigned i = 0; i < w->n_tracks; i++) {
                const Track *t = &w->track[i];

                for (unsigned n = 0; n < DEVICES && t->terminal_at != 0; n++) {
                        const Device *d = &w->dev[n];
                        uint64_t known = MAX_OF(t->terminal_at, d->clear_since),
                                 bound = grace_of(w, t) + STOP_BOUND;

                        if (t->dev[n].live == 0 || known == USEC_NEVER || d->missed)
                                continue;
                        /* A runner that died with its ack unread leaves a record: the next inventory finds it. */
                        if (t->dev[n].ack_sent)
                                bound += w->sc.engine.poll_interval_usec;
                        if (w->now > known + bound)
                                world_violate(w, P5_CANCEL,
                                              "%s is %s in the cloud since %.6f s, device %u can know it "
                                              "since %.6f s, and "
                                              "%u of its processes are alive",
                                              track_text(w, t),
                                              t->gone ? "gone" : proto_status_name(t->status),
                                              (double) t->terminal_at / 1e6, n, (double) known / 1e6,
                                              t->dev[n].live);
                }
        }
}

/* ---- P8: all the time ---- */

/* One query when a final status was accepted and no notification follows. */
static void check_query(World *w, const Device *d) {
        uint64_t since = MAX_OF(d->list_due_since, d->clear_since);

        if (d->list_due_since != 0 && since != USEC_NEVER && w->now > since + QUERY_BOUND)
                world_violate(w, P8_NEVER_GIVE_UP,
                              "device %u: a final status was accepted at %.6f s, no list came, and "
                              "none was asked for",
                              d->index, (double) d->list_due_since / 1e6);
}

/* Until when those that are deferred were a reason to wait. */
static uint64_t last_retry(const World *w, const Device *d) {
        uint64_t at = 0;

        for (unsigned i = 0; i < w->n_tracks; i++) {
                const TrackDevice *td = &w->track[i].dev[d->index];
                uint64_t over = w->track[i].terminal_at > 0 ? w->track[i].terminal_at : USEC_NEVER;

                if (td->deferred)
                        at = MAX_OF(at, MIN_OF(td->due_at, over));
        }
        return at;
}

/* Nothing is under way although something could be. */
void check_idle(World *w) {
        const Device *d = &w->dev[0];
        uint64_t since;

        for (unsigned n = 0; n < DEVICES; n++)
                check_query(w, &w->dev[n]);
        if (w->n_runners > 0 || w->live_procs > 0 || w->pending == 0 || w->dev[1].exists || d->paused ||
            d->clear_since == USEC_NEVER || d->missed) {
                w->busy_at = w->now;
                return;
        }
        since = MAX_OF(MAX_OF(w->busy_at, d->clear_since), last_retry(w, d));
        if (w->now < since + IDLE_BOUND)
                return;
        for (unsigned i = 0; i < w->n_tracks; i++)
                if (w->track[i].terminal_at == 0 &&
                    (w->track[i].status == PROTO_STATUS_QUEUED || w->track[i].dev[0].deferred) &&
                    w->track[i].dev[0].seen && w->now >= w->track[i].created_at + IDLE_BOUND)
                        world_violate(w, P8_NEVER_GIVE_UP,
                                      "%s is %s, and nothing is under way since %.6f s",
                                      track_text(w, &w->track[i]), sim_state_name(w->track[i].dev[0].state),
                                      (double) since / 1e6);
}

/* What a reboot interrupted goes on by itself, without the cloud. */
void check_resumed(World *w) {
        for (unsigned n = 0; n < DEVICES; n++) {
                const Device *d = &w->dev[n];

                if (!d->powered || !d->agent_alive || w->live_procs > 0 || w->now < d->calm_since + RESUME_BOUND)
                        continue;
                for (unsigned i = 0; i < w->n_tracks; i++) {
                        const TrackDevice *td = &w->track[i].dev[n];

                        if (td->rebooting && td->paused_boots != d->boots && td->record.exists && !td->result &&
                            w->track[i].terminal_at == 0)
                                world_violate(w, P8_NEVER_GIVE_UP,
                                              "the device is back, nothing happens since %.6f s, and %s does not go on",
                                              (double) d->calm_since / 1e6, track_text(w, &w->track[i]));
                }
        }
}

/* ---- P3: at the end ---- */

/* Left alone by policy: in progress in the cloud by somebody else's doing. */
static bool is_excused(const World *w, const Track *t) {
        bool elsewhere = t->touched || w->dev[1].exists;

        for (unsigned n = 0; n < DEVICES; n++)
                if (t->dev[n].record.exists && !w->dev[n].dead_for_good)
                        return false;
        return elsewhere && t->status == PROTO_STATUS_IN_PROGRESS &&
               w->sc.engine.on_orphan == ENGINE_ORPHAN_LEAVE;
}

bool check_settled(World *w) {
        if (w->live_procs > 0 || w->n_runners > 0)
                return false;
        for (unsigned n = 0; n < DEVICES; n++)
                if (w->dev[n].exists && !w->dev[n].dead_for_good && disk_records(w, &w->dev[n]) > 0)
                        return false;
        if (w->pending == 0)
                return true;
        for (unsigned i = 0; i < w->n_tracks; i++)
                if (w->track[i].terminal_at == 0 && !is_excused(w, &w->track[i]))
                        return false;
        return true;
}

/* Two updates for a job, claim and final, where nothing goes wrong (and progress as the handler says it). */
static void check_manners(World *w, const Track *t) {
        const TrackDevice *td = &t->dev[0];

        if (w->crash != CRASH_NONE || w->sc.n_triggers > 0 || w->sc.noise > 0 || w->dev[1].exists ||
            w->reboots > 0 || t->disturbed || t->ended_by != 0)
                return;
        if (td->claims_sent > 1 + restarts(w, t, td) || td->finals_sent != 1)
                world_violate(w, P7_HARMLESS,
                              "%s took %u claims and %u final updates, and nothing went wrong",
                              track_text(w, t), td->claims_sent, td->finals_sent);
}

static void check_track_end(World *w, const Track *t) {
        check_manners(w, t);
        if (t->terminal_at == 0 && !is_excused(w, t))
                world_violate(w, P3_NOTHING_LOST,
                              "%s is still %s in the cloud, long after the faults stopped; on device 0 "
                              "it is %s",
                              track_text(w, t), proto_status_name(t->status),
                              sim_state_name(t->dev[0].state));
        for (unsigned n = 0; n < DEVICES; n++) {
                if (!w->dev[n].exists || w->dev[n].dead_for_good)
                        continue;
                if (t->dev[n].record.exists)
                        world_violate(w, P3_NOTHING_LOST,
                                      "the record of %s is still on device %u, long after the faults "
                                      "stopped (%s in the cloud)",
                                      track_text(w, t), n, t->gone ? "gone" : proto_status_name(t->status));
                if (t->dev[n].live > 0)
                        world_violate(w, P5_CANCEL, "%s still has a process on device %u", track_text(w, t),
                                      n);
        }
}

void check_end(World *w) {
        for (unsigned i = 0; i < w->n_tracks && w->broken == PROMISE_NONE; i++)
                check_track_end(w, &w->track[i]);
        if (w->broken == PROMISE_NONE && (w->n_runners > 0 || w->live_procs > 0))
                world_violate(w, P8_NEVER_GIVE_UP, "%u runners and %u processes are left", w->n_runners,
                              w->live_procs);
}
