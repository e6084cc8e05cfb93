/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fileio.h"
#include "base/json.h"
#include "base/log.h"
#include "record/record_pure.h"
#include "record/store.h"
#include "unit.h"

static const JobKey key = { .thing = "t:1", .job_id = "job-1", .number = 2, .queued_at = 1625268804 };
static const char *const record_name = "t:1.job-1.2.1625268804.record";

/* ---- every sync of the store goes through here ---- */

static int syncs, failing_sync;

/* Counted, or failed; a test needs no real one. */
static int sync_or_fail(void) {
        if (++syncs == failing_sync) {
                errno = EIO;
                return -1;
        }
        return 0;
}

int fsync(int fd) {
        return sync_or_fail();
}

int fdatasync(int fd) {
        return sync_or_fail();
}

/* The same for a file system that became read-only. */
static bool read_only;

int openat(int at, const char *name, int flags, ...) {
        mode_t mode;
        va_list ap;

        va_start(ap, flags);
        mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
        va_end(ap);
        if (read_only && (flags & O_ACCMODE) != O_RDONLY) {
                errno = EROFS;
                return -1;
        }
        return (int) syscall(SYS_openat, at, name, flags, mode);
}

/* And one that is replaced just before its lock is taken. */
static bool replace_before_lock;
static RecordStore *store;

int flock(int fd, int operation) {
        if (replace_before_lock) {
                replace_before_lock = false;
                ck_assert_int_eq(file_replace_at(record_store_fd(store), "tombstones", "", 0, 0600), 0);
        }
        return (int) syscall(SYS_flock, fd, operation);
}

/* ---- pure ---- */

static RecordEntry prepared_entry(void) {
        return (RecordEntry) { .type = RECORD_PREPARED, .key = key, .claim = "Claim001", .document = "{\"a\":\"\xC3\xA4\\n\"}",
                               .document_len = 12 };
}

static RecordEntry started_entry(uint32_t step, uint32_t attempt) {
        return (RecordEntry) { .type = RECORD_STARTED, .step = step, .attempt = attempt, .restarts = attempt - 1, .pid = 4711,
                               .start_time = 123456, .boot_id = "0b4b3c0e-0000-4000-8000-000000000001", .cgroup = "a/b" };
}

static RecordEntry result_entry(ProtoStatus status) {
        RecordEntry e = { .type = RECORD_RESULT, .status = status };

        ck_assert_int_eq(proto_details_set(&e.details, "claim", "Claim001"), 0);
        ck_assert_int_eq(proto_details_set(&e.details, "reason", "exited with \"3\" \xE2\x82\xAC"), 0);
        return e;
}

/* A whole life: prepared, two steps (the second restarted), result. *ends: where each line ends. */
static size_t whole_life(Buf *b, size_t ends[static 6]) {
        RecordEntry e[] = { prepared_entry(), started_entry(0, 1), started_entry(1, 1), started_entry(1, 2),
                            result_entry(PROTO_STATUS_FAILED) };

        ends[0] = 0;
        for (size_t i = 0; i < ELEMENTSOF(e); i++) {
                ck_assert_int_eq(record_encode(&e[i], b), 0);
                ends[i + 1] = b->len;
                record_entry_done(&e[i]);
        }
        return ELEMENTSOF(e);
}

static void assert_state(const RecordState *s, size_t lines) {
        static const RecordPhase phases[] = { RECORD_NONE, RECORD_IS_PREPARED, RECORD_IS_STARTED, RECORD_IS_STARTED,
                                              RECORD_IS_STARTED, RECORD_HAS_RESULT };

        ck_assert_int_eq(s->phase, phases[lines]);
        if (lines == 0) {
                ck_assert_ptr_null(s->document);
                return;
        }
        ck_assert(job_key_equal(&s->key, &key));
        ck_assert_str_eq(s->claim, "Claim001");
        ck_assert_uint_eq(s->document_len, 12);
        ck_assert_str_eq(s->document, "{\"a\":\"\xC3\xA4\\n\"}");
        ck_assert_uint_eq(s->started.step, lines < 3 ? 0 : 1);
        ck_assert_uint_eq(s->started.attempt, lines < 2 ? 0 : lines < 4 ? 1 : 2);
        ck_assert_uint_eq(s->started.restarts, lines < 4 ? 0 : 1);
        if (lines >= 2) {
                ck_assert_int_eq(s->started.pid, 4711);
                ck_assert_uint_eq(s->started.start_time, 123456);
                ck_assert_str_eq(s->started.boot_id, "0b4b3c0e-0000-4000-8000-000000000001");
                ck_assert_str_eq(s->started.cgroup, "a/b");
        }
        ck_assert_int_eq(s->result.status, lines < 5 ? PROTO_STATUS_NONE : PROTO_STATUS_FAILED);
        if (lines == 5)
                ck_assert_str_eq(proto_details_get(&s->result.details, "reason"), "exited with \"3\" \xE2\x82\xAC");
}

/* Replay an exact copy, so that a read behind its end is seen. */
static int replay(const char *data, size_t len, RecordState *ret) {
        char *block CLEANUP_FREE = malloc(len + 1);

        (void) memcpy(block + 1, data, len);
        return record_replay(block + 1, len, ret, NULL);
}

START_TEST(every_cut_replays_to_a_prefix) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6], lines = whole_life(&b, ends);

        for (size_t cut = 0; cut <= b.len; cut++) {
                RecordState s CLEANUP_RECORD_STATE = {};
                size_t n = lines;

                while (ends[n] > cut)
                        n--;
                ck_assert_int_eq(replay(b.data, cut, &s), 0);
                assert_state(&s, n);
                ck_assert_uint_eq(s.valid_len, ends[n]);
                ck_assert_int_eq(record_is_torn(b.data, cut), cut < ends[1]);
        }
}
END_TEST

/* One wrong bit anywhere: the lines before it count, that line and what follows it do not. */
START_TEST(every_flipped_bit_is_seen) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6];

        (void) whole_life(&b, ends);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
                RecordState s CLEANUP_RECORD_STATE = {};
                size_t n = 0;

                while (ends[n + 1] <= bit / 8)
                        n++;
                b.data[bit / 8] = (char) (b.data[bit / 8] ^ 1 << bit % 8);
                ck_assert_int_eq(replay(b.data, b.len, &s), 0);
                assert_state(&s, n);
                b.data[bit / 8] = (char) (b.data[bit / 8] ^ 1 << bit % 8);
        }
}
END_TEST

#define BOOT "0b4b3c0e-0000-4000-8000-000000000001"

static RecordEntry deferred_entry(uint32_t attempt, uint32_t restarts, uint64_t delay) {
        return (RecordEntry) { .type = RECORD_DEFERRED, .step = 1, .attempt = attempt, .restarts = restarts, .retries = attempt,
                               .at = 7000000, .delay = delay, .boot_id = BOOT };
}

