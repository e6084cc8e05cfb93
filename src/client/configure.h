/* SPDX-License-Identifier: Apache-2.0 */
/* What the iotjobs_client_configure_ calls set, each value checked by itself, and the TransportConfig it comes to, where the
 * combination is checked. */
#pragma once

#include <iotjobs/client.h>

#include "base/buf.h"
#include "transport/transport.h"

typedef struct Configuration {
        /* From IotJobsOptions; client_id NULL: none (only on a shared handle). */
        char *client_id;
        char thing[129];
        int qos;
        int protocol;
        bool websocket, clean_session, v1;

        char *host;
        int port;
        char *alpn; /* NULL = by the rule of client.h */
        char *ca_file, *key_file, *cert_file, *key_uri, *engine;
        char *access_key_id, *secret_access_key, *session_token, *aws_file, *aws_profile, *region;
        char *username, *password;
        bool metrics;
        char *metrics_text; /* NULL = the one of the Python SDK */
        char *will_topic, *will_payload;
        size_t will_len;
        int will_qos;
        bool will_retain;
        char *proxy_host, *proxy_user, *proxy_password;
        uint16_t proxy_port;
        int reconnect_min, reconnect_max, stable;
        unsigned publish_rate;
        int connect_timeout, operation_timeout;
        int keep_alive;
        bool plaintext;
} Configuration;

/* `shared`: for a client on a handle of the caller's. 0, -EINVAL, -ENOMEM; done() also after a failure. */
int configuration_init(Configuration *ret, const IotJobsOptions *options, bool shared, Error *e) MUST_USE;
void configuration_done(Configuration *c);
/* What transport_new() is to get; everything is borrowed from *c, *username_text and filters. 0, or -EINVAL: what is missing or
 * does not go together. */
int configuration_to_transport(const Configuration *c, const char *const *filters, Buf *username_text,
                               TransportConfig *ret, Error *e) MUST_USE;
