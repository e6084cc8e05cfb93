/* SPDX-License-Identifier: Apache-2.0 */
/* The Jobs service as a value. PURE: requests and operator verbs in, publications and events out; the time is an argument.
 * Facts: sections 1–5 of the protocol notes; what is not documented there is one option in ModelOptions. */
#pragma once

#include "proto/message.h"

typedef struct ModelOptions {
        unsigned listed_max;      /* entries in get/accepted and notify: LIMIT_PENDING_LISTED */
        bool empty_is_invalid;    /* a zero-length payload is InvalidJson rather than {} */
        bool send_thing_name;     /* thingName inside executions */
} ModelOptions;

typedef struct Model Model;

/* What the service publishes, in order. */
typedef struct ModelPublication {
        char topic[TOPIC_TEXT_MAX];
        char *payload; /* owned, NUL-terminated */
        size_t len;
} ModelPublication;

/* A change of one execution, for watchers. */
typedef struct ModelChange {
        JobKey key;
        ProtoStatus status; /* NONE = deleted */
        int64_t version;
        ProtoDetails details; /* owned */
} ModelChange;

typedef struct ModelOutput {
        ModelPublication *publication;
        size_t n_publications, cap_publications;
        ModelChange *change;
        size_t n_changes, cap_changes;
} ModelOutput;
void model_output_clear(ModelOutput *o);
void model_output_done(ModelOutput *o);

int model_new(const ModelOptions *options, Model **ret) MUST_USE; /* options NULL = defaults */
Model *model_free(Model *m);
DEFINE_CLEANUP(Model *, model_free)

/* `now`: microseconds of the service's own clock (epoch-based; may be scaled by the caller; never goes back). */

/* A publication of a device. `topic` anything the service's subscription delivers; what is not a request is ignored.
 * `force_code`: answer this error instead (fault injection), PROTO_CODE_NONE = normal. 0 or -ENOMEM. */
int model_request(Model *m, uint64_t now, const char *topic, const char *payload, size_t len, ProtoCode force_code,
                  ModelOutput *out) MUST_USE;

/* Operator verbs. 0, or -errno with a message that names code and cause in e: -EEXIST, -ENOENT (ResourceNotFound),
 * -EINVAL (InvalidRequest), -EPERM (InvalidStateTransition), -E2BIG (LimitExceeded). */
typedef struct ModelCreate {
        const char *thing, *job_id;
        const char *document; /* one JSON object, at most LIMIT_DOCUMENT bytes; copied */
        size_t document_len;
        int64_t in_progress_timeout_minutes; /* 0 = none, 1–10080 */
        int64_t retries;                     /* 0–10: on FAILED and, if a timeout is set, TIMED_OUT */
} ModelCreate;
/* The same job id may be created for several things, one call each (a job's targets); twice for one: -EEXIST. */
int model_create(Model *m, uint64_t now, const ModelCreate *c, ModelOutput *out, Error *e) MUST_USE;
int model_cancel(Model *m, uint64_t now, const char *thing, const char *job_id, bool force, ModelOutput *out,
                 Error *e) MUST_USE;
int model_delete(Model *m, uint64_t now, const char *thing, const char *job_id, bool force, ModelOutput *out,
                 Error *e) MUST_USE;

/* Timers: act on every deadline <= now; the next one (USEC_NEVER = none). */
int model_tick(Model *m, uint64_t now, ModelOutput *out) MUST_USE;
uint64_t model_deadline(const Model *m);

/* Look, for describe/list and for the simulation's checks. Latest execution when number is -1. NULL = none.
 * The pointer is valid until the next call that changes the model. */
const ProtoExecution *model_find(const Model *m, const char *thing, const char *job_id, int64_t number);
/* approximateSecondsBeforeTimedOut of an execution that model_find() or model_visit() showed; -1 = no timer runs. */
int64_t model_seconds_left(const ProtoExecution *x, uint64_t now);
/* Every execution, things and jobs in creation order; return false from the callback to stop. */
typedef bool (*ModelVisit)(const char *thing, const ProtoExecution *x, void *userdata);
void model_visit(const Model *m, const char *thing, ModelVisit visit, void *userdata);
