/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/topic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TOPIC_HEAD "$aws/things/"
#define TOPIC_JOBS "/jobs/"
#define JOB_NEXT   "$next"

/* One level of a topic; not NUL-terminated. */
typedef struct Level {
        const char *text;
        size_t len;
} Level;

enum { LEVELS_MAX = 3 }; /* of the part behind "jobs/" */

static bool level_is(Level l, const char *text) {
        return l.len == strlen(text) && memcmp(l.text, text, l.len) == 0;
}

static bool level_has_prefix(Level l, const char *prefix) {
        return l.len >= strlen(prefix) && memcmp(l.text, prefix, strlen(prefix)) == 0;
}

/* Copies the thing name of "$aws/things/{thing}/jobs/…" and returns what follows; NULL if it is no such topic. */
static const char *split_thing(const char *text, char ret_thing[static LIMIT_THING_NAME + 1]) {
        const char *thing, *slash;
        size_t n;

        if (strncmp(text, TOPIC_HEAD, strlen(TOPIC_HEAD)) != 0)
                return NULL;
        thing = text + strlen(TOPIC_HEAD);
        slash = strchr(thing, '/');
        if (!slash || strncmp(slash, TOPIC_JOBS, strlen(TOPIC_JOBS)) != 0)
                return NULL;
        n = (size_t) (slash - thing);
        if (n > LIMIT_THING_NAME)
                return NULL;
        memcpy(ret_thing, thing, n);
        ret_thing[n] = '\0';
        return proto_thing_name_valid(ret_thing) ? slash + strlen(TOPIC_JOBS) : NULL;
}

/* Number of levels (empty ones count), or 0 if there are more than LEVELS_MAX. */
static size_t split_levels(const char *tail, Level ret[static LEVELS_MAX]) {
        for (size_t n = 0; n < LEVELS_MAX; n++) {
                ret[n] = (Level){ tail, strcspn(tail, "/") };
                tail += ret[n].len;
                if (*tail == '\0')
                        return n + 1;
                tail++;
        }
        return 0;
}

static bool parse_reply(Level l, TopicReply *ret) {
        if (level_is(l, "accepted"))
                *ret = TOPIC_ACCEPTED;
        else if (level_is(l, "rejected"))
                *ret = TOPIC_REJECTED;
        else
                return false;
        return true;
}

static bool parse_job_id(Level l, char ret[static LIMIT_JOB_ID + 1]) {
        if (l.len > LIMIT_JOB_ID)
                return false;
        memcpy(ret, l.text, l.len);
        ret[l.len] = '\0';
        return level_is(l, JOB_NEXT) || proto_job_id_valid(ret);
}

static TopicKind parse_job_verb(Level l) {
        if (level_is(l, "get"))
                return TOPIC_DESCRIBE;
        if (level_is(l, "update"))
                return TOPIC_UPDATE;
        return TOPIC_UNRECOGNIZED;
}

static TopicKind parse_thing_verb(Level l) {
        if (level_is(l, "get"))
                return TOPIC_GET_PENDING;
        if (level_is(l, "start-next"))
                return TOPIC_START_NEXT;
        return TOPIC_UNRECOGNIZED;
}

/* The part behind "jobs/". Every job id is legal, "get" and "notify" too: what counts is the number of levels and the
 * last ones. */
static bool parse_tail(const char *tail, Topic *t) {
        Level level[LEVELS_MAX];
        size_t n = split_levels(tail, level);

        if (n == 0)
                return false;
        if (n == 1) {
                if (level_is(level[0], "notify"))
                        t->kind = TOPIC_NOTIFY;
                else if (level_is(level[0], "notify-next"))
                        t->kind = TOPIC_NOTIFY_NEXT;
                else
                        t->kind = parse_thing_verb(level[0]);
                return t->kind != TOPIC_UNRECOGNIZED;
        }
        if (n == 2 && parse_reply(level[1], &t->reply)) {
                t->kind = parse_thing_verb(level[0]);
                return t->kind != TOPIC_UNRECOGNIZED;
        }
        if (n == 3 && !parse_reply(level[2], &t->reply))
                return false;
        t->kind = parse_job_verb(level[1]);
        return t->kind != TOPIC_UNRECOGNIZED && parse_job_id(level[0], t->job_id);
}

Topic topic_parse(const char *text, const char *thing) {
        Topic t = {};
        const char *tail = split_thing(text, t.thing);

        if (!tail || (thing && strcmp(t.thing, thing) != 0) || !parse_tail(tail, &t))
                return (Topic){};
        return t;
}

static bool job_id_formattable(const char *id) {
        return strcmp(id, JOB_NEXT) == 0 || strcmp(id, "+") == 0 || proto_job_id_valid(id);
}

int topic_format(const Topic *t, char ret[static TOPIC_TEXT_MAX]) {
        static const char *const verb[] = {
                [TOPIC_UNRECOGNIZED] = NULL,         [TOPIC_GET_PENDING] = "get",
                [TOPIC_START_NEXT] = "start-next",   [TOPIC_DESCRIBE] = "get",
                [TOPIC_UPDATE] = "update",           [TOPIC_NOTIFY] = "notify",
                [TOPIC_NOTIFY_NEXT] = "notify-next",
        };
        static const char *const suffix[] = {
                [TOPIC_REQUEST] = "", [TOPIC_ACCEPTED] = "/accepted", [TOPIC_REJECTED] = "/rejected"
        };
        bool of_job = t->kind == TOPIC_DESCRIBE || t->kind == TOPIC_UPDATE;
        bool notice = t->kind == TOPIC_NOTIFY || t->kind == TOPIC_NOTIFY_NEXT;

        if (t->kind >= ELEMENTSOF(verb) || !verb[t->kind] || t->reply >= ELEMENTSOF(suffix))
                return -EINVAL;
        if (!proto_thing_name_valid(t->thing) || (notice && t->reply != TOPIC_REQUEST))
                return -EINVAL;
        if (of_job ? !job_id_formattable(t->job_id) : t->job_id[0] != '\0')
                return -EINVAL;
        (void) snprintf(ret, TOPIC_TEXT_MAX, TOPIC_HEAD "%s" TOPIC_JOBS "%s%s%s%s", t->thing, t->job_id,
                        of_job ? "/" : "", verb[t->kind], suffix[t->reply]);
        return 0;
}

/* "notify-namespace-…", "notify-next-namespace-…" and "{jobId}/namespace-…/…" are another service's. */
static bool is_namespaced(const char *tail) {
        for (;;) {
                Level l = { tail, strcspn(tail, "/") };

                if (level_has_prefix(l, "namespace-") || level_has_prefix(l, "notify-namespace-") ||
                    level_has_prefix(l, "notify-next-namespace-"))
                        return true;
                if (tail[l.len] == '\0')
                        return false;
                tail += l.len + 1;
        }
}

bool topic_is_invalid_request(const char *text, char ret_thing[static LIMIT_THING_NAME + 1]) {
        char thing[LIMIT_THING_NAME + 1];
        const char *tail = split_thing(text, thing);
        const char *last;
        TopicReply reply;
        Topic t = {};

        if (!tail || parse_tail(tail, &t) || is_namespaced(tail))
                return false;
        /* The answer goes to text + "/rejected": it must fit, and must not be taken for a request in its turn. */
        if (strlen(text) + strlen("/rejected") > LIMIT_TOPIC)
                return false;
        last = strrchr(tail, '/');
        if (last && parse_reply((Level){ last + 1, strlen(last + 1) }, &reply))
                return false;
        memcpy(ret_thing, thing, strlen(thing) + 1);
        return true;
}
