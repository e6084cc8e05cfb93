/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the library that need no connection: offline queue, filters, topics, names, replies. */
#include <errno.h>
#include <iotjobs/iotjobs.h>

#include "client/configure.h"
#include "client/offline.h"
#include "client/reply.h"
#include "client/subs.h"
#include "unit.h"

/* ---- offline queue ---- */

static void expect_item(OfflineQueue *q, uint64_t now, const char *topic) {
        OfflineItem *item = offline_take(q, now);

        ck_assert_ptr_nonnull(item);
        ck_assert_str_eq(item->topic, topic);
        free(item);
}

START_TEST(queue_keeps_order_and_pace) {
        OfflineQueue q = { 0 };

        ck_assert_int_eq(offline_push(&q, "t", "p", 1), -ENOTCONN);
        offline_set_limit(&q, 3, false);
        offline_set_rate(&q, 2);
        ck_assert_uint_eq(offline_due(&q), USEC_NEVER);
        ck_assert_int_eq(offline_push(&q, "a", "1", 1), 0);
        ck_assert_int_eq(offline_push(&q, "b", NULL, 0), 0);
        ck_assert_int_eq(offline_push(&q, "c", "333", 3), 0);
        ck_assert_int_eq(offline_push(&q, "d", "4", 1), -ENOBUFS);
        expect_item(&q, 1000, "a");
        ck_assert_uint_eq(offline_due(&q), 1000 + 500000);
        ck_assert_ptr_null(offline_take(&q, 500999));
        expect_item(&q, 501000, "b");
        ck_assert_int_eq(offline_push(&q, "e", "5", 1), 0);
        expect_item(&q, 2000000, "c");
        expect_item(&q, 3000000, "e");
        ck_assert_uint_eq(offline_due(&q), USEC_NEVER);
        ck_assert_uint_eq(q.bytes, 0);
        offline_done(&q);
}
END_TEST

START_TEST(queue_drops_the_oldest) {
        OfflineQueue q = { 0 };
        OfflineItem *item;
        char topic[16];

        offline_set_limit(&q, 2, true);
        offline_set_rate(&q, 1000);
        for (int i = 0; i < 100; i++) {
                (void) snprintf(topic, sizeof topic, "t%d", i);
                ck_assert_int_eq(offline_push(&q, topic, "x", 1), i < 2 ? 0 : 1);
        }
        ck_assert_uint_eq(q.n, 2);
        item = offline_take(&q, 0);
        ck_assert_str_eq(item->topic, "t98");
        offline_put_back(&q, item);
        expect_item(&q, 1000, "t98");
        expect_item(&q, 2000, "t99");
        item = NULL;
        offline_done(&q);
}
END_TEST

START_TEST(queue_is_bounded_in_bytes) {
        enum { BIG = OFFLINE_BYTES_MAX / 4 };
        char *payload = calloc(1, OFFLINE_BYTES_MAX);
        OfflineQueue q = { 0 };

        ck_assert_ptr_nonnull(payload);
        offline_set_limit(&q, SIZE_MAX, false);
        ck_assert_uint_eq(q.limit, OFFLINE_ITEMS_MAX);
        ck_assert_int_eq(offline_push(&q, "t", payload, OFFLINE_BYTES_MAX), -ENOBUFS);
        for (int i = 0; i < 3; i++)
                ck_assert_int_eq(offline_push(&q, "t", payload, BIG), 0);
        ck_assert_int_eq(offline_push(&q, "t", payload, BIG), -ENOBUFS);
        offline_set_limit(&q, 100, true);
        ck_assert_int_eq(offline_push(&q, "t", payload, BIG), 1);
        ck_assert_int_eq(offline_push(&q, "t", payload, 2 * BIG), 2);
        ck_assert_uint_le(q.bytes, OFFLINE_BYTES_MAX);
        /* A smaller limit loses nothing of what is there. */
        offline_set_limit(&q, 1, false);
        ck_assert_uint_eq(q.n, 2);
        ck_assert_int_eq(offline_push(&q, "t", "x", 1), -ENOBUFS);
        offline_done(&q);
        free(payload);
}
END_TEST

/* ---- subscriptions ---- */

