/* SPDX-License-Identifier: Apache-2.0 */
/* `parameters`: scalars by shell names. Numbers are passed on as they stand in the document, which the parsed value no
 * longer knows (1.10, 1e3, -0): their text is found by walking the document's text beside the parsed members, which Jansson
 * keeps in the order of the text. */
#include <errno.h>
#include <string.h>

#include "jobdoc/internal.h"

/* Walks the members of one object in valid JSON. Never moves beyond `end`, whatever the text. */
typedef struct MemberCursor {
        const char *p, *end;
} MemberCursor;

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* White space and one separator around it. */
static void skip_separator(MemberCursor *c, char separator) {
        while (c->p < c->end && (is_space(*c->p) || *c->p == separator))
                c->p++;
}

static void skip_string(MemberCursor *c) {
        if (c->p < c->end)
                c->p++;
        while (c->p < c->end && *c->p != '"')
                c->p += *c->p == '\\' && c->end - c->p > 1 ? 2 : 1;
        if (c->p < c->end)
                c->p++;
}

static bool ends_scalar(char c) {
        return is_space(c) || c == ',' || c == '}' || c == ']';
}

static void skip_value(MemberCursor *c) {
        size_t depth = 0;

        do {
                char ch = c->p < c->end ? *c->p : '\0';

                if (ch == '"') {
                        skip_string(c);
                        continue;
                }
                if (ch == '{' || ch == '[')
                        depth++;
                else if ((ch == '}' || ch == ']') && depth > 0)
                        depth--;
                else if (depth == 0)
                        while (c->p < c->end && !ends_scalar(*c->p))
                                c->p++;
                if (depth > 0 || ch == '}' || ch == ']')
                        c->p += c->p < c->end;
        } while (depth > 0 && c->p < c->end);
}

/* Enter the object that starts at or behind `p`. */
static MemberCursor object_enter(const char *p, const char *end) {
        MemberCursor c = { .p = p, .end = end };

        while (c.p < end && *c.p != '{')
                c.p++;
        c.p += c.p < end;
        return c;
}

/* The start of the next member's value; the cursor stands behind that value. *ret_len: its bytes. */
static const char *next_value(MemberCursor *c, size_t *ret_len) {
        const char *start;

        skip_separator(c, ',');
        skip_string(c);
        skip_separator(c, ':');
        start = c->p;
        skip_value(c);
        *ret_len = (size_t) (c->p - start);
        return start;
}

bool job_shell_name_valid(const char *name) {
        if (!*name || (*name >= '0' && *name <= '9'))
                return false;
        for (; *name; name++)
                if (!(*name >= 'a' && *name <= 'z') && !(*name >= 'A' && *name <= 'Z') &&
                    !(*name >= '0' && *name <= '9') && *name != '_')
                        return false;
        return true;
}

/* The value as a handler gets it; NULL with 0 in *ret_known: not passed on. */
static const char *value_text(const json_t *value, const char *literal, size_t literal_len, size_t *ret_len) {
        switch (json_typeof(value)) {
        case JSON_STRING:
                *ret_len = json_string_length(value);
                return json_string_value(value);
        case JSON_INTEGER:
        case JSON_REAL:
                *ret_len = literal_len;
                return literal;
        case JSON_TRUE:
                *ret_len = strlen("true");
                return "true";
        case JSON_FALSE:
                *ret_len = strlen("false");
                return "false";
        case JSON_NULL:
        case JSON_OBJECT:
        case JSON_ARRAY:
                return NULL;
        }
        return NULL;
}

static int add_parameter(const Parser *p, const char *name, const char *value, size_t len) {
        JobParameter *slot;

        if (p->doc->n_parameters == JOBDOC_PARAMETERS_MAX)
                return job_fault(p, "", "parameters", "more than %d that can be passed on",
                                 JOBDOC_PARAMETERS_MAX);
        slot = &p->doc->parameters[p->doc->n_parameters++];
        slot->name = strdup(name);
        slot->value = strndup(value, len);
        return slot->name && slot->value ? 0 : -ENOMEM;
}

/* Where the value of "parameters" stands in the text. */
static const char *find_parameters(const Parser *p, json_t *document) {
        MemberCursor c = object_enter(p->text, p->text + p->len);
        const char *name;
        json_t *value;
        size_t len;

        json_object_foreach(document, name, value) {
                const char *start = next_value(&c, &len);

                if (strcmp(name, "parameters") == 0)
                        return start;
        }
        return c.end;
}

int job_parameters_parse(const Parser *p, const json_t *document) {
        json_t *all = json_object_get(document, "parameters"), *value;
        MemberCursor c;
        const char *name;

        if (!all || json_is_null(all))
                return 0;
        if (!json_is_object(all))
                return job_fault(p, "", "parameters", "an object expected");
        p->doc->parameters = calloc(MIN_OF(json_object_size(all), (size_t) JOBDOC_PARAMETERS_MAX) + 1,
                                    sizeof(JobParameter));
        if (!p->doc->parameters)
                return -ENOMEM;
        c = object_enter(find_parameters(p, (json_t *) document), p->text + p->len);
        json_object_foreach(all, name, value) {
                size_t literal_len, len = 0;
                const char *literal = next_value(&c, &literal_len),
                           *text = value_text(value, literal, literal_len, &len);
                int r;

                if (!text || !job_shell_name_valid(name))
                        continue;
                r = add_parameter(p, name, text, len);
                if (r < 0)
                        return r;
        }
        return 0;
}
