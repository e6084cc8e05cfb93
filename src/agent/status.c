/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/clock.h"
#include "build-config.h"

/* ---- one line ---- */

typedef struct Work {
        size_t n[ENGINE_PHASE_COUNT];
        const EngineJobView *first[ENGINE_PHASE_COUNT];
} Work;

static void count_work(const EngineJobView *jobs, size_t n, Work *ret) {
        *ret = (Work){};
        for (size_t i = 0; i < n; i++)
                if (ret->n[jobs[i].phase]++ == 0)
                        ret->first[jobs[i].phase] = &jobs[i];
}

/* "2/3" of "2/3 Install: 40 packages"; "" where there is one step only, or none is known. */
static void step_number(const EngineJobView *j, char *ret, size_t size) {
        const char *step = proto_details_get(j->details, "step");
        size_t n = step ? strcspn(step, " :") : 0;

        (void) snprintf(ret, size, "%.*s", (int) MIN_OF(n, size - 1), step ? step : "");
        if (strcmp(ret, "1/1") == 0 || !strchr(ret, '/'))
                ret[0] = '\0';
}

/* The time of day when something is due, by a clock that may be wrong: so is the one it is compared with. */
static void time_of_day(uint64_t at, char *ret, size_t size) {
        uint64_t now = clock_boottime_usec();
        time_t when = (time_t) (clock_wall_sec() + (at > now ? (int64_t) ((at - now) / USEC_PER_SEC) : 0));
        struct tm tm;

        if (!gmtime_r(&when, &tm) || strftime(ret, size, "%H:%M:%S UTC", &tm) == 0)
                ret[0] = '\0';
}

static void add_running(const Work *w, Buf *to) {
        static const EnginePhase active[] = { ENGINE_PHASE_RUNNING, ENGINE_PHASE_STOPPING, ENGINE_PHASE_RECOVERING };
        const EngineJobView *first = NULL;
        size_t n = 0;
        char step[24];

        for (size_t i = 0; i < ELEMENTSOF(active); i++) {
                n += w->n[active[i]];
                first = first ? first : w->first[active[i]];
        }
        if (n == 0)
                return;
        step_number(first, step, sizeof step);
        if (n == 1)
                buf_printf(to, ", %s job %s", first->phase == ENGINE_PHASE_STOPPING ? "stopping" : "running", first->key->job_id);
        else
                buf_printf(to, ", running %zu jobs, job %s first", n, first->key->job_id);
        if (step[0])
                buf_printf(to, " (step %s)", step);
}

static void add_waiting(const Work *w, Buf *to) {
        const EngineJobView *deferred = w->first[ENGINE_PHASE_DEFERRED];
        char when[32];

        if (w->n[ENGINE_PHASE_REBOOTING] > 0)
                buf_printf(to, ", rebooting for job %s", w->first[ENGINE_PHASE_REBOOTING]->key->job_id);
        if (deferred) {
                time_of_day(deferred->resume_at, when, sizeof when);
                buf_printf(to, ", job %s is tried again at %s", deferred->key->job_id, when);
                if (w->n[ENGINE_PHASE_DEFERRED] > 1)
                        buf_printf(to, " and %zu more later", w->n[ENGINE_PHASE_DEFERRED] - 1);
        }
        if (w->n[ENGINE_PHASE_REPORTING] > 0)
                buf_printf(to, ", reporting %zu result%s", w->n[ENGINE_PHASE_REPORTING], w->n[ENGINE_PHASE_REPORTING] == 1 ? "" : "s");
}

