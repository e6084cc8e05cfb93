/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "runner/bounds.h"

typedef struct Process {
        pid_t pid, parent, session;
        uint64_t start_time;
        char state;
        bool ours;
} Process;

typedef struct ProcessList {
        Process *item;
        size_t n, cap;
} ProcessList;

static void process_list_done(ProcessList *l) {
        free(l->item);
        *l = (ProcessList){};
}
#define CLEANUP_PROCESSES __attribute__((cleanup(process_list_done)))

DEFINE_CLEANUP(DIR *, closedir)

/* /proc/PID/stat: "pid (name) state ppid pgrp session … starttime(22) …"; the name may hold anything. */
static int process_read(int proc_fd, pid_t pid, Process *ret) {
        char name[32], text[1024], *p;
        unsigned long long start;
        int parent, group, session, fd;
        ssize_t n;

        (void) snprintf(name, sizeof name, "%d/stat", (int) pid);
        fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof text - 1);
        (void) close(fd);
        if (n <= 0)
                return -ESRCH;
        text[n] = '\0';
        p = strrchr(text, ')');
        if (!p || sscanf(p + 1, " %c %d %d %d", &ret->state, &parent, &group, &session) != 4)
                return -EBADMSG;
        for (int field = 2; field < 22 && p; field++)
                p = strchr(p + 1, ' ');
        if (!p || sscanf(p, " %llu", &start) != 1)
                return -EBADMSG;
        ret->pid = pid;
        ret->parent = parent;
        ret->session = session;
        ret->start_time = start;
        ret->ours = false;
        return 0;
}

static int process_append(ProcessList *l, const Process *p) {
        if (l->n == l->cap) {
                size_t cap = MAX_OF(l->cap * 2, (size_t) 128);
                Process *item = reallocarray(l->item, cap, sizeof *item);

                if (!item)
                        return -ENOMEM;
                l->item = item;
                l->cap = cap;
        }
        l->item[l->n++] = *p;
        return 0;
}

