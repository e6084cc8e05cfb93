/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/uri.h"

#include <errno.h>
#include <string.h>

enum { PORT_DIGITS_MAX = 5 };

#define SCHEME   "http://"
#define EXPECTED "expected http://[user[:password]@]host:port"

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static bool is_host_character(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
               c == '_';
}

static bool is_address_character(char c) {
        return hex_value(c) >= 0 || c == ':' || c == '.';
}

/* Undo percent-encoding. `what` names the part. */
static int decode(const char *what, const char *from, size_t len, char *ret, size_t max, Error *e) {
        size_t n = 0;

        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char) from[i];

                if (c == '%') {
                        int high = i + 2 < len ? hex_value(from[i + 1]) : -1;
                        int low = i + 2 < len ? hex_value(from[i + 2]) : -1;

                        if (high < 0 || low < 0)
                                return error_set(e, EINVAL, "proxy: %s: a %% is not followed by two hex digits", what);
                        c = (unsigned char) (high * 16 + low);
                        i += 2;
                }
                if (c < ' ' || c == 127)
                        return error_set(e, EINVAL, "proxy: %s: has a control character", what);
                if (n == max)
                        return error_set(e, EINVAL, "proxy: %s: longer than %zu bytes", what, max);
                ret[n++] = (char) c;
        }
        ret[n] = '\0';
        return 0;
}

static int parse_user(const char *from, size_t len, ProxyUri *ret, Error *e) {
        const char *colon = memchr(from, ':', len);
        size_t user_len = colon ? (size_t) (colon - from) : len;
        int r = decode("user name", from, user_len, ret->user, URI_USER_MAX, e);

        if (r < 0)
                return r;
        if (ret->user[0] == '\0')
                return error_set(e, EINVAL, "proxy: there is an @ but no user name, " EXPECTED);
        /* HTTP's Basic scheme parts name and password by the first colon. */
        if (strchr(ret->user, ':'))
                return error_set(e, EINVAL, "proxy: user name: has a colon, which HTTP cannot carry");
        ret->has_user = true;
        ret->has_password = colon != NULL;
        if (!colon)
                return 0;
        return decode("password", colon + 1, len - user_len - 1, ret->password, URI_PASSWORD_MAX, e);
}

static int parse_port(const char *from, size_t len, uint16_t *ret, Error *e) {
        unsigned long port = 0;

        for (size_t i = 0; i < len; i++) {
                if (from[i] < '0' || from[i] > '9' || i == PORT_DIGITS_MAX)
                        return error_set(e, EINVAL, "proxy: port: expected a number from 1 to 65535");
                port = port * 10 + (unsigned long) (from[i] - '0');
        }
        if (port == 0 || port > UINT16_MAX)
                return error_set(e, EINVAL, "proxy: port: expected a number from 1 to 65535");
        *ret = (uint16_t) port;
        return 0;
}

/* host:port or [address]:port; *ret_colon is the colon before the port. */
static int parse_host(const char *from, size_t len, ProxyUri *ret, size_t *ret_colon, Error *e) {
        bool address = len > 0 && from[0] == '[';
        const char *stop = memchr(from, address ? ']' : ':', len);
        const char *host = address ? from + 1 : from;
        size_t host_len = stop ? (size_t) (stop - host) : 0, colon = stop ? (size_t) (stop - from) + address : len;

        if (address && !stop)
                return error_set(e, EINVAL, "proxy: a [ without its ], " EXPECTED);
        if (colon >= len || from[colon] != ':')
                return error_set(e, EINVAL, "proxy: no port, " EXPECTED);
        if (host_len == 0)
                return error_set(e, EINVAL, "proxy: no host, " EXPECTED);
        if (host_len > URI_HOST_MAX)
                return error_set(e, EINVAL, "proxy: host: longer than %d bytes", URI_HOST_MAX);
        for (size_t i = 0; i < host_len; i++)
                if (address ? !is_address_character(host[i]) : !is_host_character(host[i]))
                        return error_set(e, EINVAL, "proxy: host: has a character that no host %s has",
                                         address ? "address" : "name");
        memcpy(ret->host, host, host_len);
        *ret_colon = colon;
        return 0;
}

static int parse_authority(const char *from, size_t len, ProxyUri *ret, Error *e) {
        const char *at = memrchr(from, '@', len);
        size_t colon = 0;
        int r = at ? parse_user(from, (size_t) (at - from), ret, e) : 0;

        if (at) {
                len -= (size_t) (at - from) + 1;
                from = at + 1;
        }
        if (r == 0)
                r = parse_host(from, len, ret, &colon, e);
        if (r == 0)
                r = parse_port(from + colon + 1, len - colon - 1, &ret->port, e);
        return r;
}

int proxy_uri_parse(const char *text, ProxyUri *ret, Error *e) {
        ProxyUri uri = { 0 };
        const char *from;
        size_t len;
        int r;

        if (!text || text[0] == '\0')
                return error_set(e, EINVAL, "proxy: empty, " EXPECTED);
        if (strnlen(text, URI_TEXT_MAX + 1) > URI_TEXT_MAX)
                return error_set(e, EINVAL, "proxy: longer than %d bytes", URI_TEXT_MAX);
        if (strncasecmp(text, SCHEME, strlen(SCHEME)) != 0)
                return error_set(e, EINVAL, "proxy: does not begin with http://, " EXPECTED);
        from = text + strlen(SCHEME);
        len = strcspn(from, "/?#");
        if (from[len] != '\0' && strcmp(from + len, "/") != 0)
                return error_set(e, EINVAL, "proxy: has something behind the port, " EXPECTED);
        r = parse_authority(from, len, &uri, e);
        if (r == 0)
                *ret = uri;
        explicit_bzero(uri.password, sizeof uri.password);
        return r;
}
