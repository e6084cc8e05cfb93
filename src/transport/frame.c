/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/frame.h"

/* Header byte by byte: the first one, then one to four digits of base 128, least significant first. */
static FrameStep scan_header(FrameScanner *s, unsigned char byte) {
        if (s->digits == 0) {
                *s = (FrameScanner){ .type = byte >> 4, .flags = byte & 0x0FU, .digits = 1 };
                return FRAME_MORE;
        }
        s->remaining |= (uint32_t) (byte & 0x7FU) << (7 * (s->digits - 1));
        if ((byte & 0x80U) == 0) {
                s->left = s->remaining;
                s->digits = 0;
                return FRAME_HEADER;
        }
        return ++s->digits > 4 ? FRAME_BAD : FRAME_MORE;
}

FrameStep frame_scan(FrameScanner *s, const unsigned char *p, size_t n, size_t *ret_used) {
        FrameStep step = FRAME_MORE;
        size_t used = 0;

        if (s->left > 0) {
                used = MIN_OF(n, (size_t) s->left);
                s->left -= (uint32_t) used;
                *ret_used = used;
                return FRAME_BODY;
        }
        while (used < n && step == FRAME_MORE)
                step = scan_header(s, p[used++]);
        *ret_used = used;
        return step;
}

bool frame_publish_topic(const unsigned char *body, size_t n, char *ret, size_t size) {
        size_t len;

        if (n < 2)
                return false;
        len = (size_t) body[0] << 8 | body[1];
        if (len == 0 || len > n - 2 || len >= size)
                return false;
        for (size_t i = 0; i < len; i++)
                ret[i] = body[2 + i] >= 0x20 && body[2 + i] < 0x7F ? (char) body[2 + i] : '?';
        ret[len] = '\0';
        return true;
}
