/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "transport/frame.h"
#include "transport/packet.h"
#include "transport/reason.h"
#include "transport/subscriber.h"

enum {
        TOPIC_SHOWN_MAX = 257,   /* of a packet that is thrown away */
        PING_GRACE_SEC = 5,      /* a dead connection is noticed within 1.5 × keep-alive + this */
        KEPT_SESSION_SEC = 3600, /* MQTT 5: how long the broker keeps a session that is not clean; AWS's figure */
        JUST_SENT_SEC = 3,       /* a broker that hangs up so soon may have done so because of the publication */
        FIRST_FAILURE = 0x80,    /* reason codes from here on are refusals */
        CODE_TOPIC_INVALID = 0x90,
        CODE_TOO_LARGE = 0x95,
        VERSION_5 = 5,
        MID_HALF = 0x8000,
        TUNNEL_CHUNK = 4096,
        KEPT_BUFFER_MAX = 16 << 10, /* larger ones are given back when they are empty */
};

typedef struct InFlight { /* a publication without its PUBACK */
        uint16_t mid;
        Publication *publication; /* NULL = free */
        uint64_t since;
} InFlight;

typedef struct PublicationChain {
        Publication *first, **tail;
} PublicationChain;

struct Session {
        const Settings *settings;
        Exchange *exchange;
        struct mosquitto *mosq;
        int far; /* our end of the tunnel */
        FrameScanner scanner;
        Buf packet; /* the body of an incoming packet that has not come whole */
        SessionState state;
        bool connack_seen, session_present;
        uint64_t now; /* of the call that is being carried out: for the callbacks */

        Error error; /* set by a callback: the connection must end */
        int reason;

        Subscriber subscriber;
        uint64_t online_since;

        Buf out;
        bool library_spoke;              /* its bytes may wait in the tunnel */
        PublicationChain given, sending; /* QoS 0 with an id: in `out`, and in what session_take_output() gave */

        InFlight in_flight[SESSION_IN_FLIGHT_MAX]; /* a place's number is the rest of its mid divided by their number */
        uint64_t free_places;                      /* a bit for each */
        unsigned n_in_flight, most_in_flight;
        uint16_t last_round; /* the rest of the mid, so that each one is used again as late as possible */
        size_t packet_max;   /* what the broker takes; SIZE_MAX = it did not say */
        int qos;             /* of publications: the settings', or what the broker allows */

        char last_topic[TOPIC_SHOWN_MAX]; /* of the last publication with QoS 0 */
        uint64_t last_sent;               /* 0 = none */

        uint64_t keep_alive_usec;
        uint64_t last_in, last_out;
        bool ping_due;      /* to be sent at the next packet boundary */
        uint64_t answer_by; /* USEC_NEVER = no PINGREQ is out */
};
_Static_assert(SESSION_IN_FLIGHT_MAX == 64, "free_places has a bit for each");

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

/* What has become of a publication: to whoever asked by giving it an id; a refusal also to whoever did not. */
static void push_outcome(Session *s, const Publication *p, unsigned code, const char *text) {
        if (p->id != 0)
                (void) push(s, &(TransportEvent){ .type = TRANSPORT_PUBACK,
                                                  .topic = p->topic,
                                                  .text = text,
                                                  .id = p->id,
                                                  .code = (int) code });
        else if (code >= FIRST_FAILURE)
                push_dropped(s, p->topic, text);
}

static int take_error(Session *s, Error *e) {
        if (s->error.code == 0)
                return 0;
        if (e)
                *e = s->error;
        return -s->error.code;
}

/* ---- subscriptions ---- */

/* Every SUBACK is there? Then we are online, or wait to ask again for what was refused. */
static void conclude_subscriptions(Session *s) {
        switch (subscriber_result(&s->subscriber)) {
        case SUBSCRIBER_BUSY:
                break;
        case SUBSCRIBER_REFUSED:
                if (s->state != SESSION_READY)
                        enter_state(s, SESSION_REFUSED);
                break;
        case SUBSCRIBER_READY:
                if (s->state == SESSION_READY)
                        break;
                enter_state(s, SESSION_READY);
                s->online_since = s->now;
                if (exchange_set_online(s->exchange, s->session_present) < 0)
                        fail(s, ENOMEM, "out of memory");
                break;
        }
}

