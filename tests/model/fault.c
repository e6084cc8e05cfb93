/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, and the table of what went wrong in which state. */
#include "world.h"

void fault_count_in(World *w, Fault f, const Track *t, unsigned dev, SimState s) {
        if (!w->dev[dev].exists || w->dev[dev].dead_for_good)
                return;
        if (w->table)
                w->table[f][s]++;
        TRACE(w, 1, "*** %s while %s is %s on device %u", fault_name(f), track_text(w, t), sim_state_name(s),
              dev);
}

void fault_count(World *w, Fault f, const Track *t, unsigned dev) {
        fault_count_in(w, f, t, dev, t->dev[dev].state);
}

void fault_count_all(World *w, Fault f, unsigned dev) {
        if (w->n_tracks == 0)
                TRACE(w, 1, "*** %s on device %u", fault_name(f), dev);
        for (unsigned i = 0; i < w->n_tracks; i++)
                fault_count(w, f, &w->track[i], dev);
}

bool fault_armed(World *w, Fault f) {
        if (!w->faults_on)
                return false;
        if (w->armed[f] > 0) {
                w->armed[f]--;
                return true;
        }
        return false;
}

void faults_stop(World *w) {
        w->faults_on = false;
        for (unsigned i = 0; i < FAULT_COUNT; i++)
                w->armed[i] = 0;
}

static void fire_runner(World *w, Fault f, Track *t, unsigned dev) {
        Runner *r = t ? runner_any(w, dev, track_index(w, t)) : NULL;

        if (!r)
                return;
        fault_count(w, f, t, dev);
        t->disturbed = t->outcome_open = true;
        device_disturbed(w, &w->dev[dev]);
        if (f == FAULT_KILL_RUNNER)
                runner_kill(w, r);
        else
                runner_stop(w, r);
}

static void fire_operator(World *w, Fault f, Track *t, unsigned dev) {
        const char *thing = w->sc.engine.thing;
        bool force = f != FAULT_CANCEL;
        int r;

        if (!t || t->gone || t != track_latest(w, t->job))
                return;
        fault_count(w, f, t, dev);
        t->disturbed = t->outcome_open = true;
        if (f == FAULT_CANCEL || f == FAULT_FORCE_CANCEL)
                r = model_cancel(w->model, cloud_now(w), thing, t->key.job_id, force, &w->out, NULL);
        else
                r = model_delete(w->model, cloud_now(w), thing, t->key.job_id, true, &w->out, NULL);
        cloud_flush(w, -1);
        /* queuedAt is in seconds: made anew within the same second the job could not be told from the old one. */
        if (r >= 0 && f == FAULT_RECREATE)
                world_push(w, (Event){ .at = w->now + rng_between(&w->rng, 1100 * MSEC, 5 * SEC),
                                       .type = EVENT_RECREATE,
                                       .value = t->job });
}

static void fire_local_cancel(World *w, Track *t, unsigned dev) {
        SimState s = t ? t->dev[dev].state : STATE_UNKNOWN;

        if (!w->dev[dev].agent_alive || s == STATE_UNKNOWN || s == STATE_ACKED)
                return;
        fault_count(w, FAULT_LOCAL_CANCEL, t, dev);
        t->disturbed = t->outcome_open = true;
        agent_cancel(w, &w->dev[dev], t);
}

