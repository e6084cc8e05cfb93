/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "base/utf8.h"

/* ---- names ---- */

static const char *const verb_names[CONTROL_VERB_COUNT] = {
        [CONTROL_STATUS] = "status", [CONTROL_SHOW] = "show",   [CONTROL_HISTORY] = "history", [CONTROL_WATCH] = "watch",
        [CONTROL_CANCEL] = "cancel", [CONTROL_PAUSE] = "pause", [CONTROL_RESUME] = "resume",
};

static const char *const phase_names[CONTROL_PHASE_COUNT] = {
        [CONTROL_QUEUED] = "queued",       [CONTROL_STARTING] = "starting",     [CONTROL_RUNNING] = "running",
        [CONTROL_DEFERRED] = "deferred",   [CONTROL_REBOOTING] = "rebooting",   [CONTROL_RECOVERING] = "recovering",
        [CONTROL_STOPPING] = "stopping",   [CONTROL_REPORTING] = "reporting",   [CONTROL_LEFT_ALONE] = "left-alone",
};

static const char *const error_names[CONTROL_ERROR_COUNT] = {
        [CONTROL_BAD_REQUEST] = "bad-request", [CONTROL_DENIED] = "denied", [CONTROL_NO_SUCH_JOB] = "no-such-job",
        [CONTROL_TOO_LATE] = "too-late",       [CONTROL_BUSY] = "busy",     [CONTROL_FAILED] = "failed",
};

static const char *const type_names[CONTROL_TYPE_COUNT] = {
        [CONTROL_REPLY_STATUS] = "status", [CONTROL_REPLY_JOB] = "job",     [CONTROL_REPLY_HISTORY] = "history",
        [CONTROL_REPLY_DONE] = "done",     [CONTROL_REPLY_ERROR] = "error",
};

const char *control_verb_name(ControlVerb v) {
        return (unsigned) v < CONTROL_VERB_COUNT ? verb_names[v] : "";
}

const char *control_phase_name(ControlPhase p) {
        return (unsigned) p < CONTROL_PHASE_COUNT ? phase_names[p] : "";
}

const char *control_error_name(ControlError e) {
        return (unsigned) e < CONTROL_ERROR_COUNT ? error_names[e] : "";
}

/* The index of a name, or -1. */
static int find_name(const char *const *names, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(names[i], name) == 0)
                        return (int) i;
        return -1;
}

/* ---- members: encoder and decoder both follow these tables ---- */

typedef enum FieldKind {
        FIELD_TEXT,   /* left out while "" */
        FIELD_JOB_ID, /* must be there */
        FIELD_NUMBER, /* left out while -1 */
        FIELD_BOOL,
        FIELD_PHASE,
        FIELD_STATUS, /* left out while NONE */
} FieldKind;

typedef struct Field {
        const char *name;
        FieldKind kind;
        size_t offset, size;
} Field;

#define FIELD(type, name, kind, member) { name, kind, offsetof(type, member), sizeof(((type *) NULL)->member) }

static const Field status_fields[] = {
        FIELD(ControlStatus, "thing", FIELD_TEXT, thing),
        FIELD(ControlStatus, "version", FIELD_TEXT, version),
        FIELD(ControlStatus, "endpoint", FIELD_TEXT, endpoint),
        FIELD(ControlStatus, "summary", FIELD_TEXT, summary),
        FIELD(ControlStatus, "error", FIELD_TEXT, error),
        FIELD(ControlStatus, "warning", FIELD_TEXT, warning),
        FIELD(ControlStatus, "connected", FIELD_BOOL, connected),
        FIELD(ControlStatus, "synced", FIELD_BOOL, synced),
        FIELD(ControlStatus, "uptimeSeconds", FIELD_NUMBER, uptime),
        FIELD(ControlStatus, "connectionSeconds", FIELD_NUMBER, connection_time),
        FIELD(ControlStatus, "retryInSeconds", FIELD_NUMBER, retry_in),
        FIELD(ControlStatus, "pausedSince", FIELD_NUMBER, paused_since),
};

