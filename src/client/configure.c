/* SPDX-License-Identifier: Apache-2.0 */
#include "client/configure.h"

#include <errno.h>
#include <iotjobs/topic.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "client/core.h"
#include "client/names.h"
#include "proto/limits.h"
#include "proto/types.h"
#include "transport/uri.h"

/* The suffix that the SDK v1 whose wire behaviour the v1 mode has appends to the user name. */
#define METRICS_TEXT "?SDK=Python&Version=1.5.4"

enum {
        CLIENT_ID_MAX = 128, /* bytes that AWS takes */
        MQTT_TEXT_MAX = 65535,
        TIMEOUT_MAX_SEC = 3600,
        RECONNECT_MAX_SEC = 86400,
        KEEP_ALIVE_MIN_SEC = 30, /* what AWS takes as it is */
        KEEP_ALIVE_MAX_SEC = 1200,
        PORT_MAX = 65535,
        TLS_PORT_ALPN = 443,
        V1_KEEP_ALIVE_SEC = 600,
        V1_KEEP_ALIVE_MIN_SEC = 5, /* what libmosquitto takes beside 0 */
        V1_OPERATION_TIMEOUT_SEC = 5,
};

static void wipe(char **text) {
        if (*text)
                explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
}

void configuration_done(Configuration *c) {
        char **const texts[] = {
                &c->client_id,     &c->host,          &c->alpn,           &c->ca_file,      &c->key_file,
                &c->cert_file,     &c->key_uri,       &c->engine,         &c->access_key_id, &c->secret_access_key,
                &c->session_token, &c->aws_file,      &c->aws_profile,    &c->region,       &c->username,
                &c->password,      &c->metrics_text,  &c->will_topic,     &c->proxy_host,   &c->proxy_user,
                &c->proxy_password,
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                wipe(texts[i]);
        free(c->will_payload);
        c->will_payload = NULL;
}

/* ---- options ---- */

IotJobsOptions iotjobs_options_default(const char *client_id, const char *thing_name) {
        return (IotJobsOptions){ .client_id = client_id,
                                 .thing_name = thing_name,
                                 .qos = 0,
                                 .protocol = IOTJOBS_MQTT_3_1_1,
                                 .clean_session = true };
}

/* Brokers close a connection whose CONNECT has one. */
static bool has_control(const char *text) {
        for (; *text; text++)
                if ((unsigned char) *text < 0x20 || *text == 0x7F)
                        return true;
        return false;
}

/* On a shared handle it is the token of v1 mode and nothing else: requests refuse one that the service would not take. */
static int check_client_id(const char *id, bool shared, Error *e) {
        size_t max = shared ? MQTT_TEXT_MAX : CLIENT_ID_MAX;

        if (!id)
                return shared ? 0 : error_set(e, EINVAL, "client id: missing, expected 1 to %d bytes", CLIENT_ID_MAX);
        if (strlen(id) > max)
                return error_set(e, EINVAL, "client id: %zu bytes, at most %zu expected", strlen(id), max);
        if (!utf8_valid(id, strlen(id)))
                return error_set(e, EINVAL, "client id: not valid UTF-8");
        if (shared)
                return 0;
        if (id[0] == '\0')
                return error_set(e, EINVAL, "client id: empty, expected 1 to %d bytes", CLIENT_ID_MAX);
        if (has_control(id))
                return error_set(e, EINVAL, "client id: has a control character");
        if (id[0] == '$')
                return error_set(e, EINVAL, "client id: \"%s\" begins with '$', which is reserved", id);
        return 0;
}

static int check_options(const IotJobsOptions *o, bool shared, Error *e) {
        int r = check_client_id(o->client_id, shared, e);

        if (r < 0)
                return r;
        if (!o->thing_name || !proto_thing_name_valid(o->thing_name))
                return error_set(e, EINVAL, "thing name: %s%s%sexpected 1 to %d of a-z A-Z 0-9 : _ -",
                                 o->thing_name ? "\"" : "", o->thing_name ? o->thing_name : "missing, ",
                                 o->thing_name ? "\", " : "", LIMIT_THING_NAME);
        if (o->qos != 0 && o->qos != 1)
                return error_set(e, EINVAL, "qos: %d, expected 0 or 1", o->qos);
        for (size_t i = 0; i < ELEMENTSOF(o->reserved); i++)
                if (o->reserved[i])
                        return error_set(e, EINVAL, "options: a reserved member is set; start from "
                                                    "iotjobs_options_default()");
        if (shared)
                return 0;
        if (o->protocol != IOTJOBS_MQTT_3_1 && o->protocol != IOTJOBS_MQTT_3_1_1 && o->protocol != IOTJOBS_MQTT_5)
                return error_set(e, EINVAL, "protocol: %d, expected 3 (3.1), 4 (3.1.1) or 5", (int) o->protocol);
        return 0;
}

int configuration_init(Configuration *ret, const IotJobsOptions *options, bool shared, Error *e) {
        int r = options ? check_options(options, shared, e) : error_set(e, EINVAL, "options: missing");

        if (r < 0)
                return r;
        *ret = (Configuration){
                .qos = options->qos,
                .protocol = (int) options->protocol,
                .websocket = options->websocket,
                .clean_session = options->clean_session,
                .v1 = options->v1,
                .metrics = options->v1,
                .reconnect_min = 1,
                .reconnect_max = 128,
                .stable = 20,
                .connect_timeout = 30,
                .operation_timeout = options->v1 ? V1_OPERATION_TIMEOUT_SEC : 10,
                .keep_alive = options->v1 ? V1_KEEP_ALIVE_SEC : 60,
        };
        (void) snprintf(ret->thing, sizeof ret->thing, "%s", options->thing_name);
        if (!options->client_id)
                return 0;
        ret->client_id = strdup(options->client_id);
        return ret->client_id ? 0 : error_errno(e, ENOMEM, "client id");
}

/* ---- helpers of the calls ---- */

/* Lock, and refuse where the connection is not ours. */
static int begin(IotJobsClient *c, Error *e) {
        if (!c)
                return error_set(e, EINVAL, "client: missing");
        if (c->handle)
                return error_set(e, EOPNOTSUPP, "the client lives on a shared handle: the connection is the caller's to "
                                                "configure");
        core_lock_settled(c);
        return 0;
}

static int end(IotJobsClient *c, int r) {
        core_unlock(c);
        return r;
}

typedef struct Change { /* one text of a configure call */
        const char *what;
        const char *value; /* NULL = none */
        char **to;
        char *copy;
} Change;

static int check_line(const Change *c, size_t max, Error *e) {
        size_t n = c->value ? strlen(c->value) : 0;

        if (n > max)
                return error_set(e, E2BIG, "%s: %zu bytes, at most %zu expected", c->what, n, max);
        if (!utf8_valid(c->value ? c->value : "", n))
                return error_set(e, EINVAL, "%s: not valid UTF-8", c->what);
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) c->value[i] < 0x20 || c->value[i] == 0x7F)
                        return error_set(e, EINVAL, "%s: has a control character (0x%02x)", c->what,
                                         (unsigned char) c->value[i]);
        return 0;
}

