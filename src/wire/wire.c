/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

/* What a packet of each type carries; encoder and decoder both follow this one table. */
enum {
        HAS_THING = 1 << 0,
        HAS_KEY = 1 << 1,
        HAS_DOCUMENT = 1 << 2,
        HAS_CLAIM = 1 << 3,
        HAS_PLAN = 1 << 4,
        HAS_STATE = 1 << 5,
        HAS_STATUS = 1 << 6,
        HAS_DETAILS = 1 << 7,
        HAS_REASON = 1 << 8,
        HAS_PATH = 1 << 9,
        HAS_RUNS = 1 << 10,
        HAS_MAX_SECONDS = 1 << 11,
        HAS_SECONDS = 1 << 12,
        HAS_COUNT = 1 << 13,
        HAS_OPERATOR = 1 << 14, /* and deadline; absent = false */
        HAS_PAUSED = 1 << 15,   /* absent = not */
        HAS_ENDS = 1 << 16,
};

static const struct {
        const char *name;
        unsigned members;
} types[WIRE_TYPE_COUNT] = {
        [WIRE_NONE] = { "none", 0 },
        [WIRE_INVENTORY] = { "inventory", HAS_THING },
        [WIRE_PREPARE] = { "prepare", HAS_KEY | HAS_DOCUMENT },
        [WIRE_GO] = { "go", 0 },
        [WIRE_ATTACH] = { "attach", HAS_KEY },
        [WIRE_CANCEL] = { "cancel", HAS_KEY | HAS_OPERATOR },
        [WIRE_ACK] = { "ack", HAS_KEY },
        [WIRE_DROP] = { "drop", HAS_KEY },
        [WIRE_TOLD] = { "told", 0 },
        [WIRE_DEADLINE] = { "deadline", HAS_SECONDS },
        [WIRE_HISTORY] = { "history", HAS_THING | HAS_COUNT },
        [WIRE_PAUSE] = { "pause", HAS_THING },
        [WIRE_RESUME] = { "resume", HAS_THING },
        [WIRE_RUNS] = { "runs", HAS_RUNS | HAS_PAUSED },
        [WIRE_PLAN] = { "plan", HAS_CLAIM | HAS_PLAN | HAS_MAX_SECONDS | HAS_DETAILS },
        [WIRE_REJECTED] = { "rejected", HAS_REASON | HAS_PATH },
        [WIRE_UNABLE] = { "unable", HAS_REASON | HAS_PAUSED },
        [WIRE_NO_RECORD] = { "noRecord", 0 },
        [WIRE_ATTACHED] = { "attached", HAS_CLAIM | HAS_STATE },
        [WIRE_PROGRESS] = { "progress", HAS_DETAILS },
        [WIRE_RESULT] = { "result", HAS_STATUS | HAS_DETAILS },
        [WIRE_DEFERRED] = { "deferred", HAS_SECONDS | HAS_MAX_SECONDS | HAS_DETAILS },
        [WIRE_REBOOTING] = { "rebooting", HAS_MAX_SECONDS | HAS_DETAILS },
        [WIRE_PAUSED] = { "paused", HAS_PAUSED },
        [WIRE_ENDS] = { "ends", HAS_ENDS },
};

static const char *const run_state_names[WIRE_RUN_STATE_COUNT] = {
        [WIRE_RUN_PREPARED] = "prepared",
        [WIRE_RUN_STARTED] = "started",
        [WIRE_RUN_DEFERRED] = "deferred",
        [WIRE_RUN_REBOOTING] = "rebooting",
        [WIRE_RUN_REBOOTED] = "rebooted",
        [WIRE_RUN_RESULT] = "result",
};

static const char *const phase_names[WIRE_PHASE_COUNT] = {
        [WIRE_PHASE_RUN] = "run",
        [WIRE_PHASE_RETRY] = "retry",
        [WIRE_PHASE_POST_REBOOT] = "post-reboot",
        [WIRE_PHASE_RERUN] = "rerun",
};

const char *wire_type_name(WireType t) {
        return (unsigned) t < WIRE_TYPE_COUNT ? types[t].name : "";
}

const char *wire_run_state_name(WireRunState s) {
        return (unsigned) s < WIRE_RUN_STATE_COUNT ? run_state_names[s] : "";
}

