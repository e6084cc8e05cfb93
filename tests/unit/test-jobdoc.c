/* SPDX-License-Identifier: Apache-2.0 */
#include "jobdoc/jobdoc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "unit.h"

static const char *const allowed_paths[] = { "/opt/vendor/handlers", "/srv/jobs/", NULL };
static const JobPolicy policy = { .paths = allowed_paths, .user = "root" };
static const char *const run_as[] = { "www-data", NULL };
static const JobFact handler_users[] = { { "own-user", "alice" }, {} };
static const JobPolicy permissive = { .paths = allowed_paths,
                                      .user = "root",
                                      .run_as = run_as,
                                      .handler_users = handler_users,
                                      .run_command = true,
                                      .signature = JOB_SIGNATURE_OPTIONAL };
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

/* A steps document around one action. */
#define STEPS(action) "{\"version\":\"1.0\",\"steps\":[{\"action\":" action "}]}"
#define GOOD "{\"action\":{\"name\":\"A\",\"type\":\"runHandler\",\"input\":{\"handler\":\"a.sh\"}}}"
#define OPERATION(members) "{\"operation\":\"a\"," members "}"

/* clang-format on */

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
        ck_assert(!d.steps[0].try_suffix); /* it is there */
        ck_assert(d.steps[1].try_suffix);
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

/* The eight managed job templates of AWS: what is between @ is a parameter. */
#define MANAGED(name, handler, args) \
        "{\"version\":\"1.0\",\"steps\":[{\"action\":{\"name\":\"" name "\",\"type\":\"runHandler\",\"input\":{" \
        "\"handler\":\"" handler "\"," args "\"path\":\"@pathToHandler@\"},\"runAsUser\":\"@runAsUser@\"}}]}"

static const struct Template {
        const char *text, *name, *handler;
        const char *args[3];
        size_t n_args;
} templates[] = {
        { MANAGED("Reboot", "reboot.sh", ""), "Reboot", "reboot.sh", {}, 0 },
        { MANAGED("Download-File", "download-file.sh", "\"args\":[\"@downloadUrl@\",\"@filePath@\"],"), "Download-File",
          "download-file.sh", { "downloadUrl", "filePath" }, 2 },
        { MANAGED("Install-Application", "install-packages.sh", "\"args\":[\"@packages@\"],"), "Install-Application",
          "install-packages.sh", { "packages" }, 1 },
        { MANAGED("Remove-Application", "remove-packages.sh", "\"args\":[\"@packages@\"],"), "Remove-Application",
          "remove-packages.sh", { "packages" }, 1 },
        { MANAGED("Start-Application", "start-services.sh", "\"args\":[\"@services@\"],"), "Start-Application",
          "start-services.sh", { "services" }, 1 },
        { MANAGED("Stop-Application", "stop-services.sh", "\"args\":[\"@services@\"],"), "Stop-Application",
          "stop-services.sh", { "services" }, 1 },
        { MANAGED("Restart-Application", "restart-services.sh", "\"args\":[\"@services@\"],"), "Restart-Application",
          "restart-services.sh", { "services" }, 1 },
        { "{\"version\":\"1.0\",\"steps\":[{\"action\":{\"name\":\"Run-Command\",\"type\":\"runCommand\",\"input\":{"
          "\"command\":\"@command@\"},\"runAsUser\":\"@runAsUser@\"}}]}",
          "Run-Command", NULL, { "command" }, 1 },
};

/* Values of the parameters; whatever is not named stands for itself. */
typedef struct Given {
        const char *user, *path;
} Given;

static const Given given[] = {
        { "", "" }, /* left out: the service puts nothing in their place */
        { "root", "default" },
        { "", "/opt/vendor/handlers" },
        { "www-data", "" },
        { NULL, NULL }, /* not even the members */
};

static const char *given_value(const Given *g, const char *name) {
        if (strcmp(name, "runAsUser") == 0)
                return g->user;
        return strcmp(name, "pathToHandler") == 0 ? g->path : name;
}

/* Replace each @name@. A member whose value is NULL is renamed, so that nobody knows it. */
static void fill_template(Buf *b, const char *text, const Given *g) {
        while (*text) {
                char name[32] = "";
                const char *value;
                size_t n;

                if (*text != '@') {
                        buf_append(b, text++, 1);
                        continue;
                }
                n = strcspn(++text, "@");
                memcpy(name, text, n);
                text += n + 1;
                value = given_value(g, name);
                if (!value) {
                        const char *member_name = strcmp(name, "runAsUser") == 0 ? "\"runAsUser\":\"" : "\"path\":\"";

                        b->len -= strlen(member_name) - 1;
                        buf_puts(b, "_comment\":\"");
                }
                buf_puts(b, value ? value : "");
        }
}