/* All of them or none. */
static int take_changes(Change *changes, size_t n, Error *e) {
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                if (!changes[i].value)
                        continue;
                changes[i].copy = strdup(changes[i].value);
                if (!changes[i].copy)
                        r = error_errno(e, ENOMEM, "%s", changes[i].what);
        }
        for (size_t i = 0; i < n; i++) {
                if (r == 0) {
                        wipe(changes[i].to);
                        *changes[i].to = changes[i].copy;
                } else
                        wipe(&changes[i].copy);
        }
        return r;
}

static int change_texts(Change *changes, size_t n, size_t max, Error *e) {
        for (size_t i = 0; i < n; i++) {
                int r = check_line(&changes[i], max, e);

                if (r < 0)
                        return r;
        }
        return take_changes(changes, n, e);
}

static int required(const char *what, const char *value, Error *e) {
        return value && value[0] ? 0 : error_set(e, EINVAL, "%s: missing", what);
}

static int in_range(const char *what, int value, int min, int max, Error *e) {
        if (value >= min && value <= max)
                return 0;
        return error_set(e, ERANGE, "%s: %d, expected %d to %d", what, value, min, max);
}

/* ---- the endpoint and who we are to it ---- */

enum { HOST_TEXT_MAX = 253, KEY_TEXT_MAX = 4096, PROTOCOL_NAME_MAX = 255 };

static int check_host(const char *host, Error *e) {
        int r = required("endpoint", host, e);

        if (r < 0)
                return r;
        if (strstr(host, "://") || strchr(host, '/'))
                return error_set(e, EINVAL, "endpoint: \"%s\", expected a host name without scheme and path", host);
        for (const char *p = host; *p; p++)
                if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7F || strchr("?#@\\[]", *p))
                        return error_set(e, EINVAL, "endpoint: \"%s\" is no host name", host);
        return 0;
}