/* A life with a retry, a reboot, and a retry after it, cut anywhere. */
START_TEST(pauses_replay) {
        static const RecordPhase phases[] = { RECORD_NONE,        RECORD_IS_PREPARED,  RECORD_IS_STARTED,   RECORD_IS_DEFERRED,
                                              RECORD_IS_DEFERRED, RECORD_IS_STARTED,   RECORD_IS_REBOOTING, RECORD_IS_STARTED,
                                              RECORD_IS_DEFERRED, RECORD_HAS_RESULT };
        RecordEntry e[] = { prepared_entry(),
                            started_entry(1, 1),
                            deferred_entry(1, 1, 60),
                            { .type = RECORD_DOCUMENT, .document = "{\"b\":2}", .document_len = 7 },
                            started_entry(1, 2),
                            { .type = RECORD_REBOOTING, .step = 1, .attempt = 2, .restarts = 2, .boot_id = BOOT },
                            started_entry(1, 3),
                            deferred_entry(3, 3, 120),
                            result_entry(PROTO_STATUS_FAILED) };
        size_t ends[ELEMENTSOF(e) + 1] = { 0 };
        Buf b CLEANUP_BUF = {};

        for (size_t i = 0; i < ELEMENTSOF(e); i++) {
                ck_assert_int_eq(record_encode(&e[i], &b), 0);
                ends[i + 1] = b.len;
        }
        record_entry_done(&e[ELEMENTSOF(e) - 1]);
        for (size_t cut = 0; cut <= b.len; cut++) {
                RecordState s CLEANUP_RECORD_STATE = {};
                size_t n = ELEMENTSOF(e);

                while (ends[n] > cut)
                        n--;
                ck_assert_int_eq(replay(b.data, cut, &s), 0);
                ck_assert_int_eq(s.phase, phases[n]);
                ck_assert_uint_eq(s.valid_len, ends[n]);
                ck_assert_uint_eq(s.deferred.attempt, n == 8 || n == 9 ? 3 : n >= 3 && n < 6 ? 1 : 0);
                ck_assert_uint_eq(s.rebooting.attempt, n >= 6 ? 2 : 0);
                ck_assert_uint_eq(s.started.attempt, n >= 7 ? 3 : n >= 5 ? 2 : n >= 2 ? 1 : 0);
                if (n > 0)
                        ck_assert_str_eq(s.document, n >= 4 ? "{\"b\":2}" : "{\"a\":\"\xC3\xA4\\n\"}");
                if (n == 3) {
                        ck_assert_uint_eq(s.deferred.step, 1);
                        ck_assert_uint_eq(s.deferred.restarts, 1);
                        ck_assert_uint_eq(s.deferred.retries, 1);
                        ck_assert_uint_eq(s.deferred.at, 7000000);
                        ck_assert_uint_eq(s.deferred.delay, 60);
                        ck_assert_str_eq(s.deferred.boot_id, BOOT);
                }
                if (n == 6) {
                        ck_assert_uint_eq(s.rebooting.step, 1);
                        ck_assert_uint_eq(s.rebooting.restarts, 2);
                        ck_assert_str_eq(s.rebooting.boot_id, BOOT);
                }
        }
}
END_TEST

START_TEST(what_a_record_comes_to) {
        static const struct {
                RecordPhase phase;
                const char *boot;
                uint64_t now;
                WireRunState state;
                uint64_t seconds;
        } cases[] = {
                { RECORD_IS_PREPARED, "b1", 0, WIRE_RUN_PREPARED, 0 },
                { RECORD_IS_STARTED, "b1", 0, WIRE_RUN_STARTED, 0 },
                { RECORD_HAS_RESULT, "b1", 0, WIRE_RUN_RESULT, 0 },
                { RECORD_IS_REBOOTING, "b1", 0, WIRE_RUN_REBOOTING, 0 },
                { RECORD_IS_REBOOTING, "b2", 0, WIRE_RUN_REBOOTED, 0 },
                { RECORD_IS_DEFERRED, "b1", 5000000, WIRE_RUN_DEFERRED, 60 },
                { RECORD_IS_DEFERRED, "b1", 5000001, WIRE_RUN_DEFERRED, 60 },
                { RECORD_IS_DEFERRED, "b1", 6000000, WIRE_RUN_DEFERRED, 59 },
                { RECORD_IS_DEFERRED, "b1", 64999999, WIRE_RUN_DEFERRED, 1 },
                { RECORD_IS_DEFERRED, "b1", 65000000, WIRE_RUN_DEFERRED, 0 },
                { RECORD_IS_DEFERRED, "b1", UINT64_MAX, WIRE_RUN_DEFERRED, 0 },
                { RECORD_IS_DEFERRED, "b1", 0, WIRE_RUN_DEFERRED, 60 }, /* a clock that cannot be: never longer than it was */
                { RECORD_IS_DEFERRED, "b2", 5000000, WIRE_RUN_DEFERRED, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                RecordState s = { .phase = cases[i].phase, .key = key, .claim = "Claim001" };
                WireRun run;

                s.deferred = (RecordEntry) { .attempt = 1, .boot_id = "b1", .at = 5000000, .delay = 60 };
                s.rebooting = (RecordEntry) { .attempt = 1, .boot_id = "b1" };
                record_describe(&s, cases[i].boot, cases[i].now, &run);
                ck_assert_msg(run.state == cases[i].state && run.seconds == cases[i].seconds, "case %zu: %s, %llu s", i,
                              wire_run_state_name(run.state), (unsigned long long) run.seconds);
                ck_assert(job_key_equal(&run.key, &key));
                ck_assert_str_eq(run.claim, "Claim001");
        }
}
END_TEST

static void append_raw(Buf *b, const char *json) {
        json_t *o CLEANUP_JSON = json_loads(json, 0, NULL);

        ck_assert_ptr_nonnull(o);
        ck_assert_int_eq(record_line_append(b, o), 0);
}

#define P "{\"v\":1,\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"12345678\",\"document\":\"{}\"}"
#define S "{\"type\":\"started\",\"step\":0,\"attempt\":1,\"restarts\":0,\"bootId\":\"b\",\"pid\":5,\"startTime\":1,\"cgroup\":\"\"}"
#define D "{\"type\":\"deferred\",\"step\":0,\"attempt\":1,\"restarts\":1,\"retries\":1,\"bootId\":\"b\",\"at\":1,\"delay\":60}"
#define N "{\"type\":\"document\",\"document\":\"{}\"}"
#define B "{\"type\":\"rebooting\",\"step\":0,\"attempt\":1,\"restarts\":1,\"bootId\":\"b\"}"
#define R "{\"type\":\"result\",\"status\":\"FAILED\",\"details\":{}}"

static const struct {
        const char *lines[4];
        RecordPhase phase;
        size_t valid; /* lines */
} replays[] = {
        { { P, S, R }, RECORD_HAS_RESULT, 3 },
        { { P, R }, RECORD_HAS_RESULT, 2 },
        { { S, P }, RECORD_NONE, 0 },
        { { R }, RECORD_NONE, 0 },
        { { P, P, S }, RECORD_IS_PREPARED, 1 },
        { { P, R, S }, RECORD_HAS_RESULT, 2 },
        { { P, R, R }, RECORD_HAS_RESULT, 2 },
        { { P, S, "{\"type\":\"new\"}", R }, RECORD_IS_STARTED, 2 },
        { { P, "{\"x\":1}" }, RECORD_IS_PREPARED, 1 },
        /* what may follow what */
        { { P, S, D, R }, RECORD_HAS_RESULT, 4 },
        { { P, S, D, S }, RECORD_IS_STARTED, 4 },
        { { P, S, D, N }, RECORD_IS_DEFERRED, 4 },
        { { P, S, D, D }, RECORD_IS_DEFERRED, 3 },
        { { P, S, D, B }, RECORD_IS_DEFERRED, 3 },
        { { P, S, B, R }, RECORD_HAS_RESULT, 4 },
        { { P, S, B, S }, RECORD_IS_STARTED, 4 },
        { { P, S, B, B }, RECORD_IS_REBOOTING, 3 },
        { { P, S, B, D }, RECORD_IS_REBOOTING, 3 },
        { { P, S, B, N }, RECORD_IS_REBOOTING, 3 },
        { { P, S, N, R }, RECORD_IS_STARTED, 2 },
        { { P, D }, RECORD_IS_PREPARED, 1 },
        { { P, B }, RECORD_IS_PREPARED, 1 },
        { { P, N }, RECORD_IS_PREPARED, 1 },
        { { D }, RECORD_NONE, 0 },
        { { P, R, D }, RECORD_HAS_RESULT, 2 },
        { { P, S, "{\"type\":\"deferred\",\"step\":0,\"attempt\":1,\"restarts\":1,\"bootId\":\"b\",\"at\":1,\"delay\":60}" },
          RECORD_IS_STARTED, 2 },
        { { P, S, "{\"type\":\"deferred\",\"step\":0,\"attempt\":1,\"restarts\":1,\"retries\":1,\"bootId\":\"b\",\"at\":-1,\"delay\":60}" },
          RECORD_IS_STARTED, 2 },
        { { P, S, "{\"type\":\"deferred\",\"step\":0,\"attempt\":1,\"restarts\":1,\"retries\":1,\"bootId\":\"b\",\"at\":1,\"delay\":31622401}" },
          RECORD_IS_STARTED, 2 },
        { { P, S, "{\"type\":\"rebooting\",\"step\":0,\"attempt\":0,\"restarts\":1,\"bootId\":\"b\"}" }, RECORD_IS_STARTED, 2 },
        { { P, S, "{\"type\":\"rebooting\",\"step\":0,\"attempt\":1,\"restarts\":1}" }, RECORD_IS_STARTED, 2 },
        { { P, S, D, "{\"type\":\"document\",\"document\":{}}" }, RECORD_IS_DEFERRED, 3 },
        /* unknown members are ignored */
        { { "{\"v\":1,\"new\":[],\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"12345678\",\"document\":\"{}\"}",
            "{\"type\":\"result\",\"status\":\"FAILED\",\"details\":{},\"new\":1}" }, RECORD_HAS_RESULT, 2 },
        { { "{\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"12345678\",\"document\":\"{}\"}" }, RECORD_NONE, 0 },
        { { "{\"v\":0,\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"12345678\",\"document\":\"{}\"}" }, RECORD_NONE, 0 },
        { { "{\"v\":1,\"type\":\"prepared\",\"key\":\"t.j.1\",\"claim\":\"12345678\",\"document\":\"{}\"}" }, RECORD_NONE, 0 },
        { { "{\"v\":1,\"type\":\"prepared\",\"key\":\"t.j.1.0\",\"claim\":\"12345678\",\"document\":\"{}\"}" }, RECORD_NONE, 0 },
        { { "{\"v\":1,\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"1234567\",\"document\":\"{}\"}" }, RECORD_NONE, 0 },
        { { "{\"v\":1,\"type\":\"prepared\",\"key\":\"t.j.1.5\",\"claim\":\"12345678\"}" }, RECORD_NONE, 0 },
        { { P, "{\"type\":\"started\",\"step\":-1,\"attempt\":1,\"restarts\":0,\"bootId\":\"b\",\"pid\":5,\"startTime\":1,\"cgroup\":\"\"}" },
          RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"started\",\"step\":0,\"attempt\":0,\"restarts\":0,\"bootId\":\"b\",\"pid\":5,\"startTime\":1,\"cgroup\":\"\"}" },
          RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"started\",\"step\":0,\"attempt\":1,\"restarts\":0,\"bootId\":\"b\",\"pid\":0,\"startTime\":1,\"cgroup\":\"\"}" },
          RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"started\",\"step\":0,\"attempt\":1,\"restarts\":0,\"bootId\":\"0123456789012345678901234567890123456789\","
               "\"pid\":5,\"startTime\":1,\"cgroup\":\"\"}" }, RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"result\",\"status\":\"TIMED_OUT\",\"details\":{}}" }, RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"result\",\"status\":\"FAILED\",\"details\":{\"a\":1}}" }, RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"result\",\"status\":\"FAILED\",\"details\":{\"a\":\"\"}}" }, RECORD_IS_PREPARED, 1 },
        { { P, "{\"type\":\"result\",\"status\":\"FAILED\"}" }, RECORD_IS_PREPARED, 1 },
};

