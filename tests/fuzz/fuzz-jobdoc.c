/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a job document: no crash, no leak, and what comes out keeps the promises of jobdoc.h. */
#include "jobdoc/jobdoc.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_step(const JobStep *s, const JobPolicy *policy) {
        const char *why;

        assert(s->name && strlen(s->name) <= JOBDOC_NAME_MAX);
        assert(s->handler && handler_name_valid(s->handler, &why));
        assert(!s->directory || strcmp(s->directory, policy->paths[0]) == 0);
        assert(!s->run_as);
        assert(s->allow_stderr >= -1 && s->allow_stderr <= INT32_MAX);
        assert(s->args && s->n_args <= JOBDOC_ARGS_MAX && !s->args[s->n_args]);
        for (size_t i = 0; i < s->n_args; i++)
                assert(strlen(s->args[i]) <= JOBDOC_ARG_BYTES_MAX);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const paths[] = { "/opt/x", NULL };
        static const JobPolicy policy = { .paths = paths, .user = "root" };
        static const JobPolicy with_fallback = { .paths = paths, .user = "root", .fallback = "other" };
        const JobPolicy *p = size % 2 ? &policy : &with_fallback;
        CLEANUP_FREE char *text = malloc(size ? size : 1); /* exactly the bytes: a read behind them is seen */
        JobDoc d = { 0 };
        JobFault fault = { 0 };
        int r;

        if (!text)
                return 0;
        if (size)
                memcpy(text, data, size);
        r = jobdoc_parse(text, size, p, &d, &fault);
        if (r == 0)
                check_document(&d, p, text, size);
        else {
                assert(r == -EINVAL);
                assert(fault.reason[0] && utf8_valid(fault.reason, strlen(fault.reason)));
                assert(utf8_valid(fault.path, strlen(fault.path)));
                assert(d.n_steps == 0 && !d.steps);
        }
        jobdoc_done(&d);
        return 0;
}
