/* SPDX-License-Identifier: Apache-2.0 */
/* One connection from its first packet on: who asks, for which thing, what; then the answer. */
#pragma once

#include "base/macro.h"

/* Serves the agent on `fd` (taken over). `config_file` NULL: the file of RUNNER_CONFIG_DIRECTORY whose thing_name is the message's.
 * Returns an exit status. */
int serve(int fd, const char *config_file) MUST_USE;

#define RUNNER_CONFIG_DIRECTORY "/etc/iot-jobs"
