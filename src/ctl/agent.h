/* SPDX-License-Identifier: Apache-2.0 */
/* The agent, as iot-jobsctl reaches it. What fails is said on standard error. */
#pragma once

#include <poll.h>

#include "control/control.h"
#include "ctl/ctl.h"

/* With --config: the agent of that file. Else that of --name, as in iot-jobs-agent@NAME, or "agent". 0 and a socket;
 * -EINVAL: the configuration is bad; another negative errno: not reachable (quiet: not said). */
int agent_connect(const CtlOptions *o, bool quiet, int *ret_fd) MUST_USE;
int agent_send(int fd, const ControlRequest *q) MUST_USE;
/* Waits. 0, with the packet as it came; negative errno: the connection is of no use. */
int agent_receive(int fd, Buf *packet, ControlReply *ret) MUST_USE;
/* The same, but only for so long as an answer may take; what fails is said. */
int agent_answer(int fd, Buf *packet, ControlReply *ret) MUST_USE;
/* One request, one answer. */
int agent_ask(const CtlOptions *o, const ControlRequest *q, Buf *packet, ControlReply *ret) MUST_USE;
/* The exit status for what these return. */
int agent_exit(int r) MUST_USE;

/* ---- format.c ---- */

enum { FORMAT_MAX = 64 };
/* "12s", "5min 3s", "3h 12min", "2d 4h". Seconds below 0: "". */
const char *format_duration(int64_t seconds, char ret[static FORMAT_MAX]);
/* "2026-11-23 05:40:10 UTC" */
const char *format_time(int64_t epoch, char ret[static FORMAT_MAX]);
/* What the job is doing, and for how long: "running 12s", "deferred, again in 59s". */
const char *format_phase(const ControlJob *j, char ret[static 2 * FORMAT_MAX]);
/* Columns that a text takes on a terminal, and its longest beginning that fits into so many. */
size_t format_width(const char *text);
size_t format_cut(const char *text, size_t columns);
