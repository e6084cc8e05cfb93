/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#include "transport/http.h"

/* Feed `text` in pieces of `step` bytes up to the end of the head. */
static int feed(HttpAnswer *a, const char *text, size_t len, size_t step, size_t *ret_used, Error *e) {
        size_t at = 0;

        for (;;) {
                size_t used = 0;
                int r = http_feed_head(a, "the peer", text + at, MIN_OF(step, len - at), &used, e);

                at += used;
                *ret_used = at;
                if (r != 0 || at == len)
                        return r;
        }
}

static int feed_text(HttpAnswer *a, const char *text, Error *e) {
        size_t used;

        return feed(a, text, strlen(text), strlen(text), &used, e);
}

START_TEST(head_however_it_is_cut) {
        static const char text[] = "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.0 403 Not Today\r\nDate:  x y \t\r\n"
                                   "Connection: keep-alive , Upgrade\r\nCONNECTION: other\nEmpty:\r\n\r\nrest";

        for (size_t step = 1; step < sizeof text; step++) {
                HttpAnswer a CLEANUP_HTTP = { 0 };
                size_t used;
                Error e = { 0 };

                ck_assert_msg(feed(&a, text, sizeof text - 1, step, &used, &e) == 1, "%zu: %s", step, e.text);
                ck_assert_str_eq(text + used, "rest");
                ck_assert_int_eq(a.status, 403);
                ck_assert_str_eq(a.reason, "Not Today");
                ck_assert_uint_eq(a.n_fields, 4);
                ck_assert_str_eq(http_value(&a, "date"), "x y");
                ck_assert_str_eq(http_value(&a, "empty"), "");
                ck_assert_ptr_null(http_value(&a, "A"));
                ck_assert(http_has_token(&a, "connection", "upgrade"));
                ck_assert(http_has_token(&a, "connection", "OTHER"));
                ck_assert(!http_has_token(&a, "connection", "up"));
                ck_assert(!http_has_token(&a, "upgrade", "websocket"));
                /* Nothing more is taken. */
                ck_assert_int_eq(http_feed_head(&a, "the peer", "x", 1, &used, &e), 1);
                ck_assert_uint_eq(used, 0);
        }
}
END_TEST

START_TEST(switching_protocols_is_final) {
        HttpAnswer a CLEANUP_HTTP = { 0 };

        ck_assert_int_eq(feed_text(&a, "HTTP/1.1 101\r\n\r\n", NULL), 1);
        ck_assert_int_eq(a.status, 101);
        ck_assert_str_eq(a.reason, "");
}
END_TEST

