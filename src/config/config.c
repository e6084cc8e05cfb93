/* SPDX-License-Identifier: Apache-2.0 */
/* Loading: libconfig's tree against the table of keys. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "config/config_internal.h"

/* ---- messages ---- */

static void report_text(ConfigLoader *l, ConfigSeverity severity, const char *text) {
        if (severity == CONFIG_ERROR)
                l->errors++;
        if (l->report)
                l->report(severity, text, l->userdata);
}

void config_problem(ConfigLoader *l, ConfigSeverity severity, const config_setting_t *at, const char *format,
                    ...) {
        CLEANUP_BUF Buf text = { 0 };
        CLEANUP_FREE char *message = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&message, format, ap);
        va_end(ap);
        if (n < 0)
                message = NULL;
        buf_puts(&text, at && config_setting_source_file(at) ? config_setting_source_file(at) : l->c->file);
        if (at)
                buf_printf(&text, ":%u", (unsigned) config_setting_source_line(at));
        buf_puts(&text, ": ");
        buf_puts(&text, message ? message : "no memory");
        if (!message || buf_error(&text))
                l->no_memory = -ENOMEM;
        report_text(l, severity, text.data ? text.data : "no memory");
}

void config_show_string(const char *value, bool secret, char *ret, size_t size) {
        size_t max = MIN_OF(strlen(value), (size_t) CONFIG_VALUE_SHOWN_MAX), n = 0;
        const char *p = value, *end = value + strlen(value);
        uint32_t cp;

        while (p < end && n < max && !(secret && n > 0 && (p[-1] == '=' || (p[-1] == ':' && *p != '/')))) {
                size_t step = utf8_decode(p, end, &cp);

                if (n + MAX_OF(step, 1) > max)
                        break;
                n += MAX_OF(step, 1);
                p += MAX_OF(step, 1);
        }
        (void) snprintf(ret, size, "\"%.*s%s\"", (int) n, value, value[n] ? "..." : "");
        for (char *q = ret; *q; q++)
                if ((unsigned char) *q < 0x20 || *q == 0x7f)
                        *q = '?';
}

void config_show_value(const config_setting_t *s, bool secret, char *ret, size_t size) {
        switch (config_setting_type(s)) {
        case CONFIG_TYPE_INT:
                (void) snprintf(ret, size, "%d", config_setting_get_int(s));
                return;
        case CONFIG_TYPE_INT64:
                (void) snprintf(ret, size, "%lld", config_setting_get_int64(s));
                return;
        case CONFIG_TYPE_FLOAT:
                (void) snprintf(ret, size, "%g", config_setting_get_float(s));
                return;
        case CONFIG_TYPE_BOOL:
                (void) snprintf(ret, size, "%s", config_setting_get_bool(s) ? "true" : "false");
                return;
        case CONFIG_TYPE_STRING:
                config_show_string(config_setting_get_string(s), secret, ret, size);
                return;
        case CONFIG_TYPE_GROUP:
                (void) snprintf(ret, size, "{ ... }");
                return;
        case CONFIG_TYPE_ARRAY:
                (void) snprintf(ret, size, "[ ... ]");
                return;
        default:
                (void) snprintf(ret, size, "( ... )");
                return;
        }
}

enum { SHOWN_SIZE = CONFIG_VALUE_SHOWN_MAX + 16 };

/* "KEY: value V: WHAT; allowed: …"; false, so that checks can return it. */
static bool bad(ConfigLoader *l, const config_setting_t *s, const char *path, const char *shown,
                const char *what, const char *allowed) {
        config_problem(l, CONFIG_ERROR, s, "%s: value %s: %s; allowed: %s", path, shown, what, allowed);
        return false;
}

static bool bad_value(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path,
                      const char *what) {
        CLEANUP_BUF Buf allowed = { 0 };
        char shown[SHOWN_SIZE];

        config_key_allowed(k, &allowed);
        config_show_value(s, k->secret, shown, sizeof shown);
        return bad(l, s, path, shown, what, allowed.data ? allowed.data : "");
}

/* The same for a string, which may be an entry of a list. */
static bool bad_string(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path,
                       const char *what) {
        char shown[SHOWN_SIZE];

        config_show_value(s, k->secret, shown, sizeof shown);
        return bad(l, s, path, shown, what, k->allowed);
}

