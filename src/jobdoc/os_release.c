/* SPDX-License-Identifier: Apache-2.0 */
/* os-release(5): lines NAME=value in the syntax of the shell, as far as that file may use it. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "jobdoc/jobdoc.h"

/* The value up to the end of the line: bare, in single quotes (as it is), or in double quotes, where a backslash takes the next
 * byte out of its meaning. False for what no shell would take as one word. */
static bool unquote(const char *p, const char *end, Buf *ret) {
        char quote = p < end && (*p == '"' || *p == '\'') ? *p++ : '\0';

        for (; p < end && *p != quote; p++) {
                if (!quote && strchr(" \t\"'`$;&|<>()", *p))
                        break;
                if (*p == '\\' && quote != '\'' && end - p > 1)
                        p++;
                buf_append(ret, p, 1);
        }
        if (quote && p++ == end) /* never closed */
                return false;
        while (p < end && strchr(" \t\r", *p))
                p++;
        return p == end;
}

int os_release_get(const char *text, size_t len, const char *name, char **ret) {
        const char *p = text, *end = text + len;
        size_t n = strlen(name);
        CLEANUP_BUF Buf value = { 0 };
        bool found = false;

        if (len > 0 && memchr(text, '\0', len))
                return 0;
        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p)), *line = p;

                p = lf ? lf + 1 : end;
                if ((size_t) (p - line) <= n || strncmp(line, name, n) != 0 || line[n] != '=')
                        continue;
                buf_clear(&value); /* as in a shell, the last one counts */
                found = unquote(line + n + 1, lf ? lf : end, &value) && value.len > 0;
        }
        if (buf_error(&value) < 0)
                return -ENOMEM;
        if (!found)
                return 0;
        *ret = buf_steal(&value);
        return *ret ? 1 : -ENOMEM;
}
