/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Bind in a private directory, keep a descriptor of the socket's inode, and remove both names again. */
static int bind_nameless(int fd, const char *parent, int *ret_place) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char dir[sizeof address.sun_path - 2];
        int place = -1, n, r = 0;

        n = snprintf(dir, sizeof dir, "%s/iot-jobs-XXXXXX", parent);
        if (n < 0 || (size_t) n >= sizeof dir)
                return -ENAMETOOLONG;
        if (!mkdtemp(dir)) /* mode 0700 */
                return -errno;
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/s", dir);
        if (bind(fd, (const struct sockaddr *) &address, sizeof address) < 0) {
                r = -errno;
        } else {
                place = open(address.sun_path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
                if (place < 0)
                        r = -errno;
                (void) unlink(address.sun_path);
        }
        (void) rmdir(dir);
        if (r == 0)
                *ret_place = place;
        return r;
}

static int bind_somewhere(int fd, int *ret_place, Error *e) {
        /* Memory first: a full disk must not keep a device offline. */
        const char *runtime = secure_getenv("RUNTIME_DIRECTORY");
        const char *places[] = { runtime && !strchr(runtime, ':') ? runtime : NULL, "/dev/shm", "/run",
                                 "/tmp", "/var/tmp" };
        int r = -ENOENT;

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                if (!places[i])
                        continue;
                r = bind_nameless(fd, places[i], ret_place);
                if (r == 0)
                        return 0;
        }
        return error_errno(e, -r,
                           "no directory to make a private socket in ($RUNTIME_DIRECTORY, /dev/shm, /run, "
                           "/tmp, /var/tmp)");
}

int tunnel_open(Tunnel *t, Error *e) {
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int place CLEANUP_FD = -1;
        int r;

        if (fd < 0)
                return error_errno(e, errno, "private socket");
        r = bind_somewhere(fd, &place, e);
        if (r < 0)
                return r;
        if (listen(fd, 1) < 0)
                return error_errno(e, errno, "private socket");
        t->listener = TAKE_FD(fd);
        t->place = TAKE_FD(place);
        return 0;
}

void tunnel_close(Tunnel *t) {
        close_fd_p(&t->listener);
        close_fd_p(&t->place);
        *t = TUNNEL_CLOSED;
}

void tunnel_path(const Tunnel *t, char ret[static TUNNEL_PATH_MAX]) {
        (void) snprintf(ret, TUNNEL_PATH_MAX, "/proc/self/fd/%d", t->place);
}

int tunnel_accept(const Tunnel *t, Error *e) {
        int fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return error_errno(e, errno, "private socket");
        return fd;
}
