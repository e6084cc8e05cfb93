/* SPDX-License-Identifier: Apache-2.0 */
/* Start one handler (contract section 3): forked first, held at a gate, executed when the gate opens, so that its pid can be durable
 * before it runs anything. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "runner/output.h"
#include "runner/user.h"

/* NAME=value pairs, later ones replace earlier ones of the same name. */
typedef struct Environment {
        char **item; /* NULL-terminated, owned */
        size_t n;
        bool failed; /* out of memory */
} Environment;
void environment_put(Environment *e, const char *assignment);
void environment_printf(Environment *e, const char *format, ...) PRINTF_LIKE(2, 3);
void environment_done(Environment *e);
#define CLEANUP_ENVIRONMENT __attribute__((cleanup(environment_done)))

typedef struct SpawnRequest {
        const char *path;  /* of the handler; stays until the child has gone */
        char *const *args; /* NULL-terminated, behind the path; may be NULL; its strings stay too */
        bool args_have_name; /* the first is what the program is called as, instead of its path */
        Environment *environment; /* taken over */
        int work_fd;  /* the working directory */
        int stdin_fd; /* the document, open for reading */
        const User *user; /* whose rights the handler gets, behind its gate; NULL = ours */
        int group_fd;     /* cgroup.procs of the control group it joins, if above 0 */
        bool private_network; /* no other interface than a loopback of its own */
} SpawnRequest;

/* Part of exec_error: it could not take its user's rights, for the reason in the other bits. */
enum { SPAWN_NO_RIGHTS = 0x10000 };

typedef struct Launch Launch;

typedef struct Child {
        pid_t pid; /* 0 = none */
        uint64_t start_time;
        Launch *launch; /* what it stands on; NULL once it has become the handler or is gone */
        int gate_fd;    /* closing it unopened ends the child before it executed anything */
        bool released;
        int exec_error;              /* errno of its execve(), or SPAWN_NO_RIGHTS with one; 0 = none so far */
        int output_fd[OUTPUT_COUNT]; /* non-blocking reading ends; given away by the caller with TAKE_FD */
} Child;

#define CHILD_NONE ((Child){ .gate_fd = -1, .output_fd = { -1, -1, -1 } })

/* 0 and *ret, a child that waits at its gate, or negative errno with e. */
int spawn_fork(const SpawnRequest *request, Child *ret, Error *e) MUST_USE;
/* Open the gate, and wait (RUNNER_EXEC_SEC at the most) until the child has become the handler, or could not. */
int spawn_release(Child *c) MUST_USE;
/* The child has ended and was waited for: 0 = it had become the handler (or was never released), else the errno of its execve().
 * Closes the gate. */
int spawn_exec_error(Child *c);
/* What an exec_error means for this file, in words for a report. `user`: as whom it should have been executed. */
void spawn_explain(const char *path, const char *user, int error, Error *e);
/* End, and wait for, a child that has not become the handler; close what is open. The handler is not touched. */
void child_done(Child *c);