static const Field job_fields[] = {
        FIELD(ControlJob, "job", FIELD_JOB_ID, job_id),
        FIELD(ControlJob, "execution", FIELD_NUMBER, number),
        FIELD(ControlJob, "queuedAt", FIELD_NUMBER, queued_at),
        FIELD(ControlJob, "phase", FIELD_PHASE, phase),
        FIELD(ControlJob, "status", FIELD_STATUS, status),
        FIELD(ControlJob, "step", FIELD_TEXT, step),
        FIELD(ControlJob, "progress", FIELD_NUMBER, progress),
        FIELD(ControlJob, "sinceSeconds", FIELD_NUMBER, since),
        FIELD(ControlJob, "resumeInSeconds", FIELD_NUMBER, resume_in),
        FIELD(ControlJob, "deadlineInSeconds", FIELD_NUMBER, deadline_in),
        FIELD(ControlJob, "cancelling", FIELD_BOOL, cancelling),
};

static const Field ended_fields[] = {
        FIELD(ControlEnded, "job", FIELD_JOB_ID, job_id),
        FIELD(ControlEnded, "execution", FIELD_NUMBER, number),
        FIELD(ControlEnded, "status", FIELD_STATUS, status),
        FIELD(ControlEnded, "secondsAgo", FIELD_NUMBER, ago),
};

static const Field end_fields[] = {
        FIELD(WireEnd, "job", FIELD_JOB_ID, key.job_id),
        FIELD(WireEnd, "execution", FIELD_NUMBER, key.number),
        FIELD(WireEnd, "queuedAt", FIELD_NUMBER, key.queued_at),
        FIELD(WireEnd, "at", FIELD_NUMBER, at),
        FIELD(WireEnd, "status", FIELD_STATUS, status),
};

/* ---- encode ---- */

/* Steals `value`. */
static int put(json_t *o, const char *name, json_t *value) {
        return value && json_object_set_new_nocheck(o, name, value) == 0 ? 0 : -ENOMEM;
}

static size_t cut_utf8(const char *text, size_t max) {
        size_t n = strlen(text);

        if (n <= max)
                return n;
        while (max > 0 && ((unsigned char) text[max] & 0xC0) == 0x80)
                max--;
        return max;
}

static int put_text(json_t *o, const char *name, const char *text, size_t size) {
        char *clean CLEANUP_FREE = text_sanitize(text, strnlen(text, size), size - 1, false);

        if (!clean)
                return -ENOMEM;
        return clean[0] == '\0' ? 0 : put(o, name, json_stringn(clean, cut_utf8(clean, size - 1)));
}

static int put_field(json_t *o, const Field *f, const char *at) {
        int64_t number = 0;
        ProtoStatus status = PROTO_STATUS_NONE;
        ControlPhase phase = CONTROL_QUEUED;
        bool yes = false;

        switch (f->kind) {
        case FIELD_TEXT:
                return put_text(o, f->name, at, f->size);
        case FIELD_JOB_ID:
                return proto_job_id_valid(at) ? put(o, f->name, json_string(at)) : -EINVAL;
        case FIELD_NUMBER:
                memcpy(&number, at, sizeof number);
                if (number < -1)
                        return -EINVAL;
                return number < 0 ? 0 : put(o, f->name, json_integer((json_int_t) number));
        case FIELD_BOOL:
                memcpy(&yes, at, sizeof yes);
                return put(o, f->name, json_boolean(yes));
        case FIELD_PHASE:
                memcpy(&phase, at, sizeof phase);
                return (unsigned) phase < CONTROL_PHASE_COUNT ? put(o, f->name, json_string(phase_names[phase])) : -EINVAL;
        case FIELD_STATUS:
                memcpy(&status, at, sizeof status);
                if ((unsigned) status >= PROTO_STATUS_COUNT)
                        return -EINVAL;
                return status == PROTO_STATUS_NONE ? 0 : put(o, f->name, json_string(proto_status_name(status)));
        }
        return -EINVAL;
}

static int put_fields(json_t *o, const Field *f, size_t n, const void *from) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = put_field(o, &f[i], (const char *) from + f[i].offset);
        return r;
}

static int put_details(json_t *o, const ProtoDetails *d) {
        json_t *map;
        int r;

        if (proto_details_check(d, NULL) < 0)
                return -EINVAL;
        map = json_object();
        r = put(o, "details", map);
        for (size_t i = 0; r == 0 && i < d->n; i++)
                r = put(map, d->pair[i].key, json_string(d->pair[i].value));
        return r;
}

