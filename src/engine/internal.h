/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine share. Nothing here is for anybody else.
 *
 * A Job has two independent states, what the device's side knows (JobLocal) and what the cloud's side is known to be
 * (JobCloud), and at most one request in flight. Events only change these; job_advance() and engine_schedule(), run after
 * every event, look at them and decide what to do next. Being level-triggered is what makes lost, doubled and reordered
 * messages harmless: there is no transition that only one message can bring about. */
#pragma once

#include "base/message_id.h"
#include "engine/engine.h"

/* Levels of base/log.h by number: the engine may not include the log. */
enum { LEVEL_ERROR = 3, LEVEL_WARNING = 4, LEVEL_NOTICE = 5, LEVEL_INFO = 6, LEVEL_DEBUG = 7 };

enum {
        FINISHED_KEYS = 128,                              /* executions remembered after their end: stale messages */
        GONE_USEC = 30 * 1000 * 1000,                     /* what was not found is not looked for again within this */
        STRIP_MAX = 3,                                    /* fewer details, claim only, status alone */
        NOTIFY_DUE_USEC = 5 * 1000 * 1000,                /* a notification must follow a final status within this */
        NEXT_DUE_USEC = 300 * 1000,                       /* notify-next follows notify within this, else we ask */
        RUNNER_SLOW_USEC = 60 * 1000 * 1000,              /* a runner that has not answered by then is spoken of */
        LIST_GAP_USEC = 1000 * 1000,                      /* least time between two list queries */
        BACKOFF_MIN_USEC = 1000 * 1000,
        BACKOFF_DOUBLINGS = 6,                            /* at most 64 s */
        RUNNER_BACKOFF_DOUBLINGS = 6,
        TRIES_IN_ORDER = 4,                               /* then later jobs need not wait for what is asked in vain */
        DISPUTES_AT_ONCE = 2,                             /* then with backoff */
        LOOK_USEC = 20 * 1000 * 1000,                     /* after go: a job that still runs may have a deadline of the service's */
        NEAR_USEC = 120 * 1000 * 1000,                    /* one that is known to be as near as this is looked at at once */
        TOLD_USEC = 10 * 1000 * 1000,                     /* a reboot waits so long for the cloud to be told */
        ROUNDS_MAX = 4 * ENGINE_JOBS_MAX,
};

typedef enum JobLocal {
        LOCAL_NONE,      /* no runner knows it */
        LOCAL_RECORDED,  /* a record exists, no connection to it */
        LOCAL_PREPARING, /* prepare or attach sent */
        LOCAL_PLANNED,   /* a runner holds the plan and waits for go: the claim comes first */
        LOCAL_RUNNING,   /* go sent, or attached to a live run */
        LOCAL_DEFERRED,  /* no connection; to be prepared again, with its document read afresh, at resume_at */
        LOCAL_REBOOTING, /* its runner waits for `told`, for the other runs, for the reboot: nothing new starts */
        LOCAL_STOPPING,  /* cancel sent */
        LOCAL_FINISHED,  /* the verdict is known and to be reported */
        LOCAL_COUNT,
} JobLocal;

typedef enum JobCloud {
        CLOUD_UNKNOWN, /* to be asked before anything is based on it */
        CLOUD_OPEN,    /* QUEUED or IN_PROGRESS at `version` */
        CLOUD_OVER,    /* terminal, gone, reported, or another device's: nothing more is sent for it */
        CLOUD_COUNT,
} JobCloud;

typedef enum JobRequest {
        REQUEST_NONE,
        REQUEST_DESCRIBE,
        REQUEST_CLAIM,
        REQUEST_PROGRESS,
        REQUEST_PAUSE, /* deferred or rebooting: says so, and arms the step timer anew */
        REQUEST_FINAL,
} JobRequest;

typedef struct Finished {
        JobKey key;
        uint64_t until; /* USEC_NEVER: it ended. Else it was not found, and a list after this is believed again */
} Finished;

typedef enum JobRecord {
        RECORD_NOT_KNOWN,
        RECORD_PREPARED_ONLY,
        RECORD_RUN_STARTED,
        RECORD_RUN_DEFERRED,
        RECORD_RUN_REBOOTING,
        RECORD_RUN_REBOOTED, /* an attach starts the step again */
        RECORD_FINISHED,
} JobRecord;

