/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fileio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/clock.h"

DEFINE_CLEANUP(DIR *, closedir)

int write_all(int fd, const void *data, size_t len) {
        const char *at = data;

        while (len > 0) {
                ssize_t n = write(fd, at, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                at += n;
                len -= (size_t) n;
        }
        return 0;
}

int pwrite_all(int fd, const void *data, size_t len, off_t at) {
        const char *from = data;

        while (len > 0) {
                ssize_t n = pwrite(fd, from, len, at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                from += n;
                at += n;
                len -= (size_t) n;
        }
        return 0;
}

/* ---- read ---- */

static int open_regular(int dirfd, const char *name) {
        /* O_NONBLOCK: a FIFO must not stop us; it means nothing to a regular file. */
        int fd CLEANUP_FD = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
        return TAKE_FD(fd);
}

int file_read_at(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len) {
        int fd CLEANUP_FD = open_regular(dirfd, name);

        return fd < 0 ? fd : file_read_fd(fd, max, ret, ret_len);
}

int file_read_fd(int fd, size_t max, char **ret, size_t *ret_len) {
        char *data CLEANUP_FREE = NULL;
        size_t len = 0, cap;
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size > 0 && (uintmax_t) st.st_size > max)
                return -EFBIG;
        /* One byte more than expected shows the end; files of /proc say 0 and hold more. */
        cap = (st.st_size > 0 ? (size_t) st.st_size : MIN_OF(max, (size_t) 4096)) + 1;
        data = malloc(cap + 1);
        if (!data)
                return -ENOMEM;
        for (;;) {
                ssize_t n = pread(fd, data + len, cap - len, (off_t) len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += (size_t) n;
                if (len > max)
                        return -EFBIG;
                if (len == cap) {
                        char *more = realloc(data, cap * 2 + 1);

                        if (!more)
                                return -ENOMEM;
                        data = more;
                        cap *= 2;
                }
        }
        data[len] = '\0';
        *ret = TAKE(data);
        *ret_len = len;
        return 0;
}

/* ---- replace ---- */

static int write_new_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode) {
        int fd CLEANUP_FD = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        int r;

        if (fd < 0)
                return -errno;
        /* The mode asked for, whatever the umask. */
        if (fchmod(fd, mode) < 0)
                return -errno;
        r = write_all(fd, data, len);
        if (r < 0)
                return r;
        if (fsync(fd) < 0)
                return -errno;
        return close(TAKE_FD(fd)) < 0 ? -errno : 0;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode) {
        char temp[NAME_MAX + 64];
        int r, n;

        n = snprintf(temp, sizeof temp, ".%s.%016llx.tmp", name, (unsigned long long) random_u64());
        if (n < 0 || (size_t) n >= sizeof temp)
                return -ENAMETOOLONG;
        r = write_new_file(dirfd, temp, data, len, mode);
        if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                if (r != -EEXIST)
                        (void) unlinkat(dirfd, temp, 0);
                return r;
        }
        return fsync(dirfd) < 0 ? -errno : 0;
}

/* ---- remove ---- */

/* A directory below `parent`, on the same mount and not through a link. The runner's own user may have lost the right to
 * read a directory that a handler made; as its owner it takes it back. */
static int open_below(int parent, const char *name) {
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };

        for (int attempt = 0;; attempt++) {
                long fd = syscall(SYS_openat2, parent, name, &how, sizeof how);

                /* Emulators and old sandboxes do not have it. Mounts are refused without it too: rmdir(2) says EBUSY. */
                if (fd < 0 && (errno == ENOSYS || errno == EPERM))
                        fd = openat(parent, name, (int) how.flags);
                if (fd >= 0)
                        return (int) fd;
                if (errno != EACCES || attempt > 0 || fchmodat(parent, name, 0700, 0) < 0)
                        return -errno;
        }
}

/* Remove `name`, or say that it is a directory with something in it (-ENOTEMPTY). */
static int remove_simple(int fd, const char *name) {
        if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return 0;
        return errno == EEXIST ? -ENOTEMPTY : -errno;
}

/* Move a directory with content up into `root`, under a name that is free there. */
static int move_up(int fd, const char *name, int root, uint64_t *counter) {
        bool again = true;

        for (;;) {
                char to[40];

                (void) snprintf(to, sizeof to, ".rm-%llu", (unsigned long long) (*counter)++);
                if (renameat2(fd, name, root, to, RENAME_NOREPLACE) == 0)
                        return 0;
                if (errno == EACCES && again && fchmodat(fd, name, 0700, 0) == 0)
                        again = false;
                else if (errno != EEXIST)
                        return -errno;
        }
}

