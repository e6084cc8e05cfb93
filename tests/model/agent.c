/* SPDX-License-Identifier: Apache-2.0 */
/* A device's power, and the shell around engine_step(): what the real agent does with the engine's actions. */
#include <stdio.h>
#include <string.h>

#include "world.h"

/* ---- time ---- */

uint64_t device_now(const World *w, const Device *d) {
        return w->now - d->boot_at + d->skew + 20 * SEC;
}

uint64_t device_to_world(const World *w, const Device *d, uint64_t deadline) {
        uint64_t now = device_now(w, d);

        return deadline <= now ? w->now + 1 : w->now + (deadline - now);
}

/* From now on nothing keeps it from knowing what the cloud knows; or not even that. */
void device_disturbed(World *w, Device *d) {
        d->calm_since = MAX_OF(w->now, d->suspended_until);
        if (!d->powered || !d->agent_alive || !d->online)
                d->clear_since = USEC_NEVER;
        else
                d->clear_since = MAX_OF(w->now, d->suspended_until);
}

static void push(World *w, const Device *d, EventType type, uint64_t delay, uint32_t id) {
        world_push(
                w,
                (Event){ .at = w->now + delay, .type = type, .dev = d->index, .boots = d->boots, .id = id });
}

/* ---- connections to runners ---- */

static int conn_find(const World *w, const Device *d, uint32_t run) {
        for (unsigned i = 0; i < w->n_conns; i++) {
                const Conn *c = &w->conn[i];

                if (c->id != 0 && c->dev == d->index && c->agent_open && c->agent_life == d->agent_life &&
                    c->run == run)
                        return (int) i;
        }
        return -1;
}

static int conn_open(World *w, Device *d, uint32_t run) {
        for (unsigned i = 0; i < CONNS_MAX; i++)
                if (w->conn[i].id == 0) {
                        if (i >= w->n_conns)
                                w->n_conns = i + 1;
                        w->conn[i] = (Conn){ .id = ++w->next_id,
                                             .dev = d->index,
                                             .agent_life = d->agent_life,
                                             .run = run,
                                             .runner = -1,
                                             .agent_open = true };
                        return (int) i;
                }
        world_violate(w, P7_HARMLESS, "the agent holds more than %d connections to runners", CONNS_MAX);
        return -1;
}

void conn_close_by_agent(World *w, int conn) {
        Conn *c = &w->conn[conn];

        c->agent_open = false;
        if (c->runner < 0) {
                *c = (Conn){};
                return;
        }
        c->to_runner_at = MAX_OF(c->to_runner_at, w->now) + 1;
        world_push(w, (Event){ .at = c->to_runner_at,
                               .type = EVENT_RUNNER_HANGUP,
                               .dev = c->dev,
                               .boots = w->dev[c->dev].boots,
                               .id = c->id });
}

void conn_close_by_runner(World *w, int conn) {
        Conn *c = &w->conn[conn];

        c->runner = -1;
        if (!c->agent_open) {
                *c = (Conn){};
                return;
        }
        c->to_agent_at = MAX_OF(c->to_agent_at, w->now) + 1;
        world_push(w, (Event){ .at = c->to_agent_at,
                               .type = EVENT_AGENT_CLOSED,
                               .dev = c->dev,
                               .boots = w->dev[c->dev].boots,
                               .id = c->id });
}

/* ---- actions ---- */

static bool opens_a_conversation(WireType t) {
        return t == WIRE_INVENTORY || t == WIRE_PREPARE || t == WIRE_ATTACH || t == WIRE_CANCEL ||
               t == WIRE_ACK || t == WIRE_DROP;
}

static bool spawn_fails(World *w, Device *d, const WireMessage *m) {
        Track *t = track_find(w, m->key.job_id, m->key.number, m->key.queued_at);

        /* The inventory's comes first after a start: it does not use up what is meant for a run. */
        if ((!t && rng_chance(&w->rng, 700)) || !fault_armed(w, FAULT_SPAWN_FAILS))
                return false;
        device_disturbed(w, d);
        if (t) {
                fault_count(w, FAULT_SPAWN_FAILS, t, d->index);
                t->disturbed = true;
                t->dev[d->index].asked = false;
        }
        return true;
}

