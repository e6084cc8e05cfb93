/* SPDX-License-Identifier: Apache-2.0 */
/* libiotjobs: a client of the AWS IoT Jobs service for one thing: its connection and how it is driven.
 * What is said over the connection is in <iotjobs/jobs.h>.
 *
 * Life: new, configure, (subscribe,) connect, use, free. Configuration is checked by each call and taken on at the next
 * connect; files are read again at each connect, so that renewed certificates need no restart.
 *
 * Driving. The network lives in a thread of the library's own, which never runs the caller's code. Callbacks run in one
 * place only, chosen by the caller:
 *   - iotjobs_client_start_thread(): a second thread of the library's own runs them;
 *   - a poll loop: poll iotjobs_client_fd() for iotjobs_client_events(), at most iotjobs_client_timeout() ms, then call
 *     iotjobs_client_dispatch(), from one thread;
 *   - sd-event: <iotjobs/sd-event.h> does the same for an sd_event loop.
 * Blocking calls work in each case: while one waits, the connection goes on; callbacks wait for the next dispatch (or run in
 * the library's thread).
 *
 * Threads: every function takes the client's lock for a short time and may be called from any thread, and from inside a
 * callback, blocking ones too. While a connect or check reads its files, which may take long with a key in a slow token, whoever
 * configures or connects in another thread waits for it, and nobody else does; a reconnect holds the lock meanwhile. No callback
 * runs while the lock is held, and never two at a time. iotjobs_client_free() ends both threads; a blocking call under way in
 * another thread returns -ECANCELED; if a callback runs in another thread it waits for its end, so once it has returned no
 * callback runs, or will run, in any thread. Inside a callback it may be called as well: that callback is then the last one, and
 * the memory goes when it returns.
 *
 * Results: 0 or more is success, a negative errno is failure with the reason in *e. Strings and structs handed in are copied;
 * what is handed to a callback is valid during the call. */
#ifndef IOTJOBS_CLIENT_H
#define IOTJOBS_CLIENT_H

#include <iotjobs/types.h>

IOTJOBS_BEGIN

typedef struct IotJobsClient IotJobsClient;

typedef enum IotJobsProtocol { /* numbers as on the wire, and as in the Python SDK */
        IOTJOBS_MQTT_3_1 = 3,
        IOTJOBS_MQTT_3_1_1 = 4,
        IOTJOBS_MQTT_5 = 5,
} IotJobsProtocol;

typedef struct IotJobsOptions { /* start from iotjobs_options_default() */
        const char *client_id;  /* 1 to 128 bytes UTF-8, not beginning with '$'; with v1 also the token of every request */
        const char *thing_name; /* [a-zA-Z0-9:_-]{1,128} */
        int qos;                /* 0 or 1, of every publication and subscription. Default 0 */
        IotJobsProtocol protocol; /* default 3.1.1 */
        bool websocket;           /* default false: plain MQTT over TLS */
        bool clean_session;       /* default true */
        bool v1;                  /* default false: see <iotjobs/jobs.h> */
        void *reserved[4];        /* NULL */
} IotJobsOptions;
IotJobsOptions iotjobs_options_default(const char *client_id, const char *thing_name);

/* 0, -EINVAL (which option, and what would be right), -ENOMEM. No thread runs and no descriptor to the network is open yet. */
int iotjobs_client_new(const IotJobsOptions *options, IotJobsClient **ret, IotJobsError *e) IOTJOBS_MUST_USE;
/* See "Threads". Sends DISCONNECT if connected (waits at most 1 s for it). NULL is fine; returns NULL. */
IotJobsClient *iotjobs_client_free(IotJobsClient *c);

/* ---- configuration. Each: 0, -EINVAL / -ERANGE / -E2BIG (which value, and what is allowed), -ENOMEM; on a client that lives
 * on a shared handle (<iotjobs/mosquitto.h>) -EOPNOTSUPP, but for the offline queue, draining and timeouts: the connection is the
 * caller's ---- */

/* Host name without scheme, port 1–65535. 443 without WebSocket turns ALPN on: "x-amzn-mqtt-ca", or "mqtt" where a user name
 * is set and no client certificate. */
int iotjobs_client_configure_endpoint(IotJobsClient *c, const char *host, int port, IotJobsError *e) IOTJOBS_MUST_USE;
/* ALPN protocol name to use instead; "" = none, NULL = by the rule above. */
int iotjobs_client_configure_alpn(IotJobsClient *c, const char *name, IotJobsError *e) IOTJOBS_MUST_USE;
/* PEM files. ca is required. key and certificate: both or none (none with WebSocket, or with a custom authorizer). */
int iotjobs_client_configure_credentials(IotJobsClient *c, const char *ca_file, const char *key_file,
                                         const char *cert_file, IotJobsError *e) IOTJOBS_MUST_USE;
