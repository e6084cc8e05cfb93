/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "transport/frame.h"
#include "transport/reason.h"

enum {
        TOPIC_SHOWN_MAX = 257,    /* of a packet that is thrown away */
        REFUSED_RETRY_SEC = 60,   /* a refused filter is asked for again after this, doubling … */
        REFUSED_RETRY_FACTOR = 8, /* … up to so many times reconnect_max */
        PING_GRACE_SEC = 5,       /* a dead connection is noticed within 1.5 × keep-alive + this */
        KEPT_SESSION_SEC =
                3600, /* MQTT 5: how long the broker keeps a session that is not clean; AWS's figure */
        SUBACK_FAILURE = 0x80,
};

typedef enum FilterState {
        FILTER_WANTED,
        FILTER_ASKED,
        FILTER_GRANTED,
        FILTER_REFUSED,
} FilterState;

typedef struct Filter {
        FilterState state;
        int mid; /* of the SUBSCRIBE that asks for it */
} Filter;

typedef struct InFlight { /* a publication without its PUBACK; mid 0 = free */
        int mid;
        size_t bytes;
        uint64_t since;
        char *topic;
} InFlight;

struct Session {
        const Settings *settings;
        Exchange *exchange;
        struct mosquitto *mosq;
        int far; /* our end of the tunnel */
        FrameScanner scanner;
        SessionState state;
        bool connack_seen, session_present;
        uint64_t now; /* of the call that is being carried out: for the callbacks */

        Error error; /* set by a callback: the connection must end */

        Filter filters[TRANSPORT_FILTERS_MAX];
        uint64_t suback_by;                     /* USEC_NEVER = none is due */
        uint64_t ask_again_at, ask_again_delay; /* refused filters */
        uint64_t online_since;

        InFlight in_flight[SESSION_IN_FLIGHT_MAX];
        size_t n_in_flight;

        uint64_t keep_alive_usec;
        uint64_t last_in, last_out;
        bool ping_due;      /* to be sent at the next packet boundary */
        uint64_t answer_by; /* USEC_NEVER = no PINGREQ is out */
};

const char *session_state_name(SessionState s) {
        switch (s) {
        case SESSION_CONNECTING:
                return "connecting";
        case SESSION_SUBSCRIBING:
                return "subscribing";
        case SESSION_READY:
                return "ready";
        case SESSION_REFUSED:
                return "refused";
        }
        return "?";
}

static void enter_state(Session *s, SessionState state) {
        s->state = state;
}

static void fail(Session *s, int code, const char *text) {
        if (s->error.code == 0)
                (void) error_set(&s->error, code, "%s", text);
}

static int push(Session *s, const TransportEvent *event) {
        int r = exchange_push(s->exchange, event);

        /* A lost event would leave the owner waiting; a new connection makes it ask anew. */
        if (r < 0)
                fail(s, ENOMEM, "out of memory for what the broker sent");
        return r;
}

static void push_dropped(Session *s, const char *topic, const char *text) {
        (void) push(s, &(TransportEvent){ .type = TRANSPORT_DROPPED, .topic = topic, .text = text });
}

/* ---- subscriptions ---- */

static int ask_for(Session *s, const size_t *which, size_t n) {
        char *filters[SESSION_FILTERS_PER_SUBSCRIBE] = { 0 };
        int mid = 0, rc;

        for (size_t i = 0; i < n; i++)
                filters[i] = s->settings->filters[which[i]];
        rc = mosquitto_subscribe_multiple(s->mosq, &mid, (int) n, filters, s->settings->qos, 0, NULL);
        if (rc != MOSQ_ERR_SUCCESS)
                return error_set(&s->error, EPROTO, "SUBSCRIBE to %s: %s", filters[0], reason_mosquitto(rc));
        for (size_t i = 0; i < n; i++)
                s->filters[which[i]] = (Filter){ .state = FILTER_ASKED, .mid = mid };
        return 0;
}

/* Ask for every filter in this state, in packets of at most eight, without waiting in between. */
static int subscribe(Session *s, FilterState wanted) {
        size_t which[SESSION_FILTERS_PER_SUBSCRIBE], n = 0;
        int r = 0;

        s->suback_by = s->now + s->settings->operation_timeout_usec;
        for (size_t i = 0; i < s->settings->n_filters && r == 0; i++) {
                if (s->filters[i].state != wanted)
                        continue;
                which[n++] = i;
                if (n == ELEMENTSOF(which)) {
                        r = ask_for(s, which, n);
                        n = 0;
                }
        }
        return r == 0 && n > 0 ? ask_for(s, which, n) : r;
}

