/* SPDX-License-Identifier: Apache-2.0 */
/* Ask iot-jobs-verify about a signed document (jws/answer.h): a program of its own, since OpenSSL has no place in a process that runs
 * as root. It gets the rights of a user that nobody else has (or somebody could attach to it and answer in its place), and the open
 * directory of the keys; the files of the keys must be readable by everyone. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "jws/jws.h"

typedef struct VerifyRequest {
        const char *jws, *thing, *job;
        const char *keys; /* policy.trusted_keys */
        uid_t uid;        /* who may own the keys, beside root */
        bool required;    /* policy.require_signature */
        bool accepted;    /* the run began already: time is not looked at */
} VerifyRequest;

/* 0 and *ret, the payload (owned, NUL-terminated); -EINVAL: refused for good, for the reason in the fault; another negative errno:
 * it could not be told, for the reason in e. Waits RUNNER_VERIFY_SEC at the most. */
int verify_document(const VerifyRequest *request, char **ret, size_t *ret_len, JwsFault *fault, Error *e) MUST_USE;
