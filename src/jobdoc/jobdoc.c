/* SPDX-License-Identifier: Apache-2.0 */
#include "jobdoc/jobdoc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "jobdoc/internal.h"

/* ---- what both forms have ---- */

static int parse_args(const Parser *p, const json_t *o, const char *where, JobStep *step) {
        const json_t *list = job_member(o, "args");
        char at[96];
        int r = 0;

        if (list && !json_is_array(list))
                return job_fault(p, where, "args", "a list of strings expected");
        if (json_array_size(list) > JOBDOC_ARGS_MAX)
                return job_fault(p, where, "args", "more than %d", JOBDOC_ARGS_MAX);
        step->args = calloc(json_array_size(list) + 1, sizeof *step->args);
        if (!step->args)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                const json_t *arg = json_array_get(list, i);

                (void) snprintf(at, sizeof at, "args[%zu]", i);
                if (!json_is_string(arg))
                        return job_fault(p, where, at, "a string expected");
                if (json_string_length(arg) > JOBDOC_ARG_BYTES_MAX)
                        return job_fault(p, where, at, "longer than %d bytes", JOBDOC_ARG_BYTES_MAX);
                r = job_copy_string(json_string_value(arg), &step->args[step->n_args]);
                step->n_args += r == 0;
        }
        return r;
}

/* Without trailing slashes; "/" keeps its own. */
static size_t path_length(const char *path) {
        size_t n = strlen(path);

        while (n > 1 && path[n - 1] == '/')
                n--;
        return n;
}

static int parse_path(const Parser *p, const json_t *o, const char *where, JobStep *step) {
        const char *path;
        int r = job_get_string(p, o, where, "path", &path);

        if (r < 0)
                return r;
        if (!path || !*path || strcmp(path, "default") == 0)
                return 0;
        for (const char *const *allowed = p->policy->paths; allowed && *allowed; allowed++)
                if (path_length(path) == path_length(*allowed) &&
                    strncmp(path, *allowed, path_length(path)) == 0)
                        return job_copy_string(*allowed, &step->directory);
        return job_fault_quoting(p, where, "path", path, "is not allowed (policy.paths)");
}

const char *job_usual_user(const JobPolicy *policy, const JobStep *step) {
        for (const JobFact *f = policy->handler_users; step->handler && f && f->name; f++)
                if (strcmp(f->name, step->handler) == 0)
                        return f->value;
        return policy->user;
}

/* Naming the user a step runs as anyway changes nothing; run_as stays NULL. The handler must be known. */
static int parse_run_as(const Parser *p, const json_t *o, const char *where, JobStep *step) {
        const char *user, *usual = job_usual_user(p->policy, step);
        int r = job_get_string(p, o, where, "runAsUser", &user);

        if (r < 0 || !user || !*user)
                return r;
        r = job_copy_string(user, &step->run_as_given);
        if (r < 0 || (usual && strcmp(user, usual) == 0))
                return r;
        for (const char *const *allowed = p->policy->run_as; allowed && *allowed; allowed++)
                if (strcmp(user, *allowed) == 0)
                        return job_copy_string(user, &step->run_as);
        return job_fault_quoting(p, where, "runAsUser", user, "is not allowed (policy.run_as)");
}

static int check_handler(const Parser *p, const char *where, const char *member_name, const char *handler) {
        const char *why;
        char what[96];

        if (handler_name_valid(handler, &why))
                return 0;
        (void) snprintf(what, sizeof what, "is not a handler name: %s", why);
        return job_fault_quoting(p, where, member_name, handler, what);
}

/* Room for n steps. */
static int make_steps(const Parser *p, size_t n) {
        p->doc->steps = calloc(n, sizeof *p->doc->steps);
        return p->doc->steps ? 0 : -ENOMEM;
}

/* The next step; it belongs to the document from here on. */
static JobStep *add_step(const Parser *p, const char *path) {
        JobStep *step = &p->doc->steps[p->doc->n_steps++];

        *step = (JobStep){ .allow_stderr = -1 };
        (void) snprintf(step->path, sizeof step->path, "%s", path);
        return step;
}

/* ---- operation form ---- */

static int parse_operation(const Parser *p, const json_t *document, const char *operation) {
        JobStep *step;
        int r = make_steps(p, 1);

        if (r < 0)
                return r;
        step = add_step(p, "");
        step->try_suffix = true;
        r = job_copy_string(operation, &step->name);
        if (r == 0)
                r = job_copy_string(operation, &step->handler);
        if (r == 0)
                r = parse_args(p, document, "", step);
        if (r == 0)
                r = parse_path(p, document, "", step);
        if (r == 0)
                r = parse_run_as(p, document, "", step);
        if (r == 0)
                r = job_get_count(p, document, "", "allowStdErr", INT32_MAX, &step->allow_stderr);
        return r;
}