START_TEST(replayed_lines) {
        Buf b CLEANUP_BUF = {};
        RecordState s CLEANUP_RECORD_STATE = {};
        size_t valid = 0;

        for (size_t i = 0; i < 4 && replays[_i].lines[i]; i++) {
                append_raw(&b, replays[_i].lines[i]);
                if (i < replays[_i].valid)
                        valid = b.len;
        }
        ck_assert_int_eq(replay(b.data, b.len, &s), 0);
        ck_assert_int_eq(s.phase, replays[_i].phase);
        ck_assert_uint_eq(s.valid_len, valid);
}
END_TEST

START_TEST(newer_version) {
        RecordState s CLEANUP_RECORD_STATE = { .valid_len = 99 };
        Buf b CLEANUP_BUF = {};
        Error e = {};

        append_raw(&b, "{\"v\":3,\"anything\":{}}");
        buf_puts(&b, "what this version knows nothing of\n");
        ck_assert_int_eq(record_replay(b.data, b.len, &s, &e), -EPROTONOSUPPORT);
        ck_assert_ptr_nonnull(strstr(e.text, "newer"));
        ck_assert_uint_eq(s.valid_len, 99);
}
END_TEST

START_TEST(unencodable_entries) {
        Buf b CLEANUP_BUF = {};
        RecordEntry e = prepared_entry();
        char *big CLEANUP_FREE = malloc(LIMIT_DOCUMENT + 1);

        (void) memset(big, ' ', LIMIT_DOCUMENT + 1);
        e.document = "{\"a\":\"\xFF\"}";
        e.document_len = 9;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.document = "{\0}";
        e.document_len = 3;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.document = big;
        e.document_len = LIMIT_DOCUMENT + 1;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.document_len = LIMIT_DOCUMENT;
        e.key.queued_at = 0;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.key.queued_at = 1;
        e.claim[3] = ' ';
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.claim[3] = '3';
        ck_assert_uint_eq(b.len, 0);
        ck_assert_int_eq(record_encode(&e, &b), 0);
        e = started_entry(0, 1);
        e.pid = 0;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = deferred_entry(1, 1, WIRE_WAIT_MAX + 1);
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = deferred_entry(0, 1, 60);
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = (RecordEntry) { .type = RECORD_REBOOTING };
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = (RecordEntry) { .type = RECORD_DOCUMENT, .document = big, .document_len = LIMIT_DOCUMENT + 1 };
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e.document = NULL;
        e.document_len = 0;
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = (RecordEntry) { .type = RECORD_RESULT, .status = PROTO_STATUS_IN_PROGRESS };
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
        e = (RecordEntry) { .type = RECORD_TYPE_COUNT };
        ck_assert_int_eq(record_encode(&e, &b), -EINVAL);
}
END_TEST

/* ---- the store ---- */

static char dir[64];

static void setup(void) {
        Error e = {};

        unit_directory(dir, sizeof dir, "test-record");
        log_open("test-record", LOG_TARGET_STDERR);
        log_set_level(LOG_LEVEL_ERROR);
        ck_assert_msg(record_store_open(dir, &store, &e) == 0, "%s", e.text);
        syncs = failing_sync = 0;
}

static void teardown(void) {
        store = record_store_free(store);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, dir), 0);
}

