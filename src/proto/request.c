/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"
#include "proto/reader.h"
#include "proto/writer.h"

void proto_request_init(ProtoRequest *r, TopicKind kind) {
        *r = (ProtoRequest){
                .kind = kind,
                .expected_version = -1,
                .execution_number = -1,
                .include_document = kind == TOPIC_DESCRIBE,
        };
}

void proto_request_done(ProtoRequest *r) {
        proto_details_done(&r->details);
}

static bool device_may_set(ProtoStatus s) {
        switch (s) {
        case PROTO_STATUS_IN_PROGRESS:
        case PROTO_STATUS_SUCCEEDED:
        case PROTO_STATUS_FAILED:
        case PROTO_STATUS_REJECTED:
                return true;
        case PROTO_STATUS_NONE:
        case PROTO_STATUS_QUEUED:
        case PROTO_STATUS_TIMED_OUT:
        case PROTO_STATUS_REMOVED:
        case PROTO_STATUS_CANCELED:
        case PROTO_STATUS_COUNT:
                return false;
        }
        return false;
}

/* 0 = absent. Only an update may discard the timer. */
static int check_step_timeout(TopicKind kind, int64_t minutes, Error *e) {
        bool update = kind == TOPIC_UPDATE;

        if ((minutes >= 1 && minutes <= LIMIT_TIMEOUT_MINUTES) || (update && minutes == -1))
                return 0;
        return error_set(e, EINVAL, "stepTimeoutInMinutes: %" PRId64 "; 1 to %d%s expected", minutes,
                         LIMIT_TIMEOUT_MINUTES, update ? ", or -1," : "");
}

/* ---- the device's side ---- */

static int check_token(const ProtoRequest *r, Error *e) {
        size_t n = strlen(r->token);

        if (!r->has_token)
                return 0;
        if (n > LIMIT_CLIENT_TOKEN_SENT)
                return error_set(e, EINVAL, "clientToken: %zu bytes; at most %d expected", n,
                                 LIMIT_CLIENT_TOKEN_SENT);
        if (!utf8_valid(r->token, n))
                return error_set(e, EINVAL, "clientToken: not valid UTF-8");
        return 0;
}

static int check_update(const ProtoRequest *r, Error *e) {
        if (!proto_job_id_valid(r->job_id))
                return error_set(e, EINVAL, "jobId: 1 to %d of [a-zA-Z0-9_-] expected in an update",
                                 LIMIT_JOB_ID);
        if (!device_may_set(r->status))
                return error_set(e, EINVAL, "status: \"%s\" is not a device's to set",
                                 r->status < PROTO_STATUS_COUNT ? proto_status_name(r->status) : "?");
        if (r->expected_version < -1)
                return error_set(e, EINVAL, "expectedVersion: %" PRId64 " is negative", r->expected_version);
        return 0;
}

static int check_request(const ProtoRequest *r, Error *e) {
        bool update = r->kind == TOPIC_UPDATE;
        int k;

        k = check_token(r, e);
        if (k < 0)
                return k;
        if (update) {
                k = check_update(r, e);
                if (k < 0)
                        return k;
        }
        if (!update && r->kind != TOPIC_START_NEXT)
                return 0;
        if (r->step_timeout != 0) {
                k = check_step_timeout(r->kind, r->step_timeout, e);
                if (k < 0)
                        return k;
        }
        return r->has_details ? proto_details_check(&r->details, e) : 0;
}

static void write_request(Buf *b, const ProtoRequest *r) {
        bool update = r->kind == TOPIC_UPDATE, describe = r->kind == TOPIC_DESCRIBE;

        writer_open(b, NULL, '{');
        if (update)
                writer_string(b, "status", proto_status_name(r->status));
        if (r->has_details && (update || r->kind == TOPIC_START_NEXT))
                writer_details(b, &r->details);
        if (update && r->expected_version >= 0)
                writer_int(b, "expectedVersion", r->expected_version);
        if ((update || describe) && r->execution_number >= 0)
                writer_int(b, "executionNumber", r->execution_number);
        if (update && r->include_state)
                writer_bool(b, "includeJobExecutionState", true);
        /* Sources disagree on the default in a describe, so it is always said. */
        if (describe || (update && r->include_document))
                writer_bool(b, "includeJobDocument", r->include_document);
        if (r->step_timeout != 0 && (update || r->kind == TOPIC_START_NEXT))
                writer_int(b, "stepTimeoutInMinutes", r->step_timeout);
        if (r->has_token)
                writer_string(b, "clientToken", r->token);
        writer_close(b, '}');
}

static bool is_request_kind(TopicKind kind) {
        switch (kind) {
        case TOPIC_GET_PENDING:
        case TOPIC_START_NEXT:
        case TOPIC_DESCRIBE:
        case TOPIC_UPDATE:
                return true;
        case TOPIC_UNRECOGNIZED:
        case TOPIC_NOTIFY:
        case TOPIC_NOTIFY_NEXT:
                return false;
        }
        return false;
}

/* Topics may hold "+" for filters; a request must not. */
static int format_topic(const ProtoRequest *r, const char *thing, char ret[static TOPIC_TEXT_MAX], Error *e) {
        Topic t = { .kind = r->kind };
        size_t n = strlen(thing);

        if (!is_request_kind(r->kind))
                return error_set(e, EINVAL, "request: not a kind that can be sent");
        if (!proto_thing_name_valid(thing))
                return error_set(e, EINVAL, "thingName: 1 to %d of [a-zA-Z0-9:_-] expected",
                                 LIMIT_THING_NAME);
        memcpy(t.thing, thing, n + 1);
        if (r->kind == TOPIC_DESCRIBE || r->kind == TOPIC_UPDATE)
                memcpy(t.job_id, r->job_id, sizeof t.job_id);
        if (strcmp(t.job_id, "+") == 0 || topic_format(&t, ret) < 0)
                return error_set(e, EINVAL, "jobId: 1 to %d of [a-zA-Z0-9_-] expected", LIMIT_JOB_ID);
        return 0;
}