static char *reason_property(const mosquitto_property *props) {
        char *why = NULL;

        if (props)
                (void) mosquitto_property_read_string(props, MQTT_PROP_REASON_STRING, &why, false);
        if (why)
                reason_clean(why);
        return why;
}

/* ---- libmosquitto's callbacks; errno is left clean because it reads it afterwards ---- */

static void on_subscribe(struct mosquitto *mosq, void *userdata, int mid, int n, const int *codes,
                         const mosquitto_property *props) {
        Session *s = userdata;
        char *why CLEANUP_FREE = reason_property(props);

        (void) mosq;
        s->library_spoke = true; /* more may be asked for now */
        if (subscriber_on_suback(&s->subscriber, mid, codes, n, why, s->now, &s->error) == 0)
                conclude_subscriptions(s);
        errno = 0;
}

static void refuse_connection(Session *s, int code, const mosquitto_property *props) {
        char *why CLEANUP_FREE = reason_property(props);

        s->reason = code;
        (void) error_set(&s->error, ECONNREFUSED, "the broker refused the connection: %s (CONNACK %d)%s%s",
                         reason_connack(s->settings->protocol, (unsigned) code), code, why ? ": " : "", why ? why : "");
}

/* What an MQTT 5 broker tells of itself. */
static void read_limits(Session *s, const mosquitto_property *props) {
        uint16_t keep_alive = 0, receive_max = 0;
        uint32_t packet_max = 0;
        uint8_t qos = 1;

        (void) mosquitto_property_read_int16(props, MQTT_PROP_SERVER_KEEP_ALIVE, &keep_alive, false);
        if (keep_alive > 0)
                s->keep_alive_usec = keep_alive * USEC_PER_SEC;
        (void) mosquitto_property_read_int16(props, MQTT_PROP_RECEIVE_MAXIMUM, &receive_max, false);
        if (receive_max > 0)
                s->most_in_flight = MIN_OF(s->most_in_flight, (unsigned) receive_max);
        (void) mosquitto_property_read_int32(props, MQTT_PROP_MAXIMUM_PACKET_SIZE, &packet_max, false);
        if (packet_max > 0)
                s->packet_max = packet_max;
        (void) mosquitto_property_read_byte(props, MQTT_PROP_MAXIMUM_QOS, &qos, false);
        s->qos = MIN_OF(s->qos, (int) qos);
}

static void on_connect(struct mosquitto *mosq, void *userdata, int code, int flags, const mosquitto_property *props) {
        Session *s = userdata;

        (void) mosq;
        if (code != 0) {
                refuse_connection(s, code, props);
        } else {
                s->session_present = (flags & 1) != 0;
                if (props)
                        read_limits(s, props);
                enter_state(s, SESSION_SUBSCRIBING);
        }
        errno = 0;
}

/* ---- making and ending ---- */

static void append_publication(PublicationChain *c, Publication *p) {
        p->next = NULL;
        *c->tail = p;
        c->tail = &p->next;
}

static Publication *first_publication(PublicationChain *c) {
        Publication *p = c->first;

        if (!p)
                return NULL;
        c->first = p->next;
        if (!c->first)
                c->tail = &c->first;
        return p;
}

static void forget_publications(Session *s) {
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                free(s->in_flight[i].publication);
        while (s->given.first)
                free(first_publication(&s->given));
        while (s->sending.first)
                free(first_publication(&s->sending));
}

Session *session_free(Session *s) {
        if (!s)
                return NULL;
        mosquitto_destroy(s->mosq);
        close_fd_p(&s->far);
        forget_publications(s);
        subscriber_done(&s->subscriber);
        buf_done(&s->packet);
        buf_done(&s->out);
        free(s);
        return NULL;
}

