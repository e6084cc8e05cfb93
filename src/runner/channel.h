/* SPDX-License-Identifier: Apache-2.0 */
/* Several runs in one process, one after the other: for an agent that starts its runners itself. It passes each connection over a
 * channel, and hears from there that the process is free for one. (Under systemd each run has a unit, and a process, of its own.) */
#pragma once

#include "base/macro.h"

/* Serve what comes along, until the channel ends, a run leaves something behind or fails, or RUNNER_RUNS_MAX are served: memory of
 * one run must not add up for ever, and an upgraded program wants its turn. Returns an exit status. */
int channel_serve(int channel, const char *config_file) MUST_USE;
