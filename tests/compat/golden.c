/* SPDX-License-Identifier: Apache-2.0 */
/* usage: golden [FILE]
 * Runs a file of golden vectors through the library's public API in v1 mode, with the network recorded, prints each one that
 * fails and why, and ends with "N passed, M failed". Exit 0 only if M is 0; 2: the file is not an array of vectors.
 *
 * A vector passes if just what it expects was sent. It passes too if the published rules (golden-rules.c) forbid what it
 * expects, the library refuses it and sends nothing, and what it expects is what that SDK does (golden-sdk.c). */
#include "golden.h"

#include <errno.h>
#include <fcntl.h>
#include <iotjobs/iotjobs.h>
#include <iotjobs/mosquitto.h>
#include <mosquitto.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BARRIER "golden/barrier"

static Endpoint *endpoint;
static Front *front;
static int port, front_port;
static char front_ca_file[FRONT_PATH_MAX];

/* One vector under way. */
typedef struct Run {
        const json_t *vector;
        char why[1024]; /* "" = it passes */
        struct mosquitto *mosq;
        pthread_mutex_t lock; /* of client and connected */
        pthread_cond_t changed;
        IotJobsClient *client;
        bool connected;
        /* What became of the call. */
        int result;
        bool inexpressible; /* C's types have no such argument */
        IotJobsError error;
        Heard *heard;
        size_t n_heard;
} Run;

__attribute__((format(printf, 2, 3))) static void fails(Run *run, const char *format, ...) {
        va_list ap;

        if (run->why[0])
                return;
        va_start(ap, format);
        (void) vsnprintf(run->why, sizeof run->why, format, ap);
        va_end(ap);
}

static const json_t *member(const json_t *o, const char *name) {
        return json_object_get(o, name);
}

static bool none(const json_t *value) {
        return !value || json_is_null(value);
}

/* NULL: absent, null, or no C string. */
static const char *text_of(const json_t *value) {
        const char *text = json_string_value(value);

        return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* ---- arguments ---- */

typedef struct Name {
        const char *name;
        int value;
} Name;

static const Name types[] = {
        { "JOB_UNRECOGNIZED_TOPIC", IOTJOBS_TOPIC_UNRECOGNIZED }, { "JOB_GET_PENDING_TOPIC", IOTJOBS_TOPIC_GET_PENDING },
        { "JOB_START_NEXT_TOPIC", IOTJOBS_TOPIC_START_NEXT },     { "JOB_DESCRIBE_TOPIC", IOTJOBS_TOPIC_DESCRIBE },
        { "JOB_UPDATE_TOPIC", IOTJOBS_TOPIC_UPDATE },             { "JOB_NOTIFY_TOPIC", IOTJOBS_TOPIC_NOTIFY },
        { "JOB_NOTIFY_NEXT_TOPIC", IOTJOBS_TOPIC_NOTIFY_NEXT },   { "JOB_WILDCARD_TOPIC", IOTJOBS_TOPIC_WILDCARD },
        { NULL, 0 },
};

static const Name replies[] = {
        { "JOB_UNRECOGNIZED_TOPIC_TYPE", IOTJOBS_REPLY_UNRECOGNIZED },
        { "JOB_REQUEST_TYPE", IOTJOBS_REPLY_REQUEST },
        { "JOB_ACCEPTED_REPLY_TYPE", IOTJOBS_REPLY_ACCEPTED },
        { "JOB_REJECTED_REPLY_TYPE", IOTJOBS_REPLY_REJECTED },
        { "JOB_WILDCARD_REPLY_TYPE", IOTJOBS_REPLY_WILDCARD },
        { NULL, 0 },
};

static const Name statuses[] = {
        { "JOB_EXECUTION_STATUS_NOT_SET", IOTJOBS_STATUS_NOT_SET },  { "JOB_EXECUTION_QUEUED", IOTJOBS_STATUS_QUEUED },
        { "JOB_EXECUTION_IN_PROGRESS", IOTJOBS_STATUS_IN_PROGRESS }, { "JOB_EXECUTION_FAILED", IOTJOBS_STATUS_FAILED },
        { "JOB_EXECUTION_SUCCEEDED", IOTJOBS_STATUS_SUCCEEDED },     { "JOB_EXECUTION_CANCELED", IOTJOBS_STATUS_CANCELED },
        { "JOB_EXECUTION_REJECTED", IOTJOBS_STATUS_REJECTED },       { "JOB_EXECUTION_UNKNOWN_STATUS", IOTJOBS_STATUS_UNKNOWN },
        { NULL, 0 },
};

static int arg_name(Run *run, const char *arg, const Name *names, int otherwise) {
        const json_t *value = member(member(run->vector, "args"), arg);

        if (!value)
                return otherwise;
        if (json_is_null(value))
                run->inexpressible = true;
        for (; names->name; names++)
                if (json_is_string(value) && strcmp(json_string_value(value), names->name) == 0)
                        return names->value;
        if (!json_is_null(value))
                fails(run, "args.%s: unknown name", arg);
        return otherwise;
}

/* The SDK makes str() of whatever it gets. */
static const char *arg_job_id(Run *run, char *buf, size_t size) {
        const json_t *value = member(member(run->vector, "args"), "jobId");

        if (none(value))
                return NULL;
        if (json_is_string(value)) {
                const char *text = text_of(value);

                if (!text)
                        run->inexpressible = true;
                else if (strncmp(text, BIG_NUMBER, strlen(BIG_NUMBER)) == 0)
                        text += strlen(BIG_NUMBER);
                return text;
        }
        if (json_is_integer(value))
                (void) snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_real(value))
                (void) snprintf(buf, size, "%.17g.", json_real_value(value)); /* with a '.' it is none, whatever its digits */
        else if (json_is_boolean(value))
                (void) snprintf(buf, size, "%s", json_is_true(value) ? "True" : "False");
        else
                run->inexpressible = true;
        return buf;
}

