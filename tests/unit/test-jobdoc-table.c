/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as they come, and the exact reason for which each is refused: a reason is what an operator sees in the cloud.
 * Rows without one are accepted. */
#include "jobdoc/jobdoc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "unit.h"

/* ---- what they are held against ---- */

static bool file_present(const char *path, void *userdata) {
        ck_assert_str_eq(userdata, "asked");
        return strcmp(path, "/present") == 0;
}

static char asked[] = "asked";
static const char *const allowed_paths[] = { "/opt/vendor/handlers", "/srv/jobs/", NULL };
static const char *const run_as[] = { "nobody", "www-data", NULL };
static const JobFact handler_users[] = { { "other", "root" }, { "own-user", "alice" }, {} };
/* A configured fact must not stand in for what the machine itself says. */
static const JobFact configured[] = { { "site", "plant-7" }, { "line", "aaab" }, { "architecture", "aarch64" }, {} };
static const JobFacts facts = {
        .operating_system = "debian",
        .operating_system_version = "12",
        .architecture = "x86_64",
        .kernel = "6.1.0-18-amd64",
        .configured = configured,
        .file_present = file_present,
        .userdata = asked,
};
static const JobFacts no_facts = {};

static const JobPolicy plain = { .paths = allowed_paths, .user = "root" };
static const JobPolicy with_fallback = { .paths = allowed_paths, .user = "root", .fallback = "catch-all" };
static const JobPolicy full = { .paths = allowed_paths,
                                .user = "root",
                                .run_as = run_as,
                                .handler_users = handler_users,
                                .run_command = true,
                                .facts = &facts,
                                .signature = JOB_SIGNATURE_OPTIONAL };
static const JobPolicy blind = { .facts = &no_facts };
static const JobPolicy resumed = { .facts = &facts, .conditions_judged = true };
static const JobPolicy strict = { .signature = JOB_SIGNATURE_REQUIRED };
static const JobPolicy payload = { .signature = JOB_SIGNATURE_VERIFIED };

/* ---- documents ---- */

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

#define AS(user) ACTION("\"input\":{\"handler\":\"a.sh\"},\"runAsUser\":" user)
#define COMMAND(value) STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":" value "}}")
#define IF(members) TOP("\"conditions\":[{" members "}]")
#define DEBIAN "{\"key\":\"operatingSystem\",\"value\":[\"debian\"],\"type\":\"stringEqual\"}"

#define COUNT_EXPECTED "a whole number from 0 to 2147483647 expected"
#define SECONDS_EXPECTED "a whole number from 0 to 31536000 expected"
#define LEFTOVER "is not a handler name: an editor's or package manager's leftover"
#define CHARACTERS "is not a handler name: only letters, digits and ._+- are allowed"
#define BLANKS "is no program: white space in it; words are separated by commas"
#define NO_KEY "is no known condition; operatingSystem, operatingSystemVersion, architecture, kernel, file or a name in the " \
        "configuration's facts expected"
#define NO_OPERATOR "is no known operator; stringEqual, stringNotEqual, stringLike or stringNotLike expected"
#define UNSIGNED "missing; only signed documents are taken (policy.require_signature)"

/* clang-format on */

/* n times `entry`, separated by `separator`, between two texts. */
static void put_many(Buf *b, const char *before, const char *entry, const char *separator, size_t n,
                     const char *after) {
        buf_puts(b, before);
        for (size_t i = 0; i < n; i++)
                buf_printf(b, "%s%s", i ? separator : "", entry);
        buf_puts(b, after);
}

static void put_depth(Buf *b, size_t depth) {
        put_many(b, "{\"operation\":\"a\",\"x\":", "[", "", depth - 1, "");
        put_many(b, "", "]", "", depth - 1, "}");
}

static void put_size(Buf *b, size_t size) {
        buf_puts(b, "{\"operation\":\"a\"}");
        while (b->len < size)
                buf_puts(b, " ");
}

#define STEPS_BEFORE "{\"version\":\"1.0\",\"steps\":["
#define STEPS_AFTER "],\"finalStep\":" GOOD "}"
#define ARGS_BEFORE "{\"operation\":\"a\",\"args\":["
#define COMMAND_BEFORE STEPS_BEFORE "{\"action\":{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":\""
#define COMMAND_AFTER "\"}}}]}"
#define CONDITIONS_BEFORE "{\"version\":\"1.0\",\"steps\":[" GOOD "],\"conditions\":["
#define VALUES_BEFORE CONDITIONS_BEFORE "{\"key\":\"operatingSystem\",\"value\":["

