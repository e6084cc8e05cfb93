/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"
#include "ctl/ctl.h"

enum { LINE_MAX_BYTES = 16384 };

int ctl_fail(const char *format, ...) {
        va_list ap;

        (void) fputs("iot-jobsctl: ", stderr);
        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        (void) fputc('\n', stderr);
        return CTL_EXIT_FAILED;
}

int ctl_read_file(const char *path, char **ret, size_t *ret_len) {
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        int r = fd < 0 ? -errno : file_read_fd(fd, CTL_FILE_MAX, ret, ret_len);

        if (r < 0)
                (void) ctl_fail("%s: %s", path, strerrordesc_np(-r));
        return r;
}

/* The last " NAME=" of a line: what stands before it may be a handler's words. */
static char *last_field(char *line, const char *name) {
        char *found = NULL;

        for (char *p = line; (p = strstr(p, name)); p++)
                found = p;
        return found;
}

/* "LEVEL IDENTIFIER: TEXT IOT_JOB_ID=… … IOT_JOB_STREAM=stdout", or "LEVEL TEXT IOT_JOB_ID=… …". */
static void put_line(const CtlLines *l, char *line) {
        char *stream = last_field(line, " IOT_JOB_STREAM="), *fields = last_field(line, " IOT_JOB_ID="), *text;
        bool of_handler = stream && fields && fields < stream;
        FILE *to = of_handler && strcmp(stream, " IOT_JOB_STREAM=stdout") == 0 && !l->json ? stdout : stderr;

        if (fields)
                *fields = '\0';
        text = strchr(line, ' ');
        text = text ? text + 1 : line;
        if (of_handler && strstr(text, ": "))
                text = strstr(text, ": ") + 2;
        (void) fprintf(to, "%s%s\n", of_handler ? "" : "iot-jobs-runner: ", of_handler ? text : line);
        (void) fflush(to);
}

void ctl_lines_put(CtlLines *l, const char *data, size_t len) {
        char *start, *end;

        buf_append(&l->rest, data, len);
        if (buf_error(&l->rest) < 0)
                return;
        for (start = l->rest.data; start && (end = strchr(start, '\n')); start = end + 1) {
                *end = '\0';
                put_line(l, start);
        }
        len = l->rest.len - (size_t) (start - l->rest.data);
        if (len > LINE_MAX_BYTES) /* no line of the runner is as long */
                len = 0;
        memmove(l->rest.data, start, len);
        l->rest.len = len;
        l->rest.data[len] = '\0';
}

void ctl_lines_done(CtlLines *l) {
        if (l->rest.len > 0 && buf_error(&l->rest) == 0)
                put_line(l, l->rest.data);
        buf_done(&l->rest);
}
