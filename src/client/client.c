/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { DROPPED_TEXT_MAX = ERROR_TEXT_MAX + TOPIC_TEXT_MAX + 64 };

struct Client {
        char thing[LIMIT_THING_NAME + 1];
        Transport *transport;
        ClientHandler handler; /* of the dispatch under way */
        void *userdata;
        bool dispatching, freed;
};

/* All that a device listens to. "+" in the place of the job id takes $next too. */
static const struct {
        TopicKind kind;
        TopicReply reply;
        const char *job_id;
} subscriptions[] = {
        { TOPIC_NOTIFY, TOPIC_REQUEST, "" },       { TOPIC_NOTIFY_NEXT, TOPIC_REQUEST, "" },
        { TOPIC_GET_PENDING, TOPIC_ACCEPTED, "" }, { TOPIC_GET_PENDING, TOPIC_REJECTED, "" },
        { TOPIC_START_NEXT, TOPIC_ACCEPTED, "" },  { TOPIC_START_NEXT, TOPIC_REJECTED, "" },
        { TOPIC_DESCRIBE, TOPIC_ACCEPTED, "+" },   { TOPIC_DESCRIBE, TOPIC_REJECTED, "+" },
        { TOPIC_UPDATE, TOPIC_ACCEPTED, "+" },     { TOPIC_UPDATE, TOPIC_REJECTED, "+" },
};

typedef struct Filters {
        char text[ELEMENTSOF(subscriptions)][TOPIC_TEXT_MAX];
        const char *list[ELEMENTSOF(subscriptions) + 1];
} Filters;

static int filters_fill(const char *thing, Filters *ret, Error *e) {
        if (!proto_thing_name_valid(thing))
                return error_set(e, EINVAL, "thing_name %s: expected 1 to %d characters of a-z A-Z 0-9 : _ -",
                                 thing, LIMIT_THING_NAME);
        for (size_t i = 0; i < ELEMENTSOF(subscriptions); i++) {
                Topic t = { .kind = subscriptions[i].kind, .reply = subscriptions[i].reply };
                int r;

                (void) snprintf(t.thing, sizeof t.thing, "%s", thing);
                (void) snprintf(t.job_id, sizeof t.job_id, "%s", subscriptions[i].job_id);
                r = topic_format(&t, ret->text[i]);
                if (r < 0)
                        return error_set(e, -r, "thing_name %s: its topics would be too long", thing);
                ret->list[i] = ret->text[i];
        }
        ret->list[ELEMENTSOF(subscriptions)] = NULL;
        return 0;
}

int client_new(const TransportConfig *config, const char *thing, Client **ret, Error *e) {
        TransportConfig with_filters = *config;
        Client *c = NULL;
        Filters filters;
        int r = filters_fill(thing, &filters, e);

        if (r < 0)
                return r;
        c = calloc(1, sizeof *c);
        if (!c)
                return error_errno(e, ENOMEM, "client");
        (void) snprintf(c->thing, sizeof c->thing, "%s", thing);
        with_filters.filters = filters.list;
        r = transport_new(&with_filters, &c->transport, e);
        if (r < 0) {
                free(c);
                return r;
        }
        *ret = c;
        return 0;
}

int client_start(Client *c) {
        return transport_start(c->transport);
}

int client_fd(const Client *c) {
        return transport_fd(c->transport);
}

/* ---- events ---- */

static void hand_out(Client *c, const ClientEvent *event) {
        if (!c->freed)
                c->handler(event, c->userdata);
}

static void hand_out_dropped(Client *c, const char *topic, const Topic *parts, const char *why) {
        char text[DROPPED_TEXT_MAX];

        (void) snprintf(text, sizeof text, "message on %s: %s", topic, why);
        hand_out(c, &(ClientEvent){ .type = CLIENT_DROPPED, .topic = topic, .parts = parts, .text = text });
}

/* A reply or notification of this thing; requests (which only the service reads) are not. */
static bool is_ours(const Topic *t) {
        switch (t->kind) {
        case TOPIC_UNRECOGNIZED:
                return false;
        case TOPIC_NOTIFY:
        case TOPIC_NOTIFY_NEXT:
                return true;
        case TOPIC_GET_PENDING:
        case TOPIC_START_NEXT:
        case TOPIC_DESCRIBE:
        case TOPIC_UPDATE:
                return t->reply != TOPIC_REQUEST;
        }
        return false;
}

