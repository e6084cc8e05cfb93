/* SPDX-License-Identifier: Apache-2.0 */
/* base/json.h. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

static int parse(const char *text, size_t len, Error *e) {
        CLEANUP_JSON json_t *o = NULL;
        int r;

        *e = (Error){};
        r = json_parse_object(text, len, &o, e);
        ck_assert((r == 0) == (o != NULL));
        ck_assert_int_eq(e->code, -r);
        ck_assert((e->text[0] == '\0') == (r == 0));
        return r;
}

START_TEST(good) {
        static const char *const rows[] = {
                "{}",
                " \t\r\n{ } \n",
                "{\"a\":[1,-2,3.5e2,true,false,null,\"x\",{},[]]}",
                "{\"a\":\"\\u00e4\\ud83d\\ude00\\/\\\"\\\\\"}",
                "{\"\":0}",
                "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
        };
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                ck_assert_msg(parse(rows[i], strlen(rows[i]), &e) == 0, "row %zu: %s", i, e.text);
}
END_TEST

START_TEST(malformed) {
        static const char *const rows[] = {
                "",
                " ",
                "{",
                "}",
                "[",
                "]",
                "{]",
                "[}",
                "[]",
                "[{}]",
                "null",
                "true",
                "1",
                "\"x\"",
                "nul",
                "x",
                "{\"a\"",
                "{\"a\":",
                "{\"a\":}",
                "{\"a\":1",
                "{\"a\":1,",
                "{\"a\":1,}",
                "{,}",
                "{\"a\" 1}",
                "{a:1}",
                "{'a':1}",
                "{\"a\":1 \"b\":2}",
                "{\"a\":1,,\"b\":2}",
                "{\"a\"::1}",
                "{1:2}",
                "{\"a\":[1,]}",
                "{\"a\":[1 2]}",
                "{\"a\":{]}",
                "{\"a\":01}",
                "{\"a\":+1}",
                "{\"a\":.5}",
                "{\"a\":1.}",
                "{\"a\":1e}",
                "{\"a\":-}",
                "{\"a\":0x1}",
                "{\"a\":NaN}",
                "{\"a\":Infinity}",
                "{\"a\":TRUE}",
                "{\"a\":\"b}",
                "{\"a\":\"\\x\"}",
                "{\"a\":\"\\u12\"}",
                "{\"a\":\"\\ud800\"}",
                "{\"a\":\"\\udc00\"}",
                "{\"a\":\"\\u0000\"}",
                "{\"a\":\"\n\"}",
                "{\"a\":\"\x01\"}",
                "{\"a\":\"\xFF\"}",
                "{\"a\":\"\xC0\xAF\"}",
                "{\"a\":\"\xED\xA0\x80\"}",
                "\xEF\xBB\xBF{}",
                "{} x",
                "{}{}",
                "{}}",
                "{/**/}",
                "{}//",
                "{\f}",
                "{\"a\":1,\"a\":2}",
                "{\"a\":1,\"\\u0061\":2}",
                "{\"b\":{\"a\":1,\"a\":1}}",
        };
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                ck_assert_msg(parse(rows[i], strlen(rows[i]), &e) == -EBADMSG, "row %zu: %s", i, rows[i]);
        ck_assert_int_eq(parse(NULL, 0, &e), -EBADMSG);
        ck_assert_int_eq(parse("{}\0", 3, &e), -EBADMSG);
        ck_assert_int_eq(parse("{\"a\0\":1}", 8, &e), -EBADMSG);
        ck_assert_int_eq(parse("{\0}", 3, &e), -EBADMSG);
        /* The length counts, not a NUL. */
        ck_assert_int_eq(parse("{}x", 2, &e), 0);
}
END_TEST

START_TEST(texts_say_where) {
        Error e;

        (void) parse("{\n \"a\": 1,\n \"b\": }", 19, &e);
        ck_assert_ptr_nonnull(strstr(e.text, "line 3"));
        (void) parse("[1]", 3, &e);
        ck_assert_str_eq(e.text, "JSON: an object expected, found an array");
        (void) parse("{\"a\":1,\"a\":2}", 13, &e);
        ck_assert_ptr_nonnull(strstr(e.text, "duplicate"));
        (void) parse("{\"a\":\"\\u0000\"}", 14, &e);
        ck_assert_str_eq(e.text, "JSON line 1 column 13: a NUL (\\u0000) is not allowed");
        /* What is quoted from the text cannot carry a control character. */
        (void) parse("{\x1B[31m}", 7, &e);
        ck_assert_ptr_nonnull(strstr(e.text, "\xEF\xBF\xBD"));
        ck_assert_ptr_null(strchr(e.text, '\x1B'));
        ck_assert_int_eq(json_parse_object("[", 1, &(json_t *){ NULL }, NULL), -EBADMSG);
}
END_TEST

