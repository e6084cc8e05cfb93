/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/types.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const char *const status_names[PROTO_STATUS_COUNT] = {
        [PROTO_STATUS_NONE] = "",
        [PROTO_STATUS_QUEUED] = "QUEUED",
        [PROTO_STATUS_IN_PROGRESS] = "IN_PROGRESS",
        [PROTO_STATUS_SUCCEEDED] = "SUCCEEDED",
        [PROTO_STATUS_FAILED] = "FAILED",
        [PROTO_STATUS_TIMED_OUT] = "TIMED_OUT",
        [PROTO_STATUS_REJECTED] = "REJECTED",
        [PROTO_STATUS_REMOVED] = "REMOVED",
        [PROTO_STATUS_CANCELED] = "CANCELED",
};

static const char *const code_names[PROTO_CODE_COUNT] = {
        [PROTO_CODE_NONE] = "",
        [PROTO_CODE_INVALID_TOPIC] = "InvalidTopic",
        [PROTO_CODE_INVALID_JSON] = "InvalidJson",
        [PROTO_CODE_INVALID_REQUEST] = "InvalidRequest",
        [PROTO_CODE_INVALID_STATE_TRANSITION] = "InvalidStateTransition",
        [PROTO_CODE_RESOURCE_NOT_FOUND] = "ResourceNotFound",
        [PROTO_CODE_VERSION_MISMATCH] = "VersionMismatch",
        [PROTO_CODE_INTERNAL_ERROR] = "InternalError",
        [PROTO_CODE_REQUEST_THROTTLED] = "RequestThrottled",
        [PROTO_CODE_TERMINAL_STATE_REACHED] = "TerminalStateReached",
        [PROTO_CODE_UNKNOWN] = "Unknown",
};

const char *proto_status_name(ProtoStatus s) {
        assert(s < PROTO_STATUS_COUNT);
        return status_names[s];
}

ProtoStatus proto_status_parse(const char *text) {
        for (ProtoStatus s = PROTO_STATUS_QUEUED; s < PROTO_STATUS_COUNT; s++)
                if (strcmp(text, status_names[s]) == 0)
                        return s;
        return PROTO_STATUS_NONE;
}

bool proto_status_terminal(ProtoStatus s) {
        switch (s) {
        case PROTO_STATUS_NONE:
        case PROTO_STATUS_QUEUED:
        case PROTO_STATUS_IN_PROGRESS:
        case PROTO_STATUS_COUNT:
                return false;
        case PROTO_STATUS_SUCCEEDED:
        case PROTO_STATUS_FAILED:
        case PROTO_STATUS_TIMED_OUT:
        case PROTO_STATUS_REJECTED:
        case PROTO_STATUS_REMOVED:
        case PROTO_STATUS_CANCELED:
                return true;
        }
        return false;
}

const char *proto_code_name(ProtoCode c) {
        assert(c < PROTO_CODE_COUNT);
        return code_names[c];
}

ProtoCode proto_code_parse(const char *text) {
        for (ProtoCode c = PROTO_CODE_NONE; c < PROTO_CODE_UNKNOWN; c++)
                if (strcmp(text, code_names[c]) == 0)
                        return c;
        return PROTO_CODE_UNKNOWN;
}

/* Locale does not come into it: the alphabets are ASCII. */
static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_id_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-';
}

/* 1…max characters of [a-zA-Z0-9_-], with `colon` also ':'. */
static bool name_valid(const char *text, size_t max, bool colon) {
        size_t n;

        for (n = 0; text[n] != '\0'; n++)
                if (n >= max || !(is_id_char(text[n]) || (colon && text[n] == ':')))
                        return false;
        return n > 0;
}

bool proto_thing_name_valid(const char *text) {
        return name_valid(text, LIMIT_THING_NAME, true);
}

bool proto_job_id_valid(const char *text) {
        return name_valid(text, LIMIT_JOB_ID, false);
}

bool proto_details_key_valid(const char *key) {
        return name_valid(key, LIMIT_DETAILS_KEY, true);
}

bool job_key_equal(const JobKey *a, const JobKey *b) {
        return a->number == b->number && a->queued_at == b->queued_at && strcmp(a->job_id, b->job_id) == 0 &&
               strcmp(a->thing, b->thing) == 0;
}

void job_key_format(const JobKey *k, char ret[static JOB_KEY_TEXT_MAX]) {
        (void) snprintf(ret, JOB_KEY_TEXT_MAX, "%s.%s.%" PRId64 ".%" PRId64, k->thing, k->job_id, k->number,
                        k->queued_at);
}

/* Decimal digits up to `end`, in the one spelling job_key_format() writes: a second one would be a second file name
 * for the same run. */
static bool parse_number(const char *p, const char *end, int64_t min, int64_t *ret) {
        int64_t v = 0;

        if (p == end || (*p == '0' && end - p > 1))
                return false;
        for (; p < end; p++)
                if (!is_digit(*p) || __builtin_mul_overflow(v, 10, &v) ||
                    __builtin_add_overflow(v, *p - '0', &v))
                        return false;
        if (v < min)
                return false;
        *ret = v;
        return true;
}

static bool copy_part(const char *p, const char *end, char *ret, size_t size) {
        size_t n = (size_t) (end - p);

        if (n >= size)
                return false;
        memcpy(ret, p, n);
        ret[n] = '\0';
        return true;
}

