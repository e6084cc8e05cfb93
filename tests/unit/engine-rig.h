/* SPDX-License-Identifier: Apache-2.0 */
/* A small world around one engine: single events in, what the last one brought about looked at. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "unit.h"

enum { SEC = 1000 * 1000 };

static Engine *engine;
static EngineActions actions;
static uint64_t now;
static unsigned publications;
static char last_token[LIMIT_CLIENT_TOKEN + 1];

static void step(EngineEvent *event) {
        engine_actions_clear(&actions);
        event->now = now;
        event->random = 42;
        ck_assert_int_eq(engine_step(engine, event, &actions), 0);
        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == ENGINE_ACTION_PUBLISH) {
                        publications++;
                        memcpy(last_token, actions.item[i].request.token, sizeof last_token);
                }
}

/* The one action of a type in the last step, or NULL; more than one is a failure. */
static const EngineAction *only(EngineActionType type) {
        const EngineAction *found = NULL;

        for (size_t i = 0; i < actions.n; i++)
                if (actions.item[i].type == type) {
                        ck_assert_msg(!found, "two actions of one type");
                        found = &actions.item[i];
                }
        return found;
}

static const ProtoRequest *published(TopicKind kind) {
        const EngineAction *a = only(ENGINE_ACTION_PUBLISH);

        ck_assert_msg(a != NULL, "nothing published");
        ck_assert_int_eq(a->request.kind, kind);
        return &a->request;
}

static const EngineAction *told(WireType type) {
        const EngineAction *a = only(ENGINE_ACTION_RUNNER);

        ck_assert_msg(a != NULL, "no runner told, %s expected", wire_type_name(type));
        ck_assert_str_eq(wire_type_name(a->wire.type), wire_type_name(type));
        return a;
}

static void quiet(void) {
        ck_assert_ptr_null(only(ENGINE_ACTION_PUBLISH));
        ck_assert_ptr_null(only(ENGINE_ACTION_RUNNER));
}

static ProtoExecution execution(const char *id, ProtoStatus status, int64_t version) {
        ProtoExecution x = {
                .status = status,
                .queued_at = 1000,
                .last_updated_at = 1000,
                .version = version,
                .number = 1,
                .seconds_left = -1,
        };

        (void) snprintf(x.job_id, sizeof x.job_id, "%s", id);
        return x;
}