static void describe_work(const Agent *a, const EngineJobView *jobs, size_t n, Buf *to) {
        size_t before = to->len;
        Work w;

        count_work(jobs, n, &w);
        if (engine_paused_since(a->engine) > 0)
                buf_puts(to, ", paused by the operator");
        add_running(&w, to);
        add_waiting(&w, to);
        if (w.n[ENGINE_PHASE_STARTING] > 0)
                buf_printf(to, ", starting job %s", w.first[ENGINE_PHASE_STARTING]->key->job_id);
        if (w.n[ENGINE_PHASE_QUEUED] > 0)
                buf_printf(to, ", %zu job%s", w.n[ENGINE_PHASE_QUEUED], w.n[ENGINE_PHASE_QUEUED] == 1 ? " waits" : "s wait");
        if (to->len == before)
                buf_puts(to, ", idle");
}

void status_update(Agent *a) {
        EngineJobView jobs[ENGINE_JOBS_MAX];
        size_t n = engine_view_jobs(a->engine, jobs);
        Buf text CLEANUP_BUF = {};

        buf_printf(&text, "Thing %s: %s", a->config->thing_name, a->online ? "connected" : a->offline_text);
        describe_work(a, jobs, n, &text);
        if (a->certificate_text[0])
                buf_printf(&text, "; %s", a->certificate_text);
        if (buf_error(&text) < 0 || strcmp(text.data, a->status) == 0)
                return;
        (void) snprintf(a->status, sizeof a->status, "%s", text.data);
        (void) sd_notifyf(0, "STATUS=%s", a->status);
}

/* ---- in full ---- */

static ControlPhase phase_of(EnginePhase p) {
        switch (p) {
        case ENGINE_PHASE_QUEUED:
        case ENGINE_PHASE_COUNT:
                break;
        case ENGINE_PHASE_STARTING:
                return CONTROL_STARTING;
        case ENGINE_PHASE_RUNNING:
                return CONTROL_RUNNING;
        case ENGINE_PHASE_DEFERRED:
                return CONTROL_DEFERRED;
        case ENGINE_PHASE_REBOOTING:
                return CONTROL_REBOOTING;
        case ENGINE_PHASE_RECOVERING:
                return CONTROL_RECOVERING;
        case ENGINE_PHASE_STOPPING:
                return CONTROL_STOPPING;
        case ENGINE_PHASE_REPORTING:
                return CONTROL_REPORTING;
        case ENGINE_PHASE_LEFT_ALONE:
                return CONTROL_LEFT_ALONE;
        }
        return CONTROL_QUEUED;
}

static int64_t seconds_since(uint64_t at, uint64_t now) {
        return at == 0 || at > now ? -1 : (int64_t) ((now - at) / USEC_PER_SEC);
}

static int64_t seconds_until(uint64_t at, uint64_t now) {
        return at > now ? (int64_t) ((at - now + USEC_PER_SEC - 1) / USEC_PER_SEC) : 0;
}

static int64_t percent_of(const ProtoDetails *d) {
        const char *text = proto_details_get(d, "progress");
        char *end;
        long v = text ? strtol(text, &end, 10) : -1;

        return text && *end == '\0' && v >= 0 && v <= 100 ? v : -1;
}

static void fill_job(const EngineJobView *v, uint64_t now, ControlJob *ret) {
        const char *step = proto_details_get(v->details, "step");

        *ret = (ControlJob){
                .number = v->key->number > 0 ? v->key->number : -1,
                .queued_at = v->key->queued_at > 0 ? v->key->queued_at : -1,
                .phase = phase_of(v->phase),
                .status = v->status,
                .since = v->phase == ENGINE_PHASE_QUEUED ? -1 : seconds_since(v->since, now),
                .resume_in = v->phase == ENGINE_PHASE_DEFERRED ? seconds_until(v->resume_at, now) : -1,
                .deadline_in = v->deadline == USEC_NEVER ? -1 : seconds_until(v->deadline, now),
                .progress = percent_of(v->details),
                .cancelling = v->cancelling,
        };
        memcpy(ret->job_id, v->key->job_id, sizeof ret->job_id);
        (void) snprintf(ret->step, sizeof ret->step, "%s", step ? step : ""); /* the codec mends what is cut in mid-character */
}