START_TEST(subscriptions_in_their_order) {
        char filter[32];
        Subs s = { 0 };
        Sub *sub;

        ck_assert_int_eq(subs_add(&s, "a/+", &sub), 0);
        ck_assert_int_eq(subs_add(&s, "b", &sub), 0);
        ck_assert_int_eq(subs_add(&s, "a/#", &sub), 0);
        ck_assert_ptr_null(subs_find(&s, "a"));
        ck_assert_str_eq(subs_next_match(&s, "a/x", 0)->filter, "a/+");
        sub = subs_next_match(&s, "a/x", subs_find(&s, "a/+")->id);
        ck_assert_str_eq(sub->filter, "a/#");
        ck_assert_ptr_null(subs_next_match(&s, "a/x", sub->id));
        subs_remove(&s, subs_find(&s, "a/+"));
        ck_assert_ptr_null(subs_find(&s, "a/+"));
        ck_assert_str_eq(subs_next_match(&s, "a/x", 0)->filter, "a/#");
        for (int i = 2; i < SUBS_MAX; i++) {
                (void) snprintf(filter, sizeof filter, "f%d", i);
                ck_assert_int_eq(subs_add(&s, filter, &sub), 0);
        }
        ck_assert_int_eq(subs_add(&s, "more", &sub), -ENOSPC);
        subs_remove(&s, subs_find(&s, "b"));
        ck_assert_int_eq(subs_add(&s, "more", &sub), 0);
        ck_assert_uint_eq(sub->id, s.last_id);
        subs_done(&s);
}
END_TEST

START_TEST(filters_that_are_none_take_nothing) {
        static const char *const bad[] = { "", "a#", "#a", "a/#/b", "a+", "+a", "a/b+/c", "a/##", "##" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_msg(!iotjobs_topic_matches(bad[i], "a", IOTJOBS_MATCH_MQTT), "%s", bad[i]);
                ck_assert(!iotjobs_topic_matches(bad[i], "a/x/b", IOTJOBS_MATCH_AWS));
        }
        ck_assert(!iotjobs_topic_matches("#", "", IOTJOBS_MATCH_MQTT));
        ck_assert(!iotjobs_topic_matches(NULL, "a", IOTJOBS_MATCH_MQTT));
        ck_assert(!iotjobs_topic_matches("a", NULL, IOTJOBS_MATCH_MQTT));
        ck_assert(iotjobs_topic_matches("a/#", "a", IOTJOBS_MATCH_MQTT));
        ck_assert(!iotjobs_topic_matches("a/#", "a", IOTJOBS_MATCH_AWS));
}
END_TEST

/* ---- topics and names ---- */

START_TEST(topics_are_formatted_and_parsed) {
        static const char *const ids[] = { NULL, "", "+", "$next", "job-1", "a/b", "get" };
        char topic[IOTJOBS_TOPIC_MAX];
        int made = 0;

        for (int type = -1; type <= 9; type++)
                for (int reply = -1; reply <= 6; reply++)
                        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                                IotJobsError e = { 0 };
                                int r = iotjobs_topic_format("lamp", (IotJobsTopicType) type, (IotJobsReplyType) reply, ids[i],
                                                             topic, &e);
                                IotJobsTopic t;

                                ck_assert(r == 0 || (r == -EINVAL && e.code == EINVAL && e.text[0] != '\0'));
                                if (r < 0)
                                        continue;
                                made++;
                                t = iotjobs_topic_parse(topic, "lamp");
                                if (strpbrk(topic, "+#")) {
                                        ck_assert_int_eq((int) t.type, IOTJOBS_TOPIC_UNRECOGNIZED);
                                        continue;
                                }
                                ck_assert_int_eq((int) t.type, type);
                                ck_assert_int_eq((int) t.reply, reply);
                                ck_assert_str_eq(t.job_id, ids[i] ? ids[i] : "");
                        }
        /* GET_PENDING, START_NEXT: 4 replies without an id (2 spellings); DESCRIBE, UPDATE: 4 replies, 4 ids; NOTIFY,
         * NOTIFY_NEXT: 2 spellings; WILDCARD: everything. */
        ck_assert_int_eq(made, 2 * 4 * 2 + 2 * 4 * 4 + 2 * 2 + 8 * 7);
        ck_assert_int_eq(iotjobs_topic_format("la/mp", IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, topic, NULL), -EINVAL);
        ck_assert_int_eq(iotjobs_topic_format(NULL, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, topic, NULL), -EINVAL);
        ck_assert_int_eq((int) iotjobs_topic_parse(NULL, "lamp").type, IOTJOBS_TOPIC_UNRECOGNIZED);
        ck_assert_int_eq((int) iotjobs_topic_parse(topic, NULL).type, IOTJOBS_TOPIC_UNRECOGNIZED);
}
END_TEST

