/* SPDX-License-Identifier: Apache-2.0 */
/* run: the agent's side of the conversation with a runner of our own, without any cloud. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/json.h"
#include "build-config.h"
#include "ctl/ctl.h"
#include "runner/bounds.h"
#include "runner/conn.h"

enum { RUNNERS_LOST_MAX = 3 }; /* that go away in the middle of one run */

typedef struct Local {
        const CtlOptions *o;
        const Config *config;
        JobKey key;
        Buf document;
        CtlLines lines;
        char *packet; /* WIRE_PACKET_MAX + 1 bytes */

        pid_t pid; /* of the runner */
        int conn_fd, log_fd, signal_fd;
        int64_t deferred; /* seconds; -1 = not */
        bool cancelled;
        bool no_reboot; /* it asked for one */
        bool has_result;
        ProtoStatus status;
        ProtoDetails details;
        char reason[WIRE_REASON_MAX + WIRE_PATH_MAX + 3]; /* of a refusal */
} Local;

static void close_fd(int *fd) {
        close_fd_p(fd);
        *fd = -1;
}

static void local_done(Local *l) {
        close_fd(&l->conn_fd);
        close_fd(&l->log_fd);
        close_fd(&l->signal_fd);
        free(l->packet);
        buf_done(&l->document);
        ctl_lines_done(&l->lines);
        proto_details_done(&l->details);
}
#define CLEANUP_LOCAL __attribute__((cleanup(local_done)))

/* ---- the runner ---- */

/* A build tree's tool finds its own runner; an installed one has it in libexecdir. */
static void find_program(const Config *c, char ret[static PATH_MAX]) {
        static const char tail[] = "/ctl/iot-jobsctl";
        const char *forced = getenv("IOT_JOBS_RUNNER");
        char self[PATH_MAX / 2];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        size_t cut = sizeof tail - 1;

        if (forced || c->runner_path) {
                (void) snprintf(ret, PATH_MAX, "%s", forced ? forced : c->runner_path);
                return;
        }
        if (n > (ssize_t) cut) {
                self[n] = '\0';
                if (strcmp(self + n - cut, tail) == 0) {
                        self[(size_t) n - cut] = '\0';
                        (void) snprintf(ret, PATH_MAX, "%s/runner/iot-jobs-runner", self);
                        if (access(ret, X_OK) == 0)
                                return;
                }
        }
        (void) snprintf(ret, PATH_MAX, "%s/iot-jobs-runner", IOT_JOBS_LIBEXECDIR);
}

static int spawn(const char *program, const char *config, int conn_fd, int log_fd, pid_t *ret) {
        char *const argv[] = { (char *) (uintptr_t) program, (char *) "--config", (char *) (uintptr_t) config,
                               (char *) "--log=stderr", NULL };
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t attr;
        sigset_t none;
        int r;

        (void) sigemptyset(&none);
        (void) posix_spawn_file_actions_init(&fa);
        (void) posix_spawnattr_init(&attr);
        r = posix_spawn_file_actions_adddup2(&fa, conn_fd, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&fa, log_fd, STDERR_FILENO);
        if (r == 0)
                r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
        if (r == 0)
                r = posix_spawnattr_setsigmask(&attr, &none);
        if (r == 0)
                r = posix_spawn(ret, program, &fa, &attr, argv, environ);
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&fa);
        return -r;
}

static int start_runner(Local *l) {
        char program[PATH_MAX];
        int pair[2] = { -1, -1 }, log[2] = { -1, -1 }, r;

        find_program(l->config, program);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(log, O_CLOEXEC) < 0)
                r = -errno;
        else
                r = spawn(program, l->config->file, pair[1], log[1], &l->pid);
        close_fd(&pair[1]);
        close_fd(&log[1]);
        l->conn_fd = pair[0];
        l->log_fd = log[0];
        if (r < 0)
                (void) ctl_fail("cannot start the runner %s: %s", program, strerrordesc_np(-r));
        return r;
}

static void say(const Local *l, const WireMessage *m) {
        Buf b CLEANUP_BUF = {};

        /* One that has gone already is heard of in another way. */
        if (wire_encode(m, &b) == 0)
                (void) !send(l->conn_fd, b.data, b.len, MSG_NOSIGNAL);
}

static void say_type(const Local *l, WireType type) {
        say(l, &(WireMessage){ .type = type, .key = l->key });
}

/* ---- what it says ---- */

static void show_progress(const WireMessage *m) {
        const char *separator = "iot-jobsctl: ";

        for (size_t i = 0; i < m->details.n; i++) {
                if (strcmp(m->details.pair[i].key, "claim") == 0)
                        continue;
                (void) fprintf(stderr, "%s%s: %s", separator, m->details.pair[i].key, m->details.pair[i].value);
                separator = ", ";
        }
        if (separator[0] == ',')
                (void) fputc('\n', stderr);
}

