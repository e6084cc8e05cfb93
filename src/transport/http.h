/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to one HTTP/1 request: its head piece by piece, with hard limits, and the beginning of its body for an error
 * text. PURE: memory only. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

enum {
        HTTP_HEAD_MAX = 16 << 10, /* status line and fields, of "100 Continue" and the like too */
        HTTP_FIELDS_MAX = 64,
        HTTP_EXCERPT_MAX = 512, /* of a body */
        HTTP_TEXT_MAX = 300,    /* of http_describe() */
};

typedef struct HttpField {
        const char *name, *value; /* in `head`; the value without blanks around it */
} HttpField;

typedef enum HttpChunk {
        HTTP_CHUNK_SIZE,
        HTTP_CHUNK_EXTENSION,
        HTTP_CHUNK_DATA,
        HTTP_CHUNK_END,
} HttpChunk;

typedef struct HttpAnswer { /* zero-initialise, end with http_answer_done(); head and later are its own affair */
        bool complete;      /* the head: status, reason and fields are set */
        int status;
        const char *reason; /* "Forbidden", may be "" */
        HttpField fields[HTTP_FIELDS_MAX];
        size_t n_fields;
        char excerpt[HTTP_EXCERPT_MAX + 1]; /* printable ASCII, white space squeezed */
        size_t excerpt_len;

        Buf head;
        size_t line;   /* where the line that is being read begins */
        size_t before; /* bytes of interim heads */
        bool chunked, until_close, body_over;
        HttpChunk chunk;
        uint64_t left; /* of the body, or of the chunk */
} HttpAnswer;

void http_answer_done(HttpAnswer *a);
#define CLEANUP_HTTP __attribute__((cleanup(http_answer_done)))

/* Takes the next bytes of the head; *ret_used says how many (what is behind the head is the caller's). Interim answers (1xx
 * but 101) are passed over. 1 = the head is complete, 0 = more is needed; -EPROTO: not HTTP/1, or damaged; -E2BIG: over a
 * limit; -ENOMEM. `who` ("the proxy") begins the sentence in e. */
int http_feed_head(HttpAnswer *a, const char *who, const void *data, size_t len, size_t *ret_used, Error *e) MUST_USE;
/* The next bytes of the body go into the excerpt. true: enough, nothing more is wanted. May be called with len 0. */
bool http_feed_body(HttpAnswer *a, const void *data, size_t len);

/* The first value of a field, NULL = there is none. Names are compared without case. */
const char *http_value(const HttpAnswer *a, const char *name);
/* Is `token` in the comma-separated list that all fields of this name make together? Without case. */
bool http_has_token(const HttpAnswer *a, const char *name, const char *token);
/* 403 Forbidden: "the body's beginning". */
void http_describe(const HttpAnswer *a, char ret[static HTTP_TEXT_MAX]);
/* "Sun, 06 Nov 1994 08:49:37 GMT" as epoch seconds; -1: anything else. */
int64_t http_date(const char *text);
/* Appends base64 with padding. */
void http_put_base64(Buf *b, const void *data, size_t len);
