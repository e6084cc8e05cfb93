/* SPDX-License-Identifier: Apache-2.0 */
/* Every published limit of AWS IoT Jobs and of AWS IoT Core that the project enforces, by name.
 * Sources: AWS IoT developer guide and API models as collected in the project's protocol notes. */
#pragma once

enum {
        LIMIT_THING_NAME = 128,          /* [a-zA-Z0-9:_-]+ */
        LIMIT_JOB_ID = 64,               /* [a-zA-Z0-9_-]+ */
        LIMIT_CLIENT_TOKEN = 128,        /* bytes accepted; not published for Jobs */
        LIMIT_CLIENT_TOKEN_SENT = 64,    /* bytes we send */
        LIMIT_DETAILS_PAIRS = 10,
        LIMIT_DETAILS_KEY = 128,         /* [a-zA-Z0-9:_-]+ */
        LIMIT_DETAILS_VALUE = 1024,      /* UTF-16 units, [^\p{C}]+, at least 1 */
        LIMIT_DOCUMENT = 32768,          /* bytes */
        LIMIT_PAYLOAD = 131072,          /* bytes of one PUBLISH */
        LIMIT_TOPIC = 256,               /* bytes */
        LIMIT_TOPIC_SLASHES = 7,
        LIMIT_TIMEOUT_MINUTES = 10080,   /* stepTimeoutInMinutes, inProgressTimeoutInMinutes: 1–10080 */
        LIMIT_PENDING_LISTED = 10,       /* entries of get/accepted and notify */
        LIMIT_PENDING_LISTED_MAX = 15,   /* with scheduled jobs; a client takes up to this many */
        LIMIT_FILTERS_PER_SUBSCRIBE = 8,
        LIMIT_SUBSCRIPTIONS = 50,        /* per connection */
        LIMIT_RETRIES = 10,              /* of a job's retry configuration, all criteria together */
        LIMIT_DESCRIPTION = 2028,
        LIMIT_COMMENT = 2028,
        LIMIT_REASON_CODE = 128,
};
