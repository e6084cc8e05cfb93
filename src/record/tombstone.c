/* SPDX-License-Identifier: Apache-2.0 */
/* STATE/tombstones: one line for each execution that is over and reported, newest last. */
#include "record/tombstone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "base/json.h"
#include "base/log.h"
#include "base/message_id.h"
#include "record/record_pure.h"
#include "record/store.h"

#define TOMBSTONES RECORD_TOMBSTONES_NAME

/* Looking at the whole file at each burial would cost more than the burial: it is looked at when it has grown by so much,
 * and then cut a good deal below its limit. */
enum {
        PRUNE_STEP = 64 * 1024,
        PRUNE_TO = RECORD_TOMBSTONES_BYTES / 4 * 3,
        OPEN_ATTEMPTS = 100,
};

/* ---- lines ---- */

/* What `history` shows and a late duplicate is answered with; outputs and the handler's own keys have been reported. */
static int kept_details(const ProtoDetails *from, ProtoDetails *ret) {
        static const char *const kept[] = { "claim", "step", "reason", "exitCode", "signal" };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(kept) && r == 0; i++) {
                const char *value = proto_details_get(from, kept[i]);

                if (value)
                        r = proto_details_set(ret, kept[i], value);
        }
        return r;
}

static int encode_tombstone(const JobKey *key, ProtoStatus status, const ProtoDetails *details, Buf *ret) {
        ProtoDetails kept CLEANUP_DETAILS = {};
        json_t *o CLEANUP_JSON = NULL;
        char text[JOB_KEY_TEXT_MAX];

        if (kept_details(details, &kept) < 0)
                return -ENOMEM;
        job_key_format(key, text);
        o = json_pack("{s:s, s:i, s:I, s:s, s:o}", "key", text, "v", RECORD_TOMBSTONE_VERSION, "at", (json_int_t) clock_wall_sec(),
                      "status", proto_status_name(status), "details", record_details_json(&kept));
        return o ? record_line_append(ret, o) : -ENOMEM;
}

/* Length of the line at data with its LF, or of all that is left where there is none. */
static size_t line_length(const char *data, size_t len) {
        const char *lf = memchr(data, '\n', len);

        return lf ? (size_t) (lf - data) + 1 : len;
}

/* 0 and when it was written, -EBADMSG, -ENOMEM. */
static int line_time(const char *data, size_t len, int64_t *ret) {
        json_t *o CLEANUP_JSON = NULL;
        size_t line_len = 0;
        int r = record_line_parse(data, len, &o, &line_len);

        if (r < 0)
                return r;
        return json_get_int(o, "at", "", INT64_MIN, INT64_MAX, ret, NULL) == 1 ? 0 : -EBADMSG;
}

/* ---- prune ---- */

static size_t count_good(const char *data, size_t len) {
        size_t good = 0;

        for (size_t at = 0, n; at < len; at += n) {
                int64_t written;

                n = line_length(data + at, len - at);
                good += line_time(data + at, n, &written) == 0;
        }
        return good;
}

/* From the oldest on, lines go while there are more than the least number and they are too old, or the rest too large;
 * bad lines go wherever they are. 1 = *ret differs from what is there. */
static int prune(const char *data, size_t len, int64_t now, Buf *ret) {
        size_t left = count_good(data, len);
        size_t room = len > RECORD_TOMBSTONES_BYTES ? PRUNE_TO : RECORD_TOMBSTONES_BYTES;
        bool goes = true, changed = false;

        for (size_t at = 0, n; at < len; at += n) {
                int64_t written = 0;
                int r;

                n = line_length(data + at, len - at);
                r = line_time(data + at, n, &written);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        changed = true;
                        continue;
                }
                goes = goes && left-- > RECORD_TOMBSTONES_MIN &&
                        (now - written > (int64_t) RECORD_TOMBSTONE_DAYS * 86400 || len - at > room);
                if (goes)
                        changed = true;
                else
                        buf_append(ret, data + at, n);
        }
        return buf_error(ret) < 0 ? -ENOMEM : changed;
}

/* Without the zeros that the file ends with. */
static int read_lines(int fd, char **ret, size_t *ret_len) {
        int r = file_read_fd(fd, RECORD_TOMBSTONES_FILE_MAX, ret, ret_len);

        while (r == 0 && *ret_len > 0 && (*ret)[*ret_len - 1] == '\0')
                (*ret_len)--;
        return r;
}

/* How many lines are bad, and the number of the first, from 1. */
static size_t count_bad(const char *data, size_t len, size_t *ret_first) {
        size_t bad = 0, number = 1;

        for (size_t at = 0, n; at < len; at += n, number++) {
                int64_t written;

                n = line_length(data + at, len - at);
                if (line_time(data + at, n, &written) == -EBADMSG && bad++ == 0)
                        *ret_first = number;
        }
        return bad;
}