typedef struct Job {
        JobKey key; /* number 0 or queued_at 0: a hint, to be described first */
        uint32_t run;
        uint64_t seq;  /* order of discovery */
        uint32_t rank; /* place in the newest list */
        JobLocal local;
        JobCloud cloud;

        /* the cloud's side */
        ProtoStatus status;
        int64_t version;
        int64_t seconds_left;  /* -1 = no timer */
        bool details_known;    /* cloud_claim and seconds_left are what a describe or notify-next said */
        char cloud_claim[LIMIT_DETAILS_VALUE + 1];
        JobRequest request;
        char token[LIMIT_CLIENT_TOKEN_SENT + 1];
        uint64_t request_deadline;
        int64_t request_version; /* expectedVersion of the update in flight */
        bool recheck;            /* became doubtful while a request was in flight */
        uint64_t retry_at;       /* no request before this */
        unsigned tries;        /* unanswered or refused in a row */
        unsigned disputes;     /* updates the cloud contradicted since the last one it accepted */
        bool document_asked;   /* by the describe in flight */
        bool without_document; /* the cloud has none for it */
        uint64_t listed_in;    /* number of the newest list that had it */
        bool left_alone;       /* another device's, or policy: not ours to start */
        uint64_t recheck_at;   /* of a job left alone */
        bool warned;           /* left alone, or the device unable: said once */
        bool adopting;         /* an orphan that policy runs or fails: the claim it had then is no obstacle */
        char adopted_claim[LIMIT_DETAILS_VALUE + 1];
        bool lost;             /* OVER only for us: another device has it. Afterwards it is looked at anew */
        bool reported;         /* OVER because our final status was accepted */
        bool gone;             /* OVER because the cloud knows no such execution, and none was started */

        /* the device's side */
        char claim[WIRE_CLAIM_MAX];
        JobRecord record;
        bool connected;
        uint64_t asked_at; /* PREPARING: since when its answer is waited for */
        bool slow;         /* that it takes long was said */
        uint64_t runner_retry_at;
        unsigned runner_tries;
        char *document; /* owned; NULL with has_document: too large, document_len says how large */
        size_t document_len;
        bool has_document;
        ProtoDetails plan_details; /* of the claim, or of the pause */
        uint64_t max_seconds;
        bool claim_stripped;
        uint64_t look_at;     /* RUNNING, DEFERRED, REBOOTING: ask for the service's deadline then */
        uint64_t resume_at;   /* DEFERRED */
        bool too_late;        /* DEFERRED: the service gives up before that, and so do we */
        uint64_t told_by;     /* REBOOTING: USEC_NEVER = the runner was told */
        bool pause_news;      /* DEFERRED, REBOOTING: the cloud is to be told */
        ProtoDetails progress;
        bool progress_dirty;
        uint64_t progress_at; /* no progress update before this */
        ProtoStatus final_status;
        ProtoDetails final_details;
        unsigned strip;
        bool report_refused; /* even the status alone: said once */

        /* for and by the operator */
        uint64_t entered_at;  /* its local state; 0 = not in this life */
        uint64_t deadline_at; /* the service's, as it was said last; 0 = none */
        bool cancel_wanted;
} Job;

struct Engine {
        EngineConfig config;
        char token_prefix[ENGINE_TOKEN_PREFIX_MAX];
        uint64_t token_counter;
        uint32_t next_run;
        uint64_t next_seq;
        uint64_t rng;

        Job *jobs[ENGINE_JOBS_MAX];
        size_t n_jobs;
        Finished finished[FINISHED_KEYS];
        size_t n_finished;

        bool online;
        bool listed;        /* a list was received on this connection */
        bool list_wanted;
        char list_token[LIMIT_CLIENT_TOKEN_SENT + 1]; /* "" = none in flight */
        uint64_t list_deadline, list_not_before, list_last;
        uint64_t list_serial;
        unsigned list_tries;
        uint64_t notify_due;    /* USEC_NEVER = none expected */
        uint64_t next_expected; /* until then a notify-next is likely on its way */

        bool inventory_wanted, inventory_in_flight, inventory_done, inventory_overflow;
        uint64_t inventory_retry_at, inventory_asked_at;
        bool inventory_slow;
        unsigned inventory_tries;

        int64_t paused_since; /* 0 = not paused */
        uint64_t paused_at;   /* when that was heard of */
        EngineEnded ended[ENGINE_ENDED_KEPT];
        size_t n_ended; /* ever */

        uint64_t deadline;

        /* of the step that runs */
        uint64_t now;
        EngineActions *actions;
        bool moved; /* a state was entered */
        int error;
};

/* actions.c */
EngineAction *engine_act(Engine *e, EngineActionType type); /* NULL after -ENOMEM, which engine_step() returns */
void engine_log(Engine *e, int level, const char *message_id, const Job *j, ProtoStatus status, const char *format, ...)
        PRINTF_LIKE(6, 7);
