/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

#include "base/unicode_table.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

size_t utf8_decode(const char *p, const char *end, uint32_t *ret) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800,
                                          0x10000 }; /* by length: shorter forms are overlong */
        unsigned char lead = (unsigned char) *p;
        uint32_t cp;
        size_t n;

        if (lead < 0x80) {
                *ret = lead;
                return 1;
        }
        if (lead < 0xC2 || lead > 0xF4)
                return 0;
        n = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if ((size_t) (end - p) < n)
                return 0;
        cp = lead & (0x7Fu >> n);
        for (size_t i = 1; i < n; i++) {
                unsigned char c = (unsigned char) p[i];

                if ((c & 0xC0) != 0x80)
                        return 0;
                cp = cp << 6 | (c & 0x3Fu);
        }
        if (cp < least[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
                return 0;
        *ret = cp;
        return n;
}

/* Where the bytes end; an empty text may be NULL, which must not be added to. */
static const char *end_of(const char *text, size_t len) {
        return len > 0 ? text + len : text;
}

bool utf8_valid(const char *text, size_t len) {
        const char *end = end_of(text, len);
        uint32_t cp;

        while (text < end) {
                size_t n = utf8_decode(text, end, &cp);

                if (n == 0)
                        return false;
                text += n;
        }
        return true;
}

bool unicode_is_other(uint32_t cp) {
        size_t lo = 0, hi = n_unicode_other;

        if (cp < 0x7F)
                return cp < 0x20;
        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;

                if (cp > unicode_other[mid].last)
                        lo = mid + 1;
                else if (cp < unicode_other[mid].first)
                        hi = mid;
                else
                        return true;
        }
        return cp > 0x10FFFF;
}

static size_t utf16_units(uint32_t cp) {
        return cp >= 0x10000 ? 2 : 1;
}

size_t utf8_utf16_units(const char *text, size_t len) {
        const char *end = end_of(text, len);
        size_t units = 0;
        uint32_t cp;

        while (text < end) {
                size_t n = utf8_decode(text, end, &cp);

                units += n > 0 ? utf16_units(cp) : 1;
                text += n > 0 ? n : 1;
        }
        return units;
}

/* What one character of the input becomes; a line break is one piece and never cut. */
typedef struct Piece {
        const char *text;
        size_t len, units;
} Piece;

/* Returns the input bytes it stands for. */
static size_t next_piece(const char *p, const char *end, Piece *ret) {
        uint32_t cp;
        size_t n;

        if (*p == '\r' || *p == '\n') {
                *ret = (Piece){ " | ", 3, 3 };
                return *p == '\r' && end - p > 1 && p[1] == '\n' ? 2 : 1;
        }
        if (*p == '\t') {
                *ret = (Piece){ " ", 1, 1 };
                return 1;
        }
        n = utf8_decode(p, end, &cp);
        if (n == 0 || unicode_is_other(cp)) {
                *ret = (Piece){ REPLACEMENT, strlen(REPLACEMENT), 1 };
                return n == 0 ? 1 : n;
        }
        *ret = (Piece){ p, n, utf16_units(cp) };
        return n;
}

static size_t drop_line_break(const char *data, size_t len) {
        if (len > 0 && data[len - 1] == '\n')
                return len > 1 && data[len - 2] == '\r' ? len - 2 : len - 1;
        if (len > 0 && data[len - 1] == '\r')
                return len - 1;
        return len;
}

char *text_sanitize(const char *data, size_t len, size_t max_units, bool tail) {
        const char *p = data, *end = end_of(data, drop_line_break(data, len));
        size_t units = 0, room = 0, used = 0, bytes = 0;
        Piece piece;
        char *text, *out;

        if (tail) {
                /* Walk to the first piece from which on everything fits. */
                for (const char *q = p; q < end; units += piece.units)
                        q += next_piece(q, end, &piece);
                while (units > max_units) {
                        p += next_piece(p, end, &piece);
                        units -= piece.units;
                }
        }
        for (const char *q = p; q < end; bytes += piece.len) {
                q += next_piece(q, end, &piece);
                room += piece.units;
                if (room > max_units)
                        break;
        }
        text = out = malloc(bytes + 1);
        if (!text)
                return NULL;
        while (p < end) {
                p += next_piece(p, end, &piece);
                used += piece.units;
                if (used > max_units)
                        break;
                memcpy(out, piece.text, piece.len);
                out += piece.len;
        }
        *out = '\0';
        return text;
}
