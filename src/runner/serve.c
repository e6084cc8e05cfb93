/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fileio.h"
#include "base/message_id.h"
#include "runner/bounds.h"
#include "runner/run.h"

typedef struct Request {
        Conn *conn;
        uid_t peer;
        char *packet; /* WIRE_PACKET_MAX + 1 bytes */
        size_t packet_len;
        WireMessage message; /* points into packet */
        Config *config;
        int runtime_fd;
} Request;

static void request_done(Request *q) {
        wire_message_done(&q->message);
        free(q->packet);
        q->config = config_free(q->config);
        close_fd_p(&q->runtime_fd);
        q->conn = conn_free(q->conn);
}
#define CLEANUP_REQUEST __attribute__((cleanup(request_done)))

/* ---- the first packet ---- */

static bool is_request(WireType t) {
        return t == WIRE_INVENTORY || t == WIRE_PREPARE || t == WIRE_ATTACH || t == WIRE_CANCEL ||
               t == WIRE_ACK || t == WIRE_DROP || t == WIRE_HISTORY || t == WIRE_PAUSE || t == WIRE_RESUME;
}

/* 1 = q->message is there; 0 = the agent went away; negative: said in the log. */
static int receive_first(Request *q) {
        uint64_t deadline = clock_boottime_usec() + WIRE_FIRST_PACKET_SEC * USEC_PER_SEC;
        Error e = {};
        int r;

        q->packet = malloc(WIRE_PACKET_MAX + 1);
        if (!q->packet)
                return -ENOMEM;
        do {
                r = fd_wait(conn_fd(q->conn), POLLIN, deadline);
                if (r > 0)
                        r = packet_receive(conn_fd(q->conn), q->packet, &q->packet_len, NULL);
                else if (r == 0)
                        r = -ETIMEDOUT;
        } while (r == -EAGAIN);
        if (r == -ETIMEDOUT)
                log_warning("closing a connection that sent nothing for %d s", WIRE_FIRST_PACKET_SEC);
        else if (r == -EMSGSIZE)
                log_warning("closing a connection: its first packet is larger than %d bytes",
                            WIRE_PACKET_MAX);
        else if (r < 0)
                log_warning("closing a connection: %s", strerrordesc_np(-r));
        if (r <= 0)
                return r;
        r = wire_decode(q->packet, q->packet_len, &q->message, &e);
        if (r < 0) {
                log_warning("closing a connection: its first packet is none of this conversation: %s",
                            e.text);
                return r;
        }
        if (!is_request(q->message.type)) {
                log_warning("closing a connection: its first packet is %s, which asks for nothing",
                            wire_type_name(q->message.type));
                return -EBADMSG;
        }
        return 1;
}

/* ---- the configuration ---- */

static void config_problem(ConfigSeverity severity, const char *text, void *userdata) {
        Error *first = userdata;

        if (severity != CONFIG_ERROR) /* the agent says warnings, once; here they would come with every job */
                return;
        log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_CONFIG_BAD, NULL, "%s", text);
        if (first->code == 0)
                error_set(first, EINVAL, "%s", text);
}

static int load_config(const char *path, Config **ret, Error *e) {
        Error problem = {}, untrusted = {};
        int r = config_load_trusted(path, geteuid(), config_problem, &problem, ret, &untrusted);

        if (r >= 0)
                return 0;
        if (untrusted.code == 0)
                return error_set(e, -r, "the configuration is not usable: %s", problem.code ? problem.text : path);
        error_set(e, -r, "the configuration cannot be trusted: %s", untrusted.text);
        log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_CONFIG_BAD, NULL, "%s", e->text);
        return r;
}

static bool is_of_thing(const Config *c, const char *thing) {
        return strcmp(c->thing_name, thing) == 0;
}

