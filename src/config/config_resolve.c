/* SPDX-License-Identifier: Apache-2.0 */
/* What depends on the environment, on the place of the file, or on more than one key. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "config/config_internal.h"
#include "proto/sigv4.h"

char *config_absolute_path(const char *path) {
        CLEANUP_FREE char *cwd = NULL;
        char *ret;

        if (path[0] == '/')
                return strdup(path);
        cwd = getcwd(NULL, 0);
        if (!cwd || asprintf(&ret, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0)
                return NULL;
        return ret;
}

char *config_directory_of(const char *path) {
        const char *slash = strrchr(path, '/');

        if (!slash || slash == path)
                return strdup("/");
        return strndup(path, (size_t) (slash - path));
}

/* Replace a string; NULL = no memory. */
static void set_string(ConfigLoader *l, char **slot, char *value) {
        if (!value) {
                l->no_memory = -ENOMEM;
                return;
        }
        free(*slot);
        *slot = value;
}

static char *join(const char *directory, const char *name) {
        char *ret;

        return asprintf(&ret, "%s/%s", directory, name) < 0 ? NULL : ret;
}

/* ---- derived values ---- */

/* A bare name: $CREDENTIALS_DIRECTORY if it is there, else beside the configuration file. */
static void resolve_file(ConfigLoader *l, char **slot) {
        const char *credentials = secure_getenv("CREDENTIALS_DIRECTORY");
        CLEANUP_FREE char *directory = NULL;

        if (!*slot || (*slot)[0] == '/')
                return;
        if (!strchr(*slot, '/') && credentials && credentials[0] == '/') {
                char *there = join(credentials, *slot);

                if (there && access(there, F_OK) == 0) {
                        set_string(l, slot, there);
                        return;
                }
                free(there);
        }
        directory = config_directory_of(l->c->file);
        set_string(l, slot, directory ? join(strcmp(directory, "/") == 0 ? "" : directory, *slot) : NULL);
}

/* The key, else the environment (systemd gives a list with colons: its first entry), else the default that is there. */
static void resolve_directory(ConfigLoader *l, const char *key, const char *variable, char **slot) {
        const char *value = secure_getenv(variable);
        CLEANUP_FREE char *first = NULL;

        if (config_seen(l, key) || !value || !*value)
                return;
        first = strndup(value, strcspn(value, ":"));
        if (first && !config_check_absolute(first)) {
                char shown[CONFIG_VALUE_SHOWN_MAX + 16];

                config_show_string(first, false, shown, sizeof shown);
                config_problem(l, CONFIG_ERROR, NULL,
                               "%s: value %s of $%s: not valid; allowed: an absolute path", key, shown,
                               variable);
                return;
        }
        set_string(l, slot, TAKE(first));
}

static const char *default_alpn(const Config *c) {
        if (c->port != 443 || c->transport == CONFIG_TRANSPORT_WEBSOCKET)
                return "";
        return c->username ? "mqtt" : "x-amzn-mqtt-ca";
}

static void resolve_connection(ConfigLoader *l) {
        Config *c = l->c;
        char region[SIGV4_REGION_MAX];

        if (!c->client_id && c->thing_name)
                set_string(l, &c->client_id, strdup(c->thing_name));
        if (c->transport == CONFIG_TRANSPORT_WEBSOCKET && !config_seen(l, "port"))
                c->port = 443; /* AWS IoT has no WebSocket elsewhere */
        if (!c->alpn)
                set_string(l, &c->alpn, strdup(default_alpn(c)));
        if (!config_seen(l, "credentials.region") && c->endpoint && sigv4_region(c->endpoint, region, NULL) == 0)
                set_string(l, &c->region, strdup(region));
        if (c->publish_rate < 0)
                c->publish_rate = c->endpoint && strstr(c->endpoint, ".amazonaws.com") ? 50 : 0;
}

