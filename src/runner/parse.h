/* SPDX-License-Identifier: Apache-2.0 */
/* A job document is read by a process that can do nothing else: another user, no descriptor but two pipes, no system call but read(),
 * write() and exit. What it says (jobdoc/packed.h) is believed only as far as jobdoc_parse() could have said it under the same
 * policy. */
#pragma once

#include "base/error.h"
#include "jobdoc/jobdoc.h"

/* jobdoc_parse() */
typedef int (*ParseFunction)(const char *document, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault);

enum {
        PARSE_SEC = 10,                 /* until the process must have answered, */
        PARSE_CPU_SEC = 2,              /* what it may use for that, */
        PARSE_MEMORY = 4 * 1024 * 1024, /* and how much room it has; the worst document needs 1.5 MiB */
};

typedef struct ParseRequest { /* all borrowed */
        const char *document;
        size_t len;
        const JobPolicy *policy; /* its facts' file_present is called here, in the parent */
        char *const *secrets;    /* NULL-terminated, or NULL: texts of ours that are no business of the process */
        ParseFunction parse;     /* what it does; tests have it misbehave */
} ParseRequest;

/* 0 and *ret (caller: jobdoc_done); -EINVAL: refused for good, for the reason in the fault, which is also what a document gets that
 * brings the process to its end, or to talk nonsense, twice; another negative errno: it could not be told, for the reason in e. */
int parse_document(const ParseRequest *q, JobDoc *ret, JobFault *fault, Error *e) MUST_USE;
