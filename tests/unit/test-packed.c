/* SPDX-License-Identifier: Apache-2.0 */
/* What the process that reads documents says: it comes through as it was parsed, and no lie does. (Any bytes: fuzz-packed.c.) */
#include "jobdoc/packed.h"

#include <errno.h>

#include "unit.h"

static const char *const paths[] = { "/etc/iot-jobs/handlers.d", "/opt/x", NULL };
static const char *const run_as[] = { "www-data", "bob", NULL };
static const JobFact handler_users[] = { { "a.sh", "alice" }, {} };
static const JobFacts facts = { .operating_system = "debian" };
static const JobPolicy generous = { .paths = paths, .user = "root", .fallback = "other", .run_command = true, .run_as = run_as,
                                    .handler_users = handler_users, .facts = &facts, .signature = JOB_SIGNATURE_OPTIONAL };
static const JobPolicy strict = { .user = "root" };
static const JobPolicy signed_only = { .user = "root", .signature = JOB_SIGNATURE_REQUIRED };

static JobDoc parsed, unpacked;
static JobFault fault, said;
static Error error;
static Buf packed;

static void teardown(void) {
        jobdoc_done(&parsed);
        jobdoc_done(&unpacked);
        buf_done(&packed);
        fault = said = (JobFault){};
        error = (Error){};
}

static void parse(const char *text, const JobPolicy *policy) {
        jobdoc_done(&parsed);
        ck_assert_msg(jobdoc_parse(text, strlen(text), policy, &parsed, &fault) == 0, "%s: %s: %s", text, fault.path, fault.reason);
}

static int unpack(const JobPolicy *policy) {
        ck_assert_int_eq(buf_error(&packed), 0);
        jobdoc_done(&unpacked);
        return jobdoc_unpack(packed.data, packed.len, policy, &unpacked, &said, &error);
}

/* ---- what is true ---- */

static void expect_text(const char *a, const char *b) {
        ck_assert_msg(!a == !b, "%s, but %s", a ? a : "NULL", b ? b : "NULL");
        if (a)
                ck_assert_str_eq(a, b);
}

static void expect_same_step(const JobStep *a, const JobStep *b) {
        expect_text(a->name, b->name);
        expect_text(a->handler, b->handler);
        expect_text(a->directory, b->directory);
        expect_text(a->run_as, b->run_as);
        expect_text(a->run_as_given, b->run_as_given);
        expect_text(a->path, b->path);
        ck_assert_uint_eq(a->n_args, b->n_args);
        for (size_t i = 0; i < a->n_args; i++)
                expect_text(a->args[i], b->args[i]);
        ck_assert_ptr_null(b->args[b->n_args]);
        ck_assert_int_eq(a->command, b->command);
        ck_assert_int_eq(a->try_suffix, b->try_suffix);
        ck_assert_int_eq(a->ignore_failure, b->ignore_failure);
        ck_assert_int_eq(a->allow_stderr, b->allow_stderr);
        ck_assert_int_eq(a->final, b->final);
}

static void expect_same(const JobDoc *a, const JobDoc *b) {
        ck_assert_uint_eq(a->n_steps, b->n_steps);
        ck_assert_uint_eq(a->n_parameters, b->n_parameters);
        ck_assert_int_eq(a->include_stdout, b->include_stdout);
        ck_assert_int_eq(a->timeout, b->timeout);
        expect_text(a->jws, b->jws);
        for (size_t i = 0; i < a->n_steps; i++)
                expect_same_step(&a->steps[i], &b->steps[i]);
        for (size_t i = 0; i < a->n_parameters; i++) {
                expect_text(a->parameters[i].name, b->parameters[i].name);
                expect_text(a->parameters[i].value, b->parameters[i].value);
        }
}

