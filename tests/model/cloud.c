/* SPDX-License-Identifier: Apache-2.0 */
/* The Jobs service: the model, its clock, and who hears what it publishes. */
#include <stdio.h>
#include <string.h>

#include "world.h"

uint64_t cloud_now(const World *w) {
        return (uint64_t) EPOCH_SEC * SEC + w->now + w->cloud_skew;
}

void cloud_start(World *w) {
        int r = model_new(NULL, &w->model);

        assert(r >= 0);
}

void cloud_schedule(World *w) {
        uint64_t deadline = model_deadline(w->model), at;

        if (deadline == w->cloud_tick_at)
                return;
        w->cloud_tick_at = deadline;
        w->cloud_tick_seq = 0;
        if (deadline == USEC_NEVER)
                return;
        at = deadline <= cloud_now(w) ? w->now : w->now + (deadline - cloud_now(w));
        w->cloud_tick_seq = world_push(w, (Event){ .at = at, .type = EVENT_CLOUD_TICK });
}

/* Replies go to whoever asked (on an ordinary broker: to every device of the thing), notifications to all. */
static void publish(World *w, const ModelPublication *p) {
        Topic topic = topic_parse(p->topic, w->sc.engine.thing);
        bool reply = topic.reply != TOPIC_REQUEST;

        for (unsigned i = 0; i < DEVICES; i++)
                if (!reply || w->sc.fan_out || w->cloud_actor == (int) i)
                        net_to_device(w, &w->dev[i], p->topic, p->payload, p->len);
}

void cloud_flush(World *w, int actor) {
        w->cloud_actor = actor;
        for (size_t i = 0; i < w->out.n_changes; i++)
                track_cloud_change(w, &w->out.change[i]);
        for (size_t i = 0; i < w->out.n_publications; i++)
                publish(w, &w->out.publication[i]);
        w->cloud_actor = -1;
        model_output_clear(&w->out);
        cloud_schedule(w);
}

void cloud_create(World *w, unsigned job) {
        JobScript *j = &w->sc.job[job];
        char document[DOCUMENT_MAX];
        int n = snprintf(document, sizeof(document),
                         "{\"operation\":\"%s\",\"generation\":%u,\"nonce\":\"00000000\"}", j->id, j->generation);
        ModelCreate c = { .thing = w->sc.engine.thing,
                          .job_id = j->id,
                          .document = document,
                          .document_len = (size_t) n,
                          .in_progress_timeout_minutes = j->timeout_minutes,
                          .retries = j->retries };
        Error e = {};

        j->created = true;
        if (model_create(w->model, cloud_now(w), &c, &w->out, &e) < 0)
                world_violate(w, P7_HARMLESS, "the model does not take job %s: %s", j->id, e.text);
        cloud_flush(w, -1);
}

/* There is no telling what a later service minds in details: this one does so for a whole job. */
static bool minds(const World *w, const Topic *topic, const Event *e) {
        const Track *t = NULL;

        for (unsigned i = 0; i < w->n_tracks; i++)
                if (strcmp(w->track[i].key.job_id, topic->job_id) == 0)
                        t = &w->track[i];
        if (!t || w->sc.job[t->job].picky == 0)
                return false;
        if (w->sc.job[t->job].picky == 2 && !strstr(e->data, "\"IN_PROGRESS\""))
                return strstr(e->data, "statusDetails");
        return strstr(e->data, "\"step\"") || strstr(e->data, "\"reason\"");
}

static ProtoCode reject_code(World *w, const Topic *topic, const Event *e) {
        bool update = topic->kind == TOPIC_UPDATE;
        bool details = update && strstr(e->data, "statusDetails") != NULL;

        if (fault_armed(w, FAULT_THROTTLED))
                return PROTO_CODE_REQUEST_THROTTLED;
        if (fault_armed(w, FAULT_INTERNAL_ERROR))
                return PROTO_CODE_INTERNAL_ERROR;
        if (update && fault_armed(w, FAULT_VERSION_MISMATCH))
                return PROTO_CODE_VERSION_MISMATCH;
        if (details && fault_armed(w, FAULT_INVALID_REQUEST))
                return PROTO_CODE_INVALID_REQUEST;
        if (w->faults_on && rng_chance(&w->rng, w->sc.noise)) {
                static const ProtoCode codes[] = { PROTO_CODE_REQUEST_THROTTLED, PROTO_CODE_INTERNAL_ERROR,
                                                   PROTO_CODE_VERSION_MISMATCH, PROTO_CODE_INVALID_REQUEST };

                return codes[rng_below(&w->rng, details ? 4 : update ? 3 : 2)];
        }
        return PROTO_CODE_NONE;
}

static Fault code_fault(ProtoCode code) {
        return code == PROTO_CODE_REQUEST_THROTTLED  ? FAULT_THROTTLED
               : code == PROTO_CODE_INTERNAL_ERROR   ? FAULT_INTERNAL_ERROR
               : code == PROTO_CODE_VERSION_MISMATCH ? FAULT_VERSION_MISMATCH
                                                     : FAULT_INVALID_REQUEST;
}

