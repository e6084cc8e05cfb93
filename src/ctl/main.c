/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobsctl: the operator's tool on the device. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "build-config.h"
#include "ctl/ctl.h"
#include "wire/wire.h"

#define CONFIG_DIRECTORY "/etc/iot-jobs"

typedef enum Verb {
        VERB_STATUS = 1 << 0,
        VERB_LIST = 1 << 1,
        VERB_SHOW = 1 << 2,
        VERB_HISTORY = 1 << 3,
        VERB_WATCH = 1 << 4,
        VERB_CANCEL = 1 << 5,
        VERB_PAUSE = 1 << 6,
        VERB_RESUME = 1 << 7,
        VERB_RUN = 1 << 8,
        VERB_HANDLERS = 1 << 9,
        VERB_SIGN = 1 << 10,
        VERB_ALL = (1 << 11) - 1,
} Verb;

static const struct {
        const char *name;
        Verb verb;
        const char *word; /* that follows it */
} verbs[] = {
        { "status", VERB_STATUS, NULL },     { "list", VERB_LIST, NULL },   { "show", VERB_SHOW, "job" },
        { "history", VERB_HISTORY, NULL },   { "watch", VERB_WATCH, NULL }, { "cancel", VERB_CANCEL, "job" },
        { "pause", VERB_PAUSE, NULL },       { "resume", VERB_RESUME, NULL }, { "run", VERB_RUN, "document" },
        { "handlers", VERB_HANDLERS, NULL }, { "sign", VERB_SIGN, "document" },
};

static const char usage[] =
        "usage: iot-jobsctl status | list | watch | pause | resume [--name NAME] [--config FILE] [--json]\n"
        "       iot-jobsctl show | cancel [--execution N] [--name NAME] [--config FILE] [--json] JOB\n"
        "       iot-jobsctl history [--lines N] [--name NAME] [--config FILE] [--json]\n"
        "       iot-jobsctl run [--name NAME] [--config FILE] [--json] [--set NAME=VALUE]... DOCUMENT.json\n"
        "       iot-jobsctl handlers [--name NAME] [--config FILE] [--json]\n"
        "       iot-jobsctl sign --key FILE [--kid NAME] [--thing NAME] [--job ID] [--expires TIME] DOCUMENT.json\n"
        "       iot-jobsctl --help | --version\n"
        "\n"
        "Of the agent, as it runs:\n"
        "  status    connection and jobs\n"
        "  list      jobs that run or wait\n"
        "  show      one job in full, also one that has ended\n"
        "  history   executions that have ended, the newest last\n"
        "  watch     what goes on, as it goes on\n"
        "  cancel    stop a job on this device, and tell the cloud: REJECTED\n"
        "  pause     let what has begun end, and start nothing else, also after a reboot\n"
        "  resume    start jobs again\n"
        "\n"
        "Without the agent and the cloud:\n"
        "  run       execute a job document on this device\n"
        "  handlers  list what would run, and what would be refused and why\n"
        "  sign      print the signed form of a job document\n"
        "\n"
        "  --name NAME       the agent iot-jobs-agent@NAME, with " CONFIG_DIRECTORY "/NAME.conf\n"
        "  --config FILE     the agent with this configuration (default: " CONFIG_DIRECTORY "/agent.conf)\n"
        "  --json            the result as JSON on standard output\n"
        "  --execution N     this execution of the job\n"
        "  --lines N         the newest N only\n"
        "  --set NAME=VALUE  value of the document's ${aws:iot:parameter:NAME}\n"
        "  --key FILE        private key, PEM: Ed25519 or P-256\n"
        "  --kid NAME        name of the public key on the devices, without its suffix\n"
        "  --thing, --job    for this thing, this job only\n"
        "  --expires TIME    epoch seconds, or +SECONDS from now\n"
        "\n"
        "Exit codes: 0 ok (run: SUCCEEDED; cancel: REJECTED), 1 failed, 2 usage, 3 the agent cannot be reached.\n";

enum {
        OF_AGENT = VERB_STATUS | VERB_LIST | VERB_SHOW | VERB_HISTORY | VERB_WATCH | VERB_CANCEL | VERB_PAUSE | VERB_RESUME,
        OF_CONFIG = OF_AGENT | VERB_RUN | VERB_HANDLERS,
};

