/* SPDX-License-Identifier: Apache-2.0 */
/* The world of one simulation run: a cloud, a network, one or two devices with disk, agent, runners and handlers.
 *
 * The deciding code is the real one (engine_step, plan_step, the records' lines, the wire, the protocol, the service's
 * model); everything here is what surrounds it, with a virtual clock. A seed decides everything that happens. */
#pragma once

#include <assert.h>

#include "base/buf.h"
#include "engine/engine.h"
#include "plan/plan.h"
#include "rng.h"
#include "sim/model.h"

enum {
        DEVICES = 2,
        JOBS_MAX = 16, /* more than one list of the service holds */
        STEPS_MAX = 3,
        ATTEMPTS_MAX = 24,
        TRACKS_MAX = 96,
        RUNNERS_MAX = 64,
        CONNS_MAX = 128,
        PROCS_MAX = 192,
        TRIGGERS_MAX = 6,
        REMEMBERED_MAX = 16, /* messages kept for a later stale delivery */
        CLAIMS_MAX = 12,
        SLOTS_MAX = 10,
        PAUSES_MAX = 6,
        DOCUMENT_MAX = 96,
};

#define MSEC      USEC_PER_MSEC
#define SEC       USEC_PER_SEC
#define MINUTE    (60 * SEC)
#define HOUR      (60 * MINUTE)
#define EPOCH_SEC INT64_C(1700000000) /* the cloud's clock at the start of a run */

/* What goes wrong: the rows of the table. */
typedef enum Fault {
        FAULT_KILL_AGENT,
        FAULT_KILL_RUNNER,
        FAULT_KILL_RUNNER_IN_PERSIST, /* written, not yet synced */
        FAULT_STOP_RUNNER,            /* SIGTERM to the runner itself */
        FAULT_POWER_CUT,
        FAULT_POWER_CUT_BEFORE_PERSIST,
        FAULT_POWER_CUT_IN_PERSIST, /* written, not yet synced: torn tails, vanishing directory entries */
        FAULT_POWER_CUT_AFTER_PERSIST,
        FAULT_LOST_REQUEST,
        FAULT_LOST_REPLY,
        FAULT_LOST_NOTIFICATION,
        FAULT_DUPLICATE_REQUEST,
        FAULT_DUPLICATE_MESSAGE,
        FAULT_REORDER_REQUEST,
        FAULT_REORDER_MESSAGE,
        FAULT_DISCONNECT,
        FAULT_BROKER_AWAY, /* for seconds, minutes or days */
        FAULT_OUTSIDE_CHANGE,
        FAULT_VERSION_MISMATCH, /* the reply only: somebody else was faster */
        FAULT_THROTTLED,
        FAULT_INTERNAL_ERROR,
        FAULT_INVALID_REQUEST, /* on details */
        FAULT_CANCEL,
        FAULT_FORCE_CANCEL,
        FAULT_DELETE,
        FAULT_RECREATE,
        FAULT_SERVICE_TIMEOUT, /* either timer of the service */
        FAULT_RETRY_EXECUTION,
        FAULT_SECOND_DEVICE,
        FAULT_WALL_CLOCK,
        FAULT_SUSPEND,
        FAULT_DISK_FULL,
        FAULT_READ_ONLY, /* a write to the record fails */
        FAULT_MALFORMED,
        FAULT_STALE,
        FAULT_FOREIGN,
        FAULT_SPAWN_FAILS,
        FAULT_RELOAD,
        FAULT_REBOOT_FAILS, /* the command */
        FAULT_NO_REBOOT,    /* the command says yes, and nothing comes of it */
        FAULT_HOUR_OFFLINE, /* after a reboot */
        FAULT_LOCAL_CANCEL, /* by the operator of the device */
        FAULT_PAUSE,        /* for a while */
        FAULT_COUNT,
} Fault;

