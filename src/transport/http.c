/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VERSION "HTTP/1."

enum {
        STATUS_AT = sizeof VERSION "1", /* "HTTP/1.1 403 …": where the three digits stand */
        STATUS_SWITCHING = 101,
        DATE_LEN = 29,
        MONTHS = 12,
        SECONDS_PER_DAY = 86400,
        YEAR_FIRST = 1970,
};

void http_answer_done(HttpAnswer *a) {
        buf_done(&a->head);
        *a = (HttpAnswer){ 0 };
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

/* ---- head ---- */

static bool is_name_character(char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* A line without its end; its NUL is there. Returns false where a field's value may not have such bytes. */
static bool is_clean(const char *line, size_t len) {
        for (size_t i = 0; i < len; i++)
                if (((unsigned char) line[i] < ' ' && line[i] != '\t') || line[i] == 127)
                        return false;
        return true;
}

static bool parse_status(HttpAnswer *a, const char *line) {
        size_t len = strlen(line);
        const char *digits = line + STATUS_AT;

        if (len < STATUS_AT + 3 || !is_digit(line[STATUS_AT - 2]) || line[STATUS_AT - 1] != ' ')
                return false;
        for (int i = 0; i < 3; i++)
                if (!is_digit(digits[i]))
                        return false;
        if (digits[0] == '0' || (digits[3] != '\0' && digits[3] != ' '))
                return false;
        a->status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
        a->reason = digits[3] == ' ' ? digits + 4 : "";
        return true;
}

/* "Name: value": both are cut out of the line where it stands. A blank at the line's start (folding) or before the colon
 * has been used to smuggle fields past one reader but not the next: refused, as RFC 9112 asks. */
static bool parse_field(HttpAnswer *a, char *line, size_t len) {
        char *colon = memchr(line, ':', len), *value, *end = line + len;

        if (!colon || colon == line)
                return false;
        for (const char *c = line; c < colon; c++)
                if (!is_name_character(*c))
                        return false;
        *colon = '\0';
        value = colon + 1;
        while (is_blank(*value))
                value++;
        while (end > value && is_blank(end[-1]))
                end--;
        *end = '\0';
        a->fields[a->n_fields++] = (HttpField){ .name = line, .value = value };
        return true;
}

static void begin_body(HttpAnswer *a) {
        const char *length = http_value(a, "content-length");

        a->chunked = http_has_token(a, "transfer-encoding", "chunked");
        a->chunk = HTTP_CHUNK_SIZE;
        a->left = 0;
        a->until_close = !a->chunked && !length;
        for (; !a->chunked && length && is_digit(*length) && a->left <= HTTP_HEAD_MAX; length++)
                a->left = a->left * 10 + (uint64_t) (*length - '0');
        a->body_over = !a->chunked && !a->until_close && a->left == 0;
}

static int damaged(const char *who, size_t line, Error *e) {
        return error_set(e, EPROTO, "%s sent a damaged HTTP header (line %zu)", who, line);
}

/* Takes the whole head apart, in place. */
static int parse_head(HttpAnswer *a, const char *who, Error *e) {
        char *line = a->head.data, *end = line + a->head.len;
        size_t number = 0;

        a->n_fields = 0;
        while (line < end) {
                char *next = memchr(line, '\n', (size_t) (end - line));
                size_t len;

                if (!next)
                        break;
                len = (size_t) (next - line);
                if (len > 0 && line[len - 1] == '\r')
                        len--;
                line[len] = '\0';
                number++;
                if (len == 0)
                        break;
                if (!is_clean(line, len))
                        return damaged(who, number, e);
                if (number > 1 && a->n_fields == HTTP_FIELDS_MAX)
                        return error_set(e, E2BIG, "%s sent more than %d HTTP header fields", who, HTTP_FIELDS_MAX);
                if (number == 1 ? !parse_status(a, line) : !parse_field(a, line, len))
                        return damaged(who, number, e);
                line = next + 1;
        }
        return 0;
}

/* Is what has come so far the beginning of an HTTP/1 answer? */
static bool begins_well(const HttpAnswer *a) {
        return memcmp(a->head.data, VERSION, MIN_OF(a->head.len, strlen(VERSION))) == 0;
}

/* One line, or the part of it that is there. 1 = it ends the head. */
static int take_piece(HttpAnswer *a, const char *who, const char *data, size_t len, bool whole, Error *e) {
        size_t line_len;

        if (a->before + a->head.len + len > HTTP_HEAD_MAX)
                return error_set(e, E2BIG, "%s sent more than %d bytes of HTTP header", who, HTTP_HEAD_MAX);
        buf_append(&a->head, data, len);
        if (buf_error(&a->head) < 0)
                return error_errno(e, ENOMEM, "%s", who);
        if (!begins_well(a))
                return error_set(e, EPROTO, "%s does not speak HTTP", who);
        if (!whole)
                return 0;
        line_len = a->head.len - a->line;
        a->line = a->head.len;
        return line_len == 1 || (line_len == 2 && a->head.data[a->line - 2] == '\r') ? 1 : 0;
}

int http_feed_head(HttpAnswer *a, const char *who, const void *data, size_t len, size_t *ret_used, Error *e) {
        const char *from = data;
        size_t used = 0;

        while (used < len && !a->complete) {
                const char *lf = memchr(from + used, '\n', len - used);
                size_t n = lf ? (size_t) (lf - from) + 1 - used : len - used;
                int r = take_piece(a, who, from + used, n, lf != NULL, e);

                used += n;
                if (r > 0)
                        r = parse_head(a, who, e);
                else if (r == 0)
                        continue;
                if (r < 0)
                        return r;
                a->complete = a->status / 100 != 1 || a->status == STATUS_SWITCHING;
                if (a->complete) {
                        begin_body(a);
                } else {
                        a->before += a->head.len;
                        a->line = 0;
                        buf_clear(&a->head);
                }
        }
        *ret_used = used;
        return a->complete ? 1 : 0;
}

/* ---- body ---- */

static void take_excerpt(HttpAnswer *a, const char *data, size_t len) {
        for (size_t i = 0; i < len && a->excerpt_len < HTTP_EXCERPT_MAX; i++) {
                bool white = data[i] == ' ' || (data[i] >= '\t' && data[i] <= '\r');
                bool printable = data[i] > ' ' && data[i] < 127;

                if (white && (a->excerpt_len == 0 || a->excerpt[a->excerpt_len - 1] == ' '))
                        continue;
                a->excerpt[a->excerpt_len++] = white ? ' ' : printable ? data[i] : '?';
        }
}

static int hex_value(char c) {
        if (is_digit(c))
                return c - '0';
        c |= 'a' ^ 'A';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte that is not a chunk's content. What is damaged ends the body: it is only wanted for an error text. */
static void take_framing(HttpAnswer *a, char c) {
        int digit = hex_value(c);

        switch (a->chunk) {
        case HTTP_CHUNK_SIZE:
                if (digit >= 0 && a->left <= UINT32_MAX) {
                        a->left = a->left * 16 + (uint64_t) digit;
                        return;
                }
                a->chunk = HTTP_CHUNK_EXTENSION;
                break;
        case HTTP_CHUNK_EXTENSION:
                break;
        case HTTP_CHUNK_END:
                if (c == '\n')
                        a->chunk = HTTP_CHUNK_SIZE;
                return;
        case HTTP_CHUNK_DATA:
                return;
        }
        if (c != '\n')
                return;
        a->chunk = HTTP_CHUNK_DATA;
        a->body_over = a->left == 0;
}

static void take_chunked(HttpAnswer *a, const char *data, size_t len) {
        while (len > 0 && !a->body_over) {
                size_t n = 1;

                if (a->chunk == HTTP_CHUNK_DATA) {
                        n = (size_t) MIN_OF((uint64_t) len, a->left);
                        take_excerpt(a, data, n);
                        a->left -= n;
                        if (a->left == 0)
                                a->chunk = HTTP_CHUNK_END;
                } else {
                        take_framing(a, *data);
                }
                data += n;
                len -= n;
        }
}

bool http_feed_body(HttpAnswer *a, const void *data, size_t len) {
        if (a->chunked) {
                take_chunked(a, data, len);
        } else if (a->until_close) {
                take_excerpt(a, data, len);
        } else {
                size_t n = (size_t) MIN_OF((uint64_t) len, a->left);

                take_excerpt(a, data, n);
                a->left -= n;
                a->body_over = a->left == 0;
        }
        return a->body_over || a->excerpt_len == HTTP_EXCERPT_MAX;
}

/* ---- what it says ---- */

const char *http_value(const HttpAnswer *a, const char *name) {
        for (size_t i = 0; i < a->n_fields; i++)
                if (strcasecmp(a->fields[i].name, name) == 0)
                        return a->fields[i].value;
        return NULL;
}

static bool list_has(const char *list, const char *token) {
        size_t want = strlen(token);

        while (*list) {
                size_t len;

                list += strspn(list, " \t,");
                len = strcspn(list, " \t,");
                if (len == want && strncasecmp(list, token, len) == 0)
                        return true;
                list += len;
        }
        return false;
}

bool http_has_token(const HttpAnswer *a, const char *name, const char *token) {
        for (size_t i = 0; i < a->n_fields; i++)
                if (strcasecmp(a->fields[i].name, name) == 0 && list_has(a->fields[i].value, token))
                        return true;
        return false;
}

void http_describe(const HttpAnswer *a, char ret[static HTTP_TEXT_MAX]) {
        int n = snprintf(ret, HTTP_TEXT_MAX, "%d%s%.40s", a->status, a->reason[0] ? " " : "", a->reason);
        size_t at = n > 0 ? (size_t) n : 0;

        for (size_t i = 0; i < at; i++)
                if (ret[i] < ' ' || ret[i] > '~')
                        ret[i] = '?';
        if (a->excerpt_len > 0)
                (void) snprintf(ret + at, HTTP_TEXT_MAX - at, ": \"%.*s\"",
                                (int) (HTTP_TEXT_MAX - at - sizeof ": \"\""), a->excerpt);
}

static bool two_digits(const char *text, int max, int *ret) {
        if (!is_digit(text[0]) || !is_digit(text[1]))
                return false;
        *ret = (text[0] - '0') * 10 + (text[1] - '0');
        return *ret <= max;
}

static int64_t days_before(int year, int month, int day) {
        static const int before[MONTHS] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
        int past = year - 1;
        int leaps = past / 4 - past / 100 + past / 400 -
                    ((YEAR_FIRST - 1) / 4 - (YEAR_FIRST - 1) / 100 + (YEAR_FIRST - 1) / 400);
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

        return (int64_t) (year - YEAR_FIRST) * 365 + leaps + before[month] + (leap && month > 1) + day - 1;
}

int64_t http_date(const char *text) {
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        const char *name;
        char month[4] = "";
        int day, century, year, hour, minute, second;

        if (strlen(text) != DATE_LEN || text[3] != ',' || strcmp(text + 25, " GMT") != 0 || text[19] != ':' ||
            text[22] != ':')
                return -1;
        memcpy(month, text + 8, 3);
        name = strstr(months, month);
        if (!name || (name - months) % 3 != 0 || !two_digits(text + 5, 31, &day) || day == 0 ||
            !two_digits(text + 12, 99, &century) || !two_digits(text + 14, 99, &year) ||
            !two_digits(text + 17, 23, &hour) || !two_digits(text + 20, 59, &minute) ||
            !two_digits(text + 23, 60, &second) || century * 100 + year < YEAR_FIRST)
                return -1;
        return days_before(century * 100 + year, (int) (name - months) / 3, day) * SECONDS_PER_DAY + hour * 3600 +
               minute * 60 + second;
}

void http_put_base64(Buf *b, const void *data, size_t len) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const unsigned char *p = data;

        for (size_t i = 0; i < len; i += 3) {
                size_t n = MIN_OF(len - i, (size_t) 3);
                unsigned bits =
                        (unsigned) p[i] << 16 | (n > 1 ? (unsigned) p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0U);
                char four[4] = { digits[bits >> 18 & 63], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
                                 n > 2 ? digits[bits & 63] : '=' };

                buf_append(b, four, sizeof four);
        }
}
