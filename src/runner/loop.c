/* SPDX-License-Identifier: Apache-2.0 */
/* The one loop: what the agent, the handler, the kernel and the clock do becomes events for the plan. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "runner/perform.h"

typedef enum Source {
        SOURCE_SIGNAL,
        SOURCE_AGENT,
        SOURCE_LISTEN,
        SOURCE_HANDOVER,
        SOURCE_OUTPUT, /* and the other streams behind it */
        SOURCE_COUNT = SOURCE_OUTPUT + OUTPUT_COUNT,
} Source;

/* ---- the agent ---- */

static bool key_is_ours(const Performer *p, const WireMessage *m) {
        return job_key_equal(&m->key, &p->run->key);
}

/* false: nothing an agent may say on the connection of a run. */
static bool message_event(Performer *p, const WireMessage *m) {
        switch (m->type) {
        case WIRE_GO:
                perform_event(p, PLAN_EVENT_GO);
                return true;
        case WIRE_PREPARE:
        case WIRE_ATTACH:
                if (key_is_ours(p, m))
                        perform_event(p, PLAN_EVENT_ATTACH);
                return key_is_ours(p, m);
        case WIRE_CANCEL:
                if (key_is_ours(p, m))
                        perform_event_cancel(p, m->by_operator);
                return key_is_ours(p, m);
        case WIRE_ACK:
                if (key_is_ours(p, m))
                        perform_event(p, PLAN_EVENT_ACK);
                return key_is_ours(p, m);
        case WIRE_DROP:
                if (key_is_ours(p, m))
                        perform_event(p, PLAN_EVENT_DROP);
                return key_is_ours(p, m);
        case WIRE_TOLD:
                perform_event(p, PLAN_EVENT_TOLD);
                return true;
        case WIRE_DEADLINE:
                perform_event_seconds(p, PLAN_EVENT_DEADLINE, m->seconds);
                return true;
        case WIRE_NONE:
        case WIRE_INVENTORY:
        case WIRE_HISTORY:
        case WIRE_PAUSE:
        case WIRE_RESUME:
        case WIRE_PAUSED:
        case WIRE_ENDS:
        case WIRE_RUNS:
        case WIRE_PLAN:
        case WIRE_REJECTED:
        case WIRE_UNABLE:
        case WIRE_NO_RECORD:
        case WIRE_ATTACHED:
        case WIRE_PROGRESS:
        case WIRE_RESULT:
        case WIRE_DEFERRED:
        case WIRE_REBOOTING:
        case WIRE_TYPE_COUNT:
                break;
        }
        return false;
}

static bool packet_event(Performer *p, size_t len) {
        WireMessage m CLEANUP_WIRE = {};
        Error e = {};

        if (wire_decode(p->packet, len, &m, &e) < 0) {
                log_warning("refusing a packet of the agent: %s", e.text);
                return false;
        }
        if (message_event(p, &m))
                return true;
        log_warning("refusing a packet of the agent: %s does not belong into the conversation of run %s",
                    wire_type_name(m.type), p->run->key_text);
        return false;
}

static void agent_readable(Performer *p) {
        size_t len;
        int r = packet_receive(conn_fd(p->run->conn), p->packet, &len, NULL);

        if (r == -EAGAIN)
                return;
        if (r == -EMSGSIZE)
                log_warning("refusing a packet of the agent: larger than %d bytes", WIRE_PACKET_MAX);
        if (r <= 0 || !packet_event(p, len))
                perform_agent_gone(p);
}

/* ---- a later runner for the same key hands its agent's connection over ---- */

static void handover_close(Performer *p) {
        if (p->handover_fd >= 0)
                (void) close(p->handover_fd);
        p->handover_fd = -1;
}

static void handover_begin(Performer *p) {
        int fd = handover_accept(p->run->lock.listen_fd);

        if (fd == -EAGAIN)
                return;
        if (fd < 0) {
                log_warning("refusing a connection to the socket of run %s: %s", p->run->key_text,
                            strerrordesc_np(-fd));
                return;
        }
        p->handover_fd = fd;
        p->handover_deadline = clock_boottime_usec() + RUNNER_ADOPT_MSEC * USEC_PER_MSEC;
}

/* The newest connection wins. */
static void handover_end(Performer *p) {
        Conn *conn CLEANUP(conn_free) = NULL;
        size_t len;
        int agent, r = handover_receive(p->handover_fd, p->packet, &len, &agent);

        if (r == -EAGAIN)
                return;
        handover_close(p);
        if (r <= 0 || conn_new(agent, &conn) < 0 || !packet_event(p, len))
                return;
        (void) conn_free(p->run->conn);
        p->run->conn = TAKE(conn);
}

/* ---- the handler ---- */

static void drain_output(Performer *p) {
        enum { READS_MAX = 17 }; /* the largest pipe holds 1 MiB; what is left behind might write for ever */
        uint64_t now = clock_boottime_usec();

        for (int s = 0; s < OUTPUT_COUNT; s++)
                for (int i = 0; i < READS_MAX && output_read(p->run->output, (OutputStream) s, now); i++)
                        ;
}

