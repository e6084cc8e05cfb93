/* SPDX-License-Identifier: Apache-2.0 */
#include "record/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"
#include "base/log.h"
#include "base/message_id.h"
#include "record/record_pure.h"
#include "record/tombstone.h"

#define RECORD_SUFFIX ".record"

enum {
        NAME_OF_RECORD_MAX = JOB_KEY_TEXT_MAX + sizeof RECORD_SUFFIX,
        /* Room set aside behind `prepared`: two maps of details as large as they can be and every start, so that a disk
         * that fills up during the run cannot keep its result from being written. */
        DETAILS_ROOM = LIMIT_DETAILS_PAIRS * (LIMIT_DETAILS_KEY + 4 * LIMIT_DETAILS_VALUE),
        STARTS_ROOM = 2 * 80 * 512, /* with what stands between a start and the next one */
        RECORD_ROOM = 2 * DETAILS_ROOM + STARTS_ROOM,
};

struct Record {
        RecordStore *store; /* borrowed */
        JobKey key;
        char name[NAME_OF_RECORD_MAX];
        int fd;     /* -1 until there is a file */
        off_t len;  /* of intact lines */
        int failed; /* negative errno of the first failure: final */
};

DEFINE_CLEANUP(DIR *, closedir)

/* ---- what does not belong there ---- */

int record_store_check(int dirfd, const char *name, size_t max, struct stat *ret, const char **ret_why) {
        struct stat st;

        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        *ret = st;
        if (S_ISLNK(st.st_mode))
                *ret_why = "a symbolic link";
        else if (S_ISDIR(st.st_mode))
                *ret_why = "a directory";
        else if (!S_ISREG(st.st_mode))
                *ret_why = "no regular file";
        else if (st.st_uid != geteuid())
                *ret_why = "a file of another user";
        else if ((uintmax_t) st.st_size > max)
                *ret_why = "too large";
        else
                return 1;
        return 0;
}

/* NAME.corrupt-N with a free N, or the one set aside longest ago, which then goes. */
static int pick_aside(int dirfd, const char *name, char *ret, size_t size) {
        struct timespec oldest = {};
        int pick = 0;

        for (int n = 1; n <= RECORD_CORRUPT_KEPT; n++) {
                struct stat st;

                if (snprintf(ret, size, "%s.corrupt-%d", name, n) >= (int) size)
                        return -ENAMETOOLONG;
                if (fstatat(dirfd, ret, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return errno == ENOENT ? 0 : -errno;
                if (pick == 0 || st.st_ctim.tv_sec < oldest.tv_sec ||
                    (st.st_ctim.tv_sec == oldest.tv_sec && st.st_ctim.tv_nsec < oldest.tv_nsec)) {
                        oldest = st.st_ctim;
                        pick = n;
                }
        }
        (void) snprintf(ret, size, "%s.corrupt-%d", name, pick);
        return remove_tree_at(dirfd, ret);
}

void record_store_set_aside(int dirfd, const char *where, const char *name, const char *why) {
        char to[NAME_MAX + 1];
        int r = pick_aside(dirfd, name, to, sizeof to);

        if (r == 0 && renameat(dirfd, name, dirfd, to) < 0)
                r = -errno;
        if (r < 0)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL,
                         "%s/%s is %s; cannot set it aside, ignoring it: %s", where, name, why, strerrordesc_np(-r));
        else
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL, "%s/%s is %s; set aside as %s", where,
                         name, why, to);
}

static bool is_set_aside(const char *name) {
        const char *at = strrchr(name, '.');
        unsigned n;
        int used = 0;

        return at && sscanf(at, ".corrupt-%1u%n", &n, &used) == 1 && at[used] == '\0' && n >= 1 &&
                n <= RECORD_CORRUPT_KEPT;
}

static void set_run_aside(const RecordStore *s, const char *name, const char *why) {
        char where[PATH_MAX];

        (void) snprintf(where, sizeof where, "%s/runs", s->path);
        record_store_set_aside(s->runs_fd, where, name, why);
}

/* ---- open ---- */

