/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers: processes that do as their script says. */
#include <errno.h>
#include <signal.h>

#include "world.h"

static Proc *proc_new(World *w) {
        for (unsigned i = 0; i < PROCS_MAX; i++)
                if (w->proc[i].id == 0) {
                        if (i >= w->n_procs)
                                w->n_procs = i + 1;
                        w->proc[i] = (Proc){ .id = ++w->next_id };
                        w->live_procs++;
                        return &w->proc[i];
                }
        world_violate(w, P4_NO_OVERLAP, "more than %d handler processes at a time", PROCS_MAX);
        return NULL;
}

static void push(World *w, const Proc *p, EventType type, uint64_t delay) {
        world_push(w, (Event){ .at = w->now + delay,
                               .type = type,
                               .dev = p->dev,
                               .boots = w->dev[p->dev].boots,
                               .id = p->id });
}

static Proc *proc_by_id(World *w, uint32_t id) {
        for (unsigned i = 0; i < w->n_procs; i++)
                if (w->proc[i].id == id)
                        return &w->proc[i];
        return NULL;
}

static void spawn_children(World *w, const Proc *parent, const StepScript *s) {
        for (unsigned i = 0; i < s->children; i++) {
                Proc *c = proc_new(w);

                if (!c)
                        return;
                c->dev = parent->dev;
                c->track = parent->track;
                c->runner_id = parent->runner_id;
                c->step = parent->step;
                c->ignores_term = s->child_ignores_term;
                c->respawns = s->respawns;
                c->term_code = -1;
                w->track[c->track].dev[c->dev].live++;
                push(w, c, EVENT_PROC_END, s->child_duration);
        }
}

void proc_exec(World *w, Runner *r, uint32_t step, uint32_t attempt) {
        Track *t = &w->track[r->track];
        TrackDevice *td = &t->dev[r->dev];
        const StepScript *s = &w->sc.job[t->job].step[step];
        Proc *p = proc_new(w);
        bool pauses;

        if (!p)
                return;
        TRACE(w, 1, "device %u: %s step %u attempt %u starts", r->dev, track_text(w, t), step + 1, attempt);
        p->dev = r->dev;
        p->track = r->track;
        p->runner_id = r->id;
        p->main = true;
        p->step = step;
        p->ignores_term = s->ignores_term;
        p->term_code = s->term_code;
        pauses = td->pauses[step] < s->n_pauses;
        p->end_code = pauses ? s->pause[td->pauses[step]] : s->end == END_SIGNAL ? -s->code : s->code;
        td->live++;
        td->killing = false;
        r->main_over = false;
        if (s->end != END_HANG || pauses)
                push(w, p, EVENT_PROC_END, s->duration);
        for (unsigned i = 0; i < s->progress; i++)
                push(w, p, EVENT_PROC_PROGRESS, s->duration * (i + 1) / (s->progress + 1));
        spawn_children(w, p, s);
        track_update(w, t, r->dev);
}

static void proc_end(World *w, Proc *p) {
        Track *t = &w->track[p->track];
        TrackDevice *td = &t->dev[p->dev];
        Runner *r = runner_by_id(w, p->runner_id);
        Proc gone = *p;

        *p = (Proc){};
        w->live_procs--;
        td->live--;
        if (gone.main) {
                int code = gone.end_code;

                TRACE(w, 1, "device %u: %s step %u ends with %s %d", gone.dev, track_text(w, t),
                      gone.step + 1, code < 0 ? "signal" : "exit code", code < 0 ? -code : code);
                td->ended[gone.step] = true;
                if (code == 0 && !td->killing)
                        td->zero[gone.step] = true;
                td->pauses[gone.step] += code == 75 || code == 194;
                if (code < 0)
                        td->any_signal[-code] = true;
                else
                        td->any_code[code] = true;
                if (r) {
                        /* What it left behind may still write: its output is waited for. */
                        uint64_t trailing = td->live > 0 ? rng_between(&w->rng, 100, SEC) : 100;

                        r->main_over = true;
                        world_push(w, (Event){ .at = w->now + trailing,
                                               .type = EVENT_RUNNER_EXITED,
                                               .dev = gone.dev,
                                               .boots = w->dev[gone.dev].boots,
                                               .id = r->id,
                                               .value = code });
                }
        }
        if (td->live == 0 && r)
                world_push(w, (Event){ .at = w->now + 200,
                                       .type = EVENT_RUNNER_EMPTY,
                                       .dev = gone.dev,
                                       .boots = w->dev[gone.dev].boots,
                                       .id = r->id });
        track_update(w, t, gone.dev);
}

static void proc_term(World *w, Proc *p) {
        if (p->ignores_term || p->dying)
                return;
        p->dying = true;
        p->end_code = p->term_code < 0 ? -SIGTERM : p->term_code;
        push(w, p, EVENT_PROC_END, p->term_code < 0 ? 100 : rng_between(&w->rng, 1 * MSEC, 200 * MSEC));
}

static void proc_kill(World *w, Proc *p) {
        Proc *again;

        p->end_code = -SIGKILL;
        if (p->respawns && (again = proc_new(w))) {
                /* It forked at the last moment; the new one was in no list of processes yet. */
                *again = (Proc){ .id = again->id,
                                 .dev = p->dev,
                                 .track = p->track,
                                 .runner_id = p->runner_id,
                                 .step = p->step,
                                 .ignores_term = true,
                                 .term_code = -1 };
                w->track[again->track].dev[again->dev].live++;
        }
        proc_end(w, p);
}

void proc_signal_run(World *w, unsigned dev, int track, int sig) {
        for (unsigned i = 0; i < w->n_procs; i++) {
                const Proc *p = &w->proc[i];

                if (p->id != 0 && p->dev == dev && p->track == track)
                        push(w, p, sig == SIGKILL ? EVENT_PROC_KILL : EVENT_PROC_TERM,
                             rng_between(&w->rng, 20, 2000));
        }
        TRACE(w, 2, "device %u: signal %d to %s", dev, sig, track_text(w, &w->track[track]));
        if (w->track[track].dev[dev].live > 0) {
                w->track[track].dev[dev].killing = true;
                track_update(w, &w->track[track], dev);
        }
}

static void proc_progress(World *w, const Proc *p) {
        static const char *const lines[] = { "40%",      "17", "phase=download", "halfway there",
                                             "\xff\xfe", "",   "a=b=c",          "claim=stolen00" };
        const char *line = lines[rng_below(&w->rng, ELEMENTSOF(lines))];
        Runner *r = runner_by_id(w, p->runner_id);

        if (r)
                runner_progress(w, r, line);
}

void proc_event(World *w, Event *e) {
        Proc *p = proc_by_id(w, e->id);

        if (!p)
                return;
        if (e->type == EVENT_PROC_PROGRESS)
                proc_progress(w, p);
        else if (e->type == EVENT_PROC_END)
                proc_end(w, p);
        else if (e->type == EVENT_PROC_TERM)
                proc_term(w, p);
        else
                proc_kill(w, p);
}

void proc_drop_all(World *w, unsigned dev) {
        for (unsigned i = 0; i < w->n_procs; i++) {
                Proc *p = &w->proc[i];

                if (p->id == 0 || p->dev != dev)
                        continue;
                w->track[p->track].dev[dev].live--;
                w->live_procs--;
                *p = (Proc){};
        }
}
