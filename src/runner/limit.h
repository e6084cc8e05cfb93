/* SPDX-License-Identifier: Apache-2.0 */
/* What an override limits: memory, processes and weights, by a control group of the step's own (version 2), below the one that
 * systemd has delegated to this runner. Made only where it is asked for: a job without limits pays nothing. Elsewhere there is no
 * control group to divide, and what was asked for cannot be had. */
#pragma once

#include "base/error.h"
#include "config/config.h"

enum {
        LIMITS_PATH_MAX = 256, /* as in the record */
        LIMITS_TEXT_MAX = 128,
};

typedef struct Limits {
        int unit_fd;  /* the group that was delegated; -1 = not looked for yet */
        int group_fd; /* of the step; -1 = it has none */
        int procs_fd; /* by which a process of ours joins that */
        char unit[LIMITS_PATH_MAX];  /* below the mount */
        char group[LIMITS_PATH_MAX]; /* the same of the step's; "" = none */
        const ConfigOverride *asked; /* of the step; borrowed */
        bool no_weights;             /* said in the log already */
} Limits;

#define LIMITS_NONE ((Limits){ .unit_fd = -1, .group_fd = -1, .procs_fd = -1 })

/* Can what it asks for (NULL: nothing) be had here? 0, or negative errno with the reason in e. Makes the delegated group ready: this
 * process moves into one beside the steps', as a group whose memory is divided has no processes of its own. A private network counts. A
 * weight that cannot be had is no error: a warning, once. */
int limits_check(Limits *l, const ConfigOverride *o, Error *e) MUST_USE;
/* Make the group of a step, with its limits set, unless it needs none; the former one's goes. 0 or negative errno with e. */
int limits_start(Limits *l, const ConfigOverride *o, uint32_t step, Error *e) MUST_USE;
/* SIGKILL for all that is in the group, at once. */
void limits_kill(const Limits *l);
/* Was something in the group killed for want of memory? Then why, in words: "out of memory: memory_max 64M". */
bool limits_broken(const Limits *l, char ret[static LIMITS_TEXT_MAX]);
/* How often a process was refused because of tasks_max. */
uint64_t limits_refused(const Limits *l);
/* The step is over: its group goes. */
void limits_end(Limits *l);
void limits_done(Limits *l);

/* SIGKILL for what a dead runner left in the group that its record names. */
void limits_kill_recorded(const char *group);