/* ---- steps form ---- */

static int check_version(const Parser *p, const json_t *document) {
        const json_t *version = job_member(document, "version");

        if (!version)
                return job_fault(p, "", "version", "missing");
        if (json_is_string(version) ? strcmp(json_string_value(version), "1.0") == 0
                                    : json_is_number(version) && !(json_number_value(version) < 1) &&
                                              !(json_number_value(version) > 1))
                return 0;
        return job_fault(p, "", "version", "\"1.0\" expected");
}

static int parse_type(const Parser *p, const json_t *action, const char *where, JobStep *step) {
        const char *type;
        int r = job_need_string(p, action, where, "type", &type);

        if (r < 0 || strcmp(type, "runHandler") == 0)
                return r;
        step->command = strcmp(type, "runCommand") == 0;
        if (step->command && p->policy->run_command)
                return 0;
        if (step->command)
                return job_fault(p, where, "type", "runCommand is not allowed (policy.run_command)");
        return job_fault_quoting(p, where, "type", type,
                                 "is not a type of step; runHandler or runCommand expected");
}

static int parse_name(const Parser *p, const json_t *action, const char *where, JobStep *step) {
        const char *name;
        int r = job_need_string(p, action, where, "name", &name);

        if (r < 0)
                return r;
        if (strlen(name) > JOBDOC_NAME_MAX)
                return job_fault(p, where, "name", "longer than %d bytes", JOBDOC_NAME_MAX);
        return job_copy_string(name, &step->name);
}

bool job_handler_has_suffix(const char *handler) {
        size_t n = strlen(handler);

        return n > 3 && strcmp(handler + n - 3, ".sh") == 0;
}

/* The suffix is left out in steps too: `echo` is a program on the PATH that AWS IoT Device Client looks handlers up in, and here
 * the handler echo.sh. */
static int parse_handler(const Parser *p, const json_t *input, const char *where, JobStep *step) {
        const char *handler;
        int r = job_need_string(p, input, where, "handler", &handler);

        if (r == 0)
                r = check_handler(p, where, "handler", handler);
        if (r == 0)
                r = job_copy_string(handler, &step->handler);
        step->try_suffix = r == 0 && !job_handler_has_suffix(handler);
        if (r == 0)
                r = parse_args(p, input, where, step);
        if (r == 0)
                r = parse_path(p, input, where, step);
        return r;
}

static int parse_input(const Parser *p, const json_t *action, const char *where, JobStep *step) {
        const json_t *input;
        char at[sizeof step->path + 8];
        int r = job_need_object(p, action, where, "input", &input);

        if (r < 0)
                return r;
        (void) snprintf(at, sizeof at, "%s.input", where);
        return step->command ? job_command_parse(p, input, at, step) : parse_handler(p, input, at, step);
}

/* One entry of `steps`, or `finalStep`; `where` is its path. */
static int parse_step(const Parser *p, const json_t *entry, const char *where, bool final) {
        const json_t *action;
        JobStep *step;
        char at[sizeof step->path];
        int r;

        if (!json_is_object(entry))
                return job_fault(p, where, "", "an object expected");
        r = job_need_object(p, entry, where, "action", &action);
        if (r < 0)
                return r;
        (void) snprintf(at, sizeof at, "%s.action", where);
        step = add_step(p, at);
        step->final = final;
        r = parse_name(p, action, at, step);
        if (r == 0)
                r = parse_type(p, action, at, step);
        if (r == 0)
                r = parse_input(p, action, at, step);
        if (r == 0)
                r = parse_run_as(p, action, at, step);
        if (r == 0)
                r = job_get_bool(p, action, at, "ignoreStepFailure", &step->ignore_failure);
        if (r == 0)
                r = job_get_count(p, action, at, "allowStdErr", INT32_MAX, &step->allow_stderr);
        return r;
}

static int parse_steps(const Parser *p, const json_t *document) {
        const json_t *steps = job_member(document, "steps"), *final = job_member(document, "finalStep");
        char at[32];
        int r;

        if (!steps)
                return job_fault(p, "", "steps", "missing");
        if (!json_is_array(steps))
                return job_fault(p, "", "steps", "a list expected");
        if (json_array_size(steps) == 0)
                return job_fault(p, "", "steps", "empty");
        if (json_array_size(steps) + (final ? 1 : 0) > JOBDOC_STEPS_MAX)
                return job_fault(p, "", "steps", "more than %d with the final step", JOBDOC_STEPS_MAX);
        r = make_steps(p, json_array_size(steps) + 1);
        for (size_t i = 0; r == 0 && i < json_array_size(steps); i++) {
                (void) snprintf(at, sizeof at, "steps[%zu]", i);
                r = parse_step(p, json_array_get(steps, i), at, false);
        }
        if (r == 0 && final)
                r = parse_step(p, final, "finalStep", true);
        return r;
}

