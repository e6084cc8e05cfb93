/* SPDX-License-Identifier: Apache-2.0 */
/* The policy is read back and applied to what the agent does, by a matcher of its own: what it needs is allowed, what it does
 * not need is not. */
#include <jansson.h>

#include "agent/policy.h"
#include "unit.h"

static const PolicyScope scope = { .region = "eu-central-1", .client_id = "pump-7", .thing = "pump-7" };

/* ---- a policy at work ---- */

/* '*' any text, '?' any character, the rest literal. */
static bool wild(const char *pattern, const char *text) {
        for (; *pattern; pattern++, text++) {
                if (*pattern == '*') {
                        do {
                                if (wild(pattern + 1, text))
                                        return true;
                        } while (*text++);
                        return false;
                }
                if (!*text || (*pattern != '?' && *pattern != *text))
                        return false;
        }
        return !*text;
}

static bool statement_allows(const json_t *s, const char *action, const char *resource) {
        const json_t *list = json_object_get(s, "Resource"), *one;
        size_t i;

        ck_assert_str_eq(json_string_value(json_object_get(s, "Effect")), "Allow");
        if (strcmp(json_string_value(json_object_get(s, "Action")), action) != 0)
                return false;
        if (json_is_string(list))
                return wild(json_string_value(list), resource);
        json_array_foreach(list, i, one) {
                if (wild(json_string_value(one), resource))
                        return true;
        }
        return false;
}

static bool allows(const json_t *policy, const char *action, const char *start, const char *rest) {
        char resource[600];
        const json_t *s;
        size_t i;

        (void) snprintf(resource, sizeof resource, "%s%s", start, rest);
        json_array_foreach(json_object_get(policy, "Statement"), i, s) {
                if (statement_allows(s, action, resource))
                        return true;
        }
        return false;
}

static json_t *policy_of(const PolicyScope *s, int expected) {
        CLEANUP_BUF Buf text = { 0 };
        json_t *policy;

        ck_assert_int_eq(policy_format(s, &text), expected);
        ck_assert_int_eq(text.data[text.len - 1], '\n');
        ck_assert_ptr_nonnull(strstr(text.data, "\n  \"Statement\""));
        policy = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_ptr_nonnull(policy);
        ck_assert_str_eq(json_string_value(json_object_get(policy, "Version")), "2012-10-17");
        return policy;
}

#define ARN "arn:aws:iot:eu-central-1:ACCOUNT:"
#define JOBS "$aws/things/pump-7/jobs/"

static const struct Deed {
        const char *action, *start, *rest;
        bool allowed;
} deeds[] = {
        { "iot:Connect", ARN "client/", "pump-7", true },
        { "iot:Connect", ARN "client/", "pump-77", false },
        { "iot:Connect", "arn:aws:iot:eu-west-1:ACCOUNT:client/", "pump-7", false },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "notify", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "notify-next", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "get/accepted", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "get/rejected", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "start-next/accepted", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "start-next/rejected", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "+/get/accepted", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "+/get/rejected", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "+/update/accepted", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "+/update/rejected", true },
        { "iot:Subscribe", ARN "topicfilter/" JOBS, "#", false },
        { "iot:Subscribe", ARN "topicfilter/", "$aws/things/pump-8/jobs/notify", false },
        { "iot:Subscribe", ARN "topicfilter/", "$aws/things/+/jobs/notify", false },
        { "iot:Subscribe", ARN "topicfilter/", "$aws/things/pump-7/shadow/get/accepted", false },
        { "iot:Receive", ARN "topic/" JOBS, "notify", true },
        { "iot:Receive", ARN "topic/" JOBS, "notify-next", true },
        { "iot:Receive", ARN "topic/" JOBS, "get/accepted", true },
        { "iot:Receive", ARN "topic/" JOBS, "start-next/rejected", true },
        { "iot:Receive", ARN "topic/" JOBS, "job-1/get/accepted", true },
        { "iot:Receive", ARN "topic/" JOBS, "$next/get/rejected", true },
        { "iot:Receive", ARN "topic/" JOBS, "job-1/update/rejected", true },
        { "iot:Receive", ARN "topic/" JOBS, "notify-namespace-aws-gg-deployment", false },
        { "iot:Receive", ARN "topic/", "$aws/things/pump-8/jobs/notify", false },
        { "iot:Publish", ARN "topic/" JOBS, "get", true },
        { "iot:Publish", ARN "topic/" JOBS, "job-1/get", true },
        { "iot:Publish", ARN "topic/" JOBS, "$next/get", true },
        { "iot:Publish", ARN "topic/" JOBS, "job-1/update", true },
        { "iot:Publish", ARN "topic/" JOBS, "start-next", false }, /* which the engine never asks for */
        { "iot:Publish", ARN "topic/" JOBS, "notify", false },
        { "iot:Publish", ARN "topic/" JOBS, "get/accepted", false },
        { "iot:Publish", ARN "topic/", "$aws/things/pump-8/jobs/get", false },
        { "iot:Publish", ARN "topic/", "pump-7/telemetry", false },
};

