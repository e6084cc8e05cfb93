/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t read_clock(clockid_t id) {
        struct timespec t;

        if (clock_gettime(id, &t) < 0)
                abort();
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

uint64_t clock_boottime_usec(void) {
        return read_clock(CLOCK_BOOTTIME);
}

uint64_t clock_monotonic_usec(void) {
        return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_sec(void) {
        struct timespec t;

        if (clock_gettime(CLOCK_REALTIME, &t) < 0)
                abort();
        return (int64_t) t.tv_sec;
}

void random_bytes(void *p, size_t n) {
        unsigned char *at = p;

        while (n > 0) {
                ssize_t got = getrandom(at, n, 0);

                if (got < 0) {
                        if (errno == EINTR)
                                continue;
                        abort();
                }
                at += got;
                n -= (size_t) got;
        }
}

uint64_t random_u64(void) {
        uint64_t v;

        random_bytes(&v, sizeof v);
        return v;
}

static int read_small_file(const char *path, char *ret, size_t size) {
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, ret, size - 1);
        if (n < 0)
                return -errno;
        ret[n] = '\0';
        return 0;
}

int boot_id_read(char ret[static BOOT_ID_MAX]) {
        char text[64];
        int r = read_small_file("/proc/sys/kernel/random/boot_id", text, sizeof text);

        if (r < 0)
                return r;
        if (strlen(text) < 36)
                return -EBADMSG;
        memcpy(ret, text, 36);
        ret[36] = '\0';
        return 0;
}

int process_start_time(pid_t pid, uint64_t *ret) {
        char path[64], text[1024], *p;
        unsigned long long v;
        int r;

        (void) snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
        r = read_small_file(path, text, sizeof text);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        /* The command name may hold anything, a closing parenthesis too: count from the last one. */
        p = strrchr(text, ')');
        if (!p)
                return -EBADMSG;
        for (int field = 2; field < 22; field++) {
                p = strchr(p + 1, ' ');
                if (!p)
                        return -EBADMSG;
        }
        if (sscanf(p, " %llu", &v) != 1)
                return -EBADMSG;
        *ret = v;
        return 0;
}
