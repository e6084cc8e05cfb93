/* SPDX-License-Identifier: Apache-2.0 */
/* The shell around plan_step(): what a real runner does, from its first packet to its end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

#define HANDOVER_FOR   (5 * SEC)   /* tries to reach the live runner of a key */
#define HANDOVER_PAUSE (20 * MSEC) /* between two of them */
#define LEFTOVER_FOR   (10 * SEC)  /* until what a dead runner left behind must be gone */
#define KILL_AGAIN     (10 * MSEC)
#define SLOT_PAUSE     (50 * MSEC)

/* ---- who is who ---- */

Runner *runner_by_id(World *w, uint32_t id) {
        for (unsigned i = 0; i < w->n_runners; i++)
                if (w->runner[i].id == id && w->runner[i].phase != RUNNER_DEAD)
                        return &w->runner[i];
        return NULL;
}

Runner *runner_of(World *w, unsigned dev, int track) {
        for (unsigned i = 0; i < w->n_runners; i++) {
                Runner *r = &w->runner[i];

                if (r->id != 0 && r->dev == dev && r->track == track &&
                    (r->phase == RUNNER_CLEANING || r->phase == RUNNER_LIVE))
                        return r;
        }
        return NULL;
}

Runner *runner_any(World *w, unsigned dev, int track) {
        Runner *r = runner_of(w, dev, track);
        uint32_t run = w->track[track].dev[dev].run;

        for (unsigned i = 0; i < w->n_runners && !r && w->track[track].dev[dev].asked; i++) {
                Runner *o = &w->runner[i];

                if (o->id == 0 || o->dev != dev || o->phase == RUNNER_DEAD)
                        continue;
                if (o->track == track || (o->phase == RUNNER_SPAWNING && run != 0 && o->conn >= 0 &&
                                          w->conn[o->conn].id == o->conn_id && w->conn[o->conn].run == run))
                        r = o;
        }
        return r;
}

static Device *device_of(World *w, const Runner *r) {
        return &w->dev[r->dev];
}

static TrackDevice *track_device(World *w, const Runner *r) {
        return &w->track[r->track].dev[r->dev];
}

static void push(World *w, const Runner *r, EventType type, uint64_t delay, int64_t value) {
        world_push(w, (Event){ .at = w->now + delay,
                               .type = type,
                               .dev = r->dev,
                               .boots = w->dev[r->dev].boots,
                               .id = r->id,
                               .value = value });
}

int runner_spawn(World *w, Device *d, int conn) {
        for (unsigned i = 0; i < RUNNERS_MAX; i++)
                if (w->runner[i].id == 0) {
                        if (i >= w->n_runners)
                                w->n_runners = i + 1;
                        w->runner[i] = (Runner){ .id = ++w->next_id,
                                                 .dev = d->index,
                                                 .track = -1,
                                                 .conn = conn,
                                                 .conn_id = w->conn[conn].id,
                                                 .slot = -1,
                                                 .started_step = -1,
                                                 .started_attempt = -1,
                                                 .timer_at = USEC_NEVER };
                        w->conn[conn].runner_id = w->runner[i].id;
                        return (int) i;
                }
        world_violate(w, P7_HARMLESS, "more than %d runners at a time", RUNNERS_MAX);
        return -1;
}

/* ---- the connection ---- */

static Conn *conn_of(World *w, const Runner *r) {
        return r->conn >= 0 && w->conn[r->conn].id == r->conn_id ? &w->conn[r->conn] : NULL;
}

static void tell(World *w, Runner *r, const WireMessage *m) {
        Conn *c = conn_of(w, r);
        uint64_t at;

        if (!c)
                return;
        buf_clear(&w->scratch);
        if (wire_encode(m, &w->scratch) < 0) {
                world_violate(w, P7_HARMLESS, "a runner makes a %s that cannot be encoded",
                              wire_type_name(m->type));
                return;
        }
        at = w->now + rng_between(&w->rng, 20, 300);
        c->to_agent_at = MAX_OF(c->to_agent_at, at) + 1;
        world_push(w, (Event){ .at = c->to_agent_at,
                               .type = EVENT_AGENT_PACKET,
                               .dev = r->dev,
                               .boots = w->dev[r->dev].boots,
                               .id = c->id,
                               .data = world_copy(w->scratch.data, w->scratch.len),
                               .len = w->scratch.len });
}

static void hang_up(World *w, Runner *r) {
        Conn *c = conn_of(w, r);

        r->conn = -1;
        if (c)
                conn_close_by_runner(w, (int) (c - w->conn));
}

/* ---- slots ---- */