int iotjobs_client_configure_endpoint(IotJobsClient *c, const char *host, int port, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = check_host(host, e);
        if (r == 0)
                r = in_range("port", port, 1, PORT_MAX, e);
        if (r == 0) {
                Change change = { "endpoint", host, &c->config.host, NULL };

                r = change_texts(&change, 1, HOST_TEXT_MAX, e);
        }
        if (r == 0)
                c->config.port = port;
        return end(c, r);
}

int iotjobs_client_configure_alpn(IotJobsClient *c, const char *name, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);
        Change change;

        if (r < 0)
                return r;
        change = (Change){ "ALPN name", name, &c->config.alpn, NULL };
        return end(c, change_texts(&change, 1, PROTOCOL_NAME_MAX, e));
}

static int change_credentials(IotJobsClient *c, const char *ca, const char *key, const char *uri, const char *engine,
                              const char *cert, Error *e) {
        Change changes[] = {
                { "CA file", ca, &c->config.ca_file, NULL },     { "key file", key, &c->config.key_file, NULL },
                { "key URI", uri, &c->config.key_uri, NULL },    { "engine", engine, &c->config.engine, NULL },
                { "certificate file", cert, &c->config.cert_file, NULL },
        };
        int r = required("CA file", ca, e);

        return r == 0 ? change_texts(changes, ELEMENTSOF(changes), KEY_TEXT_MAX, e) : r;
}

/* "" is none, as the defaults of the Python SDK have it. */
static const char *or_none(const char *text) {
        return text && text[0] ? text : NULL;
}

int iotjobs_client_configure_credentials(IotJobsClient *c, const char *ca_file, const char *key_file,
                                         const char *cert_file, IotJobsError *error) {
        const char *key = or_none(key_file), *cert = or_none(cert_file);
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (!key != !cert)
                r = error_set(e, EINVAL, "%s: missing, the %s is given: expected both or none",
                              key ? "certificate file" : "key file", key ? "key file" : "certificate file");
        else
                r = change_credentials(c, ca_file, key, NULL, NULL, cert, e);
        return end(c, r);
}

int iotjobs_client_configure_key_uri(IotJobsClient *c, const char *ca_file, const char *key_uri, const char *engine,
                                     const char *cert_file, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = required("key URI", key_uri, e);
        if (r == 0)
                r = required("certificate file", cert_file, e);
        if (r == 0)
                r = change_credentials(c, ca_file, NULL, key_uri, or_none(engine), cert_file, e);
        return end(c, r);
}

static int change_aws(IotJobsClient *c, const char *id, const char *secret, const char *token, const char *file,
                      const char *profile, Error *e) {
        Change changes[] = {
                { "access key id", id, &c->config.access_key_id, NULL },
                { "secret access key", secret, &c->config.secret_access_key, NULL },
                { "session token", token, &c->config.session_token, NULL },
                { "credentials file", file, &c->config.aws_file, NULL },
                { "profile", profile, &c->config.aws_profile, NULL },
        };

        return change_texts(changes, ELEMENTSOF(changes), KEY_TEXT_MAX, e);
}

/* Only a WebSocket connection is signed. */
static int need_websocket(const IotJobsClient *c, Error *e) {
        return c->config.websocket ? 0
                                   : error_set(e, EINVAL,
                                               "IAM credentials: only a WebSocket connection is signed with them; set "
                                               "IotJobsOptions.websocket");
}

int iotjobs_client_configure_iam_credentials(IotJobsClient *c, const char *access_key_id,
                                             const char *secret_access_key, const char *session_token,
                                             IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = need_websocket(c, e);
        if (r == 0)
                r = required("access key id", access_key_id, e);
        if (r == 0)
                r = required("secret access key", secret_access_key, e);
        if (r == 0)
                r = change_aws(c, access_key_id, secret_access_key, or_none(session_token), NULL, NULL, e);
        return end(c, r);
}

int iotjobs_client_configure_iam_credentials_file(IotJobsClient *c, const char *file, const char *profile,
                                                  IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = need_websocket(c, e);
        if (r == 0)
                r = required("credentials file", file, e);
        if (r == 0)
                r = change_aws(c, NULL, NULL, NULL, file, or_none(profile), e);
        return end(c, r);
}

