/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "base/utf8.h"
#include "record/record_pure.h"

static const char *const type_names[RECORD_TYPE_COUNT] = {
        [RECORD_PREPARED] = "prepared",
        [RECORD_STARTED] = "started",
        [RECORD_DEFERRED] = "deferred",
        [RECORD_DOCUMENT] = "document",
        [RECORD_REBOOTING] = "rebooting",
        [RECORD_RESULT] = "result",
};

void record_entry_done(RecordEntry *e) {
        proto_details_done(&e->details);
        *e = (RecordEntry) {};
}

void record_state_done(RecordState *s) {
        free(s->document);
        record_entry_done(&s->started);
        record_entry_done(&s->deferred);
        record_entry_done(&s->rebooting);
        record_entry_done(&s->result);
        *s = (RecordState) {};
}

/* ---- one line ---- */

int record_line_append(Buf *b, const json_t *o) {
        char *text CLEANUP_FREE = json_dumps(o, JSON_COMPACT);

        if (!text)
                return -ENOMEM;
        buf_printf(b, "%08x ", crc32c(text, strlen(text)));
        buf_puts(b, text);
        buf_puts(b, "\n");
        return buf_error(b);
}

static bool crc_parse(const char *text, uint32_t *ret) {
        uint32_t v = 0;

        for (size_t i = 0; i < RECORD_CRC_LEN; i++) {
                char c = text[i];

                if (c >= '0' && c <= '9')
                        v = v << 4 | (uint32_t) (c - '0');
                else if (c >= 'a' && c <= 'f')
                        v = v << 4 | (uint32_t) (c - 'a' + 10);
                else
                        return false;
        }
        *ret = v;
        return true;
}

int record_line_parse(const char *data, size_t len, json_t **ret, size_t *ret_len) {
        const char *lf = memchr(data, '\n', len), *text = data + RECORD_CRC_LEN + 1;
        uint32_t crc = 0;
        size_t n;
        int r;

        if (!lf || lf < text || data[RECORD_CRC_LEN] != ' ' || !crc_parse(data, &crc))
                return -EBADMSG;
        n = (size_t) (lf - text);
        if (crc32c(text, n) != crc)
                return -EBADMSG;
        r = json_parse_object(text, n, ret, NULL);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        *ret_len = (size_t) (lf - data) + 1;
        return 0;
}

/* ---- encode ---- */

static bool document_valid(const RecordEntry *e) {
        return e->document && e->document_len <= LIMIT_DOCUMENT && !memchr(e->document, '\0', e->document_len) &&
                utf8_valid(e->document, e->document_len);
}

/* Which attempt of which step, in which boot. */
static bool attempt_valid(const RecordEntry *e) {
        return e->step < WIRE_STEPS_MAX && e->attempt >= 1 && utf8_valid(e->boot_id, strlen(e->boot_id));
}

static bool entry_valid(const RecordEntry *e) {
        switch (e->type) {
        case RECORD_PREPARED:
                return proto_thing_name_valid(e->key.thing) && proto_job_id_valid(e->key.job_id) && e->key.number >= 1 &&
                        e->key.queued_at >= 1 && wire_claim_valid(e->claim) && document_valid(e);
        case RECORD_STARTED:
                return attempt_valid(e) && e->pid >= 1 && e->pid <= INT32_MAX && e->start_time <= INT64_MAX &&
                        utf8_valid(e->cgroup, strlen(e->cgroup));
        case RECORD_DEFERRED:
                return attempt_valid(e) && e->at <= INT64_MAX && e->delay <= WIRE_WAIT_MAX;
        case RECORD_DOCUMENT:
                return document_valid(e);
        case RECORD_REBOOTING:
                return attempt_valid(e);
        case RECORD_RESULT:
                return wire_result_status_valid(e->status) && proto_details_check(&e->details, NULL) == 0;
        case RECORD_TYPE_COUNT:
                break;
        }
        return false;
}

static json_t *prepared_json(const RecordEntry *e) {
        char key[JOB_KEY_TEXT_MAX];

        job_key_format(&e->key, key);
        return json_pack("{s:i, s:s, s:s, s:s, s:o}", "v", RECORD_VERSION, "type", type_names[e->type], "key", key,
                         "claim", e->claim, "document", json_stringn(e->document, e->document_len));
}

