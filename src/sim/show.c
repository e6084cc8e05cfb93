/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/show.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"
#include "sim/connection.h"

enum { SHOW_VALUE_UNITS = 1024, BAR_CELLS = 20, LINE_FALLBACK = 80 };

void show_init(Show *s, const Options *o) {
        *s = (Show){
                .json = o->json,
                .bar = !o->json && o->n_things <= 1 && isatty(STDOUT_FILENO),
                .names = o->n_things > 1,
        };
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
}

/* ---- pieces ---- */

static const char *text_of(const json_t *o, const char *name) {
        return json_string_value(json_object_get(o, name)) ?: "";
}

static long long number_of(const json_t *o, const char *name) {
        return json_integer_value(json_object_get(o, name));
}

/* Whatever a device wrote must not reach the terminal as a control sequence. */
static void append_safe(Buf *b, const char *text) {
        char *safe CLEANUP_FREE = text_sanitize(text, strlen(text), SHOW_VALUE_UNITS, false);

        buf_puts(b, safe ?: "?");
}

static void append_value(Buf *b, const char *text) {
        const char *quote = text[0] == '\0' || strpbrk(text, " \"=") ? "\"" : "";

        buf_puts(b, quote);
        append_safe(b, text);
        buf_puts(b, quote);
}

/* The claim says which device runs it: noise here. */
static void append_details(Buf *b, const json_t *execution, bool bar) {
        json_t *details = json_object_get(execution, "statusDetails"), *value;
        const char *key;

        json_object_foreach(details, key, value) {
                if (strcmp(key, "claim") == 0 || (bar && strcmp(key, "progress") == 0))
                        continue;
                buf_puts(b, "  ");
                append_safe(b, key);
                buf_puts(b, "=");
                append_value(b, json_string_value(value) ?: "");
        }
}

static void append_time(Buf *b, uint64_t at, bool with_date) {
        time_t sec = (time_t) (at / USEC_PER_SEC);
        struct tm tm = {};
        char text[32];

        (void) localtime_r(&sec, &tm);
        (void) strftime(text, sizeof text, with_date ? "%F %T" : "%T", &tm);
        buf_puts(b, text);
        if (!with_date)
                buf_printf(b, ".%03u", (unsigned) (at % USEC_PER_SEC / 1000));
}

static void print_line(Buf *b) {
        if (b->data)
                puts(b->data);
}

/* "40", "40%" or "40 %" → 40; anything else → -1. */
static int percent_of(const json_t *execution) {
        const char *text = text_of(json_object_get(execution, "statusDetails"), "progress");
        char *end;
        long n = strtol(text, &end, 10);

        if (end == text || n < 0 || n > 100)
                return -1;
        while (*end == ' ' || *end == '%')
                end++;
        return *end ? -1 : (int) n;
}

/* ---- JSON ---- */

void show_json(const json_t *v) {
        char *text CLEANUP_FREE = json_dumps(v, JSON_COMPACT);

        if (text)
                puts(text);
}

/* The document's bytes go out as they came in: Jansson could not even hold some that a service takes. */
static void show_json_with_document(const json_t *execution) {
        json_t *rest CLEANUP_JSON = json_copy((json_t *) execution);
        char *text CLEANUP_FREE = NULL;

        (void) json_object_del(rest, "jobDocument");
        text = json_dumps(rest, JSON_COMPACT);
        if (text)
                printf("%.*s,\"jobDocument\":%s}\n", (int) strlen(text) - 1, text,
                       text_of(execution, "jobDocument"));
}

/* ---- verbs ---- */

void show_created(Show *s, const json_t *x) {
        if (s->json)
                show_json(x);
        else
                printf("created job %s for thing %s\n", text_of(x, "jobId"), text_of(x, "thingName"));
}

static void show_time(const json_t *x, const char *member, const char *label) {
        Buf b CLEANUP_BUF = {};

        if (!json_object_get(x, member))
                return;
        buf_printf(&b, "%-13s", label);
        append_time(&b, (uint64_t) number_of(x, member) * USEC_PER_SEC, true);
        print_line(&b);
}