static const struct Option {
        const char *name;
        char letter;
        unsigned verbs;
} options[] = {
        { "config", 'c', OF_CONFIG }, { "name", 'a', OF_CONFIG },   { "json", 'j', VERB_ALL },
        { "lines", 'n', VERB_HISTORY }, { "execution", 'x', VERB_SHOW | VERB_CANCEL }, { "set", 's', VERB_RUN },
        { "key", 'k', VERB_SIGN },    { "kid", 'i', VERB_SIGN },    { "thing", 't', VERB_SIGN },
        { "job", 'b', VERB_SIGN },    { "expires", 'e', VERB_SIGN },
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

static int take_number(const char *option, int64_t max, int64_t *ret) {
        size_t n = strspn(optarg, "0123456789");
        int64_t v = n > 0 && n < 16 && optarg[n] == '\0' ? strtoll(optarg, NULL, 10) : 0;

        if (v < 1 || v > max)
                return bad_usage(option, optarg);
        *ret = v;
        return 0;
}

/* A part of file names. */
static int take_name(CtlOptions *o) {
        if (optarg[0] == '\0' || optarg[0] == '.' || strchr(optarg, '/') || strlen(optarg) > NAME_MAX - 16)
                return bad_usage("--name: the NAME of a unit iot-jobs-agent@NAME expected, not ", optarg);
        o->name = optarg;
        return 0;
}

/* 0 = go on, 1 = done. */
static int take_option(CtlOptions *o, int letter) {
        switch (letter) {
        case 'c':
                o->config_path = optarg;
                return 0;
        case 'a':
                return take_name(o);
        case 'j':
                o->json = true;
                return 0;
        case 'n':
                return take_number("--lines: a number from 1 on expected, not ", WIRE_HISTORY_MAX, &o->lines);
        case 'x':
                return take_number("--execution: a number from 1 on expected, not ", INT64_MAX, &o->execution);
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

static int parse_verb(const char *name, Verb *ret, const char **ret_word) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (strcmp(name, verbs[i].name) == 0) {
                        *ret = verbs[i].verb;
                        *ret_word = verbs[i].word;
                        return 0;
                }
        return bad_usage("no such command: ", name);
}

/* Each option that was given belongs to the verb. */
static int check_options(const bool *given, Verb verb) {
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (given[i] && !(options[i].verbs & verb))
                        return bad_usage("this command does not know the option --", options[i].name);
        return 0;
}

static int parse_words(int argc, char *argv[], Verb verb, const char *word, CtlOptions *o) {
        int wanted = word ? 2 : 1;
        char missing[64];

        (void) snprintf(missing, sizeof missing, "a %s is missing behind ", word ? word : "");
        if (argc < wanted)
                return bad_usage(missing, argv[0]);
        if (argc > wanted)
                return bad_usage("unexpected argument ", argv[wanted]);
        if (verb == VERB_SHOW || verb == VERB_CANCEL) {
                o->job_id = argv[1];
                if (!proto_job_id_valid(o->job_id))
                        return bad_usage("not a job's id: ", o->job_id);
        } else
                o->document = wanted == 2 ? argv[1] : NULL;
        if (verb == VERB_SIGN && !o->key)
                return bad_usage("sign: ", "--key is missing");
        if (o->name && o->config_path)
                return bad_usage("--name and --config: ", "one of them");
        return 0;
}

/* 0 = go on, 1 = done, negative = bad usage, said. */
static int parse(int argc, char *argv[], CtlOptions *o, Verb *ret_verb) {
        struct option table[ELEMENTSOF(options) + 3] = {};
        bool given[ELEMENTSOF(options)] = {};
        const char *word = NULL;
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
        r = parse_verb(argv[optind], ret_verb, &word);
        if (r == 0)
                r = check_options(given, *ret_verb);
        return r < 0 ? r : parse_words(argc - optind, argv + optind, *ret_verb, word, o);
}

void ctl_report(ConfigSeverity severity, const char *text, UNUSED void *userdata) {
        (void) fprintf(stderr, "iot-jobsctl: %s%s\n", severity == CONFIG_WARNING ? "warning: " : "", text);
}

static int run_with_config(const CtlOptions *o, Verb verb) {
        Config *config CLEANUP(config_free) = NULL;
        char path[PATH_MAX];

        (void) snprintf(path, sizeof path, CONFIG_DIRECTORY "/%s.conf", o->name ? o->name : "agent");
        if (config_load(o->config_path ? o->config_path : path, ctl_report, NULL, &config) < 0)
                return CTL_EXIT_FAILED;
        return verb == VERB_RUN ? ctl_run(o, config) : ctl_handlers(o, config);
}

static int run_verb(const CtlOptions *o, Verb verb) {
        switch (verb) {
        case VERB_STATUS:
                return ctl_status(o);
        case VERB_LIST:
                return ctl_list(o);
        case VERB_SHOW:
                return ctl_show(o);
        case VERB_HISTORY:
                return ctl_history(o);
        case VERB_WATCH:
                return ctl_watch(o);
        case VERB_CANCEL:
                return ctl_cancel(o);
        case VERB_PAUSE:
                return ctl_pause(o, true);
        case VERB_RESUME:
                return ctl_pause(o, false);
        case VERB_RUN:
        case VERB_HANDLERS:
                return run_with_config(o, verb);
        case VERB_SIGN:
                return ctl_sign(o);
        case VERB_ALL:
                break;
        }
        return CTL_EXIT_USAGE;
}

int main(int argc, char *argv[]) {
        CtlOptions o = {};
        Verb verb = VERB_STATUS;
        int r = parse(argc, argv, &o, &verb);

        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        json_object_seed((size_t) random_u64() | 1);
        log_open("iot-jobsctl", LOG_TARGET_STDERR);
        return run_verb(&o, verb);
}
