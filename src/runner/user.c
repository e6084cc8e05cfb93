/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"

enum { PASSWD_MAX = 16 * 1024 * 1024 };

/* A line of /etc/passwd, cut up in place. */
typedef struct Entry {
        const char *name, *home, *shell;
        uid_t uid;
} Entry;

/* name:password:uid:gid:comment:home:shell */
static bool parse_entry(char *line, Entry *ret) {
        enum { NAME, PASSWORD, UID, GID, COMMENT, HOME, SHELL, FIELDS };
        char *field[FIELDS], *end;
        unsigned long uid;

        for (int i = 0; i < FIELDS; i++)
                if (!(field[i] = strsep(&line, ":")))
                        return false;
        uid = strtoul(field[UID], &end, 10);
        if (line || *field[NAME] == '\0' || *field[UID] < '0' || *field[UID] > '9' || *end || uid > (uid_t) -1)
                return false;
        *ret = (Entry){ .name = field[NAME], .home = field[HOME], .shell = field[SHELL], .uid = (uid_t) uid };
        return true;
}

/* By name, or by uid if name is NULL. 1 and *ret, which points into *ret_file; 0 = none, or no file. */
static int find_entry(const char *name, uid_t uid, char **ret_file, Entry *ret) {
        int fd CLEANUP_FD = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        char *line, *rest;
        size_t len;

        if (fd < 0 || file_read_fd(fd, PASSWD_MAX, ret_file, &len) < 0)
                return 0;
        for (rest = *ret_file; (line = strsep(&rest, "\n"));)
                if (parse_entry(line, ret) && (name ? strcmp(ret->name, name) == 0 : ret->uid == uid))
                        return 1;
        return 0;
}

static int copy(char **to, const char *text) {
        *to = strdup(text);
        return *to ? 0 : -ENOMEM;
}

int user_find(uid_t uid, User *ret) {
        char *file CLEANUP_FREE = NULL;
        char number[24];
        Entry p;
        User u = {};

        (void) snprintf(number, sizeof number, "%u", (unsigned) uid);
        if (find_entry(NULL, uid, &file, &p) == 0)
                p = (Entry){ .name = number, .home = "/", .shell = "" };
        if (copy(&u.name, p.name) < 0 || copy(&u.home, p.home) < 0 ||
            copy(&u.shell, p.shell[0] ? p.shell : "/bin/sh") < 0) {
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
        char *file CLEANUP_FREE = NULL;
        Entry p;

        if (find_entry(name, 0, &file, &p) == 0)
                return -ENOENT;
        *ret = p.uid;
        return 0;
}
