/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the Jobs service. One call is one event: timers that are due act first, then the request or the
 * verb, then what it set off is published in the order reply, notify, notify-next. */
#include "sim/model.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim/model-document.h"
#include "sim/model-store.h"

struct Model {
        ModelOptions options;
        Store store;
        uint64_t now; /* of the latest call; never goes back */
};

/* The device's requests that reach an execution come with these. */
typedef struct Call {
        Model *model;
        const Topic *topic;
        const char *topic_text;
        const ProtoRequest *request;
        ModelOutput *out;
} Call;

/* ---- construction ---- */

int model_new(const ModelOptions *options, Model **ret) {
        Model *m = calloc(1, sizeof *m);

        if (!m)
                return -ENOMEM;
        if (options)
                m->options = *options;
        if (m->options.listed_max == 0)
                m->options.listed_max = LIMIT_PENDING_LISTED;
        m->options.listed_max = MIN_OF(m->options.listed_max, (unsigned) LIMIT_PENDING_LISTED_MAX);
        *ret = m;
        return 0;
}

Model *model_free(Model *m) {
        if (m)
                store_done(&m->store);
        free(m);
        return NULL;
}

/* ---- output ---- */

void model_output_clear(ModelOutput *o) {
        for (size_t i = 0; i < o->n_publications; i++)
                free(o->publication[i].payload);
        for (size_t i = 0; i < o->n_changes; i++)
                proto_details_done(&o->change[i].details);
        o->n_publications = o->n_changes = 0;
}

void model_output_done(ModelOutput *o) {
        model_output_clear(o);
        free(o->publication);
        free(o->change);
        *o = (ModelOutput){};
}

static int grow(void **array, size_t *cap, size_t n, size_t size) {
        size_t more = MAX_OF(*cap * 2, (size_t) 4);
        void *p;

        if (n < *cap)
                return 0;
        p = reallocarray(*array, more, size);
        if (!p)
                return -ENOMEM;
        *array = p;
        *cap = more;
        return 0;
}

/* thingName is no member of ProtoExecution: devices never need it, and captured replies lack it. The first
 * `"execution":{` is always the member itself: inside a string its quotes would be escaped, and what could hold
 * another one, the document, comes inside it. */
static int splice_thing_name(Buf *payload, const char *thing) {
        static const char member[] = "\"execution\":{";
        Buf whole CLEANUP_BUF = {};
        const char *at;

        if (payload->len == 0)
                return 0;
        at = memmem(payload->data, payload->len, member, sizeof member - 1);
        if (!at)
                return 0;
        at += sizeof member - 1;
        buf_append(&whole, payload->data, (size_t) (at - payload->data));
        buf_printf(&whole, "\"thingName\":\"%s\",", thing);
        buf_puts(&whole, at);
        if (buf_error(&whole))
                return -ENOMEM;
        buf_done(payload);
        *payload = whole;
        whole = (Buf){};
        return 0;
}

static int publish(Model *m, const char *topic, const char *thing, ProtoMessage *message, ModelOutput *out) {
        Buf payload CLEANUP_BUF = {};
        ModelPublication *p;
        int r;

        message->timestamp = (int64_t) (m->now / USEC_PER_SEC);
        r = proto_message_encode(message, &payload);
        if (r == 0 && m->options.send_thing_name && message->has_execution)
                r = splice_thing_name(&payload, thing);
        if (r == 0)
                r = grow((void **) &out->publication, &out->cap_publications, out->n_publications, sizeof *p);
        if (r < 0)
                return r;
        p = &out->publication[out->n_publications];
        (void) snprintf(p->topic, sizeof p->topic, "%s", topic);
        p->len = payload.len;
        p->payload = buf_steal(&payload);
        if (!p->payload)
                return -ENOMEM;
        out->n_publications++;
        return 0;
}