static void slots_give_back(World *w, Runner *r) {
        Device *d = device_of(w, r);

        for (unsigned i = 0; i < r->n_held; i++)
                d->slot[i] = 0;
        r->n_held = 0;
        r->wants_all = false;
}

static void slot_release(World *w, Runner *r) {
        Device *d = device_of(w, r);

        slots_give_back(w, r);
        r->wants_slot = false;
        if (r->slot < 0)
                return;
        d->slot[r->slot] = 0;
        d->slot_mark[r->slot] = 0;
        r->slot = -1;
}

/* Who takes a slot whose holder died without cleaning up first ends what that run left behind. */
static bool slot_clean(World *w, const Device *d, unsigned i) {
        int former = d->slot_mark[i] - 1;

        if (former < 0 || w->bug == BUG_LEFTOVERS || w->track[former].dev[d->index].live == 0)
                return true;
        proc_signal_run(w, d->index, former, SIGKILL);
        return false;
}

static void slot_take(World *w, Runner *r) {
        Device *d = device_of(w, r);

        if (!r->wants_slot)
                return;
        for (unsigned i = 0; i < w->sc.engine.max_concurrent && r->slot < 0; i++) {
                if (d->slot[i] != 0)
                        continue;
                if (!slot_clean(w, d, i)) {
                        push(w, r, EVENT_RUNNER_SLOT, KILL_AGAIN, 0);
                        return;
                }
                d->slot[i] = r->id;
                r->slot = (int) i;
        }
        push(w, r, EVENT_RUNNER_SLOT, r->slot < 0 ? SLOT_PAUSE : 20, r->slot >= 0);
}

/* Every slot there can be, one after the other. */
static void slots_gather(World *w, Runner *r) {
        Device *d = device_of(w, r);

        if (!r->wants_all)
                return;
        for (; r->n_held < SLOTS_MAX && w->bug != BUG_REBOOT_EARLY; r->n_held++) {
                if (d->slot[r->n_held] != 0 || !slot_clean(w, d, r->n_held)) {
                        push(w, r, EVENT_RUNNER_SLOT, d->slot[r->n_held] != 0 ? SLOT_PAUSE : KILL_AGAIN, 0);
                        return;
                }
                d->slot[r->n_held] = r->id;
                d->slot_mark[r->n_held] = 0;
        }
        push(w, r, EVENT_RUNNER_SLOT, 20, 1);
}

/* ---- life and death ---- */

static void runner_gone(World *w, Runner *r) {
        Device *d = device_of(w, r);

        slots_give_back(w, r);
        if (r->slot >= 0)
                d->slot[r->slot] = 0; /* the mark stays where it was not wiped */
        r->phase = RUNNER_DEAD;
        hang_up(w, r);
        if (r->track >= 0) {
                TrackDevice *td = track_device(w, r);

                td->go = td->asked = false;
                td->claim_sent &= td->record.exists;
                td->planned |= td->record.exists;
                td->planned &= !td->deferred;
                td->claim_sent &= !td->deferred;
                track_update(w, &w->track[r->track], r->dev);
        }
}

static void runner_exit(World *w, Runner *r) {
        if (r->track >= 0 && r->phase == RUNNER_LIVE && track_device(w, r)->live > 0 && r->plan)
                world_violate(w, P4_NO_OVERLAP, "%s: its runner ends while a process of the run is alive",
                              track_text(w, &w->track[r->track]));
        if (r->only_here && r->phase == RUNNER_LIVE)
                world_violate(w, P3_NOTHING_LOST, "%s: the only runner that knows the verdict ends unasked",
                              track_text(w, &w->track[r->track]));
        slot_release(w, r);
        runner_gone(w, r);
}

/* SIGKILL: everything it held is free, what it started lives on (unless a cgroup takes it along). */
void runner_kill(World *w, Runner *r) {
        int track = r->track;
        unsigned dev = r->dev;

        TRACE(w, 1, "device %u: the runner of %s is killed", dev,
              track >= 0 ? track_text(w, &w->track[track]) : "-");
        runner_gone(w, r);
        if (track < 0) {
                track_update_all(w, dev);
                return;
        }
        track_device(w, r)->reboot_given = false; /* it held the slots */
        if (w->sc.cgroup_kill)
                proc_signal_run(w, dev, track, SIGKILL);
        track_update(w, &w->track[track], dev);
}

void runner_reap(World *w) {
        for (unsigned i = 0; i < w->n_runners; i++) {
                Runner *r = &w->runner[i];

                if (r->id == 0 || r->phase != RUNNER_DEAD)
                        continue;
                free(r->first);
                free(r->document);
                record_state_done(&r->state);
                r->plan = plan_free(r->plan);
                *r = (Runner){};
        }
        while (w->n_runners > 0 && w->runner[w->n_runners - 1].id == 0)
                w->n_runners--;
        while (w->n_conns > 0 && w->conn[w->n_conns - 1].id == 0)
                w->n_conns--;
        while (w->n_procs > 0 && w->proc[w->n_procs - 1].id == 0)
                w->n_procs--;
}