static const char *path_of(const char *below) {
        static char paths[4][PATH_MAX];
        static unsigned turn;
        char *path = paths[turn++ % ELEMENTSOF(paths)];

        (void) snprintf(path, PATH_MAX, "%s/%s", dir, below);
        return path;
}

static const char *run_path(const char *name) {
        char below[NAME_MAX + 8];

        (void) snprintf(below, sizeof below, "runs/%s", name);
        return path_of(below);
}

static bool exists(const char *path) {
        struct stat st;

        return lstat(path, &st) == 0;
}

static void write_file(const char *path, const char *data, size_t len) {
        int fd CLEANUP_FD = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write_all(fd, data, len), 0);
}

static Record *open_record(const JobKey *k, RecordState *s) {
        Record *r = NULL;
        Error e = {};

        ck_assert_msg(record_open(store, k, &r, s, &e) == 0, "%s", e.text);
        return r;
}

static void append(Record *r, RecordEntry e) {
        Error error = {};

        ck_assert_msg(record_append(r, &e, &error) == 0, "%s", error.text);
        record_entry_done(&e);
}

static size_t list(const char *thing, WireRun **ret) {
        size_t n = 999;
        Error e = {};

        ck_assert_msg(record_store_list(store, thing, ret, &n, &e) == 0, "%s", e.text);
        return n;
}

static bool mode_is(const char *path, mode_t mode) {
        struct stat st;

        return lstat(path, &st) == 0 && (st.st_mode & 07777) == mode;
}

/* Where the file system cannot set room aside, none is expected. */
static bool room_can_be_set_aside(void) {
        int fd CLEANUP_FD = open(path_of("probe"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}

START_TEST(plain_job) {
        RecordState s CLEANUP_RECORD_STATE = {}, again CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&key, &s);
        RecordEntry result = result_entry(PROTO_STATUS_SUCCEEDED);
        ProtoDetails found CLEANUP_DETAILS = {};
        WireRun *runs CLEANUP_FREE = NULL;
        ProtoStatus status = PROTO_STATUS_NONE;
        struct stat st;
        Error e = {};

        ck_assert_int_eq(s.phase, RECORD_NONE);
        ck_assert_msg(!exists(run_path(record_name)), "a file before there is anything to say");
        /* The first burial of all makes the file of tombstones, which no plain job pays for. */
        ck_assert_int_eq(record_bury(r, &(JobKey) { .thing = "t", .job_id = "other", .number = 1, .queued_at = 1 },
                                     PROTO_STATUS_FAILED, &found, &e), 0);
        r = record_free(r);
        r = open_record(&key, &s);
        syncs = 0;

        append(r, prepared_entry());
        ck_assert_int_eq(syncs, 2);
        ck_assert(mode_is(run_path(record_name), 0600));
        ck_assert_int_eq(stat(run_path(record_name), &st), 0);
        ck_assert_msg((size_t) st.st_blocks * 512 > 80000 || !room_can_be_set_aside(), "no room is set aside");
        ck_assert_uint_eq(list(NULL, &runs), 1);
        ck_assert_int_eq(runs[0].state, WIRE_RUN_PREPARED);

        append(r, started_entry(0, 1));
        ck_assert_int_eq(syncs, 3);
        append(r, result);
        ck_assert_int_eq(syncs, 4);
        free(TAKE(runs));
        ck_assert_uint_eq(list("t:1", &runs), 1);
        ck_assert(job_key_equal(&runs[0].key, &key));
        ck_assert_int_eq(runs[0].state, WIRE_RUN_RESULT);
        ck_assert_str_eq(runs[0].claim, "Claim001");
        free(TAKE(runs));
        ck_assert_uint_eq(list("t", &runs), 0);

        r = record_free(r);
        r = open_record(&key, &again);
        ck_assert_int_eq(again.phase, RECORD_HAS_RESULT);
        /* What another runner wrote is synced before it counts: file and directory. A plain job has one runner. */
        ck_assert_int_eq(syncs, 6);
        ck_assert_int_eq(record_tombstone_find(store, &key, &status, &found, &e), 0);
        ck_assert_msg(record_bury(r, &key, again.result.status, &again.result.details, &e) == 0, "%s", e.text);
        ck_assert_int_eq(syncs, 7);
        ck_assert(!exists(run_path(record_name)));
        ck_assert(mode_is(path_of("tombstones"), 0600));
        ck_assert_int_eq(record_tombstone_find(store, &key, &status, &found, &e), 1);
        ck_assert_int_eq(status, PROTO_STATUS_SUCCEEDED);
        ck_assert_str_eq(proto_details_get(&found, "claim"), "Claim001");
        ck_assert_str_eq(proto_details_get(&found, "reason"), "exited with \"3\" \xE2\x82\xAC");
}
END_TEST

START_TEST(layout) {
        ck_assert(mode_is(path_of("runs"), 0700));
        ck_assert(mode_is(path_of("work"), 0700));
        ck_assert_int_ge(record_store_fd(store), 0);
}
END_TEST

/* What the syncs of a job cost hangs on this: the file keeps its size and its blocks while lines are added. */
START_TEST(lines_fill_the_last_block) {
        static char document[2 * RECORD_BLOCK];
        RecordState s CLEANUP_RECORD_STATE = {};
        RecordEntry prepared = prepared_entry();
        Buf line CLEANUP_BUF = {};
        struct stat st;

        memset(document, ' ', sizeof document);
        prepared.document = document;
        ck_assert_int_eq(record_encode(&prepared, &line), 0);
        for (size_t rest = 0; rest < 3; rest++) { /* lines that end just before, with, and just behind a block */
                Record *r CLEANUP(record_free) = open_record(&key, &s);
                char *data CLEANUP_FREE = NULL;
                size_t len = 0;

                prepared.document_len = 12 + RECORD_BLOCK - line.len - 1 + rest;
                append(r, prepared);
                ck_assert_int_eq(stat(run_path(record_name), &st), 0);
                ck_assert_int_eq(st.st_size, rest == 0 ? RECORD_BLOCK : 2 * RECORD_BLOCK);
                append(r, started_entry(0, 1));
                ck_assert_int_eq(file_read_at(AT_FDCWD, run_path(record_name), RECORD_FILE_MAX, &data, &len), 0);
                ck_assert(rest == 0 || len == 2 * RECORD_BLOCK);
                r = record_free(r);
                r = open_record(&key, &s);
                ck_assert_int_eq(s.phase, RECORD_IS_STARTED);
                for (size_t i = s.valid_len; i < len; i++)
                        ck_assert_int_eq(data[i], '\0');
                append(r, started_entry(0, 2)); /* behind a cut tail */
                record_state_done(&s);
                r = record_free(r);
                r = open_record(&key, &s);
                ck_assert_uint_eq(s.started.attempt, 2);
                record_state_done(&s);
                ck_assert_int_eq(record_drop(r, NULL), 0);
        }
}
END_TEST

START_TEST(drop) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&key, &s);
        RecordEntry started = started_entry(0, 1);
        Error e = {};

        append(r, prepared_entry());
        ck_assert_int_eq(record_drop(r, &e), 0);
        ck_assert(!exists(run_path(record_name)));
        ck_assert(!exists(path_of("tombstones")));
        ck_assert_int_eq(record_append(r, &started, &e), -ENOENT);
        ck_assert_int_eq(record_drop(r, &e), 0);
}
END_TEST