/* The key stays where it is: `key_uri` is a PKCS#11 URI ("pkcs11:token=…;object=…?pin-source=file:/…") or the name of a TPM key
 * ("handle:0x81000001", "file:/…" of a TSS2 private key). `engine`: the OpenSSL engine or provider that knows it; NULL: "pkcs11"
 * for PKCS#11 URIs, else "tpm2". */
int iotjobs_client_configure_key_uri(IotJobsClient *c, const char *ca_file, const char *key_uri, const char *engine,
                                     const char *cert_file, IotJobsError *e) IOTJOBS_MUST_USE;
/* For the SigV4 signature of a WebSocket connection. Without this call, at each connect: the environment (AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), then the profile "default" (or AWS_PROFILE) of the shared credentials file. */
int iotjobs_client_configure_iam_credentials(IotJobsClient *c, const char *access_key_id, const char *secret_access_key,
                                             const char *session_token, IotJobsError *e) IOTJOBS_MUST_USE;
/* Another shared credentials file than AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials; profile NULL: as above. */
int iotjobs_client_configure_iam_credentials_file(IotJobsClient *c, const char *file, const char *profile,
                                                  IotJobsError *e) IOTJOBS_MUST_USE;
/* Region to sign for; NULL: from the host name. */
int iotjobs_client_configure_region(IotJobsClient *c, const char *region, IotJobsError *e) IOTJOBS_MUST_USE;
/* CONNECT's user name and password (custom authorizer). NULL user: none again. password may be NULL. */
int iotjobs_client_configure_username_password(IotJobsClient *c, const char *user, const char *password,
                                               IotJobsError *e) IOTJOBS_MUST_USE;
/* Metrics suffix of the user name: AWS' SDKs append "?SDK=NAME&Version=V". Default: off; with v1: on, with the text
 * "?SDK=Python&Version=1.5.4". text NULL: that text; it must begin with '?'. Not together with a user name that has a '?'
 * (v1: sent all the same, as that SDK does). */
int iotjobs_client_configure_metrics(IotJobsClient *c, bool on, const char *text, IotJobsError *e) IOTJOBS_MUST_USE;
/* What the broker publishes when the connection breaks. topic NULL: none. qos 0 or 1; payload at most 65535 bytes. */
int iotjobs_client_configure_last_will(IotJobsClient *c, const char *topic, const void *payload, size_t len, int qos,
                                       bool retain, IotJobsError *e) IOTJOBS_MUST_USE;
/* HTTP CONNECT proxy "http://[user[:password]@]host:port" (percent-encoded); NULL: none. password, if given, beats the URL's. */
int iotjobs_client_configure_proxy(IotJobsClient *c, const char *url, const char *password, IotJobsError *e) IOTJOBS_MUST_USE;
/* Seconds: exponential backoff with full jitter between min (>= 1) and max, reset after `stable` seconds online.
 * Defaults 1, 128, 20. */
int iotjobs_client_configure_reconnect(IotJobsClient *c, int min, int max, int stable, IotJobsError *e) IOTJOBS_MUST_USE;
/* Requests made while offline: how many wait for the next connection. 0 (default): none, they fail with -ENOTCONN; -1 (default
 * with v1): as many as IOTJOBS_OFFLINE_QUEUE_MAX, and 16 MiB. When it is full, NEWEST refuses the new one with -ENOBUFS, OLDEST forgets the oldest. */
typedef enum IotJobsDrop { IOTJOBS_DROP_NEWEST = 0, IOTJOBS_DROP_OLDEST = 1 } IotJobsDrop;
enum { IOTJOBS_OFFLINE_QUEUE_MAX = 10000 };
int iotjobs_client_configure_offline_queue(IotJobsClient *c, int size, IotJobsDrop drop, IotJobsError *e) IOTJOBS_MUST_USE;
/* How many of the waiting requests leave a second once online again; > 0, at most 1000. Default 2. */
int iotjobs_client_configure_draining(IotJobsClient *c, double per_second, IotJobsError *e) IOTJOBS_MUST_USE;
/* Publications a second at most, 0 = no limit (default). What is above waits; nothing is lost. */
int iotjobs_client_configure_publish_rate(IotJobsClient *c, unsigned per_second, IotJobsError *e) IOTJOBS_MUST_USE;
/* Seconds, 1–3600: for connect and disconnect (default 30), for SUBACK and PUBACK (default 10; v1: 5). */
int iotjobs_client_configure_timeouts(IotJobsClient *c, int connect, int operation, IotJobsError *e) IOTJOBS_MUST_USE;
/* Seconds, 30–1200 as AWS takes them (default 60); v1: 0 (none), 5 to 65535 (default 600). */
int iotjobs_client_configure_keep_alive(IotJobsClient *c, int seconds, IotJobsError *e) IOTJOBS_MUST_USE;
/* No TLS at all: for a broker on this machine. Anyone on the path can read and change everything. */
int iotjobs_client_configure_plaintext(IotJobsClient *c, bool on, IotJobsError *e) IOTJOBS_MUST_USE;
/* Checks everything together and the files too, as connect does: 0 or the first fault. */
int iotjobs_client_check(IotJobsClient *c, IotJobsError *e) IOTJOBS_MUST_USE;

