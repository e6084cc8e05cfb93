/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks and the randomness of the shell around the pure cores. Not for PURE folders: they get
 * `now` and random numbers as arguments. */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

uint64_t clock_boottime_usec(void); /* CLOCK_BOOTTIME: every delay and timeout (counts suspend) */
uint64_t clock_monotonic_usec(void); /* CLOCK_MONOTONIC: only for sd_notify MONOTONIC_USEC */
int64_t clock_wall_sec(void);       /* CLOCK_REALTIME, epoch seconds: display and records only */
uint64_t random_u64(void);          /* getrandom(2); aborts where the kernel has none */
void random_bytes(void *p, size_t n);

enum { BOOT_ID_MAX = 37 };
/* The kernel's boot id as text (36 characters); 0 or negative errno. */
int boot_id_read(char ret[static BOOT_ID_MAX]) MUST_USE;
/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): together with the pid
 * it names a process for good. 0 or negative errno (-ESRCH: gone). */
int process_start_time(pid_t pid, uint64_t *ret) MUST_USE;