static void say_bad(const RecordStore *s, const char *data, size_t len) {
        size_t first = 0, bad = count_bad(data, len, &first);

        if (bad > 0)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL,
                         "%s/%s:%zu: damaged; removing %zu such line%s: how those executions ended is forgotten", s->path,
                         TOMBSTONES, first, bad, bad == 1 ? "" : "s");
}

/* The caller holds the lock of fd. A failure leaves a file that is larger than it should be, no more. */
static void prune_file(const RecordStore *s, int fd) {
        char *data CLEANUP_FREE = NULL;
        Buf b CLEANUP_BUF = {};
        size_t len = 0;
        int r = read_lines(fd, &data, &len);

        if (r == 0) {
                say_bad(s, data, len);
                r = prune(data, len, clock_wall_sec(), &b);
        }
        if (r > 0)
                r = file_replace_at(s->fd, TOMBSTONES, b.data ? b.data : "", b.len, 0600);
        if (r < 0)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL, "cannot prune %s/%s, ignoring: %s",
                         s->path, TOMBSTONES, strerrordesc_np(-r));
}

/* ---- append ---- */

/* Open, or make, and lock. *ret_new: it was made. Blocks while another runner writes its line: one fdatasync each. */
static int open_locked(const RecordStore *s, bool *ret_new, struct stat *ret) {
        for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
                struct stat named;
                const char *why = NULL;
                int fd CLEANUP_FD = -1;
                int r = record_store_check(s->fd, TOMBSTONES, RECORD_TOMBSTONES_FILE_MAX, &named, &why);

                if (r < 0 && r != -ENOENT)
                        return r;
                if (r == 0)
                        record_store_set_aside(s->fd, s->path, TOMBSTONES, why);
                *ret_new = r <= 0;
                fd = openat(s->fd, TOMBSTONES, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (r > 0 ? 0 : O_CREAT | O_EXCL),
                            0600);
                if (fd < 0) {
                        if (errno == ENOENT || errno == EEXIST)
                                continue; /* another runner was quicker */
                        return -errno;
                }
                while (flock(fd, LOCK_EX) < 0)
                        if (errno != EINTR)
                                return -errno;
                /* Pruned in between? Then this is the old file. */
                if (fstat(fd, ret) < 0)
                        return -errno;
                if (fstatat(s->fd, TOMBSTONES, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_dev == ret->st_dev &&
                    named.st_ino == ret->st_ino)
                        return TAKE_FD(fd);
        }
        return -EAGAIN;
}

/* Where the zeros begin that the file ends with, and the byte in front of them. */
static int find_end(int fd, off_t size, off_t *ret, char *ret_last) {
        char block[RECORD_BLOCK];

        while (size > 0) {
                off_t from = (size - 1) / RECORD_BLOCK * RECORD_BLOCK;
                ssize_t n = pread(fd, block, (size_t) (size - from), from);

                if (n != size - from)
                        return n < 0 ? -errno : -EIO;
                while (n > 0 && block[n - 1] == '\0')
                        n--;
                size = from + n;
                if (n == 0)
                        continue;
                *ret_last = block[n - 1];
                break;
        }
        *ret = size;
        return 0;
}

/* A crash may have left part of a line: end it, so that it spoils only itself. */
static int write_tombstone(int fd, const Buf *line, off_t size, off_t *ret_end) {
        Buf b CLEANUP_BUF = {};
        char last = '\n';
        off_t end;
        int r = find_end(fd, size, &end, &last);

        if (r < 0)
                return r;
        if (last != '\n')
                buf_puts(&b, "\n");
        buf_append(&b, line->data, line->len);
        if (buf_error(&b) < 0)
                return -ENOMEM;
        *ret_end = end + (off_t) b.len;
        if (*ret_end > size && ftruncate(fd, record_padded(*ret_end)) < 0)
                r = -errno;
        if (r == 0)
                r = pwrite_all(fd, b.data, b.len, end);
        if (r == 0 && fdatasync(fd) < 0)
                r = -errno;
        if (r < 0)
                (void) !ftruncate(fd, end);
        return r;
}

int record_tombstone_add(RecordStore *s, const JobKey *key, ProtoStatus status, const ProtoDetails *details, Error *e) {
        Buf line CLEANUP_BUF = {};
        int fd CLEANUP_FD = -1;
        bool is_new = false;
        struct stat st;
        off_t end = 0;
        int r = encode_tombstone(key, status, details, &line);

        if (r < 0)
                return error_errno(e, -r, "cannot write %s/%s", s->path, TOMBSTONES);
        fd = open_locked(s, &is_new, &st);
        if (fd < 0)
                return error_errno(e, -fd, "cannot open %s/%s", s->path, TOMBSTONES);
        r = write_tombstone(fd, &line, st.st_size, &end);
        if (r == 0 && is_new && fsync(s->fd) < 0)
                r = -errno;
        if (r < 0)
                return error_errno(e, -r, "cannot write %s/%s", s->path, TOMBSTONES);
        if (end / PRUNE_STEP != (end - (off_t) line.len) / PRUNE_STEP)
                prune_file(s, fd);
        return 0;
}

