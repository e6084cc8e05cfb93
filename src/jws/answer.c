/* SPDX-License-Identifier: Apache-2.0 */
#include "jws/answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Behind `word` and its space; NULL = another word. */
static const char *after_word(const char *line, const char *word) {
        size_t n = strlen(word);

        return strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

/* A reason is one line of text that its reader has room for, whatever went into it. */
static void put_line(Buf *b, const char *text) {
        CLEANUP_FREE char *clean = text_sanitize(text, strlen(text), sizeof((JwsFault *) 0)->reason, false);
        size_t len = clean ? MIN_OF(strlen(clean), sizeof((JwsFault *) 0)->reason - 1) : 0;

        if (!clean)
                b->error = -ENOMEM;
        while (len > 0 && !utf8_valid(clean, len)) /* cut inside a character */
                len--;
        buf_append(b, clean, len);
        buf_puts(b, "\n");
}

void jws_answer_encode(const JwsAnswer *a, Buf *ret) {
        switch (a->verdict) {
        case JWS_VERIFIED:
                buf_printf(ret, "verified %zu %s\n", a->payload_len, a->kid);
                buf_append(ret, a->payload, a->payload_len);
                return;
        case JWS_REFUSED:
                buf_printf(ret, "refused %s: ", a->fault.path);
                put_line(ret, a->fault.reason);
                return;
        case JWS_UNABLE:
                buf_puts(ret, "unable ");
                put_line(ret, a->fault.reason);
                return;
        }
}

static int parse_verified(const char *rest, const char *behind, const char *end, JwsAnswer *ret) {
        size_t digits = strspn(rest, "0123456789"), n = 0;

        if (digits == 0 || digits > 5 || rest[digits] != ' ' || !jws_kid_valid(rest + digits + 1))
                return -EBADMSG;
        for (size_t i = 0; i < digits; i++)
                n = n * 10 + (size_t) (rest[i] - '0');
        if (n == 0 || n != (size_t) (end - behind))
                return -EBADMSG;
        ret->verdict = JWS_VERIFIED;
        (void) snprintf(ret->kid, sizeof ret->kid, "%s", rest + digits + 1);
        ret->payload = behind;
        ret->payload_len = n;
        return 0;
}

static int parse_refused(const char *rest, JwsAnswer *ret) {
        const char *colon = strstr(rest, ": ");
        size_t n = colon ? (size_t) (colon - rest) : 0;

        if (n == 0 || n >= sizeof ret->fault.path || !colon[2] || strlen(colon + 2) >= sizeof ret->fault.reason)
                return -EBADMSG;
        ret->verdict = JWS_REFUSED;
        memcpy(ret->fault.path, rest, n);
        (void) snprintf(ret->fault.reason, sizeof ret->fault.reason, "%s", colon + 2);
        return 0;
}

static int parse_unable(const char *rest, JwsAnswer *ret) {
        if (!*rest || strlen(rest) >= sizeof ret->fault.reason)
                return -EBADMSG;
        ret->verdict = JWS_UNABLE;
        (void) snprintf(ret->fault.reason, sizeof ret->fault.reason, "%s", rest);
        return 0;
}

static int parse_line(const char *line, const char *behind, const char *end, int exit_code, JwsAnswer *ret) {
        const char *rest = after_word(line, "verified");

        if (rest)
                return exit_code == JWS_EXIT_VERIFIED ? parse_verified(rest, behind, end, ret) : -EBADMSG;
        if (behind != end)
                return -EBADMSG;
        rest = after_word(line, "refused");
        if (rest)
                return exit_code == JWS_EXIT_REFUSED ? parse_refused(rest, ret) : -EBADMSG;
        rest = after_word(line, "unable");
        return rest && exit_code == JWS_EXIT_UNABLE ? parse_unable(rest, ret) : -EBADMSG;
}

int jws_answer_parse(const char *data, size_t len, int exit_code, JwsAnswer *ret) {
        const char *lf = len > 0 && len <= JWS_ANSWER_MAX ? memchr(data, '\n', len) : NULL;
        char line[sizeof(JwsFault) + 16];
        JwsAnswer a = { 0 };
        size_t n = lf ? (size_t) (lf - data) : 0;
        int r;

        if (!lf || n >= sizeof line || memchr(data, '\0', n) || !utf8_valid(data, n))
                return -EBADMSG;
        memcpy(line, data, n);
        line[n] = '\0';
        r = parse_line(line, lf + 1, data + len, exit_code, &a);
        if (r == 0)
                *ret = a;
        return r;
}