/* An object at the end of `list`; NULL = no memory. */
static json_t *add_object(json_t *list) {
        json_t *o = json_object();

        return o && json_array_append_new(list, o) == 0 ? o : NULL;
}

static int put_jobs(json_t *o, const ControlReply *a) {
        json_t *list = json_array();
        int r = put(o, "jobs", list);

        for (size_t i = 0; r == 0 && i < a->n_jobs; i++) {
                json_t *entry = add_object(list);

                r = entry ? put_fields(entry, job_fields, ELEMENTSOF(job_fields), &a->jobs[i]) : -ENOMEM;
        }
        return r;
}

static int put_ended(json_t *o, const ControlReply *a) {
        json_t *list = json_array();
        int r = put(o, "ended", list);

        for (size_t i = 0; r == 0 && i < a->n_ended; i++) {
                json_t *entry = add_object(list);

                r = entry ? put_fields(entry, ended_fields, ELEMENTSOF(ended_fields), &a->ended[i]) : -ENOMEM;
        }
        return r;
}

static int put_history(json_t *o, const ControlReply *a) {
        json_t *list = json_array();
        int r = put(o, "executions", list);

        for (size_t i = 0; r == 0 && i < a->n_ends; i++) {
                json_t *entry = add_object(list);

                r = entry ? put_fields(entry, end_fields, ELEMENTSOF(end_fields), &a->ends[i]) : -ENOMEM;
                if (r == 0)
                        r = put_details(entry, &a->ends[i].details);
        }
        return r < 0 ? r : put(o, "more", json_boolean(a->more));
}

static int put_reply(json_t *o, const ControlReply *a) {
        int r = put(o, "type", json_string(type_names[a->type]));

        if (r < 0)
                return r;
        switch (a->type) {
        case CONTROL_REPLY_STATUS:
                r = put_fields(o, status_fields, ELEMENTSOF(status_fields), &a->status);
                if (r == 0)
                        r = put_jobs(o, a);
                return r < 0 ? r : put_ended(o, a);
        case CONTROL_REPLY_JOB:
                r = a->n_jobs == 1 ? put_fields(o, job_fields, ELEMENTSOF(job_fields), a->jobs) : -EINVAL;
                return r < 0 ? r : put_details(o, &a->jobs->details);
        case CONTROL_REPLY_HISTORY:
                return put_history(o, a);
        case CONTROL_REPLY_DONE:
                if (a->status.paused_since > 0)
                        r = put(o, "pausedSince", json_integer((json_int_t) a->status.paused_since));
                return r < 0 ? r : put_text(o, "text", a->text, sizeof a->text);
        case CONTROL_REPLY_ERROR:
                r = put(o, "error", json_string(control_error_name(a->error)));
                return r < 0 ? r : put_text(o, "text", a->text, sizeof a->text);
        case CONTROL_TYPE_COUNT:
                break;
        }
        return -EINVAL;
}

static int append_json(const char *data, size_t len, void *buf) {
        buf_append(buf, data, len);
        return 0;
}

static int finish_packet(const json_t *o, size_t max, Buf *ret) {
        Buf b CLEANUP_BUF = {};

        if (json_dump_callback(o, append_json, &b, JSON_COMPACT) < 0 || buf_error(&b) < 0)
                return -ENOMEM;
        if (b.len > max)
                return -EMSGSIZE;
        buf_append(ret, b.data, b.len);
        return buf_error(ret);
}

int control_reply_encode(const ControlReply *a, Buf *ret) {
        json_t *o CLEANUP_JSON = NULL;
        int r;

        if ((unsigned) a->type >= CONTROL_TYPE_COUNT || (unsigned) a->error >= CONTROL_ERROR_COUNT || a->n_jobs > CONTROL_JOBS_MAX ||
            a->n_ended > CONTROL_ENDED_MAX || a->n_ends > WIRE_ENDS_MAX)
                return -EINVAL;
        o = json_object();
        r = o ? put_reply(o, a) : -ENOMEM;
        return r < 0 ? r : finish_packet(o, CONTROL_REPLY_MAX, ret);
}

static bool names_a_job(ControlVerb v) {
        return v == CONTROL_SHOW || v == CONTROL_CANCEL;
}