START_TEST(names_of_values) {
        for (int s = 1; s <= 8; s++) {
                ck_assert_str_ne(iotjobs_status_name((IotJobsStatus) s), "");
                ck_assert_int_eq((int) iotjobs_status_parse(iotjobs_status_name((IotJobsStatus) s)), s);
        }
        for (int c = 1; c <= 9; c++) {
                ck_assert_str_ne(iotjobs_code_name((IotJobsCode) c), "");
                ck_assert_int_eq((int) iotjobs_code_parse(iotjobs_code_name((IotJobsCode) c)), c);
        }
        ck_assert_str_eq(iotjobs_status_name(IOTJOBS_STATUS_FAILED), "FAILED");
        ck_assert_str_eq(iotjobs_status_name(IOTJOBS_STATUS_UNKNOWN), "");
        ck_assert_str_eq(iotjobs_status_name((IotJobsStatus) -5), "");
        ck_assert_str_eq(iotjobs_code_name(IOTJOBS_CODE_UNKNOWN), "");
        ck_assert_int_eq((int) iotjobs_status_parse(NULL), IOTJOBS_STATUS_NOT_SET);
        ck_assert_int_eq((int) iotjobs_status_parse("success"), IOTJOBS_STATUS_UNKNOWN);
        ck_assert_int_eq((int) iotjobs_code_parse(""), IOTJOBS_CODE_NONE);
        ck_assert_int_eq((int) iotjobs_code_parse(NULL), IOTJOBS_CODE_NONE);
        ck_assert_int_eq((int) iotjobs_code_parse("404"), IOTJOBS_CODE_UNKNOWN);
        ck_assert(iotjobs_status_is_terminal(IOTJOBS_STATUS_TIMED_OUT));
        ck_assert(!iotjobs_status_is_terminal(IOTJOBS_STATUS_IN_PROGRESS));
        ck_assert(!iotjobs_status_is_terminal(IOTJOBS_STATUS_UNKNOWN));
        ck_assert_str_eq(iotjobs_version(), IOTJOBS_VERSION);
}
END_TEST

START_TEST(signatures_and_regions) {
        char target[IOTJOBS_PRESIGN_MAX], region[16];
        IotJobsPresign p = { .host = "x-ats.iot.eu-west-1.amazonaws.com", .access_key_id = "AK", .secret_access_key = "SK" };
        IotJobsError e = { 0 };

        ck_assert_int_eq(iotjobs_presign(&p, target, &e), 0);
        ck_assert_ptr_nonnull(strstr(target, "eu-west-1"));
        p.host = "localhost";
        ck_assert_int_eq(iotjobs_presign(&p, target, &e), -EINVAL);
        p.region = "eu-west-1";
        ck_assert_int_eq(iotjobs_presign(&p, target, &e), 0);
        p.secret_access_key = NULL;
        ck_assert_int_eq(iotjobs_presign(&p, target, &e), -EINVAL);
        ck_assert_int_eq(iotjobs_presign(NULL, target, &e), -EINVAL);
        ck_assert_int_eq(iotjobs_region_of("x-ats.iot.eu-west-1.amazonaws.com", region, sizeof region, &e), 0);
        ck_assert_str_eq(region, "eu-west-1");
        ck_assert_int_eq(iotjobs_region_of("x-ats.iot.eu-west-1.amazonaws.com", region, 9, &e), -E2BIG);
        ck_assert_int_eq(iotjobs_region_of("example.com", region, sizeof region, &e), -EINVAL);
        ck_assert_int_eq(iotjobs_region_of(NULL, region, sizeof region, &e), -EINVAL);
}
END_TEST

/* ---- replies ---- */

#define JOBS "$aws/things/lamp/jobs/"

static const IotJobsMessage *decode(Reply *r, const char *topic, const char *payload) {
        *r = (Reply){ 0 };
        return reply_decode(r, "lamp", topic, payload, strlen(payload)) ? &r->message : NULL;
}

