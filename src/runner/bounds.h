/* SPDX-License-Identifier: Apache-2.0 */
/* Every size and time of the runner that is not a user's setting. */
#pragma once

#include "base/macro.h"

enum {
        RUNNER_LINE_MAX = 2047,           /* bytes of one journal line of a handler; longer ones are split */
        RUNNER_TAIL_MAX = 4096,           /* bytes kept of the end of stdout and of stderr */
        RUNNER_READ_MAX = 65536,          /* bytes taken from one pipe before the others get their turn */
        RUNNER_LINES_PER_SEC = 1000,      /* handler lines logged in one second */
        RUNNER_NEEDLE_MAX = 1024,         /* bytes of one redacted text; a longer line of a value is looked for in parts */
        RUNNER_QUEUE_MAX = 256,           /* packets waiting for an agent that does not read */
        RUNNER_PROCESSES_MAX = 65536,     /* processes looked at in one walk through /proc */
        RUNNER_ENVIRON_MAX = 1024 * 1024, /* bytes of /proc/PID/environ searched for the key */
        RUNNER_CONFIGS_MAX = 64,          /* files of the configuration directory */
        RUNNER_SHEBANG_MAX = 256,         /* bytes of a script's first line */
        RUNNER_USER_MAX = 64,             /* bytes of a user's name */
        RUNNER_OS_RELEASE_MAX = 65536,    /* bytes of /etc/os-release */
        RUNNER_RUNS_MAX = 100,            /* runs of one process, where there may be several */
        RUNNER_CHILD_STACK = 64 * 1024,   /* of a handler's process until it is the handler */

        /* queuedAt of a run that iot-jobsctl started: no cloud knows it, so the agent is not told of it. */
        RUNNER_LOCAL_QUEUED_AT = 1,

        RUNNER_HANDOVER_SEC = 5,  /* tries to reach the live runner of a key */
        RUNNER_RETRY_MSEC = 20,   /* between two of them */
        RUNNER_ADOPT_MSEC = 1000, /* a handed-over connection arrives within this */
        RUNNER_SLOT_POLL_MSEC = 50,
        RUNNER_TRAILING_MSEC = 1000, /* output that follows the handler's own end */
        RUNNER_KILL_AGAIN_MSEC = 10, /* between two rounds of SIGKILL */
        RUNNER_LEFTOVER_SEC = 10,    /* until what a dead runner left behind must be gone */
        RUNNER_EXEC_SEC = 2,         /* until a started handler is not waited for any more */
        RUNNER_VERIFY_SEC = 10,     /* until iot-jobs-verify must have answered, */
        RUNNER_VERIFY_CPU_SEC = 5,  /* and what it may use for that */
        RUNNER_VERIFY_FILES = 32,
        RUNNER_SEND_SEC = 10,        /* an agent that does not take an answer */
        RUNNER_AHEAD_USEC =
                200, /* the agent gets on with the claim first: on a small device there is one processor */
        RUNNER_NO_MEMORY_MSEC = 100, /* until an event is tried again that there was no memory for */
        RUNNER_BUSY_TEXT_MSEC = 10,  /* between two tries to execute a file that is open for writing */
        RUNNER_BUSY_TEXT_TRIES = 50,
};
