/* SPDX-License-Identifier: Apache-2.0 */
/* Golden vectors: calls of the AWS IoT Device SDK v1 for Python and what they put on the wire, against the library's public
 * API in v1 mode. Three parts that know nothing of each other's answers: the library; a model of that SDK (golden-sdk.c),
 * which says what a vector must expect; the rules of the service (golden-rules.c), which say what it would refuse. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- golden-endpoint.c: an MQTT server for one connection at a time that writes down what it hears ---- */

enum { HEARD_TEXT_MAX = 65536, HEARD_MAX = 32 }; /* a string of MQTT, and its NUL */

typedef enum HeardType { HEARD_CONNECT = 1, HEARD_PUBLISH = 3, HEARD_SUBSCRIBE = 8, HEARD_UNSUBSCRIBE = 10 } HeardType;

typedef struct Heard {
        HeardType type;
        char topic[HEARD_TEXT_MAX]; /* PUBLISH; SUBSCRIBE: the filter, and "" if there was not just one */
        char *payload;              /* PUBLISH, CONNECT (the will's); owned, NUL-terminated */
        size_t len;
        int qos;
        bool retain;
        /* CONNECT */
        char protocol[16];
        int level, flags, keep_alive;
        char client_id[HEARD_TEXT_MAX], username[HEARD_TEXT_MAX], password[HEARD_TEXT_MAX];
        char will_topic[HEARD_TEXT_MAX];
} Heard;

typedef struct Endpoint Endpoint;
Endpoint *endpoint_start(int *ret_port);
void endpoint_stop(Endpoint *e);
void endpoint_clear(Endpoint *e);
/* Wait until a PUBLISH to this topic is there, and hand out all that came before it (the caller frees with
 * heard_free()); topic NULL: until one packet is there. false: it did not come. */
bool endpoint_collect(Endpoint *e, const char *topic, Heard **ret, size_t *ret_n);
void heard_free(Heard *list, size_t n);

/* ---- golden-front.c: a WebSocket server with TLS on 127.0.0.1 that hands on to the endpoint at `port` what it hears ---- */

enum { FRONT_PATH_MAX = 32 };

typedef struct Front Front;
Front *front_start(int port, int *ret_port, char ret_ca_file[static FRONT_PATH_MAX]);
void front_stop(Front *f); /* no connection may be open */

/* ---- golden-json.c ---- */

/* JSON with any number: an integer past 64 bits becomes a string of this prefix and its digits. NULL: malformed. */
#define BIG_NUMBER "\x01" "number:"
json_t *golden_parse(const char *text, size_t len);
/* The elements of a JSON array, each by itself, so that a malformed one does not hide the others: their number, or -1 where
 * it is no array. ret[i] is NULL for a malformed one. */
long golden_parse_array(const char *text, size_t len, json_t ***ret);

/* Python's bool() of a value. */
bool golden_truth(const json_t *value);

/* ---- golden-sdk.c ---- */

typedef struct SdkResult {
        const char *exception; /* NULL: none; what the call raises, by the Python type's name */
        char message[128];     /* and what it says; "" = not known */
        char topic[1024];
        json_t *payload; /* owned; json_null(): zero-length */
        bool known;      /* false: this model does not know */
} SdkResult;

SdkResult sdk_call(const json_t *vector);

/* ---- golden-rules.c ---- */

/* NULL, or why the service refuses this publication, or the protocol forbids it. */
const char *rules_publish(const char *topic, const json_t *payload);
const char *rules_subscribe(const char *filter);