static int64_t arg_int(Run *run, const char *arg, bool *ret_given) {
        const json_t *value = member(member(run->vector, "args"), arg);

        *ret_given = value != NULL;
        if (json_is_string(value) && strncmp(json_string_value(value), BIG_NUMBER "-", strlen(BIG_NUMBER "-")) == 0)
                return INT64_MIN; /* negative is negative */
        if (json_is_false(value) || (json_is_real(value) && json_real_value(value) <= 0))
                return 0; /* no more than 0, for Python */
        if (value && !json_is_integer(value))
                run->inexpressible = true;
        return json_integer_value(value);
}

static bool arg_flag(Run *run, const char *arg, bool otherwise) {
        const json_t *value = member(member(run->vector, "args"), arg);

        if (value && !json_is_boolean(value))
                run->inexpressible = true;
        return value ? json_is_true(value) : otherwise;
}

/* A flag that the SDK only asks whether it is true, as Python has it. */
static bool arg_truth(const Run *run, const char *arg) {
        return golden_truth(member(member(run->vector, "args"), arg));
}

/* Owned JSON text; NULL: none. The SDK's update takes what Python finds empty for none, of whatever type. */
static char *arg_details(const Run *run, bool update) {
        const json_t *value = member(member(run->vector, "args"), "statusDetails");
        bool empty = none(value) || (update && (json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0) ||
                                                (json_is_string(value) && json_string_length(value) == 0) ||
                                                (json_is_integer(value) && json_integer_value(value) == 0)));

        return empty ? NULL : json_dumps(value, JSON_ENCODE_ANY);
}

/* A raw status is one without the enum's mapping. C has no such thing: what is handed over is the status by the name that the
 * SDK would send, which is the second element of whatever it got. */
static IotJobsStatus arg_status(Run *run) {
        const json_t *raw = member(member(run->vector, "args"), "status_raw");

        if (!raw)
                return (IotJobsStatus) arg_name(run, "status", statuses, IOTJOBS_STATUS_NOT_SET);
        if (json_is_array(raw) && text_of(json_array_get(raw, 1)))
                return iotjobs_status_parse(text_of(json_array_get(raw, 1)));
        if (json_is_string(raw) && json_string_length(raw) > 1)
                return iotjobs_status_parse((char[]){ json_string_value(raw)[1], '\0' });
        run->inexpressible = true;
        return IOTJOBS_STATUS_UNKNOWN;
}

/* An argument that is not looked at would be an expectation that is not checked. */
static void check_args(Run *run, const char *const *known) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) (uintptr_t) member(run->vector, "args"), key, value) {
                size_t i = 0;

                while (known[i] && strcmp(known[i], key) != 0)
                        i++;
                if (!known[i])
                        fails(run, "args.%s: unknown", key);
        }
}

/* ---- calls ---- */

static void on_job_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        (void) c;
        (void) m;
        (void) userdata;
}

static void on_ack(IotJobsClient *c, int id, int granted, void *userdata) {
        (void) c;
        (void) id;
        (void) granted;
        (void) userdata;
}

