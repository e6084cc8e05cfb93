/* SPDX-License-Identifier: Apache-2.0 */
/* Every key there is: what the loader takes, what conf/agent.conf shows and what agent.conf(5) lists come from here. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "config/config_internal.h"
#include "proto/sigv4.h"

/* ---- checks ---- */

static bool is_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* min to max bytes, letters, digits and `others` only. */
static bool made_of(const char *value, size_t min, size_t max, const char *others) {
        size_t n = strlen(value);

        if (n < min || n > max)
                return false;
        for (const char *p = value; *p; p++)
                if (!is_alnum(*p) && !strchr(others, *p))
                        return false;
        return true;
}

static bool has_control(const char *value) {
        for (const char *p = value; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        return true;
        return false;
}

static bool is_text(const char *value, size_t min, size_t max) {
        size_t n = strlen(value);

        return n >= min && n <= max && !has_control(value) && utf8_valid(value, n);
}

static bool check_thing_name(const char *value) {
        return made_of(value, 1, 128, ":_-");
}

static bool check_client_id(const char *value) {
        return is_text(value, 1, 128);
}

static bool check_endpoint(const char *value) {
        struct in6_addr address;

        return made_of(value, 1, 253, ".-_") || inet_pton(AF_INET6, value, &address) == 1;
}

static bool check_region(const char *value) {
        return made_of(value, 1, SIGV4_REGION_MAX - 1, "-");
}

static bool check_alpn(const char *value) {
        return made_of(value, 0, 255, ".-_/+");
}

static bool check_file(const char *value) {
        return is_text(value, 1, CONFIG_STRING_MAX);
}

bool config_check_absolute(const char *value) {
        return value[0] == '/' && is_text(value, 1, CONFIG_STRING_MAX);
}

static bool check_socket(const char *value) {
        return config_check_absolute(value) && strlen(value) <= 107;
}

/* "host:port" or "[IPv6]:port" */
static bool check_authority(const char *value) {
        const char *colon = strrchr(value, ':'), *digits = colon ? colon + 1 : "";
        bool bracketed = value[0] == '[';
        char host[256];

        if (!colon || digits[strspn(digits, "0123456789")] || strlen(digits) > 5 || atoi(digits) < 1 || atoi(digits) > 65535)
                return false;
        if (bracketed && (colon - value < 3 || colon[-1] != ']'))
                return false;
        if (snprintf(host, sizeof host, "%.*s", (int) (colon - value) - 2 * bracketed, value + bracketed) >= (int) sizeof host)
                return false;
        return check_endpoint(host) && !strchr(host, ':') == !bracketed;
}

/* The password has a file of its own: this one may be read by everyone. */
static bool check_proxy(const char *value) {
        static const char scheme[] = "http://";
        const char *rest = value + sizeof scheme - 1, *at;

        if (strncmp(value, scheme, sizeof scheme - 1) != 0 || !is_text(value, 1, 1024))
                return false;
        at = strrchr(rest, '@');
        if (at && (at == rest || strcspn(rest, ":/ @") != (size_t) (at - rest)))
                return false;
        return check_authority(at ? at + 1 : rest);
}

/* A URI, and not by mistake the name of a file. */
static bool check_key_uri(const char *value) {
        size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789+-.");

        return n > 0 && value[n] == ':' && value[n + 1] && is_text(value, 1, CONFIG_STRING_MAX);
}

static bool check_engine(const char *value) {
        return made_of(value, 1, 64, "._-");
}

static bool check_user(const char *value) {
        return made_of(value, 1, 32, "._-$") && value[0] != '-';
}

static bool check_handler(const char *value) {
        return made_of(value, 1, 64, "._+-") && value[0] != '.';
}

static bool check_environment(const char *value) {
        const char *equals = strchr(value, '=');

        if (!equals || equals == value || (value[0] >= '0' && value[0] <= '9') ||
            strlen(value) > CONFIG_STRING_MAX)
                return false;
        for (const char *p = value; p < equals; p++)
                if (!is_alnum(*p) && *p != '_')
                        return false;
        return strncmp(value, "IOT_JOB_", 8) != 0;
}

static bool check_string(const char *value) {
        return is_text(value, 1, CONFIG_STRING_MAX);
}

int config_memory(const char *value, uint64_t physical, uint64_t *ret) {
        static const char units[] = "KMGT";
        size_t digits = strspn(value, "0123456789");
        const char *unit = value + digits, *which = *unit ? strchr(units, *unit) : NULL;
        uint64_t n;

        *ret = UINT64_MAX;
        if (strcmp(value, "infinity") == 0)
                return 0;
        if (digits < 1 || digits > 15 || (unit[0] && unit[1]))
                return -EINVAL;
        n = strtoull(value, NULL, 10);
        if (*unit == '%') {
                if (n < 1 || n > 100)
                        return -EINVAL;
                *ret = MAX_OF(physical / 100 * n, (uint64_t) CONFIG_MEMORY_LEAST);
                return 0;
        }
        if ((*unit && !which) || (which && __builtin_mul_overflow(n, UINT64_C(1024) << (10 * (which - units)), &n)) ||
            n < CONFIG_MEMORY_LEAST)
                return -EINVAL;
        *ret = n;
        return 0;
}

static bool check_memory(const char *value) {
        uint64_t bytes;

        return config_memory(value, UINT64_MAX, &bytes) == 0;
}

/* ---- choices ---- */

/* clang-format off */

static const KeyChoice transports[] = {
        { "mqtt", CONFIG_TRANSPORT_MQTT }, { "websocket", CONFIG_TRANSPORT_WEBSOCKET }, { NULL, 0 }
};
static const KeyChoice protocols[] = {
        { "3.1", CONFIG_PROTOCOL_31 }, { "3.1.1", CONFIG_PROTOCOL_311 }, { "5", CONFIG_PROTOCOL_5 }, { NULL, 0 }
};
static const KeyChoice on_interrupt[] = {
        { "fail", CONFIG_INTERRUPT_FAIL }, { "rerun", CONFIG_INTERRUPT_RERUN }, { NULL, 0 }
};
static const KeyChoice report_output[] = {
        { "on-failure", CONFIG_REPORT_ON_FAILURE }, { "always", CONFIG_REPORT_ALWAYS }, { "never", CONFIG_REPORT_NEVER },
        { NULL, 0 }
};
static const KeyChoice on_orphan[] = {
        { "fail", CONFIG_ORPHAN_FAIL }, { "run", CONFIG_ORPHAN_RUN }, { "leave", CONFIG_ORPHAN_LEAVE }, { NULL, 0 }
};
static const KeyChoice log_levels[] = {
        { "debug", LOG_LEVEL_DEBUG }, { "info", LOG_LEVEL_INFO }, { "notice", LOG_LEVEL_NOTICE },
        { "warning", LOG_LEVEL_WARNING }, { "error", LOG_LEVEL_ERROR }, { NULL, 0 }
};
static const KeyChoice outcomes[] = {
        { "success", CONFIG_OUTCOME_SUCCESS }, { "failure", CONFIG_OUTCOME_FAILURE }, { "retry", CONFIG_OUTCOME_RETRY },
        { "reboot", CONFIG_OUTCOME_REBOOT }, { "reject", CONFIG_OUTCOME_REJECT }, { NULL, 0 }
};
static const KeyChoice on_cancel[] = { { "stop", CONFIG_CANCEL_STOP }, { "finish", CONFIG_CANCEL_FINISH }, { NULL, 0 } };

/* ---- defaults that are texts ---- */

static const char *const default_directories[] = { "/etc/iot-jobs/handlers.d", NULL };
static const char *const default_reboot[] = { "systemctl", "reboot", NULL };
static const char *const default_trusted_keys[] = { "/etc/iot-jobs/trusted-keys.d", NULL };
static const char *const default_socket[] = { "/run/iot-jobs/runner.sock", NULL };
static const char *const default_user[] = { "iot-jobs", NULL };
static const char *const default_state[] = { "/var/lib/iot-jobs", NULL };
static const char *const default_runtime[] = { "/run/iot-jobs", NULL };

#define AT(member) ((ptrdiff_t) offsetof(Config, member))
#define AT_EXIT_CODE(member) ((ptrdiff_t) offsetof(ConfigExitCode, member))
#define AT_OVERRIDE(member) ((ptrdiff_t) offsetof(ConfigOverride, member))

static const char allowed_path[] = "an absolute path";
static const char allowed_file[] = "a file name";
static const char allowed_user[] = "a user name";

/* ---- members of lists of groups ---- */

static const ConfigKey exit_code_keys[] = {
        { .name = "code", .type = KEY_INTEGER, .min = 0, .max = 255, .number = -1, .offset = AT_EXIT_CODE(from) },
        { .name = "from", .type = KEY_INTEGER, .min = 0, .max = 255, .number = -1, .offset = AT_EXIT_CODE(from) },
        { .name = "to", .type = KEY_INTEGER, .min = 0, .max = 255, .number = -1, .offset = AT_EXIT_CODE(to) },
        { .name = "outcome", .type = KEY_CHOICE, .choices = outcomes, .number = -1, .required = true,
          .offset = AT_EXIT_CODE(outcome) },
        { .name = NULL }
};

static const ConfigKey override_keys[] = {
        { .name = "name", .type = KEY_STRING, .required = true, .check = check_handler,
          .allowed = "1 to 64 characters of [A-Za-z0-9._+-], the first not a dot", .offset = AT_OVERRIDE(name) },
        { .name = "timeout", .type = KEY_INTEGER, .min = 0, .max = 31536000, .number = -1, .unit = "seconds",
          .offset = AT_OVERRIDE(timeout) },
        { .name = "kill_grace", .type = KEY_INTEGER, .min = 0, .max = 3600, .number = -1, .unit = "seconds",
          .offset = AT_OVERRIDE(kill_grace) },
        { .name = "on_interrupt", .type = KEY_CHOICE, .choices = on_interrupt, .number = -1,
          .offset = AT_OVERRIDE(on_interrupt) },
        { .name = "user", .type = KEY_STRING, .check = check_user, .allowed = allowed_user, .offset = AT_OVERRIDE(user) },
        { .name = "exit_codes", .type = KEY_GROUPS, .members = exit_code_keys, .offset = AT_OVERRIDE(exit_codes) },
        { .name = "on_cancel", .type = KEY_CHOICE, .choices = on_cancel, .number = -1, .offset = AT_OVERRIDE(on_cancel) },
        { .name = "inhibit_shutdown", .type = KEY_BOOLEAN, .offset = AT_OVERRIDE(inhibit_shutdown) },
        { .name = "memory_max", .type = KEY_STRING, .check = check_memory,
          .allowed = "bytes (1M at least) as digits with or without K, M, G or T, \"1%\" to \"100%\", or \"infinity\"",
          .offset = AT_OVERRIDE(memory_max) },
        { .name = "tasks_max", .type = KEY_INTEGER, .min = 1, .max = 4194304, .number = -1, .offset = AT_OVERRIDE(tasks_max) },
        { .name = "cpu_weight", .type = KEY_INTEGER, .min = 1, .max = 10000, .number = -1, .offset = AT_OVERRIDE(cpu_weight) },
        { .name = "io_weight", .type = KEY_INTEGER, .min = 1, .max = 10000, .number = -1, .offset = AT_OVERRIDE(io_weight) },
        { .name = "private_network", .type = KEY_BOOLEAN, .offset = AT_OVERRIDE(private_network) },
        { .name = NULL }
};

/* ---- the table; keys of one group stand together ---- */

const ConfigKey config_keys[] = {
        { .name = "thing_name", .type = KEY_STRING, .required = true, .check = check_thing_name,
          .allowed = "1 to 128 characters of [a-zA-Z0-9:_-]", .offset = AT(thing_name), .example = "\"my-thing\"",
          .doc = "The name of the thing this device is." },
        { .name = "client_id", .type = KEY_STRING, .check = check_client_id,
          .allowed = "1 to 128 bytes of UTF-8 without control characters", .offset = AT(client_id),
          .default_text = "the thing name", .example = "\"my-thing\"",
          .doc = "MQTT client id. "
                 "A broker ends the older of two connections with the same client id." },
        { .name = "endpoint", .type = KEY_STRING, .required = true, .check = check_endpoint,
          .allowed = "a host name or an IP address, without scheme, port or path", .offset = AT(endpoint),
          .example = "\"example-ats.iot.eu-central-1.amazonaws.com\"",
          .doc = "Host name of the broker. "
                 "For AWS IoT it is what \"aws iot describe-endpoint --endpoint-type iot:Data-ATS\" prints." },
        { .name = "port", .type = KEY_INTEGER, .min = 1, .max = 65535, .number = 8883, .offset = AT(port),
          .default_text = "8883, or 443 with connection.transport \"websocket\"",
          .doc = "TCP port of the broker. "
                 "Port 443 turns ALPN on, see connection.alpn." },

        { .name = "connection.transport", .type = KEY_CHOICE, .choices = transports, .number = CONFIG_TRANSPORT_MQTT,
          .offset = AT(transport),
          .doc = "MQTT over TLS, or MQTT over a WebSocket over TLS (path /mqtt). "
                 "A WebSocket connection is signed with AWS credentials (Signature Version 4, see "
                 "credentials.aws_credentials_file), anew at each connect, "
                 "or authorized by credentials.username; AWS IoT takes no certificate there." },
        { .name = "connection.protocol", .type = KEY_CHOICE, .choices = protocols, .number = CONFIG_PROTOCOL_311,
          .offset = AT(protocol), .doc = "Version of MQTT. AWS IoT speaks 3.1.1 and 5." },
        { .name = "connection.alpn", .type = KEY_STRING, .check = check_alpn,
          .allowed = "an ALPN protocol name, or \"\" for none", .offset = AT(alpn),
          .default_text = "on port 443 \"x-amzn-mqtt-ca\", or \"mqtt\" with credentials.username; "
                          "else, and with connection.transport \"websocket\", none",
          .example = "\"x-amzn-mqtt-ca\"",
          .doc = "Protocol name to ask for in the TLS handshake (ALPN). "
                 "An empty string asks for none." },
        { .name = "connection.proxy", .type = KEY_STRING, .secret = true, .check = check_proxy,
          .allowed = "\"http://[user@]host:port\", the user percent-encoded, the password in connection.proxy_password_file",
          .offset = AT(proxy), .example = "\"http://user@proxy.example:3128\"",
          .doc = "HTTP proxy to reach the broker through, by CONNECT, for both transports. "
                 "The proxy resolves the name of the broker and sees no more than that name: TLS goes through it." },
        { .name = "connection.proxy_password_file", .type = KEY_STRING, .check = check_file,
          .allowed = allowed_file, .offset = AT(proxy_password_file), .example = "\"/etc/iot-jobs/proxy-password\"",
          .doc = "File with the password for the user of connection.proxy; one line break at its end does not count." },
        { .name = "connection.keep_alive", .type = KEY_INTEGER, .min = 5, .max = 65535, .number = 60, .unit = "seconds",
          .offset = AT(keep_alive),
          .doc = "Longest silence on the connection before it is probed. "
                 "AWS IoT takes 30 to 1200; smaller and larger values count as these." },
        { .name = "connection.clean_session", .type = KEY_BOOLEAN, .number = true, .offset = AT(clean_session),
          .doc = "Ask the broker to keep no session while the device is away. "
                 "The agent asks for its jobs at each connect and needs none." },
        { .name = "connection.qos", .type = KEY_INTEGER, .min = 0, .max = 1, .number = 1, .offset = AT(qos),
          .doc = "MQTT quality of service of subscriptions and publications." },
        { .name = "connection.connect_timeout", .type = KEY_INTEGER, .min = 1, .max = 600, .number = 30,
          .unit = "seconds", .offset = AT(connect_timeout),
          .doc = "Time for name resolution, TCP, TLS and the MQTT handshake together." },
        { .name = "connection.operation_timeout", .type = KEY_INTEGER, .min = 1, .max = 600, .number = 10,
          .unit = "seconds", .offset = AT(operation_timeout),
          .doc = "Time to wait for the answer to one request before it is sent again." },
        { .name = "connection.reconnect_min", .type = KEY_INTEGER, .min = 1, .max = 3600, .number = 1, .unit = "seconds",
          .offset = AT(reconnect_min),
          .doc = "First upper bound of the random delay before a new attempt to connect. "
                 "It doubles with each failure. "
                 "The very first attempt is made at once." },
        { .name = "connection.reconnect_max", .type = KEY_INTEGER, .min = 1, .max = 86400, .number = 128,
          .unit = "seconds", .offset = AT(reconnect_max),
          .doc = "Largest upper bound of that delay. "
                 "Not less than connection.reconnect_min." },
        { .name = "connection.stable", .type = KEY_INTEGER, .min = 0, .max = 86400, .number = 20, .unit = "seconds",
          .offset = AT(stable),
          .doc = "Time online with every subscription granted after which the delay starts again from "
                 "connection.reconnect_min." },
        { .name = "connection.publish_rate", .type = KEY_INTEGER, .min = 0, .max = 10000, .number = -1,
          .unit = "publications a second, 0 for no limit", .offset = AT(publish_rate),
          .default_text = "50 if the endpoint belongs to amazonaws.com, else 0", .example = "50",
          .doc = "Most publications in a second. "
                 "AWS IoT takes 100 from one connection." },

        { .name = "credentials.ca_file", .type = KEY_STRING, .required = true, .check = check_file, .allowed = allowed_file,
          .offset = AT(ca_file), .example = "\"/etc/iot-jobs/AmazonRootCA1.pem\"",
          .doc = "Certificates (PEM) of the authorities that may have signed the broker's certificate. "
                 "Here and in the other file names of this group a bare name is looked for in "
                 "$CREDENTIALS_DIRECTORY first; other relative names start at the directory of the configuration file." },
        { .name = "credentials.cert_file", .type = KEY_STRING, .check = check_file, .allowed = allowed_file,
          .offset = AT(cert_file), .example = "\"/etc/iot-jobs/device.pem.crt\"",
          .doc = "The device's certificate (PEM), with intermediate certificates behind it if there are any. "
                 "Within 30 days of its end the agent warns." },
        { .name = "credentials.key_file", .type = KEY_STRING, .check = check_file, .allowed = allowed_file,
          .offset = AT(key_file), .example = "\"/etc/iot-jobs/private.pem.key\"",
          .doc = "The private key (PEM) of that certificate." },
        { .name = "credentials.key_uri", .type = KEY_STRING, .secret = true, .check = check_key_uri,
          .allowed = "a URI, such as \"pkcs11:token=...;object=...\" or \"handle:0x81000001\"", .offset = AT(key_uri),
          .example = "\"pkcs11:token=device;object=key;pin-source=file:/etc/iot-jobs/pin\"",
          .doc = "The private key of credentials.cert_file where it cannot be read: in a PKCS#11 token (a URI of RFC 7512) "
                 "or a TPM (\"handle:0x81000001\", or \"file:/...\" of a TSS2 private key). "
                 "Instead of credentials.key_file. "
                 "A PIN belongs into a file of its own: pin-source." },
        { .name = "credentials.engine", .type = KEY_STRING, .check = check_engine,
          .allowed = "a name of [A-Za-z0-9._-]", .offset = AT(engine),
          .default_text = "\"pkcs11\" for a PKCS#11 URI, else \"tpm2\"", .example = "\"pkcs11\"",
          .doc = "The engine or provider of OpenSSL that knows credentials.key_uri." },
        { .name = "credentials.username", .type = KEY_STRING, .check = check_string, .allowed = "a non-empty string",
          .offset = AT(username), .example = "\"device?x-amz-customauthorizer-name=example\"",
          .doc = "MQTT user name, for a custom authorizer. "
                 "With it a WebSocket connection carries no AWS signature." },
        { .name = "credentials.password_file", .type = KEY_STRING, .check = check_file, .allowed = allowed_file,
          .offset = AT(password_file), .example = "\"/etc/iot-jobs/password\"",
          .doc = "File with the MQTT password; one line break at its end does not count. "
                 "Needs credentials.username." },
        { .name = "credentials.region", .type = KEY_STRING, .check = check_region,
          .allowed = "1 to 31 characters of [A-Za-z0-9-]", .offset = AT(region), .default_text = "from the host name",
          .example = "\"eu-central-1\"",
          .doc = "AWS region of the signature on a WebSocket connection, and of what --print-policy prints. "
                 "To be set where the endpoint is a name of your own." },
        { .name = "credentials.aws_credentials_file", .type = KEY_STRING, .check = check_file,
          .allowed = allowed_file, .offset = AT(aws_credentials_file),
          .default_text = "$AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials",
          .example = "\"/etc/iot-jobs/aws-credentials\"",
          .doc = "AWS credentials of the signature on a WebSocket connection: an INI file with aws_access_key_id, "
                 "aws_secret_access_key and perhaps aws_session_token in the section \"default\" or $AWS_PROFILE. "
                 "It is read at each connect. "
                 "The environment variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN come first." },

        { .name = "handlers.directories", .type = KEY_STRINGS, .check = config_check_absolute, .allowed = allowed_path,
          .list = default_directories, .offset = AT(handler_directories),
          .doc = "Where handlers are, searched in this order. "
                 "Each must belong to and be writable only by root or the user of the runner." },
        { .name = "handlers.directory", .type = KEY_STRING, .check = config_check_absolute, .allowed = allowed_path,
          .offset = KEY_NOT_STORED, .example = "\"/etc/iot-jobs/handlers.d\"",
          .doc = "The same as handlers.directories with one entry. "
                 "Set only one of the two." },
        { .name = "handlers.timeout", .type = KEY_INTEGER, .min = 0, .max = 31536000, .number = 3600,
          .unit = "seconds, 0 for none", .offset = AT(handler_timeout),
          .doc = "Time one step may take. "
                 "The timeout of a document replaces it; the timeout of an override caps both." },
        { .name = "handlers.kill_grace", .type = KEY_INTEGER, .min = 0, .max = 3600, .number = 10, .unit = "seconds",
          .offset = AT(kill_grace), .doc = "Time between SIGTERM and SIGKILL when a handler has to end." },
        { .name = "handlers.user", .type = KEY_STRING, .check = check_user, .allowed = allowed_user,
          .offset = AT(handler_user), .default_text = "the user of the runner", .example = "\"jobs\"",
          .doc = "Who handlers run as unless told otherwise: a user of /etc/passwd. "
                 "A runner that is not root runs them as its own user only." },
        { .name = "handlers.on_interrupt", .type = KEY_CHOICE, .choices = on_interrupt, .number = CONFIG_INTERRUPT_FAIL,
          .offset = AT(on_interrupt),
          .doc = "What becomes of an attempt that a crash or a power cut has cut off: the execution fails, or the step "
                 "runs again." },
        { .name = "handlers.max_attempts", .type = KEY_INTEGER, .min = 0, .max = 1000, .number = 10,
          .offset = AT(max_attempts),
          .doc = "Restarts of one execution. "
                 "Past it the execution fails." },
        { .name = "handlers.retry_delay", .type = KEY_INTEGER, .min = 1, .max = 3600, .number = 60,
          .unit = "seconds", .offset = AT(retry_delay),
          .doc = "First delay before a handler that asked for it is run again; it doubles up to an hour." },
        { .name = "handlers.reboot_command", .type = KEY_STRINGS, .check = check_string, .min = 1,
          .allowed = "a program and its arguments", .list = default_reboot, .offset = AT(reboot_command),
          .doc = "What reboots the device, as the user of the runner. "
                 "A program without a slash is looked for in the directories that handlers have in PATH." },
        { .name = "handlers.reboot_timeout", .type = KEY_INTEGER, .min = 10, .max = 86400, .number = 900,
          .unit = "seconds", .offset = AT(reboot_timeout),
          .doc = "Time after which a device that is still in the same boot counts as not rebooting." },
        { .name = "handlers.report_output", .type = KEY_CHOICE, .choices = report_output,
          .number = CONFIG_REPORT_ON_FAILURE, .offset = AT(report_output),
          .doc = "When the last part of a handler's output goes into statusDetails. "
                 "A document's includeStdOut asks for stdout; \"never\" beats it." },
        { .name = "handlers.fallback", .type = KEY_STRING, .check = check_handler,
          .allowed = "a handler name", .offset = AT(fallback), .example = "\"default-handler\"",
          .doc = "Handler for documents that name no operation." },
        { .name = "handlers.device_client_args", .type = KEY_BOOLEAN, .offset = AT(device_client_args),
          .doc = "Insert runAsUser of the document as first argument, empty if there is none, as handlers for AWS IoT Device "
                 "Client expect it." },
        { .name = "handlers.environment", .type = KEY_STRINGS, .secret = true, .check = check_environment,
          .allowed = "NAME=value, NAME of [A-Za-z_][A-Za-z0-9_]* and not IOT_JOB_*", .offset = AT(environment),
          .example = "[ \"http_proxy=http://proxy.example:3128\" ]",
          .doc = "Added to the clean environment of handlers. "
                 "Entries are NAME=value." },
        { .name = "handlers.exit_codes", .type = KEY_GROUPS, .members = exit_code_keys,
          .offset = AT(exit_codes), .default_text = "as in iot-jobs-handlers(7)",
          .example = "( { code = 3; outcome = \"failure\"; }, { from = 10; to = 19; outcome = \"reject\"; } )",
          .doc = "What exit codes mean; the first entry that fits counts. "
                 "Outcomes are success, failure, retry, reboot and reject." },
        { .name = "handlers.override", .type = KEY_GROUPS, .members = override_keys, .offset = AT(overrides),
          .example = "( { name = \"firmware-update\"; timeout = 7200; kill_grace = 60; on_interrupt = \"rerun\"; } )",
          .doc = "Settings for single handlers. "
                 "Each group has a name and any of timeout, kill_grace, user, on_interrupt, exit_codes, on_cancel, memory_max, tasks_max, "
                 "cpu_weight, io_weight, private_network and inhibit_shutdown. "
                 "A name is that of the handler with or without a trailing .sh. "
                 "Its exit_codes are asked before those of handlers.exit_codes. "
                 "With on_cancel \"finish\" a handler whose job is cancelled may end by itself, within its timeout; \"stop\" ends "
                 "it. "
                 "memory_max (\"64M\", \"25%\" of the machine's memory) and tasks_max (processes and threads) limit all that a "
                 "handler starts, together: past memory_max it is killed as a whole and fails, past tasks_max it cannot start "
                 "another process. "
                 "cpu_weight and io_weight are its share where it competes with others, 100 being everybody's. "
                 "With private_network it has a loopback of its own and no other network. "
                 "All of these need a runner that systemd has started, or at least one that is root: where a limit or a private "
                 "network cannot be had, the job stays QUEUED and the journal says why; a weight is done without, with a warning. "
                 "inhibit_shutdown delays shutdown, reboot and suspend (with systemd-logind, as far as it lets itself be "
                 "inhibited) until the handler has ended." },

        { .name = "jobs.max_concurrent", .type = KEY_INTEGER, .min = 1, .max = 10, .number = 1,
          .offset = AT(max_concurrent),
          .doc = "Executions that may run at the same time. "
                 "Agents on one machine share the places: with 1, the job of one thing waits until that of another has ended." },
        { .name = "jobs.on_orphan", .type = KEY_CHOICE, .choices = on_orphan, .number = CONFIG_ORPHAN_FAIL,
          .offset = AT(on_orphan),
          .doc = "What becomes of an execution that is in progress in the cloud and unknown on this device: it is failed, "
                 "run, or left alone. "
                 "One that another device has claimed is left alone while the service shows a running timer for it." },
        { .name = "jobs.progress_interval", .type = KEY_INTEGER, .min = 0, .max = 3600, .number = 5, .unit = "seconds",
          .offset = AT(progress_interval),
          .doc = "Least time between two progress updates of one job. "
                 "The newest wins; the final status never waits." },
        { .name = "jobs.poll_interval", .type = KEY_INTEGER, .min = 0, .max = 604800, .number = 3600,
          .unit = "seconds, 0 for never", .offset = AT(poll_interval),
          .doc = "How often the list of jobs is asked for although nothing was announced." },
        { .name = "jobs.step_timeout_margin", .type = KEY_INTEGER, .min = 0, .max = 604800, .number = 86400,
          .unit = "seconds, 0 for no timer", .offset = AT(step_timeout_margin),
          .doc = "The service's step timer is set to the time the remaining steps may take and this: "
                 "a dead device becomes TIMED_OUT, work that ended while the device was offline does not." },

        { .name = "policy.run_command", .type = KEY_BOOLEAN, .offset = AT(run_command),
          .doc = "Allow runCommand steps: whoever may create jobs can then run any program on this device. "
                 "A program without a slash is looked for in the directories that handlers have in PATH." },
        { .name = "policy.run_as", .type = KEY_STRINGS, .check = check_user, .allowed = allowed_user,
          .offset = AT(run_as), .example = "[ \"www-data\" ]",
          .doc = "Users a document may name, beside the one its handler runs as anyway." },
        { .name = "policy.paths", .type = KEY_STRINGS, .check = config_check_absolute, .allowed = allowed_path,
          .offset = AT(policy_paths), .example = "[ \"/opt/vendor/handlers\" ]",
          .doc = "Directories a document may name, beside the configured ones." },
        { .name = "policy.require_signature", .type = KEY_BOOLEAN, .offset = AT(require_signature),
          .doc = "Take only signed documents." },
        { .name = "policy.trusted_keys", .type = KEY_STRING, .check = config_check_absolute,
          .allowed = allowed_path, .list = default_trusted_keys, .offset = AT(trusted_keys),
          .doc = "Directory of the public keys that may sign documents." },

        { .name = "facts", .type = KEY_FREE, .check = check_string, .allowed = "strings",
          .offset = AT(facts), .example = "{ site = \"plant-7\"; }",
          .doc = "What is true of this device, for the conditions of documents." },

        { .name = "log.level", .type = KEY_CHOICE, .choices = log_levels, .number = LOG_LEVEL_INFO,
          .offset = AT(log_level), .doc = "The least severe messages that are logged." },
        { .name = "log.redact", .type = KEY_STRINGS, .check = check_string, .allowed = "names of parameters",
          .offset = AT(redact), .example = "[ \"password\", \"token\" ]",
          .doc = "Parameters whose values are never logged or reported." },

        { .name = "runner.socket", .type = KEY_STRING, .check = check_socket,
          .allowed = "an absolute path of at most 107 bytes", .list = default_socket, .offset = AT(runner_socket),
          .doc = "Where the agent reaches the runner. "
                 "Without a socket there, and not under systemd, the agent starts the runner itself." },
        { .name = "runner.path", .type = KEY_STRING, .check = config_check_absolute, .allowed = allowed_path,
          .offset = AT(runner_path), .default_text = "the installed runner",
          .example = "\"/usr/libexec/iot-jobs/iot-jobs-runner\"",
          .doc = "The program the agent starts in that case. "
                 "The environment variable IOT_JOBS_RUNNER beats both keys of this group." },

        { .name = "agent_user", .type = KEY_STRING, .check = check_user, .allowed = allowed_user, .list = default_user,
          .offset = AT(agent_user),
          .doc = "The user the runner takes requests from, beside its own: one of /etc/passwd." },
        { .name = "state_directory", .type = KEY_STRING, .check = config_check_absolute, .allowed = allowed_path,
          .list = default_state, .offset = AT(state_directory),
          .doc = "Where the runner keeps its records and the work directories. "
                 "Put it on storage that system updates do not replace. "
                 "Without this key the environment variable STATE_DIRECTORY is asked first." },
        { .name = "runtime_directory", .type = KEY_STRING, .check = config_check_absolute, .allowed = allowed_path,
          .list = default_runtime, .offset = AT(runtime_directory),
          .doc = "Where the locks and sockets of live runs are. "
                 "Without this key the environment variable RUNTIME_DIRECTORY is asked first." },
        { .name = NULL }
};

/* clang-format on */

const ConfigKey *config_key_find(const ConfigKey *table, const char *name) {
        for (const ConfigKey *k = table; k->name; k++)
                if (strcmp(k->name, name) == 0)
                        return k;
        return NULL;
}

size_t config_key_count(void) {
        return ELEMENTSOF(config_keys) - 1;
}

/* Edit distance (insert, delete, replace, swap neighbours), up to 63 characters a side. */
static size_t distance(const char *a, const char *b) {
        size_t d[3][64], la = strlen(a), lb = strlen(b), *before = d[0], *last = d[1], *now = d[2];

        if (la >= 64 || lb >= 64)
                return SIZE_MAX;
        for (size_t j = 0; j <= lb; j++)
                last[j] = j;
        for (size_t i = 1; i <= la; i++) {
                size_t *spare = before;

                now[0] = i;
                for (size_t j = 1; j <= lb; j++) {
                        now[j] = MIN_OF(last[j], now[j - 1]) + 1;
                        now[j] = MIN_OF(now[j], last[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = MIN_OF(now[j], before[j - 2] + 1);
                }
                before = last;
                last = now;
                now = spare;
        }
        return last[lb];
}

const ConfigKey *config_key_nearest(const ConfigKey *table, const char *name) {
        const char *dot = strrchr(name, '.');
        const ConfigKey *best = NULL;
        size_t least = SIZE_MAX;

        for (const ConfigKey *k = table; k->name; k++) {
                const char *last = strrchr(k->name, '.');
                size_t d = distance(name, k->name);

                /* The right key in the wrong group, or in none. */
                if (strcmp(last ? last + 1 : k->name, dot ? dot + 1 : name) == 0)
                        d = MIN_OF(d, 1);
                if (d < least) {
                        least = d;
                        best = k;
                }
        }
        return least <= 2 && least < strlen(name) ? best : NULL;
}

void config_key_allowed(const ConfigKey *k, Buf *ret) {
        switch (k->type) {
        case KEY_STRING:
                buf_puts(ret, k->allowed);
                return;
        case KEY_INTEGER:
                buf_printf(ret, "%lld to %lld%s%s", (long long) k->min, (long long) k->max,
                           k->unit ? " " : "", k->unit ? k->unit : "");
                return;
        case KEY_BOOLEAN:
                buf_puts(ret, "true, false");
                return;
        case KEY_CHOICE:
                for (const KeyChoice *c = k->choices; c->name; c++)
                        buf_printf(ret, "%s\"%s\"", c == k->choices ? "" : ", ", c->name);
                return;
        case KEY_STRINGS:
                buf_printf(ret, "a list [ \"...\" ] of strings: %s", k->allowed);
                return;
        case KEY_GROUPS:
                buf_puts(ret, "a list ( { ... }, ... ) of groups");
                return;
        case KEY_FREE:
                buf_puts(ret, "a group { name = \"value\"; ... } of strings");
                return;
        }
}

static const char *choice_name(const KeyChoice *choices, int64_t value) {
        for (const KeyChoice *c = choices; c->name; c++)
                if (c->value == value)
                        return c->name;
        return NULL;
}

bool config_key_default(const ConfigKey *k, Buf *ret) {
        switch (k->type) {
        case KEY_STRING:
                if (k->list)
                        buf_printf(ret, "\"%s\"", k->list[0]);
                return k->list;
        case KEY_INTEGER:
                if (k->number >= 0)
                        buf_printf(ret, "%lld", (long long) k->number);
                return k->number >= 0;
        case KEY_BOOLEAN:
                buf_puts(ret, k->number ? "true" : "false");
                return true;
        case KEY_CHOICE:
                if (k->number >= 0)
                        buf_printf(ret, "\"%s\"", choice_name(k->choices, k->number));
                return k->number >= 0;
        case KEY_STRINGS:
                if (!k->list)
                        return false;
                buf_puts(ret, "[ ");
                for (size_t i = 0; k->list[i]; i++)
                        buf_printf(ret, "%s\"%s\"", i ? ", " : "", k->list[i]);
                buf_puts(ret, " ]");
                return true;
        case KEY_GROUPS:
        case KEY_FREE:
                return false;
        }
        return false;
}
