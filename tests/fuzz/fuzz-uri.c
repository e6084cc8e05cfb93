/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy's URL. What is taken must be taken again when it is put together from its parts, and give the same parts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "transport/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
        if (!good)
                abort();
}

static void put_encoded(Buf *b, const char *text) {
        for (; *text; text++)
                buf_printf(b, "%%%02x", (unsigned) (unsigned char) *text);
}

static void put_together(const ProxyUri *u, Buf *b) {
        bool address = strchr(u->host, ':') != NULL;

        buf_puts(b, "http://");
        if (u->has_user) {
                put_encoded(b, u->user);
                if (u->has_password) {
                        buf_puts(b, ":");
                        put_encoded(b, u->password);
                }
                buf_puts(b, "@");
        }
        buf_printf(b, address ? "[%s]:%u/" : "%s:%u/", u->host, u->port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        ProxyUri first = { 0 }, second = { 0 };
        Buf text CLEANUP_BUF = { 0 };
        Error e = { 0 };
        char *copy = malloc(size + 1);

        must(copy != NULL);
        memcpy(copy, data, size);
        copy[size] = '\0';
        if (proxy_uri_parse(copy, &first, &e) < 0) {
                must(e.text[0] != '\0' && first.port == 0 && first.host[0] == '\0');
        } else {
                must(first.port != 0 && first.host[0] != '\0' && first.has_user == (first.user[0] != '\0'));
                put_together(&first, &text);
                if (text.len <= URI_TEXT_MAX) {
                        must(proxy_uri_parse(text.data, &second, &e) == 0);
                        must(first.port == second.port && strcmp(first.host, second.host) == 0 &&
                             strcmp(first.user, second.user) == 0 && strcmp(first.password, second.password) == 0 &&
                             first.has_password == second.has_password);
                }
        }
        free(copy);
        return 0;
}