static void call_subscribe(Run *run, bool async) {
        static const char *const known[] = { "jobExecutionType", "jobReplyType", "jobId", NULL };
        char buf[64];
        IotJobsTopicType type = (IotJobsTopicType) arg_name(run, "jobExecutionType", types, IOTJOBS_TOPIC_WILDCARD);
        IotJobsReplyType reply = (IotJobsReplyType) arg_name(run, "jobReplyType", replies, IOTJOBS_REPLY_REQUEST);
        /* Everything of the thing: whatever stands there is not looked at. */
        const char *job_id = type == IOTJOBS_TOPIC_WILDCARD ? NULL : arg_job_id(run, buf, sizeof buf);

        check_args(run, known);
        if (run->inexpressible || run->why[0])
                return;
        if (async)
                run->result = iotjobs_client_create_job_subscription_async(run->client, on_ack, on_job_message, NULL, type,
                                                                           reply, job_id, &run->error);
        else
                run->result = iotjobs_client_create_job_subscription(run->client, on_job_message, NULL, type, reply, job_id,
                                                                     &run->error);
}

static void call_query(Run *run) {
        static const char *const known[] = { "jobExecTopicType", "jobId", NULL };
        char buf[64];
        IotJobsTopicType type = (IotJobsTopicType) arg_name(run, "jobExecTopicType", types, IOTJOBS_TOPIC_UNRECOGNIZED);
        const char *job_id = arg_job_id(run, buf, sizeof buf);

        check_args(run, known);
        if (!run->inexpressible && !run->why[0])
                run->result = iotjobs_client_send_jobs_query(run->client, NULL, type, job_id, &run->error);
}

static void call_describe(Run *run) {
        static const char *const known[] = { "jobId", "executionNumber", "includeJobDocument", NULL };
        char buf[64];
        bool given, include = arg_flag(run, "includeJobDocument", true);
        int64_t number = arg_int(run, "executionNumber", &given);
        const char *job_id = arg_job_id(run, buf, sizeof buf);

        check_args(run, known);
        if (!run->inexpressible && !run->why[0])
                run->result = iotjobs_client_send_jobs_describe(run->client, NULL, job_id, number, include, &run->error);
}

static void set_timeout(Run *run, bool *ret_given, int64_t *ret) {
        if (none(member(member(run->vector, "args"), "stepTimeoutInMinutes")))
                *ret_given = false;
        else
                *ret = arg_int(run, "stepTimeoutInMinutes", ret_given);
}

static void call_start_next(Run *run) {
        static const char *const known[] = { "statusDetails", "stepTimeoutInMinutes", NULL };
        char *details = arg_details(run, false);
        IotJobsStartNext p = { .details_json = details };

        set_timeout(run, &p.has_step_timeout, &p.step_timeout_minutes);
        check_args(run, known);
        if (!run->inexpressible && !run->why[0])
                run->result = iotjobs_client_send_jobs_start_next(run->client, NULL, &p, &run->error);
        free(details);
}

static void call_update(Run *run) {
        static const char *const known[] = { "jobId", "status", "status_raw", "statusDetails", "expectedVersion",
                                             "executionNumber", "includeJobExecutionState", "includeJobDocument",
                                             "stepTimeoutInMinutes", NULL };
        char *details = arg_details(run, true), buf[64];
        bool given;
        IotJobsUpdate p = { .job_id = arg_job_id(run, buf, sizeof buf),
                            .status = arg_status(run),
                            .details_json = details,
                            .expected_version = arg_int(run, "expectedVersion", &given),
                            .execution_number = arg_int(run, "executionNumber", &given),
                            .include_state = arg_truth(run, "includeJobExecutionState"),
                            .include_document = arg_truth(run, "includeJobDocument") };

        set_timeout(run, &p.has_step_timeout, &p.step_timeout_minutes);
        check_args(run, known);
        if (!run->inexpressible && !run->why[0])
                run->result = iotjobs_client_send_jobs_update(run->client, NULL, &p, &run->error);
        free(details);
}

static void call(Run *run) {
        const char *name = text_of(member(run->vector, "call"));

        if (!name)
                fails(run, "call: missing");
        else if (strcmp(name, "createJobSubscription") == 0)
                call_subscribe(run, false);
        else if (strcmp(name, "createJobSubscriptionAsync") == 0)
                call_subscribe(run, true);
        else if (strcmp(name, "sendJobsQuery") == 0)
                call_query(run);
        else if (strcmp(name, "sendJobsDescribe") == 0)
                call_describe(run);
        else if (strcmp(name, "sendJobsStartNext") == 0)
                call_start_next(run);
        else if (strcmp(name, "sendJobsUpdate") == 0)
                call_update(run);
        else
                fails(run, "call: %s is unknown", name);
        if (run->inexpressible)
                run->result = -EINVAL;
}

