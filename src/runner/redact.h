/* SPDX-License-Identifier: Apache-2.0 */
/* What never leaves a handler's output: the values of the parameters that log.redact names, and query strings of URLs. */
#pragma once

#include "base/macro.h"
#include "jobdoc/jobdoc.h"

typedef struct Redact {
        char **needle; /* owned; longest first */
        size_t n;
} Redact;

/* What a line is in the middle of where it was cut into pieces. */
typedef enum RedactState {
        REDACT_TEXT,
        REDACT_URL,   /* no question mark yet */
        REDACT_QUERY, /* which is left out to its end */
} RedactState;

/* `names`: log.redact, NULL-terminated or NULL. -ENOMEM. A value of several lines is hidden line by line. */
int redact_init(Redact *r, const JobDoc *doc, char *const *names) MUST_USE;
/* The same of a document that is refused, and may be anything: what stands behind each `"name":` in its text. Rather too much than
 * too little is hidden. -ENOMEM. */
int redact_init_refused(Redact *r, const char *document, size_t len, char *const *names) MUST_USE;
void redact_done(Redact *r);

/* Rewrite text in place; returns the new length (never more than before). `state` carries over from one piece of a split line to the
 * next; start a line with REDACT_TEXT. */
size_t redact_text(const Redact *r, char *text, size_t len, RedactState *state);

/* How many bytes at the end of text may be the beginning of something to hide: a piece of a split line keeps them back. */
size_t redact_held_back(const Redact *r, const char *text, size_t len);