static void expect_through(const char *text, const JobPolicy *policy) {
        parse(text, policy);
        buf_clear(&packed);
        jobdoc_pack(&parsed, policy, &packed);
        ck_assert_msg(unpack(policy) == 0, "%.200s: %s", text, error.text);
        ck_assert_uint_le(packed.len, JOBDOC_PACKED_MAX);
        expect_same(&parsed, &unpacked);
}

#define STEP(more, input) "{\"action\":{\"name\":\"one\"," more "\"type\":\"runHandler\",\"input\":{\"handler\":\"a.sh\"" input "}}}"
#define STEPS(steps, more) "{\"version\":\"1.0\",\"steps\":[" steps "]" more "}"

static const char *const documents[] = {
        "{\"operation\":\"reboot\"}",
        "{\"operation\":\"a.sh\",\"args\":[\"\",\"zwei Wörter\",\"\\u20ac\"],\"path\":\"/opt/x/\",\"includeStdOut\":true,\"timeout\":31536000,"
        "\"allowStdErr\":2147483647,\"runAsUser\":\"bob\"}",
        "{\"operation\":\"a.sh\",\"runAsUser\":\"alice\",\"allowStdErr\":0,\"parameters\":{\"A\":1.50,\"b_2\":\"\",\"c d\":1,\"n\":null}}",
        "{\"no\":\"operation\"}",
        STEPS(STEP("", ""), ""),
        STEPS(STEP("\"runAsUser\":\"alice\",", ""), ""),
        STEPS(STEP("\"runAsUser\":\"www-data\",\"ignoreStepFailure\":true,", ",\"path\":\"/etc/iot-jobs/handlers.d\",\"args\":[\"-x\"]") ","
              STEP("\"allowStdErr\":7,", ""), ",\"finalStep\":" STEP("", "") ",\"timeout\":\"60\""),
        STEPS("{\"action\":{\"name\":\"c\",\"type\":\"runCommand\",\"input\":{\"command\":\"/bin/echo, a\\\\,b ,,c\"}}}", ""),
        STEPS("{\"action\":{\"name\":\"n\",\"type\":\"runHandler\",\"input\":{\"handler\":\"plain\"}}}", ""),
        "{\"jws\":\"a.b.c\"}",
};

START_TEST(comes_through) {
        expect_through(documents[_i], &generous);
}
END_TEST

/* n times `piece`, with commas between them. */
static void repeat(Buf *b, const char *piece, size_t n) {
        for (size_t i = 0; i < n; i++) {
                buf_puts(b, i ? "," : "");
                buf_puts(b, piece);
        }
}

START_TEST(largest) {
        CLEANUP_BUF Buf b = {};

        buf_puts(&b, "{\"version\":\"1.0\",\"steps\":[");
        repeat(&b, STEP("", ""), JOBDOC_STEPS_MAX);
        buf_puts(&b, "],\"parameters\":{");
        for (int i = 0; i < JOBDOC_PARAMETERS_MAX; i++)
                buf_printf(&b, "%s\"p%d\":%d", i ? "," : "", i, i);
        buf_puts(&b, "}}");
        expect_through(b.data, &generous);

        buf_clear(&b);
        buf_puts(&b, "{\"operation\":\"x\",\"args\":[");
        repeat(&b, "\"\"", JOBDOC_ARGS_MAX);
        buf_puts(&b, "]}");
        expect_through(b.data, &generous);

        /* Words of one byte: what grows most by being packed. */
        buf_clear(&b);
        buf_puts(&b, "{\"version\":\"1.0\",\"steps\":[");
        for (int i = 0; i < JOBDOC_STEPS_MAX; i++) {
                buf_printf(&b, "%s{\"action\":{\"name\":\"c\",\"type\":\"runCommand\",\"input\":{\"command\":\"", i ? "," : "");
                repeat(&b, "a", JOBDOC_ARGS_MAX);
                buf_puts(&b, "\"}}}");
        }
        buf_puts(&b, "]}");
        ck_assert_uint_le(b.len, LIMIT_DOCUMENT);
        expect_through(b.data, &generous);

        buf_clear(&b);
        buf_puts(&b, "{\"operation\":\"x\",\"parameters\":{\"p\":\"");
        while (b.len < LIMIT_DOCUMENT - 3)
                buf_puts(&b, "p");
        buf_puts(&b, "\"}}");
        expect_through(b.data, &generous);
}
END_TEST

