/* SPDX-License-Identifier: Apache-2.0 */
/* Durable files below a directory descriptor. Not for PURE folders. Every function returns 0 or more, or
 * negative errno; a failed fsync is final for that descriptor (close it, never try again). */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/macro.h"

int write_all(int fd, const void *data, size_t len) MUST_USE;
/* Whole file below dirfd, regular and not a link, at most max bytes (-EFBIG), NUL-terminated; caller frees. */
int file_read_at(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len) MUST_USE;
/* temp + fsync + rename + fsync(dirfd): afterwards the name holds the old or the new content, whatever happens. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode) MUST_USE;
/* Remove a tree below dirfd without following links or crossing into other file systems; absent is fine. */
int remove_tree_at(int dirfd, const char *name) MUST_USE;
/* mkdir -p with `mode` for what is made; returns an O_DIRECTORY descriptor. */
int mkdir_open(const char *path, mode_t mode) MUST_USE;