static json_t *started_json(const RecordEntry *e) {
        return json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:s}", "type", type_names[e->type], "step",
                         (json_int_t) e->step, "attempt", (json_int_t) e->attempt, "restarts", (json_int_t) e->restarts,
                         "bootId", e->boot_id, "pid", (json_int_t) e->pid, "startTime", (json_int_t) e->start_time,
                         "cgroup", e->cgroup);
}

static json_t *deferred_json(const RecordEntry *e) {
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:I}", "type", type_names[e->type], "step",
                         (json_int_t) e->step, "attempt", (json_int_t) e->attempt, "restarts", (json_int_t) e->restarts,
                         "retries", (json_int_t) e->retries, "bootId", e->boot_id, "at", (json_int_t) e->at, "delay",
                         (json_int_t) e->delay);
}

static json_t *document_json(const RecordEntry *e) {
        return json_pack("{s:s, s:o}", "type", type_names[e->type], "document",
                         json_stringn(e->document, e->document_len));
}

static json_t *rebooting_json(const RecordEntry *e) {
        return json_pack("{s:s, s:I, s:I, s:I, s:s}", "type", type_names[e->type], "step", (json_int_t) e->step,
                         "attempt", (json_int_t) e->attempt, "restarts", (json_int_t) e->restarts, "bootId",
                         e->boot_id);
}

json_t *record_details_json(const ProtoDetails *d) {
        json_t *map = json_object();

        for (size_t i = 0; map && i < d->n; i++)
                if (json_object_set_new(map, d->pair[i].key, json_string(d->pair[i].value)) < 0) {
                        json_decref(map);
                        return NULL;
                }
        return map;
}

static json_t *result_json(const RecordEntry *e) {
        return json_pack("{s:s, s:s, s:o}", "type", type_names[e->type], "status", proto_status_name(e->status),
                         "details", record_details_json(&e->details));
}

int record_encode(const RecordEntry *e, Buf *ret) {
        json_t *o CLEANUP_JSON = NULL;

        if (!entry_valid(e))
                return -EINVAL;
        switch (e->type) {
        case RECORD_PREPARED:
                o = prepared_json(e);
                break;
        case RECORD_STARTED:
                o = started_json(e);
                break;
        case RECORD_DEFERRED:
                o = deferred_json(e);
                break;
        case RECORD_DOCUMENT:
                o = document_json(e);
                break;
        case RECORD_REBOOTING:
                o = rebooting_json(e);
                break;
        case RECORD_RESULT:
                o = result_json(e);
                break;
        case RECORD_TYPE_COUNT:
                return -EINVAL;
        }
        return o ? record_line_append(ret, o) : -ENOMEM;
}

/* ---- replay ---- */

static int need(int r) {
        return r == 1 ? 0 : -EBADMSG;
}

static int take_string(const json_t *o, const char *name, size_t size, char *ret) {
        const char *s = NULL;

        if (need(json_get_string(o, name, "", &s, NULL)) < 0 || strlen(s) >= size)
                return -EBADMSG;
        (void) memcpy(ret, s, strlen(s) + 1);
        return 0;
}

static int take_u32(const json_t *o, const char *name, int64_t min, int64_t max, uint32_t *ret) {
        int64_t v = 0;

        if (need(json_get_int(o, name, "", min, max, &v, NULL)) < 0)
                return -EBADMSG;
        *ret = (uint32_t) v;
        return 0;
}

static int take_document(const json_t *o, RecordState *s) {
        const json_t *document = json_object_get(o, "document");
        char *copy;

        if (!json_is_string(document) || json_string_length(document) > LIMIT_DOCUMENT)
                return -EBADMSG;
        copy = strdup(json_string_value(document));
        if (!copy)
                return -ENOMEM;
        free(s->document);
        s->document = copy;
        s->document_len = json_string_length(document);
        return 0;
}

static int take_prepared(const json_t *o, RecordState *s) {
        char key[JOB_KEY_TEXT_MAX];
        int r;

        if (take_string(o, "key", sizeof key, key) < 0 || job_key_parse(key, &s->key) < 0 || s->key.number < 1 ||
            s->key.queued_at < 1 || take_string(o, "claim", sizeof s->claim, s->claim) < 0 || !wire_claim_valid(s->claim))
                return -EBADMSG;
        r = take_document(o, s);
        if (r == 0)
                s->phase = RECORD_IS_PREPARED;
        return r;
}

