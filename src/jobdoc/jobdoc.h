/* SPDX-License-Identifier: Apache-2.0 */
/* Job document → steps, or one fault with its JSON path (contract section 2). PURE.
 * Understands the operation form (with the older AWS IoT Device Client members) and the steps form (schema 1.0). */
#pragma once

#include "base/error.h"
#include "proto/limits.h"

enum {
        JOBDOC_STEPS_MAX = 64,
        JOBDOC_ARGS_MAX = 128,
        JOBDOC_ARG_BYTES_MAX = 8192, /* one argument */
        JOBDOC_PARAMETERS_MAX = 128,
        JOBDOC_HANDLER_MAX = 64,
        JOBDOC_NAME_MAX = 256,
        JOBDOC_TIMEOUT_MAX = 31536000, /* seconds */
};

typedef struct JobFault {
        char reason[384]; /* "missing", "a string expected", … */
        char path[256];   /* "steps[1].action.input.handler"; "" = the whole document */
} JobFault;

typedef struct JobStep {
        char *name;       /* action.name, or the operation */
        char *handler;    /* one path component, checked by handler_name_valid() */
        char *directory;  /* NULL = the configured directories */
        char *run_as;     /* NULL = the configured user (always, in this version) */
        char **args;      /* NULL-terminated */
        size_t n_args;
        bool try_suffix;      /* operation form: NAME, else NAME.sh */
        bool ignore_failure;
        int64_t allow_stderr; /* lines; -1 = no limit */
        bool final;
        char path[64]; /* JSON path of the step: "steps[0].action", "finalStep.action", "" for the operation form */
} JobStep;

typedef struct JobParameter {
        char *name; /* a shell name */
        char *value;
} JobParameter;

typedef struct JobDoc {
        JobStep *steps; /* the final step is the last */
        size_t n_steps;
        JobParameter *parameters;
        size_t n_parameters;
        bool include_stdout;
        int64_t timeout; /* seconds per step; -1 = as configured */
} JobDoc;

/* What the configuration allows a document to name. All borrowed. */
typedef struct JobPolicy {
        const char *const *paths; /* NULL-terminated: policy.paths and the configured directories themselves; NULL = none */
        const char *user;         /* the user steps run as anyway */
        const char *fallback;     /* handlers.fallback or NULL: handler for documents that name no operation */
} JobPolicy;

/* `[A-Za-z0-9._+-]{1,64}`, no leading dot, not a package manager's leftover (.dpkg-new, .rpmsave, …, and names ending
 * in '~'). On refusal *ret_why says what is wrong. */
bool handler_name_valid(const char *name, const char **ret_why);

/* 0 and *ret (caller: jobdoc_done), -EINVAL with *fault filled, -ENOMEM. */
int jobdoc_parse(const char *document, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault) MUST_USE;
void jobdoc_done(JobDoc *d);
#define CLEANUP_JOBDOC __attribute__((cleanup(jobdoc_done)))
