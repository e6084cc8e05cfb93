/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "sim/connection.h"
#include "sim/control.h"
#include "sim/faults.h"

enum {
        FIRST_CONNECTION_USEC = 10 * 1000 * 1000, /* a broker that is still starting is waited for this long */
        SETTLE_USEC = 100 * 1000, /* another server is given this long to say that it is there */
        HELD_MAX = 1000,          /* messages that come meanwhile */
        MQTT_3_1_1 = 4,
        MQTT_5 = 5,
};

typedef struct Held {
        char *topic, *payload;
        size_t payload_len;
        bool retained;
} Held;

typedef struct Server {
        const Options *options;
        Transport *transport;
        Model *model;
        Faults *faults;
        ModelOutput out;
        uint64_t started_boot, started_wall;
        char name[CONNECTION_NAME_MAX];
        char reply_topic[sizeof CONTROL_REPLY_TOPIC + CONNECTION_NAME_MAX];
        const char *filters[4];
        int protocol;
        bool was_online, losing; /* losing: publications are being lost, and that has been said */
        bool serving;            /* no other server does */
        uint64_t settled_at;     /* then it serves; USEC_NEVER = it does already, or is not connected */
        Held held[HELD_MAX];
        size_t n_held;
        bool stop;
        int exit_code;
        char last_error[ERROR_TEXT_MAX];
} Server;

/* ---- time ---- */

/* The service's clock: starts right and runs time_scale times as fast. */
static uint64_t service_now(const Server *s) {
        uint64_t elapsed = clock_boottime_usec() - s->started_boot;

        return s->started_wall + (s->options->time_scale == 1
                                          ? elapsed
                                          : (uint64_t) ((double) elapsed * s->options->time_scale));
}

/* When the service's clock will show `deadline`, as CLOCK_BOOTTIME. */
static uint64_t boot_time_of(const Server *s, uint64_t deadline) {
        uint64_t ahead = deadline > s->started_wall ? deadline - s->started_wall : 0;

        if (deadline == USEC_NEVER)
                return USEC_NEVER;
        return s->started_boot + 1 +
               (s->options->time_scale == 1 ? ahead : (uint64_t) ((double) ahead / s->options->time_scale));
}

/* ---- out ---- */

static int send_now(const char *topic, const char *payload, size_t len, void *userdata) {
        Server *s = userdata;
        int r = transport_publish(s->transport, topic, payload, len);

        if (r == 0) {
                s->losing = false;
                if (s->options->verbose)
                        log_debug("-> %s %s", topic, payload);
        } else if (!s->losing) {
                s->losing = true;
                log_warning("%s: publications are lost: %s", topic,
                            r == -ENOTCONN ? "not connected to the broker"
                                           : "the broker takes them too slowly");
        }
        return 0;
}

static void send_json(Server *s, const char *topic, const json_t *v) {
        char *text CLEANUP_FREE = json_dumps(v, JSON_COMPACT);

        if (text)
                (void) send_now(topic, text, strlen(text), s);
}

/* Devices first, watchers after them. */
static void send_output(Server *s, uint64_t wall) {
        for (size_t i = 0; i < s->out.n_publications; i++)
                if (faults_publish(s->faults, clock_boottime_usec(), &s->out.publication[i], send_now, s) < 0)
                        log_error("%s: out of memory, not published", s->out.publication[i].topic);
        for (size_t i = 0; i < s->out.n_changes; i++) {
                char *event CLEANUP_FREE = control_event(s->model, &s->out.change[i], wall);

                if (event)
                        (void) send_now(CONTROL_EVENTS_TOPIC, event, strlen(event), s);
        }
        model_output_clear(&s->out);
}

static void tick(Server *s) {
        if (model_tick(s->model, service_now(s), &s->out) < 0)
                log_error("out of memory, some timers act late");
        if (s->out.n_publications + s->out.n_changes > 0)
                send_output(s, wall_usec());
        faults_flush(s->faults, clock_boottime_usec(), send_now, s);
}

/* ---- before it serves ---- */

static void held_done(Held *h) {
        free(h->topic);
        free(h->payload);
        *h = (Held) {};
}

