/* SPDX-License-Identifier: Apache-2.0 */
/* status, list, show, history, pause, resume. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "ctl/agent.h"

static int flush(void) {
        return fflush(stdout) == 0 && !ferror(stdout) ? CTL_EXIT_OK : ctl_fail("cannot write to standard output");
}

static int print_packet(const Buf *packet) {
        (void) fwrite(packet->data, 1, packet->len, stdout);
        (void) putchar('\n');
        return flush();
}

/* An answer that says no. */
static int refused(const ControlReply *a, const char *subject) {
        return ctl_fail("%s%s%s", subject, subject[0] ? ": " : "", a->type == CONTROL_REPLY_ERROR ? a->text : "an answer to something else");
}

/* ---- tables ---- */

enum { COLUMNS_MAX = 6 };

static void print_row(const char *const *cell, const size_t *width, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (i + 1 < n)
                        (void) printf("%s%*s  ", cell[i], (int) (width[i] - MIN_OF(width[i], format_width(cell[i]))), "");
                else
                        (void) printf("%s\n", cell[i]);
}

typedef struct Table {
        size_t columns, n;
        char **cell; /* owned: n rows of columns */
        bool failed;
} Table;

static void table_add(Table *t, const char *const *cell) {
        char **larger = reallocarray(t->cell, (t->n + 1) * t->columns, sizeof *larger);

        if (!larger) {
                t->failed = true;
                return;
        }
        t->cell = larger;
        for (size_t i = 0; i < t->columns; i++) {
                t->cell[t->n * t->columns + i] = strdup(cell[i]);
                t->failed |= !t->cell[t->n * t->columns + i];
        }
        t->n++;
}

static void table_print(Table *t) {
        size_t width[COLUMNS_MAX] = {};

        for (size_t i = 0; !t->failed && i < t->n * t->columns; i++)
                width[i % t->columns] = MAX_OF(width[i % t->columns], format_width(t->cell[i]));
        for (size_t i = 0; !t->failed && i < t->n; i++)
                print_row((const char *const *) t->cell + i * t->columns, width, t->columns);
        for (size_t i = 0; i < t->n * t->columns; i++)
                free(t->cell[i]);
        free(t->cell);
}

static void print_jobs(const ControlReply *a) {
        Table t = { .columns = 5 };

        table_add(&t, (const char *[]){ "JOB", "EXECUTION", "STATE", "PROGRESS", "STEP" });
        for (size_t i = 0; i < a->n_jobs; i++) {
                const ControlJob *j = &a->jobs[i];
                char number[24] = "-", progress[24] = "-", phase[2 * FORMAT_MAX];

                if (j->number >= 0)
                        (void) snprintf(number, sizeof number, "%lld", (long long) j->number);
                if (j->progress >= 0)
                        (void) snprintf(progress, sizeof progress, "%lld %%", (long long) j->progress);
                table_add(&t, (const char *[]){ j->job_id, number, format_phase(j, phase), progress, j->step[0] ? j->step : "-" });
        }
        table_print(&t);
}

/* ---- status, list ---- */

static void print_connection(const ControlStatus *s) {
        char since[FORMAT_MAX], in[FORMAT_MAX];

        if (s->connected)
                (void) printf("  Cloud: connected to %s for %s%s\n", s->endpoint, format_duration(s->connection_time, since),
                              s->synced ? "" : ", comparing with the records of this device");
        else {
                (void) printf("  Cloud: %s for %s", s->error[0] ? s->error : "not connected", format_duration(s->connection_time, since));
                if (s->retry_in >= 0)
                        (void) printf("; next attempt in %s", format_duration(s->retry_in, in));
                (void) printf(" (%s)\n", s->endpoint);
        }
}

static void print_status(const ControlReply *a) {
        const ControlStatus *s = &a->status;
        char text[FORMAT_MAX];

        (void) printf("  Thing: %s\n", s->thing);
        (void) printf("  Agent: %s, running for %s\n", s->version, format_duration(s->uptime, text));
        print_connection(s);
        if (s->paused_since >= 0)
                (void) printf(" Paused: since %s; what has begun goes on, nothing else starts. To go on: iot-jobsctl resume\n",
                              format_time(s->paused_since, text));
        if (s->warning[0])
                (void) printf("Warning: %s\n", s->warning);
        for (size_t i = 0; i < MIN_OF(a->n_ended, (size_t) 3); i++)
                (void) printf("%s%s %s %s ago\n", i == 0 ? "  Ended: " : "         ", a->ended[i].job_id,
                              a->ended[i].status == PROTO_STATUS_NONE ? "in the cloud" : proto_status_name(a->ended[i].status),
                              format_duration(a->ended[i].ago, text));
        if (a->n_jobs == 0)
                (void) printf("   Jobs: none\n");
        else {
                (void) putchar('\n');
                print_jobs(a);
        }
}

