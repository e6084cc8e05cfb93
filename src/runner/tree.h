/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a run. While the runner lives it is their subreaper: whatever a handler does (double fork, setsid, a new
 * process group), its descendants stay the runner's descendants, so that "no child left" means "nothing left". What a runner that
 * died left behind is found by what is recorded of it, by the run's environment and by its working directory.
 * (No cgroup of our own: under systemd the runner is alone in its unit's, and elsewhere moving a process into a new one costs
 * 8 ms on an idle machine, for a global lock that waits for all processors.) */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "base/clock.h"
#include "proto/types.h"

/* The main process ended, or the tree is empty; as told by the kernel. */
typedef struct TreeChange {
        bool main_exited;
        int main_status; /* as waitpid() gives it */
        bool empty;      /* no child is left */
} TreeChange;

/* Take the kernel's word of every child that ended (never blocks). */
void tree_reap(pid_t main_pid, TreeChange *ret);
/* Send `sig` to every descendant of this process. For SIGKILL it walks again until a walk finds nothing new, because a process
 * may fork while it is looked for. Returns how many got it, or negative errno (no /proc). */
int tree_signal(int sig) MUST_USE;

/* What finds the tree of a dead runner. pid 0 = nothing of its own process is known. */
typedef struct TreeTrace {
        char key[JOB_KEY_TEXT_MAX];
        char boot_id[BOOT_ID_MAX];
        pid_t pid; /* of the handler: also its session */
        uint64_t start_time;
        char state[PATH_MAX]; /* directory; a run's processes may work below it, their environment names it */
        bool session_ours; /* the recorded process was seen alive: whoever is in its session belongs to the run */
} TreeTrace;

/* SIGKILL everything that belongs to the trace: the recorded process if its start time is the recorded one, and then its session
 * (a session whose leader is gone may be another's by now); every process with the key, and no other state directory, in its
 * environment, or with its current directory in the run's; and all their descendants. Returns how many are still there (0 =
 * gone), or negative errno. A trace of another boot has nothing left: 0. */
int tree_kill_trace(TreeTrace *t, const char *boot_id) MUST_USE;
/* The same again and again until nothing is left; -ETIMEDOUT after RUNNER_LEFTOVER_SEC. Blocks. */
int tree_end_trace(TreeTrace *t, const char *boot_id) MUST_USE;