START_TEST(faults_come_through) {
        fault = (JobFault){ .path = "steps[1].action.input.handler", .reason = "„ü“ fehlt" };
        jobdoc_pack_fault(&fault, &packed);
        ck_assert_int_eq(unpack(&strict), -EINVAL);
        ck_assert_str_eq(said.path, fault.path);
        ck_assert_str_eq(said.reason, fault.reason);
}
END_TEST

START_TEST(questions_come_through) {
        CLEANUP_FREE char *path = NULL;
        size_t len;
        bool question;

        jobdoc_pack_question("/etc/machine-id", &packed);
        ck_assert_int_eq(jobdoc_packed_length(packed.data, packed.len, &len, &question), 1);
        ck_assert_uint_eq(len, packed.len);
        ck_assert(question);
        ck_assert_int_eq(jobdoc_unpack_question(packed.data, packed.len, &path, &error), 0);
        ck_assert_str_eq(path, "/etc/machine-id");
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_str_eq(error.text, "it is no answer");
}
END_TEST

START_TEST(length_is_known_early) {
        size_t len = 0;
        bool question = true;

        parse(documents[0], &strict);
        jobdoc_pack(&parsed, &strict, &packed);
        for (size_t n = 0; n < JOBDOC_PACKED_HEADER; n++)
                ck_assert_int_eq(jobdoc_packed_length(packed.data, n, &len, &question), 0);
        ck_assert_int_eq(jobdoc_packed_length(packed.data, JOBDOC_PACKED_HEADER, &len, &question), 1);
        ck_assert_uint_eq(len, packed.len);
        ck_assert(!question);
        memcpy(packed.data + 4, "\x01\0\1\0", 4); /* 65537 */
        ck_assert_int_eq(jobdoc_packed_length(packed.data, packed.len, &len, &question), -EBADMSG);
        memcpy(packed.data + 4, "\x17\0\0\0", 4);
        ck_assert_int_eq(jobdoc_packed_length(packed.data, packed.len, &len, &question), -EBADMSG);
        packed.data[0] ^= 1;
        ck_assert_int_eq(jobdoc_packed_length(packed.data, packed.len, &len, &question), -EBADMSG);
}
END_TEST

/* ---- what is not ---- */

static void set(char **text, const char *to) {
        free(*text);
        *text = to ? strdup(to) : NULL;
}

static void set_long(char **text, size_t len) {
        free(*text);
        *text = malloc(len + 1);
        memset(*text, 'a', len);
        (*text)[len] = '\0';
}

