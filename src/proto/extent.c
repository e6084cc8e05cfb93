/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/extent.h"

#include <errno.h>
#include <string.h>

/* Each function that moves the cursor returns 0 or an error; `p` never passes `end`. */
typedef struct Cursor {
        const char *start, *p, *end;
} Cursor;

static int bad(const Cursor *c, const char *at, const char *what, Error *e) {
        return error_set(e, EBADMSG, "JSON: %s at byte %zu", what, (size_t) (at - c->start));
}

static bool is_space(char ch) {
        return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static void skip_space(Cursor *c) {
        while (c->p < c->end && is_space(*c->p))
                c->p++;
}

static bool take(Cursor *c, char ch) {
        skip_space(c);
        if (c->p == c->end || *c->p != ch)
                return false;
        c->p++;
        return true;
}

/* The cursor stands on the opening quote. */
static int skip_string(Cursor *c, Error *e) {
        const char *open = c->p++;

        while (c->p < c->end) {
                if (*c->p == '"') {
                        c->p++;
                        return 0;
                }
                c->p += *c->p == '\\' && c->end - c->p > 1 ? 2 : 1;
        }
        return bad(c, open, "the string is not closed that begins", e);
}

/* A number, a word, or whatever stands there instead: up to the next delimiter. */
static int skip_scalar(Cursor *c, Error *e) {
        const char *begin = c->p;

        while (c->p < c->end && !is_space(*c->p) && !strchr("\",:[]{}", *c->p ? *c->p : '0'))
                c->p++;
        return c->p > begin ? 0 : bad(c, begin, "a value expected", e);
}

/* One bit for each open bracket: 1 = object. */
typedef struct BracketStack {
        uint8_t bits[EXTENT_DEPTH_MAX / 8];
        size_t n;
} BracketStack;

static void stack_push(BracketStack *s, bool object) {
        uint8_t bit = (uint8_t) (1u << s->n % 8);

        if (object)
                s->bits[s->n / 8] |= bit;
        else
                s->bits[s->n / 8] &= (uint8_t) ~bit;
        s->n++;
}

static bool stack_top_is_object(const BracketStack *s) {
        size_t i = s->n - 1;

        return (s->bits[i / 8] >> i % 8 & 1) != 0;
}

/* The cursor stands on an opening bracket; `depth` brackets are open around it. What is inside is looked at only as far
 * as needed to find the bracket that closes it. */
static int skip_brackets(Cursor *c, size_t depth, Error *e) {
        const char *open = c->p;
        BracketStack s = {};
        int r;

        while (c->p < c->end) {
                char ch = *c->p;

                switch (ch) {
                case '"':
                        r = skip_string(c, e);
                        if (r < 0)
                                return r;
                        break;
                case '{':
                case '[':
                        if (depth + s.n == EXTENT_DEPTH_MAX)
                                return error_set(e, E2BIG, "JSON: nested deeper than %d at byte %zu",
                                                 EXTENT_DEPTH_MAX, (size_t) (c->p - c->start));
                        stack_push(&s, ch == '{');
                        c->p++;
                        break;
                case '}':
                case ']':
                        if (stack_top_is_object(&s) != (ch == '}'))
                                return bad(c, c->p, "a bracket of the wrong kind closes", e);
                        c->p++;
                        if (--s.n == 0)
                                return 0;
                        break;
                default:
                        c->p++;
                }
        }
        return bad(c, open, "the bracket is not closed that opens", e);
}

static int skip_value(Cursor *c, size_t depth, Extent *ret, Error *e) {
        const char *begin;
        int r;

        skip_space(c);
        begin = c->p;
        if (c->p == c->end)
                return bad(c, begin, "a value expected", e);
        if (*c->p == '"')
                r = skip_string(c, e);
        else if (*c->p == '{' || *c->p == '[')
                r = skip_brackets(c, depth, e);
        else
                r = skip_scalar(c, e);
        if (r < 0)
                return r;
        *ret = (Extent){ (size_t) (begin - c->start), (size_t) (c->p - begin) };
        return 0;
}

static int hex_digit(char ch) {
        if (ch >= '0' && ch <= '9')
                return ch - '0';
        if (ch >= 'a' && ch <= 'f')
                return ch - 'a' + 10;
        if (ch >= 'A' && ch <= 'F')
                return ch - 'A' + 10;
        return -1;
}

/* One character of a string's inside, escapes undone. The names looked for are ASCII, so anything else, and whatever is
 * no escape, may stand for "no match": -1. */
static int next_char(const char **p, const char *end) {
        int value = 0;
        char ch = *(*p)++;

        if (ch != '\\')
                return (unsigned char) ch;
        /* The other escapes stand for characters no name looked for has in it. */
        if (*p == end || *(*p)++ != 'u' || end - *p < 4)
                return -1;
        for (int i = 0; i < 4; i++) {
                int digit = hex_digit(*(*p)++);

                if (digit < 0)
                        return -1;
                value = value * 16 + digit;
        }
        return value;
}

/* `p` and `end` around the inside of a string. */
static bool string_is(const char *p, const char *end, const char *name) {
        for (; p < end && *name != '\0'; name++)
                if (next_char(&p, end) != (unsigned char) *name)
                        return false;
        return p == end && *name == '\0';
}

/* What the members of one object say. */
typedef struct Found {
        Extent document, execution; /* len 0 = none */
} Found;

static int note_member(const Cursor *c, const char *name, const char *name_end, Extent value, Found *f,
                       Error *e) {
        Extent *slot;

        if (string_is(name, name_end, "jobDocument"))
                slot = &f->document;
        else if (string_is(name, name_end, "execution"))
                slot = &f->execution;
        else
                return 0;
        if (slot->len > 0)
                return error_set(e, EBADMSG, "JSON: a second %s at byte %zu",
                                 slot == &f->document ? "jobDocument" : "execution",
                                 (size_t) (name - c->start) - 1);
        *slot = value;
        return 0;
}

/* Members of one object, the cursor on its opening bracket. `depth`: brackets around it. */
static int scan_object(Cursor *c, size_t depth, Found *ret, Error *e) {
        Found f = {};
        int r;

        if (!take(c, '{'))
                return bad(c, c->p, "an object expected", e);
        if (take(c, '}')) {
                *ret = f;
                return 0;
        }
        do {
                const char *name;
                Extent key, value;

                skip_space(c);
                if (c->p == c->end || *c->p != '"')
                        return bad(c, c->p, "a member name expected", e);
                name = c->p + 1;
                r = skip_value(c, depth + 1, &key, e);
                if (r < 0)
                        return r;
                if (!take(c, ':'))
                        return bad(c, c->p, "\":\" expected", e);
                r = skip_value(c, depth + 1, &value, e);
                if (r < 0)
                        return r;
                r = note_member(c, name, name + key.len - 2, value, &f, e);
                if (r < 0)
                        return r;
        } while (take(c, ','));
        if (!take(c, '}'))
                return bad(c, c->p, "\",\" or \"}\" expected", e);
        *ret = f;
        return 0;
}

int extent_find_document(const char *payload, size_t len, Extent *ret, Error *e) {
        Cursor c = { payload, payload, payload + len };
        Found top = {}, inner = {};
        int r;

        r = scan_object(&c, 0, &top, e);
        if (r < 0)
                return r;
        skip_space(&c);
        if (c.p < c.end)
                return bad(&c, c.p, "the end expected", e);
        if (top.execution.len > 0 && payload[top.execution.start] == '{') {
                Cursor x = { payload, payload + top.execution.start,
                             payload + top.execution.start + top.execution.len };

                r = scan_object(&x, 1, &inner, e);
                if (r < 0)
                        return r;
        }
        if (top.document.len > 0 && inner.document.len > 0)
                return error_set(e, EBADMSG, "JSON: two job documents, at bytes %zu and %zu",
                                 top.document.start, inner.document.start);
        *ret = top.document.len > 0 ? top.document : inner.document;
        return 0;
}
