/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/confine.h"

#include <unistd.h>

#include "base/seccomp.h"

#ifndef SANITIZED
static const struct sock_filter calls[] = {
        SECCOMP_NATIVE,
        SECCOMP_LET(SYS_read),
        SECCOMP_LET(SYS_write),
        SECCOMP_LET(SYS_exit_group),
        /* malloc(); without a descriptor there is nothing else to map. */
        SECCOMP_LET(SYS_brk),
#ifdef SYS_mmap
        SECCOMP_LET(SYS_mmap),
#endif
#ifdef SYS_mmap2
        SECCOMP_LET(SYS_mmap2),
#endif
        SECCOMP_LET(SYS_munmap),
        SECCOMP_LET(SYS_mremap),
        SECCOMP_LET(SYS_madvise),
        /* OpenSSL's locks, and its random numbers, which checking a signature has no need of but may set up. */
        SECCOMP_LET(SYS_futex),
        SECCOMP_LET(SYS_getrandom),
        SECCOMP_KILL,
};
#endif

int confine_self(void) {
        if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
#ifdef SANITIZED
        return 0;
#else
        return seccomp_there() ? seccomp_set(calls, ELEMENTSOF(calls)) : -ENOSYS;
#endif
}
