/* SPDX-License-Identifier: Apache-2.0 */
/* Job document → steps, or one fault with its JSON path (contract section 2). PURE.
 * Understands the operation form (with the older AWS IoT Device Client members), the steps form (schema 1.0), and the signed
 * form as far as the JWS in it: whose payload is a document of the other forms, to be parsed once its signature was verified.
 * What a JobPolicy does not mention is refused: one that is all zero allows nothing but the configured handlers. */
#pragma once

#include "base/error.h"
#include "proto/limits.h"

enum {
        JOBDOC_STEPS_MAX = 64,
        JOBDOC_ARGS_MAX = 128,
        JOBDOC_ARG_BYTES_MAX = 8192, /* one argument, or word of a command */
        JOBDOC_PARAMETERS_MAX = 128,
        JOBDOC_HANDLER_MAX = 64,
        JOBDOC_NAME_MAX = 256,
        JOBDOC_TIMEOUT_MAX = 31536000, /* seconds */
        JOBDOC_CONDITIONS_MAX = 32,
        JOBDOC_CONDITION_VALUES_MAX = 64,    /* of one condition */
        JOBDOC_CONDITION_VALUE_BYTES_MAX = 1024,
};

typedef struct JobFault {
        char reason[384]; /* "missing", "a string expected", … */
        char path[256];   /* "steps[1].action.input.handler"; "" = the whole document */
} JobFault;

typedef struct JobStep {
        char *name;       /* action.name, or the operation */
        char *handler;    /* one path component, checked by handler_name_valid(); NULL for a command */
        char *directory;  /* NULL = the configured directories */
        char *run_as;     /* a user of policy.run_as; NULL = whom the step runs as anyway */
        char *run_as_given; /* runAsUser as the document has it; NULL = absent or "" */
        char **args;      /* NULL-terminated. A handler's arguments behind its path; of a command the words, args[0] the program */
        size_t n_args;
        bool command;         /* runCommand: no handler, no shell */
        bool try_suffix;      /* the handler is the file of that name, else that name with .sh */
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
        char *jws;       /* signed form: not empty, otherwise as it came. Then there is nothing else: n_steps is 0 */
} JobDoc;

typedef struct JobFact {
        const char *name, *value;
} JobFact;

/* What `conditions` are judged by. All borrowed; NULL = this machine does not say.
 *
 * Which files a document asks about is known only while it is parsed, so they come in as a question rather than as a list:
 * with a list, every caller would have to parse twice and keep two answers in step, and a file asked about in the second
 * round only would be one more way to fail. The function is the caller's: nothing here opens a file. */
typedef struct JobFacts {
        const char *operating_system;         /* "operatingSystem": ID of os-release */
        const char *operating_system_version; /* "operatingSystemVersion": VERSION_ID of os-release */
        const char *architecture;             /* "architecture": machine of uname */
        const char *kernel;                   /* "kernel": release of uname */
        const JobFact *configured;            /* the group `facts`, ended by a NULL name; a name above wins over one here */
        bool (*file_present)(const char *path, void *userdata); /* "file": absolute path; NULL = none is */
        void *userdata;
} JobFacts;

typedef enum JobSignature {
        JOB_SIGNATURE_UNSUPPORTED, /* the signed form is refused */
        JOB_SIGNATURE_OPTIONAL,
        JOB_SIGNATURE_REQUIRED, /* every other form is refused */
        JOB_SIGNATURE_VERIFIED, /* this document is the payload of a JWS that was verified */
} JobSignature;

/* What the configuration allows a document to name. All borrowed. */
typedef struct JobPolicy {
        const char *const *paths; /* NULL-terminated: policy.paths and the configured directories themselves; NULL = none */
        const char *user;         /* the user steps run as anyway */
        const char *fallback;     /* handlers.fallback or NULL: handler for documents that name no operation */
        const JobFact *handler_users; /* handlers (by the name in the document) that run as another user anyway: the user is
                                       * the value. Ended by a NULL name; NULL = none */
        const char *const *run_as;    /* policy.run_as, NULL-terminated; NULL = none */
        bool run_command;             /* policy.run_command */
        const JobFacts *facts;        /* NULL: a document with conditions is refused */
        bool conditions_judged;       /* the run began when its conditions were met: their form is checked, and no more. Its own
                                       * steps may have changed what they speak of */
        JobSignature signature;
} JobPolicy;

/* One value of an os-release(5) text, for JobFacts: "ID", "VERSION_ID". 1 and *ret (caller frees), 0 = not there, empty, or
 * malformed; -ENOMEM. */
int os_release_get(const char *text, size_t len, const char *name, char **ret) MUST_USE;

/* `[A-Za-z0-9._+-]{1,64}`, no leading dot, not a package manager's leftover (.dpkg-new, .rpmsave, …, and names ending
 * in '~'). On refusal *ret_why says what is wrong. */
bool handler_name_valid(const char *name, const char **ret_why);

/* 0 and *ret (caller: jobdoc_done), -EINVAL with *fault filled, -ENOMEM. */
int jobdoc_parse(const char *document, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault) MUST_USE;
void jobdoc_done(JobDoc *d);
#define CLEANUP_JOBDOC __attribute__((cleanup(jobdoc_done)))
