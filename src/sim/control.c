/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/control.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "build-config.h"

bool control_reply_valid(const char *name) {
        size_t len = strlen(name);

        if (len == 0 || len > CONTROL_NAME_MAX)
                return false;
        return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len;
}

/* ---- answers ---- */

/* Error texts may quote bytes of the request that were cut in the middle of a character. */
static json_t *text_value(const char *text) {
        json_t *v = json_string(text);
        char plain[ERROR_TEXT_MAX];
        size_t n = 0;

        if (v)
                return v;
        for (; text[n] && n < sizeof plain - 1; n++)
                plain[n] = (unsigned char) text[n] < 0x80 ? text[n] : '?';
        plain[n] = '\0';
        return json_string(plain);
}

static json_t *refuse(const Error *e) {
        return json_pack("{s:b,s:o*}", "ok", false, "error", text_value(e->text));
}

static json_t *accept(void) {
        return json_pack("{s:b}", "ok", true);
}

static json_t *details_value(const ProtoDetails *d) {
        json_t *o = json_object();

        for (size_t i = 0; i < d->n; i++)
                (void) json_object_set_new(o, d->pair[i].key, json_string(d->pair[i].value));
        return o;
}

static json_t *execution_value(const char *thing, const ProtoExecution *x, uint64_t now) {
        int64_t left = model_seconds_left(x, now);
        json_t *o =
                json_pack("{s:s,s:s,s:I,s:s,s:I,s:I,s:I}", "thingName", thing, "jobId", x->job_id,
                          "executionNumber", (json_int_t) x->number, "status", proto_status_name(x->status),
                          "versionNumber", (json_int_t) x->version, "queuedAt", (json_int_t) x->queued_at,
                          "lastUpdatedAt", (json_int_t) x->last_updated_at);

        if (o && x->started_at > 0)
                (void) json_object_set_new(o, "startedAt", json_integer(x->started_at));
        if (o && left >= 0)
                (void) json_object_set_new(o, "approximateSecondsBeforeTimedOut", json_integer(left));
        if (o && x->details.n > 0)
                (void) json_object_set_new(o, "statusDetails", details_value(&x->details));
        return o;
}

static json_t *answer_execution(const char *thing, const ProtoExecution *x, uint64_t now,
                                bool with_document) {
        json_t *answer = accept(), *v = execution_value(thing, x, now);

        if (with_document)
                (void) json_object_set_new(v, "jobDocument", json_stringn(x->document, x->document_len));
        (void) json_object_set_new(answer, "execution", v);
        return answer;
}

/* ---- verbs ---- */

typedef struct Target {
        const char *thing, *job;
        bool force;
} Target;

static int read_target(const json_t *request, Target *ret, Error *e) {
        int r = json_get_string(request, "thing", "", &ret->thing, e);

        if (r == 0)
                return error_set(e, EINVAL, "InvalidRequest: thing: missing");
        if (r > 0)
                r = json_get_string(request, "job", "", &ret->job, e);
        if (r == 0)
                return error_set(e, EINVAL, "InvalidRequest: job: missing");
        if (r > 0)
                r = json_get_bool(request, "force", "", &ret->force, e);
        return r < 0 ? error_wrap(e, "InvalidRequest") : 0;
}

static json_t *answer_create(Model *m, uint64_t now, const json_t *request, ModelOutput *out) {
        Target target = {};
        ModelCreate c = {};
        Error e = {};
        int r = read_target(request, &target, &e);

        if (r < 0)
                return refuse(&e);
        r = json_get_string(request, "document", "", &c.document, &e);
        if (r == 0)
                r = error_set(&e, EINVAL, "document: missing");
        if (r > 0)
                r = json_get_int(request, "inProgressTimeoutInMinutes", "", 0, LIMIT_TIMEOUT_MINUTES,
                                 &c.in_progress_timeout_minutes, &e);
        if (r >= 0)
                r = json_get_int(request, "retries", "", 0, LIMIT_RETRIES, &c.retries, &e);
        if (r < 0) {
                (void) error_wrap(&e, "InvalidRequest");
                return refuse(&e);
        }
        c.thing = target.thing;
        c.job_id = target.job;
        c.document_len = strlen(c.document);
        if (model_create(m, now, &c, out, &e) < 0)
                return refuse(&e);
        return answer_execution(c.thing, model_find(m, c.thing, c.job_id, -1), now, false);
}

static json_t *answer_cancel_or_delete(Model *m, uint64_t now, const json_t *request, bool cancel,
                                       ModelOutput *out) {
        Target target = {};
        Error e = {};
        int r = read_target(request, &target, &e);

        if (r == 0)
                r = cancel ? model_cancel(m, now, target.thing, target.job, target.force, out, &e)
                           : model_delete(m, now, target.thing, target.job, target.force, out, &e);
        return r < 0 ? refuse(&e) : accept();
}

