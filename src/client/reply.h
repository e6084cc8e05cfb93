/* SPDX-License-Identifier: Apache-2.0 */
/* A message from the service as the public API shows it. */
#pragma once

#include <iotjobs/jobs.h>

#include "proto/message.h"

enum { REPLY_CODE_TEXT_MAX = 128, REPLY_FAULT_MAX = ERROR_TEXT_MAX };

typedef struct Reply { /* zero-initialise; a few KiB */
        IotJobsMessage message; /* points into the rest, and into topic and payload */
        Topic parts;
        ProtoMessage proto;
        IotJobsExecution execution, state, pending[LIMIT_PENDING_LISTED_MAX];
        IotJobsDetail details[LIMIT_DETAILS_PAIRS], state_details[LIMIT_DETAILS_PAIRS];
        char code_text[REPLY_CODE_TEXT_MAX];
        Error fault;
} Reply;

/* false: no Jobs topic of this thing. Requests (which come back to whoever subscribes to their topic) are not looked into.
 * topic and payload are borrowed for the Reply's life. */
bool reply_decode(Reply *r, const char *thing, const char *topic, const char *payload, size_t len);
void reply_done(Reply *r);
