/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobsctl: what an operator does on the device itself. One function per verb; each returns an exit status. */
#pragma once

#include "base/buf.h"
#include "config/config.h"
#include "sim/model-document.h"

enum {
        CTL_EXIT_OK = 0,
        CTL_EXIT_FAILED = 1,
        CTL_EXIT_USAGE = 2,
        CTL_PARAMETERS_MAX = 128,
        CTL_FILE_MAX = 1024 * 1024, /* bytes of a document or key */
};

typedef struct CtlOptions {
        const char *config_path;
        bool json;
        const char *document; /* run, sign */
        DocumentParameter set[CTL_PARAMETERS_MAX]; /* run */
        size_t n_set;
        const char *key, *kid, *thing, *job, *expires; /* sign */
} CtlOptions;

int ctl_run(const CtlOptions *o, const Config *config) MUST_USE;
int ctl_handlers(const CtlOptions *o, const Config *config) MUST_USE;
int ctl_sign(const CtlOptions *o) MUST_USE;

/* "iot-jobsctl: …" on standard error; CTL_EXIT_FAILED. */
int ctl_fail(const char *format, ...) PRINTF_LIKE(1, 2);
/* A regular file, whole. 0 or negative errno, said. Caller frees. */
int ctl_read_file(const char *path, char **ret, size_t *ret_len) MUST_USE;

/* ---- the runner's log: handlers' lines as they are, its own without their fields ---- */

typedef struct CtlLines {
        Buf rest; /* of a line that is not over yet */
        bool json; /* standard output is for the result alone */
} CtlLines;
void ctl_lines_put(CtlLines *l, const char *data, size_t len);
void ctl_lines_done(CtlLines *l);
