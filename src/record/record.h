/* SPDX-License-Identifier: Apache-2.0 */
/* The durable record of one run: a file of lines `CRC32C(8 hex) SP JSON LF`, written one behind the other, with nothing but zeros
 * behind the last one; format version 2; version 1, which has no `deferred`,
 * `document` and `rebooting`, is still read. (A run that began as version 1 goes on in its file: should the former program take over in
 * the middle of it, it cuts those lines off and takes the run for interrupted.)
 * This header's upper half is pure (lines ↔ state; used by the simulation too), the lower half is the store. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "wire/wire.h"

enum {
        RECORD_VERSION = 2,
        RECORD_TOMBSTONE_VERSION = 1,
        RECORD_FILE_MAX = 72 * 1024 * 1024, /* a larger file in runs/ is no record: 1,000 restarts, each with a document of its own */
        RECORD_CORRUPT_KEPT = 3,          /* NAME.corrupt-1…3; then the oldest gives way */
        RECORD_LIST_MAX = 4096,           /* records listed at a time */
        RECORD_TORN_LISTED = 16,          /* of record_store_torn() */
        RECORD_TOMBSTONES_MIN = 512,      /* the newest so many are always kept, */
        RECORD_TOMBSTONE_DAYS = 30,       /* older ones so long, */
        RECORD_TOMBSTONES_BYTES = 1024 * 1024, /* and only while the file is no larger than this */
        RECORD_TOMBSTONES_FILE_MAX = 8 * 1024 * 1024, /* a larger file is none of ours */
};

/* ---- pure ---- */

typedef enum RecordType {
        RECORD_PREPARED, /* key, claim, document */
        RECORD_STARTED,  /* step, attempt, boot_id, pid, start_time, cgroup; a later step implies that earlier ones passed */
        RECORD_DEFERRED, /* step, attempt (the one that ended so), restarts (with the one to come), retries, boot_id, at, delay */
        RECORD_DOCUMENT, /* document, as it was read again for the retry; only behind `deferred` */
        RECORD_REBOOTING, /* step, attempt (the one that ended so), restarts (with the one to come), boot_id */
        RECORD_RESULT,   /* status, details */
        RECORD_TYPE_COUNT,
} RecordType;

typedef struct RecordEntry {
        RecordType type;
        JobKey key;
        char claim[WIRE_CLAIM_MAX];
        const char *document; /* borrowed when encoding; owned by RecordState after a replay. Valid UTF-8 */
        size_t document_len;
        uint32_t step;    /* 0-based index into the plan */
        uint32_t attempt; /* starts of this step, 1… */
        uint32_t restarts; /* restarts of the execution so far (handlers.max_attempts) */
        uint32_t retries;  /* deferrals in a row, with this one */
        uint64_t at;       /* CLOCK_BOOTTIME of that boot, microseconds */
        uint64_t delay;    /* seconds */
        char boot_id[BOOT_ID_MAX];
        int64_t pid;
        uint64_t start_time; /* clock ticks since boot */
        char cgroup[256];    /* path below the cgroup2 mount, "" = none */
        ProtoStatus status;
        ProtoDetails details; /* owned */
} RecordEntry;

void record_entry_done(RecordEntry *e);
#define CLEANUP_RECORD_ENTRY __attribute__((cleanup(record_entry_done)))

/* Append one line to `ret`. 0, -EINVAL (incomplete key, document no UTF-8 or with a NUL or over LIMIT_DOCUMENT, details
 * outside the published limits, pid below 1), -ENOMEM. */
int record_encode(const RecordEntry *e, Buf *ret) MUST_USE;

typedef enum RecordPhase {
        RECORD_NONE, /* no valid `prepared` line: nothing was ever promised */
        RECORD_IS_PREPARED,
        RECORD_IS_STARTED,
        RECORD_IS_DEFERRED,
        RECORD_IS_REBOOTING, /* whether the reboot has come is seen from the boot id */
        RECORD_HAS_RESULT,
} RecordPhase;

typedef struct RecordState {
        RecordPhase phase;
        JobKey key;
        char claim[WIRE_CLAIM_MAX];
        char *document; /* owned; the newest one */
        size_t document_len;
        RecordEntry started;   /* the newest `started` */
        RecordEntry deferred;  /* the newest `deferred` since the last reboot; attempt 0 = none */
        RecordEntry rebooting; /* the newest `rebooting`; attempt 0 = none */
        RecordEntry result;
        size_t valid_len; /* bytes of intact lines: the rest is a torn tail to be cut */
} RecordState;

void record_state_done(RecordState *s);
#define CLEANUP_RECORD_STATE __attribute__((cleanup(record_state_done)))

/* Seconds until a deferred run is due, rounded up: nothing is left of the delay after a reboot. */
uint64_t record_seconds_left(const RecordState *s, const char *boot_id, uint64_t now) MUST_USE;
/* The inventory's entry for a record that holds something (phase not RECORD_NONE). */
void record_describe(const RecordState *s, const char *boot_id, uint64_t now, WireRun *ret);