int control_request_encode(const ControlRequest *q, Buf *ret) {
        json_t *o CLEANUP_JSON = NULL;
        int r;

        if ((unsigned) q->verb >= CONTROL_VERB_COUNT || (names_a_job(q->verb) && (!proto_job_id_valid(q->job_id) || q->number < 0)) ||
            (q->verb == CONTROL_HISTORY && (q->count < 1 || q->count > WIRE_HISTORY_MAX)))
                return -EINVAL;
        o = json_object();
        r = o ? put(o, "verb", json_string(verb_names[q->verb])) : -ENOMEM;
        if (r == 0 && names_a_job(q->verb))
                r = put(o, "job", json_string(q->job_id));
        if (r == 0 && names_a_job(q->verb) && q->number > 0)
                r = put(o, "execution", json_integer((json_int_t) q->number));
        if (r == 0 && q->verb == CONTROL_HISTORY)
                r = put(o, "count", json_integer((json_int_t) q->count));
        return r < 0 ? r : finish_packet(o, CONTROL_REQUEST_MAX, ret);
}

/* ---- decode ---- */

static int bad(const char *where, const char *name, const char *expected, Error *e) {
        (void) error_set(e, EBADMSG, "%s%s: %s expected", where, name, expected);
        return -EBADMSG;
}

/* A member that must be there. */
static int need(int r, const char *where, const char *name, Error *e) {
        if (r > 0)
                return 0;
        return r < 0 ? -EBADMSG /* the getter has said why */ : bad(where, name, "a value", e);
}

static int take_text(const json_t *o, const char *where, const char *name, char *to, size_t size, Error *e) {
        char *clean CLEANUP_FREE = NULL;
        const char *s = "";

        if (json_get_string(o, name, where, &s, e) < 0)
                return -EBADMSG;
        clean = text_sanitize(s, strlen(s), size - 1, false);
        if (!clean)
                return -ENOMEM;
        if (strlen(clean) >= size)
                return bad(where, name, "a text of bounded length", e);
        memcpy(to, clean, strlen(clean) + 1);
        return 0;
}

static int take_job_id(const json_t *o, const char *where, const char *name, char *to, Error *e) {
        const char *s = NULL;
        int r = need(json_get_string(o, name, where, &s, e), where, name, e);

        if (r < 0)
                return r;
        if (!proto_job_id_valid(s))
                return bad(where, name, "a job id", e);
        memcpy(to, s, strlen(s) + 1);
        return 0;
}

static int take_number(const json_t *o, const char *where, const char *name, char *to, Error *e) {
        int64_t v = -1;

        if (json_get_int(o, name, where, 0, INT64_MAX, &v, e) < 0)
                return -EBADMSG;
        memcpy(to, &v, sizeof v);
        return 0;
}

static int take_bool(const json_t *o, const char *where, const char *name, char *to, Error *e) {
        bool v = false;

        if (json_get_bool(o, name, where, &v, e) < 0)
                return -EBADMSG;
        memcpy(to, &v, sizeof v);
        return 0;
}

static int take_phase(const json_t *o, const char *where, const char *name, char *to, Error *e) {
        const char *s = NULL;
        int r = need(json_get_string(o, name, where, &s, e), where, name, e), at;
        ControlPhase v;

        if (r < 0)
                return r;
        at = find_name(phase_names, CONTROL_PHASE_COUNT, s);
        if (at < 0)
                return bad(where, name, "the phase of a job", e);
        v = (ControlPhase) at;
        memcpy(to, &v, sizeof v);
        return 0;
}

static int take_status(const json_t *o, const char *where, const char *name, char *to, Error *e) {
        const char *s = "";
        ProtoStatus v;

        if (json_get_string(o, name, where, &s, e) < 0)
                return -EBADMSG;
        v = proto_status_parse(s);
        if (v == PROTO_STATUS_NONE && s[0])
                return bad(where, name, "a status", e);
        memcpy(to, &v, sizeof v);
        return 0;
}

