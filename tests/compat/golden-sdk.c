/* SPDX-License-Identifier: Apache-2.0 */
/* What AWS IoT Device SDK v1 for Python does with a call, as far as its wire behaviour is documented: the topic, the payload,
 * or the exception. It is asked about vectors that the library refuses, so that those too must expect the right thing. */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

typedef struct TopicType {
        const char *name;
        bool of_job;
        const char *verb;
} TopicType;

static const TopicType types[] = {
        { "JOB_UNRECOGNIZED_TOPIC", false, "" },   { "JOB_GET_PENDING_TOPIC", false, "get" },
        { "JOB_START_NEXT_TOPIC", false, "start-next" }, { "JOB_DESCRIBE_TOPIC", true, "get" },
        { "JOB_UPDATE_TOPIC", true, "update" },    { "JOB_NOTIFY_TOPIC", false, "notify" },
        { "JOB_NOTIFY_NEXT_TOPIC", false, "notify-next" }, { "JOB_WILDCARD_TOPIC", false, "+" },
};

static const char *const replies[][2] = {
        { "JOB_UNRECOGNIZED_TOPIC_TYPE", "" },
        { "JOB_REQUEST_TYPE", "" },
        { "JOB_ACCEPTED_REPLY_TYPE", "/accepted" },
        { "JOB_REJECTED_REPLY_TYPE", "/rejected" },
        { "JOB_WILDCARD_REPLY_TYPE", "/#" },
};

static const char *const statuses[][2] = {
        { "JOB_EXECUTION_STATUS_NOT_SET", NULL },     { "JOB_EXECUTION_QUEUED", "QUEUED" },
        { "JOB_EXECUTION_IN_PROGRESS", "IN_PROGRESS" }, { "JOB_EXECUTION_FAILED", "FAILED" },
        { "JOB_EXECUTION_SUCCEEDED", "SUCCEEDED" },   { "JOB_EXECUTION_CANCELED", "CANCELED" },
        { "JOB_EXECUTION_REJECTED", "REJECTED" },     { "JOB_EXECUTION_UNKNOWN_STATUS", NULL },
};

static bool none(const json_t *value) {
        return !value || json_is_null(value);
}

/* The shortest digits that say this number; false: Python would write it with an exponent. */
static bool real_text(double value, char *ret, size_t size) {
        if (value >= 1e16 || value <= -1e16 || (value < 1e-4 && value > -1e-4))
                return false;
        for (int precision = 1; precision <= 17; precision++) {
                (void) snprintf(ret, size, "%.*g", precision, value);
                if (strchr(ret, 'e') == NULL && strtod(ret, NULL) >= value && strtod(ret, NULL) <= value)
                        break;
        }
        if (!strpbrk(ret, ".e"))
                (void) strncat(ret, ".0", size - strlen(ret) - 1);
        return !strchr(ret, 'e');
}

/* str(); false: this model does not know. */
static bool text_of(const json_t *value, char *ret, size_t size) {
        const char *text = json_string_value(value);
        int n;

        if (text && strncmp(text, BIG_NUMBER, strlen(BIG_NUMBER)) == 0)
                text += strlen(BIG_NUMBER);
        if (text)
                n = snprintf(ret, size, "%s", text);
        else if (json_is_integer(value))
                n = snprintf(ret, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_boolean(value))
                n = snprintf(ret, size, "%s", json_is_true(value) ? "True" : "False");
        else if (json_is_real(value))
                return real_text(json_real_value(value), ret, size);
        else
                return false;
        return n >= 0 && (size_t) n < size;
}

/* message NULL: not known. */
static void raises(SdkResult *r, const char *exception, const char *message) {
        r->exception = exception;
        (void) snprintf(r->message, sizeof r->message, "%s", message ? message : "");
}

static const char *python_type(const json_t *value) {
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                return "dict";
        case JSON_ARRAY:
                return "list";
        case JSON_STRING:
                return strncmp(json_string_value(value), BIG_NUMBER, strlen(BIG_NUMBER)) == 0 ? "int" : "str";
        case JSON_INTEGER:
                return "int";
        case JSON_REAL:
                return "float";
        case JSON_TRUE:
        case JSON_FALSE:
                return "bool";
        case JSON_NULL:
                return "NoneType";
        }
        return "";
}

static void raises_of(SdkResult *r, const char *exception, const char *before, const json_t *value, const char *behind) {
        char text[128];

        (void) snprintf(text, sizeof text, "%s'%s'%s", before, python_type(value), behind);
        raises(r, exception, text);
}