/* Where the job in question stands on a device, as far as can be seen from outside the pure code: the columns. */
typedef enum SimState {
        STATE_UNKNOWN,   /* the agent that is running now has not heard of it, or none is running */
        STATE_QUEUED,    /* heard of, no runner */
        STATE_PREPARING, /* a runner was asked, no plan told */
        STATE_PLANNED,   /* the plan is durable; no claim sent by this agent */
        STATE_CLAIMING,  /* claim sent, no go */
        STATE_STARTING,  /* go arrived (or a step ended), no process */
        STATE_RUNNING,   /* a process lives */
        STATE_KILLING,   /* a process lives that was told to end */
        STATE_DEFERRED,  /* to be tried again; no runner */
        STATE_REBOOTING, /* a reboot was asked for, or came and nothing was started since */
        STATE_FINISHED,  /* a result is known, not sent by this agent */
        STATE_REPORTING, /* the final status is sent, no ack at the runner */
        STATE_ACKED,     /* nothing of it is left on the device and it is over in the cloud */
        STATE_COUNT,
} SimState;

typedef enum Promise {
        PROMISE_NONE,
        P1_TRUTH,
        P2_ONCE,
        P3_NOTHING_LOST,
        P4_NO_OVERLAP,
        P5_CANCEL,
        P6_ORDER,
        P7_HARMLESS,
        P8_NEVER_GIVE_UP,
        PAUSE_HOLDS, /* what has not begun does not begin while the operator says so */
        PROMISE_COUNT,
} Promise;

/* Bugs that can be sown: the test of the test. */
typedef enum Bug {
        BUG_NONE,
        BUG_EXEC_BEFORE_RECORD,
        BUG_PERSIST_FAILURE_IGNORED,
        BUG_MEMORY_DEDUPE,
        BUG_FINAL_ONCE,
        BUG_ACK_EARLY,
        BUG_RESULT_EARLY,
        BUG_LEFTOVERS,
        BUG_CANCEL_IGNORED,
        BUG_GO_EARLY,
        BUG_STALE_TOKENS,
        BUG_CLAIM_UNCHECKED,
        BUG_ORDER_REVERSED,
        BUG_SIGNAL_IS_ZERO,
        BUG_FAILURE_IS_SUCCESS,
        BUG_RETRY_UNCOUNTED,
        BUG_SLOT_GIVEN_UP,
        BUG_STALE_DOCUMENT,
        BUG_CANCEL_WHILE_DEFERRED,
        BUG_FINISH_GOES_ON,
        BUG_REBOOT_UNRECORDED,
        BUG_REBOOT_EARLY,
        BUG_RESUME_WAITS,
        BUG_RESUME_TWICE,
        BUG_DEADLINE_UNSEEN,
        BUG_PAUSE_FORGOTTEN,
        BUG_CANCEL_FORGOTTEN,
        BUG_COUNT,
} Bug;

/* ---- the scenario ---- */

typedef enum EndKind {
        END_EXIT,
        END_SIGNAL,
        END_HANG,    /* runs until somebody ends it */
        END_NO_EXEC, /* START_FAILED at the release */
        END_NO_FORK, /* START_FAILED at the fork */
} EndKind;

typedef struct StepScript {
        EndKind end;
        int code; /* exit code or signal */
        /* The first attempts that come to their end say 75 or 194 instead. */
        uint8_t pause[PAUSES_MAX];
        unsigned n_pauses;
        uint64_t duration;
        bool ignores_term;
        int term_code;     /* what it makes of SIGTERM: -1 = dies of it, else exits so */
        unsigned children; /* left behind */
        uint64_t child_duration;
        bool child_ignores_term;
        bool respawns;     /* a child forks once more when it is killed */
        unsigned progress; /* lines */
        bool noisy;        /* output that is no text */
        PlanStepConfig plan;
} StepScript;

typedef struct JobScript {
        char id[12];
        bool bad;       /* the document is refused for good */
        bool bad_later; /* one that is read afresh for a retry is */
        unsigned
                picky; /* the service takes 1: no details but the claim, 2: none with the final status, ever */
        unsigned n_steps;
        StepScript step[STEPS_MAX];
        uint64_t create_at;
        int64_t timeout_minutes;
        int64_t retries;
        bool created;
        unsigned generation; /* how often it was made anew */
} JobScript;

