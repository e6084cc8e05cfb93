/* SPDX-License-Identifier: Apache-2.0 */
/* Users of this machine, as /etc/passwd and /etc/group have them. The name service switch is not asked: it costs a start more than
 * the rest of its preparations, and a statically linked program cannot load it. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

enum { USER_GROUPS_MAX = 256 };

typedef struct User { /* owned */
        char *name, *home, *shell;
        uid_t uid;
        gid_t gid;
        gid_t *groups; /* supplementary ones; of user_find_name() only */
        size_t n_groups;
} User;

/* Our own user. One without any entry has its number for a name, / and /bin/sh. 0 or -ENOMEM. */
int user_find(uid_t uid, User *ret) MUST_USE;
/* One whose rights are to be taken: with its groups. 0 and *ret; -ENOENT: not in /etc/passwd; -E2BIG: in more than USER_GROUPS_MAX
 * groups; other negative errno: a file could not be read. All with a text in e. */
int user_find_name(const char *name, User *ret, Error *e) MUST_USE;
void user_done(User *u);
#define CLEANUP_USER __attribute__((cleanup(user_done)))

/* Is there an entry with this number? */
bool user_exists(uid_t uid);
/* 0 and *ret, or -ENOENT. */
int user_id(const char *name, uid_t *ret) MUST_USE;