const char *wire_phase_name(WirePhase p) {
        return (unsigned) p < WIRE_PHASE_COUNT ? phase_names[p] : "";
}

bool wire_claim_valid(const char *claim) {
        size_t n = 0;

        for (; claim[n] != '\0'; n++)
                if (!((claim[n] >= 'A' && claim[n] <= 'Z') || (claim[n] >= 'a' && claim[n] <= 'z') ||
                      (claim[n] >= '0' && claim[n] <= '9')))
                        return false;
        return n == WIRE_CLAIM_MAX - 1;
}

uint64_t wire_give_up_after(uint64_t seconds) {
        seconds = MIN_OF(seconds, WIRE_WAIT_MAX);
        return seconds < 2 * WIRE_GIVE_UP_SEC ? seconds * USEC_PER_SEC / 2 : (seconds - WIRE_GIVE_UP_SEC) * USEC_PER_SEC;
}

bool wire_result_status_valid(ProtoStatus s) {
        return s == PROTO_STATUS_SUCCEEDED || s == PROTO_STATUS_FAILED || s == PROTO_STATUS_REJECTED ||
                s == PROTO_STATUS_CANCELED;
}

/* ---- encode ---- */

static bool key_whole(const JobKey *k) {
        return proto_thing_name_valid(k->thing) && proto_job_id_valid(k->job_id) && k->number >= 1 && k->queued_at >= 1;
}

/* Steals `value`. */
static int put(json_t *o, const char *name, json_t *value) {
        return value && json_object_set_new_nocheck(o, name, value) == 0 ? 0 : -ENOMEM;
}

static int put_key(json_t *o, const JobKey *k) {
        json_t *v = json_pack("{s:s, s:s, s:I, s:I}", "thing", k->thing, "job", k->job_id, "number",
                              (json_int_t) k->number, "queuedAt", (json_int_t) k->queued_at);

        return put(o, "key", v);
}

/* Reasons quote file names and messages of libraries: what is no UTF-8 is repaired rather than the message lost. */
static int put_text(json_t *o, const char *name, const char *text, size_t size) {
        char *clean CLEANUP_FREE = text_sanitize(text, strnlen(text, size), size - 1, false);
        size_t n;

        if (!clean)
                return -ENOMEM;
        n = strlen(clean);
        if (n > size - 1) {
                n = size - 1;
                while (n > 0 && ((unsigned char) clean[n] & 0xC0) == 0x80)
                        n--;
        }
        return put(o, name, json_stringn(clean, n));
}

static int put_details(json_t *o, const ProtoDetails *d) {
        json_t *map = json_object();
        int r = put(o, "details", map);

        for (size_t i = 0; r == 0 && i < d->n; i++)
                r = put(map, d->pair[i].key, json_string(d->pair[i].value));
        return r;
}

static int put_runs(json_t *o, const WireMessage *m) {
        json_t *list = json_array();
        int r = put(o, "runs", list);

        for (size_t i = 0; r == 0 && i < m->n_runs; i++) {
                const WireRun *run = &m->runs[i];
                json_t *entry = json_pack("{s:s, s:s}", "state", wire_run_state_name(run->state), "claim", run->claim);

                if (!entry || json_array_append_new(list, entry) < 0)
                        return -ENOMEM;
                r = put_key(entry, &run->key);
                if (r == 0 && run->state == WIRE_RUN_DEFERRED)
                        r = put(entry, "seconds", json_integer((json_int_t) run->seconds));
        }
        return r < 0 ? r : put(o, "more", json_boolean(m->more));
}

static int put_ends(json_t *o, const WireMessage *m) {
        json_t *list = json_array();
        int r = put(o, "ends", list);

        for (size_t i = 0; r == 0 && i < m->n_ends; i++) {
                const WireEnd *end = &m->ends[i];
                json_t *entry = json_object();

                if (!entry || json_array_append_new(list, entry) < 0)
                        return -ENOMEM;
                r = put_key(entry, &end->key);
                if (r == 0)
                        r = put(entry, "at", json_integer((json_int_t) end->at));
                if (r == 0)
                        r = put(entry, "status", json_string(proto_status_name(end->status)));
                if (r == 0)
                        r = put_details(entry, &end->details);
        }
        return r < 0 ? r : put(o, "more", json_boolean(m->more));
}