/* clang-format off */

#define MAKE(name, statement) static void make_##name(Buf *b) { statement; }

MAKE(depth_32, put_depth(b, 32))
MAKE(depth_33, put_depth(b, 33))
MAKE(32_kib, put_size(b, 32768))
MAKE(32_kib_and_1, put_size(b, 32769))
MAKE(33_kib, put_size(b, 33 * 1024))
MAKE(64_steps, put_many(b, STEPS_BEFORE, GOOD, ",", 63, STEPS_AFTER))
MAKE(65_steps, put_many(b, STEPS_BEFORE, GOOD, ",", 64, STEPS_AFTER))
MAKE(128_args, put_many(b, ARGS_BEFORE, "\"x\"", ",", 128, "]}"))
MAKE(129_args, put_many(b, ARGS_BEFORE, "\"x\"", ",", 129, "]}"))
MAKE(long_arg, put_many(b, ARGS_BEFORE "\"", "x", "", 8192, "\"]}"))
MAKE(too_long_arg, put_many(b, ARGS_BEFORE "\"", "x", "", 8193, "\"]}"))
MAKE(128_words, put_many(b, COMMAND_BEFORE, "x", ",", 128, ",, ," COMMAND_AFTER))
MAKE(129_words, put_many(b, COMMAND_BEFORE, "x", ",", 129, COMMAND_AFTER))
MAKE(too_long_word, put_many(b, COMMAND_BEFORE "echo,", "x", "", 8193, COMMAND_AFTER))
MAKE(32_conditions, put_many(b, CONDITIONS_BEFORE, DEBIAN, ",", 32, "]}"))
MAKE(33_conditions, put_many(b, CONDITIONS_BEFORE, DEBIAN, ",", 33, "]}"))
MAKE(64_values, put_many(b, VALUES_BEFORE, "\"debian\"", ",", 64, "]}]}"))
MAKE(65_values, put_many(b, VALUES_BEFORE, "\"debian\"", ",", 65, "]}]}"))
MAKE(too_long_value, put_many(b, VALUES_BEFORE "\"", "x", "", 1025, "\"]}]}"))
MAKE(too_many_values, put_many(b, "{\"x\":[", "1", ",", 4100, "]}"))