/* ---- actions ---- */

static void do_fork(World *w, Runner *r, const PlanAction *a) {
        const StepScript *s = &w->sc.job[w->track[r->track].job].step[a->step];

        if (s->end == END_NO_FORK) {
                track_device(w, r)->ended[a->step] = true;
                push(w, r, EVENT_RUNNER_START_FAILED, 100, 0);
                return;
        }
        r->gate = r->tree = true;
        r->kill_again = r->main_over = r->exit_told = false;
        r->gate_step = a->step;
        r->gate_attempt = a->attempt;
        if (r->slot >= 0)
                device_of(w, r)->slot_mark[r->slot] = r->track + 1;
        push(w, r, EVENT_RUNNER_FORKED, world_start_time(w), ++device_of(w, r)->next_pid);
}

static void do_release(World *w, Runner *r) {
        Track *t = &w->track[r->track];
        const StepScript *s = &w->sc.job[t->job].step[r->gate_step];

        if (!r->gate)
                return; /* killed at the gate */
        r->gate = false;
        check_release(w, r, t, r->gate_step, r->gate_attempt);
        if (s->end == END_NO_EXEC) {
                track_device(w, r)->ended[r->gate_step] = true;
                push(w, r, EVENT_RUNNER_START_FAILED, 100, 0);
        } else
                proc_exec(w, r, r->gate_step, r->gate_attempt);
}

static void do_kill(World *w, Runner *r, int sig) {
        if (!r->tree)
                return;
        if (r->gate) { /* the child at the gate has nothing to lose */
                r->gate = false;
                r->main_over = true;
                push(w, r, EVENT_RUNNER_EXITED, 100, -sig);
                push(w, r, EVENT_RUNNER_EMPTY, 200, 0);
        }
        proc_signal_run(w, r->dev, r->track, sig);
        if (sig == SIGKILL) {
                r->kill_again = true; /* until nothing is left */
                push(w, r, EVENT_RUNNER_EMPTY, KILL_AGAIN, 1);
        }
}

static void do_reboot(World *w, Runner *r) {
        Track *t = &w->track[r->track];
        Device *d = device_of(w, r);

        check_reboot(w, r, t);
        if (fault_armed(w, FAULT_REBOOT_FAILS)) {
                fault_count(w, FAULT_REBOOT_FAILS, t, r->dev);
                t->outcome_open = true;
                push(w, r, EVENT_RUNNER_REBOOT_FAILED, 100 * MSEC, 0);
                return;
        }
        track_device(w, r)->reboot_given = true;
        if (fault_armed(w, FAULT_NO_REBOOT)) {
                fault_count(w, FAULT_NO_REBOOT, t, r->dev);
                t->outcome_open = true;
                return;
        }
        if (fault_armed(w, FAULT_HOUR_OFFLINE)) {
                fault_count(w, FAULT_HOUR_OFFLINE, t, r->dev);
                w->broker_back_at = w->now + 3600 * SEC;
        }
        world_push(w, (Event){ .at = w->now + rng_between(&w->rng, 10 * MSEC, 5 * SEC),
                               .type = EVENT_REBOOT,
                               .dev = r->dev,
                               .boots = d->boots });
}

static void do_tell(World *w, Runner *r, const WireMessage *m) {
        TrackDevice *td = track_device(w, r);

        TRACE(w, 2, "device %u: plan of %s tells %s %s", r->dev, track_text(w, &w->track[r->track]),
              wire_type_name(m->type), m->type == WIRE_RESULT ? proto_status_name(m->status) : "");
        td->asked = false;
        if (m->type == WIRE_PLAN)
                td->planned = true;
        if (m->type == WIRE_PLAN && !r->prepared)
                world_violate(w, P3_NOTHING_LOST, "%s: the plan is told before it is durable",
                              track_text(w, &w->track[r->track]));
        if (m->type == WIRE_RESULT || m->type == WIRE_REJECTED)
                td->result = true;
        if (m->type == WIRE_RESULT)
                check_result_told(w, r, m);
        tell(w, r, m);
        track_update(w, &w->track[r->track], r->dev);
}