static bool ends_valid(const WireMessage *m) {
        if (m->n_ends > WIRE_ENDS_MAX)
                return false;
        for (size_t i = 0; i < m->n_ends; i++)
                if (!key_whole(&m->ends[i].key) || !wire_result_status_valid(m->ends[i].status) ||
                    proto_details_check(&m->ends[i].details, NULL) < 0)
                        return false;
        return true;
}

static bool runs_valid(const WireMessage *m) {
        if (m->n_runs > WIRE_RUNS_MAX)
                return false;
        for (size_t i = 0; i < m->n_runs; i++)
                if (!key_whole(&m->runs[i].key) || (unsigned) m->runs[i].state >= WIRE_RUN_STATE_COUNT ||
                    !wire_claim_valid(m->runs[i].claim) || m->runs[i].seconds > WIRE_WAIT_MAX)
                        return false;
        return true;
}

static bool message_valid(const WireMessage *m, unsigned has) {
        if ((has & HAS_THING) && !proto_thing_name_valid(m->key.thing))
                return false;
        if ((has & HAS_KEY) && !key_whole(&m->key))
                return false;
        if ((has & HAS_DOCUMENT) && ((!m->document && m->document_len <= LIMIT_DOCUMENT) ||
                                     m->document_len > WIRE_DOCUMENT_BYTES_MAX))
                return false;
        if ((has & HAS_CLAIM) && !wire_claim_valid(m->claim))
                return false;
        if ((has & HAS_PLAN) &&
            ((unsigned) m->phase >= WIRE_PHASE_COUNT || m->steps < 1 || m->steps > WIRE_STEPS_MAX))
                return false;
        if ((has & HAS_MAX_SECONDS) && m->max_seconds > WIRE_SECONDS_MAX)
                return false;
        if ((has & HAS_SECONDS) && m->seconds > WIRE_WAIT_MAX)
                return false;
        if ((has & HAS_STATE) && (unsigned) m->state >= WIRE_RUN_STATE_COUNT)
                return false;
        if ((has & HAS_STATUS) && !wire_result_status_valid(m->status))
                return false;
        if ((has & HAS_DETAILS) && proto_details_check(&m->details, NULL) < 0)
                return false;
        if ((has & HAS_REASON) && m->reason[0] == '\0')
                return false;
        if ((has & HAS_COUNT) && m->count > WIRE_HISTORY_MAX)
                return false;
        if ((has & HAS_PAUSED) && m->paused_since < 0)
                return false;
        if ((has & HAS_ENDS) && !ends_valid(m))
                return false;
        return !(has & HAS_RUNS) || runs_valid(m);
}

static int put_members(json_t *o, const WireMessage *m, unsigned has) {
        int r = put(o, "type", json_string(wire_type_name(m->type)));

        if (r == 0 && (has & HAS_THING))
                r = put(o, "thing", json_string(m->key.thing));
        if (r == 0 && (has & HAS_KEY))
                r = put_key(o, &m->key);
        if (r == 0 && (has & HAS_DOCUMENT))
                r = put(o, "documentBytes", json_integer((json_int_t) m->document_len));
        if (r == 0 && (has & HAS_CLAIM))
                r = put(o, "claim", json_string(m->claim));
        if (r == 0 && (has & HAS_PLAN))
                r = put(o, "phase", json_string(wire_phase_name(m->phase)));
        if (r == 0 && (has & HAS_PLAN))
                r = put(o, "steps", json_integer((json_int_t) m->steps));
        if (r == 0 && (has & HAS_MAX_SECONDS))
                r = put(o, "maxSeconds", json_integer((json_int_t) m->max_seconds));
        if (r == 0 && (has & HAS_SECONDS))
                r = put(o, "seconds", json_integer((json_int_t) m->seconds));
        if (r == 0 && (has & HAS_STATE))
                r = put(o, "state", json_string(wire_run_state_name(m->state)));
        if (r == 0 && (has & HAS_STATUS))
                r = put(o, "status", json_string(proto_status_name(m->status)));
        if (r == 0 && (has & HAS_DETAILS))
                r = put_details(o, &m->details);
        if (r == 0 && (has & HAS_REASON))
                r = put_text(o, "reason", m->reason, sizeof m->reason);
        if (r == 0 && (has & HAS_PATH))
                r = put_text(o, "path", m->path, sizeof m->path);
        if (r == 0 && (has & HAS_RUNS))
                r = put_runs(o, m);
        if (r == 0 && (has & HAS_ENDS))
                r = put_ends(o, m);
        if (r == 0 && (has & HAS_COUNT))
                r = put(o, "count", json_integer((json_int_t) m->count));
        if (r == 0 && (has & HAS_OPERATOR) && m->by_operator)
                r = put(o, "byOperator", json_true());
        if (r == 0 && (has & HAS_OPERATOR) && m->by_deadline)
                r = put(o, "byDeadline", json_true());
        if (r == 0 && (has & HAS_PAUSED) && m->paused_since > 0)
                r = put(o, "pausedSince", json_integer((json_int_t) m->paused_since));
        return r;
}

