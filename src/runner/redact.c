/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/redact.h"

#include <errno.h>
#include <string.h>

#include "runner/bounds.h"

static const char hidden[] = "***";

static int needle_add(Redact *r, const char *text, size_t len) {
        char *copy;
        size_t at;

        len = MIN_OF(len, (size_t) RUNNER_NEEDLE_MAX);
        if (len == 0 || r->n == RUNNER_NEEDLES_MAX)
                return 0;
        copy = strndup(text, len);
        if (!copy)
                return -ENOMEM;
        /* Longest first: one value may be part of another. */
        for (at = r->n; at > 0 && strlen(r->needle[at - 1]) < len; at--)
                r->needle[at] = r->needle[at - 1];
        r->needle[at] = copy;
        r->n++;
        r->longest = MAX_OF(r->longest, len);
        return 0;
}

static int value_add(Redact *r, const char *value) {
        while (*value) {
                size_t len = strcspn(value, "\r\n");
                int k = needle_add(r, value, len);

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
        r->needle = calloc(RUNNER_NEEDLES_MAX, sizeof *r->needle);
        if (!r->needle)
                return -ENOMEM;
        for (size_t i = 0; i < doc->n_parameters; i++)
                for (char *const *name = names; *name; name++)
                        if (strcmp(*name, doc->parameters[i].name) == 0 &&
                            value_add(r, doc->parameters[i].value) < 0) {
                                redact_done(r);
                                return -ENOMEM;
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

static size_t skip_query(char *text, size_t len, size_t at, bool *in_query) {
        size_t end = at;

        while (end < len && !ends_url(text[end]))
                end++;
        *in_query = end == len;
        memmove(text + at, text + end, len - end);
        return len - (end - at);
}

static size_t hide_queries(char *text, size_t len, bool *in_query) {
        size_t at = 0;

        if (*in_query)
                len = skip_query(text, len, 0, in_query);
        while (at < len && !*in_query) {
                char *p = memmem(text + at, len - at, "://", 3);

                if (!p)
                        break;
                at = (size_t) (p - text) + 3;
                while (at < len && !ends_url(text[at]) && text[at] != '?')
                        at++;
                if (at == len || text[at] != '?')
                        continue;
                at++;
                if (at + sizeof "…" - 1 <= len && memcmp(text + at, "…", sizeof "…" - 1) == 0)
                        continue; /* done before */
                size_t before = len;
                bool open;

                len = skip_query(text, len, at, &open);
                /* The ellipsis has three bytes; a shorter query leaves room for fewer points. */
                size_t room = before - len;
                const char *mark = room >= 3 ? "…" : "..";
                size_t n = room >= 3 ? 3 : room;

                memmove(text + at + n, text + at, len - at);
                memcpy(text + at, mark, n);
                len += n;
                at += n;
                *in_query = open;
        }
        return len;
}

size_t redact_text(const Redact *r, char *text, size_t len, bool *in_query) {
        /* Queries last: a hidden value must not uncover the end of one. */
        return hide_queries(text, hide_needles(r, text, len), in_query);
}

size_t redact_held_back(const Redact *r, const char *text, size_t len) {
        size_t back = 0;

        for (size_t i = 0; i < r->n; i++) {
                size_t n = MIN_OF(strlen(r->needle[i]) - 1, len);

                while (n > back && memcmp(text + len - n, r->needle[i], n) != 0)
                        n--;
                back = MAX_OF(back, n);
        }
        return back;
}
