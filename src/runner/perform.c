/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's actions, carried out in order. Nothing is decided here. */
#include "runner/perform.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/message_id.h"
#include "runner/reboot.h"

/* ---- events ---- */

static PerformQueued *event_push(Performer *p, PlanEventType type) {
        PerformQueued *q = &p->queue[(p->first + p->n) % PERFORM_EVENTS_MAX];

        if (p->n == PERFORM_EVENTS_MAX) /* an action brings about one event at the most, and few actions do */
                abort();
        p->n++;
        q->event = (PlanEvent){ .type = type };
        q->with_output = false;
        return q;
}

void perform_event(Performer *p, PlanEventType type) {
        (void) event_push(p, type);
}

void perform_event_text(Performer *p, PlanEventType type, const char *text, size_t len) {
        PerformQueued *q = event_push(p, type);

        len = MIN_OF(len, sizeof q->text - 1);
        memcpy(q->text, text, len);
        q->text[len] = '\0';
        q->event.text = q->text;
        q->event.text_len = len;
}

void perform_event_seconds(Performer *p, PlanEventType type, uint64_t seconds) {
        event_push(p, type)->event.seconds = seconds;
}

void perform_event_output(Performer *p, PlanEventType type, int status) {
        PerformQueued *q = event_push(p, type);

        q->with_output = true;
        q->event.signalled = WIFSIGNALED(status);
        q->event.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
        q->event.tree_empty = p->tree_empty;
}

static PlanOpen open_of(WireType asked) {
        if (asked == WIRE_ATTACH)
                return PLAN_OPEN_ATTACH;
        if (asked == WIRE_CANCEL)
                return PLAN_OPEN_CANCEL;
        if (asked == WIRE_ACK)
                return PLAN_OPEN_ACK;
        return asked == WIRE_DROP ? PLAN_OPEN_DROP : PLAN_OPEN_RUN;
}

void perform_event_cancel(Performer *p, bool by_operator) {
        event_push(p, PLAN_EVENT_CANCEL)->event.by_operator = by_operator;
}

void perform_open(Performer *p, const WireMessage *first) {
        PerformQueued *q = event_push(p, PLAN_EVENT_OPEN);

        q->event.open = open_of(first->type);
        q->event.by_operator = first->by_operator;
        q->event.by_deadline = first->by_deadline;
        q->event.record = &p->run->state;
        if (p->run->refusal[0]) {
                q->event.text = p->run->refusal;
                q->event.text_len = strlen(p->run->refusal);
        }
}

static void add_output(Output *o, PlanEvent *event) {
        event->stdout_tail = output_tail(o, OUTPUT_STDOUT, &event->stdout_len);
        event->stderr_tail = output_tail(o, OUTPUT_STDERR, &event->stderr_len);
        event->stderr_lines = output_lines(o, OUTPUT_STDERR);
}

/* ---- actions ---- */

void perform_agent_gone(Performer *p) {
        if (!p->run->conn)
                return;
        p->run->conn = conn_free(p->run->conn);
        perform_event(p, PLAN_EVENT_DISCONNECTED);
}

static void do_tell(Performer *p, const PlanAction *action) {
        Run *run = p->run;
        RunFields f;
        int r;

        if (!run->conn)
                return;
        r = conn_send(run->conn, &action->message);
        if (r >= 0)
                return;
        run_fields(run, 0, 0, &f);
        log_full(LOG_LEVEL_DEBUG, NULL, NULL, f.field,
                 "cannot send %s to the agent, dropping the connection: %s",
                 wire_type_name(action->message.type), strerrordesc_np(-r));
        perform_agent_gone(p);
}

static bool is_first_start(const PlanAction *a) {
        return a->step == 0 && a->attempt == 1 && a->phase == WIRE_PHASE_RUN;
}

void perform_fork_ahead(Performer *p) {
        const PlanAction first = { .type = PLAN_ACTION_FORK, .attempt = 1, .phase = WIRE_PHASE_RUN };

        p->ahead_deadline = USEC_NEVER;
        if (p->done || !p->run->doc_good || p->run->state.phase > RECORD_IS_PREPARED || !p->run->handler_path)
                return;
        /* What goes wrong now is tried again, and told, when the plan asks for it; and the file is looked at again then. */
        p->ahead = run_start_step(p->run, &first, TAKE(p->run->handler_path), NULL) == 0;
}