static int append_json(const char *data, size_t len, void *buf) {
        buf_append(buf, data, len);
        return 0;
}

int wire_encode(const WireMessage *m, Buf *ret) {
        Buf b CLEANUP_BUF = {};
        json_t *o CLEANUP_JSON = NULL;
        unsigned has;
        int r;

        if (m->type <= WIRE_NONE || m->type >= WIRE_TYPE_COUNT)
                return -EINVAL;
        has = types[m->type].members;
        if (!message_valid(m, has))
                return -EINVAL;
        o = json_object();
        if (!o)
                return -ENOMEM;
        r = put_members(o, m, has);
        if (r < 0)
                return r;
        if (json_dump_callback(o, append_json, &b, JSON_COMPACT) < 0)
                return -ENOMEM;
        if (has & HAS_DOCUMENT) {
                buf_append(&b, "\n", 1);
                if (m->document_len <= LIMIT_DOCUMENT)
                        buf_append(&b, m->document, m->document_len);
        }
        if (buf_error(&b) < 0)
                return -ENOMEM;
        if (b.len > WIRE_PACKET_MAX)
                return -EMSGSIZE;
        buf_append(ret, b.data, b.len);
        return buf_error(ret);
}

/* ---- decode ---- */

/* A member that must be there. */
static int need(int r, const char *where, const char *name, Error *e) {
        if (r < 0)
                return -EBADMSG; /* the getter has said why */
        if (r == 0) {
                (void) error_set(e, EBADMSG, "%s%s: missing", where, name);
                return -EBADMSG;
        }
        return 0;
}

static int need_string(const json_t *o, const char *where, const char *name, const char **ret, Error *e) {
        return need(json_get_string(o, name, where, ret, e), where, name, e);
}

static int need_int(const json_t *o, const char *where, const char *name, int64_t min, int64_t max, int64_t *ret,
                    Error *e) {
        return need(json_get_int(o, name, where, min, max, ret, e), where, name, e);
}

static int bad(const char *where, const char *name, const char *expected, Error *e) {
        (void) error_set(e, EBADMSG, "%s%s: %s expected", where, name, expected);
        return -EBADMSG;
}

static int take_thing(const json_t *o, const char *where, char ret[static LIMIT_THING_NAME + 1], Error *e) {
        const char *s = NULL;
        int r = need_string(o, where, "thing", &s, e);

        if (r < 0)
                return r;
        if (!proto_thing_name_valid(s))
                return bad(where, "thing", "a thing name", e);
        (void) memcpy(ret, s, strlen(s) + 1);
        return 0;
}

static int take_key(const json_t *outer, const char *outer_where, JobKey *ret, Error *e) {
        char where[64];
        const char *s = NULL;
        json_t *o = NULL;
        int r = need(json_get_object(outer, "key", outer_where, &o, e), outer_where, "key", e);

        if (r < 0)
                return r;
        (void) snprintf(where, sizeof where, "%skey.", outer_where);
        r = take_thing(o, where, ret->thing, e);
        if (r == 0)
                r = need_string(o, where, "job", &s, e);
        if (r < 0)
                return r;
        if (!proto_job_id_valid(s))
                return bad(where, "job", "a job id", e);
        (void) memcpy(ret->job_id, s, strlen(s) + 1);
        r = need_int(o, where, "number", 1, INT64_MAX, &ret->number, e);
        return r < 0 ? r : need_int(o, where, "queuedAt", 1, INT64_MAX, &ret->queued_at, e);
}

