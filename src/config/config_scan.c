/* SPDX-License-Identifier: Apache-2.0 */
/* A second reader of the configuration text. libconfig 1.5 silently yields a wrong number for an integer outside 32 bits
 * (4294967296 is 0, 2147483648 is negative) and does not list the files it read; this finds both. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "config/config_internal.h"

typedef struct Frame {
        char path[CONFIG_KEY_MAX]; /* dotted name of the group or list */
        bool list;
        size_t index; /* of the next entry */
} Frame;

typedef struct Scan {
        ConfigText *text;
        const char *directory; /* includes start here */
        Frame frames[CONFIG_NESTING_MAX + 1];
        size_t depth; /* index of the innermost frame; 0 = the whole file */
        char name[CONFIG_KEY_MAX];
        char **names; /* dotted, of everything that was set */
        size_t n_names;
        size_t includes;
        Error *e;
} Scan;

typedef struct Cursor {
        const char *file;
        const char *p, *end;
        const char *line_start;
        unsigned line;
} Cursor;

static int scan_file(Scan *s, const char *path, const char *where);

static int list_add(char ***list, size_t *n, const char *text) {
        char **bigger = realloc(*list, (*n + 2) * sizeof **list);
        char *copy;

        if (!bigger)
                return -ENOMEM;
        *list = bigger;
        bigger[*n] = NULL;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        bigger[(*n)++] = copy;
        bigger[*n] = NULL;
        return 0;
}

static void list_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

static void scan_free(Scan **s) {
        if (*s)
                list_free((*s)->names);
        free(*s);
}
#define CLEANUP_SCAN __attribute__((cleanup(scan_free)))

/* NUL-terminated; caller frees. `where` is the place of the @include, or "". */
static int read_text(const char *path, const char *where, char **ret, size_t *ret_len, Error *e) {
        CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        CLEANUP_FREE char *data = NULL;
        struct stat st;
        size_t len = 0;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(e, errno, "%s%s: cannot be read", where, path);
        if (!S_ISREG(st.st_mode))
                return error_set(e, EINVAL, "%s%s: cannot be read: not a regular file", where, path);
        r = file_read_fd(fd, CONFIG_FILE_BYTES_MAX, &data, &len);
        if (r == -EFBIG)
                return error_set(e, EFBIG, "%s%s: larger than %d bytes", where, path, CONFIG_FILE_BYTES_MAX);
        if (r < 0)
                return error_errno(e, -r, "%s%s: cannot be read", where, path);
        if (strlen(data) != len)
                return error_set(e, EINVAL, "%s%s: contains a NUL byte", where, path);
        *ret = TAKE(data);
        *ret_len = len;
        return 0;
}

/* The dotted name of the value that comes next. */
static void value_path(const Scan *s, char ret[static CONFIG_KEY_MAX]) {
        const Frame *f = &s->frames[s->depth];
        int n;

        if (f->list)
                n = snprintf(ret, CONFIG_KEY_MAX, "%s[%zu]", f->path, f->index);
        else
                n = snprintf(ret, CONFIG_KEY_MAX, "%s%s%s", f->path, f->path[0] ? "." : "", s->name);
        if (n < 0 || n >= CONFIG_KEY_MAX)
                ret[0] = '\0'; /* such a key is in no table */
}

static int frame_push(Scan *s, const Cursor *c, bool list) {
        char path[CONFIG_KEY_MAX];

        if (s->depth == CONFIG_NESTING_MAX)
                return error_set(s->e, EINVAL, "%s:%u: groups and lists nested deeper than %d", c->file,
                                 c->line, CONFIG_NESTING_MAX);
        value_path(s, path);
        s->depth++;
        memcpy(s->frames[s->depth].path, path, sizeof path);
        s->frames[s->depth].list = list;
        s->frames[s->depth].index = 0;
        s->name[0] = '\0';
        return 0;
}

static void skip_to_line_end(Cursor *c) {
        while (c->p < c->end && *c->p != '\n')
                c->p++;
}

static void next_line(Cursor *c) {
        c->line++;
        c->line_start = c->p + 1;
}

static void skip_block_comment(Cursor *c) {
        for (c->p += 2; c->p < c->end; c->p++) {
                if (c->p[0] == '*' && c->p[1] == '/') {
                        c->p += 2;
                        return;
                }
                if (*c->p == '\n')
                        next_line(c);
        }
}