static int add_change(const SimExecution *x, ProtoStatus status, ModelOutput *out) {
        ModelChange *c;
        int r = grow((void **) &out->change, &out->cap_changes, out->n_changes, sizeof *c);

        if (r < 0)
                return r;
        c = &out->change[out->n_changes];
        *c = (ModelChange){ .status = status, .version = x->x.version };
        memcpy(c->key.thing, x->job->thing->name, sizeof c->key.thing);
        memcpy(c->key.job_id, x->job->id, sizeof c->key.job_id);
        c->key.number = x->x.number;
        c->key.queued_at = x->x.queued_at;
        r = proto_details_copy(&c->details, &x->x.details);
        if (r < 0) {
                proto_details_done(&c->details);
                return r;
        }
        out->n_changes++;
        return 0;
}

/* ---- what executions look like from outside ---- */

/* Observed: 599 right after a start with ten minutes, so rounded down from slightly less than the full time. */
static int64_t seconds_left(const SimExecution *x, uint64_t now) {
        uint64_t deadline = execution_deadline(x);

        if (x->x.status != PROTO_STATUS_IN_PROGRESS || deadline == USEC_NEVER)
                return -1;
        return deadline > now ? (int64_t) ((deadline - now - 1) / USEC_PER_SEC) : 0;
}

/* A view that borrows everything: never to be passed to proto_message_done(). */
static ProtoExecution execution_view(const SimExecution *x, uint64_t now, bool with_document) {
        ProtoExecution view = x->x;

        view.seconds_left = seconds_left(x, now);
        if (!with_document) {
                view.document = NULL;
                view.document_len = 0;
        }
        return view;
}

static size_t list_pending(const Model *m, const SimThing *thing,
                           ProtoExecution list[static LIMIT_PENDING_LISTED_MAX]) {
        size_t n = 0;

        for (const SimExecution *x = thing_first_pending(thing); x && n < m->options.listed_max;
             x = pending_after(x))
                list[n++] = x->x;
        return n;
}

/* ---- notifications: sections 5.2 and 5.3 ---- */

/* One event at one thing. Both notifications compare its end with its start. */
typedef struct Turn {
        SimThing *thing;
        uint64_t first; /* sequence of the first pending execution, 0 = none */
        bool set_changed;
} Turn;

static uint64_t first_sequence(const SimThing *thing) {
        const SimExecution *x = thing_first_pending(thing);

        return x ? x->sequence : 0;
}

static Turn turn_begin(SimThing *thing) {
        return (Turn){ .thing = thing, .first = first_sequence(thing) };
}

static int publish_notify(Model *m, const SimThing *thing, ModelOutput *out) {
        ProtoExecution list[LIMIT_PENDING_LISTED_MAX];
        ProtoMessage message = { .kind = TOPIC_NOTIFY, .list = list };
        Topic topic = { .kind = TOPIC_NOTIFY };
        char text[TOPIC_TEXT_MAX];
        int r;

        memcpy(topic.thing, thing->name, sizeof topic.thing);
        message.n_list = list_pending(m, thing, list);
        r = topic_format(&topic, text);
        return r < 0 ? r : publish(m, text, thing->name, &message, out);
}

static int publish_notify_next(Model *m, const SimThing *thing, ModelOutput *out) {
        const SimExecution *x = thing_first_pending(thing);
        ProtoMessage message = { .kind = TOPIC_NOTIFY_NEXT };
        Topic topic = { .kind = TOPIC_NOTIFY_NEXT };
        char text[TOPIC_TEXT_MAX];
        int r;

        memcpy(topic.thing, thing->name, sizeof topic.thing);
        if (x) {
                message.has_execution = true;
                message.execution = execution_view(x, m->now, true);
        }
        r = topic_format(&topic, text);
        return r < 0 ? r : publish(m, text, thing->name, &message, out);
}

/* `notify` when the set of pending (jobId, executionNumber) changed, `notify-next` when the first one did. */
static int turn_end(Model *m, const Turn *turn, ModelOutput *out) {
        int r = 0;

        if (turn->set_changed)
                r = publish_notify(m, turn->thing, out);
        if (r == 0 && first_sequence(turn->thing) != turn->first)
                r = publish_notify_next(m, turn->thing, out);
        return r;
}