/* ---- a libmosquitto handle of ours, shared with the library ---- */

static void on_connect(struct mosquitto *m, void *userdata, int rc) {
        Run *run = userdata;

        (void) m;
        (void) pthread_mutex_lock(&run->lock);
        run->connected = rc == 0;
        (void) pthread_cond_broadcast(&run->changed);
        (void) pthread_mutex_unlock(&run->lock);
}

static void on_subscribe(struct mosquitto *m, void *userdata, int mid, int n, const int *granted) {
        Run *run = userdata;

        (void) m;
        (void) iotjobs_client_on_subscribe(run->client, mid, n, granted);
}

static void on_publish(struct mosquitto *m, void *userdata, int mid) {
        Run *run = userdata;

        (void) m;
        (void) iotjobs_client_on_publish(run->client, mid);
}

static bool open_handle(Run *run) {
        run->mosq = mosquitto_new("golden", true, run);
        if (!run->mosq)
                return false;
        mosquitto_connect_callback_set(run->mosq, on_connect);
        if (mosquitto_connect(run->mosq, "127.0.0.1", port, 60) != MOSQ_ERR_SUCCESS)
                return false;
        /* The callbacks below are only for the library, which comes later: they are set before the thread starts. */
        mosquitto_subscribe_callback_set(run->mosq, on_subscribe);
        mosquitto_publish_callback_set(run->mosq, on_publish);
        return true;
}

static bool wait_connected(Run *run) {
        struct timespec until;
        bool connected;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 20;
        (void) pthread_mutex_lock(&run->lock);
        while (!run->connected && pthread_cond_timedwait(&run->changed, &run->lock, &until) == 0)
                ;
        connected = run->connected;
        (void) pthread_mutex_unlock(&run->lock);
        return connected;
}

static IotJobsOptions options_of(Run *run) {
        const json_t *client = member(run->vector, "client");
        const json_t *id = member(client, "clientId"), *thing = member(client, "thingName");
        IotJobsOptions o = iotjobs_options_default(text_of(id), text_of(thing));

        o.v1 = true;
        o.qos = (int) json_integer_value(member(client, "QoS"));
        o.websocket = json_is_true(member(client, "useWebsocket"));
        if (member(client, "protocolType"))
                o.protocol = (IotJobsProtocol) json_integer_value(member(client, "protocolType"));
        if (!none(id) && !o.client_id)
                run->inexpressible = true; /* no string, or one with a NUL */
        return o;
}

/* The call on a connection of its own, and what went out because of it: all that the server hears before a message that is
 * sent behind it. */
static void make_call(Run *run) {
        IotJobsOptions o = options_of(run);

        if (!open_handle(run)) {
                fails(run, "no connection to the recording server");
                return;
        }
        run->result = run->inexpressible ? -EINVAL
                                         : iotjobs_client_new_on_mosquitto(&o, run->mosq, false, &run->client, &run->error);
        if (mosquitto_loop_start(run->mosq) != MOSQ_ERR_SUCCESS || !wait_connected(run))
                fails(run, "no connection to the recording server");
        if (run->client)
                (void) iotjobs_client_on_connect(run->client, 0);
        if (run->result == 0 && !run->why[0])
                call(run);
        if (mosquitto_publish(run->mosq, NULL, BARRIER, 0, NULL, 0, false) != MOSQ_ERR_SUCCESS ||
            !endpoint_collect(endpoint, BARRIER, &run->heard, &run->n_heard))
                fails(run, "the recording server heard nothing");
        (void) mosquitto_disconnect(run->mosq);
        (void) mosquitto_loop_stop(run->mosq, false);
        run->client = iotjobs_client_free(run->client);
}

/* ---- what is expected ---- */

static bool same_payload(const json_t *expected, const Heard *h) {
        json_t *sent;
        bool same;

        if (none(expected))
                return h->len == 0;
        sent = golden_parse(h->payload, h->len);
        same = sent && json_equal(sent, expected);
        json_decref(sent);
        return same;
}

/* The vector's own text of the payload must say what its value says. */
static void check_raw(Run *run) {
        const json_t *raw = member(run->vector, "payload_raw"), *payload = member(run->vector, "payload");
        json_t *value;

        if (none(raw) && none(payload))
                return;
        if (!raw)
                return;
        if (!json_is_string(raw)) {
                fails(run, "payload_raw: no text");
                return;
        }
        value = golden_parse(json_string_value(raw) ? json_string_value(raw) : "", json_string_length(raw));
        if (none(payload) ? json_string_length(raw) != 0 : !value || !json_equal(value, payload))
                fails(run, "payload_raw and payload differ");
        json_decref(value);
}

