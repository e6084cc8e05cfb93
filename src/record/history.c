/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks of the state directory: the executions that are over, and whether new ones are held back. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "base/json.h"
#include "record/record_pure.h"
#include "record/store.h"

/* ---- history ---- */

typedef struct History {
        WireEnd *end; /* owned; a ring of `max` once it is full */
        size_t n, cap, max, oldest;
} History;

static void history_done(History *h) {
        wire_ends_free(h->end, h->n);
}
#define CLEANUP_HISTORY __attribute__((cleanup(history_done)))

/* 1 = a tombstone of this thing, 0 = something else. */
static int take_end(const json_t *o, const char *thing, WireEnd *ret) {
        const char *key = NULL, *status = NULL;
        int r;

        if (json_get_string(o, "key", "", &key, NULL) != 1 || job_key_parse(key, &ret->key) < 0 ||
            strcmp(ret->key.thing, thing) != 0 || ret->key.number < 1 || ret->key.queued_at < 1)
                return 0;
        if (json_get_string(o, "status", "", &status, NULL) != 1 || json_get_int(o, "at", "", INT64_MIN, INT64_MAX, &ret->at, NULL) != 1)
                return 0;
        ret->status = proto_status_parse(status);
        if (!wire_result_status_valid(ret->status))
                return 0;
        r = record_details_parse(o, &ret->details);
        return r == -ENOMEM ? r : r == 0;
}

static int history_add(History *h, WireEnd *end) {
        if (h->n == h->max) { /* the oldest gives way */
                proto_details_done(&h->end[h->oldest].details);
                h->end[h->oldest] = *end;
                h->oldest = (h->oldest + 1) % h->max;
                return 0;
        }
        if (h->n == h->cap) {
                size_t cap = MIN_OF(MAX_OF(h->cap * 2, (size_t) 64), h->max);
                WireEnd *larger = reallocarray(h->end, cap, sizeof *larger);

                if (!larger)
                        return -ENOMEM;
                h->end = larger;
                h->cap = cap;
        }
        h->end[h->n++] = *end;
        return 0;
}

/* Damaged lines are passed over: who buries the next one names and removes them. */
static int read_history(const char *data, size_t len, const char *thing, History *h) {
        const char *end = data + len;

        for (const char *at = data; at < end;) {
                const char *lf = memchr(at, '\n', (size_t) (end - at));
                json_t *o CLEANUP_JSON = NULL;
                WireEnd e = {};
                size_t line_len = 0;
                int r = record_line_parse(at, (size_t) ((lf ? lf + 1 : end) - at), &o, &line_len);

                if (r == 0)
                        r = take_end(o, thing, &e);
                if (r > 0)
                        r = history_add(h, &e);
                if (r < 0)
                        proto_details_done(&e.details);
                if (r == -ENOMEM)
                        return r;
                at = lf ? lf + 1 : end;
        }
        return 0;
}

static void rotate(History *h, WireEnd *to) {
        for (size_t i = 0; i < h->n; i++)
                to[i] = h->end[(h->oldest + i) % h->n];
}

int record_history(RecordStore *s, const char *thing, size_t newest, WireEnd **ret, size_t *ret_n, Error *e) {
        History h CLEANUP_HISTORY = { .max = MAX_OF(newest, (size_t) 1) };
        char *data CLEANUP_FREE = NULL;
        WireEnd *list = NULL;
        size_t len = 0;
        int r = file_read_at(s->fd, RECORD_TOMBSTONES_NAME, RECORD_TOMBSTONES_FILE_MAX, &data, &len);

        if (r == 0)
                r = read_history(data, len, thing, &h);
        if (r < 0 && r != -ENOENT)
                return error_errno(e, -r, "cannot read %s/%s", s->path, RECORD_TOMBSTONES_NAME);
        if (h.n > 0) {
                list = calloc(h.n, sizeof *list);
                if (!list)
                        return error_errno(e, ENOMEM, "cannot read %s/%s", s->path, RECORD_TOMBSTONES_NAME);
                rotate(&h, list);
        }
        *ret = list;
        *ret_n = h.n;
        h.n = 0; /* the details are the list's now */
        return 0;
}

/* ---- the mark of a pause ---- */

enum { MARK_BYTES = 32 };

static void mark_name(const char *thing, char ret[static LIMIT_THING_NAME + 16]) {
        (void) snprintf(ret, LIMIT_THING_NAME + 16, "paused-%s", thing);
}

int record_paused(RecordStore *s, const char *thing, int64_t *ret_since, Error *e) {
        char name[LIMIT_THING_NAME + 16];
        char *text CLEANUP_FREE = NULL;
        int64_t since;
        size_t len = 0;
        int r;

        mark_name(thing, name);
        r = file_read_at(s->fd, name, MARK_BYTES, &text, &len);
        if (r == -ENOENT) {
                *ret_since = 0;
                return 0;
        }
        if (r < 0 && r != -EFBIG)
                return error_errno(e, -r, "cannot read %s/%s", s->path, name);
        /* That it is there is what counts; what is in it is for display. */
        since = r < 0 ? 0 : strtoll(text, NULL, 10);
        *ret_since = MAX_OF(since, (int64_t) 1);
        return 0;
}

int record_pause(RecordStore *s, const char *thing, bool on, int64_t *ret_since, Error *e) {
        char name[LIMIT_THING_NAME + 16], text[MARK_BYTES];
        int64_t since = 0;
        int r = record_paused(s, thing, &since, e);

        if (r < 0)
                return r;
        mark_name(thing, name);
        if (on && since == 0) {
                since = MAX_OF(clock_wall_sec(), (int64_t) 1);
                (void) snprintf(text, sizeof text, "%" PRId64 "\n", since);
                r = file_replace_at(s->fd, name, text, strlen(text), 0600);
        } else if (!on && since > 0) {
                since = 0;
                if (unlinkat(s->fd, name, 0) < 0 || fsync(s->fd) < 0)
                        r = -errno;
        }
        if (r < 0)
                return error_errno(e, -r, "cannot %s %s/%s", on ? "write" : "remove", s->path, name);
        *ret_since = since;
        return 0;
}

bool record_exists(RecordStore *s, const JobKey *key) {
        char text[JOB_KEY_TEXT_MAX], name[JOB_KEY_TEXT_MAX + 8];

        job_key_format(key, text);
        (void) snprintf(name, sizeof name, "%s.record", text);
        return faccessat(s->runs_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