static void lie_handler(JobDoc *d) {
        set(&d->steps[0].handler, "bin/sh");
}
static void lie_handler_hidden(JobDoc *d) {
        set(&d->steps[0].handler, "a.sh.dpkg-new");
}
static void lie_handler_long(JobDoc *d) {
        set_long(&d->steps[0].handler, JOBDOC_HANDLER_MAX + 1);
}
static void lie_handler_absent(JobDoc *d) {
        set(&d->steps[0].handler, "");
}
static void lie_name_absent(JobDoc *d) {
        set(&d->steps[0].name, "");
}
static void lie_name_long(JobDoc *d) {
        set_long(&d->steps[0].name, JOBDOC_NAME_MAX + 1);
}
static void lie_name_bytes(JobDoc *d) {
        set(&d->steps[0].name, "\xff\xfe");
}
static void lie_user(JobDoc *d) {
        set(&d->steps[0].run_as, "root");
        set(&d->steps[0].run_as_given, "root");
}
static void lie_user_other(JobDoc *d) { /* as usual, it says, but that is alice */
        set(&d->steps[0].run_as_given, "bob");
}
static void lie_user_nameless(JobDoc *d) {
        set(&d->steps[0].run_as, "bob");
}
static void lie_user_usual(JobDoc *d) {
        set(&d->steps[0].run_as, "alice");
        set(&d->steps[0].run_as_given, "alice");
}
static void lie_command(JobDoc *d) {
        d->steps[0].command = true;
}
static void lie_arg_long(JobDoc *d) {
        set_long(&d->steps[0].args[0], JOBDOC_ARG_BYTES_MAX + 1);
}
static void lie_stderr(JobDoc *d) {
        d->steps[0].allow_stderr = INT64_C(1) << 31;
}
static void lie_stderr_negative(JobDoc *d) {
        d->steps[0].allow_stderr = -2;
}
static void lie_timeout(JobDoc *d) {
        d->timeout = JOBDOC_TIMEOUT_MAX + 1;
}
static void lie_timeout_zero(JobDoc *d) {
        d->timeout = 0;
}
static void lie_timeout_negative(JobDoc *d) {
        d->timeout = INT64_MIN;
}
static void lie_final_first(JobDoc *d) {
        d->steps[0].final = true;
}
static void lie_no_steps(JobDoc *d) {
        jobdoc_done(d);
        *d = (JobDoc){ .timeout = -1 };
}
static void lie_operation_of_two(JobDoc *d) {
        d->steps[0].path[0] = '\0';
}
static void lie_parameter(JobDoc *d) {
        set(&d->parameters[0].name, "LD_PRELOAD=x");
}
static void lie_parameter_nameless(JobDoc *d) {
        set(&d->parameters[0].name, "");
}
static void lie_value(JobDoc *d) {
        set(&d->parameters[0].value, "\xc0\x80");
}

static const struct {
        void (*lie)(JobDoc *d);
        const char *said;
} lies[] = {
        { lie_handler, "no name of a handler: only letters, digits" },
        { lie_handler_hidden, "no name of a handler: an editor's" },
        { lie_handler_long, "the handler's name is too large" },
        { lie_handler_absent, "the handler's name is too short" },
        { lie_name_absent, "the step's name is too short" },
        { lie_name_long, "the step's name is too large" },
        { lie_name_bytes, "the step's name is no text" },
        { lie_user, "policy.run_as" },
        { lie_user_other, "policy.run_as" },
        { lie_user_nameless, "a user without a name" },
        { lie_user_usual, "policy.run_as" },
        { lie_command, "a command, which policy.run_command" },
        { lie_arg_long, "an argument is too large" },
        { lie_stderr, "allowStdErr is out of range" },
        { lie_stderr_negative, "allowStdErr is out of range" },
        { lie_timeout, "the timeout is out of range" },
        { lie_timeout_zero, "no timeout is 0" },
        { lie_timeout_negative, "the timeout is out of range" },
        { lie_final_first, "a final step that is not the last" },
        { lie_no_steps, "the number of steps is wrong" },
        { lie_operation_of_two, "the number of steps is wrong" },
        { lie_parameter, "no name of a variable" },
        { lie_parameter_nameless, "a parameter's name is too short" },
        { lie_value, "a parameter's value is no text" },
};

START_TEST(lies_do_not) {
        JobPolicy no_commands = generous;

        no_commands.run_command = false;
        parse(STEPS(STEP("", ",\"args\":[\"x\"]") "," STEP("", ""), ",\"parameters\":{\"P\":\"v\"}"), &no_commands);
        lies[_i].lie(&parsed);
        jobdoc_pack(&parsed, &no_commands, &packed);
        ck_assert_int_eq(unpack(&no_commands), -EBADMSG);
        ck_assert_msg(strstr(error.text, lies[_i].said) != NULL, "%s", error.text);
        ck_assert_uint_eq(unpacked.n_steps, 0);
}
END_TEST

