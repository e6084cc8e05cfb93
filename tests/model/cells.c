/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that says which fault need not meet a job in which state, and why. Every other cell must be reached. */
#include "world.h"

static const char *no_runner(SimState s) {
        if (s == STATE_UNKNOWN || s == STATE_QUEUED || s == STATE_DEFERRED)
                return "no runner serves the job";
        return s == STATE_ACKED ? "its runner is gone" : NULL;
}

static const char *nothing_written(SimState s) {
        if (s == STATE_UNKNOWN || s == STATE_QUEUED || s == STATE_DEFERRED)
                return "no runner writes for the job";
        return s == STATE_ACKED ? "its record is gone" : NULL;
}

/* What answers an update: claim, progress, final. */
static const char *no_update(SimState s) {
        switch (s) {
        case STATE_UNKNOWN:
        case STATE_QUEUED:
        case STATE_PREPARING:
        case STATE_PLANNED:
        case STATE_FINISHED:
                return "this agent has sent no update for it; one is under way only where its runner died in "
                       "that moment";
        case STATE_ACKED:
                return "the last update is answered; another is under way only where the cloud ended it in "
                       "that moment";
        case STATE_CLAIMING:
        case STATE_STARTING:
        case STATE_RUNNING:
        case STATE_KILLING:
        case STATE_DEFERRED:
        case STATE_REBOOTING:
        case STATE_REPORTING:
        case STATE_COUNT:
                break;
        }
        return NULL;
}

static const char *no_start(SimState s) {
        switch (s) {
        case STATE_UNKNOWN:
                return "an agent that does not know it starts nothing for it";
        case STATE_PREPARING:
                return "a runner was started for it already";
        case STATE_STARTING:
                return "only an agent that is killed and back within these milliseconds starts another "
                       "runner";
        case STATE_ACKED:
                return "there is nothing left to ask a runner for";
        case STATE_QUEUED:
        case STATE_PLANNED:
        case STATE_CLAIMING:
        case STATE_RUNNING:
        case STATE_KILLING:
        case STATE_DEFERRED:
        case STATE_REBOOTING:
        case STATE_FINISHED:
        case STATE_REPORTING:
        case STATE_COUNT:
                break;
        }
        return NULL;
}

const char *cell_excuse(Fault f, SimState s) {
        switch (f) {
        case FAULT_REBOOT_FAILS:
        case FAULT_NO_REBOOT:
        case FAULT_HOUR_OFFLINE:
                return s == STATE_REBOOTING ? NULL : "it strikes the reboot that the job asked for";
        case FAULT_LOCAL_CANCEL:
                if (s == STATE_UNKNOWN)
                        return "the agent cannot be told of what it has not heard of";
                return s == STATE_ACKED ? "the agent has forgotten it" : NULL;
        case FAULT_KILL_RUNNER:
        case FAULT_STOP_RUNNER:
                return no_runner(s);
        case FAULT_KILL_RUNNER_IN_PERSIST:
        case FAULT_READ_ONLY:
                return nothing_written(s);
        case FAULT_VERSION_MISMATCH:
        case FAULT_INVALID_REQUEST:
                return no_update(s);
        case FAULT_SPAWN_FAILS:
                return no_start(s);
        case FAULT_OUTSIDE_CHANGE:
                return s == STATE_ACKED ? "the service refuses a change of what is over" : NULL;
        case FAULT_SERVICE_TIMEOUT:
                return s == STATE_ACKED ? "what is over has no timer" : NULL;
        case FAULT_RETRY_EXECUTION:
                return s == STATE_ACKED ? "what was acked before it was over is not retried again" : NULL;
        case FAULT_KILL_AGENT:
        case FAULT_POWER_CUT:
        case FAULT_POWER_CUT_BEFORE_PERSIST:
        case FAULT_POWER_CUT_IN_PERSIST:
        case FAULT_POWER_CUT_AFTER_PERSIST:
        case FAULT_LOST_REQUEST:
        case FAULT_LOST_REPLY:
        case FAULT_LOST_NOTIFICATION:
        case FAULT_DUPLICATE_REQUEST:
        case FAULT_DUPLICATE_MESSAGE:
        case FAULT_REORDER_REQUEST:
        case FAULT_REORDER_MESSAGE:
        case FAULT_DISCONNECT:
        case FAULT_BROKER_AWAY:
        case FAULT_THROTTLED:
        case FAULT_INTERNAL_ERROR:
        case FAULT_CANCEL:
        case FAULT_FORCE_CANCEL:
        case FAULT_DELETE:
        case FAULT_RECREATE:
        case FAULT_SECOND_DEVICE:
        case FAULT_WALL_CLOCK:
        case FAULT_SUSPEND:
        case FAULT_DISK_FULL:
        case FAULT_MALFORMED:
        case FAULT_STALE:
        case FAULT_FOREIGN:
        case FAULT_RELOAD:
        case FAULT_PAUSE:
        case FAULT_COUNT:
                break;
        }
        return NULL;
}
