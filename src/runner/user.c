/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"

enum { USER_FILE_MAX = 16 * 1024 * 1024 };

/* A line of /etc/passwd, cut up in place. */
typedef struct Entry {
        const char *name, *home, *shell;
        uid_t uid;
        gid_t gid;
} Entry;

/* The number that stands for "none" to the kernel is nobody's. */
static bool parse_id(const char *text, unsigned *ret) {
        unsigned long id;
        char *end;

        if (*text < '0' || *text > '9')
                return false;
        errno = 0;
        id = strtoul(text, &end, 10);
        if (*end || errno || id >= UINT32_MAX)
                return false;
        *ret = (unsigned) id;
        return true;
}

/* name:password:uid:gid:comment:home:shell */
static bool parse_entry(char *line, Entry *ret) {
        enum { NAME, PASSWORD, UID, GID, COMMENT, HOME, SHELL, FIELDS };
        char *field[FIELDS];
        unsigned uid, gid;

        for (int i = 0; i < FIELDS; i++)
                if (!(field[i] = strsep(&line, ":")))
                        return false;
        if (line || *field[NAME] == '\0' || !parse_id(field[UID], &uid) || !parse_id(field[GID], &gid))
                return false;
        *ret = (Entry){ .name = field[NAME], .home = field[HOME], .shell = field[SHELL], .uid = uid, .gid = gid };
        return true;
}

static int read_file(const char *path, char **ret) {
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        size_t len;

        return fd < 0 ? -errno : file_read_fd(fd, USER_FILE_MAX, ret, &len);
}

/* By name, or by uid if name is NULL. 1 and *ret, which points into *ret_file; 0 = none, or no file; or negative errno. */
static int find_entry(const char *name, uid_t uid, char **ret_file, Entry *ret) {
        char *line, *rest;
        int r = read_file("/etc/passwd", ret_file);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (rest = *ret_file; (line = strsep(&rest, "\n"));)
                if (parse_entry(line, ret) && (name ? strcmp(ret->name, name) == 0 : ret->uid == uid))
                        return 1;
        return 0;
}

static int copy(char **to, const char *text) {
        *to = strdup(text);
        return *to ? 0 : -ENOMEM;
}

static int from_entry(const Entry *p, User *ret) {
        User u = { .uid = p->uid, .gid = p->gid };

        if (copy(&u.name, p->name) < 0 || copy(&u.home, p->home[0] ? p->home : "/") < 0 ||
            copy(&u.shell, p->shell[0] ? p->shell : "/bin/sh") < 0) {
                user_done(&u);
                return -ENOMEM;
        }
        *ret = u;
        return 0;
}

int user_find(uid_t uid, User *ret) {
        char *file CLEANUP_FREE = NULL;
        char number[24];
        Entry p;

        (void) snprintf(number, sizeof number, "%u", (unsigned) uid);
        if (find_entry(NULL, uid, &file, &p) <= 0)
                p = (Entry){ .name = number, .home = "/", .shell = "", .uid = uid, .gid = getegid() };
        return from_entry(&p, ret);
}

/* ---- groups ---- */

static bool lists(char *members, const char *name) {
        char *member;

        while ((member = strsep(&members, ",")))
                if (strcmp(member, name) == 0)
                        return true;
        return false;
}

/* name:password:gid:member,member */
static bool parse_group(char *line, const char *name, gid_t *ret) {
        enum { NAME, PASSWORD, GID, FIELDS };
        char *field[FIELDS];
        unsigned gid;

        for (int i = 0; i < FIELDS; i++)
                if (!(field[i] = strsep(&line, ":")))
                        return false;
        if (!line || !parse_id(field[GID], &gid) || !lists(line, name))
                return false;
        *ret = gid;
        return true;
}

static int find_groups(User *u) {
        char *file CLEANUP_FREE = NULL;
        char *line, *rest;
        gid_t gid;
        int r = read_file("/etc/group", &file);

        u->groups = calloc(USER_GROUPS_MAX, sizeof *u->groups);
        if (!u->groups)
                return -ENOMEM;
        u->groups[u->n_groups++] = u->gid;
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (rest = file; (line = strsep(&rest, "\n"));) {
                if (!parse_group(line, u->name, &gid) || gid == u->gid)
                        continue;
                if (u->n_groups == USER_GROUPS_MAX)
                        return -E2BIG;
                u->groups[u->n_groups++] = gid;
        }
        return 0;
}

int user_find_name(const char *name, User *ret, Error *e) {
        char *file CLEANUP_FREE = NULL;
        User u = {};
        Entry p;
        int r = find_entry(name, 0, &file, &p);

        if (r < 0)
                return error_errno(e, -r, "looking for user \"%s\" in /etc/passwd", name);
        if (r == 0)
                return error_set(e, ENOENT, "there is no user \"%s\" in /etc/passwd", name);
        r = from_entry(&p, &u);
        if (r == 0)
                r = find_groups(&u);
        if (r == 0) {
                *ret = u;
                return 0;
        }
        user_done(&u);
        if (r == -E2BIG)
                return error_set(e, E2BIG, "user \"%s\" is in more than %d groups", name, USER_GROUPS_MAX);
        return error_errno(e, -r, "looking for the groups of user \"%s\" in /etc/group", name);
}

void user_done(User *u) {
        free(u->name);
        free(u->home);
        free(u->shell);
        free(u->groups);
        *u = (User){};
}

bool user_exists(uid_t uid) {
        char *file CLEANUP_FREE = NULL;
        Entry p;

        return find_entry(NULL, uid, &file, &p) > 0;
}

int user_id(const char *name, uid_t *ret) {
        char *file CLEANUP_FREE = NULL;
        Entry p;

        if (find_entry(name, 0, &file, &p) <= 0)
                return -ENOENT;
        *ret = p.uid;
        return 0;
}
