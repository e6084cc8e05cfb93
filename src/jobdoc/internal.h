/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/jobdoc only. */
#pragma once

#include "base/json.h"
#include "jobdoc/jobdoc.h"

typedef struct Parser {
        const JobPolicy *policy;
        const char *text; /* the document, known to be strict JSON */
        size_t len;
        JobDoc *doc;
        JobFault *fault;
} Parser;

/* Fill the fault: the path is `where`, a dot where both are there, and `member`. Returns -EINVAL. */
int job_fault(const Parser *p, const char *where, const char *member, const char *format, ...)
        PRINTF_LIKE(4, 5);

/* The member "parameters" of the document into p->doc. 0, -EINVAL with the fault, -ENOMEM. */
int job_parameters_parse(const Parser *p, const json_t *document) MUST_USE;
