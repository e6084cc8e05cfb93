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

/* The same with the offending text, made harmless and short, in front: `"/opt" is not in policy.paths`. -EINVAL, -ENOMEM. */
int job_fault_quoting(const Parser *p, const char *where, const char *member, const char *text, const char *what) MUST_USE;

/* ---- members of an object `o` at the path `where`: 0, or -EINVAL with the fault ---- */

/* NULL if absent; null counts as absent. */
json_t *job_member(const json_t *o, const char *name);
/* *ret = NULL if absent. */
int job_get_string(const Parser *p, const json_t *o, const char *where, const char *name, const char **ret) MUST_USE;
/* Absent or empty is a fault. */
int job_need_string(const Parser *p, const json_t *o, const char *where, const char *name, const char **ret) MUST_USE;
int job_need_object(const Parser *p, const json_t *o, const char *where, const char *name, const json_t **ret) MUST_USE;
/* true, false, "true", "false". *ret stays as it is if absent or "" (a template's placeholder left without a value). */
int job_get_bool(const Parser *p, const json_t *o, const char *where, const char *name, bool *ret) MUST_USE;
/* 8, 8.0, "8": a whole number from 0 to max. *ret stays as it is if absent or "". */
int job_get_count(const Parser *p, const json_t *o, const char *where, const char *name, int64_t max, int64_t *ret)
        MUST_USE;
/* 0 or -ENOMEM. */
int job_copy_string(const char *text, char **ret) MUST_USE;

/* ---- parts of a document ---- */

/* The member "command" of an action's input at `where`, in the comma syntax, into step->args. */
int job_command_parse(const Parser *p, const json_t *input, const char *where, JobStep *step) MUST_USE;

/* The first word of a command has no white space in it. */
bool job_program_valid(const char *program);

/* Then a step does not try another name. */
bool job_handler_has_suffix(const char *handler);

/* Whom a step, whose handler is known, runs as unless its document says otherwise. */
const char *job_usual_user(const JobPolicy *policy, const JobStep *step);

/* The member "conditions": well-formed, known, and met. 0, -EINVAL with the fault, -ENOMEM. */
int job_conditions_check(const Parser *p, const json_t *document) MUST_USE;

/* The member "parameters" of the document into p->doc. 0, -EINVAL with the fault, -ENOMEM. */
int job_parameters_parse(const Parser *p, const json_t *document) MUST_USE;
/* Can a variable of the environment end in it? */
bool job_shell_name_valid(const char *name);
