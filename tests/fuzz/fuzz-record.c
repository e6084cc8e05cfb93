/* SPDX-License-Identifier: Apache-2.0 */
/* A record file. A fuzzer does not guess checksums, so that the input is taken twice: as it is, and line by line with the
 * right checksum put before each. What is replayed must write again, and replay to the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "record/record.h"
#include "record/record_pure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

/* A retry comes from a start, and so there was one after the reboot. */
static void rewrite_rebooting(const RecordState *s, Buf *ret) {
        must(record_encode(&s->rebooting, ret) == 0);
        if (s->deferred.attempt > 0)
                must(record_encode(&s->started, ret) == 0);
}

static void rewrite(const RecordState *s, Buf *ret) {
        RecordEntry prepared = { .type = RECORD_PREPARED, .key = s->key, .document = s->document,
                                 .document_len = s->document_len };

        (void) memcpy(prepared.claim, s->claim, sizeof prepared.claim);
        must(record_encode(&prepared, ret) == 0);
        if (s->started.attempt > 0)
                must(record_encode(&s->started, ret) == 0);
        if (s->rebooting.attempt > 0)
                rewrite_rebooting(s, ret);
        if (s->deferred.attempt > 0)
                must(record_encode(&s->deferred, ret) == 0);
        if (s->phase == RECORD_IS_DEFERRED) { /* read afresh, it may be the same */
                must(record_encode(&(RecordEntry){ .type = RECORD_DOCUMENT, .document = s->document, .document_len = s->document_len },
                                   ret) == 0);
        }
        if (s->phase == RECORD_IS_STARTED && (s->rebooting.attempt > 0 || s->deferred.attempt > 0))
                must(record_encode(&s->started, ret) == 0); /* the newest one came behind them */
        if (s->phase == RECORD_HAS_RESULT)
                must(record_encode(&s->result, ret) == 0);
}

static bool started_equal(const RecordEntry *a, const RecordEntry *b) {
        return a->step == b->step && a->attempt == b->attempt && a->restarts == b->restarts && a->pid == b->pid &&
                a->start_time == b->start_time && strcmp(a->boot_id, b->boot_id) == 0 && strcmp(a->cgroup, b->cgroup) == 0;
}

static bool attempt_equal(const RecordEntry *a, const RecordEntry *b) {
        return a->step == b->step && a->attempt == b->attempt && a->restarts == b->restarts && a->retries == b->retries &&
                a->at == b->at && a->delay == b->delay && strcmp(a->boot_id, b->boot_id) == 0;
}

/* What the inventory says of it, in its own boot and in another one. */
static void describe(const RecordState *s) {
        const char *const boots[] = { s->started.boot_id, s->deferred.boot_id, s->rebooting.boot_id, "another" };

        for (size_t i = 0; i < ELEMENTSOF(boots); i++) {
                WireRun run;

                record_describe(s, boots[i], s->deferred.at + i * 1000 * USEC_PER_MSEC, &run);
                must(job_key_equal(&run.key, &s->key) && strcmp(run.claim, s->claim) == 0 && run.seconds <= s->deferred.delay);
                must((run.state == WIRE_RUN_RESULT) == (s->phase == RECORD_HAS_RESULT));
        }
}

static void replay(const char *data, size_t len) {
        RecordState s CLEANUP_RECORD_STATE = {}, again CLEANUP_RECORD_STATE = {}, cut CLEANUP_RECORD_STATE = {};
        Buf b CLEANUP_BUF = {};

        (void) record_is_torn(data, len);
        if (record_replay(data, len, &s, NULL) < 0)
                return;
        must(s.valid_len <= len);
        if (s.phase == RECORD_NONE) {
                must(s.valid_len == 0 && !s.document);
                return;
        }
        describe(&s);
        /* What was cut off did not count. */
        must(record_replay(data, s.valid_len, &cut, NULL) == 0 && cut.phase == s.phase && cut.valid_len == s.valid_len);
        rewrite(&s, &b);
        must(record_replay(b.data, b.len, &again, NULL) == 0);
        must(again.phase == s.phase && again.valid_len == b.len && job_key_equal(&again.key, &s.key) &&
             strcmp(again.claim, s.claim) == 0 && again.document_len == s.document_len &&
             memcmp(again.document, s.document, s.document_len) == 0 && started_equal(&again.started, &s.started) &&
             attempt_equal(&again.deferred, &s.deferred) && attempt_equal(&again.rebooting, &s.rebooting) &&
             again.result.status == s.result.status && proto_details_equal(&again.result.details, &s.result.details));
}

/* CRC, space, line: for every line of the input. */
static void seal(const char *data, size_t len, Buf *ret) {
        while (len > 0) {
                const char *lf = memchr(data, '\n', len);
                size_t n = lf ? (size_t) (lf - data) : len;

                buf_printf(ret, "%08x ", crc32c(data, n));
                buf_append(ret, data, n);
                buf_append(ret, "\n", 1);
                data += lf ? n + 1 : n;
                len -= lf ? n + 1 : n;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Buf b CLEANUP_BUF = {};

        if (size > RECORD_FILE_MAX)
                return 0;
        replay((const char *) data, size);
        seal((const char *) data, size, &b);
        if (b.data)
                replay(b.data, b.len);
        return 0;
}