/* Until it is known that no other server is there nothing may be answered, and nothing be lost. */
static void hold(Server *s, const TransportEvent *event) {
        Held h = { .topic = strdup(event->topic), .payload = malloc(event->payload_len + 1),
                   .payload_len = event->payload_len, .retained = event->retained };

        if (s->n_held == HELD_MAX || !h.topic || !h.payload) {
                log_warning("%s: a message is lost: too many come before the server is ready", event->topic);
                held_done(&h);
                return;
        }
        memcpy(h.payload, event->payload, h.payload_len);
        h.payload[h.payload_len] = '\0';
        s->held[s->n_held++] = h;
}

/* ---- in: devices ---- */

/* One filter gives us all requests, wrong ones included; before MQTT 5 also each of our own publications, which are told by
 * their shape. */
static bool is_own_publication(const char *topic) {
        Topic t = topic_parse(topic, NULL);

        return t.kind == TOPIC_NOTIFY || t.kind == TOPIC_NOTIFY_NEXT ||
               (t.kind != TOPIC_UNRECOGNIZED && t.reply != TOPIC_REQUEST);
}

static void handle_device(Server *s, const TransportEvent *event) {
        ProtoCode code;

        if (is_own_publication(event->topic))
                return;
        if (!s->serving) {
                hold(s, event);
                return;
        }
        if (event->retained) {
                log_warning("%s: a retained message, ignoring: AWS IoT retains nothing on reserved topics",
                            event->topic);
                return;
        }
        if (event->payload_len > LIMIT_PAYLOAD) {
                log_warning("%s: %zu bytes, ignoring: AWS IoT would close the connection above %d",
                            event->topic, event->payload_len, LIMIT_PAYLOAD);
                return;
        }
        if (s->options->verbose)
                log_debug("<- %s %s", event->topic, event->payload);
        if (!faults_request(s->faults, &code))
                return;
        if (model_request(s->model, service_now(s), event->topic, event->payload, event->payload_len, code,
                          &s->out) < 0)
                log_error("%s: out of memory, not answered", event->topic);
        send_output(s, wall_usec());
}

/* ---- in: operators and other servers ---- */

/* Another server tells that it is there. Whoever serves longer stays; the other is told. */
static void handle_serving(Server *s, const json_t *request, const char *reply_topic) {
        const char *by = json_string_value(json_object_get(request, "by"));
        json_int_t since = json_integer_value(json_object_get(request, "since"));
        json_t *answer CLEANUP_JSON = NULL;

        if (!by || strcmp(by, s->name) == 0 || (uint64_t) since < s->started_wall)
                return;
        answer = json_pack("{s:b,s:s}", "busy", true, "by", s->name);
        if (answer)
                send_json(s, reply_topic, answer);
}

static void announce(Server *s) {
        json_t *v CLEANUP_JSON = json_pack("{s:s,s:s,s:s,s:I}", "verb", "serving", "reply", s->name, "by",
                                           s->name, "since", (json_int_t) s->started_wall);

        if (v)
                send_json(s, CONTROL_REQUEST_TOPIC, v);
}

/* Who follows an execution asks again: what happened while we were away was told to nobody. */
static void tell_followers(Server *s) {
        (void) send_now(CONTROL_EVENTS_TOPIC, "{\"type\":\"serving\"}", strlen("{\"type\":\"serving\"}"), s);
}

static void handle_operator(Server *s, const TransportEvent *event) {
        json_t *request CLEANUP_JSON = NULL, *answer CLEANUP_JSON = NULL;
        char topic[sizeof CONTROL_REPLY_TOPIC + CONTROL_NAME_MAX];
        const char *reply, *verb;
        Error e = {};

        if (event->retained || json_parse_object(event->payload, event->payload_len, &request, &e) < 0) {
                log_warning("%s: ignoring a message: %s", event->topic,
                            event->retained ? "retained" : e.text);
                return;
        }
        reply = json_string_value(json_object_get(request, "reply"));
        verb = json_string_value(json_object_get(request, "verb"));
        if (!reply || !control_reply_valid(reply)) {
                log_warning("%s: ignoring a message: reply: 1 to %d letters and digits are needed",
                            event->topic, CONTROL_NAME_MAX);
                return;
        }
        (void) snprintf(topic, sizeof topic, "%s%s", CONTROL_REPLY_TOPIC, reply);
        if (verb && strcmp(verb, "serving") == 0) {
                handle_serving(s, request, topic);
                return;
        }
        if (!s->serving) {
                hold(s, event);
                return;
        }
        answer = control_answer(s->model, service_now(s), request, &s->out);
        /* Devices come first: the answer of an operator can wait for what the verb set off. */
        send_output(s, wall_usec());
        if (!answer || json_object_set(answer, "id", json_object_get(request, "id") ?: json_null()) < 0) {
                log_error("out of memory, an operator gets no answer");
                return;
        }
        send_json(s, topic, answer);
}

