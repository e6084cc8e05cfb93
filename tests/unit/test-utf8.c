/* SPDX-License-Identifier: Apache-2.0 */
/* base/utf8.h and base/crc32c.h. */
#include "unit.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/utf8.h"

/* For loops of a million: ck_assert() tells its parent process of each call. */
#define REQUIRE(condition)                                                                                   \
        do {                                                                                                 \
                if (!(condition))                                                                            \
                        ck_abort_msg("failed: %s", #condition);                                              \
        } while (false)

/* The test's own encoder, so that the decoder is not checked against itself. */
static size_t encode(uint32_t cp, char ret[static 4]) {
        if (cp < 0x80) {
                ret[0] = (char) cp;
                return 1;
        }
        if (cp < 0x800) {
                ret[0] = (char) (0xC0 | cp >> 6);
                ret[1] = (char) (0x80 | (cp & 0x3F));
                return 2;
        }
        if (cp < 0x10000) {
                ret[0] = (char) (0xE0 | cp >> 12);
                ret[1] = (char) (0x80 | (cp >> 6 & 0x3F));
                ret[2] = (char) (0x80 | (cp & 0x3F));
                return 3;
        }
        ret[0] = (char) (0xF0 | cp >> 18);
        ret[1] = (char) (0x80 | (cp >> 12 & 0x3F));
        ret[2] = (char) (0x80 | (cp >> 6 & 0x3F));
        ret[3] = (char) (0x80 | (cp & 0x3F));
        return 4;
}

START_TEST(decode_every_code_point) {
        for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
                char text[4];
                size_t n = encode(cp, text);
                uint32_t got = UINT32_MAX;
                bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;

                REQUIRE(utf8_decode(text, text + n, &got) == (surrogate ? 0 : n));
                if (surrogate)
                        continue;
                REQUIRE(got == cp);
                for (size_t cut = 1; cut < n; cut++)
                        REQUIRE(utf8_decode(text, text + cut, &got) == 0);
        }
}
END_TEST

/* The count of what is accepted leaves no room for overlong forms. */
START_TEST(decode_every_short_sequence) {
        size_t accepted[4] = {};
        char text[3];
        uint32_t cp;

        for (unsigned v = 0; v < 1u << 24; v++) {
                text[0] = (char) (v >> 16);
                text[1] = (char) (v >> 8);
                text[2] = (char) v;
                accepted[utf8_decode(text, text + 3, &cp)]++;
        }
        ck_assert_uint_eq(accepted[1], 0x80 * 0x10000);
        ck_assert_uint_eq(accepted[2], (0x800 - 0x80) * 0x100);
        ck_assert_uint_eq(accepted[3], 0x10000 - 0x800 - 0x800);
}
END_TEST