START_TEST(lists_and_executions) {
        Reply r;
        const IotJobsMessage *m = decode(&r, JOBS "get/accepted",
                                         "{\"clientToken\":\"t\",\"timestamp\":7,\"inProgressJobs\":[{\"jobId\":\"a\","
                                         "\"queuedAt\":1,\"startedAt\":2,\"lastUpdatedAt\":3,\"versionNumber\":4,"
                                         "\"executionNumber\":5}],\"queuedJobs\":[{\"jobId\":\"b\"},{\"jobId\":7}]}");

        ck_assert_int_eq((int) m->type, IOTJOBS_TOPIC_GET_PENDING);
        ck_assert_int_eq((int) m->reply, IOTJOBS_REPLY_ACCEPTED);
        ck_assert_str_eq(m->client_token, "t");
        ck_assert_int_eq(m->timestamp, 7);
        ck_assert_uint_eq(m->n_pending, 2);
        ck_assert_str_eq(m->pending[0].job_id, "a");
        ck_assert_int_eq((int) m->pending[0].status, IOTJOBS_STATUS_IN_PROGRESS);
        ck_assert_int_eq(m->pending[0].started_at, 2);
        ck_assert_int_eq(m->pending[0].version, 4);
        ck_assert_int_eq(m->pending[0].execution_number, 5);
        ck_assert_int_eq((int) m->pending[1].status, IOTJOBS_STATUS_QUEUED);
        ck_assert_int_eq(m->pending[1].version, -1);
        ck_assert_ptr_nonnull(m->passed_over);
        ck_assert_ptr_null(m->fault);
        ck_assert_ptr_null(m->execution);
        ck_assert_str_eq(m->code_text, "");
        reply_done(&r);
        m = decode(&r, JOBS "$next/get/accepted",
                   "{\"execution\":{\"jobId\":\"a\",\"status\":\"SHINY\",\"statusDetails\":{\"k\":\"v\",\"n\":\"w\"},"
                   "\"approximateSecondsBeforeTimedOut\":9,\"jobDocument\":{\"x\": 1}}}");
        ck_assert_str_eq(m->job_id, "$next");
        ck_assert_str_eq(m->execution->job_id, "a");
        ck_assert_int_eq((int) m->execution->status, IOTJOBS_STATUS_UNKNOWN);
        ck_assert_uint_eq(m->execution->n_details, 2);
        ck_assert_str_eq(m->execution->details[1].key, "n");
        ck_assert_str_eq(m->execution->details[1].value, "w");
        ck_assert_int_eq(m->execution->seconds_left, 9);
        ck_assert_uint_eq(m->execution->document_len, 8);
        ck_assert(memcmp(m->execution->document, "{\"x\": 1}", 8) == 0);
        ck_assert_ptr_null(m->client_token);
        reply_done(&r);
        m = decode(&r, JOBS "notify-next", "{\"timestamp\":1}");
        ck_assert_ptr_null(m->execution);
        reply_done(&r);
}
END_TEST

START_TEST(states_and_rejections) {
        Reply r;
        const IotJobsMessage *m =
                decode(&r, JOBS "j1/update/rejected",
                       "{\"code\":\"VersionMismatch\",\"message\":\"no\",\"clientToken\":\"\",\"executionState\":{"
                       "\"status\":\"QUEUED\",\"versionNumber\":3,\"statusDetails\":{\"a\":\"b\"}}}");

        ck_assert_int_eq((int) m->code, IOTJOBS_CODE_VERSION_MISMATCH);
        ck_assert_str_eq(m->code_text, "VersionMismatch");
        ck_assert_str_eq(m->error_message, "no");
        ck_assert_str_eq(m->client_token, "");
        ck_assert_str_eq(m->state->job_id, "j1");
        ck_assert_int_eq((int) m->state->status, IOTJOBS_STATUS_QUEUED);
        ck_assert_int_eq(m->state->version, 3);
        ck_assert_str_eq(m->state->details[0].value, "b");
        reply_done(&r);
        m = decode(&r, JOBS "j1/get/rejected", "{\"code\":\"New\\nCode\"}");
        ck_assert_int_eq((int) m->code, IOTJOBS_CODE_UNKNOWN);
        ck_assert_str_eq(m->code_text, "New | Code");
        reply_done(&r);
        m = decode(&r, JOBS "j1/get/rejected", "{}");
        ck_assert_int_eq((int) m->code, IOTJOBS_CODE_UNKNOWN);
        ck_assert_str_eq(m->code_text, "");
        ck_assert_ptr_null(m->state);
        reply_done(&r);
        m = decode(&r, JOBS "j1/update/accepted", "{\"jobDocument\":{}}");
        ck_assert_int_eq((int) m->state->status, IOTJOBS_STATUS_NOT_SET);
        ck_assert_uint_eq(m->state->document_len, 2);
        ck_assert_int_eq((int) m->code, IOTJOBS_CODE_NONE);
        reply_done(&r);
}
END_TEST