START_TEST(order_of_lines_is_kept) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&key, &s);
        RecordEntry started = started_entry(0, 1), prepared = prepared_entry();
        Error e = {};

        ck_assert_int_eq(record_append(r, &started, &e), -EINVAL);
        prepared.key.number = 3;
        ck_assert_int_eq(record_append(r, &prepared, &e), -EINVAL);
        append(r, prepared_entry());
        prepared.key.number = 2;
        ck_assert_int_eq(record_append(r, &prepared, &e), -EINVAL);
}
END_TEST

/* A power cut at every byte of the file: what is read is a prefix, and what is written behind it counts. */
START_TEST(every_torn_file_goes_on) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6], lines = whole_life(&b, ends);

        for (size_t cut = 0; cut <= b.len; cut++) {
                RecordState s CLEANUP_RECORD_STATE = {}, again CLEANUP_RECORD_STATE = {};
                Record *r CLEANUP(record_free) = NULL;
                WireRun *runs CLEANUP_FREE = NULL;
                size_t n = lines;

                while (ends[n] > cut)
                        n--;
                write_file(run_path(record_name), b.data, cut);
                ck_assert_uint_eq(list(NULL, &runs), n > 0);
                ck_assert(exists(run_path(record_name)));
                r = open_record(&key, &s);
                assert_state(&s, n);
                ck_assert_int_eq(exists(run_path(record_name)), n > 0);
                if (n == lines)
                        continue;
                append(r, n == 0 ? prepared_entry() : result_entry(PROTO_STATUS_FAILED));
                r = record_free(r);
                r = open_record(&key, &again);
                ck_assert_int_eq(again.phase, n == 0 ? RECORD_IS_PREPARED : RECORD_HAS_RESULT);
                ck_assert_int_eq(record_drop(r, NULL), 0);
        }
        ck_assert(!exists(run_path("t:1.job-1.2.1625268804.record.corrupt-1")));
}
END_TEST

/* A line that went bad in the middle: what stood behind it must not come back when another line of its length is written. */
START_TEST(nothing_behind_a_bad_line_comes_back) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = NULL;
        RecordEntry e[] = { prepared_entry(), started_entry(0, 1), result_entry(PROTO_STATUS_SUCCEEDED) };
        Buf b CLEANUP_BUF = {};

        for (size_t i = 0; i < ELEMENTSOF(e); i++) {
                ck_assert_int_eq(record_encode(&e[i], &b), 0);
                if (i == 1)
                        b.data[b.len - 10] ^= 1;
        }
        write_file(run_path(record_name), b.data, b.len);
        r = open_record(&key, &s);
        ck_assert_int_eq(s.phase, RECORD_IS_PREPARED);
        append(r, started_entry(0, 1));
        record_state_done(&s);
        r = record_free(r);
        r = open_record(&key, &s);
        ck_assert_int_eq(s.phase, RECORD_IS_STARTED);
        record_entry_done(&e[2]);
}
END_TEST

/* A crash may also leave blocks of zeros behind the last good line. */
START_TEST(tail_of_zeros) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = NULL;
        Buf b CLEANUP_BUF = {};
        static const char zeros[5000];
        size_t ends[6];

        (void) whole_life(&b, ends);
        b.len = ends[2];
        buf_append(&b, zeros, sizeof zeros);
        write_file(run_path(record_name), b.data, b.len);
        r = open_record(&key, &s);
        assert_state(&s, 2);
        append(r, result_entry(PROTO_STATUS_FAILED));
        record_state_done(&s);
        r = record_free(r);
        r = open_record(&key, &s);
        ck_assert_int_eq(s.phase, RECORD_HAS_RESULT);
}
END_TEST

START_TEST(newer_file_is_left_alone) {
        RecordState s CLEANUP_RECORD_STATE = {};
        WireRun *runs CLEANUP_FREE = NULL;
        Record *r = NULL;
        Buf b CLEANUP_BUF = {};
        char *data CLEANUP_FREE = NULL;
        size_t len;
        Error e = {};

        append_raw(&b, "{\"v\":3}");
        buf_puts(&b, "more");
        write_file(run_path(record_name), b.data, b.len);
        ck_assert_int_eq(record_open(store, &key, &r, &s, &e), -EPROTONOSUPPORT);
        ck_assert_ptr_nonnull(strstr(e.text, record_name));
        ck_assert_uint_eq(list(NULL, &runs), 0);
        ck_assert_int_eq(file_read_at(AT_FDCWD, run_path(record_name), 4096, &data, &len), 0);
        ck_assert_uint_eq(len, b.len);
        ck_assert_int_eq(memcmp(data, b.data, len), 0);
}
END_TEST

/* ---- garbage ---- */

static void make_directory(const char *path) {
        char inside[PATH_MAX + 8];

        ck_assert_int_eq(mkdir(path, 0700), 0);
        (void) snprintf(inside, sizeof inside, "%s/file", path);
        write_file(inside, "x", 1);
}

static void make_link(const char *path) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6];

        (void) whole_life(&b, ends);
        write_file(path_of("elsewhere"), b.data, b.len);
        ck_assert_int_eq(symlink(path_of("elsewhere"), path), 0);
}

static void make_fifo(const char *path) {
        ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void make_huge(const char *path) {
        write_file(path, "x", 1);
        ck_assert_int_eq(truncate(path, (off_t) 1 << 30), 0);
}

static void make_random(const char *path) {
        write_file(path, "\x7F" "ELF\n\0\xFF\n garbage\n", 17);
}

static void make_damaged(const char *path) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6];

        (void) whole_life(&b, ends);
        b.data[20] ^= 1;
        write_file(path, b.data, b.len);
}

static void make_other(const char *path) {
        Buf b CLEANUP_BUF = {};

        append_raw(&b, P);
        write_file(path, b.data, b.len);
}

static void make_foreign(const char *path) {
        Buf b CLEANUP_BUF = {};
        size_t ends[6];

        (void) whole_life(&b, ends);
        write_file(path, b.data, b.len);
        if (geteuid() == 0)
                ck_assert_int_eq(chown(path, 12345, 12345), 0);
        else
                make_random(path);
}

static void make_text(const char *path) {
        write_file(path, "hello", 5);
}

static const struct {
        const char *what;
        void (*make)(const char *path);
} garbage[] = {
        { "directory", make_directory }, { "link", make_link },       { "fifo", make_fifo },   { "huge", make_huge },
        { "random", make_random },       { "damaged", make_damaged }, { "other", make_other }, { "foreign", make_foreign },
        { "text", make_text },
};

/* A good record beside it is listed as if nothing were wrong; the garbage is kept under another name. */
START_TEST(garbage_is_set_aside) {
        const JobKey good = { .thing = "t:1", .job_id = "good", .number = 1, .queued_at = 7 };
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&good, &s);
        RecordEntry prepared = prepared_entry();
        char aside[NAME_MAX];

        prepared.key = good;
        append(r, prepared);
        (void) snprintf(aside, sizeof aside, "%s.corrupt-1", record_name);
        for (int by_open = 0; by_open < 2; by_open++) {
                WireRun *runs CLEANUP_FREE = NULL;

                garbage[_i].make(run_path(record_name));
                if (by_open) {
                        RecordState none CLEANUP_RECORD_STATE = {};
                        Record *bad CLEANUP(record_free) = open_record(&key, &none);

                        ck_assert_int_eq(none.phase, RECORD_NONE);
                        append(bad, prepared_entry());
                        ck_assert_int_eq(record_drop(bad, NULL), 0);
                }
                ck_assert_uint_eq(list(NULL, &runs), 1);
                ck_assert(job_key_equal(&runs[0].key, &good));
                ck_assert_msg(!exists(run_path(record_name)), "%s", garbage[_i].what);
                ck_assert_msg(exists(run_path(aside)), "%s", garbage[_i].what);
                ck_assert_int_eq(remove_tree_at(AT_FDCWD, run_path(aside)), 0);
        }
}
END_TEST