static void do_end_record(World *w, Runner *r, const PlanAction *a) {
        Device *d = device_of(w, r);
        TrackDevice *td = track_device(w, r);

        if (a->type == PLAN_ACTION_FORGET)
                disk_forget(w, d, &w->track[r->track]);
        else if (disk_bury(w, r, &w->track[r->track], a->message.status, &a->message.details) < 0)
                return; /* the record stays and comes up again */
        td->planned = td->result = td->go = td->claim_sent = td->deferred = td->rebooting = false;
        track_update(w, &w->track[r->track], r->dev);
}

/* False: what stands behind it must not be carried out. */
static bool do_persist(World *w, Runner *r, RecordEntry *e) {
        int c;

        if (w->bug == BUG_RETRY_UNCOUNTED && e->type == RECORD_DEFERRED)
                e->restarts--;
        c = disk_append(w, r, &w->track[r->track], e);

        if (c == 0 && e->type == RECORD_RESULT)
                track_device(w, r)->result = true;
        if (r->phase != RUNNER_DEAD && e->type == RECORD_RESULT) {
                r->only_here = c < 0 && !r->stopped && e->status != PROTO_STATUS_CANCELED;
                if (!r->tree) /* over for this device, written or not: the next run need not wait until the cloud knows */
                        slot_release(w, r);
        }
        if (c == 0)
                track_update(w, &w->track[r->track], r->dev);
        return c == 0;
}

static bool perform(World *w, Runner *r, PlanAction *a) {
        switch (a->type) {
        case PLAN_ACTION_PERSIST:
                return do_persist(w, r, &a->entry);
        case PLAN_ACTION_TELL:
                if (w->bug == BUG_FAILURE_IS_SUCCESS && a->message.type == WIRE_RESULT &&
                    a->message.status == PROTO_STATUS_FAILED)
                        a->message.status = PROTO_STATUS_SUCCEEDED;
                do_tell(w, r, &a->message);
                break;
        case PLAN_ACTION_TAKE_SLOT:
                r->wants_slot = true;
                slot_take(w, r);
                break;
        case PLAN_ACTION_TAKE_ALL_SLOTS:
                slot_release(w, r);
                r->wants_all = true;
                slots_gather(w, r);
                break;
        case PLAN_ACTION_REBOOT:
                do_reboot(w, r);
                break;
        case PLAN_ACTION_FORK:
                do_fork(w, r, a);
                break;
        case PLAN_ACTION_RELEASE:
                do_release(w, r);
                break;
        case PLAN_ACTION_KILL:
                do_kill(w, r, a->signal);
                break;
        case PLAN_ACTION_LOG:
                TRACE(w, 2, "device %u: runner of %s says: %s", r->dev, track_text(w, &w->track[r->track]),
                      a->text);
                break;
        case PLAN_ACTION_BURY:
        case PLAN_ACTION_FORGET:
                do_end_record(w, r, a);
                break;
        case PLAN_ACTION_EXIT:
                runner_exit(w, r);
                break;
        }
        return true;
}

static void arm_timer(World *w, Runner *r) {
        /* A handler that has ended in time must not be found late because its output trails. */
        uint64_t deadline = r->tree && r->main_over && !r->exit_told ? USEC_NEVER : plan_deadline(r->plan);
        uint64_t at = deadline == USEC_NEVER ? USEC_NEVER : device_to_world(w, device_of(w, r), deadline);

        if (at == r->timer_at)
                return;
        r->timer_at = at;
        r->timer_token = ++w->next_id;
        if (at != USEC_NEVER)
                push(w, r, EVENT_RUNNER_TIMER, at - w->now, r->timer_token);
}

static void feed(World *w, Runner *r, PlanEvent *event) {
        static const char failure[] = "the record cannot be written: input/output error";
        PlanEvent failed = { .type = PLAN_EVENT_PERSIST_FAILED,
                             .text = failure,
                             .text_len = sizeof(failure) - 1 };

        for (PlanEvent *next = event; next;) {
                int c;

                next->now = device_now(w, device_of(w, r));
                plan_actions_clear(&w->plan_actions);
                c = plan_step(r->plan, next, &w->plan_actions);
                assert(c >= 0);
                next = NULL;
                for (size_t i = 0;
                     i < w->plan_actions.n && r->phase == RUNNER_LIVE && w->broken == PROMISE_NONE; i++)
                        if (!perform(w, r, &w->plan_actions.item[i]) &&
                            w->bug != BUG_PERSIST_FAILURE_IGNORED) {
                                next = r->phase == RUNNER_LIVE ? &failed : NULL;
                                break;
                        }
        }
        if (r->phase == RUNNER_LIVE)
                arm_timer(w, r);
}

static void feed_type(World *w, Runner *r, PlanEventType type) {
        feed(w, r, &(PlanEvent){ .type = type });
}

/* ---- from the first packet to a plan ---- */

