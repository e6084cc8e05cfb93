/* SPDX-License-Identifier: Apache-2.0 */
/* What an AWS IoT policy has to allow this agent, and which part of it is probably missing when the broker ends the connection.
 * Pure functions: no clock, no environment, no descriptor. */
#pragma once

#include "base/buf.h"
#include "proto/topic.h"

enum {
        POLICY_SIZE_MAX = 2048, /* characters AWS takes in one policy, white space not counted */
        POLICY_REPORT_MAX = 1024,
};

typedef struct PolicyScope {
        const char *region;    /* NULL: not known, REGION is written */
        const char *client_id; /* any text */
        const char *thing;
} PolicyScope;

typedef enum PolicyAction { POLICY_CONNECT, POLICY_SUBSCRIBE, POLICY_RECEIVE, POLICY_PUBLISH } PolicyAction;

/* The smallest policy with which the agent works, as indented JSON with a line feed behind it; ACCOUNT stands for the account.
 * 0: exactly the agent's topics. 1: that would be larger than POLICY_SIZE_MAX (a long thing name), so that all Jobs topics of the
 * thing may be subscribed and received. -ENOMEM. */
int policy_format(const PolicyScope *scope, Buf *ret) MUST_USE;

/* One statement of it on one line: what lets the agent do `action` on this topic (or filter, or, for CONNECT, client id).
 * 0, -ENOMEM. */
int policy_statement(const PolicyScope *scope, PolicyAction action, const char *topic, Buf *ret) MUST_USE;

/* ---- a connection that ends where a right is missing ----
 *
 * AWS IoT answers what a policy does not allow by closing the connection, without a word. One such end may be an accident of
 * the network; the second one at the same place is reported, then the fourth, the eighth, … */

typedef struct PolicyWatch { /* zero-initialise */
        PolicyAction action;
        char topic[TOPIC_TEXT_MAX]; /* with '+' for the job, "" = nothing seen yet */
        unsigned times;
} PolicyWatch;

typedef struct PolicyEnd { /* how a connection, or an attempt, ended */
        int code;          /* CONNACK's or MQTT 5's, 0 = none */
        const char *topic; /* the SUBSCRIBE or PUBLISH without an answer, or NULL */
        bool is_subscription;
        uint64_t online_usec; /* how long it was online; 0 = never */
} PolicyEnd;

/* true: `ret` is what to tell the operator. */
bool policy_watch_end(PolicyWatch *w, const PolicyScope *scope, const PolicyEnd *end,
                      char ret[static POLICY_REPORT_MAX]) MUST_USE;
