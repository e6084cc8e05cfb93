/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/model-store.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- index: a chained hash, as full as it has buckets at most ---- */

static uint64_t hash_bytes(uint64_t seed, const void *data, size_t len) {
        const unsigned char *p = data;
        uint64_t h = seed ^ UINT64_C(0xcbf29ce484222325); /* FNV-1a */

        for (size_t i = 0; i < len; i++)
                h = (h ^ p[i]) * UINT64_C(0x100000001b3);
        return h ^ (h >> 29);
}

static uint64_t thing_hash(const char *name) {
        return hash_bytes(0, name, strlen(name));
}

static uint64_t job_hash(const SimThing *thing, const char *id) {
        return hash_bytes(thing->node.hash, id, strlen(id));
}

static IndexNode *index_bucket(const Index *index, uint64_t hash) {
        return index->n_buckets > 0 ? index->bucket[hash & (index->n_buckets - 1)] : NULL;
}

static int index_reserve(Index *index) {
        size_t n = MAX_OF(index->n_buckets * 2, (size_t) 64);
        IndexNode **bucket;

        if (index->n_nodes < index->n_buckets)
                return 0;
        bucket = calloc(n, sizeof *bucket);
        if (!bucket)
                return -ENOMEM;
        for (size_t i = 0; i < index->n_buckets; i++)
                for (IndexNode *node = index->bucket[i], *next; node; node = next) {
                        IndexNode **to = &bucket[node->hash & (n - 1)];

                        next = node->next;
                        node->next = *to;
                        *to = node;
                }
        free(index->bucket);
        index->bucket = bucket;
        index->n_buckets = n;
        return 0;
}

/* After index_reserve(). */
static void index_add(Index *index, IndexNode *node) {
        IndexNode **to = &index->bucket[node->hash & (index->n_buckets - 1)];

        node->next = *to;
        *to = node;
        index->n_nodes++;
}

static void index_remove(Index *index, IndexNode *node) {
        IndexNode **at = &index->bucket[node->hash & (index->n_buckets - 1)];

        while (*at != node)
                at = &(*at)->next;
        *at = node->next;
        index->n_nodes--;
}

/* ---- things and jobs ---- */

SimThing *store_find_thing(const Store *s, const char *name) {
        uint64_t hash = thing_hash(name);

        for (IndexNode *node = index_bucket(&s->things, hash); node; node = node->next) {
                SimThing *thing = (SimThing *) node;

                if (node->hash == hash && strcmp(thing->name, name) == 0)
                        return thing;
        }
        return NULL;
}

SimJob *store_find_job(const Store *s, const SimThing *thing, const char *id) {
        uint64_t hash;

        if (!thing)
                return NULL;
        hash = job_hash(thing, id);
        for (IndexNode *node = index_bucket(&s->jobs, hash); node; node = node->next) {
                SimJob *job = (SimJob *) node;

                if (node->hash == hash && job->thing == thing && strcmp(job->id, id) == 0)
                        return job;
        }
        return NULL;
}

SimExecution *job_find_execution(const SimJob *job, int64_t number) {
        if (!job || job->n_executions == 0)
                return NULL;
        if (number == -1)
                return job->execution[job->n_executions - 1];
        if (number < 1 || (uint64_t) number > job->n_executions)
                return NULL;
        return job->execution[number - 1];
}

static int store_get_thing(Store *s, const char *name, SimThing **ret) {
        SimThing *thing = store_find_thing(s, name);
        size_t len = strlen(name);

        if (!thing) {
                assert(len <= LIMIT_THING_NAME);
                if (index_reserve(&s->things) < 0)
                        return -ENOMEM;
                thing = calloc(1, sizeof *thing);
                if (!thing)
                        return -ENOMEM;
                memcpy(thing->name, name, len + 1);
                thing->node.hash = thing_hash(name);
                index_add(&s->things, &thing->node);
                thing->prev = s->last_thing;
                *(thing->prev ? &thing->prev->next : &s->first_thing) = thing;
                s->last_thing = thing;
        }
        *ret = thing;
        return 0;
}