typedef struct Trigger {
        Fault fault;
        SimState state; /* fires when a job enters this */
        unsigned skip;  /* entries to let pass */
        uint64_t delay;
        bool used;
} Trigger;

typedef struct Scenario {
        unsigned n_jobs;
        JobScript job[JOBS_MAX];
        PlanStepConfig plan_step[JOBS_MAX][STEPS_MAX];
        EngineConfig engine;
        uint32_t max_attempts;
        uint64_t retry_delay, reboot_timeout;
        PlanReportOutput report_output;
        bool second_device, second_dies;
        bool fan_out;     /* replies reach every device of the thing, as on an ordinary broker */
        bool cgroup_kill; /* a dead runner's tree dies with it, as under systemd */
        bool slow;        /* starting a process takes long */
        unsigned noise;   /* per mille of messages, writes and steps of the way that meet a fault by chance */
        uint64_t faults_end;
        unsigned n_triggers;
        Trigger trigger[TRIGGERS_MAX];
} Scenario;

/* ---- what is known of one execution ---- */

typedef struct RecordFile {
        bool exists;       /* as processes see it */
        bool entry_synced; /* the directory entry survives a power cut */
        bool durable;      /* a removed file may come back: the unlink is not synced */
        Buf data;
        size_t synced;
} RecordFile;

typedef struct Tombstone {
        bool exists, synced;
        ProtoStatus status;
        ProtoDetails details;
} Tombstone;

typedef struct TrackDevice {
        bool seen, asked, planned, claim_sent, go, killing, result, final_sent;
        bool deferred, rebooting; /* what the record says last */
        bool reboot_asked;        /* no start since */
        bool reboot_heard;        /* by the agent that runs */
        bool reboot_given;        /* the command was; nothing may start in this boot */
        uint64_t due_at;          /* of deferred: in the world's time */
        uint64_t deferred_at;     /* likewise: since when */
        uint32_t paused_boots;    /* the boot that asked for a reboot */
        uint32_t nonce_paused;    /* documents delivered until then */
        uint32_t nonce_used;      /* of the newest start */
        uint64_t deadline_at;     /* the newest that its runner was told of; 0 = none */
        unsigned pauses[STEPS_MAX]; /* processes that asked for a retry or a reboot */
        bool cancelled_here;      /* the operator of the device wanted it to end, and an agent heard */
        bool deadline_verdict;    /* given up because the service's deadline is near */
        SimState state;
        SimState state_when_over; /* in the cloud */
        unsigned live;            /* processes of the run */
        uint32_t run;             /* of the agent's newest connection for it */
        unsigned claims_sent, finals_sent;
        bool ack_sent, drop_sent;
        char final_token[LIMIT_CLIENT_TOKEN + 1]; /* of the newest final update; "" = answered */
        uint64_t progress_sent;                   /* when; 0 = never */
        uint8_t starts[STEPS_MAX][ATTEMPTS_MAX];
        uint16_t started[STEPS_MAX];
        uint16_t written[STEPS_MAX]; /* `started` lines for it, lasting or not */
        bool zero[STEPS_MAX];        /* its process exited 0 by itself */
        bool ended[STEPS_MAX];       /* ended somehow, or could not be started */
        bool any_signal[65], any_code[256];
        bool final_once; /* bug */
        bool durable_result;
        ProtoStatus durable_status;
        uint64_t durable_at;
        RecordFile record;
        Tombstone tombstone;
} TrackDevice;

typedef struct Track {
        JobKey key;
        unsigned job;
        char document[DOCUMENT_MAX]; /* with a nonce of zeros: each delivery has its own */
        size_t document_len;
        ProtoStatus status; /* in the cloud */
        bool gone;
        int64_t version;
        uint64_t created_at;
        uint64_t terminal_at;                   /* 0 = not over */
        int ended_by;                           /* device, or -1: the service or somebody else */
        char claim[CLAIMS_MAX][WIRE_CLAIM_MAX]; /* ever accepted */
        unsigned n_claims;
        char run_claim[CLAIMS_MAX][WIRE_CLAIM_MAX]; /* of its own runs, accepted or not */
        unsigned n_run_claims;
        int runs_on;       /* the device that started a step, -1 = none */
        bool touched;      /* somebody outside the two devices changed it */
        bool disturbed;    /* a fault touched it: its place in the order is not promised */
        bool stripped;     /* its details were refused: fewer come */
        bool outcome_open; /* what happened to it may change what is reported of it */
        TrackDevice dev[DEVICES];
} Track;