START_TEST(names_that_are_none) {
        static const char *const names[] = { "x", "t.j.1.5", "t.j.1.record", ".record", "t.j.1.5.record~", "t.j.01.5.recor",
                                             "a.corrupt-9", "a.corrupt-12" };
        WireRun *runs CLEANUP_FREE = NULL;
        char longest[NAME_MAX + 1];
        struct dirent *entry;
        size_t aside = 0;
        DIR *d;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                write_file(run_path(names[i]), "x", 1);
        (void) memset(longest, 'x', NAME_MAX);
        longest[NAME_MAX] = '\0';
        write_file(run_path(longest), "x", 1);
        ck_assert_uint_eq(list(NULL, &runs), 0);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ck_assert_msg(!exists(run_path(names[i])), "%s", names[i]);
        ck_assert(exists(run_path(longest))); /* no room in its name: left, named, and in nobody's way */
        ck_assert_uint_eq(list(NULL, &runs), 0);
        d = opendir(path_of("runs"));
        while ((entry = readdir(d)))
                aside += strstr(entry->d_name, ".corrupt-1") != NULL && strcmp(entry->d_name, "a.corrupt-12") != 0;
        (void) closedir(d);
        ck_assert_uint_eq(aside, ELEMENTSOF(names));
}
END_TEST

START_TEST(three_are_kept) {
        WireRun *runs CLEANUP_FREE = NULL;
        char name[NAME_MAX];
        size_t len;

        for (int i = 1; i <= 7; i++) {
                char text[8];

                (void) snprintf(text, sizeof text, "%d\n", i);
                write_file(run_path(record_name), text, strlen(text));
                ck_assert_uint_eq(list(NULL, &runs), 0);
                ck_assert(!exists(run_path(record_name)));
                (void) usleep(5000); /* the file system's clock ticks: it tells the oldest */
        }
        for (int n = 1; n <= 3; n++) {
                char *data CLEANUP_FREE = NULL;

                (void) snprintf(name, sizeof name, "%s.corrupt-%d", record_name, n);
                ck_assert_int_eq(file_read_at(AT_FDCWD, run_path(name), 100, &data, &len), 0);
                ck_assert_msg(data[0] >= '5', "the oldest must go first, but there is still %s", data);
        }
        (void) snprintf(name, sizeof name, "%s.corrupt-4", record_name);
        ck_assert(!exists(run_path(name)));
}
END_TEST

START_TEST(state_directory_of_garbage) {
        Error e = {};

        store = record_store_free(store);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, path_of("runs")), 0);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, path_of("work")), 0);
        write_file(path_of("runs"), "x", 1);
        ck_assert_int_eq(symlink("/nowhere", path_of("work")), 0);
        ck_assert_msg(record_store_open(dir, &store, &e) == 0, "%s", e.text);
        ck_assert(exists(path_of("runs.corrupt-1")));
        ck_assert(exists(path_of("work.corrupt-1")));
        ck_assert(mode_is(path_of("runs"), 0700));
}
END_TEST

START_TEST(runs_of_others_are_refused) {
        Error e = {};

        store = record_store_free(store);
        ck_assert_int_eq(chmod(path_of("runs"), 0777), 0);
        ck_assert_int_eq(record_store_open(dir, &store, &e), -EPERM);
        ck_assert_ptr_nonnull(strstr(e.text, path_of("runs")));
}
END_TEST

START_TEST(state_directory_is_made) {
        RecordStore *s CLEANUP(record_store_free) = NULL;
        Error e = {};

        ck_assert_msg(record_store_open(path_of("a/b/c"), &s, &e) == 0, "%s", e.text);
        ck_assert(mode_is(path_of("a/b/c/runs"), 0700));
        ck_assert_int_lt(record_store_open("/proc/nothing/here", &s, &e), 0);
        ck_assert_ptr_nonnull(strstr(e.text, "/proc/nothing/here"));
}
END_TEST

/* ---- a disk that fails ---- */

/* Not across an assertion: Check writes a file at each. */
static void limit_file_size(rlim_t bytes) {
        struct rlimit l = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

        (void) signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

START_TEST(failed_prepare_leaves_nothing) {
        RecordState s CLEANUP_RECORD_STATE = {};
        RecordEntry entry = prepared_entry();
        Error e = {};

        for (int how = 0; how < 3; how++) {
                Record *r CLEANUP(record_free) = open_record(&key, &s);
                int code = how == 0 ? -EFBIG : -EIO, got;

                syncs = 0;
                failing_sync = how;
                limit_file_size(how == 0 ? 50 : RLIM_INFINITY);
                got = record_append(r, &entry, &e);
                limit_file_size(RLIM_INFINITY);
                ck_assert_int_eq(got, code);
                ck_assert_ptr_nonnull(strstr(e.text, record_name));
                ck_assert_msg(!exists(run_path(record_name)), "a half-made file stays");
                ck_assert_msg(record_append(r, &entry, &e) == code, "a failure is final");
                ck_assert(!exists(run_path(record_name)));
                failing_sync = 0;
        }
}
END_TEST

START_TEST(read_only_records_are_read) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&key, &s);
        RecordEntry entry = started_entry(0, 1);
        Error e = {};

        append(r, prepared_entry());
        r = record_free(r);
        read_only = true;
        r = open_record(&key, &s);
        ck_assert_int_eq(s.phase, RECORD_IS_PREPARED);
        ck_assert_int_eq(record_append(r, &entry, &e), -EROFS);
        ck_assert_int_eq(record_bury(r, &key, PROTO_STATUS_FAILED, &entry.details, &e), -EROFS);
        read_only = false;
        ck_assert(exists(run_path(record_name)));
}
END_TEST

START_TEST(failed_line_is_taken_back) {
        RecordEntry prepared = prepared_entry();
        Buf first CLEANUP_BUF = {};

        ck_assert_int_eq(record_encode(&prepared, &first), 0);
        for (int how = 0; how < 2; how++) {
                RecordState s CLEANUP_RECORD_STATE = {};
                Record *r CLEANUP(record_free) = open_record(&key, &s);
                RecordEntry entry = started_entry(0, 1);
                struct stat now;
                int got;

                append(r, prepared_entry());
                syncs = 0;
                failing_sync = how;
                limit_file_size(how == 0 ? first.len + 20 : RLIM_INFINITY);
                got = record_append(r, &entry, NULL);
                limit_file_size(RLIM_INFINITY);
                ck_assert_int_lt(got, 0);
                ck_assert_int_lt(record_append(r, &entry, NULL), 0);
                ck_assert_int_eq(stat(run_path(record_name), &now), 0);
                ck_assert_int_eq(now.st_size, (off_t) first.len);
                r = record_free(r);
                r = open_record(&key, &s);
                ck_assert_int_eq(s.phase, RECORD_IS_PREPARED);
                ck_assert_int_eq(record_drop(r, NULL), 0);
                failing_sync = 0;
        }
}
END_TEST