int iotjobs_client_configure_region(IotJobsClient *c, const char *region, IotJobsError *error) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
        enum { REGION_MAX = 31 };
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (region && (region[0] == '\0' || strspn(region, allowed) != strlen(region)))
                r = error_set(e, EINVAL, "region: \"%s\", expected a name like \"eu-west-1\"", region);
        if (r == 0) {
                Change change = { "region", region, &c->config.region, NULL };

                r = change_texts(&change, 1, REGION_MAX, e);
        }
        return end(c, r);
}

static int check_mqtt_text(const char *what, const char *text, Error *e) {
        size_t n = text ? strlen(text) : 0;

        if (n > MQTT_TEXT_MAX)
                return error_set(e, E2BIG, "%s: %zu bytes, at most %d expected", what, n, MQTT_TEXT_MAX);
        return 0;
}

int iotjobs_client_configure_username_password(IotJobsClient *c, const char *user, const char *password,
                                               IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (!user && password)
                r = error_set(e, EINVAL, "user name: missing, a password is given");
        else
                r = check_mqtt_text("user name", user, e);
        if (r == 0)
                r = check_mqtt_text("password", password, e);
        if (r == 0 && user && !utf8_valid(user, strlen(user)))
                r = error_set(e, EINVAL, "user name: not valid UTF-8");
        if (r == 0 && user && has_control(user))
                r = error_set(e, EINVAL, "user name: has a control character");
        if (r == 0) {
                Change changes[] = {
                        { "user name", user, &c->config.username, NULL },
                        { "password", password, &c->config.password, NULL },
                };

                r = take_changes(changes, ELEMENTSOF(changes), e);
        }
        return end(c, r);
}

int iotjobs_client_configure_metrics(IotJobsClient *c, bool on, const char *text, IotJobsError *error) {
        enum { METRICS_MAX = 1024 };
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (text && text[0] != '?')
                r = error_set(e, EINVAL, "metrics text: \"%s\", expected one that begins with '?'", text);
        if (r == 0) {
                Change change = { "metrics text", text, &c->config.metrics_text, NULL };

                r = change_texts(&change, 1, METRICS_MAX, e);
        }
        if (r == 0)
                c->config.metrics = on;
        return end(c, r);
}

/* ---- how it behaves ---- */

static int check_will(const char *topic, const void *payload, size_t len, int qos, Error *e) {
        int r = check_mqtt_text("will's topic", topic, e);

        if (r < 0)
                return r;
        if (topic[0] == '\0' || strpbrk(topic, "+#") || has_control(topic) ||
            !utf8_valid(topic, strlen(topic)))
                return error_set(e, EINVAL, "will's topic: \"%s\", expected a topic without wildcards", topic);
        if (len > MQTT_TEXT_MAX)
                return error_set(e, E2BIG, "will's payload: %zu bytes, at most %d expected", len, MQTT_TEXT_MAX);
        if (len > 0 && !payload)
                return error_set(e, EINVAL, "will's payload: missing, %zu bytes are announced", len);
        return in_range("will's QoS", qos, 0, 1, e);
}

int iotjobs_client_configure_last_will(IotJobsClient *c, const char *topic, const void *payload, size_t len, int qos,
                                       bool retain, IotJobsError *error) {
        Error *e = error_of(error);
        char *copy = NULL;
        Change change;
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (topic)
                r = check_will(topic, payload, len, qos, e);
        if (r == 0 && topic && len > 0) {
                copy = malloc(len);
                r = copy ? 0 : error_errno(e, ENOMEM, "will's payload");
        }
        change = (Change){ "will's topic", topic, &c->config.will_topic, NULL };
        if (r == 0)
                r = take_changes(&change, 1, e);
        if (r < 0) {
                free(copy);
                return end(c, r);
        }
        if (copy)
                memcpy(copy, payload, len);
        free(c->config.will_payload);
        c->config.will_payload = copy;
        c->config.will_len = topic ? len : 0;
        c->config.will_qos = topic ? qos : 0;
        c->config.will_retain = topic && retain;
        return end(c, 0);
}

static int change_proxy(IotJobsClient *c, const char *url, const char *password, Error *e) {
        ProxyUri uri = { 0 };
        Change changes[] = {
                { "proxy", NULL, &c->config.proxy_host, NULL },
                { "proxy's user", NULL, &c->config.proxy_user, NULL },
                { "proxy's password", NULL, &c->config.proxy_password, NULL },
        };
        int r = url ? proxy_uri_parse(url, &uri, e) : 0;

        if (r == 0 && password && !uri.has_user)
                r = error_set(e, EINVAL, "proxy: a password is given, but the URL has no user name");
        if (r == 0 && url) {
                changes[0].value = uri.host;
                changes[1].value = uri.has_user ? uri.user : NULL;
                changes[2].value = password ? password : uri.has_password ? uri.password : NULL;
        }
        if (r == 0)
                r = change_texts(changes, ELEMENTSOF(changes), URI_PASSWORD_MAX, e);
        if (r == 0)
                c->config.proxy_port = uri.port;
        explicit_bzero(&uri, sizeof uri);
        return r;
}