static void handle_reply_to_us(Server *s, const TransportEvent *event) {
        json_t *v CLEANUP_JSON = NULL;

        if (json_parse_object(event->payload, event->payload_len, &v, NULL) < 0 ||
            !json_is_true(json_object_get(v, "busy")))
                return;
        log_error("%s:%u: another iot-jobs-sim serves on this broker already; stop that one first",
                  s->options->host, s->options->port);
        s->stop = true;
        s->exit_code = EXIT_FAILURE;
}

/* ---- the transport's events ---- */

static void handle_online(Server *s) {
        log_info("online at %s:%u", s->options->host, s->options->port);
        s->was_online = true;
        announce(s);
        if (s->serving)
                tell_followers(s);
        else
                s->settled_at = clock_boottime_usec() + SETTLE_USEC;
}

/* Not every broker speaks MQTT 5, and nothing but a little speed depends on it. */
static bool fall_back(Server *s, const TransportEvent *event) {
        Error e = {};

        if (s->protocol != MQTT_5 || !connection_protocol_refused(event))
                return false;
        s->protocol = MQTT_3_1_1;
        if (connection_change(s->transport, s->options, s->name, s->filters, s->protocol, &e) < 0) {
                log_warning("%s", e.text);
                return false;
        }
        log_debug("the broker does not speak MQTT 5, going on with 3.1.1");
        return true;
}

static void handle_offline(Server *s, const TransportEvent *event) {
        if (fall_back(s, event))
                return;
        s->settled_at = USEC_NEVER;
        /* The same text at each attempt is said once. */
        if (strcmp(s->last_error, event->text ?: "") != 0 || s->was_online)
                log_warning("%s", event->text ?: "the connection to the broker is lost");
        (void) snprintf(s->last_error, sizeof s->last_error, "%s", event->text ?: "");
}

static void handle_message(Server *s, const TransportEvent *event) {
        if (strncmp(event->topic, "$aws/", 5) == 0)
                handle_device(s, event);
        else if (strcmp(event->topic, CONTROL_REQUEST_TOPIC) == 0)
                handle_operator(s, event);
        else
                handle_reply_to_us(s, event);
}

/* No other server has answered. */
static void start_serving(Server *s) {
        s->settled_at = USEC_NEVER;
        s->serving = true;
        tell_followers(s);
        puts("ready");
        (void) fflush(stdout);
        for (size_t i = 0; i < s->n_held; i++) {
                const TransportEvent event = { .type = TRANSPORT_MESSAGE, .topic = s->held[i].topic,
                                               .payload = s->held[i].payload, .payload_len = s->held[i].payload_len,
                                               .retained = s->held[i].retained };

                handle_message(s, &event);
                held_done(&s->held[i]);
        }
        s->n_held = 0;
}

static void handle_event(const TransportEvent *event, void *userdata) {
        Server *s = userdata;

        switch (event->type) {
        case TRANSPORT_ONLINE:
                handle_online(s);
                break;
        case TRANSPORT_OFFLINE:
                handle_offline(s, event);
                break;
        case TRANSPORT_REFUSED:
                (void) snprintf(s->last_error, sizeof s->last_error,
                                "the broker refuses the subscription to %s", event->topic);
                log_error("%s: let this user subscribe to it, or use another", s->last_error);
                break;
        case TRANSPORT_MESSAGE:
                handle_message(s, event);
                break;
        case TRANSPORT_DROPPED:
                log_warning("%s%sa message is lost: %s", event->topic ?: "", event->topic ? ": " : "",
                            event->text ?: "");
                break;
        case TRANSPORT_CERTIFICATE:
                log_warning("%s", event->text);
                break;
        case TRANSPORT_SUBACK:
        case TRANSPORT_PUBACK:
                break; /* never asked for here */
        }
}