static void progress_line(const char *line, size_t len, void *userdata) {
        Performer *p = userdata;

        if (p->n > 0) /* no memory for an event: older news of this kind may go */
                return;
        perform_event_text(p, PLAN_EVENT_PROGRESS, line, len);
        perform_run(p);
}

static void start_failed(Performer *p, int error) {
        Error e = {};

        spawn_explain(p->run->handler_path, p->run->child_user, error, &e);
        output_finish(p->run->output);
        p->tree = p->killing = false;
        child_done(&p->run->child);
        run_leave_step(p->run);
        perform_event_text(p, PLAN_EVENT_START_FAILED, e.text, strlen(e.text));
}

static void main_exited(Performer *p, int status) {
        int error = spawn_exec_error(&p->run->child);

        if (error != 0) {
                start_failed(p, error);
                return;
        }
        p->main_over = true;
        p->main_status = status;
        p->trailing_deadline = clock_boottime_usec() + RUNNER_TRAILING_MSEC * USEC_PER_MSEC;
}

static void look_at_children(Performer *p) {
        TreeChange c;

        if (!p->tree)
                return;
        tree_reap(p->main_over ? 0 : p->run->child.pid, &c);
        p->tree_empty = c.empty;
        if (c.main_exited)
                main_exited(p, c.main_status);
}

/* The handler's own process has ended. What it piped its output through (a `tee` in the background) may still have something
 * to write and gets a moment for that before the plan hears of the end and kills what is left. */
static void look_at_end(Performer *p) {
        drain_output(p);
        p->trailing = !output_at_end(p->run->output) && clock_boottime_usec() < p->trailing_deadline;
        if (p->main_told || (p->trailing && !p->killing))
                return;
        p->main_told = true;
        perform_event_output(p, PLAN_EVENT_EXITED, p->main_status);
}

/* Nothing runs any more and its output is read, or somebody outside the tree holds it open for longer than is waited. */
static void look_at_tree(Performer *p) {
        Run *run = p->run;

        if (!p->tree || !p->main_over)
                return;
        look_at_end(p);
        perform_run(p);
        if (p->done || !p->main_told || !p->tree_empty || p->trailing)
                return;
        output_finish(run->output);
        p->tree = p->killing = false;
        child_done(&run->child);
        run_leave_step(run);
        perform_event_output(p, PLAN_EVENT_TREE_EMPTY, 0);
}

/* ---- signals and time ---- */

static void signal_readable(Performer *p) {
        struct signalfd_siginfo s;

        while (read(p->signal_fd, &s, sizeof s) == (ssize_t) sizeof s)
                if (s.ssi_signo == SIGTERM || s.ssi_signo == SIGINT) {
                        p->stopped = true;
                        perform_event(p, PLAN_EVENT_STOP);
                } else {
                        perform_look_at_reboot(p);
                        look_at_children(p);
                }
}

/* A handler that has ended in time must not be found late because its output trails. */
static uint64_t plan_timer(const Performer *p) {
        return p->tree && p->main_over && !p->main_told ? USEC_NEVER : plan_deadline(p->run->plan);
}

static uint64_t next_deadline(const Performer *p) {
        uint64_t t = p->retry_deadline;

        if (p->n > 0)
                return t;
        t = MIN_OF(plan_timer(p), output_deadline(p->run->output));
        t = MIN_OF(t, p->ahead_deadline);
        if (p->want_slot)
                t = MIN_OF(t, p->slot_deadline);
        if (p->killing)
                t = MIN_OF(t, p->kill_deadline);
        if (p->tree && p->main_over && p->trailing)
                t = MIN_OF(t, p->trailing_deadline);
        if (p->handover_fd >= 0)
                t = MIN_OF(t, p->handover_deadline);
        return t;
}

static void look_at_clock(Performer *p) {
        uint64_t now = clock_boottime_usec();

        if (now >= output_deadline(p->run->output))
                output_tick(p->run->output, now);
        if (p->killing && now >= p->kill_deadline)
                perform_kill_again(p);
        if (p->handover_fd >= 0 && now >= p->handover_deadline)
                handover_close(p);
        if (p->want_slot && now >= p->slot_deadline)
                perform_take_slot(p);
        if (now >= p->ahead_deadline)
                perform_fork_ahead(p);
        perform_run(p);
        if (p->n == 0 && !p->done && now >= plan_timer(p))
                perform_event(p, PLAN_EVENT_TIMER);
}

/* ---- the loop ---- */

