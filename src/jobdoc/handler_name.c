/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "jobdoc/internal.h"

/* What package managers and editors leave beside a file they replace. An entry ending in '-' stands for every ending that
 * starts so. */
static const char *const leftovers[] = { "dpkg-",  "ucf-",    "rpmnew",  "rpmsave", "rpmorig",
                                         "pacnew", "pacsave", "pacorig", "apk-",    "opkg-",
                                         "swp",    "bak",     "orig",    "rej" };

static bool is_leftover(const char *name) {
        const char *dot = strrchr(name, '.');

        if (!dot)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(leftovers); i++) {
                size_t n = strlen(leftovers[i]);
                bool prefix = leftovers[i][n - 1] == '-';

                if (prefix ? strncmp(dot + 1, leftovers[i], n) == 0 : strcmp(dot + 1, leftovers[i]) == 0)
                        return true;
        }
        return false;
}

static bool is_name_byte(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("._+-", c));
}

bool handler_name_valid(const char *name, const char **ret_why) {
        size_t n = strlen(name);
        const char *why = NULL;

        if (n == 0)
                why = "empty";
        else if (n > JOBDOC_HANDLER_MAX)
                why = "longer than 64 characters";
        else if (name[0] == '.')
                why = "starts with a dot";
        else if (name[n - 1] == '~' || is_leftover(name))
                why = "an editor's or package manager's leftover";
        for (const char *c = name; *c && !why; c++)
                if (!is_name_byte(*c))
                        why = "only letters, digits and ._+- are allowed";
        if (!why)
                return true;
        *ret_why = why;
        return false;
}
