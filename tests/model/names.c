/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

const char *fault_name(Fault f) {
        static const char *const names[FAULT_COUNT] = {
                [FAULT_KILL_AGENT] = "kill agent",
                [FAULT_KILL_RUNNER] = "kill runner",
                [FAULT_KILL_RUNNER_IN_PERSIST] = "kill runner in persist",
                [FAULT_STOP_RUNNER] = "stop runner",
                [FAULT_POWER_CUT] = "power cut",
                [FAULT_POWER_CUT_BEFORE_PERSIST] = "power cut before persist",
                [FAULT_POWER_CUT_IN_PERSIST] = "power cut in persist",
                [FAULT_POWER_CUT_AFTER_PERSIST] = "power cut after persist",
                [FAULT_LOST_REQUEST] = "lost request",
                [FAULT_LOST_REPLY] = "lost reply",
                [FAULT_LOST_NOTIFICATION] = "lost notification",
                [FAULT_DUPLICATE_REQUEST] = "duplicate request",
                [FAULT_DUPLICATE_MESSAGE] = "duplicate message",
                [FAULT_REORDER_REQUEST] = "reordered request",
                [FAULT_REORDER_MESSAGE] = "reordered message",
                [FAULT_DISCONNECT] = "disconnect",
                [FAULT_BROKER_AWAY] = "broker away",
                [FAULT_OUTSIDE_CHANGE] = "outside change",
                [FAULT_VERSION_MISMATCH] = "VersionMismatch",
                [FAULT_THROTTLED] = "RequestThrottled",
                [FAULT_INTERNAL_ERROR] = "InternalError",
                [FAULT_INVALID_REQUEST] = "InvalidRequest",
                [FAULT_CANCEL] = "cancel",
                [FAULT_FORCE_CANCEL] = "force-cancel",
                [FAULT_DELETE] = "delete",
                [FAULT_RECREATE] = "delete, re-create",
                [FAULT_SERVICE_TIMEOUT] = "service timeout",
                [FAULT_RETRY_EXECUTION] = "retry execution",
                [FAULT_SECOND_DEVICE] = "second device",
                [FAULT_WALL_CLOCK] = "wall clock jump",
                [FAULT_SUSPEND] = "suspend",
                [FAULT_DISK_FULL] = "disk full",
                [FAULT_READ_ONLY] = "record not writable",
                [FAULT_MALFORMED] = "malformed message",
                [FAULT_STALE] = "stale message",
                [FAULT_FOREIGN] = "foreign reply",
                [FAULT_SPAWN_FAILS] = "runner cannot start",
                [FAULT_RELOAD] = "reload",
                [FAULT_REBOOT_FAILS] = "reboot fails",
                [FAULT_NO_REBOOT] = "reboot does not come",
                [FAULT_HOUR_OFFLINE] = "an hour offline",
                [FAULT_LOCAL_CANCEL] = "cancel on the device",
                [FAULT_PAUSE] = "pause",
        };

        return names[f];
}

const char *sim_state_name(SimState s) {
        static const char *const names[STATE_COUNT] = {
                [STATE_UNKNOWN] = "unknown",     [STATE_QUEUED] = "queued",
                [STATE_PREPARING] = "preparing", [STATE_PLANNED] = "planned",
                [STATE_CLAIMING] = "claiming",   [STATE_STARTING] = "starting",
                [STATE_RUNNING] = "running",     [STATE_KILLING] = "killing",
                [STATE_DEFERRED] = "deferred",   [STATE_REBOOTING] = "rebooting",
                [STATE_FINISHED] = "finished",   [STATE_REPORTING] = "reporting",
                [STATE_ACKED] = "acked",
        };

        return names[s];
}

const char *promise_name(Promise p) {
        static const char *const names[PROMISE_COUNT] = {
                [PROMISE_NONE] = "none",
                [P1_TRUTH] = "P1 truth",
                [P2_ONCE] = "P2 at most once",
                [P3_NOTHING_LOST] = "P3 nothing lost",
                [P4_NO_OVERLAP] = "P4 nothing overlaps",
                [P5_CANCEL] = "P5 cancel means stop",
                [P6_ORDER] = "P6 order",
                [P7_HARMLESS] = "P7 nothing hurts",
                [P8_NEVER_GIVE_UP] = "P8 never give up",
                [PAUSE_HOLDS] = "a pause holds",
        };

        return names[p];
}

