/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/channel.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "runner/bounds.h"
#include "runner/conn.h"
#include "runner/serve.h"

/* 1 and *ret_fd; 0 = the agent has let go; negative errno. Waits: there is nothing else to do. */
static int receive_connection(int channel, int *ret_fd) {
        char byte[1];
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = byte, .iov_len = sizeof byte };
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
        };
        const struct cmsghdr *c;
        ssize_t n;

        do
                n = recvmsg(channel, &mh, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (n == 0)
                return 0;
        c = CMSG_FIRSTHDR(&mh);
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                return -EBADMSG;
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
        return 1;
}

static bool has_children(void) {
        pid_t p;

        do
                p = waitpid(-1, NULL, WNOHANG);
        while (p > 0 || (p < 0 && errno == EINTR));
        return p == 0;
}

/* As if newly started: a run blocks the signals it waits for. */
static bool make_free(int channel) {
        sigset_t none;

        (void) sigemptyset(&none);
        return !has_children() && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
                send(channel, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

int channel_serve(int channel, const char *config_file) {
        for (int i = 0; i < RUNNER_RUNS_MAX; i++) {
                int fd, r = receive_connection(channel, &fd);

                if (r == 0)
                        break;
                if (r < 0) {
                        log_error("cannot take a connection from the agent: %s", strerrordesc_np(-r));
                        return EXIT_FAILURE;
                }
                r = serve(fd, config_file);
                if (r != EXIT_SUCCESS)
                        return r;
                if (i + 1 == RUNNER_RUNS_MAX || !make_free(channel))
                        break;
        }
        return EXIT_SUCCESS;
}
