/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/settings.h"

#include <errno.h>
#include <mosquitto.h>
#include <string.h>

enum {
        KEEP_ALIVE_MIN = 5, /* what libmosquitto takes */
        KEEP_ALIVE_OF_NONE = 1200, /* AWS takes 0 for this */
        ALPN_NAME_MAX = 255,
        HOST_TEXT_MAX = 255,
        REGION_TEXT_MAX = 64,
        PROXY_TEXT_MAX = 1024, /* user name or password: they must fit into one header line */
        KEY_TEXT_MAX = 8192,   /* of a key URI, an access key; AWS names no bound for a session token */
        TEXT_MAX = 65535,      /* a string in MQTT */
};

/* ---- copying ---- */

typedef struct TextField {
        size_t from, to; /* offsets in TransportConfig and Settings */
        bool secret;     /* wiped before its memory goes */
} TextField;

#define FIELD(name)                                                                                                    \
        { offsetof(TransportConfig, name), offsetof(Settings, name), false }
#define SECRET(name)                                                                                                   \
        { offsetof(TransportConfig, name), offsetof(Settings, name), true }
static const TextField fields[] = {
        FIELD(host),           FIELD(client_id),
        FIELD(ca_file),        FIELD(cert_file),
        FIELD(key_file),       FIELD(alpn),
        FIELD(username),       SECRET(password),
        FIELD(will_topic),     SECRET(key_uri), /* may hold a PIN */
        FIELD(engine),         FIELD(proxy_host),
        FIELD(proxy_user),     SECRET(proxy_password),
        FIELD(region),         FIELD(access_key_id),
        FIELD(aws_profile),    SECRET(secret_access_key),
        SECRET(session_token), FIELD(aws_credentials_file),
};
#undef FIELD
#undef SECRET

static char **text_of(Settings *s, const TextField *f) {
        return (char **) (void *) ((char *) s + f->to);
}

/* "" means none, like NULL. */
static int copy_texts(const TransportConfig *c, Settings *s) {
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const char *from = *(const char *const *) (const void *) ((const char *) c + fields[i].from);

                if (!from || from[0] == '\0')
                        continue;
                *text_of(s, &fields[i]) = strdup(from);
                if (!*text_of(s, &fields[i]))
                        return -ENOMEM;
        }
        return 0;
}

static int copy_will(const TransportConfig *c, Settings *s, Error *e) {
        s->will_qos = c->will_qos;
        s->will_retain = c->will_retain;
        if (c->will_len > TEXT_MAX)
                return error_set(e, EINVAL, "will_payload: %zu bytes, at most %d", c->will_len, TEXT_MAX);
        if (c->will_len == 0)
                return 0;
        if (!c->will_payload)
                return error_set(e, EINVAL, "will_payload: missing, will_len is %zu", c->will_len);
        s->will_payload = malloc(c->will_len);
        if (!s->will_payload)
                return -ENOMEM;
        memcpy(s->will_payload, c->will_payload, c->will_len);
        s->will_len = c->will_len;
        return 0;
}

bool settings_filter_ok(const char *filter) {
        size_t len = strlen(filter);

        return len > 0 && len <= TEXT_MAX && mosquitto_sub_topic_check(filter) == MOSQ_ERR_SUCCESS &&
               mosquitto_validate_utf8(filter, (int) len) == MOSQ_ERR_SUCCESS;
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
                if (!settings_filter_ok(filters[i]))
                        return error_set(e, EINVAL, "filters: %s: not a topic filter", filters[i]);
                s->filters[i] = strdup(filters[i]);
                if (!s->filters[i])
                        return -ENOMEM;
                s->n_filters++;
        }
        return 0;
}

/* ---- checking ---- */

static int check_text(const char *key, const char *text, Error *e) {
        size_t len = text ? strlen(text) : 0;

        if (len > TEXT_MAX)
                return error_set(e, EINVAL, "%s: longer than %d bytes", key, TEXT_MAX);
        if (len > 0 && mosquitto_validate_utf8(text, (int) len) != MOSQ_ERR_SUCCESS)
                return error_set(e, EINVAL, "%s: not valid UTF-8", key);
        return 0;
}

/* A text that stands in a request to a peer or in a file's name: no line feed may hide in it. */
static int check_line(const char *key, const char *text, size_t max, Error *e) {
        if (!text)
                return 0;
        if (strlen(text) > max)
                return error_set(e, EINVAL, "%s: longer than %zu bytes", key, max);
        for (const unsigned char *p = (const unsigned char *) text; *p; p++)
                if (*p < 0x20 || *p == 0x7F)
                        return error_set(e, EINVAL, "%s: has a control character (0x%02x)", key, *p);
        return 0;
}

/* Names and addresses only: no URL, no user@, no port. */
static int check_host(const char *key, const char *host, Error *e) {
        if (strlen(host) > HOST_TEXT_MAX)
                return error_set(e, EINVAL, "%s: longer than %d bytes", key, HOST_TEXT_MAX);
        for (const unsigned char *p = (const unsigned char *) host; *p; p++)
                if (*p <= 0x20 || *p >= 0x7F || strchr("/?#@\\[]", *p))
                        return error_set(e, EINVAL,
                                         "%s: has the byte 0x%02x at %td; expected a name or an address, "
                                         "without scheme, port and path",
                                         key, *p, (const char *) p - host);
        return 0;
}

