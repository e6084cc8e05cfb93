/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/limit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/fileio.h"
#include "base/log.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
/* Where the runner itself stays; a step's name begins with a digit. */
#define OWN_GROUP "runner"

enum { FILE_MAX = 65536 }; /* of a file of the kernel's */

/* ---- files of the kernel ---- */

static int read_file(int dir, const char *name, char **ret) {
        size_t len;
        int fd CLEANUP_FD = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : file_read_fd(fd, FILE_MAX, ret, &len);
}

static int write_file(int dir, const char *name, const char *text) {
        int fd CLEANUP_FD = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

static int write_number(int dir, const char *name, uint64_t n) {
        char text[24];

        (void) snprintf(text, sizeof text, "%" PRIu64, n);
        return write_file(dir, name, text);
}

/* "word" in a list with blanks between. */
static bool has_word(const char *list, const char *word) {
        size_t len = strlen(word);

        for (const char *p = list; *p; p += strspn(p, " \n")) {
                size_t n = strcspn(p, " \n");

                if (n == len && strncmp(p, word, n) == 0)
                        return true;
                p += n;
        }
        return false;
}

/* The number behind a name, a pair on each line; 0 = there is none. */
static uint64_t count_of(int dir, const char *file, const char *name) {
        char *text CLEANUP_FREE = NULL;
        size_t n = strlen(name);

        if (read_file(dir, file, &text) < 0)
                return 0;
        for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                if (strncmp(line, name, n) == 0 && line[n] == ' ')
                        return strtoull(line + n + 1, NULL, 10);
        return 0;
}

/* ---- what is asked for ---- */

static bool limits_memory(const ConfigOverride *o) {
        return o && o->memory_max && strcmp(o->memory_max, "infinity") != 0;
}

static bool limits_tasks(const ConfigOverride *o) {
        return o && o->tasks_max > 0;
}

static bool has_weight(const ConfigOverride *o) {
        return o && (o->cpu_weight > 0 || o->io_weight > 0);
}

static bool needs_group(const ConfigOverride *o) {
        return limits_memory(o) || limits_tasks(o) || has_weight(o);
}

static const char *hard_limit(const ConfigOverride *o) {
        return limits_memory(o) ? "memory_max" : "tasks_max";
}

/* ---- the delegated group ---- */

/* Of /proc/self/cgroup, the line "0::/path". */
static int own_path(char ret[static LIMITS_PATH_MAX], Error *e) {
        char *text CLEANUP_FREE = NULL, *line;
        int r = read_file(AT_FDCWD, "/proc/self/cgroup", &text);

        if (r < 0)
                return error_errno(e, -r, "/proc/self/cgroup");
        line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
        if (!line)
                return error_set(e, EOPNOTSUPP, "there are no control groups of version 2");
        line = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        if ((size_t) snprintf(ret, LIMITS_PATH_MAX, "%s", line) >= LIMITS_PATH_MAX)
                return error_set(e, ENAMETOOLONG, "the name of the runner's control group is too long");
        return 0;
}

static int open_group(const char *path, int *ret) {
        char whole[sizeof CGROUP_MOUNT + LIMITS_PATH_MAX];
        struct statfs fs;
        int fd CLEANUP_FD = -1;

        (void) snprintf(whole, sizeof whole, CGROUP_MOUNT "%s", path);
        fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_type != CGROUP2_SUPER_MAGIC)
                return -EOPNOTSUPP;
        *ret = TAKE_FD(fd);
        return 0;
}

/* Ours to divide: systemd says so, and nobody else is in it. Where the agent starts us we are in a group with others. */
static int check_ours(int fd, Error *e) {
        char *text CLEANUP_FREE = NULL, value[4];
        char own[24];
        int r;

        if (fgetxattr(fd, "trusted.delegate", value, sizeof value) < 0 && fgetxattr(fd, "user.delegate", value, sizeof value) < 0)
                return error_set(e, EOPNOTSUPP, "the runner has no control group of its own, as iot-jobs-runner@.service gives it one");
        r = read_file(fd, "cgroup.procs", &text);
        if (r < 0)
                return error_errno(e, -r, "cgroup.procs");
        (void) snprintf(own, sizeof own, "%d\n", (int) getpid());
        if (strcmp(text, own) != 0)
                return error_set(e, EBUSY, "there are other processes in the control group of the runner");
        return 0;
}

/* A group that is divided has no processes of its own. */
static int move_aside(int fd, Error *e) {
        int r;

        if (mkdirat(fd, OWN_GROUP, 0755) < 0 && errno != EEXIST)
                return error_errno(e, errno, "cannot make a control group");
        r = write_file(fd, OWN_GROUP "/cgroup.procs", "0");
        return r < 0 ? error_errno(e, -r, "cannot move the runner into a control group") : 0;
}