/* A request with a fresh token, not yet filled; NULL = no memory. */
ProtoRequest *engine_publish(Engine *e, TopicKind kind, char ret_token[static LIMIT_CLIENT_TOKEN_SENT + 1]);
/* A message for a run's connection with its key set; NULL = no memory. */
EngineAction *engine_tell(Engine *e, Job *j, WireType type);
void engine_hang_up(Engine *e, Job *j);
/* base doubled `tries` times (bounded), then a random part of it, at least a quarter. */
uint64_t engine_backoff(Engine *e, unsigned tries, unsigned doublings);

/* job.c */
Job *job_find(Engine *e, const JobKey *key);
Job *job_find_hint(Engine *e, const char *job_id);
Job *job_find_run(Engine *e, uint32_t run);
Job *job_add(Engine *e, const JobKey *key); /* NULL = no memory or no room */
/* Forget it. If it is over its key is remembered for stale messages; one that was only lost to another device starts afresh. */
void job_remove(Engine *e, Job *j);
void job_doubt(Engine *e, Job *j); /* ask the cloud again before anything is based on it */
void job_lose(Engine *e, Job *j, const char *why); /* another device has it */
/* The cloud contradicts itself or us: what goes on like that is asked less and less often. */
void job_dispute(Engine *e, Job *j);
/* Until when messages about it are not believed; 0 = it is not remembered. */
uint64_t job_finished_until(Engine *e, const JobKey *key);
void job_enter_local(Engine *e, Job *j, JobLocal local);
void job_enter_cloud(Engine *e, Job *j, JobCloud cloud);
bool job_holds_slot(const Job *j);
bool engine_reboot_pending(const Engine *e); /* nothing new may start */
bool job_before(const Job *a, const Job *b); /* the cloud's order */
/* A claim in the cloud that leaves the execution to us: our own, or the one an adopted orphan had when it was judged. */
bool job_accepts_claim(const Job *j, const char *claim);
/* Keep a copy. Of more than ENGINE_DOCUMENTS_MAX the last in the cloud's order goes: it is read again at its turn. */
int job_set_document(Engine *e, Job *j, const char *document, size_t len);
void job_forget_document(Job *j);
void job_free(Job *j);
const char *job_local_name(JobLocal s);
const char *job_cloud_name(JobCloud s);

/* cloud.c: requests and what comes back */
void cloud_describe(Engine *e, Job *j, bool with_document);
void cloud_claim(Engine *e, Job *j);
void cloud_progress(Engine *e, Job *j);
void cloud_pause(Engine *e, Job *j);
void cloud_final(Engine *e, Job *j);
void cloud_query_list(Engine *e);
void cloud_request_over(Engine *e, Job *j);  /* answered, timed out or void */
void cloud_on_message(Engine *e, const ProtoMessage *m);
void cloud_on_online(Engine *e);
void cloud_on_offline(Engine *e);

/* device.c: the runner's side */
void device_inventory(Engine *e);
void device_watch(Engine *e); /* speak of runners that do not answer */
void device_prepare(Engine *e, Job *j);
void device_attach(Engine *e, Job *j);
void device_told(Engine *e, Job *j); /* the runner may go on with the reboot */
void device_cancel(Engine *e, Job *j);
void device_deadline(Engine *e, Job *j, int64_t seconds_left); /* what a message said of the service's timer; below 0: nothing */
void device_stop(Engine *e, Job *j); /* tell a run that has begun, or may begin at any moment, to end */
void device_settle(Engine *e, Job *j); /* the cloud's side is over: stop, ack or drop what the device has */
void device_finish(Engine *e, Job *j, ProtoStatus status, const ProtoDetails *details);
void device_finish_with_reason(Engine *e, Job *j, ProtoStatus status, const char *reason); /* and the claim, if any */
void device_on_message(Engine *e, uint32_t run, const WireMessage *m);
void device_on_closed(Engine *e, uint32_t run);

/* operator.c: what the operator of the device wants */
void operator_pause(Engine *e, int64_t since);           /* 0 = go on */
void operator_inventory(Engine *e, int64_t since);       /* what the inventory said of it */
void operator_cancel(Engine *e, const JobKey *key);
void operator_advance(Engine *e, Job *j);                /* one job: what the two ask for */
bool operator_holds_back(const Engine *e, const Job *j); /* nothing of it was begun, and nothing is to be */
void operator_note_end(Engine *e, const Job *j);