static void check_template(const struct Template *t, const Given *g, const JobDoc *d) {
        const JobStep *s = &d->steps[0];

        ck_assert_uint_eq(d->n_steps, 1);
        ck_assert_str_eq(s->name, t->name);
        ck_assert_pstr_eq(s->handler, t->handler);
        ck_assert(s->command == !t->handler);
        ck_assert_uint_eq(s->n_args, t->n_args);
        for (size_t i = 0; i < t->n_args; i++)
                ck_assert_str_eq(s->args[i], t->args[i]);
        ck_assert_pstr_eq(s->directory, t->handler && g->path && g->path[0] == '/' ? g->path : NULL);
        ck_assert_pstr_eq(s->run_as, g->user && strcmp(g->user, "www-data") == 0 ? g->user : NULL);
        ck_assert_pstr_eq(s->run_as_given, g->user && g->user[0] ? g->user : NULL);
        ck_assert_int_eq(s->allow_stderr, -1);
        ck_assert(!s->ignore_failure && !s->final && !d->include_stdout);
}

START_TEST(managed_template) {
        for (size_t i = 0; i < ELEMENTSOF(given); i++) {
                CLEANUP_BUF Buf b = { 0 };
                CLEANUP_JOBDOC JobDoc d = { 0 };
                JobFault fault = { 0 };

                fill_template(&b, templates[_i].text, &given[i]);
                ck_assert_msg(jobdoc_parse(b.data, b.len, &permissive, &d, &fault) == 0, "%s: %s: %s", b.data,
                              fault.path, fault.reason);
                check_template(&templates[_i], &given[i], &d);
        }
}
END_TEST

/* A template's other parameters are required by it, yet may be "": arguments are passed on as they are. */
START_TEST(managed_template_empty_argument) {
        CLEANUP_JOBDOC JobDoc d =
                parse("{\"version\":\"1.0\",\"steps\":[{\"action\":{\"name\":\"Install-Application\",\"type\":"
                      "\"runHandler\",\"input\":{\"handler\":\"install-packages.sh\",\"args\":[\"\"],\"path\":\"\"},"
                      "\"runAsUser\":\"\"}}]}");

        ck_assert_uint_eq(d.steps[0].n_args, 1);
        ck_assert_str_eq(d.steps[0].args[0], "");
}
END_TEST

/* ---- commands ---- */

static const struct Command {
        const char *text; /* as the JSON string has it */
        const char *words[5];
} commands[] = {
        { "id", { "id" } },
        { "echo,hello world", { "echo", "hello world" } },
        { " echo , a\\t,\\nb ", { "echo", "a", "b" } },
        { "echo,,x, ,y,", { "echo", "x", "y" } },
        { ",,echo,x", { "echo", "x" } },
        { "echo,a\\\\,b", { "echo", "a,b" } },
        { "echo,\\\\,", { "echo", "," } },
        { "echo,a\\\\\\\\,b", { "echo", "a\\,b" } },
        { "echo,a\\\\b,c\\\\", { "echo", "a\\b", "c\\" } },
        { "echo, \\\\, ", { "echo", "," } },
        { "a\\\\,b,c", { "a,b", "c" } },
        { "sh,-c,echo \\\"$HOME\\\" `id`", { "sh", "-c", "echo \"$HOME\" `id`" } },
        { "/usr/bin/printf,%s\\\\,%s,\xc3\xa4,\\u00a0", { "/usr/bin/printf", "%s,%s", "\xc3\xa4", "\xc2\xa0" } },
};

START_TEST(command_words) {
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc d = { 0 };
        JobFault fault = { 0 };
        size_t n = 0;

        buf_printf(&b,
                   STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":\"%s\",\"args\":[\"ignored\"],"
                         "\"handler\":\"ignored\",\"path\":\"/ignored\"}}"),
                   commands[_i].text);
        ck_assert_msg(jobdoc_parse(b.data, b.len, &permissive, &d, &fault) == 0, "%s: %s", fault.path, fault.reason);
        ck_assert(d.steps[0].command);
        ck_assert_ptr_null(d.steps[0].handler);
        ck_assert_ptr_null(d.steps[0].directory);
        for (; commands[_i].words[n]; n++)
                ck_assert_str_eq(d.steps[0].args[n], commands[_i].words[n]);
        ck_assert_uint_eq(d.steps[0].n_args, n);
        ck_assert_ptr_null(d.steps[0].args[n]);
}
END_TEST

/* ---- users ---- */

