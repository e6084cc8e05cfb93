/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of MQTT that come and go once per message: PUBLISH and PUBACK, of versions 3.1, 3.1.1 and 5; and the reason in
 * packets of version 5. (Everything else is libmosquitto's.) PURE: no clock, no descriptor; memory only for what is appended. */
#pragma once

#include "base/buf.h"
#include "base/macro.h"

enum {
        PACKET_HEADER_MAX = 5,            /* type and remaining length */
        PACKET_REMAINING_MAX = 268435455, /* bytes behind the header that the length can tell */
};

typedef struct Publish {
        const char *topic; /* not NUL-terminated */
        size_t topic_len;
        const unsigned char *payload;
        size_t len;
        unsigned qos;
        bool retained;
        uint16_t mid; /* QoS 1 */
} Publish;

/* Type (with flags) and remaining length (at most PACKET_REMAINING_MAX); returns how many bytes they take. */
size_t packet_header(unsigned char first, uint32_t remaining, unsigned char ret[static PACKET_HEADER_MAX]);

/* Bytes of the whole packet, header included; 0 = more than MQTT can tell. */
size_t packet_publish_size(int protocol, const Publish *p);
/* Append it. Its size must have been asked for before. */
void packet_append_publish(Buf *to, int protocol, const Publish *p);
void packet_append_puback(Buf *to, uint16_t mid);

/* Take a body apart; what is returned points into it. 0, or -EBADMSG: no such packet. */
int packet_read_publish(int protocol, unsigned flags, const unsigned char *body, size_t n, Publish *ret) MUST_USE;
/* PUBACK: the code is 0 where none is given. */
int packet_read_puback(int protocol, const unsigned char *body, size_t n, uint16_t *ret_mid,
                       unsigned *ret_code) MUST_USE;

/* The reason string among the properties at `p` of a PUBACK or DISCONNECT (version 5), or NULL; points into p. */
const char *packet_reason_string(const unsigned char *p, size_t n, size_t *ret_len);
