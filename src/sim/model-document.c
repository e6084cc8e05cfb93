/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/model-document.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"

/* ---- grammar ---- */

typedef struct Scan {
        const char *start, *at, *end;
        const char *expected; /* of the first fault */
} Scan;

static bool scan_fail(Scan *s, const char *expected) {
        if (!s->expected)
                s->expected = expected;
        return false;
}

static void scan_space(Scan *s) {
        while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
                s->at++;
}

static bool scan_char(Scan *s, char c) {
        if (s->at >= s->end || *s->at != c)
                return false;
        s->at++;
        return true;
}

static size_t scan_digits(Scan *s) {
        const char *from = s->at;

        while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
                s->at++;
        return (size_t) (s->at - from);
}

static bool hex_digit(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool scan_escape(Scan *s) {
        if (s->at >= s->end || !*s->at || !strchr("\"\\/bfnrtu", *s->at))
                return scan_fail(s, "a JSON escape (\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)");
        if (*s->at++ != 'u')
                return true;
        for (int i = 0; i < 4; i++) {
                if (s->at >= s->end || !hex_digit(*s->at))
                        return scan_fail(s, "four hexadecimal digits after \\u");
                s->at++;
        }
        return true;
}

static bool scan_string(Scan *s) {
        if (!scan_char(s, '"'))
                return scan_fail(s, "a string");
        while (s->at < s->end) {
                unsigned char c = (unsigned char) *s->at;

                if (c < 0x20)
                        return scan_fail(s,
                                         "no control character inside a string (write \\n, \\t or \\u00XX)");
                s->at++;
                if (c == '"')
                        return true;
                if (c == '\\' && !scan_escape(s))
                        return false;
        }
        return scan_fail(s, "the string's closing quote");
}

static bool scan_number(Scan *s) {
        (void) scan_char(s, '-');
        if (!scan_char(s, '0') && scan_digits(s) == 0)
                return scan_fail(s, "a JSON value");
        if (scan_char(s, '.') && scan_digits(s) == 0)
                return scan_fail(s, "a digit after the decimal point");
        if (scan_char(s, 'e') || scan_char(s, 'E')) {
                if (!scan_char(s, '-'))
                        (void) scan_char(s, '+');
                if (scan_digits(s) == 0)
                        return scan_fail(s, "a digit in the exponent");
        }
        return true;
}

static bool scan_word(Scan *s) {
        static const char *const words[] = { "true", "false", "null" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                size_t len = strlen(words[i]);

                if ((size_t) (s->end - s->at) >= len && memcmp(s->at, words[i], len) == 0) {
                        s->at += len;
                        return true;
                }
        }
        return scan_fail(s, "a JSON value");
}

static bool scan_scalar(Scan *s) {
        if (s->at >= s->end)
                return scan_fail(s, "a JSON value");
        if (*s->at == '"')
                return scan_string(s);
        return *s->at >= 'a' && *s->at <= 'z' ? scan_word(s) : scan_number(s);
}

static bool scan_key(Scan *s) {
        scan_space(s);
        if (!scan_string(s))
                return scan_fail(s, "a member name");
        scan_space(s);
        return scan_char(s, ':') || scan_fail(s, "':' after the member name");
}

/* What stands open is kept as text, "{[{": no recursion, so no document can exhaust the stack. */
typedef struct Nesting {
        char open[DOCUMENT_DEPTH_MAX];
        size_t depth;
} Nesting;

static bool scan_open(Scan *s, Nesting *n) {
        if (n->depth >= sizeof n->open)
                return scan_fail(s, "less deep nesting (256 levels are the most)");
        n->open[n->depth++] = *s->at++;
        scan_space(s);
        return true;
}

/* Behind a value: close what ends here; then either all is closed, or a comma leads to the next value. */
static bool scan_behind_value(Scan *s, Nesting *n) {
        while (n->depth > 0) {
                bool object = n->open[n->depth - 1] == '{';

                scan_space(s);
                if (scan_char(s, object ? '}' : ']')) {
                        n->depth--;
                        continue;
                }
                if (!scan_char(s, ','))
                        return scan_fail(s, object ? "',' or '}'" : "',' or ']'");
                return object ? scan_key(s) : true;
        }
        return true;
}

static bool scan_document(Scan *s) {
        Nesting n = { .depth = 0 };

        scan_space(s);
        if (s->at >= s->end || *s->at != '{')
                return scan_fail(s, "a JSON object ('{')");
        do {
                scan_space(s);
                if (s->at < s->end && (*s->at == '{' || *s->at == '[')) {
                        bool object = *s->at == '{';

                        if (!scan_open(s, &n))
                                return false;
                        if (s->at < s->end && *s->at == (object ? '}' : ']')) {
                                if (!scan_behind_value(s, &n))
                                        return false;
                        } else if (object && !scan_key(s))
                                return false;
                } else if (!scan_scalar(s) || !scan_behind_value(s, &n))
                        return false;
        } while (n.depth > 0);
        scan_space(s);
        return s->at == s->end || scan_fail(s, "nothing after the object");
}

int document_check(const char *text, size_t len, Error *e) {
        Scan s = { .start = text, .at = text, .end = text + len };

        if (!utf8_valid(text, len))
                return error_set(e, EINVAL, "document: not valid UTF-8");
        if (scan_document(&s))
                return 0;
        return error_set(e, EINVAL, "document: byte %zu: expected %s", (size_t) (s.at - s.start), s.expected);
}

/* ---- placeholders ---- */

static const char placeholder_start[] = "${aws:iot:parameter:";

static void append_escaped(Buf *b, const char *value) {
        for (const char *p = value; *p; p++) {
                unsigned char c = (unsigned char) *p;

                if (c == '"' || c == '\\')
                        buf_printf(b, "\\%c", c);
                else if (c < 0x20 || c == 0x7f)
                        buf_printf(b, "\\u%04x", c);
                else
                        buf_append(b, p, 1);
        }
}

static bool parameter_named(const DocumentParameter *parameter, const char *name, size_t len) {
        return strlen(parameter->name) == len && memcmp(parameter->name, name, len) == 0;
}

static bool name_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("_-.:", c));
}

