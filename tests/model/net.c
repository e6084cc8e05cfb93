/* SPDX-License-Identifier: Apache-2.0 */
/* The broker between the cloud and the devices. While a connection lasts, messages arrive in order and once, unless a
 * fault says otherwise; what is under way when it breaks is lost. */
#include <stdio.h>
#include <string.h>

#include "world.h"

static uint64_t latency(World *w) {
        return rng_between(&w->rng, 1 * MSEC, 20 * MSEC);
}

void net_publish(World *w, Device *d, const char *topic, const char *data, size_t len) {
        uint64_t at = w->now + latency(w);

        d->to_cloud_at = MAX_OF(d->to_cloud_at + 1, at);
        world_push(w, (Event){ .at = d->to_cloud_at,
                               .type = EVENT_TO_CLOUD,
                               .dev = d->index,
                               .id = d->session,
                               .topic = world_copy(topic, strlen(topic)),
                               .data = world_copy(data, len),
                               .len = len });
}

void net_to_device(World *w, Device *d, const char *topic, const char *data, size_t len) {
        uint64_t at;
        char *copy;

        if (!d->online)
                return;
        at = w->now + latency(w);
        d->to_device_at = MAX_OF(d->to_device_at + 1, at);
        copy = world_copy(data, len);
        document_mark(copy, len, ++w->nonce); /* as a presigned URL in it would be: another one each time */
        world_push(w, (Event){ .at = d->to_device_at,
                               .type = EVENT_TO_DEVICE,
                               .dev = d->index,
                               .id = d->session,
                               .topic = world_copy(topic, strlen(topic)),
                               .data = copy,
                               .len = len });
}

static void count_message(World *w, Fault f, const Topic *topic, Device *d) {
        for (unsigned i = w->n_tracks; i-- > 0;) {
                Track *t = &w->track[i];

                if (topic->job_id[0] != '\0' && strcmp(topic->job_id, "$next") != 0 &&
                    strcmp(topic->job_id, t->key.job_id) != 0)
                        continue;
                fault_count(w, f, t, d->index);
                t->disturbed = true;
                if (topic->job_id[0] != '\0')
                        break;
        }
        device_disturbed(w, d);
}

static bool message_fault(World *w, Device *d, Event *e, const Topic *topic) {
        bool reply = topic->reply != TOPIC_REQUEST, chance = w->faults_on && rng_chance(&w->rng, w->sc.noise);
        unsigned kind = chance ? (unsigned) rng_below(&w->rng, 4) : 4;
        Fault lost = reply ? FAULT_LOST_REPLY : FAULT_LOST_NOTIFICATION;
        Event again;

        if (e->value != 0)
                return false;
        if (kind == 0 || fault_armed(w, lost)) {
                count_message(w, lost, topic, d);
                if (!reply)
                        d->missed = true;
                return true;
        }
        again = (Event){ .at = w->now + rng_between(&w->rng, 1, 3 * SEC),
                         .type = EVENT_TO_DEVICE,
                         .dev = e->dev,
                         .id = e->id,
                         .value = 1,
                         .len = e->len };
        if (kind == 1 || fault_armed(w, FAULT_REORDER_MESSAGE)) {
                count_message(w, FAULT_REORDER_MESSAGE, topic, d);
                again.topic = TAKE(e->topic);
                again.data = TAKE(e->data);
                world_push(w, again);
                return true;
        }
        if (kind == 2 || fault_armed(w, FAULT_DUPLICATE_MESSAGE)) {
                count_message(w, FAULT_DUPLICATE_MESSAGE, topic, d);
                again.topic = world_copy(e->topic, strlen(e->topic));
                again.data = world_copy(e->data, e->len);
                world_push(w, again);
        } else if (e->len > 0 && (kind == 3 || fault_armed(w, FAULT_MALFORMED))) {
                count_message(w, FAULT_MALFORMED, topic, d);
                e->len = (size_t) rng_below(&w->rng, e->len); /* cut short: never valid JSON */
                e->data[e->len] = '\0';
        }
        return false;
}

static void remember(World *w, const Event *e) {
        unsigned i = w->n_remembered;

        if (i == REMEMBERED_MAX) {
                if (!rng_chance(&w->rng, 250))
                        return;
                i = (unsigned) rng_below(&w->rng, REMEMBERED_MAX);
                free(w->remembered[i].topic);
                free(w->remembered[i].data);
        } else
                w->n_remembered++;
        w->remembered[i] =
                (Remembered){ world_copy(e->topic, strlen(e->topic)), world_copy(e->data, e->len), e->len };
}

