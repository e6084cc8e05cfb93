/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation of agent and runner (architecture section 2): one JSON message per packet of a sequential-packet
 * socket; a `prepare` has the job document's bytes behind its JSON and a line feed. PURE: bytes in, bytes out.
 * The runner believes nothing: wire_decode() checks every member. */
#pragma once

#include "base/buf.h"
#include "proto/types.h"

enum {
        WIRE_PACKET_MAX = 96 * 1024, /* the largest packet either side sends or takes */
        WIRE_RUNS_MAX = 64,          /* entries of one `runs` packet; more follow in further packets */
        WIRE_CLAIM_MAX = 9,          /* 8 characters [A-Za-z0-9] and NUL */
        WIRE_REASON_MAX = 512,
        WIRE_PATH_MAX = 256,
        WIRE_STEPS_MAX = 65535,
        WIRE_FIRST_PACKET_SEC = 5, /* a connection without a valid first packet is closed after this */
        WIRE_GIVE_UP_SEC = 30,     /* the device gives up so long before the service does, or at half of what is left */
        WIRE_ENDS_MAX = 16,          /* entries of one `ends` packet; more follow */
        WIRE_HISTORY_MAX = 100000,   /* the newest so many executions may be asked for */
};
#define WIRE_SECONDS_MAX (INT64_MAX / 2)          /* max_seconds */
#define WIRE_WAIT_MAX    (UINT64_C(366) * 86400)  /* seconds */
#define WIRE_DOCUMENT_BYTES_MAX (INT32_MAX)       /* document_len of a document too large to be sent */

typedef enum WireType {
        WIRE_NONE,
        /* agent → runner */
        WIRE_INVENTORY, /* {thing} */
        WIRE_PREPARE,   /* key, document */
        WIRE_GO,        /* the claim was accepted */
        WIRE_ATTACH,    /* key; like prepare, the document comes from the record */
        WIRE_CANCEL,    /* key; the execution is over in the cloud: stop, answer with result CANCELED; by_operator, by_deadline: with a
                         * verdict that is to be reported */
        WIRE_ACK,       /* key; the result was accepted or refused for good: shrink to a tombstone. No answer: EOF */
        WIRE_DROP,      /* key; the claim was refused: forget the record. Started after all: stop, tombstone. No answer: EOF */
        WIRE_TOLD,      /* the cloud knows of the reboot, or cannot be told: go on with it */
        WIRE_DEADLINE,  /* seconds: so long does the service wait for the execution; the newest one counts */
        WIRE_HISTORY,  /* {thing}, count: the executions that are over, the newest so many */
        WIRE_PAUSE,    /* {thing}: from now on, and across restarts, no run that was not begun is prepared */
        WIRE_RESUME,   /* {thing}: the opposite */
        /* runner → agent */
        WIRE_RUNS,     /* answer to inventory: runs, more, paused_since */
        WIRE_PLAN,     /* durable: claim, phase, steps, max_seconds, details (for the claim update) */
        WIRE_REJECTED, /* for good: reason, path */
        WIRE_UNABLE,   /* not now: reason; because it is paused: paused_since */
        WIRE_NO_RECORD, /* answer to attach and cancel: neither a record nor a tombstone has this key */
        WIRE_ATTACHED, /* the run is live and past `go`: claim, state */
        WIRE_PROGRESS, /* details */
        WIRE_RESULT,   /* status, details. CANCELED: nothing is to be sent to the cloud */
        WIRE_DEFERRED, /* durable: seconds until the same step is due again, max_seconds, details. Then EOF; a `prepare` with the
                        * document read afresh goes on with it, once it is due */
        WIRE_REBOOTING, /* durable: max_seconds, details. The device reboots when `told` came, or after a while without it, and
                         * when no other run is left; nothing new may start */
        WIRE_PAUSED,   /* answer to pause and resume, durable: paused_since */
        WIRE_ENDS,     /* answer to history: ends, oldest first, more */
        WIRE_TYPE_COUNT,
} WireType;

