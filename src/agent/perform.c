/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out what the engine decided, in order. Decides nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/agent.h"

static void perform_publish(Agent *a, const EngineAction *action) {
        Error e = {};
        int r = cloud_send(a->cloud, &action->request, &e);

        /* Not online any more, or too much waiting: OFFLINE or the request's deadline bring it back. */
        if (r < 0 && r != -ENOTCONN && r != -ENOBUFS)
                log_error("cannot encode a request for job %s: %s", action->request.job_id, e.text);
}

static void perform_runner(Agent *a, const EngineAction *action) {
        int r = link_send(a, action->run, &action->wire);

        if (r >= 0)
                return;
        link_close(a, action->run);
        if (a->n_closed < ELEMENTSOF(a->closed)) /* told after the other actions of this step */
                a->closed[a->n_closed++] = action->run;
}

static void perform_log(const EngineAction *action) {
        /* The journal shows the text alone unless it is asked for more; stderr has the fields behind it. */
        const char *job = action->has_key && log_to_journal() ? action->key.job_id : "";
        char number[24];
        LogField fields[] = {
                { "IOT_JOB_ID", NULL },
                { "IOT_JOB_EXECUTION", NULL },
                { "IOT_JOB_STATUS", NULL },
                {},
        };

        if (action->has_key) {
                fields[0].value = action->key.job_id;
                if (action->key.number > 0) {
                        (void) snprintf(number, sizeof number, "%" PRId64, action->key.number);
                        fields[1].value = number;
                }
        }
        if (action->status != PROTO_STATUS_NONE)
                fields[2].value = proto_status_name(action->status);
        log_full((LogLevel) action->level, NULL, action->message_id, fields, "%s%s%s", job, job[0] ? ": " : "", action->text);
}

void agent_perform(Agent *a, const EngineActions *actions) {
        for (size_t i = 0; i < actions->n; i++) {
                const EngineAction *action = &actions->item[i];

                switch (action->type) {
                case ENGINE_ACTION_PUBLISH:
                        perform_publish(a, action);
                        break;
                case ENGINE_ACTION_RUNNER:
                        perform_runner(a, action);
                        break;
                case ENGINE_ACTION_HANG_UP:
                        link_close(a, action->run);
                        break;
                case ENGINE_ACTION_LOG:
                        perform_log(action);
                        break;
                }
        }
}