START_TEST(numbers_past_64_bits) {
        static const char *const rows[] = { "{\"a\":18446744073709551616}", "{\"a\":9223372036854775808}",
                                            "{\"a\":-9223372036854775809}", "{\"a\":1e999}" };
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                ck_assert_msg(parse(rows[i], strlen(rows[i]), &e) == -E2BIG, "row %zu", i);
}
END_TEST

static void repeat(Buf *b, const char *text, size_t n) {
        while (n-- > 0)
                buf_puts(b, text);
}

static int parse_nested(size_t depth, const char *open, const char *inner, const char *close) {
        CLEANUP_BUF Buf b = {};
        Error e;

        buf_puts(&b, "{\"a\":");
        repeat(&b, open, depth - 1);
        buf_puts(&b, inner);
        repeat(&b, close, depth - 1);
        buf_puts(&b, "}");
        return parse(b.data, b.len, &e);
}

START_TEST(depth) {
        ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX, "[", "1", "]"), 0);
        ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX + 1, "[", "1", "]"), -E2BIG);
        ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX, "{\"b\":", "1", "}"), 0);
        ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX + 1, "{\"b\":", "1", "}"), -E2BIG);
        ck_assert_int_eq(parse_nested(60000, "[", "", ""), -E2BIG);
        /* Brackets in strings are none; those side by side do not add up. */
        ck_assert_int_eq(parse_nested(2, "[", "\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", "]"), 0);
        ck_assert_int_eq(parse_nested(2, "[",
                                      "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                                      "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]",
                                      "]"),
                         0);
}
END_TEST

/* An object, an array in it, and n elements. */
static int parse_elements(size_t n, const char *element) {
        CLEANUP_BUF Buf b = {};
        Error e;

        buf_puts(&b, "{\"a\":[");
        for (size_t i = 0; i < n; i++) {
                buf_puts(&b, i > 0 ? "," : "");
                buf_puts(&b, element);
        }
        buf_puts(&b, "]}");
        return parse(b.data, b.len, &e);
}

START_TEST(values) {
        static const char *const one_each[] = { "1", "\"x\"", "{}", "[]", "null", "-1.5e3", "\"a:b\"" };
        CLEANUP_BUF Buf b = {};
        Error e;

        for (size_t i = 0; i < ELEMENTSOF(one_each); i++) {
                ck_assert_int_eq(parse_elements(JSON_VALUES_MAX - 2, one_each[i]), 0);
                ck_assert_int_eq(parse_elements(JSON_VALUES_MAX - 1, one_each[i]), -E2BIG);
        }
        ck_assert_int_eq(parse_elements((JSON_VALUES_MAX - 2) / 2, "{\"k\":1}"), 0);
        ck_assert_int_eq(parse_elements(JSON_VALUES_MAX / 2, "{\"k\":1}"), -E2BIG);
        /* Names do not count. */
        buf_puts(&b, "{\"x\":0");
        for (int i = 0; i < JSON_VALUES_MAX - 2; i++)
                buf_printf(&b, ",\"n%d\":0", i);
        buf_puts(&b, "}");
        ck_assert_int_eq(parse(b.data, b.len, &e), 0);
        b.len--;
        buf_puts(&b, ",\"one\":0}");
        ck_assert_int_eq(parse(b.data, b.len, &e), -E2BIG);
}
END_TEST

static const char sample[] =
        "{\"s\":\"text\",\"i\":42,\"neg\":-7,\"r\":1.0,\"t\":true,\"f\":false,\"n\":null,"
        "\"o\":{\"x\":1},\"a\":[1,2]}";

static json_t *load(void) {
        json_t *o = NULL;
        Error e;

        ck_assert_int_eq(json_parse_object(sample, sizeof sample - 1, &o, &e), 0);
        return o;
}

START_TEST(getters_find) {
        CLEANUP_JSON json_t *o = load();
        const char *s = NULL;
        bool b = false;
        int64_t i = 0;
        json_t *v = NULL;
        Error e;

        ck_assert_int_eq(json_get_string(o, "s", "", &s, &e), 1);
        ck_assert_str_eq(s, "text");
        ck_assert_int_eq(json_get_bool(o, "t", "", &b, &e), 1);
        ck_assert(b);
        ck_assert_int_eq(json_get_bool(o, "f", "", &b, &e), 1);
        ck_assert(!b);
        ck_assert_int_eq(json_get_int(o, "i", "", 42, 42, &i, &e), 1);
        ck_assert_int_eq(i, 42);
        ck_assert_int_eq(json_get_int(o, "neg", "", -7, 0, &i, &e), 1);
        ck_assert_int_eq(i, -7);
        ck_assert_int_eq(json_get_object(o, "o", "", &v, &e), 1);
        ck_assert_uint_eq(json_object_size(v), 1);
        ck_assert_int_eq(json_get_array(o, "a", "", &v, &e), 1);
        ck_assert_uint_eq(json_array_size(v), 2);
}
END_TEST