static int take_field(const json_t *o, const char *where, const Field *f, char *to, Error *e) {
        switch (f->kind) {
        case FIELD_TEXT:
                return take_text(o, where, f->name, to, f->size, e);
        case FIELD_JOB_ID:
                return take_job_id(o, where, f->name, to, e);
        case FIELD_NUMBER:
                return take_number(o, where, f->name, to, e);
        case FIELD_BOOL:
                return take_bool(o, where, f->name, to, e);
        case FIELD_PHASE:
                return take_phase(o, where, f->name, to, e);
        case FIELD_STATUS:
                return take_status(o, where, f->name, to, e);
        }
        return -EBADMSG;
}

static int take_fields(const json_t *o, const char *where, const Field *f, size_t n, void *to, Error *e) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = take_field(o, where, &f[i], (char *) to + f[i].offset, e);
        return r;
}

static int take_details(const json_t *o, const char *where, ProtoDetails *ret, Error *e) {
        const char *key;
        json_t *map = NULL, *value;
        int r = need(json_get_object(o, "details", where, &map, e), where, "details", e);

        if (r < 0)
                return r;
        json_object_foreach(map, key, value) {
                r = json_is_string(value) ? proto_details_set(ret, key, json_string_value(value)) : -EBADMSG;
                if (r < 0)
                        return r == -ENOMEM ? r : bad(where, "details", "at most 10 texts", e);
        }
        if (proto_details_check(ret, e) < 0) {
                (void) error_wrap(e, "%sdetails", where);
                return -EBADMSG;
        }
        return 0;
}

/* A list of at most `max` objects. */
static int take_list(const json_t *o, const char *name, size_t max, json_t **ret, Error *e) {
        json_t *list = NULL, *entry;
        size_t i;
        int r = need(json_get_array(o, name, "", &list, e), "", name, e);

        if (r < 0)
                return r;
        if (json_array_size(list) > max)
                return bad("", name, "a shorter list", e);
        json_array_foreach(list, i, entry)
                if (!json_is_object(entry))
                        return bad("", name, "a list of objects", e);
        *ret = list;
        return 0;
}

static int take_jobs(const json_t *o, ControlReply *a, Error *e) {
        json_t *list = NULL;
        int r = take_list(o, "jobs", CONTROL_JOBS_MAX, &list, e);

        if (r < 0 || json_array_size(list) == 0)
                return r;
        a->jobs = calloc(json_array_size(list), sizeof *a->jobs);
        if (!a->jobs)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                r = take_fields(json_array_get(list, i), "jobs.", job_fields, ELEMENTSOF(job_fields), &a->jobs[i], e);
                a->n_jobs++;
        }
        return r;
}

static int take_ended(const json_t *o, ControlReply *a, Error *e) {
        json_t *list = NULL;
        int r = take_list(o, "ended", CONTROL_ENDED_MAX, &list, e);

        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                r = take_fields(json_array_get(list, i), "ended.", ended_fields, ELEMENTSOF(ended_fields), &a->ended[i], e);
                a->n_ended++;
        }
        return r;
}

static int take_history(const json_t *o, ControlReply *a, Error *e) {
        json_t *list = NULL;
        int r = take_list(o, "executions", WIRE_ENDS_MAX, &list, e);

        if (r == 0)
                r = need(json_get_bool(o, "more", "", &a->more, e), "", "more", e);
        if (r < 0 || json_array_size(list) == 0)
                return r;
        a->ends = calloc(json_array_size(list), sizeof *a->ends);
        if (!a->ends)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                const json_t *entry = json_array_get(list, i);

                a->n_ends++;
                r = take_fields(entry, "executions.", end_fields, ELEMENTSOF(end_fields), &a->ends[i], e);
                if (r == 0)
                        r = take_details(entry, "executions.", &a->ends[i].details, e);
        }
        return r;
}

static int take_job(const json_t *o, ControlReply *a, Error *e) {
        int r;

        a->jobs = calloc(1, sizeof *a->jobs);
        if (!a->jobs)
                return -ENOMEM;
        a->n_jobs = 1;
        r = take_fields(o, "", job_fields, ELEMENTSOF(job_fields), a->jobs, e);
        return r < 0 ? r : take_details(o, "", &a->jobs->details, e);
}

static int take_error(const json_t *o, ControlReply *a, Error *e) {
        const char *s = NULL;
        int r = need(json_get_string(o, "error", "", &s, e), "", "error", e), at;

        if (r < 0)
                return r;
        at = find_name(error_names, CONTROL_ERROR_COUNT, s);
        if (at < 0)
                return bad("", "error", "a known error", e);
        a->error = (ControlError) at;
        return take_text(o, "", "text", a->text, sizeof a->text, e);
}

