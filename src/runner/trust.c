/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"

static bool owner_good(const struct stat *st, uid_t uid) {
        return st->st_uid == 0 || st->st_uid == uid;
}

static int check_directory(const struct stat *st, const char *path, bool last, uid_t uid, Error *e) {
        if (!owner_good(st, uid))
                return error_set(e, EPERM, "directory %s belongs to user %u, not to root or user %u", path,
                                 (unsigned) st->st_uid, (unsigned) uid);
        /* In a sticky directory others cannot replace what is not theirs; but they could put handlers into the last one. */
        if ((st->st_mode & (S_IWGRP | S_IWOTH)) && (last || !(st->st_mode & S_ISVTX)))
                return error_set(e, EPERM, "directory %s is writable by others (mode %04o)", path,
                                 st->st_mode & 07777U);
        return 0;
}

/* Absolute, and made of names alone. */
static bool is_plain(const char *path) {
        const char *at = path;

        if (path[0] != '/' || path[1] == '\0')
                return path[0] == '/';
        while (*at) {
                size_t n = strcspn(at + 1, "/");

                if (n == 0 || (n == 1 && at[1] == '.') || (n == 2 && at[1] == '.' && at[2] == '.'))
                        return false;
                at += 1 + n;
        }
        return true;
}

/* Look at every directory on a plain path from the root down; `path` is cut in place while it goes. What was found good can
 * be replaced by nobody whose directories are not good themselves. *ret: the last one. 1 = a link stands on the way. */
static int look_down(char *path, uid_t uid, struct stat *ret, Error *e) {
        char *end = path;
        int r;

        if (lstat("/", ret) < 0)
                return error_errno(e, errno, "directory /");
        r = check_directory(ret, "/", path[1] == '\0', uid, e);
        while (r == 0 && path[1] && end) {
                end = strchr(end + 1, '/');
                if (end)
                        *end = '\0';
                if (lstat(path, ret) < 0)
                        r = error_errno(e, errno, "directory %s", path);
                else if (S_ISLNK(ret->st_mode))
                        r = 1;
                else if (!S_ISDIR(ret->st_mode))
                        r = error_errno(e, ENOTDIR, "directory %s", path);
                else
                        r = check_directory(ret, path, !end, uid, e);
                if (end)
                        *end = '/';
        }
        return r;
}

/* What was looked at, opened. */
static int open_looked_at(const char *path, const struct stat *looked_at, Error *e) {
        int fd CLEANUP_FD = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(e, errno, "directory %s", path);
        if (st.st_ino != looked_at->st_ino || st.st_dev != looked_at->st_dev)
                return error_errno(e, EAGAIN, "directory %s, which is being replaced", path);
        return TAKE_FD(fd);
}

int trust_open_directory(const char *path, uid_t uid, char **ret_real, Error *e) {
        char *real CLEANUP_FREE = is_plain(path) ? strdup(path) : realpath(path, NULL);
        struct stat st;
        int r = real ? look_down(real, uid, &st, e) : error_errno(e, errno, "directory %s", path);

        if (r > 0) { /* few paths have links: only those are resolved */
                free(real);
                real = realpath(path, NULL);
                r = real ? look_down(real, uid, &st, e) : error_errno(e, errno, "directory %s", path);
                if (r > 0)
                        r = error_errno(e, EAGAIN, "directory %s, which is being replaced", path);
        }
        if (r == 0)
                r = open_looked_at(real, &st, e);
        if (r >= 0)
                *ret_real = TAKE(real);
        return r;
}

static int refuse_link(int dir_fd, const char *path, const char *name, Error *e) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof target - 1);
        struct stat st;

        target[MAX_OF(n, (ssize_t) 0)] = '\0';
        if (fstatat(dir_fd, name, &st, 0) < 0)
                return error_set(e, ELOOP, "a dangling link: %s points to %.200s", path, target);
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
                return error_set(e, EPERM, "masked by a link to /dev/null: %s", path);
        return error_set(e, ELOOP, "a symbolic link, which is not followed: %s points to %.200s", path,
                         target);
}

static int check_executable(int dir_fd, const char *path, const char *name, const struct stat *st, uid_t uid,
                            Error *e) {
        unsigned mode = st->st_mode & 07777U;

        if (!(mode & 0111))
                return error_set(e, EACCES, "not executable: %s has mode %04o", path, mode);
        if (faccessat(dir_fd, name, X_OK, AT_EACCESS) < 0)
                return error_set(e, EACCES,
                                 "not executable by user %u: %s has mode %04o (or is on a noexec mount)",
                                 (unsigned) uid, path, mode);
        return 0;
}

