/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#include "transport/uri.h"

START_TEST(good_uris) {
        static const struct {
                const char *text, *host;
                uint16_t port;
                const char *user, *password; /* NULL = none */
        } good[] = {
                { "http://proxy:3128", "proxy", 3128, NULL, NULL },
                { "HTTP://proxy.example:1/", "proxy.example", 1, NULL, NULL },
                { "http://user@proxy:65535", "proxy", 65535, "user", NULL },
                { "http://user:pass@proxy:8080", "proxy", 8080, "user", "pass" },
                { "http://user:@proxy:8080", "proxy", 8080, "user", "" },
                { "http://u%3as%25er:p%40ss%2F@192.0.2.1:80", NULL, 0, NULL, NULL },
                { "http://us%25er:p%40s:s%2F@192.0.2.1:80", "192.0.2.1", 80, "us%er", "p@s:s/" },
                { "http://u:p@ss@proxy:80", "proxy", 80, "u", "p@ss" },
                { "http://[2001:db8::1]:3128", "2001:db8::1", 3128, NULL, NULL },
                { "http://u:p@[::ffff:192.0.2.1]:3128/", "::ffff:192.0.2.1", 3128, "u", "p" },
                { "http://\xc3\xa4:%C3%A4@proxy:80", "proxy", 80, "\xc3\xa4", "\xc3\xa4" },
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                ProxyUri uri = { 0 };
                Error e = { 0 };
                int r = proxy_uri_parse(good[i].text, &uri, &e);

                if (!good[i].host) {
                        ck_assert_int_eq(r, -EINVAL); /* a colon in the name */
                        continue;
                }
                ck_assert_msg(r == 0, "%s: %s", good[i].text, e.text);
                ck_assert_str_eq(uri.host, good[i].host);
                ck_assert_uint_eq(uri.port, good[i].port);
                ck_assert_int_eq(uri.has_user, good[i].user != NULL);
                ck_assert_int_eq(uri.has_password, good[i].password != NULL);
                ck_assert_str_eq(uri.user, good[i].user ? good[i].user : "");
                ck_assert_str_eq(uri.password, good[i].password ? good[i].password : "");
        }
}
END_TEST

START_TEST(bad_uris_are_named) {
        static const struct {
                const char *text, *word;
        } bad[] = {
                { "", "empty" },
                { "proxy:3128", "does not begin with http://" },
                { "https://proxy:3128", "does not begin with http://" },
                { "socks5://proxy:3128", "does not begin with http://" },
                { "http://", "no port" },
                { "http://proxy", "no port" },
                { "http://:3128", "no host" },
                { "http://[]:3128", "no host" },
                { "http://[::1]", "no port" },
                { "http://[::1]x:1", "no port" },
                { "http://[::1:3128", "without its ]" },
                { "http://[proxy]:1", "no host address" },
                { "http://pro xy:1", "no host name" },
                { "http://proxy:", "from 1 to 65535" },
                { "http://proxy:0", "from 1 to 65535" },
                { "http://proxy:65536", "from 1 to 65535" },
                { "http://proxy:000080", "from 1 to 65535" },
                { "http://proxy:80a", "from 1 to 65535" },
                { "http://proxy:80/path", "behind the port" },
                { "http://proxy:80?x", "behind the port" },
                { "http://@proxy:80", "no user name" },
                { "http://:secret@proxy:80", "no user name" },
                { "http://u%:secret@proxy:80", "two hex digits" },
                { "http://u:secret%4@proxy:80", "two hex digits" },
                { "http://u:secret%4g@proxy:80", "two hex digits" },
                { "http://u:secret%00@proxy:80", "control character" },
                { "http://u%0d%0aX:secret@proxy:80", "control character" },
                { "http://u\x7f:secret@proxy:80", "control character" },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ProxyUri uri = { .port = 7 };
                Error e = { 0 };

                ck_assert_msg(proxy_uri_parse(bad[i].text, &uri, &e) == -EINVAL, "%s", bad[i].text);
                ck_assert_msg(strstr(e.text, bad[i].word) != NULL, "%s: %s", bad[i].text, e.text);
                ck_assert_ptr_null(strstr(e.text, "secret"));
                ck_assert_uint_eq(uri.port, 7); /* written only on success */
        }
        ck_assert_int_eq(proxy_uri_parse(NULL, &(ProxyUri){ 0 }, NULL), -EINVAL);
}
END_TEST

/* One byte more than fits, part by part. */
START_TEST(long_parts_are_named) {
        static const struct {
                const char *before, *after, *word;
                size_t max;
        } parts[] = {
                { "http://", ":1", "host: longer", URI_HOST_MAX },
                { "http://", "@proxy:1", "user name: longer", URI_USER_MAX },
                { "http://u:", "@proxy:1", "password: longer", URI_PASSWORD_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                for (size_t over = 0; over < 2; over++) {
                        char text[URI_TEXT_MAX], run[URI_TEXT_MAX] = "";
                        ProxyUri uri;
                        Error e = { 0 };

                        memset(run, 'a', parts[i].max + over);
                        (void) snprintf(text, sizeof text, "%s%.3000s%s", parts[i].before, run, parts[i].after);
                        ck_assert_int_eq(proxy_uri_parse(text, &uri, &e), over ? -EINVAL : 0);
                        if (over)
                                ck_assert_msg(strstr(e.text, parts[i].word) != NULL, "%s", e.text);
                }
        {
                char *text CLEANUP_FREE = calloc(1, URI_TEXT_MAX + 2);
                Error e = { 0 };

                memset(text, 'a', URI_TEXT_MAX + 1);
                ck_assert_int_eq(proxy_uri_parse(text, &(ProxyUri){ 0 }, &e), -EINVAL);
                ck_assert_ptr_nonnull(strstr(e.text, "proxy: longer"));
        }
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("uri");

        tcase_add_test(c, good_uris);
        tcase_add_test(c, bad_uris_are_named);
        tcase_add_test(c, long_parts_are_named);
        return c;
}

UNIT_MAIN("uri", cases())