/* Read a file's bytes. A bad or torn line ends the replay: what is before it counts. The first line, and only that, is a
 * `prepared`; nothing follows a `result`. The form of the first line, `CRC SP {"v":N,…} LF`, is the same in every version.
 * 0, -EPROTONOSUPPORT (a newer format: leave the file alone and name it), -ENOMEM. */
int record_replay(const char *data, size_t len, RecordState *ret, Error *e) MUST_USE;

/* ---- store ---- */

/* state_directory: runs/KEY.record, tombstones, work/KEY/; all 0700/0600 and the caller's. */
typedef struct RecordStore RecordStore;
typedef struct Record Record;

/* Make what is missing; what stands where `runs` or `work` belongs and is no directory is set aside. Negative errno with
 * the path in e. The store must outlive its records. */
int record_store_open(const char *state_directory, RecordStore **ret, Error *e) MUST_USE;
RecordStore *record_store_free(RecordStore *s);
DEFINE_CLEANUP(RecordStore *, record_store_free)
int record_store_fd(const RecordStore *s);      /* the state directory, borrowed */
int record_store_work_fd(const RecordStore *s); /* work in it, borrowed */

/* Records of one thing (NULL = all), without taking locks. A file that cannot be read, is not a regular file of ours,
 * is of a newer format or garbage is named once in the log, set aside as NAME.corrupt-N (newer: left) and does not stop
 * the listing. *ret is an array of *ret_n (NULL if 0), oldest job
 * first; caller frees. */
int record_store_list(RecordStore *s, const char *thing, WireRun **ret, size_t *ret_n, Error *e) MUST_USE;
/* Keys whose files that listing found torn in their first line, at most RECORD_TORN_LISTED of them; borrowed. Such a file belongs
 * to a runner that is writing it, or is what a crash left of a job that may never be asked for again: record_open() removes it,
 * under the key's lock. */
size_t record_store_torn(const RecordStore *s, const JobKey **ret);

/* Open the record of `key`. The caller holds the key's lock. *ret_state: phase RECORD_NONE if there is none: no file, one
 * whose first line a crash tore (removed: nothing was promised), or garbage (named in the log and set aside). A torn tail
 * is cut, and what was read is synced. On a read-only file system it is read too; appending is what fails then.
 * -EPROTONOSUPPORT: a newer format, left as it is; other errors: it cannot be read now. The file's name is in e. */
int record_open(RecordStore *s, const JobKey *key, Record **ret, RecordState *ret_state, Error *e) MUST_USE;
/* Write one line and make it durable. The `prepared` line makes the file, sets room aside for all later lines
 * (fallocate, where the file system can) and syncs the directory. On failure nothing of the line stays (of `prepared`: no
 * file), and it is final for this Record (later calls return it again). fsyncs: 2 for `prepared`, 1 for any other. */
int record_append(Record *r, const RecordEntry *e, Error *err) MUST_USE;
/* Forget the record: unlink, no tombstone (drop). */
int record_drop(Record *r, Error *e) MUST_USE;
/* Append the tombstone, durable (1 fsync; 2 more now and then, for making and pruning the file), then unlink the record.
 * On failure the record stays, so that the next ack can do it again. */
int record_bury(Record *r, const JobKey *key, ProtoStatus status, const ProtoDetails *details, Error *e) MUST_USE;
Record *record_free(Record *r);
DEFINE_CLEANUP(Record *, record_free)

/* Look a key up among the tombstones: 1 and status + details (of them only claim, step, reason, exitCode and signal are
 * kept), 0 = none, negative errno. Kept: the newest 512, and older ones up to 30 days while the file is below 1 MiB; pruned
 * now and then on bury. Bad lines are skipped; record_tombstones_check() and pruning name and remove them. */
int record_tombstone_find(RecordStore *s, const JobKey *key, ProtoStatus *ret_status, ProtoDetails *ret_details,
                          Error *e) MUST_USE;
/* Name file and first line of what is damaged there, once: it is removed. */
void record_tombstones_check(RecordStore *s);

/* ---- what an operator asks ---- (history.c) */

/* The newest tombstones of a thing, oldest first; caller frees with wire_ends_free(). None: *ret is NULL. Damaged lines are left out. */
int record_history(RecordStore *s, const char *thing, size_t newest, WireEnd **ret, size_t *ret_n, Error *e) MUST_USE;
/* The durable mark STATE/paused-THING: no run that was not begun is prepared while it is there. *ret_since: epoch seconds of its
 * making, 0 = there is none. record_pause() makes or removes it; doing it twice changes nothing. 0, negative errno. */
int record_paused(RecordStore *s, const char *thing, int64_t *ret_since, Error *e) MUST_USE;
int record_pause(RecordStore *s, const char *thing, bool on, int64_t *ret_since, Error *e) MUST_USE;
/* Is there a file for this key, whatever is in it? */
bool record_exists(RecordStore *s, const JobKey *key);
