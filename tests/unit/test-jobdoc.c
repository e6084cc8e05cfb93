/* SPDX-License-Identifier: Apache-2.0 */
#include "jobdoc/jobdoc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "unit.h"

static const char *const allowed_paths[] = { "/opt/vendor/handlers", "/srv/jobs/", NULL };
static const JobPolicy policy = { .paths = allowed_paths, .user = "root" };
static const JobPolicy with_fallback = { .paths = allowed_paths, .user = "root", .fallback = "catch-all" };

static JobDoc parse(const char *text) {
        JobDoc d = { 0 };
        JobFault fault = { 0 };
        int r = jobdoc_parse(text, strlen(text), &policy, &d, &fault);

        ck_assert_msg(r == 0, "%s: %s: %s", text, fault.path, fault.reason);
        return d;
}

static void expect_fault(const char *text, size_t len, const char *path, const char *reason) {
        JobDoc d = { 0 };
        JobFault fault = { 0 };
        int r = jobdoc_parse(text, len, &policy, &d, &fault);

        ck_assert_msg(r == -EINVAL, "%.200s: result %d", text, r);
        ck_assert_msg(strcmp(fault.path, path) == 0 && strcmp(fault.reason, reason) == 0,
                      "%.200s\n  expected %s: %s\n  found    %s: %s", text, path, reason, fault.path,
                      fault.reason);
        ck_assert_uint_eq(d.n_steps, 0); /* untouched */
}

/* ---- bad documents ---- */

/* clang-format off */

/* A steps document around one action, and around the input of one action. */
#define STEPS(action) "{\"version\":\"1.0\",\"steps\":[{\"action\":" action "}]}"
#define ACTION(members) STEPS("{\"name\":\"A\",\"type\":\"runHandler\"," members "}")
#define INPUT(members) ACTION("\"input\":{" members "}")
#define GOOD "{\"action\":{\"name\":\"A\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a.sh\"}}}"
#define SECOND(members) "{\"version\":\"1.0\",\"steps\":[" GOOD ",{\"action\":{" members "}}]}"
#define FINAL(value) "{\"version\":\"1.0\",\"steps\":[" GOOD "],\"finalStep\":" value "}"
#define TOP(members) "{\"version\":\"1.0\",\"steps\":[" GOOD "]," members "}"
#define OPERATION(members) "{\"operation\":\"a\"," members "}"

#define COUNT_EXPECTED "a whole number from 0 to 2147483647 expected"
#define SECONDS_EXPECTED "a whole number from 0 to 31536000 expected"
#define LEFTOVER "is not a handler name: an editor's or package manager's leftover"
#define CHARACTERS "is not a handler name: only letters, digits and ._+- are allowed"

