/* SPDX-License-Identifier: Apache-2.0 */
/* From HTTP to WebSocket: the request, signed where IAM credentials are used, and what the answer means. */
#pragma once

#include "transport/http.h"
#include "transport/settings.h"

enum {
        UPGRADE_NONCE_SIZE = 16,
        UPGRADE_SKEW_SEC = 300, /* AWS takes a signature whose time is off by so much */
};

/* Can a request be made: the region known, credentials found where they are looked for? 0 or negative errno as below. */
int upgrade_check(const Settings *s, Error *e) MUST_USE;
/* Appends the request; `now` (epoch seconds) is the time of its signature. Looks credentials up anew. 0, or negative errno:
 * no credentials, no region. */
int upgrade_request(const Settings *s, const unsigned char nonce[static UPGRADE_NONCE_SIZE], int64_t now, Buf *ret,
                    Error *e) MUST_USE;
/* 0 = WebSocket frames from here on; -EACCES, -EPROTO with the answer, the beginning of its body, and what to do in e. */
int upgrade_judge(const Settings *s, const unsigned char nonce[static UPGRADE_NONCE_SIZE], int64_t now,
                  const HttpAnswer *a, Error *e) MUST_USE;