static void fill_poll(const Performer *p, struct pollfd *f) {
        const Run *run = p->run;

        for (int i = 0; i < SOURCE_COUNT; i++)
                f[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
        if (p->n > 0) /* waiting for memory: the world waits too */
                return;
        f[SOURCE_SIGNAL].fd = p->signal_fd;
        if (run->conn) {
                f[SOURCE_AGENT].fd = conn_fd(run->conn);
                f[SOURCE_AGENT].events = (short) (POLLIN | (conn_has_unsent(run->conn) ? POLLOUT : 0));
        }
        if (p->handover_fd >= 0)
                f[SOURCE_HANDOVER].fd = p->handover_fd;
        else
                f[SOURCE_LISTEN].fd = run->lock.listen_fd;
        for (int s = 0; s < OUTPUT_COUNT; s++)
                f[SOURCE_OUTPUT + s].fd = output_fd(run->output, (OutputStream) s);
}

/* Every source gets one turn, and the plan its say after each. */
static void dispatch(Performer *p, const struct pollfd *f) {
        for (int s = 0; s < OUTPUT_COUNT; s++)
                if (f[SOURCE_OUTPUT + s].revents)
                        (void) output_read(p->run->output, (OutputStream) s, clock_boottime_usec());
        if (f[SOURCE_SIGNAL].revents)
                signal_readable(p);
        perform_run(p);
        if (f[SOURCE_AGENT].revents & POLLOUT && p->run->conn && conn_flush(p->run->conn) < 0)
                perform_agent_gone(p);
        else if (f[SOURCE_AGENT].revents & ~POLLOUT && p->run->conn && !p->done)
                agent_readable(p);
        perform_run(p);
        if (f[SOURCE_HANDOVER].revents && p->handover_fd >= 0 && !p->done)
                handover_end(p);
        else if (f[SOURCE_LISTEN].revents && !p->done)
                handover_begin(p);
        perform_run(p);
}

static int wait_for_world(Performer *p, struct pollfd *f) {
        uint64_t now = clock_boottime_usec(), deadline = next_deadline(p);
        uint64_t left = deadline == USEC_NEVER || deadline <= now ? 0 : deadline - now;
        const struct timespec t = {
                .tv_sec = (time_t) (left / USEC_PER_SEC),
                .tv_nsec = (long) (left % USEC_PER_SEC) * 1000,
        };

        fill_poll(p, f);
        if (ppoll(f, SOURCE_COUNT, deadline == USEC_NEVER ? NULL : &t, NULL) < 0)
                return errno == EINTR ? 0 : -errno;
        return 1;
}

static int loop(Performer *p) {
        while (!p->done) {
                struct pollfd f[SOURCE_COUNT];
                int r = wait_for_world(p, f);

                if (r < 0)
                        return r;
                if (r > 0)
                        dispatch(p, f);
                if (p->done)
                        break;
                look_at_tree(p);
                perform_run(p);
                if (!p->done)
                        look_at_clock(p);
                perform_run(p);
        }
        return 0;
}

static int signals_open(void) {
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

/* The plan ends only behind an empty tree; this is for the day it does not. */
static void end_tree(Performer *p) {
        uint64_t deadline = clock_boottime_usec() + RUNNER_LEFTOVER_SEC * USEC_PER_SEC;
        const struct timespec pause = { .tv_nsec = RUNNER_KILL_AGAIN_MSEC * 1000000L };
        Child *c = &p->run->child;

        if (p->tree && !p->main_over && !c->released) { /* at the gate */
                child_done(c);
                return;
        }
        while (p->tree && !p->tree_empty && clock_boottime_usec() < deadline) {
                TreeChange change;

                if (tree_signal(SIGKILL) < 0)
                        break;
                (void) nanosleep(&pause, NULL);
                tree_reap(0, &change);
                p->tree_empty = change.empty;
        }
}

/* Its record goes on without this runner: deferred, reported and not acknowledged yet, told to stop. */
static void remove_document(const Performer *p) {
        Error e = {};

        if (!p->cleared && run_remove_document(p->run, &e) < 0)
                log_warning("%s, ignoring", e.text);
}

int run_perform(Run *run, const WireMessage *first) {
        Performer p = {
                .run = run, .handover_fd = -1, .retry_deadline = USEC_NEVER, .signal_fd = signals_open()
        };
        int r = p.signal_fd < 0 ? p.signal_fd : output_new(&run->redact, progress_line, &p, &run->output);

        p.packet = malloc(WIRE_PACKET_MAX + 1);
        p.queue = malloc(PERFORM_EVENTS_MAX * sizeof *p.queue);
        if (r == 0 && (!p.packet || !p.queue))
                r = -ENOMEM;
        if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                r = -errno;
        if (r == 0) {
                perform_open(&p, first);
                perform_run(&p);
                p.ahead_deadline = clock_boottime_usec() + RUNNER_AHEAD_USEC;
                r = loop(&p);
        }
        end_tree(&p);
        perform_end_reboot(&p);
        remove_document(&p);
        if (run->conn)
                conn_drain(run->conn);
        if (r < 0)
                log_error("the run of job %s cannot be followed: %s", run->key.job_id, strerrordesc_np(-r));
        handover_close(&p);
        plan_actions_done(&p.actions);
        free(p.queue);
        free(p.packet);
        close_fd_p(&p.signal_fd);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