static void fill_status(const Agent *a, uint64_t now, ControlStatus *ret) {
        EngineSummary s;
        int64_t paused = engine_paused_since(a->engine);

        engine_summarize(a->engine, &s);
        control_status_init(ret);
        (void) snprintf(ret->thing, sizeof ret->thing, "%s", a->config->thing_name);
        (void) snprintf(ret->version, sizeof ret->version, "%s", IOT_JOBS_VERSION);
        (void) snprintf(ret->endpoint, sizeof ret->endpoint, "%.400s:%lld", a->config->endpoint, (long long) a->config->port);
        (void) snprintf(ret->summary, sizeof ret->summary, "%.500s", a->status);
        (void) snprintf(ret->warning, sizeof ret->warning, "%s", a->certificate_text);
        if (!a->online)
                (void) snprintf(ret->error, sizeof ret->error, "%s", a->offline_text);
        ret->connected = a->online;
        ret->synced = s.synced;
        ret->uptime = seconds_since(a->started_at, now);
        ret->connection_time = seconds_since(a->online ? a->online_since : a->offline_since, now);
        ret->retry_in = a->online || a->retry_at == 0 ? -1 : seconds_until(a->retry_at, now);
        ret->paused_since = paused > 0 ? paused : -1;
}

static void fill_ended(const Agent *a, uint64_t now, ControlReply *ret) {
        EngineEnded ended[ENGINE_ENDED_KEPT];
        size_t n = MIN_OF(engine_view_ended(a->engine, ended), (size_t) CONTROL_ENDED_MAX);

        for (; ret->n_ended < n; ret->n_ended++) {
                const EngineEnded *from = &ended[ret->n_ended];
                ControlEnded *to = &ret->ended[ret->n_ended];

                *to = (ControlEnded){ .number = from->key.number > 0 ? from->key.number : -1,
                                      .status = from->status,
                                      .ago = seconds_since(from->at, now) };
                memcpy(to->job_id, from->key.job_id, sizeof to->job_id);
        }
}

int status_fill(const Agent *a, ControlReply *ret) {
        EngineJobView jobs[ENGINE_JOBS_MAX];
        size_t n = engine_view_jobs(a->engine, jobs);
        uint64_t now = clock_boottime_usec();

        *ret = (ControlReply){ .type = CONTROL_REPLY_STATUS };
        ret->jobs = calloc(n + 1, sizeof *ret->jobs);
        if (!ret->jobs)
                return -ENOMEM;
        for (; ret->n_jobs < n; ret->n_jobs++)
                fill_job(&jobs[ret->n_jobs], now, &ret->jobs[ret->n_jobs]);
        fill_status(a, now, &ret->status);
        fill_ended(a, now, ret);
        return 0;
}

int status_fill_job(const Agent *a, const char *job_id, int64_t number, ControlReply *ret) {
        EngineJobView jobs[ENGINE_JOBS_MAX];
        size_t n = engine_view_jobs(a->engine, jobs);
        const EngineJobView *found = NULL;

        for (size_t i = 0; i < n; i++)
                if (strcmp(jobs[i].key->job_id, job_id) == 0 && (number == 0 || jobs[i].key->number == number) &&
                    (!found || jobs[i].key->number > found->key->number))
                        found = &jobs[i];
        if (!found)
                return -ENOENT;
        *ret = (ControlReply){ .type = CONTROL_REPLY_JOB };
        ret->jobs = calloc(1, sizeof *ret->jobs);
        if (!ret->jobs)
                return -ENOMEM;
        ret->n_jobs = 1;
        fill_job(found, clock_boottime_usec(), ret->jobs);
        if (proto_details_copy(&ret->jobs->details, found->details) < 0)
                return -ENOMEM;
        proto_details_unset(&ret->jobs->details, "claim"); /* nobody's business but the cloud's */
        return 0;
}