static int process_list_read(DIR *proc, ProcessList *ret) {
        struct dirent *d;

        rewinddir(proc);
        while ((d = readdir(proc)) && ret->n < RUNNER_PROCESSES_MAX) {
                char *end;
                long pid = strtol(d->d_name, &end, 10);
                Process p;

                if (d->d_name[0] < '1' || d->d_name[0] > '9' || *end)
                        continue;
                if (process_read(dirfd(proc), (pid_t) pid, &p) == 0 && process_append(ret, &p) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* Whoever has a parent of ours is ours. */
static void mark_descendants(ProcessList *l, pid_t root) {
        bool more = true;

        while (more) {
                more = false;
                for (size_t i = 0; i < l->n; i++) {
                        if (l->item[i].ours)
                                continue;
                        bool is = root > 0 && l->item[i].parent == root;

                        for (size_t j = 0; j < l->n && !is; j++)
                                is = l->item[j].ours && l->item[j].pid == l->item[i].parent;
                        if (is)
                                l->item[i].ours = more = true;
                }
        }
}

/* A pid found a moment ago may be another process by now: hold it, look again, then signal what is held. */
static bool process_signal(int proc_fd, const Process *p, int sig) {
        int fd CLEANUP_FD = pidfd_open(p->pid, 0);
        Process now;

        if (fd < 0)
                /* A kernel before 5.3: the look just taken must do. */
                return errno == ENOSYS && kill(p->pid, sig) == 0;
        if (process_read(proc_fd, p->pid, &now) < 0 || now.start_time != p->start_time)
                return false;
        return pidfd_send_signal(fd, sig, NULL, 0) == 0;
}

static int signal_marked(int proc_fd, const ProcessList *l, int sig) {
        int n = 0;

        for (size_t i = 0; i < l->n; i++) {
                const Process *p = &l->item[i];

                if (!p->ours || p->state == 'Z' || p->state == 'X' || p->pid == getpid() || p->pid == 1)
                        continue;
                if (!process_signal(proc_fd, p, sig))
                        continue;
                n++;
                if (sig == SIGTERM) /* a stopped process would not see it */
                        (void) process_signal(proc_fd, p, SIGCONT);
        }
        return n;
}

void tree_reap(pid_t main_pid, TreeChange *ret) {
        int status;
        pid_t pid;

        *ret = (TreeChange){};
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == main_pid) {
                        ret->main_exited = true;
                        ret->main_status = status;
                }
        ret->empty = pid < 0 && errno == ECHILD;
}

int tree_signal(int sig) {
        enum { ROUNDS_MAX = 64 };
        DIR *proc CLEANUP(closedir) = opendir("/proc");
        int total = 0;

        if (!proc)
                return -errno;
        for (int round = 0; round < ROUNDS_MAX; round++) {
                ProcessList l CLEANUP_PROCESSES = {};
                int n = process_list_read(proc, &l);

                if (n < 0)
                        return n;
                mark_descendants(&l, getpid());
                n = signal_marked(dirfd(proc), &l, sig);
                total += n;
                if (sig != SIGKILL || n == 0)
                        break;
        }
        return total;
}

/* What /proc says of processes of one run. */
typedef struct Marks {
        const TreeTrace *trace;
        char work[PATH_MAX];      /* the run's directory, without links; "" = it is not there */
        char key_entry[PATH_MAX]; /* entries of the environment */
        char work_entry[PATH_MAX];
} Marks;

static void marks_init(Marks *m, const TreeTrace *t) {
        char path[PATH_MAX];

        m->trace = t;
        (void) snprintf(m->key_entry, sizeof m->key_entry, "IOT_JOB_KEY=%s", t->key);
        (void) snprintf(m->work_entry, sizeof m->work_entry, "IOT_JOB_WORKDIR=%.3500s/work/%s", t->state,
                        t->key);
        (void) snprintf(path, sizeof path, "%.3500s/work/%s", t->state, t->key);
        if (!realpath(path, m->work))
                m->work[0] = '\0';
}

static int environ_read(int proc_fd, pid_t pid, Buf *ret) {
        char name[32], chunk[8192];
        int fd CLEANUP_FD = -1;
        ssize_t n;

        (void) snprintf(name, sizeof name, "%d/environ", (int) pid);
        fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        while (ret->len < RUNNER_ENVIRON_MAX && (n = read(fd, chunk, sizeof chunk)) > 0)
                buf_append(ret, chunk, (size_t) n);
        return buf_error(ret);
}

/* On a device the key alone would do. Where two agents play the same device (tests do) the directory tells them apart. */
static bool environ_is_of(int proc_fd, pid_t pid, const Marks *m) {
        static const char work[] = "IOT_JOB_WORKDIR=";
        Buf b CLEANUP_BUF = {};
        bool key = false;

        if (environ_read(proc_fd, pid, &b) < 0 || b.len == 0)
                return false;
        for (const char *e = b.data; e < b.data + b.len; e += strlen(e) + 1) {
                key = key || strcmp(e, m->key_entry) == 0;
                if (strncmp(e, work, sizeof work - 1) == 0 && strcmp(e, m->work_entry) != 0)
                        return false;
        }
        return key;
}

static bool works_in(int proc_fd, pid_t pid, const char *directory) {
        size_t len = strlen(directory);
        char name[32], target[PATH_MAX];
        ssize_t n;

        (void) snprintf(name, sizeof name, "%d/cwd", (int) pid);
        n = len > 0 ? readlinkat(proc_fd, name, target, sizeof target - 1) : -1;
        if (n < (ssize_t) len)
                return false;
        target[n] = '\0';
        return memcmp(target, directory, len) == 0 && (target[len] == '\0' || target[len] == '/');
}

static bool process_is_of(int proc_fd, const Process *p, const Marks *m) {
        const TreeTrace *t = m->trace;

        if (p->pid == getpid() || p->pid == getppid() || p->pid == 1)
                return false;
        if (t->pid > 0 && p->pid == t->pid && p->start_time == t->start_time)
                return true;
        if (t->session_ours && p->session == t->pid)
                return true;
        return environ_is_of(proc_fd, p->pid, m) || works_in(proc_fd, p->pid, m->work);
}

int tree_kill_trace(TreeTrace *t, const char *boot_id) {
        DIR *proc CLEANUP(closedir) = NULL;
        ProcessList l CLEANUP_PROCESSES = {};
        int r, left = 0;
        Marks marks;

        if (strcmp(t->boot_id, boot_id) != 0)
                return 0;
        marks_init(&marks, t);
        proc = opendir("/proc");
        if (!proc)
                return -errno;
        r = process_list_read(proc, &l);
        if (r < 0)
                return r;
        for (size_t i = 0; i < l.n; i++)
                if (t->pid > 0 && l.item[i].pid == t->pid && l.item[i].start_time == t->start_time)
                        t->session_ours = true;
        for (size_t i = 0; i < l.n; i++)
                l.item[i].ours = process_is_of(dirfd(proc), &l.item[i], &marks);
        mark_descendants(&l, 0);
        (void) signal_marked(dirfd(proc), &l, SIGKILL);
        for (size_t i = 0; i < l.n; i++)
                left += l.item[i].ours && l.item[i].state != 'Z' && l.item[i].state != 'X';
        return left;
}

int tree_end_trace(TreeTrace *t, const char *boot_id) {
        const struct timespec pause = { .tv_nsec = RUNNER_KILL_AGAIN_MSEC * 1000000L };
        uint64_t deadline = clock_boottime_usec() + RUNNER_LEFTOVER_SEC * USEC_PER_SEC;

        for (;;) {
                int left = tree_kill_trace(t, boot_id);

                if (left <= 0)
                        return left;
                if (clock_boottime_usec() >= deadline)
                        return -ETIMEDOUT;
                (void) nanosleep(&pause, NULL);
        }
}