START_TEST(deed) {
        const struct Deed *d = &deeds[_i];
        json_t *policy = policy_of(&scope, 0);

        ck_assert_int_eq(allows(policy, d->action, d->start, d->rest), d->allowed);
        json_decref(policy);
}
END_TEST

static const struct Place {
        const char *region, *start;
} places[] = {
        { NULL, "arn:aws:iot:REGION:ACCOUNT:" },
        { "us-east-1", "arn:aws:iot:us-east-1:ACCOUNT:" },
        { "cn-northwest-1", "arn:aws-cn:iot:cn-northwest-1:ACCOUNT:" },
        { "us-gov-west-1", "arn:aws-us-gov:iot:us-gov-west-1:ACCOUNT:" },
};

START_TEST(place) {
        PolicyScope s = scope;
        json_t *policy;

        s.region = places[_i].region;
        policy = policy_of(&s, 0);
        ck_assert(allows(policy, "iot:Connect", places[_i].start, "client/pump-7"));
        json_decref(policy);
}
END_TEST

/* AWS counts the characters that are no white space. */
static size_t size_for_aws(const PolicyScope *s, int expected) {
        json_t *policy = policy_of(s, expected);
        char *text = json_dumps(policy, JSON_COMPACT);
        size_t n = strlen(text);

        for (const char *p = text; (p = strstr(p, ":ACCOUNT:")); p++)
                n += 12 - strlen("ACCOUNT");
        free(text);
        json_decref(policy);
        return n;
}

#define FILTER "arn:aws:iot:ap-southeast-1:ACCOUNT:topicfilter/$aws/things/"

START_TEST(fits_in_a_policy) {
        char name[LIMIT_THING_NAME + 1] = "", topic[TOPIC_TEXT_MAX];
        PolicyScope s = { .region = "ap-southeast-1", .client_id = name, .thing = name };
        json_t *policy;

        memset(name, 'x', 20);
        ck_assert_uint_le(size_for_aws(&s, 0), POLICY_SIZE_MAX);
        memset(name, 'x', LIMIT_THING_NAME);
        ck_assert_uint_le(size_for_aws(&s, 1), POLICY_SIZE_MAX);
        policy = policy_of(&s, 1);
        (void) snprintf(topic, sizeof topic, "%s/jobs/notify", name);
        ck_assert(allows(policy, "iot:Subscribe", FILTER, topic));
        topic[0] = 'y';
        ck_assert(!allows(policy, "iot:Subscribe", FILTER, topic));
        json_decref(policy);
}
END_TEST

START_TEST(odd_client_id) {
        PolicyScope s = scope;
        json_t *policy;

        s.client_id = "a\"b\\c/\xC3\xA9";
        policy = policy_of(&s, 0);
        ck_assert(allows(policy, "iot:Connect", ARN "client/", s.client_id));
        json_decref(policy);
}
END_TEST