static void skip_string(Cursor *c) {
        for (c->p++; c->p < c->end; c->p++) {
                if (*c->p == '"') {
                        c->p++;
                        return;
                }
                if (*c->p == '\\' && c->p + 1 < c->end)
                        c->p++;
                if (*c->p == '\n')
                        next_line(c);
        }
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c) {
        return is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '*';
}

/* libconfig tells of a name that is set for the second time, but not which one it is. */
static int note_setting(Scan *s, const Cursor *c) {
        const char *p = c->p;
        char path[CONFIG_KEY_MAX];

        while (*p == ' ' || *p == '\t')
                p++;
        if ((*p != '=' && *p != ':') || s->text->twice)
                return 0;
        value_path(s, path);
        for (size_t i = 0; i < s->n_names; i++)
                if (path[0] && strcmp(s->names[i], path) == 0) {
                        s->text->twice = strdup(path);
                        s->text->twice_file = c->file;
                        s->text->twice_line = c->line;
                        return s->text->twice ? 0 : -ENOMEM;
                }
        return list_add(&s->names, &s->n_names, path);
}

static int take_name(Scan *s, Cursor *c) {
        const char *start = c->p;
        size_t n;

        while (c->p < c->end && is_name(*c->p))
                c->p++;
        n = MIN_OF((size_t) (c->p - start), sizeof s->name - 1);
        memcpy(s->name, start, n);
        s->name[n] = '\0';
        if (c->p[0] == '.' && is_letter(c->p[1]) && !s->text->dotted_file) {
                s->text->dotted_file = c->file;
                s->text->dotted_line = c->line;
        }
        return note_setting(s, c);
}

static int hex_digit(char c) {
        if (is_digit(c))
                return c - '0';
        if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
                return (c | 0x20) - 'a' + 10;
        return -1;
}

/* Is this token an integer that does not fit 32 bits? Floating-point numbers and garbage are not integers. */
static bool token_is_wide(const char *p, size_t n) {
        bool negative = n && *p == '-', hex;
        uint64_t base, value = 0, limit = UINT64_C(0x7fffffff);

        if (n && (*p == '-' || *p == '+')) {
                p++;
                n--;
        }
        hex = n > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
        if (hex) {
                p += 2;
                n -= 2;
        }
        for (int i = 0; i < 2 && n > 1 && p[n - 1] == 'L'; i++)
                n--;
        base = hex ? 16 : 10;
        for (size_t i = 0; i < n; i++) {
                int digit = hex_digit(p[i]);

                if (digit < 0 || (uint64_t) digit >= base)
                        return false;
                value = MIN_OF(value * base + (uint64_t) digit, UINT64_C(1) << 40);
        }
        return value > (negative ? limit + 1 : limit);
}

static int take_number(Scan *s, Cursor *c) {
        const char *start = c->p;
        char path[CONFIG_KEY_MAX], entry[CONFIG_KEY_MAX + CONFIG_VALUE_SHOWN_MAX + 1];

        while (c->p < c->end && (is_name(*c->p) || *c->p == '.' || *c->p == '+'))
                c->p++;
        if (!token_is_wide(start, (size_t) (c->p - start)))
                return 0;
        value_path(s, path);
        (void) snprintf(entry, sizeof entry, "%s=%.*s", path,
                        (int) MIN_OF(c->p - start, CONFIG_VALUE_SHOWN_MAX), start);
        return list_add(&s->text->wide, &s->text->n_wide, entry);
}

/* libconfig knows `@include "name"` only as the first thing of a line. */
static bool at_include(const Cursor *c) {
        static const char word[] = "@include";
        const char *p = c->p;

        if ((size_t) (c->end - p) < sizeof word || strncmp(p, word, sizeof word - 1) != 0)
                return false;
        for (const char *q = c->line_start; q < p; q++)
                if (*q != ' ' && *q != '\t')
                        return false;
        p += sizeof word - 1;
        return *p == ' ' || *p == '\t';
}

