/* SPDX-License-Identifier: Apache-2.0 */
/* IAM credentials for the signature of a WebSocket connection: given, from the environment, or from AWS' shared credentials
 * file. Looked for anew at each connect, since temporary ones are renewed in place. */
#pragma once

#include "transport/settings.h"

enum {
        CREDENTIALS_FILE_MAX = 1 << 18,
        CREDENTIALS_PROFILE_MAX = 128,
};

typedef struct Credentials { /* zero-initialise; owned strings */
        char *access_key_id, *secret_access_key;
        char *session_token; /* NULL = none */
} Credentials;

void credentials_done(Credentials *c); /* wipes, frees, empties */
#define CLEANUP_CREDENTIALS __attribute__((cleanup(credentials_done)))

/* The keys of one profile in the text of a credentials file (PURE). `file` is its name for the sentence in e. 0; -ENOENT: no
 * such profile; -EBADMSG: a damaged line, a key missing or empty, or ways to get keys that are not taken here
 * (credential_process, roles, SSO); -ENOMEM. */
int credentials_parse(const char *file, const char *text, size_t len, const char *profile, Credentials *ret,
                      Error *e) MUST_USE;

/* Those in the settings; else AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else the file in the settings,
 * $AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, in it the profile of the settings, $AWS_PROFILE or "default".
 * 0, or negative errno with what was looked for and is missing in e. */
int credentials_find(const Settings *s, Credentials *ret, Error *e) MUST_USE;