static int open_own_directory(const RecordStore *s, const char *name, Error *e) {
        int fd CLEANUP_FD = -1;
        struct stat st;

        for (int attempt = 0; fd < 0; attempt++) {
                fd = openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd >= 0)
                        break;
                if (attempt > 1 || (errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
                        return error_errno(e, errno, "%s/%s", s->path, name);
                if (errno != ENOENT)
                        record_store_set_aside(s->fd, s->path, name, "no directory");
                if (mkdirat(s->fd, name, 0700) < 0 && errno != EEXIST)
                        return error_errno(e, errno, "cannot make %s/%s", s->path, name);
                if (fsync(s->fd) < 0)
                        return error_errno(e, errno, "cannot sync %s", s->path);
        }
        if (fstat(fd, &st) < 0)
                return error_errno(e, errno, "%s/%s", s->path, name);
        if (st.st_uid != geteuid() || (st.st_mode & 022))
                return error_set(e, EPERM, "%s/%s must belong to user %u and be writable by no one else", s->path, name,
                                 (unsigned) geteuid());
        return TAKE_FD(fd);
}

int record_store_open(const char *state_directory, RecordStore **ret, Error *e) {
        RecordStore *s CLEANUP(record_store_free) = calloc(1, sizeof *s);
        int r;

        if (!s)
                return error_errno(e, ENOMEM, "%s", state_directory);
        s->fd = s->runs_fd = s->work_fd = -1;
        s->path = strdup(state_directory);
        if (!s->path)
                return error_errno(e, ENOMEM, "%s", state_directory);
        r = s->fd = mkdir_open(state_directory, 0700);
        if (r < 0)
                return error_errno(e, -r, "state directory %s", state_directory);
        r = s->runs_fd = open_own_directory(s, "runs", e);
        if (r < 0)
                return r;
        r = s->work_fd = open_own_directory(s, "work", e);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

RecordStore *record_store_free(RecordStore *s) {
        if (!s)
                return NULL;
        if (s->work_fd >= 0)
                (void) close(s->work_fd);
        if (s->runs_fd >= 0)
                (void) close(s->runs_fd);
        if (s->fd >= 0)
                (void) close(s->fd);
        free(s->path);
        free(s);
        return NULL;
}

int record_store_fd(const RecordStore *s) {
        return s->fd;
}

int record_store_work_fd(const RecordStore *s) {
        return s->work_fd;
}

/* ---- read one ---- */

static void name_of_key(const JobKey *key, char ret[static NAME_OF_RECORD_MAX]) {
        job_key_format(key, ret);
        (void) memcpy(ret + strlen(ret), RECORD_SUFFIX, sizeof RECORD_SUFFIX);
}

static int key_of_name(const char *name, JobKey *ret) {
        char text[JOB_KEY_TEXT_MAX];
        size_t n = strlen(name), suffix = sizeof RECORD_SUFFIX - 1;

        if (n <= suffix || n - suffix >= sizeof text || strcmp(name + n - suffix, RECORD_SUFFIX) != 0)
                return -EINVAL;
        (void) memcpy(text, name, n - suffix);
        text[n - suffix] = '\0';
        return job_key_parse(text, ret);
}

typedef enum FileState {
        FILE_ABSENT,
        FILE_TORN,    /* nothing was ever promised */
        FILE_GARBAGE, /* *ret_why */
        FILE_GOOD,
} FileState;

/* A FileState; -EPROTONOSUPPORT (newer), or an error of reading, both with the file's name in e. */
static int read_record(const RecordStore *s, const char *name, const JobKey *key, RecordState *ret,
                       const char **ret_why, Error *e) {
        char *data CLEANUP_FREE = NULL;
        struct stat st;
        size_t len = 0;
        int r = record_store_check(s->runs_fd, name, RECORD_FILE_MAX, &st, ret_why);

        if (r == 0)
                return FILE_GARBAGE;
        if (r > 0)
                r = file_read_at(s->runs_fd, name, RECORD_FILE_MAX, &data, &len);
        if (r == -ENOENT)
                return FILE_ABSENT;
        if (r < 0)
                return error_errno(e, -r, "cannot read %s/runs/%s", s->path, name);
        r = record_replay(data, len, ret, e);
        if (r == -ENOMEM)
                (void) error_errno(e, ENOMEM, "cannot read");
        if (r < 0) {
                (void) error_wrap(e, "%s/runs/%s", s->path, name);
                return r;
        }
        if (ret->phase == RECORD_NONE) {
                *ret_why = "damaged in its first line";
                return record_is_torn(data, len) ? FILE_TORN : FILE_GARBAGE;
        }
        if (!job_key_equal(&ret->key, key)) {
                record_state_done(ret);
                *ret_why = "the record of another execution";
                return FILE_GARBAGE;
        }
        return FILE_GOOD;
}

/* ---- list ---- */

/* 1 and *ret, or 0: nothing to list (said in the log if that needs saying). */
static int list_one(RecordStore *s, const char *name, const char *thing, WireRun *ret) {
        RecordState state CLEANUP_RECORD_STATE = {};
        char boot_id[BOOT_ID_MAX] = "";
        const char *why = NULL;
        Error e = {};
        JobKey key;
        int r;

        if (is_set_aside(name))
                return 0;
        if (key_of_name(name, &key) < 0) {
                set_run_aside(s, name, "not named as a record");
                return 0;
        }
        r = read_record(s, name, &key, &state, &why, &e);
        if (r < 0)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL, "%s, ignoring", e.text);
        else if (r == FILE_GARBAGE)
                set_run_aside(s, name, why);
        if (thing && strcmp(key.thing, thing) != 0)
                return 0;
        if (r == FILE_TORN && s->n_torn < ELEMENTSOF(s->torn))
                s->torn[s->n_torn++] = key;
        if (r != FILE_GOOD)
                return 0;
        /* Without a boot id a reboot counts as come, and a delay as over: the runner of such a run says what is wrong. */
        if ((state.phase == RECORD_IS_DEFERRED || state.phase == RECORD_IS_REBOOTING) && boot_id_read(boot_id) < 0)
                boot_id[0] = '\0';
        record_describe(&state, boot_id, clock_boottime_usec(), ret);
        return 1;
}

static int compare_runs(const void *a, const void *b) {
        const WireRun *x = a, *y = b;
        int c;

        if (x->key.queued_at != y->key.queued_at)
                return x->key.queued_at < y->key.queued_at ? -1 : 1;
        c = strcmp(x->key.job_id, y->key.job_id);
        if (c == 0)
                c = strcmp(x->key.thing, y->key.thing);
        return c != 0 ? c : (x->key.number > y->key.number) - (x->key.number < y->key.number);
}

static int grow_runs(WireRun **list, size_t n, size_t *cap) {
        size_t want = *cap == 0 ? 16 : *cap * 2;
        WireRun *more;

        if (n < *cap)
                return 0;
        more = reallocarray(*list, want, sizeof **list);
        if (!more)
                return -ENOMEM;
        *list = more;
        *cap = want;
        return 0;
}

static DIR *open_runs(const RecordStore *s) {
        int fd = openat(s->runs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d && fd >= 0)
                (void) close(fd);
        return d;
}

int record_store_list(RecordStore *s, const char *thing, WireRun **ret, size_t *ret_n, Error *e) {
        DIR *d CLEANUP(closedir) = open_runs(s);
        WireRun *list CLEANUP_FREE = NULL;
        size_t n = 0, cap = 0;
        struct dirent *entry;

        if (!d)
                return error_errno(e, errno, "%s/runs", s->path);
        s->n_torn = 0;
        for (errno = 0; (entry = readdir(d)); errno = 0) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if (n == RECORD_LIST_MAX) {
                        log_warning("%s/runs holds more than %d records, ignoring the rest for now", s->path,
                                    RECORD_LIST_MAX);
                        break;
                }
                if (grow_runs(&list, n, &cap) < 0)
                        return error_errno(e, ENOMEM, "%s/runs", s->path);
                n += (size_t) list_one(s, entry->d_name, thing, &list[n]);
        }
        if (errno != 0)
                return error_errno(e, errno, "%s/runs", s->path);
        if (n > 0)
                qsort(list, n, sizeof *list, compare_runs);
        *ret = n > 0 ? TAKE(list) : NULL;
        *ret_n = n;
        return 0;
}

