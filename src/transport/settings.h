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
        unsigned keep_alive_sec;
        char *ca_file, *cert_file, *key_file; /* NULL = none */
        char *alpn;                           /* NULL = none */
        char *username, *password;
        uint64_t connect_timeout_usec, operation_timeout_usec;
        uint64_t reconnect_min_usec, reconnect_max_usec, stable_usec;
        unsigned publish_rate;
        char **filters;
        size_t n_filters;
} Settings;

/* Values only; the files are looked at by tls_context_new(). 0, -EINVAL with the key in e, -ENOMEM. */
int settings_new(const TransportConfig *config, Settings **ret, Error *e) MUST_USE;
Settings *settings_free(Settings *s);
DEFINE_CLEANUP(Settings *, settings_free)