/* ---- the state machine: section 4.2 ---- */

static bool status_pending(ProtoStatus s) {
        return s == PROTO_STATUS_QUEUED || s == PROTO_STATUS_IN_PROGRESS;
}

/* Every stored change raises the version by one, the service's own too: not documented, so it is decided here. */
static void touch(const Model *m, SimExecution *x) {
        x->x.version++;
        x->x.last_updated_at = (int64_t) (m->now / USEC_PER_SEC);
}

/* The one place that assigns a status, with what always goes with it. The same one again: a progress report. */
static int enter_state(Model *m, SimExecution *x, ProtoStatus status, Turn *turn, ModelOutput *out) {
        ProtoStatus old = x->x.status;

        if (status != old) {
                execution_leave_list(x);
                x->x.status = status;
                execution_join_list(x);
                if (status_pending(old) != status_pending(status))
                        turn->set_changed = true;
        }
        touch(m, x);
        if (status == PROTO_STATUS_IN_PROGRESS && old != status) {
                x->x.started_at = x->x.last_updated_at;
                if (x->job->in_progress_timeout_usec > 0)
                        x->in_progress_deadline = m->now + x->job->in_progress_timeout_usec;
        }
        if (proto_status_terminal(status))
                x->in_progress_deadline = x->step_deadline = USEC_NEVER;
        store_update_timer(&m->store, x);
        return add_change(x, status, out);
}

static uint64_t minutes_to_usec(int64_t minutes) {
        return (uint64_t) minutes * 60 * USEC_PER_SEC;
}

/* A new value counts from now, -1 discards, 0 (absent) leaves a running timer alone. That the step timer cannot
 * outlast the in-progress timer follows from the earlier deadline winning. */
static void set_step_timer(Model *m, SimExecution *x, int64_t minutes) {
        if (minutes == 0)
                return;
        x->step_deadline = minutes > 0 ? m->now + minutes_to_usec(minutes) : USEC_NEVER;
        store_update_timer(&m->store, x);
}

/* The stored map is replaced as a whole; an absent one (and an empty one counts as absent) leaves it alone. */
static int store_details(SimExecution *x, const ProtoRequest *request) {
        ProtoDetails details = {};
        int r;

        if (!request->has_details)
                return 0;
        r = proto_details_copy(&details, &request->details);
        if (r < 0) {
                proto_details_done(&details);
                return r;
        }
        proto_details_done(&x->x.details);
        x->x.details = details;
        return 0;
}

static int queue_execution(Model *m, SimJob *job, Turn *turn, ModelOutput *out) {
        SimExecution *x;
        int r = store_add_execution(&m->store, job, &x);

        if (r < 0)
                return r;
        x->x.queued_at = (int64_t) (m->now / USEC_PER_SEC);
        return enter_state(m, x, PROTO_STATUS_QUEUED, turn, out);
}

static bool retry_wanted(const SimExecution *x) {
        const SimJob *job = x->job;

        if (x->x.status == PROTO_STATUS_TIMED_OUT) {
                if (job->in_progress_timeout_usec == 0)
                        return false;
        } else if (x->x.status != PROTO_STATUS_FAILED)
                return false;
        return x->x.number <= job->retries;
}

/* A failed or timed out execution is followed by a fresh one, at once and within the same turn: one notify, one
 * notify-next. */
static int retry_if_wanted(Model *m, SimExecution *x, Turn *turn, ModelOutput *out) {
        return retry_wanted(x) ? queue_execution(m, x->job, turn, out) : 0;
}

/* ---- timers ---- */

static void advance(Model *m, uint64_t now) {
        m->now = MAX_OF(m->now, now);
}

static int time_out(Model *m, SimExecution *x, ModelOutput *out) {
        Turn turn = turn_begin(x->job->thing);
        int r = enter_state(m, x, PROTO_STATUS_TIMED_OUT, &turn, out);

        if (r == 0)
                r = retry_if_wanted(m, x, &turn, out);
        return r == 0 ? turn_end(m, &turn, out) : r;
}

