/* SPDX-License-Identifier: Apache-2.0 */
#include "client/reply.h"

#include <iotjobs/topic.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "client/names.h"

static size_t fill_details(const ProtoDetails *from, IotJobsDetail *to) {
        for (size_t i = 0; i < from->n; i++)
                to[i] = (IotJobsDetail){ .key = from->pair[i].key, .value = from->pair[i].value };
        return from->n;
}

static IotJobsExecution execution_of(const ProtoExecution *x, IotJobsDetail *details) {
        return (IotJobsExecution){
                .job_id = x->job_id,
                .status = status_to_public(x->status),
                .details = details,
                .n_details = details ? fill_details(&x->details, details) : 0,
                .queued_at = x->queued_at,
                .started_at = x->started_at,
                .last_updated_at = x->last_updated_at,
                .version = x->version,
                .execution_number = x->number,
                .seconds_left = x->seconds_left,
                .document = x->document,
                .document_len = x->document ? x->document_len : 0,
        };
}

static void fill_state(Reply *r) {
        const ProtoMessage *m = &r->proto;

        r->state = (IotJobsExecution){
                .job_id = r->parts.job_id,
                .status = m->has_state ? status_to_public(m->state_status) : IOTJOBS_STATUS_NOT_SET,
                .details = r->state_details,
                .n_details = fill_details(&m->state_details, r->state_details),
                .version = m->has_state ? m->state_version : -1,
                .execution_number = -1,
                .seconds_left = -1,
                .document = m->document,
                .document_len = m->document ? m->document_len : 0,
        };
        r->message.state = &r->state;
}

/* A code that this version does not know is shown as it came. */
static void fill_code(Reply *r, const char *payload, size_t len) {
        CLEANUP_JSON json_t *o = NULL;
        CLEANUP_FREE char *clean = NULL;
        const char *text = "";

        r->message.code = code_to_public(r->proto.code);
        if (r->proto.code != PROTO_CODE_UNKNOWN) {
                r->message.code_text = proto_code_name(r->proto.code);
                return;
        }
        if (json_parse_object(payload, len, &o, NULL) == 0 && json_get_string(o, "code", "", &text, NULL) < 0)
                text = "";
        clean = text_sanitize(text, strlen(text), REPLY_CODE_TEXT_MAX / 3 - 1, false); /* ≤ 3 bytes a UTF-16 unit */
        (void) strncpy(r->code_text, clean ? clean : "", sizeof r->code_text - 1);
        r->message.code_text = r->code_text;
}

static void fill_content(Reply *r, const char *payload, size_t len) {
        const ProtoMessage *m = &r->proto;

        r->message.client_token = m->has_token ? m->token : NULL;
        r->message.timestamp = m->timestamp;
        for (size_t i = 0; i < m->n_list && i < ELEMENTSOF(r->pending); i++)
                r->pending[r->message.n_pending++] = execution_of(&m->list[i], NULL);
        r->message.pending = m->n_list > 0 ? r->pending : NULL;
        if (m->has_execution) {
                r->execution = execution_of(&m->execution, r->details);
                r->message.execution = &r->execution;
        }
        if (m->has_state || m->document)
                fill_state(r);
        if (m->reply == TOPIC_REJECTED)
                fill_code(r, payload, len);
        r->message.error_message = m->message;
        r->message.passed_over = m->passed_over[0] ? m->passed_over : NULL;
}

bool reply_decode(Reply *r, const char *thing, const char *topic, const char *payload, size_t len) {
        IotJobsTopic public = iotjobs_topic_parse(topic, thing);

        r->parts = topic_parse(topic, thing);
        if (r->parts.kind == TOPIC_UNRECOGNIZED)
                return false;
        r->message = (IotJobsMessage){
                .topic = topic,
                .payload = payload,
                .payload_len = len,
                .type = public.type,
                .reply = public.reply,
                .job_id = r->parts.job_id,
                .code_text = "",
                .error_message = "",
        };
        proto_message_init(&r->proto, r->parts.kind, r->parts.reply);
        if (r->parts.reply == TOPIC_REQUEST && r->parts.kind != TOPIC_NOTIFY && r->parts.kind != TOPIC_NOTIFY_NEXT)
                return true;
        if (proto_message_decode(&r->parts, payload, len, &r->proto, &r->fault) < 0)
                r->message.fault = r->fault.text;
        else
                fill_content(r, payload, len);
        return true;
}

void reply_done(Reply *r) {
        proto_message_done(&r->proto);
}
