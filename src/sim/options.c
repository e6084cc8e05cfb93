/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "build-config.h"

static const char *const verb_names[VERB_COUNT] = {
        [VERB_SERVE] = "serve",   [VERB_CREATE] = "create",     [VERB_CANCEL] = "cancel",
        [VERB_DELETE] = "delete", [VERB_DESCRIBE] = "describe", [VERB_LIST] = "list",
        [VERB_WATCH] = "watch",
};

const char *verb_name(Verb v) {
        return verb_names[v];
}

static const char help_text[] =
        "usage: iot-jobs-sim [CONNECTION] serve [--time-scale N] [FAULTS]\n"
        "       iot-jobs-sim [CONNECTION] create --thing T... --job ID --document FILE\n"
        "                    [--parameter NAME=VALUE]... [--in-progress-timeout MIN] [--retries N] [--wait]\n"
        "       iot-jobs-sim [CONNECTION] cancel|delete --thing T --job ID [--force]\n"
        "       iot-jobs-sim [CONNECTION] describe --thing T --job ID\n"
        "       iot-jobs-sim [CONNECTION] list [--thing T]\n"
        "       iot-jobs-sim [CONNECTION] watch [--thing T] [--job ID]\n"
        "\n"
        "A local AWS IoT Jobs service on top of any MQTT broker. `serve` is the service; the other\n"
        "verbs are its operator's and reach it through the same broker.\n"
        "\n"
        "Connection, as of mosquitto_pub:\n"
        "  -h HOST            the broker (localhost)\n"
        "  -p PORT            its port (1883, with --cafile 8883)\n"
        "  --cafile FILE      trusted CA certificates, PEM: turns TLS on\n"
        "  --cert FILE, --key FILE\n"
        "                     client certificate and key, PEM\n"
        "  -u USER, -P PASSWORD\n"
        "\n"
        "serve: prints `ready` once subscribed, runs until SIGINT or SIGTERM.\n"
        "  --time-scale N     let both timers of an execution run N times faster (1)\n"
        "  --drop P           lose a request or a publication with probability P, 0 to 1\n"
        "  --duplicate P      publish twice with probability P\n"
        "  --delay MS         publish MS milliseconds later\n"
        "  --reject CODE:P    answer a request with this error with probability P, for example\n"
        "                     RequestThrottled:0.1; may be given more than once\n"
        "  --seed N           repeat the same faults\n"
        "  --verbose          log each request and publication\n"
        "\n"
        "Operator verbs:\n"
        "  --thing T          thing name; create takes several\n"
        "  --job ID           job id\n"
        "  --document FILE    the job document, a JSON object of at most 32768 bytes; - is standard input\n"
        "  --parameter NAME=VALUE\n"
        "                     replace ${aws:iot:parameter:NAME} in the document; a placeholder\n"
        "                     without a value becomes empty\n"
        "  --in-progress-timeout MIN\n"
        "                     TIMED_OUT that many minutes after the start, 1 to 10080\n"
        "  --retries N        run again after FAILED, and after TIMED_OUT if there is a timeout; 0 to 10\n"
        "  --wait             follow the execution to its end; exit 0 only on SUCCEEDED\n"
        "  --force            cancel or delete an execution in progress too\n"
        "  --json             print JSON, one value a line\n"
        "\n"
        "  --help, --version\n"
        "\n"
        "Exit codes: 0 done, 1 failed, 2 usage. Manual: iot-jobs-sim(1)\n";

/* Which verbs an option belongs to; connection options belong to all. */
#define FOR(verb) (1u << (verb))
enum {
        FOR_ALL = (1 << VERB_COUNT) - 1,
        FOR_OPERATOR = FOR_ALL & ~(1 << VERB_SERVE),
        FOR_JOB =
                FOR(VERB_CREATE) | FOR(VERB_CANCEL) | FOR(VERB_DELETE) | FOR(VERB_DESCRIBE) | FOR(VERB_WATCH),
        FOR_THING = FOR_OPERATOR,
};

enum {
        OPT_HELP = 256,
        OPT_VERSION,
        OPT_CAFILE,
        OPT_CERT,
        OPT_KEY,
        OPT_JSON,
        OPT_VERBOSE,
        OPT_THING,
        OPT_JOB,
        OPT_DOCUMENT,
        OPT_PARAMETER,
        OPT_TIMEOUT,
        OPT_RETRIES,
        OPT_WAIT,
        OPT_FORCE,
        OPT_TIME_SCALE,
        OPT_DROP,
        OPT_DUPLICATE,
        OPT_DELAY,
        OPT_REJECT,
        OPT_SEED,
};

