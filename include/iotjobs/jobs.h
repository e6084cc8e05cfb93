/* SPDX-License-Identifier: Apache-2.0 */
/* libiotjobs: what a device says and hears. Subscriptions, requests, replies.
 *
 * Calls of the AWS IoT Device SDK v1 for Python and their names here:
 *   createJobSubscription       iotjobs_client_create_job_subscription
 *   createJobSubscriptionAsync  iotjobs_client_create_job_subscription_async
 *   sendJobsQuery               iotjobs_client_send_jobs_query
 *   sendJobsDescribe            iotjobs_client_send_jobs_describe
 *   sendJobsStartNext           iotjobs_client_send_jobs_start_next
 *   sendJobsUpdate              iotjobs_client_send_jobs_update
 *
 * Requests carry a unique clientToken unless the caller gives one. Limits of the service are checked before anything is sent.
 *
 * The v1 mode (IotJobsOptions.v1) sends what that SDK sends, for programs that replace it byte for byte: one constant token
 * (the client id), numbers as it writes them, members left out as it leaves them out, a job id required in subscriptions to
 * DESCRIBE and UPDATE topics ("" counts as one there, and is refused), the reply type UNRECOGNIZED taken for REQUEST, an
 * offline queue that is on by default. What the service would refuse is refused in this mode too, instead of being sent. */
#ifndef IOTJOBS_JOBS_H
#define IOTJOBS_JOBS_H

#include <iotjobs/client.h>

IOTJOBS_BEGIN

/* ---- what comes ---- */

/* One pair of statusDetails: a key of [a-zA-Z0-9:_-]{1,128}, a value of 1 to 1024 printable characters. At most ten. */
typedef struct IotJobsDetail {
        const char *key;
        const char *value;
} IotJobsDetail;

/* A job execution: whole, or a summary of a list (no status details, no document). Times are epoch seconds, 0 = absent. */
typedef struct IotJobsExecution {
        const char *job_id;
        IotJobsStatus status; /* UNKNOWN: one that this version does not know */
        const IotJobsDetail *details;
        size_t n_details;
        int64_t queued_at, started_at, last_updated_at;
        int64_t version;          /* versionNumber; -1 = absent */
        int64_t execution_number; /* -1 = absent */
        int64_t seconds_left;     /* approximateSecondsBeforeTimedOut; -1 = absent */
        const char *document;     /* the job document's bytes as they came, JSON but not checked; NULL = absent. Not terminated */
        size_t document_len;
} IotJobsExecution;

typedef struct IotJobsMessage {
        const char *topic;
        const void *payload; /* as it came */
        size_t payload_len;

        IotJobsTopicType type;
        IotJobsReplyType reply;
        const char *job_id;       /* of the topic; "" if it has none */
        const char *client_token; /* NULL = absent */
        int64_t timestamp;        /* epoch seconds; 0 = absent */

        /* GET_PENDING accepted, NOTIFY: first those IN_PROGRESS, each with its status. At most 15; a list of 10 or more may have
         * been cut by the service. */
        const IotJobsExecution *pending;
        size_t n_pending;

        /* START_NEXT and DESCRIBE accepted, NOTIFY_NEXT: NULL = no job is pending. */
        const IotJobsExecution *execution;

        /* UPDATE accepted, asked for by include_state; rejected with INVALID_STATE_TRANSITION or VERSION_MISMATCH: the state the
         * service has (job_id, status, details, version, and document where include_document asked for it; status is
         * NOT_SET where only the document came). NULL = absent. */
        const IotJobsExecution *state;

        IotJobsCode code;          /* rejected */
        const char *code_text;     /* as it came, made printable; "" if not rejected */
        const char *error_message; /* for a log only; "" if none */

        /* The JSON was malformed or not a Jobs message: what is wrong with it, and nothing of the above but topic, payload,
         * type, reply and job_id. NULL: all is well. */
        const char *fault;
        /* A list entry or detail that was left out because it could not be used, and why. NULL: none. */
        const char *passed_over;
} IotJobsMessage;

/* Called for each message that the subscription's filter takes. The client's own requests, which a broker that follows the MQTT
 * standard brings back to a subscriber of "#", are passed over; only a subscription with reply type REQUEST to just that topic
 * gets them, with nothing set but topic, payload, type, reply and job_id. So is what a broker has retained: the service never
 * asks for that (a DROPPED event says so). A message is handed to every subscription that takes it, once
 * each, in the order they were made. */
typedef void (*IotJobsMessageHandler)(IotJobsClient *c, const IotJobsMessage *message, void *userdata);

/* ---- subscriptions ---- */

/* What SUBACK said: granted QoS 0 or 1, or 128 and above: refused (MQTT 5: the reason code), and the subscription is not kept.
 * -ETIMEDOUT: none came (shared handle), not kept either; -ECANCELED: it was removed. Called once for each call of ..._async,
 * unless the client is freed before. */
typedef void (*IotJobsAckHandler)(IotJobsClient *c, int packet_id, int granted, void *userdata);

