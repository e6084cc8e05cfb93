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

typedef struct ConfigOverride { /* unset members: NULL / -1 */
        char *name;
        int64_t timeout, kill_grace; /* seconds */
        int on_interrupt;            /* ConfigOnInterrupt */
} ConfigOverride;

/* All strings owned; NULL = not set and no default. Times in seconds as in the file. Lists are NULL-terminated. */
typedef struct Config {
        char *file; /* as named on the command line, absolute */
        char *thing_name, *client_id;
        char *endpoint;
        int64_t port;
        int64_t protocol; /* 3, 4, 5 */
        char *alpn;       /* resolved: "" = none */
        int64_t keep_alive;
        bool clean_session;
        int64_t qos;
        int64_t connect_timeout, operation_timeout, reconnect_min, reconnect_max, stable, publish_rate;
        char *ca_file, *cert_file, *key_file; /* resolved against $CREDENTIALS_DIRECTORY */
        char *username, *password_file;
        char **handler_directories;
        int64_t handler_timeout, kill_grace;
        ConfigOnInterrupt on_interrupt;
        int64_t max_attempts;
        ConfigReportOutput report_output;
        char **environment; /* NAME=value */
        ConfigOverride *overrides;
        size_t n_overrides;
        int64_t max_concurrent;
        ConfigOnOrphan on_orphan;
        int64_t progress_interval, poll_interval, step_timeout_margin;
        char **policy_paths;
        LogLevel log_level;
        char **redact;
        char *runner_socket, *runner_path; /* runner_path NULL = the installed one or the build tree's */
        char *agent_user;
        char *state_directory, *runtime_directory; /* resolved: key, else $STATE_DIRECTORY / $RUNTIME_DIRECTORY, else default */
} Config;

/* A problem: "FILE:LINE: KEY: what, and what is allowed". */
typedef enum ConfigSeverity { CONFIG_WARNING, CONFIG_ERROR } ConfigSeverity;
typedef void (*ConfigReport)(ConfigSeverity severity, const char *text, void *userdata);

/* Read, check everything, report every problem. 0 and *ret, or -EINVAL if there was an error, -errno if the file cannot be
 * read (reported too). */
int config_load(const char *path, ConfigReport report, void *userdata, Config **ret) MUST_USE;
Config *config_free(Config *c);
DEFINE_CLEANUP(Config *, config_free)

/* The runner's rule: the file, what it includes and every directory above belong to root or `uid` and are not writable by
 * others. 0 or -EPERM with the path in e. */
int config_check_trust(const char *path, uid_t uid, Error *e) MUST_USE;

/* The override of a handler, or NULL. */
const ConfigOverride *config_override(const Config *c, const char *handler);

/* From the same table: conf/agent.conf with every key commented out, and the key list of agent.conf(5) in mdoc/man. */
int config_write_example(Buf *ret) MUST_USE;
int config_write_man(Buf *ret) MUST_USE;
