/* SPDX-License-Identifier: Apache-2.0 */
/* What never leaves a handler's output: the values of the parameters that log.redact names, and query strings of URLs. */
#pragma once

#include "base/macro.h"
#include "jobdoc/jobdoc.h"

typedef struct Redact {
        char **needle; /* owned; longest first */
        size_t n;
        size_t longest; /* bytes */
} Redact;

/* `names`: log.redact, NULL-terminated or NULL. -ENOMEM. A value of several lines is hidden line by line. */
int redact_init(Redact *r, const JobDoc *doc, char *const *names) MUST_USE;
void redact_done(Redact *r);

/* Rewrite text in place; returns the new length (never more than before). `in_query` carries over from one piece of a split line to
 * the next that a URL's query string is not over yet; start a line with false. */
size_t redact_text(const Redact *r, char *text, size_t len, bool *in_query);

/* How many bytes at the end of text may be the beginning of something to hide: a piece of a split line keeps them back. */
size_t redact_held_back(const Redact *r, const char *text, size_t len);
