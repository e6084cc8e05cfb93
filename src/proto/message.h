/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, replies and notifications of the Jobs protocol, decoded and encoded, for both sides. PURE.
 * Strict JSON around the document (base/json.h), null as absent, unknown members ignored, 64-bit numbers (also as
 * strings of digits where the protocol allows them). */
#pragma once

#include "base/buf.h"
#include "proto/topic.h"

/* ---- device → service ---- */

typedef struct ProtoRequest {
        TopicKind kind; /* GET_PENDING, START_NEXT, DESCRIBE, UPDATE */
        char job_id[LIMIT_JOB_ID + 1]; /* DESCRIBE (also "$next"), UPDATE */
        bool has_token;
        char token[LIMIT_CLIENT_TOKEN + 1]; /* "" is a token too */
        ProtoStatus status;                 /* UPDATE */
        bool has_details;                   /* UPDATE, START_NEXT: absent leaves the stored map alone */
        ProtoDetails details;
        int64_t expected_version; /* UPDATE; -1 = absent */
        int64_t execution_number; /* UPDATE, DESCRIBE; -1 = absent */
        bool include_state, include_document; /* DESCRIBE: include_document is true when absent */
        int64_t step_timeout;                 /* minutes; 0 = absent, -1 = discard the timer (UPDATE only) */
} ProtoRequest;

void proto_request_init(ProtoRequest *r, TopicKind kind); /* the absent values above */
void proto_request_done(ProtoRequest *r);
#define CLEANUP_REQUEST __attribute__((cleanup(proto_request_done)))

/* Checks every limit. 0 and topic + payload, or -EINVAL with the member's name in e, or -ENOMEM (nothing is written).
 * Members that the kind does not have are not looked at. *ret_payload is replaced. */
int proto_request_encode(const ProtoRequest *r, const char *thing, char ret_topic[static TOPIC_TEXT_MAX],
                         Buf *ret_payload, Error *e) MUST_USE;

/* The service's side. 0, or what to answer: *ret_code (InvalidJson, InvalidRequest) with the message in e and
 * -EINVAL; r->token is set if it could be read. An empty payload counts as {} . InvalidRequest also for JSON past a
 * limit of json.h; a topic that is no request's: InvalidTopic; no memory: InternalError. In statusDetails even null is
 * no string. QUEUED passes (the state machine refuses it), the other statuses a device may not set do not. */
int proto_request_decode(const Topic *t, const char *payload, size_t len, ProtoRequest *ret, ProtoCode *ret_code,
                         Error *e) MUST_USE;

/* ---- service → device ---- */

/* A summary (lists) or a whole execution. Strings are inside or owned by `details`; `document` points into the payload
 * that was decoded (borrowed) or into the model (when encoding). */
typedef struct ProtoExecution {
        char job_id[LIMIT_JOB_ID + 1];
        ProtoStatus status; /* NONE if absent or not known to this version */
        ProtoDetails details;
        int64_t queued_at, started_at, last_updated_at; /* epoch seconds; 0 = absent */
        int64_t version;                                 /* -1 = absent */
        int64_t number;                                  /* -1 = absent */
        int64_t seconds_left;                            /* approximateSecondsBeforeTimedOut; -1 = absent */
        const char *document;                            /* bytes as they came; NULL = absent */
        size_t document_len;
        const char *thing; /* encoding: thingName to send, borrowed; NULL = none. Never set by decoding */
} ProtoExecution;

void proto_execution_init(ProtoExecution *x); /* the absent values above */

typedef struct ProtoMessage {
        TopicKind kind;
        TopicReply reply;
        char job_id[LIMIT_JOB_ID + 1]; /* from the topic */
        bool has_token;
        char token[LIMIT_CLIENT_TOKEN + 1];
        int64_t timestamp; /* epoch seconds; 0 = absent */

        /* GET_PENDING accepted, NOTIFY: IN_PROGRESS entries first, each with its status set. Owned array. */
        ProtoExecution *list;
        size_t n_list;

        /* START_NEXT / DESCRIBE accepted, NOTIFY_NEXT */
        bool has_execution;
        ProtoExecution execution;

        /* UPDATE accepted with includeJobExecutionState; rejected with InvalidStateTransition or VersionMismatch */
        bool has_state;
        ProtoStatus state_status;
        ProtoDetails state_details;
        int64_t state_version;
        const char *document; /* UPDATE accepted with includeJobDocument; borrowed */
        size_t document_len;

        ProtoCode code; /* rejected */
        char message[256];

        char *owned_document; /* freed by proto_message_done() */
        char passed_over[256]; /* decoding: the first list entry that was left out, and why; "" = none */
} ProtoMessage;

void proto_message_init(ProtoMessage *m, TopicKind kind, TopicReply reply); /* the absent values above */
void proto_message_done(ProtoMessage *m);
#define CLEANUP_MESSAGE __attribute__((cleanup(proto_message_done)))

/* The device's side: a reply or notification. `t` from topic_parse(). The payload must outlive *ret.
 * 0, or -EBADMSG / -EINVAL / -E2BIG / -ENOMEM with topic-independent text in e ("execution.jobId: missing").
 * The rest of a message survives what is odd in a part of it:
 * - a list is cut at LIMIT_PENDING_LISTED_MAX, and an entry that cannot be used is left out: see passed_over;
 * - notify: statuses other than IN_PROGRESS and QUEUED are ignored; an unknown status elsewhere is NONE;
 * - statusDetails: what is no string, and pairs past LIMIT_DETAILS_PAIRS, are left out;
 * - a rejection without a code is UNKNOWN; its message is made printable and cut;
 * - an empty `execution` counts as none.
 * A jobDocument given as a string that holds JSON (as over HTTPS) is unescaped into memory that *ret owns; `document`
 * then points there. One that cannot be unescaped is left as it came, quotes and all. */
int proto_message_decode(const Topic *t, const char *payload, size_t len, ProtoMessage *ret, Error *e) MUST_USE;

/* The service's side: payload of a reply or notification (no limit but memory). In a list what is not IN_PROGRESS is
 * sent as queued. 0, -ENOMEM, -EINVAL for a kind and reply that do not go together; *ret_payload is replaced. */
int proto_message_encode(const ProtoMessage *m, Buf *ret_payload) MUST_USE;
