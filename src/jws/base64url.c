/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 4648 section 5 without padding, as RFC 7515 wants it. */
#include <errno.h>
#include <string.h>

#include "jws/jws.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum { DIGIT_BITS = 6, DIGIT_MASK = (1 << DIGIT_BITS) - 1, BYTE_BITS = 8, BYTE_MASK = 255 };

void base64url_encode(const void *data, size_t len, Buf *ret) {
        const unsigned char *bytes = data;
        unsigned held = 0, bits = 0;

        for (size_t i = 0; i < len; i++) {
                held = (held << BYTE_BITS | bytes[i]) & 0xffff;
                for (bits += BYTE_BITS; bits >= DIGIT_BITS;) {
                        bits -= DIGIT_BITS;
                        buf_append(ret, &alphabet[held >> bits & DIGIT_MASK], 1);
                }
        }
        if (bits > 0)
                buf_append(ret, &alphabet[held << (DIGIT_BITS - bits) & DIGIT_MASK], 1);
}

/* −1 = none of the alphabet. */
static int digit_value(char c) {
        const char *at = c ? strchr(alphabet, c) : NULL;

        return at ? (int) (at - alphabet) : -1;
}

int base64url_decode(const char *text, size_t len, char **ret, size_t *ret_len) {
        CLEANUP_FREE char *bytes = NULL;
        unsigned held = 0, bits = 0;
        size_t n = 0;

        if (len % 4 == 1) /* six bits make no byte */
                return -EINVAL;
        bytes = malloc(len / 4 * 3 + 3);
        if (!bytes)
                return -ENOMEM;
        for (size_t i = 0; i < len; i++) {
                int v = digit_value(text[i]);

                if (v < 0)
                        return -EINVAL;
                held = (held << DIGIT_BITS | (unsigned) v) & 0xffff;
                bits += DIGIT_BITS;
                if (bits >= BYTE_BITS) {
                        bits -= BYTE_BITS;
                        bytes[n++] = (char) (held >> bits & BYTE_MASK);
                }
        }
        if (held & ((1U << bits) - 1)) /* two texts for the same bytes */
                return -EINVAL;
        bytes[n] = '\0';
        *ret = TAKE(bytes);
        *ret_len = n;
        return 0;
}
