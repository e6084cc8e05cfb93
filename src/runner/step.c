/* SPDX-License-Identifier: Apache-2.0 */
/* What a step's handler gets (contract section 3): its directory, the document, its environment. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "runner/inhibit.h"
#include "runner/run.h"

#define HANDLER_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

typedef struct StepFiles {
        int work_fd, document_fd;
} StepFiles;

static void step_files_done(StepFiles *f) {
        close_fd_p(&f->work_fd);
        close_fd_p(&f->document_fd);
}
#define CLEANUP_STEP_FILES __attribute__((cleanup(step_files_done)))

static void document_name(const Run *run, char ret[static NAME_MAX + 1]) {
        (void) snprintf(ret, NAME_MAX + 1, "%s.document", run->key_text);
}

const char *run_search_path(const Config *config) {
        for (char *const *v = config->environment; v && *v; v++)
                if (strncmp(*v, "PATH=", 5) == 0)
                        return *v + 5;
        return HANDLER_PATH;
}

/* ---- files ---- */

/* Others may pass through a directory of ours then, and neither list nor change it. */
static int make_passable(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if ((st.st_mode & 0011) == 0011 || st.st_uid != geteuid())
                return 0;
        return fchmod(fd, (st.st_mode & 07777) | 0011) < 0 ? -errno : 0;
}

/* A user that is not ours has a way to STATE/work/KEY and RUNTIME/runs/KEY.document; what lies beside them has modes of its own. */
static int open_the_way(const Run *run, Error *e) {
        int runtime_fd CLEANUP_FD = openat(run->runs_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = runtime_fd < 0 ? -errno : make_passable(runtime_fd);

        if (r == 0)
                r = make_passable(run->runs_fd);
        if (r < 0)
                return error_errno(e, -r, "letting the handler's user pass through %s/runs", run->config->runtime_directory);
        r = make_passable(record_store_fd(run->store));
        if (r == 0)
                r = make_passable(record_store_work_fd(run->store));
        if (r < 0)
                return error_errno(e, -r, "letting the handler's user pass through %s/work", run->config->state_directory);
        return 0;
}

/* RUNTIME/runs/KEY.document: the record has it durably. Written anew for each start, whatever the step before did to it. */
static int write_document(const Run *run, const User *user, Error *e) {
        const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        char name[NAME_MAX + 1];
        int fd CLEANUP_FD = -1;
        const char *text;
        size_t len;
        int r;

        document_name(run, name);
        fd = openat(run->runs_fd, name, flags, 0600);
        if (fd < 0 && errno == EEXIST) {
                if (unlinkat(run->runs_fd, name, 0) < 0 && errno != ENOENT)
                        return error_errno(e, errno, "cannot remove %s/runs/%s", run->config->runtime_directory, name);
                fd = openat(run->runs_fd, name, flags, 0600);
        }
        if (fd < 0)
                return error_errno(e, errno, "cannot make %s/runs/%s", run->config->runtime_directory, name);
        text = run_handler_document(run, &len);
        r = write_all(fd, text, len);
        if (r == 0 && user && fchown(fd, user->uid, user->gid) < 0)
                r = -errno;
        if (r < 0)
                return error_errno(e, -r, "cannot write %s/runs/%s", run->config->runtime_directory, name);
        r = openat(run->runs_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return r < 0 ? error_errno(e, errno, "%s/runs/%s", run->config->runtime_directory, name) : r;
}

/* The directory alone changes hands, not what is in it: a link in there might be one to a file of somebody else's. */
static int give_directory(int fd, uid_t uid, gid_t gid) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != uid && fchown(fd, uid, gid) < 0)
                return -errno;
        /* One of another user's step may have opened it to everybody. */
        if ((st.st_uid != uid || (st.st_mode & 07777) != 0700) && fchmod(fd, 0700) < 0)
                return -errno;
        return 0;
}