static int connect_properties(const Settings *c, mosquitto_property **ret) {
        mosquitto_property *props = NULL;
        int rc = mosquitto_property_add_int32(&props, MQTT_PROP_MAXIMUM_PACKET_SIZE, TRANSPORT_PACKET_MAX);

        if (rc == MOSQ_ERR_SUCCESS && !c->clean_session)
                rc = mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, KEPT_SESSION_SEC);
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
        rc = mosquitto_int_option(s->mosq, MOSQ_OPT_PROTOCOL_VERSION, c->protocol);
        if (rc == MOSQ_ERR_SUCCESS && c->username)
                rc = mosquitto_username_pw_set(s->mosq, c->username, c->password);
        if (rc == MOSQ_ERR_SUCCESS && c->will_topic)
                rc = mosquitto_will_set(s->mosq, c->will_topic, (int) c->will_len, c->will_payload, c->will_qos,
                                        c->will_retain);
        return rc;
}

static int connect_far_end(Session *s, const Tunnel *tunnel, Error *e) {
        mosquitto_property *props = NULL;
        char path[TUNNEL_PATH_MAX];
        int rc = configure(s), near;

        if (rc == MOSQ_ERR_SUCCESS && s->settings->protocol == VERSION_5)
                rc = connect_properties(s->settings, &props);
        if (rc == MOSQ_ERR_SUCCESS) {
                tunnel_path(tunnel, path);
                errno = 0;
                rc = mosquitto_connect_bind_v5(s->mosq, path, 0, (int) s->settings->keep_alive_sec, NULL, props);
        }
        mosquitto_property_free_all(&props);
        if (rc == MOSQ_ERR_ERRNO)
                return error_errno(e, errno ? errno : EIO, "private socket");
        if (rc != MOSQ_ERR_SUCCESS)
                return error_set(e, EINVAL, "CONNECT: %s", reason_mosquitto(rc));
        near = mosquitto_socket(s->mosq);
        (void) fcntl(near, F_SETFD, FD_CLOEXEC); /* the library does not */
        s->library_spoke = true;
        s->far = tunnel_accept(tunnel, e);
        return s->far < 0 ? s->far : 0;
}

int session_new(const Settings *settings, const Tunnel *tunnel, Exchange *exchange, bool cautious, uint64_t now,
                Session **ret, Error *e) {
        Session *s CLEANUP(session_free) = calloc(1, sizeof *s);
        int r;

        if (!s)
                return error_errno(e, ENOMEM, "MQTT session");
        s->settings = settings;
        s->exchange = exchange;
        s->far = -1;
        s->now = s->last_in = s->last_out = now;
        s->answer_by = USEC_NEVER;
        s->keep_alive_usec = settings->watch_sec * USEC_PER_SEC;
        s->free_places = UINT64_MAX;
        s->most_in_flight = SESSION_IN_FLIGHT_MAX;
        s->packet_max = SIZE_MAX;
        s->qos = settings->qos;
        s->given.tail = &s->given.first;
        s->sending.tail = &s->sending.first;
        subscriber_init(&s->subscriber, settings, exchange, cautious);
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

int session_reason(const Session *s) {
        return s->reason;
}

/* ---- bytes for the broker ---- */

/* Everything libmosquitto has to say goes behind what is there. Afterwards `out` ends at the end of a packet. */
static int drain_library(Session *s) {
        char chunk[TUNNEL_CHUNK];

        while (s->library_spoke) {
                ssize_t n = recv(s->far, chunk, sizeof chunk, MSG_DONTWAIT);
                int rc;

                if (n > 0) {
                        buf_append(&s->out, chunk, (size_t) n);
                        continue;
                }
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN)
                        return error_errno(&s->error, errno, "private socket");
                if (n == 0 || !mosquitto_want_write(s->mosq)) {
                        s->library_spoke = false;
                        break;
                }
                errno = 0;
                rc = mosquitto_loop_write(s->mosq, 1);
                if (rc != MOSQ_ERR_SUCCESS)
                        return error_set(&s->error, EPROTO, "%s", reason_mosquitto(rc));
        }
        return 0;
}

static void check_out(Session *s) {
        if (buf_error(&s->out) < 0)
                fail(s, ENOMEM, "out of memory for what goes to the broker");
}

