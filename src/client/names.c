/* SPDX-License-Identifier: Apache-2.0 */
#include "client/names.h"

#include <string.h>

_Static_assert(sizeof(IotJobsError) == sizeof(Error) && offsetof(IotJobsError, text) == offsetof(Error, text) &&
                       (int) IOTJOBS_ERROR_TEXT_MAX == (int) ERROR_TEXT_MAX,
               "IotJobsError and Error are one struct");

static const struct {
        IotJobsStatus public;
        ProtoStatus proto;
} statuses[] = {
        { IOTJOBS_STATUS_QUEUED, PROTO_STATUS_QUEUED },       { IOTJOBS_STATUS_IN_PROGRESS, PROTO_STATUS_IN_PROGRESS },
        { IOTJOBS_STATUS_FAILED, PROTO_STATUS_FAILED },       { IOTJOBS_STATUS_SUCCEEDED, PROTO_STATUS_SUCCEEDED },
        { IOTJOBS_STATUS_CANCELED, PROTO_STATUS_CANCELED },   { IOTJOBS_STATUS_REJECTED, PROTO_STATUS_REJECTED },
        { IOTJOBS_STATUS_TIMED_OUT, PROTO_STATUS_TIMED_OUT }, { IOTJOBS_STATUS_REMOVED, PROTO_STATUS_REMOVED },
};

static const struct {
        IotJobsCode public;
        ProtoCode proto;
} codes[] = {
        { IOTJOBS_CODE_INVALID_TOPIC, PROTO_CODE_INVALID_TOPIC },
        { IOTJOBS_CODE_INVALID_JSON, PROTO_CODE_INVALID_JSON },
        { IOTJOBS_CODE_INVALID_REQUEST, PROTO_CODE_INVALID_REQUEST },
        { IOTJOBS_CODE_INVALID_STATE_TRANSITION, PROTO_CODE_INVALID_STATE_TRANSITION },
        { IOTJOBS_CODE_RESOURCE_NOT_FOUND, PROTO_CODE_RESOURCE_NOT_FOUND },
        { IOTJOBS_CODE_VERSION_MISMATCH, PROTO_CODE_VERSION_MISMATCH },
        { IOTJOBS_CODE_INTERNAL_ERROR, PROTO_CODE_INTERNAL_ERROR },
        { IOTJOBS_CODE_REQUEST_THROTTLED, PROTO_CODE_REQUEST_THROTTLED },
        { IOTJOBS_CODE_TERMINAL_STATE_REACHED, PROTO_CODE_TERMINAL_STATE_REACHED },
};

static const struct {
        IotJobsTopicType public;
        TopicKind proto;
} kinds[] = {
        { IOTJOBS_TOPIC_GET_PENDING, TOPIC_GET_PENDING }, { IOTJOBS_TOPIC_START_NEXT, TOPIC_START_NEXT },
        { IOTJOBS_TOPIC_DESCRIBE, TOPIC_DESCRIBE },       { IOTJOBS_TOPIC_UPDATE, TOPIC_UPDATE },
        { IOTJOBS_TOPIC_NOTIFY, TOPIC_NOTIFY },           { IOTJOBS_TOPIC_NOTIFY_NEXT, TOPIC_NOTIFY_NEXT },
};

IotJobsStatus status_to_public(ProtoStatus s) {
        for (size_t i = 0; i < ELEMENTSOF(statuses); i++)
                if (statuses[i].proto == s)
                        return statuses[i].public;
        return IOTJOBS_STATUS_UNKNOWN;
}

ProtoStatus status_from_public(IotJobsStatus s) {
        for (size_t i = 0; i < ELEMENTSOF(statuses); i++)
                if (statuses[i].public == s)
                        return statuses[i].proto;
        return PROTO_STATUS_NONE;
}

IotJobsCode code_to_public(ProtoCode c) {
        if (c == PROTO_CODE_NONE)
                return IOTJOBS_CODE_NONE;
        for (size_t i = 0; i < ELEMENTSOF(codes); i++)
                if (codes[i].proto == c)
                        return codes[i].public;
        return IOTJOBS_CODE_UNKNOWN;
}

IotJobsTopicType kind_to_public(TopicKind k) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (kinds[i].proto == k)
                        return kinds[i].public;
        return IOTJOBS_TOPIC_UNRECOGNIZED;
}

TopicKind kind_from_public(IotJobsTopicType t) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (kinds[i].public == t)
                        return kinds[i].proto;
        return TOPIC_UNRECOGNIZED;
}

/* ---- public ---- */

const char *iotjobs_version(void) {
        return IOTJOBS_VERSION;
}

const char *iotjobs_status_name(IotJobsStatus status) {
        return proto_status_name(status_from_public(status));
}

IotJobsStatus iotjobs_status_parse(const char *name) {
        return name && name[0] ? status_to_public(proto_status_parse(name)) : IOTJOBS_STATUS_NOT_SET;
}

bool iotjobs_status_is_terminal(IotJobsStatus status) {
        return proto_status_terminal(status_from_public(status));
}

const char *iotjobs_code_name(IotJobsCode code) {
        for (size_t i = 0; i < ELEMENTSOF(codes); i++)
                if (codes[i].public == code)
                        return proto_code_name(codes[i].proto);
        return "";
}

IotJobsCode iotjobs_code_parse(const char *name) {
        return name ? code_to_public(proto_code_parse(name)) : IOTJOBS_CODE_NONE;
}