static json_t *answer_describe(Model *m, uint64_t now, const json_t *request) {
        Target target = {};
        const ProtoExecution *x;
        Error e = {};

        if (read_target(request, &target, &e) < 0)
                return refuse(&e);
        x = model_find(m, target.thing, target.job, -1);
        if (!x) {
                (void) error_set(&e, ENOENT, "ResourceNotFound: thing '%.140s' has no job '%.140s'",
                                 target.thing, target.job);
                return refuse(&e);
        }
        return answer_execution(target.thing, x, now, true);
}

typedef struct Page {
        json_t *executions;
        uint64_t now;
        int64_t skip;
        size_t bytes;
        bool more;
} Page;

/* A guess from above is enough: pages only have to stay well below the largest packet. */
static size_t execution_bytes(const ProtoExecution *x) {
        size_t n = 512;

        for (size_t i = 0; i < x->details.n; i++)
                n += 2 * (strlen(x->details.pair[i].key) + strlen(x->details.pair[i].value)) + 8;
        return n;
}

static bool add_to_page(const char *thing, const ProtoExecution *x, void *userdata) {
        Page *page = userdata;

        if (page->skip > 0) {
                page->skip--;
                return true;
        }
        if (page->bytes >= CONTROL_PAGE_BYTES) {
                page->more = true;
                return false;
        }
        page->bytes += execution_bytes(x);
        (void) json_array_append_new(page->executions, execution_value(thing, x, page->now));
        return true;
}

static json_t *answer_list(Model *m, uint64_t now, const json_t *request) {
        Page page = { .now = now };
        const char *thing = NULL;
        Error e = {};
        int r = json_get_string(request, "thing", "", &thing, &e);

        if (r >= 0)
                r = json_get_int(request, "skip", "", 0, INT64_MAX, &page.skip, &e);
        if (r < 0) {
                (void) error_wrap(&e, "InvalidRequest");
                return refuse(&e);
        }
        page.executions = json_array();
        model_visit(m, thing, add_to_page, &page);
        return json_pack("{s:b,s:b,s:o}", "ok", true, "more", page.more, "executions", page.executions);
}

json_t *control_answer(Model *m, uint64_t now, const json_t *request, ModelOutput *out) {
        const char *verb = json_string_value(json_object_get(request, "verb"));
        Error e = {};

        /* Timers that are due act first, so that what is shown is what a device would be told. */
        if (model_tick(m, now, out) < 0)
                return NULL;
        if (!verb)
                verb = "";
        if (strcmp(verb, "create") == 0)
                return answer_create(m, now, request, out);
        if (strcmp(verb, "cancel") == 0 || strcmp(verb, "delete") == 0)
                return answer_cancel_or_delete(m, now, request, verb[0] == 'c', out);
        if (strcmp(verb, "describe") == 0)
                return answer_describe(m, now, request);
        if (strcmp(verb, "list") == 0)
                return answer_list(m, now, request);
        if (strcmp(verb, "hello") == 0)
                return json_pack("{s:b,s:s}", "ok", true, "version", IOT_JOBS_VERSION);
        (void) error_set(&e, EINVAL,
                         "InvalidRequest: verb '%.80s': create, cancel, delete, describe, list or hello",
                         verb);
        return refuse(&e);
}

/* ---- events ---- */

/* A failed execution with retries left is followed at once by the next: then it is not the latest any more. */
static bool is_final(const Model *m, const ModelChange *c) {
        const ProtoExecution *latest;

        if (c->status == PROTO_STATUS_NONE)
                return true;
        if (!proto_status_terminal(c->status))
                return false;
        latest = model_find(m, c->key.thing, c->key.job_id, -1);
        return !latest || latest->number == c->key.number;
}

char *control_event(const Model *m, const ModelChange *c, uint64_t wall_usec) {
        json_t *o CLEANUP_JSON = NULL;

        o = json_pack("{s:s,s:I,s:s,s:s,s:I,s:I,s:s,s:I,s:b}", "type", "execution", "at",
                      (json_int_t) wall_usec, "thingName", c->key.thing, "jobId", c->key.job_id,
                      "executionNumber", (json_int_t) c->key.number, "queuedAt",
                      (json_int_t) c->key.queued_at, "status",
                      c->status == PROTO_STATUS_NONE ? "DELETED" : proto_status_name(c->status),
                      "versionNumber", (json_int_t) c->version, "final", is_final(m, c));
        if (!o)
                return NULL;
        if (c->details.n > 0)
                (void) json_object_set_new(o, "statusDetails", details_value(&c->details));
        return json_dumps(o, JSON_COMPACT);
}
