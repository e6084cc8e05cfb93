/* SPDX-License-Identifier: Apache-2.0 */
/* What the service and its operators have in common on the way to the broker. */
#pragma once

#include "sim/options.h"
#include "transport/transport.h"

enum {
        CONNECTION_NAME_MAX = 17,                  /* 16 random hexadecimal digits */
        CONNECTION_ATTEMPT_USEC = 5 * 1000 * 1000, /* one attempt to connect, or one answer of the broker */
        CONNECTION_GOODBYE_USEC = 1000 * 1000,     /* at most for a last DISCONNECT */
};

/* A name nobody else has: client ids, reply topics. */
void connection_random_name(char ret[static CONNECTION_NAME_MAX]);

/* A transport that is not started yet. filters: NULL-terminated, copied. protocol: as in TransportConfig; with 5, what we
 * publish does not come back. */
int connection_new(const Options *o, const char *name, const char *const *filters, int protocol, Transport **ret,
                   Error *e) MUST_USE;
/* The same with another protocol, at once. */
int connection_change(Transport *t, const Options *o, const char *name, const char *const *filters, int protocol,
                      Error *e) MUST_USE;
/* An OFFLINE event: does the broker not speak the protocol it was asked for? */
bool connection_protocol_refused(const TransportEvent *event);

uint64_t wall_usec(void);

/* SIGINT and SIGTERM from now on come by this descriptor (close-on-exec); negative errno. */
int connection_signals(void);

/* Wait for either descriptor or for `until` (CLOCK_BOOTTIME). 0 or negative errno; *ret_signal: a signal has come. */
int connection_wait(const Transport *t, int signals, uint64_t until, bool *ret_signal) MUST_USE;