static void answer(World *w, Runner *r, WireMessage *m) {
        if (r->track >= 0) {
                m->key = w->track[r->track].key;
                if (m->type == WIRE_RESULT || m->type == WIRE_REJECTED)
                        track_device(w, r)->result = true;
        }
        tell(w, r, m);
        runner_exit(w, r);
}

static void answer_inventory(World *w, Runner *r) {
        Device *d = device_of(w, r);
        WireMessage m = { .type = WIRE_RUNS };
        WireRun runs[TRACKS_MAX];

        (void) snprintf(m.key.thing, sizeof(m.key.thing), "%s", w->sc.engine.thing);
        m.runs = runs;
        for (unsigned i = 0; i < w->n_tracks; i++) {
                CLEANUP_RECORD_STATE RecordState state = {};

                if (!w->track[i].dev[r->dev].record.exists)
                        continue;
                if (disk_load(w, d, &w->track[i], &state) < 0 || state.phase == RECORD_NONE)
                        continue;
                record_describe(&state, d->boot_id, device_now(w, d), &runs[m.n_runs++]);
        }
        m.paused_since = d->paused && w->bug != BUG_PAUSE_FORGOTTEN;
        answer(w, r, &m);
}

static void make_claim(World *w, char ret[static WIRE_CLAIM_MAX]) {
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

        for (unsigned i = 0; i + 1 < WIRE_CLAIM_MAX; i++)
                ret[i] = alphabet[rng_below(&w->rng, sizeof(alphabet) - 1)];
        ret[WIRE_CLAIM_MAX - 1] = '\0';
}

/* A new run, and one that is tried again, gets the document that came along; any other the record's. */
static size_t take_document(World *w, Runner *r, const WireMessage *m) {
        bool fresh = r->state.phase == RECORD_NONE ||
                     (r->state.phase == RECORD_IS_DEFERRED && m->type == WIRE_PREPARE && w->bug != BUG_STALE_DOCUMENT);

        if (!fresh) {
                r->document = TAKE(r->state.document);
                return r->state.document_len;
        }
        r->document = malloc(m->document_len + 1);
        assert(r->document);
        memcpy(r->document, m->document ? m->document : "", m->document ? m->document_len : 0);
        return m->document_len;
}

static PlanOpen open_of(WireType asked) {
        return asked == WIRE_CANCEL   ? PLAN_OPEN_CANCEL
               : asked == WIRE_ACK    ? PLAN_OPEN_ACK
               : asked == WIRE_DROP   ? PLAN_OPEN_DROP
               : asked == WIRE_ATTACH ? PLAN_OPEN_ATTACH
                                      : PLAN_OPEN_RUN;
}

static void open_plan(World *w, Runner *r, const WireMessage *m) {
        static const char refused[] = "steps[0].action.input.handler: missing";
        Track *t = &w->track[r->track];
        const JobScript *job = &w->sc.job[t->job];
        PlanConfig config = { .key = t->key,
                              .steps = w->sc.plan_step[t->job],
                              .n_steps = job->n_steps,
                              .report_output = w->sc.report_output,
                              .max_attempts = w->sc.max_attempts,
                              .retry_delay_usec = w->sc.retry_delay,
                              .reboot_timeout_usec = w->sc.reboot_timeout };
        PlanEvent open = { .type = PLAN_EVENT_OPEN, .record = &r->state, .open = open_of(m->type), .by_deadline = m->by_deadline,
                           .by_operator = m->by_operator && w->bug != BUG_CANCEL_FORGOTTEN };
        int c;

        make_claim(w, config.claim);
        memcpy(config.boot_id, device_of(w, r)->boot_id, sizeof(config.boot_id));
        config.document_len = take_document(w, r, m);
        config.document = r->document;
        r->nonce = document_nonce(t, r->document, config.document_len);
        if (r->nonce == 0) {
                world_violate(w, P7_HARMLESS, "%s: the document arrived changed: %.*s", track_text(w, t),
                              (int) config.document_len, r->document);
                return;
        }
        if (job->bad_later && r->state.phase == RECORD_IS_DEFERRED) {
                open.text = refused;
                open.text_len = sizeof(refused) - 1;
        }
        c = plan_new(&config, &r->plan);
        assert(c >= 0);
        memcpy(r->claim, r->state.phase != RECORD_NONE ? r->state.claim : config.claim, sizeof(r->claim));
        track_note_run(t, r->claim);
        r->prepared = r->state.phase != RECORD_NONE;
        r->resulted = r->state.phase == RECORD_HAS_RESULT;
        r->phase = RUNNER_LIVE;
        track_device(w, r)->go |= open.open <= PLAN_OPEN_ATTACH && r->state.phase == RECORD_IS_REBOOTING &&
                                  strcmp(r->state.rebooting.boot_id, config.boot_id) != 0;
        r->cancelled = m->type == WIRE_CANCEL || m->type == WIRE_ACK || m->type == WIRE_DROP;
        feed(w, r, &open);
}