static void on_message(Client *c, const TransportEvent *event) {
        Topic parts = topic_parse(event->topic, c->thing);
        ProtoMessage message CLEANUP_MESSAGE = { 0 };
        Error e = { 0 };

        if (!is_ours(&parts)) {
                log_debug("message on %s is not for thing %s, ignoring", event->topic, c->thing);
                return;
        }
        /* The service never sets the flag: somebody else left this behind, and it may be old. */
        if (event->retained) {
                hand_out_dropped(c, event->topic, &parts,
                                 "retained by the broker, which the Jobs service never asks for");
                return;
        }
        if (proto_message_decode(&parts, event->payload, event->payload_len, &message, &e) < 0) {
                hand_out_dropped(c, event->topic, &parts, e.text);
                return;
        }
        hand_out(c, &(ClientEvent){ .type = CLIENT_MESSAGE,
                                    .topic = event->topic,
                                    .parts = &parts,
                                    .message = &message });
}

static void on_dropped(Client *c, const TransportEvent *event) {
        Topic parts = { 0 };
        bool known = false;

        if (event->topic) {
                parts = topic_parse(event->topic, c->thing);
                known = parts.kind != TOPIC_UNRECOGNIZED;
        }
        hand_out(c, &(ClientEvent){ .type = CLIENT_DROPPED,
                                    .topic = event->topic,
                                    .parts = known ? &parts : NULL,
                                    .text = event->text });
}

static void on_event(const TransportEvent *event, void *userdata) {
        Client *c = userdata;
        ClientEvent out = { .topic = event->topic, .text = event->text, .retry_usec = event->retry_usec };

        switch (event->type) {
        case TRANSPORT_MESSAGE:
                on_message(c, event);
                return;
        case TRANSPORT_DROPPED:
                on_dropped(c, event);
                return;
        case TRANSPORT_ONLINE:
                out.type = CLIENT_ONLINE;
                break;
        case TRANSPORT_OFFLINE:
                out.type = CLIENT_OFFLINE;
                break;
        case TRANSPORT_REFUSED:
                out.type = CLIENT_REFUSED;
                break;
        case TRANSPORT_CERTIFICATE:
                out.type = CLIENT_CERTIFICATE;
                break;
        case TRANSPORT_SUBACK:
        case TRANSPORT_PUBACK:
                return; /* never asked for here */
        }
        hand_out(c, &out);
}

void client_dispatch(Client *c, ClientHandler handler, void *userdata) {
        c->handler = handler;
        c->userdata = userdata;
        c->dispatching = true;
        transport_dispatch(c->transport, on_event, c);
        c->dispatching = false;
        if (c->freed)
                free(c);
}

/* ---- orders ---- */

int client_publish(Client *c, const ProtoRequest *request, Error *e) {
        Buf payload CLEANUP_BUF = { 0 };
        char topic[TOPIC_TEXT_MAX];
        int r = proto_request_encode(request, c->thing, topic, &payload, e);

        if (r < 0)
                return r;
        if (buf_error(&payload) < 0)
                return error_errno(e, ENOMEM, "request on %s", topic);
        r = transport_publish(c->transport, topic, payload.data, payload.len);
        if (r == -ENOTCONN)
                return error_set(e, ENOTCONN, "request on %s: not connected", topic);
        return r < 0 ? error_errno(e, -r, "request on %s", topic) : 0;
}

int client_reconfigure(Client *c, const TransportConfig *config, bool now, Error *e) {
        TransportConfig with_filters = *config;
        Filters filters;
        int r = filters_fill(c->thing, &filters, e);

        if (r < 0)
                return r;
        with_filters.filters = filters.list;
        return transport_reconfigure(c->transport, &with_filters, now, e);
}

Client *client_free(Client *c, uint64_t wait_usec) {
        if (!c)
                return NULL;
        c->transport = transport_free(c->transport, wait_usec);
        if (c->dispatching)
                c->freed = true; /* the rest when client_dispatch() is through with it */
        else
                free(c);
        return NULL;
}