START_TEST(validity) {
        static const struct {
                const char *text;
                bool valid;
        } rows[] = {
                { "", true },
                { "plain", true },
                { "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", true },
                { "\x80", false },     /* continuation alone */
                { "\xC0\xAF", false }, /* overlong slash */
                { "\xE0\x80\xAF", false },
                { "\xF0\x80\x80\xAF", false },
                { "\xED\xA0\x80", false },     /* U+D800 */
                { "\xF4\x90\x80\x80", false }, /* U+110000 */
                { "\xF5\x80\x80\x80", false },
                { "\xFF", false },
                { "ok\xC3", false }, /* cut short */
                { "\xC3(", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                ck_assert_msg(utf8_valid(rows[i].text, strlen(rows[i].text)) == rows[i].valid, "row %zu", i);
        ck_assert(utf8_valid(NULL, 0));
        ck_assert(utf8_valid("a\0b", 3));
}
END_TEST

START_TEST(utf16_units) {
        ck_assert_uint_eq(utf8_utf16_units("", 0), 0);
        ck_assert_uint_eq(utf8_utf16_units("abc", 3), 3);
        ck_assert_uint_eq(utf8_utf16_units("\xE2\x82\xAC", 3), 1);
        ck_assert_uint_eq(utf8_utf16_units("\xF0\x9F\x98\x80", 4), 2);
}
END_TEST

START_TEST(category_c) {
        static const uint32_t other[] = { 0x00,    0x09,    0x0A,     0x1F,     0x7F,      0x80,
                                          0x85,    0x9F,    0xAD,     0x0378,   0x061C,    0x200B,
                                          0x200D,  0x202E,  0x2066,   0xD800,   0xDFFF,    0xE000,
                                          0xF8FF,  0xFEFF,  0xFFF9,   0xFFFE,   0xFFFF,    0x1FFFE,
                                          0xE0001, 0xF0000, 0x10FFFF, 0x110000, UINT32_MAX };
        static const uint32_t not_other[] = { 0x20,   0x7E,   0xA0,   0xAC,   0xAE,    0x0377,  0x2028,
                                              0x2029, 0x4E00, 0x9FFF, 0xFFFD, 0x1F600, 0x2A6DF, 0xE0100 };
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(other); i++)
                ck_assert_msg(unicode_is_other(other[i]), "U+%04X", (unsigned) other[i]);
        for (size_t i = 0; i < ELEMENTSOF(not_other); i++)
                ck_assert_msg(!unicode_is_other(not_other[i]), "U+%04X", (unsigned) not_other[i]);
        for (uint32_t cp = 0; cp <= 0x10FFFF; cp++)
                n += unicode_is_other(cp);
        ck_assert_uint_eq(n, 969578); /* Unicode 14.0.0 */
}
END_TEST

#define FFFD  "\xEF\xBF\xBD"
#define SMILE "\xF0\x9F\x98\x80"

START_TEST(sanitize_table) {
        static const struct {
                const char *text;
                size_t max;
                bool tail;
                const char *expected;
        } rows[] = {
                { "", 10, false, "" },
                { "", 10, true, "" },
                { "plain", 10, false, "plain" },
                { "plain", 3, false, "pla" },
                { "plain", 3, true, "ain" },
                { "plain", 0, false, "" },
                { "plain", 0, true, "" },
                { "a\nb", 10, false, "a | b" },
                { "a\rb", 10, false, "a | b" },
                { "a\r\nb", 10, false, "a | b" },
                { "a\n\rb", 10, false, "a |  | b" },
                { "a\n", 10, false, "a" },
                { "a\r\n", 10, false, "a" },
                { "a\r", 10, false, "a" },
                { "a\n\n", 10, false, "a | " },
                { "\n", 10, false, "" },
                { "a\tb\t", 10, false, "a b " },
                { "a\x01\x7F"
                  "b",
                  10, false, "a" FFFD FFFD "b" },
                { "\xC2\x85\xE2\x80\x8B", 10, false, FFFD FFFD }, /* Cc, Cf */
                { "\xEE\x80\x80\xCD\xB8", 10, false, FFFD FFFD }, /* Co, Cn */
                { "\xFF\xFE", 10, false, FFFD FFFD },
                { "\xED\xA0\x80", 10, false, FFFD FFFD FFFD }, /* a surrogate: each byte */
                { "\xE2\x82", 10, false, FFFD FFFD },          /* cut short */
                { "x\xE2\x82\xACy", 2, false, "x\xE2\x82\xAC" },
                { "x" SMILE "y", 2, false, "x" }, /* a pair of units is not split */
                { "x" SMILE "y", 3, false, "x" SMILE },
                { "x" SMILE "y", 2, true, "y" },
                { "x" SMILE "y", 3, true, SMILE "y" },
                { "a\nb", 3, false, "a" }, /* nor is a line break */
                { "a\nb", 4, false, "a | " },
                { "a\nb", 3, true, "b" },
                { "a\nb", 4, true, " | b" },
                { "\x1B[31mred\x1B[0m", 20, false, FFFD "[31mred" FFFD "[0m" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CLEANUP_FREE char *got =
                        text_sanitize(rows[i].text, strlen(rows[i].text), rows[i].max, rows[i].tail);

                ck_assert_msg(got && strcmp(got, rows[i].expected) == 0, "row %zu: \"%s\"", i,
                              got ? got : "(null)");
        }

        CLEANUP_FREE char *null_text = text_sanitize(NULL, 0, 10, true);
        ck_assert_str_eq(null_text, "");
        CLEANUP_FREE char *nul_byte = text_sanitize("a\0b", 3, 10, false);
        ck_assert_str_eq(nul_byte, "a" FFFD "b");
}
END_TEST

static uint32_t next_random(uint64_t *state) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        return (uint32_t) (*state >> 33);
}

/* Bytes of every sort: text, breaks, controls, whole characters of each length, malformed rests. */
static size_t random_bytes(uint64_t *state, char *ret, size_t size) {
        size_t n = 0, want = next_random(state) % (size - 4);

        while (n < want) {
                switch (next_random(state) % 6) {
                case 0:
                        ret[n++] = "\r\n\t"[next_random(state) % 3];
                        break;
                case 1:
                        ret[n++] = (char) (next_random(state) % 256);
                        break;
                case 2:
                        n += encode(next_random(state) % 0x110000, ret + n);
                        break;
                case 3:
                        n += encode(0x1F600 + next_random(state) % 64, ret + n);
                        break;
                default:
                        ret[n++] = (char) (0x20 + next_random(state) % 0x60);
                }
        }
        return n;
}

static void check_properties(const char *text, size_t len, size_t max) {
        CLEANUP_FREE char *full = text_sanitize(text, len, SIZE_MAX, false);
        CLEANUP_FREE char *full_tail = text_sanitize(text, len, SIZE_MAX, true);
        size_t full_len, full_units;

        REQUIRE(full && full_tail);
        REQUIRE(strcmp(full, full_tail) == 0);
        full_len = strlen(full);
        full_units = utf8_utf16_units(full, full_len);
        for (int tail = 0; tail < 2; tail++) {
                CLEANUP_FREE char *got = text_sanitize(text, len, max, tail != 0);
                CLEANUP_FREE char *again = NULL;
                const char *end, *p;
                size_t n, units;
                uint32_t cp;

                REQUIRE(got);
                n = strlen(got);
                end = got + n;
                REQUIRE(utf8_valid(got, n));
                for (p = got; p < end; p += utf8_decode(p, end, &cp)) {
                        (void) utf8_decode(p, end, &cp);
                        REQUIRE(!unicode_is_other(cp));
                }
                units = utf8_utf16_units(got, n);
                REQUIRE(units <= max);
                /* A part of the whole, from the right side, and not shorter than it must be. */
                REQUIRE(n <= full_len);
                REQUIRE(memcmp(got, tail ? full + full_len - n : full, n) == 0);
                REQUIRE(units == full_units || units + 3 > max);
                again = text_sanitize(got, n, max, tail != 0);
                REQUIRE(again && strcmp(got, again) == 0);
        }
}

START_TEST(sanitize_properties) {
        uint64_t state = 20240601;
        char text[96];

        for (int i = 0; i < 20000; i++) {
                size_t n = random_bytes(&state, text, sizeof text);

                check_properties(text, n, next_random(&state) % 80);
        }
}
END_TEST

/* RFC 3720, appendix B.4; the bytes of its results are in the order they are sent. */
START_TEST(crc32c_rfc_3720) {
        static const uint8_t read10[48] = {
                0x01, 0xC0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02
        };
        uint8_t zeros[32] = {}, ones[32], up[32], down[32];

        memset(ones, 0xFF, sizeof ones);
        for (uint8_t i = 0; i < 32; i++) {
                up[i] = i;
                down[i] = (uint8_t) (31 - i);
        }
        ck_assert_uint_eq(crc32c(zeros, 32), 0x8A9136AA);
        ck_assert_uint_eq(crc32c(ones, 32), 0x62A8AB43);
        ck_assert_uint_eq(crc32c(up, 32), 0x46DD794E);
        ck_assert_uint_eq(crc32c(down, 32), 0x113FDB5C);
        ck_assert_uint_eq(crc32c(read10, sizeof read10), 0xD9963A56);
        ck_assert_uint_eq(crc32c("123456789", 9), 0xE3069283);
        ck_assert_uint_eq(crc32c("", 0), 0);
}
END_TEST

static TCase *cases_utf8(void) {
        TCase *c = tcase_create("utf8");

        tcase_set_timeout(c, 60);
        tcase_add_test(c, decode_every_code_point);
        tcase_add_test(c, decode_every_short_sequence);
        tcase_add_test(c, validity);
        tcase_add_test(c, utf16_units);
        tcase_add_test(c, category_c);
        return c;
}

static TCase *cases_sanitize(void) {
        TCase *c = tcase_create("sanitize");

        tcase_set_timeout(c, 60);
        tcase_add_test(c, sanitize_table);
        tcase_add_test(c, sanitize_properties);
        return c;
}

static TCase *cases_crc32c(void) {
        TCase *c = tcase_create("crc32c");

        tcase_add_test(c, crc32c_rfc_3720);
        return c;
}

UNIT_MAIN("utf8", cases_utf8(), cases_sanitize(), cases_crc32c())