/* The next placeholder: where it begins and its name; NULL = none. What has no name in it is left as text. */
static const char *find_placeholder(const char *at, const char *end, const char **ret_name, size_t *ret_len) {
        const char *found, *name, *close;

        while ((found = memmem(at, (size_t) (end - at), placeholder_start, sizeof placeholder_start - 1))) {
                name = close = found + sizeof placeholder_start - 1;
                while (close < end && name_char(*close))
                        close++;
                if (close > name && close < end && *close == '}') {
                        *ret_name = name;
                        *ret_len = (size_t) (close - name);
                        return found;
                }
                at = close;
        }
        return NULL;
}

static int check_used(const char *text, size_t len, const DocumentParameter *parameter, Error *e) {
        const char *name, *end = text + len;
        size_t name_len;

        for (const char *at = text; (at = find_placeholder(at, end, &name, &name_len)); at = name + name_len)
                if (parameter_named(parameter, name, name_len))
                        return 0;
        return error_set(e, EINVAL, "parameter %s: the document has no placeholder %s%s}", parameter->name,
                         placeholder_start, parameter->name);
}

int document_fill(const char *text, size_t len, const DocumentParameter *parameter, size_t n, Buf *ret,
                  Error *e) {
        const char *at = text, *end = text + len, *found, *name;
        size_t name_len;
        int r;

        for (size_t i = 0; i < n; i++) {
                if (!utf8_valid(parameter[i].value, strlen(parameter[i].value)))
                        return error_set(e, EINVAL, "parameter %s: the value is not valid UTF-8",
                                         parameter[i].name);
                r = check_used(text, len, &parameter[i], e);
                if (r < 0)
                        return r;
        }
        while ((found = find_placeholder(at, end, &name, &name_len))) {
                buf_append(ret, at, (size_t) (found - at));
                for (size_t i = 0; i < n; i++)
                        if (parameter_named(&parameter[i], name, name_len)) {
                                append_escaped(ret, parameter[i].value);
                                break;
                        }
                at = name + name_len + 1;
        }
        buf_append(ret, at, (size_t) (end - at));
        return buf_error(ret) ? error_set(e, ENOMEM, "document: out of memory") : 0;
}
