/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what the process that reads documents says: no crash, no leak, and what is taken is what jobdoc_parse() could have said,
 * byte for byte what packing it makes. An input that begins with '{' is a document, which must come through packing as it was parsed;
 * of any other the first byte chooses the policy, and whether the length is set right, which chance would not. */
#include "jobdoc/packed.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


enum { KEEP_LENGTH = 0x80 };

static const char *const paths[] = { "/etc/iot-jobs/handlers.d", "/opt/x", NULL };
static const char *const run_as[] = { "www-data", "bob", NULL };
static const JobFact handler_users[] = { { "a.sh", "alice" }, {} };
static const JobFacts facts = { .operating_system = "debian" };

static const JobPolicy policies[] = {
        { .user = "root" },
        { .paths = paths, .user = "root", .fallback = "other", .run_command = true, .run_as = run_as,
          .handler_users = handler_users, .facts = &facts, .signature = JOB_SIGNATURE_OPTIONAL },
        { .paths = paths, .user = "root", .run_as = run_as, .signature = JOB_SIGNATURE_REQUIRED },
        { .run_command = true, .run_as = run_as, .facts = &facts, .signature = JOB_SIGNATURE_VERIFIED },
};

/* ---- what may come out ---- */

static bool is_in(const char *const *list, const char *text) {
        while (list && *list && strcmp(*list, text) != 0)
                list++;
        return list && *list;
}

static void check_step(const JobStep *s, const JobPolicy *policy) {
        const char *why;

        assert(s->name && s->name[0] && strlen(s->name) <= JOBDOC_NAME_MAX && utf8_valid(s->name, strlen(s->name)));
        assert(s->allow_stderr >= -1 && s->allow_stderr <= INT32_MAX);
        assert(!s->run_as || (is_in(policy->run_as, s->run_as) && strcmp(s->run_as, s->run_as_given) == 0));
        assert(!s->directory || is_in(policy->paths, s->directory));
        assert(s->args && s->n_args <= JOBDOC_ARGS_MAX && !s->args[s->n_args]);
        for (size_t i = 0; i < s->n_args; i++)
                assert(strlen(s->args[i]) <= JOBDOC_ARG_BYTES_MAX && (!s->command || s->args[i][0]));
        if (s->command)
                assert(policy->run_command && !s->handler && !s->directory && !s->try_suffix && s->n_args > 0);
        else
                assert(handler_name_valid(s->handler, &why));
        assert(s->path[0] || (s->try_suffix && !s->ignore_failure && !s->final && strcmp(s->name, s->handler) == 0));
}