static int take_include(Scan *s, Cursor *c) {
        char where[CONFIG_STRING_MAX + 32];
        CLEANUP_FREE char *path = NULL, *name = NULL;
        const char *start;

        c->p += strlen("@include");
        while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
                c->p++;
        if (*c->p != '"')
                return 0; /* libconfig will say so */
        start = ++c->p;
        while (c->p < c->end && *c->p != '"' && *c->p != '\n' && *c->p != '\\')
                c->p++;
        if (*c->p != '"' || c->p == start)
                return error_set(s->e, EINVAL,
                                 "%s:%u: @include: a file name in double quotes without \\ expected", c->file,
                                 c->line);
        if (*start == '/') /* libconfig 1.5 puts the directory in front of any name */
                return error_set(
                        s->e, EINVAL,
                        "%s:%u: @include: value \"%.*s\": an absolute name; allowed: a name relative to %s",
                        c->file, c->line, (int) MIN_OF(c->p - start, CONFIG_VALUE_SHOWN_MAX), start,
                        s->directory);
        name = strndup(start, (size_t) (c->p - start));
        c->p++;
        if (!name || asprintf(&path, "%s/%s", s->directory, name) < 0) {
                path = NULL;
                return error_errno(s->e, ENOMEM, "%s", c->file);
        }
        if (s->includes == CONFIG_INCLUDE_DEPTH_MAX)
                return error_set(s->e, EINVAL, "%s:%u: @include nested deeper than %d", c->file, c->line,
                                 CONFIG_INCLUDE_DEPTH_MAX);
        (void) snprintf(where, sizeof where, "%s:%u: @include: ", c->file, c->line);
        return scan_file(s, path, where);
}

/* One token, or one character that means nothing here. */
static int scan_token(Scan *s, Cursor *c) {
        char ch = *c->p;

        if (ch == '#' || (ch == '/' && c->p[1] == '/')) {
                skip_to_line_end(c);
                return 0;
        }
        if (ch == '/' && c->p[1] == '*') {
                skip_block_comment(c);
                return 0;
        }
        if (ch == '"') {
                skip_string(c);
                return 0;
        }
        if (ch == '@' && at_include(c))
                return take_include(s, c);
        if (is_letter(ch) || ch == '*') {
                return take_name(s, c);
        }
        if (is_digit(ch) || ch == '-' || ch == '+' || ch == '.')
                return take_number(s, c);
        if (ch == '\n')
                next_line(c);
        else if (ch == ',' && s->frames[s->depth].list)
                s->frames[s->depth].index++;
        else if ((ch == '}' || ch == ']' || ch == ')') && s->depth > 0)
                s->depth--;
        c->p++;
        if (ch == '{')
                return frame_push(s, c, false);
        if (ch == '[' || ch == '(')
                return frame_push(s, c, true);
        return 0;
}

static int scan_file(Scan *s, const char *path, const char *where) {
        CLEANUP_FREE char *data = NULL;
        Cursor c = { .line = 1 };
        size_t len;
        int r;

        if (s->text->n_files == CONFIG_FILES_MAX)
                return error_set(s->e, EINVAL, "%smore than %d files", where, CONFIG_FILES_MAX);
        r = read_text(path, where, &data, &len, s->e);
        if (r < 0)
                return r;
        if (list_add(&s->text->files, &s->text->n_files, path) < 0)
                return error_errno(s->e, ENOMEM, "%s", path);
        c.file = s->text->files[s->text->n_files - 1]; /* lives as long as the result */
        c.p = c.line_start = data;
        c.end = data + len;
        s->includes++;
        while (c.p < c.end) {
                r = scan_token(s, &c);
                if (r == -ENOMEM)
                        return error_errno(s->e, ENOMEM, "%s", path);
                if (r < 0)
                        return r;
        }
        s->includes--;
        if (s->includes == 0)
                s->text->content = TAKE(data);
        return 0;
}

int config_text_scan(const char *path, ConfigText *ret, Error *e) {
        CLEANUP_CONFIG_TEXT ConfigText text = { 0 };
        CLEANUP_FREE char *directory = config_directory_of(path);
        CLEANUP_SCAN Scan *s = calloc(1, sizeof *s);
        int r;

        if (!s || !directory)
                return error_errno(e, ENOMEM, "%s", path);
        s->text = &text;
        s->directory = directory;
        s->e = e;
        r = scan_file(s, path, "");
        if (r < 0)
                return r;
        *ret = text;
        text = (ConfigText){ 0 };
        return 0;
}

const char *config_text_wide(const ConfigText *t, const char *key) {
        size_t n = strlen(key);

        for (size_t i = 0; i < t->n_wide; i++)
                if (strncmp(t->wide[i], key, n) == 0 && t->wide[i][n] == '=')
                        return t->wide[i] + n + 1;
        return NULL;
}

void config_text_done(ConfigText *t) {
        list_free(t->files);
        list_free(t->wide);
        free(t->content);
        free(t->twice);
        *t = (ConfigText){ 0 };
}
