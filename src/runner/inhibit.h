/* SPDX-License-Identifier: Apache-2.0 */
/* Ask systemd-logind (or elogind) not to shut down, reboot or suspend the machine. A few messages by hand: libsystemd would cost
 * every runner half of its start, and a program that holds the inhibitor would be a process among those of the job. */
#pragma once

#include "base/error.h"

#define INHIBIT_BUS "/run/dbus/system_bus_socket"

/* A descriptor: as long as it is open, by us or by nobody else, the inhibitor is there. Or negative errno with the reason in e. Blocks,
 * INHIBIT_WAIT_MSEC at the longest. `bus`: INHIBIT_BUS. `why` is shown by systemd-inhibit --list. */
enum { INHIBIT_WAIT_MSEC = 2000 };
int inhibit_shutdown(const char *bus, const char *why, Error *e) MUST_USE;
