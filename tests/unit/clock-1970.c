/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded into a program before the C library: its wall clock has not been set since 1970. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ret) {
        if (id != CLOCK_REALTIME)
                return (int) syscall(SYS_clock_gettime, id, ret);
        *ret = (struct timespec){ .tv_sec = 60 };
        return 0;
}
