/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/output.h"

#include <errno.h>
#include <string.h>

#include "base/message_id.h"
#include "plan/progress.h"

enum { FIELDS_MAX = 16, IDENTIFIER_MAX = 80 };

/* Behind everything else: of a stream that says nothing they are not touched. */
typedef struct StreamBuffers {
        char line[RUNNER_LINE_MAX];
        char tail[2 * RUNNER_TAIL_MAX]; /* the last RUNNER_TAIL_MAX bytes of it count */
} StreamBuffers;

typedef struct Stream {
        int fd;
        char *line, *tail; /* of StreamBuffers */
        size_t len;
        RedactState state; /* of the piece before */
        bool continued; /* pieces of this line were logged already: no priority prefix any more */
        LogLevel level; /* of the line in hand */
        uint64_t lines;
        size_t tail_len;
} Stream;

struct Output {
        const Redact *redact;
        OutputProgress progress;
        void *userdata;
        Stream stream[OUTPUT_COUNT];
        char identifier[IDENTIFIER_MAX];
        LogField field[FIELDS_MAX];
        size_t n_fields;
        uint64_t window; /* start of the second that is counted; 0 = none */
        uint32_t in_window;
        uint64_t dropped;
        char buffer[RUNNER_READ_MAX];
        StreamBuffers buffers[OUTPUT_PROGRESS]; /* of the streams before it */
        ProgressReader reader;
};

int output_new(const Redact *redact, OutputProgress progress, void *userdata, Output **ret) {
        /* Not calloc: most of it is buffers, which would be touched for nothing. */
        Output *o = malloc(sizeof *o);

        if (!o)
                return -ENOMEM;
        o->redact = redact;
        o->progress = progress;
        o->userdata = userdata;
        o->n_fields = 0;
        o->window = o->dropped = 0;
        o->in_window = 0;
        for (int s = 0; s < OUTPUT_COUNT; s++)
                o->stream[s] = (Stream){ .fd = -1 };
        for (int s = 0; s < OUTPUT_PROGRESS; s++) {
                o->stream[s].line = o->buffers[s].line;
                o->stream[s].tail = o->buffers[s].tail;
        }
        progress_reader_init(&o->reader);
        *ret = o;
        return 0;
}

static void fields_done(Output *o) {
        for (size_t i = 0; i < o->n_fields; i++)
                free((void *) (uintptr_t) o->field[i].value);
        o->n_fields = 0;
}

static void stream_close(Stream *s) {
        if (s->fd >= 0)
                (void) close(s->fd);
        s->fd = -1;
}

Output *output_free(Output *o) {
        if (!o)
                return NULL;
        for (int s = 0; s < OUTPUT_COUNT; s++)
                stream_close(&o->stream[s]);
        fields_done(o);
        free(o);
        return NULL;
}

static void line_start(Output *o, OutputStream which) {
        Stream *s = &o->stream[which];

        s->len = 0;
        s->state = REDACT_TEXT;
        s->continued = false;
        s->level = which == OUTPUT_STDERR ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO;
}

int output_start(Output *o, const int fds[static OUTPUT_COUNT], const char *identifier,
                 const LogField *fields) {
        fields_done(o);
        for (const LogField *f = fields; f->name && o->n_fields < FIELDS_MAX - 2; f++) {
                char *copy = f->value ? strdup(f->value) : NULL;

                if (f->value && !copy)
                        return -ENOMEM;
                o->field[o->n_fields++] = (LogField){ f->name, copy };
        }
        (void) strncpy(o->identifier, identifier, sizeof o->identifier - 1);
        o->identifier[sizeof o->identifier - 1] = '\0';
        for (int s = 0; s < OUTPUT_COUNT; s++) {
                stream_close(&o->stream[s]);
                o->stream[s].fd = fds[s];
                o->stream[s].lines = 0;
                o->stream[s].tail_len = 0;
                line_start(o, (OutputStream) s);
        }
        progress_reader_init(&o->reader);
        return 0;
}

int output_fd(const Output *o, OutputStream s) {
        return o->stream[s].fd;
}

bool output_at_end(const Output *o) {
        for (int s = 0; s < OUTPUT_COUNT; s++)
                if (o->stream[s].fd >= 0)
                        return false;
        return true;
}

static void log_line(Output *o, OutputStream which, LogLevel level, const char *message_id, const char *text,
                     size_t len) {
        LogField fields[FIELDS_MAX];

        memcpy(fields, o->field, o->n_fields * sizeof *fields);
        fields[o->n_fields] = (LogField){ "IOT_JOB_STREAM", which == OUTPUT_STDERR ? "stderr" : "stdout" };
        fields[o->n_fields + 1] = (LogField){};
        log_full(level, o->identifier, message_id, fields, "%.*s", (int) len, text);
}

static void say_dropped(Output *o) {
        LogField fields[FIELDS_MAX];

        if (o->dropped == 0)
                return;
        memcpy(fields, o->field, o->n_fields * sizeof *fields);
        fields[o->n_fields] = (LogField){};
        log_full(LOG_LEVEL_WARNING, o->identifier, MESSAGE_ID_OUTPUT_DROPPED, fields, "%llu lines dropped",
                 (unsigned long long) o->dropped);
        o->dropped = 0;
}

uint64_t output_deadline(const Output *o) {
        return o->dropped > 0 ? o->window + USEC_PER_SEC : USEC_NEVER;
}