static bool any_filter(const Session *s, FilterState state) {
        for (size_t i = 0; i < s->settings->n_filters; i++)
                if (s->filters[i].state == state)
                        return true;
        return false;
}

static void ask_again_later(Session *s) {
        uint64_t most = s->settings->reconnect_max_usec * REFUSED_RETRY_FACTOR;

        if (s->ask_again_delay == 0)
                s->ask_again_delay = MIN_OF(REFUSED_RETRY_SEC * USEC_PER_SEC, most);
        else
                s->ask_again_delay = MIN_OF(s->ask_again_delay * 2, most);
        s->ask_again_at = s->now + s->ask_again_delay;
}

/* Every SUBACK is there? Then we are online, or wait to ask again for what was refused. */
static void conclude_subscriptions(Session *s) {
        if (any_filter(s, FILTER_ASKED) || any_filter(s, FILTER_WANTED))
                return;
        s->suback_by = USEC_NEVER;
        if (any_filter(s, FILTER_REFUSED)) {
                enter_state(s, SESSION_REFUSED);
                ask_again_later(s);
                return;
        }
        enter_state(s, SESSION_READY);
        s->online_since = s->now;
        if (exchange_set_online(s->exchange, s->session_present) < 0)
                fail(s, ENOMEM, "out of memory");
}

static void refuse_filter(Session *s, size_t i, unsigned code) {
        char text[256];

        s->filters[i].state = FILTER_REFUSED;
        (void) snprintf(text, sizeof text, "the broker refused the subscription (SUBACK 0x%02x%s%s)", code,
                        s->settings->protocol == 5 ? ", " : "",
                        s->settings->protocol == 5 ? reason_code(code) : "");
        (void) push(s, &(TransportEvent){
                               .type = TRANSPORT_REFUSED, .topic = s->settings->filters[i], .text = text });
}

static void on_subscribe(struct mosquitto *mosq, void *userdata, int mid, int n, const int *codes,
                         const mosquitto_property *props) {
        Session *s = userdata;
        int asked = 0, at = 0;

        (void) mosq, (void) props;
        for (size_t i = 0; i < s->settings->n_filters; i++)
                asked += s->filters[i].state == FILTER_ASKED && s->filters[i].mid == mid;
        if (asked == 0) {
                fail(s, EPROTO, "the broker sent a SUBACK that nothing was asked for");
        } else if (n != asked) {
                (void) error_set(&s->error, EPROTO, "the broker's SUBACK has %d codes for %d filters", n,
                                 asked);
        } else {
                for (size_t i = 0; i < s->settings->n_filters; i++) {
                        if (s->filters[i].state != FILTER_ASKED || s->filters[i].mid != mid)
                                continue;
                        if (codes[at] >= SUBACK_FAILURE)
                                refuse_filter(s, i, (unsigned) codes[at]);
                        else
                                s->filters[i].state = FILTER_GRANTED;
                        at++;
                }
                conclude_subscriptions(s);
        }
        errno = 0;
}

/* ---- callbacks: copy, queue, nothing else; errno is left clean because libmosquitto reads it afterwards ---- */

static void refuse_connection(Session *s, int code, const mosquitto_property *props) {
        char *why = NULL;

        if (props)
                (void) mosquitto_property_read_string(props, MQTT_PROP_REASON_STRING, &why, false);
        if (why)
                reason_clean(why);
        (void) error_set(&s->error, ECONNREFUSED, "the broker refused the connection: %s (CONNACK %d)%s%s",
                         reason_connack(s->settings->protocol, (unsigned) code), code, why ? ": " : "",
                         why ? why : "");
        free(why);
}

static void on_connect(struct mosquitto *mosq, void *userdata, int code, int flags,
                       const mosquitto_property *props) {
        Session *s = userdata;
        uint16_t server_keep_alive = 0;

        (void) mosq;
        if (code != 0) {
                refuse_connection(s, code, props);
        } else {
                s->session_present = (flags & 1) != 0;
                if (props)
                        (void) mosquitto_property_read_int16(props, MQTT_PROP_SERVER_KEEP_ALIVE,
                                                             &server_keep_alive, false);
                if (server_keep_alive > 0)
                        s->keep_alive_usec = server_keep_alive * USEC_PER_SEC;
                enter_state(s, SESSION_SUBSCRIBING);
        }
        errno = 0;
}

