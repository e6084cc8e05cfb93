/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of record/: the store's descriptors and the handling of what does not belong there. */
#pragma once

#include <sys/stat.h>

#include "record/record.h"

#define RECORD_TOMBSTONES_NAME "tombstones"

struct RecordStore {
        char *path; /* the state directory, for messages */
        int fd;     /* the state directory */
        int runs_fd, work_fd;
        JobKey torn[RECORD_TORN_LISTED]; /* found by the latest listing */
        size_t n_torn;
};

/* A regular file of ours, no larger than max, neither a link nor anything else. 1, 0 (not: *ret_why says what it is), or
 * -ENOENT and other errors of stat(2). */
int record_store_check(int dirfd, const char *name, size_t max, struct stat *ret, const char **ret_why) MUST_USE;
/* Rename to NAME.corrupt-N and log it with `why`; never fails: what cannot be renamed is left and named. `where` is the
 * directory for the message. */
void record_store_set_aside(int dirfd, const char *where, const char *name, const char *why);

/* Files that lines are added to end with a block of most file systems, in zeros, which no reader takes for a line. A line that is
 * written over them changes no size and allocates nothing: all its sync has to write is that block. The size for lines of `len` bytes: */
enum { RECORD_BLOCK = 4096 };
off_t record_padded(off_t len);
