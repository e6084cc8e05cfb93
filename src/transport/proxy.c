/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/proxy.h"

#include <errno.h>
#include <string.h>

enum { STATUS_AUTHENTICATION = 407 };

static void put_authorization(const Settings *s, Buf *ret) {
        Buf plain CLEANUP_BUF = { 0 };

        buf_printf(&plain, "%s:%s", s->proxy_user, s->proxy_password ? s->proxy_password : "");
        buf_puts(ret, "Proxy-Authorization: Basic ");
        if (buf_error(&plain) < 0)
                ret->error = buf_error(&plain);
        else
                http_put_base64(ret, plain.data, plain.len);
        buf_puts(ret, "\r\n");
        if (plain.data)
                explicit_bzero(plain.data, plain.len);
}

void proxy_request(const Settings *s, Buf *ret) {
        bool address = strchr(s->host, ':') != NULL;
        const char *open = address ? "[" : "", *close = address ? "]" : "";

        buf_printf(ret, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n", open, s->host, close, s->port, open,
                   s->host, close, s->port);
        if (s->proxy_user)
                put_authorization(s, ret);
        buf_puts(ret, "\r\n");
}

static int judge_authentication(const Settings *s, const HttpAnswer *a, Error *e) {
        const char *schemes = http_value(a, "proxy-authenticate");

        if (schemes && !http_has_token(a, "proxy-authenticate", "basic"))
                return error_set(
                        e, EACCES,
                        "the proxy %s:%u takes no user name and password in the \"Basic\" way, which is the only "
                        "one known here (407, it takes: %.80s)",
                        s->proxy_host, s->proxy_port, schemes);
        if (!s->proxy_user)
                return error_set(e, EACCES,
                                 "the proxy %s:%u asks for a user name and password (407): put the user name into the "
                                 "proxy's URL, and set the password",
                                 s->proxy_host, s->proxy_port);
        return error_set(e, EACCES, "the proxy %s:%u refuses the password of user %.80s (407)%s", s->proxy_host,
                         s->proxy_port, s->proxy_user, s->proxy_password ? "" : ": none is set");
}

int proxy_judge(const Settings *s, const HttpAnswer *a, Error *e) {
        char answer[HTTP_TEXT_MAX];

        if (a->status / 100 == 2)
                return 0;
        if (a->status == STATUS_AUTHENTICATION)
                return judge_authentication(s, a, e);
        http_describe(a, answer);
        return error_set(e, ECONNREFUSED, "the proxy %s:%u makes no connection: %s", s->proxy_host, s->proxy_port,
                         answer);
}