void output_tick(Output *o, uint64_t now) {
        if (now < o->window + USEC_PER_SEC)
                return;
        say_dropped(o);
        o->window = now;
        o->in_window = 0;
}

static void tail_append(Stream *s, const char *text, size_t len) {
        if (len > RUNNER_TAIL_MAX) {
                text += len - RUNNER_TAIL_MAX;
                len = RUNNER_TAIL_MAX;
        }
        if (s->tail_len + len > 2 * RUNNER_TAIL_MAX) {
                memmove(s->tail, s->tail + s->tail_len - RUNNER_TAIL_MAX, RUNNER_TAIL_MAX);
                s->tail_len = RUNNER_TAIL_MAX;
        }
        memcpy(s->tail + s->tail_len, text, len);
        s->tail_len += len;
}

/* "<N>" in front of a line sets its priority. */
static void take_prefix(Stream *s) {
        if (s->continued || s->len < 3 || s->line[0] != '<' || s->line[1] < '0' || s->line[1] > '7' ||
            s->line[2] != '>')
                return;
        s->level = (LogLevel) (s->line[1] - '0');
        s->len -= 3;
        memmove(s->line, s->line + 3, s->len);
}

/* Bytes of a character that is cut short at the end. */
static size_t cut_character(const char *text, size_t len) {
        size_t back = 0;

        while (back < 3 && back < len && ((unsigned char) text[len - 1 - back] & 0xC0) == 0x80)
                back++;
        if (back == len)
                return 0;
        unsigned char lead = (unsigned char) text[len - 1 - back];
        size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;

        return want > back + 1 ? back + 1 : 0;
}

/* Log and keep the line in hand, or as much of it as can be told already if it goes on. */
static void piece_done(Output *o, OutputStream which, bool whole) {
        Stream *s = &o->stream[which];
        size_t keep = 0;

        take_prefix(s);
        s->len = redact_text(o->redact, s->line, s->len, &s->state);
        if (!whole) {
                keep = MAX_OF(redact_held_back(o->redact, s->line, s->len), cut_character(s->line, s->len));
                s->len -= keep;
        }
        for (size_t i = 0; i < s->len; i++)
                if (s->line[i] == '\0') /* it would end the line of the log */
                        s->line[i] = '?';
        tail_append(s, s->line, s->len);
        if (whole)
                tail_append(s, "\n", 1);
        if (s->len > 0 || (whole && !s->continued)) {
                if (o->in_window < RUNNER_LINES_PER_SEC)
                        log_line(o, which, s->level, MESSAGE_ID_HANDLER_OUTPUT, s->line, s->len);
                else
                        o->dropped++;
                o->in_window += o->in_window < RUNNER_LINES_PER_SEC;
        }
        memmove(s->line, s->line + s->len, keep);
        s->len = keep;
        s->continued = true;
}

static void feed_lines(Output *o, OutputStream which, const char *data, size_t len) {
        Stream *s = &o->stream[which];

        while (len > 0) {
                const char *end = memchr(data, '\n', len);
                size_t part = end ? (size_t) (end - data) : len;
                size_t n = MIN_OF(part, (size_t) RUNNER_LINE_MAX - s->len);

                memcpy(s->line + s->len, data, n);
                s->len += n;
                data += n;
                len -= n;
                if (n < part) {
                        piece_done(o, which, false);
                        continue;
                }
                if (!end)
                        break;
                data++;
                len--;
                s->lines++;
                if (s->len > 0 && s->line[s->len - 1] == '\r')
                        s->len--;
                piece_done(o, which, true);
                line_start(o, which);
        }
}

/* Of a line that was cut, the end may be the first half of something to hide. */
static void progress_line(char *line, size_t len, bool cut, void *userdata) {
        Output *o = userdata;
        RedactState state = REDACT_TEXT;

        len = redact_text(o->redact, line, len, &state);
        if (cut)
                len -= redact_held_back(o->redact, line, len);
        if (len > 0)
                o->progress(line, len, o->userdata);
}

bool output_read(Output *o, OutputStream which, uint64_t now) {
        Stream *s = &o->stream[which];
        ssize_t n = s->fd < 0 ? 0 : read(s->fd, o->buffer, sizeof o->buffer);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0) {
                stream_close(s);
                return false;
        }
        output_tick(o, now);
        if (which == OUTPUT_PROGRESS)
                progress_reader_feed(&o->reader, o->buffer, (size_t) n, progress_line, o);
        else
                feed_lines(o, which, o->buffer, (size_t) n);
        return true;
}

void output_finish(Output *o) {
        for (int i = 0; i < OUTPUT_COUNT; i++) {
                Stream *s = &o->stream[i];

                stream_close(s);
                if (i == OUTPUT_PROGRESS)
                        progress_reader_end(&o->reader, progress_line, o);
                else if (s->len > 0 || s->continued) {
                        s->lines++;
                        piece_done(o, (OutputStream) i, true);
                }
                line_start(o, (OutputStream) i);
        }
        say_dropped(o);
}

const char *output_tail(Output *o, OutputStream which, size_t *ret_len) {
        Stream *s = &o->stream[which];
        size_t n = MIN_OF(s->tail_len, (size_t) RUNNER_TAIL_MAX);

        *ret_len = n;
        return s->tail + s->tail_len - n;
}

uint64_t output_lines(const Output *o, OutputStream s) {
        return o->stream[s].lines;
}
