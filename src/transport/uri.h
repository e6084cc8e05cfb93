/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of an HTTP proxy taken apart. PURE. */
#pragma once

#include "base/error.h"
#include "base/macro.h"

enum { URI_HOST_MAX = 253, URI_USER_MAX = 255, URI_PASSWORD_MAX = 1024, URI_TEXT_MAX = 4096 };

typedef struct ProxyUri { /* fixed room, so that nothing is to be freed; wipe it after use where it has a password */
        char host[URI_HOST_MAX + 1]; /* an IPv6 address without its brackets */
        uint16_t port;
        bool has_user, has_password;
        char user[URI_USER_MAX + 1];
        char password[URI_PASSWORD_MAX + 1];
} ProxyUri;

/* "http://[user[:password]@]host:port[/]", percent-encoding undone in user and password. 0, or -EINVAL with what is wrong and
 * what would be right in e; the password is in no error text. */
int proxy_uri_parse(const char *text, ProxyUri *ret, Error *e) MUST_USE;
