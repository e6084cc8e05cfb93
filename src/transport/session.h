/* SPDX-License-Identifier: Apache-2.0 */
/* One MQTT session. Bytes from the broker go in, bytes for the broker come out; packets are checked for size and kind before
 * anything else sees them. PUBLISH and PUBACK are read and written here; CONNECT, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and the
 * answers to them are the work of a libmosquitto handle at the far end of a Tunnel. Keeps the connection alive, hands
 * messages to the Exchange. Reads no clock: `now` is CLOCK_BOOTTIME in microseconds. */
#pragma once

#include "base/buf.h"
#include "transport/exchange.h"
#include "transport/settings.h"
#include "transport/tunnel.h"

enum {
        SESSION_IN_FLIGHT_MAX = 64,  /* publications waiting for PUBACK; AWS takes 100 */
        SESSION_OUT_FULL = 16 << 10, /* so much output is enough for one write */
};

typedef enum SessionState {
        SESSION_CONNECTING,  /* CONNECT is on its way */
        SESSION_SUBSCRIBING, /* CONNACK was good */
        SESSION_READY,       /* every required filter granted, every other one answered; ONLINE was queued */
        SESSION_REFUSED,     /* every SUBACK is there, some required filter was refused; asked again later */
} SessionState;
const char *session_state_name(SessionState s);

typedef struct Session Session;

/* Make a handle and let it write CONNECT. settings and exchange are borrowed for life. cautious: see subscriber_init(). */
int session_new(const Settings *s, const Tunnel *tunnel, Exchange *exchange, bool cautious, uint64_t now, Session **ret,
                Error *e) MUST_USE;
Session *session_free(Session *s);
DEFINE_CLEANUP(Session *, session_free)

SessionState session_state(const Session *s);
uint64_t session_online_since(const Session *s); /* 0 = never was */
/* MQTT's own reason why it is over: a code of CONNACK or, with MQTT 5, of DISCONNECT; 0 = none. */
int session_reason(const Session *s);

/* Bytes from the broker: 0, or negative errno with the reason in e: the connection must end. */
int session_receive(Session *s, const unsigned char *data, size_t len, uint64_t now, Error *e) MUST_USE;
/* The owner's list of subscriptions has changed. */
int session_sync(Session *s, uint64_t now, Error *e) MUST_USE;

/* What is there for the broker, into the empty buffer `to` (the buffers are exchanged: its memory is used again). */
int session_take_output(Session *s, Buf *to, uint64_t now, Error *e) MUST_USE;
/* The network has taken all that was given out. */
int session_output_sent(Session *s, Error *e) MUST_USE;
bool session_output_full(const Session *s);
/* May another publication come now? */
bool session_can_publish(const Session *s);
/* Takes p. What is wrong with this one publication only becomes an event, and 0. */
int session_publish(Session *s, Publication *p, uint64_t now, Error *e) MUST_USE;
/* Let it write DISCONNECT. */
void session_disconnect(Session *s);

/* Timers. session_tick() does what is due; call it no later than session_deadline(). `reading`: false while the caller
 * does not read, when silence means nothing. */
uint64_t session_deadline(const Session *s, bool reading);
int session_tick(Session *s, uint64_t now, bool reading, Error *e) MUST_USE;

/* What may have made the broker hang up (topics are borrowed). */
typedef enum SessionLast {
        SESSION_LAST_NOTHING,
        SESSION_LAST_SUBSCRIBE, /* has no SUBACK */
        SESSION_LAST_PUBLISH,   /* has no PUBACK */
        SESSION_LAST_SENT,      /* a publication with QoS 0, just before */
} SessionLast;
SessionLast session_last(const Session *s, uint64_t now, const char **ret_topic);