START_TEST(single_statement) {
        CLEANUP_BUF Buf b = { 0 };

        ck_assert_int_eq(policy_statement(&scope, POLICY_SUBSCRIBE, "$aws/things/pump-7/jobs/notify", &b), 0);
        ck_assert_str_eq(b.data, "{\"Effect\": \"Allow\", \"Action\": \"iot:Subscribe\", \"Resource\": \"" ARN
                                 "topicfilter/$aws/things/pump-7/jobs/notify\"}");
}
END_TEST

/* ---- the watch ---- */

static bool ends(PolicyWatch *w, const char *topic, bool is_subscription, unsigned seconds, char *text) {
        PolicyEnd end = { .topic = topic, .is_subscription = is_subscription, .online_usec = seconds * USEC_PER_SEC };

        text[0] = '\0';
        return policy_watch_end(w, &scope, &end, text);
}

#define UPDATE(job) "$aws/things/pump-7/jobs/" job "/update"

START_TEST(second_end_after_subscribe) {
        static const char filter[] = "$aws/things/pump-7/jobs/notify-next";
        PolicyWatch w = { 0 };
        char text[POLICY_REPORT_MAX];

        ck_assert(!ends(&w, filter, true, 0, text));
        ck_assert(ends(&w, filter, true, 0, text));
        ck_assert_ptr_nonnull(strstr(text, "2 times right after SUBSCRIBE to $aws/things/pump-7/jobs/notify-next"));
        ck_assert_ptr_nonnull(strstr(text, "\"iot:Subscribe\""));
        ck_assert_ptr_nonnull(strstr(text, ARN "topicfilter/$aws/things/pump-7/jobs/notify-next\""));
        ck_assert_ptr_nonnull(strstr(text, "--print-policy"));
}
END_TEST

/* The job differs, the missing right is the same. */
START_TEST(second_end_after_publish) {
        PolicyWatch w = { 0 };
        char text[POLICY_REPORT_MAX];

        ck_assert(!ends(&w, UPDATE("job-1"), false, 3600, text)); /* a job that came after an hour */
        ck_assert(ends(&w, UPDATE("job-2"), false, 1, text));
        ck_assert_ptr_nonnull(strstr(text, "right after PUBLISH to $aws/things/pump-7/jobs/job-2/update"));
        ck_assert_ptr_nonnull(strstr(text, "\"iot:Publish\""));
        ck_assert_ptr_nonnull(strstr(text, ARN "topic/$aws/things/pump-7/jobs/*/update\""));
}
END_TEST

START_TEST(reports_become_rare) {
        PolicyWatch w = { 0 };
        char text[POLICY_REPORT_MAX];
        unsigned n = 0;

        for (int i = 1; i <= 100; i++)
                n += ends(&w, UPDATE("j"), false, 1, text);
        ck_assert_uint_eq(n, 6); /* 2, 4, 8, 16, 32, 64 */
}
END_TEST

START_TEST(what_is_no_pattern) {
        PolicyWatch w = { 0 };
        char text[POLICY_REPORT_MAX];

        /* a connection that worked for a while: the network, not the policy */
        ck_assert(!ends(&w, UPDATE("j"), false, 1, text));
        ck_assert(!ends(&w, UPDATE("j"), false, 60, text));
        /* another topic, another direction */
        ck_assert(!ends(&w, "$aws/things/pump-7/jobs/get", false, 1, text));
        ck_assert(!ends(&w, "$aws/things/pump-7/jobs/get", true, 1, text));
        /* attempts that did not get so far neither count nor make forget */
        ck_assert(!ends(&w, NULL, false, 0, text));
        ck_assert(ends(&w, "$aws/things/pump-7/jobs/get", true, 1, text));
}
END_TEST