static void take_result(Local *l, WireMessage *m) {
        l->has_result = true;
        l->status = m->status;
        l->details = m->details;
        m->details = (ProtoDetails){};
        say_type(l, WIRE_ACK);
}

static void take_refusal(Local *l, const WireMessage *m) {
        l->has_result = true;
        l->status = m->type == WIRE_REJECTED ? PROTO_STATUS_REJECTED : PROTO_STATUS_NONE;
        (void) snprintf(l->reason, sizeof l->reason, "%s%s%s", m->path, m->path[0] ? ": " : "", m->reason);
}

static void take_message(Local *l, WireMessage *m) {
        switch (m->type) {
        case WIRE_PLAN:
                say_type(l, l->cancelled ? WIRE_CANCEL : WIRE_GO);
                break;
        case WIRE_PROGRESS:
                show_progress(m);
                break;
        case WIRE_REJECTED:
        case WIRE_UNABLE:
                take_refusal(l, m);
                break;
        case WIRE_RESULT:
                take_result(l, m);
                break;
        case WIRE_DEFERRED:
                l->deferred = (int64_t) m->seconds;
                break;
        case WIRE_REBOOTING: /* who would go on with it after that? */
                l->no_reboot = true;
                say_type(l, WIRE_CANCEL);
                break;
        case WIRE_NO_RECORD:
        case WIRE_ATTACHED:
        case WIRE_NONE:
        case WIRE_INVENTORY:
        case WIRE_HISTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
        case WIRE_PAUSED:
        case WIRE_ENDS:
        case WIRE_PREPARE:
        case WIRE_GO:
        case WIRE_ATTACH:
        case WIRE_CANCEL:
        case WIRE_ACK:
        case WIRE_DROP:
        case WIRE_TOLD:
        case WIRE_DEADLINE:
        case WIRE_RUNS:
        case WIRE_TYPE_COUNT:
                break;
        }
}

/* false: the connection is over. */
static bool hear(Local *l) {
        WireMessage m CLEANUP_WIRE = {};
        Error e = {};
        size_t len;
        int r = packet_receive(l->conn_fd, l->packet, &len, NULL);

        if (r == -EAGAIN)
                return true;
        if (r <= 0)
                return false;
        if (wire_decode(l->packet, len, &m, &e) < 0) {
                (void) ctl_fail("the runner speaks another language: %s", e.text);
                return false;
        }
        take_message(l, &m);
        return true;
}

static void hear_log(Local *l) {
        char chunk[4096];
        ssize_t n = read(l->log_fd, chunk, sizeof chunk);

        if (n > 0)
                ctl_lines_put(&l->lines, chunk, (size_t) n);
        else if (n == 0 || errno != EINTR)
                close_fd(&l->log_fd);
}

/* The first asks for the end; the job's tree is ended in order. */
static void take_signal(Local *l) {
        struct signalfd_siginfo s;

        if (read(l->signal_fd, &s, sizeof s) != (ssize_t) sizeof s)
                return;
        if (!l->cancelled)
                (void) fputs("iot-jobsctl: cancelling\n", stderr);
        l->cancelled = true;
        if (l->conn_fd >= 0)
                say_type(l, WIRE_CANCEL);
}

/* Until the runner has closed both. */
static void follow(Local *l) {
        while (l->conn_fd >= 0 || l->log_fd >= 0) {
                struct pollfd f[] = { { .fd = l->log_fd, .events = POLLIN },
                                      { .fd = l->conn_fd, .events = POLLIN },
                                      { .fd = l->signal_fd, .events = POLLIN } };

                if (poll(f, ELEMENTSOF(f), -1) < 0)
                        continue;
                if (f[0].revents)
                        hear_log(l);
                if (f[1].revents && !hear(l))
                        close_fd(&l->conn_fd);
                if (f[2].revents)
                        take_signal(l);
        }
}

/* ---- the run ---- */

/* One runner's life: 1, or 0 if it went away without a word. */
static int one_runner(Local *l) {
        int status, r = start_runner(l);

        if (r < 0)
                return r;
        l->deferred = -1;
        say(l, &(WireMessage){ .type = l->cancelled ? WIRE_CANCEL : WIRE_PREPARE,
                               .key = l->key,
                               .document = l->document.data,
                               .document_len = l->document.len });
        follow(l);
        while (waitpid(l->pid, &status, 0) < 0 && errno == EINTR)
                ;
        return l->has_result || l->deferred >= 0;
}

static void wait_deferred(Local *l) {
        uint64_t until = clock_boottime_usec() + (uint64_t) l->deferred * USEC_PER_SEC;

        (void) fprintf(stderr, "iot-jobsctl: will be tried again in %lld s\n", (long long) l->deferred);
        while (!l->cancelled && fd_wait(l->signal_fd, POLLIN, until) == 1)
                take_signal(l);
}