static void lie_no_program(JobDoc *d) {
        while (d->steps[0].n_args > 0)
                set(&d->steps[0].args[--d->steps[0].n_args], NULL);
}
static void lie_program_empty(JobDoc *d) {
        set(&d->steps[0].args[0], "");
}
static void lie_program_blank(JobDoc *d) {
        set(&d->steps[0].args[0], "/bin/sh -c");
}
static void lie_program_nowhere(JobDoc *d) {
        d->steps[0].path[0] = '\0';
}
static void lie_command_directory(JobDoc *d) {
        set(&d->steps[0].directory, "/opt/x");
}

static const struct {
        void (*lie)(JobDoc *d);
        const char *said;
} command_lies[] = {
        { lie_no_program, "a command without a program" },
        { lie_program_empty, "an argument is too short" },
        { lie_program_blank, "a command without a program" },
        { lie_program_nowhere, "an operation that is none" },
        { lie_command_directory, "policy.paths" },
};

START_TEST(lies_of_commands_do_not) {
        parse(documents[7], &generous);
        ck_assert(parsed.steps[0].command);
        command_lies[_i].lie(&parsed);
        jobdoc_pack(&parsed, &generous, &packed);
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_msg(strstr(error.text, command_lies[_i].said) != NULL, "%s", error.text);
}
END_TEST

/* The name of an operation is its handler's. */
START_TEST(lies_of_operations_do_not) {
        parse(documents[4], &generous);
        parsed.steps[0].path[0] = '\0';
        jobdoc_pack(&parsed, &generous, &packed);
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_str_eq(error.text, "an operation that is none");
}
END_TEST

/* Good under one policy is not good under another. */
START_TEST(policy_is_ours) {
        for (size_t i = 1; i < ELEMENTSOF(documents); i++) {
                parse(documents[i], &generous);
                buf_clear(&packed);
                jobdoc_pack(&parsed, &generous, &packed);
                ck_assert_int_eq(unpack(&signed_only), parsed.jws ? 0 : -EBADMSG);
                if (parsed.jws || parsed.steps[0].command || parsed.steps[0].directory || parsed.steps[0].run_as)
                        ck_assert_msg(unpack(&strict) == -EBADMSG, "%s", documents[i]);
        }
}
END_TEST

START_TEST(directory_out_of_range) {
        enum { PLACE = JOBDOC_PACKED_HEADER + 4 };

        parse(documents[1], &generous);
        jobdoc_pack(&parsed, &generous, &packed);
        ck_assert_int_eq(packed.data[PLACE], 2);
        packed.data[PLACE] = 3;
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_msg(strstr(error.text, "policy.paths") != NULL, "%s", error.text);
        packed.data[PLACE] = 1;
        ck_assert_int_eq(unpack(&generous), 0);
        ck_assert_str_eq(unpacked.steps[0].directory, paths[0]);
}
END_TEST

static const struct {
        JobFault fault;
        const char *said;
} bad_faults[] = {
        { { .path = "a", .reason = "" }, "the fault's reason is too short" },
        { { .path = "a", .reason = "two\nlines" }, "control characters" },
        { { .path = "\x1b[2J", .reason = "x" }, "control characters" },
        { { .path = "a", .reason = "\xe2\x80\xae" }, "control characters" }, /* right-to-left override */
        { { .path = "a", .reason = "\xe2\x80" }, "the fault's reason is no text" },
};

START_TEST(faults_of_a_liar) {
        jobdoc_pack_fault(&bad_faults[_i].fault, &packed);
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_msg(strstr(error.text, bad_faults[_i].said) != NULL, "%s", error.text);
        ck_assert_str_eq(said.reason, "");
}
END_TEST

