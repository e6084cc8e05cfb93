/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the topic, the rest is the payload of a reply or notification: what is understood keeps the
 * promises of message.h, and survives being encoded and decoded again. */
#include "proto/message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const Topic topics[] = {
        { TOPIC_NOTIFY, TOPIC_REQUEST, "T", "" },       { TOPIC_NOTIFY_NEXT, TOPIC_REQUEST, "T", "" },
        { TOPIC_GET_PENDING, TOPIC_ACCEPTED, "T", "" }, { TOPIC_GET_PENDING, TOPIC_REJECTED, "T", "" },
        { TOPIC_START_NEXT, TOPIC_ACCEPTED, "T", "" },  { TOPIC_START_NEXT, TOPIC_REJECTED, "T", "" },
        { TOPIC_DESCRIBE, TOPIC_ACCEPTED, "T", "j" },   { TOPIC_DESCRIBE, TOPIC_REJECTED, "T", "$next" },
        { TOPIC_UPDATE, TOPIC_ACCEPTED, "T", "j" },     { TOPIC_UPDATE, TOPIC_REJECTED, "T", "j" },
};

static void check_text(const char *text, size_t size) {
        size_t n = strnlen(text, size);

        assert(n < size && utf8_valid(text, n));
}

static void check_execution(const ProtoExecution *x) {
        assert(proto_job_id_valid(x->job_id));
        assert(x->status < PROTO_STATUS_COUNT && x->details.n <= LIMIT_DETAILS_PAIRS);
        assert(x->queued_at >= 0 && x->started_at >= 0 && x->last_updated_at >= 0);
        assert(x->version >= -1 && x->number >= -1 && x->seconds_left >= -1 && !x->thing);
}

static void check_message(const ProtoMessage *m, const char *payload, size_t len) {
        const char *document = m->document ? m->document : m->execution.document;
        size_t document_len = m->document ? m->document_len : m->execution.document_len;

        check_text(m->token, sizeof m->token);
        check_text(m->message, sizeof m->message);
        check_text(m->passed_over, sizeof m->passed_over);
        assert(m->timestamp >= 0 && m->n_list <= LIMIT_PENDING_LISTED_MAX &&
               !(m->document && m->execution.document));
        assert(m->code < PROTO_CODE_COUNT && (m->code != PROTO_CODE_NONE) == (m->reply == TOPIC_REJECTED));
        for (size_t i = 0; i < m->n_list; i++) {
                check_execution(&m->list[i]);
                assert(!m->list[i].document && m->list[i].status != PROTO_STATUS_NONE);
        }
        if (m->has_execution)
                check_execution(&m->execution);
        assert(!m->execution.document || m->has_execution);
        if (m->owned_document)
                assert(document == m->owned_document);
        else if (document)
                assert(document >= payload && document_len > 0 &&
                       document_len <= len - (size_t) (document - payload));
}

static bool same_execution(const ProtoExecution *a, const ProtoExecution *b) {
        return strcmp(a->job_id, b->job_id) == 0 && a->status == b->status && a->queued_at == b->queued_at &&
               a->started_at == b->started_at && a->last_updated_at == b->last_updated_at &&
               a->version == b->version && a->number == b->number && a->seconds_left == b->seconds_left &&
               proto_details_equal(&a->details, &b->details) && a->document_len == b->document_len &&
               (a->document_len == 0 || memcmp(a->document, b->document, a->document_len) == 0);
}

/* A message that came in is one the service's side could have sent: all but a document that was unescaped. What the
 * encoder leaves out of a summary is left out of the comparison. */
static void check_again(const Topic *t, ProtoMessage *m) {
        CLEANUP_BUF Buf b = {};
        CLEANUP_MESSAGE ProtoMessage again = {};
        Error e = {};
        int r;

        if (m->owned_document)
                return;
        for (size_t i = 0; i < m->n_list; i++)
                m->list[i].seconds_left = -1;
        assert(proto_message_encode(m, &b) == 0);
        r = proto_message_decode(t, b.data, b.len, &again, &e);
        if (r == -E2BIG) /* an escape written in full, or U+FFFD, may take it past a limit */
                return;
        assert(r == 0 && again.passed_over[0] == '\0');
        assert(again.has_token == m->has_token && strcmp(again.token, m->token) == 0);
        assert(again.timestamp == m->timestamp && again.code == m->code &&
               strcmp(again.message, m->message) == 0);
        assert(again.has_state == m->has_state && again.state_status == m->state_status);
        assert(again.state_version == m->state_version &&
               proto_details_equal(&again.state_details, &m->state_details));
        assert(again.has_execution == m->has_execution && same_execution(&again.execution, &m->execution));
        assert(again.document_len == m->document_len);
        assert(m->document_len == 0 || memcmp(again.document, m->document, m->document_len) == 0);
        assert(again.n_list == m->n_list);
        for (size_t i = 0; i < m->n_list; i++)
                assert(same_execution(&again.list[i], &m->list[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        CLEANUP_FREE char *payload = NULL;
        CLEANUP_MESSAGE ProtoMessage m = {};
        const Topic *t;
        Error e = {};
        int r;

        if (size == 0)
                return 0;
        t = &topics[*data % ELEMENTSOF(topics)];
        payload = malloc(size); /* exactly the bytes, and one where there are none */
        if (!payload)
                return 0;
        memcpy(payload, data + 1, --size);
        r = proto_message_decode(t, payload, size, &m, &e);
        if (r < 0) {
                assert((r == -EBADMSG || r == -EINVAL || r == -E2BIG) && e.code == -r);
                assert(e.text[0] != '\0' && utf8_valid(e.text, strlen(e.text)));
                assert(!m.list && !m.owned_document);
                return 0;
        }
        check_message(&m, payload, size);
        check_again(t, &m);
        return 0;
}