int session_take_output(Session *s, Buf *to, uint64_t now, Error *e) {
        static const unsigned char pingreq[2] = { 0xC0, 0x00 };
        Buf empty = *to;
        Publication *p;

        s->now = now;
        if (drain_library(s) < 0)
                return take_error(s, e);
        if (s->ping_due) {
                s->ping_due = false;
                buf_append(&s->out, pingreq, sizeof pingreq);
        }
        check_out(s);
        if (s->error.code != 0 || s->out.len == 0)
                return take_error(s, e);
        s->last_out = now;
        *to = s->out;
        s->out = empty;
        if (s->out.cap > KEPT_BUFFER_MAX)
                buf_done(&s->out);
        while ((p = first_publication(&s->given)))
                append_publication(&s->sending, p);
        return 0;
}

int session_output_sent(Session *s, Error *e) {
        Publication *p;

        while ((p = first_publication(&s->sending))) {
                push_outcome(s, p, 0, "sent");
                free(p);
        }
        return take_error(s, e);
}

bool session_output_full(const Session *s) {
        return s->out.len >= SESSION_OUT_FULL;
}

/* ---- publications ---- */

bool session_can_publish(const Session *s) {
        return s->state == SESSION_READY && s->n_in_flight < s->most_in_flight;
}

/* A packet identifier that stays away from libmosquitto's, which counts up from 1 with each SUBSCRIBE and UNSUBSCRIBE: always
 * in the other half of the numbers. */
static uint16_t take_place(Session *s, Publication *p) {
        unsigned place = (unsigned) ffsll((long long) s->free_places) - 1U;
        unsigned half = ((unsigned) s->subscriber.last_mid & MID_HALF) ^ MID_HALF;
        unsigned low;

        s->last_round++;
        low = (s->last_round * (unsigned) SESSION_IN_FLIGHT_MAX + place) & (MID_HALF - 1U);
        if (half == 0 && low == 0)
                low = SESSION_IN_FLIGHT_MAX; /* 0 is no identifier */
        s->free_places &= ~(UINT64_C(1) << place);
        s->in_flight[place] = (InFlight){ .mid = (uint16_t) (half | low), .publication = p, .since = s->now };
        s->n_in_flight++;
        return s->in_flight[place].mid;
}

static void on_puback(Session *s, uint16_t mid, unsigned code, const char *why, size_t why_len) {
        unsigned place = mid % SESSION_IN_FLIGHT_MAX;
        InFlight *f = &s->in_flight[place];
        char text[512] = "taken";

        if (!f->publication || f->mid != mid)
                return; /* for something that we have not sent: of no use, and no harm */
        if (code >= FIRST_FAILURE) {
                (void) snprintf(text, sizeof text, "the broker refused the publication: %s (PUBACK 0x%02x)%s%.*s",
                                reason_code(code), code, why ? ": " : "", (int) MIN_OF(why_len, 256U), why ? why : "");
                reason_clean(text);
        }
        push_outcome(s, f->publication, code, text);
        exchange_publication_done(s->exchange, f->publication->bytes);
        free(f->publication);
        *f = (InFlight){ 0 };
        s->free_places |= UINT64_C(1) << place;
        s->n_in_flight--;
}

/* NULL, or why this publication cannot be sent at all. */
static const char *unfit(const Session *s, const Publication *p, size_t size, unsigned *ret_code) {
        *ret_code = CODE_TOPIC_INVALID;
        if (p->topic_len == 0 || p->topic_len > UINT16_MAX || mosquitto_pub_topic_check(p->topic) != MOSQ_ERR_SUCCESS)
                return "a topic that MQTT does not allow";
        if (mosquitto_validate_utf8(p->topic, (int) p->topic_len) != MOSQ_ERR_SUCCESS)
                return "a topic that is not valid UTF-8";
        *ret_code = CODE_TOO_LARGE;
        if (size == 0)
                return "the payload is too large for MQTT";
        return size > s->packet_max ? "the packet is larger than the broker takes" : NULL;
}

static void refuse_publication(Session *s, const Publication *p, unsigned code, const char *why) {
        char text[160];

        (void) snprintf(text, sizeof text, "the publication was not sent: %s", why);
        push_outcome(s, p, code, text);
        exchange_publication_done(s->exchange, p->bytes);
}

