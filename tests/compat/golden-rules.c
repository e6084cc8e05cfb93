/* SPDX-License-Identifier: Apache-2.0 */
/* What the service refuses and the protocol forbids, from the published tables: topics and who may use them, limits and types
 * of members, error codes. Written for this test, and it asks nothing of the library. */
#include "golden.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h" /* the general categories of Unicode */

static bool all_of(const char *text, size_t len, size_t most, const char *more) {
        if (len < 1 || len > most)
                return false;
        for (size_t i = 0; i < len; i++)
                if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
                      (text[i] >= '0' && text[i] <= '9') || (text[i] != '\0' && strchr(more, text[i]))))
                        return false;
        return true;
}

/* What follows "$aws/things/THING/jobs/"; NULL: it is not that, or the thing's name is none. */
static const char *tail_of(const char *topic) {
        static const char head[] = "$aws/things/", jobs[] = "/jobs/";
        const char *thing = topic + sizeof head - 1, *slash;

        if (strncmp(topic, head, sizeof head - 1) != 0)
                return NULL;
        slash = strchr(thing, '/');
        if (!slash || strncmp(slash, jobs, sizeof jobs - 1) != 0)
                return NULL;
        return all_of(thing, (size_t) (slash - thing), 128, ":_-") ? slash + sizeof jobs - 1 : NULL;
}

/* `other`: what is taken beside a job id; NULL: nothing. */
static bool job_ok(const char *id, size_t len, const char *other) {
        return all_of(id, len, 64, "_-") || (other && len == strlen(other) && memcmp(id, other, len) == 0);
}

typedef enum Request { REQUEST_NONE, REQUEST_GET, REQUEST_START, REQUEST_DESCRIBE, REQUEST_UPDATE } Request;

static Request request_of(const char *topic, const char **why) {
        const char *tail = tail_of(topic), *slash = tail ? strchr(tail, '/') : NULL;

        *why = "1.1: a device publishes nothing there";
        if (!tail) {
                *why = "1.1, 2.1: no Jobs topic of a thing";
                return REQUEST_NONE;
        }
        if (strcmp(tail, "get") == 0)
                return REQUEST_GET;
        if (strcmp(tail, "start-next") == 0)
                return REQUEST_START;
        if (slash && strcmp(slash, "/get") == 0 && job_ok(tail, (size_t) (slash - tail), "$next"))
                return REQUEST_DESCRIBE;
        if (slash && strcmp(slash, "/update") == 0) {
                *why = "2.1: no job id; 3: InvalidRequest";
                return job_ok(tail, (size_t) (slash - tail), NULL) ? REQUEST_UPDATE : REQUEST_NONE;
        }
        if (slash)
                *why = "2.1: no job id, or 3: InvalidTopic";
        return REQUEST_NONE;
}

/* ---- members ---- */

static const char *check_value(const json_t *value) {
        const char *p = json_string_value(value), *end = p ? p + json_string_length(value) : NULL;
        size_t units = 0;

        if (!p)
                return "3: a value of statusDetails is no string";
        while (p < end) {
                uint32_t cp;
                size_t n = utf8_decode(p, end, &cp);

                if (n == 0 || unicode_is_other(cp))
                        return "2.1: a value of statusDetails has a control, format, private or unassigned character";
                units += cp > 0xFFFF ? 2 : 1;
                p += n;
        }
        return units >= 1 && units <= 1024 ? NULL : "2.1: a value of statusDetails has not 1 to 1024 characters";
}

static const char *check_details(const json_t *details) {
        const char *key;
        json_t *value;

        if (!details || json_is_null(details))
                return NULL;
        if (!json_is_object(details))
                return "2.1: statusDetails is no object";
        if (json_object_size(details) > 10)
                return "2.1: more than ten statusDetails";
        json_object_foreach((json_t *) (uintptr_t) details, key, value) {
                const char *why = check_value(value);

                if (!all_of(key, strlen(key), 128, ":_-"))
                        return "2.1: a key of statusDetails";
                if (why)
                        return why;
        }
        return NULL;
}

