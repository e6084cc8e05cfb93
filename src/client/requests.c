/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: checked, written, and handed to the connection or kept for the next one. */
#include <errno.h>
#include <inttypes.h>
#include <iotjobs/jobs.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "client/core.h"
#include "client/names.h"
#include "client/shared.h"
#include "proto/message.h"
#include "proto/writer.h"

_Static_assert((int) IOTJOBS_TOKEN_MAX == LIMIT_CLIENT_TOKEN + 1, "the token has the room the service gives it");

/* ---- handing over ---- */

int requests_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) {
        if (c->handle)
                return shared_publish(c, topic, payload, len);
        return c->transport ? connection_publish(c, topic, payload, len) : -ENOTCONN;
}

void requests_drain(IotJobsClient *c, uint64_t now) {
        for (;;) {
                OfflineItem *item = offline_take(&c->offline, now);
                int r;

                if (!item)
                        return;
                r = requests_publish(c, item->topic, item->payload, item->len);
                if (r == -ENOTCONN || r == -ENOBUFS || r == -ENOMEM) {
                        offline_put_back(&c->offline, item); /* later */
                        return;
                }
                if (r < 0)
                        core_push_dropped(c, item->topic, "a request that waited for the connection could not be sent");
                free(item);
        }
}

/* In the order they were made: while older ones wait, a new one waits behind them. */
static int hand_over(IotJobsClient *c, const char *topic, const Buf *payload, Error *e) {
        bool waits = c->offline.n > 0 || !c->online;
        int r = waits ? -ENOTCONN : requests_publish(c, topic, payload->data, payload->len);

        if (r == 0)
                return 0;
        if (r == -ENOTCONN) {
                r = offline_push(&c->offline, topic, payload->data, payload->len);
                if (r >= 0) {
                        core_wake(c); /* it may be due at once */
                        return 1;
                }
        }
        if (r == -ENOTCONN)
                return error_set(e, ENOTCONN, "request on %s: not connected", topic);
        if (r == -ENOBUFS)
                return error_set(e, ENOBUFS, "request on %s: too much waits already", topic);
        return error_errno(e, -r, "request on %s", topic);
}

/* ---- writing ---- */

typedef struct Draft {
        ProtoRequest request; /* its token is not used: see below */
        bool has_token;
        char token[IOTJOBS_TOKEN_MAX];
        bool with_include_document; /* v1: a query of a job says nothing of the document */
} Draft;

static void draft_init(Draft *d, TopicKind kind) {
        *d = (Draft){ .with_include_document = kind == TOPIC_DESCRIBE };
        proto_request_init(&d->request, kind);
}

static void draft_done(Draft *d) {
        proto_request_done(&d->request);
}
#define CLEANUP_DRAFT __attribute__((cleanup(draft_done)))

/* Under the lock: the counter is shared. */
static int choose_token(IotJobsClient *c, const IotJobsRequest *common, Draft *d, Error *e) {
        const char *given = common ? common->client_token : NULL;
        size_t n;

        if (!given && c->config.v1)
                given = c->config.client_id;
        if (!given) {
                d->has_token = !c->config.v1;
                if (d->has_token)
                        (void) snprintf(d->token, sizeof d->token, "%s-%" PRIx64, c->token_prefix, ++c->token_count);
                return 0;
        }
        n = strlen(given);
        if (n > LIMIT_CLIENT_TOKEN)
                return error_set(e, EINVAL, "clientToken: %zu bytes, at most %d expected", n, LIMIT_CLIENT_TOKEN);
        if (!utf8_valid(given, n))
                return error_set(e, EINVAL, "clientToken: not valid UTF-8");
        memcpy(d->token, given, n + 1);
        d->has_token = true;
        return 0;
}

static void write_number(Buf *b, const char *name, int64_t value, bool as_string) {
        char text[24];

        if (!as_string) {
                writer_int(b, name, value);
                return;
        }
        (void) snprintf(text, sizeof text, "%" PRId64, value);
        writer_string(b, name, text);
}

static void write_details(Buf *b, const ProtoRequest *r, bool v1) {
        if (r->details.n > 0)
                writer_details(b, &r->details);
        else if (v1 && r->kind == TOPIC_START_NEXT) { /* as SDK v1 has it; its update leaves {} out */
                writer_open(b, "statusDetails", '{');
                writer_close(b, '}');
        }
}