static int take_attempt(const json_t *o, RecordEntry *e) {
        return take_u32(o, "step", 0, WIRE_STEPS_MAX - 1, &e->step) < 0 ||
                        take_u32(o, "attempt", 1, UINT32_MAX, &e->attempt) < 0 ||
                        take_u32(o, "restarts", 0, UINT32_MAX, &e->restarts) < 0 ||
                        take_string(o, "bootId", sizeof e->boot_id, e->boot_id) < 0
                ? -EBADMSG
                : 0;
}

static int take_started(const json_t *o, RecordState *s) {
        RecordEntry e CLEANUP_RECORD_ENTRY = { .type = RECORD_STARTED };
        int64_t start_time = 0;

        if (take_attempt(o, &e) < 0 || take_string(o, "cgroup", sizeof e.cgroup, e.cgroup) < 0 ||
            need(json_get_int(o, "pid", "", 1, INT32_MAX, &e.pid, NULL)) < 0 ||
            need(json_get_int(o, "startTime", "", 0, INT64_MAX, &start_time, NULL)) < 0)
                return -EBADMSG;
        e.start_time = (uint64_t) start_time;
        record_entry_done(&s->started);
        s->started = e;
        e = (RecordEntry) {};
        s->phase = RECORD_IS_STARTED;
        return 0;
}

static int take_deferred(const json_t *o, RecordState *s) {
        RecordEntry e = { .type = RECORD_DEFERRED };
        int64_t at = 0, delay = 0;

        if (take_attempt(o, &e) < 0 || take_u32(o, "retries", 0, UINT32_MAX, &e.retries) < 0 ||
            need(json_get_int(o, "at", "", 0, INT64_MAX, &at, NULL)) < 0 ||
            need(json_get_int(o, "delay", "", 0, (int64_t) WIRE_WAIT_MAX, &delay, NULL)) < 0)
                return -EBADMSG;
        e.at = (uint64_t) at;
        e.delay = (uint64_t) delay;
        s->deferred = e;
        s->phase = RECORD_IS_DEFERRED;
        return 0;
}

static int take_rebooting(const json_t *o, RecordState *s) {
        RecordEntry e = { .type = RECORD_REBOOTING };

        if (take_attempt(o, &e) < 0)
                return -EBADMSG;
        s->rebooting = e;
        s->deferred = (RecordEntry) {}; /* retries in a row end here */
        s->phase = RECORD_IS_REBOOTING;
        return 0;
}

int record_details_parse(const json_t *o, ProtoDetails *ret) {
        ProtoDetails d CLEANUP_DETAILS = {};
        json_t *map = NULL, *value;
        const char *key;
        int r;

        if (need(json_get_object(o, "details", "", &map, NULL)) < 0)
                return -EBADMSG;
        json_object_foreach(map, key, value) {
                if (!json_is_string(value))
                        return -EBADMSG;
                r = proto_details_set(&d, key, json_string_value(value));
                if (r < 0)
                        return r == -ENOMEM ? r : -EBADMSG;
        }
        if (proto_details_check(&d, NULL) < 0)
                return -EBADMSG;
        *ret = d;
        d = (ProtoDetails) {};
        return 0;
}

static int take_result(const json_t *o, RecordState *s) {
        char status[16];
        ProtoStatus v;
        int r;

        if (take_string(o, "status", sizeof status, status) < 0)
                return -EBADMSG;
        v = proto_status_parse(status);
        if (!wire_result_status_valid(v))
                return -EBADMSG;
        r = record_details_parse(o, &s->result.details);
        if (r < 0)
                return r;
        s->result.type = RECORD_RESULT;
        s->result.status = v;
        s->phase = RECORD_HAS_RESULT;
        return 0;
}

typedef int (*LineTaker)(const json_t *o, RecordState *s);

/* Which lines may follow which: the first one is `prepared` and nothing else is; nothing follows a result. */
static const LineTaker may_follow[][RECORD_TYPE_COUNT] = {
        [RECORD_NONE] = { [RECORD_PREPARED] = take_prepared },
        [RECORD_IS_PREPARED] = { [RECORD_STARTED] = take_started, [RECORD_RESULT] = take_result },
        [RECORD_IS_STARTED] = { [RECORD_STARTED] = take_started,
                                [RECORD_DEFERRED] = take_deferred,
                                [RECORD_REBOOTING] = take_rebooting,
                                [RECORD_RESULT] = take_result },
        [RECORD_IS_DEFERRED] = { [RECORD_STARTED] = take_started,
                                 [RECORD_DOCUMENT] = take_document,
                                 [RECORD_RESULT] = take_result },
        [RECORD_IS_REBOOTING] = { [RECORD_STARTED] = take_started, [RECORD_RESULT] = take_result },
        [RECORD_HAS_RESULT] = {},
};