const char *crash_name(Crash c) {
        static const char *const names[CRASH_COUNT] = {
                [CRASH_NONE] = "none", [CRASH_AGENT] = "agent", [CRASH_RUNNERS] = "runners",
                [CRASH_BOTH] = "both", [CRASH_POWER] = "power", [CRASH_CONNECTION] = "connection",
        };

        return names[c];
}

static const struct {
        const char *name;
        Promise promise;
        const char *story;
} bugs[BUG_COUNT] = {
        [BUG_NONE] = { "none", PROMISE_NONE, "" },
        [BUG_EXEC_BEFORE_RECORD] = { "exec-before-record", P2_ONCE,
                                     "`started` is written but not synced before exec" },
        [BUG_PERSIST_FAILURE_IGNORED] = { "persist-failure-ignored", P2_ONCE,
                                          "actions behind a failed PERSIST are carried out all the same" },
        [BUG_MEMORY_DEDUPE] = { "memory-dedupe", P2_ONCE,
                                "a new runner does not read the record: dedupe in memory only" },
        [BUG_FINAL_ONCE] = { "final-once", P3_NOTHING_LOST, "the final status is published only once" },
        [BUG_ACK_EARLY] = { "ack-early", P3_NOTHING_LOST,
                            "the runner gets its ack when the final status is sent" },
        [BUG_RESULT_EARLY] = { "result-early", P4_NO_OVERLAP,
                               "the result is told before the process tree is empty" },
        [BUG_LEFTOVERS] = { "leftovers", P4_NO_OVERLAP,
                            "a new runner does not end what a killed one left behind" },
        [BUG_CANCEL_IGNORED] = { "cancel-ignored", P5_CANCEL, "the runner passes over a cancel" },
        [BUG_GO_EARLY] = { "go-early", P5_CANCEL, "go is sent with the claim, not after its acceptance" },
        [BUG_STALE_TOKENS] = { "stale-tokens", P8_NEVER_GIVE_UP,
                               "a reply with an old token is taken for the newest request's" },
        [BUG_CLAIM_UNCHECKED] = { "claim-unchecked", P2_ONCE, "the claim carries no expected version" },
        [BUG_ORDER_REVERSED] = { "order-reversed", P6_ORDER, "lists are read from the end" },
        [BUG_SIGNAL_IS_ZERO] = { "signal-is-zero", P1_TRUTH, "an ending by signal is read as exit 0" },
        [BUG_FAILURE_IS_SUCCESS] = { "failure-is-success", P1_TRUTH,
                                     "an interrupted run is reported SUCCEEDED" },
        [BUG_RETRY_UNCOUNTED] = { "retry-uncounted", P2_ONCE,
                                  "a retry does not count as a restart of the execution" },
        [BUG_SLOT_GIVEN_UP] = { "slot-given-up", P4_NO_OVERLAP, "a deferred execution gives up its slot" },
        [BUG_STALE_DOCUMENT] = { "stale-document", P1_TRUTH, "a retry goes on with the old document" },
        [BUG_CANCEL_WHILE_DEFERRED] = { "cancel-while-deferred", P3_NOTHING_LOST,
                                        "a cancel is ignored while the execution is deferred" },
        [BUG_FINISH_GOES_ON] = { "finish-goes-on", P5_CANCEL,
                                 "after a cancel that lets the step finish the next one starts" },
        [BUG_REBOOT_UNRECORDED] = { "reboot-unrecorded", P1_TRUTH,
                                    "`rebooting` is written but not synced before the reboot" },
        [BUG_REBOOT_EARLY] = { "reboot-early", P4_NO_OVERLAP, "the reboot does not wait for the other run" },
        [BUG_RESUME_WAITS] = { "resume-waits", P8_NEVER_GIVE_UP,
                               "after a reboot the step waits for the network" },
        [BUG_DEADLINE_UNSEEN] = { "deadline-unseen", P1_TRUTH, "a deferral does not weigh the service's deadline" },
        [BUG_PAUSE_FORGOTTEN] = { "pause-forgotten", PAUSE_HOLDS, "after a restart nothing tells the agent of a pause" },
        [BUG_CANCEL_FORGOTTEN] = { "cancel-forgotten", P1_TRUTH, "a runner takes the operator's cancel for the cloud's" },
        [BUG_RESUME_TWICE] = { "resume-twice", P2_ONCE,
                               "the start after a reboot is not recorded: the next runner starts it again" },
};

const char *bug_name(Bug b) {
        return bugs[b].name;
}

const char *bug_story(Bug b) {
        return bugs[b].story;
}

Promise bug_promise(Bug b) {
        return bugs[b].promise;
}