static const struct BadDocument {
        const char *text, *path, *reason;
} bad[] = {
        /* not strict JSON */
        { "", "", "@JSON line 1 column 0: " },
        { "nonsense", "", "@JSON line 1 column " },
        { "[]", "", "JSON: an object expected, found an array" },
        { "\"operation\"", "", "JSON: an object expected, found a string" },
        { "null", "", "JSON: an object expected, found null" },
        { "{\"operation\":\"a\"", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\"}x", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",}", "", "@JSON line 1 column " },
        { "{'operation':'a'}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"operation\":\"b\"}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"parameters\":{\"x\":1,\"x\":2}}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"timeout\":18446744073709551616}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"timeout\":1e999}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"timeout\":010}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\\u0000b\"}", "", "@JSON line 1 column " },
        { "{\"operation\":\"\\ud800\"}", "", "@JSON line 1 column " },
        { "{\"operation\":\"\xff\"}", "", "@JSON line 1 column " },
        { "\xef\xbb\xbf{\"operation\":\"a\"}", "", "@JSON line 1 column " },
        { "{\"operation\":\"a\",\"x\":NaN}", "", "@JSON line 1 column " },

        /* which form */
        { "{}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"operation\":null}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"operation\":\"a\",\"steps\":[]}", "operation", "given together with steps; one of the two expected" },
        { "{\"version\":\"1.0\"}", "steps", "missing" },
        { "{\"finalStep\":" GOOD "}", "version", "missing" },
        { "{\"jws\":\"a.b.c\"}", "jws", "signed documents are not supported by this version" },
        { OPERATION("\"jws\":\"a.b.c\""), "jws", "signed documents are not supported by this version" },

        /* operation form */
        { "{\"operation\":3}", "operation", "a string expected" },
        { "{\"operation\":{}}", "operation", "a string expected" },
        { "{\"operation\":\"\"}", "operation", "empty" },
        { "{\"operation\":\"../../bin/sh\"}", "operation", "\"../../bin/sh\" is not a handler name: starts with a dot" },
        { "{\"operation\":\"a/b\"}", "operation", "\"a/b\" " CHARACTERS },
        { "{\"operation\":\"a b\"}", "operation", "\"a b\" " CHARACTERS },
        { "{\"operation\":\"a\\nb\"}", "operation", "\"a | b\" " CHARACTERS },
        { "{\"operation\":\"\xc3\xa4\"}", "operation", "\"\xc3\xa4\" " CHARACTERS },
        { "{\"operation\":\"a.dpkg-new\"}", "operation", "\"a.dpkg-new\" " LEFTOVER },
        { "{\"operation\":\"a~\"}", "operation", "\"a~\" " LEFTOVER },
        { "{\"operation\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "operation",
          "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is not a handler name: longer than 64 characters" },
        { OPERATION("\"args\":\"x\""), "args", "a list of strings expected" },
        { OPERATION("\"args\":{}"), "args", "a list of strings expected" },
        { OPERATION("\"args\":[\"x\",1]"), "args[1]", "a string expected" },
        { OPERATION("\"args\":[null]"), "args[0]", "a string expected" },
        { OPERATION("\"path\":\"/opt\""), "path", "\"/opt\" is not allowed (policy.paths)" },
        { OPERATION("\"path\":\"/opt/vendor/handlers/..\""), "path", "\"/opt/vendor/handlers/..\" is not allowed (policy.paths)" },
        { OPERATION("\"path\":\"handlers\""), "path", "\"handlers\" is not allowed (policy.paths)" },
        { OPERATION("\"path\":7"), "path", "a string expected" },
        { OPERATION("\"runAsUser\":\"bob\""), "runAsUser", "\"bob\" is not allowed (policy.run_as)" },
        { OPERATION("\"timeout\":-1"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":1.5"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":31536001"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":1e300"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":-1e300"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\"10s\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\" 10\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\"-1\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\"99999999999999999999\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":true"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"includeStdOut\":\"yes\""), "includeStdOut", "true or false expected" },
        { OPERATION("\"includeStdOut\":1"), "includeStdOut", "true or false expected" },
        { OPERATION("\"includeStdOut\":\"True\""), "includeStdOut", "true or false expected" },
        { OPERATION("\"allowStdErr\":-1"), "allowStdErr", COUNT_EXPECTED },
        { OPERATION("\"allowStdErr\":\"many\""), "allowStdErr", COUNT_EXPECTED },
        { OPERATION("\"parameters\":[]"), "parameters", "an object expected" },
        { OPERATION("\"parameters\":\"x\""), "parameters", "an object expected" },

        /* steps form */
        { "{\"steps\":[" GOOD "]}", "version", "missing" },
        { "{\"version\":\"2.0\",\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":\"\",\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":1.1,\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":true,\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":\"1.0\",\"steps\":[]}", "steps", "empty" },
        { "{\"version\":\"1.0\",\"steps\":{}}", "steps", "a list expected" },
        { "{\"version\":\"1.0\",\"steps\":\"x\"}", "steps", "a list expected" },
        { "{\"version\":\"1.0\",\"steps\":[null]}", "steps[0]", "an object expected" },
        { "{\"version\":\"1.0\",\"steps\":[" GOOD ",[]]}", "steps[1]", "an object expected" },
        { "{\"version\":\"1.0\",\"steps\":[{}]}", "steps[0].action", "missing" },
        { STEPS("null"), "steps[0].action", "missing" },
        { STEPS("[]"), "steps[0].action", "an object expected" },
        { STEPS("{}"), "steps[0].action.name", "missing" },
        { STEPS("{\"name\":\"\"}"), "steps[0].action.name", "empty" },
        { STEPS("{\"name\":1}"), "steps[0].action.name", "a string expected" },
        { STEPS("{\"name\":\"A\"}"), "steps[0].action.type", "missing" },
        { STEPS("{\"name\":\"A\",\"type\":1}"), "steps[0].action.type", "a string expected" },
        { STEPS("{\"name\":\"A\",\"type\":\"runScript\"}"), "steps[0].action.type",
          "\"runScript\" is not a type of step; runHandler or runCommand expected" },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":\"id\"}}"), "steps[0].action.type",
          "runCommand is not allowed (policy.run_command)" },
        { STEPS("{\"name\":\"A\",\"type\":\"runHandler\"}"), "steps[0].action.input", "missing" },
        { ACTION("\"input\":\"x\""), "steps[0].action.input", "an object expected" },
        { INPUT(""), "steps[0].action.input.handler", "missing" },
        { SECOND("\"name\":\"B\",\"type\":\"runHandler\",\"input\":{}"), "steps[1].action.input.handler", "missing" },
        { INPUT("\"handler\":\"\""), "steps[0].action.input.handler", "empty" },
        { INPUT("\"handler\":[]"), "steps[0].action.input.handler", "a string expected" },
        { INPUT("\"handler\":\"/bin/sh\""), "steps[0].action.input.handler", "\"/bin/sh\" " CHARACTERS },
        { INPUT("\"handler\":\".hidden\""), "steps[0].action.input.handler",
          "\".hidden\" is not a handler name: starts with a dot" },
        { INPUT("\"handler\":\"a.sh\",\"args\":\"x\""), "steps[0].action.input.args", "a list of strings expected" },
        { INPUT("\"handler\":\"a.sh\",\"args\":[\"x\",[\"y\"]]"), "steps[0].action.input.args[1]", "a string expected" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"/tmp\""), "steps[0].action.input.path", "\"/tmp\" is not allowed (policy.paths)" },
        { INPUT("\"handler\":\"a.sh\",\"path\":[]"), "steps[0].action.input.path", "a string expected" },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"runAsUser\":\"www-data\""), "steps[0].action.runAsUser",
          "\"www-data\" is not allowed (policy.run_as)" },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"runAsUser\":0"), "steps[0].action.runAsUser", "a string expected" },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"ignoreStepFailure\":\"maybe\""), "steps[0].action.ignoreStepFailure",
          "true or false expected" },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":1.5"), "steps[0].action.allowStdErr", COUNT_EXPECTED },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":2147483648"), "steps[0].action.allowStdErr", COUNT_EXPECTED },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":[]"), "steps[0].action.allowStdErr", COUNT_EXPECTED },
        { FINAL("[]"), "finalStep", "an object expected" },
        { FINAL("{}"), "finalStep.action", "missing" },
        { FINAL("{\"action\":{\"name\":\"F\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a/b\"}}}"),
          "finalStep.action.input.handler", "\"a/b\" " CHARACTERS },
        { FINAL("{\"action\":{\"name\":\"F\",\"type\":\"runCommand\",\"input\":{\"command\":\"id\"}}}"), "finalStep.action.type",
          "runCommand is not allowed (policy.run_command)" },
        { FINAL("{\"action\":{\"name\":\"F\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a\"},\"ignoreStepFailure\":0}}"),
          "finalStep.action.ignoreStepFailure", "true or false expected" },
        { TOP("\"includeStdOut\":[]"), "includeStdOut", "true or false expected" },
        { TOP("\"timeout\":{}"), "timeout", SECONDS_EXPECTED },
        { TOP("\"parameters\":3"), "parameters", "an object expected" },
        { TOP("\"conditions\":\"x\""), "conditions", "a list expected" },
        { TOP("\"conditions\":[{\"key\":\"operatingSystem\",\"value\":[\"ubuntu\"],\"type\":\"stringEqual\"}]"), "conditions",
          "not supported by this version" },
        { TOP("\"jws\":\"a.b.c\""), "jws", "signed documents are not supported by this version" },
};

