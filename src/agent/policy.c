/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

enum {
        STEADY_USEC = 60 * 1000 * 1000, /* a connection that lived longer did not end for want of a right used at its start */
        RESOURCE_MAX = 64 + LIMIT_TOPIC + 128,
        CONNACK_NOT_AUTHORIZED = 5, /* MQTT 3.1.1 */
        CONNACK_REFUSED = 7,        /* what AWS IoT has sent instead */
        REASON_NOT_AUTHORIZED = 135, /* MQTT 5 */
};

/* ---- resources ---- */

/* As in a policy: '*' stands for any text. The literal '+' is what a filter has there. */
static const char *const filters[] = {
        "notify", "notify-next", "get/*", "start-next/*", "+/get/*", "+/update/*", NULL,
};
static const char *const received[] = {
        "notify", "notify-next", "get/*", "start-next/*", "*/get/*", "*/update/*", NULL,
};
static const char *const published[] = { "get", "*/get", "*/update", NULL }; /* the engine's three requests */
static const char *const everything[] = { "*", NULL };

static const char *partition_of(const char *region) {
        if (region && strncmp(region, "cn-", 3) == 0)
                return "aws-cn";
        return region && strncmp(region, "us-gov-", 7) == 0 ? "aws-us-gov" : "aws";
}

static const char *action_name(PolicyAction action) {
        switch (action) {
        case POLICY_CONNECT:
                return "iot:Connect";
        case POLICY_SUBSCRIBE:
                return "iot:Subscribe";
        case POLICY_RECEIVE:
                return "iot:Receive";
        case POLICY_PUBLISH:
                return "iot:Publish";
        }
        return "";
}

static const char *resource_type(PolicyAction action) {
        switch (action) {
        case POLICY_CONNECT:
                return "client";
        case POLICY_SUBSCRIBE:
                return "topicfilter";
        case POLICY_RECEIVE:
        case POLICY_PUBLISH:
                return "topic";
        }
        return "";
}

/* ARN of a client id, topic or filter; NULL = no memory (or a text that is not UTF-8, which no configuration has). */
static json_t *resource(const PolicyScope *scope, PolicyAction action, const char *what) {
        const char *region = scope->region ? scope->region : "REGION";

        return json_sprintf("arn:%s:iot:%s:ACCOUNT:%s/%s", partition_of(scope->region), region, resource_type(action), what);
}