/* What a record says of its run. */
typedef enum WireRunState {
        WIRE_RUN_PREPARED, /* planned, no step ever started */
        WIRE_RUN_STARTED,  /* a step was started and no result is known: live or interrupted */
        WIRE_RUN_DEFERRED, /* the step is to be tried again, in `seconds` */
        WIRE_RUN_REBOOTING, /* the step asked for a reboot that has not come yet: live, or its runner was killed */
        WIRE_RUN_REBOOTED, /* it came: an `attach` goes on with the same step, without a claim and without `go` */
        WIRE_RUN_RESULT,   /* a verdict waits for ack */
        WIRE_RUN_STATE_COUNT,
} WireRunState;

typedef enum WirePhase { /* IOT_JOB_PHASE */
        WIRE_PHASE_RUN,
        WIRE_PHASE_RETRY,
        WIRE_PHASE_POST_REBOOT,
        WIRE_PHASE_RERUN,
        WIRE_PHASE_COUNT,
} WirePhase;

typedef struct WireRun {
        JobKey key;
        WireRunState state;
        char claim[WIRE_CLAIM_MAX];
        uint64_t seconds; /* DEFERRED: until it is due */
} WireRun;

/* What is kept of an execution that is over. */
typedef struct WireEnd {
        JobKey key;
        int64_t at; /* epoch seconds */
        ProtoStatus status;
        ProtoDetails details; /* owned: claim, step, reason, exitCode, signal */
} WireEnd;
void wire_ends_free(WireEnd *ends, size_t n); /* with their details; NULL is fine */

typedef struct WireMessage {
        WireType type;
        JobKey key; /* INVENTORY, HISTORY, PAUSE, RESUME: only key.thing */
        /* PREPARE: borrowed. With document_len > LIMIT_DOCUMENT only the length travels: decoded as NULL, it stands for a
         * document too large to be sent. */
        const char *document;
        size_t document_len;
        char claim[WIRE_CLAIM_MAX];
        WirePhase phase;
        uint32_t steps;
        uint64_t max_seconds; /* longest the remaining plan can take, with what is waited for before it; 0 = no bound */
        uint64_t seconds;     /* DEFERRED, DEADLINE */
        WireRunState state;
        ProtoStatus status;
        ProtoDetails details; /* owned */
        char reason[WIRE_REASON_MAX];
        char path[WIRE_PATH_MAX]; /* JSON path of the fault, may be "" */
        WireRun *runs;            /* owned */
        size_t n_runs;
        bool more; /* another `runs` or `ends` packet follows */
        WireEnd *ends; /* owned */
        size_t n_ends;
        uint32_t count;       /* HISTORY */
        bool by_operator;     /* CANCEL */
        bool by_deadline;     /* CANCEL of a deferred run: the service gives up before it is due */
        int64_t paused_since; /* RUNS, UNABLE, PAUSED: epoch seconds; 0 = not paused */
} WireMessage;

const char *wire_type_name(WireType t);
const char *wire_run_state_name(WireRunState s);
const char *wire_phase_name(WirePhase p);
bool wire_claim_valid(const char *claim);
/* When the device gives up an execution that the service gives up in so many seconds: microseconds from now on. */
uint64_t wire_give_up_after(uint64_t seconds);
bool wire_result_status_valid(ProtoStatus s); /* SUCCEEDED, FAILED, REJECTED, CANCELED */

/* Append one packet. A key must be whole (number and queued_at at least 1), details within the published limits, a reason
 * not empty; reason and path may be any bytes (cleaned and cut as text_sanitize() does).
 * 0, -EINVAL (not a message either side could ever send), -EMSGSIZE, -ENOMEM; nothing is appended then. */
int wire_encode(const WireMessage *m, Buf *ret) MUST_USE;
/* Takes what wire_encode() makes, with unknown members ignored. 0, or -EBADMSG with the member's name in e, -ENOMEM;
 * *ret is then not written. `document` points into `packet`. */
int wire_decode(const char *packet, size_t len, WireMessage *ret, Error *e) MUST_USE;

int wire_message_copy(WireMessage *to, const WireMessage *from) MUST_USE; /* document pointer is copied as is */
void wire_message_done(WireMessage *m);
#define CLEANUP_WIRE __attribute__((cleanup(wire_message_done)))
