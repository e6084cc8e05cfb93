/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation of iot-jobsctl and iot-jobs-agent on the control socket: one JSON object per packet of a sequential-packet
 * socket, each request with one answer (history: several; watch: one now and one for each change, until the client hangs up).
 * PURE: bytes in, bytes out. Neither side believes the other: what decodes is within its limits and fit for a terminal. */
#pragma once

#include "wire/wire.h"

enum {
        CONTROL_REQUEST_MAX = 512,       /* bytes of a request */
        CONTROL_REPLY_MAX = 96 * 1024,   /* bytes of an answer */
        CONTROL_JOBS_MAX = 64,           /* jobs in one answer: all that the agent holds */
        CONTROL_ENDED_MAX = 16,          /* executions that ended lately */
        CONTROL_TEXT_MAX = 512,          /* bytes of a text of ours, with its NUL */
        CONTROL_STEP_MAX = 128,          /* bytes of what a job says of its step, with the NUL; `show` has all of it */
        CONTROL_HISTORY_DEFAULT = 512,   /* executions */

        /* What the agent bears. */
        CONTROL_CLIENTS_MAX = 16,        /* connections at a time */
        CONTROL_CLIENTS_KEPT = 4,        /* of these for whoever may change things */
        CONTROL_REQUESTS_PER_SEC = 50,   /* of one connection */
        CONTROL_ACCEPTS_PER_SEC = 100,
        CONTROL_IDLE_SEC = 10,           /* a connection that asks for nothing is closed, */
        CONTROL_TAKE_SEC = 2,            /* and one that does not take its answer */
        CONTROL_ASK_SEC = 20,            /* until the runner must have answered */
        CONTROL_WATCH_GAP_MSEC = 100,    /* least time between two answers of a watch */
};

typedef enum ControlVerb {
        CONTROL_STATUS,  /* → status */
        CONTROL_SHOW,    /* job, number → job */
        CONTROL_HISTORY, /* count → history… */
        CONTROL_WATCH,   /* → status… */
        CONTROL_CANCEL,  /* job, number → done: it is being stopped; `show` and `watch` tell when it is */
        CONTROL_PAUSE,   /* → done, durable */
        CONTROL_RESUME,  /* → done, durable */
        CONTROL_VERB_COUNT,
} ControlVerb;

typedef struct ControlRequest {
        ControlVerb verb;
        char job_id[LIMIT_JOB_ID + 1]; /* SHOW, CANCEL */
        int64_t number;                /* of the execution; 0 = whichever there is */
        int64_t count;                 /* HISTORY: 1 – WIRE_HISTORY_MAX */
} ControlRequest;

typedef enum ControlPhase { /* of a job, as the device sees it */
        CONTROL_QUEUED,
        CONTROL_STARTING,
        CONTROL_RUNNING,
        CONTROL_DEFERRED,
        CONTROL_REBOOTING,
        CONTROL_RECOVERING,
        CONTROL_STOPPING,
        CONTROL_REPORTING,
        CONTROL_LEFT_ALONE,
        CONTROL_PHASE_COUNT,
} ControlPhase;

typedef enum ControlError {
        CONTROL_BAD_REQUEST,
        CONTROL_DENIED,      /* changing anything is for root */
        CONTROL_NO_SUCH_JOB,
        CONTROL_TOO_LATE,    /* to cancel it: the verdict is there */
        CONTROL_BUSY,        /* too many clients */
        CONTROL_FAILED,      /* the runner, or the disk */
        CONTROL_ERROR_COUNT,
} ControlError;

/* Times are seconds, and relative: the wall clock of a device may be wrong. -1 = does not apply, or is not known. */
typedef struct ControlStatus {
        char thing[LIMIT_THING_NAME + 1];
        char version[32];
        char endpoint[CONTROL_TEXT_MAX];
        char summary[CONTROL_TEXT_MAX]; /* what `systemctl status` shows */
        char error[CONTROL_TEXT_MAX];   /* why not connected */
        char warning[CONTROL_TEXT_MAX]; /* of the certificate */
        bool connected;
        bool synced;             /* the cloud's list and the records of this device were compared */
        int64_t uptime;          /* of the agent */
        int64_t connection_time; /* connected, or not, for so long */
        int64_t retry_in;        /* not connected: the next attempt */
        int64_t paused_since;    /* epoch seconds */
} ControlStatus;

typedef struct ControlJob {
        char job_id[LIMIT_JOB_ID + 1];
        int64_t number, queued_at; /* -1: the cloud has not said it yet */
        ControlPhase phase;
        ProtoStatus status; /* in the cloud; REPORTING: the verdict; NONE = not known */
        int64_t since;      /* in this phase */
        int64_t resume_in;  /* DEFERRED */
        int64_t deadline_in; /* of the service */
        int64_t progress;   /* percent */
        char step[CONTROL_STEP_MAX]; /* "2/3 Install" */
        bool cancelling;
        ProtoDetails details; /* owned; of `job` only */
} ControlJob;

typedef struct ControlEnded {
        char job_id[LIMIT_JOB_ID + 1];
        int64_t number;
        ProtoStatus status; /* NONE = it was gone in the cloud */
        int64_t ago;
} ControlEnded;

typedef enum ControlType {
        CONTROL_REPLY_STATUS,  /* status, jobs in the cloud's order, ended (the newest first) */
        CONTROL_REPLY_JOB,     /* jobs: one, with its details */
        CONTROL_REPLY_HISTORY, /* ends, oldest first; more: another answer follows */
        CONTROL_REPLY_DONE,    /* text; paused_since in status */
        CONTROL_REPLY_ERROR,   /* error, text */
        CONTROL_TYPE_COUNT,
} ControlType;

typedef struct ControlReply {
        ControlType type;
        ControlStatus status;
        ControlJob *jobs; /* owned */
        size_t n_jobs;
        ControlEnded ended[CONTROL_ENDED_MAX];
        size_t n_ended;
        WireEnd *ends; /* owned; without key.thing */
        size_t n_ends;
        bool more;
        ControlError error;
        char text[CONTROL_TEXT_MAX]; /* for a person */
} ControlReply;

const char *control_verb_name(ControlVerb v);
const char *control_phase_name(ControlPhase p);
const char *control_error_name(ControlError e);

/* A status in which nothing is known. */
void control_status_init(ControlStatus *s);

/* Append one packet. Texts may be any bytes (cleaned, and cut to their size). 0, -EINVAL (outside the limits), -EMSGSIZE, -ENOMEM. */
int control_request_encode(const ControlRequest *q, Buf *ret) MUST_USE;
int control_reply_encode(const ControlReply *a, Buf *ret) MUST_USE;
/* Unknown members are ignored. 0, -EBADMSG with the member in e, -ENOMEM; *ret is then not written. */
int control_request_decode(const char *packet, size_t len, ControlRequest *ret, Error *e) MUST_USE;
int control_reply_decode(const char *packet, size_t len, ControlReply *ret, Error *e) MUST_USE;

void control_reply_done(ControlReply *a);
#define CLEANUP_REPLY __attribute__((cleanup(control_reply_done)))

/* What the agent calls its own socket, below its runtime directory, where no socket unit hands it one: short enough for a socket's
 * address whatever the thing's name. */
enum { CONTROL_NAME_MAX = 64 };
void control_socket_name(const char *thing, char ret[static CONTROL_NAME_MAX]);
