/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's own conversation, beside the Jobs protocol: operator verbs, their answers, and events.
 *
 * A request is a JSON object on CONTROL_REQUEST_TOPIC: `verb`, `reply` (letters and digits, 1–64), `id` (any integer, comes
 * back), and what the verb takes. The answer comes on CONTROL_REPLY_TOPIC + reply:
 *   {"id":…,"ok":true,…} or {"id":…,"ok":false,"error":"ResourceNotFound: …"}
 *   hello                                  version
 *   create    thing, job, document (string), inProgressTimeoutInMinutes, retries      execution
 *   cancel, delete    thing, job, force
 *   describe  thing, job                                        execution with jobDocument (string)
 *   list      thing (optional), skip                            executions, more
 *   serving   since, by: what a server says of itself to others when it comes online; no answer unless one is there
 * Every change of an execution is an event on CONTROL_EVENTS_TOPIC, and so is {"type":"serving"} when a server comes online. */
#pragma once

#include <jansson.h>

#include "sim/model.h"

#define CONTROL_REQUEST_TOPIC "iot-jobs-sim/request"
#define CONTROL_REPLY_TOPIC   "iot-jobs-sim/reply/"
#define CONTROL_EVENTS_TOPIC  "iot-jobs-sim/events"

enum {
        CONTROL_NAME_MAX = 64,         /* of `reply` */
        CONTROL_PAGE_BYTES = 64 << 10, /* an answer to list ends with the execution that reaches this */
};

bool control_reply_valid(const char *name);

/* What to answer, without `id` (new reference; NULL = out of memory). Changes go to `out`. */
json_t *control_answer(Model *m, uint64_t now, const json_t *request, ModelOutput *out) MUST_USE;

/* {"type":"execution","at":…,"thingName":…,"jobId":…,"executionNumber":…,"queuedAt":…,"status":…,"versionNumber":…,
 *  "statusDetails":{…},"final":…}: `at` is microseconds of the wall clock; status DELETED when it is gone; final: nothing
 * more will happen to this job on this thing by itself. NULL = out of memory. */
char *control_event(const Model *m, const ModelChange *change, uint64_t wall_usec) MUST_USE;
