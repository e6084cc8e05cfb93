/* SPDX-License-Identifier: Apache-2.0 */
/* A packet of the agent–runner wire. What decodes must encode, and decode to the same again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

static bool runs_equal(const WireMessage *a, const WireMessage *b) {
        if (a->n_runs != b->n_runs || a->more != b->more)
                return false;
        for (size_t i = 0; i < a->n_runs; i++)
                if (!job_key_equal(&a->runs[i].key, &b->runs[i].key) || a->runs[i].state != b->runs[i].state ||
                    strcmp(a->runs[i].claim, b->runs[i].claim) != 0 || a->runs[i].seconds != b->runs[i].seconds)
                        return false;
        return true;
}

static bool ends_equal(const WireMessage *a, const WireMessage *b) {
        if (a->n_ends != b->n_ends)
                return false;
        for (size_t i = 0; i < a->n_ends; i++)
                if (!job_key_equal(&a->ends[i].key, &b->ends[i].key) || a->ends[i].at != b->ends[i].at ||
                    a->ends[i].status != b->ends[i].status || !proto_details_equal(&a->ends[i].details, &b->ends[i].details))
                        return false;
        return true;
}

static bool equal(const WireMessage *a, const WireMessage *b) {
        return a->count == b->count && a->by_operator == b->by_operator && a->by_deadline == b->by_deadline && a->paused_since == b->paused_since && ends_equal(a, b) &&
                a->type == b->type && job_key_equal(&a->key, &b->key) && a->document_len == b->document_len &&
                !a->document == !b->document &&
                (!a->document || memcmp(a->document, b->document, a->document_len) == 0) && strcmp(a->claim, b->claim) == 0 &&
                a->phase == b->phase && a->steps == b->steps && a->max_seconds == b->max_seconds && a->seconds == b->seconds &&
                a->state == b->state &&
                a->status == b->status && proto_details_equal(&a->details, &b->details) && runs_equal(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        WireMessage first CLEANUP_WIRE = {}, second CLEANUP_WIRE = {}, copy CLEANUP_WIRE = {};
        Buf b CLEANUP_BUF = {};
        Error e = {};
        int r = wire_decode((const char *) data, size, &first, &e);

        if (r < 0) {
                must(r == -ENOMEM || (r == -EBADMSG && e.text[0] != '\0'));
                return 0;
        }
        r = wire_encode(&first, &b);
        /* What was said tersely may be too long when said in full. */
        if (r == -EMSGSIZE)
                return 0;
        must(r == 0);
        must(wire_decode(b.data, b.len, &second, NULL) == 0);
        must(equal(&first, &second));
        must(wire_message_copy(&copy, &second) == 0);
        must(equal(&first, &copy));
        return 0;
}
