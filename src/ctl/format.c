/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "base/utf8.h"
#include "ctl/agent.h"

const char *format_duration(int64_t seconds, char ret[static FORMAT_MAX]) {
        int64_t minutes = seconds / 60, hours = minutes / 60;

        if (seconds < 0)
                ret[0] = '\0';
        else if (minutes == 0)
                (void) snprintf(ret, FORMAT_MAX, "%" PRId64 "s", seconds);
        else if (hours == 0)
                (void) snprintf(ret, FORMAT_MAX, "%" PRId64 "min %" PRId64 "s", minutes, seconds % 60);
        else if (hours < 48)
                (void) snprintf(ret, FORMAT_MAX, "%" PRId64 "h %" PRId64 "min", hours, minutes % 60);
        else
                (void) snprintf(ret, FORMAT_MAX, "%" PRId64 "d %" PRId64 "h", hours / 24, hours % 24);
        return ret;
}

const char *format_time(int64_t epoch, char ret[static FORMAT_MAX]) {
        time_t t = (time_t) epoch;
        struct tm tm;

        if (epoch < 0 || !gmtime_r(&t, &tm) || strftime(ret, FORMAT_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
                (void) snprintf(ret, FORMAT_MAX, "?");
        return ret;
}

const char *format_phase(const ControlJob *j, char ret[static 2 * FORMAT_MAX]) {
        char since[FORMAT_MAX], in[FORMAT_MAX];
        const char *name = j->cancelling && j->phase != CONTROL_REPORTING ? "cancelling" : control_phase_name(j->phase);

        (void) format_duration(j->since, since);
        if (j->phase == CONTROL_DEFERRED && !j->cancelling)
                (void) snprintf(ret, 2 * FORMAT_MAX, "%s, again in %s", name, format_duration(j->resume_in, in));
        else if (j->phase == CONTROL_REPORTING)
                (void) snprintf(ret, 2 * FORMAT_MAX, "%s %s", name, proto_status_name(j->status));
        else
                (void) snprintf(ret, 2 * FORMAT_MAX, "%s%s%s", name, since[0] ? " " : "", since);
        return ret;
}

/* Bytes of the first character, and the columns it takes. */
static size_t next_character(const char *text, size_t *ret_columns) {
        uint32_t c = 0;
        size_t n = utf8_decode(text, text + strlen(text), &c);
        int columns = n > 0 ? wcwidth((wchar_t) c) : 1;

        *ret_columns = columns < 0 ? 1 : (size_t) columns;
        return MAX_OF(n, (size_t) 1);
}

size_t format_width(const char *text) {
        size_t width = 0, columns;

        for (; *text; width += columns)
                text += next_character(text, &columns);
        return width;
}

size_t format_cut(const char *text, size_t columns) {
        size_t at = 0, n, width;

        while (text[at]) {
                n = next_character(text + at, &width);
                if (width > columns)
                        break;
                columns -= width;
                at += n;
        }
        return at;
}