/* The child that waits, if it is the one that is wanted, still waits, and its file is still the one that is found. */
static bool take_ahead(Performer *p, const PlanAction *action, const char *path) {
        Child *c = &p->run->child;
        bool alive;

        if (!p->ahead)
                return false;
        p->ahead = false;
        alive = waitpid(c->pid, NULL, WNOHANG) == 0;
        if (alive && is_first_start(action) && strcmp(path, p->run->handler_path) == 0)
                return true;
        if (!alive)
                (void) spawn_exec_error(c);
        child_done(c);
        return false;
}

static int start_child(Performer *p, const PlanAction *action, Error *e) {
        char *path CLEANUP_FREE = NULL, json_path[WIRE_PATH_MAX];
        Run *run = p->run;
        int r;

        if (!run->doc_good || action->step >= run->doc.n_steps)
                return error_set(e, EINVAL, "the document has no such step");
        r = run_find_handler(run, action->step, &path, e);
        if (take_ahead(p, action, r < 0 ? "" : path))
                return 0;
        if (r < 0) {
                run_handler_json_path(run, action->step, json_path);
                (void) error_wrap(e, "%s", json_path);
                return r;
        }
        return run_start_step(run, action, TAKE(path), e);
}

static void do_fork(Performer *p, const PlanAction *action) {
        Run *run = p->run;
        TreeTrace trace;
        Error e = {};
        PlanEvent *event;
        int r = start_child(p, action, &e);

        p->ahead_deadline = USEC_NEVER;
        if (r < 0) {
                perform_event_text(p, PLAN_EVENT_START_FAILED, e.text, strlen(e.text));
                return;
        }
        p->tree = true;
        p->main_over = p->main_told = p->trailing = p->tree_empty = p->killing = false;
        run_trace(run, run->boot_id, run->child.pid, run->child.start_time, &trace);
        r = run->slot.fd >= 0 ? slot_mark(&run->slot, &trace) : 0;
        if (r < 0)
                log_warning("cannot write into the slot's file in %s/slots, ignoring: %s",
                            run->config->runtime_directory, strerrordesc_np(-r));
        event = &event_push(p, PLAN_EVENT_FORKED)->event;
        event->pid = run->child.pid;
        event->start_time = run->child.start_time;
        event->cgroup = run->limits.group;
}

static void do_kill(Performer *p, int sig) {
        int r;

        if (!p->tree || p->tree_empty)
                return;
        if (sig == SIGKILL)
                limits_kill(&p->run->limits);
        r = tree_signal(sig);
        if (r < 0) {
                log_error("cannot look for the handler's processes in /proc, signalling its own process "
                          "alone: %s",
                          strerrordesc_np(-r));
                if (!p->main_over)
                        (void) kill(p->run->child.pid, sig);
        }
        p->killing = p->killing || sig == SIGKILL;
        p->kill_deadline = clock_boottime_usec() + RUNNER_KILL_AGAIN_MSEC * USEC_PER_MSEC;
}

void perform_kill_again(Performer *p) {
        if (p->killing)
                do_kill(p, SIGKILL);
}

static void do_log(const Performer *p, const PlanAction *a) {
        /* The journal shows the text alone unless it is asked for more; stderr has the fields behind it. */
        const char *job = log_to_journal() ? p->run->key.job_id : "";
        RunFields f;

        run_fields(p->run, a->step, a->attempt, &f);
        if (a->status != PROTO_STATUS_NONE)
                run_fields_add(&f, "IOT_JOB_STATUS", proto_status_name(a->status));
        if (a->exit_code >= 0) {
                (void) snprintf(f.exit_code, sizeof f.exit_code, "%d", a->exit_code);
                run_fields_add(&f, "IOT_JOB_EXIT_CODE", f.exit_code);
        }
        if (a->exit_signal > 0) {
                run_fields_add(&f, "IOT_JOB_SIGNAL", plan_signal_name(a->exit_signal, f.signal));
        }
        log_full((LogLevel) a->level, NULL, a->message_id, f.field, "%s%s%s", job, job[0] ? ": " : "",
                 a->text);
}

