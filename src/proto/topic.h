/* SPDX-License-Identifier: Apache-2.0 */
/* Topics of the Jobs service. PURE. */
#pragma once

#include "proto/types.h"

typedef enum TopicKind {
        TOPIC_UNRECOGNIZED,
        TOPIC_GET_PENDING, /* get */
        TOPIC_START_NEXT,
        TOPIC_DESCRIBE, /* {jobId}/get, $next/get */
        TOPIC_UPDATE,
        TOPIC_NOTIFY,
        TOPIC_NOTIFY_NEXT,
} TopicKind;

typedef enum TopicReply {
        TOPIC_REQUEST, /* no suffix; also for notify kinds */
        TOPIC_ACCEPTED,
        TOPIC_REJECTED,
} TopicReply;

typedef struct Topic {
        TopicKind kind;
        TopicReply reply;
        char thing[LIMIT_THING_NAME + 1];
        char job_id[LIMIT_JOB_ID + 1]; /* "" where the kind has none; "$next" as it is */
} Topic;

enum { TOPIC_TEXT_MAX = LIMIT_TOPIC + 1 };

/* Take a topic apart. `thing`: the own thing name, compared whole; NULL takes any valid one (the service).
 * Anything else, other things, Greengrass namespaces: TOPIC_UNRECOGNIZED. Never fails. */
Topic topic_parse(const char *text, const char *thing);

/* Build one. 0 or -EINVAL (bad names, or a combination that does not exist; nothing written).
 * job_id may also be "$next" and, for filters, "+". */
int topic_format(const Topic *t, char ret[static TOPIC_TEXT_MAX]) MUST_USE;

/* A topic inside "$aws/things/{thing}/jobs/" that names no operation: what the service answers with InvalidTopic.
 * Own replies and notifications, and Greengrass namespaces are not. `ret_thing` gets the thing. */
bool topic_is_invalid_request(const char *text, char ret_thing[static LIMIT_THING_NAME + 1]);
