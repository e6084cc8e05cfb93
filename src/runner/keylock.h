/* SPDX-License-Identifier: Apache-2.0 */
/* One runner per key: the lock RUNTIME/runs/KEY.lock, and the live runner's socket RUNTIME/runs/INODE (the inode number of
 * that lock file), through which a later runner for the same key hands its agent's connection over. */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "base/error.h"

typedef struct KeyLock {
        int runs_fd;             /* RUNTIME/runs, borrowed */
        int fd;                  /* holds the lock */
        int listen_fd;           /* non-blocking */
        char name[NAME_MAX + 1]; /* of the lock file */
        char socket_name[24];
} KeyLock;

/* 1 = ours, the socket is open; 0 = another runner has it, *ret_holder is its inode number; negative errno. */
int keylock_take(int runs_fd, const char *key_text, KeyLock *ret, ino_t *ret_holder, Error *e) MUST_USE;
/* Take socket and lock file away, then give the lock up. */
void keylock_release(KeyLock *k);

/* Hand agent_fd and its first packet to the live runner. 0 = it took them; -EAGAIN = nobody answers now (it is just starting or
 * ending): look at the lock again; other negative errno. Blocks until `deadline` at the longest. */
int handover_send(int runs_fd, ino_t holder, int agent_fd, const char *packet, size_t len,
                  uint64_t deadline) MUST_USE;

/* The live runner's side. accept: a descriptor, -EAGAIN, or negative errno (a stranger: -EPERM). */
int handover_accept(int listen_fd) MUST_USE;
/* 1 = the packet is in buf and the agent's connection in *ret_agent (both must come), and the sender was told so; 0 = the sender
 * is gone; negative errno. */
int handover_receive(int fd, char *buf, size_t *ret_len, int *ret_agent) MUST_USE;