static void send_to_runner(World *w, Device *d, uint32_t run, const WireMessage *m) {
        int i = conn_find(w, d, run);
        uint64_t at;
        Conn *c;

        if (i >= 0 &&
            w->conn[i].runner < 0) { /* that runner has ended; what it said last is still to be read */
                if (!opens_a_conversation(m->type))
                        return;
                w->conn[i] = (Conn){};
                i = -1;
        }
        if (i < 0) {
                i = conn_open(w, d, run);
                if (i < 0)
                        return;
                if (spawn_fails(w, d, m)) {
                        conn_close_by_runner(w, i);
                        return;
                }
                w->conn[i].runner = runner_spawn(w, d, i);
                if (w->conn[i].runner < 0)
                        return;
                w->conn[i].to_runner_at = w->now + 400 + world_start_time(w); /* until it reads */
        }
        c = &w->conn[i];
        buf_clear(&w->scratch);
        if (wire_encode(m, &w->scratch) < 0) {
                world_violate(w, P7_HARMLESS, "the agent makes a %s that cannot be encoded",
                              wire_type_name(m->type));
                return;
        }
        at = w->now + rng_between(&w->rng, 20, 300);
        c->to_runner_at = MAX_OF(c->to_runner_at, at) + 1;
        world_push(w, (Event){ .at = c->to_runner_at,
                               .type = EVENT_RUNNER_PACKET,
                               .dev = d->index,
                               .boots = d->boots,
                               .id = c->id,
                               .data = world_copy(w->scratch.data, w->scratch.len),
                               .len = w->scratch.len });
}

/* The bugs that live in the agent. False: the request is swallowed. */
static bool sow_publish(World *w, Device *d, ProtoRequest *r, Track *t) {
        TrackDevice *td = t ? &t->dev[d->index] : NULL;
        bool final = r->kind == TOPIC_UPDATE && proto_status_terminal(r->status);
        bool claim = r->kind == TOPIC_UPDATE && !final && td && !td->go && !is_pause(r);

        if (w->bug == BUG_FINAL_ONCE && final && td) {
                if (td->final_once)
                        return false;
                td->final_once = true;
        }
        if (w->bug == BUG_CLAIM_UNCHECKED && claim)
                r->expected_version = -1;
        if ((w->bug == BUG_ACK_EARLY && final && td) || (w->bug == BUG_GO_EARLY && claim && td->planned)) {
                WireMessage m = { .type = final ? WIRE_ACK : WIRE_GO, .key = t->key };

                if (conn_find(w, d, td->run) >= 0)
                        send_to_runner(w, d, td->run, &m);
        }
        return true;
}

static void note_publish(World *w, Device *d, const ProtoRequest *r, Track *t) {
        TrackDevice *td;

        if (r->kind == TOPIC_GET_PENDING)
                d->list_due_since = 0;
        if (r->kind < ELEMENTSOF(d->last_token)) {
                (void) snprintf(d->last_token[r->kind], sizeof(d->last_token[0]), "%s", r->token);
                (void) snprintf(d->last_job[r->kind], sizeof(d->last_job[0]), "%s", r->job_id);
        }
        if (!t || r->kind != TOPIC_UPDATE)
                return;
        td = &t->dev[d->index];
        if (is_pause(r)) {
                track_update(w, t, d->index);
                return;
        }
        if (proto_status_terminal(r->status)) {
                td->final_sent = true;
                (void) snprintf(td->final_token, sizeof(td->final_token), "%s", r->token);
                td->finals_sent++;
        } else if (!td->go && td->planned) {
                td->claim_sent = true;
                td->claims_sent++;
        }
        track_update(w, t, d->index);
}

static void publish(World *w, Device *d, ProtoRequest *r) {
        Track *t = track_of_request(w, r);
        char topic[TOPIC_TEXT_MAX];
        Error e = {};

        if (!d->online) {
                world_violate(w, P7_HARMLESS, "the engine publishes while the connection is down");
                return;
        }
        check_publish(w, d, r);
        if (!sow_publish(w, d, r, t))
                return;
        buf_clear(&w->scratch);
        if (proto_request_encode(r, w->sc.engine.thing, topic, &w->scratch, &e) < 0) {
                world_violate(w, P7_HARMLESS, "the engine makes a request that cannot be sent: %s", e.text);
                return;
        }
        net_publish(w, d, topic, w->scratch.data, w->scratch.len);
        note_publish(w, d, r, t);
}

