/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker sends: packets are found in the stream however it is cut, and PUBLISH, PUBACK and reasons are taken apart
 * without looking outside. A PUBLISH that can be read is the same after it was written and read again.
 * Input: a byte for the protocol's version, one for the size of the pieces, then the stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/frame.h"
#include "transport/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

static void read_publish(int protocol, unsigned flags, const Buf *body) {
        Buf again CLEANUP_BUF = { 0 };
        Publish p, q;
        size_t at = 1;

        if (packet_read_publish(protocol, flags, (const unsigned char *) body->data, body->len, &p) < 0)
                return;
        must(p.topic_len > 0 && p.topic_len + p.len <= body->len);
        packet_append_publish(&again, protocol, &p);
        must(buf_error(&again) == 0 && packet_publish_size(protocol, &p) == again.len);
        while ((unsigned char) again.data[at++] & 0x80U)
                ;
        must(packet_read_publish(protocol, (unsigned char) again.data[0] & 0x0FU,
                                 (const unsigned char *) again.data + at, again.len - at, &q) == 0);
        must(q.qos == p.qos && q.mid == p.mid && q.retained == p.retained);
        must(q.topic_len == p.topic_len && memcmp(q.topic, p.topic, p.topic_len) == 0);
        must(q.len == p.len && (p.len == 0 || memcmp(q.payload, p.payload, p.len) == 0));
}

static void read_reason(const unsigned char *p, size_t n) {
        size_t len = 0;
        const char *why = packet_reason_string(p, n, &len);

        must(!why || ((const unsigned char *) why >= p && (const unsigned char *) why + len <= p + n));
}

static void take(int protocol, const FrameScanner *s, const Buf *body) {
        const unsigned char *p = (const unsigned char *) body->data;
        char topic[64];
        unsigned code;
        uint16_t mid;

        must(body->len == s->remaining);
        if (!p)
                return;
        if (frame_publish_topic(p, body->len, topic, sizeof topic))
                must(strlen(topic) < sizeof topic);
        if (s->type == MQTT_PUBLISH)
                read_publish(protocol, s->flags, body);
        if (s->type == MQTT_PUBACK && packet_read_puback(protocol, p, body->len, &mid, &code) == 0)
                must(mid != 0 && code <= 0xFF);
        if (body->len > 1)
                read_reason(p + 1, body->len - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        FrameScanner s = { 0 };
        Buf body CLEANUP_BUF = { 0 };
        int protocol;
        size_t piece;

        if (size < 2)
                return 0;
        protocol = 3 + data[0] % 3;
        piece = 1U + data[1];
        for (size_t at = 2; at < size;) {
                size_t n = MIN_OF(piece, size - at), used = 0;
                FrameStep step = frame_scan(&s, data + at, n, &used);

                must(used > 0 && used <= n);
                switch (step) {
                case FRAME_BAD:
                        return 0;
                case FRAME_MORE:
                        break;
                case FRAME_BODY:
                        buf_append(&body, data + at, used);
                        must(buf_error(&body) == 0);
                        break;
                case FRAME_HEADER:
                        buf_clear(&body);
                        break;
                }
                at += used;
                if ((step == FRAME_HEADER || step == FRAME_BODY) && s.left == 0)
                        take(protocol, &s, &body);
        }
        return 0;
}
