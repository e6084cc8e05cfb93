/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/keylock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "runner/bounds.h"
#include "runner/conn.h"

enum { LOCK_REOPEN_MAX = 100 };

/* A runtime directory may be far longer than a socket address: go through our descriptor of it. */
static void socket_address(int runs_fd, const char *name, struct sockaddr_un *ret) {
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        (void) snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", runs_fd, name);
}

static void socket_name(ino_t inode, char ret[static 24]) {
        (void) snprintf(ret, 24, "%llu", (unsigned long long) inode);
}

/* 1 = locked and still what the name stands for, 0 = held by another, -ESTALE = unlinked meanwhile. */
static int lock_file(KeyLock *k, struct stat *ret) {
        struct stat by_name;

        if (flock(k->fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return -errno;
                return fstat(k->fd, ret) < 0 ? -errno : 0;
        }
        if (fstat(k->fd, ret) < 0)
                return -errno;
        if (ret->st_nlink == 0 || fstatat(k->runs_fd, k->name, &by_name, AT_SYMLINK_NOFOLLOW) < 0 ||
            by_name.st_ino != ret->st_ino || by_name.st_dev != ret->st_dev)
                return -ESTALE;
        return 1;
}

static int socket_open(KeyLock *k) {
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        int r;

        if (fd < 0)
                return -errno;
        socket_address(k->runs_fd, k->socket_name, &address);
        r = bind(fd, (const struct sockaddr *) &address, sizeof address);
        if (r < 0 && errno == EADDRINUSE) {
                /* Left by a runner that was killed: nobody else may be behind this name while we hold the lock. */
                if (unlinkat(k->runs_fd, k->socket_name, 0) < 0 && errno != ENOENT)
                        return -errno;
                r = bind(fd, (const struct sockaddr *) &address, sizeof address);
        }
        if (r < 0 || listen(fd, 16) < 0)
                return -errno;
        k->listen_fd = TAKE_FD(fd);
        return 0;
}

int keylock_take(int runs_fd, const char *key_text, KeyLock *ret, ino_t *ret_holder, Error *e) {
        KeyLock k = { .runs_fd = runs_fd, .fd = -1, .listen_fd = -1 };
        struct stat st;
        int r = -ESTALE;

        (void) snprintf(k.name, sizeof k.name, "%s.lock", key_text);
        for (int i = 0; i < LOCK_REOPEN_MAX && r == -ESTALE; i++) {
                k.fd = openat(runs_fd, k.name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
                if (k.fd < 0)
                        return error_errno(e, errno, "lock file runs/%s in the runtime directory", k.name);
                r = lock_file(&k, &st);
                if (r <= 0)
                        (void) close(k.fd);
        }
        if (r < 0)
                return error_errno(e, -r, "locking runs/%s in the runtime directory", k.name);
        if (r == 0) {
                *ret_holder = st.st_ino;
                return 0;
        }
        socket_name(st.st_ino, k.socket_name);
        r = socket_open(&k);
        if (r < 0) {
                error_errno(e, -r, "socket runs/%s in the runtime directory", k.socket_name);
                keylock_release(&k);
                return r;
        }
        *ret = k;
        return 1;
}

void keylock_release(KeyLock *k) {
        if (k->fd < 0)
                return;
        (void) unlinkat(k->runs_fd, k->socket_name, 0);
        if (k->listen_fd >= 0)
                (void) close(k->listen_fd);
        (void) unlinkat(k->runs_fd, k->name, 0);
        (void) close(k->fd);
        k->fd = k->listen_fd = -1;
}

static int send_with_fd(int fd, int passed, const char *packet, size_t len) {
        struct iovec iov = { .iov_base = (void *) (uintptr_t) packet, .iov_len = len };
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof control,
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &passed, sizeof passed);
        return sendmsg(fd, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int handover_send(int runs_fd, ino_t holder, int agent_fd, const char *packet, size_t len,
                  uint64_t deadline) {
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        char name[24], answer;
        int r;

        if (fd < 0)
                return -errno;
        socket_name(holder, name);
        socket_address(runs_fd, name, &address);
        if (connect(fd, (const struct sockaddr *) &address, sizeof address) < 0)
                return errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN ? -EAGAIN : -errno;
        r = send_with_fd(fd, agent_fd, packet, len);
        if (r < 0)
                return r == -EPIPE || r == -ECONNRESET ? -EAGAIN : r;
        /* Without this answer the live runner has ended with our connection still in its queue. */
        r = fd_wait(fd, POLLIN, deadline);
        if (r <= 0)
                return r < 0 ? r : -ETIMEDOUT;
        return recv(fd, &answer, 1, MSG_DONTWAIT) == 1 ? 0 : -EAGAIN;
}

int handover_accept(int listen_fd) {
        int fd CLEANUP_FD = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        uid_t uid;
        int r;

        if (fd < 0)
                return errno == ECONNABORTED || errno == EINTR ? -EAGAIN : -errno;
        r = peer_uid(fd, &uid);
        if (r < 0)
                return r;
        if (uid != 0 && uid != geteuid())
                return -EPERM;
        return TAKE_FD(fd);
}

int handover_receive(int fd, char *buf, size_t *ret_len, int *ret_agent) {
        int agent CLEANUP_FD = -1;
        size_t len;
        int r = packet_receive(fd, buf, &len, &agent);

        if (r <= 0)
                return r;
        if (agent < 0)
                return -EBADMSG;
        if (send(fd, "1", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return errno == EPIPE ? 0 : -errno;
        *ret_len = len;
        *ret_agent = TAKE_FD(agent);
        return 1;
}