static void tell_runner(World *w, Device *d, const EngineAction *a) {
        Track *t = a->run == 0 ? NULL
                               : track_find(w, a->wire.key.job_id, a->wire.key.number, a->wire.key.queued_at);

        if (a->run != 0 && !t) {
                world_violate(w, P7_HARMLESS, "a runner is asked for %s#%lld, which never existed",
                              a->wire.key.job_id, (long long) a->wire.key.number);
                return;
        }
        if (t)
                t->dev[d->index].run = a->run;
        if (t && a->wire.type == WIRE_PREPARE)
                check_prepare(w, d, t);
        if (t && (a->wire.type == WIRE_PREPARE || a->wire.type == WIRE_GO))
                check_go(w, d, t);
        if (t && a->wire.type == WIRE_DROP)
                t->dev[d->index].drop_sent = true;
        if (t && a->wire.type == WIRE_ACK)
                t->dev[d->index].ack_sent = true;
        if (t && (a->wire.type == WIRE_PREPARE || a->wire.type == WIRE_ATTACH))
                t->dev[d->index].asked = true;
        if (w->bug == BUG_CANCEL_IGNORED && a->wire.type == WIRE_CANCEL && conn_find(w, d, a->run) >= 0)
                return;
        if (w->bug == BUG_CANCEL_WHILE_DEFERRED && a->wire.type == WIRE_CANCEL && t && t->dev[d->index].deferred)
                return;
        if (w->bug == BUG_RESUME_WAITS && a->wire.type == WIRE_ATTACH && t && t->dev[d->index].rebooting && !d->online)
                return;
        send_to_runner(w, d, a->run, &a->wire);
        if (t)
                track_update(w, t, d->index);
}

static void carry_out(World *w, Device *d, EngineAction *a) {
        int i;

        switch (a->type) {
        case ENGINE_ACTION_PUBLISH:
                publish(w, d, &a->request);
                break;
        case ENGINE_ACTION_RUNNER:
                TRACE(w, 2, "device %u: agent -> run %u: %s %s", d->index, a->run,
                      wire_type_name(a->wire.type), a->wire.key.job_id);
                tell_runner(w, d, a);
                break;
        case ENGINE_ACTION_HANG_UP:
                i = conn_find(w, d, a->run);
                if (i >= 0)
                        conn_close_by_agent(w, i);
                break;
        case ENGINE_ACTION_LOG:
                TRACE(w, 2, "device %u: agent says: %s%s%s", d->index, a->has_key ? a->key.job_id : "",
                      a->has_key ? ": " : "", a->text);
                break;
        }
}

static void arm_timer(World *w, Device *d) {
        uint64_t deadline = engine_deadline(d->engine);
        uint64_t at = deadline == USEC_NEVER ? USEC_NEVER : device_to_world(w, d, deadline);

        if (at == d->timer_at)
                return;
        d->timer_at = at;
        d->timer_token = ++w->next_id;
        if (at != USEC_NEVER)
                push(w, d, EVENT_AGENT_TIMER, at - w->now, d->timer_token);
}

static void step(World *w, Device *d, EngineEvent *event) {
        int r;

        event->now = device_now(w, d);
        event->random = rng_next(&w->rng);
        engine_actions_clear(&w->engine_actions);
        r = engine_step(d->engine, event, &w->engine_actions);
        assert(r >= 0);
        for (size_t i = 0; i < w->engine_actions.n && w->broken == PROMISE_NONE; i++)
                carry_out(w, d, &w->engine_actions.item[i]);
        arm_timer(w, d);
}

void agent_event(World *w, Device *d, EngineEventType type) {
        if (d->agent_alive)
                step(w, d, &(EngineEvent){ .type = type, .config = &w->sc.engine });
}

void agent_cancel(World *w, Device *d, Track *t) {
        t->dev[d->index].cancelled_here = true;
        step(w, d, &(EngineEvent){ .type = ENGINE_EVENT_CANCEL, .key = &t->key });
}

static void tell_pause(World *w, Device *d) {
        TRACE(w, 1, "device %u: the operator says %s", d->index, d->paused ? "pause" : "resume");
        d->pause_heard = d->paused;
        step(w, d, &(EngineEvent){ .type = ENGINE_EVENT_PAUSED, .paused_since = d->paused });
}

/* The mark is durable before the agent hears of it; it may end in between. */
void agent_pause(World *w, Device *d) {
        bool brief = rng_chance(&w->rng, 300); /* answers from before it are still under way when it is over */

        if (d->paused)
                return;
        d->paused = true;
        if (!brief && rng_chance(&w->rng, 300))
                agent_kill(w, d, rng_between(&w->rng, 100 * MSEC, 2 * SEC));
        else
                tell_pause(w, d);
        world_push(w, (Event){ .at = w->now + (brief ? rng_below(&w->rng, 20 * MSEC)
                                                     : rng_between(&w->rng, 1 * SEC, rng_chance(&w->rng, 500) ? 10 * SEC : 2 * MINUTE)),
                               .type = EVENT_RESUME,
                               .dev = d->index });
}

