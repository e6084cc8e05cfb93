/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "runner/user.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

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

/* A program written for another of the processor's modes would give other numbers another meaning. */
#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define OUR_ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARMEL__)
#define OUR_ARCH AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define OUR_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define OUR_ARCH AUDIT_ARCH_S390X
#else
#error "name the AUDIT_ARCH_ of this machine, as <linux/audit.h> has it"
#endif

#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARGUMENT BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args))
#else
#define ARGUMENT BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 4)
#endif
#define RETURN(what)         BPF_STMT(BPF_RET | BPF_K, (what))
#define UNLESS(value)        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 1, 0)
#define IF(value)            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1)
#define LET(call)            IF(call), RETURN(SECCOMP_RET_ALLOW)
#define ANSWER(call, errno_) IF(call), RETURN(SECCOMP_RET_ERRNO | (errno_))

static const struct sock_filter calls[] = {
        FIELD(arch),
        UNLESS(OUR_ARCH),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        FIELD(nr),
        LET(SYS_read),
        LET(SYS_write),
#ifdef SANITIZED
        /* A sanitizer's run time has an allocator and locks of its own, and looks after stacks and signals. None of this is in a
         * program that is meant to be used. */
#ifdef SYS_mmap
        LET(SYS_mmap),
#endif
#ifdef SYS_mmap2
        LET(SYS_mmap2),
#endif
        LET(SYS_munmap), LET(SYS_mremap), LET(SYS_mprotect), LET(SYS_madvise), LET(SYS_brk), LET(SYS_futex),
        LET(SYS_sched_yield), LET(SYS_sigaltstack), LET(SYS_rt_sigprocmask), LET(SYS_rt_sigaction), LET(SYS_getpid),
        LET(SYS_gettid), LET(SYS_prctl),
#else
        /* No memory. It is not by an errno that brk() says so, but by an end of the heap that lies below the one asked for. */
        ANSWER(SYS_brk, 0),
#ifdef SYS_mmap
        ANSWER(SYS_mmap, ENOMEM),
#endif
#ifdef SYS_mmap2
        ANSWER(SYS_mmap2, ENOMEM),
#endif
#endif
        UNLESS(SYS_exit_group),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        /* Another status says that something went wrong before, when there was no filter yet: that is believed. */
        ARGUMENT,
        LET(0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
};

bool confine_has_filter(void) {
        /* No filter is where NULL points, but a kernel without any does not get as far as to look. */
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno == EFAULT;
}

int confine_filter(void) {
        const struct sock_fprog program = {
                .len = ELEMENTSOF(calls), .filter = (struct sock_filter *) (uintptr_t) calls
        };

        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}