int model_tick(Model *m, uint64_t now, ModelOutput *out) {
        SimExecution *x;

        advance(m, now);
        while ((x = store_first_timer(&m->store)) && execution_deadline(x) <= m->now) {
                int r = time_out(m, x, out);

                if (r < 0)
                        return r;
        }
        return 0;
}

uint64_t model_deadline(const Model *m) {
        const SimExecution *x = store_first_timer(&m->store);

        return x ? execution_deadline(x) : USEC_NEVER;
}

/* ---- replies ---- */

static ProtoMessage reply_to(const Call *c, TopicReply reply) {
        ProtoMessage message = { .kind = c->topic->kind, .reply = reply, .has_token = c->request->has_token };

        memcpy(message.job_id, c->topic->job_id, sizeof message.job_id);
        memcpy(message.token, c->request->token, sizeof message.token);
        return message;
}

/* The reply's topic is the request's, literally, with a suffix. */
static int publish_reply(const Call *c, ProtoMessage *message) {
        char topic[TOPIC_TEXT_MAX];
        int n = snprintf(topic, sizeof topic, "%s%s", c->topic_text,
                         message->reply == TOPIC_ACCEPTED ? "/accepted" : "/rejected");

        /* Only an InvalidTopic can be too long for its reply; such a topic is not a legal one on AWS either. */
        if (n < 0 || (size_t) n >= sizeof topic)
                return 0;
        return publish(c->model, topic, c->topic->thing, message, c->out);
}

/* Cut between characters: half of one would make the reply invalid UTF-8. */
static void copy_message(char ret[static sizeof((ProtoMessage *) 0)->message], const char *text) {
        size_t len = strlen(text), max = sizeof((ProtoMessage *) 0)->message - 1;

        if (len > max)
                for (len = max; len > 0 && ((unsigned char) text[len] & 0xc0) == 0x80; len--)
                        ;
        memcpy(ret, text, len);
        ret[len] = '\0';
}

/* `x`: whose current state goes along; only with InvalidStateTransition and VersionMismatch. */
static int reject(const Call *c, ProtoCode code, const SimExecution *x, const char *text) {
        ProtoMessage message = reply_to(c, TOPIC_REJECTED);

        message.code = code;
        copy_message(message.message, text);
        if (x && (code == PROTO_CODE_INVALID_STATE_TRANSITION || code == PROTO_CODE_VERSION_MISMATCH)) {
                message.has_state = true;
                message.state_status = x->x.status;
                message.state_details = x->x.details;
                message.state_version = x->x.version;
        }
        return publish_reply(c, &message);
}

static int accept_execution(const Call *c, const SimExecution *x, bool with_document) {
        ProtoMessage message = reply_to(c, TOPIC_ACCEPTED);

        if (x) {
                message.has_execution = true;
                message.execution = execution_view(x, c->model->now, with_document);
        }
        return publish_reply(c, &message);
}

/* ---- requests ---- */

static int answer_get_pending(const Call *c) {
        ProtoExecution list[LIMIT_PENDING_LISTED_MAX];
        ProtoMessage message = reply_to(c, TOPIC_ACCEPTED);

        message.list = list;
        message.n_list = list_pending(c->model, store_find_thing(&c->model->store, c->topic->thing), list);
        return publish_reply(c, &message);
}

static int answer_start_next(const Call *c) {
        Model *m = c->model;
        SimThing *thing = store_find_thing(&m->store, c->topic->thing);
        SimExecution *x = thing_first_pending(thing);
        Turn turn;
        int r;

        /* The job in hand comes back as it is: details and timeout of this request are ignored. */
        if (!x || x->x.status == PROTO_STATUS_IN_PROGRESS)
                return accept_execution(c, x, true);
        r = store_details(x, c->request);
        if (r < 0)
                return r;
        turn = turn_begin(thing);
        set_step_timer(m, x, c->request->step_timeout);
        r = enter_state(m, x, PROTO_STATUS_IN_PROGRESS, &turn, c->out);
        if (r == 0)
                r = accept_execution(c, x, true);
        return r == 0 ? turn_end(m, &turn, c->out) : r;
}