static void write_members(Buf *b, const Draft *d, bool v1) {
        const ProtoRequest *r = &d->request;
        bool update = r->kind == TOPIC_UPDATE;

        if (update)
                writer_string(b, "status", proto_status_name(r->status));
        if (r->has_details)
                write_details(b, r, v1);
        if (r->expected_version > 0)
                write_number(b, "expectedVersion", r->expected_version, v1);
        if (update && r->include_state)
                writer_bool(b, "includeJobExecutionState", true);
        if (d->with_include_document || (update && r->include_document))
                writer_bool(b, "includeJobDocument", r->include_document);
        if (r->execution_number > 0)
                write_number(b, "executionNumber", r->execution_number, v1 && update);
        if (d->has_token)
                writer_string(b, "clientToken", d->token);
        if (r->step_timeout != 0)
                writer_int(b, "stepTimeoutInMinutes", r->step_timeout);
}

/* The checks are proto_request_encode()'s; the text is written here, in the form of the mode and with the token that the
 * mode may have. */
static int encode(const IotJobsClient *c, const Draft *d, char ret_topic[static TOPIC_TEXT_MAX], Buf *ret, Error *e) {
        CLEANUP_BUF Buf checked = { 0 }, b = { 0 };
        int r = proto_request_encode(&d->request, c->config.thing, ret_topic, &checked, e);

        if (r < 0)
                return r;
        writer_open(&b, NULL, '{');
        write_members(&b, d, c->config.v1);
        writer_close(&b, '}');
        r = writer_finish(&b, ret);
        return r < 0 ? error_errno(e, -r, "request on %s", ret_topic) : 0;
}

static int send(IotJobsClient *c, IotJobsRequest *common, Draft *d, Error *e) {
        char topic[TOPIC_TEXT_MAX];
        CLEANUP_BUF Buf payload = { 0 };
        int r;

        core_lock(c);
        r = choose_token(c, common, d, e);
        if (r == 0)
                r = encode(c, d, topic, &payload, e);
        if (r == 0)
                r = hand_over(c, topic, &payload, e);
        core_unlock(c);
        if (r >= 0 && common)
                memcpy(common->used_token, d->token, sizeof common->used_token);
        return r;
}

/* ---- parameters ---- */

static int set_job_id(Draft *d, const char *job_id, Error *e) {
        if (!job_id || job_id[0] == '\0')
                return error_set(e, EINVAL, "job id: missing");
        if (strlen(job_id) > LIMIT_JOB_ID)
                return error_set(e, EINVAL, "job id: %zu characters, at most %d expected", strlen(job_id), LIMIT_JOB_ID);
        (void) snprintf(d->request.job_id, sizeof d->request.job_id, "%s", job_id);
        return 0;
}

static int add_detail(ProtoDetails *to, const char *key, const char *value, Error *e) {
        int r;

        if (!key || !value)
                return error_set(e, EINVAL, "statusDetails: a %s is missing", key ? "value" : "key");
        if (proto_details_get(to, key))
                return error_set(e, EINVAL, "statusDetails.%s: given twice", key);
        r = proto_details_set(to, key, value);
        if (r == -E2BIG)
                return error_set(e, E2BIG, "statusDetails: more than %d pairs", LIMIT_DETAILS_PAIRS);
        return r < 0 ? error_errno(e, -r, "statusDetails") : 0;
}