/* ---- the parts ---- */

typedef struct Conn {
        uint32_t id; /* 0 = free */
        unsigned dev;
        uint32_t agent_life;
        uint32_t run;
        int runner; /* slot, -1 = none any more */
        uint32_t runner_id;
        bool agent_open;
        uint64_t to_runner_at, to_agent_at; /* packets keep their order */
} Conn;

typedef enum RunnerPhase {
        RUNNER_SPAWNING, /* waits for its first packet */
        RUNNER_LOCKING,  /* wants the key's lock */
        RUNNER_CLEANING, /* waits for what an earlier runner left behind */
        RUNNER_LIVE,
        RUNNER_DEAD, /* freed at the end of the step */
} RunnerPhase;

typedef struct Runner {
        uint32_t id; /* 0 = free */
        unsigned dev;
        RunnerPhase phase;
        int track; /* -1 = the inventory */
        int conn;  /* slot, -1 = none */
        uint32_t conn_id;
        uint64_t lock_until;
        char *first; /* the first packet; owned */
        size_t first_len;
        Plan *plan;
        char *document; /* owned */
        RecordState state;
        char claim[WIRE_CLAIM_MAX];
        int slot; /* -1 = none */
        bool wants_slot;
        bool wants_all;  /* before a reboot */
        unsigned n_held; /* of these it has the first so many */
        uint32_t nonce;  /* of its document */
        bool cancelled;  /* it was told so */
        bool gate; /* a child waits at the gate */
        uint32_t gate_step, gate_attempt;
        bool tree;      /* a child was forked and its end was not told in full */
        bool main_over; /* the handler's own process has ended */
        bool exit_told, kill_again;
        bool prepared, resulted;               /* the record says so, durably */
        int64_t started_step, started_attempt; /* the newest start that this runner wrote; -1 = none */
        bool only_here;     /* it told a verdict that it could not write, and nobody has taken it */
        bool stopped;       /* SIGTERM */
        bool record_failed; /* a write failed: final for this runner */
        bool record_open;   /* there is a record it may write behind */
        uint32_t timer_token;
        uint64_t timer_at;
} Runner;

typedef struct Proc {
        uint32_t id; /* 0 = free */
        unsigned dev;
        int track;
        uint32_t runner_id; /* its parent, or the subreaper */
        bool main;
        unsigned step;
        bool ignores_term, respawns, dying;
        int term_code;
        int end_code; /* >= 0 exit code, < 0 minus the signal */
} Proc;

typedef struct Device {
        unsigned index;
        bool exists, powered, dead_for_good;
        uint64_t boot_at;
        uint64_t skew; /* added by jumps of the boot clock */
        uint32_t boots;
        char boot_id[BOOT_ID_MAX];
        int64_t next_pid;
        uint64_t suspended_until;
        int64_t wall_offset; /* seconds */
        bool disk_full;
        bool paused;       /* on its disk */
        bool pause_heard;  /* by the agent that runs */
        int write_fails; /* writes to fail: EIO */
        /* the agent */
        bool agent_alive;
        uint32_t agent_life;
        Engine *engine;
        char token_prefix[16];
        char last_token[8][LIMIT_CLIENT_TOKEN + 1],
                last_job[8][LIMIT_JOB_ID + 1]; /* of each kind of request: a bug's */
        bool online;
        uint32_t session; /* 0 = none */
        uint64_t to_cloud_at, to_device_at;
        uint32_t timer_token;
        uint64_t timer_at;
        /* slot locks */
        uint32_t slot[SLOTS_MAX]; /* runner ids */
        int slot_mark[SLOTS_MAX]; /* the run that used it last and did not give it back: track + 1 */
        /* since when nothing keeps it from knowing what the cloud knows; USEC_NEVER = something does */
        uint64_t clear_since;
        /* what it has heard on this connection: nothing new may start before both */
        bool heard_inventory, heard_list;
        char list_answered[LIMIT_CLIENT_TOKEN + 1]; /* what is answered twice says nothing the second time */
        uint64_t calm_since; /* no fault since then, and an agent is there */
        uint64_t
                list_due_since; /* a final status was accepted, neither a list nor a query followed; 0 = none */
        bool missed;            /* a notification was lost on an open connection: only a query helps */
} Device;

