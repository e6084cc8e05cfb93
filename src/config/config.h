/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf (libconfig syntax): one table of keys (config_table.c) that checks, fills, documents. */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include <sys/types.h>

#include "base/log.h"

typedef enum ConfigOnInterrupt { CONFIG_INTERRUPT_FAIL, CONFIG_INTERRUPT_RERUN } ConfigOnInterrupt;
typedef enum ConfigReportOutput { CONFIG_REPORT_ON_FAILURE, CONFIG_REPORT_ALWAYS, CONFIG_REPORT_NEVER } ConfigReportOutput;
typedef enum ConfigOnOrphan { CONFIG_ORPHAN_FAIL, CONFIG_ORPHAN_RUN, CONFIG_ORPHAN_LEAVE } ConfigOnOrphan;
typedef enum ConfigTransport { CONFIG_TRANSPORT_MQTT, CONFIG_TRANSPORT_WEBSOCKET } ConfigTransport;
typedef enum ConfigProtocol { CONFIG_PROTOCOL_31 = 3, CONFIG_PROTOCOL_311 = 4, CONFIG_PROTOCOL_5 = 5 } ConfigProtocol;

typedef enum ConfigOnCancel { CONFIG_CANCEL_STOP, CONFIG_CANCEL_FINISH } ConfigOnCancel;
typedef enum ConfigOutcome {
        CONFIG_OUTCOME_SUCCESS,
        CONFIG_OUTCOME_FAILURE,
        CONFIG_OUTCOME_RETRY,
        CONFIG_OUTCOME_REBOOT,
        CONFIG_OUTCOME_REJECT,
} ConfigOutcome;

typedef struct ConfigExitCode {
        int64_t from, to; /* 0–255, both included */
        ConfigOutcome outcome;
} ConfigExitCode;

typedef struct ConfigExitCodes { /* the first that fits counts */
        ConfigExitCode *item; /* owned */
        size_t n;
} ConfigExitCodes;

typedef struct ConfigOverride { /* unset members: NULL / -1 / empty */
        char *name;
        char *user;
        int64_t timeout, kill_grace; /* seconds */
        int on_interrupt;            /* ConfigOnInterrupt */
        int on_cancel;               /* ConfigOnCancel */
        ConfigExitCodes exit_codes;
        char *memory_max; /* as in the file: config_memory() */
        int64_t tasks_max, cpu_weight, io_weight;
        bool private_network, inhibit_shutdown;
} ConfigOverride;

typedef struct ConfigFact { /* owned */
        char *name, *value;
} ConfigFact;

typedef struct ConfigFacts {
        ConfigFact *item; /* owned */
        size_t n;
} ConfigFacts;

/* All strings owned; NULL = not set and no default. Times in seconds as in the file. Lists are NULL-terminated and never
 * NULL. */
typedef struct Config {
        char *file; /* as named on the command line, absolute */
        char *thing_name, *client_id;
        char *endpoint;
        int64_t port;
        ConfigTransport transport;
        ConfigProtocol protocol;
        char *alpn;       /* resolved: "" = none */
        char *proxy;      /* "http://[user@]host:port" */
        char *proxy_password_file;
        int64_t keep_alive;
        bool clean_session;
        int64_t qos;
        int64_t connect_timeout, operation_timeout, reconnect_min, reconnect_max, stable, publish_rate;
        char *ca_file, *cert_file, *key_file; /* absolute: $CREDENTIALS_DIRECTORY, else beside `file` */
        char *key_uri, *engine;
        char *username, *password_file;
        char *region; /* resolved: NULL = neither set nor in the endpoint's name */
        char *aws_credentials_file;
        char **handler_directories;
        int64_t handler_timeout, kill_grace;
        char *handler_user; /* NULL = the runner's own */
        ConfigOnInterrupt on_interrupt;
        int64_t max_attempts, retry_delay, reboot_timeout;
        char **reboot_command; /* at least one word */
        char *fallback;
        bool device_client_args;
        ConfigExitCodes exit_codes;
        ConfigReportOutput report_output;
        char **environment; /* NAME=value */
        ConfigOverride *overrides;
        size_t n_overrides;
        int64_t max_concurrent;
        ConfigOnOrphan on_orphan;
        int64_t progress_interval, poll_interval, step_timeout_margin;
        bool run_command;
        char **run_as;
        char **policy_paths;
        bool require_signature;
        char *trusted_keys;
        ConfigFacts facts;
        LogLevel log_level;
        char **redact;
        char *runner_socket, *runner_path; /* runner_path NULL = the installed one or the build tree's */
        char *agent_user;
        char *state_directory, *runtime_directory; /* resolved: key, else $STATE_DIRECTORY / $RUNTIME_DIRECTORY, else default */
} Config;

/* A problem: "FILE:LINE: KEY: value V: what is wrong; allowed: …". */
typedef enum ConfigSeverity { CONFIG_WARNING, CONFIG_ERROR } ConfigSeverity;
typedef void (*ConfigReport)(ConfigSeverity severity, const char *text, void *userdata);

/* Read, check everything, report every problem (`report` may be NULL). 0 and *ret, or -EINVAL if there was an error, -errno
 * if the file or what it includes cannot be read (reported too). Looks at $CREDENTIALS_DIRECTORY, $STATE_DIRECTORY and
 * $RUNTIME_DIRECTORY. A relative @include starts at the directory of `path`. */
int config_load(const char *path, ConfigReport report, void *userdata, Config **ret) MUST_USE;
/* config_check_trust() and config_load() of the same bytes, for the runner. What is not trusted, or cannot be read, is said in e and
 * not reported; e->code stays 0 where all is reported. */
int config_load_trusted(const char *path, uid_t uid, ConfigReport report, void *userdata, Config **ret,
                        Error *e) MUST_USE;
Config *config_free(Config *c);
DEFINE_CLEANUP(Config *, config_free)

/* Are the credential files and handler directories there, regular, readable by this process and PEM where PEM is due, and would
 * a runner of this user trust the configuration? Reports each problem; 0, or -EINVAL if one was an error. Says nothing about
 * the content of certificates: the transport does. */
int config_check_files(const Config *c, ConfigReport report, void *userdata);
/* Both, and what can be said of the files even where a value is wrong: every problem at once. 0 or negative errno. */
int config_check(const char *path, ConfigReport report, void *userdata);

/* The runner's rule: the file, what it includes and every directory above belong to root or `uid` and are not writable by
 * others (a sticky directory such as /tmp counts as not writable); symbolic links on the way are held to the same rule.
 * 0, -EPERM with the path in e, or -errno if a file cannot be looked at. */
int config_check_trust(const char *path, uid_t uid, Error *e) MUST_USE;

/* The override of a handler, or NULL. A trailing ".sh" on either side makes no difference where no name matches exactly. */
const ConfigOverride *config_override(const Config *c, const char *handler);

/* The bytes that a memory_max stands for: "64M" (K, M, G, T of 1024), "25%" of `physical` bytes; UINT64_MAX for "infinity". 0, or
 * -EINVAL: not of that form, or less than CONFIG_MEMORY_LEAST, with which no program starts. */
enum { CONFIG_MEMORY_LEAST = 1 << 20 };
int config_memory(const char *value, uint64_t physical, uint64_t *ret) MUST_USE;

/* From the same table: conf/agent.conf with every key commented out, and the key list of agent.conf(5) in mdoc. */
int config_write_example(Buf *ret) MUST_USE;
int config_write_man(Buf *ret) MUST_USE;
