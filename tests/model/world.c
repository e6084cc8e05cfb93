/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

enum {
        STEPS_LIMIT = 120000, /* events of one run: more is a livelock */
};
#define QUIET_LIMIT (UINT64_C(24) * 3600 * SEC)
#define SETTLED_FOR (90 * SEC) /* nothing may start again in this time */

/* ---- the queue: a binary heap by time, then by age ---- */

static bool event_before(const Event *a, const Event *b) {
        return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void event_done(Event *e) {
        free(e->topic);
        free(e->data);
}

uint64_t world_push(World *w, Event e) {
        size_t i;

        if (e.at < w->now)
                e.at = w->now;
        e.seq = ++w->next_seq;
        if (w->n_heap == w->cap_heap) {
                w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 256;
                w->heap = realloc(w->heap, w->cap_heap * sizeof(Event));
                assert(w->heap);
        }
        i = w->n_heap++;
        while (i > 0 && event_before(&e, &w->heap[(i - 1) / 2])) {
                w->heap[i] = w->heap[(i - 1) / 2];
                i = (i - 1) / 2;
        }
        w->heap[i] = e;
        return e.seq;
}

static Event world_pop(World *w) {
        Event top = w->heap[0], last = w->heap[--w->n_heap];
        size_t i = 0;

        while (2 * i + 1 < w->n_heap) {
                size_t child = 2 * i + 1;

                if (child + 1 < w->n_heap && event_before(&w->heap[child + 1], &w->heap[child]))
                        child++;
                if (event_before(&last, &w->heap[child]))
                        break;
                w->heap[i] = w->heap[child];
                i = child;
        }
        w->heap[i] = last;
        return top;
}

char *world_copy(const char *data, size_t len) {
        char *p = malloc(len + 1);

        assert(p);
        if (len > 0)
                memcpy(p, data, len);
        p[len] = '\0';
        return p;
}

uint64_t world_start_time(World *w) {
        return w->sc.slow ? rng_between(&w->rng, 1 * MSEC, 150 * MSEC) : rng_between(&w->rng, 100, 1500);
}

/* ---- words ---- */

void world_trace(World *w, int level, const char *format, ...) {
        char text[4096];
        va_list ap;

        if (w->trace < level)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (w->lines > 0)
                buf_printf(&w->kept, "%.6f %s\n", (double) w->now / 1e6, text);
        else
                printf("%12.6f %s\n", (double) w->now / 1e6, text);
}

void world_tell(World *w) {
        const char *p = w->kept.data ? w->kept.data + w->kept.len : "";
        unsigned lines = 0;

        while (p > w->kept.data && lines <= w->lines)
                lines += *--p == '\n';
        printf("  what led there: ");
        for (p += lines > w->lines; *p; p++)
                if (*p == '\n')
                        fputs(p[1] ? "; " : ".\n", stdout);
                else
                        putchar(*p);
}

void world_violate(World *w, Promise p, const char *format, ...) {
        va_list ap;
        int n;

        if (w->broken != PROMISE_NONE)
                return;
        w->broken = p;
        n = snprintf(w->story, sizeof(w->story), "at %.6f s: ", (double) w->now / 1e6);
        va_start(ap, format);
        (void) vsnprintf(w->story + n, sizeof(w->story) - (size_t) n, format, ap);
        va_end(ap);
        TRACE(w, 1, "!!! %s: %s", promise_name(p), w->story);
}

/* ---- one event ---- */

static bool of_device(EventType t) {
        return t >= EVENT_BOOT;
}

/* An event of a device may have to wait (suspend) or be void (the device lost power since). */
static bool device_takes(World *w, Event *e) {
        Device *d = &w->dev[e->dev];

        if (!of_device(e->type))
                return true;
        if (e->type == EVENT_BOOT)
                return !d->powered;
        if (!d->powered || e->boots != d->boots)
                return false;
        if (w->now < d->suspended_until) {
                Event later = *e;

                later.at = d->suspended_until;
                world_push(w, later);
                e->topic = e->data = NULL;
                return false;
        }
        return true;
}

static void nudge(World *w) {
        for (unsigned i = 0; i < w->n_tracks; i++)
                w->track[i].disturbed = true;
        for (unsigned i = 0; i < DEVICES; i++)
                if (w->dev[i].agent_alive && w->dev[i].online)
                        agent_disconnect(w, &w->dev[i], 2 * SEC);
}

static void faults_end(World *w) {
        faults_stop(w);
        for (unsigned i = 0; i < DEVICES; i++) {
                Device *d = &w->dev[i];

                d->disk_full = false;
                d->write_fails = 0;
                if (i == 1 && d->exists && w->sc.second_dies) {
                        device_power_cut(w, d, USEC_NEVER);
                        d->dead_for_good = true;
                }
                device_disturbed(w, d);
        }
        w->quiet_since = w->now;
        w->busy_steps = w->steps;
        TRACE(w, 1, "=== the faults stop");
        /* What a lost notification hid, and a record whose burial failed, is found at the next poll or connect. */
        if (rng_chance(&w->rng, 500))
                world_push(w, (Event){ .at = w->now + 5 * SEC, .type = EVENT_NUDGE });
}

static void create_again(World *w, const Event *e) {
        JobScript *j = &w->sc.job[e->value];

        j->generation++;
        cloud_create(w, (unsigned) e->value);
}

static void trigger_due(World *w, const Event *e) {
        Trigger *t = &w->sc.trigger[e->value];

        if (w->faults_on)
                fault_fire(w, t->fault, e->id < w->n_tracks ? &w->track[e->id] : NULL, e->dev);
}

static void dispatch(World *w, Event *e) {
        switch (e->type) {
        case EVENT_TO_CLOUD:
                cloud_deliver(w, e);
                break;
        case EVENT_TO_DEVICE:
                net_deliver(w, e);
                break;
        case EVENT_CLOUD_TICK:
                if (e->seq == w->cloud_tick_seq)
                        cloud_tick(w);
                break;
        case EVENT_CREATE:
                if (!w->sc.job[e->value].created)
                        cloud_create(w, (unsigned) e->value);
                break;
        case EVENT_RECREATE:
                create_again(w, e);
                break;
        case EVENT_TRIGGER:
                trigger_due(w, e);
                break;
        case EVENT_CRASH:
                if (w->faults_on)
                        fault_fire(w, (Fault) e->value, &w->track[e->id], e->dev);
                break;
        case EVENT_FAULTS_END:
                faults_end(w);
                break;
        case EVENT_NUDGE:
                nudge(w);
                break;
        case EVENT_DISK_FREE:
                w->dev[e->dev].disk_full = false;
                break;
        case EVENT_RESUME:
                agent_resume(w, &w->dev[e->dev]);
                break;
        case EVENT_BOOT:
                device_boot(w, &w->dev[e->dev]);
                break;
        case EVENT_REBOOT:
                device_reboot(w, &w->dev[e->dev]);
                break;
        case EVENT_AGENT_START:
                agent_start(w, &w->dev[e->dev]);
                break;
        case EVENT_CONNECT:
                if (e->id == w->dev[e->dev].agent_life)
                        agent_connect(w, &w->dev[e->dev]);
                break;
        case EVENT_AGENT_TIMER:
                agent_timer(w, &w->dev[e->dev], e->id);
                break;
        case EVENT_AGENT_PACKET:
                agent_packet(w, e);
                break;
        case EVENT_AGENT_CLOSED:
                agent_closed(w, e);
                break;
        case EVENT_RUNNER_PACKET:
                runner_packet(w, e);
                break;
        case EVENT_RUNNER_HANGUP:
                runner_hangup(w, e);
                break;
        case EVENT_RUNNER_LOCK:
        case EVENT_RUNNER_CLEAN:
        case EVENT_RUNNER_TIMER:
        case EVENT_RUNNER_SLOT:
        case EVENT_RUNNER_FORKED:
        case EVENT_RUNNER_START_FAILED:
        case EVENT_RUNNER_EXITED:
        case EVENT_RUNNER_EMPTY:
        case EVENT_RUNNER_REBOOT_FAILED:
                runner_event(w, e);
                break;
        case EVENT_PROC_PROGRESS:
        case EVENT_PROC_END:
        case EVENT_PROC_TERM:
        case EVENT_PROC_KILL:
                proc_event(w, e);
                break;
        }
}

/* ---- a run ---- */

static void track_done(Track *t) {
        for (unsigned i = 0; i < DEVICES; i++) {
                Buf keep = t->dev[i].record.data; /* the memory serves the next run */

                proto_details_done(&t->dev[i].tombstone.details);
                buf_clear(&keep);
                memset(&t->dev[i], 0, sizeof(t->dev[i]));
                t->dev[i].record.data = keep;
        }
}

static void world_clear(World *w) {
        for (size_t i = 0; i < w->n_heap; i++)
                event_done(&w->heap[i]);
        w->n_heap = 0;
        for (unsigned i = 0; i < w->n_runners; i++)
                if (w->runner[i].id != 0)
                        w->runner[i].phase = RUNNER_DEAD;
        runner_reap(w);
        for (unsigned i = 0; i < w->n_tracks; i++)
                track_done(&w->track[i]);
        for (unsigned i = 0; i < w->n_remembered; i++) {
                free(w->remembered[i].topic);
                free(w->remembered[i].data);
        }
        for (unsigned i = 0; i < DEVICES; i++)
                engine_free(w->dev[i].engine);
        memset(w->dev, 0, sizeof(w->dev));
        memset(w->conn, 0, w->n_conns * sizeof(Conn));
        memset(w->proc, 0, w->n_procs * sizeof(Proc));
        memset(w->armed, 0, sizeof(w->armed));
        w->n_tracks = w->n_remembered = w->n_conns = w->n_runners = w->n_procs = 0;
        w->live_procs = w->pending = 0;
        w->model = model_free(w->model);
        model_output_clear(&w->out);
}

void world_free(World *w) {
        world_clear(w);
        for (unsigned i = 0; i < TRACKS_MAX; i++)
                for (unsigned d = 0; d < DEVICES; d++)
                        buf_done(&w->track[i].dev[d].record.data);
        buf_done(&w->scratch);
        buf_done(&w->scratch2);
        buf_done(&w->kept);
        engine_actions_done(&w->engine_actions);
        plan_actions_done(&w->plan_actions);
        model_output_done(&w->out);
        free(w->heap);
        w->heap = NULL;
        w->cap_heap = 0;
}

static void world_start(World *w, uint64_t seed) {
        world_clear(w);
        w->seed = seed;
        rng_seed(&w->rng, seed);
        w->now = w->next_seq = w->steps = 0;
        w->next_id = w->foreign_counter = w->nonce = 0;
        w->reboots = 0;
        w->cloud_skew = w->cloud_leapt_at = w->cloud_tick_seq = w->broker_back_at = 0;
        w->cloud_tick_at = USEC_NEVER;
        w->busy_at = 0;
        w->cloud_actor = -1;
        w->faults_on = true;
        w->quiet_since = w->settled_since = USEC_NEVER;
        w->broken = PROMISE_NONE;
        w->story[0] = '\0';
        scenario_make(w);
        if (w->sweep) {
                w->sc.noise = w->sc.n_triggers = 0;
                w->sc.second_device = false;
        }
        cloud_start(w);
        for (unsigned i = 0; i < DEVICES; i++)
                w->dev[i] =
                        (Device){ .index = i, .exists = i == 0, .next_pid = 100, .clear_since = USEC_NEVER };
        world_push(w, (Event){ .type = EVENT_BOOT, .dev = 0 });
        for (unsigned i = 0; i < w->sc.n_jobs; i++)
                world_push(w, (Event){ .at = w->sc.job[i].create_at, .type = EVENT_CREATE, .value = i });
        world_push(w, (Event){ .at = w->sc.faults_end, .type = EVENT_FAULTS_END });
}

/* Everything is over, and stays so for a while. */
static bool world_settled(World *w) {
        if (w->quiet_since == USEC_NEVER || !check_settled(w)) {
                w->settled_since = USEC_NEVER;
                return false;
        }
        if (w->settled_since == USEC_NEVER)
                w->settled_since = w->now;
        return w->n_heap == 0 || w->heap[0].at > w->settled_since + SETTLED_FOR;
}

/* The faults are over, the outage that they may have left behind is, and there was time enough. */
static bool quiet_for_long(const World *w) {
        return w->quiet_since != USEC_NEVER && w->now > MAX_OF(w->quiet_since, w->broker_back_at) + QUIET_LIMIT;
}

static void check_limits(World *w) {
        if (w->steps > STEPS_LIMIT)
                world_violate(w, P8_NEVER_GIVE_UP, "no end after %u events: something spins", STEPS_LIMIT);
        if (quiet_for_long(w))
                check_end(w);
}

void world_run(World *w, uint64_t seed) {
        world_start(w, seed);
        while (w->broken == PROMISE_NONE && w->n_heap > 0) {
                Event e = world_pop(w);

                assert(e.at >= w->now);
                w->now = e.at;
                w->steps++;
                if (w->crash != CRASH_NONE && w->steps == w->crash_at)
                        fault_crash(w, w->crash);
                if (device_takes(w, &e))
                        dispatch(w, &e);
                event_done(&e);
                runner_reap(w);
                check_doomed(w);
                check_resumed(w);
                check_idle(w);
                check_limits(w);
                if (world_settled(w))
                        break;
                if (quiet_for_long(w))
                        break;
        }
        check_end(w);
}