static int take_reply(const json_t *o, ControlReply *a, Error *e) {
        int r;

        switch (a->type) {
        case CONTROL_REPLY_STATUS:
                r = take_fields(o, "", status_fields, ELEMENTSOF(status_fields), &a->status, e);
                if (r == 0)
                        r = take_jobs(o, a, e);
                return r < 0 ? r : take_ended(o, a, e);
        case CONTROL_REPLY_JOB:
                return take_job(o, a, e);
        case CONTROL_REPLY_HISTORY:
                return take_history(o, a, e);
        case CONTROL_REPLY_DONE:
                r = take_number(o, "", "pausedSince", (char *) &a->status.paused_since, e);
                return r < 0 ? r : take_text(o, "", "text", a->text, sizeof a->text, e);
        case CONTROL_REPLY_ERROR:
                return take_error(o, a, e);
        case CONTROL_TYPE_COUNT:
                break;
        }
        return -EBADMSG;
}

static int open_packet(const char *packet, size_t len, size_t max, json_t **ret, Error *e) {
        int r;

        if (len == 0 || len > max)
                return bad("", "packet", "bytes, but not too many,", e);
        r = json_parse_object(packet, len, ret, e);
        return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

int control_reply_decode(const char *packet, size_t len, ControlReply *ret, Error *e) {
        ControlReply a CLEANUP_REPLY = {};
        json_t *o CLEANUP_JSON = NULL;
        const char *type = NULL;
        int r = open_packet(packet, len, CONTROL_REPLY_MAX, &o, e), at;

        control_status_init(&a.status);
        if (r == 0)
                r = need(json_get_string(o, "type", "", &type, e), "", "type", e);
        if (r < 0)
                return r;
        at = find_name(type_names, CONTROL_TYPE_COUNT, type);
        if (at < 0)
                return bad("", "type", "a known answer", e);
        a.type = (ControlType) at;
        r = take_reply(o, &a, e);
        if (r < 0)
                return r;
        *ret = a;
        a = (ControlReply) {};
        return 0;
}

int control_request_decode(const char *packet, size_t len, ControlRequest *ret, Error *e) {
        ControlRequest q = {};
        json_t *o CLEANUP_JSON = NULL;
        const char *verb = NULL;
        int r = open_packet(packet, len, CONTROL_REQUEST_MAX, &o, e), at;

        if (r == 0)
                r = need(json_get_string(o, "verb", "", &verb, e), "", "verb", e);
        if (r < 0)
                return r;
        at = find_name(verb_names, CONTROL_VERB_COUNT, verb);
        if (at < 0)
                return bad("", "verb", "a known verb", e);
        q.verb = (ControlVerb) at;
        if (names_a_job(q.verb)) {
                r = take_job_id(o, "", "job", q.job_id, e);
                if (r == 0 && json_get_int(o, "execution", "", 1, INT64_MAX, &q.number, e) < 0)
                        r = -EBADMSG;
        }
        if (q.verb == CONTROL_HISTORY)
                r = need(json_get_int(o, "count", "", 1, WIRE_HISTORY_MAX, &q.count, e), "", "count", e);
        if (r == 0)
                *ret = q;
        return r;
}

/* ---- the rest ---- */

void control_status_init(ControlStatus *s) {
        *s = (ControlStatus) { .uptime = -1, .connection_time = -1, .retry_in = -1, .paused_since = -1 };
}

void control_reply_done(ControlReply *a) {
        for (size_t i = 0; i < a->n_jobs; i++)
                proto_details_done(&a->jobs[i].details);
        free(a->jobs);
        wire_ends_free(a->ends, a->n_ends);
        *a = (ControlReply) {};
}

void control_socket_name(const char *thing, char ret[static CONTROL_NAME_MAX]) {
        if (snprintf(ret, CONTROL_NAME_MAX, "agent-%s.sock", thing) < CONTROL_NAME_MAX)
                return;
        (void) snprintf(ret, CONTROL_NAME_MAX, "agent-%.40s-%08x.sock", thing, (unsigned) crc32c(thing, strlen(thing)));
}
