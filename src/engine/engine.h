/* SPDX-License-Identifier: Apache-2.0 */
/* Cloud side of every job's life: events in, actions out (architecture sections 2 and 4). PURE.
 *
 * The shell (agent/perform.c, or the simulation) calls engine_step() with one event and carries the actions out in order;
 * what an action brought about comes back only as a new event. The engine keeps nothing on disk: what is true is in the
 * cloud and in the runner's records, and both are asked at every start and connect. */
#pragma once

#include "proto/message.h"
#include "wire/wire.h"

typedef enum EngineOnOrphan { ENGINE_ORPHAN_FAIL, ENGINE_ORPHAN_RUN, ENGINE_ORPHAN_LEAVE } EngineOnOrphan;

enum {
        ENGINE_JOBS_MAX = 64, /* executions held at a time; later ones in the cloud's order are let go and come again */
        ENGINE_DOCUMENTS_MAX = 12, /* documents held at a time */
        ENGINE_TOKEN_PREFIX_MAX = 33,
};

typedef struct EngineConfig {
        char thing[LIMIT_THING_NAME + 1];
        unsigned max_concurrent; /* 1–10 */
        EngineOnOrphan on_orphan;
        uint64_t progress_interval_usec;
        uint64_t poll_interval_usec;      /* 0 = never */
        uint64_t operation_timeout_usec;  /* a request without an answer */
        uint64_t step_timeout_margin_sec; /* 0 = the service's step timer is not armed */
} EngineConfig;

typedef enum EngineEventType {
        ENGINE_EVENT_START,   /* first event of a process: asks for the inventory */
        ENGINE_EVENT_ONLINE,  /* connected and every subscription granted */
        ENGINE_EVENT_OFFLINE, /* connection gone: every request in flight is void */
        ENGINE_EVENT_MESSAGE, /* message: a decoded reply or notification */
        ENGINE_EVENT_DROPPED, /* a message had to be dropped (malformed, retained, over a limit): ask the cloud */
        ENGINE_EVENT_RUNNER,  /* run, wire */
        ENGINE_EVENT_RUNNER_CLOSED, /* run: the connection is gone, or could not be made */
        ENGINE_EVENT_TIMER,   /* engine_deadline() has come */
        ENGINE_EVENT_RELOAD,  /* config */
        /* The operator of the device: paused_since, as the runner has made it durable; key: of the execution to be cancelled. */
        ENGINE_EVENT_PAUSED,
        ENGINE_EVENT_CANCEL,
} EngineEventType;

/* Run 0 is the inventory's connection; every other number names one run's connection for ever. */
typedef struct EngineEvent {
        EngineEventType type;
        uint64_t now;    /* CLOCK_BOOTTIME, microseconds */
        uint64_t random; /* fresh for each event: jitter */
        const ProtoMessage *message;
        const WireMessage *wire;
        uint32_t run;
        const EngineConfig *config;
        int64_t paused_since; /* epoch seconds; 0 = resumed */
        const JobKey *key;
} EngineEvent;

typedef enum EngineActionType {
        ENGINE_ACTION_PUBLISH, /* request: QoS 1; nothing is expected back but an ENGINE_EVENT_MESSAGE */
        ENGINE_ACTION_RUNNER,  /* wire: send on `run`'s connection; open one (and start a runner) if there is none */
        ENGINE_ACTION_HANG_UP, /* close `run`'s connection; no RUNNER_CLOSED comes for it any more */
        ENGINE_ACTION_LOG,
} EngineActionType;

typedef struct EngineAction {
        EngineActionType type;
        ProtoRequest request; /* owned */
        uint32_t run;
        WireMessage wire;     /* owned; .document points to owned_document */
        char *owned_document;
        int level; /* LogLevel */
        const char *message_id;
        bool has_key;
        JobKey key;
        ProtoStatus status; /* LOG: IOT_JOB_STATUS, or NONE */
        char text[WIRE_REASON_MAX];
} EngineAction;

typedef struct EngineActions {
        EngineAction *item; /* owned array */
        size_t n, cap;
} EngineActions;
void engine_actions_clear(EngineActions *a);
void engine_actions_done(EngineActions *a);

typedef struct Engine Engine;
/* token_prefix: random text of this process, at most 32 of [A-Za-z0-9]; a request's clientToken is prefix-counter. */
int engine_new(const EngineConfig *config, const char *token_prefix, Engine **ret) MUST_USE;
Engine *engine_free(Engine *e);
DEFINE_CLEANUP(Engine *, engine_free)

int engine_step(Engine *e, const EngineEvent *event, EngineActions *actions) MUST_USE; /* 0, -ENOMEM */
uint64_t engine_deadline(const Engine *e); /* USEC_NEVER = none */

/* ---- what is going on, for STATUS= and iot-jobsctl (view.c) ---- */

typedef enum EnginePhase {
        ENGINE_PHASE_QUEUED,
        ENGINE_PHASE_STARTING,   /* a runner plans it, or the claim is under way */
        ENGINE_PHASE_RUNNING,
        ENGINE_PHASE_DEFERRED,   /* the step will be tried again at resume_at */
        ENGINE_PHASE_REBOOTING,  /* the device reboots when nothing else runs */
        ENGINE_PHASE_RECOVERING, /* was begun; its runner is being looked for */
        ENGINE_PHASE_STOPPING,
        ENGINE_PHASE_REPORTING,  /* the verdict is there, the cloud does not know it yet */
        ENGINE_PHASE_LEFT_ALONE, /* another device's, or policy's */
        ENGINE_PHASE_COUNT,
} EnginePhase;

typedef struct EngineJobView {
        const JobKey *key;           /* borrowed until the next engine_step() */
        const ProtoDetails *details; /* likewise: what was said of it last; may be empty */
        EnginePhase phase;
        ProtoStatus status;   /* in the cloud; REPORTING: the verdict */
        uint64_t since;       /* CLOCK_BOOTTIME of its entering the phase, as far as this process knows; 0 = not known */
        uint64_t resume_at;   /* DEFERRED */
        uint64_t deadline;    /* the service's; USEC_NEVER = none known */
        bool cancelling;      /* the operator wants it to end */
} EngineJobView;

/* All executions held, in the cloud's order. */
size_t engine_view_jobs(const Engine *e, EngineJobView ret[static ENGINE_JOBS_MAX]);

enum { ENGINE_ENDED_KEPT = 16 };
typedef struct EngineEnded { /* of this process's life only; the record keeps them for longer */
        JobKey key;
        ProtoStatus status; /* reported, or what the cloud said; NONE: it was gone */
        uint64_t at;        /* CLOCK_BOOTTIME */
} EngineEnded;
/* The newest first. */
size_t engine_view_ended(const Engine *e, EngineEnded ret[static ENGINE_ENDED_KEPT]);
int64_t engine_paused_since(const Engine *e); /* epoch seconds; 0 = not paused */

/* For STATUS=, iot-jobsctl and tests. */
typedef struct EngineSummary {
        bool online, synced;
        size_t running, queued, reporting, deferred;
        bool rebooting; /* a job asked for a reboot: nothing new starts */
        JobKey current; /* the first running one, if running > 0 */
} EngineSummary;
void engine_summarize(const Engine *e, EngineSummary *ret);
