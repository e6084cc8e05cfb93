/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent says of itself: to systemd in one line, to iot-jobsctl in full. */
#pragma once

#include "agent/agent.h"
#include "control/control.h"

/* STATUS=, if it has changed. */
void status_update(Agent *a);
/* 0, -ENOMEM. `ret` is released with control_reply_done() in any case. */
int status_fill(const Agent *a, ControlReply *ret) MUST_USE;
/* One job with its details: the execution of that number, or with 0 the newest. 0, -ENOENT, -ENOMEM. */
int status_fill_job(const Agent *a, const char *job_id, int64_t number, ControlReply *ret) MUST_USE;