int ctl_status(const CtlOptions *o) {
        ControlReply a CLEANUP_REPLY = {};
        Buf packet CLEANUP_BUF = {};
        int r = agent_ask(o, &(ControlRequest){ .verb = CONTROL_STATUS }, &packet, &a);

        if (r < 0)
                return agent_exit(r);
        if (a.type != CONTROL_REPLY_STATUS)
                return refused(&a, "");
        if (o->json)
                return print_packet(&packet);
        print_status(&a);
        return flush();
}

int ctl_list(const CtlOptions *o) {
        ControlReply a CLEANUP_REPLY = {};
        Buf packet CLEANUP_BUF = {};
        json_t *all CLEANUP_JSON = NULL;
        int r = agent_ask(o, &(ControlRequest){ .verb = CONTROL_STATUS }, &packet, &a);

        if (r < 0)
                return agent_exit(r);
        if (a.type != CONTROL_REPLY_STATUS)
                return refused(&a, "");
        if (!o->json) {
                print_jobs(&a);
                return flush();
        }
        all = json_loadb(packet.data, packet.len, 0, NULL);
        if (!all || json_dumpf(json_object_get(all, "jobs"), stdout, JSON_COMPACT) < 0)
                return ctl_fail("no memory");
        (void) putchar('\n');
        return flush();
}

/* ---- history ---- */

typedef struct History {
        ControlReply *page; /* owned */
        Buf *packet;        /* owned; the same pages as they came */
        size_t n;
} History;

static void history_done(History *h) {
        for (size_t i = 0; i < h->n; i++) {
                control_reply_done(&h->page[i]);
                buf_done(&h->packet[i]);
        }
        free(h->page);
        free(h->packet);
}
#define CLEANUP_HISTORY __attribute__((cleanup(history_done)))

static int history_page(History *h, int fd) {
        ControlReply *page = reallocarray(h->page, h->n + 1, sizeof *page);
        Buf *packet;
        int r;

        if (!page)
                return -ENOMEM;
        h->page = page;
        packet = reallocarray(h->packet, h->n + 1, sizeof *packet);
        if (!packet)
                return -ENOMEM;
        h->packet = packet;
        h->page[h->n] = (ControlReply){};
        h->packet[h->n] = (Buf){};
        r = agent_answer(fd, &h->packet[h->n], &h->page[h->n]);
        h->n++;
        return r;
}

/* 0; CTL_EXIT_…, said. */
static int history_read(const CtlOptions *o, int64_t count, History *h) {
        int fd CLEANUP_FD = -1;
        int r = agent_connect(o, false, &fd);

        if (r == 0)
                r = agent_send(fd, &(ControlRequest){ .verb = CONTROL_HISTORY, .count = count });
        do {
                if (r == 0)
                        r = history_page(h, fd);
                if (r < 0)
                        return agent_exit(r);
                if (h->page[h->n - 1].type != CONTROL_REPLY_HISTORY)
                        return refused(&h->page[h->n - 1], "history");
        } while (h->page[h->n - 1].more);
        return CTL_EXIT_OK;
}

static void add_end(Table *t, const WireEnd *x) {
        const char *reason = proto_details_get(&x->details, "reason"), *step = proto_details_get(&x->details, "step");
        char at[FORMAT_MAX], number[24];

        (void) snprintf(number, sizeof number, "%lld", (long long) x->key.number);
        table_add(t, (const char *[]){ format_time(x->at, at), x->key.job_id, number, proto_status_name(x->status),
                                       reason ? reason : step ? step : "-" });
}

static int print_history_json(const History *h) {
        json_t *list CLEANUP_JSON = json_array();
        int r = list ? 0 : -1;

        for (size_t i = 0; r == 0 && i < h->n; i++) {
                json_t *page CLEANUP_JSON = json_loadb(h->packet[i].data, h->packet[i].len, 0, NULL);

                r = page ? json_array_extend(list, json_object_get(page, "executions")) : -1;
        }
        if (r < 0 || json_dumpf(list, stdout, JSON_COMPACT) < 0)
                return ctl_fail("no memory");
        (void) putchar('\n');
        return flush();
}

