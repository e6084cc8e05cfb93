/* SPDX-License-Identifier: Apache-2.0 */
/* `conditions`: what must be true of this machine for the document to be meant for it. Each names a key, values of which one
 * is enough, and an operator; all of them must hold. Tables say which keys and operators there are: what is in neither is
 * refused rather than guessed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "jobdoc/internal.h"

enum { QUOTED_MAX = 48 }; /* UTF-16 units of one value that a reason repeats */

typedef bool (*Matcher)(const char *value, const char *have);

static bool match_equal(const char *value, const char *have) {
        return strcmp(value, have) == 0;
}

/* `*` any bytes, `?` any one byte. On a mismatch the last star takes one byte more: linear memory, no recursion. */
static bool match_like(const char *pattern, const char *have) {
        const char *star = NULL, *resume = NULL;

        while (*have)
                if (*pattern == '*') {
                        star = ++pattern;
                        resume = have;
                } else if (*pattern && (*pattern == '?' || *pattern == *have)) {
                        pattern++;
                        have++;
                } else if (star) {
                        pattern = star;
                        have = ++resume;
                } else
                        return false;
        while (*pattern == '*')
                pattern++;
        return !*pattern;
}

typedef struct Operator {
        const char *name;
        Matcher match;
        bool negated;  /* none of the values may match */
        bool for_file; /* good for the key "file" too */
} Operator;

static const Operator operators[] = {
        { "stringEqual", match_equal, false, true },
        { "stringNotEqual", match_equal, true, true },
        { "stringLike", match_like, false, false },
        { "stringNotLike", match_like, true, false },
};

typedef struct Key {
        const char *name;
        size_t offset; /* of the fact in JobFacts */
} Key;

static const Key keys[] = {
        { "operatingSystem", offsetof(JobFacts, operating_system) },
        { "operatingSystemVersion", offsetof(JobFacts, operating_system_version) },
        { "architecture", offsetof(JobFacts, architecture) },
        { "kernel", offsetof(JobFacts, kernel) },
};

typedef struct Condition {
        const char *key;
        const json_t *values; /* a list of strings, or one string */
        const Operator *op;
        bool file;
        const char *have; /* what this machine has; NULL = it does not say */
} Condition;

static size_t n_values(const Condition *c) {
        return json_is_string(c->values) ? 1 : json_array_size(c->values);
}

static const char *get_value(const Condition *c, size_t i) {
        return json_string_value(json_is_string(c->values) ? c->values : json_array_get(c->values, i));
}

/* ---- form ---- */

static int find_key(const Parser *p, const char *where, Condition *c) {
        const JobFacts *facts = p->policy->facts;

        c->file = strcmp(c->key, "file") == 0;
        if (c->file)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (strcmp(c->key, keys[i].name) == 0) {
                        memcpy(&c->have, (const char *) facts + keys[i].offset, sizeof c->have);
                        return 0;
                }
        for (const JobFact *f = facts->configured; f && f->name; f++)
                if (strcmp(c->key, f->name) == 0) {
                        c->have = f->value;
                        return 0;
                }
        return job_fault_quoting(
                p, where, "key", c->key,
                "is no known condition; operatingSystem, operatingSystemVersion, architecture, kernel, "
                "file or a name in the configuration's facts expected");
}

static int find_operator(const Parser *p, const char *where, const char *type, Condition *c) {
        if (!type || !*type)
                type = "stringEqual";
        for (size_t i = 0; i < ELEMENTSOF(operators); i++)
                if (strcmp(type, operators[i].name) == 0 && (!c->file || operators[i].for_file)) {
                        c->op = &operators[i];
                        return 0;
                }
        if (c->file)
                return job_fault_quoting(p, where, "type", type,
                                         "does not go with file; stringEqual or stringNotEqual expected");
        return job_fault_quoting(
                p, where, "type", type,
                "is no known operator; stringEqual, stringNotEqual, stringLike or stringNotLike expected");
}

static int check_value(const Parser *p, const char *where, const char *at, const json_t *value, bool file) {
        if (!json_is_string(value))
                return job_fault(p, where, at, "a string expected");
        if (json_string_length(value) > JOBDOC_CONDITION_VALUE_BYTES_MAX)
                return job_fault(p, where, at, "longer than %d bytes", JOBDOC_CONDITION_VALUE_BYTES_MAX);
        if (file && json_string_value(value)[0] != '/')
                return job_fault_quoting(p, where, at, json_string_value(value), "is no absolute path");
        return 0;
}