static int open_unit(Limits *l, Error *e) {
        int fd CLEANUP_FD = -1, r;

        if (l->unit_fd >= 0)
                return 0;
        r = own_path(l->unit, e);
        if (r < 0)
                return r;
        r = open_group(l->unit, &fd);
        if (r == -EOPNOTSUPP)
                return error_set(e, EOPNOTSUPP, "%s has no control groups of version 2", CGROUP_MOUNT);
        if (r < 0)
                return error_errno(e, -r, "%s%s", CGROUP_MOUNT, l->unit);
        r = check_ours(fd, e);
        if (r == 0)
                r = move_aside(fd, e);
        if (r < 0)
                return r;
        l->unit_fd = TAKE_FD(fd);
        return 0;
}

/* Let the groups below have limits of this kind. */
static int enable(Limits *l, const char *controller, Error *e) {
        char *there CLEANUP_FREE = NULL;
        char text[16];
        int r = open_unit(l, e);

        if (r < 0)
                return r;
        r = read_file(l->unit_fd, "cgroup.controllers", &there);
        if (r == 0 && !has_word(there, controller))
                return error_set(e, EOPNOTSUPP, "the runner's control group has no controller \"%s\"", controller);
        (void) snprintf(text, sizeof text, "+%s", controller);
        if (r == 0)
                r = write_file(l->unit_fd, "cgroup.subtree_control", text);
        return r < 0 ? error_errno(e, -r, "cannot use the controller \"%s\" of the runner's control group", controller) : 0;
}

/* ---- the check ---- */

/* May we make a network of a handler's own? Tried by a process that ends at once. */
static int check_network(Error *e) {
        pid_t pid = fork();
        int status;

        if (pid == 0)
                _exit(unshare(CLONE_NEWNET) < 0 ? errno : 0);
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return error_errno(e, errno, "a process for the private network");
        status = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
        return status > 0 ? error_errno(e, status, "no network namespace can be made") : 0;
}

static void enable_weight(Limits *l, const ConfigOverride *o, int64_t weight, const char *key, const char *controller) {
        Error e = {};

        if (weight <= 0 || enable(l, controller, &e) == 0)
                return;
        if (!l->no_weights)
                log_warning("%s of handler \"%s\" cannot be had, ignoring: %s", key, o->name, e.text);
        l->no_weights = true;
}

static int check_limits(Limits *l, const ConfigOverride *o, Error *e) {
        int r = limits_memory(o) ? enable(l, "memory", e) : 0;

        if (r == 0 && limits_tasks(o))
                r = enable(l, "pids", e);
        if (r < 0) {
                (void) error_wrap(e, "%s of handler \"%s\" cannot be enforced", hard_limit(o), o->name);
                return r;
        }
        enable_weight(l, o, o->cpu_weight, "cpu_weight", "cpu");
        enable_weight(l, o, o->io_weight, "io_weight", "io");
        return 0;
}

int limits_check(Limits *l, const ConfigOverride *o, Error *e) {
        int r = needs_group(o) ? check_limits(l, o, e) : 0;

        if (r == 0 && o && o->private_network) {
                r = check_network(e);
                if (r < 0)
                        (void) error_wrap(e, "private_network of handler \"%s\" cannot be had", o->name);
        }
        return r;
}

/* ---- the group of a step ---- */

static uint64_t physical_memory(void) {
        struct sysinfo s;

        return sysinfo(&s) < 0 ? UINT64_MAX : (uint64_t) s.totalram * s.mem_unit;
}

static int set_memory(int fd, const ConfigOverride *o) {
        uint64_t bytes;
        int r = config_memory(o->memory_max, physical_memory(), &bytes);

        if (r == 0)
                r = write_number(fd, "memory.max", bytes);
        /* A handler that lost one of its processes would go on with half of what it does. A kernel before 4.19 cannot. */
        if (r == 0 && write_file(fd, "memory.oom.group", "1") < 0)
                log_debug("memory.oom.group: not there");
        return r;
}

/* Of either scheduler that weighs; BFQ counts to 1000. */
static int set_io_weight(int fd, int64_t weight) {
        uint64_t bfq = (uint64_t) (weight <= 100 ? weight : 100 + (weight - 100) / 11);
        int r = write_number(fd, "io.weight", (uint64_t) weight), b = write_number(fd, "io.bfq.weight", bfq);

        return r == 0 ? 0 : b;
}

