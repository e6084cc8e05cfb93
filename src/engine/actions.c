/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"

static void action_done(EngineAction *a) {
        proto_request_done(&a->request);
        wire_message_done(&a->wire);
        free(a->owned_document);
}

void engine_actions_clear(EngineActions *a) {
        for (size_t i = 0; i < a->n; i++)
                action_done(&a->item[i]);
        a->n = 0;
}

void engine_actions_done(EngineActions *a) {
        engine_actions_clear(a);
        free(a->item);
        *a = (EngineActions) {};
}

EngineAction *engine_act(Engine *e, EngineActionType type) {
        EngineActions *a = e->actions;

        if (a->n == a->cap) {
                size_t cap = MAX_OF(a->cap * 2, (size_t) 8);
                EngineAction *item = reallocarray(a->item, cap, sizeof *item);

                if (!item) {
                        e->error = -ENOMEM;
                        return NULL;
                }
                a->item = item;
                a->cap = cap;
        }
        a->item[a->n] = (EngineAction) { .type = type };
        return &a->item[a->n++];
}

void engine_log(Engine *e, int level, const char *message_id, const Job *j, ProtoStatus status, const char *format,
                ...) {
        EngineAction *a = engine_act(e, ENGINE_ACTION_LOG);
        va_list ap;

        if (!a)
                return;
        a->level = level;
        a->message_id = message_id;
        a->status = status;
        if (j) {
                a->has_key = true;
                a->key = j->key;
        }
        va_start(ap, format);
        (void) vsnprintf(a->text, sizeof a->text, format, ap);
        va_end(ap);
}

ProtoRequest *engine_publish(Engine *e, TopicKind kind, char ret_token[static LIMIT_CLIENT_TOKEN_SENT + 1]) {
        EngineAction *a = engine_act(e, ENGINE_ACTION_PUBLISH);

        if (!a)
                return NULL;
        proto_request_init(&a->request, kind);
        (void) snprintf(ret_token, LIMIT_CLIENT_TOKEN_SENT + 1, "%s-%" PRIu64, e->token_prefix, ++e->token_counter);
        a->request.has_token = true;
        (void) snprintf(a->request.token, sizeof a->request.token, "%s", ret_token);
        return &a->request;
}

EngineAction *engine_tell(Engine *e, Job *j, WireType type) {
        EngineAction *a = engine_act(e, ENGINE_ACTION_RUNNER);

        if (!a)
                return NULL;
        a->run = j->run;
        a->wire.type = type;
        a->wire.key = j->key;
        j->connected = true;
        return a;
}

void engine_hang_up(Engine *e, Job *j) {
        EngineAction *a;

        if (!j->connected)
                return;
        a = engine_act(e, ENGINE_ACTION_HANG_UP);
        if (a)
                a->run = j->run;
        j->connected = false;
}

/* splitmix64; jitter only, no secret. */
static uint64_t next_random(Engine *e) {
        uint64_t z = (e->rng += UINT64_C(0x9E3779B97F4A7C15));

        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        return z ^ (z >> 31);
}

uint64_t engine_backoff(Engine *e, unsigned tries, unsigned doublings) {
        uint64_t whole = (uint64_t) BACKOFF_MIN_USEC << MIN_OF(tries, doublings);

        return whole / 4 + next_random(e) % (whole - whole / 4);
}