/* The recorder writes down the CONNECT first. */
static size_t n_sent(const Run *run) {
        return run->n_heard - (run->n_heard > 0 && run->heard[0].type == HEARD_CONNECT);
}

static void check_refused(Run *run, const char *forbidden) {
        const char *topic = text_of(member(run->vector, "topic"));
        const json_t *payload = member(run->vector, "payload");
        bool publish = strcmp(json_string_value(member(run->vector, "type")), "publish") == 0;
        SdkResult sdk = sdk_call(run->vector);

        if (run->result >= 0)
                fails(run, "the service refuses this (%s), the library does not", forbidden);
        if (n_sent(run) > 0)
                fails(run, "refused, and still something was sent on %s", run->heard[run->n_heard - 1].topic);
        if (sdk.exception)
                fails(run, "expects a packet, but the SDK raises %s", sdk.exception);
        if (sdk.known && strcmp(sdk.topic, topic) != 0)
                fails(run, "expects topic %s, but the SDK uses %s", topic, sdk.topic);
        if (sdk.known && publish && !json_equal(sdk.payload, none(payload) ? json_null() : payload))
                fails(run, "expects another payload than the SDK sends");
        if (json_integer_value(member(run->vector, "qos")) != json_integer_value(member(member(run->vector, "client"), "QoS")) ||
            json_is_true(member(run->vector, "retain")))
                fails(run, "expects another QoS or retain flag than the SDK sends");
        json_decref(sdk.payload);
}

static bool flag_ok(const json_t *value) {
        return !value || json_is_boolean(value);
}

static void check_sent(Run *run) {
        bool publish = strcmp(json_string_value(member(run->vector, "type")), "publish") == 0;
        const char *topic = text_of(member(run->vector, "topic"));
        const json_t *payload = member(run->vector, "payload"), *qos = member(run->vector, "qos");
        const char *forbidden;
        const Heard *h;

        if (!topic || !json_is_integer(qos) || !none(member(run->vector, "error")) || !flag_ok(member(run->vector, "retain"))) {
                fails(run, "topic, qos or error: malformed");
                return;
        }
        forbidden = publish ? rules_publish(topic, payload ? payload : json_null()) : rules_subscribe(topic);
        if (forbidden && run->result < 0) {
                check_refused(run, forbidden);
                return;
        }
        if (run->result < 0)
                fails(run, "refused: %s", run->inexpressible ? "C has no such argument" : run->error.text);
        if (n_sent(run) != 1) {
                fails(run, "%zu packets were sent", n_sent(run));
                return;
        }
        h = &run->heard[run->n_heard - 1];
        if (h->type != (publish ? HEARD_PUBLISH : HEARD_SUBSCRIBE))
                fails(run, "a packet of type %d was sent", (int) h->type);
        else if (strcmp(h->topic, topic) != 0)
                fails(run, "sent on %s", h->topic);
        else if (publish && !same_payload(payload, h))
                fails(run, "sent %s", h->payload);
        else if (h->qos != json_integer_value(qos) || (publish && h->retain != json_is_true(member(run->vector, "retain"))))
                fails(run, "sent with QoS %d, retain %d", h->qos, h->retain);
}

static void run_call(Run *run) {
        make_call(run);
        check_raw(run);
        if (!run->why[0])
                check_sent(run);
}

static void run_error(Run *run) {
        const json_t *error = member(run->vector, "error");
        const char *exception = text_of(member(error, "exception"));
        const json_t *topic = member(run->vector, "topic"), *message = member(error, "message");
        SdkResult sdk = sdk_call(run->vector);

        make_call(run);
        if (!exception || (!none(topic) && (!json_is_string(topic) || json_string_length(topic) > 0)) ||
            !none(member(run->vector, "payload")))
                fails(run, "expects a packet, or no exception");
        else if (sdk.known && (!sdk.exception || strcmp(sdk.exception, exception) != 0))
                fails(run, "expects %s, but the SDK raises %s", exception, sdk.exception ? sdk.exception : "nothing");
        else if (message && (!text_of(message) || (sdk.known && sdk.message[0] && strcmp(sdk.message, text_of(message)) != 0)))
                fails(run, "expects another message than \"%s\"", sdk.message);
        if (run->result >= 0)
                fails(run, "not refused");
        if (n_sent(run) > 0)
                fails(run, "something was sent on %s", run->heard[run->n_heard - 1].topic);
        json_decref(sdk.payload);
}