/* By the same way: as soon as there is an agent. */
void agent_resume(World *w, Device *d) {
        if (d->dead_for_good)
                return;
        if (!d->agent_alive || w->now < d->suspended_until) {
                world_push(w, (Event){ .at = w->now + 1 * SEC, .type = EVENT_RESUME, .dev = d->index });
                return;
        }
        d->paused = false;
        tell_pause(w, d);
        device_disturbed(w, d);
}

void agent_timer(World *w, Device *d, uint32_t token) {
        if (!d->agent_alive || token != d->timer_token)
                return;
        d->timer_at = USEC_NEVER;
        agent_event(w, d, ENGINE_EVENT_TIMER);
}

/* ---- messages ---- */

static void see(World *w, Device *d, const ProtoExecution *x) {
        Track *t = track_find(w, x->job_id, x->number, x->queued_at);

        if (!t)
                return;
        t->dev[d->index].seen = true;
        track_update(w, t, d->index);
}

static bool sow_message(World *w, Device *d, ProtoMessage *m) {
        size_t n_queued = 0, first;

        if (w->bug == BUG_STALE_TOKENS && m->reply != TOPIC_REQUEST && m->kind < ELEMENTSOF(d->last_token) &&
            strcmp(d->last_job[m->kind], m->job_id) == 0 &&
            strncmp(m->token, d->token_prefix, strlen(d->token_prefix)) == 0)
                memcpy(m->token, d->last_token[m->kind], sizeof(m->token));
        if (w->bug == BUG_DEADLINE_UNSEEN)
                m->execution.seconds_left = -1;
        if (w->bug != BUG_ORDER_REVERSED)
                return true;
        for (size_t i = 0; i < m->n_list; i++)
                n_queued += m->list[i].status == PROTO_STATUS_QUEUED;
        /* The engine sorts by queuedAt itself: only the last one is let through. */
        first = m->n_list - n_queued;
        if (n_queued > 1) {
                ProtoExecution x = m->list[first];

                m->list[first] = m->list[m->n_list - 1];
                m->list[m->n_list - 1] = x;
                m->n_list = first + 1;
        }
        return m->kind != TOPIC_NOTIFY_NEXT;
}

/* From here on a notification or, failing that, a query must tell what is next. */
static void note_final_accepted(World *w, Device *d, const ProtoMessage *m) {
        if (m->kind == TOPIC_NOTIFY)
                d->list_due_since = 0;
        if (m->kind != TOPIC_UPDATE || m->reply == TOPIC_REQUEST || !m->has_token)
                return;
        for (unsigned i = 0; i < w->n_tracks; i++) {
                TrackDevice *td = &w->track[i].dev[d->index];

                if (strcmp(td->final_token, m->token) == 0 && m->token[0] != '\0') {
                        td->final_token[0] = '\0'; /* answered, by this or by an earlier reply */
                        if (m->reply == TOPIC_ACCEPTED && !td->ack_sent)
                                d->list_due_since = w->now;
                }
        }
}

void agent_message(World *w, Device *d, const ProtoMessage *message) {
        ProtoMessage m = *message; /* shallow: a bug may turn it round */

        if (!d->agent_alive)
                return;
        for (size_t i = 0; i < m.n_list; i++)
                see(w, d, &m.list[i]);
        if (m.has_execution)
                see(w, d, &m.execution);
        note_final_accepted(w, d, &m);
        d->heard_list |= m.kind == TOPIC_GET_PENDING && m.reply == TOPIC_ACCEPTED;
        if (m.kind == TOPIC_GET_PENDING && m.reply == TOPIC_ACCEPTED && m.has_token && strcmp(d->list_answered, m.token) != 0) {
                memcpy(d->list_answered, m.token, sizeof(d->list_answered));
                if (d->missed) {
                        d->missed = false;
                        device_disturbed(w, d);
                }
        }
        if (sow_message(w, d, &m))
                step(w, d, &(EngineEvent){ .type = ENGINE_EVENT_MESSAGE, .message = &m });
}

static int conn_by_id(const World *w, uint32_t id) {
        for (unsigned i = 0; i < w->n_conns; i++)
                if (w->conn[i].id == id)
                        return (int) i;
        return -1;
}