static int parse_steps_form(const Parser *p, const json_t *document) {
        int r = check_version(p, document);

        if (r == 0)
                r = job_conditions_check(p, document);
        if (r == 0)
                r = parse_steps(p, document);
        return r;
}

/* ---- the document ---- */

/* Whatever stood beside the JWS would be signed by nobody. */
static int parse_signed(const Parser *p, const json_t *document) {
        const char *jws, *name;
        json_t *value;
        int r;

        switch (p->policy->signature) {
        case JOB_SIGNATURE_UNSUPPORTED:
                return job_fault(p, "", "jws", "no signed documents are taken");
        case JOB_SIGNATURE_VERIFIED:
                return job_fault(p, "", "jws", "a signed document inside a signed document");
        case JOB_SIGNATURE_OPTIONAL:
        case JOB_SIGNATURE_REQUIRED:
                break;
        }
        r = job_need_string(p, document, "", "jws", &jws);
        if (r < 0)
                return r;
        json_object_foreach((json_t *) document, name, value)
                if (strcmp(name, "jws") != 0 && !json_is_null(value))
                        return job_fault_quoting(p, "", "jws", name, "stands beside it, where nothing is signed");
        return job_copy_string(jws, &p->doc->jws);
}

/* `operation` makes the operation form, a `version`, `steps` or `finalStep` the steps form. A document with an operation may
 * have members of its own by those names, but a list of steps beside it leaves open which of the two is meant. */
static int parse_form(const Parser *p, const json_t *document) {
        const char *operation;
        int r;

        if (job_member(document, "operation")) {
                if (json_is_array(job_member(document, "steps")))
                        return job_fault(p, "", "operation",
                                         "given together with steps; one of the two expected");
                r = job_need_string(p, document, "", "operation", &operation);
                if (r == 0)
                        r = check_handler(p, "", "operation", operation);
                return r < 0 ? r : parse_operation(p, document, operation);
        }
        if (job_member(document, "steps"))
                return parse_steps_form(p, document);
        if (p->policy->fallback)
                return parse_operation(p, document, p->policy->fallback);
        if (job_member(document, "version") || job_member(document, "finalStep"))
                return parse_steps_form(p, document);
        return job_fault(p, "", "operation", "missing, and so is steps; one of the two expected");
}

static int parse_document(const Parser *p, const json_t *document) {
        int64_t timeout = 0;
        int r;

        if (job_member(document, "jws"))
                return parse_signed(p, document);
        if (p->policy->signature == JOB_SIGNATURE_REQUIRED)
                return job_fault(p, "", "jws", "missing; only signed documents are taken (policy.require_signature)");
        r = parse_form(p, document);
        if (r == 0)
                r = job_get_bool(p, document, "", "includeStdOut", &p->doc->include_stdout);
        if (r == 0)
                r = job_get_count(p, document, "", "timeout", JOBDOC_TIMEOUT_MAX, &timeout);
        if (r == 0)
                r = job_parameters_parse(p, document);
        p->doc->timeout = timeout > 0 ? timeout : -1;
        return r;
}

int jobdoc_parse(const char *document, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault) {
        CLEANUP_JOBDOC JobDoc doc = { .timeout = -1 };
        CLEANUP_JSON json_t *root = NULL;
        Parser p = { .policy = policy, .text = document, .len = len, .doc = &doc, .fault = fault };
        Error e = { 0 };
        int r;

        if (len > LIMIT_DOCUMENT)
                return job_fault(&p, "", "", "the document is larger than %d bytes", LIMIT_DOCUMENT);
        r = json_parse_object(document, len, &root, &e);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return job_fault(&p, "", "", "%s", e.text);
        r = parse_document(&p, root);
        if (r < 0)
                return r;
        *ret = doc;
        doc = (JobDoc){ 0 };
        return 0;
}

static void step_done(JobStep *s) {
        free(s->name);
        free(s->handler);
        free(s->directory);
        free(s->run_as);
        free(s->run_as_given);
        for (size_t i = 0; i < s->n_args; i++)
                free(s->args[i]);
        free(s->args);
}

void jobdoc_done(JobDoc *d) {
        for (size_t i = 0; i < d->n_steps; i++)
                step_done(&d->steps[i]);
        free(d->steps);
        for (size_t i = 0; i < d->n_parameters; i++) {
                free(d->parameters[i].name);
                free(d->parameters[i].value);
        }
        free(d->parameters);
        free(d->jws);
        *d = (JobDoc){ 0 };
}