/* ---- topics ---- */

static void run_parse(Run *run) {
        static const char *const kinds[] = { "unrecognized", "get_pending", "start_next", "describe", "update", "notify",
                                             "notify_next" };
        static const char *const answers[] = { "unrecognized", "request", "accepted", "rejected" };
        const char *topic = text_of(member(run->vector, "topic")), *thing = text_of(member(run->vector, "thing"));
        const json_t *expected = member(run->vector, "expected");
        const char *kind = text_of(member(expected, "kind")), *reply = text_of(member(expected, "reply"));
        const char *job_id = text_of(member(expected, "jobId"));
        IotJobsTopic t = iotjobs_topic_parse(topic, thing);

        if (!kind || strcmp(kind, kinds[t.type]) != 0)
                fails(run, "kind: %s", kinds[t.type]);
        if (!reply || strcmp(reply, answers[t.reply]) != 0)
                fails(run, "reply: %s", answers[t.reply]);
        if (job_id ? strcmp(job_id, t.job_id) != 0 : !none(member(expected, "jobId")) || t.job_id[0])
                fails(run, "jobId: \"%s\"", t.job_id);
        if (json_object_size(expected) != 3)
                fails(run, "expected: has other members than kind, reply, jobId");
}

static void run_match(Run *run) {
        const char *filter = text_of(member(run->vector, "filter")), *topic = text_of(member(run->vector, "topic"));
        const json_t *expected = member(run->vector, "expected");
        const json_t *mqtt = member(expected, "mqtt_3_1_1"), *aws = member(expected, "aws");

        if (!filter || !topic || !json_is_boolean(mqtt) || !json_is_boolean(aws) || json_object_size(expected) != 2)
                fails(run, "filter, topic or expected: malformed");
        else if (iotjobs_topic_matches(filter, topic, IOTJOBS_MATCH_MQTT) != json_is_true(mqtt))
                fails(run, "mqtt_3_1_1: %s", json_is_true(mqtt) ? "false" : "true");
        else if (iotjobs_topic_matches(filter, topic, IOTJOBS_MATCH_AWS) != json_is_true(aws))
                fails(run, "aws: %s", json_is_true(aws) ? "false" : "true");
}

/* ---- CONNECT ---- */

/* By WebSocket it is signed, unless there is a user name for a custom authorizer. */
static int configure_websocket(IotJobsClient *c, bool has_user, IotJobsError *e) {
        int r = iotjobs_client_configure_endpoint(c, "127.0.0.1", front_port, e);

        if (r == 0)
                r = iotjobs_client_configure_credentials(c, front_ca_file, NULL, NULL, e);
        if (r == 0)
                r = iotjobs_client_configure_region(c, "eu-west-1", e);
        if (r == 0 && !has_user)
                r = iotjobs_client_configure_iam_credentials(c, "AKIDEXAMPLE", "secret", NULL, e);
        return r;
}

static int configure_plain(IotJobsClient *c, IotJobsError *e) {
        int r = iotjobs_client_configure_endpoint(c, "127.0.0.1", port, e);

        return r == 0 ? iotjobs_client_configure_plaintext(c, true, e) : r;
}

static void configure(Run *run, const json_t *config, IotJobsClient *c) {
        const json_t *user = member(config, "configureUsernamePassword"), *will = member(config, "configureLastWill");
        const json_t *keep_alive = member(config, "keepAliveIntervalSecond");
        IotJobsError *e = &run->error;
        bool has_user = json_string_length(json_array_get(user, 0)) > 0;
        int r = json_is_true(member(config, "useWebsocket")) ? configure_websocket(c, has_user, e) : configure_plain(c, e);

        if (r == 0 && keep_alive)
                r = iotjobs_client_configure_keep_alive(c, (int) json_integer_value(keep_alive), e);
        if (r == 0 && json_is_true(member(config, "disableMetricsCollection")))
                r = iotjobs_client_configure_metrics(c, false, NULL, e);
        if (r == 0 && json_is_true(member(config, "enableMetricsCollection")))
                r = iotjobs_client_configure_metrics(c, true, NULL, e);
        if (r == 0 && user)
                r = iotjobs_client_configure_username_password(c, text_of(json_array_get(user, 0)),
                                                               text_of(json_array_get(user, 1)), e);
        if (r == 0 && will && !json_is_true(member(config, "clearLastWill"))) {
                const char *payload = text_of(json_array_get(will, 1));

                r = iotjobs_client_configure_last_will(c, text_of(json_array_get(will, 0)), payload,
                                                       payload ? strlen(payload) : 0,
                                                       (int) json_integer_value(json_array_get(will, 2)), false, e);
        }
        run->result = r;
}

