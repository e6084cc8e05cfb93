/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/redact.h"

#include <errno.h>
#include <string.h>

#include "runner/bounds.h"

static const char hidden[] = "***";

static bool has_needle(const Redact *r, const char *text, size_t len) {
        for (size_t i = 0; i < r->n; i++)
                if (strlen(r->needle[i]) == len && memcmp(r->needle[i], text, len) == 0)
                        return true;
        return false;
}

static int needle_add(Redact *r, const char *text, size_t len) {
        char **more, *copy;
        size_t at;

        if (len == 0 || has_needle(r, text, len))
                return 0;
        more = reallocarray(r->needle, r->n + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        r->needle = more;
        copy = strndup(text, len);
        if (!copy)
                return -ENOMEM;
        /* Longest first: one value may be part of another. */
        for (at = r->n; at > 0 && strlen(r->needle[at - 1]) < len; at--)
                r->needle[at] = r->needle[at - 1];
        r->needle[at] = copy;
        r->n++;
        return 0;
}

/* What is longer than a piece of a line may be is looked for in parts, of which none is much shorter than the others. */
static int line_add(Redact *r, const char *text, size_t len) {
        size_t parts = (len + RUNNER_NEEDLE_MAX - 1) / RUNNER_NEEDLE_MAX;

        for (; parts > 0; parts--) {
                size_t n = len / parts;
                int k = needle_add(r, text, n);

                if (k < 0)
                        return k;
                text += n;
                len -= n;
        }
        return 0;
}

/* As it stands in the document, which many a handler prints. */
static int escaped_add(Redact *r, const char *text, size_t len) {
        char *escaped CLEANUP_FREE = malloc(2 * len + 1);
        size_t n = 0;

        if (!escaped)
                return -ENOMEM;
        for (size_t i = 0; i < len; i++) {
                if (strchr("\"\\\t\b\f", text[i]))
                        escaped[n++] = '\\';
                escaped[n++] = text[i] == '\t'   ? 't'
                               : text[i] == '\b' ? 'b'
                               : text[i] == '\f' ? 'f'
                                                 : text[i];
        }
        return n == len ? 0 : line_add(r, escaped, n);
}

static int value_add(Redact *r, const char *value) {
        while (*value) {
                size_t len = strcspn(value, "\r\n");
                int k = line_add(r, value, len);

                if (k == 0)
                        k = escaped_add(r, value, len);
                if (k < 0)
                        return k;
                value += len;
                value += strspn(value, "\r\n");
        }
        return 0;
}

int redact_init(Redact *r, const JobDoc *doc, char *const *names) {
        *r = (Redact){};
        if (!names || !names[0] || doc->n_parameters == 0)
                return 0;
        for (size_t i = 0; i < doc->n_parameters; i++)
                for (char *const *name = names; *name; name++)
                        if (strcmp(*name, doc->parameters[i].name) == 0 &&
                            value_add(r, doc->parameters[i].value) < 0) {
                                redact_done(r);
                                return -ENOMEM;
                        }
        return 0;
}

/* Without the backslashes: enough for what JSON must escape and a report may quote. */
static int unescaped_add(Redact *r, const char *text, size_t len) {
        char *plain CLEANUP_FREE = malloc(len + 1);
        size_t n = 0;

        if (!plain)
                return -ENOMEM;
        for (size_t i = 0; i < len; i++) {
                bool escape = text[i] == '\\' && i + 1 < len;

                i += escape;
                plain[n++] = escape && text[i] == 'n' ? '\n' : escape && text[i] == 't' ? '\t' : text[i];
        }
        plain[n] = '\0';
        return value_add(r, plain);
}

/* `text` is behind a name. */
static int member_add(Redact *r, const char *text, const char *end) {
        static const char space[] = " \t\r\n";
        const char *from;
        int k;

        while (text < end && memchr(space, *text, sizeof space - 1))
                text++;
        if (text == end || *text++ != ':')
                return 0;
        while (text < end && memchr(space, *text, sizeof space - 1))
                text++;
        from = text;
        if (text == end || *text != '"') {
                while (text < end && !memchr(",}] \t\r\n", *text, 7))
                        text++;
                return line_add(r, from, (size_t) (text - from));
        }
        for (from = ++text; text < end && *text != '"'; text++)
                if (*text == '\\' && text + 1 < end)
                        text++;
        k = line_add(r, from, (size_t) (text - from));
        return k < 0 ? k : unescaped_add(r, from, (size_t) (text - from));
}

int redact_init_refused(Redact *r, const char *document, size_t len, char *const *names) {
        const char *end = document + len;

        *r = (Redact){};
        for (char *const *name = names; name && *name; name++) {
                size_t n = strlen(*name);
                const char *p = document;

                while (n > 0 && (p = memmem(p, (size_t) (end - p), *name, n))) {
                        bool quoted = p > document && p[-1] == '"' && p + n < end && p[n] == '"';

                        p += n;
                        if (quoted && member_add(r, p + 1, end) < 0) {
                                redact_done(r);
                                return -ENOMEM;
                        }
                }
        }
        return 0;
}

void redact_done(Redact *r) {
        for (size_t i = 0; i < r->n; i++)
                free(r->needle[i]);
        free(r->needle);
        *r = (Redact){};
}

/* Put `***` (cut to the length of what it replaces: never longer) at `at`; returns its length. */
static size_t hide(char *text, size_t *len, size_t at, size_t what) {
        size_t with = MIN_OF(what, sizeof hidden - 1);

        memcpy(text + at, hidden, with);
        memmove(text + at + with, text + at + what, *len - at - what);
        *len -= what - with;
        return with;
}

static size_t hide_needles(const Redact *r, char *text, size_t len) {
        for (size_t i = 0; i < r->n; i++) {
                size_t what = strlen(r->needle[i]), at = 0;
                char *p;

                while (at < len && (p = memmem(text + at, len - at, r->needle[i], what))) {
                        at = (size_t) (p - text);
                        at += hide(text, &len, at, what);
                }
        }
        return len;
}

static bool ends_url(char c) {
        return (unsigned char) c <= ' ' || strchr("\"'<>`\\|", c) != NULL || (unsigned char) c == 0x7F;
}

static size_t skip_query(char *text, size_t len, size_t at, bool *ret_open) {
        size_t end = at;

        while (end < len && !ends_url(text[end]))
                end++;
        *ret_open = end == len;
        memmove(text + at, text + end, len - end);
        return len - (end - at);
}

/* Behind the question mark; returns the new length, *at is behind the query. */
static size_t hide_query(char *text, size_t len, size_t *at, bool *ret_open) {
        size_t before = len, room, n;
        const char *mark;

        len = skip_query(text, len, *at, ret_open);
        /* The ellipsis has three bytes; a shorter query leaves room for fewer points. */
        room = before - len;
        mark = room >= 3 ? "…" : "..";
        n = MIN_OF(room, (size_t) 3);
        memmove(text + *at + n, text + *at, len - *at);
        memcpy(text + *at, mark, n);
        *at += n;
        return len + n;
}

static size_t hide_queries(char *text, size_t len, RedactState *state) {
        bool in_url = *state == REDACT_URL, open = false;
        size_t at = 0;

        if (*state == REDACT_QUERY)
                len = skip_query(text, len, 0, &open);
        while (at < len && !open) {
                char *p = in_url ? text + at : memmem(text + at, len - at, "://", 3);

                if (!p)
                        break;
                at = (size_t) (p - text) + (in_url ? 0 : 3);
                while (at < len && !ends_url(text[at]) && text[at] != '?')
                        at++;
                in_url = at == len;
                if (in_url || text[at] != '?')
                        continue;
                at++;
                len = hide_query(text, len, &at, &open);
        }
        *state = open ? REDACT_QUERY : in_url ? REDACT_URL : REDACT_TEXT;
        return len;
}

size_t redact_text(const Redact *r, char *text, size_t len, RedactState *state) {
        /* Queries last: a hidden value must not uncover the end of one. */
        return hide_queries(text, hide_needles(r, text, len), state);
}

size_t redact_held_back(const Redact *r, const char *text, size_t len) {
        /* Of the "://" of a URL. */
        size_t back = len > 1 && memcmp(text + len - 2, ":/", 2) == 0 ? 2 : len > 0 && text[len - 1] == ':';

        for (size_t i = 0; i < r->n; i++) {
                size_t n = MIN_OF(strlen(r->needle[i]) - 1, len);

                while (n > back && memcmp(text + len - n, r->needle[i], n) != 0)
                        n--;
                back = MAX_OF(back, n);
        }
        return back;
}
