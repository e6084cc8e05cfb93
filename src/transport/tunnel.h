/* SPDX-License-Identifier: Apache-2.0 */
/* A way to give libmosquitto a connection of our own making: it can only be told to connect, and a Unix socket is the one
 * thing it connects to at once, without name resolution, without TLS of its own and without leaving the process. The
 * socket's name exists only while tunnel_open() runs; afterwards it is reached through /proc/self/fd. */
#pragma once

#include "base/error.h"
#include "base/macro.h"

typedef struct Tunnel {
        int listener; /* -1 = closed */
        int place;    /* O_PATH descriptor of the nameless socket */
} Tunnel;

#define TUNNEL_CLOSED ((Tunnel){ .listener = -1, .place = -1 })
enum { TUNNEL_PATH_MAX = 32 };

/* Needs one directory to write to for an instant ($RUNTIME_DIRECTORY, /dev/shm, /tmp, …). 0 or negative errno. */
int tunnel_open(Tunnel *t, Error *e) MUST_USE;
void tunnel_close(Tunnel *t);
/* What to connect to. */
void tunnel_path(const Tunnel *t, char ret[static TUNNEL_PATH_MAX]);
/* Our end of what has just connected: non-blocking, close-on-exec. A stranger's connection is impossible (no name). */
int tunnel_accept(const Tunnel *t, Error *e) MUST_USE;