static const struct option long_options[] = {
        { "help", no_argument, NULL, OPT_HELP },
        { "version", no_argument, NULL, OPT_VERSION },
        { "host", required_argument, NULL, 'h' },
        { "port", required_argument, NULL, 'p' },
        { "username", required_argument, NULL, 'u' },
        { "pw", required_argument, NULL, 'P' },
        { "cafile", required_argument, NULL, OPT_CAFILE },
        { "cert", required_argument, NULL, OPT_CERT },
        { "key", required_argument, NULL, OPT_KEY },
        { "json", no_argument, NULL, OPT_JSON },
        { "verbose", no_argument, NULL, OPT_VERBOSE },
        { "thing", required_argument, NULL, OPT_THING },
        { "job", required_argument, NULL, OPT_JOB },
        { "document", required_argument, NULL, OPT_DOCUMENT },
        { "parameter", required_argument, NULL, OPT_PARAMETER },
        { "in-progress-timeout", required_argument, NULL, OPT_TIMEOUT },
        { "retries", required_argument, NULL, OPT_RETRIES },
        { "wait", no_argument, NULL, OPT_WAIT },
        { "force", no_argument, NULL, OPT_FORCE },
        { "time-scale", required_argument, NULL, OPT_TIME_SCALE },
        { "drop", required_argument, NULL, OPT_DROP },
        { "duplicate", required_argument, NULL, OPT_DUPLICATE },
        { "delay", required_argument, NULL, OPT_DELAY },
        { "reject", required_argument, NULL, OPT_REJECT },
        { "seed", required_argument, NULL, OPT_SEED },
        {},
};

static unsigned verbs_of(int option) {
        switch (option) {
        case OPT_JSON:
                return FOR_OPERATOR;
        case OPT_THING:
                return FOR_THING;
        case OPT_JOB:
                return FOR_JOB;
        case OPT_DOCUMENT:
        case OPT_PARAMETER:
        case OPT_TIMEOUT:
        case OPT_RETRIES:
        case OPT_WAIT:
                return FOR(VERB_CREATE);
        case OPT_FORCE:
                return FOR(VERB_CANCEL) | FOR(VERB_DELETE);
        case OPT_VERBOSE:
        case OPT_TIME_SCALE:
        case OPT_DROP:
        case OPT_DUPLICATE:
        case OPT_DELAY:
        case OPT_REJECT:
        case OPT_SEED:
                return FOR(VERB_SERVE);
        default:
                return FOR_ALL;
        }
}

static const char *option_name(int option) {
        static char text[3] = "-?";

        if (option < 256) {
                text[1] = (char) option;
                return text;
        }
        for (size_t i = 0; long_options[i].name; i++)
                if (long_options[i].val == option)
                        return long_options[i].name;
        return "";
}

/* ---- values ---- */

static int parse_int(const char *text, const char *name, int64_t min, int64_t max, int64_t *ret, Error *e) {
        char *end;
        long long v;

        errno = 0;
        v = strtoll(text, &end, 10);
        if (errno || end == text || *end || v < min || v > max)
                return error_set(e, EINVAL, "%s: '%.80s': a whole number from %lld to %lld is needed", name,
                                 text, (long long) min, (long long) max);
        *ret = v;
        return 0;
}

static int parse_double(const char *text, const char *name, double min, double max, double *ret, Error *e) {
        char *end;
        double v = strtod(text, &end);

        if (end == text || *end || !isfinite(v) || v < min || v > max)
                return error_set(e, EINVAL, "%s: '%.80s': a number from %g to %g is needed", name, text, min,
                                 max);
        *ret = v;
        return 0;
}

static int parse_seed(const char *text, Options *o, Error *e) {
        char *end;

        errno = 0;
        o->seed = strtoull(text, &end, 0);
        if (errno || end == text || *end || *text == '-')
                return error_set(e, EINVAL, "--seed: '%.80s': a whole number from 0 to 2^64-1 is needed",
                                 text);
        o->has_seed = true;
        return 0;
}