/* Settings that say nothing without another one. */
static int check_needs(const char *key, bool set, const char *other, bool other_set, Error *e) {
        if (set && !other_set)
                return error_set(e, EINVAL, "%s: set without %s", key, other);
        return 0;
}

static int check_identity(const Settings *s, Error *e) {
        int r;

        if (!s->host)
                return error_set(e, EINVAL, "host: missing");
        r = check_host("host", s->host, e);
        if (r < 0)
                return r;
        if (s->port == 0)
                return error_set(e, EINVAL, "port: 0, expected 1 to 65535");
        if (!s->client_id)
                return error_set(e, EINVAL, "client_id: missing");
        r = check_text("client_id", s->client_id, e);
        if (r == 0)
                r = check_text("username", s->username, e);
        if (r == 0 && s->password && strlen(s->password) > TEXT_MAX)
                r = error_set(e, EINVAL, "password: longer than %d bytes", TEXT_MAX);
        return r == 0 ? check_needs("password", s->password, "username", s->username, e) : r;
}

static int check_key(const Settings *s, Error *e) {
        const char *key = s->key_uri ? "key_uri" : "key_file";
        bool key_set = s->key_file || s->key_uri;
        int r;

        if (s->key_file && s->key_uri)
                return error_set(e, EINVAL, "key_uri: set together with key_file, expected one of them");
        r = check_needs("engine", s->engine, "key_uri", s->key_uri, e);
        if (r < 0)
                return r;
        if (s->cert_file && !key_set)
                return error_set(e, EINVAL, "key_file: missing, cert_file is set");
        if (key_set && !s->cert_file)
                return error_set(e, EINVAL, "cert_file: missing, %s is set%s", key,
                                 s->websocket ? " (a WebSocket connection needs neither: AWS credentials or a "
                                                "user name stand for the client)"
                                              : "");
        if (!s->ca_file && s->cert_file)
                return error_set(e, EINVAL, "ca_file: missing, cert_file is set");
        r = check_line("key_uri", s->key_uri, KEY_TEXT_MAX, e);
        return r == 0 ? check_line("engine", s->engine, HOST_TEXT_MAX, e) : r;
}

static int check_alpn(const Settings *s, Error *e) {
        if (!s->alpn)
                return 0;
        if (strlen(s->alpn) > ALPN_NAME_MAX)
                return error_set(e, EINVAL, "alpn: longer than %d bytes", ALPN_NAME_MAX);
        if (!s->ca_file)
                return error_set(e, EINVAL, "alpn: set without ca_file: a connection without TLS has no ALPN");
        if (s->websocket && strcmp(s->alpn, "http/1.1") != 0)
                return error_set(e, EINVAL,
                                 "alpn: \"%s\" together with websocket, which speaks HTTP first: expected none "
                                 "or \"http/1.1\"",
                                 s->alpn);
        return 0;
}

static int check_proxy(const Settings *s, Error *e) {
        int r = check_needs("proxy_port", s->proxy_port != 0, "proxy_host", s->proxy_host, e);

        if (r == 0)
                r = check_needs("proxy_user", s->proxy_user, "proxy_host", s->proxy_host, e);
        if (r == 0)
                r = check_needs("proxy_password", s->proxy_password, "proxy_user", s->proxy_user, e);
        if (r < 0 || !s->proxy_host)
                return r;
        r = check_host("proxy_host", s->proxy_host, e);
        if (r == 0 && s->proxy_port == 0)
                r = error_set(e, EINVAL, "proxy_port: 0, expected 1 to 65535");
        if (r == 0 && s->proxy_user && strchr(s->proxy_user, ':'))
                r = error_set(e, EINVAL, "proxy_user: has a ':', which no HTTP proxy takes in a user name");
        if (r == 0)
                r = check_line("proxy_user", s->proxy_user, PROXY_TEXT_MAX, e);
        return r == 0 ? check_line("proxy_password", s->proxy_password, PROXY_TEXT_MAX, e) : r;
}

static int check_region(const Settings *s, Error *e) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

        if (!s->region)
                return 0;
        if (strlen(s->region) > REGION_TEXT_MAX || strspn(s->region, allowed) != strlen(s->region))
                return error_set(e, EINVAL,
                                 "region: \"%.*s\", expected a name like \"eu-west-1\" of at most %d characters",
                                 REGION_TEXT_MAX, s->region, REGION_TEXT_MAX);
        return 0;
}