/* clang-format on */

START_TEST(bad_document) {
        const struct BadDocument *b = &bad[_i];
        JobDoc d = { 0 };
        JobFault fault = { 0 };

        if (b->reason[0] != '@') {
                expect_fault(b->text, strlen(b->text), b->path, b->reason);
                return;
        }
        /* What follows the place is the JSON parser's own wording. */
        ck_assert_int_eq(jobdoc_parse(b->text, strlen(b->text), &policy, &d, &fault), -EINVAL);
        ck_assert_str_eq(fault.path, b->path);
        ck_assert_msg(strncmp(fault.reason, b->reason + 1, strlen(b->reason + 1)) == 0, "%s: %s", b->text,
                      fault.reason);
}
END_TEST

START_TEST(raw_nul) {
        static const char text[] = "{\"operation\":\"a\"}\0";
        static const char inside[] = "{\"operation\":\"a\0b\"}";
        JobDoc d = { 0 };
        JobFault fault = { 0 };

        ck_assert_int_eq(jobdoc_parse(text, sizeof text, &policy, &d, &fault), -EINVAL);
        ck_assert_str_eq(fault.path, "");
        ck_assert_int_eq(jobdoc_parse(inside, sizeof inside - 1, &policy, &d, &fault), -EINVAL);
        ck_assert_str_eq(fault.path, "");
}
END_TEST