static void unknown_key(ConfigLoader *l, const ConfigKey *table, const config_setting_t *s, const char *path,
                        const char *name) {
        const ConfigKey *k = config_key_nearest(table, name);

        if (k)
                config_problem(l, CONFIG_WARNING, s, "%s: unknown key, ignored (did you mean %s?)", path,
                               k->name);
        else
                config_problem(l, CONFIG_WARNING, s, "%s: unknown key, ignored", path);
}

/* The name of a member; an over-long one is cut, which no key of the table is. */
static void member_path(char ret[static CONFIG_KEY_MAX], const char *path, const config_setting_t *m) {
        int n = snprintf(ret, CONFIG_KEY_MAX, "%s%s%s", path, path[0] ? "." : "", config_setting_name(m));

        if (n < 0 || n >= CONFIG_KEY_MAX)
                memcpy(ret + CONFIG_KEY_MAX - 4, "...", 4);
}

static void entry_path(char ret[static CONFIG_KEY_MAX], const char *path, int i) {
        int n = snprintf(ret, CONFIG_KEY_MAX, "%s[%d]", path, i);

        if (n < 0 || n >= CONFIG_KEY_MAX)
                memcpy(ret + CONFIG_KEY_MAX - 4, "...", 4);
}

/* ---- checks: do not touch the Config ---- */

static bool is_integer(const config_setting_t *s) {
        return config_setting_type(s) == CONFIG_TYPE_INT || config_setting_type(s) == CONFIG_TYPE_INT64;
}

static int64_t integer_of(const config_setting_t *s) {
        return config_setting_type(s) == CONFIG_TYPE_INT64 ? config_setting_get_int64(s)
                                                           : config_setting_get_int(s);
}

static bool is_string(const config_setting_t *s) {
        return config_setting_type(s) == CONFIG_TYPE_STRING;
}

static bool is_list(const config_setting_t *s) {
        return config_setting_type(s) == CONFIG_TYPE_ARRAY || config_setting_type(s) == CONFIG_TYPE_LIST;
}

static const config_setting_t *element(const config_setting_t *s, int i) {
        return config_setting_get_elem(s, (unsigned) i);
}

static bool check_integer(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        const char *wide = config_text_wide(&l->text, path);

        if (wide) { /* the value libconfig has is not the one in the file */
                CLEANUP_BUF Buf allowed = { 0 };

                config_key_allowed(k, &allowed);
                return bad(l, s, path, wide, "outside 32 bits", allowed.data ? allowed.data : "");
        }
        if (!is_integer(s))
                return bad_value(l, k, s, path, "not an integer");
        if (integer_of(s) < k->min || integer_of(s) > k->max)
                return bad_value(l, k, s, path, "out of range");
        return true;
}

static const KeyChoice *choice_of(const ConfigKey *k, const char *name) {
        for (const KeyChoice *c = k->choices; c->name; c++)
                if (strcmp(c->name, name) == 0)
                        return c;
        return NULL;
}

static bool check_string(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        if (!is_string(s))
                return bad_string(l, k, s, path, "not a string");
        if (k->check && !k->check(config_setting_get_string(s)))
                return bad_string(l, k, s, path, "not valid");
        return true;
}

static bool check_choice(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        if (!is_string(s))
                return bad_value(l, k, s, path, "not a string");
        if (!choice_of(k, config_setting_get_string(s)))
                return bad_value(l, k, s, path, "not known");
        return true;
}

static bool check_list(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        if (!is_list(s))
                return bad_value(l, k, s, path, "not a list");
        if (config_setting_length(s) > CONFIG_LIST_MAX) {
                config_problem(l, CONFIG_ERROR, s, "%s: %d entries; allowed: at most %d", path,
                               config_setting_length(s), CONFIG_LIST_MAX);
                return false;
        }
        return true;
}

static bool check_strings(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        char entry[CONFIG_KEY_MAX];
        bool good = true;

        if (!check_list(l, k, s, path))
                return false;
        if (config_setting_length(s) < k->min)
                return bad_value(l, k, s, path, "empty");
        for (int i = 0; i < config_setting_length(s); i++) {
                entry_path(entry, path, i);
                good = check_string(l, k, element(s, i), entry) && good;
        }
        return good;
}

static bool check_free(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        char entry[CONFIG_KEY_MAX];
        bool good = true;

        if (config_setting_type(s) != CONFIG_TYPE_GROUP)
                return bad_value(l, k, s, path, "not a group");
        for (int i = 0; i < config_setting_length(s); i++) {
                const config_setting_t *m = element(s, i);

                member_path(entry, path, m);
                good = check_string(l, k, m, entry) && good;
        }
        return good;
}