static void on_message(struct mosquitto *mosq, void *userdata, const struct mosquitto_message *m,
                       const mosquitto_property *props) {
        (void) mosq, (void) props;
        (void) push(userdata, &(TransportEvent){ .type = TRANSPORT_MESSAGE,
                                                 .topic = m->topic,
                                                 .payload = m->payload,
                                                 .payload_len = (size_t) MAX_OF(m->payloadlen, 0),
                                                 .retained = m->retain });
        errno = 0;
}

static void on_publish(struct mosquitto *mosq, void *userdata, int mid, int code,
                       const mosquitto_property *props) {
        Session *s = userdata;

        (void) mosq, (void) props;
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++) {
                InFlight *f = &s->in_flight[i];

                if (f->mid != mid)
                        continue;
                if (code >= 0x80) {
                        char text[128];

                        (void) snprintf(text, sizeof text,
                                        "the broker refused the publication: %s (PUBACK 0x%02x)",
                                        reason_code((unsigned) code), (unsigned) code);
                        push_dropped(s, f->topic, text);
                }
                exchange_publication_done(s->exchange, f->bytes);
                free(f->topic);
                *f = (InFlight){ 0 };
                s->n_in_flight--;
                break;
        }
        errno = 0;
}

/* ---- making and ending ---- */

static void forget_in_flight(Session *s) {
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                free(s->in_flight[i].topic);
}

Session *session_free(Session *s) {
        if (!s)
                return NULL;
        mosquitto_destroy(s->mosq);
        close_fd_p(&s->far);
        forget_in_flight(s);
        free(s);
        return NULL;
}

static int connect_properties(const Settings *c, mosquitto_property **ret) {
        mosquitto_property *props = NULL;
        int rc = mosquitto_property_add_int32(&props, MQTT_PROP_MAXIMUM_PACKET_SIZE, TRANSPORT_PACKET_MAX);

        if (rc == MOSQ_ERR_SUCCESS && !c->clean_session)
                rc = mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                                  KEPT_SESSION_SEC);
        if (rc != MOSQ_ERR_SUCCESS) {
                mosquitto_property_free_all(&props);
                return rc;
        }
        *ret = props;
        return MOSQ_ERR_SUCCESS;
}

static int configure(Session *s) {
        const Settings *c = s->settings;
        int rc;

        mosquitto_connect_v5_callback_set(s->mosq, on_connect);
        mosquitto_subscribe_v5_callback_set(s->mosq, on_subscribe);
        mosquitto_message_v5_callback_set(s->mosq, on_message);
        mosquitto_publish_v5_callback_set(s->mosq, on_publish);
        rc = mosquitto_int_option(s->mosq, MOSQ_OPT_PROTOCOL_VERSION, c->protocol);
        if (rc == MOSQ_ERR_SUCCESS)
                rc = mosquitto_max_inflight_messages_set(s->mosq, SESSION_IN_FLIGHT_MAX);
        if (rc == MOSQ_ERR_SUCCESS && c->username)
                rc = mosquitto_username_pw_set(s->mosq, c->username, c->password);
        return rc;
}

static int connect_far_end(Session *s, const Tunnel *tunnel, Error *e) {
        mosquitto_property *props = NULL;
        char path[TUNNEL_PATH_MAX];
        int rc = configure(s), near;

        if (rc == MOSQ_ERR_SUCCESS && s->settings->protocol == 5)
                rc = connect_properties(s->settings, &props);
        if (rc == MOSQ_ERR_SUCCESS) {
                tunnel_path(tunnel, path);
                errno = 0;
                rc = mosquitto_connect_bind_v5(s->mosq, path, 0, (int) s->settings->keep_alive_sec, NULL,
                                               props);
        }
        mosquitto_property_free_all(&props);
        if (rc == MOSQ_ERR_ERRNO)
                return error_errno(e, errno ? errno : EIO, "private socket");
        if (rc != MOSQ_ERR_SUCCESS)
                return error_set(e, EINVAL, "CONNECT: %s", reason_mosquitto(rc));
        near = mosquitto_socket(s->mosq);
        (void) fcntl(near, F_SETFD, FD_CLOEXEC); /* the library does not */
        s->far = tunnel_accept(tunnel, e);
        return s->far < 0 ? s->far : 0;
}