static void resolve_handler_directories(ConfigLoader *l) {
        const config_setting_t *one = config_seen(l, "handlers.directory"),
                               *all = config_seen(l, "handlers.directories");

        if (one && all)
                config_problem(l, CONFIG_ERROR, one,
                               "handlers.directory: set together with handlers.directories (line %u); "
                               "allowed: one of the two",
                               (unsigned) config_setting_source_line(all));
        else if (one && config_setting_type(one) == CONFIG_TYPE_STRING) {
                CLEANUP_FREE char *copy = strdup(config_setting_get_string(one));

                if (copy && l->c->handler_directories && l->c->handler_directories[0])
                        set_string(l, &l->c->handler_directories[0], TAKE(copy));
                else
                        l->no_memory = -ENOMEM;
        } else if (all && l->c->handler_directories && !l->c->handler_directories[0])
                config_problem(l, CONFIG_ERROR, all,
                               "handlers.directories: value [ ]: empty; allowed: at least one absolute path");
}

/* ---- relationships ---- */

static void check_needs(ConfigLoader *l, const char *key, const char *other) {
        if (config_seen(l, key) && !config_seen(l, other))
                config_problem(l, CONFIG_ERROR, config_seen(l, key), "%s: needs %s, which is missing", key,
                               other);
}

static void check_alone(ConfigLoader *l, const char *key, const char *other) {
        if (config_seen(l, key) && config_seen(l, other))
                config_problem(l, CONFIG_ERROR, config_seen(l, key), "%s: set together with %s (line %u); allowed: one of the two",
                               key, other, (unsigned) config_setting_source_line(config_seen(l, other)));
}

static void check_key(ConfigLoader *l) {
        bool file = config_seen(l, "credentials.key_file"), uri = config_seen(l, "credentials.key_uri");

        check_alone(l, "credentials.key_uri", "credentials.key_file");
        check_needs(l, "credentials.engine", "credentials.key_uri");
        if (file || uri)
                check_needs(l, file ? "credentials.key_file" : "credentials.key_uri", "credentials.cert_file");
        else
                check_needs(l, "credentials.cert_file", "credentials.key_file");
        if (l->c->key_uri && strstr(l->c->key_uri, "pin-value="))
                config_problem(l, CONFIG_WARNING, config_seen(l, "credentials.key_uri"),
                               "credentials.key_uri: has a PIN in it, for everyone who can read this file; better: "
                               "pin-source=file:/... in its place");
}

static void check_unused(ConfigLoader *l, const char *key, const char *why) {
        if (config_seen(l, key))
                config_problem(l, CONFIG_WARNING, config_seen(l, key), "%s: has no effect %s", key, why);
}

/* Signature, user name, certificate: on a WebSocket AWS IoT looks at the first two only. */
static void check_websocket(ConfigLoader *l) {
        const config_setting_t *cert = config_seen(l, "credentials.cert_file");

        if (l->c->transport != CONFIG_TRANSPORT_WEBSOCKET) {
                check_unused(l, "credentials.aws_credentials_file", "without connection.transport \"websocket\"");
                return;
        }
        if (config_seen(l, "credentials.username")) {
                check_unused(l, "credentials.aws_credentials_file", "with credentials.username, which replaces the signature");
                return;
        }
        if (cert)
                config_problem(l, CONFIG_WARNING, cert,
                               "credentials.cert_file: on a WebSocket AWS IoT takes no certificate; what counts there are "
                               "AWS credentials, or credentials.username");
        if (!l->c->region && l->c->endpoint && !config_seen(l, "credentials.region"))
                config_problem(l, CONFIG_ERROR, config_seen(l, "connection.transport"),
                               "credentials.region: missing; connection.transport \"websocket\" signs for a region, and the "
                               "endpoint %s does not tell which",
                               l->c->endpoint);
}

