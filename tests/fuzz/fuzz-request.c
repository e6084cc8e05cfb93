/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the topic, the rest is the payload of a request: what the service's side takes is inside every
 * limit, what it refuses has an answer, and what the device's side would have sent reads the same again. */
#include "proto/message.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const Topic topics[] = {
        { TOPIC_GET_PENDING, TOPIC_REQUEST, "T", "" }, { TOPIC_START_NEXT, TOPIC_REQUEST, "T", "" },
        { TOPIC_DESCRIBE, TOPIC_REQUEST, "T", "j" },   { TOPIC_DESCRIBE, TOPIC_REQUEST, "T", "$next" },
        { TOPIC_UPDATE, TOPIC_REQUEST, "T", "j" },     { TOPIC_UPDATE, TOPIC_REQUEST, "T", "$next" },
};

static void check_request(const ProtoRequest *r) {
        bool update = r->kind == TOPIC_UPDATE;

        assert(strlen(r->token) <= LIMIT_CLIENT_TOKEN && utf8_valid(r->token, strlen(r->token)));
        assert(r->expected_version >= -1 && r->execution_number >= -1);
        assert(r->step_timeout >= (update ? -1 : 0) && r->step_timeout <= LIMIT_TIMEOUT_MINUTES);
        assert(update == (r->status != PROTO_STATUS_NONE));
        assert(!update || proto_job_id_valid(r->job_id));
        assert(r->has_details == (r->details.n > 0));
        assert(proto_details_check(&r->details, NULL) == 0);
}

static void check_again(const ProtoRequest *r) {
        CLEANUP_BUF Buf b = {};
        ProtoRequest again;
        char topic[TOPIC_TEXT_MAX];
        ProtoCode code;
        Topic t;

        /* Longer tokens are taken than are sent; QUEUED is left to the state machine. */
        if (strlen(r->token) > LIMIT_CLIENT_TOKEN_SENT || r->status == PROTO_STATUS_QUEUED)
                return;
        assert(proto_request_encode(r, "T", topic, &b, NULL) == 0);
        t = topic_parse(topic, "T");
        assert(t.kind == r->kind && strcmp(t.job_id, r->job_id) == 0);
        assert(proto_request_decode(&t, b.data, b.len, &again, &code, NULL) == 0);
        assert(again.has_token == r->has_token && strcmp(again.token, r->token) == 0 &&
               again.status == r->status);
        assert(again.has_details == r->has_details && proto_details_equal(&again.details, &r->details));
        assert(again.expected_version == r->expected_version &&
               again.execution_number == r->execution_number);
        assert(again.include_state == r->include_state && again.include_document == r->include_document);
        assert(again.step_timeout == r->step_timeout);
        proto_request_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        CLEANUP_FREE char *payload = NULL;
        ProtoCode code = PROTO_CODE_NONE;
        ProtoRequest r;
        const Topic *t;
        Error e = {};

        if (size == 0)
                return 0;
        t = &topics[*data % ELEMENTSOF(topics)];
        payload = malloc(size); /* exactly the bytes, and one where there are none */
        if (!payload)
                return 0;
        memcpy(payload, data + 1, --size);
        if (proto_request_decode(t, payload, size, &r, &code, &e) < 0) {
                assert(code == PROTO_CODE_INVALID_JSON || code == PROTO_CODE_INVALID_REQUEST);
                assert(e.code != 0 && e.text[0] != '\0' && utf8_valid(e.text, strlen(e.text)));
                assert(r.details.n == 0 && utf8_valid(r.token, strlen(r.token)));
        } else {
                check_request(&r);
                check_again(&r);
        }
        proto_request_done(&r);
        return 0;
}
