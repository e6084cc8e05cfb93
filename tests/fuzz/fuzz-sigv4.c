/* SPDX-License-Identifier: Apache-2.0 */
/* A request to be signed: a line each for host, region, path, service, key id, secret, token, time, expires; "-" = NULL. With
 * digests that cost nothing. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 9 };

static bool broken; /* the digests are */

static void must(bool good) {
        if (!good)
                abort();
}

static bool sum(const void *data, size_t len, unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        const unsigned char *p = data;

        memset(ret, 0, SIGV4_DIGEST_SIZE);
        for (size_t i = 0; i < len; i++)
                ret[i % SIGV4_DIGEST_SIZE] = (unsigned char) (ret[i % SIGV4_DIGEST_SIZE] * 31 + p[i]);
        return !broken;
}

static bool keyed_sum(const void *key, size_t key_len, const void *data, size_t len,
                      unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        unsigned char other[SIGV4_DIGEST_SIZE];

        if (!sum(key, key_len, other) || !sum(data, len, ret))
                return false;
        for (size_t i = 0; i < SIGV4_DIGEST_SIZE; i++)
                ret[i] ^= other[i];
        return true;
}

static void sign(char *const *line) {
        static const Sigv4Digests digests = { .sha256 = sum, .hmac_sha256 = keyed_sum };
        Sigv4Request q = { .host = line[0],
                           .region = line[1],
                           .path = line[2],
                           .service = line[3],
                           .access_key_id = line[4],
                           .secret_access_key = line[5],
                           .session_token = line[6] };
        Buf target CLEANUP_BUF = { 0 };
        Error e = { 0 };
        int r;

        q.time = line[7] ? strtoll(line[7], NULL, 10) : 0;
        q.expires = line[8] ? strtoll(line[8], NULL, 10) : 0;
        broken = line[8] && strchr(line[8], '!');
        r = sigv4_presign(&q, &digests, &target, &e);
        if (r < 0) {
                must((r == -EINVAL || (r == -EIO && broken)) && e.text[0] != '\0' && target.len == 0);
                return;
        }
        /* One word of an HTTP request line. */
        must(target.data[0] == '/' && strlen(target.data) == target.len);
        for (size_t i = 0; i < target.len; i++)
                must(target.data[i] > ' ' && target.data[i] <= '~');
        must(strstr(target.data, "&X-Amz-Signature=") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *copy = calloc(1, size + 1), *line[LINES] = { 0 }, *rest = copy;

        must(copy != NULL);
        memcpy(copy, data, size);
        for (size_t i = 0; i < LINES && rest; i++) {
                line[i] = strsep(&rest, "\n");
                if (strcmp(line[i], "-") == 0)
                        line[i] = NULL;
        }
        sign(line);
        free(copy);
        return 0;
}