/* A 64-bit number, or its digits in a string. */
static bool number_ok(const json_t *value) {
        const char *text = json_string_value(value);
        char *end;

        if (!value || json_is_null(value) || json_is_integer(value))
                return true;
        if (!text || *text < '0' || *text > '9')
                return false;
        errno = 0;
        (void) strtoll(text, &end, 10);
        return *end == '\0' && errno == 0;
}

static const char *check_timeout(Request request, const json_t *value) {
        json_int_t minutes = json_integer_value(value);

        if (!value || json_is_null(value))
                return NULL;
        if (json_is_integer(value) && ((minutes >= 1 && minutes <= 10080) || (request == REQUEST_UPDATE && minutes == -1)))
                return NULL;
        return "2.1: stepTimeoutInMinutes out of range";
}

static const char *check_status(const json_t *value) {
        static const char *const allowed[] = { "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED" };

        for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
                if (json_is_string(value) && strcmp(json_string_value(value), allowed[i]) == 0)
                        return NULL;
        return "2.1, 3: status is missing, or none that a device may set";
}

static bool flag_ok(const json_t *value) {
        return !value || json_is_null(value) || json_is_boolean(value);
}

/* "Absent means absent": a member that is left out, not one that says null. */
static bool has_null(const json_t *payload) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) (uintptr_t) payload, key, value)
                if (json_is_null(value))
                        return true;
        return false;
}

const char *rules_publish(const char *topic, const json_t *payload) {
        const char *why;
        const json_t *token = json_object_get(payload, "clientToken");
        Request request = request_of(topic, &why);

        if (request == REQUEST_NONE)
                return why;
        if (request == REQUEST_UPDATE) {
                why = check_status(json_object_get(payload, "status"));
                if (why)
                        return why;
        }
        if (json_is_null(payload))
                return NULL; /* counts as {} */
        if (has_null(payload))
                return "2.1: a member is null; absent means absent";
        if (token && (!json_is_string(token) || json_string_length(token) > 128))
                return "2.1: clientToken is no string of at most 128 bytes";
        if (!number_ok(json_object_get(payload, "expectedVersion")) || !number_ok(json_object_get(payload, "executionNumber")))
                return "2.1: expectedVersion or executionNumber is no 64-bit number";
        if (!flag_ok(json_object_get(payload, "includeJobDocument")) ||
            !flag_ok(json_object_get(payload, "includeJobExecutionState")))
                return "2.1: a flag is no boolean";
        if (request == REQUEST_UPDATE || request == REQUEST_START) {
                why = check_timeout(request, json_object_get(payload, "stepTimeoutInMinutes"));
                return why ? why : check_details(json_object_get(payload, "statusDetails"));
        }
        return NULL;
}

const char *rules_subscribe(const char *filter) {
        static const char *const endings[] = { "/accepted", "/rejected", "/#" };
        const char *tail = tail_of(filter), *verb = tail;

        if (!tail)
                return "1.1, 2.1: no Jobs topic of a thing";
        if (strcmp(tail, "#") == 0 || strcmp(tail, "notify") == 0 || strcmp(tail, "notify-next") == 0)
                return NULL;
        if (strncmp(tail, "get/", 4) == 0 || strncmp(tail, "start-next/", 11) == 0) {
                const char *ending = strchr(tail, '/');

                for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
                        if (strcmp(ending, endings[i]) == 0)
                                return NULL;
        }
        verb = strchr(tail, '/');
        if (!verb)
                return "1.1: nothing is received there";
        if (!job_ok(tail, (size_t) (verb - tail), "$next") && strncmp(tail, "+/", 2) != 0)
                return "2.1: no job id";
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
                const char *ending = strchr(verb + 1, '/');

                if (ending && strcmp(ending, endings[i]) == 0 &&
                    (strncmp(verb, "/get/", 5) == 0 || strncmp(verb, "/update/", 8) == 0))
                        return NULL;
        }
        return "1.1: nothing is received there";
}
