/* SPDX-License-Identifier: Apache-2.0 */
/* The values of the Jobs protocol: statuses, error codes, statusDetails, the key of a run. PURE.
 * Enums inside, strings only in types.c. */
#pragma once

#include "base/error.h"
#include "base/macro.h"
#include "proto/limits.h"

typedef enum ProtoStatus {
        PROTO_STATUS_NONE, /* absent */
        PROTO_STATUS_QUEUED,
        PROTO_STATUS_IN_PROGRESS,
        PROTO_STATUS_SUCCEEDED,
        PROTO_STATUS_FAILED,
        PROTO_STATUS_TIMED_OUT,
        PROTO_STATUS_REJECTED,
        PROTO_STATUS_REMOVED,
        PROTO_STATUS_CANCELED,
        PROTO_STATUS_COUNT,
} ProtoStatus;

typedef enum ProtoCode {
        PROTO_CODE_NONE,
        PROTO_CODE_INVALID_TOPIC,
        PROTO_CODE_INVALID_JSON,
        PROTO_CODE_INVALID_REQUEST,
        PROTO_CODE_INVALID_STATE_TRANSITION,
        PROTO_CODE_RESOURCE_NOT_FOUND,
        PROTO_CODE_VERSION_MISMATCH,
        PROTO_CODE_INTERNAL_ERROR,
        PROTO_CODE_REQUEST_THROTTLED,
        PROTO_CODE_TERMINAL_STATE_REACHED,
        PROTO_CODE_UNKNOWN, /* a code this version does not know: treated as transient */
        PROTO_CODE_COUNT,
} ProtoCode;

const char *proto_status_name(ProtoStatus s); /* "QUEUED"; "" for NONE */
ProtoStatus proto_status_parse(const char *text); /* NONE if unknown */
bool proto_status_terminal(ProtoStatus s);
const char *proto_code_name(ProtoCode c); /* "VersionMismatch" */
ProtoCode proto_code_parse(const char *text); /* UNKNOWN if unknown, NONE for "" */

bool proto_thing_name_valid(const char *text);
bool proto_job_id_valid(const char *text); /* not "$next" */

/* The identity of a run. A job deleted and created again has another queued_at; a retry another number. */
typedef struct JobKey {
        char thing[LIMIT_THING_NAME + 1];
        char job_id[LIMIT_JOB_ID + 1];
        int64_t number;    /* executionNumber, 1… */
        int64_t queued_at; /* epoch seconds; 0 = not known */
} JobKey;

bool job_key_equal(const JobKey *a, const JobKey *b);

/* "thing.job.number.queuedAt": '.' is in neither alphabet, so it is unambiguous and a safe file name. */
enum { JOB_KEY_TEXT_MAX = LIMIT_THING_NAME + LIMIT_JOB_ID + 2 * 20 + 4 };
void job_key_format(const JobKey *k, char ret[static JOB_KEY_TEXT_MAX]);
int job_key_parse(const char *text, JobKey *ret) MUST_USE; /* 0, -EINVAL */

/* statusDetails: an ordered map of at most LIMIT_DETAILS_PAIRS. Owns its strings. Zero-initialise. */
typedef struct ProtoDetails {
        struct {
                char *key;
                char *value;
        } pair[LIMIT_DETAILS_PAIRS];
        size_t n;
} ProtoDetails;

/* Set or replace. The value is taken as it is. 0, -E2BIG (eleventh pair), -ENOMEM. */
int proto_details_set(ProtoDetails *d, const char *key, const char *value);
const char *proto_details_get(const ProtoDetails *d, const char *key); /* NULL if absent */
void proto_details_unset(ProtoDetails *d, const char *key);
int proto_details_copy(ProtoDetails *to, const ProtoDetails *from) MUST_USE; /* `to` must be empty */
bool proto_details_equal(const ProtoDetails *a, const ProtoDetails *b);
void proto_details_done(ProtoDetails *d);
#define CLEANUP_DETAILS __attribute__((cleanup(proto_details_done)))

/* Published limits: pairs, keys, values. 0 or -EINVAL with what is wrong in e. */
bool proto_details_key_valid(const char *key);
int proto_details_check(const ProtoDetails *d, Error *e) MUST_USE;
