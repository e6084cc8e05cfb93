/* SPDX-License-Identifier: Apache-2.0 */
/* What a proxy or a WebSocket server answers, in pieces. The first byte chooses who is asked and how long the pieces are. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/proxy.h"
#include "transport/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1577934245, CHOICE_UPGRADE = 1, CHOICE_USER = 2, CHOICE_ADDRESS = 4, CHOICE_SIGN = 8 };

static void must(bool good) {
        if (!good)
                abort();
}

static void must_be_printable(const char *text) {
        for (; *text; text++)
                must(*text >= ' ' && *text <= '~');
}

static void judge(const Settings *s, const HttpAnswer *a, unsigned choice) {
        static const unsigned char nonce[UPGRADE_NONCE_SIZE];
        char text[HTTP_TEXT_MAX];
        Error e = { 0 };
        int r;

        http_describe(a, text);
        must_be_printable(text);
        r = choice & CHOICE_UPGRADE ? upgrade_judge(s, nonce, NOW, a, &e) : proxy_judge(s, a, &e);
        must(r == 0 || e.text[0] != '\0');
        must(r == 0 ? a->status == 101 || a->status / 100 == 2 : r < 0);
}

static void answer(const Settings *s, const uint8_t *data, size_t size, unsigned choice) {
        size_t step = choice / 16 * 7 + 1, used = 0;
        HttpAnswer a CLEANUP_HTTP = { 0 };
        Error e = { 0 };
        int r = 0;

        for (size_t at = 0; at < size; at += used) {
                size_t n = MIN_OF(step, size - at);

                r = http_feed_head(&a, "the peer", data + at, n, &used, &e);
                if (r < 0) {
                        must(e.text[0] != '\0' && a.head.len <= HTTP_HEAD_MAX);
                        return;
                }
                must(r <= 1 && used <= n);
                if (r == 1) {
                        size_t from = at + used;

                        must(a.status >= 100 && a.status <= 999 && a.n_fields <= HTTP_FIELDS_MAX);
                        while (!http_feed_body(&a, data + from, MIN_OF(step, size - from)) && from < size)
                                from += MIN_OF(step, size - from);
                        must(a.excerpt_len <= HTTP_EXCERPT_MAX && strlen(a.excerpt) == a.excerpt_len);
                        must_be_printable(a.excerpt);
                        judge(s, &a, choice);
                        return;
                }
                must(used == n);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned char nonce[UPGRADE_NONCE_SIZE];
        char host[] = "broker.test", address[] = "2001:db8::1", user[] = "user", key[] = "key", region[] = "eu-west-1";
        Settings s = { .host = host,
                       .port = 443,
                       .proxy_host = host,
                       .proxy_port = 3128,
                       .region = region,
                       .access_key_id = key,
                       .secret_access_key = key };
        Buf request CLEANUP_BUF = { 0 };
        unsigned choice = size > 0 ? data[0] : 0;

        if (size == 0)
                return 0;
        if (choice & CHOICE_ADDRESS)
                s.host = address;
        if (choice & CHOICE_USER)
                s.proxy_user = s.ca_file = user;
        if (choice & CHOICE_SIGN)
                s.sign = true;
        if (!(choice & CHOICE_UPGRADE))
                proxy_request(&s, &request);
        else
                must(upgrade_check(&s, NULL) == 0 && upgrade_request(&s, nonce, NOW, &request, NULL) == 0);
        must(request.len > 4 && memcmp(request.data + request.len - 4, "\r\n\r\n", 4) == 0);
        answer(&s, data + 1, size - 1, choice);
        return 0;
}
