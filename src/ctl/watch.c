/* SPDX-License-Identifier: Apache-2.0 */
/* watch: what goes on, as it goes on. A terminal gets a picture that is drawn again and again; anything else a line for each change. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "ctl/agent.h"
#include "runner/conn.h"

enum {
        RETRY_USEC = 1000 * 1000, /* between two tries to reach an agent that went away */
        TICK_USEC = 1000 * 1000,  /* the times in the picture go on by themselves */
        BAR_MIN = 6,
        BAR_MAX = 24,
        NAME_MAX_COLUMNS = 24,
        WIDTH_MIN = 20, /* of a terminal that says nothing sensible */
        WIDTH_DEFAULT = 80,
        HEIGHT_DEFAULT = 24,
        TOLD_MAX = CONTROL_JOBS_MAX,
};

#define CURSOR_HIDE "\033[?25l"
#define CURSOR_SHOW "\033[?25h"
#define CLEAR_LINE  "\033[K"
#define CLEAR_BELOW "\033[J"

typedef struct Told { /* of a job, in the last line about it */
        char job_id[LIMIT_JOB_ID + 1];
        int64_t number, progress;
        ControlPhase phase;
        char step[CONTROL_STEP_MAX];
        bool seen;
} Told;

typedef struct Watch {
        const CtlOptions *o;
        int fd; /* -1 = the agent is away */
        int signal_fd;
        sigset_t former_mask;
        ControlReply reply;
        Buf packet;
        uint64_t received_at;
        bool live; /* standard output is a terminal, and not for a program */
        size_t lines; /* of the picture that is there */
        bool over;
        Told told[TOLD_MAX];
        size_t n_told;
        bool said_connected, said_any;
        bool said_paused;
} Watch;

/* ---- the terminal ---- */

static void put_terminal(const char *text, size_t len) {
        (void) !write_all(STDOUT_FILENO, text, len);
}