typedef enum EventType {
        EVENT_TO_CLOUD,
        EVENT_TO_DEVICE,
        EVENT_CLOUD_TICK,
        EVENT_CREATE,
        EVENT_RECREATE,
        EVENT_TRIGGER,
        EVENT_CRASH,
        EVENT_FAULTS_END,
        EVENT_NUDGE, /* after the faults: one more connect for all */
        EVENT_DISK_FREE,
        EVENT_RESUME,
        /* of a device: wait while it is suspended, vanish when it loses power */
        EVENT_BOOT,
        EVENT_REBOOT, /* orderly */
        EVENT_AGENT_START,
        EVENT_CONNECT,
        EVENT_AGENT_TIMER,
        EVENT_AGENT_PACKET,
        EVENT_AGENT_CLOSED,
        EVENT_RUNNER_PACKET,
        EVENT_RUNNER_HANGUP,
        EVENT_RUNNER_LOCK,
        EVENT_RUNNER_CLEAN,
        EVENT_RUNNER_TIMER,
        EVENT_RUNNER_SLOT,
        EVENT_RUNNER_FORKED,
        EVENT_RUNNER_START_FAILED,
        EVENT_RUNNER_EXITED,
        EVENT_RUNNER_EMPTY,
        EVENT_RUNNER_REBOOT_FAILED,
        EVENT_PROC_PROGRESS,
        EVENT_PROC_END,
        EVENT_PROC_TERM,
        EVENT_PROC_KILL,
} EventType;

typedef struct Event {
        uint64_t at, seq;
        EventType type;
        unsigned dev;
        uint32_t boots; /* of the device when it was made */
        uint32_t id;    /* of the thing it is for; a stale one finds nothing */
        int64_t value;
        char *topic; /* owned; the topic, with a NUL */
        char *data;  /* owned */
        size_t len;
} Event;

typedef struct Remembered {
        char *topic, *data;
        size_t len;
} Remembered;

/* The sweep: a run without any fault, and again with one crash at each of its events. */
typedef enum Crash {
        CRASH_NONE,
        CRASH_AGENT,
        CRASH_RUNNERS,
        CRASH_BOTH,
        CRASH_POWER,
        CRASH_CONNECTION,
        CRASH_COUNT,
} Crash;

typedef struct World {
        uint64_t seed;
        Rng rng;
        int trace; /* 0 none, 1 milestones, 2 all */
        Bug bug;
        bool sweep;
        Crash crash;
        uint64_t crash_at;   /* event */
        uint64_t busy_steps; /* events until the faults' end */
        uint64_t now;
        Scenario sc;
        Event *heap;
        size_t n_heap, cap_heap;
        uint64_t next_seq;
        uint32_t next_id;
        uint64_t steps;

        Model *model;
        ModelOutput out;
        uint64_t cloud_skew;
        uint64_t cloud_leapt_at; /* 0 = never */
        uint64_t cloud_tick_seq, cloud_tick_at;
        int cloud_actor;         /* device whose request is being served, -1 = nobody's */
        uint64_t broker_back_at; /* no connection before this */
        unsigned pending;        /* executions that are not over */
        Remembered remembered[REMEMBERED_MAX];
        unsigned n_remembered;
        uint32_t foreign_counter;
        uint32_t nonce;   /* documents delivered */
        unsigned reboots; /* orderly ones */

        Device dev[DEVICES];
        Track track[TRACKS_MAX];
        unsigned n_tracks;
        Conn conn[CONNS_MAX];
        unsigned n_conns; /* slots in use are below this */
        Runner runner[RUNNERS_MAX];
        unsigned n_runners;
        Proc proc[PROCS_MAX];
        unsigned n_procs;
        unsigned live_procs;

        bool faults_on;
        uint64_t quiet_since, settled_since;
        uint64_t busy_at;            /* the last time that something was under way for a job */
        unsigned armed[FAULT_COUNT]; /* faults that wait for the next message or write they fit */

        Buf scratch, scratch2;
        EngineActions engine_actions;
        PlanActions plan_actions;
        uint64_t (*table)[STATE_COUNT]; /* faults × states: counts, shared by all runs of a process */

        Promise broken;
        char story[1024];
        unsigned lines; /* > 0: keep the newest trace lines for world_tell() instead of printing */
        Buf kept;
} World;

