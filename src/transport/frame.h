/* SPDX-License-Identifier: Apache-2.0 */
/* Where the packets of an MQTT byte stream begin and how long they are: enough to stop a packet that is too large before
 * anyone makes room for it. PURE: no memory, no clock, no descriptor. */
#pragma once

#include "base/macro.h"

typedef enum MqttType {
        MQTT_CONNACK = 2,
        MQTT_PUBLISH = 3,
        MQTT_PUBACK = 4,
        MQTT_SUBACK = 9,
        MQTT_PINGRESP = 13,
        MQTT_DISCONNECT = 14,
} MqttType;

typedef enum FrameStep {
        FRAME_MORE,   /* everything was taken; the header is not complete */
        FRAME_HEADER, /* a header has just become complete: type, flags, remaining are set */
        FRAME_BODY,   /* bytes of the packet's body were taken */
        FRAME_BAD,    /* a remaining length of more than four bytes */
} FrameStep;

typedef struct FrameScanner { /* zero-initialise */
        unsigned type, flags;
        uint32_t remaining; /* bytes behind the header, as announced */
        uint32_t left;      /* of those, not seen yet */
        unsigned digits;    /* header bytes seen: 0 = between packets */
} FrameScanner;

/* Look at the next bytes; *ret_used says how many of them (at least 1) belong to this step. n > 0. */
FrameStep frame_scan(FrameScanner *s, const unsigned char *p, size_t n, size_t *ret_used);

/* The topic at the start of a PUBLISH body, as far as it is there: printable ASCII, anything else '?'.
 * false: not within these n bytes. */
bool frame_publish_topic(const unsigned char *body, size_t n, char *ret, size_t size);
