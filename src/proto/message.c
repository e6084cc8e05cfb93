/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "proto/extent.h"
#include "proto/reader.h"

void proto_execution_init(ProtoExecution *x) {
        *x = (ProtoExecution){ .version = -1, .number = -1, .seconds_left = -1 };
}

void proto_message_init(ProtoMessage *m, TopicKind kind, TopicReply reply) {
        *m = (ProtoMessage){ .kind = kind, .reply = reply, .state_version = -1 };
        proto_execution_init(&m->execution);
}

void proto_message_done(ProtoMessage *m) {
        for (size_t i = 0; i < m->n_list; i++)
                proto_details_done(&m->list[i].details);
        free(m->list);
        proto_details_done(&m->execution.details);
        proto_details_done(&m->state_details);
        free(m->owned_document);
        *m = (ProtoMessage){};
}

/* Copy what fits, cut on a character. `text` is valid UTF-8. */
static void copy_cut(char *ret, size_t size, const char *text) {
        size_t n = strlen(text);

        if (n >= size) {
                n = size - 1;
                while (n > 0 && ((unsigned char) text[n] & 0xC0) == 0x80)
                        n--;
        }
        memcpy(ret, text, n);
        ret[n] = '\0';
}

/* Epoch seconds. The HTTPS side of the service writes them with a fraction, so that is understood too. */
static int read_time(const json_t *o, const char *name, const char *where, int64_t *ret, Error *e) {
        const json_t *value = json_object_get(o, name);
        double seconds;

        if (!json_is_real(value))
                return json_get_int(o, name, where, 0, INT64_MAX, ret, e);
        seconds = json_real_value(value);
        if (!(seconds >= 0 && seconds < 0x1p63))
                return error_set(e, EINVAL, "%s%s: %g is no time in epoch seconds", where, name, seconds);
        *ret = (int64_t) seconds;
        return 1;
}

/* Absent and unknown are both NONE: a status this version does not know must not hide what else a message says. */
static int read_status(const json_t *o, const char *where, ProtoStatus *ret, Error *e) {
        const char *text;
        int r;

        r = json_get_string(o, "status", where, &text, e);
        if (r > 0)
                *ret = proto_status_parse(text);
        return r;
}

static int read_job_id(const json_t *o, const char *where, char ret[static LIMIT_JOB_ID + 1], Error *e) {
        enum { SHOWN = 80 }; /* characters of a bad id in the message */
        const char *text;
        int r;

        r = json_get_string(o, "jobId", where, &text, e);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(e, EINVAL, "%sjobId: missing", where);
        if (!proto_job_id_valid(text)) {
                CLEANUP_FREE char *shown = text_sanitize(text, strlen(text), SHOWN, false);

                return error_set(e, EINVAL, "%sjobId: \"%s\": 1 to %d of [a-zA-Z0-9_-] expected", where,
                                 shown ? shown : "", LIMIT_JOB_ID);
        }
        memcpy(ret, text, strlen(text) + 1);
        return 0;
}

static int read_summary(const json_t *o, const char *where, ProtoExecution *x, Error *e) {
        const struct {
                const char *name;
                int64_t *ret;
                int (*read)(const json_t *, const char *, const char *, int64_t *, Error *);
        } members[] = {
                { "queuedAt", &x->queued_at, read_time },
                { "startedAt", &x->started_at, read_time },
                { "lastUpdatedAt", &x->last_updated_at, read_time },
                { "versionNumber", &x->version, reader_number },
                { "executionNumber", &x->number, reader_number },
                { "approximateSecondsBeforeTimedOut", &x->seconds_left, reader_number },
        };
        int r;

        r = read_job_id(o, where, x->job_id, e);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(members); i++)
                r = members[i].read(o, members[i].name, where, members[i].ret, e);
        return r < 0 ? r : 0;
}

/* ---- lists ---- */

typedef struct ListSource {
        const json_t *array; /* NULL = absent */
        const char *name;    /* its path */
        ProtoStatus status;  /* of every entry */
} ListSource;

/* One odd entry must not hide the other jobs: it is passed over, and the first such is told in m->passed_over. */
static void pass_over(ProtoMessage *m, const char *why) {
        if (m->passed_over[0] == '\0')
                copy_cut(m->passed_over, sizeof m->passed_over, why);
}

static int read_entry(const json_t *o, const ListSource *s, size_t index, ProtoExecution *x, Error *e) {
        char where[48];

        (void) snprintf(where, sizeof where, "%s[%zu].", s->name, index);
        if (!json_is_object(o))
                return error_set(e, EINVAL, "%s[%zu]: an object expected", s->name, index);
        proto_execution_init(x);
        x->status = s->status;
        return read_summary(o, where, x, e);
}

