/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/policy.h"
#include "build-config.h"

enum { EXIT_USAGE = 2, EXIT_CONFIG = 78 };

typedef struct Arguments {
        const char *config;
        const char *log;  /* as given, or NULL */
        LogTarget target;
        bool check_config, print_policy;
} Arguments;

static void print_help(FILE *to) {
        (void) fputs("Usage: iot-jobs-agent [OPTION]...\n"
                     "Run AWS IoT Jobs on this device: hand each job document to a handler script and report what it did.\n"
                     "\n"
                     "  --config FILE         configuration (default /etc/iot-jobs/agent.conf)\n"
                     "  --check-config        say every problem of the configuration and exit: 0 = none, 1 = some\n"
                     "  --print-policy        print the smallest AWS IoT policy with which this configuration works, as JSON\n"
                     "  --log=journal|stderr  where log lines go (default: the journal if stderr is connected to it)\n"
                     "  --version             print the version\n"
                     "  --help                print this\n"
                     "\n"
                     "Exit codes: 0 stopped on request, 1 failure, 2 usage, 78 configuration.\n"
                     "See iot-jobs-agent(8), iot-jobs-agent.conf(5), iot-jobs-handlers(7).\n",
                     to);
}

/* 0 = go on, 1 = done (help, version), -EINVAL = usage. */
static int parse_arguments(int argc, char **argv, Arguments *ret) {
        enum { ARG_CONFIG = 256, ARG_CHECK, ARG_POLICY, ARG_LOG, ARG_VERSION, ARG_HELP };
        static const struct option options[] = {
                { "config", required_argument, NULL, ARG_CONFIG }, { "check-config", no_argument, NULL, ARG_CHECK },
                { "print-policy", no_argument, NULL, ARG_POLICY }, { "log", required_argument, NULL, ARG_LOG },
                { "version", no_argument, NULL, ARG_VERSION },     { "help", no_argument, NULL, ARG_HELP },
                {},
        };

        *ret = (Arguments) { .config = "/etc/iot-jobs/agent.conf", .target = LOG_TARGET_AUTO };
        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                switch (c) {
                case ARG_CONFIG:
                        ret->config = optarg;
                        break;
                case ARG_CHECK:
                        ret->check_config = true;
                        break;
                case ARG_POLICY:
                        ret->print_policy = true;
                        break;
                case ARG_LOG:
                        ret->log = optarg;
                        if (log_target_parse(optarg, &ret->target) < 0) {
                                (void) fprintf(stderr, "iot-jobs-agent: --log=%s: journal or stderr expected\n", optarg);
                                return -EINVAL;
                        }
                        break;
                case ARG_VERSION:
                        (void) puts("iot-jobs-agent " IOT_JOBS_VERSION);
                        return 1;
                case ARG_HELP:
                        print_help(stdout);
                        return 1;
                default:
                        (void) fputs("Try 'iot-jobs-agent --help'.\n", stderr);
                        return -EINVAL;
                }
        }
        if (optind < argc) {
                (void) fprintf(stderr, "iot-jobs-agent: unexpected argument %s\nTry 'iot-jobs-agent --help'.\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

static void say_problem(ConfigSeverity severity, const char *text, void *userdata) {
        bool *bad = userdata;

        (void) fprintf(stderr, "%s: %s\n", severity == CONFIG_ERROR ? "error" : "warning", text);
        if (severity == CONFIG_ERROR)
                *bad = true;
}

/* What only the library can tell: do the settings go together, and the files with each other? */
static int check_connection(const char *path) {
        Config *c CLEANUP(config_free) = NULL;
        Cloud *cloud CLEANUP(cloud_free) = NULL;
        Error e = {};
        int r = config_load(path, NULL, NULL, &c);

        if (r < 0)
                return r;
        r = cloud_new(c, &(CloudHandlers) {}, NULL, &cloud, &e);
        if (r == 0)
                r = cloud_check(cloud, &e);
        if (r < 0)
                (void) fprintf(stderr, "error: %s: %s\n", path, e.text);
        return r;
}

static int check_config(const char *path) {
        bool bad = false;

        if (config_check(path, say_problem, &bad) < 0 || check_connection(path) < 0)
                bad = true;
        if (!bad)
                (void) printf("%s: no problem found\n", path);
        return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The policy alone on stdout, so that it can be piped into "aws iot create-policy"; what is left to do on stderr. */
static int print_policy(const char *path) {
        Config *c CLEANUP(config_free) = NULL;
        Buf text CLEANUP_BUF = {};
        bool bad = false;
        int r;

        if (config_load(path, say_problem, &bad, &c) < 0)
                return EXIT_CONFIG;
        r = policy_format(&(PolicyScope) { .region = c->region, .client_id = c->client_id, .thing = c->thing_name }, &text);
        if (r < 0) {
                (void) fprintf(stderr, "iot-jobs-agent: %s\n", strerrordesc_np(-r));
                return EXIT_FAILURE;
        }
        (void) fputs(text.data, stdout);
        (void) fprintf(stderr, "Replace ACCOUNT by the number of the AWS account%s.\n",
                       c->region ? "" : ", and REGION by the region: neither credentials.region nor the endpoint tells it");
        if (r > 0)
                (void) fprintf(stderr,
                               "With a thing name this long the exact topics would not fit into the %d characters of a policy: "
                               "every Jobs topic of the thing may be subscribed.\n",
                               POLICY_SIZE_MAX);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Before any thread exists: the loop takes these through a signalfd, and no other thread may get them. */
static void block_signals(void) {
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGHUP);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) signal(SIGPIPE, SIG_IGN);
}

static int run(const Arguments *args) {
        char path[PATH_MAX];
        Config *config = NULL;
        Agent *a CLEANUP(agent_free) = NULL;
        Error e = {};
        int r;

        if (!realpath(args->config, path)) { /* runners get it too, wherever they run */
                log_error("%s: %s", args->config, strerrordesc_np(errno));
                return EXIT_CONFIG;
        }
        if (agent_load_config(path, &config) < 0)
                return EXIT_CONFIG;
        log_set_level(config->log_level);
        r = agent_new(config, path, args->log, &a, &e);
        if (r < 0) {
                log_error("%s", e.text);
                return EXIT_FAILURE;
        }
        r = agent_run(a);
        if (r < 0)
                log_error("stopped by a failure: %s", strerrordesc_np(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        Arguments args;
        int r = parse_arguments(argc, argv, &args);

        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        if (args.check_config)
                return check_config(args.config);
        if (args.print_policy)
                return print_policy(args.config);
        (void) mallopt(M_ARENA_MAX, 1); /* a second arena for the network thread would cost more than the lock */
        log_open("iot-jobs-agent", args.target);
        block_signals();
        return run(&args);
}