/* The work directory first: without its record nobody would look for it again. */
static void do_end_record(Performer *p, const PlanAction *a) {
        Run *run = p->run;
        RunFields f;
        Error e = {};
        int r;

        run_fields(run, 0, 0, &f);
        if (run_remove_work(run, &e) < 0)
                log_full(LOG_LEVEL_WARNING, NULL, NULL, f.field, "%s, ignoring", e.text);
        p->cleared = true;
        if (a->type == PLAN_ACTION_BURY)
                r = record_bury(run->record, &run->key, a->message.status, &a->message.details, &e);
        else
                r = record_drop(run->record, &e);
        if (r < 0)
                log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_RECORD_BAD, f.field, "%s", e.text);
}

/* false: the rest of the list must not be carried out. */
static bool do_persist(Performer *p, const PlanAction *a) {
        Run *run = p->run;
        RunFields f;
        Error e = {};
        int r;

        r = record_append(run->record, &a->entry, &e);
        /* Over for this device, written or not: the next run need not wait until the cloud knows. */
        if (a->entry.type == RECORD_RESULT && !p->tree)
                run_release_slots(run);
        if (r >= 0)
                return true;
        /* What that means for the run is said aloud by the plan or the agent, with this text in it. */
        run_fields(run, 0, 0, &f);
        log_full(LOG_LEVEL_DEBUG, NULL, NULL, f.field, "%s", e.text);
        perform_event_text(p, PLAN_EVENT_PERSIST_FAILED, e.text, strlen(e.text));
        return false;
}

/* The slot may name a run whose runner died: what that left behind ends first, or two runs would overlap. */
static bool slot_is_clean(Performer *p, Slot *s) {
        int left = s->dirty ? tree_kill_trace(&s->former, p->run->boot_id) : 0;

        if (left > 0) {
                p->slot_deadline = clock_boottime_usec() + RUNNER_KILL_AGAIN_MSEC * USEC_PER_MSEC;
                return false;
        }
        if (left < 0)
                log_warning("cannot look for what run %s left behind, ignoring: %s", s->former.key,
                            strerrordesc_np(-left));
        s->dirty = false;
        return true;
}

/* 1 = taken and clean, 0 = not yet. */
static int take_one(Performer *p, Error *e) {
        Run *run = p->run;
        int r = run->slot.fd >= 0 ? 1 : slot_take(run->slots_fd, run->config->max_concurrent, &run->slot, e);

        return r <= 0 ? r : slot_is_clean(p, &run->slot);
}

/* One after the other, in their order, so that of two runners that want the same one gets all. */
static int take_all(Performer *p, Error *e) {
        Run *run = p->run;
        int r = 1;

        slot_release(&run->slot);
        if (!run->all_slots)
                run->all_slots = calloc(SLOTS_MAX, sizeof *run->all_slots);
        if (!run->all_slots)
                return error_errno(e, ENOMEM, "slots");
        while (r > 0 && run->n_all_slots < SLOTS_MAX) {
                r = slot_take_number(run->slots_fd, (int64_t) run->n_all_slots, &run->all_slots[run->n_all_slots], e);
                if (r > 0)
                        run->n_all_slots++;
        }
        for (size_t i = 0; i < run->n_all_slots; i++)
                if (!slot_is_clean(p, &run->all_slots[i]))
                        return 0;
        return r;
}

void perform_take_slot(Performer *p) {
        Error e = {};
        int r;

        if (!p->want_slot)
                return;
        p->slot_deadline = clock_boottime_usec() + RUNNER_SLOT_POLL_MSEC * USEC_PER_MSEC;
        r = p->want_all_slots ? take_all(p, &e) : take_one(p, &e);
        if (r < 0 && !p->slot_trouble) {
                p->slot_trouble = true;
                log_error("%s (%s); trying again", e.text, p->run->config->runtime_directory);
        }
        if (r <= 0)
                return;
        p->want_slot = p->want_all_slots = p->slot_trouble = false;
        perform_event(p, PLAN_EVENT_SLOT_TAKEN);
}

