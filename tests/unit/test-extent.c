/* SPDX-License-Identifier: Apache-2.0 */
/* proto/extent.h. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/extent.h"

START_TEST(found) {
        static const struct {
                const char *payload;
                const char *document; /* NULL = no such member */
        } rows[] = {
                { "{}", NULL },
                { " { \n } ", NULL },
                { "{\"a\":1,\"b\":[1,{\"jobDocument\":2}],\"c\":{\"jobDocument\":3}}", NULL },
                { "{\"jobDocument\":{\"x\":1}}", "{\"x\":1}" },
                { "{\"jobDocument\" :\t { \"x\" : [ ] } ,\"a\":1}", "{ \"x\" : [ ] }" },
                { "{\"execution\":{\"jobDocument\":{}}}", "{}" },
                { "{\"execution\":{\"jobId\":\"j\",\"jobDocument\":[1,2] }, \"timestamp\":1}", "[1,2]" },
                { "{\"jobDocument\":null}", "null" },
                { "{\"jobDocument\":18446744073709551616}", "18446744073709551616" },
                { "{\"jobDocument\":-1e5\n}", "-1e5" },
                { "{\"jobDocument\":\"{\\\"a\\\":1}\"}", "\"{\\\"a\\\":1}\"" },
                { "{\"jobDocument\":\"\"}", "\"\"" },
                /* A name spelled with escapes is the same name. */
                { "{\"\\u006aob\\u0044ocument\":1}", "1" },
                { "{\"\\u006Aob\\u0044ocument\":1}", "1" },
                { "{\"e\\u0078ecution\":{\"jobDocumen\\u0074\":1}}", "1" },
                /* And these are others. */
                { "{\"jobdocument\":1,\"jobDocumen\":2,\"jobDocuments\":3,\"job\\Document\":4,"
                  "\"\\u0000jobDocument\":5}",
                  NULL },
                { "{\"jobDocumen\\u00\":1,\"jobDocumen\\u007g\":2,\"jobDocumen\\t\":3,\"jobDocumen\\u0174\":"
                  "4}",
                  NULL },
                { "{\"\":{\"jobDocument\":1}}", NULL },
                { "{\"execution\":[{\"jobDocument\":1}]}", NULL },
                { "{\"execution\":null}", NULL },
                { "{\"execution\":\"{\\\"jobDocument\\\":1}\"}", NULL },
                { "{\"execution\":{\"execution\":{\"jobDocument\":1}}}", NULL },
                { "{\"executionState\":{\"jobDocument\":1},\"jobDocument\":2}", "2" },
                /* Values that look like structure. */
                { "{\"a\":\"\\\",\\\"jobDocument\\\":1\",\"jobDocument\":2}", "2" },
                { "{\"a\":\"\\\\\",\"jobDocument\":\"}]\\\"\"}", "\"}]\\\"\"" },
                { "{\"jobDocument\":{\"jobDocument\":1,\"execution\":{\"jobDocument\":2}}}",
                  "{\"jobDocument\":1,\"execution\":{\"jobDocument\":2}}" },
                /* What strict JSON refuses. */
                { "{\"jobDocument\":{\"a\":1,\"a\":2}}", "{\"a\":1,\"a\":2}" },
                { "{\"jobDocument\":{\"a\":\"\\ud800\"}}", "{\"a\":\"\\ud800\"}" },
                { "{\"jobDocument\":{\"a\":\"\xFF\xC3\"}}", "{\"a\":\"\xFF\xC3\"}" },
                { "{\"jobDocument\":{\"a\":\"\n\x01\"}}", "{\"a\":\"\n\x01\"}" },
                { "{\"jobDocument\":{a:'b',,}}", "{a:'b',,}" },
                { "{\"jobDocument\":NaN}", "NaN" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *payload = rows[i].payload, *document = rows[i].document;
                Extent x = { 1, 2 };
                Error e = {};

                ck_assert_msg(extent_find_document(payload, strlen(payload), &x, &e) == 0, "row %zu: %s", i,
                              e.text);
                if (!document) {
                        ck_assert_msg(x.len == 0, "row %zu: found %.*s", i, (int) x.len, payload + x.start);
                        continue;
                }
                ck_assert_msg(x.len == strlen(document) && memcmp(payload + x.start, document, x.len) == 0,
                              "row %zu: found %.*s", i, (int) x.len, payload + x.start);
        }
}
END_TEST