static int read_entry(DIR *d, const char **ret) {
        for (;;) {
                struct dirent *e;

                errno = 0;
                e = readdir(d);
                if (!e)
                        return errno > 0 ? -errno : 0;
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                        *ret = e->d_name;
                        return 1;
                }
        }
}

/* Empty one directory below root: files go, directories with content move up. *progress counts what was done. */
static int flatten(int root, const char *name, uint64_t *counter, uint64_t *progress) {
        DIR *d CLEANUP(closedir) = NULL;
        int fd = open_below(root, name), failed = 0, r;
        const char *child;

        if (fd < 0)
                return fd;
        d = fdopendir(fd);
        if (!d) {
                (void) close(fd);
                return -ENOMEM;
        }
        while ((r = read_entry(d, &child)) > 0) {
                r = remove_simple(fd, child);
                if (r == -ENOTEMPTY)
                        r = move_up(fd, child, root, counter);
                if (r < 0)
                        failed = r;
                else
                        (*progress)++;
        }
        if (r < 0 || failed < 0)
                return r < 0 ? r : failed;
        return unlinkat(root, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* However deep the tree, at most two levels of it are open: deeper ones are moved up first. */
static int empty_root(int root) {
        DIR *d CLEANUP(closedir) = NULL;
        int fd = fcntl(root, F_DUPFD_CLOEXEC, 3), failed, r;
        uint64_t counter = 0, progress;
        const char *name;
        size_t seen;

        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                (void) close(fd);
                return -ENOMEM;
        }
        do {
                failed = 0;
                progress = 0;
                seen = 0;
                rewinddir(d);
                while ((r = read_entry(d, &name)) > 0) {
                        seen++;
                        r = remove_simple(root, name);
                        if (r == -ENOTEMPTY)
                                r = flatten(root, name, &counter, &progress);
                        if (r < 0)
                                failed = r;
                        else
                                progress++;
                }
                if (r < 0)
                        return r;
        } while (seen > 0 && progress > 0);
        return failed;
}

static int remove_tree_below(int dirfd, const char *name) {
        int root CLEANUP_FD = -1;
        int r = remove_simple(dirfd, name);

        if (r != -ENOTEMPTY)
                return r;
        root = open_below(dirfd, name);
        if (root < 0)
                return root;
        r = empty_root(root);
        if (r < 0)
                return r;
        return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int remove_tree_at(int dirfd, const char *name) {
        const char *slash = strrchr(name, '/');
        char *parent CLEANUP_FREE = NULL;
        int fd CLEANUP_FD = -1;

        if (!slash)
                return remove_tree_below(dirfd, name);
        /* The way there is the caller's; from its last part on no mount is entered. */
        parent = strndup(name, (size_t) (slash - name) + 1);
        if (!parent)
                return -ENOMEM;
        fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return remove_tree_below(fd, slash + 1);
}

/* ---- make ---- */

/* Open a directory below fd, made (and made durable) if it is missing. */
static int open_or_make(int fd, const char *name, mode_t mode) {
        int sub CLEANUP_FD = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (sub >= 0)
                return TAKE_FD(sub);
        if (errno != ENOENT)
                return -errno;
        if (mkdirat(fd, name, mode) < 0) {
                if (errno != EEXIST)
                        return -errno;
                mode = 0;
        }
        sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (sub < 0)
                return -errno;
        if (mode != 0 && fchmod(sub, mode) < 0)
                return -errno;
        if (mode != 0 && fsync(fd) < 0)
                return -errno;
        return TAKE_FD(sub);
}

int mkdir_open(const char *path, mode_t mode) {
        char *copy CLEANUP_FREE = NULL, *at, *save = NULL;
        int fd CLEANUP_FD = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                return TAKE_FD(fd);
        if (errno != ENOENT || path[0] == '\0')
                return -errno;
        copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        fd = open(path[0] == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (at = strtok_r(copy, "/", &save); at; at = strtok_r(NULL, "/", &save)) {
                int sub = open_or_make(fd, at, mode);

                if (sub < 0)
                        return sub;
                (void) close(fd);
                fd = sub;
        }
        return TAKE_FD(fd);
}