static bool same_text(const json_t *expected, bool present, const char *text) {
        return none(expected) ? !present : present && text_of(expected) && strcmp(text_of(expected), text) == 0;
}

static void check_will(Run *run, const json_t *will, const Heard *h) {
        bool present = h->flags & 0x04;

        if (none(will) ? present : !present)
                fails(run, "will: %s", present ? "there is one" : "none");
        else if (!none(will) &&
                 (!same_text(member(will, "topic"), true, h->will_topic) ||
                  !same_text(member(will, "payload"), true, h->payload ? h->payload : "") ||
                  json_integer_value(member(will, "qos")) != (h->flags >> 3 & 3) ||
                  !json_is_boolean(member(will, "retain")) ||
                  json_is_true(member(will, "retain")) != ((h->flags & 0x20) != 0) || json_object_size(will) != 4))
                fails(run, "will: %s, %s, QoS %d", h->will_topic, h->payload, h->flags >> 3 & 3);
}

static void check_connect(Run *run, const json_t *x, const Heard *h) {
        char flags[8];

        (void) snprintf(flags, sizeof flags, "0x%02x", (unsigned) h->flags);
        if (h->type != HEARD_CONNECT)
                fails(run, "the first packet is no CONNECT");
        if (!same_text(member(x, "protocol"), true, h->protocol))
                fails(run, "protocol: %s", h->protocol);
        if (!json_is_integer(member(x, "level")) || json_integer_value(member(x, "level")) != h->level)
                fails(run, "level: %d", h->level);
        if (!same_text(member(x, "flags"), true, flags))
                fails(run, "flags: %s", flags);
        if (!json_is_boolean(member(x, "cleanSession")) || json_is_true(member(x, "cleanSession")) != ((h->flags & 2) != 0))
                fails(run, "cleanSession: %d", (h->flags & 2) != 0);
        if (!json_is_integer(member(x, "keepalive")) || json_integer_value(member(x, "keepalive")) != h->keep_alive)
                fails(run, "keepalive: %d", h->keep_alive);
        if (!same_text(member(x, "clientId"), true, h->client_id))
                fails(run, "clientId: %s", h->client_id);
        if (!same_text(member(x, "username"), h->flags & 0x80, h->username))
                fails(run, "username: %s", h->username);
        if (!same_text(member(x, "password"), h->flags & 0x40, h->password))
                fails(run, "password: %s", h->password);
        check_will(run, member(x, "will"), h);
        if (json_object_size(x) != 9)
                fails(run, "expected: has other members than the nine of a CONNECT");
}

static void run_connect(Run *run) {
        const json_t *config = member(run->vector, "config");
        IotJobsOptions o = iotjobs_options_default(text_of(member(config, "clientId")), "golden");
        IotJobsClient *c = NULL;

        o.v1 = true;
        o.qos = (int) json_integer_value(member(config, "QoS"));
        o.websocket = json_is_true(member(config, "useWebsocket"));
        if (member(config, "protocolType"))
                o.protocol = (IotJobsProtocol) json_integer_value(member(config, "protocolType"));
        if (member(config, "cleanSession"))
                o.clean_session = json_is_true(member(config, "cleanSession"));
        run->result = iotjobs_client_new(&o, &c, &run->error);
        if (run->result == 0)
                configure(run, config, c);
        if (run->result == 0)
                run->result = iotjobs_client_connect(c, &run->error);
        if (run->result < 0)
                fails(run, "connecting: %s", run->error.text);
        else if (!endpoint_collect(endpoint, NULL, &run->heard, &run->n_heard))
                fails(run, "no CONNECT came");
        else
                check_connect(run, member(run->vector, "expected"), run->heard);
        (void) iotjobs_client_free(c);
}

/* ---- signatures ---- */

static void percent_decode(const char *text, char *ret, size_t size) {
        size_t n = 0;

        for (; *text && n + 1 < size; text++) {
                unsigned byte;

                if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1) {
                        ret[n++] = (char) byte;
                        text += 2;
                } else
                        ret[n++] = *text;
        }
        ret[n] = '\0';
}

static bool same_target(const char *expected, const char *made) {
        char a[IOTJOBS_PRESIGN_MAX], b[IOTJOBS_PRESIGN_MAX];

        percent_decode(expected, a, sizeof a);
        percent_decode(made, b, sizeof b);
        return strcmp(a, b) == 0;
}

