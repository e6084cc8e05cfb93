/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket from this end: find the agent, ask, take the answers. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "ctl/agent.h"
#include "runner/conn.h"

#define CONTROL_DIRECTORY "/run/iot-jobs"
#define CONFIG_DIRECTORY  "/etc/iot-jobs"
#define AGENT_DIRECTORY   "/run/iot-jobs-agent"

/* Through a descriptor of the directory: its path may be longer than a socket's address. */
static int connect_at(const char *directory, const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int directory_fd CLEANUP_FD = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int fd CLEANUP_FD = -1;

        if (directory_fd < 0)
                return -errno;
        if ((size_t) snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory_fd, name) >=
            sizeof address.sun_path)
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof address) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* Keep the error that says most: that a socket is there but may not be used is more than that another one is not. */
static bool says_more(int r, int than) {
        return than == 0 || than == -ENOENT || (than == -ECONNREFUSED && r == -EACCES);
}

static int try_socket(const char *directory, const char *name, int *error, char where[static PATH_MAX]) {
        int fd = connect_at(directory, name);

        if (fd < 0 && says_more(fd, *error)) {
                *error = fd;
                (void) snprintf(where, PATH_MAX, "%s/%s", directory, name);
        }
        return fd;
}

/* The unit's name, as in iot-jobs-agent@NAME: that of the configuration without its suffix. */
static void unit_name(const char *path, char ret[static NAME_MAX + 1]) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        size_t n = strlen(name);

        if (n > 5 && strcmp(name + n - 5, ".conf") == 0)
                n -= 5;
        (void) snprintf(ret, NAME_MAX + 1, "%.*s", (int) MIN_OF(n, (size_t) NAME_MAX), name);
}

static int try_unit(const char *directory, const char *unit, int *error, char where[static PATH_MAX]) {
        char name[NAME_MAX + 16];

        (void) snprintf(name, sizeof name, "control/%s.sock", unit);
        return try_socket(directory, name, error, where);
}

/* What the configuration says: it may have a runtime directory of its own, and an agent that systemd did not start. */
static int try_config(const char *path, bool must_be_good, int *error, char where[static PATH_MAX]) {
        Config *config CLEANUP(config_free) = NULL;
        char unit[NAME_MAX + 1], name[CONTROL_NAME_MAX];
        int fd;

        if (config_load(path, must_be_good ? ctl_report : NULL, NULL, &config) < 0)
                return must_be_good ? -EINVAL : -ENOENT;
        unit_name(path, unit);
        fd = try_unit(config->runtime_directory, unit, error, where);
        if (fd >= 0)
                return fd;
        control_socket_name(config->thing_name, name);
        fd = try_socket(config->runtime_directory, name, error, where);
        /* Where the socket unit failed, the agent has made one in the directory that its own unit gives it. */
        return fd >= 0 ? fd : try_socket(AGENT_DIRECTORY, name, error, where);
}

static int unreachable(const char *unit, int error, const char *where) {
        bool is_default = strcmp(unit, "agent") == 0;

        if (error == -EACCES || error == -EPERM)
                (void) ctl_fail("may not connect to the agent at %s: root may, and who its owner, group and mode let in", where);
        else
                (void) ctl_fail("cannot reach the agent at %s: %s. Is it running? See: systemctl status iot-jobs-agent%s%s", where,
                                strerrordesc_np(-error), is_default ? "" : "@", is_default ? "" : unit);
        return -EHOSTDOWN;
}

int agent_connect(const CtlOptions *o, bool quiet, int *ret_fd) {
        char unit[NAME_MAX + 1], path[PATH_MAX], where[PATH_MAX] = "";
        int error = 0, fd;

        if (o->config_path) {
                unit_name(o->config_path, unit);
                fd = try_config(o->config_path, true, &error, where);
                if (fd == -EINVAL && error == 0)
                        return fd;
        } else {
                (void) snprintf(unit, sizeof unit, "%s", o->name ? o->name : "agent");
                (void) snprintf(path, sizeof path, CONFIG_DIRECTORY "/%s.conf", unit);
                fd = try_unit(CONTROL_DIRECTORY, unit, &error, where);
                if (fd < 0)
                        fd = try_config(path, false, &error, where);
        }
        if (fd < 0)
                return quiet ? -EHOSTDOWN : unreachable(unit, error, where);
        *ret_fd = fd;
        return 0;
}

int agent_send(int fd, const ControlRequest *q) {
        Buf b CLEANUP_BUF = {};
        int r = control_request_encode(q, &b);

        if (r < 0)
                return r;
        return send(fd, b.data, b.len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int agent_receive(int fd, Buf *packet, ControlReply *ret) {
        char *data CLEANUP_FREE = malloc(CONTROL_REPLY_MAX + 1);
        Error e = {};
        ssize_t n;
        int r;

        if (!data)
                return -ENOMEM;
        do
                n = recv(fd, data, CONTROL_REPLY_MAX + 1, 0);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return n < 0 ? -errno : -ECONNRESET;
        r = control_reply_decode(data, (size_t) n, ret, &e);
        if (r < 0) {
                (void) ctl_fail("the agent speaks another language: %s", e.text);
                return r;
        }
        buf_clear(packet);
        buf_append(packet, data, (size_t) n);
        return buf_error(packet);
}

int agent_answer(int fd, Buf *packet, ControlReply *ret) {
        uint64_t until = clock_boottime_usec() + (CONTROL_ASK_SEC + 5) * USEC_PER_SEC;
        int r = fd_wait(fd, POLLIN, until);

        if (r > 0)
                r = agent_receive(fd, packet, ret);
        else if (r == 0)
                r = -ETIMEDOUT;
        if (r == -ETIMEDOUT)
                (void) ctl_fail("the agent does not answer");
        else if (r < 0 && r != -EBADMSG)
                (void) ctl_fail("the agent went away: %s", strerrordesc_np(-r));
        return r;
}

int agent_exit(int r) {
        return r >= 0 ? CTL_EXIT_OK : r == -EINVAL || r == -EBADMSG || r == -ENOMEM ? CTL_EXIT_FAILED : CTL_EXIT_UNREACHABLE;
}

int agent_ask(const CtlOptions *o, const ControlRequest *q, Buf *packet, ControlReply *ret) {
        int fd CLEANUP_FD = -1;
        int r = agent_connect(o, false, &fd);

        if (r < 0)
                return r;
        r = agent_send(fd, q);
        if (r < 0) {
                (void) ctl_fail("the agent went away: %s", strerrordesc_np(-r));
                return r;
        }
        return agent_answer(fd, packet, ret);
}