static int take_line(const json_t *o, RecordState *s) {
        const char *type = NULL;

        if (need(json_get_string(o, "type", "", &type, NULL)) < 0)
                return -EBADMSG;
        for (unsigned t = 0; t < RECORD_TYPE_COUNT; t++)
                if (strcmp(type, type_names[t]) == 0)
                        return may_follow[s->phase][t] ? may_follow[s->phase][t](o, s) : -EBADMSG;
        return -EBADMSG;
}

/* 0, -EPROTONOSUPPORT, -EBADMSG. */
static int check_version(const json_t *o, Error *e) {
        int64_t v = 0;

        if (need(json_get_int(o, "v", "", 1, INT64_MAX, &v, NULL)) < 0)
                return -EBADMSG;
        if (v > RECORD_VERSION) {
                (void) error_set(e, EPROTONOSUPPORT, "record format %lld is newer than this program's %d",
                                 (long long) v, RECORD_VERSION);
                return -EPROTONOSUPPORT;
        }
        return 0;
}

int record_replay(const char *data, size_t len, RecordState *ret, Error *e) {
        RecordState s CLEANUP_RECORD_STATE = {};

        while (s.valid_len < len) {
                json_t *o CLEANUP_JSON = NULL;
                size_t line_len = 0;
                int r = record_line_parse(data + s.valid_len, len - s.valid_len, &o, &line_len);

                if (r == 0 && s.valid_len == 0)
                        r = check_version(o, e);
                if (r == 0)
                        r = take_line(o, &s);
                if (r == -EBADMSG)
                        break;
                if (r < 0)
                        return r;
                s.valid_len += line_len;
        }
        if (s.phase == RECORD_NONE)
                record_state_done(&s);
        *ret = s;
        s = (RecordState) {};
        return 0;
}

/* ---- what it comes to ---- */

uint64_t record_seconds_left(const RecordState *s, const char *boot_id, uint64_t now) {
        const RecordEntry *d = &s->deferred;
        uint64_t due = d->at + d->delay * USEC_PER_SEC; /* both are bounded */

        if (s->phase != RECORD_IS_DEFERRED || strcmp(d->boot_id, boot_id) != 0 || now >= due)
                return 0;
        return MIN_OF((due - now + USEC_PER_SEC - 1) / USEC_PER_SEC, d->delay);
}

static WireRunState run_state(const RecordState *s, const char *boot_id) {
        switch (s->phase) {
        case RECORD_NONE:
        case RECORD_IS_PREPARED:
                break;
        case RECORD_IS_STARTED:
                return WIRE_RUN_STARTED;
        case RECORD_IS_DEFERRED:
                return WIRE_RUN_DEFERRED;
        case RECORD_IS_REBOOTING:
                return strcmp(s->rebooting.boot_id, boot_id) == 0 ? WIRE_RUN_REBOOTING : WIRE_RUN_REBOOTED;
        case RECORD_HAS_RESULT:
                return WIRE_RUN_RESULT;
        }
        return WIRE_RUN_PREPARED;
}

void record_describe(const RecordState *s, const char *boot_id, uint64_t now, WireRun *ret) {
        *ret = (WireRun) {
                .key = s->key,
                .state = run_state(s, boot_id),
                .seconds = record_seconds_left(s, boot_id, now),
        };
        (void) memcpy(ret->claim, s->claim, sizeof ret->claim);
}

bool record_is_torn(const char *data, size_t len) {
        static const char head[] = "\0\0\0\0\0\0\0\0 {\"v\":";
        bool blank = true;

        for (size_t i = 0; i < len && blank; i++)
                blank = data[i] == '\0';
        if (blank)
                return true;
        if (memchr(data, '\n', len))
                return false;
        for (size_t i = 0; i < len && i < sizeof head - 1; i++) {
                bool hex = (data[i] >= '0' && data[i] <= '9') || (data[i] >= 'a' && data[i] <= 'f');

                if (i < RECORD_CRC_LEN ? !hex : data[i] != head[i])
                        return false;
        }
        return true;
}
