/* SPDX-License-Identifier: Apache-2.0 */
/* Stands for iot-jobs-verify, beside test-signed: behaves as the name of the thing says. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *option(int argc, char *argv[], const char *name) {
        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], name) == 0)
                        return argv[i + 1];
        return "";
}

/* What may this process do? As the payload of a verified document. */
static int confess(int argc, char *argv[]) {
        struct rlimit core, file, open;
        char text[512], input[64];
        ssize_t n = read(0, input, sizeof input - 1);
        int fds = 0, len;

        input[n > 0 ? n : 0] = '\0';
        for (int fd = 0; fd < 64; fd++)
                fds += dup2(fd, fd) == fd;
        (void) getrlimit(RLIMIT_CORE, &core);
        (void) getrlimit(RLIMIT_FSIZE, &file);
        (void) getrlimit(RLIMIT_NOFILE, &open);
        len = snprintf(text, sizeof text, "%u %u %d %d %d %d %d %d %s %s %s %d", (unsigned) getuid(), (unsigned) getegid(), getgroups(0, NULL),
                       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), (int) core.rlim_cur, (int) file.rlim_cur, (int) open.rlim_cur, fds,
                       input, option(argc, argv, "--job"), option(argc, argv, "--owner"), argc);
        (void) printf("verified %d k\n%s", len, text);
        return 0;
}

int main(int argc, char *argv[]) {
        const char *what = option(argc, argv, "--thing");

        (void) signal(SIGPIPE, SIG_DFL);
        if (strcmp(what, "confess") == 0)
                return confess(argc, argv);
        if (strcmp(what, "hang") == 0)
                for (;;)
                        (void) pause();
        if (strcmp(what, "flood") == 0)
                for (;;)
                        (void) puts("verified 2 k\n{}");
        if (strcmp(what, "crash") == 0) {
                (void) fputs("verified 2 k\n{}", stdout);
                (void) fflush(stdout);
                (void) raise(SIGKILL);
        }
        if (strcmp(what, "liar") == 0) /* an exit code that says something else */
                (void) fputs("verified 2 k\n{}", stdout);
        if (strcmp(what, "short") == 0) {
                (void) fputs("verified 3 k\n{}", stdout);
                return 0;
        }
        if (strcmp(what, "refused") == 0)
                (void) fputs("refused jws.signature: wrong\n", stdout);
        if (strcmp(what, "unable") == 0) {
                (void) fputs("unable no memory\n", stdout);
                return 3;
        }
        return strcmp(what, "silent") == 0 ? 0 : 1;
}