static void read_list(ProtoMessage *m, const ListSource *s) {
        size_t n = s->array ? json_array_size(s->array) : 0;

        for (size_t i = 0; i < n; i++) {
                Error e = {};

                if (m->n_list == LIMIT_PENDING_LISTED_MAX) {
                        (void) error_set(&e, E2BIG, "%s[%zu]: more than %d jobs listed", s->name, i,
                                         LIMIT_PENDING_LISTED_MAX);
                        pass_over(m, e.text);
                        return;
                }
                if (read_entry(json_array_get(s->array, i), s, i, &m->list[m->n_list], &e) < 0)
                        pass_over(m, e.text);
                else
                        m->n_list++;
        }
}

static int read_lists(ProtoMessage *m, const ListSource sources[static 2], Error *e) {
        size_t n = 0;

        for (size_t i = 0; i < 2; i++)
                n += sources[i].array ? json_array_size(sources[i].array) : 0;
        if (n == 0)
                return 0;
        /* One slot is where the next entry is read into, and stays unused if it is passed over. */
        m->list = calloc(MIN_OF(n, (size_t) LIMIT_PENDING_LISTED_MAX), sizeof *m->list);
        if (!m->list)
                return error_set(e, ENOMEM, "list of jobs: out of memory");
        for (size_t i = 0; i < 2; i++)
                read_list(m, &sources[i]);
        return 0;
}

static int read_get_pending(const json_t *o, ProtoMessage *m, Error *e) {
        json_t *in_progress = NULL, *queued = NULL;
        int r;

        r = json_get_array(o, "inProgressJobs", "", &in_progress, e);
        if (r < 0)
                return r;
        r = json_get_array(o, "queuedJobs", "", &queued, e);
        if (r < 0)
                return r;
        return read_lists(m,
                          (ListSource[]){ { in_progress, "inProgressJobs", PROTO_STATUS_IN_PROGRESS },
                                          { queued, "queuedJobs", PROTO_STATUS_QUEUED } },
                          e);
}

/* Only the two pending statuses are looked at: a notification lists nothing else, and a status that is not known here
 * is not known to be pending. */
static int read_notify(const json_t *o, ProtoMessage *m, Error *e) {
        json_t *jobs = NULL, *in_progress = NULL, *queued = NULL;
        int r;

        r = json_get_object(o, "jobs", "", &jobs, e);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(e, EINVAL, "jobs: missing");
        r = json_get_array(jobs, "IN_PROGRESS", "jobs.", &in_progress, e);
        if (r < 0)
                return r;
        r = json_get_array(jobs, "QUEUED", "jobs.", &queued, e);
        if (r < 0)
                return r;
        return read_lists(m,
                          (ListSource[]){ { in_progress, "jobs.IN_PROGRESS", PROTO_STATUS_IN_PROGRESS },
                                          { queued, "jobs.QUEUED", PROTO_STATUS_QUEUED } },
                          e);
}

/* ---- single executions ---- */

static int read_execution(const json_t *o, ProtoMessage *m, Error *e) {
        json_t *x;
        int r;

        r = json_get_object(o, "execution", "", &x, e);
        /* An empty object says as little as none. */
        if (r <= 0 || json_object_size(x) == 0)
                return r < 0 ? r : 0;
        r = read_summary(x, "execution.", &m->execution, e);
        if (r < 0)
                return r;
        r = read_status(x, "execution.", &m->execution.status, e);
        if (r < 0)
                return r;
        r = reader_details(x, "execution.", &m->execution.details, e);
        if (r < 0)
                return r;
        m->has_execution = true;
        return 0;
}

static int read_state(const json_t *o, ProtoMessage *m, Error *e) {
        static const char where[] = "executionState.";
        json_t *state;
        int r;

        r = json_get_object(o, "executionState", "", &state, e);
        if (r <= 0)
                return r;
        r = read_status(state, where, &m->state_status, e);
        if (r < 0)
                return r;
        r = reader_number(state, "versionNumber", where, &m->state_version, e);
        if (r < 0)
                return r;
        r = reader_details(state, where, &m->state_details, e);
        if (r < 0)
                return r;
        m->has_state = true;
        return 0;
}

static int read_rejected(const json_t *o, ProtoMessage *m, Error *e) {
        const json_t *message = json_object_get(o, "message");
        const char *code = "";
        int r;

        r = json_get_string(o, "code", "", &code, e);
        if (r < 0)
                return r;
        /* A refusal without a reason is still a refusal: it ends the request. */
        m->code = *code != '\0' ? proto_code_parse(code) : PROTO_CODE_UNKNOWN;
        if (json_is_string(message)) {
                const char *raw = json_string_value(message);
                CLEANUP_FREE char *text = text_sanitize(raw, strlen(raw), sizeof m->message, false);

                if (!text)
                        return error_set(e, ENOMEM, "message: out of memory");
                copy_cut(m->message, sizeof m->message, text);
        }
        return read_state(o, m, e);
}

