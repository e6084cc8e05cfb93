/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4 of a WebSocket request, in its query string ("presigned"): GET, empty payload, header "host" only.
 * The session token is appended after signing and is no part of it, as AWS IoT asks. PURE: digests and time are handed in. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

enum {
        SIGV4_DIGEST_SIZE = 32,
        SIGV4_HOST_MAX = 253,
        SIGV4_REGION_MAX = 32, /* with its NUL */
        SIGV4_KEY_ID_MAX = 128,
        SIGV4_SECRET_MAX = 128,
        SIGV4_TOKEN_MAX = 4096,
        SIGV4_PATH_MAX = 256,
        SIGV4_EXPIRES_MAX = 604800, /* seconds that AWS takes */
};

/* SHA-256 and HMAC-SHA-256. false: cannot be computed (out of memory, switched off). */
typedef struct Sigv4Digests {
        bool (*sha256)(const void *data, size_t len, unsigned char ret[static SIGV4_DIGEST_SIZE]);
        bool (*hmac_sha256)(const void *key, size_t key_len, const void *data, size_t len,
                            unsigned char ret[static SIGV4_DIGEST_SIZE]);
} Sigv4Digests;

typedef struct Sigv4Request {
        const char *host;    /* name or address, without a port */
        const char *region;  /* NULL or "": from the host name */
        const char *path;    /* NULL: "/mqtt"; of the characters that need no escaping */
        const char *service; /* NULL: "iotdevicegateway" */
        const char *access_key_id, *secret_access_key;
        const char *session_token; /* NULL or "": none */
        int64_t time;              /* epoch seconds */
        int64_t expires;           /* seconds; 0: leave X-Amz-Expires out */
} Sigv4Request;

/* Appends the request target ("/mqtt?X-Amz-Algorithm=…"). 0; -EINVAL: what is missing or malformed, in e; -EIO: no digests;
 * -ENOMEM. On failure `ret` is as it was, or incomplete (-ENOMEM). */
int sigv4_presign(const Sigv4Request *request, const Sigv4Digests *digests, Buf *ret, Error *e) MUST_USE;

/* The region in the host name of an AWS IoT endpoint: PREFIX.iot.REGION.amazonaws.com, also with FIPS, dual stack, VPC
 * and the Chinese and European partitions' domains. 0, or -EINVAL: none of these. */
int sigv4_region(const char *host, char ret[static SIGV4_REGION_MAX], Error *e) MUST_USE;
