/* SPDX-License-Identifier: Apache-2.0 */
/* The Jobs conversation of one thing on one Transport: subscribes to what a device listens to, sends requests, decodes
 * replies and notifications. Keeps no request and correlates nothing: that is the engine's work.
 *
 * For the one thread that owns the Client. */
#pragma once

#include "base/error.h"
#include "base/macro.h"
#include "proto/message.h"
#include "proto/topic.h"
#include "transport/transport.h"

typedef enum ClientEventType {
        CLIENT_ONLINE, /* every subscription granted: requests may be sent; what was asked before is forgotten */
        CLIENT_OFFLINE, /* text, retry_usec; topic: the SUBSCRIBE or PUBLISH without an answer when it broke, or NULL */
        CLIENT_REFUSED, /* topic: a filter that was refused; text. The connection stays up, asked again slowly */
        CLIENT_MESSAGE, /* message, topic: a reply or notification for this thing */
        CLIENT_DROPPED, /* text (says what is wrong), topic and parts if known: something that could not be used. Ask anew */
        CLIENT_CERTIFICATE, /* text: the client certificate is near its end, past it, or not valid yet */
} ClientEventType;

/* Everything is borrowed for the call of the handler. */
typedef struct ClientEvent {
        ClientEventType type;
        const char *topic;
        const Topic *
                parts; /* MESSAGE; DROPPED where the topic is one of this thing's: kind and job_id are known */
        const ProtoMessage *message; /* MESSAGE; its borrowed parts (document) live as long as the event */
        const char *text;
        uint64_t retry_usec; /* OFFLINE */
} ClientEvent;

typedef struct Client Client;
typedef void (*ClientHandler)(const ClientEvent *event, void *userdata);

/* config->filters is ignored (the client has its own ten), everything else as for transport_new(); copied.
 * 0, or -EINVAL (bad thing name), or what transport_new() says. Nothing runs before client_start(). */
int client_new(const TransportConfig *config, const char *thing, Client **ret, Error *e) MUST_USE;
int client_start(Client *c) MUST_USE;
/* Readable when client_dispatch() has something to do. The same descriptor for the client's whole life. */
int client_fd(const Client *c);
/* Hand waiting events to `handler`, in order; it may call client_publish(), client_reconfigure() and client_free(). Retained
 * and malformed messages come as DROPPED; other things' and unrecognized topics are passed over (debug log). */
void client_dispatch(Client *c, ClientHandler handler, void *userdata);
/* Encode and hand over. 0; -EINVAL (a limit of proto_request_encode(), e says which); -ENOTCONN (not online, or ONLINE
 * not dispatched yet: nothing is kept, ask again on the next ONLINE); -ENOBUFS (too much waits); -ENOMEM. */
int client_publish(Client *c, const ProtoRequest *r, Error *e) MUST_USE;
/* As transport_reconfigure(): the same thing with a new configuration. */
int client_reconfigure(Client *c, const TransportConfig *config, bool now, Error *e) MUST_USE;
/* As transport_free(). NULL is fine; returns NULL. */
Client *client_free(Client *c, uint64_t wait_usec);
