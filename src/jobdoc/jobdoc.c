/* SPDX-License-Identifier: Apache-2.0 */
#include "jobdoc/jobdoc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "jobdoc/internal.h"

enum { QUOTED_MAX = 64 }; /* UTF-16 units of the document that a reason repeats */

int job_fault(const Parser *p, const char *where, const char *member, const char *format, ...) {
        char *reason = p->fault->reason;
        size_t len;
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(reason, sizeof p->fault->reason, format, ap);
        va_end(ap);
        len = strlen(reason);
        while (len > 0 && !utf8_valid(reason, len)) /* cut inside a character */
                reason[--len] = '\0';
        (void) snprintf(p->fault->path, sizeof p->fault->path, "%s%s%s", where,
                        where[0] && member[0] ? "." : "", member);
        return -EINVAL;
}

/* The same with the offending text in front: `"/opt" is not in policy.paths`. */
static int fault_quoting(const Parser *p, const char *where, const char *member, const char *text,
                         const char *what) {
        CLEANUP_FREE char *clean = text_sanitize(text, strlen(text), QUOTED_MAX, false);

        return clean ? job_fault(p, where, member, "\"%s\" %s", clean, what) : -ENOMEM;
}

/* ---- members ---- */

/* NULL if absent; null counts as absent. */
static json_t *member(const json_t *o, const char *name) {
        json_t *value = json_object_get(o, name);

        return json_is_null(value) ? NULL : value;
}

/* ""? A template's placeholder left without a value. */
static bool is_blank(const json_t *value) {
        return json_is_string(value) && json_string_length(value) == 0;
}

/* 0 with *ret = NULL if absent. */
static int get_string(const Parser *p, const json_t *o, const char *where, const char *name,
                      const char **ret) {
        const json_t *value = member(o, name);

        *ret = NULL;
        if (!value)
                return 0;
        if (!json_is_string(value))
                return job_fault(p, where, name, "a string expected");
        *ret = json_string_value(value);
        return 0;
}

static int need_string(const Parser *p, const json_t *o, const char *where, const char *name,
                       const char **ret) {
        int r = get_string(p, o, where, name, ret);

        if (r == 0 && !*ret)
                return job_fault(p, where, name, "missing");
        if (r == 0 && !**ret)
                return job_fault(p, where, name, "empty");
        return r;
}

static int need_object(const Parser *p, const json_t *o, const char *where, const char *name,
                       const json_t **ret) {
        const json_t *value = member(o, name);

        if (!value)
                return job_fault(p, where, name, "missing");
        if (!json_is_object(value))
                return job_fault(p, where, name, "an object expected");
        *ret = value;
        return 0;
}

/* true, false, "true", "false". *ret stays as it is if absent or "". */
static int get_bool(const Parser *p, const json_t *o, const char *where, const char *name, bool *ret) {
        const json_t *value = member(o, name);

        if (!value || is_blank(value))
                return 0;
        if (json_is_boolean(value))
                *ret = json_is_true(value);
        else if (json_is_string(value) && strcmp(json_string_value(value), "true") == 0)
                *ret = true;
        else if (json_is_string(value) && strcmp(json_string_value(value), "false") == 0)
                *ret = false;
        else
                return job_fault(p, where, name, "true or false expected");
        return 0;
}

static bool digits_parse(const char *text, int64_t *ret) {
        size_t n = strspn(text, "0123456789");
        int64_t v = 0;

        if (n == 0 || n > 18 || text[n])
                return false;
        for (; *text; text++)
                v = v * 10 + (*text - '0');
        *ret = v;
        return true;
}