static void store_remove_thing_if_empty(Store *s, SimThing *thing) {
        if (thing->first_job)
                return;
        index_remove(&s->things, &thing->node);
        *(thing->prev ? &thing->prev->next : &s->first_thing) = thing->next;
        *(thing->next ? &thing->next->prev : &s->last_thing) = thing->prev;
        free(thing);
}

static int job_new(const char *id, const char *document, size_t document_len, SimJob **ret) {
        SimJob *job = calloc(1, sizeof *job);
        size_t len = strlen(id);

        assert(len <= LIMIT_JOB_ID);
        if (!job)
                return -ENOMEM;
        job->document = malloc(document_len + 1);
        if (!job->document) {
                free(job);
                return -ENOMEM;
        }
        memcpy(job->document, document, document_len);
        job->document[document_len] = '\0';
        job->document_len = document_len;
        memcpy(job->id, id, len + 1);
        *ret = job;
        return 0;
}

int store_add_job(Store *s, const char *thing_name, const char *id, const char *document, size_t document_len,
                  SimJob **ret) {
        SimThing *thing = NULL;
        SimJob *job;
        int r;

        if (s->jobs.n_nodes >= STORE_JOBS_MAX || document_len > STORE_DOCUMENT_BYTES_MAX - s->document_bytes)
                return -E2BIG;
        r = job_new(id, document, document_len, &job);
        if (r < 0)
                return r;
        r = index_reserve(&s->jobs);
        if (r == 0)
                r = store_get_thing(s, thing_name, &thing);
        if (r < 0) {
                free(job->document);
                free(job);
                return r;
        }
        job->thing = thing;
        job->node.hash = job_hash(thing, id);
        index_add(&s->jobs, &job->node);
        s->document_bytes += document_len;
        job->prev = thing->last_job;
        *(job->prev ? &job->prev->next : &thing->first_job) = job;
        thing->last_job = job;
        *ret = job;
        return 0;
}

static void store_free_execution(Store *s, SimExecution *x) {
        execution_leave_list(x);
        x->in_progress_deadline = x->step_deadline = USEC_NEVER;
        store_update_timer(s, x);
        proto_details_done(&x->x.details);
        free(x);
        s->n_executions--;
}

void store_remove_job(Store *s, SimJob *job) {
        SimThing *thing = job->thing;

        for (size_t i = 0; i < job->n_executions; i++)
                store_free_execution(s, job->execution[i]);
        index_remove(&s->jobs, &job->node);
        *(job->prev ? &job->prev->next : &thing->first_job) = job->next;
        *(job->next ? &job->next->prev : &thing->last_job) = job->prev;
        s->document_bytes -= job->document_len;
        free(job->document);
        free(job);
        store_remove_thing_if_empty(s, thing);
}

void store_done(Store *s) {
        while (s->first_thing) {
                SimThing *thing = s->first_thing;

                if (thing->first_job)
                        store_remove_job(s, thing->first_job);
                else
                        store_remove_thing_if_empty(s, thing);
        }
        free(s->things.bucket);
        free(s->jobs.bucket);
        free(s->timer);
        *s = (Store){};
}

/* ---- executions and their lists ---- */

/* One place in the heap for each execution there is: arming a timer cannot fail. */
static int store_reserve_timer(Store *s) {
        size_t cap = MAX_OF(s->cap_timers * 2, (size_t) 64);
        SimExecution **timer;

        if (s->n_executions < s->cap_timers)
                return 0;
        timer = reallocarray(s->timer, cap, sizeof *timer);
        if (!timer)
                return -ENOMEM;
        s->timer = timer;
        s->cap_timers = cap;
        return 0;
}

