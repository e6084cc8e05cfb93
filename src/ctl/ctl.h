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
        CTL_EXIT_UNREACHABLE = 3,
        CTL_PARAMETERS_MAX = 128,
        CTL_FILE_MAX = 1024 * 1024, /* bytes of a document or key */
};

typedef struct CtlOptions {
        const char *config_path; /* NULL: the default */
        const char *name;        /* of the agent, as in iot-jobs-agent@NAME; NULL: the one without */
        const char *job_id;      /* show, cancel */
        int64_t execution;       /* likewise; 0 = whichever there is */
        int64_t lines;           /* history; 0 = the default */
        bool json;
        const char *document; /* run, sign */
        DocumentParameter set[CTL_PARAMETERS_MAX]; /* run */
        size_t n_set;
        const char *key, *kid, *thing, *job, *expires; /* sign */
} CtlOptions;

int ctl_run(const CtlOptions *o, const Config *config) MUST_USE;
int ctl_handlers(const CtlOptions *o, const Config *config) MUST_USE;
int ctl_sign(const CtlOptions *o) MUST_USE;
/* What the agent is asked. */
int ctl_status(const CtlOptions *o) MUST_USE;
int ctl_list(const CtlOptions *o) MUST_USE;
int ctl_show(const CtlOptions *o) MUST_USE;
int ctl_history(const CtlOptions *o) MUST_USE;
int ctl_watch(const CtlOptions *o) MUST_USE;
int ctl_cancel(const CtlOptions *o) MUST_USE;
int ctl_pause(const CtlOptions *o, bool on) MUST_USE;

/* A problem of the configuration, on standard error. */
void ctl_report(ConfigSeverity severity, const char *text, void *userdata);
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
