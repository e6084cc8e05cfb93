/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of iot-jobs-sim. */
#pragma once

#include "base/error.h"
#include "proto/types.h"
#include "sim/model-document.h"

enum {
        OPTIONS_THINGS_MAX = 1000,
        OPTIONS_PARAMETERS_MAX = 100,
        OPTIONS_REJECTS_MAX = 8,
        OPTIONS_DELAY_MAX_MSEC = 3600 * 1000,
};

typedef enum Verb {
        VERB_SERVE,
        VERB_CREATE,
        VERB_CANCEL,
        VERB_DELETE,
        VERB_DESCRIBE,
        VERB_LIST,
        VERB_WATCH,
        VERB_COUNT,
} Verb;

typedef struct RejectRule {
        ProtoCode code;
        double probability;
} RejectRule;

typedef struct Options { /* strings point into argv */
        Verb verb;

        const char *host, *ca_file, *cert_file, *key_file, *user, *password;
        uint16_t port;
        bool json, verbose;

        const char *thing[OPTIONS_THINGS_MAX];
        size_t n_things;
        const char *job, *document;
        DocumentParameter parameter[OPTIONS_PARAMETERS_MAX]; /* names are owned by the process */
        size_t n_parameters;
        int64_t in_progress_timeout, retries;
        bool wait, force;

        double time_scale, drop, duplicate;
        uint64_t delay_usec;
        RejectRule reject[OPTIONS_REJECTS_MAX];
        size_t n_rejects;
        bool has_seed;
        uint64_t seed;
} Options;

const char *verb_name(Verb v);

/* 0: go on; 1: --help or --version has been printed; -EINVAL: a usage error, with what would be right in e. */
int options_parse(int argc, char **argv, Options *ret, Error *e) MUST_USE;
