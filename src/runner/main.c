/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobs-runner: carries out one run, for the agent on the other end of its standard input. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "build-config.h"
#include "runner/channel.h"
#include "runner/serve.h"

enum { EXIT_USAGE = 2, LISTEN_FD = 3 };

typedef struct Options {
        const char *config;
        LogTarget log;
        bool several;
} Options;

static const char usage[] =
        "usage: iot-jobs-runner [--config FILE] [--log=journal|stderr] [--several] [--version] [--help]\n"
        "Started by iot-jobs-agent or by systemd with the agent's connection as standard input, or with --several a\n"
        "channel by which connections come; see iot-jobs-agent(8).\n";

/* 0 = go on, 1 = done, negative = bad usage. */
static int parse_options(int argc, char *argv[], Options *ret) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "log", required_argument, NULL, 'l' },
                { "several", no_argument, NULL, 's' },
                { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'c':
                        ret->config = optarg;
                        break;
                case 'l':
                        if (log_target_parse(optarg, &ret->log) < 0) {
                                (void) fprintf(stderr,
                                               "iot-jobs-runner: --log=%s: journal or stderr expected\n",
                                               optarg);
                                return -EINVAL;
                        }
                        break;
                case 's':
                        ret->several = true;
                        break;
                case 'v':
                        (void) puts("iot-jobs-runner " IOT_JOBS_VERSION);
                        return 1;
                case 'h':
                        (void) fputs(usage, stdout);
                        return 1;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "iot-jobs-runner: unexpected argument \"%s\"\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

static bool is_packet_socket(int fd) {
        int type = 0;
        socklen_t len = sizeof type;

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

/* Standard input, or the descriptor of socket activation. */
static int find_connection(void) {
        const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

        if (is_packet_socket(STDIN_FILENO))
                return STDIN_FILENO;
        if (pid && n && strtol(pid, NULL, 10) == (long) getpid() && strcmp(n, "1") == 0 &&
            is_packet_socket(LISTEN_FD))
                return LISTEN_FD;
        return -ENOTSOCK;
}

/* Move the connection out of the way of 0–2: no copy of it may stay open there (systemd connects standard output to it as
 * well), or the agent would not see it end. Nothing that was inherited stays. */
static int take_connection(int from) {
        int fd = fcntl(from, F_DUPFD_CLOEXEC, LISTEN_FD + 1);
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
        struct stat connection, standard_error;

        if (fd < 0 || null_fd < 0)
                return -errno;
        if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
                return -errno;
        if (fstat(fd, &connection) < 0)
                return -errno;
        if (fstat(STDERR_FILENO, &standard_error) < 0 ||
            (connection.st_ino == standard_error.st_ino && connection.st_dev == standard_error.st_dev))
                if (dup2(null_fd, STDERR_FILENO) < 0)
                        return -errno;
        if (dup3(fd, LISTEN_FD, O_CLOEXEC) < 0)
                return -errno;
        (void) close_range(LISTEN_FD + 1, ~0U, 0);
        return LISTEN_FD;
}

int main(int argc, char *argv[]) {
        Options options = { .log = LOG_TARGET_AUTO };
        int r = parse_options(argc, argv, &options);

        if (r > 0)
                return EXIT_SUCCESS;
        if (r < 0) {
                (void) fputs(usage, stderr);
                return EXIT_USAGE;
        }
        /* A closed standard error must not kill, a lost terminal must not end, what outlives the agent. */
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);
        (void) umask(077);
        /* Or the library would open and read /dev/urandom for it. */
        json_object_seed((size_t) random_u64() | 1);
        if (getsid(0) != getpid())
                (void) setsid();
        r = find_connection();
        if (r >= 0)
                r = take_connection(r);
        /* Behind take_connection(), which closes what is not known. */
        log_open("iot-jobs-runner", options.log);
        if (r == -ENOTSOCK) {
                log_error("standard input is no sequential-packet socket: this program is started by "
                          "iot-jobs-agent or systemd");
                return EXIT_USAGE;
        }
        if (r < 0) {
                log_error("cannot take the connection to the agent: %s", strerrordesc_np(-r));
                return EXIT_FAILURE;
        }
        return options.several ? channel_serve(r, options.config) : serve(r, options.config);
}
