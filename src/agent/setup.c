/* SPDX-License-Identifier: Apache-2.0 */
/* From the configuration file to what the parts take. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/fileio.h"
#include "base/message_id.h"

static void report(ConfigSeverity severity, const char *text, void *userdata) {
        (void) userdata;
        log_full(severity == CONFIG_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, NULL, MESSAGE_ID_CONFIG_BAD, NULL, "%s",
                 text);
}

int agent_load_config(const char *path, Config **ret) {
        return config_load(path, report, NULL, ret);
}

void agent_engine_config(const Config *c, EngineConfig *ret) {
        *ret = (EngineConfig) {
                .max_concurrent = (unsigned) c->max_concurrent,
                .progress_interval_usec = (uint64_t) c->progress_interval * USEC_PER_SEC,
                .poll_interval_usec = (uint64_t) c->poll_interval * USEC_PER_SEC,
                .operation_timeout_usec = (uint64_t) c->operation_timeout * USEC_PER_SEC,
                .step_timeout_margin_sec = (uint64_t) c->step_timeout_margin,
        };
        (void) snprintf(ret->thing, sizeof ret->thing, "%s", c->thing_name);
        switch (c->on_orphan) {
        case CONFIG_ORPHAN_FAIL:
                ret->on_orphan = ENGINE_ORPHAN_FAIL;
                break;
        case CONFIG_ORPHAN_RUN:
                ret->on_orphan = ENGINE_ORPHAN_RUN;
                break;
        case CONFIG_ORPHAN_LEAVE:
                ret->on_orphan = ENGINE_ORPHAN_LEAVE;
                break;
        }
}

/* Under systemd the agent has a runtime directory of its own; the configured one is the runner's. */
static const char *own_directory(const Config *c) {
        const char *own = getenv("RUNTIME_DIRECTORY");

        return own && own[0] == '/' ? own : c->runtime_directory;
}

int agent_open_directory(const Config *c) {
        return mkdir_open(own_directory(c), 0700);
}

int agent_lock(const Config *c, int *ret_fd, Error *e) {
        const char *directory = own_directory(c);
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int dir_fd CLEANUP_FD = -1, fd CLEANUP_FD = -1;
        char name[LIMIT_THING_NAME + 16];

        dir_fd = agent_open_directory(c);
        if (dir_fd < 0)
                return error_errno(e, -dir_fd, "runtime directory %s", directory);
        (void) snprintf(name, sizeof name, "agent-%s.lock", c->thing_name);
        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(e, errno, "%s/%s", directory, name);
        /* Of the process, and not of the file as flock(2) has it: a child that a killed agent leaves between fork and exec
         * must not keep the next one out. */
        if (fcntl(fd, F_SETLK, &lock) < 0) {
                if (errno != EAGAIN && errno != EACCES)
                        return error_errno(e, errno, "%s/%s", directory, name);
                return error_set(e, EBUSY, "another iot-jobs-agent serves thing %s with runtime directory %s (%s is locked)",
                                 c->thing_name, directory, name);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}