/* What a message of the agent means to a plan that is open. */
static void say(World *w, Runner *r, const WireMessage *m) {
        TrackDevice *td = track_device(w, r);
        WireType type = m->type;

        r->cancelled |= type == WIRE_CANCEL || type == WIRE_ACK || type == WIRE_DROP;
        switch (type) {
        case WIRE_TOLD:
                feed_type(w, r, PLAN_EVENT_TOLD);
                break;
        case WIRE_DEADLINE:
                td->deadline_at = w->now + m->seconds * SEC;
                feed(w, r, &(PlanEvent){ .type = PLAN_EVENT_DEADLINE, .seconds = m->seconds });
                break;
        case WIRE_PREPARE:
        case WIRE_ATTACH:
                feed_type(w, r, PLAN_EVENT_ATTACH);
                break;
        case WIRE_GO:
                td->go = true;
                track_update(w, &w->track[r->track], r->dev);
                feed_type(w, r, PLAN_EVENT_GO);
                break;
        case WIRE_CANCEL:
                r->only_here = false;
                if (w->bug != BUG_FINISH_GOES_ON || td->live == 0 || r->gate_step >= STEPS_MAX ||
                    w->sc.plan_step[w->track[r->track].job][r->gate_step].on_cancel != PLAN_CANCEL_FINISH)
                        feed(w, r, &(PlanEvent){ .type = PLAN_EVENT_CANCEL,
                                                 .by_operator = m->by_operator && w->bug != BUG_CANCEL_FORGOTTEN });
                break;
        case WIRE_ACK:
                r->only_here = false;
                feed_type(w, r, PLAN_EVENT_ACK);
                break;
        case WIRE_DROP:
                r->only_here = false;
                feed_type(w, r, PLAN_EVENT_DROP);
                break;
        case WIRE_DEFERRED:
        case WIRE_REBOOTING:
        case WIRE_NONE:
        case WIRE_INVENTORY:
        case WIRE_HISTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
        case WIRE_PAUSED:
        case WIRE_ENDS:
        case WIRE_RUNS:
        case WIRE_PLAN:
        case WIRE_REJECTED:
        case WIRE_UNABLE:
        case WIRE_NO_RECORD:
        case WIRE_ATTACHED:
        case WIRE_PROGRESS:
        case WIRE_RESULT:
        case WIRE_TYPE_COUNT:
                break; /* nothing an agent says */
        }
}

/* No record: the tombstone's verdict again, or a document to plan. True: go on to a plan. */
static bool judge_first(World *w, Runner *r, const WireMessage *m) {
        Track *t = &w->track[r->track];
        const Tombstone *tomb = &t->dev[r->dev].tombstone;
        WireMessage a = {};

        if (m->type == WIRE_ACK || m->type == WIRE_DROP) {
                runner_exit(w, r);
                return false;
        }
        if (tomb->exists && w->bug != BUG_MEMORY_DEDUPE) {
                a.type = WIRE_RESULT;
                a.status = tomb->status;
                a.details = tomb->details; /* lent */
        } else if (m->type != WIRE_PREPARE)
                a.type = WIRE_NO_RECORD;
        else if (device_of(w, r)->paused && w->bug != BUG_PAUSE_FORGOTTEN) {
                a.type = WIRE_UNABLE;
                a.paused_since = 1;
                (void) snprintf(a.reason, sizeof(a.reason), "paused");
        } else if (w->sc.job[t->job].bad) {
                a.type = WIRE_REJECTED;
                (void) snprintf(a.reason, sizeof(a.reason), "missing");
                (void) snprintf(a.path, sizeof(a.path), "steps[0].action.input.handler");
        } else
                return true;
        answer(w, r, &a);
        return false;
}

static void runner_open(World *w, Runner *r) {
        Track *t = &w->track[r->track];
        CLEANUP_WIRE WireMessage m = {};
        int c = wire_decode(r->first, r->first_len, &m, NULL);

        assert(c >= 0);
        if (w->bug == BUG_MEMORY_DEDUPE)
                t->dev[r->dev].record.exists = false;
        if (disk_open(w, device_of(w, r), t, &r->state) < 0)
                return;
        if (r->state.phase == RECORD_NONE && !judge_first(w, r, &m))
                return;
        open_plan(w, r, &m);
}