static void fire_device(World *w, Fault f, unsigned dev) {
        Device *d = &w->dev[dev];
        Rng *rng = &w->rng;

        if (!d->exists || !d->powered)
                return;
        if ((f == FAULT_KILL_AGENT || f == FAULT_RELOAD || f == FAULT_PAUSE) && !d->agent_alive)
                return;
        if ((f == FAULT_DISCONNECT || f == FAULT_BROKER_AWAY) && !d->online)
                return;
        fault_count_all(w, f, dev);
        device_disturbed(w, d);
        if (f == FAULT_KILL_AGENT)
                agent_kill(w, d, rng_between(rng, 100 * MSEC, rng_chance(rng, 300) ? 60 * SEC : 2 * SEC));
        else if (f == FAULT_RELOAD)
                agent_event(w, d, ENGINE_EVENT_RELOAD);
        else if (f == FAULT_PAUSE)
                agent_pause(w, d);
        else if (f == FAULT_DISCONNECT)
                agent_disconnect(w, d, rng_between(rng, 10 * MSEC, 3 * SEC));
        else if (f == FAULT_BROKER_AWAY) {
                w->broker_back_at = w->now + (rng_chance(rng, 100) ? rng_between(rng, 24 * HOUR, 96 * HOUR)
                                                                 : rng_between(rng, 10 * SEC, 5 * MINUTE));
                for (unsigned i = 0; i < DEVICES; i++)
                        if (w->dev[i].online)
                                agent_disconnect(w, &w->dev[i], 0);
        } else if (f == FAULT_POWER_CUT)
                device_power_cut(w, d, rng_between(rng, 1 * SEC, 30 * SEC));
        else if (f == FAULT_SUSPEND) {
                for (unsigned i = 0; i < w->n_tracks; i++)
                        w->track[i].outcome_open = true; /* a handler's time goes by, and it stands still */
                d->suspended_until = w->now + rng_between(rng, 1 * SEC, 10 * MINUTE);
                for (unsigned i = 0; i < w->n_tracks; i++) /* that it is deferred may not have been heard yet */
                        w->track[i].dev[dev].due_at += d->suspended_until - w->now;
        } else if (f == FAULT_WALL_CLOCK)
                d->wall_offset = (int64_t) rng_below(rng, 630000000) - 315000000;
        else if (f == FAULT_DISK_FULL) {
                d->disk_full = true;
                world_push(w, (Event){ .at = w->now + rng_between(rng, 1 * SEC, 3 * MINUTE),
                                       .type = EVENT_DISK_FREE,
                                       .dev = dev });
        }
        device_disturbed(w, d);
}

static void fire_second_device(World *w) {
        Device *d = &w->dev[1];

        if (!w->sc.second_device || d->exists)
                return;
        fault_count_all(w, FAULT_SECOND_DEVICE, 0);
        d->exists = true;
        world_push(w, (Event){ .at = w->now, .type = EVENT_BOOT, .dev = 1 });
        for (unsigned i = 0; i < w->n_tracks; i++)
                w->track[i].disturbed = w->track[i].outcome_open = true;
}

static void fire_message(World *w, Fault f, Track *t, unsigned dev) {
        Device *d = &w->dev[dev];

        if (!d->online)
                return;
        if (f == FAULT_STALE)
                net_stale(w, d);
        else if (t)
                net_foreign(w, d, t);
}

static void crash_runners(World *w) {
        for (unsigned i = 0; i < w->n_runners; i++) {
                Runner *r = &w->runner[i];

                if (r->id == 0 || r->dev != 0 || r->phase == RUNNER_DEAD)
                        continue;
                if (r->track >= 0)
                        w->track[r->track].disturbed = w->track[r->track].outcome_open = true;
                runner_kill(w, r);
        }
}

void fault_crash(World *w, Crash c) {
        Device *d = &w->dev[0];

        TRACE(w, 1, "*** the sweep's crash: %s", crash_name(c));
        for (unsigned i = 0; i < w->n_tracks; i++)
                w->track[i].disturbed = true;
        switch (c) {
        case CRASH_AGENT:
                agent_kill(w, d, 1 * SEC);
                break;
        case CRASH_RUNNERS:
                crash_runners(w);
                break;
        case CRASH_BOTH:
                crash_runners(w);
                agent_kill(w, d, 1 * SEC);
                break;
        case CRASH_POWER:
                device_power_cut(w, d, 5 * SEC);
                break;
        case CRASH_CONNECTION:
                agent_disconnect(w, d, 1 * SEC);
                break;
        case CRASH_NONE:
        case CRASH_COUNT:
                break;
        }
        device_disturbed(w, d);
}

static bool is_any(Fault f, const Fault *of, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (of[i] == f)
                        return true;
        return false;
}

/* A job that was to come later comes now: that makes notifications. */
static void create_one(World *w) {
        for (unsigned i = 0; i < w->sc.n_jobs; i++)
                if (!w->sc.job[i].created) {
                        cloud_create(w, i);
                        return;
                }
}