static void check_proxy(ConfigLoader *l) {
        const config_setting_t *file = config_seen(l, "connection.proxy_password_file");

        check_needs(l, "connection.proxy_password_file", "connection.proxy");
        if (file && l->c->proxy && !strchr(l->c->proxy, '@'))
                config_problem(l, CONFIG_ERROR, file,
                               "connection.proxy_password_file: needs a user in connection.proxy: \"http://user@host:port\"");
}

static void check_credentials(ConfigLoader *l) {
        check_key(l);
        check_needs(l, "credentials.password_file", "credentials.username");
        check_websocket(l);
        if (l->c->transport == CONFIG_TRANSPORT_MQTT && !config_seen(l, "credentials.cert_file") &&
            !config_seen(l, "credentials.key_file") && !config_seen(l, "credentials.key_uri") &&
            !config_seen(l, "credentials.username"))
                config_problem(l, CONFIG_WARNING, NULL,
                               "credentials: neither cert_file and key_file nor username is set: the "
                               "broker has to let everyone in");
}

static void check_reconnect(ConfigLoader *l) {
        const config_setting_t *at = config_seen(l, "connection.reconnect_min");

        if (l->c->reconnect_min > l->c->reconnect_max)
                config_problem(
                        l, CONFIG_ERROR, at ? at : config_seen(l, "connection.reconnect_max"),
                        "connection.reconnect_min: value %lld: larger than connection.reconnect_max (%lld)",
                        (long long) l->c->reconnect_min, (long long) l->c->reconnect_max);
}

static void check_environment(ConfigLoader *l) {
        char **list = l->c->environment;

        for (size_t i = 0; list && list[i]; i++)
                for (size_t j = 0; j < i; j++) {
                        size_t n = strcspn(list[i], "=");

                        if (strncmp(list[i], list[j], n + 1) == 0) {
                                config_problem(l, CONFIG_ERROR, config_seen(l, "handlers.environment"),
                                               "handlers.environment[%zu]: value \"%.*s=...\": the name is "
                                               "there already",
                                               i, (int) n, list[i]);
                                break;
                        }
                }
}

static void check_overrides(ConfigLoader *l) {
        for (size_t i = 0; i < l->c->n_overrides; i++)
                for (size_t j = 0; j < i; j++) {
                        const char *name = l->c->overrides[i].name;

                        if (name && l->c->overrides[j].name && strcmp(name, l->c->overrides[j].name) == 0)
                                config_problem(l, CONFIG_ERROR, config_seen(l, "handlers.override"),
                                               "handlers.override[%zu].name: value \"%s\": there already, as "
                                               "handlers.override[%zu]",
                                               i, name, j);
                }
}

void config_resolve(ConfigLoader *l) {
        Config *c = l->c;

        resolve_connection(l);
        resolve_file(l, &c->ca_file);
        resolve_file(l, &c->cert_file);
        resolve_file(l, &c->key_file);
        resolve_file(l, &c->password_file);
        resolve_file(l, &c->proxy_password_file);
        resolve_file(l, &c->aws_credentials_file);
        resolve_handler_directories(l);
        resolve_directory(l, "state_directory", "STATE_DIRECTORY", &c->state_directory);
        resolve_directory(l, "runtime_directory", "RUNTIME_DIRECTORY", &c->runtime_directory);
        check_credentials(l);
        check_proxy(l);
        check_reconnect(l);
        check_environment(l);
        check_overrides(l);
}

/* ---- files ---- */

typedef struct FileCheck {
        const Config *c;
        ConfigReport report;
        void *userdata;
        bool bad;
} FileCheck;

static void file_problem(FileCheck *f, ConfigSeverity severity, const char *key, const char *path,
                         const char *what) {
        CLEANUP_BUF Buf text = { 0 };

        f->bad = f->bad || severity == CONFIG_ERROR;
        buf_printf(&text, "%s: %s: value \"%s\": %s", f->c->file, key, path, what);
        if (f->report)
                f->report(severity, text.data ? text.data : "no memory", f->userdata);
}