START_TEST(bad_heads_are_named) {
        static const struct {
                const char *text, *word;
        } bad[] = {
                { "SSH-2.0-x\r\n", "does not speak HTTP" },
                { "H", "" },
                { "\n", "does not speak HTTP" },
                { "\x15\x03\x01", "does not speak HTTP" },
                { "HTTP/2 200\r\n\r\n", "does not speak HTTP" },
                { "HTTP/1.1 2000 OK\r\n\r\n", "line 1" },
                { "HTTP/1.1 20 OK\r\n\r\n", "line 1" },
                { "HTTP/1.1 020 OK\r\n\r\n", "line 1" },
                { "HTTP/1.1  200 OK\r\n\r\n", "line 1" },
                { "HTTP/1.x 200 OK\r\n\r\n", "line 1" },
                { "HTTP/1.1\r\n\r\n", "line 1" },
                { "HTTP/1.1 200 O\x01K\r\n\r\n", "line 1" },
                { "HTTP/1.1 200 OK\r\nA\r\n\r\n", "line 2" },
                { "HTTP/1.1 200 OK\r\nA: b\r\n: c\r\n\r\n", "line 3" },
                { "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "line 2" },
                { "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "line 3" },
                { "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "line 2" },
                { "HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n", "line 2" },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                HttpAnswer a CLEANUP_HTTP = { 0 };
                Error e = { 0 };

                ck_assert_msg(feed_text(&a, bad[i].text, &e) == (bad[i].word[0] ? -EPROTO : 0), "%s", bad[i].text);
                ck_assert_msg(strstr(e.text, bad[i].word) != NULL, "%s: %s", bad[i].text, e.text);
                if (bad[i].word[0])
                        ck_assert_int_eq(strncmp(e.text, "the peer ", 9), 0);
        }
        {
                HttpAnswer a CLEANUP_HTTP = { 0 };
                static const char nul[] = "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n";
                size_t used;

                ck_assert_int_eq(feed(&a, nul, sizeof nul - 1, 7, &used, NULL), -EPROTO);
        }
}
END_TEST

/* However the bytes come: one endless line, endless fields, endless interim answers. */
START_TEST(endless_heads_end) {
        static const char *const repeated[] = { "a", "Name: value\r\n", "\r\nHTTP/1.1 100 Continue\r\n" };

        for (size_t i = 0; i < ELEMENTSOF(repeated); i++) {
                HttpAnswer a CLEANUP_HTTP = { 0 };
                Error e = { 0 };
                size_t sent = 0, used;
                int r = feed_text(&a, "HTTP/1.1 100 Continue\r\n", &e);

                while (r == 0 && sent <= 2 * HTTP_HEAD_MAX) {
                        r = http_feed_head(&a, "the peer", repeated[i], strlen(repeated[i]), &used, &e);
                        sent += strlen(repeated[i]);
                }
                ck_assert_int_eq(r, -E2BIG);
                ck_assert_uint_le(a.head.cap, 4 * HTTP_HEAD_MAX);
                ck_assert_ptr_nonnull(strstr(e.text, "16384 bytes"));
        }
        {
                HttpAnswer a CLEANUP_HTTP = { 0 };
                Error e = { 0 };
                int r = feed_text(&a, "HTTP/1.1 200 OK\r\n", &e);

                for (int i = 0; i <= HTTP_FIELDS_MAX && r == 0; i++)
                        r = feed_text(&a, "a:b\r\n", &e);
                ck_assert_int_eq(r, 0);
                ck_assert_int_eq(feed_text(&a, "\r\n", &e), -E2BIG);
                ck_assert_ptr_nonnull(strstr(e.text, "64 HTTP header fields"));
        }
}
END_TEST

static void body(HttpAnswer *a, const char *head, const char *text, size_t step, bool *ret_over) {
        size_t len = strlen(text);

        ck_assert_int_eq(feed_text(a, head, NULL), 1);
        *ret_over = http_feed_body(a, "", 0);
        for (size_t at = 0; at < len && !*ret_over; at += step)
                *ret_over = http_feed_body(a, text + at, MIN_OF(step, len - at));
}

START_TEST(bodies) {
        static const struct {
                const char *fields, *text, *excerpt;
                bool over;
        } known[] = {
                { "", "  a\r\n\tb \x01\xc3 c", "a b ?? c", false },
                { "Content-Length: 0\r\n", "", "", true },
                { "Content-Length: 3\r\n", "abcdef", "abc", true },
                { "Content-Length: 9\r\n", "abc", "abc", false },
                { "Content-Length: 99999999999999999999999999\r\n", "abc", "abc", false },
                { "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n02;x=y\r\nde\r\n0\r\n\r\n", "abcde", true },
                { "Transfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n", "A\r\n0123456789\r\n1\r\n", "0123456789",
                  false },
                { "Transfer-Encoding: chunked\r\n", "nonsense\nmore", "", true },
                { "Transfer-Encoding: chunked\r\n", "fffffffffffffffffff\r\nabc", "abc", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                for (size_t step = 1; step < 30; step += 7) {
                        HttpAnswer a CLEANUP_HTTP = { 0 };
                        char head[256], describe[HTTP_TEXT_MAX];
                        bool over;

                        (void) snprintf(head, sizeof head,
                                        "HTTP/1.1 403 Forbid\x80"
                                        "den\r\n%s\r\n",
                                        known[i].fields);
                        body(&a, head, known[i].text, step, &over);
                        ck_assert_str_eq(a.excerpt, known[i].excerpt);
                        ck_assert_int_eq(over, known[i].over);
                        http_describe(&a, describe);
                        ck_assert_int_eq(strncmp(describe, "403 Forbid?den", 14), 0);
                        if (known[i].excerpt[0])
                                ck_assert_ptr_nonnull(strstr(describe, known[i].excerpt));
                        else
                                ck_assert_uint_eq(strlen(describe), 14);
                }
}
END_TEST

START_TEST(long_bodies_are_cut) {
        HttpAnswer a CLEANUP_HTTP = { 0 };
        char describe[HTTP_TEXT_MAX];
        char text[2 * HTTP_EXCERPT_MAX + 1] = "";
        bool over;

        memset(text, 'x', sizeof text - 1);
        body(&a, "HTTP/1.1 500 \r\n\r\n", text, 100, &over);
        ck_assert(over);
        ck_assert_uint_eq(strlen(a.excerpt), HTTP_EXCERPT_MAX);
        http_describe(&a, describe);
        ck_assert_uint_eq(strlen(describe), HTTP_TEXT_MAX - 1);
        ck_assert_int_eq(describe[HTTP_TEXT_MAX - 2], '"');
}
END_TEST

START_TEST(dates) {
        static const struct {
                const char *text;
                int64_t time;
        } known[] = {
                { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },  { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
                { "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },  { "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
                { "Mon, 01 Mar 2100 00:00:00 GMT", 4107542400 }, { "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
                { "Sunday, 06-Nov-94 08:49:37 GMT", -1 },        { "", -1 },
                { "Sun, 06 Nov 1994 08:49:37 CET", -1 },         { "Sun, 06 nov 1994 08:49:37 GMT", -1 },
                { "Sun, 06 anF 1994 08:49:37 GMT", -1 },         { "Sun, 00 Nov 1994 08:49:37 GMT", -1 },
                { "Sun, 32 Nov 1994 08:49:37 GMT", -1 },         { "Sun, 06 Nov 1969 08:49:37 GMT", -1 },
                { "Sun, 06 Nov 1994 24:49:37 GMT", -1 },         { "Sun, 06 Nov 1994 08:60:37 GMT", -1 },
                { "Sun, 06 Nov 1994 08:49:61 GMT", -1 },         { "Sun, 06 Nov 19x4 08:49:37 GMT", -1 },
                { "Sun. 06 Nov 1994 08:49:37 GMT", -1 },         { "Sun, 06 Nov x994 08:49:37 GMT", -1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                ck_assert_msg(http_date(known[i].text) == known[i].time, "%s: %lld", known[i].text,
                              (long long) http_date(known[i].text));
}
END_TEST

START_TEST(base64) {
        static const char *const known[][2] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                                                { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfb", "//77" } };

        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Buf b CLEANUP_BUF = { 0 };

                http_put_base64(&b, known[i][0], strlen(known[i][0]));
                ck_assert_str_eq(b.data ? b.data : "", known[i][1]);
        }
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("http");

        tcase_add_test(c, head_however_it_is_cut);
        tcase_add_test(c, switching_protocols_is_final);
        tcase_add_test(c, bad_heads_are_named);
        tcase_add_test(c, endless_heads_end);
        tcase_add_test(c, bodies);
        tcase_add_test(c, long_bodies_are_cut);
        tcase_add_test(c, dates);
        tcase_add_test(c, base64);
        return c;
}

UNIT_MAIN("http", cases())