/* world.c: the clock, the queue, the ends of a run */
void world_run(World *w, uint64_t seed);
void world_free(World *w);
void world_tell(World *w);                      /* print the kept lines */
uint64_t world_push(World *w, Event e);         /* its sequence number */
char *world_copy(const char *data, size_t len); /* with a NUL behind it */
uint64_t world_start_time(World *w);            /* how long it takes until a process is there */
void world_violate(World *w, Promise p, const char *format, ...) PRINTF_LIKE(3, 4);
void world_trace(World *w, int level, const char *format, ...) PRINTF_LIKE(3, 4);
#define TRACE(w, level, ...)                                                                                 \
        do {                                                                                                 \
                if ((w)->trace >= (level))                                                                   \
                        world_trace((w), (level), __VA_ARGS__);                                              \
        } while (0)

/* scenario.c */
void scenario_make(World *w);

/* names.c */
const char *fault_name(Fault f);
const char *sim_state_name(SimState s);
const char *promise_name(Promise p);
const char *crash_name(Crash c);
const char *bug_name(Bug b);
const char *bug_story(Bug b);
Promise bug_promise(Bug b); /* the promise it breaks */
/* Why a fault need not meet a job in a state: it cannot, or only by a rare accident. NULL = it can, and must. */
const char *cell_excuse(Fault f, SimState s);

/* track.c: one execution as the world sees it */
Track *track_find(World *w, const char *job_id, int64_t number, int64_t queued_at);
Track *track_latest(World *w, unsigned job);
Track *track_of_request(World *w, const ProtoRequest *r);
void track_note_run(Track *t, const char *claim);
void track_cloud_change(World *w, const ModelChange *c);
void track_update(World *w, Track *t, unsigned dev); /* derive the state anew; triggers fire here */
void track_update_all(World *w, unsigned dev);
const char *track_text(World *w, const Track *t); /* for texts: "j1#1" */
/* It stands before others on a device although no process of it lives: deferred, rebooting. */
static inline bool track_pauses(const Track *t, unsigned dev) {
        return t->terminal_at == 0 && (t->dev[dev].deferred || t->dev[dev].rebooting);
}
static inline int track_index(const World *w, const Track *t) {
        return (int) (t - w->track);
}

/* fault.c */
void fault_count(World *w, Fault f, const Track *t, unsigned dev);
void fault_count_in(World *w, Fault f, const Track *t, unsigned dev, SimState s);
void fault_count_all(World *w, Fault f, unsigned dev);
void fault_fire(World *w, Fault f, Track *t, unsigned dev); /* a trigger came due */
bool fault_armed(World *w, Fault f);                        /* also by chance; takes the armed one */
void fault_crash(World *w, Crash c);                        /* the sweep's */
void faults_stop(World *w);

/* cloud.c */
void cloud_start(World *w);
void cloud_flush(World *w, int actor);
void cloud_schedule(World *w);
uint64_t cloud_now(const World *w);
void cloud_create(World *w, unsigned job);
void cloud_deliver(World *w, Event *e); /* a device's publication arrives */
void cloud_tick(World *w);
void cloud_outside_change(World *w, Track *t);
bool cloud_jump_to_deadline(World *w);