START_TEST(refused_connection) {
        static const struct {
                int code;
                bool spoken_of;
        } codes[] = { { 0, false }, { 2, false }, { 3, false }, { 5, true }, { 7, true }, { 135, true }, { 142, false } };
        char text[POLICY_REPORT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
                PolicyWatch w = { 0 };
                PolicyEnd end = { .code = codes[i].code };

                ck_assert_int_eq(policy_watch_end(&w, &scope, &end, text), codes[i].spoken_of);
                if (codes[i].spoken_of) {
                        ck_assert_ptr_nonnull(strstr(text, "client id pump-7"));
                        ck_assert_ptr_nonnull(strstr(text, "iot:Connect"));
                        ck_assert_ptr_nonnull(strstr(text, ARN "client/pump-7\""));
                        ck_assert(policy_watch_end(&w, &scope, &end, text));
                        ck_assert(!policy_watch_end(&w, &scope, &end, text));
                        ck_assert(policy_watch_end(&w, &scope, &end, text));
                }
        }
}
END_TEST

/* Once it was online, the broker's word is about something else. */
START_TEST(refusal_of_a_living_connection) {
        PolicyWatch w = { 0 };
        PolicyEnd end = { .code = 135, .online_usec = 1 };
        char text[POLICY_REPORT_MAX];

        ck_assert(!policy_watch_end(&w, &scope, &end, text));
}
END_TEST

/* MQTT 5: whoever was taken over often had a publication under way. */
START_TEST(other_reasons) {
        PolicyWatch w = { 0 };
        PolicyEnd end = { .code = 142, .topic = UPDATE("j"), .online_usec = 1 };
        char text[POLICY_REPORT_MAX];

        for (int i = 0; i < 4; i++)
                ck_assert(!policy_watch_end(&w, &scope, &end, text));
        end.code = 135;
        ck_assert(!policy_watch_end(&w, &scope, &end, text));
        ck_assert(policy_watch_end(&w, &scope, &end, text));
        ck_assert_ptr_nonnull(strstr(text, "PUBLISH"));
}
END_TEST

START_TEST(longest_names_fit) {
        char thing[LIMIT_THING_NAME + 1] = "", client_id[LIMIT_THING_NAME + 1] = "", topic[TOPIC_TEXT_MAX], text[POLICY_REPORT_MAX];
        PolicyScope s = { .client_id = client_id, .thing = thing };
        PolicyEnd end = { .topic = topic, .is_subscription = true };
        PolicyWatch w = { 0 };

        memset(thing, 't', LIMIT_THING_NAME);
        memset(client_id, '"', LIMIT_THING_NAME); /* twice as long in JSON */
        (void) snprintf(topic, sizeof topic, "$aws/things/%s/jobs/start-next/accepted", thing);
        ck_assert(!policy_watch_end(&w, &s, &end, text));
        ck_assert(policy_watch_end(&w, &s, &end, text));
        ck_assert_ptr_nonnull(strstr(text, "prints all of it"));
        end.topic = NULL;
        end.code = 5;
        ck_assert(policy_watch_end(&w, &s, &end, text));
        ck_assert_ptr_nonnull(strstr(text, "prints all of it"));
}
END_TEST

static TCase *cases_policy(void) {
        TCase *t = tcase_create("policy");

        tcase_add_loop_test(t, deed, 0, (int) ELEMENTSOF(deeds));
        tcase_add_loop_test(t, place, 0, (int) ELEMENTSOF(places));
        tcase_add_test(t, fits_in_a_policy);
        tcase_add_test(t, odd_client_id);
        tcase_add_test(t, single_statement);
        return t;
}

static TCase *cases_watch(void) {
        TCase *t = tcase_create("watch");

        tcase_add_test(t, second_end_after_subscribe);
        tcase_add_test(t, second_end_after_publish);
        tcase_add_test(t, reports_become_rare);
        tcase_add_test(t, what_is_no_pattern);
        tcase_add_test(t, refused_connection);
        tcase_add_test(t, refusal_of_a_living_connection);
        tcase_add_test(t, other_reasons);
        tcase_add_test(t, longest_names_fit);
        return t;
}

UNIT_MAIN("policy", cases_policy(), cases_watch())