int iotjobs_client_configure_proxy(IotJobsClient *c, const char *url, const char *password, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        return r < 0 ? r : end(c, change_proxy(c, url, password, e));
}

int iotjobs_client_configure_reconnect(IotJobsClient *c, int min, int max, int stable, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        r = in_range("reconnect min", min, 1, RECONNECT_MAX_SEC, e);
        if (r == 0)
                r = in_range("reconnect max", max, min, RECONNECT_MAX_SEC, e);
        if (r == 0)
                r = in_range("reconnect stable", stable, 0, RECONNECT_MAX_SEC, e);
        if (r == 0) {
                c->config.reconnect_min = min;
                c->config.reconnect_max = max;
                c->config.stable = stable;
        }
        return end(c, r);
}

int iotjobs_client_configure_publish_rate(IotJobsClient *c, unsigned per_second, IotJobsError *error) {
        enum { RATE_MAX = 100000 };
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (per_second > RATE_MAX)
                r = error_set(e, ERANGE, "publish rate: %u, expected at most %d a second, or 0 for no limit", per_second,
                              RATE_MAX);
        else
                c->config.publish_rate = per_second;
        return end(c, r);
}

int iotjobs_client_configure_keep_alive(IotJobsClient *c, int seconds, IotJobsError *error) {
        Error *e = error_of(error);
        int r = begin(c, e);

        if (r < 0)
                return r;
        if (!c->config.v1)
                r = in_range("keep-alive", seconds, KEEP_ALIVE_MIN_SEC, KEEP_ALIVE_MAX_SEC, e);
        else if (seconds != 0)
                r = in_range("keep-alive", seconds, V1_KEEP_ALIVE_MIN_SEC, UINT16_MAX, e);
        if (r == 0)
                c->config.keep_alive = seconds;
        return end(c, r);
}

int iotjobs_client_configure_plaintext(IotJobsClient *c, bool on, IotJobsError *error) {
        int r = begin(c, error_of(error));

        if (r < 0)
                return r;
        c->config.plaintext = on;
        return end(c, 0);
}

/* ---- these two are about requests, and go with a shared handle too ---- */

int iotjobs_client_configure_timeouts(IotJobsClient *c, int connect, int operation, IotJobsError *error) {
        Error *e = error_of(error);
        int r;

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        r = in_range("connect timeout", connect, 1, TIMEOUT_MAX_SEC, e);
        if (r == 0)
                r = in_range("operation timeout", operation, 1, TIMEOUT_MAX_SEC, e);
        if (r < 0)
                return r;
        core_lock_settled(c);
        c->config.connect_timeout = connect;
        c->config.operation_timeout = operation;
        core_unlock(c);
        return 0;
}

int iotjobs_client_configure_offline_queue(IotJobsClient *c, int size, IotJobsDrop drop, IotJobsError *error) {
        Error *e = error_of(error);
        int r;

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        r = in_range("offline queue", size, -1, IOTJOBS_OFFLINE_QUEUE_MAX, e);
        if (r == 0 && drop != IOTJOBS_DROP_NEWEST && drop != IOTJOBS_DROP_OLDEST)
                r = error_set(e, EINVAL, "offline queue: drop policy %d, expected IOTJOBS_DROP_NEWEST or _OLDEST",
                              (int) drop);
        if (r < 0)
                return r;
        core_lock(c);
        offline_set_limit(&c->offline, size < 0 ? (size_t) IOTJOBS_OFFLINE_QUEUE_MAX : (size_t) size,
                          drop == IOTJOBS_DROP_OLDEST);
        core_unlock(c);
        return 0;
}

int iotjobs_client_configure_draining(IotJobsClient *c, double per_second, IotJobsError *error) {
        const double least = 1.0 / 3600;
        Error *e = error_of(error);

        if (!c)
                return error_set(e, EINVAL, "client: missing");
        if (!(per_second >= least && per_second <= OFFLINE_RATE_MAX))
                return error_set(e, ERANGE, "draining rate: %g, expected more than 0 (one an hour) and at most %d a second",
                                 per_second, OFFLINE_RATE_MAX);
        core_lock(c);
        offline_set_rate(&c->offline, per_second);
        core_wake(c); /* it may be due earlier now */
        core_unlock(c);
        return 0;
}