/* QoS 0: over as soon as it is sent; its topic stays, in case the broker hangs up because of it. */
static void publication_given(Session *s, Publication *p) {
        size_t shown = MIN_OF(p->topic_len, sizeof s->last_topic - 1);

        memcpy(s->last_topic, p->topic, shown);
        s->last_topic[shown] = '\0';
        s->last_sent = s->now;
        exchange_publication_done(s->exchange, p->bytes);
        if (p->id != 0)
                append_publication(&s->given, p);
        else
                free(p);
}

int session_publish(Session *s, Publication *p, uint64_t now, Error *e) {
        Publish packet = { .topic = p->topic,
                           .topic_len = p->topic_len,
                           .payload = (const unsigned char *) p->payload,
                           .len = p->len,
                           .qos = (unsigned) s->qos };
        size_t size = packet_publish_size(s->settings->protocol, &packet);
        const char *why;
        unsigned code;

        s->now = now;
        why = unfit(s, p, size, &code);
        if (why) {
                refuse_publication(s, p, code, why);
                free(p);
                return take_error(s, e);
        }
        if (packet.qos > 0)
                packet.mid = take_place(s, p);
        if (drain_library(s) == 0)
                packet_append_publish(&s->out, s->settings->protocol, &packet);
        check_out(s);
        if (packet.qos == 0)
                publication_given(s, p);
        return take_error(s, e);
}

void session_disconnect(Session *s) {
        (void) mosquitto_disconnect(s->mosq);
        s->library_spoke = true;
}

/* ---- bytes from the broker ---- */

/* How long a PINGREQ may stay without any answer. */
static uint64_t answer_wait(const Session *s) {
        return MIN_OF(s->keep_alive_usec / 2 + PING_GRACE_SEC * USEC_PER_SEC, s->settings->operation_timeout_usec);
}

static int refuse_large(Session *s, const FrameScanner *f, const unsigned char *body, size_t n, Error *e) {
        char topic[TOPIC_SHOWN_MAX], text[160];
        bool named = f->type == MQTT_PUBLISH && frame_publish_topic(body, n, topic, sizeof topic);

        (void) snprintf(text, sizeof text, "the broker sent a packet of %u bytes, more than %d are not taken",
                        f->remaining, TRANSPORT_PACKET_MAX);
        push_dropped(s, named ? topic : NULL, text);
        return error_set(e, EMSGSIZE, "%s%s%s", text, named ? ": " : "", named ? topic : "");
}

/* A header is complete: may this packet come? `body` is what is there of it already. */
static int admit(Session *s, const unsigned char *body, size_t n, Error *e) {
        const FrameScanner *f = &s->scanner;

        if (f->remaining > TRANSPORT_PACKET_MAX)
                return refuse_large(s, f, body, n, e);
        if (f->type == MQTT_CONNACK) {
                if (s->connack_seen)
                        return error_set(e, EPROTO, "the broker sent a second CONNACK");
                s->connack_seen = true;
        } else if (!s->connack_seen) {
                return error_set(e, EPROTO, "the broker's first packet is not a CONNACK (type %u): not an MQTT broker?",
                                 f->type);
        }
        /* Nothing was subscribed above QoS 1. */
        if (f->type == MQTT_PUBLISH && (f->flags & 0x06U) > 0x02U)
                return error_set(e, EPROTO, "the broker sent a message with QoS 2, which was not asked for");
        /* Without even one code; the library's own check came late (CVE-2024-10525). */
        if (f->type == MQTT_SUBACK && f->remaining < 3)
                return error_set(e, EPROTO, "the broker's SUBACK has no codes");
        return 0;
}

static int on_message(Session *s, const unsigned char *body, size_t n, Error *e) {
        Publish p;

        if (packet_read_publish(s->settings->protocol, s->scanner.flags, body, n, &p) < 0)
                return error_set(e, EPROTO, "the broker's PUBLISH packet is malformed");
        if (mosquitto_validate_utf8(p.topic, (int) p.topic_len) != MOSQ_ERR_SUCCESS ||
            mosquitto_pub_topic_check2(p.topic, p.topic_len) != MOSQ_ERR_SUCCESS)
                return error_set(e, EPROTO, "the broker sent a message with a topic that MQTT does not allow");
        if (exchange_push_message(s->exchange, p.topic, p.topic_len, p.payload, p.len, p.retained) < 0)
                return error_set(e, ENOMEM, "out of memory for what the broker sent");
        if (p.qos > 0 && drain_library(s) == 0)
                packet_append_puback(&s->out, p.mid);
        check_out(s);
        return take_error(s, e);
}

