/* SPDX-License-Identifier: Apache-2.0 */
/* May the runner, as root, believe this file? */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config_internal.h"

enum { TRUST_LINKS_MAX = 40 };

typedef struct Walk {
        char done[PATH_MAX]; /* resolved so far; "" = the root */
        char todo[PATH_MAX]; /* what is left, relative to it */
        unsigned links;
        uid_t uid;
        Error *e;
} Walk;

static int check_inode(const Walk *w, const char *path, const struct stat *st) {
        mode_t writers = st->st_mode & (S_IWGRP | S_IWOTH);

        if (st->st_uid != 0 && st->st_uid != w->uid) {
                if (w->uid == 0)
                        return error_set(w->e, EPERM, "%s: belongs to user %u; it must belong to root", path,
                                         st->st_uid);
                return error_set(w->e, EPERM, "%s: belongs to user %u; it must belong to root or to user %u",
                                 path, st->st_uid, w->uid);
        }
        if (S_ISLNK(st->st_mode) || !writers)
                return 0;
        if (S_ISDIR(st->st_mode) &&
            (st->st_mode & S_ISVTX)) /* nobody can replace what is in it and is ours */
                return 0;
        return error_set(w->e, EPERM, "%s: writable by its group or by others (mode %04o); chmod go-w it",
                         path, (unsigned) st->st_mode & 07777);
}

/* `done` is the link's path; `before` bytes of it are that of its directory. */
static int follow_link(Walk *w, size_t before) {
        char target[PATH_MAX], rest[PATH_MAX];
        ssize_t n = readlink(w->done, target, sizeof target - 1);
        int len;

        if (n < 0)
                return error_errno(w->e, errno, "%s", w->done);
        if (++w->links > TRUST_LINKS_MAX)
                return error_errno(w->e, ELOOP, "%s", w->done);
        target[n] = '\0';
        memcpy(rest, w->todo, sizeof rest);
        len = snprintf(w->todo, sizeof w->todo, "%s/%s", target, rest);
        if (len < 0 || (size_t) len >= sizeof w->todo)
                return error_errno(w->e, ENAMETOOLONG, "%s", w->done);
        w->done[target[0] == '/' ? 0 : before] = '\0';
        return 0;
}

/* Cut the next component off `todo`; false at the end. */
static bool next_component(Walk *w, char *ret) {
        size_t skip = strspn(w->todo, "/"), n = strcspn(w->todo + skip, "/");

        memcpy(ret, w->todo + skip, n);
        ret[n] = '\0';
        memmove(w->todo, w->todo + skip + n, strlen(w->todo + skip + n) + 1);
        return n > 0;
}

static int enter(Walk *w, const char *component) {
        size_t before = strlen(w->done);
        struct stat st;
        int n, r;

        if (strcmp(component, ".") == 0)
                return 0;
        if (strcmp(component, "..") == 0) {
                char *slash = strrchr(w->done, '/');

                if (slash)
                        *slash = '\0';
                return 0;
        }
        n = snprintf(w->done + before, sizeof w->done - before, "/%s", component);
        if (n < 0 || (size_t) n >= sizeof w->done - before) {
                w->done[before] = '\0';
                return error_errno(w->e, ENAMETOOLONG, "%s", w->done);
        }
        if (lstat(w->done, &st) < 0)
                return error_errno(w->e, errno, "%s", w->done);
        r = check_inode(w, w->done, &st);
        return r == 0 && S_ISLNK(st.st_mode) ? follow_link(w, before) : r;
}

int config_path_trust(const char *path, uid_t uid, Error *e) {
        Walk w = { .uid = uid, .e = e };
        char component[PATH_MAX];
        struct stat st;
        int r;

        if (strlen(path) >= sizeof w.todo)
                return error_errno(e, ENAMETOOLONG, "%s", path);
        memcpy(w.todo, path, strlen(path) + 1);
        if (stat("/", &st) < 0)
                return error_errno(e, errno, "/");
        r = check_inode(&w, "/", &st);
        while (r == 0 && next_component(&w, component))
                r = enter(&w, component);
        return r;
}

int config_includes_trust(const ConfigText *text, uid_t uid, Error *e) {
        int r = 0;

        for (size_t i = 1; r == 0 && i < text->n_files; i++)
                r = config_path_trust(text->files[i], uid, e);
        return r;
}

int config_check_trust(const char *path, uid_t uid, Error *e) {
        CLEANUP_FREE char *absolute = config_absolute_path(path);
        CLEANUP_CONFIG_TEXT ConfigText text = { 0 };
        int r;

        if (!absolute)
                return error_errno(e, ENOMEM, "%s", path);
        r = config_path_trust(absolute, uid, e); /* before anything in it is looked at */
        if (r == 0)
                r = config_text_scan(absolute, &text, e);
        return r < 0 ? r : config_includes_trust(&text, uid, e);
}