int session_new(const Settings *settings, const Tunnel *tunnel, Exchange *exchange, uint64_t now,
                Session **ret, Error *e) {
        Session *s CLEANUP(session_free) = calloc(1, sizeof *s);
        int r;

        if (!s)
                return error_errno(e, ENOMEM, "MQTT session");
        s->settings = settings;
        s->exchange = exchange;
        s->far = -1;
        s->now = s->last_in = s->last_out = now;
        s->suback_by = s->ask_again_at = s->answer_by = USEC_NEVER;
        s->keep_alive_usec = settings->keep_alive_sec * USEC_PER_SEC;
        s->mosq = mosquitto_new(settings->client_id, settings->clean_session, s);
        if (!s->mosq)
                return error_errno(e, errno, "MQTT session");
        r = connect_far_end(s, tunnel, e);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

SessionState session_state(const Session *s) {
        return s->state;
}

uint64_t session_online_since(const Session *s) {
        return s->online_since;
}

/* ---- bytes from the broker ---- */

/* How long a PINGREQ may stay without any answer. */
static uint64_t answer_wait(const Session *s) {
        return MIN_OF(s->keep_alive_usec / 2 + PING_GRACE_SEC * USEC_PER_SEC,
                      s->settings->operation_timeout_usec);
}

static int take_error(Session *s, Error *e) {
        if (s->error.code == 0)
                return 0;
        if (e)
                *e = s->error;
        return -s->error.code;
}

static int refuse_large(Session *s, const FrameScanner *f, const unsigned char *body, size_t n, Error *e) {
        char topic[TOPIC_SHOWN_MAX], text[160];
        bool named = f->type == MQTT_PUBLISH && frame_publish_topic(body, n, topic, sizeof topic);

        (void) snprintf(text, sizeof text, "the broker sent a packet of %u bytes, more than %d are not taken",
                        f->remaining, TRANSPORT_PACKET_MAX);
        push_dropped(s, named ? topic : NULL, text);
        return error_set(e, EMSGSIZE, "%s%s%s", text, named ? ": " : "", named ? topic : "");
}

/* A header is complete: may libmosquitto have this packet? `body` is what has already come of it. */
static int admit(Session *s, const unsigned char *body, size_t n, Error *e) {
        const FrameScanner *f = &s->scanner;

        if (f->remaining > TRANSPORT_PACKET_MAX)
                return refuse_large(s, f, body, n, e);
        if (f->type == MQTT_CONNACK) {
                if (s->connack_seen)
                        return error_set(e, EPROTO, "the broker sent a second CONNACK");
                s->connack_seen = true;
        } else if (!s->connack_seen) {
                return error_set(e, EPROTO,
                                 "the broker's first packet is not a CONNACK (type %u): not an MQTT broker?",
                                 f->type);
        }
        /* Nothing was subscribed above QoS 1; libmosquitto would hold QoS 2 messages without a limit. */
        if (f->type == MQTT_PUBLISH && (f->flags & 0x06U) > 0x02U)
                return error_set(e, EPROTO, "the broker sent a message with QoS 2, which was not asked for");
        if (f->type == MQTT_DISCONNECT) {
                unsigned code = f->remaining > 0 && n > 0 ? body[0] : 0;

                return error_set(e, ECONNRESET, "the broker sent DISCONNECT: %s",
                                 code >= 0x80 ? reason_code(code) : "no reason given");
        }
        /* Without even one code; the library's own check came late (CVE-2024-10525). */
        if (f->type == MQTT_SUBACK && f->remaining < 3)
                return error_set(e, EPROTO, "the broker's SUBACK has no codes");
        if (f->type == MQTT_PINGRESP)
                s->answer_by = USEC_NEVER;
        return 0;
}

/* How many of these bytes libmosquitto may have: all of them, or those before the packet that is refused. */
static int scan(Session *s, const unsigned char *data, size_t len, size_t *ret_pass, Error *e) {
        size_t at = 0, packet = 0;
        int r;

        while (at < len) {
                size_t used = 0;
                FrameStep step = frame_scan(&s->scanner, data + at, len - at, &used);

                at += used;
                switch (step) {
                case FRAME_MORE:
                        break;
                case FRAME_BODY:
                        packet = at;
                        break;
                case FRAME_BAD:
                        *ret_pass = packet;
                        return error_set(e, EPROTO,
                                         "the broker's packet has a length that MQTT does not allow");
                case FRAME_HEADER:
                        r = admit(s, data + at, len - at, e);
                        if (r < 0) {
                                *ret_pass = packet;
                                return r;
                        }
                        if (s->scanner.left == 0)
                                packet = at;
                        break;
                }
        }
        *ret_pass = len;
        return 0;
}

/* Let libmosquitto work until nothing is left for it. Its own idea of "no more" (a stale errno, 2.0.11) is not asked. */
static int run_library(Session *s, Error *e) {
        int waiting = 0, rc, near;

        for (;;) {
                near = mosquitto_socket(s->mosq);
                if (near < 0 || ioctl(near, FIONREAD, &waiting) < 0 || waiting <= 0)
                        break;
                errno = 0;
                rc = mosquitto_loop_read(s->mosq, 1);
                if (s->error.code != 0)
                        return take_error(s, e);
                if (rc != MOSQ_ERR_SUCCESS)
                        return error_set(e, rc == MOSQ_ERR_NOMEM ? ENOMEM : EPROTO, "%s",
                                         reason_mosquitto(rc));
        }
        return take_error(s, e);
}

static int pass_on(Session *s, const unsigned char *data, size_t len, Error *e) {
        while (len > 0) {
                ssize_t n = send(s->far, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(e, errno, "private socket");
                data += n;
                len -= (size_t) n;
                /* Its buffer is always empty when we come here, so that a chunk cannot fail to fit. */
                r = run_library(s, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int session_receive(Session *s, const unsigned char *data, size_t len, uint64_t now, Error *e) {
        size_t pass = 0;
        Error scan_error = { 0 };
        int r, scanned;

        s->now = s->last_in = now;
        if (s->answer_by != USEC_NEVER)
                s->answer_by = now + answer_wait(s); /* alive: PINGRESP may stand behind a long message */
        scanned = scan(s, data, len, &pass, &scan_error);
        r = pass_on(s, data, pass, e);
        if (r < 0)
                return r;
        if (scanned < 0) {
                if (e)
                        *e = scan_error;
                return scanned;
        }
        if (s->state == SESSION_SUBSCRIBING && s->suback_by == USEC_NEVER) {
                if (s->settings->n_filters > 0)
                        (void) subscribe(s, FILTER_WANTED);
                else
                        conclude_subscriptions(s);
        }
        return take_error(s, e);
}

/* ---- bytes for the broker ---- */

ssize_t session_send(Session *s, unsigned char *buf, size_t size, uint64_t now, Error *e) {
        static const unsigned char pingreq[2] = { 0xC0, 0x00 };
        ssize_t n;
        int rc;

        s->now = now;
        if (mosquitto_want_write(s->mosq)) {
                errno = 0;
                rc = mosquitto_loop_write(s->mosq, 1);
                if (rc != MOSQ_ERR_SUCCESS)
                        return error_set(e, EPROTO, "%s", reason_mosquitto(rc));
        }
        n = recv(s->far, buf, size, MSG_DONTWAIT);
        if (n > 0) {
                s->last_out = now;
                return n;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR)
                return error_errno(e, errno, "private socket");
        /* Between two packets, because the library has nothing half-written. */
        if (s->ping_due && size >= sizeof pingreq) {
                s->ping_due = false;
                s->last_out = now;
                memcpy(buf, pingreq, sizeof pingreq);
                return (ssize_t) sizeof pingreq;
        }
        return take_error(s, e);
}

bool session_can_publish(const Session *s) {
        return s->state == SESSION_READY && s->n_in_flight < SESSION_IN_FLIGHT_MAX;
}

/* Remember a publication until its PUBACK: what it weighs, and its topic for the message if the broker hangs up. */
static void remember(Session *s, int mid, const Publication *p, uint64_t now) {
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++) {
                InFlight *f = &s->in_flight[i];

                if (f->mid != 0)
                        continue;
                *f = (InFlight){ .mid = mid, .bytes = p->bytes, .since = now, .topic = strdup(p->topic) };
                s->n_in_flight++;
                return;
        }
}

int session_publish(Session *s, Publication *p, uint64_t now, Error *e) {
        int mid = 0, rc;

        s->now = now;
        rc = mosquitto_publish(s->mosq, &mid, p->topic, (int) p->len, p->payload, s->settings->qos, false);
        if (rc == MOSQ_ERR_SUCCESS && s->settings->qos > 0) {
                remember(s, mid, p, now);
        } else {
                exchange_publication_done(s->exchange, p->bytes);
        }
        if (rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_MALFORMED_UTF8 || rc == MOSQ_ERR_OVERSIZE_PACKET ||
            rc == MOSQ_ERR_PAYLOAD_SIZE) {
                char text[160];

                (void) snprintf(text, sizeof text, "the publication was not sent: %s", reason_mosquitto(rc));
                push_dropped(s, p->topic, text);
                rc = MOSQ_ERR_SUCCESS;
        }
        if (rc != MOSQ_ERR_SUCCESS)
                (void) error_set(&s->error, EPROTO, "PUBLISH to %s: %s", p->topic, reason_mosquitto(rc));
        free(p);
        return take_error(s, e);
}

void session_disconnect(Session *s) {
        (void) mosquitto_disconnect(s->mosq);
}

/* ---- timers ---- */

/* The broker must hear from us in time, and we from it. */
static uint64_t ping_at(const Session *s, bool reading) {
        uint64_t from = reading ? MIN_OF(s->last_in, s->last_out) : s->last_out;

        if (s->state == SESSION_CONNECTING || s->ping_due || (reading && s->answer_by != USEC_NEVER))
                return USEC_NEVER;
        return from + s->keep_alive_usec;
}

/* All places taken, and the oldest has waited too long: the broker throws publications away, or is stuck. */
static uint64_t puback_by(const Session *s) {
        uint64_t oldest = USEC_NEVER;

        if (s->n_in_flight < SESSION_IN_FLIGHT_MAX)
                return USEC_NEVER;
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                oldest = MIN_OF(oldest, s->in_flight[i].since);
        return oldest + s->settings->operation_timeout_usec;
}

uint64_t session_deadline(const Session *s, bool reading) {
        uint64_t at = MIN_OF(ping_at(s, reading), s->ask_again_at);

        if (reading) {
                at = MIN_OF(at, MIN_OF(s->suback_by, s->answer_by));
                at = MIN_OF(at, puback_by(s));
        }
        return at;
}

static int check_answers(Session *s, uint64_t now, Error *e) {
        const char *what = "", *topic = "";

        if (now >= s->suback_by) {
                (void) session_unanswered(s, &what, &topic);
                return error_set(e, ETIMEDOUT, "no SUBACK for %s in %llu ms", topic,
                                 (unsigned long long) (s->settings->operation_timeout_usec / USEC_PER_MSEC));
        }
        if (now >= s->answer_by)
                return error_set(e, ETIMEDOUT, "no PINGRESP in %llu ms: the connection is dead",
                                 (unsigned long long) (answer_wait(s) / USEC_PER_MSEC));
        if (now >= puback_by(s))
                return error_set(e, ETIMEDOUT, "%d publications without PUBACK, the oldest for %llu ms",
                                 SESSION_IN_FLIGHT_MAX,
                                 (unsigned long long) (s->settings->operation_timeout_usec / USEC_PER_MSEC));
        return 0;
}

int session_tick(Session *s, uint64_t now, bool reading, Error *e) {
        int r;

        s->now = now;
        if (reading) {
                r = check_answers(s, now, e);
                if (r < 0)
                        return r;
        } else {
                s->last_in = now; /* whoever does not listen hears nothing: no verdict from that */
                if (s->answer_by != USEC_NEVER)
                        s->answer_by = now + answer_wait(s);
        }
        if (now >= ping_at(s, reading)) {
                s->ping_due = true;
                if (s->answer_by == USEC_NEVER)
                        s->answer_by = now + answer_wait(s);
        }
        if (now >= s->ask_again_at) {
                s->ask_again_at = USEC_NEVER;
                enter_state(s, SESSION_SUBSCRIBING);
                (void) subscribe(s, FILTER_REFUSED);
        }
        return take_error(s, e);
}

bool session_unanswered(const Session *s, const char **ret_what, const char **ret_topic) {
        const InFlight *newest = NULL;

        for (size_t i = 0; i < s->settings->n_filters; i++) {
                if (s->filters[i].state == FILTER_ASKED) {
                        *ret_what = "SUBSCRIBE";
                        *ret_topic = s->settings->filters[i];
                        return true;
                }
        }
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                if (s->in_flight[i].topic && (!newest || s->in_flight[i].since > newest->since))
                        newest = &s->in_flight[i];
        if (!newest)
                return false;
        *ret_what = "PUBLISH";
        *ret_topic = newest->topic;
        return true;
}