static SimExecution *find_requested(const Call *c) {
        const Store *s = &c->model->store;

        return job_find_execution(store_find_job(s, store_find_thing(s, c->topic->thing), c->topic->job_id),
                                  c->request->execution_number);
}

static int reject_missing(const Call *c) {
        char text[256];

        if (c->request->execution_number != -1)
                (void) snprintf(text, sizeof text, "Job %s has no execution %lld on this thing",
                                c->topic->job_id, (long long) c->request->execution_number);
        else
                (void) snprintf(text, sizeof text, "Job %s has no execution on this thing", c->topic->job_id);
        return reject(c, PROTO_CODE_RESOURCE_NOT_FOUND, NULL, text);
}

static int answer_describe(const Call *c) {
        const SimExecution *x;
        char text[256];

        /* An executionNumber next to $next means nothing. */
        if (strcmp(c->topic->job_id, "$next") == 0) {
                x = thing_first_pending(store_find_thing(&c->model->store, c->topic->thing));
                return accept_execution(c, x, c->request->include_document);
        }
        x = find_requested(c);
        if (!x)
                return reject_missing(c);
        if (proto_status_terminal(x->x.status)) {
                (void) snprintf(text, sizeof text, "The execution is in the terminal state %s",
                                proto_status_name(x->x.status));
                return reject(c, PROTO_CODE_TERMINAL_STATE_REACHED, NULL, text);
        }
        return accept_execution(c, x, c->request->include_document);
}

static bool status_of_device(ProtoStatus s) {
        return s == PROTO_STATUS_IN_PROGRESS || s == PROTO_STATUS_SUCCEEDED || s == PROTO_STATUS_FAILED ||
               s == PROTO_STATUS_REJECTED;
}

static int accept_update(const Call *c, const SimExecution *x) {
        ProtoMessage message = reply_to(c, TOPIC_ACCEPTED);

        if (c->request->include_state) {
                message.has_state = true;
                message.state_status = x->x.status;
                message.state_details = x->x.details;
                message.state_version = x->x.version;
        }
        if (c->request->include_document) {
                message.document = x->x.document;
                message.document_len = x->x.document_len;
        }
        return publish_reply(c, &message);
}

static int apply_update(const Call *c, SimExecution *x) {
        const ProtoRequest *q = c->request;
        Model *m = c->model;
        Turn turn = turn_begin(x->job->thing);
        int r = store_details(x, q);

        if (r < 0)
                return r;
        set_step_timer(m, x, q->step_timeout); /* a terminal status ends it at once */
        r = enter_state(m, x, q->status, &turn, c->out);
        if (r == 0)
                r = accept_update(c, x);
        if (r == 0)
                r = retry_if_wanted(m, x, &turn, c->out);
        return r == 0 ? turn_end(m, &turn, c->out) : r;
}

/* Order of the checks: field values, existence, version, transition. */
static int answer_update(const Call *c) {
        const ProtoRequest *q = c->request;
        SimExecution *x;
        char text[256];

        if (strcmp(c->topic->job_id, "$next") == 0)
                return reject(c, PROTO_CODE_INVALID_REQUEST, NULL, "$next cannot be updated: name the job");
        if (q->status != PROTO_STATUS_QUEUED && !status_of_device(q->status)) {
                (void) snprintf(text, sizeof text, "A device cannot set the status %s",
                                proto_status_name(q->status));
                return reject(c, PROTO_CODE_INVALID_REQUEST, NULL, text);
        }
        x = find_requested(c);
        if (!x)
                return reject_missing(c);
        if (q->expected_version != -1 && q->expected_version != x->x.version) {
                (void) snprintf(text, sizeof text, "Expected version %lld but found version %lld",
                                (long long) q->expected_version, (long long) x->x.version);
                return reject(c, PROTO_CODE_VERSION_MISMATCH, x, text);
        }
        if (!status_pending(x->x.status) || q->status == PROTO_STATUS_QUEUED) {
                (void) snprintf(text, sizeof text, "An execution cannot go from %s to %s",
                                proto_status_name(x->x.status), proto_status_name(q->status));
                return reject(c, PROTO_CODE_INVALID_STATE_TRANSITION, x, text);
        }
        return apply_update(c, x);
}

