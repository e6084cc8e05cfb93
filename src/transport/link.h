/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to the broker, driven by the caller's poll loop: which address answers, the way through a proxy, the TLS
 * handshake, the WebSocket upgrade, bytes. Whoever reads and writes does not know which of these lie in between.
 * Only link_resolve() blocks. Keeps no clock: `now` is CLOCK_BOOTTIME in microseconds (signatures ask for the time of day). */
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "transport/settings.h"

enum {
        LINK_ADDRESSES_MAX = 8,
        LINK_POLL_MAX = LINK_ADDRESSES_MAX,
        LINK_STAGGER_MSEC = 1000, /* an address that does not answer holds the next one up so long */
        LINK_BODY_MSEC = 1000,    /* a refusal's body is waited for so long, to quote it */
        LINK_BODY_MAX = 64 << 10, /* and no more of it is read */
};

typedef struct LinkAddresses {
        struct sockaddr_storage at[LINK_ADDRESSES_MAX];
        socklen_t len[LINK_ADDRESSES_MAX];
        size_t n;
} LinkAddresses;

/* What a connection needs beyond its settings and its TLS context: 0, or negative errno (no region, no credentials). Reads
 * files. */
int link_check(const Settings *s, Error *e) MUST_USE;
/* Look the broker's host up, or the proxy's where there is one. BLOCKS as long as the resolver likes (28 s with three dead
 * servers). Families alternate, so that a host with eight dead IPv6 addresses is reached with the second attempt. */
int link_resolve(const Settings *s, LinkAddresses *ret, Error *e) MUST_USE;

typedef struct Link Link;

/* Begin to connect. `tls` is an SSL_CTX (a reference is kept) or NULL for plain TCP. settings are borrowed for life. */
int link_new(const Settings *s, void *tls, const LinkAddresses *addresses, uint64_t now, Link **ret, Error *e) MUST_USE;
Link *link_free(Link *l);
DEFINE_CLEANUP(Link *, link_free)

/* Until it is up: what to poll for, and when to look again even if nothing happens (USEC_NEVER: no need). */
size_t link_poll(const Link *l, struct pollfd ret[static LINK_POLL_MAX]);
uint64_t link_deadline(const Link *l);
/* 1 = up, 0 = not yet, negative errno with the reason in e: this link is done for. */
int link_step(Link *l, uint64_t now, Error *e) MUST_USE;
/* What it is busy with, for the message of a timeout: "no TCP connection", … */
const char *link_stage(const Link *l);
/* "192.0.2.1", or "through the proxy NAME:PORT at 192.0.2.1", once an address has answered, else "". */
const char *link_address(const Link *l);

/* Once it is up. The descriptor to poll, and whether reading needs POLLOUT or writing POLLIN (TLS may turn them round). */
int link_fd(const Link *l);
short link_read_events(const Link *l);
short link_write_events(const Link *l);
/* Bytes, 0 = would block, negative errno with the reason in e: closed, broken. Read until 0: what TLS holds back is not
 * seen by poll. What link_write() did not take must be offered again, the same bytes. */
ssize_t link_read(Link *l, void *buf, size_t size, Error *e) MUST_USE;
ssize_t link_write(Link *l, const void *data, size_t len, Error *e) MUST_USE;
/* WebSocket's closing frame, close_notify and FIN, as far as they go without waiting. */
void link_shutdown(Link *l);
