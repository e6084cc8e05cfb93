/* SPDX-License-Identifier: Apache-2.0 */
/* What a seed means: jobs, handlers, configuration, and the faults that wait for them. */
#include <signal.h>
#include <stdio.h>

#include "world.h"

/* Evenly over the orders of magnitude. */
static uint64_t spread(Rng *r, uint64_t from, uint64_t to) {
        unsigned doublings = 0;
        uint64_t base;

        while ((from << (doublings + 1)) <= to)
                doublings++;
        base = from << rng_below(r, doublings + 1);
        base += rng_below(r, base);
        return MIN_OF(to, base);
}

static void make_end(Rng *r, StepScript *s) {
        static const int codes[] = { 1, 2, 3, 65, 100, 255 };
        static const int signals[] = { SIGKILL, SIGSEGV, SIGTERM, SIGABRT };
        uint64_t n = rng_below(r, 100);

        s->end = END_EXIT;
        s->code = 0;
        if (n < 65)
                return;
        if (n < 80)
                s->code = codes[rng_below(r, ELEMENTSOF(codes))];
        else if (n < 87) {
                s->end = END_SIGNAL;
                s->code = signals[rng_below(r, ELEMENTSOF(signals))];
        } else
                s->end = n < 95 ? END_HANG : n < 98 ? END_NO_EXEC : END_NO_FORK;
}

static void make_step(Rng *r, StepScript *s) {
        static const char *const names[] = { "Install", "check", "" };

        *s = (StepScript){};
        make_end(r, s);
        s->duration = spread(r, 200, rng_chance(r, 900) ? 20 * SEC : 10 * MINUTE);
        s->ignores_term = rng_chance(r, 200);
        s->term_code = rng_chance(r, 700) ? -1 : rng_chance(r, 500) ? 0 : 3;
        if (rng_chance(r, 300)) {
                s->children = (unsigned) rng_between(r, 1, 3);
                s->child_duration = spread(r, 10 * MSEC, 10 * MINUTE);
                s->child_ignores_term = rng_chance(r, 500);
                s->respawns = rng_chance(r, 200);
        }
        s->progress = rng_chance(r, 300) ? (unsigned) rng_between(r, 1, 5) : 0;
        s->noisy = rng_chance(r, 200);
        s->plan.name = names[rng_below(r, 2)];
        s->plan.timeout_usec = s->end == END_HANG   ? spread(r, 2 * SEC, 15 * MINUTE)
                               : rng_chance(r, 300) ? spread(r, 1 * SEC, 5 * MINUTE)
                                                    : 0;
        s->plan.kill_grace_usec = spread(r, 50 * MSEC, 10 * SEC);
        s->n_pauses = rng_chance(r, 750) ? 0 : (unsigned) rng_between(r, 1, rng_chance(r, 800) ? 2 : PAUSES_MAX);
        for (unsigned i = 0; i < s->n_pauses; i++)
                s->pause[i] = rng_chance(r, 600) ? 75 : 194;
        s->plan.on_cancel = rng_chance(r, 250) ? PLAN_CANCEL_FINISH : PLAN_CANCEL_STOP;
        s->plan.on_interrupt = rng_chance(r, 400) ? PLAN_INTERRUPT_RERUN : PLAN_INTERRUPT_FAIL;
        s->plan.ignore_failure = rng_chance(r, 150);
        s->plan.allow_stderr = -1;
        s->plan.report_stdout = rng_chance(r, 300);
}

static void make_job(World *w, unsigned i) {
        Rng *r = &w->rng;
        JobScript *j = &w->sc.job[i];

        *j = (JobScript){};
        (void) snprintf(j->id, sizeof(j->id), "j%u", i);
        j->bad = rng_chance(r, 50);
        j->bad_later = rng_chance(r, 50);
        j->picky = rng_chance(r, 40) ? (unsigned) rng_between(r, 1, 2) : 0;
        j->n_steps = rng_chance(r, 650) ? 1 : (unsigned) rng_between(r, 2, STEPS_MAX);
        for (unsigned s = 0; s < j->n_steps; s++) {
                make_step(r, &j->step[s]);
                w->sc.plan_step[i][s] = j->step[s].plan;
        }
        j->create_at = rng_chance(r, 500) ? rng_below(r, 5 * SEC) : rng_below(r, 40 * SEC);
        j->timeout_minutes = rng_chance(r, 200) ? (int64_t) rng_between(r, 1, 5) : 0;
        j->retries = rng_chance(r, 150) ? (int64_t) rng_between(r, 1, 2) : 0;
}