static int is_config_name(const struct dirent *d) {
        size_t n = strlen(d->d_name);

        return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

/* The one thing of most devices is in agent.conf: look there first. */
static int compare_config_names(const struct dirent **a, const struct dirent **b) {
        bool x = strcmp((*a)->d_name, "agent.conf") == 0, y = strcmp((*b)->d_name, "agent.conf") == 0;

        return x != y ? (x ? -1 : 1) : strcmp((*a)->d_name, (*b)->d_name);
}

/* The last file that is not usable is named, if none is the right one. */
static int find_config(const char *thing, Config **ret, Error *e) {
        struct dirent **names = NULL;
        int n = scandir(RUNNER_CONFIG_DIRECTORY, &names, is_config_name, compare_config_names);

        (void) error_set(e, ENOENT, "no file %s/*.conf has thing_name \"%s\"", RUNNER_CONFIG_DIRECTORY,
                         thing);
        for (int i = 0; i < n && i < RUNNER_CONFIGS_MAX && !*ret; i++) {
                Config *c CLEANUP(config_free) = NULL;
                char path[PATH_MAX];

                (void) snprintf(path, sizeof path, "%s/%s", RUNNER_CONFIG_DIRECTORY, names[i]->d_name);
                if (load_config(path, &c, e) == 0 && is_of_thing(c, thing))
                        *ret = TAKE(c);
        }
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return *ret ? 0 : -ENOENT;
}

static int take_config(Request *q, const char *file, Error *e) {
        const char *thing = q->message.key.thing;
        int r;

        if (!file) {
                r = find_config(thing, &q->config, e);
                if (r < 0)
                        log_warning("refusing a request: %s", e->text);
                return r;
        }
        r = load_config(file, &q->config, e);
        if (r == 0 && !is_of_thing(q->config, thing)) {
                r = error_set(e, EPERM, "the request is for thing \"%s\", but %s is for thing \"%s\"", thing,
                              file, q->config->thing_name);
                log_warning("refusing a request: %s", e->text);
        }
        return r;
}

/* ---- who asks ---- */

static bool peer_is_agent(const Request *q) {
        uid_t uid;

        if (q->peer == 0 || q->peer == geteuid())
                return true;
        if (!q->config)
                return false;
        return user_id(q->config->agent_user, &uid) == 0 && uid == q->peer;
}

/* Says no, and why if the asker may know. */
static int refuse(Request *q, const char *reason) {
        WireMessage answer CLEANUP_WIRE = {};

        if (!peer_is_agent(q))
                log_warning("refusing a request of user %u: agent_user is \"%s\"", (unsigned) q->peer,
                            q->config ? q->config->agent_user : "?");
        else {
                (void) answer_set(&answer, WIRE_UNABLE, "", "%s", reason);
                if (conn_send(q->conn, &answer) == 0)
                        conn_drain(q->conn);
        }
        return EXIT_FAILURE;
}

/* ---- the answers ---- */

static int tell_runs(Request *q, WireRun *runs, size_t n, int64_t paused_since) {
        size_t at = 0;

        do {
                WireMessage m = { .type = WIRE_RUNS, .paused_since = paused_since };
                int r;

                m.runs = runs + at;
                m.n_runs = MIN_OF(n - at, (size_t) WIRE_RUNS_MAX);
                at += m.n_runs;
                m.more = at < n;
                r = conn_send(q->conn, &m);
                if (r < 0)
                        return r;
        } while (at < n);
        conn_drain(q->conn);
        return 0;
}

/* A directory below RUNTIME that is ours alone. */
static int open_private(const Request *q, const char *name, Error *e) {
        int fd CLEANUP_FD = -1;
        struct stat st;

        for (int attempt = 0; fd < 0 && attempt < 2; attempt++) {
                fd = openat(q->runtime_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 && (errno != ENOENT || attempt > 0))
                        return error_errno(e, errno, "%s/%s", q->config->runtime_directory, name);
                if (fd < 0 && mkdirat(q->runtime_fd, name, 0700) < 0 && errno != EEXIST)
                        return error_errno(e, errno, "cannot make %s/%s", q->config->runtime_directory, name);
        }
        if (fstat(fd, &st) < 0)
                return error_errno(e, errno, "%s/%s", q->config->runtime_directory, name);
        if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
                return error_set(e, EPERM, "%s/%s must belong to user %u and be writable by no one else",
                                 q->config->runtime_directory, name, (unsigned) geteuid());
        return TAKE_FD(fd);
}

static int open_directories(Request *q, Run *run, Error *e) {
        if (q->runtime_fd < 0)
                q->runtime_fd = mkdir_open(q->config->runtime_directory, 0755);
        if (q->runtime_fd < 0)
                return error_errno(e, -q->runtime_fd, "runtime directory %s", q->config->runtime_directory);
        run->runs_fd = open_private(q, "runs", e);
        if (run->runs_fd < 0)
                return run->runs_fd;
        run->slots_fd = open_private(q, "slots", e);
        return MIN_OF(run->slots_fd, 0);
}

/* What a crash left of runs that were just being prepared: nothing was promised, and their jobs may never be asked for again. */
static void remove_torn(Request *q, RecordStore *store) {
        const JobKey *torn;
        size_t n = record_store_torn(store, &torn);
        Run run CLEANUP_RUN = RUN_EMPTY;
        Error e = {};

        if (n == 0 || open_directories(q, &run, &e) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                ino_t holder;

                job_key_format(&torn[i], run.key_text);
                if (keylock_take(run.runs_fd, run.key_text, &run.lock, &holder, &e) <= 0)
                        continue; /* it is being written right now */
                if (record_open(store, &torn[i], &run.record, &run.state, &e) < 0)
                        log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_RECORD_BAD, NULL, "%s, ignoring", e.text);
                run.record = record_free(run.record);
                record_state_done(&run.state);
                run.state = (RecordState){};
                keylock_release(&run.lock);
        }
}