/* A runner that went away left a record, and maybe processes: the next one ends those, and says what becomes of the run. */
static int run_to_end(Local *l) {
        for (int lost = 0; lost < RUNNERS_LOST_MAX;) {
                int r = one_runner(l);

                if (r < 0)
                        return r;
                if (l->has_result)
                        return 0;
                if (r > 0)
                        wait_deferred(l);
                else if (++lost < RUNNERS_LOST_MAX)
                        (void) fprintf(stderr, "iot-jobsctl: the runner went away, asking another one\n");
        }
        l->cancelled = true; /* and nothing of it stays behind */
        (void) one_runner(l);
        (void) ctl_fail("%d runners went away without a result", RUNNERS_LOST_MAX);
        return -EPIPE;
}

/* A name that tells runs apart, with the document's in it. */
static void make_key(Local *l) {
        const char *slash = strrchr(l->o->document, '/'), *name = slash ? slash + 1 : l->o->document;
        enum { NAME_BYTES = 40 };
        char clean[NAME_BYTES + 1] = "";

        for (size_t n = 0; n < NAME_BYTES && name[n] && name[n] != '.'; n++) {
                clean[n] = name[n];
                clean[n + 1] = '\0';
        }
        if (!proto_job_id_valid(clean))
                (void) strcpy(clean, "local");
        (void) snprintf(l->key.job_id, sizeof l->key.job_id, "%s-%08x", clean, (unsigned) random_u64());
        (void) snprintf(l->key.thing, sizeof l->key.thing, "%s", l->config->thing_name);
        l->key.number = 1;
        l->key.queued_at = RUNNER_LOCAL_QUEUED_AT;
}

static int read_document(Local *l) {
        char *text CLEANUP_FREE = NULL;
        Error e = {};
        size_t len;
        int r = ctl_read_file(l->o->document, &text, &len);

        if (r < 0)
                return r;
        r = document_fill(text, len, l->o->set, l->o->n_set, &l->document, &e);
        if (r < 0)
                (void) ctl_fail("%s: %s", l->o->document, e.text);
        return r;
}

static int open_signals(void) {
        sigset_t set;
        int fd;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

/* ---- the result ---- */

static const char *word_for(const Local *l) {
        if (l->no_reboot)
                return "the job asks for a reboot, which iot-jobsctl does not do: it was cancelled";
        if (l->cancelled && l->status == PROTO_STATUS_CANCELED)
                return "cancelled";
        return l->reason;
}

static int print_json(const Local *l) {
        CLEANUP_JSON json_t *o = json_object(), *details = json_object();
        const char *status = l->status == PROTO_STATUS_NONE ? "UNABLE" : proto_status_name(l->status);
        int r = json_object_set_new(o, "job", json_string(l->key.job_id));

        r |= json_object_set_new(o, "status", json_string(status));
        if (word_for(l)[0])
                r |= json_object_set_new(o, "reason", json_string(word_for(l)));
        for (size_t i = 0; i < l->details.n; i++)
                r |= json_object_set_new(details, l->details.pair[i].key, json_string(l->details.pair[i].value));
        r |= json_object_set(o, "statusDetails", details);
        if (r != 0 || json_dumpf(o, stdout, JSON_COMPACT) < 0)
                return ctl_fail("cannot write the result");
        (void) putchar('\n');
        return CTL_EXIT_OK;
}

static void print_text(const Local *l) {
        const char *status = l->status == PROTO_STATUS_NONE ? "not run" : proto_status_name(l->status);

        (void) fprintf(stderr, "iot-jobsctl: %s%s%s\n", status, word_for(l)[0] ? ": " : "", word_for(l));
        for (size_t i = 0; i < l->details.n; i++)
                if (strcmp(l->details.pair[i].key, "claim") != 0)
                        (void) fprintf(stderr, "  %s: %s\n", l->details.pair[i].key, l->details.pair[i].value);
}

int ctl_run(const CtlOptions *o, const Config *config) {
        Local l CLEANUP_LOCAL = { .o = o, .config = config, .conn_fd = -1, .log_fd = -1, .signal_fd = -1 };

        l.lines.json = o->json;
        l.packet = malloc(WIRE_PACKET_MAX + 1);
        if (!l.packet)
                return ctl_fail("no memory");
        if (read_document(&l) < 0)
                return CTL_EXIT_FAILED;
        make_key(&l);
        (void) signal(SIGPIPE, SIG_IGN);
        l.signal_fd = open_signals();
        if (l.signal_fd < 0)
                return ctl_fail("signals: %s", strerrordesc_np(-l.signal_fd));
        if (run_to_end(&l) < 0)
                return CTL_EXIT_FAILED;
        if (o->json && print_json(&l) != CTL_EXIT_OK)
                return CTL_EXIT_FAILED;
        if (!o->json)
                print_text(&l);
        return l.status == PROTO_STATUS_SUCCEEDED ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}