void agent_packet(World *w, Event *e) {
        int i = conn_by_id(w, e->id);
        WireMessage m CLEANUP_WIRE = {};
        Error error = {};

        if (i < 0 || !w->conn[i].agent_open)
                return;
        if (wire_decode(e->data, e->len, &m, &error) < 0) {
                world_violate(w, P7_HARMLESS, "the agent cannot read a runner's packet: %s", error.text);
                return;
        }
        TRACE(w, 2, "device %u: run %u -> agent: %s %s", e->dev, w->conn[i].run, wire_type_name(m.type),
              m.key.job_id);
        w->dev[e->dev].heard_inventory |= m.type == WIRE_RUNS && !m.more;
        w->dev[e->dev].pause_heard |= m.type == WIRE_RUNS && !m.more && w->dev[e->dev].paused;
        if (m.type == WIRE_REBOOTING)
                for (unsigned k = 0; k < w->n_tracks; k++)
                        w->track[k].dev[e->dev].reboot_heard |= w->track[k].dev[e->dev].run == w->conn[i].run;
        if (w->bug == BUG_SLOT_GIVEN_UP && m.type == WIRE_DEFERRED) {
                EngineConfig one_more = w->sc.engine;

                one_more.max_concurrent++;
                step(w, &w->dev[e->dev], &(EngineEvent){ .type = ENGINE_EVENT_RELOAD, .config = &one_more });
        }
        step(w, &w->dev[e->dev],
             &(EngineEvent){ .type = ENGINE_EVENT_RUNNER, .run = w->conn[i].run, .wire = &m });
}

void agent_closed(World *w, Event *e) {
        int i = conn_by_id(w, e->id);
        uint32_t run;

        if (i < 0 || !w->conn[i].agent_open)
                return;
        run = w->conn[i].run;
        w->conn[i] = (Conn){};
        TRACE(w, 2, "device %u: run %u: the runner's end is closed", e->dev, run);
        step(w, &w->dev[e->dev], &(EngineEvent){ .type = ENGINE_EVENT_RUNNER_CLOSED, .run = run });
}

/* ---- the connection to the cloud ---- */

void agent_connect(World *w, Device *d) {
        if (!d->agent_alive || d->online)
                return;
        if (w->now < w->broker_back_at) {
                push(w, d, EVENT_CONNECT, w->broker_back_at - w->now + rng_below(&w->rng, 2 * SEC),
                     d->agent_life);
                return;
        }
        d->online = true;
        d->session = ++w->next_id;
        d->missed = false;
        d->to_cloud_at = d->to_device_at = w->now;
        device_disturbed(w, d);
        TRACE(w, 1, "device %u: online", d->index);
        agent_event(w, d, ENGINE_EVENT_ONLINE);
}

void agent_disconnect(World *w, Device *d, uint64_t again) {
        if (!d->online)
                return;
        d->online = d->heard_inventory = d->heard_list = false;
        d->list_due_since = 0;
        d->session = 0;
        device_disturbed(w, d);
        TRACE(w, 1, "device %u: offline", d->index);
        agent_event(w, d, ENGINE_EVENT_OFFLINE);
        push(w, d, EVENT_CONNECT, again, d->agent_life);
}

/* ---- the process ---- */

void agent_start(World *w, Device *d) {
        int r;

        if (d->agent_alive)
                return;
        d->agent_alive = true;
        d->agent_life = ++w->next_id;
        d->calm_since = w->now;
        d->timer_at = USEC_NEVER;
        (void) snprintf(d->token_prefix, sizeof(d->token_prefix), "a%ux%ux", d->index, d->agent_life);
        r = engine_new(&w->sc.engine, d->token_prefix, &d->engine);
        assert(r >= 0);
        TRACE(w, 1, "device %u: the agent starts", d->index);
        agent_event(w, d, ENGINE_EVENT_START);
        push(w, d, EVENT_CONNECT, rng_between(&w->rng, 5 * MSEC, 300 * MSEC), d->agent_life);
}

static void agent_gone(World *w, Device *d) {
        d->agent_alive = d->heard_inventory = d->heard_list = d->pause_heard = false;
        d->list_due_since = 0;
        d->online = false;
        d->session = 0;
        d->timer_token = 0;
        d->timer_at = USEC_NEVER;
        d->engine = engine_free(d->engine);
        for (unsigned i = 0; i < w->n_tracks; i++) {
                TrackDevice *td = &w->track[i].dev[d->index];

                td->seen = td->asked = td->claim_sent = td->final_sent = td->final_once = td->reboot_heard = false;
                td->progress_sent = 0;
                td->result &= td->record.exists; /* what was refused for good has no record */
        }
        device_disturbed(w, d);
}