static int check_values(const Parser *p, const json_t *o, const char *where, Condition *c) {
        char at[32];
        int r = 0;

        c->values = job_member(o, "value");
        if (!c->values)
                return job_fault(p, where, "value", "missing");
        if (json_is_string(c->values))
                return check_value(p, where, "value", c->values, c->file);
        if (!json_is_array(c->values))
                return job_fault(p, where, "value", "a list of strings expected");
        if (json_array_size(c->values) == 0)
                return job_fault(p, where, "value", "empty");
        if (json_array_size(c->values) > JOBDOC_CONDITION_VALUES_MAX)
                return job_fault(p, where, "value", "more than %d", JOBDOC_CONDITION_VALUES_MAX);
        for (size_t i = 0; r == 0 && i < json_array_size(c->values); i++) {
                (void) snprintf(at, sizeof at, "value[%zu]", i);
                r = check_value(p, where, at, json_array_get(c->values, i), c->file);
        }
        return r;
}

static int parse_condition(const Parser *p, const json_t *o, const char *where, Condition *ret) {
        const char *type;
        int r;

        if (!json_is_object(o))
                return job_fault(p, where, "", "an object expected");
        r = job_need_string(p, o, where, "key", &ret->key);
        if (r == 0)
                r = find_key(p, where, ret);
        if (r == 0)
                r = job_get_string(p, o, where, "type", &type);
        if (r == 0)
                r = find_operator(p, where, type, ret);
        return r < 0 ? r : check_values(p, o, where, ret);
}

/* ---- truth ---- */

static void put_quoted(Buf *b, const char *text) {
        CLEANUP_FREE char *clean = text_sanitize(text, strlen(text), QUOTED_MAX, false);

        if (clean)
                buf_printf(b, "\"%s\"", clean);
        else
                b->error = -ENOMEM;
}

/* "not met: architecture is "x86_64" here, stringEqual "aarch64", "armv7l" expected". `have` NULL: unknown here. */
static int not_met(const Parser *p, const char *where, const Condition *c, const char *have) {
        CLEANUP_BUF Buf b = { 0 };

        buf_printf(&b, "not met: %s is ", c->key);
        if (have)
                put_quoted(&b, have);
        buf_printf(&b, "%s here, %s", have ? "" : c->file ? "absent" : "unknown", c->op->name);
        for (size_t i = 0; i < n_values(c); i++) {
                buf_puts(&b, i ? ", " : " ");
                put_quoted(&b, get_value(c, i));
        }
        buf_puts(&b, " expected");
        return buf_error(&b) < 0 ? -ENOMEM : job_fault(p, where, "", "%s", b.data);
}

/* What of this machine matches one of the values; NULL = nothing. A fact it does not know matches none. */
static const char *find_match(const JobFacts *facts, const Condition *c) {
        for (size_t i = 0; i < n_values(c); i++) {
                const char *value = get_value(c, i);

                if (c->file ? facts->file_present && facts->file_present(value, facts->userdata)
                            : c->have && c->op->match(value, c->have))
                        return c->file ? value : c->have;
        }
        return NULL;
}

/* With a negated operator an unknown fact is not met either: nobody knows that it is not one of these. */
static int judge(const Parser *p, const char *where, const Condition *c) {
        const char *match = find_match(p->policy->facts, c);

        if (!c->file && !c->have)
                return not_met(p, where, c, NULL);
        if (c->op->negated)
                return match ? not_met(p, where, c, match) : 0;
        return match ? 0 : not_met(p, where, c, c->have);
}

int job_conditions_check(const Parser *p, const json_t *document) {
        const json_t *list = job_member(document, "conditions");
        char where[48];
        int r = 0;

        if (list && !json_is_array(list))
                return job_fault(p, "", "conditions", "a list expected");
        if (json_array_size(list) > 0 && !p->policy->facts)
                return job_fault(p, "", "conditions", "cannot be judged: nothing is known of this machine");
        if (json_array_size(list) > JOBDOC_CONDITIONS_MAX)
                return job_fault(p, "", "conditions", "more than %d", JOBDOC_CONDITIONS_MAX);
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                Condition c = { 0 };

                (void) snprintf(where, sizeof where, "conditions[%zu]", i);
                r = parse_condition(p, json_array_get(list, i), where, &c);
                if (r == 0 && !p->policy->conditions_judged)
                        r = judge(p, where, &c);
        }
        return r;
}
