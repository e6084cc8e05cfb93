/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <iotjobs/topic.h>
#include <stdio.h>
#include <string.h>

#include "client/names.h"
#include "client/subs.h"

_Static_assert((int) IOTJOBS_TOPIC_MAX == (int) TOPIC_TEXT_MAX && (int) IOTJOBS_JOB_ID_MAX == LIMIT_JOB_ID + 1 &&
                       (int) IOTJOBS_THING_MAX == LIMIT_THING_NAME + 1,
               "limits of the public headers are proto's");

IotJobsTopic iotjobs_topic_parse(const char *topic, const char *thing) {
        IotJobsTopic ret = { .type = IOTJOBS_TOPIC_UNRECOGNIZED, .reply = IOTJOBS_REPLY_UNRECOGNIZED };
        Topic t;

        if (!topic || !thing)
                return ret;
        t = topic_parse(topic, thing);
        ret.type = kind_to_public(t.kind);
        if (ret.type == IOTJOBS_TOPIC_UNRECOGNIZED)
                return ret;
        switch (t.reply) {
        case TOPIC_REQUEST:
                ret.reply = IOTJOBS_REPLY_REQUEST;
                break;
        case TOPIC_ACCEPTED:
                ret.reply = IOTJOBS_REPLY_ACCEPTED;
                break;
        case TOPIC_REJECTED:
                ret.reply = IOTJOBS_REPLY_REJECTED;
                break;
        }
        memcpy(ret.job_id, t.job_id, sizeof ret.job_id);
        return ret;
}

/* false: no such reply type. WILDCARD is a REQUEST with something behind it. */
static bool reply_from_public(IotJobsReplyType reply, TopicReply *ret) {
        switch (reply) {
        case IOTJOBS_REPLY_REQUEST:
        case IOTJOBS_REPLY_WILDCARD:
                *ret = TOPIC_REQUEST;
                return true;
        case IOTJOBS_REPLY_ACCEPTED:
                *ret = TOPIC_ACCEPTED;
                return true;
        case IOTJOBS_REPLY_REJECTED:
                *ret = TOPIC_REJECTED;
                return true;
        case IOTJOBS_REPLY_UNRECOGNIZED:
                return false;
        }
        return false;
}

static int check_job_id(IotJobsTopicType type, const char *job_id, Error *e) {
        bool of_job = type == IOTJOBS_TOPIC_DESCRIBE || type == IOTJOBS_TOPIC_UPDATE;
        bool given = job_id && job_id[0] != '\0';

        if (of_job && !given)
                return error_set(e, EINVAL, "job id: missing, topics of DESCRIBE and UPDATE have one");
        if (!of_job && given)
                return error_set(e, EINVAL, "job id: \"%s\", but only topics of DESCRIBE and UPDATE have one", job_id);
        if (of_job && strcmp(job_id, "+") != 0 && strcmp(job_id, "$next") != 0 && !proto_job_id_valid(job_id))
                return error_set(e, EINVAL,
                                 "job id: \"%s\", expected 1 to %d of a-z A-Z 0-9 _ -, or \"$next\", or \"+\" in a filter",
                                 job_id, LIMIT_JOB_ID);
        return 0;
}

int iotjobs_topic_format(const char *thing, IotJobsTopicType type, IotJobsReplyType reply, const char *job_id,
                         char ret[IOTJOBS_TOPIC_MAX], IotJobsError *error) {
        Error *e = error_of(error);
        Topic t = { .kind = kind_from_public(type) };
        int r;

        if (!thing || !proto_thing_name_valid(thing))
                return error_set(e, EINVAL, "thing name: expected 1 to %d of a-z A-Z 0-9 : _ -", LIMIT_THING_NAME);
        (void) snprintf(t.thing, sizeof t.thing, "%s", thing);
        if (type == IOTJOBS_TOPIC_WILDCARD) {
                (void) snprintf(ret, IOTJOBS_TOPIC_MAX, "$aws/things/%s/jobs/#", thing);
                return 0;
        }
        if (t.kind == TOPIC_UNRECOGNIZED)
                return error_set(e, EINVAL, "topic type: %d is none", (int) type);
        if (!reply_from_public(reply, &t.reply))
                return error_set(e, EINVAL, "reply type: %d is none", (int) reply);
        if ((t.kind == TOPIC_NOTIFY || t.kind == TOPIC_NOTIFY_NEXT) && reply != IOTJOBS_REPLY_REQUEST)
                return error_set(e, EINVAL, "reply type: notifications have none, expected IOTJOBS_REPLY_REQUEST");
        r = check_job_id(type, job_id, e);
        if (r < 0)
                return r;
        (void) snprintf(t.job_id, sizeof t.job_id, "%s", job_id ? job_id : "");
        r = topic_format(&t, ret);
        if (r < 0)
                return error_set(e, -r, "topic: no such combination");
        if (reply == IOTJOBS_REPLY_WILDCARD) /* a request's topic is far shorter than the limit */
                (void) strcat(ret, "/#");
        return 0;
}

bool iotjobs_topic_matches(const char *filter, const char *topic, IotJobsMatchRules rules) {
        return filter && topic && filter_matches(filter, topic, rules == IOTJOBS_MATCH_AWS);
}