/* P4: nothing of a dead runner may be alive when anything is said about its run. */
static void runner_clean(World *w, Runner *r) {
        WireMessage unable = { .type = WIRE_UNABLE };

        if (track_device(w, r)->live == 0 || w->bug == BUG_LEFTOVERS) {
                runner_open(w, r);
                return;
        }
        if (w->now >= r->lock_until) {
                (void) snprintf(unable.reason, sizeof(unable.reason),
                                "processes of the interrupted attempt do not end");
                answer(w, r, &unable);
                return;
        }
        proc_signal_run(w, r->dev, r->track, SIGKILL);
        push(w, r, EVENT_RUNNER_CLEAN, KILL_AGAIN, 0);
}

/* The newest connection wins: the live runner's former one is closed. */
static void hand_over(World *w, Runner *from, Runner *to) {
        CLEANUP_WIRE WireMessage m = {};
        Conn *c = conn_of(w, from);
        int r = wire_decode(from->first, from->first_len, &m, NULL);

        assert(r >= 0);
        hang_up(w, to);
        if (c) {
                to->conn = from->conn;
                to->conn_id = from->conn_id;
                c->runner = (int) (to - w->runner);
                c->runner_id = to->id;
        }
        from->conn = -1;
        from->phase = RUNNER_DEAD;
        TRACE(w, 2, "device %u: %s for %s goes to the live runner", to->dev, wire_type_name(m.type),
              track_text(w, &w->track[to->track]));
        say(w, to, &m);
        if (from->track >= 0)
                track_update(w, &w->track[from->track], from->dev);
}

static void runner_lock(World *w, Runner *r) {
        Runner *holder = runner_of(w, r->dev, r->track);
        WireMessage unable = { .type = WIRE_UNABLE };

        if (!holder) {
                r->phase = RUNNER_CLEANING;
                r->lock_until = w->now + LEFTOVER_FOR;
                track_update(w, &w->track[r->track], r->dev);
                runner_clean(w, r);
        } else if (holder->phase == RUNNER_LIVE)
                hand_over(w, r, holder);
        else if (w->now >= r->lock_until) {
                (void) snprintf(unable.reason, sizeof(unable.reason),
                                "another runner holds the run and does not answer");
                answer(w, r, &unable);
        } else
                push(w, r, EVENT_RUNNER_LOCK, HANDOVER_PAUSE, 0);
}

static void first_packet(World *w, Runner *r, Event *e, const WireMessage *m) {
        Track *t;

        if (m->type == WIRE_INVENTORY) {
                answer_inventory(w, r);
                return;
        }
        t = track_find(w, m->key.job_id, m->key.number, m->key.queued_at);
        if (!t || m->type == WIRE_GO || m->type == WIRE_TOLD ||
            m->type == WIRE_DEADLINE) { /* a runner's first packet has a key; these are never the first */
                runner_exit(w, r);
                return;
        }
        r->track = track_index(w, t);
        r->first = TAKE(e->data);
        r->first_len = e->len;
        r->phase = RUNNER_LOCKING;
        r->lock_until = w->now + HANDOVER_FOR;
        runner_lock(w, r);
}

/* ---- what arrives ---- */

static Runner *receiver(World *w, uint32_t conn_id) {
        for (unsigned i = 0; i < w->n_conns; i++)
                if (w->conn[i].id == conn_id)
                        return w->conn[i].runner < 0 ? NULL : runner_by_id(w, w->conn[i].runner_id);
        return NULL;
}

static bool not_ready(World *w, const Runner *r, Event *e) {
        Event later = *e;

        if (r->phase != RUNNER_LOCKING && r->phase != RUNNER_CLEANING)
                return false;
        later.at = w->now + 5 * MSEC;
        world_push(w, later);
        e->data = NULL;
        return true;
}

void runner_packet(World *w, Event *e) {
        Runner *r = receiver(w, e->id);
        CLEANUP_WIRE WireMessage m = {};
        Error error = {};

        if (!r || not_ready(w, r, e))
                return;
        if (wire_decode(e->data, e->len, &m, &error) < 0) {
                world_violate(w, P7_HARMLESS, "a runner cannot read the agent's packet: %s", error.text);
                return;
        }
        if (r->phase == RUNNER_SPAWNING)
                first_packet(w, r, e, &m);
        else
                say(w, r, &m);
}

void runner_hangup(World *w, Event *e) {
        Runner *r = receiver(w, e->id);

        if (!r || not_ready(w, r, e))
                return;
        hang_up(w, r);
        if (r->phase == RUNNER_LIVE)
                feed_type(w, r, PLAN_EVENT_DISCONNECTED);
        else
                runner_exit(w, r);
}

