/* SPDX-License-Identifier: Apache-2.0 */
/* Run handlers.reboot_command. */
#pragma once

#include "base/error.h"
#include "config/config.h"

/* 0 and the pid of a child that has become the command, or negative errno with e. It is of no run: nothing looks for it to end it. */
int reboot_start(const Config *config, uid_t uid, pid_t *ret, Error *e) MUST_USE;