int proto_request_encode(const ProtoRequest *r, const char *thing, char ret_topic[static TOPIC_TEXT_MAX],
                         Buf *ret_payload, Error *e) {
        CLEANUP_BUF Buf b = {};
        char topic[TOPIC_TEXT_MAX];
        int k;

        k = format_topic(r, thing, topic, e);
        if (k < 0)
                return k;
        k = check_request(r, e);
        if (k < 0)
                return k;
        write_request(&b, r);
        k = writer_finish(&b, ret_payload);
        if (k < 0)
                return error_set(e, -k, "request: out of memory");
        memcpy(ret_topic, topic, strlen(topic) + 1);
        return 0;
}

/* ---- the service's side ---- */

static int read_status(const json_t *o, ProtoRequest *ret, Error *e) {
        enum { SHOWN = 64 }; /* characters of a bad status in the answer */
        CLEANUP_FREE char *shown = NULL;
        const char *text;
        int r;

        r = json_get_string(o, "status", "", &text, e);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(
                        e, EINVAL,
                        "Value null at 'status' failed to satisfy constraint: Member must not be null");
        ret->status = proto_status_parse(text);
        /* QUEUED is well-formed, but no state leads there: the state machine refuses it. */
        if (ret->status == PROTO_STATUS_QUEUED || device_may_set(ret->status))
                return 0;
        ret->status = PROTO_STATUS_NONE;
        shown = text_sanitize(text, strlen(text), SHOWN, false);
        return error_set(
                e, EINVAL,
                "Value '%s' at 'status' failed to satisfy constraint: Member must be one of IN_PROGRESS, "
                "SUCCEEDED, FAILED, REJECTED",
                shown ? shown : "");
}

static int read_step_timeout(const json_t *o, ProtoRequest *ret, Error *e) {
        int64_t minutes;
        int r;

        r = json_get_int(o, "stepTimeoutInMinutes", "", INT64_MIN, INT64_MAX, &minutes, e);
        if (r <= 0)
                return r;
        r = check_step_timeout(ret->kind, minutes, e);
        if (r < 0)
                return r;
        ret->step_timeout = minutes;
        return 0;
}

static int read_update(const json_t *o, ProtoRequest *ret, Error *e) {
        int r;

        if (!proto_job_id_valid(ret->job_id))
                return error_set(
                        e, EINVAL,
                        "Value '%s' at 'jobId' failed to satisfy constraint: Member must satisfy regular "
                        "expression pattern: [a-zA-Z0-9_-]+",
                        ret->job_id);
        r = read_status(o, ret, e);
        if (r < 0)
                return r;
        r = reader_number(o, "expectedVersion", "", &ret->expected_version, e);
        if (r < 0)
                return r;
        return json_get_bool(o, "includeJobExecutionState", "", &ret->include_state, e);
}

static int read_members(const json_t *o, ProtoRequest *ret, Error *e) {
        bool update = ret->kind == TOPIC_UPDATE, describe = ret->kind == TOPIC_DESCRIBE;
        int r;

        if (update) {
                r = read_update(o, ret, e);
                if (r < 0)
                        return r;
        }
        if (update || describe) {
                r = reader_number(o, "executionNumber", "", &ret->execution_number, e);
                if (r < 0)
                        return r;
                r = json_get_bool(o, "includeJobDocument", "", &ret->include_document, e);
                if (r < 0)
                        return r;
        }
        if (update || ret->kind == TOPIC_START_NEXT) {
                r = read_step_timeout(o, ret, e);
                if (r < 0)
                        return r;
                r = reader_details_checked(o, &ret->details, e);
                if (r < 0)
                        return r;
                ret->has_details = r > 0;
        }
        return 0;
}

/* JSON that is well-formed but beyond a limit is the request's fault, not the text's. */
static ProtoCode code_of(int r) {
        switch (-r) {
        case EBADMSG:
                return PROTO_CODE_INVALID_JSON;
        case ENOMEM:
                return PROTO_CODE_INTERNAL_ERROR;
        default:
                return PROTO_CODE_INVALID_REQUEST;
        }
}

static int decode_request(const char *payload, size_t len, ProtoRequest *ret, Error *e) {
        CLEANUP_JSON json_t *o = NULL;
        int r;

        if (len > LIMIT_PAYLOAD)
                return error_set(e, E2BIG, "payload: %zu bytes; at most %d expected", len, LIMIT_PAYLOAD);
        r = len > 0 ? json_parse_object(payload, len, &o, e) : json_parse_object("{}", 2, &o, e);
        if (r < 0)
                return r;
        r = reader_token(o, ret->token, e);
        if (r < 0)
                return r;
        ret->has_token = r > 0;
        return read_members(o, ret, e);
}

int proto_request_decode(const Topic *t, const char *payload, size_t len, ProtoRequest *ret,
                         ProtoCode *ret_code, Error *e) {
        int r;

        proto_request_init(ret, t->kind);
        if (!is_request_kind(t->kind) || t->reply != TOPIC_REQUEST) {
                *ret_code = PROTO_CODE_INVALID_TOPIC;
                return error_set(e, EINVAL, "topic: not one of a request");
        }
        memcpy(ret->job_id, t->job_id, sizeof ret->job_id);
        r = decode_request(payload, len, ret, e);
        if (r < 0) {
                *ret_code = code_of(r);
                return -EINVAL;
        }
        return 0;
}