START_TEST(failed_burial_keeps_the_record) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&key, &s);
        RecordEntry result = result_entry(PROTO_STATUS_FAILED);
        ProtoDetails found CLEANUP_DETAILS = {};
        ProtoStatus status;
        Error e = {};
        int got;

        append(r, prepared_entry());
        ck_assert_int_eq(record_append(r, &result, &e), 0);
        for (int how = 0; how < 2; how++) {
                syncs = 0;
                failing_sync = how;
                limit_file_size(how == 0 ? 30 : RLIM_INFINITY);
                got = record_bury(r, &key, PROTO_STATUS_FAILED, &result.details, &e);
                limit_file_size(RLIM_INFINITY);
                ck_assert_int_lt(got, 0);
                failing_sync = 0;
                ck_assert(exists(run_path(record_name)));
                ck_assert_int_eq(record_tombstone_find(store, &key, &status, &found, &e), 0);
        }
        ck_assert_int_eq(record_bury(r, &key, PROTO_STATUS_FAILED, &result.details, &e), 0);
        ck_assert(!exists(run_path(record_name)));
        ck_assert_int_eq(record_tombstone_find(store, &key, &status, &found, &e), 1);
        record_entry_done(&result);
}
END_TEST

/* ---- tombstones ---- */

static JobKey numbered(int64_t n) {
        JobKey k = key;

        k.number = n;
        return k;
}

static void bury(const JobKey *k, ProtoStatus status, const char *reason) {
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(k, &s);
        ProtoDetails d CLEANUP_DETAILS = {};
        Error e = {};

        ck_assert_int_eq(proto_details_set(&d, "reason", reason), 0);
        ck_assert_msg(record_bury(r, k, status, &d, &e) == 0, "%s", e.text);
}

/* "" = none */
static const char *reason_of(const JobKey *k) {
        static char text[64];
        ProtoDetails d CLEANUP_DETAILS = {};
        ProtoStatus status;
        Error e = {};
        int r = record_tombstone_find(store, k, &status, &d, &e);

        ck_assert_msg(r >= 0, "%s", e.text);
        (void) snprintf(text, sizeof text, "%s", r > 0 ? proto_details_get(&d, "reason") : "");
        return text;
}

static size_t count_file_lines(const char *path) {
        char *data CLEANUP_FREE = NULL;
        size_t len, n = 0;

        ck_assert_int_eq(file_read_at(AT_FDCWD, path, RECORD_TOMBSTONES_FILE_MAX, &data, &len), 0);
        for (size_t i = 0; i < len; i++)
                n += data[i] == '\n';
        return n;
}

START_TEST(newest_tombstone_wins) {
        JobKey a = numbered(1), b = numbered(11);

        ck_assert_str_eq(reason_of(&a), "");
        bury(&a, PROTO_STATUS_FAILED, "first");
        bury(&b, PROTO_STATUS_CANCELED, "other");
        bury(&a, PROTO_STATUS_SUCCEEDED, "second");
        ck_assert_str_eq(reason_of(&a), "second");
        ck_assert_str_eq(reason_of(&b), "other");
        a.queued_at++;
        ck_assert_str_eq(reason_of(&a), "");
}
END_TEST

START_TEST(bad_tombstone_lines_are_skipped) {
        JobKey a = numbered(1), b = numbered(2), c = numbered(3);
        char *data CLEANUP_FREE = NULL;
        size_t len;
        int fd;

        bury(&a, PROTO_STATUS_FAILED, "a");
        bury(&b, PROTO_STATUS_FAILED, "b");
        ck_assert_int_eq(file_read_at(AT_FDCWD, path_of("tombstones"), 4096, &data, &len), 0);
        data[30] ^= 1;
        write_file(path_of("tombstones"), data, len);
        fd = open(path_of("tombstones"), O_WRONLY | O_APPEND | O_CLOEXEC);
        ck_assert_int_eq(write_all(fd, "01234567 {\"key\":\"t:1.job-1.3.162", 31), 0); /* torn */
        (void) close(fd);
        ck_assert_str_eq(reason_of(&a), "");
        ck_assert_str_eq(reason_of(&b), "b");
        bury(&c, PROTO_STATUS_FAILED, "c");
        ck_assert_str_eq(reason_of(&b), "b");
        ck_assert_str_eq(reason_of(&c), "c");
        ck_assert_uint_eq(count_file_lines(path_of("tombstones")), 4);
        record_tombstones_check(store);
        ck_assert_uint_eq(count_file_lines(path_of("tombstones")), 2);
        ck_assert_str_eq(reason_of(&b), "b");
        ck_assert_str_eq(reason_of(&c), "c");
}
END_TEST

/* Zeros stand behind the last tombstone, in the last block or, after a crash, in more; and a piece of the file that is read may end
 * anywhere in a line. */
START_TEST(tombstones_fill_the_last_block) {
        static const char zeros[3 * RECORD_BLOCK];
        char *data CLEANUP_FREE = NULL;
        struct stat st;
        size_t len;

        for (int n = 1; n <= 400; n++) {
                JobKey k = numbered(n);
                char reason[16];

                (void) snprintf(reason, sizeof reason, "%d", n);
                bury(&k, PROTO_STATUS_FAILED, reason);
                ck_assert_int_eq(stat(path_of("tombstones"), &st), 0);
                ck_assert_int_eq(st.st_size % RECORD_BLOCK, 0);
                if (n == 100 || n == 300) {
                        int fd CLEANUP_FD = open(path_of("tombstones"), O_WRONLY | O_APPEND | O_CLOEXEC);

                        ck_assert_int_eq(write_all(fd, zeros, sizeof zeros), 0);
                }
        }
        ck_assert_int_gt(st.st_size, 32 * 1024);
        ck_assert_uint_eq(count_file_lines(path_of("tombstones")), 400);
        ck_assert_int_eq(file_read_at(AT_FDCWD, path_of("tombstones"), RECORD_TOMBSTONES_FILE_MAX, &data, &len), 0);
        ck_assert_msg(data[strlen(data) - 1] == '\n' && !memchr(data + strlen(data), '\n', len - strlen(data)), "a gap");
        for (int n = 1; n <= 400; n++) {
                JobKey k = numbered(n);

                ck_assert_int_eq(atoi(reason_of(&k)), n);
        }
}
END_TEST

START_TEST(tombstones_that_are_none) {
        static void (*const make[])(const char *) = { make_directory, make_link, make_fifo, make_huge };
        JobKey a = numbered(1);

        for (size_t i = 0; i < ELEMENTSOF(make); i++) {
                make[i](path_of("tombstones"));
                ck_assert_str_eq(reason_of(&a), "");
                bury(&a, PROTO_STATUS_FAILED, "a");
                ck_assert_str_eq(reason_of(&a), "a");
                ck_assert_int_eq(remove_tree_at(AT_FDCWD, path_of("tombstones")), 0);
        }
        ck_assert(exists(path_of("tombstones.corrupt-3")));
        ck_assert(!exists(path_of("tombstones.corrupt-4")));
}
END_TEST

static void write_tombstones(int n, int64_t at, const char *padding) {
        Buf b CLEANUP_BUF = {};

        for (int i = 1; i <= n; i++) {
                json_t *o CLEANUP_JSON = NULL;
                char text[JOB_KEY_TEXT_MAX];
                JobKey k = numbered(i);

                job_key_format(&k, text);
                o = json_pack("{s:s,s:i,s:I,s:s,s:{s:s}}", "key", text, "v", 1, "at", (json_int_t) at, "status", "FAILED",
                              "details", "reason", padding);
                ck_assert_int_eq(record_line_append(&b, o), 0);
                if (i == n - 10)
                        buf_puts(&b, "a bad line\n");
        }
        write_file(path_of("tombstones"), b.data, b.len);
}