/* 1 = good, 0 = no such entry, negative errno = refused. */
static int check_file(int dir_fd, const char *directory, const char *name, uid_t uid, Error *e) {
        char path[PATH_MAX];
        struct stat st;
        int r = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;

        if (r == -ENOENT)
                return 0;
        (void) snprintf(path, sizeof path, "%s/%s", directory, name);
        if (r < 0)
                return error_errno(e, -r, "handler %s", path);
        if (S_ISLNK(st.st_mode))
                return refuse_link(dir_fd, path, name, e);
        if (S_ISDIR(st.st_mode))
                return error_set(e, EISDIR, "a directory, not a program: %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(e, EPERM, "not a regular file: %s", path);
        if (!owner_good(&st, uid))
                return error_set(e, EPERM, "wrong owner: %s belongs to user %u, not to root or user %u", path,
                                 (unsigned) st.st_uid, (unsigned) uid);
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return error_set(e, EPERM, "writable by others: %s has mode %04o", path, st.st_mode & 07777U);
        if (st.st_mode & (S_ISUID | S_ISGID))
                return error_set(e, EPERM, "has the set-user-ID or set-group-ID bit: %s has mode %04o", path,
                                 st.st_mode & 07777U);
        r = check_executable(dir_fd, path, name, &st, uid, e);
        return r < 0 ? r : 1;
}

/* 1 and *ret = found and good, 0 = not in this directory. */
static int look_in(const char *directory, const char *name, bool try_suffix, uid_t uid, char **ret,
                   Error *e) {
        char *real CLEANUP_FREE = NULL;
        char with_suffix[NAME_MAX + 1];
        const char *found = name;
        int fd CLEANUP_FD = -1;
        int r;

        fd = trust_open_directory(directory, uid, &real, e);
        if (fd == -ENOENT)
                return 0;
        if (fd < 0)
                return fd;
        r = check_file(fd, real, name, uid, e);
        if (r == 0 && try_suffix) {
                (void) snprintf(with_suffix, sizeof with_suffix, "%s.sh", name);
                found = with_suffix;
                r = check_file(fd, real, found, uid, e);
        }
        if (r > 0 && asprintf(ret, "%s/%s", strcmp(real, "/") == 0 ? "" : real, found) < 0)
                return error_errno(e, ENOMEM, "handler %s", name);
        return r;
}

int trust_find_handler(const char *const *directories, const char *name, bool try_suffix, uid_t uid,
                       char **ret, Error *e) {
        Buf searched CLEANUP_BUF = {};

        for (size_t i = 0; directories[i]; i++) {
                int r = look_in(directories[i], name, try_suffix, uid, ret, e);

                if (r != 0)
                        return r < 0 ? r : 0;
                buf_printf(&searched, "%s%s", i ? ", " : "", directories[i]);
        }
        if (!searched.data)
                return error_set(e, ENOENT, "missing: no directory for handlers is configured");
        if (try_suffix)
                return error_set(e, ENOENT, "missing: no %s or %s.sh in %s", name, name, searched.data);
        return error_set(e, ENOENT, "missing: no %s in %s", name, searched.data);
}

/* ---- programs ---- */

static int check_directory_of(const char *path, uid_t uid, Error *e) {
        char *real CLEANUP_FREE = NULL, *directory CLEANUP_FREE = strdup(path);
        int fd CLEANUP_FD = -1;
        char *slash;

        if (!directory)
                return error_errno(e, ENOMEM, "program %s", path);
        slash = strrchr(directory, '/');
        slash[slash == directory] = '\0';
        fd = trust_open_directory(directory, uid, &real, e);
        return MIN_OF(fd, 0);
}

/* 1 and *ret = found and good, 0 = nothing there that could be executed, negative errno = refused. */
static int check_program(const char *path, uid_t uid, char **ret, Error *e) {
        char *real CLEANUP_FREE = realpath(path, NULL);
        struct stat st;
        int r;

        if (!real || stat(real, &st) < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : error_errno(e, errno, "program %s", path);
        if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
                return 0;
        r = check_directory_of(path, uid, e);
        if (r == 0)
                r = check_directory_of(real, uid, e);
        if (r < 0)
                return r;
        if (!owner_good(&st, uid))
                return error_set(e, EPERM, "wrong owner: %s belongs to user %u, not to root or user %u", real,
                                 (unsigned) st.st_uid, (unsigned) uid);
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return error_set(e, EPERM, "writable by others: %s has mode %04o", real, st.st_mode & 07777U);
        *ret = TAKE(real);
        return 1;
}

static int search_program(const char *search, const char *word, uid_t uid, char **ret, Error *e) {
        while (*search) {
                size_t n = strcspn(search, ":");
                char *path CLEANUP_FREE = NULL;
                int r = 0;

                if (*search == '/') {
                        if (asprintf(&path, "%.*s/%s", (int) n, search, word) < 0) {
                                path = NULL;
                                return error_errno(e, ENOMEM, "program %s", word);
                        }
                        r = check_program(path, uid, ret, e);
                }
                if (r != 0)
                        return r;
                search += n + (search[n] == ':');
        }
        return 0;
}

int trust_find_program(const char *search, const char *word, uid_t uid, char **ret, Error *e) {
        int r;

        if (strchr(word, '/') && word[0] != '/')
                return error_set(e, EINVAL, "\"%.200s\" is neither an absolute path nor a name alone", word);
        if (word[0] == '/') {
                r = check_program(word, uid, ret, e);
                if (r == 0)
                        return error_set(e, ENOENT, "missing: there is no program %.300s", word);
        } else {
                r = search_program(search, word, uid, ret, e);
                if (r == 0)
                        return error_set(e, ENOENT, "missing: no %.200s in %.250s", word, search);
        }
        return MIN_OF(r, 0);
}