static bool check_key(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path);

/* What an entry of an exit_codes list means: `code`, or `from` and `to`. */
static bool check_exit_code(ConfigLoader *l, const config_setting_t *group, const char *path) {
        const config_setting_t *code = config_setting_get_member(group, "code"),
                               *from = config_setting_get_member(group, "from"),
                               *to = config_setting_get_member(group, "to");

        if (code ? from || to : !from || !to) {
                config_problem(l, CONFIG_ERROR, group, "%s: either code, or from and to, expected", path);
                return false;
        }
        if (from && is_integer(from) && is_integer(to) && integer_of(from) > integer_of(to)) {
                config_problem(l, CONFIG_ERROR, from, "%s.from: value %lld: larger than %s.to (%lld)", path,
                               (long long) integer_of(from), path, (long long) integer_of(to));
                return false;
        }
        return true;
}

/* Allowed, but hardly ever meant. */
static void check_exit_code_zero(ConfigLoader *l, const config_setting_t *group, const char *path) {
        const config_setting_t *first = config_setting_get_member(group, "code"),
                               *outcome = config_setting_get_member(group, "outcome");

        if (!first)
                first = config_setting_get_member(group, "from");
        if (integer_of(first) == 0 && strcmp(config_setting_get_string(outcome), "success") != 0)
                config_problem(l, CONFIG_WARNING, outcome,
                               "%s.outcome: value \"%s\": a handler that exits with 0 does not succeed then", path,
                               config_setting_get_string(outcome));
}

static bool check_members(ConfigLoader *l, const ConfigKey *table, const config_setting_t *group,
                          const char *path) {
        char entry[CONFIG_KEY_MAX];
        bool good = true;

        for (int i = 0; i < config_setting_length(group); i++) {
                const config_setting_t *m = element(group, i);
                const ConfigKey *k = config_key_find(table, config_setting_name(m));

                member_path(entry, path, m);
                if (!k) {
                        unknown_key(l, table, m, entry, config_setting_name(m));
                        continue;
                }
                good = check_key(l, k, m, entry) && good;
        }
        for (const ConfigKey *k = table; k->name; k++)
                if (k->required && !config_setting_get_member(group, k->name)) {
                        config_problem(l, CONFIG_ERROR, group, "%s.%s: missing", path, k->name);
                        good = false;
                }
        if (config_key_find(table, "code")) {
                good = check_exit_code(l, group, path) && good;
                if (good)
                        check_exit_code_zero(l, group, path);
        }
        return good;
}

static bool check_groups(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        char entry[CONFIG_KEY_MAX];
        bool good = true;

        if (!check_list(l, k, s, path))
                return false;
        for (int i = 0; i < config_setting_length(s); i++) {
                entry_path(entry, path, i);
                if (config_setting_type(element(s, i)) != CONFIG_TYPE_GROUP)
                        good = bad_value(l, k, element(s, i), entry, "not a group");
                else
                        good = check_members(l, k->members, element(s, i), entry) && good;
        }
        return good;
}

static bool check_key(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, const char *path) {
        switch (k->type) {
        case KEY_STRING:
                return check_string(l, k, s, path);
        case KEY_INTEGER:
                return check_integer(l, k, s, path);
        case KEY_BOOLEAN:
                return config_setting_type(s) == CONFIG_TYPE_BOOL ||
                       bad_value(l, k, s, path, "not a boolean");
        case KEY_CHOICE:
                return check_choice(l, k, s, path);
        case KEY_STRINGS:
                return check_strings(l, k, s, path);
        case KEY_GROUPS:
                return check_groups(l, k, s, path);
        case KEY_FREE:
                return check_free(l, k, s, path);
        }
        return false;
}

/* ---- values: into the Config ---- */

static char **strings_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
        return NULL;
}

static void *member(void *base, const ConfigKey *k) {
        return (char *) base + k->offset;
}

static void put_string(ConfigLoader *l, const ConfigKey *k, void *base, const char *value) {
        char **slot = member(base, k);

        free(*slot);
        *slot = strdup(value);
        if (!*slot)
                l->no_memory = -ENOMEM;
}