static void put_nested(Buf *b, size_t depth) {
        buf_puts(b, "{\"operation\":\"a\",\"x\":");
        for (size_t i = 1; i < depth; i++)
                buf_puts(b, "[");
        for (size_t i = 1; i < depth; i++)
                buf_puts(b, "]");
        buf_puts(b, "}");
}

START_TEST(depth_limit) {
        CLEANUP_BUF Buf good = { 0 }, deep = { 0 };
        CLEANUP_JOBDOC JobDoc d = { 0 };

        put_nested(&good, 32);
        put_nested(&deep, 33);
        d = parse(good.data);
        expect_fault(deep.data, deep.len, "", "JSON nested deeper than 32 at byte 52");
}
END_TEST

START_TEST(size_limit) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc d = { 0 };

        buf_puts(&b, "{\"operation\":\"a\"}");
        while (b.len < LIMIT_DOCUMENT)
                buf_puts(&b, " ");
        d = parse(b.data);
        buf_puts(&b, " ");
        expect_fault(b.data, b.len, "", "the document is larger than 32768 bytes");
}
END_TEST

/* n entries `entry`, separated by commas, between two texts. */
static void put_many(Buf *b, const char *before, const char *entry, size_t n, const char *after) {
        buf_puts(b, before);
        for (size_t i = 0; i < n; i++)
                buf_printf(b, "%s%s", i ? "," : "", entry);
        buf_puts(b, after);
}

START_TEST(count_limits) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc steps = { 0 }, args = { 0 };

        put_many(&b, "{\"version\":\"1.0\",\"steps\":[", GOOD, JOBDOC_STEPS_MAX - 1,
                 "],\"finalStep\":" GOOD "}");
        steps = parse(b.data);
        ck_assert_uint_eq(steps.n_steps, JOBDOC_STEPS_MAX);
        buf_clear(&b);
        put_many(&b, "{\"version\":\"1.0\",\"steps\":[", GOOD, JOBDOC_STEPS_MAX, "],\"finalStep\":" GOOD "}");
        expect_fault(b.data, b.len, "steps", "more than 64 with the final step");
        buf_clear(&b);
        put_many(&b, "{\"operation\":\"a\",\"args\":[", "\"x\"", JOBDOC_ARGS_MAX, "]}");
        args = parse(b.data);
        ck_assert_uint_eq(args.steps[0].n_args, JOBDOC_ARGS_MAX);
        buf_clear(&b);
        put_many(&b, "{\"operation\":\"a\",\"args\":[", "\"x\"", JOBDOC_ARGS_MAX + 1, "]}");
        expect_fault(b.data, b.len, "args", "more than 128");
}
END_TEST

START_TEST(length_limits) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc arg = { 0 }, name = { 0 };
        char text[JOBDOC_ARG_BYTES_MAX + 2];

        memset(text, 'x', sizeof text);
        buf_printf(&b, "{\"operation\":\"a\",\"args\":[\"%.*s\"]}", JOBDOC_ARG_BYTES_MAX, text);
        arg = parse(b.data);
        buf_clear(&b);
        buf_printf(&b, "{\"operation\":\"a\",\"args\":[\"%.*s\"]}", JOBDOC_ARG_BYTES_MAX + 1, text);
        expect_fault(b.data, b.len, "args[0]", "longer than 8192 bytes");
        buf_clear(&b);
        buf_printf(&b, STEPS("{\"name\":\"%.*s\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a\"}}"),
                   JOBDOC_NAME_MAX, text);
        name = parse(b.data);
        buf_clear(&b);
        buf_printf(&b, STEPS("{\"name\":\"%.*s\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a\"}}"),
                   JOBDOC_NAME_MAX + 1, text);
        expect_fault(b.data, b.len, "steps[0].action.name", "longer than 256 bytes");
}
END_TEST

