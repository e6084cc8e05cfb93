/* SPDX-License-Identifier: Apache-2.0 */
/* The progress channel. The first byte says in which pieces the rest comes: the lines must be the same as in one piece, and what
 * they mean must be something that statusDetails may hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "plan/progress.h"
#include "proto/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

static void check_value(const char *text, size_t len) {
        char *clean CLEANUP_FREE = text_sanitize(text, len, LIMIT_DETAILS_VALUE, false);

        must(clean && utf8_valid(clean, strlen(clean)) && strlen(clean) <= 3 * (size_t) LIMIT_DETAILS_VALUE);
}

static void check_meaning(const char *line, size_t len) {
        ProgressLine said;

        progress_parse(line, len, &said);
        must(said.text >= line && said.text + said.len <= line + len);
        must((said.kind == PROGRESS_NOTHING) == (said.len == 0 && said.kind != PROGRESS_DETAIL));
        must((said.kind == PROGRESS_PERCENT) == (said.percent >= 0) && said.percent <= 100);
        must((said.kind == PROGRESS_DETAIL) == (said.key[0] != '\0'));
        if (said.kind == PROGRESS_DETAIL)
                must(proto_details_key_valid(said.key) && strcmp(said.key, "claim") != 0 && strcmp(said.key, "reason") != 0);
        if (said.kind == PROGRESS_DETAIL || said.kind == PROGRESS_TEXT)
                check_value(said.text, said.len);
}

static void keep_line(char *line, size_t len, bool cut, void *userdata) {
        Buf *all = userdata;

        buf_append(all, line, len);
        buf_puts(all, cut ? "…\n" : "\n");
        memset(line, '\n', len); /* it is ours */
}

static void take_line(char *line, size_t len, bool cut, void *userdata) {
        must(len > 0 && len <= PROGRESS_LINE_MAX && (!cut || len == PROGRESS_LINE_MAX) && !memchr(line, '\n', len));
        check_meaning(line, len);
        keep_line(line, len, cut, userdata);
}

static void feed(const char *data, size_t size, size_t piece, ProgressLineFunction line, Buf *all) {
        ProgressReader reader;

        progress_reader_init(&reader);
        for (size_t at = 0; at < size; at += piece)
                progress_reader_feed(&reader, data + at, MIN_OF(piece, size - at), line, all);
        progress_reader_end(&reader, line, all);
        must(reader.len == 0 && !reader.cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Buf whole CLEANUP_BUF = {}, pieces CLEANUP_BUF = {};

        if (size < 2)
                return 0;
        feed((const char *) data + 1, size - 1, size - 1, take_line, &whole);
        feed((const char *) data + 1, size - 1, 1 + data[0] % 64, keep_line, &pieces);
        must(buf_error(&whole) == 0 && buf_error(&pieces) == 0);
        must(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
        return 0;
}