static JobDoc parse_permissive(const char *text) {
        JobDoc d = { 0 };
        JobFault fault = { 0 };

        ck_assert_msg(jobdoc_parse(text, strlen(text), &permissive, &d, &fault) == 0, "%s: %s: %s", text, fault.path,
                      fault.reason);
        return d;
}

/* Being named by the document makes a difference only where another user is meant. */
START_TEST(step_user) {
        CLEANUP_JOBDOC JobDoc usual = parse_permissive("{\"operation\":\"a\",\"runAsUser\":\"root\"}");
        CLEANUP_JOBDOC JobDoc own = parse_permissive("{\"operation\":\"own-user\",\"runAsUser\":\"alice\"}");
        CLEANUP_JOBDOC JobDoc other = parse_permissive("{\"operation\":\"own-user\",\"runAsUser\":\"www-data\"}");
        CLEANUP_JOBDOC JobDoc none = parse_permissive("{\"operation\":\"own-user\"}");

        ck_assert_ptr_null(usual.steps[0].run_as);
        ck_assert_str_eq(usual.steps[0].run_as_given, "root");
        ck_assert_ptr_null(own.steps[0].run_as);
        ck_assert_str_eq(own.steps[0].run_as_given, "alice");
        ck_assert_str_eq(other.steps[0].run_as, "www-data");
        ck_assert_str_eq(other.steps[0].run_as_given, "www-data");
        ck_assert_ptr_null(none.steps[0].run_as);
        ck_assert_ptr_null(none.steps[0].run_as_given);
}
END_TEST

START_TEST(signed_form) {
        CLEANUP_JOBDOC JobDoc d = parse_permissive("{\"jws\":\" e30.e30.AA \"}");

        ck_assert_str_eq(d.jws, " e30.e30.AA "); /* nothing is made right on the way */
        ck_assert_uint_eq(d.n_steps, 0);
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

/* ---- os-release ---- */

static const struct Release {
        const char *text, *value; /* of ID; NULL = none */
} releases[] = {
        { "ID=debian\n", "debian" },
        { "ID=debian", "debian" },
        { "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\nHOME_URL=\"x\"\n", "debian" },
        { "ID=\"debian\"\n", "debian" },
        { "ID='debian'\n", "debian" },
        { "ID=\"a \\\"b\\\" \\$c \\\\d\"\n", "a \"b\" $c \\d" },
        { "ID='a\\b'\n", "a\\b" },
        { "ID=a\\ b\n", "a b" },
        { "ID=debian \t\r\n", "debian" },
        { "ID=first\nID=second\n", "second" },
        { "ID=first\nID='open\n", NULL },
        { "# ID=x\n ID=x\nXID=x\nIDX=x\nID_LIKE=x\nID\n", NULL },
        { "IDX=x\n", NULL },
        { "ID_LIKE=x\n", NULL },
        { "ID=\n", NULL },
        { "ID=\"\"\n", NULL },
        { "ID=a b\n", NULL },
        { "ID=$(id)\n", NULL },
        { "ID=a;b\n", NULL },
        { "ID=\"a\"b\n", NULL },
        { "ID=\"open\n", NULL },
        { "ID", NULL },
        { "ID=", NULL },
        { "", NULL },
};

START_TEST(os_release) {
        CLEANUP_FREE char *value = NULL;
        int r = os_release_get(releases[_i].text, strlen(releases[_i].text), "ID", &value);

        ck_assert_int_eq(r, releases[_i].value != NULL);
        ck_assert_pstr_eq(value, releases[_i].value);
}
END_TEST

START_TEST(os_release_nul) {
        char *value = NULL;

        ck_assert_int_eq(os_release_get("ID=a\0b\n", 7, "ID", &value), 0);
        ck_assert_int_eq(os_release_get(NULL, 0, "ID", &value), 0);
        ck_assert_ptr_null(value);
}
END_TEST

static TCase *bad_cases(void) {
        TCase *t = tcase_create("bad");

        tcase_add_test(t, raw_nul);
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
        tcase_add_test(t, managed_template_empty_argument);
        tcase_add_loop_test(t, command_words, 0, (int) ELEMENTSOF(commands));
        tcase_add_test(t, step_user);
        tcase_add_test(t, signed_form);
        tcase_add_test(t, fallback_handler);
        tcase_add_test(t, parameter_literals);
        tcase_add_test(t, parameters_behind_lists);
        tcase_add_test(t, parameter_names);
        tcase_add_loop_test(t, os_release, 0, (int) ELEMENTSOF(releases));
        tcase_add_test(t, os_release_nul);
        tcase_add_test(t, good_handler_names);
        tcase_add_test(t, bad_handler_names);
        return t;
}

UNIT_MAIN("jobdoc", bad_cases(), good_cases())