START_TEST(parameter_limit) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc d = { 0 };

        buf_puts(&b, "{\"operation\":\"a\",\"parameters\":{\"not-passed\":1,\"list\":[],\"unset\":null");
        for (size_t i = 0; i < JOBDOC_PARAMETERS_MAX; i++)
                buf_printf(&b, ",\"p%zu\":%zu", i, i);
        buf_puts(&b, "}}");
        d = parse(b.data);
        ck_assert_uint_eq(d.n_parameters, JOBDOC_PARAMETERS_MAX);
        ck_assert_str_eq(d.parameters[JOBDOC_PARAMETERS_MAX - 1].name, "p127");
        ck_assert_str_eq(d.parameters[JOBDOC_PARAMETERS_MAX - 1].value, "127");
        b.data[b.len -= 2] = '\0';
        buf_puts(&b, ",\"more\":1}}");
        expect_fault(b.data, b.len, "parameters", "more than 128 that can be passed on");
}
END_TEST

/* ---- good documents ---- */

START_TEST(operation_plain) {
        CLEANUP_JOBDOC JobDoc d = parse("{\"operation\":\"update-firmware\"}");

        ck_assert_uint_eq(d.n_steps, 1);
        ck_assert_str_eq(d.steps[0].name, "update-firmware");
        ck_assert_str_eq(d.steps[0].handler, "update-firmware");
        ck_assert(d.steps[0].try_suffix);
        ck_assert(!d.steps[0].ignore_failure);
        ck_assert(!d.steps[0].final);
        ck_assert_ptr_null(d.steps[0].directory);
        ck_assert_ptr_null(d.steps[0].run_as);
        ck_assert_uint_eq(d.steps[0].n_args, 0);
        ck_assert_ptr_null(d.steps[0].args[0]);
        ck_assert_int_eq(d.steps[0].allow_stderr, -1);
        ck_assert_str_eq(d.steps[0].path, "");
        ck_assert_int_eq(d.timeout, -1);
        ck_assert(!d.include_stdout);
        ck_assert_uint_eq(d.n_parameters, 0);
}
END_TEST

START_TEST(operation_full) {
        CLEANUP_JOBDOC JobDoc d = parse(
                "{\"operation\":\"a\",\"args\":[\"x "
                "y\",\"\"],\"path\":\"/srv/jobs\",\"includeStdOut\":\"true\","
                "\"allowStdErr\":2,\"timeout\":\"90\",\"runAsUser\":\"root\",\"_comment\":{\"steps\":1}}");

        ck_assert_uint_eq(d.steps[0].n_args, 2);
        ck_assert_str_eq(d.steps[0].args[0], "x y");
        ck_assert_str_eq(d.steps[0].args[1], "");
        ck_assert_ptr_null(d.steps[0].args[2]);
        ck_assert_str_eq(d.steps[0].directory, "/srv/jobs/"); /* as the operator wrote it */
        ck_assert(d.include_stdout);
        ck_assert_int_eq(d.steps[0].allow_stderr, 2);
        ck_assert_int_eq(d.timeout, 90);
        ck_assert_ptr_null(d.steps[0].run_as);
}
END_TEST

/* A document with an operation may use the other form's names for its own purposes. */
START_TEST(operation_own_members) {
        CLEANUP_JOBDOC JobDoc d =
                parse("{\"operation\":\"blink\",\"steps\":5,\"version\":\"2.3\",\"conditions\":[\"sunny\"]}");

        ck_assert_str_eq(d.steps[0].handler, "blink");
}
END_TEST

static const struct Lenient {
        const char *text;
        int64_t timeout, allow_stderr;
        bool include_stdout;
} lenient[] = {
        { OPERATION("\"timeout\":0,\"allowStdErr\":0,\"includeStdOut\":false"), -1, 0, false },
        { OPERATION("\"timeout\":\"0\",\"allowStdErr\":\"0\",\"includeStdOut\":\"false\""), -1, 0, false },
        { OPERATION("\"timeout\":60,\"allowStdErr\":8,\"includeStdOut\":true"), 60, 8, true },
        { OPERATION("\"timeout\":60.0,\"allowStdErr\":8.0,\"includeStdOut\":\"true\""), 60, 8, true },
        { OPERATION("\"timeout\":6e1,\"allowStdErr\":\"008\""), 60, 8, false },
        { OPERATION("\"timeout\":\"\",\"allowStdErr\":\"\",\"includeStdOut\":\"\""), -1, -1, false },
        { OPERATION("\"timeout\":null,\"allowStdErr\":null,\"includeStdOut\":null"), -1, -1, false },
        { OPERATION("\"timeout\":31536000,\"allowStdErr\":2147483647"), 31536000, INT32_MAX, false },
        { OPERATION("\"args\":null,\"path\":null,\"parameters\":null,\"runAsUser\":null,\"jws\":null,"
                    "\"steps\":null"),
          -1, -1, false },
        { OPERATION("\"path\":\"\",\"runAsUser\":\"\""), -1, -1, false },
        { OPERATION("\"path\":\"default\",\"args\":[]"), -1, -1, false },
};