enum { CREDENTIAL_BYTES_MAX = 1 << 20 };

/* Is there a PEM block whose label ends in `label`? */
static bool has_pem(const char *text, const char *label) {
        static const char begin[] = "-----BEGIN ";

        for (const char *p = text; (p = strstr(p, begin)); p += sizeof begin - 1) {
                const char *end = strstr(p + sizeof begin - 1, "-----");
                size_t n = strlen(label);

                if (end && (size_t) (end - p) >= sizeof begin - 1 + n && strncmp(end - n, label, n) == 0)
                        return true;
        }
        return false;
}

/* NULL, or what is wrong. A NULL label: a file with a password or AWS credentials. */
static const char *content_problem(int fd, const char *label, char *why, size_t size) {
        CLEANUP_FREE char *data = NULL;
        size_t len = 0;
        int r = file_read_fd(fd, CREDENTIAL_BYTES_MAX, &data, &len);

        if (r < 0)
                (void) snprintf(why, size, "cannot be read: %s", strerror(-r));
        else if (!label && (len == 0 || data[0] == '\n'))
                (void) snprintf(why, size, "empty; allowed: a file with a secret in it");
        else if (label && !has_pem(data, label))
                (void) snprintf(why, size, "not PEM: no \"-----BEGIN ... %s-----\" in it", label);
        else
                return NULL;
        return why;
}

static void check_credential(FileCheck *f, const char *key, const char *path, const char *label) {
        CLEANUP_FD int fd = -1;
        char why[160];
        const char *what = NULL;
        struct stat st;

        if (!path)
                return;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0) {
                (void) snprintf(why, sizeof why, "cannot be read: %s; allowed: a file the agent may read",
                                strerror(errno));
                what = why;
        } else if (!S_ISREG(st.st_mode))
                what = "not a regular file";
        else
                what = content_problem(fd, label, why, sizeof why);
        if (what)
                file_problem(f, CONFIG_ERROR, key, path, what);
        else if ((!label || strcmp(label, "PRIVATE KEY") == 0) && (st.st_mode & S_IRWXO))
                file_problem(f, CONFIG_WARNING, key, path,
                             "everyone on this machine can read or change it; chmod o= it");
}

static void check_directory(FileCheck *f, const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                file_problem(f, CONFIG_WARNING, "handlers.directories", path, strerror(errno));
        else if (!S_ISDIR(st.st_mode))
                file_problem(f, CONFIG_WARNING, "handlers.directories", path, "not a directory");
}

/* What the runner will refuse to believe, for this user. */
static void check_trust(FileCheck *f) {
        Error e = { 0 };

        if (config_check_trust(f->c->file, geteuid(), &e) >= 0)
                return;
        f->bad = true;
        if (f->report)
                f->report(CONFIG_ERROR, e.text, f->userdata);
}

int config_files_check(const Config *c, bool directories, ConfigReport report, void *userdata) {
        FileCheck f = { .c = c, .report = report, .userdata = userdata };

        check_trust(&f);

        check_credential(&f, "credentials.ca_file", c->ca_file, "CERTIFICATE");
        check_credential(&f, "credentials.cert_file", c->cert_file, "CERTIFICATE");
        check_credential(&f, "credentials.key_file", c->key_file, "PRIVATE KEY");
        check_credential(&f, "credentials.password_file", c->password_file, NULL);
        check_credential(&f, "credentials.aws_credentials_file", c->aws_credentials_file, NULL);
        check_credential(&f, "connection.proxy_password_file", c->proxy_password_file, NULL);
        for (char **p = c->handler_directories; directories && *p; p++)
                check_directory(&f, *p);
        return f.bad ? -EINVAL : 0;
}

int config_check_files(const Config *c, ConfigReport report, void *userdata) {
        return config_files_check(c, true, report, userdata);
}
