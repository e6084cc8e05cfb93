/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/reason.h"

#include <mosquitto.h>

typedef struct Reason {
        unsigned code;
        const char *text;
} Reason;

static const Reason connack_3[] = {
        { 1, "unacceptable protocol version" },
        { 2, "client id rejected" },
        { 3, "server unavailable" },
        { 4, "bad user name or password" },
        { 5, "not authorized" },
        { 7, "not authorized (AWS IoT)" },
};

static const Reason codes_5[] = {
        { 0x80, "unspecified error" },
        { 0x81, "malformed packet" },
        { 0x82, "protocol error" },
        { 0x83, "implementation specific error" },
        { 0x84, "unsupported protocol version" },
        { 0x85, "client id not valid" },
        { 0x86, "bad user name or password" },
        { 0x87, "not authorized" },
        { 0x88, "server unavailable" },
        { 0x89, "server busy" },
        { 0x8A, "banned" },
        { 0x8B, "server shutting down" },
        { 0x8C, "bad authentication method" },
        { 0x8D, "keep alive timeout" },
        { 0x8E, "session taken over: another client has the same client id" },
        { 0x8F, "topic filter not valid" },
        { 0x90, "topic name not valid" },
        { 0x91, "packet identifier in use" },
        { 0x92, "packet identifier not found" },
        { 0x93, "receive maximum exceeded" },
        { 0x94, "topic alias not valid" },
        { 0x95, "packet too large" },
        { 0x96, "message rate too high" },
        { 0x97, "quota exceeded" },
        { 0x98, "administrative action" },
        { 0x99, "payload format not valid" },
        { 0x9A, "retain not supported" },
        { 0x9B, "QoS not supported" },
        { 0x9C, "use another server" },
        { 0x9D, "server moved" },
        { 0x9E, "shared subscriptions not supported" },
        { 0x9F, "connection rate exceeded" },
        { 0xA0, "maximum connect time" },
        { 0xA1, "subscription identifiers not supported" },
        { 0xA2, "wildcard subscriptions not supported" },
};

static const char *find(const Reason *table, size_t n, unsigned code) {
        for (size_t i = 0; i < n; i++)
                if (table[i].code == code)
                        return table[i].text;
        return "unknown reason";
}

void reason_clean(char *text) {
        for (unsigned char *p = (unsigned char *) text; *p; p++)
                if (*p < 0x20 || *p >= 0x7F)
                        *p = '?';
}

const char *reason_connack(int protocol, unsigned code) {
        if (protocol == 5 && code >= 0x80)
                return reason_code(code);
        return find(connack_3, ELEMENTSOF(connack_3), code);
}

const char *reason_code(unsigned code) {
        return find(codes_5, ELEMENTSOF(codes_5), code);
}

const char *reason_mosquitto(int rc) {
        static const Reason known[] = {
                { MOSQ_ERR_NOMEM, "out of memory" },
                { MOSQ_ERR_PROTOCOL, "the broker's packet breaks the MQTT protocol" },
                { MOSQ_ERR_INVAL, "a value that MQTT does not allow" },
                { MOSQ_ERR_NO_CONN, "no connection" },
                { MOSQ_ERR_CONN_REFUSED, "the broker refused the connection" },
                { MOSQ_ERR_NOT_FOUND, "the broker's packet has an unknown identifier" },
                { MOSQ_ERR_CONN_LOST, "the connection was lost" },
                { MOSQ_ERR_PAYLOAD_SIZE, "the payload is too large for MQTT" },
                { MOSQ_ERR_MALFORMED_UTF8, "text that is not valid UTF-8" },
                { MOSQ_ERR_MALFORMED_PACKET, "the broker's packet is malformed" },
                { MOSQ_ERR_DUPLICATE_PROPERTY, "the broker's packet repeats a property" },
                { MOSQ_ERR_QOS_NOT_SUPPORTED, "the broker does not take this quality of service" },
                { MOSQ_ERR_OVERSIZE_PACKET, "the packet is larger than the broker takes" },
        };

        return rc > 0 ? find(known, ELEMENTSOF(known), (unsigned) rc) : "unknown reason";
}
