/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a message: the extent lies inside, and wherever a strict parser understands the message too, both see
 * the same document. */
#include "proto/extent.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The second opinion. Where it has none (no strict JSON, deeper than the scanner goes), nothing is compared. */
static void compare(const char *text, size_t size, int r, Extent x) {
        json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        const json_t *top = json_object_get(root, "jobDocument");
        const json_t *inner = json_object_get(json_object_get(root, "execution"), "jobDocument");
        json_t *found;

        if (!json_is_object(root) || r == -E2BIG) {
                json_decref(root);
                return;
        }
        assert((r == 0) == !(top && inner));
        if (r == 0) {
                assert((x.len > 0) == (top || inner));
                found = x.len > 0 ? json_loadb(text + x.start, x.len,
                                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL)
                                  : NULL;
                assert(x.len == 0 || json_equal(found, top ? top : inner));
                json_decref(found);
        }
        json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = malloc(size > 0 ? size : 1); /* exactly the bytes: a read behind them is seen */
        Extent x = { .start = SIZE_MAX };
        Error e = {};
        int r;

        if (!text)
                return 0;
        if (size > 0)
                memcpy(text, data, size);
        r = extent_find_document(text, size, &x, &e);
        if (r == 0 && x.len > 0) {
                assert(x.start < size && x.len <= size - x.start);
                assert(!is_space(text[x.start]) && !is_space(text[x.start + x.len - 1]));
        }
        if (r < 0) {
                assert((r == -EBADMSG || r == -E2BIG) && e.code == -r);
                assert(e.text[0] != '\0' && utf8_valid(e.text, strlen(e.text)));
                assert(x.start == SIZE_MAX);
        }
        compare(text, size, r, x);
        free(text);
        return 0;
}