static const TopicType *type_of(const json_t *name) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
                if (json_is_string(name) && strcmp(types[i].name, json_string_value(name)) == 0)
                        return &types[i];
        return NULL;
}

/* The topic; "" where the SDK has none. */
static void make_topic(SdkResult *r, const json_t *vector, const TopicType *type, const char *reply, const json_t *job_id) {
        const json_t *name = json_object_get(json_object_get(vector, "client"), "thingName");
        bool notice = strcmp(type->name, "JOB_NOTIFY_TOPIC") == 0 || strcmp(type->name, "JOB_NOTIFY_NEXT_TOPIC") == 0;
        bool wildcard = strcmp(type->verb, "+") == 0;
        char thing[512], job[400] = "";
        const char *suffix = NULL;

        for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
                if (strcmp(replies[i][0], reply) == 0)
                        suffix = replies[i][1];
        if (!suffix || (!none(name) && !text_of(name, thing, sizeof thing)) ||
            (!none(job_id) && !text_of(job_id, job, sizeof job))) {
                r->known = false;
                return;
        }
        if (none(name) || (notice && strcmp(reply, "JOB_REQUEST_TYPE") != 0) ||
            (!wildcard && !type->of_job && !none(job_id)) || (type->of_job && none(job_id)) || !type->verb[0])
                return;
        if (wildcard)
                (void) snprintf(r->topic, sizeof r->topic, "$aws/things/%s/jobs/#", thing);
        else
                (void) snprintf(r->topic, sizeof r->topic, "$aws/things/%s/jobs/%s%s%s%s", thing, job,
                                type->of_job ? "/" : "", type->verb, suffix);
}

static json_t *payload_with_token(const json_t *vector, const char *name) {
        json_t *o = json_object(), *token = json_object_get(json_object_get(vector, "client"), "clientId");

        if (!none(token) && name)
                (void) json_object_set(o, name, token);
        return o;
}

/* x > 0, as Python has it. -1: it raises; -2: not known. */
static int positive(const json_t *value) {
        const char *text = json_string_value(value);

        if (!value)
                return 0;
        if (text && strncmp(text, BIG_NUMBER, strlen(BIG_NUMBER)) == 0)
                return text[strlen(BIG_NUMBER)] != '-';
        if (json_is_integer(value))
                return json_integer_value(value) > 0;
        if (json_is_boolean(value))
                return json_is_true(value);
        return json_is_real(value) ? -2 : -1;
}

static void add_number(SdkResult *r, const json_t *args, const char *name, bool as_string) {
        json_t *value = json_object_get(args, name);
        char text[400];

        switch (positive(value)) {
        case 1:
                if (!as_string)
                        (void) json_object_set(r->payload, name, value);
                else if (text_of(value, text, sizeof text))
                        (void) json_object_set_new(r->payload, name, json_string(text));
                break;
        case -1:
                raises_of(r, "TypeError", "'>' not supported between instances of ", value, " and 'int'");
                break;
        case -2:
                r->known = false;
                break;
        }
}

static void add_given(SdkResult *r, const json_t *args, const char *name) {
        json_t *value = json_object_get(args, name);

        if (!none(value))
                (void) json_object_set(r->payload, name, value);
}

/* The second element of what was handed over without the enum's mapping, as Python has it; NULL: none, or it raises. Owned. */
static json_t *second_of(SdkResult *r, const json_t *raw) {
        if (json_is_object(raw))
                return NULL; /* a KeyError, which the SDK catches */
        if (json_is_array(raw)) {
                if (json_array_size(raw) < 2)
                        raises(r, "IndexError", NULL);
                return json_incref(json_array_get(raw, 1));
        }
        if (json_is_string(raw) && strcmp(python_type(raw), "str") == 0) {
                const char *p = json_string_value(raw), *end = p + json_string_length(raw);
                uint32_t cp;
                size_t first = p < end ? utf8_decode(p, end, &cp) : 0;
                size_t n = first > 0 && p + first < end ? utf8_decode(p + first, end, &cp) : 0;

                if (n == 0)
                        raises(r, "IndexError", "string index out of range");
                return n > 0 ? json_stringn(p + first, n) : NULL;
        }
        raises_of(r, "TypeError", "", raw, " object is not subscriptable");
        return NULL;
}

