/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/packet.h"

#include <errno.h>
#include <string.h>

enum {
        FIRST_PUBLISH = 0x30,
        FIRST_PUBACK = 0x40,
        FLAG_RETAIN = 0x01,
        VERSION_5 = 5,
        PROPERTY_SESSION_EXPIRY = 0x11, /* four bytes */
        PROPERTY_SERVER_REFERENCE = 0x1C,
        PROPERTY_REASON_STRING = 0x1F,
        PROPERTY_USER = 0x26, /* two strings */
};

/* ---- writing ---- */

size_t packet_header(unsigned char first, uint32_t remaining, unsigned char ret[static PACKET_HEADER_MAX]) {
        size_t n = 0;

        ret[n++] = first;
        do {
                ret[n++] = (unsigned char) ((remaining & 0x7FU) | (remaining > 0x7FU ? 0x80U : 0));
                remaining >>= 7;
        } while (remaining > 0);
        return n;
}

/* Bytes behind the header. */
static size_t publish_remaining(int protocol, const Publish *p) {
        return 2 + p->topic_len + (p->qos > 0 ? 2U : 0U) + (protocol == VERSION_5 ? 1U : 0U) + p->len;
}

size_t packet_publish_size(int protocol, const Publish *p) {
        unsigned char header[PACKET_HEADER_MAX];
        size_t remaining;

        if (p->topic_len > UINT16_MAX || p->len > PACKET_REMAINING_MAX)
                return 0;
        remaining = publish_remaining(protocol, p);
        if (remaining > PACKET_REMAINING_MAX)
                return 0;
        return packet_header(FIRST_PUBLISH, (uint32_t) remaining, header) + remaining;
}

static void append_16(Buf *to, size_t value) {
        const unsigned char bytes[2] = { (unsigned char) (value >> 8), (unsigned char) value };

        buf_append(to, bytes, sizeof bytes);
}

void packet_append_publish(Buf *to, int protocol, const Publish *p) {
        unsigned char header[PACKET_HEADER_MAX];
        unsigned first = FIRST_PUBLISH | p->qos << 1 | (p->retained ? FLAG_RETAIN : 0);

        buf_append(to, header, packet_header((unsigned char) first, (uint32_t) publish_remaining(protocol, p), header));
        append_16(to, p->topic_len);
        buf_append(to, p->topic, p->topic_len);
        if (p->qos > 0)
                append_16(to, p->mid);
        if (protocol == VERSION_5)
                buf_append(to, "", 1); /* no properties */
        buf_append(to, p->payload, p->len);
}

void packet_append_puback(Buf *to, uint16_t mid) {
        const unsigned char bytes[4] = { FIRST_PUBACK, 2, (unsigned char) (mid >> 8), (unsigned char) mid };

        buf_append(to, bytes, sizeof bytes);
}

/* ---- reading ---- */

typedef struct Reader {
        const unsigned char *at;
        size_t left;
        bool bad; /* something was missing */
} Reader;

static const unsigned char *read_bytes(Reader *r, size_t n) {
        const unsigned char *p = r->at;

        if (r->bad || n > r->left) {
                r->bad = true;
                return NULL;
        }
        r->at += n;
        r->left -= n;
        return p;
}

static size_t read_16(Reader *r) {
        const unsigned char *p = read_bytes(r, 2);

        return p ? (size_t) p[0] << 8 | p[1] : 0;
}

static const unsigned char *read_string(Reader *r, size_t *ret_len) {
        *ret_len = read_16(r);
        return read_bytes(r, *ret_len);
}

static size_t read_length(Reader *r) {
        size_t value = 0;

        for (unsigned shift = 0; shift < 28; shift += 7) {
                const unsigned char *p = read_bytes(r, 1);

                if (!p)
                        return 0;
                value |= (size_t) (*p & 0x7FU) << shift;
                if ((*p & 0x80U) == 0)
                        return value;
        }
        r->bad = true;
        return 0;
}

int packet_read_publish(int protocol, unsigned flags, const unsigned char *body, size_t n, Publish *ret) {
        Reader r = { .at = body, .left = n };

        *ret = (Publish){ .qos = flags >> 1 & 3U, .retained = (flags & FLAG_RETAIN) != 0 };
        ret->topic = (const char *) read_string(&r, &ret->topic_len);
        if (ret->qos > 0) {
                ret->mid = (uint16_t) read_16(&r);
                r.bad = r.bad || ret->mid == 0;
        }
        if (protocol == VERSION_5)
                (void) read_bytes(&r, read_length(&r)); /* what they say changes nothing here */
        ret->payload = r.at;
        ret->len = r.left;
        return r.bad || ret->topic_len == 0 ? -EBADMSG : 0;
}

int packet_read_puback(int protocol, const unsigned char *body, size_t n, uint16_t *ret_mid, unsigned *ret_code) {
        Reader r = { .at = body, .left = n };
        const unsigned char *code;

        *ret_mid = (uint16_t) read_16(&r);
        *ret_code = 0;
        if (protocol == VERSION_5 && r.left > 0) {
                code = read_bytes(&r, 1);
                *ret_code = code ? *code : 0;
        } else if (r.left > 0)
                return -EBADMSG;
        return r.bad || *ret_mid == 0 ? -EBADMSG : 0;
}

const char *packet_reason_string(const unsigned char *p, size_t n, size_t *ret_len) {
        Reader r = { .at = p, .left = n };
        size_t len = read_length(&r);

        if (len > r.left)
                return NULL;
        r.left = len;
        while (r.left > 0 && !r.bad) {
                const unsigned char *kind = read_bytes(&r, 1);
                const unsigned char *text;

                switch (kind ? *kind : 0) {
                case PROPERTY_SESSION_EXPIRY:
                        (void) read_bytes(&r, 4);
                        break;
                case PROPERTY_USER:
                        (void) read_string(&r, &len);
                        (void) read_string(&r, &len);
                        break;
                case PROPERTY_SERVER_REFERENCE:
                        (void) read_string(&r, &len);
                        break;
                case PROPERTY_REASON_STRING:
                        text = read_string(&r, ret_len);
                        return (const char *) text;
                default:
                        return NULL;
                }
        }
        return NULL;
}
