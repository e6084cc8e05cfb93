/* SPDX-License-Identifier: Apache-2.0 */
/* What iot-jobs-verify gives up before it looks at what comes from outside. */
#pragma once

#include "base/macro.h"

/* For good: no descriptor but 0, 1 and 2, no new privileges, and no system call but those that reading, writing, memory and the end of
 * a program need; any other kills. 0; -ENOSYS: this kernel cannot filter system calls, all else is done; or another negative errno. */
int confine_self(void) MUST_USE;
