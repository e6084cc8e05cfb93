/* SPDX-License-Identifier: Apache-2.0 */
/* A packet of the control socket, from either side. What decodes must encode, and decode to the same again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

static void try_request(const char *data, size_t size) {
        ControlRequest first = {}, second = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};
        int r = control_request_decode(data, size, &first, &e);

        if (r < 0) {
                must(r == -ENOMEM || (r == -EBADMSG && e.text[0] != '\0'));
                return;
        }
        must(control_request_encode(&first, &b) == 0);
        must(control_request_decode(b.data, b.len, &second, NULL) == 0);
        must(first.verb == second.verb && strcmp(first.job_id, second.job_id) == 0 && first.number == second.number &&
             first.count == second.count);
}

static bool job_equal(const ControlJob *a, const ControlJob *b) {
        return strcmp(a->job_id, b->job_id) == 0 && a->number == b->number && a->queued_at == b->queued_at && a->phase == b->phase &&
                a->status == b->status && a->since == b->since && a->resume_in == b->resume_in && a->deadline_in == b->deadline_in &&
                a->progress == b->progress && strcmp(a->step, b->step) == 0 && a->cancelling == b->cancelling &&
                proto_details_equal(&a->details, &b->details);
}

static bool lists_equal(const ControlReply *a, const ControlReply *b) {
        if (a->n_jobs != b->n_jobs || a->n_ended != b->n_ended || a->n_ends != b->n_ends)
                return false;
        for (size_t i = 0; i < a->n_jobs; i++)
                if (!job_equal(&a->jobs[i], &b->jobs[i]))
                        return false;
        for (size_t i = 0; i < a->n_ended; i++)
                if (strcmp(a->ended[i].job_id, b->ended[i].job_id) != 0 || a->ended[i].number != b->ended[i].number ||
                    a->ended[i].status != b->ended[i].status || a->ended[i].ago != b->ended[i].ago)
                        return false;
        for (size_t i = 0; i < a->n_ends; i++)
                if (strcmp(a->ends[i].key.job_id, b->ends[i].key.job_id) != 0 || a->ends[i].at != b->ends[i].at ||
                    a->ends[i].status != b->ends[i].status || !proto_details_equal(&a->ends[i].details, &b->ends[i].details))
                        return false;
        return true;
}

static bool status_equal(const ControlStatus *a, const ControlStatus *b) {
        return strcmp(a->thing, b->thing) == 0 && strcmp(a->version, b->version) == 0 && strcmp(a->endpoint, b->endpoint) == 0 &&
                strcmp(a->summary, b->summary) == 0 && strcmp(a->error, b->error) == 0 && strcmp(a->warning, b->warning) == 0 &&
                a->connected == b->connected && a->synced == b->synced && a->uptime == b->uptime &&
                a->connection_time == b->connection_time && a->retry_in == b->retry_in && a->paused_since == b->paused_since;
}

static void try_reply(const char *data, size_t size) {
        ControlReply first CLEANUP_REPLY = {}, second CLEANUP_REPLY = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};
        int r = control_reply_decode(data, size, &first, &e);

        if (r < 0) {
                must(r == -ENOMEM || (r == -EBADMSG && e.text[0] != '\0'));
                return;
        }
        r = control_reply_encode(&first, &b);
        if (r == -EMSGSIZE) /* what was said tersely may be too long when said in full */
                return;
        must(r == 0);
        must(control_reply_decode(b.data, b.len, &second, NULL) == 0);
        must(first.type == second.type && first.error == second.error && first.more == second.more &&
             (first.type != CONTROL_REPLY_STATUS || status_equal(&first.status, &second.status)) &&
             strcmp(first.text, second.text) == 0 && lists_equal(&first, &second));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        try_request((const char *) data, size);
        try_reply((const char *) data, size);
        return 0;
}