static int open_files(const Run *run, const User *user, StepFiles *ret, Error *e) {
        int all_fd = record_store_work_fd(run->store), r;

        r = user ? open_the_way(run, e) : 0;
        if (r < 0)
                return r;
        if (mkdirat(all_fd, run->key_text, 0700) < 0 && errno != EEXIST)
                return error_errno(e, errno, "cannot make %s/work/%s", run->config->state_directory,
                                   run->key_text);
        ret->work_fd = openat(all_fd, run->key_text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (ret->work_fd < 0)
                return error_errno(e, errno, "%s/work/%s", run->config->state_directory, run->key_text);
        r = give_directory(ret->work_fd, user ? user->uid : run->uid, user ? user->gid : run->user.gid);
        if (r < 0)
                return error_errno(e, -r, "giving %s/work/%s to user \"%s\"", run->config->state_directory, run->key_text,
                                   user ? user->name : run->user.name);
        ret->document_fd = write_document(run, user, e);
        return MIN_OF(ret->document_fd, 0);
}

int run_remove_work(const Run *run, Error *e) {
        int all_fd = record_store_work_fd(run->store);
        int r = 0;

        if (unlinkat(all_fd, run->key_text, AT_REMOVEDIR) < 0) /* mostly it is empty */
                r = remove_tree_at(all_fd, run->key_text);
        if (r < 0)
                return error_errno(e, -r, "cannot remove %s/work/%s", run->config->state_directory,
                                   run->key_text);
        return run_remove_document(run, e);
}

int run_remove_document(const Run *run, Error *e) {
        char name[NAME_MAX + 1];

        document_name(run, name);
        if (unlinkat(run->runs_fd, name, 0) < 0 && errno != ENOENT)
                return error_errno(e, errno, "cannot remove %s/runs/%s", run->config->runtime_directory, name);
        return 0;
}

static void put_user(Environment *env, const User *u) {
        environment_printf(env, "HOME=%s", u->home);
        environment_printf(env, "USER=%s", u->name);
        environment_printf(env, "LOGNAME=%s", u->name);
        environment_printf(env, "SHELL=%s", u->shell);
}

static void put_run(Environment *env, const Run *run, const PlanAction *action) {
        const char *state = run->config->state_directory;

        environment_printf(env, "IOT_JOB_ID=%s", run->key.job_id);
        environment_printf(env, "IOT_JOB_EXECUTION=%" PRId64, run->key.number);
        environment_printf(env, "IOT_JOB_THING=%s", run->key.thing);
        environment_printf(env, "IOT_JOB_OPERATION=%s", run->doc.steps[action->step].name);
        environment_printf(env, "IOT_JOB_STEP=%" PRIu32, action->step + 1);
        environment_printf(env, "IOT_JOB_ATTEMPT=%" PRIu32, action->attempt);
        environment_printf(env, "IOT_JOB_PHASE=%s", wire_phase_name(action->phase));
        environment_printf(env, "IOT_JOB_DOCUMENT=%s/runs/%s.document", run->config->runtime_directory, run->key_text);
        environment_printf(env, "IOT_JOB_WORKDIR=%s/work/%s", state, run->key_text);
        environment_put(env, "IOT_JOB_PROGRESS_FD=3");
        for (size_t i = 0; i < run->doc.n_parameters; i++)
                environment_printf(env, "IOT_JOB_PARAM_%s=%s", run->doc.parameters[i].name,
                                   run->doc.parameters[i].value);
        /* Again, and then for good: handlers.environment must not hide what the run is found by. */
        environment_printf(env, "IOT_JOB_KEY=%s", run->key_text);
}

static int make_environment(const Run *run, const PlanAction *action, const User *user, Environment *ret) {
        /* First, so that a look into /proc/PID/environ finds it soon. */
        environment_printf(ret, "IOT_JOB_KEY=%s", run->key_text);
        environment_put(ret, "PATH=" HANDLER_PATH);
        environment_put(ret, "LANG=C.UTF-8");
        put_user(ret, user ? user : &run->user);
        for (char *const *e = run->config->environment; e && *e; e++)
                environment_put(ret, *e);
        put_run(ret, run, action);
        return ret->failed ? -ENOMEM : 0;
}

static int start_output(Run *run, const PlanAction *action) {
        int fds[OUTPUT_COUNT];
        RunFields f;
        int r;

        for (int s = 0; s < OUTPUT_COUNT; s++)
                fds[s] = run->child.output_fd[s];
        run_fields(run, action->step, action->attempt, &f);
        r = output_start(run->output, fds, run_step_program(run, action->step), f.field);
        if (r == 0) /* they are the output's now */
                for (int s = 0; s < OUTPUT_COUNT; s++)
                        run->child.output_fd[s] = -1;
        return r;
}

const char *run_step_program(const Run *run, size_t step) {
        const JobStep *s = &run->doc.steps[step];
        const char *slash = s->command ? strrchr(s->args[0], '/') : NULL;

        if (!s->command)
                return s->handler;
        return slash && slash[1] ? slash + 1 : s->args[0];
}

/* Handlers made for AWS IoT Device Client take their first argument for a user to become, which is done here already. */
static int make_args(const Run *run, const JobStep *s, char ***ret) {
        static char none[] = "";
        bool inserted = run->config->device_client_args && !s->command;
        char **args = calloc(s->n_args + 2, sizeof *args);

        if (!args)
                return -ENOMEM;
        if (inserted)
                args[0] = none;
        for (size_t i = 0; i < s->n_args; i++)
                args[i + inserted] = s->args[i];
        *ret = args;
        return 0;
}

static int fork_child(Run *run, const PlanAction *action, const User *user, Error *e) {
        const JobStep *step = &run->doc.steps[action->step];
        Environment env CLEANUP_ENVIRONMENT = {};
        StepFiles files CLEANUP_STEP_FILES = { -1, -1 };
        char **args CLEANUP_FREE = NULL;
        SpawnRequest request = {};
        const ConfigOverride *o = run_step_override(run, action->step);
        int r = open_files(run, user, &files, e);

        if (r == 0)
                r = limits_start(&run->limits, o, action->step, e);
        if (r < 0)
                return r;
        if (make_environment(run, action, user, &env) < 0 || make_args(run, step, &args) < 0)
                return error_errno(e, ENOMEM, "the environment of %s", run->handler_path);
        request = (SpawnRequest){
                .path = run->handler_path,
                .args = args,
                .args_have_name = step->command,
                .environment = &env,
                .work_fd = files.work_fd,
                .stdin_fd = files.document_fd,
                .user = user,
                .group_fd = run->limits.procs_fd,
                .private_network = o && o->private_network,
        };
        return spawn_fork(&request, &run->child, e);
}

int run_start_step(Run *run, const PlanAction *action, char *path, Error *e) {
        User storage CLEANUP_USER = {};
        const User *user;
        int r;

        free(run->handler_path);
        run->handler_path = path;
        r = run_find_user(run, action->step, &storage, &user, e);
        if (r == 0)
                r = fork_child(run, action, user, e);
        if (r < 0)
                return r;
        run->step = action->step;
        run->attempt = action->attempt;
        (void) snprintf(run->child_user, sizeof run->child_user, "%s", user ? user->name : run->user.name);
        r = start_output(run, action);
        if (r < 0) { /* having done nothing */
                child_done(&run->child);
                return error_errno(e, -r, "the output of %s", run->handler_path);
        }
        return 0;
}

const ConfigOverride *run_step_override(const Run *run, size_t step) {
        const JobStep *s = &run->doc.steps[step];

        return s->command ? NULL : config_override(run->config, s->handler);
}

/* Without one the job runs all the same. */
static void inhibit(Run *run, const RunFields *f) {
        char why[JOB_KEY_TEXT_MAX + 64];
        Error e = {};
        int fd;

        (void) snprintf(why, sizeof why, "job %s runs %.64s", run->key.job_id, run_step_program(run, run->step));
        fd = inhibit_shutdown(INHIBIT_BUS, why, &e);
        if (fd < 0)
                log_full(LOG_LEVEL_WARNING, NULL, NULL, f->field, "inhibit_shutdown of handler \"%s\" cannot be had, ignoring: %s",
                         run_step_program(run, run->step), e.text);
        run->inhibit_fd = fd < 0 ? -1 : fd;
}

void run_enter_step(Run *run, size_t step) {
        const ConfigOverride *o = run_step_override(run, step);
        RunFields f;

        if (!o || !o->inhibit_shutdown || run->inhibit_fd >= 0)
                return;
        run_fields(run, run->step, run->attempt, &f);
        inhibit(run, &f);
}

void run_leave_step(Run *run) {
        uint64_t refused = limits_refused(&run->limits);
        RunFields f;

        close_fd_p(&run->inhibit_fd);
        run->inhibit_fd = -1;
        if (refused > 0) {
                run_fields(run, run->step, run->attempt, &f);
                log_full(LOG_LEVEL_NOTICE, NULL, NULL, f.field, "handler \"%s\" was refused a new process %llu times: tasks_max %lld",
                         run_step_program(run, run->step), (unsigned long long) refused,
                         (long long) run->limits.asked->tasks_max);
        }
        limits_end(&run->limits);
}