/* ---- what is wrong before a request is understood ---- */

static int answer_forced(const Call *c, ProtoCode code) {
        const SimExecution *x = c->topic->kind == TOPIC_UPDATE ? find_requested(c) : NULL;

        return reject(c, code, x, "Answered on purpose by the simulator");
}

/* `.../jobs/{not a job id}/get|update`: the operation is clear, its argument is wrong. */
static bool is_bad_job_id(const char *topic, char ret_thing[static LIMIT_THING_NAME + 1]) {
        static const char prefix[] = "$aws/things/", space[] = "/jobs/";
        const char *thing = topic + sizeof prefix - 1, *job, *verb;
        size_t len;

        if (strncmp(topic, prefix, sizeof prefix - 1) != 0)
                return false;
        len = strcspn(thing, "/");
        if (len > LIMIT_THING_NAME || strncmp(thing + len, space, sizeof space - 1) != 0)
                return false;
        memcpy(ret_thing, thing, len);
        ret_thing[len] = '\0';
        job = thing + len + sizeof space - 1;
        verb = job + strcspn(job, "/");
        return proto_thing_name_valid(ret_thing) &&
               (strcmp(verb, "/get") == 0 || strcmp(verb, "/update") == 0);
}

/* Topics of no operation. What ends like a reply is in neither class, or the service would answer itself for ever. */
static int answer_unrecognized(Model *m, const char *text, const char *payload, size_t len,
                               ModelOutput *out) {
        Topic topic = { .kind = TOPIC_GET_PENDING };
        ProtoRequest request;
        Call c = { m, &topic, text, &request, out };
        ProtoCode code, ignored;
        int r;

        if (is_bad_job_id(text, topic.thing))
                code = PROTO_CODE_INVALID_REQUEST;
        else if (topic_is_invalid_request(text, topic.thing))
                code = PROTO_CODE_INVALID_TOPIC;
        else
                return 0;
        /* Decoded as the request that asks for nothing, only for its clientToken. */
        proto_request_init(&request, topic.kind);
        (void) !proto_request_decode(&topic, payload, len, &request, &ignored, NULL);
        r = reject(&c, code, NULL,
                   code == PROTO_CODE_INVALID_TOPIC ? "The topic names no operation of the Jobs service"
                                                    : "The topic's job id must match [a-zA-Z0-9_-]{1,64}");
        proto_request_done(&request);
        return r;
}

static int dispatch(const Call *c) {
        switch (c->topic->kind) {
        case TOPIC_GET_PENDING:
                return answer_get_pending(c);
        case TOPIC_START_NEXT:
                return answer_start_next(c);
        case TOPIC_DESCRIBE:
                return answer_describe(c);
        case TOPIC_UPDATE:
                return answer_update(c);
        case TOPIC_NOTIFY:
        case TOPIC_NOTIFY_NEXT:
        case TOPIC_UNRECOGNIZED:
                break;
        }
        return 0;
}

static int answer_request(const Call *c, const char *payload, size_t len, ProtoCode force_code,
                          ProtoRequest *request) {
        ProtoCode code = PROTO_CODE_NONE;
        Error e = {};
        int r;

        if (len == 0 && c->model->options.empty_is_invalid)
                return reject(c, PROTO_CODE_INVALID_JSON, NULL, "The payload is empty");
        r = proto_request_decode(c->topic, payload, len, request, &code, &e);
        if (r == -ENOMEM)
                return r;
        if (force_code != PROTO_CODE_NONE)
                return answer_forced(c, force_code);
        if (r < 0)
                return reject(c, code, NULL, e.text);
        return dispatch(c);
}