static void terminal_size(size_t *ret_columns, size_t *ret_lines) {
        struct winsize w = {};

        (void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
        *ret_columns = w.ws_col == 0 ? WIDTH_DEFAULT : MAX_OF((size_t) w.ws_col, (size_t) WIDTH_MIN);
        *ret_lines = w.ws_row == 0 ? HEIGHT_DEFAULT : MAX_OF((size_t) w.ws_row, (size_t) 2);
}

/* One line of the picture, cut so that it never wraps. */
static void add_line(Buf *picture, size_t columns, const char *text) {
        buf_append(picture, text, format_cut(text, columns - 1));
        buf_puts(picture, CLEAR_LINE "\n");
}

static void add_bar(Buf *line, size_t columns, int64_t percent, uint64_t now) {
        size_t width = MIN_OF(MAX_OF(columns / 5, (size_t) BAR_MIN), (size_t) BAR_MAX);
        size_t done = percent < 0 ? 0 : (size_t) percent * width / 100;
        size_t moving = (size_t) (now / TICK_USEC % width);

        buf_puts(line, " [");
        for (size_t i = 0; i < width; i++)
                buf_puts(line, percent < 0 ? (i == moving ? "=" : " ") : i < done ? "#" : ".");
        if (percent < 0)
                buf_puts(line, "]      ");
        else
                buf_printf(line, "] %3d %%", (int) percent);
}

/* The job as it was told, that much later. */
static ControlJob aged(const ControlJob *j, int64_t seconds) {
        ControlJob ret = *j;

        ret.details = (ProtoDetails){};
        ret.since += ret.since >= 0 ? seconds : 0;
        ret.resume_in = ret.resume_in < 0 ? -1 : MAX_OF(ret.resume_in - seconds, (int64_t) 0);
        return ret;
}

static void add_job(Buf *picture, size_t columns, size_t name_columns, const ControlJob *told, int64_t later, uint64_t now) {
        ControlJob j = aged(told, later);
        size_t n = format_cut(j.job_id, name_columns);
        char phase[2 * FORMAT_MAX];
        Buf line CLEANUP_BUF = {};

        buf_printf(&line, "%.*s%*s", (int) n, j.job_id, (int) (name_columns - n), "");
        if (j.phase == CONTROL_RUNNING || j.phase == CONTROL_STOPPING)
                add_bar(&line, columns, j.progress, now);
        buf_printf(&line, "  %s", format_phase(&j, phase));
        if (j.step[0])
                buf_printf(&line, "  %s", j.step);
        if (buf_error(&line) == 0)
                add_line(picture, columns, line.data);
}

static void add_head(Buf *picture, size_t columns, const Watch *w, int64_t later) {
        const ControlStatus *s = &w->reply.status;
        char line[2 * CONTROL_TEXT_MAX], text[FORMAT_MAX];

        if (w->fd < 0)
                (void) snprintf(line, sizeof line, "%s: the agent is not running; waiting for it", s->thing);
        else if (s->connected)
                (void) snprintf(line, sizeof line, "%s: connected for %s", s->thing, format_duration(s->connection_time + later, text));
        else
                (void) snprintf(line, sizeof line, "%s: %s for %s", s->thing, s->error[0] ? s->error : "not connected",
                                format_duration(s->connection_time + later, text));
        add_line(picture, columns, line);
        if (s->paused_since >= 0) {
                (void) snprintf(line, sizeof line, "paused since %s: what has begun goes on, nothing else starts",
                                format_time(s->paused_since, text));
                add_line(picture, columns, line);
        }
}

static void add_jobs(Buf *picture, size_t columns, size_t room, const Watch *w, int64_t later, uint64_t now) {
        const ControlReply *a = &w->reply;
        size_t n = a->n_jobs > room ? room - 1 : a->n_jobs, name_columns = 0;
        char line[FORMAT_MAX];

        for (size_t i = 0; i < n; i++)
                name_columns = MAX_OF(name_columns, strlen(a->jobs[i].job_id));
        name_columns = MIN_OF(name_columns, (size_t) NAME_MAX_COLUMNS);
        for (size_t i = 0; i < n; i++)
                add_job(picture, columns, name_columns, &a->jobs[i], later, now);
        if (n < a->n_jobs) {
                (void) snprintf(line, sizeof line, "and %zu more", a->n_jobs - n);
                add_line(picture, columns, line);
        } else if (a->n_jobs == 0)
                add_line(picture, columns, "no jobs");
}

static size_t count_lines(const Buf *b) {
        size_t n = 0;

        for (size_t i = 0; i < b->len; i++)
                n += b->data[i] == '\n';
        return n;
}

static void draw(Watch *w) {
        uint64_t now = clock_boottime_usec();
        int64_t later = (int64_t) ((now - w->received_at) / USEC_PER_SEC);
        size_t columns, lines, head;
        Buf picture CLEANUP_BUF = {}, all CLEANUP_BUF = {};

        terminal_size(&columns, &lines);
        add_head(&picture, columns, w, later);
        head = count_lines(&picture);
        if (lines > head + 1)
                add_jobs(&picture, columns, lines - head - 1, w, later, now);
        if (w->lines > 0) /* a terminal that has become lower has scrolled: no more than it holds */
                buf_printf(&all, "\033[%zuA", MIN_OF(w->lines, lines - 1));
        buf_puts(&all, "\r");
        buf_append(&all, picture.data, picture.len);
        buf_puts(&all, CLEAR_BELOW);
        if (buf_error(&all) < 0 || buf_error(&picture) < 0)
                return;
        w->lines = count_lines(&picture);
        put_terminal(all.data, all.len);
}

static void show_cursor(const Watch *w, bool on) {
        if (w->live)
                put_terminal(on ? CURSOR_SHOW : CURSOR_HIDE, sizeof CURSOR_SHOW - 1);
}

/* ---- lines ---- */

static Told *find_told(Watch *w, const ControlJob *j) {
        for (size_t i = 0; i < w->n_told; i++)
                if (strcmp(w->told[i].job_id, j->job_id) == 0 && w->told[i].number == j->number)
                        return &w->told[i];
        return NULL;
}

static const char *ending_of(const Watch *w, const Told *t) {
        for (size_t i = 0; i < w->reply.n_ended; i++)
                if (strcmp(w->reply.ended[i].job_id, t->job_id) == 0 && w->reply.ended[i].number == t->number &&
                    w->reply.ended[i].status != PROTO_STATUS_NONE)
                        return proto_status_name(w->reply.ended[i].status);
        return "over in the cloud";
}

static void tell_gone(Watch *w) {
        for (size_t i = 0; i < w->n_told;)
                if (w->told[i].seen)
                        w->told[i++].seen = false;
                else {
                        (void) printf("%s: %s\n", w->told[i].job_id, ending_of(w, &w->told[i]));
                        w->told[i] = w->told[--w->n_told];
                }
}

static void tell_job(Watch *w, const ControlJob *j) {
        Told *t = find_told(w, j), now = { .number = j->number, .progress = j->progress, .phase = j->phase, .seen = true };
        char phase[2 * FORMAT_MAX];

        memcpy(now.job_id, j->job_id, sizeof now.job_id);
        memcpy(now.step, j->step, sizeof now.step);
        if (!t && w->n_told < TOLD_MAX)
                t = &w->told[w->n_told++];
        else if (!t || (t->phase == now.phase && t->progress == now.progress && strcmp(t->step, now.step) == 0)) {
                if (t)
                        t->seen = true;
                return;
        }
        *t = now;
        (void) printf("%s: %s", j->job_id, format_phase(j, phase));
        if (j->progress >= 0)
                (void) printf(", %lld %%", (long long) j->progress);
        (void) printf("%s%s\n", j->step[0] ? ", " : "", j->step);
}

static void tell(Watch *w) {
        const ControlStatus *s = &w->reply.status;

        if (!w->said_any || w->said_connected != s->connected)
                (void) printf("%s: %s\n", s->thing, s->connected ? "connected" : s->error[0] ? s->error : "not connected");
        if (w->said_paused != (s->paused_since >= 0))
                (void) printf("%s: %s\n", s->thing, s->paused_since >= 0 ? "paused" : "resumed");
        w->said_any = true;
        w->said_connected = s->connected;
        w->said_paused = s->paused_since >= 0;
        for (size_t i = 0; i < w->reply.n_jobs; i++)
                tell_job(w, &w->reply.jobs[i]);
        tell_gone(w);
}

static void tell_away(const Watch *w) {
        if (!w->o->json && !w->live)
                (void) printf("%s: the agent is not running; waiting for it\n", w->reply.status.thing);
        (void) fflush(stdout);
}

/* ---- the loop ---- */

static void show(Watch *w) {
        if (w->o->json)
                (void) printf("%.*s\n", (int) w->packet.len, w->packet.data);
        else if (w->live)
                draw(w);
        else
                tell(w);
        if (!w->live && (fflush(stdout) != 0 || ferror(stdout)))
                w->over = true; /* nobody listens */
}

static int start_watch(Watch *w, bool quiet) {
        int r = agent_connect(w->o, quiet, &w->fd);

        if (r == 0)
                r = agent_send(w->fd, &(ControlRequest){ .verb = CONTROL_WATCH });
        if (r < 0)
                close_fd_p(&w->fd), w->fd = -1;
        return r;
}

static void hear(Watch *w) {
        ControlReply a CLEANUP_REPLY = {};
        int r = agent_receive(w->fd, &w->packet, &a);

        if (r < 0 || a.type != CONTROL_REPLY_STATUS) {
                close_fd_p(&w->fd);
                w->fd = -1;
                w->over = r == -EBADMSG;
                if (r == 0)
                        (void) ctl_fail("%s", a.text);
                tell_away(w);
                return;
        }
        control_reply_done(&w->reply);
        w->reply = a;
        a = (ControlReply){};
        w->received_at = clock_boottime_usec();
        show(w);
}

/* Stopped like any other program, but with the terminal as it was. */
static void suspend(Watch *w) {
        show_cursor(w, true);
        (void) raise(SIGSTOP);
        show_cursor(w, false);
        w->lines = 0; /* the shell has written below it */
}

static void take_signal(Watch *w) {
        struct signalfd_siginfo s;

        if (read(w->signal_fd, &s, sizeof s) != (ssize_t) sizeof s)
                return;
        if (s.ssi_signo == SIGTSTP)
                suspend(w);
        else if (s.ssi_signo != SIGWINCH && s.ssi_signo != SIGCONT)
                w->over = true;
        if (w->live && !w->over)
                draw(w);
}

static int open_signals(Watch *w) {
        static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
        static const int of_terminal[] = { SIGTSTP, SIGWINCH, SIGCONT };
        sigset_t set;

        (void) sigemptyset(&set);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
                (void) sigaddset(&set, wanted[i]);
        for (size_t i = 0; w->live && i < ELEMENTSOF(of_terminal); i++)
                (void) sigaddset(&set, of_terminal[i]);
        if (sigprocmask(SIG_BLOCK, &set, &w->former_mask) < 0)
                return -errno;
        w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return w->signal_fd < 0 ? -errno : 0;
}

static void watch_loop(Watch *w) {
        while (!w->over) {
                struct pollfd f[] = { { .fd = w->signal_fd, .events = POLLIN },
                                      { .fd = w->fd, .events = POLLIN },
                                      { .fd = STDOUT_FILENO } }; /* does anybody listen? */
                int timeout = w->fd < 0 ? RETRY_USEC / 1000 : w->live ? TICK_USEC / 1000 : -1;
                int n = poll(f, ELEMENTSOF(f), timeout);

                if (n < 0 && errno != EINTR)
                        return;
                if (n > 0 && f[2].revents)
                        return;
                if (n > 0 && f[0].revents)
                        take_signal(w);
                if (n > 0 && w->fd >= 0 && f[1].revents)
                        hear(w);
                if (n == 0 && w->fd < 0)
                        (void) start_watch(w, true);
                if (n == 0 && w->live)
                        draw(w);
        }
}

static void watch_done(Watch *w) {
        close_fd_p(&w->fd);
        close_fd_p(&w->signal_fd);
        control_reply_done(&w->reply);
        buf_done(&w->packet);
}
#define CLEANUP_WATCH __attribute__((cleanup(watch_done)))

int ctl_watch(const CtlOptions *o) {
        Watch w CLEANUP_WATCH = { .o = o, .fd = -1, .signal_fd = -1 };
        int r;

        (void) setlocale(LC_CTYPE, "");
        w.live = !o->json && isatty(STDOUT_FILENO) == 1;
        control_status_init(&w.reply.status);
        r = start_watch(&w, false);
        if (r < 0)
                return agent_exit(r);
        r = open_signals(&w);
        if (r < 0)
                return ctl_fail("signals: %s", strerrordesc_np(-r));
        show_cursor(&w, false);
        watch_loop(&w);
        show_cursor(&w, true);
        return CTL_EXIT_OK;
}

/* ---- cancel: until it is written down that it is over ---- */

typedef struct Cancel {
        const CtlOptions *o;
        int64_t number;
        bool begun; /* something of it ran: then its record knows of the end, before the cloud does */
} Cancel;

/* 1 = over with *ret, 0 = not yet. */
static int cancel_outcome(const Cancel *k, const ControlReply *a, ProtoStatus *ret) {
        for (size_t i = 0; i < a->n_jobs; i++)
                if (strcmp(a->jobs[i].job_id, k->o->job_id) == 0 && a->jobs[i].number == k->number) {
                        *ret = a->jobs[i].status;
                        return k->begun && a->jobs[i].phase == CONTROL_REPORTING;
                }
        *ret = PROTO_STATUS_NONE;
        for (size_t i = 0; i < a->n_ended && *ret == PROTO_STATUS_NONE; i++)
                if (strcmp(a->ended[i].job_id, k->o->job_id) == 0 && a->ended[i].number == k->number)
                        *ret = a->ended[i].status;
        return 1;
}

static int print_outcome(const Cancel *k, ProtoStatus status) {
        const char *name = status == PROTO_STATUS_NONE ? "CANCELED" : proto_status_name(status);

        if (k->o->json)
                (void) printf("{\"job\":\"%s\",\"execution\":%lld,\"status\":\"%s\"}\n", k->o->job_id, (long long) k->number, name);
        else if (status == PROTO_STATUS_REJECTED)
                (void) printf("%s: REJECTED, cancelled on the device\n", k->o->job_id);
        else if (status == PROTO_STATUS_NONE)
                (void) printf("%s: over in the cloud\n", k->o->job_id);
        if (fflush(stdout) != 0)
                return ctl_fail("cannot write to standard output");
        if (status == PROTO_STATUS_REJECTED || status == PROTO_STATUS_NONE)
                return CTL_EXIT_OK;
        return ctl_fail("%s: it ended %s before it could be cancelled", k->o->job_id, name);
}

static int follow_cancel(const Cancel *k) {
        int fd CLEANUP_FD = -1;
        int r = agent_connect(k->o, false, &fd);

        if (r == 0)
                r = agent_send(fd, &(ControlRequest){ .verb = CONTROL_WATCH });
        while (r == 0) {
                ControlReply a CLEANUP_REPLY = {};
                Buf packet CLEANUP_BUF = {};
                ProtoStatus status;

                r = agent_receive(fd, &packet, &a);
                if (r == 0 && a.type != CONTROL_REPLY_STATUS)
                        return ctl_fail("%s: %s", k->o->job_id, a.text);
                if (r == 0 && cancel_outcome(k, &a, &status) > 0)
                        return print_outcome(k, status);
        }
        (void) ctl_fail("%s: the agent went away while it was being cancelled; ask again when it is back", k->o->job_id);
        return agent_exit(r);
}

int ctl_cancel(const CtlOptions *o) {
        ControlRequest q = { .verb = CONTROL_SHOW, .number = o->execution };
        ControlReply before CLEANUP_REPLY = {}, done CLEANUP_REPLY = {};
        Buf packet CLEANUP_BUF = {};
        Cancel k = { .o = o };
        int r;

        (void) snprintf(q.job_id, sizeof q.job_id, "%s", o->job_id);
        r = agent_ask(o, &q, &packet, &before);
        if (r == 0 && before.type == CONTROL_REPLY_JOB) {
                k.number = before.jobs->number;
                k.begun = before.jobs->phase != CONTROL_QUEUED && before.jobs->phase != CONTROL_STARTING;
                q.number = MAX_OF(k.number, (int64_t) 0);
                q.verb = CONTROL_CANCEL;
                r = agent_ask(o, &q, &packet, &done);
        }
        if (r < 0)
                return agent_exit(r);
        if (before.type != CONTROL_REPLY_JOB || done.type != CONTROL_REPLY_DONE)
                return ctl_fail("%s: %s", o->job_id, before.type != CONTROL_REPLY_JOB ? before.text : done.text);
        if (!o->json && isatty(STDERR_FILENO) == 1)
                (void) fprintf(stderr, "iot-jobsctl: %s: %s\n", o->job_id, done.text);
        return follow_cancel(&k);
}