void record_tombstones_check(RecordStore *s) {
        int reader CLEANUP_FD = openat(s->fd, TOMBSTONES, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        int fd CLEANUP_FD = -1;
        char *data CLEANUP_FREE = NULL;
        bool is_new = false;
        size_t len = 0, first;
        struct stat st;

        /* Without the lock first: it is held for a sync at a time, and what is found may be a line that is being written. */
        if (reader < 0 || read_lines(reader, &data, &len) < 0 || count_bad(data, len, &first) == 0)
                return;
        fd = open_locked(s, &is_new, &st);
        if (fd >= 0)
                prune_file(s, fd);
}

/* ---- find ---- */

static int take_tombstone(const json_t *o, const char *key, ProtoStatus *ret_status, ProtoDetails *ret_details) {
        const char *text = NULL, *status = NULL;
        ProtoStatus v;
        int r;

        if (json_get_string(o, "key", "", &text, NULL) != 1 || strcmp(text, key) != 0 ||
            json_get_string(o, "status", "", &status, NULL) != 1)
                return 0;
        v = proto_status_parse(status);
        if (!wire_result_status_valid(v))
                return 0;
        r = record_details_parse(o, ret_details);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        *ret_status = v;
        return 1;
}

/* The newest good line of `key`. */
static int find(const char *data, size_t len, const char *key, ProtoStatus *ret_status, ProtoDetails *ret_details) {
        char needle[JOB_KEY_TEXT_MAX + 16];
        size_t n = (size_t) snprintf(needle, sizeof needle, " {\"key\":\"%s\"", key);
        const char *at = data, *end = data + len, *hit;
        int found = 0;

        while ((hit = memmem(at, (size_t) (end - at), needle, n))) {
                json_t *o CLEANUP_JSON = NULL;
                size_t line_len = 0;

                at = hit + n;
                if (hit - data >= RECORD_CRC_LEN &&
                    record_line_parse(hit - RECORD_CRC_LEN, (size_t) (end - hit) + RECORD_CRC_LEN, &o, &line_len) == 0) {
                        ProtoDetails d CLEANUP_DETAILS = {};
                        int r = take_tombstone(o, key, ret_status, &d);

                        if (r < 0)
                                return r;
                        if (r > 0) {
                                proto_details_done(ret_details);
                                *ret_details = d;
                                d = (ProtoDetails) {};
                                found = 1;
                        }
                }
        }
        return found;
}

/* The same in a file, a piece at a time: there may be many lines. */
static int find_in_file(int fd, off_t size, const char *key, ProtoStatus *ret_status, ProtoDetails *ret_details) {
        enum { PIECE_MAX = 32 * 1024 }; /* longer than any line of ours */
        size_t piece_size = (size_t) MIN_OF(size + RECORD_BLOCK, (off_t) PIECE_MAX);
        char *piece CLEANUP_FREE = malloc(piece_size);
        size_t held = 0;
        off_t at = 0;
        int found = 0;

        if (!piece)
                return -ENOMEM;
        for (;;) {
                ssize_t n = pread(fd, piece + held, piece_size - held, at);
                size_t len, whole;
                const char *lf;
                int r;

                if (n < 0)
                        return -errno;
                len = held + (size_t) n;
                lf = len < piece_size ? NULL : memrchr(piece, '\n', len);
                whole = lf ? (size_t) (lf - piece) + 1 : len;
                r = find(piece, whole, key, ret_status, ret_details);
                if (r < 0)
                        return r;
                found = found || r > 0;
                if (len < piece_size)
                        return found;
                held = len - whole;
                memmove(piece, piece + whole, held);
                at += n;
        }
}

int record_tombstone_find(RecordStore *s, const JobKey *key, ProtoStatus *ret_status, ProtoDetails *ret_details,
                          Error *e) {
        ProtoDetails details CLEANUP_DETAILS = {};
        char text[JOB_KEY_TEXT_MAX];
        const char *why = NULL;
        int fd CLEANUP_FD = -1;
        struct stat st;
        int r = record_store_check(s->fd, TOMBSTONES, RECORD_TOMBSTONES_FILE_MAX, &st, &why);

        if (r == 0) {
                /* Set aside at the next burial, under the lock. */
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL, "%s/%s is %s, ignoring", s->path,
                         TOMBSTONES, why);
                return 0;
        }
        if (r > 0) {
                fd = openat(s->fd, TOMBSTONES, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                r = fd < 0 ? -errno : 0;
        }
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_errno(e, -r, "cannot read %s/%s", s->path, TOMBSTONES);
        job_key_format(key, text);
        r = find_in_file(fd, st.st_size, text, ret_status, &details);
        if (r < 0)
                return error_errno(e, -r, "cannot read %s/%s", s->path, TOMBSTONES);
        if (r > 0) {
                *ret_details = details;
                details = (ProtoDetails) {};
        }
        return r;
}