int job_key_parse(const char *text, JobKey *ret) {
        const char *job, *number, *queued;
        JobKey k = {};

        job = strchr(text, '.');
        number = job ? strchr(job + 1, '.') : NULL;
        queued = number ? strchr(number + 1, '.') : NULL;
        if (!queued)
                return -EINVAL;
        if (!copy_part(text, job, k.thing, sizeof k.thing) || !proto_thing_name_valid(k.thing) ||
            !copy_part(job + 1, number, k.job_id, sizeof k.job_id) || !proto_job_id_valid(k.job_id) ||
            !parse_number(number + 1, queued, 1, &k.number) ||
            !parse_number(queued + 1, queued + strlen(queued), 0, &k.queued_at))
                return -EINVAL;
        *ret = k;
        return 0;
}

static size_t details_find(const ProtoDetails *d, const char *key) {
        size_t i = 0;

        while (i < d->n && strcmp(d->pair[i].key, key) != 0)
                i++;
        return i;
}

int proto_details_set(ProtoDetails *d, const char *key, const char *value) {
        CLEANUP_FREE char *k = NULL, *v = NULL;
        size_t i = details_find(d, key);

        if (i == LIMIT_DETAILS_PAIRS)
                return -E2BIG;
        v = strdup(value);
        if (!v)
                return -ENOMEM;
        if (i == d->n) {
                k = strdup(key);
                if (!k)
                        return -ENOMEM;
                d->pair[i].key = TAKE(k);
                d->n++;
        } else
                free(d->pair[i].value);
        d->pair[i].value = TAKE(v);
        return 0;
}

const char *proto_details_get(const ProtoDetails *d, const char *key) {
        size_t i = details_find(d, key);

        return i < d->n ? d->pair[i].value : NULL;
}

void proto_details_unset(ProtoDetails *d, const char *key) {
        size_t i = details_find(d, key);

        if (i == d->n)
                return;
        free(d->pair[i].key);
        free(d->pair[i].value);
        d->n--;
        memmove(&d->pair[i], &d->pair[i + 1], (d->n - i) * sizeof d->pair[0]);
        memset(&d->pair[d->n], 0, sizeof d->pair[0]);
}

int proto_details_copy(ProtoDetails *to, const ProtoDetails *from) {
        CLEANUP_DETAILS ProtoDetails copy = {};
        int r;

        assert(to->n == 0);
        for (size_t i = 0; i < from->n; i++) {
                r = proto_details_set(&copy, from->pair[i].key, from->pair[i].value);
                if (r < 0)
                        return r;
        }
        *to = copy;
        copy = (ProtoDetails){};
        return 0;
}

bool proto_details_equal(const ProtoDetails *a, const ProtoDetails *b) {
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++) {
                const char *other = proto_details_get(b, a->pair[i].key);

                if (!other || strcmp(a->pair[i].value, other) != 0)
                        return false;
        }
        return true;
}

void proto_details_done(ProtoDetails *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->pair[i].key);
                free(d->pair[i].value);
        }
        *d = (ProtoDetails){};
}

static int check_value(const char *key, const char *value, Error *e) {
        size_t len = strlen(value), units;
        const char *end = value + len;

        if (len == 0)
                return error_set(e, EINVAL, "statusDetails.%s: empty; 1 to %d characters expected", key,
                                 LIMIT_DETAILS_VALUE);
        for (const char *p = value; p < end;) {
                uint32_t cp;
                size_t n = utf8_decode(p, end, &cp);

                if (n == 0)
                        return error_set(e, EINVAL, "statusDetails.%s: not valid UTF-8 at byte %zu", key,
                                         (size_t) (p - value));
                if (unicode_is_other(cp))
                        return error_set(e, EINVAL,
                                         "statusDetails.%s: U+%04" PRIX32
                                         " at byte %zu is a control, format, "
                                         "private-use or unassigned character, which the service refuses",
                                         key, cp, (size_t) (p - value));
                p += n;
        }
        units = utf8_utf16_units(value, len);
        if (units > LIMIT_DETAILS_VALUE)
                return error_set(e, EINVAL, "statusDetails.%s: %zu characters; at most %d expected", key,
                                 units, LIMIT_DETAILS_VALUE);
        return 0;
}

int proto_details_check(const ProtoDetails *d, Error *e) {
        enum { SHOWN = 32 }; /* characters of a bad key in the message */
        int r;

        if (d->n > LIMIT_DETAILS_PAIRS)
                return error_set(e, EINVAL, "statusDetails: %zu pairs; at most %d expected", d->n,
                                 LIMIT_DETAILS_PAIRS);
        for (size_t i = 0; i < d->n; i++) {
                const char *key = d->pair[i].key;

                if (!proto_details_key_valid(key)) {
                        CLEANUP_FREE char *shown = text_sanitize(key, strlen(key), SHOWN, false);

                        return error_set(e, EINVAL,
                                         "statusDetails: key \"%s\": 1 to %d of [a-zA-Z0-9:_-] expected",
                                         shown ? shown : "", LIMIT_DETAILS_KEY);
                }
                r = check_value(key, d->pair[i].value, e);
                if (r < 0)
                        return r;
        }
        return 0;
}