/* A list of n strings: of `setting`, or the first n of `list`. */
static void put_strings(ConfigLoader *l, const ConfigKey *k, void *base, const config_setting_t *setting,
                        const char *const *list, size_t n) {
        char ***slot = member(base, k);
        char **copy = calloc(n + 1, sizeof *copy);

        for (size_t i = 0; copy && i < n; i++) {
                copy[i] = strdup(setting ? config_setting_get_string(element(setting, (int) i)) : list[i]);
                if (!copy[i])
                        copy = strings_free(copy);
        }
        if (!copy) {
                l->no_memory = -ENOMEM;
                return;
        }
        strings_free(*slot);
        *slot = copy;
}

static void put_key(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, void *base);

/* The known members of a group. */
static void put_members(ConfigLoader *l, const ConfigKey *table, const config_setting_t *group, void *base) {
        for (int i = 0; i < config_setting_length(group); i++) {
                const config_setting_t *m = element(group, i);
                const ConfigKey *k = config_key_find(table, config_setting_name(m));

                if (k)
                        put_key(l, k, m, base);
        }
}

static void put_overrides(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s) {
        size_t n = (size_t) config_setting_length(s);

        l->c->overrides = calloc(n + 1, sizeof *l->c->overrides);
        if (!l->c->overrides) {
                l->no_memory = -ENOMEM;
                return;
        }
        l->c->n_overrides = n;
        for (size_t i = 0; i < n; i++) {
                ConfigOverride *o = &l->c->overrides[i];

                *o = (ConfigOverride){ .timeout = -1, .kill_grace = -1, .on_interrupt = -1, .on_cancel = -1,
                                       .tasks_max = -1, .cpu_weight = -1, .io_weight = -1 };
                put_members(l, k->members, element(s, (int) i), o);
        }
}

static void put_exit_codes(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, ConfigExitCodes *ret) {
        size_t n = (size_t) config_setting_length(s);

        free(ret->item);
        *ret = (ConfigExitCodes){ .item = calloc(n + 1, sizeof *ret->item) };
        if (!ret->item) {
                l->no_memory = -ENOMEM;
                return;
        }
        ret->n = n;
        for (size_t i = 0; i < n; i++) {
                ConfigExitCode *c = &ret->item[i];

                *c = (ConfigExitCode){ .to = -1 };
                put_members(l, k->members, element(s, (int) i), c);
                if (c->to < 0) /* `code` */
                        c->to = c->from;
        }
}

static void facts_free(ConfigFacts *f) {
        for (size_t i = 0; i < f->n; i++) {
                free(f->item[i].name);
                free(f->item[i].value);
        }
        free(f->item);
        *f = (ConfigFacts){ 0 };
}

static void put_facts(ConfigLoader *l, const config_setting_t *s, ConfigFacts *ret) {
        size_t n = (size_t) config_setting_length(s);

        facts_free(ret);
        ret->item = calloc(n + 1, sizeof *ret->item);
        if (!ret->item)
                l->no_memory = -ENOMEM;
        for (; ret->item && ret->n < n; ret->n++) {
                const config_setting_t *m = element(s, (int) ret->n);
                ConfigFact *f = &ret->item[ret->n];

                f->name = strdup(config_setting_name(m));
                f->value = strdup(config_setting_get_string(m));
                if (!f->name || !f->value)
                        l->no_memory = -ENOMEM;
        }
}

/* Of a value that passed check_key(). */
static void put_key(ConfigLoader *l, const ConfigKey *k, const config_setting_t *s, void *base) {
        if (k->offset == KEY_NOT_STORED)
                return;
        switch (k->type) {
        case KEY_STRING:
                put_string(l, k, base, config_setting_get_string(s));
                return;
        case KEY_INTEGER:
                *(int64_t *) member(base, k) = integer_of(s);
                return;
        case KEY_BOOLEAN:
                *(bool *) member(base, k) = config_setting_get_bool(s);
                return;
        case KEY_CHOICE:
                *(int *) member(base, k) = choice_of(k, config_setting_get_string(s))->value;
                return;
        case KEY_STRINGS:
                put_strings(l, k, base, s, NULL, (size_t) config_setting_length(s));
                return;
        case KEY_GROUPS:
                if (config_key_find(k->members, "code"))
                        put_exit_codes(l, k, s, member(base, k));
                else
                        put_overrides(l, k, s);
                return;
        case KEY_FREE:
                put_facts(l, s, member(base, k));
                return;
        }
}