int ctl_history(const CtlOptions *o) {
        History h CLEANUP_HISTORY = {};
        Table t = { .columns = 5 };
        int r = history_read(o, o->lines > 0 ? o->lines : CONTROL_HISTORY_DEFAULT, &h);

        if (r != CTL_EXIT_OK)
                return r;
        if (o->json)
                return print_history_json(&h);
        table_add(&t, (const char *[]){ "ENDED", "JOB", "EXECUTION", "STATUS", "REASON" });
        for (size_t i = 0; i < h.n; i++)
                for (size_t k = 0; k < h.page[i].n_ends; k++)
                        add_end(&t, &h.page[i].ends[k]);
        table_print(&t);
        return flush();
}

/* ---- show ---- */

static void print_details(const ProtoDetails *d) {
        for (size_t i = 0; i < d->n; i++)
                (void) printf("  %s: %s\n", d->pair[i].key, d->pair[i].value);
}

static void print_job(const ControlJob *j) {
        char phase[2 * FORMAT_MAX], text[FORMAT_MAX];

        (void) printf("%s", j->job_id);
        if (j->number >= 0)
                (void) printf(" (execution %lld)", (long long) j->number);
        (void) printf(": %s\n", format_phase(j, phase));
        if (j->status != PROTO_STATUS_NONE)
                (void) printf("  %s: %s\n", j->phase == CONTROL_REPORTING ? "result" : "in the cloud", proto_status_name(j->status));
        if (j->queued_at >= 0)
                (void) printf("  queued at: %s\n", format_time(j->queued_at, text));
        if (j->deadline_in >= 0)
                (void) printf("  the service gives up in: %s\n", format_duration(j->deadline_in, text));
        print_details(&j->details);
}

static void print_end(const WireEnd *x) {
        char text[FORMAT_MAX];

        (void) printf("%s (execution %lld): ended %s\n", x->key.job_id, (long long) x->key.number, proto_status_name(x->status));
        if (x->key.queued_at > 1)
                (void) printf("  queued at: %s\n", format_time(x->key.queued_at, text));
        (void) printf("  ended at: %s\n", format_time(x->at, text));
        print_details(&x->details);
}

static bool is_asked_for(const CtlOptions *o, const WireEnd *x) {
        return strcmp(x->key.job_id, o->job_id) == 0 && (o->execution == 0 || x->key.number == o->execution);
}

/* It has ended: the newest of what is written down. */
static int show_ended(const CtlOptions *o) {
        History h CLEANUP_HISTORY = {};
        int r = history_read(o, WIRE_HISTORY_MAX, &h);

        if (r != CTL_EXIT_OK)
                return r;
        for (size_t i = h.n; i-- > 0;)
                for (size_t k = h.page[i].n_ends; k-- > 0;) {
                        json_t *page CLEANUP_JSON = NULL;

                        if (!is_asked_for(o, &h.page[i].ends[k]))
                                continue;
                        if (!o->json) {
                                print_end(&h.page[i].ends[k]);
                                return flush();
                        }
                        page = json_loadb(h.packet[i].data, h.packet[i].len, 0, NULL);
                        if (!page || json_dumpf(json_array_get(json_object_get(page, "executions"), k), stdout, JSON_COMPACT) < 0)
                                return ctl_fail("no memory");
                        (void) putchar('\n');
                        return flush();
                }
        return ctl_fail("%s: no such job is known on this device", o->job_id);
}

int ctl_show(const CtlOptions *o) {
        ControlRequest q = { .verb = CONTROL_SHOW, .number = o->execution };
        ControlReply a CLEANUP_REPLY = {};
        Buf packet CLEANUP_BUF = {};
        int r;

        (void) snprintf(q.job_id, sizeof q.job_id, "%s", o->job_id);
        r = agent_ask(o, &q, &packet, &a);
        if (r < 0)
                return agent_exit(r);
        if (a.type == CONTROL_REPLY_ERROR && a.error == CONTROL_NO_SUCH_JOB)
                return show_ended(o);
        if (a.type != CONTROL_REPLY_JOB)
                return refused(&a, o->job_id);
        if (o->json)
                return print_packet(&packet);
        print_job(a.jobs);
        return flush();
}

/* ---- pause, resume ---- */

int ctl_pause(const CtlOptions *o, bool on) {
        ControlReply a CLEANUP_REPLY = {};
        Buf packet CLEANUP_BUF = {};
        int r = agent_ask(o, &(ControlRequest){ .verb = on ? CONTROL_PAUSE : CONTROL_RESUME }, &packet, &a);

        if (r < 0)
                return agent_exit(r);
        if (a.type != CONTROL_REPLY_DONE)
                return refused(&a, on ? "pause" : "resume");
        if (o->json)
                return print_packet(&packet);
        (void) printf("%s\n", a.text);
        return flush();
}
