/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobsctl: the operator's tool on the device. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "build-config.h"
#include "ctl/ctl.h"

#define DEFAULT_CONFIG "/etc/iot-jobs/agent.conf"

typedef enum Verb {
        VERB_RUN = 1 << 0,
        VERB_HANDLERS = 1 << 1,
        VERB_SIGN = 1 << 2,
        VERB_ALL = VERB_RUN | VERB_HANDLERS | VERB_SIGN,
} Verb;

static const char usage[] =
        "usage: iot-jobsctl run [--config FILE] [--json] [--set NAME=VALUE]... DOCUMENT.json\n"
        "       iot-jobsctl handlers [--config FILE] [--json]\n"
        "       iot-jobsctl sign --key FILE [--kid NAME] [--thing NAME] [--job ID] [--expires TIME] DOCUMENT.json\n"
        "       iot-jobsctl --help | --version\n"
        "\n"
        "  run       execute a job document on this device, without any cloud and without the agent\n"
        "  handlers  list what would run, and what would be refused and why\n"
        "  sign      print the signed form of a job document\n"
        "\n"
        "  --config FILE     configuration (default: " DEFAULT_CONFIG ")\n"
        "  --json            the result as JSON on standard output\n"
        "  --set NAME=VALUE  value of the document's ${aws:iot:parameter:NAME}\n"
        "  --key FILE        private key, PEM: Ed25519 or P-256\n"
        "  --kid NAME        name of the public key on the devices, without its suffix\n"
        "  --thing, --job    for this thing, this job only\n"
        "  --expires TIME    epoch seconds, or +SECONDS from now\n"
        "\n"
        "Exit codes: 0 ok (run: SUCCEEDED), 1 failed, 2 usage.\n";

static const struct Option {
        const char *name;
        char letter;
        unsigned verbs;
} options[] = {
        { "config", 'c', VERB_RUN | VERB_HANDLERS }, { "json", 'j', VERB_ALL }, { "set", 's', VERB_RUN }, { "key", 'k', VERB_SIGN },
        { "kid", 'i', VERB_SIGN }, { "thing", 't', VERB_SIGN }, { "job", 'b', VERB_SIGN }, { "expires", 'e', VERB_SIGN },
};

static int bad_usage(const char *what, const char *which) {
        (void) fprintf(stderr, "iot-jobsctl: %s%s\n%s", what, which, usage);
        return -EINVAL;
}

static int take_parameter(CtlOptions *o, char *assignment) {
        char *equals = strchr(assignment, '=');

        if (!equals || equals == assignment)
                return bad_usage("--set: NAME=VALUE expected, not ", assignment);
        if (o->n_set == CTL_PARAMETERS_MAX)
                return bad_usage("--set: too many parameters, from ", assignment);
        *equals = '\0';
        o->set[o->n_set++] = (DocumentParameter){ assignment, equals + 1 };
        return 0;
}

/* 0 = go on, 1 = done. */
static int take_option(CtlOptions *o, int letter) {
        switch (letter) {
        case 'c':
                o->config_path = optarg;
                return 0;
        case 'j':
                o->json = true;
                return 0;
        case 's':
                return take_parameter(o, optarg);
        case 'k':
                o->key = optarg;
                return 0;
        case 'i':
                o->kid = optarg;
                return 0;
        case 't':
                o->thing = optarg;
                return 0;
        case 'b':
                o->job = optarg;
                return 0;
        case 'e':
                o->expires = optarg;
                return 0;
        case 'v':
                (void) puts("iot-jobsctl " IOT_JOBS_VERSION);
                return 1;
        case 'h':
                (void) fputs(usage, stdout);
                return 1;
        default:
                (void) fputs(usage, stderr);
                return -EINVAL;
        }
}

static int parse_verb(const char *name, Verb *ret) {
        if (strcmp(name, "run") == 0)
                *ret = VERB_RUN;
        else if (strcmp(name, "handlers") == 0)
                *ret = VERB_HANDLERS;
        else if (strcmp(name, "sign") == 0)
                *ret = VERB_SIGN;
        else
                return bad_usage("no such command: ", name);
        return 0;
}

/* Each option that was given belongs to the verb. */
static int check_options(const bool *given, Verb verb) {
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (given[i] && !(options[i].verbs & verb))
                        return bad_usage("this command does not know the option --", options[i].name);
        return 0;
}

static int parse_words(int argc, char *argv[], Verb verb, CtlOptions *o) {
        int wanted = verb == VERB_HANDLERS ? 1 : 2;

        if (argc < wanted)
                return bad_usage("a document is missing behind ", argv[0]);
        if (argc > wanted)
                return bad_usage("unexpected argument ", argv[wanted]);
        o->document = wanted == 2 ? argv[1] : NULL;
        if (verb == VERB_SIGN && !o->key)
                return bad_usage("sign: ", "--key is missing");
        return 0;
}

/* 0 = go on, 1 = done, negative = bad usage, said. */
static int parse(int argc, char *argv[], CtlOptions *o, Verb *ret_verb) {
        struct option table[ELEMENTSOF(options) + 3] = {};
        bool given[ELEMENTSOF(options)] = {};
        int c, at = -1, r;

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                table[i] = (struct option){ options[i].name, options[i].letter == 'j' ? no_argument : required_argument, NULL,
                                            options[i].letter };
        table[ELEMENTSOF(options)] = (struct option){ "help", no_argument, NULL, 'h' };
        table[ELEMENTSOF(options) + 1] = (struct option){ "version", no_argument, NULL, 'v' };
        while ((c = getopt_long(argc, argv, "", table, &at)) >= 0) {
                r = take_option(o, c);
                if (r != 0)
                        return r;
                if (at >= 0 && (size_t) at < ELEMENTSOF(options))
                        given[at] = true;
        }
        if (optind == argc)
                return bad_usage("a command is missing", "");
        r = parse_verb(argv[optind], ret_verb);
        if (r == 0)
                r = check_options(given, *ret_verb);
        return r < 0 ? r : parse_words(argc - optind, argv + optind, *ret_verb, o);
}

static void report(ConfigSeverity severity, const char *text, UNUSED void *userdata) {
        (void) fprintf(stderr, "iot-jobsctl: %s%s\n", severity == CONFIG_WARNING ? "warning: " : "", text);
}

int main(int argc, char *argv[]) {
        CtlOptions o = { .config_path = DEFAULT_CONFIG };
        Config *config CLEANUP(config_free) = NULL;
        Verb verb = VERB_HANDLERS;
        int r = parse(argc, argv, &o, &verb);

        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        json_object_seed((size_t) random_u64() | 1);
        log_open("iot-jobsctl", LOG_TARGET_STDERR);
        if (verb == VERB_SIGN)
                return ctl_sign(&o);
        if (config_load(o.config_path, report, NULL, &config) < 0)
                return CTL_EXIT_FAILED;
        return verb == VERB_RUN ? ctl_run(&o, config) : ctl_handlers(&o, config);
}