int model_request(Model *m, uint64_t now, const char *topic_text, const char *payload, size_t len,
                  ProtoCode force_code, ModelOutput *out) {
        Topic topic = topic_parse(topic_text, NULL);
        ProtoRequest request CLEANUP_REQUEST;
        Call c = { m, &topic, topic_text, &request, out };
        int r = model_tick(m, now, out);

        proto_request_init(&request, topic.kind);
        if (r < 0)
                return r;
        if (topic.kind == TOPIC_UNRECOGNIZED)
                return answer_unrecognized(m, topic_text, payload, len, out);
        if (topic.reply != TOPIC_REQUEST || topic.kind == TOPIC_NOTIFY || topic.kind == TOPIC_NOTIFY_NEXT)
                return 0; /* our own publication, come back */
        return answer_request(&c, payload, len, force_code, &request);
}

/* ---- operator verbs ---- */

static int check_create(const ModelCreate *c, Error *e) {
        Error why = {};

        if (!proto_thing_name_valid(c->thing))
                return error_set(e, EINVAL,
                                 "InvalidRequest: thing '%.140s': must match [a-zA-Z0-9:_-]{1,128}",
                                 c->thing);
        if (!proto_job_id_valid(c->job_id))
                return error_set(e, EINVAL, "InvalidRequest: job '%.140s': must match [a-zA-Z0-9_-]{1,64}",
                                 c->job_id);
        if (c->document_len > LIMIT_DOCUMENT)
                return error_set(e, EINVAL, "InvalidRequest: document: %zu bytes, at most %d are allowed",
                                 c->document_len, LIMIT_DOCUMENT);
        if (document_check(c->document, c->document_len, &why) < 0)
                return error_set(e, EINVAL, "InvalidRequest: %s", why.text);
        if (c->in_progress_timeout_minutes < 0 || c->in_progress_timeout_minutes > LIMIT_TIMEOUT_MINUTES)
                return error_set(
                        e, EINVAL,
                        "InvalidRequest: in-progress timeout %lld: 1 to %d minutes are allowed (0 = none)",
                        (long long) c->in_progress_timeout_minutes, LIMIT_TIMEOUT_MINUTES);
        if (c->retries < 0 || c->retries > LIMIT_RETRIES)
                return error_set(e, EINVAL, "InvalidRequest: retries %lld: 0 to %d are allowed",
                                 (long long) c->retries, LIMIT_RETRIES);
        return 0;
}

int model_create(Model *m, uint64_t now, const ModelCreate *c, ModelOutput *out, Error *e) {
        SimJob *job;
        Turn turn;
        int r = model_tick(m, now, out);

        if (r < 0)
                return error_errno(e, -r, "create");
        r = check_create(c, e);
        if (r < 0)
                return r;
        if (store_find_job(&m->store, store_find_thing(&m->store, c->thing), c->job_id))
                return error_set(e, EEXIST, "ResourceAlreadyExists: thing %s has a job %s", c->thing,
                                 c->job_id);
        r = store_add_job(&m->store, c->thing, c->job_id, c->document, c->document_len, &job);
        if (r == -E2BIG)
                return error_set(e, E2BIG,
                                 "LimitExceeded: %d jobs or %d MiB of documents are held; delete some",
                                 STORE_JOBS_MAX, STORE_DOCUMENT_BYTES_MAX >> 20);
        if (r < 0)
                return error_errno(e, -r, "create");
        job->in_progress_timeout_usec = minutes_to_usec(c->in_progress_timeout_minutes);
        job->retries = c->retries;
        turn = turn_begin(job->thing);
        r = queue_execution(m, job, &turn, out);
        if (r == 0)
                r = turn_end(m, &turn, out);
        return r < 0 ? error_errno(e, -r, "create") : 0;
}