static int parse_reject(const char *text, Options *o, Error *e) {
        const char *colon = strrchr(text, ':');
        RejectRule *rule = &o->reject[o->n_rejects];
        char name[64] = "";

        if (o->n_rejects >= OPTIONS_REJECTS_MAX)
                return error_set(e, EINVAL, "--reject: at most %d of them", OPTIONS_REJECTS_MAX);
        if (colon && (size_t) (colon - text) < sizeof name)
                memcpy(name, text, (size_t) (colon - text));
        rule->code = proto_code_parse(name);
        if (!colon || rule->code == PROTO_CODE_NONE || rule->code == PROTO_CODE_UNKNOWN)
                return error_set(
                        e, EINVAL,
                        "--reject: '%.80s': CODE:P is needed, where CODE is InvalidTopic, InvalidJson, "
                        "InvalidRequest, InvalidStateTransition, ResourceNotFound, VersionMismatch, "
                        "InternalError, RequestThrottled or TerminalStateReached",
                        text);
        if (parse_double(colon + 1, "--reject", 0, 1, &rule->probability, e) < 0)
                return -EINVAL;
        o->n_rejects++;
        return 0;
}

static int parse_parameter(const char *text, Options *o, Error *e) {
        const char *equals = strchr(text, '=');
        DocumentParameter *p = &o->parameter[o->n_parameters];

        if (o->n_parameters >= OPTIONS_PARAMETERS_MAX)
                return error_set(e, EINVAL, "--parameter: at most %d of them", OPTIONS_PARAMETERS_MAX);
        if (!equals || equals == text)
                return error_set(e, EINVAL, "--parameter: '%.80s': NAME=VALUE is needed", text);
        p->name = strndup(text, (size_t) (equals - text));
        p->value = equals + 1;
        if (!p->name)
                return error_set(e, EINVAL, "--parameter: out of memory");
        for (size_t i = 0; i < o->n_parameters; i++)
                if (strcmp(o->parameter[i].name, p->name) == 0)
                        return error_set(e, EINVAL, "--parameter: %s is given twice", p->name);
        o->n_parameters++;
        return 0;
}

static int add_thing(const char *text, Options *o, Error *e) {
        if (o->n_things >= OPTIONS_THINGS_MAX)
                return error_set(e, EINVAL, "--thing: at most %d of them", OPTIONS_THINGS_MAX);
        if (!proto_thing_name_valid(text))
                return error_set(e, EINVAL, "--thing: '%.140s': 1 to 128 of a-z A-Z 0-9 : _ - are needed",
                                 text);
        for (size_t i = 0; i < o->n_things; i++)
                if (strcmp(o->thing[i], text) == 0)
                        return error_set(e, EINVAL, "--thing: %s is given twice", text);
        o->thing[o->n_things++] = text;
        return 0;
}

static int set_job(const char *text, Options *o, Error *e) {
        if (!proto_job_id_valid(text))
                return error_set(e, EINVAL, "--job: '%.80s': 1 to 64 of a-z A-Z 0-9 _ - are needed", text);
        o->job = text;
        return 0;
}

static int set_service_option(int option, const char *text, Options *o, Error *e) {
        int64_t n;

        switch (option) {
        case OPT_TIME_SCALE:
                return parse_double(text, "--time-scale", 0.001, 1e6, &o->time_scale, e);
        case OPT_DROP:
                return parse_double(text, "--drop", 0, 1, &o->drop, e);
        case OPT_DUPLICATE:
                return parse_double(text, "--duplicate", 0, 1, &o->duplicate, e);
        case OPT_DELAY:
                if (parse_int(text, "--delay", 0, OPTIONS_DELAY_MAX_MSEC, &n, e) < 0)
                        return -EINVAL;
                o->delay_usec = (uint64_t) n * USEC_PER_MSEC;
                return 0;
        case OPT_REJECT:
                return parse_reject(text, o, e);
        case OPT_SEED:
                return parse_seed(text, o, e);
        default:
                o->verbose = true;
                return 0;
        }
}

static int set_operator_option(int option, const char *text, Options *o, Error *e) {
        switch (option) {
        case OPT_THING:
                return add_thing(text, o, e);
        case OPT_JOB:
                return set_job(text, o, e);
        case OPT_DOCUMENT:
                o->document = text;
                return 0;
        case OPT_PARAMETER:
                return parse_parameter(text, o, e);
        case OPT_TIMEOUT:
                return parse_int(text, "--in-progress-timeout", 1, LIMIT_TIMEOUT_MINUTES,
                                 &o->in_progress_timeout, e);
        case OPT_RETRIES:
                return parse_int(text, "--retries", 0, LIMIT_RETRIES, &o->retries, e);
        case OPT_WAIT:
                o->wait = true;
                return 0;
        case OPT_FORCE:
                o->force = true;
                return 0;
        case OPT_JSON:
                o->json = true;
                return 0;
        default:
                return set_service_option(option, text, o, e);
        }
}

