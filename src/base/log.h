/* SPDX-License-Identifier: Apache-2.0 */
/* Logging: to the journal (its native datagram protocol, so that the runner needs no libsystemd: loading
 * that costs more than half of a runner's start) or to stderr as `level message key=value …`.
 * Never fails: what the journal does not take goes to stderr, and a closed, full or missing stderr loses the line, nothing else.
 * stderr never blocks; a busy journal is waited for, 0.2 s in a second.
 * Thread-safe after log_open(). Not for PURE folders. */
#pragma once

#include "base/macro.h"

typedef enum LogLevel { /* syslog numbers */
        LOG_LEVEL_ERROR = 3,
        LOG_LEVEL_WARNING = 4,
        LOG_LEVEL_NOTICE = 5,
        LOG_LEVEL_INFO = 6,
        LOG_LEVEL_DEBUG = 7,
} LogLevel;

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal if stderr is connected to it ($JOURNAL_STREAM), else stderr */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_STDERR,
} LogTarget;

/* A journal field. Names as the journal has them (IOT_JOB_ID, …); an entry with a NULL value is left out.
 * Values are any bytes up to the NUL; control characters are escaped on stderr. */
typedef struct LogField {
        const char *name;
        const char *value;
} LogField;

/* `identifier` becomes SYSLOG_IDENTIFIER and the first word on stderr; borrowed for the process's life. */
void log_open(const char *identifier, LogTarget target);
void log_set_level(LogLevel max);
LogLevel log_get_level(void);
bool log_to_journal(void);

/* "debug", "info", "notice", "warning", "error" → level; -EINVAL. */
int log_level_parse(const char *text, LogLevel *ret) MUST_USE;
const char *log_level_name(LogLevel level);
int log_target_parse(const char *text, LogTarget *ret) MUST_USE; /* "journal", "stderr" */

/* One line. `message_id`: 32 hex digits from base/message_id.h, or NULL. `fields` end with a NULL name, or
 * fields is NULL. `identifier` NULL = the one of log_open (handler lines carry the handler's name). */
void log_full(LogLevel level, const char *identifier, const char *message_id, const LogField *fields,
              const char *format, ...) PRINTF_LIKE(5, 6);

#define log_error(...) log_full(LOG_LEVEL_ERROR, NULL, NULL, NULL, __VA_ARGS__)
#define log_warning(...) log_full(LOG_LEVEL_WARNING, NULL, NULL, NULL, __VA_ARGS__)
#define log_notice(...) log_full(LOG_LEVEL_NOTICE, NULL, NULL, NULL, __VA_ARGS__)
#define log_info(...) log_full(LOG_LEVEL_INFO, NULL, NULL, NULL, __VA_ARGS__)
#define log_debug(...) log_full(LOG_LEVEL_DEBUG, NULL, NULL, NULL, __VA_ARGS__)