/* "&NAME=VALUE" as it is, and no longer. */
static bool has_parameter(const char *target, const char *parameter) {
        const char *at = strstr(target, parameter);

        return at && strchr("&", at[strlen(parameter)]);
}

static void run_presign(Run *run) {
        const json_t *input = member(run->vector, "input"), *expected = member(run->vector, "expected");
        const char *date = text_of(member(input, "amzDate")), *signature = text_of(member(expected, "signature"));
        const char *target = text_of(member(expected, "requestTarget"));
        char made[IOTJOBS_PRESIGN_MAX], want[128];
        struct tm tm = { 0 };
        IotJobsPresign p = { .host = text_of(member(input, "host")),
                             .region = text_of(member(input, "region")),
                             .path = text_of(member(input, "path")),
                             .service = text_of(member(input, "service")),
                             .access_key_id = text_of(member(input, "accessKeyId")),
                             .secret_access_key = text_of(member(input, "secretAccessKey")),
                             .session_token = text_of(member(input, "sessionToken")),
                             .expires = json_integer_value(member(input, "expires")) };

        if (!date || !strptime(date, "%Y%m%dT%H%M%SZ", &tm) || !signature || !target || json_object_size(expected) != 2) {
                fails(run, "amzDate or expected: malformed");
                return;
        }
        p.time = timegm(&tm);
        if (iotjobs_presign(&p, made, &run->error) < 0) {
                fails(run, "%s", run->error.text);
                return;
        }
        (void) snprintf(want, sizeof want, "&X-Amz-Signature=%s", signature);
        if (!has_parameter(made, want) || !same_target(target, made))
                fails(run, "made %s", made);
}

/* ---- all of them ---- */

static void run_vector(Run *run) {
        static const struct {
                const char *type;
                void (*run)(Run *);
        } kinds[] = {
                { "publish", run_call }, { "subscribe", run_call }, { "error", run_error },     { "parse", run_parse },
                { "match", run_match },  { "connect", run_connect }, { "presign", run_presign },
        };
        const char *type = text_of(member(run->vector, "type"));
        size_t i = 0, n = sizeof kinds / sizeof *kinds;

        while (i < n && strcmp(kinds[i].type, type ? type : "") != 0)
                i++;
        if (i == n)
                fails(run, "type: %s is unknown", type ? type : "(none)");
        else
                kinds[i].run(run);
}

static bool run_one(const json_t *vector, long index) {
        Run run = { .vector = vector, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
        const char *id = text_of(member(vector, "id"));

        if (!json_is_object(vector))
                fails(&run, "no JSON object");
        else
                run_vector(&run);
        mosquitto_destroy(run.mosq);
        heard_free(run.heard, run.n_heard);
        endpoint_clear(endpoint);
        if (run.why[0])
                (void) printf("not ok %s (element %ld): %s\n", id ? id : "?", index, run.why);
        return !run.why[0];
}

static char *read_file(const char *path, size_t *ret_len) {
        FILE *f = fopen(path, "re");
        char *text = NULL;
        size_t n = 0;

        while (f) {
                char *more = realloc(text, n + 65536);
                size_t got;

                if (!more)
                        break;
                text = more;
                got = fread(text + n, 1, 65536, f);
                n += got;
                if (got == 0)
                        break;
        }
        if (f)
                (void) fclose(f);
        *ret_len = n;
        return text;
}

int main(int argc, char **argv) {
        const char *path = argc > 1 ? argv[1] : GOLDEN_VECTORS;
        long passed = 0, n;
        json_t **vectors = NULL;
        size_t len;
        char *text = read_file(path, &len);

        if (argc > 2 || (argc > 1 && argv[1][0] == '-')) {
                (void) fprintf(stderr, "usage: golden [FILE]\n");
                return 2;
        }
        n = text ? golden_parse_array(text, len, &vectors) : -1;
        free(text);
        if (n < 0) {
                (void) fprintf(stderr, "%s: %s\n", path, text ? "not a JSON array" : strerror(errno));
                return 2;
        }
        (void) mosquitto_lib_init();
        endpoint = endpoint_start(&port);
        front = endpoint ? front_start(port, &front_port, front_ca_file) : NULL;
        if (!front) {
                (void) fprintf(stderr, "recording server: %s\n", strerror(errno));
                return 2;
        }
        for (long i = 0; i < n; i++) {
                passed += run_one(vectors[i], i);
                json_decref(vectors[i]);
        }
        free(vectors);
        front_stop(front);
        endpoint_stop(endpoint);
        (void) mosquitto_lib_cleanup();
        (void) printf("%ld passed, %ld failed\n", passed, n - passed);
        return passed == n ? 0 : 1;
}
