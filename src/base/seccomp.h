/* SPDX-License-Identifier: Apache-2.0 */
/* The words in which a process says what system calls it will ever make again. Each filter begins with SECCOMP_NATIVE, then has a
 * SECCOMP_LET for each call, and ends with SECCOMP_KILL. */
#pragma once

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/macro.h"

/* A sanitizer's run time has an allocator, locks, stacks and signals of its own to look after. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* A program written for another of the processor's modes would give other numbers another meaning. */
#if defined(__x86_64__)
#define SECCOMP_ARCH AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define SECCOMP_ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define SECCOMP_ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARMEL__)
#define SECCOMP_ARCH AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define SECCOMP_ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define SECCOMP_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define SECCOMP_ARCH AUDIT_ARCH_S390X
#else
#error "name the AUDIT_ARCH_ of this machine, as <linux/audit.h> has it"
#endif

#define SECCOMP_FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SECCOMP_ARGUMENT BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args))
#else
#define SECCOMP_ARGUMENT BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 4)
#endif
#define SECCOMP_RETURN(what)         BPF_STMT(BPF_RET | BPF_K, (what))
#define SECCOMP_UNLESS(value)        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 1, 0)
#define SECCOMP_IF(value)            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1)
#define SECCOMP_LET(call)            SECCOMP_IF(call), SECCOMP_RETURN(SECCOMP_RET_ALLOW)
#define SECCOMP_ANSWER(call, errno_) SECCOMP_IF(call), SECCOMP_RETURN(SECCOMP_RET_ERRNO | (errno_))
#define SECCOMP_KILL SECCOMP_RETURN(SECCOMP_RET_KILL_PROCESS)
#define SECCOMP_NATIVE SECCOMP_FIELD(arch), SECCOMP_UNLESS(SECCOMP_ARCH), SECCOMP_KILL, SECCOMP_FIELD(nr)

/* Does this kernel know filters of system calls? */
static inline bool seccomp_there(void) {
        /* No filter is where NULL points, but a kernel without any does not get as far as to look. */
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno == EFAULT;
}

/* For good. 0 or negative errno (-EACCES: PR_SET_NO_NEW_PRIVS comes first). */
static inline MUST_USE int seccomp_set(const struct sock_filter *calls, size_t n) {
        const struct sock_fprog program = { .len = (unsigned short) n, .filter = (struct sock_filter *) (uintptr_t) calls };

        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}