static void make_engine(World *w) {
        Rng *r = &w->rng;
        EngineConfig *c = &w->sc.engine;
        uint64_t n = rng_below(r, 100);

        *c = (EngineConfig){ .thing = "thing-1" };
        c->max_concurrent = n < 60 ? 1 : n < 85 ? 2 : 3;
        n = rng_below(r, 100);
        c->on_orphan = n < 50 ? ENGINE_ORPHAN_FAIL : n < 75 ? ENGINE_ORPHAN_RUN : ENGINE_ORPHAN_LEAVE;
        c->progress_interval_usec = rng_between(r, 1, 5) * SEC;
        c->poll_interval_usec = rng_chance(r, 700) ? 3600 * SEC : 300 * SEC;
        c->operation_timeout_usec = 10 * SEC;
        c->step_timeout_margin_sec = rng_chance(r, 200) ? 0 : rng_between(r, 60, 900);
}

/* The faults this seed is about: each a cell of the table that can be. */
static void make_trigger(World *w, Trigger *t) {
        static const SimState brief[] = { STATE_PREPARING, STATE_PLANNED, STATE_CLAIMING,
                                          STATE_STARTING,  STATE_KILLING, STATE_FINISHED };
        Rng *r = &w->rng;
        uint64_t n = rng_below(r, 100);

        do {
                t->fault =
                        rng_chance(r, 800)
                                ? (Fault) rng_below(r, FAULT_COUNT)
                                : (Fault) rng_below(r, FAULT_POWER_CUT_AFTER_PERSIST + 1); /* the crashes */
                t->state = rng_chance(r, 500) ? (SimState) rng_below(r, STATE_COUNT)
                                              : brief[rng_below(r, ELEMENTSOF(brief))];
        } while (cell_excuse(t->fault, t->state));
        t->skip = rng_chance(r, 700) ? 0 : (unsigned) rng_between(r, 1, 4);
        t->delay = n < 40   ? 0
                   : n < 70 ? rng_below(r, 1 * MSEC)
                   : n < 85 ? rng_below(r, 50 * MSEC)
                            : rng_below(r, 5 * SEC);
        t->used = false;
}

/* Two that go together: what the second finds is what the first left. */
static void make_pair(World *w, Trigger *t) {
        static const struct {
                Fault first;
                SimState first_state;
                Fault second;
                SimState second_state;
        } pairs[] = {
                { FAULT_READ_ONLY, STATE_STARTING, FAULT_POWER_CUT, STATE_RUNNING },
                { FAULT_READ_ONLY, STATE_STARTING, FAULT_KILL_RUNNER, STATE_RUNNING },
                { FAULT_KILL_RUNNER_IN_PERSIST, STATE_PREPARING, FAULT_POWER_CUT, STATE_RUNNING },
                { FAULT_KILL_RUNNER_IN_PERSIST, STATE_STARTING, FAULT_POWER_CUT, STATE_REPORTING },
                { FAULT_LOST_REQUEST, STATE_REPORTING, FAULT_KILL_AGENT, STATE_REPORTING },
                { FAULT_LOST_REPLY, STATE_REPORTING, FAULT_KILL_AGENT, STATE_REPORTING },
                { FAULT_LOST_REPLY, STATE_CLAIMING, FAULT_KILL_AGENT, STATE_CLAIMING },
                { FAULT_FORCE_CANCEL, STATE_RUNNING, FAULT_KILL_RUNNER, STATE_KILLING },
                { FAULT_DISCONNECT, STATE_RUNNING, FAULT_FORCE_CANCEL, STATE_RUNNING },
                { FAULT_DISCONNECT, STATE_RUNNING, FAULT_RECREATE, STATE_RUNNING },
                { FAULT_KILL_AGENT, STATE_RUNNING, FAULT_KILL_RUNNER, STATE_RUNNING },
                { FAULT_OUTSIDE_CHANGE, STATE_QUEUED, FAULT_SECOND_DEVICE, STATE_QUEUED },
                { FAULT_DISCONNECT, STATE_REBOOTING, FAULT_FORCE_CANCEL, STATE_REBOOTING },
                { FAULT_HOUR_OFFLINE, STATE_REBOOTING, FAULT_KILL_RUNNER, STATE_STARTING },
                { FAULT_HOUR_OFFLINE, STATE_REBOOTING, FAULT_CANCEL, STATE_RUNNING },
                { FAULT_KILL_AGENT, STATE_DEFERRED, FAULT_FORCE_CANCEL, STATE_DEFERRED },
                { FAULT_KILL_AGENT, STATE_REBOOTING, FAULT_KILL_RUNNER, STATE_REBOOTING },
                { FAULT_NO_REBOOT, STATE_REBOOTING, FAULT_KILL_RUNNER, STATE_REBOOTING },
        };
        size_t i = (size_t) rng_below(&w->rng, ELEMENTSOF(pairs));

        t[0] = (Trigger){ .fault = pairs[i].first, .state = pairs[i].first_state };
        t[1] = (Trigger){ .fault = pairs[i].second,
                          .state = pairs[i].second_state,
                          .delay = rng_below(&w->rng, 30 * MSEC) };
}