static void put_default(ConfigLoader *l, const ConfigKey *k) {
        size_t n = 0;

        if (k->offset == KEY_NOT_STORED)
                return;
        switch (k->type) {
        case KEY_STRING:
                if (k->list)
                        put_string(l, k, l->c, k->list[0]);
                return;
        case KEY_INTEGER:
                *(int64_t *) member(l->c, k) = k->number;
                return;
        case KEY_BOOLEAN:
                *(bool *) member(l->c, k) = k->number;
                return;
        case KEY_CHOICE:
                *(int *) member(l->c, k) = (int) k->number;
                return;
        case KEY_STRINGS:
                while (k->list && k->list[n])
                        n++;
                put_strings(l, k, l->c, NULL, k->list, n);
                return;
        case KEY_GROUPS:
        case KEY_FREE:
                return;
        }
}

/* ---- the tree ---- */

/* Is `path` a group of the table: does a key start with it and a dot? */
static bool is_group(const char *path) {
        size_t n = strlen(path);

        for (const ConfigKey *k = config_keys; k->name; k++)
                if (strncmp(k->name, path, n) == 0 && k->name[n] == '.')
                        return true;
        return false;
}

static void load_group(ConfigLoader *l, const config_setting_t *group, const char *prefix) {
        char path[CONFIG_KEY_MAX];

        for (int i = 0; i < config_setting_length(group); i++) {
                const config_setting_t *s = element(group, i);
                const ConfigKey *k;

                member_path(path, prefix, s);
                k = config_key_find(config_keys, path);
                if (k) {
                        l->seen[k - config_keys] = s;
                        if (check_key(l, k, s, path))
                                put_key(l, k, s, l->c);
                } else if (!is_group(path))
                        unknown_key(l, config_keys, s, path, path);
                else if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
                        char shown[SHOWN_SIZE];

                        config_show_value(s, false, shown, sizeof shown);
                        config_problem(l, CONFIG_ERROR, s,
                                       "%s: value %s: not a group; allowed: %s = { ... };", path, shown,
                                       path);
                } else
                        load_group(l, s, path);
        }
}

const config_setting_t *config_seen(const ConfigLoader *l, const char *name) {
        const ConfigKey *k = config_key_find(config_keys, name);

        return k ? l->seen[k - config_keys] : NULL;
}

static void report_missing(ConfigLoader *l) {
        for (const ConfigKey *k = config_keys; k->name; k++) {
                CLEANUP_BUF Buf allowed = { 0 };

                if (!k->required || l->seen[k - config_keys])
                        continue;
                config_key_allowed(k, &allowed);
                config_problem(l, CONFIG_ERROR, NULL, "%s: missing; allowed: %s", k->name,
                               allowed.data ? allowed.data : "");
        }
}

static void report_syntax(ConfigLoader *l, const config_t *tree) {
        const char *file = config_error_file(tree) ? config_error_file(tree) : l->c->file;
        const char *what = config_error_text(tree) ? config_error_text(tree) : "error";
        CLEANUP_BUF Buf text = { 0 };

        if (l->text.twice && strcmp(l->text.twice_file, file) == 0 &&
            strcmp(what, "duplicate setting name") == 0)
                buf_printf(&text, "%s:%u: %s: set twice; allowed: once", file, l->text.twice_line,
                           l->text.twice);
        else
                buf_printf(&text, "%s:%d: %s", file, config_error_line(tree), what);
        if (l->text.dotted_file && strcmp(l->text.dotted_file, file) == 0 &&
            l->text.dotted_line == (unsigned) config_error_line(tree))
                buf_puts(&text, "; a dotted name is a group: write group = { name = value; };");
        report_text(l, CONFIG_ERROR, text.data ? text.data : "no memory");
}

static void load_tree(ConfigLoader *l) {
        CLEANUP_FREE char *directory = config_directory_of(l->c->file);
        config_t tree;

        config_init(&tree);
        config_set_include_dir(&tree, directory ? directory : "/");
        /* The bytes that were scanned, whatever the file says by now. Without a name of its own for them the library names the
         * files that it includes only. */
        if (config_read_string(&tree, l->text.content) != CONFIG_TRUE)
                report_syntax(l, &tree);
        else {
                l->parsed = true;
                load_group(l, config_root_setting(&tree), "");
                report_missing(l);
                config_resolve(l);
        }
        memset(l->seen, 0, config_key_count() * sizeof *l->seen);
        config_destroy(&tree);
}

