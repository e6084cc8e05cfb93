/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler says: stdout and stderr into the log line by line as they come, their ends kept for a report, and the lines of the
 * progress descriptor. The pipes are always read, so that no amount of output slows, kills or fails a handler. */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "runner/bounds.h"
#include "runner/redact.h"

typedef enum OutputStream {
        OUTPUT_STDOUT,
        OUTPUT_STDERR,
        OUTPUT_PROGRESS,
        OUTPUT_COUNT,
} OutputStream;

/* A line of the progress descriptor, without its line feed; not NUL-terminated. */
typedef void (*OutputProgress)(const char *line, size_t len, void *userdata);

typedef struct Output Output;

/* `redact` is borrowed. */
int output_new(const Redact *redact, OutputProgress progress, void *userdata, Output **ret) MUST_USE;
Output *output_free(Output *o);
DEFINE_CLEANUP(Output *, output_free)

/* A handler starts: takes over the non-blocking reading ends; `identifier` and `fields` (without IOT_JOB_STREAM) are copied. Tails and
 * counts start anew. */
int output_start(Output *o, const int fds[static OUTPUT_COUNT], const char *identifier,
                 const LogField *fields) MUST_USE;
int output_fd(const Output *o, OutputStream s); /* -1 = at its end */
bool output_at_end(const Output *o);            /* all three */

/* Read what there is, at most RUNNER_READ_MAX bytes; false = nothing now, or the end. */
bool output_read(Output *o, OutputStream s, uint64_t now);
/* The handler is over: log an unfinished last line, close the pipes, say how many lines were dropped. */
void output_finish(Output *o);
/* When output_tick() has something to say; USEC_NEVER = never. */
uint64_t output_deadline(const Output *o);
void output_tick(Output *o, uint64_t now);

/* The end of a stream, valid until the next call; and how many lines it had. */
const char *output_tail(Output *o, OutputStream s, size_t *ret_len);
uint64_t output_lines(const Output *o, OutputStream s);
