/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/seccomp.h"
#include "runner/user.h"

/* ---- the user ---- */

enum {
        /* Where systemd takes users from that live as long as a service: they belong to no one for long. */
        USERS_FIRST = 61184,
        USERS_LAST = 65519,
        USERS_TRIED = 16,
};

/* Numbers that nobody gives to anybody, systemd's documentation and Debian's policy say, and so many that two never meet. */
static const uid_t nobodies_first = UINT32_C(1) << 31;
static const uint64_t nobodies = UINT64_C(1) << 30;

uid_t confine_pick_nobody(void) {
        return nobodies_first + (uid_t) (random_u64() % nobodies);
}

uid_t confine_pick_user(void) {
        uid_t uid = USERS_LAST;

        for (int i = 0; i < USERS_TRIED; i++) {
                uid = USERS_FIRST + (uid_t) (random_u64() % (USERS_LAST - USERS_FIRST + 1));
                if (!user_exists(uid))
                        break;
        }
        return uid;
}

int confine_become(uid_t uid) {
        return setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ? -errno : 0;
}

int confine_limits(int resource, uint64_t soft, uint64_t hard) {
        struct rlimit l = { (rlim_t) soft, (rlim_t) hard };

        if (setrlimit((__rlimit_resource_t) resource, &l) == 0)
                return 0;
        if (errno != EPERM || getrlimit((__rlimit_resource_t) resource, &l) < 0)
                return -errno;
        l.rlim_cur = MIN_OF(l.rlim_max, (rlim_t) soft);
        return setrlimit((__rlimit_resource_t) resource, &l) < 0 ? -errno : 0;
}

int confine_descriptors(int in, int out) {
        unsigned first = 2;

#ifdef SANITIZED
        first = 3; /* for its report */
#endif
        if ((in >= 0 && dup2(in, 0) < 0) || dup2(out, 1) < 0)
                return -errno;
        if (in < 0)
                (void) close(0);
        if (close_range(first, ~0U, 0) < 0) /* an old kernel */
                for (int fd = (int) first; fd < sysconf(_SC_OPEN_MAX); fd++)
                        (void) close(fd);
        return 0;
}

int confine_memory(size_t bytes) {
#ifdef SANITIZED /* has an allocator of its own, and terabytes of address space */
        (void) bytes;
        return 0;
#else
        void *volatile all = NULL;

        (void) mallopt(M_MMAP_MAX, 0);
        (void) mallopt(M_TRIM_THRESHOLD, INT_MAX);
        all = malloc(bytes);
        if (!all)
                return -ENOMEM;
        free(all);
        return confine_limit(RLIMIT_AS, CONFINE_ADDRESS_SPACE);
#endif
}

/* ---- the filter ---- */

static const struct sock_filter calls[] = {
        SECCOMP_NATIVE,
        SECCOMP_LET(SYS_read),
        SECCOMP_LET(SYS_write),
#ifdef SANITIZED
        /* None of this is in a program that is meant to be used. */
#ifdef SYS_mmap
        SECCOMP_LET(SYS_mmap),
#endif
#ifdef SYS_mmap2
        SECCOMP_LET(SYS_mmap2),
#endif
        SECCOMP_LET(SYS_munmap), SECCOMP_LET(SYS_mremap), SECCOMP_LET(SYS_mprotect), SECCOMP_LET(SYS_madvise),
        SECCOMP_LET(SYS_brk), SECCOMP_LET(SYS_futex), SECCOMP_LET(SYS_sched_yield), SECCOMP_LET(SYS_sigaltstack),
        SECCOMP_LET(SYS_rt_sigprocmask), SECCOMP_LET(SYS_rt_sigaction), SECCOMP_LET(SYS_getpid), SECCOMP_LET(SYS_gettid),
        SECCOMP_LET(SYS_prctl),
#else
        /* No memory. It is not by an errno that brk() says so, but by an end of the heap that lies below the one asked for. */
        SECCOMP_ANSWER(SYS_brk, 0),
#ifdef SYS_mmap
        SECCOMP_ANSWER(SYS_mmap, ENOMEM),
#endif
#ifdef SYS_mmap2
        SECCOMP_ANSWER(SYS_mmap2, ENOMEM),
#endif
#endif
        SECCOMP_UNLESS(SYS_exit_group),
        SECCOMP_KILL,
        /* Another status says that something went wrong before, when there was no filter yet: that is believed. */
        SECCOMP_ARGUMENT,
        SECCOMP_LET(0),
        SECCOMP_KILL,
};

bool confine_has_filter(void) {
        return seccomp_there();
}

int confine_filter(void) {
        return seccomp_set(calls, ELEMENTSOF(calls));
}