START_TEST(getters_absent_and_null) {
        static const char *const names[] = { "missing", "n" };
        CLEANUP_JSON json_t *o = load();
        const char *s = "kept";
        bool b = true;
        int64_t i = 5;
        json_t *v = o;
        Error e;

        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                ck_assert_int_eq(json_get_string(o, names[k], "", &s, &e), 0);
                ck_assert_int_eq(json_get_bool(o, names[k], "", &b, &e), 0);
                ck_assert_int_eq(json_get_int(o, names[k], "", 0, 1, &i, &e), 0);
                ck_assert_int_eq(json_get_object(o, names[k], "", &v, &e), 0);
                ck_assert_int_eq(json_get_array(o, names[k], "", &v, &e), 0);
        }
        ck_assert_str_eq(s, "kept");
        ck_assert(b);
        ck_assert_int_eq(i, 5);
        ck_assert_ptr_eq(v, o);
}
END_TEST

START_TEST(getters_wrong_type) {
        static const char *const names[] = { "s", "i", "r", "t", "o", "a" };
        CLEANUP_JSON json_t *o = load();
        const char *s = "kept";
        bool b = true;
        int64_t i = 5;
        json_t *v = o;
        Error e;

        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                const char *name = names[k];

                if (*name != 's')
                        ck_assert_int_eq(json_get_string(o, name, "", &s, &e), -EINVAL);
                if (*name != 't')
                        ck_assert_int_eq(json_get_bool(o, name, "", &b, &e), -EINVAL);
                if (*name != 'i')
                        ck_assert_int_eq(json_get_int(o, name, "", INT64_MIN, INT64_MAX, &i, &e), -EINVAL);
                if (*name != 'o')
                        ck_assert_int_eq(json_get_object(o, name, "", &v, &e), -EINVAL);
                if (*name != 'a')
                        ck_assert_int_eq(json_get_array(o, name, "", &v, &e), -EINVAL);
        }
        ck_assert_str_eq(s, "kept");
        ck_assert(b);
        ck_assert_int_eq(i, 5);
        ck_assert_ptr_eq(v, o);
}
END_TEST

START_TEST(getters_name_the_path) {
        CLEANUP_JSON json_t *o = load();
        const char *s;
        int64_t i;
        bool b;
        json_t *v;
        Error e;

        (void) !json_get_string(o, "i", "steps[1].", &s, &e);
        ck_assert_str_eq(e.text, "steps[1].i: a string expected, found an integer");
        (void) !json_get_bool(o, "s", "", &b, &e);
        ck_assert_str_eq(e.text, "s: true or false expected, found a string");
        (void) !json_get_int(o, "r", "x.", 0, 1, &i, &e);
        ck_assert_str_eq(e.text, "x.r: an integer expected, found a fraction");
        (void) !json_get_object(o, "a", "", &v, &e);
        ck_assert_str_eq(e.text, "a: an object expected, found an array");
        (void) !json_get_array(o, "t", "", &v, &e);
        ck_assert_str_eq(e.text, "t: an array expected, found a boolean");
        ck_assert_int_eq(json_get_int(o, "i", "x.", 1, 41, &i, &e), -EINVAL);
        ck_assert_str_eq(e.text, "x.i: 42 is not an integer from 1 to 41");
        ck_assert_int_eq(json_get_int(o, "i", "x.", 43, 99, &i, &e), -EINVAL);
        ck_assert_int_eq(e.code, EINVAL);
}
END_TEST

static TCase *cases_parse(void) {
        TCase *c = tcase_create("parse");

        tcase_add_test(c, good);
        tcase_add_test(c, malformed);
        tcase_add_test(c, texts_say_where);
        tcase_add_test(c, numbers_past_64_bits);
        tcase_add_test(c, depth);
        tcase_add_test(c, values);
        return c;
}

static TCase *cases_getters(void) {
        TCase *c = tcase_create("getters");

        tcase_add_test(c, getters_find);
        tcase_add_test(c, getters_absent_and_null);
        tcase_add_test(c, getters_wrong_type);
        tcase_add_test(c, getters_name_the_path);
        return c;
}

UNIT_MAIN("json", cases_parse(), cases_getters())
