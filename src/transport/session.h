/* SPDX-License-Identifier: Apache-2.0 */
/* One MQTT session: a libmosquitto handle at the far end of a Tunnel. Bytes from the broker go in, bytes for the broker
 * come out; packets are checked for size and kind before libmosquitto sees them. Subscribes, looks at every SUBACK, keeps the
 * connection alive, hands messages to the Exchange. Reads no clock: `now` is CLOCK_BOOTTIME in microseconds. */
#pragma once

#include "transport/exchange.h"
#include "transport/settings.h"
#include "transport/tunnel.h"

enum {
        SESSION_FILTERS_PER_SUBSCRIBE = 8, /* more, and AWS closes the connection */
        SESSION_IN_FLIGHT_MAX = 64,        /* publications waiting for PUBACK; AWS takes 100 */
};

typedef enum SessionState {
        SESSION_CONNECTING,  /* CONNECT is on its way */
        SESSION_SUBSCRIBING, /* CONNACK was good */
        SESSION_READY,       /* every filter granted; ONLINE was queued */
        SESSION_REFUSED,     /* every SUBACK is there, some filter was refused; asked again later */
} SessionState;
const char *session_state_name(SessionState s);

typedef struct Session Session;

/* Make a handle and let it write CONNECT. settings and exchange are borrowed for life. */
int session_new(const Settings *s, const Tunnel *tunnel, Exchange *exchange, uint64_t now, Session **ret,
                Error *e) MUST_USE;
Session *session_free(Session *s);
DEFINE_CLEANUP(Session *, session_free)

SessionState session_state(const Session *s);
uint64_t session_online_since(const Session *s); /* 0 = never was */

/* Bytes from the broker: 0, or negative errno with the reason in e: the connection must end. */
int session_receive(Session *s, const unsigned char *data, size_t len, uint64_t now, Error *e) MUST_USE;
/* Up to size bytes for the broker; 0 = none at the moment, negative errno as above. */
ssize_t session_send(Session *s, unsigned char *buf, size_t size, uint64_t now, Error *e) MUST_USE;
/* Room for another publication? */
bool session_can_publish(const Session *s);
/* Takes p. What is wrong with this one publication only becomes a DROPPED event, and 0. */
int session_publish(Session *s, Publication *p, uint64_t now, Error *e) MUST_USE;
/* Let it write DISCONNECT. */
void session_disconnect(Session *s);

/* Timers. session_tick() does what is due; call it no later than session_deadline(). `reading`: false while the caller
 * does not read, when silence means nothing. */
uint64_t session_deadline(const Session *s, bool reading);
int session_tick(Session *s, uint64_t now, bool reading, Error *e) MUST_USE;

/* What is waiting for an answer, to explain why the broker hung up: "SUBSCRIBE" or "PUBLISH" and its topic (borrowed).
 * false: nothing. */
bool session_unanswered(const Session *s, const char **ret_what, const char **ret_topic);