static int take_claim(const json_t *o, const char *where, char ret[static WIRE_CLAIM_MAX], Error *e) {
        const char *s = NULL;
        int r = need_string(o, where, "claim", &s, e);

        if (r < 0)
                return r;
        if (!wire_claim_valid(s))
                return bad(where, "claim", "8 characters of A-Z, a-z, 0-9", e);
        (void) memcpy(ret, s, WIRE_CLAIM_MAX);
        return 0;
}

static int take_run_state(const json_t *o, const char *where, WireRunState *ret, Error *e) {
        const char *s = NULL;
        int r = need_string(o, where, "state", &s, e);

        if (r < 0)
                return r;
        for (unsigned i = 0; i < WIRE_RUN_STATE_COUNT; i++)
                if (strcmp(s, run_state_names[i]) == 0) {
                        *ret = (WireRunState) i;
                        return 0;
                }
        return bad(where, "state", "the state of a run", e);
}

static int take_plan(const json_t *o, WireMessage *m, Error *e) {
        const char *s = NULL;
        int64_t v = 0;
        int r = need_string(o, "", "phase", &s, e);

        if (r < 0)
                return r;
        m->phase = WIRE_PHASE_COUNT;
        for (unsigned i = 0; i < WIRE_PHASE_COUNT; i++)
                if (strcmp(s, phase_names[i]) == 0)
                        m->phase = (WirePhase) i;
        if (m->phase == WIRE_PHASE_COUNT)
                return bad("", "phase", "\"run\", \"retry\", \"post-reboot\" or \"rerun\"", e);
        r = need_int(o, "", "steps", 1, WIRE_STEPS_MAX, &v, e);
        if (r == 0)
                m->steps = (uint32_t) v;
        return r;
}

static int take_number(const json_t *o, const char *where, const char *name, uint64_t max, uint64_t *ret, Error *e) {
        int64_t v = 0;
        int r = need_int(o, where, name, 0, (int64_t) max, &v, e);

        if (r == 0)
                *ret = (uint64_t) v;
        return r;
}

static int take_status(const json_t *o, const char *where, ProtoStatus *ret, Error *e) {
        const char *s = NULL;
        int r = need_string(o, where, "status", &s, e);

        if (r < 0)
                return r;
        *ret = proto_status_parse(s);
        return wire_result_status_valid(*ret)
                ? 0
                : bad(where, "status", "SUCCEEDED, FAILED, REJECTED or CANCELED", e);
}

static int take_details(const json_t *o, const char *where, ProtoDetails *ret, Error *e) {
        const char *key;
        json_t *map = NULL, *value;
        int r = need(json_get_object(o, "details", where, &map, e), where, "details", e);

        if (r < 0)
                return r;
        json_object_foreach(map, key, value) {
                if (!json_is_string(value))
                        return bad("details.", key, "a string", e);
                r = proto_details_set(ret, key, json_string_value(value));
                if (r == -E2BIG)
                        return bad("", "details", "at most 10 pairs", e);
                if (r < 0)
                        return r;
        }
        if (proto_details_check(ret, e) < 0) {
                (void) error_wrap(e, "details");
                return -EBADMSG;
        }
        return 0;
}

static int take_text(const json_t *o, const char *name, bool may_be_empty, char *ret, size_t size, Error *e) {
        const char *s = NULL;
        int r = need_string(o, "", name, &s, e);

        if (r < 0)
                return r;
        if ((s[0] == '\0' && !may_be_empty) || strlen(s) >= size)
                return bad("", name, "a text of bounded length", e);
        (void) memcpy(ret, s, strlen(s) + 1);
        return 0;
}

