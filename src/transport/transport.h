/* SPDX-License-Identifier: Apache-2.0 */
/* One MQTT connection that keeps itself up: libmosquitto in a network thread of its own, reconnecting for ever with
 * full-jitter backoff, a fresh handle and a fresh, checked SSL_CTX each time. Knows nothing of jobs.
 *
 * Threads: every function below is for the one thread that owns the Transport. The network thread talks to it only through
 * a bounded queue and an eventfd, never through callbacks. */
#pragma once

#include "base/error.h"
#include "base/macro.h"

enum {
        TRANSPORT_FILTERS_MAX = 48,          /* AWS allows 50 subscriptions a connection */
        TRANSPORT_QUEUE_BYTES_MAX = 4 << 20, /* received and not yet dispatched; more: reading pauses */
        TRANSPORT_OUT_BYTES_MAX = 4 << 20,   /* handed in and not yet sent */
        TRANSPORT_PACKET_MAX =
                1 << 18, /* a larger incoming packet ends the connection before it is buffered */
};

typedef struct TransportConfig { /* every string is copied; NULL = none */
        const char *host;
        uint16_t port;
        const char *client_id;
        int protocol; /* 3 = 3.1, 4 = 3.1.1, 5 */
        bool clean_session;
        int qos; /* of subscriptions and publications */
        unsigned keep_alive_sec; /* 5–65535; 0: none is announced, and a dead connection is noticed as with 1200, which AWS takes 0 for */
        const char *ca_file, *cert_file,
                *key_file; /* PEM; ca_file NULL = plain TCP (simulator and tests only) */
        const char *alpn;  /* NULL or "" = none */
        const char *username, *password;
        uint64_t connect_timeout_usec, operation_timeout_usec;
        uint64_t reconnect_min_usec, reconnect_max_usec, stable_usec;
        unsigned publish_rate;      /* publications a second, 0 = no limit */
        const char *const *filters; /* NULL-terminated: subscribed on each connect, at most 8 a packet, and required:
                                     * not ONLINE without every one of them */
        bool no_local;              /* MQTT 5: own publications do not come back; no effect with the older protocols */
        const char *will_topic;     /* NULL = no will */
        const void *will_payload;
        size_t will_len;
        int will_qos;
        bool will_retain;
        const char *key_uri, *engine; /* instead of key_file: a key that stays in its token (tls_key.h) */
        const char *proxy_host;       /* HTTP CONNECT; NULL = none */
        uint16_t proxy_port;
        const char *proxy_user, *proxy_password;
        bool websocket;             /* wss, path /mqtt; with SigV4 unless there is a user name (custom authorizer) that is
                                     * more than a metrics suffix "?SDK=…". A client certificate may come on top */
        const char *region;         /* NULL = from the host name */
        const char *access_key_id, *secret_access_key, *session_token; /* NULL: environment, then the file */
        const char *aws_credentials_file, *aws_profile; /* NULL: as AWS' own tools choose */
} TransportConfig;

typedef enum TransportEventType {
        TRANSPORT_ONLINE, /* CONNACK and every SUBACK granted */
        TRANSPORT_OFFLINE, /* was online, or an attempt failed: text says which address, what and why; retry_usec;
                            * topic: the SUBSCRIBE or PUBLISH that had no answer when it broke, or the publication with QoS 0
                            * that was sent within three seconds before the broker hung up without a reason; or NULL. After a
                            * hang-up on a SUBSCRIBE the next connection asks for one filter at a time, to find the one */
        TRANSPORT_REFUSED, /* a filter was refused (SUBACK 0x80): topic; the connection stays up, not ONLINE; asked again slowly */
        TRANSPORT_MESSAGE, /* topic, payload, retained */
        TRANSPORT_DROPPED, /* an incoming message was too large, or a publication was refused (by MQTT 5's PUBACK, or for a
                            * topic or size that MQTT or the broker does not take): topic if known, text */
        TRANSPORT_SUBACK, /* the answer to transport_subscribe(): id, topic, code (0, 1: granted QoS; >= 128: refused, MQTT 5's
                           * reason code, and the filter is not kept; text says it in words) */
        TRANSPORT_PUBACK, /* the broker has the publication `id` (QoS 0: it is on the wire); code >= 128: refused by MQTT 5 (comes
                           * instead of DROPPED). Only for publications made with an id */
        TRANSPORT_CERTIFICATE, /* text: client certificate expires soon, has expired, or is not valid yet (looked at on each
                                * connect; the same text again after a day) */
} TransportEventType;

