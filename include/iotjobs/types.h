/* SPDX-License-Identifier: Apache-2.0 */
/* libiotjobs: the values of the AWS IoT Jobs device protocol.
 *
 * Numbers of the enums that the AWS IoT Device SDK v1 for Python has too (topic types, reply types, statuses 0 to 6 and 99)
 * are the same here. They, and the layout of every struct in these headers, change only with the library's soname. */
#ifndef IOTJOBS_TYPES_H
#define IOTJOBS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#if defined(__GNUC__)
#define IOTJOBS_MUST_USE __attribute__((warn_unused_result))
#define IOTJOBS_VISIBLE_ _Pragma("GCC visibility push(default)")
#define IOTJOBS_VISIBLE_END_ _Pragma("GCC visibility pop")
#else
#define IOTJOBS_MUST_USE
#define IOTJOBS_VISIBLE_
#define IOTJOBS_VISIBLE_END_
#endif

/* Around the declarations of each of these headers. */
#ifdef __cplusplus
#define IOTJOBS_BEGIN IOTJOBS_VISIBLE_ extern "C" {
#define IOTJOBS_END } IOTJOBS_VISIBLE_END_
#else
#define IOTJOBS_BEGIN IOTJOBS_VISIBLE_
#define IOTJOBS_END IOTJOBS_VISIBLE_END_
#endif

IOTJOBS_BEGIN

/* What a topic is for (jobExecutionTopicType). */
typedef enum IotJobsTopicType {
        IOTJOBS_TOPIC_UNRECOGNIZED = 0,
        IOTJOBS_TOPIC_GET_PENDING = 1, /* …/jobs/get */
        IOTJOBS_TOPIC_START_NEXT = 2,  /* …/jobs/start-next */
        IOTJOBS_TOPIC_DESCRIBE = 3,    /* …/jobs/{jobId}/get */
        IOTJOBS_TOPIC_UPDATE = 4,      /* …/jobs/{jobId}/update */
        IOTJOBS_TOPIC_NOTIFY = 5,      /* …/jobs/notify */
        IOTJOBS_TOPIC_NOTIFY_NEXT = 6, /* …/jobs/notify-next */
        IOTJOBS_TOPIC_WILDCARD = 7,    /* …/jobs/#, subscriptions only */
} IotJobsTopicType;

/* Which side of a conversation (jobExecutionTopicReplyType). */
typedef enum IotJobsReplyType {
        IOTJOBS_REPLY_UNRECOGNIZED = 0,
        IOTJOBS_REPLY_REQUEST = 1,  /* no suffix; also the notifications */
        IOTJOBS_REPLY_ACCEPTED = 2, /* /accepted */
        IOTJOBS_REPLY_REJECTED = 3, /* /rejected */
        IOTJOBS_REPLY_WILDCARD = 4, /* /#, subscriptions only. On a broker that follows the MQTT standard it also takes the
                                     * client's own requests; the library passes over those */
} IotJobsReplyType;

/* State of a job execution (jobExecutionStatus; 7 and 8 are this library's extension). */
typedef enum IotJobsStatus {
        IOTJOBS_STATUS_NOT_SET = 0,
        IOTJOBS_STATUS_QUEUED = 1,
        IOTJOBS_STATUS_IN_PROGRESS = 2,
        IOTJOBS_STATUS_FAILED = 3,
        IOTJOBS_STATUS_SUCCEEDED = 4,
        IOTJOBS_STATUS_CANCELED = 5,
        IOTJOBS_STATUS_REJECTED = 6,
        IOTJOBS_STATUS_TIMED_OUT = 7,
        IOTJOBS_STATUS_REMOVED = 8,
        IOTJOBS_STATUS_UNKNOWN = 99,
} IotJobsStatus;

/* Why the service refused a request: `code` of a rejection. */
typedef enum IotJobsCode {
        IOTJOBS_CODE_NONE = 0,
        IOTJOBS_CODE_INVALID_TOPIC = 1,
        IOTJOBS_CODE_INVALID_JSON = 2,
        IOTJOBS_CODE_INVALID_REQUEST = 3,
        IOTJOBS_CODE_INVALID_STATE_TRANSITION = 4,
        IOTJOBS_CODE_RESOURCE_NOT_FOUND = 5,
        IOTJOBS_CODE_VERSION_MISMATCH = 6,
        IOTJOBS_CODE_INTERNAL_ERROR = 7,
        IOTJOBS_CODE_REQUEST_THROTTLED = 8,
        IOTJOBS_CODE_TERMINAL_STATE_REACHED = 9,
        IOTJOBS_CODE_UNKNOWN = 99, /* one that this version does not know */
} IotJobsCode;

/* Names as on the wire ("IN_PROGRESS", "VersionMismatch"); "" for values without one. Static strings. */
const char *iotjobs_status_name(IotJobsStatus status);
const char *iotjobs_code_name(IotJobsCode code);
/* The reverse; UNKNOWN for a name that is none, NOT_SET / NONE for NULL and "". */
IotJobsStatus iotjobs_status_parse(const char *name);
IotJobsCode iotjobs_code_parse(const char *name);
/* SUCCEEDED, FAILED, TIMED_OUT, REJECTED, REMOVED, CANCELED. */
bool iotjobs_status_is_terminal(IotJobsStatus status);

/* What went wrong, for a person. Zero-initialise; every function that takes one takes NULL too and writes to it only when
 * it fails. `code` is the positive errno of the negative return value. */
enum { IOTJOBS_ERROR_TEXT_MAX = 512 };
typedef struct IotJobsError {
        int code;
        char text[IOTJOBS_ERROR_TEXT_MAX];
} IotJobsError;

/* Version of these headers and, by the function, of the library that runs: "1.2.3". */
#define IOTJOBS_VERSION "0.1.0"
const char *iotjobs_version(void);

IOTJOBS_END
#endif