/* 8, 8.0, "8": a whole number from 0 to max. *ret stays as it is if absent or "". */
static int get_count(const Parser *p, const json_t *o, const char *where, const char *name, int64_t max,
                     int64_t *ret) {
        const json_t *value = member(o, name);
        int64_t v = -1;

        if (!value || is_blank(value))
                return 0;
        if (json_is_integer(value))
                v = json_integer_value(value);
        else if (json_is_real(value)) {
                double real = json_real_value(value);

                if (real >= 0 && real <= (double) max)
                        v = (int64_t) real;
                if ((double) v < real || (double) v > real)
                        v = -1;
        } else if (!json_is_string(value) || !digits_parse(json_string_value(value), &v))
                v = -1;
        if (v < 0 || v > max)
                return job_fault(p, where, name, "a whole number from 0 to %" PRId64 " expected", max);
        *ret = v;
        return 0;
}

static int copy_string(const char *text, char **ret) {
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

/* ---- what both forms have ---- */

static int parse_args(const Parser *p, const json_t *o, const char *where, JobStep *step) {
        const json_t *list = member(o, "args");
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
                r = copy_string(json_string_value(arg), &step->args[step->n_args]);
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
        int r = get_string(p, o, where, "path", &path);

        if (r < 0)
                return r;
        if (!path || !*path || strcmp(path, "default") == 0)
                return 0;
        for (const char *const *allowed = p->policy->paths; allowed && *allowed; allowed++)
                if (path_length(path) == path_length(*allowed) &&
                    strncmp(path, *allowed, path_length(path)) == 0)
                        return copy_string(*allowed, &step->directory);
        return fault_quoting(p, where, "path", path, "is not allowed (policy.paths)");
}

/* Naming the user a step runs as anyway changes nothing; run_as stays NULL. */
static int check_run_as(const Parser *p, const json_t *o, const char *where) {
        const char *user;
        int r = get_string(p, o, where, "runAsUser", &user);

        if (r < 0 || !user || !*user || (p->policy->user && strcmp(user, p->policy->user) == 0))
                return r;
        return fault_quoting(p, where, "runAsUser", user, "is not allowed (policy.run_as)");
}

static int check_handler(const Parser *p, const char *where, const char *member_name, const char *handler) {
        const char *why;
        char what[96];

        if (handler_name_valid(handler, &why))
                return 0;
        (void) snprintf(what, sizeof what, "is not a handler name: %s", why);
        return fault_quoting(p, where, member_name, handler, what);
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
        r = copy_string(operation, &step->name);
        if (r == 0)
                r = copy_string(operation, &step->handler);
        if (r == 0)
                r = parse_args(p, document, "", step);
        if (r == 0)
                r = parse_path(p, document, "", step);
        if (r == 0)
                r = check_run_as(p, document, "");
        if (r == 0)
                r = get_count(p, document, "", "allowStdErr", INT32_MAX, &step->allow_stderr);
        return r;
}

/* ---- steps form ---- */

static int check_version(const Parser *p, const json_t *document) {
        const json_t *version = member(document, "version");

        if (!version)
                return job_fault(p, "", "version", "missing");
        if (json_is_string(version) ? strcmp(json_string_value(version), "1.0") == 0
                                    : json_is_number(version) && !(json_number_value(version) < 1) &&
                                              !(json_number_value(version) > 1))
                return 0;
        return job_fault(p, "", "version", "\"1.0\" expected");
}

static int check_conditions(const Parser *p, const json_t *document) {
        const json_t *conditions = member(document, "conditions");

        if (conditions && !json_is_array(conditions))
                return job_fault(p, "", "conditions", "a list expected");
        if (json_array_size(conditions) > 0)
                return job_fault(p, "", "conditions", "not supported by this version");
        return 0;
}

static int check_type(const Parser *p, const json_t *action, const char *where) {
        const char *type;
        int r = need_string(p, action, where, "type", &type);

        if (r < 0 || strcmp(type, "runHandler") == 0)
                return r;
        if (strcmp(type, "runCommand") == 0)
                return job_fault(p, where, "type", "runCommand is not allowed (policy.run_command)");
        return fault_quoting(p, where, "type", type,
                             "is not a type of step; runHandler or runCommand expected");
}

static int parse_name(const Parser *p, const json_t *action, const char *where, JobStep *step) {
        const char *name;
        int r = need_string(p, action, where, "name", &name);

        if (r < 0)
                return r;
        if (strlen(name) > JOBDOC_NAME_MAX)
                return job_fault(p, where, "name", "longer than %d bytes", JOBDOC_NAME_MAX);
        return copy_string(name, &step->name);
}

static int parse_input(const Parser *p, const json_t *action, const char *where, JobStep *step) {
        const json_t *input;
        const char *handler;
        char at[sizeof step->path + 8];
        int r = need_object(p, action, where, "input", &input);

        if (r < 0)
                return r;
        (void) snprintf(at, sizeof at, "%s.input", where);
        r = need_string(p, input, at, "handler", &handler);
        if (r == 0)
                r = check_handler(p, at, "handler", handler);
        if (r == 0)
                r = copy_string(handler, &step->handler);
        if (r == 0)
                r = parse_args(p, input, at, step);
        if (r == 0)
                r = parse_path(p, input, at, step);
        return r;
}

/* One entry of `steps`, or `finalStep`; `where` is its path. */
static int parse_step(const Parser *p, const json_t *entry, const char *where, bool final) {
        const json_t *action;
        JobStep *step;
        char at[sizeof step->path];
        int r;

        if (!json_is_object(entry))
                return job_fault(p, where, "", "an object expected");
        r = need_object(p, entry, where, "action", &action);
        if (r < 0)
                return r;
        (void) snprintf(at, sizeof at, "%s.action", where);
        step = add_step(p, at);
        step->final = final;
        r = parse_name(p, action, at, step);
        if (r == 0)
                r = check_type(p, action, at);
        if (r == 0)
                r = parse_input(p, action, at, step);
        if (r == 0)
                r = check_run_as(p, action, at);
        if (r == 0)
                r = get_bool(p, action, at, "ignoreStepFailure", &step->ignore_failure);
        if (r == 0)
                r = get_count(p, action, at, "allowStdErr", INT32_MAX, &step->allow_stderr);
        return r;
}

static int parse_steps(const Parser *p, const json_t *document) {
        const json_t *steps = member(document, "steps"), *final = member(document, "finalStep");
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
                r = check_conditions(p, document);
        if (r == 0)
                r = parse_steps(p, document);
        return r;
}

/* ---- the document ---- */

/* `operation` makes the operation form, a `version`, `steps` or `finalStep` the steps form. A document with an operation may
 * have members of its own by those names, but a list of steps beside it leaves open which of the two is meant. */
static int parse_form(const Parser *p, const json_t *document) {
        const char *operation;
        int r;

        if (member(document, "jws"))
                return job_fault(p, "", "jws", "signed documents are not supported by this version");
        if (member(document, "operation")) {
                if (json_is_array(member(document, "steps")))
                        return job_fault(p, "", "operation",
                                         "given together with steps; one of the two expected");
                r = need_string(p, document, "", "operation", &operation);
                if (r == 0)
                        r = check_handler(p, "", "operation", operation);
                return r < 0 ? r : parse_operation(p, document, operation);
        }
        if (member(document, "steps"))
                return parse_steps_form(p, document);
        if (p->policy->fallback)
                return parse_operation(p, document, p->policy->fallback);
        if (member(document, "version") || member(document, "finalStep"))
                return parse_steps_form(p, document);
        return job_fault(p, "", "operation", "missing, and so is steps; one of the two expected");
}

static int parse_document(const Parser *p, const json_t *document) {
        int64_t timeout = 0;
        int r = parse_form(p, document);

        if (r == 0)
                r = get_bool(p, document, "", "includeStdOut", &p->doc->include_stdout);
        if (r == 0)
                r = get_count(p, document, "", "timeout", JOBDOC_TIMEOUT_MAX, &timeout);
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
        *d = (JobDoc){ 0 };
}
