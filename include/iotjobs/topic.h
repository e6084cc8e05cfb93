/* SPDX-License-Identifier: Apache-2.0 */
/* Topics of the Jobs service, and the SigV4 signature of a WebSocket URL. Pure functions: any thread, any time. */
#ifndef IOTJOBS_TOPIC_H
#define IOTJOBS_TOPIC_H

#include <iotjobs/types.h>

IOTJOBS_BEGIN

enum {
        IOTJOBS_TOPIC_MAX = 256 + 1,  /* bytes of a topic with its NUL (AWS: 256) */
        IOTJOBS_JOB_ID_MAX = 64 + 1,  /* [a-zA-Z0-9_-]{1,64} */
        IOTJOBS_THING_MAX = 128 + 1,  /* [a-zA-Z0-9:_-]{1,128} */
};

typedef struct IotJobsTopic {
        IotJobsTopicType type; /* UNRECOGNIZED: not a Jobs topic of this thing */
        IotJobsReplyType reply; /* UNRECOGNIZED together with the type */
        char job_id[IOTJOBS_JOB_ID_MAX]; /* "" where the type has none; "$next" as it is */
} IotJobsTopic;

/* Take a topic apart. `thing` is compared whole; other things and Greengrass' namespaces are UNRECOGNIZED. Never fails. */
IotJobsTopic iotjobs_topic_parse(const char *topic, const char *thing);

/* The topic of a request or reply, or the filter of a subscription. job_id NULL or "": none; "+" and "$next" are taken where
 * a job id belongs. Writes at most IOTJOBS_TOPIC_MAX bytes. 0, or -EINVAL: a bad name, or a combination that the service does
 * not have (a NOTIFY with a reply type, a GET_PENDING with a job id, a DESCRIBE without one). */
int iotjobs_topic_format(const char *thing, IotJobsTopicType type, IotJobsReplyType reply, const char *job_id,
                         char ret[IOTJOBS_TOPIC_MAX], IotJobsError *e) IOTJOBS_MUST_USE;

/* Does `filter` take `topic`? Brokers differ: by the MQTT standard "a/#" takes "a" too, on AWS IoT Core it does not. */
typedef enum IotJobsMatchRules { IOTJOBS_MATCH_MQTT = 0, IOTJOBS_MATCH_AWS = 1 } IotJobsMatchRules;
bool iotjobs_topic_matches(const char *filter, const char *topic, IotJobsMatchRules rules);

/* Request target of a WebSocket connection to AWS IoT, signed with Signature Version 4 (GET, empty payload, header "host"
 * only; the session token is appended after signing, as AWS IoT asks). */
typedef struct IotJobsPresign { /* zero-initialise */
        const char *host;         /* without a port */
        const char *region;       /* NULL: from the host name */
        const char *path;         /* NULL: "/mqtt" */
        const char *service;      /* NULL: "iotdevicegateway" */
        const char *access_key_id, *secret_access_key;
        const char *session_token; /* NULL or "": none */
        int64_t time;              /* epoch seconds of the signature */
        int64_t expires;           /* seconds; 0: leave X-Amz-Expires out */
} IotJobsPresign;
enum { IOTJOBS_PRESIGN_MAX = 8192 };
/* 0 and "/mqtt?X-Amz-Algorithm=…", or -EINVAL (what is missing or malformed, region not derivable), -E2BIG, -EIO (OpenSSL). */
int iotjobs_presign(const IotJobsPresign *p, char ret[IOTJOBS_PRESIGN_MAX], IotJobsError *e) IOTJOBS_MUST_USE;
/* Region inside an endpoint's host name ("eu-west-1"). 0, -EINVAL if it has none, -E2BIG. */
int iotjobs_region_of(const char *host, char *ret, size_t size, IotJobsError *e) IOTJOBS_MUST_USE;

IOTJOBS_END
#endif