START_TEST(refused) {
        static const struct {
                const char *payload;
                const char *text; /* part of the message */
        } rows[] = {
                { "", "an object expected at byte 0" },
                { "[]", "an object expected at byte 0" },
                { "null", "an object expected" },
                { "{", "a member name expected at byte 1" },
                { "{\"a\"", "\":\" expected at byte 4" },
                { "{\"a\":", "a value expected at byte 5" },
                { "{\"a\":}", "a value expected at byte 5" },
                { "{\"a\":1", "\",\" or \"}\" expected at byte 6" },
                { "{\"a\":1,", "a member name expected" },
                { "{\"a\":1,}", "a member name expected at byte 7" },
                { "{\"a\":1]", "\",\" or \"}\" expected" },
                { "{\"a\":1 2}", "\",\" or \"}\" expected" },
                { "{a:1}", "a member name expected at byte 1" },
                { "{\"a\":\"b}", "the string is not closed that begins at byte 5" },
                { "{\"a\":\"b\\\"}", "not closed" },
                { "{\"a\":\"b\\", "not closed" },
                { "{\"a", "not closed that begins at byte 1" },
                { "{\"jobDocument\":{\"a\":1}", "expected" },
                { "{\"jobDocument\":{\"a\":[1}}", "a bracket of the wrong kind closes at byte 22" },
                { "{\"jobDocument\":[{]}}", "wrong kind" },
                { "{\"jobDocument\":{{}", "the bracket is not closed that opens at byte 15" },
                { "{\"jobDocument\":[\"]\"", "not closed" },
                { "{} {}", "the end expected at byte 3" },
                { "{}}", "the end expected" },
                { "{\"jobDocument\":1}x", "the end expected" },
                { "{\"jobDocument\":1,\"jobDocument\":1}", "a second jobDocument at byte 17" },
                { "{\"jobDocument\":1,\"job\\u0044ocument\":2}", "a second jobDocument" },
                { "{\"execution\":{\"jobDocument\":1,\"jobDocument\":2}}", "a second jobDocument" },
                { "{\"execution\":{},\"execution\":{\"jobDocument\":2}}", "a second execution at byte 16" },
                { "{\"jobDocument\":1,\"execution\":{\"jobDocument\":2}}",
                  "two job documents, at bytes 15 and 44" },
                { "{\"execution\":{\"jobDocument\" 1}}", "\":\" expected at byte 28" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Extent x = { 1, 2 };
                Error e = {};

                ck_assert_msg(extent_find_document(rows[i].payload, strlen(rows[i].payload), &x, &e) ==
                                      -EBADMSG,
                              "row %zu", i);
                ck_assert_msg(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
                ck_assert_int_eq(e.code, EBADMSG);
                ck_assert(x.start == 1 && x.len == 2);
        }
}
END_TEST

static int find_nested(const char *head, size_t depth, const char *open, const char *close, const char *tail,
                       Extent *x) {
        CLEANUP_BUF Buf b = {};
        Error e = {};
        int r;

        buf_puts(&b, head);
        for (size_t i = 0; i < depth; i++)
                buf_puts(&b, open);
        for (size_t i = 0; i < depth; i++)
                buf_puts(&b, close);
        buf_puts(&b, tail);
        r = extent_find_document(b.data, b.len, x, &e);
        ck_assert_int_eq(e.code, -r);
        return r;
}

START_TEST(depth) {
        static const char top[] = "{\"jobDocument\":", inner[] = "{\"execution\":{\"jobDocument\":";
        Extent x;

        ck_assert_int_eq(find_nested(top, EXTENT_DEPTH_MAX - 1, "[", "]", "}", &x), 0);
        ck_assert_uint_eq(x.len, 2 * (EXTENT_DEPTH_MAX - 1));
        ck_assert_int_eq(find_nested(top, EXTENT_DEPTH_MAX, "[", "]", "}", &x), -E2BIG);
        ck_assert_int_eq(find_nested(inner, EXTENT_DEPTH_MAX - 2, "[", "]", "}}", &x), 0);
        ck_assert_uint_eq(x.start, strlen(inner));
        ck_assert_int_eq(find_nested(inner, EXTENT_DEPTH_MAX - 1, "[", "]", "}}", &x), -E2BIG);
        ck_assert_int_eq(find_nested(inner, 500, "{\"a\":", "}", "}}", &x), 0);
        ck_assert_int_eq(find_nested(inner, 50000, "[", "]", "}}", &x), -E2BIG);
        ck_assert_int_eq(find_nested("{\"a\":", 50000, "{", "}", "}", &x), -E2BIG);
}
END_TEST

/* Brackets are told apart at every depth, also where a byte of the stack is used again. */
START_TEST(mixed_brackets) {
        static const char head[] = "{\"jobDocument\":";
        uint64_t state = 7;

        for (int round = 0; round < 200; round++) {
                CLEANUP_BUF Buf b = {};
                char stack[400];
                size_t n = 0, open = 0;
                Extent x;

                buf_puts(&b, head);
                do {
                        state = state * 6364136223846793005u + 1442695040888963407u;
                        if (n == 0 || (n < sizeof stack && open < 2000 && state >> 63 != 0)) {
                                stack[n++] = (state >> 62 & 1) != 0 ? '{' : '[';
                                buf_append(&b, &stack[n - 1], 1);
                                open++;
                        } else
                                buf_puts(&b, stack[--n] == '{' ? "}" : "]");
                } while (n > 0);
                buf_puts(&b, "}");
                ck_assert_int_eq(extent_find_document(b.data, b.len, &x, NULL), 0);
                ck_assert_uint_eq(x.start, strlen(head));
                ck_assert_uint_eq(x.len, b.len - strlen(head) - 1);
                /* Turn one closing bracket into the other sort. */
                b.data[b.len - 2] = b.data[b.len - 2] == '}' ? ']' : '}';
                ck_assert_int_eq(extent_find_document(b.data, b.len, &x, NULL), -EBADMSG);
        }
}
END_TEST

/* Every cut of a good message is refused: nothing is read past the end, nothing half is taken for whole. */
START_TEST(truncated) {
        static const char whole[] =
                "{\"timestamp\":1,\"execution\":{\"jobId\":\"j\",\"jobDocument\":{\"a\":[\"\\u00e4\\\"\"]}}}";

        for (size_t n = 0; n < sizeof whole - 1; n++) {
                char *copy = malloc(MAX_OF(n, (size_t) 1)); /* exactly sized: a sanitizer sees an overrun */
                Extent x;

                ck_assert_ptr_nonnull(copy);
                memcpy(copy, whole, n);
                ck_assert_int_eq(extent_find_document(copy, n, &x, NULL), -EBADMSG);
                free(copy);
        }
}
END_TEST

static TCase *cases_extent(void) {
        TCase *c = tcase_create("extent");

        tcase_set_timeout(c, 60);
        tcase_add_test(c, found);
        tcase_add_test(c, refused);
        tcase_add_test(c, depth);
        tcase_add_test(c, mixed_brackets);
        tcase_add_test(c, truncated);
        return c;
}

UNIT_MAIN("extent", cases_extent())
