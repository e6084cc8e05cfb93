/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of bytes in WebSocket's binary messages, by libwslay: frames, masks, pings and the closing handshake are its
 * affair. Does no input or output by itself: it stands on any pair of non-blocking read and write functions. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/macro.h"

enum {
        WEBSOCKET_FRAME_MAX =
                (1 << 18) + 16,         /* TRANSPORT_PACKET_MAX and its header; a larger frame ends the connection */
        WEBSOCKET_REPLIES_MAX = 64,     /* answers to pings that the peer does not read */
        WEBSOCKET_IDLE_ROUNDS_MAX = 64, /* reads in a row that bring no payload */
};

/* What lies below. Bytes, 0 = would block, negative errno with the reason in e. */
typedef struct WebsocketBelow {
        ssize_t (*read)(void *userdata, void *buf, size_t size, Error *e);
        ssize_t (*write)(void *userdata, const void *data, size_t len, Error *e);
        void *userdata;
} WebsocketBelow;

typedef struct Websocket Websocket;

/* `early`: bytes that came together with the end of the HTTP answer; copied. 0 or -ENOMEM. */
int websocket_new(const WebsocketBelow *below, const void *early, size_t early_len, Websocket **ret) MUST_USE;
Websocket *websocket_free(Websocket *w);

/* Payload bytes, 0 = would block, negative errno with the reason in e (the peer's code and words where it closed). */
ssize_t websocket_read(Websocket *w, void *buf, size_t size, Error *e) MUST_USE;
/* `len` is taken as a whole: len once the last byte is on its way, 0 = not yet: call again with the same bytes. */
ssize_t websocket_write(Websocket *w, const void *data, size_t len, Error *e) MUST_USE;
/* Something waits to be written that websocket_read() will write: poll for it. */
bool websocket_wants_write(const Websocket *w);
/* Send the closing frame, as far as it goes without waiting. */
void websocket_close(Websocket *w);
