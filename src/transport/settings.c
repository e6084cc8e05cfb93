/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/settings.h"

#include <errno.h>
#include <mosquitto.h>
#include <string.h>

enum {
        KEEP_ALIVE_MIN = 5, /* what libmosquitto takes */
        ALPN_NAME_MAX = 255,
        TEXT_MAX = 65535, /* a string in MQTT */
};

static int copy_text(const char *from, char **ret) {
        if (!from || from[0] == '\0')
                return 0;
        *ret = strdup(from);
        return *ret ? 0 : -ENOMEM;
}

static int copy_texts(const TransportConfig *c, Settings *s) {
        const struct {
                const char *from;
                char **to;
        } texts[] = {
                { c->host, &s->host },           { c->client_id, &s->client_id }, { c->ca_file, &s->ca_file },
                { c->cert_file, &s->cert_file }, { c->key_file, &s->key_file },   { c->alpn, &s->alpn },
                { c->username, &s->username },   { c->password, &s->password },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(texts) && r == 0; i++)
                r = copy_text(texts[i].from, texts[i].to);
        return r;
}

static int copy_filters(const char *const *filters, Settings *s, Error *e) {
        size_t n = 0;

        while (filters && filters[n])
                n++;
        if (n > TRANSPORT_FILTERS_MAX)
                return error_set(e, EINVAL, "filters: %zu, at most %d", n, TRANSPORT_FILTERS_MAX);
        s->filters = calloc(n + 1, sizeof *s->filters);
        if (!s->filters)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                size_t len = strlen(filters[i]);

                if (len == 0 || len > TEXT_MAX || mosquitto_sub_topic_check(filters[i]) != MOSQ_ERR_SUCCESS ||
                    mosquitto_validate_utf8(filters[i], (int) len) != MOSQ_ERR_SUCCESS)
                        return error_set(e, EINVAL, "filters: %s: not a topic filter", filters[i]);
                s->filters[i] = strdup(filters[i]);
                if (!s->filters[i])
                        return -ENOMEM;
                s->n_filters++;
        }
        return 0;
}

static int check_text(const char *key, const char *text, Error *e) {
        size_t len = text ? strlen(text) : 0;

        if (len > TEXT_MAX)
                return error_set(e, EINVAL, "%s: longer than %d bytes", key, TEXT_MAX);
        if (len > 0 && mosquitto_validate_utf8(text, (int) len) != MOSQ_ERR_SUCCESS)
                return error_set(e, EINVAL, "%s: not valid UTF-8", key);
        return 0;
}

static int check_identity(const Settings *s, Error *e) {
        int r;

        if (!s->host)
                return error_set(e, EINVAL, "host: missing");
        if (s->port == 0)
                return error_set(e, EINVAL, "port: 0, expected 1 to 65535");
        if (!s->client_id)
                return error_set(e, EINVAL, "client_id: missing");
        r = check_text("client_id", s->client_id, e);
        if (r == 0)
                r = check_text("username", s->username, e);
        if (r == 0 && s->password && strlen(s->password) > TEXT_MAX)
                r = error_set(e, EINVAL, "password: longer than %d bytes", TEXT_MAX);
        if (r == 0 && s->password && !s->username)
                r = error_set(e, EINVAL, "password: set without a username");
        return r;
}

static int check_tls(const Settings *s, Error *e) {
        if (!s->cert_file != !s->key_file)
                return error_set(e, EINVAL, "%s: missing, %s is set", s->cert_file ? "key_file" : "cert_file",
                                 s->cert_file ? "cert_file" : "key_file");
        if (!s->ca_file && s->cert_file)
                return error_set(e, EINVAL, "ca_file: missing, cert_file is set");
        if (s->alpn && strlen(s->alpn) > ALPN_NAME_MAX)
                return error_set(e, EINVAL, "alpn: longer than %d bytes", ALPN_NAME_MAX);
        return 0;
}

static int check_numbers(const Settings *s, Error *e) {
        if (s->protocol < 3 || s->protocol > 5)
                return error_set(e, EINVAL, "protocol: %d, expected 3 (3.1), 4 (3.1.1) or 5", s->protocol);
        if (s->qos < 0 || s->qos > 1)
                return error_set(e, EINVAL, "qos: %d, expected 0 or 1", s->qos);
        if (s->keep_alive_sec < KEEP_ALIVE_MIN || s->keep_alive_sec > UINT16_MAX)
                return error_set(e, EINVAL, "keep_alive: %u, expected %d to %d seconds", s->keep_alive_sec,
                                 KEEP_ALIVE_MIN, UINT16_MAX);
        if (s->connect_timeout_usec == 0 || s->operation_timeout_usec == 0)
                return error_set(e, EINVAL, "connect_timeout, operation_timeout: 0, expected more");
        if (s->reconnect_min_usec == 0 || s->reconnect_max_usec < s->reconnect_min_usec)
                return error_set(e, EINVAL,
                                 "reconnect_min, reconnect_max: expected 0 < reconnect_min <= reconnect_max");
        return 0;
}

static int settings_fill(const TransportConfig *c, Settings *s, Error *e) {
        int r;

        s->port = c->port;
        s->protocol = c->protocol;
        s->clean_session = c->clean_session;
        s->qos = c->qos;
        s->keep_alive_sec = c->keep_alive_sec;
        s->connect_timeout_usec = c->connect_timeout_usec;
        s->operation_timeout_usec = c->operation_timeout_usec;
        s->reconnect_min_usec = c->reconnect_min_usec;
        s->reconnect_max_usec = c->reconnect_max_usec;
        s->stable_usec = c->stable_usec;
        s->publish_rate = c->publish_rate;
        r = copy_texts(c, s);
        if (r == 0)
                r = copy_filters(c->filters, s, e);
        if (r == 0)
                r = check_identity(s, e);
        if (r == 0)
                r = check_tls(s, e);
        return r == 0 ? check_numbers(s, e) : r;
}

int settings_new(const TransportConfig *config, Settings **ret, Error *e) {
        Settings *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return error_errno(e, ENOMEM, "settings");
        r = settings_fill(config, s, e);
        if (r == -ENOMEM)
                r = error_errno(e, ENOMEM, "settings");
        if (r < 0) {
                (void) settings_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

Settings *settings_free(Settings *s) {
        if (!s)
                return NULL;
        if (s->password)
                explicit_bzero(s->password, strlen(s->password));
        for (size_t i = 0; i < s->n_filters; i++)
                free(s->filters[i]);
        free(s->filters);
        free(s->host);
        free(s->client_id);
        free(s->ca_file);
        free(s->cert_file);
        free(s->key_file);
        free(s->alpn);
        free(s->username);
        free(s->password);
        free(s);
        return NULL;
}
