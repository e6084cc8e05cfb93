/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/user.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

DEFINE_CLEANUP(FILE *, fclose)

/* By name, or by uid if name is NULL. The entry is the library's, valid until the next call. */
static const struct passwd *find_entry(const char *name, uid_t uid) {
        FILE *f CLEANUP(fclose) = fopen("/etc/passwd", "re");
        const struct passwd *p;

        while (f && (p = fgetpwent(f)))
                if (name ? strcmp(p->pw_name, name) == 0 : p->pw_uid == uid)
                        return p;
        return NULL;
}

static int copy(char **to, const char *text) {
        *to = strdup(text);
        return *to ? 0 : -ENOMEM;
}

int user_find(uid_t uid, User *ret) {
        const struct passwd *p = find_entry(NULL, uid);
        char number[24];
        User u = {};

        (void) snprintf(number, sizeof number, "%u", (unsigned) uid);
        if (copy(&u.name, p ? p->pw_name : number) < 0 || copy(&u.home, p ? p->pw_dir : "/") < 0 ||
            copy(&u.shell, p && p->pw_shell[0] ? p->pw_shell : "/bin/sh") < 0) {
                user_done(&u);
                return -ENOMEM;
        }
        *ret = u;
        return 0;
}

void user_done(User *u) {
        free(u->name);
        free(u->home);
        free(u->shell);
        *u = (User){};
}

int user_id(const char *name, uid_t *ret) {
        const struct passwd *p = find_entry(name, 0);

        if (!p)
                return -ENOENT;
        *ret = p->pw_uid;
        return 0;
}
