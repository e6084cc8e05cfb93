/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a job document, and as the os-release file its conditions are judged by: no crash, no leak, and
 * what comes out keeps the promises of jobdoc.h. */
#include "jobdoc/jobdoc.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool file_present(const char *path, void *userdata) {
        assert(userdata == NULL && path[0] == '/' && strlen(path) <= JOBDOC_CONDITION_VALUE_BYTES_MAX);
        return strlen(path) % 2;
}

static const char *const paths[] = { "/opt/x", NULL };
static const char *const run_as[] = { "www-data", "bob", NULL };
static const JobFact configured[] = { { "site", "plant-7" }, { "line", "" }, {} };
static const JobFact handler_users[] = { { "a.sh", "alice" }, {} };
static const JobFacts facts = {
        .operating_system = "debian",
        .operating_system_version = "12",
        .architecture = "x86_64",
        .kernel = "6.1.0-18-amd64",
        .configured = configured,
        .file_present = file_present,
};
static const JobFacts no_facts = {};

/* Which of them is used depends on the size: a corpus of plain documents reaches each. */
static const JobPolicy policies[] = {
        { .paths = paths, .user = "root" },
        { .paths = paths, .user = "root", .fallback = "other", .facts = &no_facts },
        { .paths = paths, .user = "root", .run_command = true, .run_as = run_as, .facts = &facts,
          .handler_users = handler_users, .signature = JOB_SIGNATURE_OPTIONAL },
        { .run_command = true, .facts = &facts, .conditions_judged = true, .signature = JOB_SIGNATURE_VERIFIED },
        { .run_command = true, .run_as = run_as, .facts = &facts, .signature = JOB_SIGNATURE_OPTIONAL },
        { .run_command = true, .run_as = run_as, .facts = &facts, .signature = JOB_SIGNATURE_REQUIRED },
};

static void check_user(const JobStep *s, const JobPolicy *policy) {
        assert(!s->run_as || (s->run_as_given && strcmp(s->run_as, s->run_as_given) == 0));
        assert(!s->run_as || policy->run_as);
        assert(!s->run_as || strcmp(s->run_as, run_as[0]) == 0 || strcmp(s->run_as, run_as[1]) == 0);
        assert(!s->run_as_given || s->run_as_given[0]);
}

static void check_command(const JobStep *s, const JobPolicy *policy) {
        assert(policy->run_command && !s->handler && !s->directory && !s->try_suffix && s->n_args > 0);
        assert(!strpbrk(s->args[0], " \t\n\v\f\r"));
        for (size_t i = 0; i < s->n_args; i++)
                assert(s->args[i][0]);
}

static void check_step(const JobStep *s, const JobPolicy *policy) {
        const char *why;

        assert(s->name && strlen(s->name) <= JOBDOC_NAME_MAX);
        check_user(s, policy);
        if (s->command)
                check_command(s, policy);
        else {
                assert(s->handler && handler_name_valid(s->handler, &why));
                assert(!s->directory || strcmp(s->directory, policy->paths[0]) == 0);
        }
        assert(s->allow_stderr >= -1 && s->allow_stderr <= INT32_MAX);
        assert(s->args && s->n_args <= JOBDOC_ARGS_MAX && !s->args[s->n_args]);
        for (size_t i = 0; i < s->n_args; i++)
                assert(strlen(s->args[i]) <= JOBDOC_ARG_BYTES_MAX);
}

static void check_signed(const JobDoc *d, const JobPolicy *policy) {
        assert(policy->signature == JOB_SIGNATURE_OPTIONAL || policy->signature == JOB_SIGNATURE_REQUIRED);
        assert(d->jws[0] && !d->steps && d->n_steps == 0 && !d->parameters && d->n_parameters == 0);
}

/* The text of a number must be the number: the walk through the text and the parser agree on where they are. */
static void check_parameter(const JobParameter *p, const json_t *parsed) {
        const json_t *value = json_object_get(parsed, p->name);
        json_t *again = NULL;

        assert(value && p->value);
        assert(strspn(p->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") ==
               strlen(p->name));
        if (json_is_string(value))
                assert(strcmp(json_string_value(value), p->value) == 0);
        else if (json_is_boolean(value))
                assert(strcmp(json_is_true(value) ? "true" : "false", p->value) == 0);
        else {
                again = json_loads(p->value, JSON_DECODE_ANY, NULL);
                assert(json_is_number(value) && again && json_equal(again, value));
        }
        json_decref(again);
}

static void check_document(const JobDoc *d, const JobPolicy *policy, const char *text, size_t len) {
        json_t *root = json_loadb(text, len, 0, NULL);
        const json_t *parameters = json_object_get(root, "parameters");

        assert(policy->signature != JOB_SIGNATURE_REQUIRED);
        assert(d->n_steps >= 1 && d->n_steps <= JOBDOC_STEPS_MAX);
        assert(d->timeout == -1 || (d->timeout >= 1 && d->timeout <= JOBDOC_TIMEOUT_MAX));
        assert(d->n_parameters <= JOBDOC_PARAMETERS_MAX);
        for (size_t i = 0; i < d->n_steps; i++) {
                check_step(&d->steps[i], policy);
                assert(!d->steps[i].final || i == d->n_steps - 1);
        }
        for (size_t i = 0; i < d->n_parameters; i++)
                check_parameter(&d->parameters[i], parameters);
        json_decref(root);
}

static void try_os_release(const char *text, size_t len) {
        CLEANUP_FREE char *value = NULL;
        int r = os_release_get(text, len, "ID", &value);

        assert(r == 0 || r == 1);
        assert((r == 1) == (value != NULL));
        assert(!value || (value[0] && strlen(value) < len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const JobPolicy *p = &policies[size % ELEMENTSOF(policies)];
        CLEANUP_FREE char *text = malloc(size ? size : 1); /* exactly the bytes: a read behind them is seen */
        JobDoc d = { 0 };
        JobFault fault = { 0 };
        int r;

        if (!text)
                return 0;
        if (size)
                memcpy(text, data, size);
        try_os_release(text, size);
        r = jobdoc_parse(text, size, p, &d, &fault);
        if (r == 0 && d.jws)
                check_signed(&d, p);
        else if (r == 0)
                check_document(&d, p, text, size);
        else {
                assert(r == -EINVAL);
                assert(fault.reason[0] && utf8_valid(fault.reason, strlen(fault.reason)));
                assert(utf8_valid(fault.path, strlen(fault.path)));
                assert(d.n_steps == 0 && !d.steps && !d.jws);
        }
        jobdoc_done(&d);
        return 0;
}