static const struct Document {
        const char *text, *path, *reason;
        const JobPolicy *policy; /* NULL = plain */
        void (*make)(Buf *b);    /* in place of the text */
} documents[] = {
        /* not strict JSON */
        { "", "", "JSON line 1 column 0: unexpected token near end of file" },
        { " \n\t", "", "JSON line 2 column 1: unexpected token near end of file" },
        { "nonsense", "", "JSON line 1 column 8: invalid token near 'nonsense'" },
        { "[]", "", "JSON: an object expected, found an array" },
        { "\"operation\"", "", "JSON: an object expected, found a string" },
        { "null", "", "JSON: an object expected, found null" },
        { "17", "", "JSON: an object expected, found an integer" },
        { "{\"operation\":\"a\"", "", "JSON line 1 column 16: '}' expected near end of file" },
        { "{\"operation\":\"a\"}x", "", "JSON line 1 column 18: end of file expected near 'x'" },
        { "{\"operation\":\"a\"}{}", "", "JSON line 1 column 18: end of file expected near '{'" },
        { "{\"operation\":\"a\",}", "", "JSON line 1 column 18: string or '}' expected near '}'" },
        { "{\"operation\":\"a\" \"b\":1}", "", "JSON line 1 column 20: '}' expected near '\"b\"'" },
        { "{\"operation\":\"a\",1:2}", "", "JSON line 1 column 18: string or '}' expected near '1'" },
        { "{'operation':'a'}", "", "JSON line 1 column 2: string or '}' expected near '''" },
        { "/* c */{}", "", "JSON line 1 column 1: invalid token near '/'" },
        { OPERATION("\"operation\":\"b\""), "", "JSON line 1 column 28: duplicate object key near '\"operation\"'" },
        { OPERATION("\"\\u006fperation\":\"b\""), "", "JSON line 1 column 33: duplicate object key near '\"\\u006fperation\"'" },
        { OPERATION("\"parameters\":{\"x\":1,\"x\":2}"), "", "JSON line 1 column 40: duplicate object key near '\"x\"'" },
        { OPERATION("\"timeout\":18446744073709551616"), "",
          "JSON line 1 column 47: too big integer near '18446744073709551616'" },
        { OPERATION("\"timeout\":1e999"), "", "JSON line 1 column 32: real number overflow near '1e999'" },
        { OPERATION("\"timeout\":010"), "", "JSON line 1 column 28: invalid token near '0'" },
        { OPERATION("\"x\":NaN"), "", "JSON line 1 column 24: invalid token near 'NaN'" },
        { OPERATION("\"x\":+1"), "", "JSON line 1 column 22: invalid token near '+'" },
        { OPERATION("\"x\":tru"), "", "JSON line 1 column 24: invalid token near 'tru'" },
        { OPERATION("\"x\":\"\x01\""), "", "JSON line 1 column 22: control character 0x1 near '\"'" },
        { OPERATION("\"x\":\"\\x\""), "", "JSON line 1 column 24: invalid escape near '\"\\x'" },
        { "{\"operation\":\"a\\u0000b\"}", "", "JSON line 1 column 23: a NUL (\\u0000) is not allowed" },
        { OPERATION("\"a\\u0000b\":1"), "", "JSON line 1 column 27: a NUL (\\u0000) is not allowed" },
        { "{\"operation\":\"\\ud800\"}", "", "JSON line 1 column 21: invalid Unicode '\\uD800' near '\"\\ud800\"'" },
        { "{\"operation\":\"\xff\"}", "", "JSON line 1 column 14: unable to decode byte 0xff near '\"'" },
        { "{\"operation\":\"\xc0\xae\"}", "", "JSON line 1 column 14: unable to decode byte 0xc0 near '\"'" },
        { "{\"operation\":\"\xed\xa0\x80\"}", "", "JSON line 1 column 14: unable to decode byte 0xed near '\"'" },
        { "\xef\xbb\xbf{\"operation\":\"a\"}", "", "JSON line 1 column 1: invalid token near '\xef\xbf\xbd'" },

        /* which form */
        { "{}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"operation\":null}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"operation\":\"a\",\"steps\":[]}", "operation", "given together with steps; one of the two expected" },
        { "{\"version\":\"1.0\"}", "steps", "missing" },
        { "{\"finalStep\":" GOOD "}", "version", "missing" },
        { "{\"jws\":\"a.b.c\"}", "jws", "no signed documents are taken" },
        { OPERATION("\"jws\":\"a.b.c\""), "jws", "no signed documents are taken" },

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
        { TOP("\"conditions\":[" DEBIAN "]"), "conditions", "cannot be judged: nothing is known of this machine" },
        { TOP("\"jws\":\"a.b.c\""), "jws", "no signed documents are taken" },

        /* hostile names */
        { "{\"operation\":\".\"}", "operation", "\".\" is not a handler name: starts with a dot" },
        { "{\"operation\":\"..\"}", "operation", "\"..\" is not a handler name: starts with a dot" },
        { "{\"operation\":\"../x\"}", "operation", "\"../x\" is not a handler name: starts with a dot" },
        { "{\"operation\":\"x/../y\"}", "operation", "\"x/../y\" " CHARACTERS },
        { "{\"operation\":\"x/\"}", "operation", "\"x/\" " CHARACTERS },
        { "{\"operation\":\"/etc/passwd\"}", "operation", "\"/etc/passwd\" " CHARACTERS },
        { "{\"operation\":\"a\\\\b\"}", "operation", "\"a\\b\" " CHARACTERS },
        { "{\"operation\":\"a;reboot\"}", "operation", "\"a;reboot\" " CHARACTERS },
        { "{\"operation\":\"$(id)\"}", "operation", "\"$(id)\" " CHARACTERS },
        { "{\"operation\":\"a\\u001b[2J\"}", "operation", "\"a\xef\xbf\xbd[2J\" " CHARACTERS },
        { "{\"operation\":\"a\\u202egnp.exe\"}", "operation", "\"a\xef\xbf\xbdgnp.exe\" " CHARACTERS },
        { "{\"operation\":\"a\\u200bb\"}", "operation", "\"a\xef\xbf\xbd" "b\" " CHARACTERS },
        { "{\"operation\":\"reb\\u043e\\u043et\"}", "operation", "\"reb\xd0\xbe\xd0\xbet\" " CHARACTERS },
        { "{\"operation\":\"\\uff52eboot\"}", "operation", "\"\xef\xbd\x92" "eboot\" " CHARACTERS },
        { "{\"operation\":\"x\\u2215y\"}", "operation", "\"x\xe2\x88\x95y\" " CHARACTERS },
        { "{\"operation\":\"x\\uff0ey\"}", "operation", "\"x\xef\xbc\x8ey\" " CHARACTERS },
        { "{\"operation\":\"caf\\u00e9\"}", "operation", "\"caf\xc3\xa9\" " CHARACTERS },
        { "{\"operation\":\"a.sh.dpkg-old\"}", "operation", "\"a.sh.dpkg-old\" " LEFTOVER },
        { "{\"operation\":\"a.rpmsave\"}", "operation", "\"a.rpmsave\" " LEFTOVER },
        { "{\"operation\":\".a.swp\"}", "operation", "\".a.swp\" is not a handler name: starts with a dot" },
        { INPUT("\"handler\":\"../a.sh\""), "steps[0].action.input.handler",
          "\"../a.sh\" is not a handler name: starts with a dot" },
        { INPUT("\"handler\":\"a.dpkg-new\""), "steps[0].action.input.handler", "\"a.dpkg-new\" " LEFTOVER },
        { INPUT("\"handler\":\"a\\nb\""), "steps[0].action.input.handler", "\"a | b\" " CHARACTERS },
        { "{\"operation\":\"-rf\"}" }, /* started by its path: no option to anything */
        { OPERATION("\"args\":[\"../x\",\"$(id)\",\"-rf\",\"\",\"\\u202e\"]") }, /* no shell sees them */

        /* names of the wrong case, or nearly right, are names of nothing */
        { "{\"Operation\":\"a\"}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"operation \":\"a\"}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"\\u043eperation\":\"a\"}", "operation", "missing, and so is steps; one of the two expected" },
        { "{\"version\":\"1.0\",\"Steps\":[" GOOD "]}", "steps", "missing" },
        { STEPS("{\"name\":\"A\",\"type\":\"RunHandler\"}"), "steps[0].action.type",
          "\"RunHandler\" is not a type of step; runHandler or runCommand expected" },
        { STEPS("{\"name\":\"A\",\"type\":\"\"}"), "steps[0].action.type", "empty" },
        { STEPS("{\"name\":\"A\",\"type\":null}"), "steps[0].action.type", "missing" },
        { "{\"version\":\"1.0\",\"steps\":[{\"name\":\"A\"}]}", "steps[0].action", "missing" },
        { "{\"version\":\"1.0\",\"steps\":[" GOOD "," GOOD ",3]}", "steps[2]", "an object expected" },
        { "{\"version\":[],\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":\"1\",\"steps\":[" GOOD "]}", "version", "\"1.0\" expected" },
        { "{\"version\":\"1.0\",\"steps\":null}", "steps", "missing" },
        { ACTION("\"input\":null"), "steps[0].action.input", "missing" },
        { ACTION("\"input\":[]"), "steps[0].action.input", "an object expected" },
        { INPUT("\"handler\":null"), "steps[0].action.input.handler", "missing" },
        { INPUT("\"handler\":true"), "steps[0].action.input.handler", "a string expected" },
        { INPUT("\"handler\":\"a.sh\",\"args\":[\"x\",null]"), "steps[0].action.input.args[1]", "a string expected" },
        { INPUT("\"handler\":\"a.sh\",\"args\":[true]"), "steps[0].action.input.args[0]", "a string expected" },
        { INPUT("\"handler\":\"a.sh\",\"args\":7"), "steps[0].action.input.args", "a list of strings expected" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"${aws:iot:parameter:pathToHandler}\""), "steps[0].action.input.path",
          "\"${aws:iot:parameter:pathToHandler}\" is not allowed (policy.paths)" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"/opt/vendor\""), "steps[0].action.input.path",
          "\"/opt/vendor\" is not allowed (policy.paths)" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"/opt/vendor/handlers/x\""), "steps[0].action.input.path",
          "\"/opt/vendor/handlers/x\" is not allowed (policy.paths)" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"Default\""), "steps[0].action.input.path",
          "\"Default\" is not allowed (policy.paths)" },
        { INPUT("\"handler\":\"a.sh\",\"path\":\"/opt/vendor/handlers//\"") },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"ignoreStepFailure\":1"), "steps[0].action.ignoreStepFailure",
          "true or false expected" },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":true"), "steps[0].action.allowStdErr", COUNT_EXPECTED },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":\"0x8\""), "steps[0].action.allowStdErr", COUNT_EXPECTED },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":9223372036854775807"), "steps[0].action.allowStdErr",
          COUNT_EXPECTED },
        { ACTION("\"input\":{\"handler\":\"a.sh\"},\"allowStdErr\":\"\xd9\xa3\""), "steps[0].action.allowStdErr",
          COUNT_EXPECTED },
        { OPERATION("\"timeout\":9223372036854775807"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\"1e3\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":\"0000000000000000060\""), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"timeout\":[60]"), "timeout", SECONDS_EXPECTED },
        { OPERATION("\"includeStdOut\":{}"), "includeStdOut", "true or false expected" },

        /* users */
        { AS("\"root\"") },
        { AS("\"\"") },
        { AS("null") },
        { AS("\"www-data\""), .policy = &full },
        { AS("\"WWW-data\""), "steps[0].action.runAsUser", "\"WWW-data\" is not allowed (policy.run_as)", &full },
        { AS("\"www-data \""), "steps[0].action.runAsUser", "\"www-data \" is not allowed (policy.run_as)", &full },
        { AS("\"0\""), "steps[0].action.runAsUser", "\"0\" is not allowed (policy.run_as)", &full },
        { AS("\"#0\""), "steps[0].action.runAsUser", "\"#0\" is not allowed (policy.run_as)", &full },
        { AS("\"${aws:iot:parameter:runAsUser}\""), "steps[0].action.runAsUser",
          "\"${aws:iot:parameter:runAsUser}\" is not allowed (policy.run_as)", &full },
        { AS("true"), "steps[0].action.runAsUser", "a string expected", &full },
        { AS("[\"root\"]"), "steps[0].action.runAsUser", "a string expected", &full },
        { OPERATION("\"runAsUser\":\"www-data\""), .policy = &full },
        { "{\"operation\":\"own-user\",\"runAsUser\":\"alice\"}", .policy = &full },
        { "{\"operation\":\"own-user\",\"runAsUser\":\"root\"}", "runAsUser", "\"root\" is not allowed (policy.run_as)", &full },
        { OPERATION("\"runAsUser\":\"alice\""), "runAsUser", "\"alice\" is not allowed (policy.run_as)", &full },

        /* commands */
        { COMMAND("\"echo,hi\""), "steps[0].action.type", "runCommand is not allowed (policy.run_command)" },
        { COMMAND("\"echo,hi\""), .policy = &full },
        { COMMAND("\"echo hi\""), "steps[0].action.input.command", "\"echo hi\" " BLANKS, &full },
        { COMMAND("\"echo\\thi\""), "steps[0].action.input.command", "\"echo hi\" " BLANKS, &full },
        { COMMAND("\",, ,e o,x\""), "steps[0].action.input.command", "\"e o\" " BLANKS, &full },
        { COMMAND("\"\""), "steps[0].action.input.command", "empty", &full },
        { COMMAND("null"), "steps[0].action.input.command", "missing", &full },
        { COMMAND("\" ,\\t,\\n \""), "steps[0].action.input.command", "nothing but commas and white space", &full },
        { COMMAND("[\"echo\"]"), "steps[0].action.input.command", "a string expected", &full },
        { COMMAND("7"), "steps[0].action.input.command", "a string expected", &full },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{}}"), "steps[0].action.input.command", "missing", &full },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"handler\":\"a.sh\"}}"), "steps[0].action.input.command",
          "missing", &full },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\"}"), "steps[0].action.input", "missing", &full },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":\"id\"},\"runAsUser\":\"bob\"}"),
          "steps[0].action.runAsUser", "\"bob\" is not allowed (policy.run_as)", &full },
        { STEPS("{\"name\":\"A\",\"type\":\"runCommand\",\"input\":{\"command\":\"id\"},\"allowStdErr\":-1}"),
          "steps[0].action.allowStdErr", COUNT_EXPECTED, &full },
        { FINAL("{\"action\":{\"name\":\"F\",\"type\":\"runCommand\",\"input\":{\"command\":\"\"}}}"),
          "finalStep.action.input.command", "empty", &full },

        /* conditions: form */
        { TOP("\"conditions\":null"), .policy = &full },
        { TOP("\"conditions\":[]"), .policy = &full },
        { TOP("\"conditions\":{}"), "conditions", "a list expected", &full },
        { TOP("\"conditions\":[\"x\"]"), "conditions[0]", "an object expected", &full },
        { TOP("\"conditions\":[" DEBIAN ",null]"), "conditions[1]", "an object expected", &full },
        { IF("\"value\":[\"x\"]"), "conditions[0].key", "missing", &full },
        { IF("\"key\":\"\",\"value\":[\"x\"]"), "conditions[0].key", "empty", &full },
        { IF("\"key\":3,\"value\":[\"x\"]"), "conditions[0].key", "a string expected", &full },
        { IF("\"key\":\"moon\",\"value\":[\"full\"]"), "conditions[0].key", "\"moon\" " NO_KEY, &full },
        { IF("\"key\":\"operatingsystem\",\"value\":[\"debian\"]"), "conditions[0].key", "\"operatingsystem\" " NO_KEY, &full },
        { IF("\"key\":\"operatingSystem\""), "conditions[0].value", "missing", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[]"), "conditions[0].value", "empty", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":12"), "conditions[0].value", "a list of strings expected", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"debian\",12]"), "conditions[0].value[1]", "a string expected", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"debian\"],\"type\":\"numericEqual\""), "conditions[0].type",
          "\"numericEqual\" " NO_OPERATOR, &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"debian\"],\"type\":\"StringEqual\""), "conditions[0].type",
          "\"StringEqual\" " NO_OPERATOR, &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"debian\"],\"type\":1"), "conditions[0].type", "a string expected", &full },
        { IF("\"key\":\"file\",\"value\":[\"etc/debian_version\"]"), "conditions[0].value[0]",
          "\"etc/debian_version\" is no absolute path", &full },
        { IF("\"key\":\"file\",\"value\":\"\""), "conditions[0].value", "\"\" is no absolute path", &full },
        { IF("\"key\":\"file\",\"value\":[\"/x\"],\"type\":\"stringLike\""), "conditions[0].type",
          "\"stringLike\" does not go with file; stringEqual or stringNotEqual expected", &full },

        /* conditions: truth */
        { TOP("\"conditions\":[" DEBIAN "]"), .policy = &full },
        { IF("\"key\":\"operatingSystem\",\"value\":\"debian\""), .policy = &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"ubuntu\",\"redhat\"],\"type\":\"stringEqual\""), "conditions[0]",
          "not met: operatingSystem is \"debian\" here, stringEqual \"ubuntu\", \"redhat\" expected", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"Debian\"]"), "conditions[0]",
          "not met: operatingSystem is \"debian\" here, stringEqual \"Debian\" expected", &full },
        { TOP("\"conditions\":[" DEBIAN ",{\"key\":\"operatingSystemVersion\",\"value\":[\"11\"]}]"), "conditions[1]",
          "not met: operatingSystemVersion is \"12\" here, stringEqual \"11\" expected", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"arch\",\"debian\"],\"type\":\"stringNotEqual\""), "conditions[0]",
          "not met: operatingSystem is \"debian\" here, stringNotEqual \"arch\", \"debian\" expected", &full },
        { IF("\"key\":\"operatingSystem\",\"value\":[\"arch\",\"suse\"],\"type\":\"stringNotEqual\""), .policy = &full },
        { IF("\"key\":\"architecture\",\"value\":[\"aarch64\",\"armv7l\"],\"type\":\"\""), "conditions[0]",
          "not met: architecture is \"x86_64\" here, stringEqual \"aarch64\", \"armv7l\" expected", &full },
        { IF("\"key\":\"kernel\",\"value\":[\"6.*-cloud\",\"5.*\"],\"type\":\"stringLike\""), "conditions[0]",
          "not met: kernel is \"6.1.0-18-amd64\" here, stringLike \"6.*-cloud\", \"5.*\" expected", &full },
        { IF("\"key\":\"kernel\",\"value\":[\"6.*\"],\"type\":\"stringNotLike\""), "conditions[0]",
          "not met: kernel is \"6.1.0-18-amd64\" here, stringNotLike \"6.*\" expected", &full },
        { IF("\"key\":\"kernel\",\"value\":[\"*1.0*amd??\"],\"type\":\"stringLike\""), .policy = &full },
        { IF("\"key\":\"kernel\",\"value\":[\"6.?.0*18-amd64*\"],\"type\":\"stringLike\""), .policy = &full },
        { IF("\"key\":\"kernel\",\"value\":[\"\"],\"type\":\"stringLike\""), "conditions[0]",
          "not met: kernel is \"6.1.0-18-amd64\" here, stringLike \"\" expected", &full },
        { IF("\"key\":\"site\",\"value\":[\"plant-7\"]"), .policy = &full },
        { IF("\"key\":\"line\",\"value\":[\"*aab\"],\"type\":\"stringLike\""), .policy = &full },
        { IF("\"key\":\"site\",\"value\":[\"plant-8\"]"), "conditions[0]",
          "not met: site is \"plant-7\" here, stringEqual \"plant-8\" expected", &full },
        { IF("\"key\":\"file\",\"value\":[\"/no\",\"/present\"]"), .policy = &full },
        { IF("\"key\":\"file\",\"value\":[\"/no\",\"/none\"]"), "conditions[0]",
          "not met: file is absent here, stringEqual \"/no\", \"/none\" expected", &full },
        { IF("\"key\":\"file\",\"value\":[\"/no\",\"/present\"],\"type\":\"stringNotEqual\""), "conditions[0]",
          "not met: file is \"/present\" here, stringNotEqual \"/no\", \"/present\" expected", &full },
        { IF("\"key\":\"file\",\"value\":\"/no\",\"type\":\"stringNotEqual\""), .policy = &full },
        { IF("\"key\":\"architecture\",\"value\":[\"x86_64\"]"), "conditions[0]",
          "not met: architecture is unknown here, stringEqual \"x86_64\" expected", &blind },
        { IF("\"key\":\"architecture\",\"value\":[\"x86_64\"],\"type\":\"stringNotEqual\""), "conditions[0]",
          "not met: architecture is unknown here, stringNotEqual \"x86_64\" expected", &blind },
        { IF("\"key\":\"file\",\"value\":[\"/present\"]"), "conditions[0]",
          "not met: file is absent here, stringEqual \"/present\" expected", &blind },
        { IF("\"key\":\"site\",\"value\":[\"plant-7\"]"), "conditions[0].key", "\"site\" " NO_KEY, &blind },
        /* judged when the run began: only the form counts */
        { IF("\"key\":\"operatingSystemVersion\",\"value\":[\"11\"]"), .policy = &resumed },
        { IF("\"key\":\"moon\",\"value\":[\"full\"]"), "conditions[0].key", "\"moon\" " NO_KEY, &resumed },

        /* signed form */
        { "{\"jws\":\"a.b.c\"}", .policy = &full },
        { "{\"jws\":\"a.b.c\",\"operation\":null}", .policy = &full },
        { "{\"jws\":\"\"}", "jws", "empty", &full },
        { "{\"jws\":3}", "jws", "a string expected", &full },
        { "{\"jws\":{\"payload\":\"\"}}", "jws", "a string expected", &full },
        { "{\"jws\":null}", "operation", "missing, and so is steps; one of the two expected", &full },
        { OPERATION("\"jws\":\"a.b.c\""), "jws", "\"operation\" stands beside it, where nothing is signed", &full },
        { "{\"jws\":\"a.b.c\",\"_comment\":\"\"}", "jws", "\"_comment\" stands beside it, where nothing is signed", &full },
        { "{\"operation\":\"a\"}", "jws", UNSIGNED, &strict },
        { "{}", "jws", UNSIGNED, &strict },
        { "{\"jws\":null}", "jws", UNSIGNED, &strict },
        { "{\"jws\":\"a.b.c\"}", .policy = &strict },
        { "{\"operation\":\"a\"}", .policy = &payload },
        { "{\"jws\":\"a.b.c\"}", "jws", "a signed document inside a signed document", &payload },

        /* fallback */
        { "{}", .policy = &with_fallback },
        { "{\"steps\":[]}", "version", "missing", &with_fallback },
        { "{\"operation\":\"\"}", "operation", "empty", &with_fallback },
        { "{\"args\":3}", "args", "a list of strings expected", &with_fallback },

        /* as much as allowed, and one more */
        { .make = make_depth_32 },
        { .make = make_depth_33, .path = "", .reason = "JSON nested deeper than 32 at byte 52" },
        { .make = make_32_kib },
        { .make = make_32_kib_and_1, .path = "", .reason = "the document is larger than 32768 bytes" },
        { .make = make_33_kib, .path = "", .reason = "the document is larger than 32768 bytes" },
        { .make = make_64_steps },
        { .make = make_65_steps, .path = "steps", .reason = "more than 64 with the final step" },
        { .make = make_128_args },
        { .make = make_129_args, .path = "args", .reason = "more than 128" },
        { .make = make_long_arg },
        { .make = make_too_long_arg, .path = "args[0]", .reason = "longer than 8192 bytes" },
        { .make = make_128_words, .policy = &full },
        { .make = make_129_words, .path = "steps[0].action.input.command", .reason = "more than 128 words", .policy = &full },
        { .make = make_too_long_word, .path = "steps[0].action.input.command", .reason = "a word longer than 8192 bytes",
          .policy = &full },
        { .make = make_32_conditions, .policy = &full },
        { .make = make_33_conditions, .path = "conditions", .reason = "more than 32", .policy = &full },
        { .make = make_64_values, .policy = &full },
        { .make = make_65_values, .path = "conditions[0].value", .reason = "more than 64", .policy = &full },
        { .make = make_too_long_value, .path = "conditions[0].value[0]", .reason = "longer than 1024 bytes", .policy = &full },
        { .make = make_too_many_values, .path = "", .reason = "JSON of more than 4096 values at byte 8194" },
};