/* Bury until the file has been looked at: it is once in each 64 KiB. */
static int64_t bury_until_smaller(int64_t from) {
        struct stat before, now;

        for (int64_t n = from; n < from + 2000; n++) {
                JobKey k = numbered(n);

                ck_assert_int_eq(stat(path_of("tombstones"), &before), 0);
                bury(&k, PROTO_STATUS_FAILED, "new");
                ck_assert_int_eq(stat(path_of("tombstones"), &now), 0);
                if (now.st_size < before.st_size)
                        return n;
        }
        ck_abort_msg("never pruned");
}

START_TEST(old_tombstones_are_pruned) {
        int64_t last, first_kept;
        JobKey k;

        write_tombstones(2200, 1, "old");
        last = bury_until_smaller(2201);
        ck_assert_uint_eq(count_file_lines(path_of("tombstones")), RECORD_TOMBSTONES_MIN);
        k = numbered(last);
        ck_assert_str_eq(reason_of(&k), "new");
        first_kept = last - RECORD_TOMBSTONES_MIN + 1;
        k = numbered(first_kept);
        ck_assert_str_ne(reason_of(&k), "");
        k = numbered(first_kept - 1);
        ck_assert_str_eq(reason_of(&k), "");
}
END_TEST

START_TEST(many_tombstones_are_pruned) {
        struct stat st;
        JobKey k = numbered(12000);

        write_tombstones(12000, 4102444800, "recent"); /* whatever the clock says, not 30 days old */
        (void) bury_until_smaller(20000);
        ck_assert_int_eq(stat(path_of("tombstones"), &st), 0);
        ck_assert_int_le(st.st_size, RECORD_TOMBSTONES_BYTES);
        ck_assert_int_gt(st.st_size, RECORD_TOMBSTONES_BYTES / 2);
        ck_assert_str_eq(reason_of(&k), "recent");
        k = numbered(1);
        ck_assert_str_eq(reason_of(&k), "");
}
END_TEST

START_TEST(few_tombstones_stay) {
        JobKey k = numbered(1);

        write_tombstones(100, 1, "old");
        for (int64_t n = 1000; n < 1412; n++) {
                JobKey more = numbered(n);

                bury(&more, PROTO_STATUS_FAILED, "new");
        }
        ck_assert_str_eq(reason_of(&k), "old");
}
END_TEST

START_TEST(many_bury_at_once) {
        enum { PROCESSES = 4, EACH = 150 };
        pid_t pid[PROCESSES];

        write_tombstones(600, 1, "a reason long enough that the file is pruned while several write to it, again and again");
        for (int p = 0; p < PROCESSES; p++) {
                pid[p] = fork();
                if (pid[p] == 0) {
                        for (int i = 0; i < EACH; i++) {
                                JobKey k = numbered(10000 + p * EACH + i);

                                bury(&k, PROTO_STATUS_FAILED, "new");
                        }
                        _exit(0);
                }
        }
        for (int p = 0; p < PROCESSES; p++) {
                int status;

                ck_assert_int_eq(waitpid(pid[p], &status, 0), pid[p]);
                ck_assert_int_eq(status, 0);
        }
        for (int i = PROCESSES * EACH - RECORD_TOMBSTONES_MIN; i < PROCESSES * EACH; i++) {
                JobKey k = numbered(10000 + i);

                /* The newest 512 are kept, whoever wrote them; which these are is in the order of writing. */
                if (i % EACH >= EACH - 50)
                        ck_assert_str_eq(reason_of(&k), "new");
        }
}
END_TEST

/* Between opening and locking, another runner pruned the file. */
START_TEST(replaced_while_waiting_for_the_lock) {
        JobKey a = numbered(1), b = numbered(2);

        bury(&a, PROTO_STATUS_FAILED, "a");
        replace_before_lock = true;
        bury(&b, PROTO_STATUS_FAILED, "b");
        ck_assert(!replace_before_lock);
        ck_assert_str_eq(reason_of(&a), "");
        ck_assert_str_eq(reason_of(&b), "b");
}
END_TEST

START_TEST(only_some_details_are_kept) {
        JobKey k = numbered(1);
        RecordState s CLEANUP_RECORD_STATE = {};
        Record *r CLEANUP(record_free) = open_record(&k, &s);
        ProtoDetails d CLEANUP_DETAILS = {}, found CLEANUP_DETAILS = {};
        ProtoStatus status;

        ck_assert_int_eq(proto_details_set(&d, "step", "1/1 x"), 0);
        ck_assert_int_eq(proto_details_set(&d, "stdout", "much"), 0);
        ck_assert_int_eq(proto_details_set(&d, "signal", "SIGKILL"), 0);
        ck_assert_int_eq(record_bury(r, &k, PROTO_STATUS_CANCELED, &d, NULL), 0);
        ck_assert_int_eq(record_tombstone_find(store, &k, &status, &found, NULL), 1);
        ck_assert_int_eq(status, PROTO_STATUS_CANCELED);
        ck_assert_uint_eq(found.n, 2);
        ck_assert_str_eq(proto_details_get(&found, "step"), "1/1 x");
        ck_assert_str_eq(proto_details_get(&found, "signal"), "SIGKILL");
}
END_TEST

static TCase *pure_cases(void) {
        TCase *c = tcase_create("lines");

        tcase_add_test(c, every_cut_replays_to_a_prefix);
        tcase_add_test(c, every_flipped_bit_is_seen);
        tcase_add_loop_test(c, replayed_lines, 0, (int) ELEMENTSOF(replays));
        tcase_add_test(c, pauses_replay);
        tcase_add_test(c, what_a_record_comes_to);
        tcase_add_test(c, newer_version);
        tcase_add_test(c, unencodable_entries);
        return c;
}

static TCase *store_cases(void) {
        TCase *c = tcase_create("store");

        tcase_set_timeout(c, 120);
        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, plain_job);
        tcase_add_test(c, layout);
        tcase_add_test(c, lines_fill_the_last_block);
        tcase_add_test(c, drop);
        tcase_add_test(c, order_of_lines_is_kept);
        tcase_add_test(c, every_torn_file_goes_on);
        tcase_add_test(c, nothing_behind_a_bad_line_comes_back);
        tcase_add_test(c, tail_of_zeros);
        tcase_add_test(c, newer_file_is_left_alone);
        tcase_add_loop_test(c, garbage_is_set_aside, 0, (int) ELEMENTSOF(garbage));
        tcase_add_test(c, names_that_are_none);
        tcase_add_test(c, three_are_kept);
        tcase_add_test(c, state_directory_of_garbage);
        tcase_add_test(c, runs_of_others_are_refused);
        tcase_add_test(c, state_directory_is_made);
        tcase_add_test(c, failed_prepare_leaves_nothing);
        tcase_add_test(c, read_only_records_are_read);
        tcase_add_test(c, failed_line_is_taken_back);
        tcase_add_test(c, failed_burial_keeps_the_record);
        tcase_add_test(c, newest_tombstone_wins);
        tcase_add_test(c, bad_tombstone_lines_are_skipped);
        tcase_add_test(c, tombstones_fill_the_last_block);
        tcase_add_test(c, tombstones_that_are_none);
        tcase_add_test(c, old_tombstones_are_pruned);
        tcase_add_test(c, many_tombstones_are_pruned);
        tcase_add_test(c, few_tombstones_stay);
        tcase_add_test(c, many_bury_at_once);
        tcase_add_test(c, replaced_while_waiting_for_the_lock);
        tcase_add_test(c, only_some_details_are_kept);
        return c;
}

UNIT_MAIN("record", pure_cases(), store_cases())