/* A fault met a message: count it for the job it names, or for all if it is a list. */
static void count_message(World *w, Fault f, const Topic *topic, unsigned dev) {
        for (unsigned i = w->n_tracks; i-- > 0;) {
                Track *t = &w->track[i];

                if (topic->job_id[0] != '\0' && strcmp(topic->job_id, t->key.job_id) != 0)
                        continue;
                fault_count(w, f, t, dev);
                t->disturbed = true;
                t->stripped |= f == FAULT_INVALID_REQUEST;
                if (topic->job_id[0] != '\0')
                        break;
        }
        device_disturbed(w, &w->dev[dev]);
}

/* Lost, late or twice, on its way to the cloud: true if it is not to be served now. */
static bool request_fault(World *w, Event *e, const Topic *topic) {
        bool chance = w->faults_on && rng_chance(&w->rng, w->sc.noise);
        unsigned kind = chance ? (unsigned) rng_below(&w->rng, 3) : 3;
        Event again;

        if (e->value != 0)
                return false; /* it met its fault already */
        if (kind == 0 || fault_armed(w, FAULT_LOST_REQUEST)) {
                count_message(w, FAULT_LOST_REQUEST, topic, e->dev);
                return true;
        }
        again = (Event){ .at = w->now + rng_between(&w->rng, 1, 3 * SEC),
                         .type = EVENT_TO_CLOUD,
                         .dev = e->dev,
                         .id = e->id,
                         .value = 1,
                         .len = e->len };
        if (kind == 1 || fault_armed(w, FAULT_REORDER_REQUEST)) {
                count_message(w, FAULT_REORDER_REQUEST, topic, e->dev);
                again.topic = TAKE(e->topic);
                again.data = TAKE(e->data);
                world_push(w, again);
                return true;
        }
        if (kind == 2 || fault_armed(w, FAULT_DUPLICATE_REQUEST)) {
                count_message(w, FAULT_DUPLICATE_REQUEST, topic, e->dev);
                again.topic = world_copy(e->topic, strlen(e->topic));
                again.data = world_copy(e->data, e->len);
                world_push(w, again);
        }
        return false;
}

void cloud_deliver(World *w, Event *e) {
        Device *d = &w->dev[e->dev];
        Topic topic = topic_parse(e->topic, w->sc.engine.thing);
        ProtoCode code;
        int r;

        /* What was under way when the connection broke may have arrived or not. */
        if (d->session != e->id && rng_chance(&w->rng, 500))
                return;
        if (d->session == e->id && request_fault(w, e, &topic))
                return;
        code = d->session == e->id ? reject_code(w, &topic, e) : PROTO_CODE_NONE;
        if (topic.kind == TOPIC_UPDATE && minds(w, &topic, e))
                code = PROTO_CODE_INVALID_REQUEST;
        TRACE(w, 2, "device %u -> cloud: %s %s%s%s", e->dev, e->topic, e->data, code ? " REJECT " : "",
              code ? proto_code_name(code) : "");
        if (code != PROTO_CODE_NONE)
                count_message(w, code_fault(code), &topic, e->dev);
        r = model_request(w->model, cloud_now(w), e->topic, e->data, e->len, code, &w->out);
        assert(r >= 0);
        cloud_flush(w, (int) e->dev);
}

void cloud_tick(World *w) {
        int r = model_tick(w->model, cloud_now(w), &w->out);

        assert(r >= 0);
        w->cloud_tick_at = USEC_NEVER;
        cloud_flush(w, -1);
}

/* Somebody with access to the account, or another program of the device: IN_PROGRESS without details. The version
 * rises; a queued execution is started. */
void cloud_outside_change(World *w, Track *t) {
        CLEANUP_REQUEST ProtoRequest request;
        char topic[TOPIC_TEXT_MAX];
        int r;

        proto_request_init(&request, TOPIC_UPDATE);
        (void) snprintf(request.job_id, sizeof(request.job_id), "%s", t->key.job_id);
        request.status = PROTO_STATUS_IN_PROGRESS;
        request.execution_number = t->key.number;
        buf_clear(&w->scratch);
        r = proto_request_encode(&request, w->sc.engine.thing, topic, &w->scratch, NULL);
        assert(r >= 0);
        t->touched |= t->status == PROTO_STATUS_QUEUED;
        t->outcome_open |= t->touched;
        t->disturbed = true;
        for (unsigned i = 0; i < DEVICES; i++)
                device_disturbed(w, &w->dev[i]);
        r = model_request(w->model, cloud_now(w), topic, w->scratch.data, w->scratch.len, PROTO_CODE_NONE,
                          &w->out);
        assert(r >= 0);
        cloud_flush(w, -1);
}

/* The cloud's clock leaps to where the next timer runs out. */
bool cloud_jump_to_deadline(World *w) {
        uint64_t deadline = model_deadline(w->model);

        if (deadline == USEC_NEVER)
                return false;
        if (deadline > cloud_now(w))
                w->cloud_skew += deadline - cloud_now(w);
        w->cloud_leapt_at = MAX_OF(w->now, (uint64_t) 1);
        TRACE(w, 1, "*** the cloud's clock leaps to its next deadline");
        cloud_tick(w);
        return true;
}
