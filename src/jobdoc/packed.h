/* SPDX-License-Identifier: Apache-2.0 */
/* What jobdoc_parse() says, as bytes: how it comes from the unprivileged process that reads documents to the one that acts on them
 * with all its rights. PURE.
 *
 * Whoever packs may have been taken over by the document it read, so that unpacking believes nothing: each number, length, text and
 * combination is one that jobdoc_parse() can bring about under this policy, or the whole is refused. What cannot be seen from here is
 * whether the document said so, and whether its conditions were met; but who can make a parser lie wrote the document.
 *
 * The form, numbers little-endian: a header of JOBDOC_PACKED_HEADER bytes
 *     u32 magic   u32 length of all   u8 kind   u8 include_stdout   u8 operation form   u8 zero
 *     u16 steps   u16 parameters      i64 timeout
 * then of a document each step
 *     u8 command   u8 ignore_failure   u8 final   u8 run_as is run_as_given   u16 place of the directory in policy->paths, from 1;
 *     0 = none     u16 args            i64 allow_stderr
 *     texts: name, handler (not of a command), run_as_given (empty = none), args
 * and each parameter's name and value; of a signed document the JWS; of a fault its path and reason; of a question the path. A text is
 * an u16 length and its bytes, without a NUL. */
#pragma once

#include "base/buf.h"
#include "jobdoc/jobdoc.h"

enum {
        JOBDOC_PACKED_HEADER = 24,
        JOBDOC_PACKED_MAX = 65536, /* a document of LIMIT_DOCUMENT bytes needs at most 50 KiB */
        JOBDOC_QUESTIONS_MAX = JOBDOC_CONDITIONS_MAX * JOBDOC_CONDITION_VALUES_MAX,
};

/* Append a document that jobdoc_parse() made under `policy`; look at buf_error(). */
void jobdoc_pack(const JobDoc *d, const JobPolicy *policy, Buf *ret);
/* The same of its fault. */
void jobdoc_pack_fault(const JobFault *fault, Buf *ret);
/* The question whether there is a file: JobFacts.file_present of a process that cannot look itself. */
void jobdoc_pack_question(const char *path, Buf *ret);

/* The length of what begins here, and whether it is a question. 1; 0 = fewer bytes than a header; -EBADMSG. */
int jobdoc_packed_length(const void *data, size_t len, size_t *ret, bool *ret_question) MUST_USE;

/* 0 and *ret (caller: jobdoc_done); -EINVAL with the fault; -EBADMSG: no jobdoc_parse() said this, with what is wrong in e; -ENOMEM. */
int jobdoc_unpack(const void *data, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault, Error *e) MUST_USE;
/* 0 and *ret, an absolute path (caller frees); -EBADMSG, -ENOMEM. */
int jobdoc_unpack_question(const void *data, size_t len, char **ret, Error *e) MUST_USE;
