/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/sigv4.h"
#include "transport/credentials.h"
#include "transport/digest.h"

#define PATH        "/mqtt"
#define PROTOCOL    "mqtt"
#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */

enum { PORT_TLS = 443, PORT_PLAIN = 80, SECONDS_PER_MINUTE = 60, CLOCK_TEXT_MAX = 160, SECONDS_PER_DAY = 86400 };

/* ---- request ---- */

/* As long as AWS keeps such a connection. */
static int sign(const Settings *s, int64_t now, Buf *ret, Error *e) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        int r = credentials_find(s, &c, e);

        if (r < 0)
                return r;
        return sigv4_presign(&(Sigv4Request){ .host = s->host,
                                              .region = s->region,
                                              .access_key_id = c.access_key_id,
                                              .secret_access_key = c.secret_access_key,
                                              .session_token = c.session_token,
                                              .time = now,
                                              .expires = SECONDS_PER_DAY },
                             &digest_sigv4, ret, e);
}

int upgrade_check(const Settings *s, Error *e) {
        Buf target CLEANUP_BUF = { 0 };

        return s->sign ? sign(s, 0, &target, e) : 0;
}

/* "Host": without the scheme's own port, since the name alone is signed. */
static void put_host(const Settings *s, Buf *ret) {
        bool address = strchr(s->host, ':') != NULL;

        buf_printf(ret, "Host: %s%s%s", address ? "[" : "", s->host, address ? "]" : "");
        if (s->port != (s->ca_file ? PORT_TLS : PORT_PLAIN))
                buf_printf(ret, ":%u", s->port);
        buf_puts(ret, "\r\n");
}

int upgrade_request(const Settings *s, const unsigned char nonce[static UPGRADE_NONCE_SIZE], int64_t now, Buf *ret,
                    Error *e) {
        int r = 0;

        buf_puts(ret, "GET ");
        if (s->sign)
                r = sign(s, now, ret, e);
        else
                buf_puts(ret, PATH);
        if (r < 0)
                return r;
        buf_puts(ret, " HTTP/1.1\r\n");
        put_host(s, ret);
        buf_puts(ret, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Protocol: " PROTOCOL "\r\nSec-WebSocket-Key: ");
        http_put_base64(ret, nonce, UPGRADE_NONCE_SIZE);
        buf_puts(ret, "\r\n\r\n");
        return buf_error(ret) < 0 ? error_errno(e, ENOMEM, "WebSocket request") : 0;
}

/* ---- answer ---- */

static int accept_of(const unsigned char nonce[static UPGRADE_NONCE_SIZE], Buf *ret) {
        unsigned char digest[DIGEST_SHA1_SIZE];
        Buf text CLEANUP_BUF = { 0 };

        http_put_base64(&text, nonce, UPGRADE_NONCE_SIZE);
        buf_puts(&text, ACCEPT_GUID);
        if (buf_error(&text) < 0 || !digest_sha1(text.data, text.len, digest))
                return -ENOMEM;
        http_put_base64(ret, digest, sizeof digest);
        return buf_error(ret);
}

static int judge_switch(const unsigned char nonce[static UPGRADE_NONCE_SIZE], const HttpAnswer *a, Error *e) {
        const char *accept = http_value(a, "sec-websocket-accept"), *protocol = http_value(a, "sec-websocket-protocol");
        Buf want CLEANUP_BUF = { 0 };

        if (accept_of(nonce, &want) < 0)
                return error_errno(e, ENOMEM, "WebSocket answer");
        if (!http_has_token(a, "upgrade", "websocket") || !http_has_token(a, "connection", "upgrade"))
                return error_set(e, EPROTO, "the server answered 101, but did not upgrade to \"websocket\"");
        if (!accept || strcmp(accept, want.data) != 0)
                return error_set(e, EPROTO,
                                 "the server's Sec-WebSocket-Accept is %s: it does not speak WebSocket, or answered "
                                 "another request",
                                 accept ? "wrong" : "missing");
        if (http_value(a, "sec-websocket-extensions"))
                return error_set(e, EPROTO, "the server chose a WebSocket extension, though none was offered");
        /* RFC 6455 lets a server choose no subprotocol; brokers that do so speak MQTT all the same. */
        if (protocol && strcmp(protocol, PROTOCOL) != 0)
                return error_set(e, EPROTO,
                                 "the server chose the WebSocket subprotocol \"%.40s\", expected \"" PROTOCOL "\"",
                                 protocol);
        return 0;
}

/* Is it the clock's fault? A sentence for it, or "". */
static void describe_clock(const HttpAnswer *a, int64_t now, char ret[static CLOCK_TEXT_MAX]) {
        static const char *const words[] = { "signature expired", "signature not yet current", "requesttimetooskewed",
                                             "requestexpired" };
        const char *date = http_value(a, "date");
        int64_t theirs = date ? http_date(date) : -1, off = theirs >= 0 ? now - theirs : 0;
        int64_t minutes = (off < 0 ? -off : off) / SECONDS_PER_MINUTE;
        bool named = false;

        ret[0] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                named = named || strcasestr(a->excerpt, words[i]) != NULL;
        if (off > UPGRADE_SKEW_SEC || off < -UPGRADE_SKEW_SEC)
                (void) snprintf(
                        ret, CLOCK_TEXT_MAX,
                        "the clock of this machine is %lld minutes %s, so that its signature is refused: set the clock",
                        (long long) minutes, off > 0 ? "fast" : "slow");
        else if (named)
                (void) snprintf(ret, CLOCK_TEXT_MAX,
                                "the signature is refused because of its time: look at the clock of this machine");
}

int upgrade_judge(const Settings *s, const unsigned char nonce[static UPGRADE_NONCE_SIZE], int64_t now,
                  const HttpAnswer *a, Error *e) {
        char answer[HTTP_TEXT_MAX], clock[CLOCK_TEXT_MAX] = "";
        bool denied = a->status == 401 || a->status == 403;

        if (a->status == 101)
                return judge_switch(nonce, a, e);
        http_describe(a, answer);
        if (s->sign && a->status / 100 == 4)
                describe_clock(a, now, clock);
        if (clock[0])
                return error_set(e, EACCES, "%s (the server answered the WebSocket request with %s)", clock, answer);
        return error_set(e, denied ? EACCES : EPROTO, "the server refuses the WebSocket connection: %s", answer);
}