static int take_runs(const json_t *o, WireMessage *m, Error *e) {
        json_t *list = NULL;
        size_t n;
        int r = need(json_get_array(o, "runs", "", &list, e), "", "runs", e);

        if (r == 0)
                r = need(json_get_bool(o, "more", "", &m->more, e), "", "more", e);
        if (r < 0)
                return r;
        n = json_array_size(list);
        if (n > WIRE_RUNS_MAX)
                return bad("", "runs", "at most 64 entries", e);
        if (n == 0)
                return 0;
        m->runs = calloc(n, sizeof *m->runs);
        if (!m->runs)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const json_t *entry = json_array_get(list, i);
                char where[32];

                (void) snprintf(where, sizeof where, "runs[%zu].", i);
                if (!json_is_object(entry))
                        return bad(where, "", "an object", e);
                r = take_key(entry, where, &m->runs[i].key, e);
                if (r == 0)
                        r = take_run_state(entry, where, &m->runs[i].state, e);
                if (r == 0)
                        r = take_claim(entry, where, m->runs[i].claim, e);
                if (r == 0 && m->runs[i].state == WIRE_RUN_DEFERRED)
                        r = take_number(entry, where, "seconds", WIRE_WAIT_MAX, &m->runs[i].seconds, e);
                if (r < 0)
                        return r;
                m->n_runs = i + 1;
        }
        return 0;
}

static int take_end(const json_t *entry, const char *where, WireEnd *ret, Error *e) {
        int r = take_key(entry, where, &ret->key, e);

        if (r == 0)
                r = need_int(entry, where, "at", INT64_MIN, INT64_MAX, &ret->at, e);
        if (r == 0)
                r = take_status(entry, where, &ret->status, e);
        return r < 0 ? r : take_details(entry, where, &ret->details, e);
}

static int take_ends(const json_t *o, WireMessage *m, Error *e) {
        json_t *list = NULL;
        size_t n;
        int r = need(json_get_array(o, "ends", "", &list, e), "", "ends", e);

        if (r == 0)
                r = need(json_get_bool(o, "more", "", &m->more, e), "", "more", e);
        if (r < 0)
                return r;
        n = json_array_size(list);
        if (n > WIRE_ENDS_MAX)
                return bad("", "ends", "at most 16 entries", e);
        if (n == 0)
                return 0;
        m->ends = calloc(n, sizeof *m->ends);
        if (!m->ends)
                return -ENOMEM;
        for (size_t i = 0; i < n && r == 0; i++) {
                const json_t *entry = json_array_get(list, i);
                char where[32];

                (void) snprintf(where, sizeof where, "ends[%zu].", i);
                if (!json_is_object(entry))
                        return bad(where, "", "an object", e);
                m->n_ends = i + 1; /* what it has got by now is freed with the message */
                r = take_end(entry, where, &m->ends[i], e);
        }
        return r;
}

/* What may be left out. */
static int take_optional(const json_t *o, unsigned has, WireMessage *m, Error *e) {
        int r = 0;

        if (has & HAS_OPERATOR)
                r = json_get_bool(o, "byOperator", "", &m->by_operator, e);
        if (r >= 0 && (has & HAS_OPERATOR))
                r = json_get_bool(o, "byDeadline", "", &m->by_deadline, e);
        if (r >= 0 && (has & HAS_PAUSED))
                r = json_get_int(o, "pausedSince", "", 0, INT64_MAX, &m->paused_since, e);
        return r < 0 ? -EBADMSG : 0;
}

static int take_document(const json_t *o, const char *body, size_t len, WireMessage *m, Error *e) {
        int64_t v = 0;
        int r = need_int(o, "", "documentBytes", 0, WIRE_DOCUMENT_BYTES_MAX, &v, e);

        if (r < 0)
                return r;
        if (!body || len != (v > LIMIT_DOCUMENT ? 0 : (size_t) v))
                return bad("", "documentBytes", "the length of what follows the line feed", e);
        m->document = v > LIMIT_DOCUMENT ? NULL : body;
        m->document_len = (size_t) v;
        return 0;
}

