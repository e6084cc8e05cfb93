/* SPDX-License-Identifier: Apache-2.0 */
/* Durable files below a directory descriptor. Not for PURE folders. Every function returns 0 or more, or
 * negative errno; a failed fsync is final for that descriptor (close it, never try again). */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/macro.h"

int write_all(int fd, const void *data, size_t len) MUST_USE;
int pwrite_all(int fd, const void *data, size_t len, off_t at) MUST_USE; /* the same at a place of the file */
/* Whole file below dirfd, at most max bytes (-EFBIG), NUL-terminated; caller frees. What is no regular file is refused
 * without waiting for it: -ELOOP a link, -EISDIR a directory, -ENXIO anything else. */
int file_read_at(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len) MUST_USE;
/* The same of an open file, from its start. */
int file_read_fd(int fd, size_t max, char **ret, size_t *ret_len) MUST_USE;
/* temp + fsync + rename + fsync(dirfd): afterwards the name holds the old or the new content, whatever happens. The
 * temporary file is `.NAME.16 hex digits.tmp`; a crash may leave one. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode) MUST_USE;
/* Remove a tree below dirfd without following links or crossing into other mounts (-EXDEV, -EBUSY); absent is fine.
 * Takes any depth with at most three descriptors. What cannot be removed does not keep the rest from going. */
int remove_tree_at(int dirfd, const char *name) MUST_USE;
/* mkdir -p with `mode` (whatever the umask) for what is made, durable; returns an O_DIRECTORY descriptor. Links on the
 * way are followed. */
int mkdir_open(const char *path, mode_t mode) MUST_USE;
