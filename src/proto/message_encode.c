/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "proto/writer.h"

static void write_summary_members(Buf *b, const ProtoExecution *x) {
        if (x->queued_at != 0)
                writer_int(b, "queuedAt", x->queued_at);
        if (x->started_at != 0)
                writer_int(b, "startedAt", x->started_at);
        if (x->last_updated_at != 0)
                writer_int(b, "lastUpdatedAt", x->last_updated_at);
        if (x->version >= 0)
                writer_int(b, "versionNumber", x->version);
        if (x->number >= 0)
                writer_int(b, "executionNumber", x->number);
}

static void write_execution(Buf *b, const ProtoExecution *x) {
        writer_open(b, "execution", '{');
        writer_string(b, "jobId", x->job_id);
        if (x->thing)
                writer_string(b, "thingName", x->thing);
        if (x->status != PROTO_STATUS_NONE)
                writer_string(b, "status", proto_status_name(x->status));
        writer_details(b, &x->details);
        write_summary_members(b, x);
        if (x->seconds_left >= 0)
                writer_int(b, "approximateSecondsBeforeTimedOut", x->seconds_left);
        if (x->document)
                writer_raw(b, "jobDocument", x->document, x->document_len);
        writer_close(b, '}');
}

/* Entries that are IN_PROGRESS, or those that are not. An empty list only if asked for. */
static void write_list(Buf *b, const char *name, const ProtoMessage *m, bool in_progress, bool even_empty) {
        bool open = even_empty;

        if (open)
                writer_open(b, name, '[');
        for (size_t i = 0; i < m->n_list; i++) {
                const ProtoExecution *x = &m->list[i];

                if ((x->status == PROTO_STATUS_IN_PROGRESS) != in_progress)
                        continue;
                if (!open)
                        writer_open(b, name, '[');
                open = true;
                writer_open(b, NULL, '{');
                writer_string(b, "jobId", x->job_id);
                write_summary_members(b, x);
                writer_close(b, '}');
        }
        if (open)
                writer_close(b, ']');
}

static void write_state(Buf *b, const ProtoMessage *m) {
        if (!m->has_state)
                return;
        writer_open(b, "executionState", '{');
        if (m->state_status != PROTO_STATUS_NONE)
                writer_string(b, "status", proto_status_name(m->state_status));
        writer_details(b, &m->state_details);
        if (m->state_version >= 0)
                writer_int(b, "versionNumber", m->state_version);
        writer_close(b, '}');
}

static void write_jobs(Buf *b, const ProtoMessage *m) {
        writer_open(b, "jobs", '{');
        write_list(b, proto_status_name(PROTO_STATUS_IN_PROGRESS), m, true, false);
        write_list(b, proto_status_name(PROTO_STATUS_QUEUED), m, false, false);
        writer_close(b, '}');
}

static int write_accepted(Buf *b, const ProtoMessage *m) {
        switch (m->kind) {
        case TOPIC_GET_PENDING:
                write_list(b, "inProgressJobs", m, true, true);
                write_list(b, "queuedJobs", m, false, true);
                return 0;
        case TOPIC_START_NEXT:
        case TOPIC_DESCRIBE:
                if (m->has_execution)
                        write_execution(b, &m->execution);
                return 0;
        case TOPIC_UPDATE:
                write_state(b, m);
                if (m->document)
                        writer_raw(b, "jobDocument", m->document, m->document_len);
                return 0;
        case TOPIC_UNRECOGNIZED:
        case TOPIC_NOTIFY:
        case TOPIC_NOTIFY_NEXT:
                return -EINVAL;
        }
        return -EINVAL;
}

static int write_notice(Buf *b, const ProtoMessage *m) {
        if (m->kind == TOPIC_NOTIFY) {
                write_jobs(b, m);
                return 0;
        }
        if (m->kind != TOPIC_NOTIFY_NEXT)
                return -EINVAL;
        if (m->has_execution)
                write_execution(b, &m->execution);
        return 0;
}

static int write_body(Buf *b, const ProtoMessage *m) {
        switch (m->reply) {
        case TOPIC_REQUEST:
                return write_notice(b, m);
        case TOPIC_ACCEPTED:
                return write_accepted(b, m);
        case TOPIC_REJECTED:
                writer_string(b, "code", proto_code_name(m->code));
                writer_string(b, "message", m->message);
                write_state(b, m);
                return 0;
        }
        return -EINVAL;
}

int proto_message_encode(const ProtoMessage *m, Buf *ret_payload) {
        CLEANUP_BUF Buf b = {};
        int r;

        writer_open(&b, NULL, '{');
        if (m->has_token && m->reply != TOPIC_REQUEST)
                writer_string(&b, "clientToken", m->token);
        if (m->timestamp != 0)
                writer_int(&b, "timestamp", m->timestamp);
        r = write_body(&b, m);
        if (r < 0)
                return r;
        writer_close(&b, '}');
        return writer_finish(&b, ret_payload);
}