/* Where a state is short and nothing is said or started in it by itself, something is made to be. */
static void provoke(World *w, Fault f, Track *t, unsigned dev) {
        static const Fault requests[] = { FAULT_LOST_REQUEST, FAULT_DUPLICATE_REQUEST, FAULT_REORDER_REQUEST,
                                          FAULT_LOST_REPLY,   FAULT_THROTTLED,         FAULT_INTERNAL_ERROR };
        static const Fault messages[] = { FAULT_LOST_NOTIFICATION, FAULT_DUPLICATE_MESSAGE,
                                          FAULT_REORDER_MESSAGE, FAULT_MALFORMED };
        Device *d = &w->dev[dev];
        SimState s = t->dev[dev].state;
        Runner *r = runner_of(w, dev, track_index(w, t));

        if (is_any(f, messages, ELEMENTSOF(messages)) && rng_chance(&w->rng, 700))
                create_one(w);
        if (is_any(f, requests, ELEMENTSOF(requests)) && rng_chance(&w->rng, 500))
                agent_event(w, d, ENGINE_EVENT_DROPPED); /* the agent asks for the list */
        if ((s == STATE_RUNNING || s == STATE_KILLING) && r && rng_chance(&w->rng, 500))
                runner_progress(w, r, "phase=provoked");
        if (f != FAULT_SPAWN_FAILS || rng_chance(&w->rng, 300))
                return;
        if (s == STATE_CLAIMING || s == STATE_REPORTING)
                fire_runner(w, FAULT_KILL_RUNNER, t, dev); /* the agent starts another */
        else if (s >= STATE_PLANNED && s < STATE_REPORTING)
                agent_kill(w, d, 2 * MSEC); /* the next agent attaches */
}

void fault_fire(World *w, Fault f, Track *t, unsigned dev) {
        switch (f) {
        case FAULT_KILL_RUNNER:
        case FAULT_STOP_RUNNER:
                fire_runner(w, f, t, dev);
                break;
        case FAULT_KILL_AGENT:
        case FAULT_POWER_CUT:
        case FAULT_DISCONNECT:
        case FAULT_BROKER_AWAY:
        case FAULT_WALL_CLOCK:
        case FAULT_SUSPEND:
        case FAULT_DISK_FULL:
        case FAULT_RELOAD:
        case FAULT_PAUSE:
                fire_device(w, f, dev);
                break;
        case FAULT_LOCAL_CANCEL:
                fire_local_cancel(w, t, dev);
                break;
        case FAULT_CANCEL:
        case FAULT_FORCE_CANCEL:
        case FAULT_DELETE:
        case FAULT_RECREATE:
                fire_operator(w, f, t, dev);
                break;
        case FAULT_OUTSIDE_CHANGE:
                if (t && !t->gone && t->terminal_at == 0) {
                        fault_count(w, f, t, dev);
                        cloud_outside_change(w, t);
                }
                break;
        case FAULT_SERVICE_TIMEOUT:
        case FAULT_RETRY_EXECUTION:
                if (t && t->status == PROTO_STATUS_QUEUED && !t->gone)
                        cloud_outside_change(w, t); /* only what is in progress has a timer */
                (void) cloud_jump_to_deadline(w);
                break;
        case FAULT_SECOND_DEVICE:
                fire_second_device(w);
                break;
        case FAULT_STALE:
        case FAULT_FOREIGN:
                fire_message(w, f, t, dev);
                break;
        case FAULT_KILL_RUNNER_IN_PERSIST:
        case FAULT_POWER_CUT_BEFORE_PERSIST:
        case FAULT_POWER_CUT_IN_PERSIST:
        case FAULT_POWER_CUT_AFTER_PERSIST:
        case FAULT_LOST_REQUEST:
        case FAULT_LOST_REPLY:
        case FAULT_LOST_NOTIFICATION:
        case FAULT_DUPLICATE_REQUEST:
        case FAULT_DUPLICATE_MESSAGE:
        case FAULT_REORDER_REQUEST:
        case FAULT_REORDER_MESSAGE:
        case FAULT_VERSION_MISMATCH:
        case FAULT_THROTTLED:
        case FAULT_INTERNAL_ERROR:
        case FAULT_INVALID_REQUEST:
        case FAULT_READ_ONLY:
        case FAULT_MALFORMED:
        case FAULT_SPAWN_FAILS:
        case FAULT_REBOOT_FAILS:
        case FAULT_NO_REBOOT:
        case FAULT_HOUR_OFFLINE:
                /* These strike the next message, write or start that they fit. */
                w->armed[f] += (unsigned) rng_between(&w->rng, 1, 2);
                if (t)
                        provoke(w, f, t, dev);
                /* While a process lives only a runner that is told to stop writes. */
                if ((f == FAULT_KILL_RUNNER_IN_PERSIST || f == FAULT_READ_ONLY ||
                     f == FAULT_POWER_CUT_BEFORE_PERSIST || f == FAULT_POWER_CUT_IN_PERSIST ||
                     f == FAULT_POWER_CUT_AFTER_PERSIST) &&
                    t && t->dev[dev].live > 0 && rng_chance(&w->rng, 800))
                        fire_runner(w, FAULT_STOP_RUNNER, t, dev);
                break;
        case FAULT_COUNT:
                break;
        }
}