static int read_body(const json_t *o, ProtoMessage *m, Error *e) {
        if (m->reply == TOPIC_REJECTED)
                return read_rejected(o, m, e);
        switch (m->kind) {
        case TOPIC_GET_PENDING:
                return read_get_pending(o, m, e);
        case TOPIC_NOTIFY:
                return read_notify(o, m, e);
        case TOPIC_START_NEXT:
        case TOPIC_DESCRIBE:
        case TOPIC_NOTIFY_NEXT:
                return read_execution(o, m, e);
        case TOPIC_UPDATE:
                return read_state(o, m, e);
        case TOPIC_UNRECOGNIZED:
                break;
        }
        return error_set(e, EINVAL, "topic: not one of a reply or a notification");
}

/* ---- the document ---- */

/* Over HTTPS, and from some emulators, the document is a string that holds JSON. One that cannot be unescaped stays as
 * it is: who parses it will say so, with the job's name at hand. */
static int unescape_document(ProtoMessage *m, const char **document, size_t *len, Error *e) {
        CLEANUP_JSON json_t *value = NULL;
        json_error_t j;

        if (*len == 0 || **document != '"')
                return 0;
        value = json_loadb(*document, *len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &j);
        if (!value)
                return json_error_code(&j) == json_error_out_of_memory
                               ? error_set(e, ENOMEM, "jobDocument: out of memory")
                               : 0;
        *len = json_string_length(value);
        m->owned_document = malloc(*len + 1);
        if (!m->owned_document)
                return error_set(e, ENOMEM, "jobDocument: out of memory");
        memcpy(m->owned_document, json_string_value(value), *len);
        m->owned_document[*len] = '\0';
        *document = m->owned_document;
        return 0;
}

/* `o` has null where the document stood. */
static int take_document(const json_t *o, const char *payload, Extent x, ProtoMessage *m, Error *e) {
        const char *document = payload + x.start;
        size_t len = x.len;
        int r;

        if (len == 0 || (len == strlen("null") && memcmp(document, "null", len) == 0))
                return 0;
        if (m->has_execution && json_object_get(json_object_get(o, "execution"), "jobDocument")) {
                r = unescape_document(m, &document, &len, e);
                if (r < 0)
                        return r;
                m->execution.document = document;
                m->execution.document_len = len;
        } else if (m->kind == TOPIC_UPDATE && m->reply == TOPIC_ACCEPTED &&
                   json_object_get(o, "jobDocument")) {
                r = unescape_document(m, &document, &len, e);
                if (r < 0)
                        return r;
                m->document = document;
                m->document_len = len;
        }
        return 0;
}

/* Parse everything but the document, which may be anything. */
static int parse_around(const char *payload, size_t len, Extent x, json_t **ret, Error *e) {
        CLEANUP_BUF Buf rest = {};
        size_t after = x.start + x.len;

        if (x.len == 0)
                return json_parse_object(payload, len, ret, e);
        buf_append(&rest, payload, x.start);
        buf_puts(&rest, "null");
        buf_append(&rest, payload + after, len - after);
        if (buf_error(&rest) < 0)
                return error_set(e, ENOMEM, "message: out of memory");
        return json_parse_object(rest.data, rest.len, ret, e);
}

static bool is_from_service(const Topic *t) {
        bool notice = t->kind == TOPIC_NOTIFY || t->kind == TOPIC_NOTIFY_NEXT;

        return t->kind != TOPIC_UNRECOGNIZED && notice == (t->reply == TOPIC_REQUEST);
}

static int read_message(const json_t *o, ProtoMessage *m, Error *e) {
        int r;

        r = read_time(o, "timestamp", "", &m->timestamp, e);
        if (r < 0)
                return r;
        if (m->reply != TOPIC_REQUEST) {
                r = reader_token(o, m->token, e);
                if (r < 0)
                        return r;
                m->has_token = r > 0;
        }
        return read_body(o, m, e);
}

int proto_message_decode(const Topic *t, const char *payload, size_t len, ProtoMessage *ret, Error *e) {
        CLEANUP_MESSAGE ProtoMessage m;
        CLEANUP_JSON json_t *o = NULL;
        Extent x;
        int r;

        proto_message_init(&m, t->kind, t->reply);
        memcpy(m.job_id, t->job_id, sizeof m.job_id);
        if (!is_from_service(t))
                return error_set(e, EINVAL, "topic: not one of a reply or a notification");
        if (len > LIMIT_PAYLOAD)
                return error_set(e, E2BIG, "payload: %zu bytes; at most %d expected", len, LIMIT_PAYLOAD);
        if (len == 0)
                payload = "";
        r = extent_find_document(payload, len, &x, e);
        if (r < 0)
                return r;
        r = parse_around(payload, len, x, &o, e);
        if (r < 0)
                return r;
        r = read_message(o, &m, e);
        if (r < 0)
                return r;
        r = take_document(o, payload, x, &m, e);
        if (r < 0)
                return r;
        *ret = m;
        m = (ProtoMessage){};
        return 0;
}
