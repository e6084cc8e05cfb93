/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/reboot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "runner/run.h"
#include "runner/trust.h"

/* A copy of a single-threaded process. What it says goes where we say ours. */
static _Noreturn void become_command(const char *path, char *const *argv, char *const *environment, int error_fd) {
        sigset_t none;
        int error;

        (void) setsid();
        (void) umask(022);
        (void) signal(SIGPIPE, SIG_DFL);
        (void) signal(SIGHUP, SIG_DFL);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) !chdir("/");
        if (dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
                (void) execve(path, argv, environment);
        error = errno;
        (void) !write(error_fd, &error, sizeof error);
        _exit(127);
}

static int start(const char *path, char *const *argv, char *const *environment, pid_t *ret) {
        int p[2], error = 0;
        ssize_t n;
        pid_t pid;

        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        pid = fork();
        if (pid == 0)
                become_command(path, argv, environment, p[1]);
        error = pid < 0 ? errno : 0;
        (void) close(p[1]);
        do
                n = pid < 0 ? 0 : read(p[0], &error, sizeof error);
        while (n < 0 && errno == EINTR);
        (void) close(p[0]);
        if (error != 0) {
                if (pid > 0)
                        (void) waitpid(pid, NULL, 0);
                return -error;
        }
        *ret = pid;
        return 0;
}

int reboot_start(const Config *config, uid_t uid, pid_t *ret, Error *e) {
        char *path CLEANUP_FREE = NULL, *search CLEANUP_FREE = NULL;
        char language[] = "LANG=C.UTF-8";
        int r = trust_find_program(run_search_path(config), config->reboot_command[0], uid, &path, e);

        if (r < 0)
                return error_wrap(e, "handlers.reboot_command");
        if (asprintf(&search, "PATH=%s", run_search_path(config)) < 0) {
                search = NULL;
                return error_errno(e, ENOMEM, "handlers.reboot_command");
        }
        char *const environment[] = { search, language, NULL };
        r = start(path, config->reboot_command, environment, ret);
        return r < 0 ? error_errno(e, -r, "handlers.reboot_command: cannot execute %s", path) : 0;
}