/* clang-format on */

static void expect_accepted(const struct Document *d, const char *text, int r, const JobFault *fault,
                            const JobDoc *doc) {
        ck_assert_msg(r == 0, "%.300s\n  refused: %s: %s", text, fault->path, fault->reason);
        ck_assert((doc->jws != NULL) == (doc->n_steps == 0));
        ck_assert(!doc->jws || (d->text && strstr(d->text, doc->jws)));
}

static void expect_refused(const struct Document *d, const char *text, int r, const JobFault *fault,
                           const JobDoc *doc) {
        ck_assert_msg(r == -EINVAL, "%.300s\n  result %d, expected %s: %s", text, r, d->path, d->reason);
        ck_assert_msg(strcmp(fault->path, d->path) == 0 && strcmp(fault->reason, d->reason) == 0,
                      "%.300s\n  expected %s: %s\n  found    %s: %s", text, d->path, d->reason, fault->path,
                      fault->reason);
        ck_assert(utf8_valid(fault->reason, strlen(fault->reason)));
        ck_assert_uint_eq(doc->n_steps, 0); /* untouched */
}

START_TEST(document) {
        const struct Document *d = &documents[_i];
        CLEANUP_BUF Buf b = { 0 };
        CLEANUP_JOBDOC JobDoc doc = { 0 };
        JobFault fault = { 0 };
        int r;

        if (d->make)
                d->make(&b);
        else
                buf_puts(&b, d->text);
        ck_assert_int_eq(buf_error(&b), 0);
        r = jobdoc_parse(b.data ? b.data : "", b.len, d->policy ? d->policy : &plain, &doc, &fault);
        if (d->reason)
                expect_refused(d, b.data ? b.data : "", r, &fault, &doc);
        else
                expect_accepted(d, b.data ? b.data : "", r, &fault, &doc);
}
END_TEST

/* The table must not shrink unnoticed, and no document stands in it twice. */
START_TEST(size_of_the_table) {
        size_t refused = 0;

        for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
                refused += documents[i].reason != NULL;
                for (size_t k = 0; documents[i].text && k < i; k++)
                        ck_assert_msg(!documents[k].text || strcmp(documents[i].text, documents[k].text) != 0 ||
                                              documents[i].policy != documents[k].policy,
                                      "twice: %s", documents[i].text);
        }
        ck_assert_uint_ge(refused, 200);
}
END_TEST

static TCase *cases(void) {
        TCase *t = tcase_create("documents");

        tcase_add_loop_test(t, document, 0, (int) ELEMENTSOF(documents));
        tcase_add_test(t, size_of_the_table);
        return t;
}

UNIT_MAIN("jobdoc-table", cases())
