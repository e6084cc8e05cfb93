/* SPDX-License-Identifier: Apache-2.0 */
/* What the Jobs service remembers: things, their jobs, the executions, and the order in which each question finds
 * them without a walk. PURE: data structures only, no rule of the protocol; model.c owns those. */
#pragma once

#include "proto/message.h"

enum {
        STORE_JOBS_MAX = 1000000,             /* jobs of all things together */
        STORE_DOCUMENT_BYTES_MAX = 256 << 20, /* job documents together */
};

typedef struct IndexNode {
        struct IndexNode *next; /* same bucket */
        uint64_t hash;
} IndexNode;

typedef struct Index {
        IndexNode **bucket;
        size_t n_buckets, n_nodes;
} Index;

typedef struct SimThing SimThing;
typedef struct SimJob SimJob;
typedef struct SimExecution SimExecution;

/* Executions of one status, by sequence: queuedAt never goes back, so this is by queuedAt, ties as created. */
typedef struct PendingList {
        SimExecution *head, *tail;
} PendingList;

struct SimThing {
        IndexNode node; /* first: the index hands out nodes */
        char name[LIMIT_THING_NAME + 1];
        SimThing *prev, *next; /* creation order */
        SimJob *first_job, *last_job;
        PendingList in_progress, queued;
};

struct SimJob { /* one job on one thing */
        IndexNode node;
        char id[LIMIT_JOB_ID + 1];
        SimThing *thing;
        SimJob *prev, *next; /* creation order within the thing */
        char *document;
        size_t document_len;
        uint64_t in_progress_timeout_usec; /* 0 = none */
        int64_t retries;
        SimExecution *execution[LIMIT_RETRIES + 1]; /* executionNumber 1 at [0] */
        size_t n_executions;
};

struct SimExecution {
        ProtoExecution x; /* first: model_find() shows it; seconds_left stays -1 here */
        SimJob *job;
        uint64_t sequence;         /* 1…, of creation, over all things; never used twice */
        SimExecution *prev, *next; /* in the list of its status */
        uint64_t in_progress_deadline, step_deadline; /* USEC_NEVER = not running */
        size_t timer_at;                              /* place in the heap, SIZE_MAX = not in it */
};

typedef struct Store {
        Index things, jobs;
        SimThing *first_thing, *last_thing;
        SimExecution **timer; /* binary heap: the earlier deadline first, then the older execution */
        size_t n_timers, cap_timers, n_executions;
        size_t document_bytes;
        uint64_t last_sequence;
} Store;

void store_done(Store *s);

/* NULL = none. `thing` may be NULL (and then has no job). */
SimThing *store_find_thing(const Store *s, const char *name);
SimJob *store_find_job(const Store *s, const SimThing *thing, const char *id);
/* number -1 = the latest. */
SimExecution *job_find_execution(const SimJob *job, int64_t number);

/* A job with no execution yet on a thing that is made if it has to be. Names must be valid. 0, -ENOMEM, or -E2BIG:
 * one of the limits above. */
int store_add_job(Store *s, const char *thing, const char *id, const char *document, size_t document_len,
                  SimJob **ret) MUST_USE;
/* The job with its executions and, with its last job, the thing. */
void store_remove_job(Store *s, SimJob *job);

/* The next execution of the job, outside every list, with room for its timer, so that arming one cannot fail.
 * 0, -ENOMEM. At most LIMIT_RETRIES + 1 for a job. */
int store_add_execution(Store *s, SimJob *job, SimExecution **ret) MUST_USE;

/* The lists follow x.status: leave before it is changed, join after. Terminal ones are in none. */
void execution_leave_list(SimExecution *x);
void execution_join_list(SimExecution *x);
SimExecution *thing_first_pending(const SimThing *thing); /* NULL thing is fine */
SimExecution *pending_after(const SimExecution *x);       /* the next of the whole pending list */

/* The earlier of both timers. */
uint64_t execution_deadline(const SimExecution *x);
/* To be called after either deadline was changed. */
void store_update_timer(Store *s, SimExecution *x);
SimExecution *store_first_timer(const Store *s); /* NULL = none runs */