typedef struct TransportEvent {
        TransportEventType type;
        const char *topic;
        const char *payload; /* NUL-terminated behind payload_len */
        size_t payload_len;
        bool retained;
        const char *text;
        uint64_t retry_usec; /* OFFLINE: the next attempt comes after this delay */
        bool session_present;
        unsigned id;          /* SUBACK, PUBACK */
        int code;             /* SUBACK, PUBACK; OFFLINE: MQTT 5's reason code or CONNACK's return code, 0 = none */
        bool is_subscription; /* OFFLINE: topic is a SUBSCRIBE's */
        int error;            /* OFFLINE: positive errno */
} TransportEvent;

typedef struct Transport Transport;
typedef void (*TransportHandler)(const TransportEvent *event, void *userdata);

/* Checks the configuration (files are looked at too, so that a bad path is named at once; a file that turns bad later is
 * an OFFLINE event). 0, or negative errno with the file or key in e. No thread runs yet. */
int transport_new(const TransportConfig *config, Transport **ret, Error *e) MUST_USE;
int transport_start(Transport *t) MUST_USE;
/* Readable when events wait. */
int transport_fd(const Transport *t);
/* Hand every waiting event to `handler`, in order; it may call the functions below (after transport_free() no further event
 * is handed out). Event memory is valid for the call. */
void transport_dispatch(Transport *t, TransportHandler handler, void *userdata);
/* Copies. 0 = queued for the current connection, -ENOTCONN (not ONLINE, or its event not dispatched yet: nothing is kept),
 * -ENOBUFS (TRANSPORT_OUT_BYTES_MAX), -ENOMEM.
 * What is not on the wire when the connection ends is gone: the caller asks again on the next ONLINE. */
int transport_publish(Transport *t, const char *topic, const void *payload, size_t len) MUST_USE;
/* What is published between the two leaves as a bunch: fewer wake-ups of the network thread, fewer and larger writes. May be
 * nested. The handler of transport_dispatch() is corked: what it publishes leaves when the waiting events are through. */
void transport_cork(Transport *t);
void transport_uncork(Transport *t);
/* The same with an id (> 0, chosen by the caller), which a PUBACK event carries. No PUBACK comes for what was lost with its
 * connection: OFFLINE says so for all of them together. */
int transport_publish_with_id(Transport *t, unsigned id, const char *topic, const void *payload, size_t len) MUST_USE;
/* PUBACK events of accepted publications wait for the next other event (or for 16 KiB of them) instead of making transport_fd()
 * readable by themselves: for an owner that only counts them. Turned off, it becomes readable for those that wait. */
void transport_quiet_pubacks(Transport *t, bool quiet);
/* Add a filter to those that each connect subscribes: at once where the connection is up (SUBACK event with this id), else at
 * the next connect, before its ONLINE (SUBACK event then). Refused when first asked: not kept. Refused at a later connect: a
 * REFUSED event, kept, asked again slowly, and no obstacle to ONLINE. A connection that ends first: the filter waits for the
 * next one. 0, -EEXIST, -ENOSPC (TRANSPORT_FILTERS_MAX), -EINVAL (no valid filter), -ENOMEM. */
int transport_subscribe(Transport *t, unsigned id, const char *filter) MUST_USE;
/* Forget a filter; UNSUBSCRIBE where the connection is up (no event; a SUBACK event that is queued already still comes).
 * 0, -ENOENT. */
int transport_unsubscribe(Transport *t, const char *filter);
/* New configuration from the next connection on; `now`: drop the current one gently and connect again at once. */
int transport_reconfigure(Transport *t, const TransportConfig *config, bool now, Error *e) MUST_USE;
/* DISCONNECT if connected, then end the thread: waits at most wait_usec; a thread that still blocks in name resolution is
 * left behind (the process is about to end). NULL is fine; returns NULL. */
Transport *transport_free(Transport *t, uint64_t wait_usec);
