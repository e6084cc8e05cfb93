/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/config only: the table of keys, the scanner of the text, and how values are shown. */
#pragma once

#include <libconfig.h>

#include "config/config.h"

enum {
        CONFIG_FILE_BYTES_MAX = 1 << 20, /* one file */
        CONFIG_FILES_MAX = 64,           /* the file and all it includes */
        CONFIG_INCLUDE_DEPTH_MAX = 10,   /* libconfig's own limit */
        CONFIG_NESTING_MAX = 16,         /* groups and lists inside each other */
        CONFIG_LIST_MAX = 128,           /* entries of one list */
        CONFIG_STRING_MAX = 4096,        /* bytes of one string */
        CONFIG_KEY_MAX = 256,            /* a dotted name with its indexes: "handlers.override[3].timeout" */
        CONFIG_VALUE_SHOWN_MAX = 80,     /* bytes of a value in a message */
};

typedef enum KeyType {
        KEY_STRING,
        KEY_INTEGER,
        KEY_BOOLEAN,
        KEY_CHOICE,  /* a string out of `choices`, stored as its int value */
        KEY_STRINGS, /* a list of strings */
        KEY_GROUPS,  /* a list of groups, each with `members` */
        KEY_FREE,    /* a group whose names are the operator's, with strings */
} KeyType;

typedef struct KeyChoice {
        const char *name; /* NULL ends the list */
        int value;
} KeyChoice;

typedef bool (*KeyCheck)(const char *value);

enum { KEY_NOT_STORED = -1 };

typedef struct ConfigKey {
        const char *name; /* dotted; NULL ends the table */
        KeyType type;
        bool required;
        bool secret;              /* messages show a value only up to its '=', or the ':' of a user and password */
        int64_t min, max;         /* KEY_INTEGER; min: least entries of KEY_STRINGS */
        int64_t number;           /* default of KEY_INTEGER, KEY_BOOLEAN, KEY_CHOICE */
        const char *const *list;  /* default of KEY_STRING (its first entry) and KEY_STRINGS; NULL = none */
        const KeyChoice *choices; /* KEY_CHOICE */
        const struct ConfigKey *members; /* KEY_GROUPS */
        KeyCheck check;                  /* KEY_STRING, each entry of KEY_STRINGS and KEY_FREE */
        const char *allowed;             /* what `check` takes, in words */
        ptrdiff_t offset;                /* into Config (members: ConfigOverride, ConfigExitCode) or KEY_NOT_STORED */
        const char *unit;                /* "seconds" */
        const char *default_text;        /* where the default is not a value but a rule */
        const char *example;             /* right side for conf/agent.conf where there is no default */
        const char *doc;                 /* sentences, each ending in a full stop */
} ConfigKey;

extern const ConfigKey config_keys[];
const ConfigKey *config_key_find(const ConfigKey *table, const char *name);
size_t config_key_count(void);
/* The known key that `name` was probably meant to be, or NULL. */
const ConfigKey *config_key_nearest(const ConfigKey *table, const char *name);
/* "1 to 10 seconds", "\"fail\", \"rerun\"", …: what is allowed, for messages and manuals. */
void config_key_allowed(const ConfigKey *k, Buf *ret);
/* The default as it would be written in the file; false = it has none. */
bool config_key_default(const ConfigKey *k, Buf *ret);

/* ---- the scanner: what libconfig does not tell ---- */

typedef struct ConfigText {
        char **files; /* NULL-terminated: the file and what it includes, absolute, in order */
        size_t n_files;
        char *content; /* of the first */
        char **wide; /* NULL-terminated: "KEY=NUMBER" of integers that do not fit 32 bits */
        size_t n_wide;
        /* The first `group.name`, which libconfig takes for a syntax error: one of `files`, or NULL. */
        const char *dotted_file;
        unsigned dotted_line;
        /* The first name that is set for the second time, dotted, and where; NULL = none. */
        char *twice;
        const char *twice_file;
        unsigned twice_line;
} ConfigText;

/* Reads `path` (absolute) and its includes. 0, -errno with the file in e: a file that cannot be read, is not regular or
 * is too large, an include that is too deep. Syntax errors are left to libconfig. */
int config_text_scan(const char *path, ConfigText *ret, Error *e) MUST_USE;
/* The number of `key` as it stands in the file if it does not fit 32 bits, else NULL. */
const char *config_text_wide(const ConfigText *t, const char *key);
void config_text_done(ConfigText *t);
#define CLEANUP_CONFIG_TEXT __attribute__((cleanup(config_text_done)))

/* ---- trust: every directory, link and the file itself, from the root down. 0, -EPERM, -errno ---- */

int config_path_trust(const char *path, uid_t uid, Error *e) MUST_USE;
int config_includes_trust(const ConfigText *text, uid_t uid, Error *e) MUST_USE; /* all files but the first */

/* ---- loading ---- */

typedef struct ConfigLoader {
        Config *c;
        ConfigText text;
        ConfigReport report;
        void *userdata;
        size_t errors;
        bool parsed;                   /* no syntax error */
        int no_memory;                 /* 0 or -ENOMEM */
        const config_setting_t **seen; /* one per key of config_keys: where it is set, or NULL */
} ConfigLoader;

void config_problem(ConfigLoader *l, ConfigSeverity severity, const config_setting_t *at, const char *format,
                    ...) PRINTF_LIKE(4, 5);
/* Where a key is set, or NULL. */
const config_setting_t *config_seen(const ConfigLoader *l, const char *name);
/* After the values: what depends on the environment or on other keys. */
void config_resolve(ConfigLoader *l);
/* config_check_files(), with the handlers' directories or without. */
int config_files_check(const Config *c, bool directories, ConfigReport report, void *userdata);
/* One value as text for a message, with `secret` cut where its doc says. */
void config_show_value(const config_setting_t *s, bool secret, char *ret, size_t size);
void config_show_string(const char *value, bool secret, char *ret, size_t size);

char *config_absolute_path(const char *path); /* NULL = no memory or no working directory */
/* "/a/b/c" → "/a/b"; "/" for "/c". */
char *config_directory_of(const char *path);

/* Checks of the table that the resolver needs, too. */
bool config_check_absolute(const char *value);