int store_add_execution(Store *s, SimJob *job, SimExecution **ret) {
        SimExecution *x;

        assert(job->n_executions < ELEMENTSOF(job->execution));
        if (store_reserve_timer(s) < 0)
                return -ENOMEM;
        x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        memcpy(x->x.job_id, job->id, sizeof x->x.job_id);
        x->x.seconds_left = -1;
        x->x.document = job->document;
        x->x.document_len = job->document_len;
        x->job = job;
        x->sequence = ++s->last_sequence;
        x->in_progress_deadline = x->step_deadline = USEC_NEVER;
        x->timer_at = SIZE_MAX;
        job->execution[job->n_executions++] = x;
        x->x.number = (int64_t) job->n_executions;
        s->n_executions++;
        *ret = x;
        return 0;
}

static PendingList *execution_list(const SimExecution *x) {
        SimThing *thing = x->job->thing;

        if (x->x.status == PROTO_STATUS_IN_PROGRESS)
                return &thing->in_progress;
        return x->x.status == PROTO_STATUS_QUEUED ? &thing->queued : NULL;
}

void execution_leave_list(SimExecution *x) {
        PendingList *list = execution_list(x);

        if (!list)
                return;
        *(x->prev ? &x->prev->next : &list->head) = x->next;
        *(x->next ? &x->next->prev : &list->tail) = x->prev;
        x->prev = x->next = NULL;
}

/* New executions and those started in order go to the end, those started in reverse to the front: one step each. */
void execution_join_list(SimExecution *x) {
        PendingList *list = execution_list(x);
        SimExecution *before;

        if (!list)
                return;
        before = list->tail;
        if (list->head && list->head->sequence > x->sequence)
                before = NULL;
        while (before && before->sequence > x->sequence)
                before = before->prev;
        x->prev = before;
        x->next = before ? before->next : list->head;
        *(x->prev ? &x->prev->next : &list->head) = x;
        *(x->next ? &x->next->prev : &list->tail) = x;
}

SimExecution *thing_first_pending(const SimThing *thing) {
        if (!thing)
                return NULL;
        return thing->in_progress.head ? thing->in_progress.head : thing->queued.head;
}

SimExecution *pending_after(const SimExecution *x) {
        if (x->next || x->x.status != PROTO_STATUS_IN_PROGRESS)
                return x->next;
        return x->job->thing->queued.head;
}

/* ---- timers ---- */

uint64_t execution_deadline(const SimExecution *x) {
        return MIN_OF(x->in_progress_deadline, x->step_deadline);
}

static bool timer_before(const SimExecution *a, const SimExecution *b) {
        uint64_t da = execution_deadline(a), db = execution_deadline(b);

        return da != db ? da < db : a->sequence < b->sequence;
}

static void timer_place(Store *s, SimExecution *x, size_t at) {
        s->timer[at] = x;
        x->timer_at = at;
}

static void timer_sift(Store *s, SimExecution *x, size_t at) {
        while (at > 0 && timer_before(x, s->timer[(at - 1) / 2])) {
                timer_place(s, s->timer[(at - 1) / 2], at);
                at = (at - 1) / 2;
        }
        for (;;) {
                size_t child = 2 * at + 1;

                if (child + 1 < s->n_timers && timer_before(s->timer[child + 1], s->timer[child]))
                        child++;
                if (child >= s->n_timers || !timer_before(s->timer[child], x))
                        break;
                timer_place(s, s->timer[child], at);
                at = child;
        }
        timer_place(s, x, at);
}

void store_update_timer(Store *s, SimExecution *x) {
        size_t at = x->timer_at;

        if (execution_deadline(x) != USEC_NEVER) {
                if (at == SIZE_MAX) {
                        assert(s->n_timers < s->cap_timers);
                        at = s->n_timers++;
                }
                timer_sift(s, x, at);
        } else if (at != SIZE_MAX) {
                SimExecution *last = s->timer[--s->n_timers];

                x->timer_at = SIZE_MAX;
                if (last != x)
                        timer_sift(s, last, at);
        }
}

SimExecution *store_first_timer(const Store *s) {
        return s->n_timers > 0 ? s->timer[0] : NULL;
}