static int take_members(const json_t *o, const char *body, size_t body_len, WireMessage *m, Error *e) {
        unsigned has = types[m->type].members;
        int r = 0;

        if (body && !(has & HAS_DOCUMENT))
                return bad("", "packet", "nothing behind the message", e);
        if (has & HAS_THING)
                r = take_thing(o, "", m->key.thing, e);
        if (r == 0 && (has & HAS_KEY))
                r = take_key(o, "", &m->key, e);
        if (r == 0 && (has & HAS_DOCUMENT))
                r = take_document(o, body, body_len, m, e);
        if (r == 0 && (has & HAS_CLAIM))
                r = take_claim(o, "", m->claim, e);
        if (r == 0 && (has & HAS_PLAN))
                r = take_plan(o, m, e);
        if (r == 0 && (has & HAS_MAX_SECONDS))
                r = take_number(o, "", "maxSeconds", WIRE_SECONDS_MAX, &m->max_seconds, e);
        if (r == 0 && (has & HAS_SECONDS))
                r = take_number(o, "", "seconds", WIRE_WAIT_MAX, &m->seconds, e);
        if (r == 0 && (has & HAS_STATE))
                r = take_run_state(o, "", &m->state, e);
        if (r == 0 && (has & HAS_STATUS))
                r = take_status(o, "", &m->status, e);
        if (r == 0 && (has & HAS_DETAILS))
                r = take_details(o, "", &m->details, e);
        if (r == 0 && (has & HAS_REASON))
                r = take_text(o, "reason", false, m->reason, sizeof m->reason, e);
        if (r == 0 && (has & HAS_PATH))
                r = take_text(o, "path", true, m->path, sizeof m->path, e);
        if (r == 0 && (has & HAS_RUNS))
                r = take_runs(o, m, e);
        if (r == 0 && (has & HAS_ENDS))
                r = take_ends(o, m, e);
        if (r == 0 && (has & HAS_COUNT)) {
                uint64_t count = 0;

                r = take_number(o, "", "count", WIRE_HISTORY_MAX, &count, e);
                m->count = (uint32_t) count;
        }
        return r < 0 ? r : take_optional(o, has, m, e);
}

static WireType type_parse(const char *name) {
        for (unsigned t = WIRE_NONE + 1; t < WIRE_TYPE_COUNT; t++)
                if (strcmp(name, types[t].name) == 0)
                        return (WireType) t;
        return WIRE_NONE;
}

int wire_decode(const char *packet, size_t len, WireMessage *ret, Error *e) {
        WireMessage m CLEANUP_WIRE = {};
        json_t *o CLEANUP_JSON = NULL;
        const char *lf, *body, *name = NULL;
        int r;

        if (len == 0 || len > WIRE_PACKET_MAX)
                return bad("", "packet", "1 to 98304 bytes", e);
        lf = memchr(packet, '\n', len);
        body = lf ? lf + 1 : NULL;
        r = json_parse_object(packet, lf ? (size_t) (lf - packet) : len, &o, e);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        r = need_string(o, "", "type", &name, e);
        if (r < 0)
                return r;
        m.type = type_parse(name);
        if (m.type == WIRE_NONE)
                return bad("", "type", "a known message", e);
        r = take_members(o, body, body ? len - (size_t) (body - packet) : 0, &m, e);
        if (r < 0)
                return r;
        *ret = m;
        m = (WireMessage) {};
        return 0;
}

/* ---- ownership ---- */

static int copy_ends(WireMessage *to, const WireMessage *from) {
        if (from->n_ends == 0)
                return 0;
        to->ends = calloc(from->n_ends, sizeof *to->ends);
        if (!to->ends)
                return -ENOMEM;
        for (size_t i = 0; i < from->n_ends; i++) {
                to->ends[i] = from->ends[i];
                to->ends[i].details = (ProtoDetails) {};
                to->n_ends = i + 1;
                if (proto_details_copy(&to->ends[i].details, &from->ends[i].details) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int wire_message_copy(WireMessage *to, const WireMessage *from) {
        WireMessage m CLEANUP_WIRE = *from;
        int r;

        m.details = (ProtoDetails) {};
        m.runs = NULL;
        m.ends = NULL;
        m.n_ends = 0;
        r = proto_details_copy(&m.details, &from->details);
        if (r == 0)
                r = copy_ends(&m, from);
        if (r < 0)
                return r;
        if (from->n_runs > 0) {
                m.runs = calloc(from->n_runs, sizeof *m.runs);
                if (!m.runs)
                        return -ENOMEM;
                (void) memcpy(m.runs, from->runs, from->n_runs * sizeof *m.runs);
        }
        *to = m;
        m = (WireMessage) {};
        return 0;
}

void wire_ends_free(WireEnd *ends, size_t n) {
        for (size_t i = 0; i < n; i++)
                proto_details_done(&ends[i].details);
        free(ends);
}

void wire_message_done(WireMessage *m) {
        proto_details_done(&m->details);
        free(m->runs);
        wire_ends_free(m->ends, m->n_ends);
        *m = (WireMessage) {};
}