void runner_progress(World *w, Runner *r, const char *line) {
        if (r->phase == RUNNER_LIVE)
                feed(w, r,
                     &(PlanEvent){ .type = PLAN_EVENT_PROGRESS, .text = line, .text_len = strlen(line) });
}

void runner_stop(World *w, Runner *r) {
        r->only_here = false;
        r->stopped = true;
        if (r->phase == RUNNER_LIVE)
                feed_type(w, r, PLAN_EVENT_STOP);
        else
                runner_kill(w, r);
}

static void forked(World *w, Runner *r, int64_t pid) {
        if (r->gate)
                feed(w, r,
                     &(PlanEvent){ .type = PLAN_EVENT_FORKED,
                                   .pid = pid,
                                   .start_time = (uint64_t) pid * 7 + 1,
                                   .cgroup = "" });
}

static void start_failed(World *w, Runner *r) {
        static const char why[] = "cannot execute: no such file or directory";

        r->gate = r->tree = r->kill_again = false;
        feed(w, r, &(PlanEvent){ .type = PLAN_EVENT_START_FAILED, .text = why, .text_len = sizeof(why) - 1 });
}

static void reboot_failed(World *w, Runner *r) {
        static const char why[] = "systemctl: exited with status 1";

        feed(w, r, &(PlanEvent){ .type = PLAN_EVENT_REBOOT_FAILED, .text = why, .text_len = sizeof(why) - 1 });
}

static void exited(World *w, Runner *r, int64_t code) {
        static const char noise[] = "line one\nline two\twith \xff\x01 bytes\n";
        bool noisy = w->sc.job[w->track[r->track].job].step[0].noisy, signalled = code < 0;
        PlanEvent event = { .type = PLAN_EVENT_EXITED,
                            .signalled = signalled,
                            .code = (int) (signalled ? -code : code),
                            .tree_empty = track_device(w, r)->live == 0 };

        if (r->exit_told || !r->tree)
                return;
        if (noisy) {
                event.stdout_tail = event.stderr_tail = noise;
                event.stdout_len = event.stderr_len = sizeof(noise) - 1;
                event.stderr_lines = 2;
        }
        if (w->bug == BUG_SIGNAL_IS_ZERO && signalled) {
                event.signalled = false;
                event.code = 0;
        }
        if (w->bug == BUG_RESULT_EARLY)
                event.tree_empty = true;
        r->exit_told = true;
        feed(w, r, &event);
        push(w, r, EVENT_RUNNER_EMPTY, 20, 0);
}

/* again: SIGKILL was asked for; what has been forked meanwhile gets it too. */
static void tree_empty(World *w, Runner *r, bool again) {
        bool empty = track_device(w, r)->live == 0 || w->bug == BUG_RESULT_EARLY;

        if (again && r->kill_again && r->tree && !empty)
                do_kill(w, r, SIGKILL);
        if (!r->tree || !r->main_over || !r->exit_told || !empty)
                return;
        r->tree = r->kill_again = false;
        track_device(w, r)->killing = false;
        feed_type(w, r, PLAN_EVENT_TREE_EMPTY);
}

void runner_event(World *w, Event *e) {
        Runner *r = runner_by_id(w, e->id);

        if (!r)
                return;
        if (e->type == EVENT_RUNNER_LOCK)
                runner_lock(w, r);
        else if (e->type == EVENT_RUNNER_CLEAN)
                runner_clean(w, r);
        else if (e->type == EVENT_RUNNER_TIMER && (uint32_t) e->value == r->timer_token) {
                r->timer_at = USEC_NEVER;
                feed_type(w, r, PLAN_EVENT_TIMER);
        } else if (e->type == EVENT_RUNNER_SLOT && r->wants_all) {
                if (e->value == 0)
                        slots_gather(w, r);
                else {
                        r->wants_all = false;
                        feed_type(w, r, PLAN_EVENT_SLOT_TAKEN);
                }
        } else if (e->type == EVENT_RUNNER_SLOT && r->slot < 0)
                slot_take(w, r);
        else if (e->type == EVENT_RUNNER_SLOT && r->wants_slot) {
                r->wants_slot = false;
                feed_type(w, r, PLAN_EVENT_SLOT_TAKEN);
        } else if (e->type == EVENT_RUNNER_REBOOT_FAILED)
                reboot_failed(w, r);
        else if (e->type == EVENT_RUNNER_FORKED)
                forked(w, r, e->value);
        else if (e->type == EVENT_RUNNER_START_FAILED)
                start_failed(w, r);
        else if (e->type == EVENT_RUNNER_EXITED)
                exited(w, r, e->value);
        else if (e->type == EVENT_RUNNER_EMPTY)
                tree_empty(w, r, e->value != 0);
}