START_TEST(lenient_types) {
        CLEANUP_JOBDOC JobDoc d = parse(lenient[_i].text);

        ck_assert_int_eq(d.timeout, lenient[_i].timeout);
        ck_assert_int_eq(d.steps[0].allow_stderr, lenient[_i].allow_stderr);
        ck_assert(d.include_stdout == lenient[_i].include_stdout);
        ck_assert_ptr_null(d.steps[0].directory);
        ck_assert_ptr_null(d.steps[0].run_as);
}
END_TEST

START_TEST(steps_full) {
        CLEANUP_JOBDOC JobDoc d = parse(
                "{\"version\":\"1.0\",\"includeStdOut\":\"true\",\"timeout\":30,\"conditions\":[],\"steps\":["
                "{\"action\":{\"name\":\"Install\",\"type\":\"runHandler\",\"runAsUser\":\"root\","
                "\"allowStdErr\":8,"
                "\"ignoreStepFailure\":\"true\",\"input\":{\"handler\":\"install-packages.sh\",\"args\":["
                "\"lftp\"],\"path\":\"default\"}}},"
                "{\"action\":{\"name\":\"Check\",\"type\":\"runHandler\",\"ignoreStepFailure\":false,"
                "\"input\":{\"handler\":\"check\",\"path\":\"/opt/vendor/handlers/\"}}}],"
                "\"finalStep\":{\"action\":{\"name\":\"Clean\",\"type\":\"runHandler\",\"input\":{"
                "\"handler\":\"clean\"},"
                "\"ignoreStepFailure\":true}},\"parameters\":{\"a\":\"b\"}}");

        ck_assert_uint_eq(d.n_steps, 3);
        ck_assert(d.include_stdout);
        ck_assert_int_eq(d.timeout, 30);
        ck_assert_str_eq(d.steps[0].name, "Install");
        ck_assert_str_eq(d.steps[0].handler, "install-packages.sh");
        ck_assert(!d.steps[0].try_suffix);
        ck_assert(d.steps[0].ignore_failure);
        ck_assert_int_eq(d.steps[0].allow_stderr, 8);
        ck_assert_str_eq(d.steps[0].args[0], "lftp");
        ck_assert_ptr_null(d.steps[0].directory);
        ck_assert_ptr_null(d.steps[0].run_as);
        ck_assert_str_eq(d.steps[0].path, "steps[0].action");
        ck_assert_str_eq(d.steps[1].path, "steps[1].action");
        ck_assert(!d.steps[1].ignore_failure);
        ck_assert(!d.steps[1].final);
        ck_assert_str_eq(d.steps[1].directory, "/opt/vendor/handlers");
        ck_assert_str_eq(d.steps[2].path, "finalStep.action");
        ck_assert(d.steps[2].final);
        ck_assert(d.steps[2].ignore_failure);
        ck_assert_uint_eq(d.n_parameters, 1);
}
END_TEST

START_TEST(version_number) {
        CLEANUP_JOBDOC JobDoc real = parse("{\"version\":1.0,\"steps\":[" GOOD "]}");
        CLEANUP_JOBDOC JobDoc integer = parse("{\"version\":1,\"steps\":[" GOOD "],\"finalStep\":null}");

        ck_assert_uint_eq(real.n_steps, 1);
        ck_assert_uint_eq(integer.n_steps, 1);
}
END_TEST