/* The status is a tuple whose second element goes out; of anything else Python takes the second element too, or raises. */
static void add_status(SdkResult *r, const json_t *args) {
        const json_t *name = json_object_get(args, "status"), *raw = json_object_get(args, "status_raw");
        json_t *value = NULL;

        if (raw)
                value = second_of(r, raw);
        else if (!name)
                raises(r, "TypeError", NULL);
        else if (json_is_null(name))
                (void) second_of(r, name);
        else {
                size_t i = 0, n = sizeof statuses / sizeof *statuses;

                while (i < n && strcmp(statuses[i][0], json_string_value(name) ? json_string_value(name) : "") != 0)
                        i++;
                r->known = r->known && i < n;
                value = i < n && statuses[i][1] ? json_string(statuses[i][1]) : NULL;
        }
        if (!json_is_null(value))
                (void) json_object_set(r->payload, "status", value);
        json_decref(value);
}

static void update_payload(SdkResult *r, const json_t *args) {
        add_status(r, args);
        if (golden_truth(json_object_get(args, "statusDetails")))
                add_given(r, args, "statusDetails");
        if (!json_object_get(r->payload, "status")) { /* a zero-length payload */
                json_decref(r->payload);
                r->payload = json_null();
                return;
        }
        add_number(r, args, "expectedVersion", true);
        add_number(r, args, "executionNumber", true);
        if (golden_truth(json_object_get(args, "includeJobExecutionState")))
                (void) json_object_set_new(r->payload, "includeJobExecutionState", json_true());
        if (golden_truth(json_object_get(args, "includeJobDocument")))
                (void) json_object_set_new(r->payload, "includeJobDocument", json_true());
        add_given(r, args, "stepTimeoutInMinutes");
}

static void describe_payload(SdkResult *r, const json_t *args) {
        json_t *include = json_object_get(args, "includeJobDocument");

        add_number(r, args, "executionNumber", false);
        if (include)
                (void) json_object_set(r->payload, "includeJobDocument", include);
        else
                (void) json_object_set_new(r->payload, "includeJobDocument", json_true());
}

static const char *reply_of(const json_t *args) {
        const json_t *reply = json_object_get(args, "jobReplyType");

        return json_is_string(reply) ? json_string_value(reply) : reply ? "" : "JOB_REQUEST_TYPE";
}

SdkResult sdk_call(const json_t *vector) {
        const char *call = json_string_value(json_object_get(vector, "call"));
        const json_t *args = json_object_get(vector, "args"), *job_id = json_object_get(args, "jobId");
        const json_t *type = NULL;
        SdkResult r = { .known = call != NULL, .payload = payload_with_token(vector, "clientToken") };
        const char *name = NULL;
        bool publish = true;

        if (!call)
                return r;
        if (strncmp(call, "createJobSubscription", 21) == 0) {
                publish = false;
                type = json_object_get(args, "jobExecutionType");
                name = type ? NULL : "JOB_WILDCARD_TOPIC";
        } else if (strcmp(call, "sendJobsQuery") == 0)
                type = json_object_get(args, "jobExecTopicType");
        else if (strcmp(call, "sendJobsDescribe") == 0)
                name = "JOB_DESCRIBE_TOPIC";
        else if (strcmp(call, "sendJobsStartNext") == 0)
                name = "JOB_START_NEXT_TOPIC";
        else if (strcmp(call, "sendJobsUpdate") == 0)
                name = "JOB_UPDATE_TOPIC";
        else
                r.known = false;
        if (type && none(type)) {
                raises(&r, "TypeError", NULL);
                return r;
        }
        if (publish && !name && !type)
                raises(&r, "TypeError", NULL); /* an argument without a default */
        if (name && !json_object_get(args, "jobId") &&
            (strcmp(name, "JOB_DESCRIBE_TOPIC") == 0 || strcmp(name, "JOB_UPDATE_TOPIC") == 0))
                raises(&r, "TypeError", NULL);
        for (size_t i = 0; i < sizeof types / sizeof *types && r.known; i++) {
                const TopicType *t = name && strcmp(types[i].name, name) == 0 ? &types[i] : type_of(type);

                if (!t)
                        continue;
                make_topic(&r, vector, t, publish ? "JOB_REQUEST_TYPE" : reply_of(args), job_id);
                break;
        }
        if (strcmp(call, "sendJobsDescribe") == 0)
                describe_payload(&r, args);
        else if (strcmp(call, "sendJobsUpdate") == 0)
                update_payload(&r, args);
        else if (strcmp(call, "sendJobsStartNext") == 0) {
                add_given(&r, args, "statusDetails");
                add_given(&r, args, "stepTimeoutInMinutes");
        }
        if (!r.exception && r.known && r.topic[0] == '\0')
                raises(&r, "ValueError", publish ? "Invalid topic." : "No topic specified, or incorrect topic type.");
        else if (!r.exception && publish && strpbrk(r.topic, "+#"))
                raises(&r, "ValueError", "Publish topic cannot contain wildcards.");
        return r;
}
