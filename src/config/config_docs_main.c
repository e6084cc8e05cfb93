/* SPDX-License-Identifier: Apache-2.0 */
/* config-docs write|check FILE: brings a checked-in file in line with the table of keys, or fails if it is not.
 * FILE ending in ".conf" is the whole example; in a manual page the part between the two marker lines is the key list. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"
#include "config/config_internal.h"

static const char begin_line[] = ".\\\" BEGIN KEYS (written by config-docs)\n";
static const char end_line[] = ".\\\" END KEYS\n";

/* What the file should be, given what it is. */
static int wanted(const char *name, const char *now, Buf *ret) {
        const char *begin, *end;
        size_t n = strlen(name);
        int r;

        if (n > 5 && strcmp(name + n - 5, ".conf") == 0)
                return config_write_example(ret);
        begin = strstr(now, begin_line);
        end = begin ? strstr(begin, end_line) : NULL;
        if (!end)
                return -EBADMSG;
        buf_append(ret, now, (size_t) (begin - now) + sizeof begin_line - 1);
        r = config_write_man(ret);
        buf_puts(ret, end);
        return r < 0 ? r : buf_error(ret);
}

static int write_file(const char *name, const Buf *text) {
        CLEANUP_FD int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        return fd < 0 ? -errno : write_all(fd, text->data, text->len);
}

static int run(bool write, const char *name) {
        CLEANUP_BUF Buf text = { 0 };
        CLEANUP_FREE char *now = NULL;
        size_t len = 0;
        int r = file_read_at(AT_FDCWD, name, CONFIG_FILE_BYTES_MAX, &now, &len);

        if (r < 0 && !(write && r == -ENOENT)) {
                (void) fprintf(stderr, "%s: %s\n", name, strerror(-r));
                return EXIT_FAILURE;
        }
        r = wanted(name, now ? now : "", &text);
        if (r < 0) {
                (void) fprintf(stderr, "%s: %s\n", name,
                               r == -EBADMSG ? "the two marker lines are missing" : strerror(-r));
                return EXIT_FAILURE;
        }
        if (write)
                r = write_file(name, &text);
        else if (text.len != len || memcmp(text.data, now, len) != 0) {
                (void) fprintf(stderr, "%s: not current; run config-docs write on it\n", name);
                return EXIT_FAILURE;
        }
        if (r < 0)
                (void) fprintf(stderr, "%s: %s\n", name, strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        if (argc != 3 || (strcmp(argv[1], "write") != 0 && strcmp(argv[1], "check") != 0)) {
                (void) fprintf(stderr, "usage: config-docs write|check FILE\n");
                return 2;
        }
        return run(strcmp(argv[1], "write") == 0, argv[2]);
}