static void want_slots(Performer *p, bool all) {
        p->want_slot = true;
        p->want_all_slots = all;
        perform_take_slot(p);
}

/* ---- the reboot ---- */

static void reboot_failed(Performer *p, const char *text) {
        perform_event_text(p, PLAN_EVENT_REBOOT_FAILED, text, strlen(text));
}

static void do_reboot(Performer *p) {
        Error e = {};

        if (reboot_start(p->run->config, p->run->uid, &p->reboot_pid, &e) < 0)
                reboot_failed(p, e.text);
}

void perform_look_at_reboot(Performer *p) {
        char text[WIRE_REASON_MAX];
        int status;

        if (p->reboot_pid == 0 || waitpid(p->reboot_pid, &status, WNOHANG) != p->reboot_pid)
                return;
        p->reboot_pid = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return;
        if (WIFEXITED(status))
                (void) snprintf(text, sizeof text, "%.400s exited with status %d", p->run->config->reboot_command[0],
                                WEXITSTATUS(status));
        else
                (void) snprintf(text, sizeof text, "%.400s was ended by signal %d", p->run->config->reboot_command[0],
                                WTERMSIG(status));
        reboot_failed(p, text);
}

/* A runner that is told to stop is so, as a rule, by the reboot: then the command is not to be hindered. */
void perform_end_reboot(Performer *p) {
        if (p->reboot_pid == 0 || p->stopped)
                return;
        (void) kill(p->reboot_pid, SIGKILL);
        (void) waitpid(p->reboot_pid, NULL, 0);
        p->reboot_pid = 0;
}

/* ---- */

static bool perform(Performer *p, const PlanAction *a) {
        int r;

        switch (a->type) {
        case PLAN_ACTION_PERSIST:
                return do_persist(p, a);
        case PLAN_ACTION_TELL:
                do_tell(p, a);
                break;
        case PLAN_ACTION_TAKE_SLOT:
                want_slots(p, false);
                break;
        case PLAN_ACTION_TAKE_ALL_SLOTS:
                want_slots(p, true);
                break;
        case PLAN_ACTION_REBOOT:
                do_reboot(p);
                break;
        case PLAN_ACTION_FORK:
                do_fork(p, a);
                break;
        case PLAN_ACTION_RELEASE:
                run_enter_step(p->run, a->step);
                r = spawn_release(&p->run->child);
                if (r < 0) /* it was killed at the gate: its end will be seen */
                        log_debug("the gate of process %d: %s", (int) p->run->child.pid, strerrordesc_np(-r));
                break;
        case PLAN_ACTION_KILL:
                do_kill(p, a->signal);
                break;
        case PLAN_ACTION_LOG:
                do_log(p, a);
                break;
        case PLAN_ACTION_BURY:
        case PLAN_ACTION_FORGET:
                do_end_record(p, a);
                break;
        case PLAN_ACTION_EXIT:
                p->done = true;
                break;
        }
        return true;
}

static bool feed_first(Performer *p) {
        PerformQueued *q = &p->queue[p->first];
        char limit[LIMITS_TEXT_MAX];

        q->event.now = clock_boottime_usec();
        if (q->with_output)
                add_output(p->run->output, &q->event);
        if (q->event.type == PLAN_EVENT_EXITED && limits_broken(&p->run->limits, limit))
                q->event.limit = limit;
        plan_actions_clear(&p->actions);
        if (plan_step(p->run->plan, &q->event, &p->actions) < 0) {
                p->retry_deadline = q->event.now + RUNNER_NO_MEMORY_MSEC * USEC_PER_MSEC;
                return false;
        }
        p->retry_deadline = USEC_NEVER;
        p->n--;
        p->first = p->n > 0 ? (p->first + 1) % PERFORM_EVENTS_MAX : 0; /* mostly one page is all that is touched */
        return true;
}

void perform_run(Performer *p) {
        if (p->busy)
                return;
        p->busy = true;
        while (p->n > 0 && !p->done && feed_first(p))
                for (size_t i = 0; i < p->actions.n && !p->done; i++)
                        if (!perform(p, &p->actions.item[i]))
                                break;
        p->busy = false;
}