/* What iot-jobsctl has no interest in any more: it was killed, and its runner with it. A live one has its lock. */
static void forget_local(Request *q, RecordStore *store, const JobKey *key) {
        Run run CLEANUP_RUN = RUN_EMPTY;
        Error e = {};
        ino_t holder;

        run.config = q->config;
        run.key = *key;
        job_key_format(key, run.key_text);
        if (open_directories(q, &run, &e) < 0 || keylock_take(run.runs_fd, run.key_text, &run.lock, &holder, &e) <= 0)
                return;
        run.store = store;
        if (boot_id_read(run.boot_id) < 0 || record_open(store, key, &run.record, &run.state, &e) < 0 ||
            run_end_leftovers(&run, &e) < 0 || run_remove_work(&run, &e) < 0 || record_drop(run.record, &e) < 0)
                log_warning("cannot forget run %s of iot-jobsctl, ignoring: %s", run.key_text, e.text);
        run.store = NULL; /* the caller's */
        run.record = record_free(run.record);
}

/* The agent is told of what the cloud may know. Returns how many those are. */
static size_t leave_out_local(Request *q, RecordStore *store, WireRun *runs, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (runs[i].key.queued_at == RUNNER_LOCAL_QUEUED_AT)
                        forget_local(q, store, &runs[i].key);
                else
                        runs[kept++] = runs[i];
        return kept;
}

static int inventory(Request *q) {
        RecordStore *store CLEANUP(record_store_free) = NULL;
        WireRun *runs CLEANUP_FREE = NULL;
        int64_t paused_since = 0;
        Error e = {};
        size_t n = 0;
        int r = record_store_open(q->config->state_directory, &store, &e);

        if (r == 0)
                r = record_paused(store, q->message.key.thing, &paused_since, &e);
        if (r == 0)
                r = record_store_list(store, q->message.key.thing, &runs, &n, &e);
        if (r < 0) {
                log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_RECORD_BAD, NULL, "cannot list the runs: %s",
                         e.text);
                return refuse(q, e.text);
        }
        n = leave_out_local(q, store, runs, n);
        r = tell_runs(q, runs, n, paused_since);
        remove_torn(q, store);
        record_tombstones_check(store);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- what an operator asks, by way of the agent ---- */

/* As many entries as fit a packet. */
static int tell_some_ends(Request *q, WireEnd *ends, size_t n, size_t *ret_told) {
        for (size_t some = MIN_OF(n, (size_t) WIRE_ENDS_MAX);; some = (some + 1) / 2) {
                WireMessage m = { .type = WIRE_ENDS, .ends = ends, .n_ends = some, .more = some < n };
                int r = conn_send(q->conn, &m);

                if (r == -EMSGSIZE && some > 1)
                        continue;
                *ret_told = some;
                return r;
        }
}

static int tell_ends(Request *q, WireEnd *ends, size_t n) {
        size_t at = 0, told;

        do {
                int r = tell_some_ends(q, ends + at, n - at, &told);

                if (r < 0)
                        return r;
                at += told;
                conn_drain(q->conn); /* a long one is more than may wait in the queue */
        } while (at < n);
        return 0;
}