static int loader_run(ConfigLoader *l) {
        for (const ConfigKey *k = config_keys; k->name; k++)
                put_default(l, k);
        load_tree(l);
        if (l->no_memory < 0)
                return l->no_memory;
        return l->errors ? -EINVAL : 0;
}

/* `uid`: must be trusted for that user; NULL = anything goes. What is not trusted, or cannot be read, is in e. */
static int read_and_run(ConfigLoader *l, const char *path, const uid_t *uid, Error *e) {
        int r;

        l->c->file = config_absolute_path(path);
        if (!l->c->file || !l->seen)
                return error_errno(e, ENOMEM, "%s", path);
        r = uid ? config_path_trust(l->c->file, *uid, e) : 0; /* before anything in it is looked at */
        if (r == 0)
                r = config_text_scan(l->c->file, &l->text, e);
        if (r == 0 && uid)
                r = config_includes_trust(&l->text, *uid, e);
        return r < 0 ? r : loader_run(l);
}

/* *ret also where the result is -EINVAL and there are values that could be read. */
static int load(const char *path, const uid_t *uid, ConfigReport report, void *userdata, Config **ret, Error *e) {
        Config *c CLEANUP(config_free) = calloc(1, sizeof *c);
        ConfigLoader l = { .c = c, .report = report, .userdata = userdata };
        int r;

        if (!c)
                return error_errno(e, ENOMEM, "%s", path);
        l.seen = calloc(config_key_count(), sizeof(const config_setting_t *));
        r = read_and_run(&l, path, uid, e);
        config_text_done(&l.text);
        free(l.seen);
        if (r == 0 || (r == -EINVAL && l.parsed))
                *ret = TAKE(c);
        return r;
}

static int load_and_report(const char *path, ConfigReport report, void *userdata, Config **ret) {
        Error e = { 0 };
        int r = load(path, NULL, report, userdata, ret, &e);

        if (e.code != 0 && report)
                report(CONFIG_ERROR, e.text, userdata);
        return r;
}

int config_load(const char *path, ConfigReport report, void *userdata, Config **ret) {
        Config *c CLEANUP(config_free) = NULL;
        int r = load_and_report(path, report, userdata, &c);

        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int config_load_trusted(const char *path, uid_t uid, ConfigReport report, void *userdata, Config **ret, Error *e) {
        Config *c CLEANUP(config_free) = NULL;
        int r = load(path, &uid, report, userdata, &c, e);

        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int config_check(const char *path, ConfigReport report, void *userdata) {
        Config *c CLEANUP(config_free) = NULL;
        int r = load_and_report(path, report, userdata, &c);

        /* Among errors the directories may be the default that was not meant. */
        if (c && config_files_check(c, r == 0, report, userdata) < 0)
                r = r < 0 ? r : -EINVAL;
        return r;
}

Config *config_free(Config *c) {
        if (!c)
                return NULL;
        for (const ConfigKey *k = config_keys; k->name; k++) {
                if (k->offset == KEY_NOT_STORED)
                        continue;
                if (k->type == KEY_STRING)
                        free(*(char **) member(c, k));
                else if (k->type == KEY_STRINGS)
                        strings_free(*(char ***) member(c, k));
        }
        for (size_t i = 0; i < c->n_overrides; i++) {
                free(c->overrides[i].name);
                free(c->overrides[i].user);
                free(c->overrides[i].memory_max);
                free(c->overrides[i].exit_codes.item);
        }
        free(c->overrides);
        free(c->exit_codes.item);
        facts_free(&c->facts);
        free(c->file);
        free(c);
        return NULL;
}

/* ---- overrides ---- */

static size_t stem_length(const char *name) {
        size_t n = strlen(name);

        return n > 3 && strcmp(name + n - 3, ".sh") == 0 ? n - 3 : n;
}

const ConfigOverride *config_override(const Config *c, const char *handler) {
        size_t n = stem_length(handler);

        for (size_t i = 0; i < c->n_overrides; i++)
                if (strcmp(c->overrides[i].name, handler) == 0)
                        return &c->overrides[i];
        for (size_t i = 0; i < c->n_overrides; i++)
                if (stem_length(c->overrides[i].name) == n && strncmp(c->overrides[i].name, handler, n) == 0)
                        return &c->overrides[i];
        return NULL;
}