/* ---- main loop ---- */

static void say_faults(const Options *o, uint64_t seed) {
        log_notice("faults: drop %g, duplicate %g, delay %llu ms, %zu kinds of rejection; --seed %llu "
                   "repeats them",
                   o->drop, o->duplicate, (unsigned long long) (o->delay_usec / USEC_PER_MSEC), o->n_rejects,
                   (unsigned long long) seed);
}

static int server_init(Server *s, Error *e) {
        uint64_t seed = s->options->has_seed ? s->options->seed : random_u64();
        int r;

        connection_random_name(s->name);
        (void) snprintf(s->reply_topic, sizeof s->reply_topic, "%s%s", CONTROL_REPLY_TOPIC, s->name);
        s->filters[0] = "$aws/things/+/jobs/#";
        s->filters[1] = CONTROL_REQUEST_TOPIC;
        s->filters[2] = s->reply_topic;
        s->protocol = MQTT_5; /* what we publish does not come back to us then */
        s->started_boot = clock_boottime_usec();
        s->started_wall = wall_usec();
        if (model_new(NULL, &s->model) < 0 || faults_new(s->options, seed, &s->faults) < 0)
                return error_set(e, ENOMEM, "out of memory");
        if (faults_any(s->faults))
                say_faults(s->options, seed);
        r = connection_new(s->options, s->name, s->filters, s->protocol, &s->transport, e);
        if (r < 0)
                return r;
        r = transport_start(s->transport);
        return r < 0 ? error_errno(e, -r, "cannot start the network thread") : 0;
}

/* Never online within the first seconds: that is a mistake to be told, not a wait to be sat out. */
static bool first_connection_failed(const Server *s, uint64_t now) {
        if (s->was_online || now < s->started_boot + FIRST_CONNECTION_USEC)
                return false;
        log_error("cannot serve at %s:%u: %s", s->options->host, s->options->port,
                  s->last_error[0] ? s->last_error : "the broker does not answer");
        return true;
}

static int run(Server *s) {
        int signals CLEANUP_FD = connection_signals();
        bool signalled = false;
        int r;

        if (signals < 0) {
                log_error("cannot receive signals: %s", strerror(-signals));
                return EXIT_FAILURE;
        }
        while (!s->stop && !signalled) {
                uint64_t until =
                        MIN_OF(boot_time_of(s, model_deadline(s->model)), faults_deadline(s->faults));

                until = MIN_OF(until, s->settled_at);
                if (!s->was_online)
                        until = MIN_OF(until, s->started_boot + FIRST_CONNECTION_USEC);
                r = connection_wait(s->transport, signals, until, &signalled);
                if (r < 0) {
                        log_error("poll: %s", strerror(-r));
                        return EXIT_FAILURE;
                }
                transport_dispatch(s->transport, handle_event, s);
                if (!s->stop && clock_boottime_usec() >= s->settled_at)
                        start_serving(s);
                tick(s);
                if (first_connection_failed(s, clock_boottime_usec()))
                        return EXIT_FAILURE;
        }
        return s->exit_code;
}

int serve(const Options *o) {
        Server s = { .options = o, .settled_at = USEC_NEVER };
        Error e = {};
        int r;

        (void) signal(SIGPIPE, SIG_IGN);
        if (o->verbose)
                log_set_level(LOG_LEVEL_DEBUG);
        r = server_init(&s, &e);
        if (r < 0) {
                log_error("%s", e.text);
                r = EXIT_FAILURE;
        } else
                r = run(&s);
        (void) transport_free(s.transport, CONNECTION_GOODBYE_USEC);
        (void) faults_free(s.faults);
        (void) model_free(s.model);
        model_output_done(&s.out);
        for (size_t i = 0; i < s.n_held; i++)
                held_done(&s.held[i]);
        return r;
}