/* What cancel and delete begin with: timers, then the job's latest execution. */
static int find_for_operator(Model *m, uint64_t now, const char *thing, const char *job_id, ModelOutput *out,
                             SimExecution **ret, Error *e) {
        SimExecution *x;
        int r = model_tick(m, now, out);

        if (r < 0)
                return error_errno(e, -r, "job %.140s", job_id);
        x = job_find_execution(store_find_job(&m->store, store_find_thing(&m->store, thing), job_id), -1);
        if (!x)
                return error_set(e, ENOENT, "ResourceNotFound: thing '%.140s' has no job '%.140s'", thing,
                                 job_id);
        *ret = x;
        return 0;
}

int model_cancel(Model *m, uint64_t now, const char *thing, const char *job_id, bool force, ModelOutput *out,
                 Error *e) {
        SimExecution *x;
        Turn turn;
        int r = find_for_operator(m, now, thing, job_id, out, &x, e);

        if (r < 0)
                return r;
        if (proto_status_terminal(x->x.status))
                return error_set(e, EPERM, "InvalidStateTransition: job %s is over on thing %s (%s)", job_id,
                                 thing, proto_status_name(x->x.status));
        if (x->x.status == PROTO_STATUS_IN_PROGRESS && !force)
                return error_set(e, EPERM,
                                 "InvalidStateTransition: job %s is IN_PROGRESS on thing %s: needs force",
                                 job_id, thing);
        turn = turn_begin(x->job->thing);
        r = enter_state(m, x, PROTO_STATUS_CANCELED, &turn, out);
        if (r == 0)
                r = turn_end(m, &turn, out);
        return r < 0 ? error_errno(e, -r, "cancel") : 0;
}

int model_delete(Model *m, uint64_t now, const char *thing, const char *job_id, bool force, ModelOutput *out,
                 Error *e) {
        SimExecution *x;
        Turn turn;
        int r = find_for_operator(m, now, thing, job_id, out, &x, e);

        if (r < 0)
                return r;
        if (!proto_status_terminal(x->x.status) && !force)
                return error_set(e, EPERM, "InvalidStateTransition: job %s is %s on thing %s: needs force",
                                 job_id, proto_status_name(x->x.status), thing);
        turn = turn_begin(x->job->thing);
        turn.set_changed = status_pending(x->x.status);
        r = add_change(x, PROTO_STATUS_NONE, out);
        /* Out of the list, but still there: notifications need the thing, which may go with its last job. */
        execution_leave_list(x);
        x->x.status = PROTO_STATUS_NONE;
        if (r == 0)
                r = turn_end(m, &turn, out);
        store_remove_job(&m->store, x->job);
        return r < 0 ? error_errno(e, -r, "delete") : 0;
}

/* ---- look ---- */

const ProtoExecution *model_find(const Model *m, const char *thing, const char *job_id, int64_t number) {
        const Store *s = &m->store;
        const SimExecution *x =
                job_find_execution(store_find_job(s, store_find_thing(s, thing), job_id), number);

        return x ? &x->x : NULL;
}

int64_t model_seconds_left(const ProtoExecution *x, uint64_t now) {
        return seconds_left((const SimExecution *) x, now);
}

static bool visit_thing(const SimThing *thing, ModelVisit visit, void *userdata) {
        for (const SimJob *job = thing->first_job; job; job = job->next)
                for (size_t i = 0; i < job->n_executions; i++)
                        if (!visit(thing->name, &job->execution[i]->x, userdata))
                                return false;
        return true;
}

void model_visit(const Model *m, const char *name, ModelVisit visit, void *userdata) {
        if (name) {
                const SimThing *thing = store_find_thing(&m->store, name);

                if (thing)
                        (void) visit_thing(thing, visit, userdata);
                return;
        }
        for (const SimThing *thing = m->store.first_thing; thing; thing = thing->next)
                if (!visit_thing(thing, visit, userdata))
                        return;
}