static void set_weights(Limits *l, int fd, const ConfigOverride *o) {
        int cpu = o->cpu_weight > 0 ? write_number(fd, "cpu.weight", (uint64_t) o->cpu_weight) : 0;
        int io = o->io_weight > 0 ? set_io_weight(fd, o->io_weight) : 0;

        if ((cpu < 0 || io < 0) && !l->no_weights) {
                l->no_weights = true;
                log_warning("%s of handler \"%s\" cannot be had, ignoring: %s", cpu < 0 ? "cpu_weight" : "io_weight", o->name,
                            strerrordesc_np(cpu < 0 ? -cpu : -io));
        }
}

static int make_group(Limits *l, const ConfigOverride *o, uint32_t step, int *ret, Error *e) {
        const char *slash = strcmp(l->unit, "/") == 0 ? "" : "/";
        int fd CLEANUP_FD = -1, r, n;
        char name[24];

        (void) snprintf(name, sizeof name, "%" PRIu32, step + 1);
        n = snprintf(l->group, sizeof l->group, "%s%s%s", l->unit, slash, name);
        if (n >= (int) sizeof l->group)
                return error_set(e, ENAMETOOLONG, "the name of the control group is too long");
        /* One of an attempt before this one, whose last process is just going, would bring its own count of deaths along. */
        (void) unlinkat(l->unit_fd, name, AT_REMOVEDIR);
        if (mkdirat(l->unit_fd, name, 0755) < 0)
                return error_errno(e, errno, "cannot make a control group");
        fd = openat(l->unit_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(e, errno, "control group %s", l->group);
        r = limits_memory(o) ? set_memory(fd, o) : 0;
        if (r < 0)
                return error_errno(e, -r, "memory_max %s cannot be set", o->memory_max);
        r = limits_tasks(o) ? write_number(fd, "pids.max", (uint64_t) o->tasks_max) : 0;
        if (r < 0)
                return error_errno(e, -r, "tasks_max %" PRId64 " cannot be set", o->tasks_max);
        set_weights(l, fd, o);
        *ret = TAKE_FD(fd);
        return 0;
}

int limits_start(Limits *l, const ConfigOverride *o, uint32_t step, Error *e) {
        int r;

        limits_end(l);
        if (!needs_group(o))
                return 0;
        r = check_limits(l, o, e);
        if (r < 0 || l->unit_fd < 0) /* a weight alone, which cannot be had */
                return r;
        r = make_group(l, o, step, &l->group_fd, e);
        if (r == 0) {
                l->procs_fd = openat(l->group_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
                r = l->procs_fd < 0 ? error_errno(e, errno, "control group %s", l->group) : 0;
        }
        if (r < 0) {
                limits_end(l);
                return r;
        }
        l->asked = o;
        return 0;
}

void limits_kill(const Limits *l) {
        if (l->group_fd >= 0) /* not there before Linux 5.14 */
                (void) write_file(l->group_fd, "cgroup.kill", "1");
}

bool limits_broken(const Limits *l, char ret[static LIMITS_TEXT_MAX]) {
        if (l->group_fd < 0 || !limits_memory(l->asked) || count_of(l->group_fd, "memory.events", "oom_kill") == 0)
                return false;
        if (count_of(l->group_fd, "memory.events", "oom") > 0)
                (void) snprintf(ret, LIMITS_TEXT_MAX, "out of memory: memory_max %s", l->asked->memory_max);
        else
                (void) snprintf(ret, LIMITS_TEXT_MAX, "out of memory: the machine, or all handlers together, had none left");
        return true;
}

uint64_t limits_refused(const Limits *l) {
        return l->group_fd >= 0 && limits_tasks(l->asked) ? count_of(l->group_fd, "pids.events", "max") : 0;
}

void limits_end(Limits *l) {
        const char *name = strrchr(l->group, '/');

        close_fd_p(&l->procs_fd);
        close_fd_p(&l->group_fd);
        l->procs_fd = l->group_fd = -1;
        l->asked = NULL;
        /* What cannot be removed now goes with the unit. */
        if (name && l->unit_fd >= 0)
                (void) unlinkat(l->unit_fd, name + 1, AT_REMOVEDIR);
        l->group[0] = '\0';
}

void limits_done(Limits *l) {
        limits_end(l);
        close_fd_p(&l->unit_fd);
        *l = LIMITS_NONE;
}

void limits_kill_recorded(const char *group) {
        int fd CLEANUP_FD = -1;

        if (group[0] == '/' && !strstr(group, "/..") && open_group(group, &fd) == 0)
                (void) write_file(fd, "cgroup.kill", "1");
}