/* ---- connection ---- */

/* What happens to the connection. NULL: no callback. Set before connecting. */
typedef enum IotJobsConnectionEventType {
        IOTJOBS_CONNECTION_ONLINE = 0,  /* CONNACK was good and every kept subscription is answered: requests may be sent */
        IOTJOBS_CONNECTION_OFFLINE = 1, /* was online, or an attempt failed: text says where, what and why. Tried again after
                                         * retry_ms (-1: not tried again, by disconnect or by the owner of a shared handle) */
        IOTJOBS_CONNECTION_REFUSED = 2, /* topic: a kept subscription was refused after a reconnect; text. Asked again slowly */
        IOTJOBS_CONNECTION_DROPPED = 3, /* text, and topic if known: a message that could not be used, or a publication that the
                                     * broker refused. Nothing of it is told otherwise */
        IOTJOBS_CONNECTION_CERTIFICATE = 4, /* text: the own certificate ends within 30 days, has ended, or is not valid yet */
} IotJobsConnectionEventType;
typedef struct IotJobsConnectionEvent {
        IotJobsConnectionEventType type;
        const char *text;  /* for a person; never NULL */
        const char *topic; /* OFFLINE: the SUBSCRIBE or PUBLISH that had no answer when the connection broke; or NULL */
        bool topic_is_subscription; /* of OFFLINE's topic */
        bool session_present;       /* ONLINE */
        int64_t retry_ms;           /* OFFLINE */
        int code; /* OFFLINE: the broker's own word for why, CONNACK's return code or MQTT 5's reason code; 0 = none */
} IotJobsConnectionEvent;
typedef void (*IotJobsConnectionHandler)(IotJobsClient *c, const IotJobsConnectionEvent *event, void *userdata);
void iotjobs_client_set_connection_handler(IotJobsClient *c, IotJobsConnectionHandler handler, void *userdata);

/* Try once and wait: 0 = online; -ETIMEDOUT after the connect timeout, -ECONNREFUSED and others with the reason: then nothing
 * goes on in the background. -EALREADY: connected, or at it. Afterwards the library reconnects by itself for ever. */
int iotjobs_client_connect(IotJobsClient *c, IotJobsError *e) IOTJOBS_MUST_USE;
/* Begin and return: events tell the rest, and it is tried for ever, the first time too. */
int iotjobs_client_connect_async(IotJobsClient *c, IotJobsError *e) IOTJOBS_MUST_USE;
/* DISCONNECT behind everything that was handed over; waits for it. 0, -ETIMEDOUT (the connection is closed anyway),
 * -ENOTCONN. Kept subscriptions stay for the next connect. */
int iotjobs_client_disconnect(IotJobsClient *c, IotJobsError *e);
int iotjobs_client_disconnect_async(IotJobsClient *c, IotJobsError *e);
/* Take on a changed configuration: the current connection ends with DISCONNECT, the next one begins at once. */
int iotjobs_client_reconnect(IotJobsClient *c, IotJobsError *e) IOTJOBS_MUST_USE;
bool iotjobs_client_is_online(IotJobsClient *c);
/* Wait until the broker has taken everything handed over (PUBACK where QoS is 1) and the offline queue is empty: 0,
 * -ETIMEDOUT after timeout_ms, -ENOTCONN. */
int iotjobs_client_flush(IotJobsClient *c, int timeout_ms, IotJobsError *e);

/* ---- driving: one of the three ---- */

/* Before connecting. -EALREADY if the client is driven already. */
int iotjobs_client_start_thread(IotJobsClient *c, IotJobsError *e) IOTJOBS_MUST_USE;

/* The same descriptor for the client's whole life; what to poll it for (POLLIN); in milliseconds how long at most, -1 = for
 * ever; then do what is due. dispatch() runs callbacks and returns how many ran, or negative errno: -EBUSY if the library's
 * thread drives the client. */
int iotjobs_client_fd(const IotJobsClient *c);
short iotjobs_client_events(const IotJobsClient *c);
int iotjobs_client_timeout(IotJobsClient *c);
int iotjobs_client_dispatch(IotJobsClient *c);

IOTJOBS_END
#endif