/* Where AWS credentials come from: only for a WebSocket that is signed, and from one place. */
static int check_aws(const Settings *s, Error *e) {
        const struct {
                const char *key, *value;
        } sources[] = {
                { "access_key_id", s->access_key_id }, { "secret_access_key", s->secret_access_key },
                { "session_token", s->session_token }, { "aws_credentials_file", s->aws_credentials_file },
                { "aws_profile", s->aws_profile },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(sources) && r == 0; i++) {
                r = check_needs(sources[i].key, sources[i].value, "websocket", s->websocket, e);
                if (r == 0 && sources[i].value && !s->sign)
                        r = error_set(e, EINVAL,
                                      "%s: set together with username: a WebSocket connection is signed, or has "
                                      "a user name for a custom authorizer",
                                      sources[i].key);
                if (r == 0)
                        r = check_line(sources[i].key, sources[i].value, KEY_TEXT_MAX, e);
        }
        if (r == 0)
                r = check_needs("access_key_id", s->access_key_id, "secret_access_key", s->secret_access_key, e);
        if (r == 0)
                r = check_needs("secret_access_key", s->secret_access_key, "access_key_id", s->access_key_id, e);
        if (r == 0)
                r = check_needs("session_token", s->session_token, "access_key_id", s->access_key_id, e);
        if (r == 0 && s->access_key_id && (s->aws_credentials_file || s->aws_profile))
                r = error_set(e, EINVAL, "%s: set together with access_key_id, expected one of them",
                              s->aws_credentials_file ? "aws_credentials_file" : "aws_profile");
        return r;
}

static int check_will(const Settings *s, Error *e) {
        size_t len;

        if (!s->will_topic) {
                if (s->will_len > 0 || s->will_qos != 0 || s->will_retain)
                        return error_set(e, EINVAL, "%s: set without will_topic",
                                         s->will_len > 0    ? "will_payload"
                                         : s->will_qos != 0 ? "will_qos"
                                                            : "will_retain");
                return 0;
        }
        len = strlen(s->will_topic);
        if (len > TEXT_MAX || mosquitto_pub_topic_check(s->will_topic) != MOSQ_ERR_SUCCESS ||
            mosquitto_validate_utf8(s->will_topic, (int) len) != MOSQ_ERR_SUCCESS)
                return error_set(e, EINVAL, "will_topic: %s: not a topic to publish to", s->will_topic);
        if (s->will_qos < 0 || s->will_qos > 1)
                return error_set(e, EINVAL, "will_qos: %d, expected 0 or 1", s->will_qos);
        return 0;
}

static int check_numbers(const Settings *s, Error *e) {
        if (s->protocol < 3 || s->protocol > 5)
                return error_set(e, EINVAL, "protocol: %d, expected 3 (3.1), 4 (3.1.1) or 5", s->protocol);
        if (s->qos < 0 || s->qos > 1)
                return error_set(e, EINVAL, "qos: %d, expected 0 or 1", s->qos);
        if (s->keep_alive_sec != 0 && (s->keep_alive_sec < KEEP_ALIVE_MIN || s->keep_alive_sec > UINT16_MAX))
                return error_set(e, EINVAL, "keep_alive: %u, expected %d to %d seconds, or 0 for none", s->keep_alive_sec,
                                 KEEP_ALIVE_MIN, UINT16_MAX);
        if (s->connect_timeout_usec == 0 || s->operation_timeout_usec == 0)
                return error_set(e, EINVAL, "connect_timeout, operation_timeout: 0, expected more");
        if (s->reconnect_min_usec == 0 || s->reconnect_max_usec < s->reconnect_min_usec)
                return error_set(e, EINVAL,
                                 "reconnect_min, reconnect_max: expected 0 < reconnect_min <= reconnect_max");
        return 0;
}

static int check_all(const Settings *s, Error *e) {
        static int (*const checks[])(const Settings *, Error *) = {
                check_identity, check_key, check_alpn, check_proxy, check_region, check_aws, check_will, check_numbers,
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(checks) && r == 0; i++)
                r = checks[i](s, e);
        return r;
}

/* ---- making ---- */

static int settings_fill(const TransportConfig *c, Settings *s, Error *e) {
        int r;

        s->port = c->port;
        s->protocol = c->protocol;
        s->clean_session = c->clean_session;
        s->qos = c->qos;
        s->keep_alive_sec = c->keep_alive_sec;
        s->watch_sec = c->keep_alive_sec > 0 ? c->keep_alive_sec : KEEP_ALIVE_OF_NONE;
        s->connect_timeout_usec = c->connect_timeout_usec;
        s->operation_timeout_usec = c->operation_timeout_usec;
        s->reconnect_min_usec = c->reconnect_min_usec;
        s->reconnect_max_usec = c->reconnect_max_usec;
        s->stable_usec = c->stable_usec;
        s->publish_rate = c->publish_rate;
        s->no_local = c->no_local;
        s->proxy_port = c->proxy_port;
        s->websocket = c->websocket;
        r = copy_texts(c, s);
        if (r == 0)
                r = copy_will(c, s, e);
        if (r == 0)
                r = copy_filters(c->filters, s, e);
        if (r < 0)
                return r;
        s->sign = s->websocket && (!s->username || s->username[0] == '?');
        return check_all(s, e);
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
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                char *text = *text_of(s, &fields[i]);

                if (text && fields[i].secret)
                        explicit_bzero(text, strlen(text));
                free(text);
        }
        for (size_t i = 0; i < s->n_filters; i++)
                free(s->filters[i]);
        free(s->filters);
        free(s->will_payload);
        free(s);
        return NULL;
}
