/* SPDX-License-Identifier: Apache-2.0 */
/* What iot-jobs-verify answers. Both sides of the conversation use these. PURE.
 *
 *   iot-jobs-verify --keys-fd FD | --keys DIRECTORY  --thing NAME --job ID  [--owner UID] [--require] [--accepted]
 *
 * standard input   the bytes of the compact JWS, to the end of file: not one more, no line break
 * standard output  one line, and behind it, after `verified` only, exactly that many bytes:
 *
 *         verified BYTES KID LF payload            exit 0   KID: name of the key that signed it
 *         refused PATH: REASON LF                  exit 1   for good: the execution is REJECTED with that path and reason
 *         unable REASON LF                         exit 3   not the document's fault (memory, descriptors, I/O): try again
 *
 * standard error   remarks for the journal (a key that cannot be used, a wrong option: exit 2)
 *
 * The whole answer is smaller than a pipe: the program never waits for its reader. Nothing is verified unless the exit code,
 * the line, and the number of bytes all say so; a program that was killed in between verified nothing. */
#pragma once

#include "jws/jws.h"

enum {
        JWS_EXIT_VERIFIED = 0,
        JWS_EXIT_REFUSED = 1,
        JWS_EXIT_USAGE = 2,
        JWS_EXIT_UNABLE = 3,
        JWS_ANSWER_MAX = LIMIT_DOCUMENT + 1024, /* bytes of an answer */
};

typedef enum JwsVerdict {
        JWS_VERIFIED,
        JWS_REFUSED,
        JWS_UNABLE,
} JwsVerdict;

typedef struct JwsAnswer {
        JwsVerdict verdict;
        char kid[JWS_KID_MAX + 1]; /* verified */
        const char *payload;       /* verified; borrowed */
        size_t payload_len;
        JwsFault fault; /* refused; unable: the reason only */
} JwsAnswer;

/* Appends. */
void jws_answer_encode(const JwsAnswer *a, Buf *ret);
/* `data`: all that came; a->payload points into it. 0, or -EBADMSG for whatever is no answer: with another exit code than it
 * belongs to, cut short, too long. */
int jws_answer_parse(const char *data, size_t len, int exit_code, JwsAnswer *ret) MUST_USE;