/* A fault that needs something of the scenario gets it. */
static void provide(World *w, const Trigger *t) {
        Scenario *sc = &w->sc;
        Rng *r = &w->rng;
        bool writes = t->fault == FAULT_READ_ONLY || t->fault == FAULT_KILL_RUNNER_IN_PERSIST;

        if ((t->state == STATE_PREPARING || t->state == STATE_STARTING) && rng_chance(r, 700))
                sc->slow = true;
        if (t->state == STATE_FINISHED && sc->n_triggers < TRIGGERS_MAX && rng_chance(r, 600))
                sc->trigger[sc->n_triggers++] =
                        (Trigger){ .fault = FAULT_DISCONNECT, .state = STATE_RUNNING };
        /* Before a start it is only an interrupted run that is written for. */
        if (writes && (t->state == STATE_PLANNED || t->state == STATE_CLAIMING) &&
            sc->n_triggers < TRIGGERS_MAX) {
                sc->trigger[sc->n_triggers++] =
                        (Trigger){ .fault = FAULT_KILL_RUNNER, .state = STATE_RUNNING };
                sc->job[0].step[0].plan.on_interrupt = PLAN_INTERRUPT_FAIL;
                sc->plan_step[0][0] = sc->job[0].step[0].plan;
        }
        if ((t->state == STATE_DEFERRED || t->state == STATE_REBOOTING) && rng_chance(r, 900)) {
                StepScript *s = &sc->job[0].step[rng_below(r, sc->job[0].n_steps)];

                s->pause[s->n_pauses == 0 ? s->n_pauses++ : 0] = t->state == STATE_DEFERRED ? 75 : 194;
                sc->max_attempts = MAX_OF(sc->max_attempts, 2U);
                sc->job[0].bad = false;
        }
        if (t->fault == FAULT_LOST_NOTIFICATION)
                sc->job[sc->n_jobs - 1].create_at += MINUTE; /* fault.c has it come sooner */
        w->sc.second_device |= t->fault == FAULT_SECOND_DEVICE;
        for (unsigned i = 0; i < w->sc.n_jobs; i++) {
                JobScript *j = &w->sc.job[i];

                if ((t->fault == FAULT_SERVICE_TIMEOUT || t->fault == FAULT_RETRY_EXECUTION) &&
                    j->timeout_minutes == 0)
                        j->timeout_minutes = (int64_t) rng_between(r, 1, 5);
                if (t->state == STATE_KILLING && rng_chance(r, 500)) {
                        j->step[0].ignores_term = true;
                        j->step[0].plan.timeout_usec = spread(r, 100 * MSEC, 5 * SEC);
                        j->step[0].plan.kill_grace_usec = spread(r, 1 * SEC, 8 * SEC);
                        j->step[0].end = END_HANG;
                        w->sc.plan_step[i][0] = j->step[0].plan;
                }
                if (t->fault == FAULT_RETRY_EXECUTION && j->retries == 0)
                        j->retries = 1;
        }
}

void scenario_make(World *w) {
        Rng *r = &w->rng;
        Scenario *sc = &w->sc;
        uint64_t n = rng_below(r, 100), last = 0;

        sc->n_jobs = n < 40   ? 1
                     : n < 65 ? 2
                     : n < 80 ? 3
                              : (unsigned) rng_between(r, 4, n < 98 ? 8 : JOBS_MAX);
        for (unsigned i = 0; i < sc->n_jobs; i++)
                make_job(w, i);
        make_engine(w);
        sc->max_attempts = (uint32_t) rng_between(r, 0, 5);
        sc->retry_delay = spread(r, 1 * SEC, rng_chance(r, 900) ? 2 * MINUTE : 60 * MINUTE);
        sc->reboot_timeout = spread(r, 1 * MINUTE, 15 * MINUTE);
        sc->report_output = (PlanReportOutput) rng_below(r, 3);
        sc->second_device = rng_chance(r, 60);
        sc->second_dies = rng_chance(r, 300);
        sc->fan_out = rng_chance(r, 500);
        sc->cgroup_kill = rng_chance(r, 300);
        sc->slow = rng_chance(r, 250);
        sc->noise = rng_chance(r, 500) ? 0 : (unsigned) rng_between(r, 3, 30);
        sc->n_triggers = rng_chance(r, 100) ? 0 : (unsigned) rng_between(r, 1, 4);
        for (unsigned i = 0; i < sc->n_triggers; i++)
                make_trigger(w, &sc->trigger[i]);
        if (sc->n_triggers >= 2 && rng_chance(r, 200))
                make_pair(w, sc->trigger);
        for (unsigned i = 0, n_made = sc->n_triggers; i < n_made; i++)
                provide(w, &sc->trigger[i]);
        for (unsigned i = 0; i < sc->n_jobs; i++)
                last = MAX_OF(last, sc->job[i].create_at);
        sc->faults_end = last + spread(r, 10 * SEC, 5 * MINUTE);
        if (sc->second_device && rng_chance(r, 800))
                sc->engine.step_timeout_margin_sec = rng_between(r, 60, 900);
}
