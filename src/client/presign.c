/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <iotjobs/topic.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "client/names.h"
#include "proto/sigv4.h"

static bool sha256(const void *data, size_t len, unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        return EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1;
}

static bool hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                        unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        return HMAC(EVP_sha256(), key, (int) key_len, data, len, ret, NULL) != NULL;
}

int iotjobs_presign(const IotJobsPresign *p, char ret[IOTJOBS_PRESIGN_MAX], IotJobsError *error) {
        static const Sigv4Digests digests = { sha256, hmac_sha256 };
        CLEANUP_BUF Buf target = { 0 };
        Error *e = error_of(error);
        int r;

        if (!p)
                return error_set(e, EINVAL, "presign: no input");
        r = sigv4_presign(&(Sigv4Request){ .host = p->host,
                                           .region = p->region,
                                           .path = p->path,
                                           .service = p->service,
                                           .access_key_id = p->access_key_id,
                                           .secret_access_key = p->secret_access_key,
                                           .session_token = p->session_token,
                                           .time = p->time,
                                           .expires = p->expires },
                          &digests, &target, e);
        if (r < 0)
                return r;
        if (target.len >= IOTJOBS_PRESIGN_MAX)
                return error_set(e, E2BIG, "presign: %zu bytes, at most %d", target.len, IOTJOBS_PRESIGN_MAX - 1);
        memcpy(ret, target.data, target.len + 1);
        return 0;
}

int iotjobs_region_of(const char *host, char *ret, size_t size, IotJobsError *error) {
        char region[SIGV4_REGION_MAX];
        Error *e = error_of(error);
        int r = host ? sigv4_region(host, region, e) : error_set(e, EINVAL, "host: missing");

        if (r < 0)
                return r;
        if (strlen(region) >= size)
                return error_set(e, E2BIG, "region: %zu bytes do not fit into %zu", strlen(region) + 1, size);
        memcpy(ret, region, strlen(region) + 1);
        return 0;
}
