/* SPDX-License-Identifier: Apache-2.0 */
/* Which file may be run as root (contract section 2, last paragraph). Every directory is looked at from `/` down, without following
 * a link, and the file through a descriptor of the directory that was looked at. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* Find handler `name` (with `try_suffix` also name.sh) in the directories, in order; the first entry of that name decides.
 * 0 and *ret, the absolute path (caller frees); else negative errno, and e says in words for a report what is wrong ("missing: …",
 * "not executable …"). `uid`: who may own things, beside root. */
int trust_find_handler(const char *const *directories, const char *name, bool try_suffix, uid_t uid,
                       char **ret, Error *e) MUST_USE;

/* A directory and every one above it: a descriptor (O_PATH) and its path without links (caller frees), or negative errno with the
 * reason in e. */
int trust_open_directory(const char *path, uid_t uid, char **ret_real, Error *e) MUST_USE;

/* A program of this machine, for a command: `word` is an absolute path, or a name that is looked up in the directories of `search`
 * (as in PATH; only absolute ones count), where the first executable file of that name decides. Links are followed; what they lead
 * to, its directories and those it was found through must be as good as those of handlers. Set-user-ID bits are no fault here.
 * 0 and *ret, the path without links (caller frees), else as above. */
int trust_find_program(const char *search, const char *word, uid_t uid, char **ret, Error *e) MUST_USE;
