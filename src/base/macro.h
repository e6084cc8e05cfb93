/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes, ownership transfer and small helpers used by every module. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define UNUSED __attribute__((unused))

/* Ownership leaves a variable only through this: the variable is empty afterwards. */
#define TAKE(var)                              \
        ({                                     \
                __typeof__(var) take_ = (var); \
                (var) = NULL;                  \
                take_;                         \
        })
#define TAKE_FD(var)           \
        ({                     \
                int take_ = (var); \
                (var) = -1;    \
                take_;         \
        })

/* A cleanup function f(T) for variables of type T, NULL left alone: DEFINE_CLEANUP(FILE *, fclose). */
#define DEFINE_CLEANUP(type, func)                      \
        static inline UNUSED void func##_p(type *p) {   \
                if (*p)                                 \
                        (void) func(*p);                \
        }
#define CLEANUP(func) __attribute__((cleanup(func##_p)))

static inline void free_p(void *p) {
        free(*(void **) p);
}
#define CLEANUP_FREE __attribute__((cleanup(free_p)))

static inline void close_fd_p(const int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}
#define CLEANUP_FD __attribute__((cleanup(close_fd_p)))

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_NEVER UINT64_MAX