static int history(Request *q) {
        RecordStore *store CLEANUP(record_store_free) = NULL;
        WireEnd *ends = NULL;
        Error e = {};
        size_t n = 0;
        int r = record_store_open(q->config->state_directory, &store, &e);

        if (r == 0)
                r = record_history(store, q->message.key.thing, q->message.count, &ends, &n, &e);
        if (r < 0)
                return refuse(q, e.text);
        r = tell_ends(q, ends, n);
        wire_ends_free(ends, n);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int pause_or_resume(Request *q) {
        RecordStore *store CLEANUP(record_store_free) = NULL;
        WireMessage answer = { .type = WIRE_PAUSED };
        Error e = {};
        int r = record_store_open(q->config->state_directory, &store, &e);

        if (r == 0)
                r = record_pause(store, q->message.key.thing, q->message.type == WIRE_PAUSE, &answer.paused_since, &e);
        if (r < 0)
                return refuse(q, e.text);
        r = conn_send(q->conn, &answer);
        conn_drain(q->conn);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- runs ---- */

/* Whatever was begun goes on to its end, retries and reboots included; so does what iot-jobsctl runs itself. 1 = go on. */
static int check_pause(const Request *q, RecordStore *store, WireMessage *answer, Error *e) {
        int64_t since = 0;
        int r;

        if (q->message.type != WIRE_PREPARE || q->message.key.queued_at == RUNNER_LOCAL_QUEUED_AT)
                return 1;
        r = record_paused(store, q->message.key.thing, &since, e);
        if (r < 0 || since == 0 || record_exists(store, &q->message.key))
                return r < 0 ? r : 1;
        (void) answer_set(answer, WIRE_UNABLE, "", "%s", "paused by the operator of the device");
        answer->paused_since = since;
        return 0;
}

/* 1 = the key is ours; 0 = its live runner has the connection now; negative errno. */
static int lock_or_hand_over(Request *q, Run *run, Error *e) {
        const struct timespec pause = { .tv_nsec = RUNNER_RETRY_MSEC * 1000000L };
        uint64_t deadline = clock_boottime_usec() + RUNNER_HANDOVER_SEC * USEC_PER_SEC;

        for (;;) {
                ino_t holder;
                int r = keylock_take(run->runs_fd, run->key_text, &run->lock, &holder, e);

                if (r != 0)
                        return r;
                r = handover_send(run->runs_fd, holder, conn_fd(q->conn), q->packet, q->packet_len, deadline);
                if (r == 0)
                        return 0;
                if (r != -EAGAIN || clock_boottime_usec() >= deadline)
                        return error_set(e, EBUSY, "another runner has this run and does not answer (%s)",
                                         strerrordesc_np(r == -EAGAIN ? ETIMEDOUT : -r));
                (void) nanosleep(&pause, NULL);
        }
}

static int refuse_run(Request *q, const char *reason) {
        log_full(LOG_LEVEL_DEBUG, NULL, NULL,
                 (const LogField[]){ { "IOT_JOB_ID", q->message.key.job_id }, {} }, "cannot run now: %s",
                 reason); /* the agent says it aloud */
        return refuse(q, reason);
}

static int serve_run(Request *q) {
        Run run CLEANUP_RUN = RUN_EMPTY;
        WireMessage answer CLEANUP_WIRE = {};
        Error e = {};
        int r;

        run.config = q->config;
        run.uid = geteuid();
        run.key = q->message.key;
        job_key_format(&run.key, run.key_text);
        r = open_directories(q, &run, &e);
        if (r == 0)
                r = lock_or_hand_over(q, &run, &e);
        if (r == 0)
                return EXIT_SUCCESS;
        if (r > 0)
                r = record_store_open(q->config->state_directory, &run.store, &e);
        if (r == 0)
                r = check_pause(q, run.store, &answer, &e);
        if (r < 0)
                return refuse_run(q, e.text);
        run.conn = TAKE(q->conn);
        if (r > 0)
                r = run_prepare(&run, &q->message, &answer);
        if (r > 0)
                return run_perform(&run, &q->message);
        if (r == 0 && answer.type != WIRE_NONE) {
                r = conn_send(run.conn, &answer);
                conn_drain(run.conn);
        }
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve_request(Request *q) {
        WireType asked = q->message.type;

        if (asked == WIRE_INVENTORY)
                return inventory(q);
        if (asked == WIRE_HISTORY)
                return history(q);
        return asked == WIRE_PAUSE || asked == WIRE_RESUME ? pause_or_resume(q) : serve_run(q);
}

int serve(int fd, const char *config_file) {
        Request q CLEANUP_REQUEST = { .runtime_fd = -1 };
        Error e = {};
        int r = conn_new(fd, &q.conn);

        if (r == 0)
                r = peer_uid(conn_fd(q.conn), &q.peer);
        if (r < 0) {
                log_error("the connection to the agent: %s", strerrordesc_np(-r));
                return EXIT_FAILURE;
        }
        r = receive_first(&q);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (take_config(&q, config_file, &e) < 0)
                return refuse(&q, e.text);
        log_set_level(q.config->log_level);
        if (!peer_is_agent(&q))
                return refuse(&q, "");
        return serve_request(&q);
}