/* The seven managed job templates of AWS that run handlers, optional parameters given and left out. */
static const struct Template {
        const char *name, *handler;
        size_t n_args;
} templates[] = {
        { "Reboot", "reboot.sh", 0 },
        { "Download-File", "download-file.sh", 2 },
        { "Install-Application", "install-packages.sh", 1 },
        { "Remove-Application", "remove-packages.sh", 1 },
        { "Start-Application", "start-services.sh", 1 },
        { "Stop-Application", "stop-services.sh", 1 },
        { "Restart-Application", "restart-services.sh", 1 },
};

static void put_template(Buf *b, const struct Template *t, const char *path, const char *user) {
        buf_printf(b,
                   "{\"version\":\"1.0\",\"steps\":[{\"action\":{\"name\":\"%s\",\"type\":\"runHandler\","
                   "\"input\":{\"handler\":\"%s\",",
                   t->name, t->handler);
        if (t->n_args)
                put_many(b, "\"args\":[", "\"one two\"", t->n_args, "],");
        buf_printf(b, "\"path\":\"%s\"},\"runAsUser\":\"%s\"}}]}", path, user);
}

START_TEST(managed_template) {
        static const char *const parameters[][2] = { { "", "" },
                                                     { "default", "root" },
                                                     { "/opt/vendor/handlers", "root" } };

        for (size_t i = 0; i < ELEMENTSOF(parameters); i++) {
                CLEANUP_BUF Buf b = { 0 };
                CLEANUP_JOBDOC JobDoc d = { 0 };

                put_template(&b, &templates[_i], parameters[i][0], parameters[i][1]);
                d = parse(b.data);
                ck_assert_uint_eq(d.n_steps, 1);
                ck_assert_str_eq(d.steps[0].name, templates[_i].name);
                ck_assert_str_eq(d.steps[0].handler, templates[_i].handler);
                ck_assert_uint_eq(d.steps[0].n_args, templates[_i].n_args);
                ck_assert((d.steps[0].directory != NULL) == (i == 2));
        }
}
END_TEST

START_TEST(fallback_handler) {
        static const char *const texts[] = { "{}", "{\"version\":\"7\",\"anything\":[1,2]}" };
        static const char steps_missing_version[] = "{\"steps\":[]}";
        JobFault fault = { 0 };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                CLEANUP_JOBDOC JobDoc d = { 0 };

                ck_assert_int_eq(jobdoc_parse(texts[i], strlen(texts[i]), &with_fallback, &d, &fault), 0);
                ck_assert_str_eq(d.steps[0].handler, "catch-all");
        }
        {
                JobDoc d = { 0 };

                ck_assert_int_eq(jobdoc_parse(steps_missing_version, strlen(steps_missing_version),
                                              &with_fallback, &d, &fault),
                                 -EINVAL);
                ck_assert_str_eq(fault.path, "version");
        }
}
END_TEST

/* ---- parameters ---- */

static const char *parameter(const JobDoc *d, const char *name) {
        for (size_t i = 0; i < d->n_parameters; i++)
                if (strcmp(d->parameters[i].name, name) == 0)
                        return d->parameters[i].value;
        return NULL;
}

/* Numbers as written. Names and strings around them are made to mislead a scanner of the text. */
START_TEST(parameter_literals) {
        CLEANUP_JOBDOC JobDoc d = parse(" { \"x\\\"parameters\\\":{\" : {\"parameters\":{\"i\":9}} , "
                                        "\"list\":[[1,\"]\",{\"}\":\"\\\\\"}],2],\"operation\":\"a\",\n"
                                        "\"\\u0070arameters\" :\t{ \"i\" : 1.10 "
                                        ",\"e\":1e3,\"z\":-0,\"big\":9223372036854775807,\"neg\":-1.5E+07\n,"
                                        "\"s\":\"a,b}\\\"\\n\",\"o\":{\"i\":2},\"l\":[3,[4]],\"yes\":true,"
                                        "\"no\":false,\"none\":null,\"\\u006c\\u0061st\":0.0},"
                                        "\"i\":5 }");

        ck_assert_str_eq(parameter(&d, "i"), "1.10");
        ck_assert_str_eq(parameter(&d, "e"), "1e3");
        ck_assert_str_eq(parameter(&d, "z"), "-0");
        ck_assert_str_eq(parameter(&d, "big"), "9223372036854775807");
        ck_assert_str_eq(parameter(&d, "neg"), "-1.5E+07");
        ck_assert_str_eq(parameter(&d, "s"), "a,b}\"\n");
        ck_assert_str_eq(parameter(&d, "yes"), "true");
        ck_assert_str_eq(parameter(&d, "no"), "false");
        ck_assert_str_eq(parameter(&d, "last"), "0.0");
        ck_assert_ptr_null(parameter(&d, "o"));
        ck_assert_ptr_null(parameter(&d, "l"));
        ck_assert_ptr_null(parameter(&d, "none"));
        ck_assert_uint_eq(d.n_parameters, 9);
}
END_TEST

