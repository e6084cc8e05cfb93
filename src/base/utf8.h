/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 and Unicode categories. PURE. */
#pragma once

#include "base/macro.h"

/* Decode one code point at *p (p < end). Returns its length in bytes (1–4), or 0 for a malformed sequence
 * (overlong, surrogate, above U+10FFFF, cut short). */
size_t utf8_decode(const char *p, const char *end, uint32_t *ret);
bool utf8_valid(const char *text, size_t len);
/* General category C (Cc, Cf, Cs, Co, Cn; Unicode 14, the version of Debian 12's tools). */
bool unicode_is_other(uint32_t cp);
/* UTF-16 code units of valid UTF-8. */
size_t utf8_utf16_units(const char *text, size_t len);

/* Text as statusDetails takes it: valid UTF-8, every code point of category C replaced by U+FFFD, except line
 * breaks (CR, LF, CRLF), which become " | ", and tabs, which become a space; malformed bytes become U+FFFD each;
 * a trailing line break is dropped. At most max_units UTF-16 units; cut on a character (and
 * not inside a " | "). `tail`: keep the end rather than the start. Returns a new string (caller frees), "" for empty input; NULL = no memory. */
char *text_sanitize(const char *data, size_t len, size_t max_units, bool tail) MUST_USE;