void show_execution(Show *s, const json_t *x) {
        Buf details CLEANUP_BUF = {};

        if (s->json) {
                show_json_with_document(x);
                return;
        }
        append_details(&details, x, false);
        printf("%-13s%s\n%-13s%s\n%-13s%lld\n%-13s%s\n%-13s%lld\n", "thing", text_of(x, "thingName"), "job",
               text_of(x, "jobId"), "execution", number_of(x, "executionNumber"), "status",
               text_of(x, "status"), "version", number_of(x, "versionNumber"));
        show_time(x, "queuedAt", "queued");
        show_time(x, "startedAt", "started");
        show_time(x, "lastUpdatedAt", "updated");
        if (json_object_get(x, "approximateSecondsBeforeTimedOut"))
                printf("%-13sin %lld s\n", "times out", number_of(x, "approximateSecondsBeforeTimedOut"));
        if (details.len > 2)
                printf("%-13s%s\n", "details", details.data + 2);
        printf("%-13s%s\n", "document", text_of(x, "jobDocument"));
}

void show_list_head(Show *s) {
        if (!s->json)
                printf("%-20s %-24s %3s %-12s %7s  %s\n", "THING", "JOB", "NO", "STATUS", "VERSION",
                       "UPDATED");
}

void show_list_row(Show *s, const json_t *x) {
        Buf b CLEANUP_BUF = {};

        if (s->json) {
                show_json(x);
                return;
        }
        buf_printf(&b, "%-20s %-24s %3lld %-12s %7lld  ", text_of(x, "thingName"), text_of(x, "jobId"),
                   number_of(x, "executionNumber"), text_of(x, "status"), number_of(x, "versionNumber"));
        append_time(&b, (uint64_t) number_of(x, "lastUpdatedAt") * USEC_PER_SEC, true);
        append_details(&b, x, false);
        print_line(&b);
}

void show_event(Show *s, const json_t *event) {
        Buf b CLEANUP_BUF = {};

        if (s->json) {
                show_json(event);
                return;
        }
        append_time(&b, (uint64_t) number_of(event, "at"), false);
        buf_puts(&b, "  ");
        append_safe(&b, text_of(event, "thingName"));
        buf_puts(&b, "  ");
        append_safe(&b, text_of(event, "jobId"));
        if (number_of(event, "executionNumber") > 1)
                buf_printf(&b, "#%lld", number_of(event, "executionNumber"));
        buf_puts(&b, "  ");
        append_safe(&b, text_of(event, "status"));
        append_details(&b, event, false);
        print_line(&b);
}

/* ---- --wait ---- */

static size_t terminal_width(void) {
        struct winsize w;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : LINE_FALLBACK;
}

/* A line that wraps could not be drawn over: cut it, on a character. */
static void cut_to_width(Buf *b) {
        size_t cells = 0, max = terminal_width() - 1;

        for (size_t i = 0; i < b->len; i++)
                if (((unsigned char) b->data[i] & 0xc0) != 0x80 && ++cells > max) {
                        b->data[i] = '\0';
                        b->len = i;
                        return;
                }
}

static void append_bar(Buf *b, int percent) {
        buf_puts(b, "  [");
        for (int i = 0; i < BAR_CELLS; i++)
                buf_puts(b, i < percent * BAR_CELLS / 100 ? "#" : ".");
        buf_printf(b, "] %3d %%", percent);
}

void show_step(Show *s, const json_t *x, uint64_t at, bool progress) {
        Buf b CLEANUP_BUF = {};
        int percent = s->bar && strcmp(text_of(x, "status"), "IN_PROGRESS") == 0 ? percent_of(x) : -1;

        if (s->json) {
                show_json(x);
                return;
        }
        append_time(&b, at, false);
        buf_puts(&b, "  ");
        if (s->names)
                buf_printf(&b, "%s  ", text_of(x, "thingName"));
        if (number_of(x, "executionNumber") > 1)
                buf_printf(&b, "#%lld ", number_of(x, "executionNumber"));
        append_safe(&b, text_of(x, "status"));
        if (percent >= 0)
                append_bar(&b, percent);
        append_details(&b, x, percent >= 0);
        if (!s->bar) {
                print_line(&b);
                return;
        }
        if (!progress)
                show_finish(s);
        cut_to_width(&b);
        printf("\r\033[K%s", b.data ?: "");
        (void) fflush(stdout);
        s->open = true;
}

void show_finish(Show *s) {
        if (s->open)
                putchar('\n');
        s->open = false;
        (void) fflush(stdout);
}