static int parse_details(ProtoDetails *to, const char *text, Error *e) {
        CLEANUP_JSON json_t *o = NULL;
        Error why = { 0 };
        const char *key;
        json_t *value;
        int r = json_parse_object(text, strlen(text), &o, &why);

        if (r < 0)
                return error_set(e, r == -ENOMEM ? ENOMEM : EINVAL, "statusDetails: %s", why.text);
        json_object_foreach(o, key, value) {
                if (!json_is_string(value))
                        return error_set(e, EINVAL, "statusDetails.%s: a string expected", key);
                r = add_detail(to, key, json_string_value(value), e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int set_details(Draft *d, const IotJobsDetail *details, size_t n, const char *json, Error *e) {
        int r = 0;

        if (details && json)
                return error_set(e, EINVAL, "statusDetails: given as a list and as JSON, expected one of them");
        if (!details && n > 0)
                return error_set(e, EINVAL, "statusDetails: missing, %zu pairs are announced", n);
        d->request.has_details = details || json;
        for (size_t i = 0; i < n && r == 0; i++)
                r = add_detail(&d->request.details, details[i].key, details[i].value, e);
        return r == 0 && json ? parse_details(&d->request.details, json, e) : r;
}

/* proto/ knows 0 as "none": here that would be one which the service refuses. */
static int set_step_timeout(Draft *d, bool given, int64_t minutes, Error *e) {
        if (given && minutes == 0)
                return error_set(e, EINVAL, "stepTimeoutInMinutes: 0, expected 1 to %d", LIMIT_TIMEOUT_MINUTES);
        d->request.step_timeout = given ? minutes : 0;
        return 0;
}

/* ---- public ---- */

static int need_client(const IotJobsClient *c, Error *e) {
        return c ? 0 : error_set(e, EINVAL, "client: missing");
}

int iotjobs_client_send_jobs_query(IotJobsClient *c, IotJobsRequest *common, IotJobsTopicType type, const char *job_id,
                                   IotJobsError *error) {
        Error *e = error_of(error);
        CLEANUP_DRAFT Draft d;
        int r = need_client(c, e);

        draft_init(&d, kind_from_public(type));
        if (r < 0)
                return r;
        switch (type) {
        case IOTJOBS_TOPIC_GET_PENDING:
        case IOTJOBS_TOPIC_START_NEXT:
                if (job_id && (job_id[0] != '\0' || c->config.v1))
                        r = error_set(e, EINVAL, "job id: \"%s\", but this query has none", job_id);
                break;
        case IOTJOBS_TOPIC_DESCRIBE:
                d.with_include_document = !c->config.v1;
                r = set_job_id(&d, job_id, e);
                break;
        case IOTJOBS_TOPIC_UPDATE:
                r = error_set(e, EINVAL, "query: an UPDATE without a status would be refused; call "
                                         "iotjobs_client_send_jobs_update()");
                break;
        case IOTJOBS_TOPIC_NOTIFY:
        case IOTJOBS_TOPIC_NOTIFY_NEXT:
                r = error_set(e, EINVAL, "query: notifications come from the service, a device only subscribes to them");
                break;
        case IOTJOBS_TOPIC_UNRECOGNIZED:
        case IOTJOBS_TOPIC_WILDCARD:
                r = error_set(e, EINVAL, "query: type %d, expected GET_PENDING, START_NEXT or DESCRIBE", (int) type);
                break;
        }
        return r < 0 ? r : send(c, common, &d, e);
}

int iotjobs_client_send_jobs_describe(IotJobsClient *c, IotJobsRequest *common, const char *job_id,
                                      int64_t execution_number, bool include_document, IotJobsError *error) {
        Error *e = error_of(error);
        CLEANUP_DRAFT Draft d;
        int r = need_client(c, e);

        draft_init(&d, TOPIC_DESCRIBE);
        if (r == 0)
                r = set_job_id(&d, job_id, e);
        if (r < 0)
                return r;
        d.request.execution_number = execution_number > 0 ? execution_number : -1;
        d.request.include_document = include_document;
        return send(c, common, &d, e);
}

int iotjobs_client_send_jobs_start_next(IotJobsClient *c, IotJobsRequest *common, const IotJobsStartNext *p,
                                        IotJobsError *error) {
        static const IotJobsStartNext nothing = { 0 };
        Error *e = error_of(error);
        CLEANUP_DRAFT Draft d;
        int r = need_client(c, e);

        draft_init(&d, TOPIC_START_NEXT);
        p = p ? p : &nothing;
        if (r == 0)
                r = set_details(&d, p->details, p->n_details, p->details_json, e);
        if (r == 0)
                r = set_step_timeout(&d, p->has_step_timeout, p->step_timeout_minutes, e);
        return r < 0 ? r : send(c, common, &d, e);
}

int iotjobs_client_send_jobs_update(IotJobsClient *c, IotJobsRequest *common, const IotJobsUpdate *p,
                                    IotJobsError *error) {
        Error *e = error_of(error);
        CLEANUP_DRAFT Draft d;
        int r = need_client(c, e);

        draft_init(&d, TOPIC_UPDATE);
        if (r == 0 && !p)
                r = error_set(e, EINVAL, "update: missing");
        if (r == 0)
                r = set_job_id(&d, p->job_id, e);
        if (r == 0)
                r = set_details(&d, p->details, p->n_details, p->details_json, e);
        if (r == 0)
                r = set_step_timeout(&d, p->has_step_timeout, p->step_timeout_minutes, e);
        if (r < 0)
                return r;
        d.request.status = status_from_public(p->status);
        d.request.expected_version = p->expected_version > 0 ? p->expected_version : -1;
        d.request.execution_number = p->execution_number > 0 ? p->execution_number : -1;
        d.request.include_state = p->include_state;
        d.request.include_document = p->include_document;
        return send(c, common, &d, e);
}