static int set_option(int option, const char *text, Options *o, Error *e) {
        int64_t n;

        switch (option) {
        case 'h':
                o->host = text;
                return 0;
        case 'p':
                if (parse_int(text, "-p", 1, UINT16_MAX, &n, e) < 0)
                        return -EINVAL;
                o->port = (uint16_t) n;
                return 0;
        case 'u':
                o->user = text;
                return 0;
        case 'P':
                o->password = text;
                return 0;
        case OPT_CAFILE:
                o->ca_file = text;
                return 0;
        case OPT_CERT:
                o->cert_file = text;
                return 0;
        case OPT_KEY:
                o->key_file = text;
                return 0;
        default:
                return set_operator_option(option, text, o, e);
        }
}

/* ---- the whole line ---- */

static int find_verb(int argc, char **argv, Options *o, Error *e) {
        if (optind >= argc)
                return error_set(e, EINVAL,
                                 "a verb is needed: serve, create, cancel, delete, describe, list or watch");
        for (Verb v = 0; v < VERB_COUNT; v++)
                if (strcmp(argv[optind], verb_names[v]) == 0) {
                        o->verb = v;
                        if (optind + 1 < argc)
                                return error_set(e, EINVAL, "%s: unexpected argument '%.80s'", verb_names[v],
                                                 argv[optind + 1]);
                        return 0;
                }
        return error_set(e, EINVAL,
                         "'%.80s': no such verb; serve, create, cancel, delete, describe, list or watch",
                         argv[optind]);
}

static int check_needed(const Options *o, Error *e) {
        const char *name = verb_names[o->verb];
        bool one = o->verb == VERB_CREATE || o->verb == VERB_CANCEL || o->verb == VERB_DELETE ||
                   o->verb == VERB_DESCRIBE;

        if (one && o->n_things == 0)
                return error_set(e, EINVAL, "%s: --thing is needed", name);
        if (o->n_things > 1 && o->verb != VERB_CREATE)
                return error_set(e, EINVAL, "%s: one --thing at most", name);
        if (one && !o->job)
                return error_set(e, EINVAL, "%s: --job is needed", name);
        if (o->verb == VERB_CREATE && !o->document)
                return error_set(e, EINVAL, "create: --document is needed");
        if (!o->cert_file != !o->key_file)
                return error_set(e, EINVAL, "--cert and --key go together");
        if (o->cert_file && !o->ca_file)
                return error_set(
                        e, EINVAL,
                        "--cert needs --cafile, the CA that the broker's certificate is checked against");
        if (o->password && !o->user)
                return error_set(e, EINVAL, "-P needs -u");
        return 0;
}

int options_parse(int argc, char **argv, Options *ret, Error *e) {
        unsigned given[64] = {};
        int option, r;

        *ret = (Options){ .host = "localhost", .time_scale = 1 };
        opterr = 0;
        while ((option = getopt_long(argc, argv, ":h:p:u:P:", long_options, NULL)) != -1) {
                if (option == OPT_HELP || option == OPT_VERSION) {
                        fputs(option == OPT_HELP ? help_text : "iot-jobs-sim " IOT_JOBS_VERSION "\n", stdout);
                        return 1;
                }
                if (option == ':')
                        return error_set(e, EINVAL, "%s: an argument is needed", argv[optind - 1]);
                if (option == '?')
                        return error_set(e, EINVAL, "%.80s: no such option", argv[optind - 1]);
                r = set_option(option, optarg, ret, e);
                if (r < 0)
                        return r;
                if (option >= OPT_HELP)
                        given[option - OPT_HELP] = verbs_of(option);
        }
        r = find_verb(argc, argv, ret, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(given); i++)
                if (given[i] && !(given[i] & FOR(ret->verb)))
                        return error_set(e, EINVAL, "%s: --%s does not belong here", verb_names[ret->verb],
                                         option_name((int) i + OPT_HELP));
        if (ret->port == 0)
                ret->port = ret->ca_file ? 8883 : 1883;
        return check_needed(ret, e);
}