/* Adds a resource for each of the Jobs topics with these tails. */
static int add_topics(json_t *list, const PolicyScope *scope, PolicyAction action, const char *const *tails) {
        char topic[RESOURCE_MAX];

        for (size_t i = 0; tails[i]; i++) {
                (void) snprintf(topic, sizeof topic, "$aws/things/%s/jobs/%s", scope->thing, tails[i]);
                if (json_array_append_new(list, resource(scope, action, topic)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* ---- the policy ---- */

static json_t *statement(PolicyAction action, json_t *resources) {
        return json_pack("{s:s, s:s, s:o}", "Effect", "Allow", "Action", action_name(action), "Resource", resources);
}

static int add_statement(json_t *policy, const PolicyScope *scope, PolicyAction action, const char *const *tails) {
        json_t *list CLEANUP_JSON = json_array();
        int r;

        if (!list)
                return -ENOMEM;
        r = tails ? add_topics(list, scope, action, tails)
                  : json_array_append_new(list, resource(scope, action, scope->client_id));
        if (r < 0 ||
            json_array_append_new(json_object_get(policy, "Statement"), statement(action, json_incref(list))) < 0)
                return -ENOMEM;
        return 0;
}

static json_t *build(const PolicyScope *scope, bool wide) {
        json_t *policy CLEANUP_JSON = json_pack("{s:s, s:[]}", "Version", "2012-10-17", "Statement");

        if (!policy || add_statement(policy, scope, POLICY_CONNECT, NULL) < 0 ||
            add_statement(policy, scope, POLICY_SUBSCRIBE, wide ? everything : filters) < 0 ||
            add_statement(policy, scope, POLICY_RECEIVE, wide ? everything : received) < 0 ||
            add_statement(policy, scope, POLICY_PUBLISH, published) < 0)
                return NULL;
        return TAKE(policy);
}

/* With twelve digits for ACCOUNT, and for REGION the longest name there is. */
static size_t size_of(const json_t *policy, const PolicyScope *scope) {
        char *text CLEANUP_FREE = json_dumps(policy, JSON_COMPACT);
        size_t n = text ? strlen(text) : 0;

        for (const char *p = text; p && (p = strstr(p, ":ACCOUNT:")); p++)
                n += 12 - strlen("ACCOUNT") + (scope->region ? 0 : strlen("ap-southeast-1") - strlen("REGION"));
        return n;
}

int policy_format(const PolicyScope *scope, Buf *ret) {
        json_t *policy CLEANUP_JSON = build(scope, false);
        char *text CLEANUP_FREE = NULL;
        bool wide = policy && size_of(policy, scope) > POLICY_SIZE_MAX;

        if (wide) {
                json_decref(policy);
                policy = build(scope, true);
        }
        text = policy ? json_dumps(policy, JSON_INDENT(2)) : NULL;
        if (!text)
                return -ENOMEM;
        buf_printf(ret, "%s\n", text);
        return buf_error(ret) < 0 ? -ENOMEM : wide;
}

int policy_statement(const PolicyScope *scope, PolicyAction action, const char *topic, Buf *ret) {
        json_t *s CLEANUP_JSON = statement(action, resource(scope, action, topic));
        char *text CLEANUP_FREE = s ? json_dumps(s, 0) : NULL;

        if (!text)
                return -ENOMEM;
        buf_puts(ret, text);
        return buf_error(ret);
}

/* ---- the watch ---- */

/* The same for every job: a right is about the kind of topic. */
static void generalise(const PolicyScope *scope, const char *topic, bool is_subscription, char ret[static TOPIC_TEXT_MAX]) {
        Topic t = topic_parse(topic, scope->thing);

        if (t.kind != TOPIC_UNRECOGNIZED && t.job_id[0]) {
                (void) snprintf(t.job_id, sizeof t.job_id, "+");
                if (topic_format(&t, ret) == 0) {
                        if (!is_subscription)
                                *strchr(strstr(ret, "/jobs/"), '+') = '*';
                        return;
                }
        }
        (void) snprintf(ret, TOPIC_TEXT_MAX, "%s", topic);
}

static bool is_power_of_two(unsigned n) {
        return n > 0 && (n & (n - 1)) == 0;
}

/* Counts; true when it is time to speak. */
static bool note(PolicyWatch *w, PolicyAction action, const char *topic, bool again, unsigned first_report) {
        if (w->action != action || strcmp(w->topic, topic) != 0 || !again) {
                w->action = action;
                (void) snprintf(w->topic, sizeof w->topic, "%s", topic);
                w->times = 0;
        }
        w->times++;
        return w->times >= first_report && is_power_of_two(w->times);
}

static bool is_refusal(int code) {
        return code == CONNACK_NOT_AUTHORIZED || code == CONNACK_REFUSED || code == REASON_NOT_AUTHORIZED;
}

static bool report(const PolicyScope *scope, PolicyAction action, const char *topic, const char *what,
                   char ret[static POLICY_REPORT_MAX]) {
        Buf text CLEANUP_BUF = {};

        if (policy_statement(scope, action, topic, &text) < 0)
                return false;
        (void) snprintf(ret, POLICY_REPORT_MAX,
                        "%s. The policy of this device probably lacks %s ; \"iot-jobs-agent --print-policy\" prints all of it",
                        what, text.data);
        return true;
}

bool policy_watch_end(PolicyWatch *w, const PolicyScope *scope, const PolicyEnd *end, char ret[static POLICY_REPORT_MAX]) {
        PolicyAction action = end->is_subscription ? POLICY_SUBSCRIBE : POLICY_PUBLISH;
        char topic[TOPIC_TEXT_MAX], what[TOPIC_TEXT_MAX + 160];

        if (end->code != 0 && !is_refusal(end->code)) /* the broker says itself what it was: a take-over, a quota */
                return false;
        if (!end->topic) {
                if (end->online_usec > 0 || !is_refusal(end->code) ||
                    !note(w, POLICY_CONNECT, "", true, 1))
                        return false;
                (void) snprintf(what, sizeof what, "the broker does not let client id %s in", scope->client_id);
                return report(scope, POLICY_CONNECT, scope->client_id, what, ret);
        }
        generalise(scope, end->topic, end->is_subscription, topic);
        if (!note(w, action, topic, end->online_usec < STEADY_USEC, 2))
                return false;
        (void) snprintf(what, sizeof what, "the connection ended %u times right after %s %s", w->times,
                        end->is_subscription ? "SUBSCRIBE to" : "PUBLISH to", end->topic);
        return report(scope, action, topic, what, ret);
}