void agent_kill(World *w, Device *d, uint64_t restart) {
        uint32_t life = d->agent_life;

        if (!d->agent_alive)
                return;
        agent_gone(w, d);
        for (unsigned i = 0; i < w->n_conns; i++)
                if (w->conn[i].id != 0 && w->conn[i].dev == d->index && w->conn[i].agent_life == life &&
                    w->conn[i].agent_open)
                        conn_close_by_agent(w, (int) i);
        track_update_all(w, d->index);
        push(w, d, EVENT_AGENT_START, restart, 0);
}

/* ---- power ---- */

void device_boot(World *w, Device *d) {
        if (d->dead_for_good)
                return;
        d->powered = true;
        d->boot_at = w->now;
        d->skew = 0;
        (void) snprintf(d->boot_id, sizeof(d->boot_id), "%08x-0000-4000-8000-%012x", d->index + 1, d->boots);
        TRACE(w, 1, "device %u: boots", d->index);
        push(w, d, EVENT_AGENT_START, rng_between(&w->rng, 100 * MSEC, 3 * SEC), 0);
}

static void lose_power(World *w, Device *d, uint64_t down, bool orderly) {
        if (d->agent_alive)
                agent_gone(w, d);
        d->powered = false;
        d->boots++;
        d->suspended_until = 0;
        d->missed = false;
        for (unsigned i = 0; i < w->n_runners; i++)
                if (w->runner[i].id != 0 && w->runner[i].dev == d->index)
                        w->runner[i].phase = RUNNER_DEAD;
        for (unsigned i = 0; i < w->n_conns; i++)
                if (w->conn[i].id != 0 && w->conn[i].dev == d->index)
                        w->conn[i] = (Conn){};
        proc_drop_all(w, d->index);
        memset(d->slot, 0, sizeof(d->slot));
        memset(d->slot_mark, 0, sizeof(d->slot_mark));
        disk_power_cut(w, d);
        for (unsigned i = 0; i < w->n_tracks; i++) {
                Track *t = &w->track[i];
                TrackDevice *td = &t->dev[d->index];
                CLEANUP_RECORD_STATE RecordState state = {};

                t->disturbed |= !orderly;
                t->outcome_open |= !orderly;
                td->go = td->killing = td->asked = td->reboot_given = false;
                (void) disk_load(w, d, t, &state);
                td->deferred = state.phase == RECORD_IS_DEFERRED;
                td->rebooting = state.phase == RECORD_IS_REBOOTING;
                td->planned = state.phase != RECORD_NONE && !td->deferred;
                td->result = state.phase == RECORD_HAS_RESULT;
                if (td->deferred)
                        td->due_at = w->now; /* the delay ends with the boot */
                else if (state.document && state.started.attempt > 0) { /* what was written last may be lost */
                        td->nonce_paused = 0;
                        td->nonce_used = document_nonce(t, state.document, state.document_len);
                }
        }
        device_disturbed(w, d);
        track_update_all(w, d->index);
        if (down != USEC_NEVER)
                world_push(w, (Event){ .at = w->now + down, .type = EVENT_BOOT, .dev = d->index });
}

void device_power_cut(World *w, Device *d, uint64_t down) {
        if (!d->powered)
                return;
        TRACE(w, 1, "device %u: power cut", d->index);
        lose_power(w, d, down, false);
}

/* Everything is told to stop, and then the power is gone all the same. */
void device_reboot(World *w, Device *d) {
        TRACE(w, 1, "device %u: reboots", d->index);
        w->reboots++;
        if (d->agent_alive)
                agent_gone(w, d);
        for (unsigned i = 0; i < w->n_tracks; i++) /* only where the runner that gave the command was killed: see check_boots() */
                if (w->track[i].dev[d->index].live > 0)
                        w->track[i].disturbed = w->track[i].outcome_open = true;
        for (unsigned i = 0; i < w->n_runners; i++)
                if (w->runner[i].id != 0 && w->runner[i].dev == d->index && w->runner[i].phase != RUNNER_DEAD)
                        runner_stop(w, &w->runner[i]);
        lose_power(w, d, rng_between(&w->rng, 5 * SEC, 60 * SEC), true);
}