START_TEST(faults_are_named) {
        Reply r;
        const IotJobsMessage *m = decode(&r, JOBS "notify", "{\"jobs\":");

        ck_assert_ptr_nonnull(m->fault);
        ck_assert_str_eq(m->topic, JOBS "notify");
        ck_assert_int_eq((int) m->type, IOTJOBS_TOPIC_NOTIFY);
        ck_assert_uint_eq(m->payload_len, 8);
        ck_assert_uint_eq(m->n_pending, 0);
        reply_done(&r);
        m = decode(&r, JOBS "j1/get", "no JSON at all"); /* a request is not looked into */
        ck_assert_ptr_null(m->fault);
        ck_assert_int_eq((int) m->reply, IOTJOBS_REPLY_REQUEST);
        reply_done(&r);
        ck_assert_ptr_null(decode(&r, "$aws/things/lamp2/jobs/notify", "{}"));
        ck_assert_ptr_null(decode(&r, JOBS "a/b/c/d", "{}"));
}
END_TEST

/* ---- configuration ---- */

static void expect_alpn(const Configuration *c, const char *alpn) {
        Buf username CLEANUP_BUF = { 0 };
        TransportConfig t = { 0 };
        Error e = { 0 };

        ck_assert_msg(configuration_to_transport(c, NULL, &username, &t, &e) == 0, "%s", e.text);
        ck_assert_pstr_eq(t.alpn, alpn);
}

START_TEST(alpn_is_by_port_and_identity) {
        char host[] = "x-ats.iot.eu-west-1.amazonaws.com", file[] = "f", user[] = "u", none[] = "", own[] = "mine";
        Configuration c = { .host = host, .port = 443, .ca_file = file, .key_file = file, .cert_file = file };

        expect_alpn(&c, "x-amzn-mqtt-ca");
        c.username = user; /* with a certificate the authorizer is not the one who decides */
        expect_alpn(&c, "x-amzn-mqtt-ca");
        c.key_file = c.cert_file = NULL;
        expect_alpn(&c, "mqtt");
        c.alpn = own;
        expect_alpn(&c, "mine");
        c.alpn = none;
        expect_alpn(&c, "");
        c.alpn = NULL;
        c.port = 8883;
        expect_alpn(&c, NULL);
        c.port = 443;
        c.websocket = true;
        expect_alpn(&c, NULL);
        c.username = NULL; /* the metrics of v1 mode are no user */
        c.websocket = false;
        c.v1 = c.metrics = true;
        expect_alpn(&c, "x-amzn-mqtt-ca");
}
END_TEST

START_TEST(v1_sends_no_password_without_a_user) {
        char host[] = "localhost", none[] = "", password[] = "p";
        Configuration c = { .host = host, .port = 1883, .plaintext = true, .username = none, .password = password };
        Buf username CLEANUP_BUF = { 0 };
        TransportConfig t = { 0 };

        ck_assert_int_eq(configuration_to_transport(&c, NULL, &username, &t, NULL), 0);
        ck_assert_ptr_nonnull(t.password); /* and is refused for it */
        c.v1 = true;
        ck_assert_int_eq(configuration_to_transport(&c, NULL, &username, &t, NULL), 0);
        ck_assert_ptr_null(t.password);
}
END_TEST

static TCase *cases(void) {
        TCase *tc = tcase_create("parts");

        tcase_add_test(tc, queue_keeps_order_and_pace);
        tcase_add_test(tc, queue_drops_the_oldest);
        tcase_add_test(tc, queue_is_bounded_in_bytes);
        tcase_add_test(tc, subscriptions_in_their_order);
        tcase_add_test(tc, filters_that_are_none_take_nothing);
        tcase_add_test(tc, topics_are_formatted_and_parsed);
        tcase_add_test(tc, names_of_values);
        tcase_add_test(tc, signatures_and_regions);
        tcase_add_test(tc, lists_and_executions);
        tcase_add_test(tc, states_and_rejections);
        tcase_add_test(tc, faults_are_named);
        tcase_add_test(tc, alpn_is_by_port_and_identity);
        tcase_add_test(tc, v1_sends_no_password_without_a_user);
        return tc;
}

UNIT_MAIN("client-parts", cases())