/* net.c */
void net_publish(World *w, Device *d, const char *topic, const char *data, size_t len);
void net_to_device(World *w, Device *d, const char *topic, const char *data, size_t len);
void net_deliver(World *w, Event *e);
void net_stale(World *w, Device *d);
void net_foreign(World *w, Device *d, const Track *t);

/* agent.c */
void device_boot(World *w, Device *d);
void device_power_cut(World *w, Device *d, uint64_t down);
void device_reboot(World *w, Device *d); /* as a handler asked for it */
uint64_t device_now(const World *w, const Device *d);
uint64_t device_to_world(const World *w, const Device *d, uint64_t deadline);
void device_disturbed(World *w, Device *d);
void agent_start(World *w, Device *d);
void agent_kill(World *w, Device *d, uint64_t restart);
void agent_connect(World *w, Device *d);
void agent_disconnect(World *w, Device *d, uint64_t again);
void agent_message(World *w, Device *d, const ProtoMessage *m);
void agent_event(World *w, Device *d, EngineEventType type);
void agent_cancel(World *w, Device *d, Track *t);
void agent_pause(World *w, Device *d);
void agent_resume(World *w, Device *d);
void agent_timer(World *w, Device *d, uint32_t token);
void agent_packet(World *w, Event *e);
void agent_closed(World *w, Event *e);

/* runner.c */
int runner_spawn(World *w, Device *d, int conn);
void runner_packet(World *w, Event *e);
void runner_hangup(World *w, Event *e);
void runner_event(World *w, Event *e); /* EVENT_RUNNER_* of the shell itself */
void runner_kill(World *w, Runner *r);
void runner_stop(World *w, Runner *r);
Runner *runner_of(World *w, unsigned dev, int track);  /* the one that holds the key's lock */
Runner *runner_any(World *w, unsigned dev, int track); /* else one that is on its way there */
void runner_progress(World *w, Runner *r, const char *line);
Runner *runner_by_id(World *w, uint32_t id);
void runner_reap(World *w); /* free what died */
void conn_close_by_agent(World *w, int conn);
void conn_close_by_runner(World *w, int conn);

/* proc.c */
void proc_exec(World *w, Runner *r, uint32_t step, uint32_t attempt);
void proc_signal_run(World *w, unsigned dev, int track, int sig);
void proc_event(World *w, Event *e);
void proc_drop_all(World *w, unsigned dev);

/* disk.c: one device's state directory */
int disk_append(World *w, Runner *r, Track *t, const RecordEntry *e); /* -ECANCELED: nobody is left to care */
int disk_bury(World *w, Runner *r, Track *t, ProtoStatus status, const ProtoDetails *details);
void disk_forget(World *w, Device *d, Track *t);
void disk_power_cut(World *w, Device *d);
int disk_load(World *w, Device *d, Track *t, RecordState *ret);
int disk_open(World *w, Device *d, Track *t, RecordState *ret); /* by a runner that holds the key */
unsigned disk_records(const World *w, const Device *d);

/* check.c: the promises */
void check_reboot(World *w, const Runner *r, const Track *t);
void check_go(World *w, const Device *d, const Track *t);
void check_resumed(World *w);
bool is_pause(const ProtoRequest *r);
/* Of a document as it was delivered; 0: it is not the track's. */
uint32_t document_nonce(const Track *t, const char *document, size_t len);
void document_mark(char *text, size_t len, uint32_t nonce); /* give it one, wherever it is in the text */
void check_release(World *w, Runner *r, Track *t, uint32_t step, uint32_t attempt);
void check_publish(World *w, Device *d, const ProtoRequest *r);
void check_prepare(World *w, const Device *d, const Track *t);
void check_idle(World *w);
void check_result_told(World *w, Runner *r, const WireMessage *m);
void check_final(World *w, Track *t);
void check_timed_out(World *w, const Track *t);
void check_given_up(World *w, const Track *t, const TrackDevice *td); /* before its retry */
void check_doomed(World *w);
bool check_settled(World *w);
void check_end(World *w);
