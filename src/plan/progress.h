/* SPDX-License-Identifier: Apache-2.0 */
/* The progress channel: from the bytes that a handler writes on descriptor 3 to lines, and from a line to what it means (contract
 * section 3). PURE. However the bytes are cut into pieces, they make the same lines. */
#pragma once

#include "base/macro.h"
#include "proto/limits.h"

enum { PROGRESS_LINE_MAX = 2047 }; /* bytes of one line; what is behind them is left out */

typedef struct ProgressReader {
        size_t len;
        bool cut;
        char line[PROGRESS_LINE_MAX]; /* behind the rest: not touched while nothing comes */
} ProgressReader;

/* A line that is not empty, without its line end; not NUL-terminated, and the callee's to change. `cut`: it was longer. */
typedef void (*ProgressLineFunction)(char *line, size_t len, bool cut, void *userdata);

void progress_reader_init(ProgressReader *r);
void progress_reader_feed(ProgressReader *r, const char *data, size_t len, ProgressLineFunction line, void *userdata);
/* Nothing more comes: what has no line feed is a line, too. The reader is as new. */
void progress_reader_end(ProgressReader *r, ProgressLineFunction line, void *userdata);

typedef enum ProgressKind {
        PROGRESS_NOTHING, /* nothing but space */
        PROGRESS_PERCENT, /* percent: 0–100 */
        PROGRESS_DETAIL,  /* key: one that a handler may set; text: its value */
        PROGRESS_TEXT,
} ProgressKind;

typedef struct ProgressLine {
        ProgressKind kind;
        int percent;
        char key[LIMIT_DETAILS_KEY + 1];
        const char *text; /* into the line; as it came, any bytes */
        size_t len;
} ProgressLine;

void progress_parse(const char *line, size_t len, ProgressLine *ret);