/* Lists of every kind on the way to a number. */
START_TEST(parameters_behind_lists) {
        static const char *const lists[] = { "[]", "[1,2,3]", "[{\"n\":7}]", "[[{\"n\":7},8],\"]\"]",
                                             "[\"\\\"]{\",{}]" };

        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                Buf b CLEANUP_BUF = { 0 };
                JobDoc d CLEANUP_JOBDOC = { 0 };

                buf_printf(&b, "{\"before\":%s,\"operation\":\"a\",\"parameters\":{\"l\":%s,\"n\":4.50}}",
                           lists[i], lists[i]);
                d = parse(b.data);
                ck_assert_uint_eq(d.n_parameters, 1);
                ck_assert_str_eq(parameter(&d, "n"), "4.50");
        }
}
END_TEST

START_TEST(parameter_names) {
        CLEANUP_JOBDOC JobDoc d = parse(
                OPERATION("\"parameters\":{\"a-b\":1,\"1a\":1,\"\":1,\"a b\":1,\"\xc3\xa4\":1,\"a.b\":1,"
                          "\"_\":1,\"A_9z\":\"\",\"LD_PRELOAD\":\"x\"}"));

        ck_assert_uint_eq(d.n_parameters, 3);
        ck_assert_str_eq(parameter(&d, "_"), "1");
        ck_assert_str_eq(parameter(&d, "A_9z"), "");
        ck_assert_str_eq(parameter(&d, "LD_PRELOAD"), "x");
}
END_TEST

/* ---- handler names ---- */

START_TEST(good_handler_names) {
        static const char *const names[] = { "a",     "a.sh", "A_b-c+d.9", "update-firmware",
                                             "-rf",   "+",    "_",         "dpkg-new",
                                             "a.new", "bak",  "x.dpkg.sh" };
        const char *why = NULL;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ck_assert_msg(handler_name_valid(names[i], &why), "%s: %s", names[i], why);
        ck_assert(
                handler_name_valid("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &why));
}
END_TEST

START_TEST(bad_handler_names) {
        static const char *const names[] = {
                "",         ".",         "..",        ".a",       "a/",         "a\\b",        "a\n",
                "a b",      "a:b",       "a*",        "$a",       "a.dpkg-old", "a.dpkg-dist", "a.ucf-dist",
                "a.rpmnew", "a.rpmsave", "a.rpmorig", "a.pacnew", "a.apk-new",  "a.bak",       "a.swp",
                "a.sh~",    "a.orig"
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *why = NULL;

                ck_assert_msg(!handler_name_valid(names[i], &why), "%s", names[i]);
                ck_assert_ptr_nonnull(why);
        }
}
END_TEST

static TCase *bad_cases(void) {
        TCase *t = tcase_create("bad");

        tcase_add_loop_test(t, bad_document, 0, (int) ELEMENTSOF(bad));
        tcase_add_test(t, raw_nul);
        tcase_add_test(t, depth_limit);
        tcase_add_test(t, size_limit);
        tcase_add_test(t, count_limits);
        tcase_add_test(t, length_limits);
        tcase_add_test(t, parameter_limit);
        return t;
}

static TCase *good_cases(void) {
        TCase *t = tcase_create("good");

        tcase_add_test(t, operation_plain);
        tcase_add_test(t, operation_full);
        tcase_add_test(t, operation_own_members);
        tcase_add_loop_test(t, lenient_types, 0, (int) ELEMENTSOF(lenient));
        tcase_add_test(t, steps_full);
        tcase_add_test(t, version_number);
        tcase_add_loop_test(t, managed_template, 0, (int) ELEMENTSOF(templates));
        tcase_add_test(t, fallback_handler);
        tcase_add_test(t, parameter_literals);
        tcase_add_test(t, parameters_behind_lists);
        tcase_add_test(t, parameter_names);
        tcase_add_test(t, good_handler_names);
        tcase_add_test(t, bad_handler_names);
        return t;
}

UNIT_MAIN("jobdoc", bad_cases(), good_cases())