static void check_document(const JobDoc *d, const JobPolicy *policy) {
        if (d->jws) {
                assert(policy->signature == JOB_SIGNATURE_OPTIONAL || policy->signature == JOB_SIGNATURE_REQUIRED);
                assert(d->jws[0] && d->n_steps == 0 && d->n_parameters == 0);
                return;
        }
        assert(policy->signature != JOB_SIGNATURE_REQUIRED);
        assert(d->n_steps >= 1 && d->n_steps <= JOBDOC_STEPS_MAX && d->n_parameters <= JOBDOC_PARAMETERS_MAX);
        assert(d->timeout == -1 || (d->timeout >= 1 && d->timeout <= JOBDOC_TIMEOUT_MAX));
        for (size_t i = 0; i < d->n_steps; i++) {
                check_step(&d->steps[i], policy);
                assert(!d->steps[i].final || (i > 0 && i == d->n_steps - 1));
                assert(d->steps[i].path[0] || d->n_steps == 1);
        }
        for (size_t i = 0; i < d->n_parameters; i++) {
                assert(utf8_valid(d->parameters[i].value, strlen(d->parameters[i].value)));
                assert(strspn(d->parameters[i].name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") ==
                       strlen(d->parameters[i].name));
        }
}

/* ---- bytes ---- */

static void check_same(const JobDoc *d, const JobPolicy *policy, const char *data, size_t size) {
        CLEANUP_BUF Buf again = {};

        jobdoc_pack(d, policy, &again);
        assert(buf_error(&again) == 0 && again.len == size && memcmp(again.data, data, size) == 0);
}

static void check_fault(const JobFault *fault, const char *data, size_t size) {
        CLEANUP_BUF Buf again = {};

        assert(fault->reason[0] && utf8_valid(fault->reason, strlen(fault->reason)));
        jobdoc_pack_fault(fault, &again);
        assert(buf_error(&again) == 0 && again.len == size && memcmp(again.data, data, size) == 0);
}

static void try_question(const char *data, size_t size) {
        CLEANUP_FREE char *path = NULL;
        CLEANUP_BUF Buf again = {};
        Error e = {};
        int r = jobdoc_unpack_question(data, size, &path, &e);

        assert(r == 0 || (r == -EBADMSG && e.text[0] && !path));
        if (r < 0)
                return;
        assert(path[0] == '/' && strlen(path) <= JOBDOC_CONDITION_VALUE_BYTES_MAX);
        jobdoc_pack_question(path, &again);
        assert(buf_error(&again) == 0 && again.len == size && memcmp(again.data, data, size) == 0);
}

static void try_packed(const char *data, size_t size, const JobPolicy *policy) {
        CLEANUP_JOBDOC JobDoc d = {};
        JobFault fault = {};
        Error e = {};
        int r = jobdoc_unpack(data, size, policy, &d, &fault, &e);

        if (r == 0) {
                check_document(&d, policy);
                check_same(&d, policy, data, size);
                return;
        }
        assert(d.n_steps == 0 && !d.steps && !d.jws);
        if (r == -EINVAL)
                check_fault(&fault, data, size);
        else
                assert(r == -EBADMSG && e.text[0] && utf8_valid(e.text, strlen(e.text)));
}

/* ---- documents ---- */

static void check_text(const char *a, const char *b) {
        assert(!a == !b && (!a || strcmp(a, b) == 0));
}

static void check_equal_step(const JobStep *a, const JobStep *b) {
        check_text(a->name, b->name);
        check_text(a->handler, b->handler);
        check_text(a->directory, b->directory);
        check_text(a->run_as, b->run_as);
        check_text(a->run_as_given, b->run_as_given);
        check_text(a->path, b->path);
        assert(a->n_args == b->n_args);
        for (size_t i = 0; i < a->n_args; i++)
                check_text(a->args[i], b->args[i]);
        assert(a->command == b->command && a->try_suffix == b->try_suffix && a->ignore_failure == b->ignore_failure);
        assert(a->allow_stderr == b->allow_stderr && a->final == b->final);
}

static void check_equal(const JobDoc *a, const JobDoc *b) {
        assert(a->n_steps == b->n_steps && a->n_parameters == b->n_parameters);
        assert(a->include_stdout == b->include_stdout && a->timeout == b->timeout);
        check_text(a->jws, b->jws);
        for (size_t i = 0; i < a->n_steps; i++)
                check_equal_step(&a->steps[i], &b->steps[i]);
        for (size_t i = 0; i < a->n_parameters; i++) {
                check_text(a->parameters[i].name, b->parameters[i].name);
                check_text(a->parameters[i].value, b->parameters[i].value);
        }
}

static void try_document(const char *text, size_t size, const JobPolicy *policy) {
        CLEANUP_JOBDOC JobDoc parsed = {}, unpacked = {};
        CLEANUP_BUF Buf b = {};
        JobFault fault = {}, said = {};
        Error e = {};
        int r = jobdoc_parse(text, size, policy, &parsed, &fault);

        if (r == 0)
                jobdoc_pack(&parsed, policy, &b);
        else
                jobdoc_pack_fault(&fault, &b);
        assert(buf_error(&b) == 0 && b.len <= JOBDOC_PACKED_MAX);
        assert(jobdoc_unpack(b.data, b.len, policy, &unpacked, &said, &e) == r);
        if (r == 0)
                check_equal(&parsed, &unpacked);
        else
                assert(strcmp(fault.reason, said.reason) == 0 && strcmp(fault.path, said.path) == 0);
}

static void try_answer(char *text, size_t size, uint8_t choice) {
        size_t length;
        bool question;

        for (size_t i = 0; i < 4 && size >= 8 && !(choice & KEEP_LENGTH); i++)
                text[4 + i] = (char) (size >> (8 * i));
        if (jobdoc_packed_length(text, size, &length, &question) > 0)
                assert(length >= JOBDOC_PACKED_HEADER && length <= JOBDOC_PACKED_MAX);
        try_packed(text, size, &policies[choice % ELEMENTSOF(policies)]);
        try_question(text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t skip = size > 0 && data[0] != '{';
        CLEANUP_FREE char *text = malloc(size - skip ? size - skip : 1); /* exactly the bytes: a read behind them is seen */

        if (!text || size == 0)
                return 0;
        memcpy(text, data + skip, size - skip);
        if (skip)
                try_answer(text, size - 1, data[0]);
        for (size_t i = 0; !skip && i < ELEMENTSOF(policies); i++)
                try_document(text, size, &policies[i]);
        return 0;
}