/* job_id: NULL or "" = none, which for DESCRIBE and UPDATE means every job ("+"), an extension; in v1 mode it is required there.
 * "$next" and "+" are taken. WILDCARD takes everything of the thing, whatever reply and job_id are.
 * The same filter twice replaces the handler. A granted subscription is made again at each reconnect.
 *
 * Waits for SUBACK: 0; -EACCES: refused (text has the code; the filter is not kept); -ETIMEDOUT, -ENOTCONN: not kept; -EINVAL (no such
 * topic: nothing was sent), -ENOSPC (48 subscriptions; AWS takes 50 a connection), -ECANCELED (the client is being freed). */
int iotjobs_client_create_job_subscription(IotJobsClient *c, IotJobsMessageHandler handler, void *userdata,
                                           IotJobsTopicType type, IotJobsReplyType reply, const char *job_id,
                                           IotJobsError *e) IOTJOBS_MUST_USE;
/* An id (1–65535) that `ack` gets too, or negative errno and no callback. Offline: the subscription is made at the next connect,
 * together with the others and before ONLINE is told; 0 is returned then, also before the first connect, and ack comes with
 * 0. A connection that breaks before the answer: it is asked for again at the next one, and ack comes then. ack may be NULL. */
int iotjobs_client_create_job_subscription_async(IotJobsClient *c, IotJobsAckHandler ack, IotJobsMessageHandler handler,
                                                 void *userdata, IotJobsTopicType type, IotJobsReplyType reply,
                                                 const char *job_id, IotJobsError *e) IOTJOBS_MUST_USE;
/* Take it back: no message comes to its handler after the return (but a callback that runs just now ends). 0, -ENOENT, -EBUSY
 * (one of subscribe_all). */
int iotjobs_client_remove_job_subscription(IotJobsClient *c, IotJobsTopicType type, IotJobsReplyType reply,
                                           const char *job_id, IotJobsError *e);
/* Everything that a device listens to, as an agent wants it: notify, notify-next and both replies of all four requests, each
 * once (10 filters, two SUBSCRIBE packets). None is given up: the client is ONLINE only while all are granted, and a refused one
 * is asked again slowly. One handler for all. Before connecting; 0, -EISCONN. */
int iotjobs_client_subscribe_all(IotJobsClient *c, IotJobsMessageHandler handler, void *userdata,
                                 IotJobsError *e) IOTJOBS_MUST_USE;

/* ---- requests. Each returns
 *   0   handed to the connection. It is not acceptance by the service: that comes as a reply;
 *   1   kept for the next connection (configure_offline_queue);
 *   -ENOTCONN (offline, and nothing is kept), -ENOBUFS (too much waits), -EINVAL / -ERANGE / -E2BIG (which value, and what is
 *   allowed; nothing was sent), -ENOMEM.
 * None of them waits for the network. ---- */

enum { IOTJOBS_TOKEN_MAX = 128 + 1 }; /* what the service is known to take; own tokens have at most 40 */

typedef struct IotJobsRequest { /* what requests have in common; NULL or zeros = defaults */
        const char *client_token;         /* at most 128 bytes; NULL: a unique one (v1: the client id) */
        char used_token[IOTJOBS_TOKEN_MAX]; /* out: the token that was sent, "" = none */
} IotJobsRequest;

/* GET_PENDING, START_NEXT (without details), DESCRIBE of job_id or "$next". Other types: -EINVAL. */
int iotjobs_client_send_jobs_query(IotJobsClient *c, IotJobsRequest *common, IotJobsTopicType type, const char *job_id,
                                   IotJobsError *e) IOTJOBS_MUST_USE;
/* job_id may be "$next". execution_number 0 or less: the latest. */
int iotjobs_client_send_jobs_describe(IotJobsClient *c, IotJobsRequest *common, const char *job_id,
                                      int64_t execution_number, bool include_document, IotJobsError *e) IOTJOBS_MUST_USE;

typedef struct IotJobsStartNext { /* zero-initialise */
        const IotJobsDetail *details; /* NULL = leave them out */
        size_t n_details;
        const char *details_json;     /* instead of details: a JSON object whose values are strings */
        bool has_step_timeout;
        int64_t step_timeout_minutes; /* 1–10080 */
} IotJobsStartNext;
int iotjobs_client_send_jobs_start_next(IotJobsClient *c, IotJobsRequest *common, const IotJobsStartNext *p,
                                        IotJobsError *e) IOTJOBS_MUST_USE;

typedef struct IotJobsUpdate { /* zero-initialise */
        const char *job_id;
        IotJobsStatus status; /* IN_PROGRESS, SUCCEEDED, FAILED or REJECTED: what a device may set */
        const IotJobsDetail *details; /* replace the stored ones as a whole; NULL = leave those alone */
        size_t n_details;
        const char *details_json; /* instead of details: a JSON object whose values are strings */
        int64_t expected_version; /* 0 or less = none */
        int64_t execution_number; /* 0 or less = the latest */
        bool include_state;       /* includeJobExecutionState */
        bool include_document;    /* includeJobDocument */
        bool has_step_timeout;
        int64_t step_timeout_minutes; /* 1–10080, or -1: discard the timer */
} IotJobsUpdate;
int iotjobs_client_send_jobs_update(IotJobsClient *c, IotJobsRequest *common, const IotJobsUpdate *p,
                                    IotJobsError *e) IOTJOBS_MUST_USE;

IOTJOBS_END
#endif
