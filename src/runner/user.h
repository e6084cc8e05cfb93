/* SPDX-License-Identifier: Apache-2.0 */
/* Users of this machine, as /etc/passwd has them. The name service switch is not asked: it costs a start more than the rest of its
 * preparations, and a statically linked program cannot load it. */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

typedef struct User { /* owned */
        char *name, *home, *shell;
} User;

/* A user without any entry has its number for a name, / and /bin/sh. 0 or -ENOMEM. */
int user_find(uid_t uid, User *ret) MUST_USE;
void user_done(User *u);

/* 0 and *ret, or -ENOENT. */
int user_id(const char *name, uid_t *ret) MUST_USE;
