/* SPDX-License-Identifier: Apache-2.0 */
/* A checked copy of a TransportConfig. */
#pragma once

#include "transport/transport.h"

typedef struct Settings {
        char *host, *client_id;
        uint16_t port;
        int protocol;
        bool clean_session;
        int qos;
        unsigned keep_alive_sec; /* what CONNECT says */
        unsigned watch_sec;      /* how long we let pass without a word; the same, but for 0 */
        char *ca_file, *cert_file, *key_file; /* NULL = none */
        char *alpn;                           /* NULL = none */
        char *username, *password;
        uint64_t connect_timeout_usec, operation_timeout_usec;
        uint64_t reconnect_min_usec, reconnect_max_usec, stable_usec;
        unsigned publish_rate;
        char **filters;
        size_t n_filters;
        bool no_local;
        char *will_topic; /* NULL = no will */
        unsigned char *will_payload;
        size_t will_len;
        int will_qos;
        bool will_retain;
        char *key_uri, *engine; /* NULL = none */
        char *proxy_host;       /* NULL = none */
        uint16_t proxy_port;
        char *proxy_user, *proxy_password;
        bool websocket;
        bool sign; /* WebSocket with SigV4: there is no user name, or it is no more than the SDKs' "?SDK=…" */
        char *region;
        char *access_key_id, *secret_access_key, *session_token; /* the first two: both or none */
        char *aws_credentials_file, *aws_profile;
} Settings;

/* Values only; the files are looked at by tls_context_new(). 0, -EINVAL with the key in e, -ENOMEM. */
int settings_new(const TransportConfig *config, Settings **ret, Error *e) MUST_USE;
Settings *settings_free(Settings *s);
DEFINE_CLEANUP(Settings *, settings_free)
/* A topic filter that MQTT takes. */
bool settings_filter_ok(const char *filter);