static bool foreign(const Device *d, const ProtoMessage *m) {
        size_t n = strlen(d->token_prefix);

        return m->reply != TOPIC_REQUEST && (!m->has_token || strncmp(m->token, d->token_prefix, n) != 0);
}

void net_deliver(World *w, Event *e) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        Device *d = &w->dev[e->dev];
        Topic topic;
        Error error = {};

        if (!d->online || d->session != e->id)
                return;
        if (w->now < d->suspended_until) {
                world_push(w, (Event){ .at = d->suspended_until,
                                       .type = EVENT_TO_DEVICE,
                                       .dev = e->dev,
                                       .id = e->id,
                                       .value = e->value,
                                       .topic = TAKE(e->topic),
                                       .data = TAKE(e->data),
                                       .len = e->len });
                return;
        }
        topic = topic_parse(e->topic, w->sc.engine.thing);
        if (message_fault(w, d, e, &topic))
                return;
        TRACE(w, 2, "cloud -> device %u: %s %s", e->dev, e->topic, e->data);
        if (topic.kind == TOPIC_UNRECOGNIZED)
                return;
        if (w->faults_on)
                remember(w, e);
        if (proto_message_decode(&topic, e->data, e->len, &m, &error) < 0) {
                agent_event(w, d, ENGINE_EVENT_DROPPED);
                return;
        }
        if (foreign(d, &m))
                count_message(w, FAULT_FOREIGN, &topic, d);
        m.timestamp += m.timestamp != 0 ? d->wall_offset : 0;
        agent_message(w, d, &m);
}

void net_stale(World *w, Device *d) {
        const Remembered *m;

        if (w->n_remembered == 0)
                return;
        m = &w->remembered[rng_below(&w->rng, w->n_remembered)];
        fault_count_all(w, FAULT_STALE, d->index);
        device_disturbed(w, d);
        world_push(w, (Event){ .at = w->now + latency(w),
                               .type = EVENT_TO_DEVICE,
                               .dev = d->index,
                               .id = d->session,
                               .value = 1,
                               .topic = world_copy(m->topic, strlen(m->topic)),
                               .data = world_copy(m->data, m->len),
                               .len = m->len });
}

/* A reply that nobody here asked for: of another client of the thing, of an earlier life, or without a token. */
void net_foreign(World *w, Device *d, const Track *t) {
        CLEANUP_MESSAGE ProtoMessage m = {};
        static const ProtoCode codes[] = { PROTO_CODE_NONE, PROTO_CODE_VERSION_MISMATCH,
                                           PROTO_CODE_RESOURCE_NOT_FOUND, PROTO_CODE_INVALID_STATE_TRANSITION,
                                           PROTO_CODE_TERMINAL_STATE_REACHED };
        Topic topic = {};
        char text[TOPIC_TEXT_MAX];

        m.code = codes[rng_below(&w->rng, ELEMENTSOF(codes))];
        m.kind = topic.kind = m.code == PROTO_CODE_TERMINAL_STATE_REACHED || rng_chance(&w->rng, 300)
                                      ? TOPIC_DESCRIBE
                                      : TOPIC_UPDATE;
        m.reply = topic.reply = m.code == PROTO_CODE_NONE ? TOPIC_ACCEPTED : TOPIC_REJECTED;
        m.has_token = rng_chance(&w->rng, 800);
        (void) snprintf(m.token, sizeof(m.token), "other%u-%u", d->index, ++w->foreign_counter);
        m.timestamp = EPOCH_SEC;
        if (m.code == PROTO_CODE_INVALID_STATE_TRANSITION || m.code == PROTO_CODE_VERSION_MISMATCH) {
                m.has_state = true;
                m.state_status = PROTO_STATUS_CANCELED;
                m.state_version = 99;
        }
        (void) snprintf(topic.thing, sizeof(topic.thing), "%s", w->sc.engine.thing);
        (void) snprintf(topic.job_id, sizeof(topic.job_id), "%s", t->key.job_id);
        buf_clear(&w->scratch);
        if (topic_format(&topic, text) < 0 || proto_message_encode(&m, &w->scratch) < 0)
                return;
        world_push(w, (Event){ .at = w->now + latency(w),
                               .type = EVENT_TO_DEVICE,
                               .dev = d->index,
                               .id = d->session,
                               .value = 1,
                               .topic = world_copy(text, strlen(text)),
                               .data = world_copy(w->scratch.data, w->scratch.len),
                               .len = w->scratch.len });
}
