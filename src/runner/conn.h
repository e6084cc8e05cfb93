/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the agent: whole packets in, whole messages out; what the socket does not take yet waits. */
#pragma once

#include <sys/types.h>

#include "wire/wire.h"

typedef struct Conn Conn;

/* Takes over `fd` (made non-blocking). -ENOMEM closes it too. */
int conn_new(int fd, Conn **ret) MUST_USE;
Conn *conn_free(Conn *c);
DEFINE_CLEANUP(Conn *, conn_free)
int conn_fd(const Conn *c); /* borrowed */

/* 0, or negative errno: the connection is of no use any more (-ENOBUFS: the agent does not read). */
int conn_send(Conn *c, const WireMessage *m) MUST_USE;
bool conn_has_unsent(const Conn *c);
int conn_flush(Conn *c) MUST_USE; /* send what waits, as far as it goes; 0 or negative errno */
void conn_drain(Conn *c);         /* send what waits, blocking up to RUNNER_SEND_SEC: before exiting */

/* One packet into buf (size WIRE_PACKET_MAX + 1 at least). 1 and *ret_len; 0 = end of the connection; -EAGAIN;
 * -EMSGSIZE = larger than any packet of ours; other negative errno. ret_passed may be NULL (descriptors that come along are
 * then refused by the kernel), else it gets a descriptor or -1. */
int packet_receive(int fd, char *buf, size_t *ret_len, int *ret_passed) MUST_USE;

int peer_uid(int fd, uid_t *ret) MUST_USE;

/* Wait for `events` on fd until the deadline (CLOCK_BOOTTIME). 1, 0 = time is up, negative errno. */
int fd_wait(int fd, short events, uint64_t deadline) MUST_USE;