static int on_disconnect(Session *s, const unsigned char *body, size_t n, Error *e) {
        size_t len = 0;
        const char *why = n > 1 ? packet_reason_string(body + 1, n - 1, &len) : NULL;
        unsigned code = n > 0 ? body[0] : 0;
        int r;

        s->reason = (int) code;
        r = error_set(e, ECONNRESET, "the broker sent DISCONNECT: %s (%u)%s%.*s",
                      code >= FIRST_FAILURE ? reason_code(code) : "no reason given", code, why ? ": " : "",
                      (int) MIN_OF(len, 256U), why ? why : "");
        if (e)
                reason_clean(e->text);
        return r;
}

/* Let libmosquitto work until nothing is left for it. Its own idea of "no more" (a stale errno, 2.0.11) is not asked. */
static int run_library(Session *s, Error *e) {
        int waiting = 0, rc, near;

        s->library_spoke = true;
        for (;;) {
                near = mosquitto_socket(s->mosq);
                if (near < 0 || ioctl(near, FIONREAD, &waiting) < 0 || waiting <= 0)
                        break;
                errno = 0;
                rc = mosquitto_loop_read(s->mosq, 1);
                if (s->error.code != 0)
                        return take_error(s, e);
                if (rc != MOSQ_ERR_SUCCESS)
                        return error_set(e, rc == MOSQ_ERR_NOMEM ? ENOMEM : EPROTO, "%s", reason_mosquitto(rc));
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
                /* Its buffer is always empty when we come here, so that a packet's first part cannot fail to fit. */
                r = run_library(s, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int hand_to_library(Session *s, const unsigned char *body, size_t n, Error *e) {
        unsigned char header[PACKET_HEADER_MAX];
        size_t len =
                packet_header((unsigned char) (s->scanner.type << 4 | s->scanner.flags), s->scanner.remaining, header);
        int r = pass_on(s, header, len, e);

        if (r == 0)
                r = pass_on(s, body, n, e);
        if (r == 0 && s->state == SESSION_SUBSCRIBING && !s->subscriber.mosq) {
                s->library_spoke = true;
                r = subscriber_begin(&s->subscriber, s->mosq, s->now, e);
                if (r == 0)
                        conclude_subscriptions(s);
        }
        return r == 0 ? take_error(s, e) : r;
}

/* A whole packet. */
static int take_packet(Session *s, const unsigned char *body, size_t n, Error *e) {
        uint16_t mid;
        unsigned code;
        const char *why = NULL;
        size_t len = 0;

        switch (s->scanner.type) {
        case MQTT_PUBLISH:
                return on_message(s, body, n, e);
        case MQTT_PUBACK:
                if (packet_read_puback(s->settings->protocol, body, n, &mid, &code) < 0)
                        return error_set(e, EPROTO, "the broker's PUBACK packet is malformed");
                if (n > 3)
                        why = packet_reason_string(body + 3, n - 3, &len);
                on_puback(s, mid, code, why, len);
                return take_error(s, e);
        case MQTT_PINGRESP:
                s->answer_by = USEC_NEVER;
                return 0;
        case MQTT_DISCONNECT:
                return on_disconnect(s, body, n, e);
        default:
                return hand_to_library(s, body, n, e);
        }
}

/* More of a packet's body. What lies whole before us is taken where it lies. */
static int take_body(Session *s, const unsigned char *data, size_t n, Error *e) {
        int r;

        if (s->packet.len == 0 && s->scanner.left == 0)
                return take_packet(s, data, n, e);
        buf_append(&s->packet, data, n);
        if (buf_error(&s->packet) < 0)
                return error_set(e, ENOMEM, "out of memory for what the broker sent");
        if (s->scanner.left > 0)
                return 0;
        r = take_packet(s, (const unsigned char *) s->packet.data, s->packet.len, e);
        if (s->packet.cap > KEPT_BUFFER_MAX)
                buf_done(&s->packet);
        else
                buf_clear(&s->packet);
        return r;
}

int session_receive(Session *s, const unsigned char *data, size_t len, uint64_t now, Error *e) {
        size_t at = 0;
        int r = 0;

        s->now = s->last_in = now;
        if (s->answer_by != USEC_NEVER)
                s->answer_by = now + answer_wait(s); /* alive: PINGRESP may stand behind a long message */
        while (at < len && r == 0) {
                size_t used = 0;
                FrameStep step = frame_scan(&s->scanner, data + at, len - at, &used);

                at += used;
                switch (step) {
                case FRAME_MORE:
                        break;
                case FRAME_HEADER:
                        r = admit(s, data + at, len - at, e);
                        if (r == 0 && s->scanner.left == 0)
                                r = take_packet(s, data + at, 0, e);
                        break;
                case FRAME_BODY:
                        r = take_body(s, data + at - used, used, e);
                        break;
                case FRAME_BAD:
                        r = error_set(e, EPROTO, "the broker's packet has a length that MQTT does not allow");
                        break;
                }
        }
        return r;
}

int session_sync(Session *s, uint64_t now, Error *e) {
        int r;

        if (s->state == SESSION_CONNECTING)
                return 0;
        s->now = now;
        s->library_spoke = true;
        r = subscriber_sync(&s->subscriber, now, e);
        if (r < 0)
                return r;
        conclude_subscriptions(s);
        return take_error(s, e);
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

        if (s->n_in_flight < s->most_in_flight)
                return USEC_NEVER;
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                if (s->in_flight[i].publication)
                        oldest = MIN_OF(oldest, s->in_flight[i].since);
        return oldest + s->settings->operation_timeout_usec;
}

uint64_t session_deadline(const Session *s, bool reading) {
        uint64_t at = MIN_OF(ping_at(s, reading), s->subscriber.ask_again_at);

        if (reading) {
                at = MIN_OF(at, MIN_OF(s->subscriber.suback_by, s->answer_by));
                at = MIN_OF(at, puback_by(s));
        }
        return at;
}

static int check_answers(Session *s, uint64_t now, Error *e) {
        if (now >= s->subscriber.suback_by)
                return error_set(e, ETIMEDOUT, "no SUBACK for %s in %llu ms", subscriber_unanswered(&s->subscriber),
                                 (unsigned long long) (s->settings->operation_timeout_usec / USEC_PER_MSEC));
        if (now >= s->answer_by)
                return error_set(e, ETIMEDOUT, "no PINGRESP in %llu ms: the connection is dead",
                                 (unsigned long long) (answer_wait(s) / USEC_PER_MSEC));
        if (now >= puback_by(s))
                return error_set(e, ETIMEDOUT, "%u publications without PUBACK, the oldest for %llu ms", s->n_in_flight,
                                 (unsigned long long) (s->settings->operation_timeout_usec / USEC_PER_MSEC));
        return 0;
}

int session_tick(Session *s, uint64_t now, bool reading, Error *e) {
        bool asked = false;
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
        r = subscriber_tick(&s->subscriber, now, &asked, e);
        if (r < 0)
                return r;
        s->library_spoke = s->library_spoke || asked;
        if (asked && s->state == SESSION_REFUSED)
                enter_state(s, SESSION_SUBSCRIBING);
        return take_error(s, e);
}

SessionLast session_last(const Session *s, uint64_t now, const char **ret_topic) {
        const InFlight *newest = NULL;

        *ret_topic = subscriber_unanswered(&s->subscriber);
        if (*ret_topic)
                return SESSION_LAST_SUBSCRIBE;
        for (size_t i = 0; i < ELEMENTSOF(s->in_flight); i++)
                if (s->in_flight[i].publication && (!newest || s->in_flight[i].since >= newest->since))
                        newest = &s->in_flight[i];
        if (newest) {
                *ret_topic = newest->publication->topic;
                return SESSION_LAST_PUBLISH;
        }
        if (s->last_sent == 0 || now - s->last_sent > JUST_SENT_SEC * USEC_PER_SEC)
                return SESSION_LAST_NOTHING;
        *ret_topic = s->last_topic;
        return SESSION_LAST_SENT;
}
