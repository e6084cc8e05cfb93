/* SPDX-License-Identifier: Apache-2.0 */
/* Members of objects, and the fault that names them. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "jobdoc/internal.h"

enum { QUOTED_MAX = 64 }; /* UTF-16 units of the document that a reason repeats */

int job_fault(const Parser *p, const char *where, const char *member, const char *format, ...) {
        char *reason = p->fault->reason;
        size_t len;
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(reason, sizeof p->fault->reason, format, ap);
        va_end(ap);
        len = strlen(reason);
        while (len > 0 && !utf8_valid(reason, len)) /* cut inside a character */
                reason[--len] = '\0';
        (void) snprintf(p->fault->path, sizeof p->fault->path, "%s%s%s", where, where[0] && member[0] ? "." : "",
                        member);
        return -EINVAL;
}

int job_fault_quoting(const Parser *p, const char *where, const char *member, const char *text, const char *what) {
        CLEANUP_FREE char *clean = text_sanitize(text, strlen(text), QUOTED_MAX, false);

        return clean ? job_fault(p, where, member, "\"%s\" %s", clean, what) : -ENOMEM;
}

json_t *job_member(const json_t *o, const char *name) {
        json_t *value = json_object_get(o, name);

        return json_is_null(value) ? NULL : value;
}

/* ""? A template's placeholder left without a value. */
static bool is_blank(const json_t *value) {
        return json_is_string(value) && json_string_length(value) == 0;
}

int job_get_string(const Parser *p, const json_t *o, const char *where, const char *name, const char **ret) {
        const json_t *value = job_member(o, name);

        *ret = NULL;
        if (!value)
                return 0;
        if (!json_is_string(value))
                return job_fault(p, where, name, "a string expected");
        *ret = json_string_value(value);
        return 0;
}

int job_need_string(const Parser *p, const json_t *o, const char *where, const char *name, const char **ret) {
        int r = job_get_string(p, o, where, name, ret);

        if (r == 0 && !*ret)
                return job_fault(p, where, name, "missing");
        if (r == 0 && !**ret)
                return job_fault(p, where, name, "empty");
        return r;
}

int job_need_object(const Parser *p, const json_t *o, const char *where, const char *name, const json_t **ret) {
        const json_t *value = job_member(o, name);

        if (!value)
                return job_fault(p, where, name, "missing");
        if (!json_is_object(value))
                return job_fault(p, where, name, "an object expected");
        *ret = value;
        return 0;
}

int job_get_bool(const Parser *p, const json_t *o, const char *where, const char *name, bool *ret) {
        const json_t *value = job_member(o, name);

        if (!value || is_blank(value))
                return 0;
        if (json_is_boolean(value))
                *ret = json_is_true(value);
        else if (json_is_string(value) && strcmp(json_string_value(value), "true") == 0)
                *ret = true;
        else if (json_is_string(value) && strcmp(json_string_value(value), "false") == 0)
                *ret = false;
        else
                return job_fault(p, where, name, "true or false expected");
        return 0;
}

static bool digits_parse(const char *text, int64_t *ret) {
        size_t n = strspn(text, "0123456789");
        int64_t v = 0;

        if (n == 0 || n > 18 || text[n])
                return false;
        for (; *text; text++)
                v = v * 10 + (*text - '0');
        *ret = v;
        return true;
}

int job_get_count(const Parser *p, const json_t *o, const char *where, const char *name, int64_t max, int64_t *ret) {
        const json_t *value = job_member(o, name);
        int64_t v = -1;

        if (!value || is_blank(value))
                return 0;
        if (json_is_integer(value))
                v = json_integer_value(value);
        else if (json_is_real(value)) {
                double real = json_real_value(value);

                if (real >= 0 && real <= (double) max)
                        v = (int64_t) real;
                if ((double) v < real || (double) v > real)
                        v = -1;
        } else if (!json_is_string(value) || !digits_parse(json_string_value(value), &v))
                v = -1;
        if (v < 0 || v > max)
                return job_fault(p, where, name, "a whole number from 0 to %" PRId64 " expected", max);
        *ret = v;
        return 0;
}

int job_copy_string(const char *text, char **ret) {
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}