START_TEST(questions_of_a_liar) {
        static const char *const bad[] = { "", "relative", "/\xff" };
        CLEANUP_FREE char *path = NULL, *longest = NULL;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                buf_clear(&packed);
                jobdoc_pack_question(bad[i], &packed);
                ck_assert_int_eq(jobdoc_unpack_question(packed.data, packed.len, &path, &error), -EBADMSG);
        }
        set_long(&longest, JOBDOC_CONDITION_VALUE_BYTES_MAX + 1);
        longest[0] = '/';
        buf_clear(&packed);
        jobdoc_pack_question(longest, &packed);
        ck_assert_int_eq(jobdoc_unpack_question(packed.data, packed.len, &path, &error), -EBADMSG);
        ck_assert_ptr_null(path);
}
END_TEST

/* What is taken at all is what packing makes of it: one form, and nothing hidden beside it. */
static void expect_refused_or_same(void) {
        CLEANUP_BUF Buf again = {};
        int r = unpack(&generous);

        if (r == 0)
                jobdoc_pack(&unpacked, &generous, &again);
        else if (r == -EINVAL)
                jobdoc_pack_fault(&said, &again);
        else {
                ck_assert_int_eq(r, -EBADMSG);
                ck_assert_int_ne(error.text[0], 0);
                return;
        }
        ck_assert_uint_eq(again.len, packed.len);
        ck_assert_mem_eq(again.data, packed.data, again.len);
}

START_TEST(every_byte_counts) {
        parse(documents[_i], &generous);
        jobdoc_pack(&parsed, &generous, &packed);
        for (size_t i = 0; i < packed.len; i++)
                for (int x = 1; x < 256; x++) {
                        packed.data[i] = (char) (packed.data[i] ^ x);
                        expect_refused_or_same();
                        packed.data[i] = (char) (packed.data[i] ^ x);
                }
        while (packed.len > 0) {
                packed.len--;
                ck_assert_int_eq(unpack(&generous), -EBADMSG);
                if (packed.len >= JOBDOC_PACKED_HEADER) { /* and with the length that it has */
                        packed.data[4] = (char) packed.len;
                        packed.data[5] = (char) (packed.len >> 8);
                        ck_assert_int_eq(unpack(&generous), -EBADMSG);
                }
        }
}
END_TEST

START_TEST(nothing_behind_the_end) {
        parse(documents[_i], &generous);
        jobdoc_pack(&parsed, &generous, &packed);
        buf_append(&packed, "", 1);
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_str_eq(error.text, "its length is wrong");
        packed.data[4] = (char) packed.len;
        packed.data[5] = (char) (packed.len >> 8);
        ck_assert_int_eq(unpack(&generous), -EBADMSG);
        ck_assert_str_eq(error.text, "it goes on behind its end");
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("packed");

        tcase_add_checked_fixture(c, NULL, teardown);
        tcase_set_timeout(c, 60);
        tcase_add_loop_test(c, comes_through, 0, (int) ELEMENTSOF(documents));
        tcase_add_test(c, largest);
        tcase_add_test(c, faults_come_through);
        tcase_add_test(c, questions_come_through);
        tcase_add_test(c, length_is_known_early);
        tcase_add_loop_test(c, lies_do_not, 0, (int) ELEMENTSOF(lies));
        tcase_add_loop_test(c, lies_of_commands_do_not, 0, (int) ELEMENTSOF(command_lies));
        tcase_add_test(c, lies_of_operations_do_not);
        tcase_add_test(c, policy_is_ours);
        tcase_add_test(c, directory_out_of_range);
        tcase_add_loop_test(c, faults_of_a_liar, 0, (int) ELEMENTSOF(bad_faults));
        tcase_add_test(c, questions_of_a_liar);
        tcase_add_loop_test(c, every_byte_counts, 0, (int) ELEMENTSOF(documents));
        tcase_add_loop_test(c, nothing_behind_the_end, 0, (int) ELEMENTSOF(documents));
        return c;
}

UNIT_MAIN("packed", cases())
