/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys as text: conf/agent.conf and the list in iot-jobs-agent.conf(5). */
#include <errno.h>
#include <string.h>

#include "config/config_internal.h"

enum { COMMENT_WIDTH = 100, MANUAL_WIDTH = 76 };

/* The group of a key, "" for none; returns the name inside it. */
static const char *split_name(const char *name, char *group, size_t size) {
        const char *dot = strchr(name, '.');
        size_t n = dot ? MIN_OF((size_t) (dot - name), size - 1) : 0;

        memcpy(group, name, n);
        group[n] = '\0';
        return dot ? dot + 1 : name;
}

/* What "default" says: a value, a rule, or nothing. */
static void default_text(const ConfigKey *k, Buf *ret) {
        if (k->required)
                buf_puts(ret, "required");
        else if (k->default_text)
                buf_printf(ret, "default: %s", k->default_text);
        else {
                CLEANUP_BUF Buf value = { 0 };

                if (config_key_default(k, &value))
                        buf_printf(ret, "default: %s", value.data);
                else
                        buf_puts(ret, "default: none");
                if (value.error)
                        ret->error = value.error;
        }
}

/* ---- the example ---- */

static void put_comment(Buf *ret, const char *indent, const char *text) {
        size_t room = COMMENT_WIDTH - strlen(indent) - 2;

        while (*text) {
                size_t n = strlen(text);

                if (n > room) {
                        n = room;
                        while (n > 0 && text[n] != ' ')
                                n--;
                        if (n == 0)
                                n = strcspn(text, " ");
                }
                buf_printf(ret, "%s# %.*s\n", indent, (int) n, text);
                text += n;
                text += strspn(text, " ");
        }
}

static void put_example_key(Buf *ret, const ConfigKey *k, const char *name, const char *indent) {
        CLEANUP_BUF Buf text = { 0 }, value = { 0 };

        buf_puts(&text, k->doc);
        buf_puts(&text, " Allowed: ");
        config_key_allowed(k, &text);
        buf_puts(&text, "; ");
        default_text(k, &text);
        buf_puts(&text, ".");
        if (!config_key_default(k, &value))
                buf_puts(&value, k->example);
        put_comment(ret, indent, text.data ? text.data : "");
        buf_printf(ret, "%s#%s = %s;\n\n", indent, name, value.data ? value.data : "");
        if (text.error || value.error)
                ret->error = -ENOMEM;
}

static void close_group(Buf *ret, const char *group) {
        if (!group[0])
                return;
        ret->data[--ret->len] = '\0'; /* the empty line behind the last key */
        buf_puts(ret, "};\n\n");
}

int config_write_example(Buf *ret) {
        char group[64] = "", last[64] = "";

        buf_puts(ret,
                 "# Configuration of iot-jobs-agent and iot-jobs-runner, in the syntax of libconfig: see "
                 "iot-jobs-agent.conf(5).\n"
                 "# Every key is here with its default, or an example where it has none, and commented out. "
                 "Three must be "
                 "set: thing_name,\n"
                 "# endpoint and credentials.ca_file. \"iot-jobs-agent --check-config\" names every problem "
                 "at once.\n\n");
        for (const ConfigKey *k = config_keys; k->name && !ret->error; k++) {
                const char *name = split_name(k->name, group, sizeof group);

                if (strcmp(group, last) != 0) {
                        close_group(ret, last);
                        if (group[0])
                                buf_printf(ret, "%s = {\n", group);
                        memcpy(last, group, sizeof last);
                }
                put_example_key(ret, k, name, group[0] ? "        " : "");
        }
        if (!ret->error) {
                close_group(ret, last);
                ret->data[--ret->len] = '\0';
        }
        return buf_error(ret);
}

/* ---- the manual ---- */

/* A word of an mdoc text line: nothing in it is taken for a request or an escape. */
static void put_mdoc_word(Buf *ret, const char *word, size_t n, bool line_start) {
        if (line_start && (*word == '.' || *word == '\''))
                buf_puts(ret, "\\&");
        for (size_t i = 0; i < n; i++) {
                if (word[i] == '\\')
                        buf_puts(ret, "\\e");
                else if (word[i] == '-' && (i == 0 || word[i - 1] == '-')) /* an option, not a hyphen */
                        buf_puts(ret, "\\-");
                else
                        buf_append(ret, word + i, 1);
        }
}

/* Text lines; each sentence starts a new one. */
static void put_mdoc(Buf *ret, const char *text) {
        size_t column = 0;

        while (*text) {
                size_t n = strcspn(text, " ");
                bool ends = (text[n - 1] == '.' && strncmp(text, "...", n) != 0) || text[n - 1] == ';';

                if (column > 0 && column + 1 + n > MANUAL_WIDTH) {
                        buf_puts(ret, "\n");
                        column = 0;
                }
                if (column > 0)
                        buf_puts(ret, " ");
                put_mdoc_word(ret, text, n, column == 0);
                column += n + (column > 0);
                text += n;
                text += strspn(text, " ");
                if (ends || !*text) {
                        buf_puts(ret, "\n");
                        column = 0;
                }
        }
}

int config_write_man(Buf *ret) {
        for (const ConfigKey *k = config_keys; k->name && !ret->error; k++) {
                CLEANUP_BUF Buf facts = { 0 };

                buf_puts(&facts, "Allowed: ");
                config_key_allowed(k, &facts);
                buf_puts(&facts, "; ");
                default_text(k, &facts);
                buf_puts(&facts, ".");
                buf_printf(ret, ".It Ic %s\n", k->name);
                put_mdoc(ret, k->doc);
                put_mdoc(ret, facts.data ? facts.data : "");
                if (facts.error)
                        ret->error = facts.error;
        }
        return buf_error(ret);
}