/* ---- all together ---- */

static const char *alpn_of(const Configuration *c) {
        if (c->alpn)
                return c->alpn;
        if (c->websocket || c->plaintext || c->port != TLS_PORT_ALPN)
                return NULL;
        return c->username && !c->cert_file ? "mqtt" : "x-amzn-mqtt-ca";
}

static int user_name_of(const Configuration *c, Buf *ret, Error *e) {
        if (c->username && c->metrics && !c->v1 && strchr(c->username, '?'))
                return error_set(e, EINVAL, "user name: has a '?' of its own, so the metrics suffix cannot follow; switch "
                                            "it off with iotjobs_client_configure_metrics()");
        buf_puts(ret, c->username ? c->username : "");
        if (c->metrics)
                buf_puts(ret, c->metrics_text ? c->metrics_text : METRICS_TEXT);
        return buf_error(ret) < 0 ? error_errno(e, ENOMEM, "user name") : 0;
}

static int check_together(const Configuration *c, Error *e) {
        if (!c->host)
                return error_set(e, EINVAL, "endpoint: not set, call iotjobs_client_configure_endpoint()");
        if (c->plaintext && c->websocket)
                return error_set(e, EINVAL, "plaintext: not together with WebSocket");
        if (c->plaintext && c->ca_file)
                return error_set(e, EINVAL, "plaintext: credentials are set, but without TLS nothing is checked with them");
        if (!c->plaintext && !c->ca_file)
                return error_set(e, EINVAL, "CA file: not set, call iotjobs_client_configure_credentials()");
        if (c->websocket && c->cert_file && !c->username && !c->access_key_id && !c->aws_file)
                return error_set(e, EINVAL, "key and certificate: a WebSocket connection is signed with IAM credentials, "
                                            "which are not set, or has a user name");
        if (c->websocket && !c->region && !c->username) {
                char region[64];
                IotJobsError why = { 0 };

                if (iotjobs_region_of(c->host, region, sizeof region, &why) < 0)
                        return error_set(e, EINVAL, "region: %s; call iotjobs_client_configure_region()", why.text);
        }
        return 0;
}

static uint64_t usec(int seconds) {
        return (uint64_t) seconds * USEC_PER_SEC;
}

int configuration_to_transport(const Configuration *c, const char *const *filters, Buf *username_text,
                               TransportConfig *ret, Error *e) {
        int r = check_together(c, e);

        if (r == 0)
                r = user_name_of(c, username_text, e);
        if (r < 0)
                return r;
        *ret = (TransportConfig){
                .host = c->host,
                .port = (uint16_t) c->port,
                .client_id = c->client_id,
                .protocol = c->protocol,
                .clean_session = c->clean_session,
                .qos = c->qos,
                .keep_alive_sec = (unsigned) c->keep_alive,
                .ca_file = c->plaintext ? NULL : c->ca_file,
                .cert_file = c->cert_file,
                .key_file = c->key_file,
                .key_uri = c->key_uri,
                .engine = c->engine,
                .alpn = alpn_of(c),
                .username = username_text->len > 0 ? username_text->data : NULL,
                /* Without a user name that SDK sends no password either. */
                .password = c->v1 && username_text->len == 0 ? NULL : c->password,
                .connect_timeout_usec = usec(c->connect_timeout),
                .operation_timeout_usec = usec(c->operation_timeout),
                .reconnect_min_usec = usec(c->reconnect_min),
                .reconnect_max_usec = usec(c->reconnect_max),
                .stable_usec = usec(c->stable),
                .publish_rate = c->publish_rate,
                .filters = filters,
                .no_local = true,
                .will_topic = c->will_topic,
                .will_payload = c->will_payload,
                .will_len = c->will_len,
                .will_qos = c->will_qos,
                .will_retain = c->will_retain,
                .proxy_host = c->proxy_host,
                .proxy_port = c->proxy_port,
                .proxy_user = c->proxy_user,
                .proxy_password = c->proxy_password,
                .websocket = c->websocket,
                .region = c->region,
                .access_key_id = c->access_key_id,
                .secret_access_key = c->secret_access_key,
                .session_token = c->session_token,
                .aws_credentials_file = c->aws_file,
                .aws_profile = c->aws_profile,
        };
        return 0;
}