size_t record_store_torn(const RecordStore *s, const JobKey **ret) {
        *ret = s->torn;
        return s->n_torn;
}

/* ---- one record ---- */

/* A torn tail goes before anything is written behind it, and the room is set aside anew: cutting gives it back. */
static int cut_tail(Record *r) {
        struct stat st;

        if (fstat(r->fd, &st) < 0)
                return -errno;
        if (st.st_size == r->len)
                return 0;
        if (ftruncate(r->fd, r->len) < 0)
                return -errno;
        (void) fallocate(r->fd, FALLOC_FL_KEEP_SIZE, 0, r->len + RECORD_ROOM);
        return 0;
}

static int open_good(Record *r, size_t valid_len, Error *e) {
        int c;

        r->fd = openat(r->store->runs_fd, r->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (r->fd < 0 && errno == EROFS) {
                /* What it says can be told all the same; writing is what fails. */
                r->failed = -EROFS;
                return 0;
        }
        if (r->fd < 0)
                return error_errno(e, errno, "cannot open %s/runs/%s", r->store->path, r->name);
        r->len = (off_t) valid_len;
        c = cut_tail(r);
        if (c < 0)
                return error_errno(e, -c, "cannot cut the torn end of %s/runs/%s", r->store->path, r->name);
        /* Its writer may have been killed between write and sync: nothing may be based on what a power cut takes back. */
        if (fdatasync(r->fd) < 0 || fsync(r->store->runs_fd) < 0)
                return error_errno(e, errno, "cannot sync %s/runs/%s", r->store->path, r->name);
        return 0;
}

int record_open(RecordStore *s, const JobKey *key, Record **ret, RecordState *ret_state, Error *e) {
        Record *r CLEANUP(record_free) = calloc(1, sizeof *r);
        RecordState state CLEANUP_RECORD_STATE = {};
        const char *why = NULL;
        int c;

        if (!r)
                return error_errno(e, ENOMEM, "%s/runs", s->path);
        r->store = s;
        r->key = *key;
        r->fd = -1;
        name_of_key(key, r->name);
        c = read_record(s, r->name, key, &state, &why, e);
        if (c < 0)
                return c;
        if (c == FILE_GARBAGE)
                set_run_aside(s, r->name, why);
        if (c == FILE_TORN && unlinkat(s->runs_fd, r->name, 0) < 0 && errno != ENOENT)
                return error_errno(e, errno, "cannot remove %s/runs/%s", s->path, r->name);
        if (c == FILE_GOOD) {
                c = open_good(r, state.valid_len, e);
                if (c < 0)
                        return c;
        }
        *ret = TAKE(r);
        *ret_state = state;
        state = (RecordState) {};
        return 0;
}

static int write_line(Record *r, const Buf *line) {
        int c = pwrite_all(r->fd, line->data, line->len, r->len);

        if (c < 0)
                return c;
        return fdatasync(r->fd) < 0 ? -errno : 0;
}

off_t record_padded(off_t len) {
        return (len / RECORD_BLOCK + 1) * RECORD_BLOCK;
}

static int create(Record *r, const Buf *line) {
        int c;

        r->fd = openat(r->store->runs_fd, r->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (r->fd < 0 || ftruncate(r->fd, record_padded((off_t) line->len)) < 0)
                return -errno;
        /* The plain system call: the C library's stand-in for file systems without it writes every block. */
        if (fallocate(r->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t) line->len + RECORD_ROOM) < 0 && errno != EOPNOTSUPP &&
            errno != ENOSYS)
                return -errno;
        c = write_line(r, line);
        if (c < 0)
                return c;
        return fsync(r->store->runs_fd) < 0 ? -errno : 0;
}

/* Nothing of a line that was not made durable may be read later. */
static void undo(Record *r, bool created) {
        if (r->fd < 0)
                return;
        if (created)
                (void) unlinkat(r->store->runs_fd, r->name, 0);
        else
                (void) !ftruncate(r->fd, r->len);
        (void) close(TAKE_FD(r->fd));
}

int record_append(Record *r, const RecordEntry *entry, Error *e) {
        Buf line CLEANUP_BUF = {};
        bool first = entry->type == RECORD_PREPARED;
        int c = r->failed;

        if (c == 0 && (first ? r->fd >= 0 || !job_key_equal(&entry->key, &r->key) : r->fd < 0))
                return error_set(e, EINVAL, "%s/runs/%s: a record begins with its one `prepared` line", r->store->path,
                                 r->name);
        if (c == 0)
                c = record_encode(entry, &line);
        if (c == -EINVAL)
                return error_errno(e, EINVAL, "%s/runs/%s", r->store->path, r->name);
        if (c == 0) {
                c = first ? create(r, &line) : write_line(r, &line);
                if (c < 0 && c != -EEXIST)
                        undo(r, first);
        }
        if (c < 0) {
                r->failed = c;
                return error_errno(e, -c, "cannot write %s/runs/%s", r->store->path, r->name);
        }
        r->len += (off_t) line.len;
        return 0;
}

int record_drop(Record *r, Error *e) {
        if (unlinkat(r->store->runs_fd, r->name, 0) < 0 && errno != ENOENT)
                return error_errno(e, errno, "cannot remove %s/runs/%s", r->store->path, r->name);
        if (r->fd >= 0)
                (void) close(TAKE_FD(r->fd));
        r->failed = -ENOENT;
        return 0;
}

int record_bury(Record *r, const JobKey *key, ProtoStatus status, const ProtoDetails *details, Error *e) {
        int c = record_tombstone_add(r->store, key, status, details, e);

        return c < 0 ? c : record_drop(r, e);
}

Record *record_free(Record *r) {
        if (!r)
                return NULL;
        if (r->fd >= 0)
                (void) close(r->fd);
        free(r);
        return NULL;
}
