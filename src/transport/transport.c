/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/transport.h"

#include <errno.h>
#include <mosquitto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "transport/exchange.h"
#include "transport/link.h"
#include "transport/network.h"
#include "transport/settings.h"
#include "transport/tls.h"

enum {
        /* Room for the resolver's and OpenSSL's deepest calls; pages that are not touched cost nothing. */
        STACK_SIZE = 512 << 10,
        BATCHES_MAX = 16, /* of events, before the owner's other business comes again */
};

struct Transport {
        Exchange *exchange;
        Network *network; /* until the thread has it */
        pthread_t thread;
        bool running;
        uint64_t connection; /* the one whose ONLINE event was handed out; 0 = none */
        bool dispatching, freed;
        char *required[TRANSPORT_FILTERS_MAX]; /* the settings' filters */
        size_t n_required;
};

DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free)

static void init_library(void) {
        tls_init();
        (void) mosquitto_lib_init();
}

static int check_config(const TransportConfig *config, Settings **ret, SSL_CTX **ret_tls, Error *e) {
        Settings *s CLEANUP(settings_free) = NULL;
        int r = settings_new(config, &s, e);

        if (r == 0 && s->ca_file)
                r = tls_context_new(s, ret_tls, e);
        if (r == 0)
                r = link_check(s, e);
        if (r == 0)
                *ret = TAKE(s);
        return r;
}

/* The owner's own copy of the settings' filters: the settings belong to the network thread. */
static void forget_required(Transport *t) {
        for (size_t i = 0; i < t->n_required; i++)
                free(t->required[i]);
        t->n_required = 0;
}

static int remember_required(Transport *t, const Settings *s, Error *e) {
        forget_required(t);
        for (size_t i = 0; i < s->n_filters; i++) {
                t->required[i] = strdup(s->filters[i]);
                if (!t->required[i])
                        return error_errno(e, ENOMEM, "filters");
                t->n_required++;
        }
        return 0;
}

int transport_new(const TransportConfig *config, Transport **ret, Error *e) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        Settings *settings CLEANUP(settings_free) = NULL;
        SSL_CTX *tls CLEANUP(SSL_CTX_free) = NULL;
        Exchange *exchange CLEANUP(exchange_unref) = NULL;
        Transport *t;
        int r;

        (void) pthread_once(&once, init_library);
        r = check_config(config, &settings, &tls, e);
        if (r < 0)
                return r;
        t = calloc(1, sizeof *t);
        r = t ? remember_required(t, settings, NULL) : -ENOMEM;
        if (r == 0)
                r = exchange_new(&exchange);
        if (r == 0)
                r = network_new(exchange, settings, tls, &t->network);
        if (r < 0) {
                if (t)
                        forget_required(t);
                free(t);
                return error_errno(e, -r, "transport");
        }
        (void) TAKE(settings);
        (void) TAKE(tls);
        t->exchange = TAKE(exchange);
        *ret = t;
        return 0;
}

static void *thread_main(void *userdata) {
        Network *n = userdata;
        Exchange *x = exchange_ref(network_exchange(n));

        network_run(n);
        (void) network_free(n);
        OPENSSL_thread_stop();
        exchange_set_ended(x);
        (void) exchange_unref(x);
        return NULL;
}

/* Signals are the owner's business; and SIGPIPE from a broken socket is nobody's. */
static int create_thread(Transport *t, const pthread_attr_t *attr) {
        sigset_t all, old;
        int r;

        (void) sigfillset(&all);
        r = pthread_sigmask(SIG_SETMASK, &all, &old);
        if (r != 0)
                return -r;
        r = pthread_create(&t->thread, attr, thread_main, t->network);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -r;
}

int transport_start(Transport *t) {
        pthread_attr_t attr;
        int r = -pthread_attr_init(&attr);

        if (r < 0)
                return r;
        (void) pthread_attr_setstacksize(&attr, STACK_SIZE);
        r = create_thread(t, &attr);
        (void) pthread_attr_destroy(&attr);
        if (r < 0)
                return r;
        t->network = NULL;
        t->running = true;
        (void) pthread_setname_np(t->thread, "iot-jobs-net");
        return 0;
}

int transport_fd(const Transport *t) {
        return exchange_event_fd(t->exchange);
}

/* One batch; the number of bytes it took. */
static size_t dispatch_batch(Transport *t, Event *e, TransportHandler handler, void *userdata) {
        size_t bytes = 0;

        while (e) {
                Event *next = e->next;

                if (e->public.type == TRANSPORT_ONLINE)
                        t->connection = e->connection;
                else if (e->public.type == TRANSPORT_OFFLINE)
                        t->connection = 0;
                if (!t->freed)
                        handler(&e->public, userdata);
                bytes += e->bytes;
                free(e);
                e = next;
        }
        return bytes;
}

void transport_dispatch(Transport *t, TransportHandler handler, void *userdata) {
        bool first = true;
        int rounds = 0;

        t->dispatching = true;
        for (;;) {
                Event *batch = exchange_take_events(t->exchange, first);

                first = false;
                if (!batch)
                        break;
                exchange_cork(t->exchange);
                exchange_events_done(t->exchange, dispatch_batch(t, batch, handler, userdata));
                exchange_uncork(t->exchange);
                if (++rounds == BATCHES_MAX || t->freed) {
                        exchange_rest(t->exchange);
                        break;
                }
        }
        t->dispatching = false;
        if (t->freed) {
                (void) exchange_unref(t->exchange);
                free(t);
        }
}

void transport_quiet_pubacks(Transport *t, bool quiet) {
        exchange_quiet_pubacks(t->exchange, quiet);
}

int transport_publish_with_id(Transport *t, unsigned id, const char *topic, const void *payload, size_t len) {
        if (t->connection == 0)
                return -ENOTCONN;
        return exchange_publish(t->exchange, t->connection, id, topic, payload, len);
}

int transport_publish(Transport *t, const char *topic, const void *payload, size_t len) {
        return transport_publish_with_id(t, 0, topic, payload, len);
}

void transport_cork(Transport *t) {
        exchange_cork(t->exchange);
}

void transport_uncork(Transport *t) {
        exchange_uncork(t->exchange);
}

/* ---- subscriptions ---- */

static bool is_required(const Transport *t, const char *filter) {
        for (size_t i = 0; i < t->n_required; i++)
                if (strcmp(t->required[i], filter) == 0)
                        return true;
        return false;
}

int transport_subscribe(Transport *t, unsigned id, const char *filter) {
        if (!settings_filter_ok(filter))
                return -EINVAL;
        if (is_required(t, filter))
                return -EEXIST;
        return exchange_subscribe(t->exchange, id, filter, TRANSPORT_FILTERS_MAX - t->n_required);
}

int transport_unsubscribe(Transport *t, const char *filter) {
        return exchange_unsubscribe(t->exchange, filter);
}

static int check_together(Transport *t, const Settings *s, Error *e) {
        size_t added = exchange_n_subscriptions(t->exchange);

        if (s->n_filters + added > TRANSPORT_FILTERS_MAX)
                return error_set(e, EINVAL, "filters: %zu, and %zu were subscribed to besides; at most %d together",
                                 s->n_filters, added, TRANSPORT_FILTERS_MAX);
        for (size_t i = 0; i < s->n_filters; i++)
                if (exchange_has_subscription(t->exchange, s->filters[i]))
                        return error_set(e, EINVAL, "filters: %s: subscribed to besides already", s->filters[i]);
        return 0;
}

/* ---- the rest of a transport's life ---- */

int transport_reconfigure(Transport *t, const TransportConfig *config, bool now, Error *e) {
        Settings *s CLEANUP(settings_free) = NULL;
        SSL_CTX *tls CLEANUP(SSL_CTX_free) = NULL;
        int r = check_config(config, &s, &tls, e);

        if (r == 0)
                r = check_together(t, s, e);
        if (r == 0)
                r = remember_required(t, s, e);
        if (r < 0)
                return r;
        exchange_order_settings(t->exchange, TAKE(s), now);
        return 0;
}

Transport *transport_free(Transport *t, uint64_t wait_usec) {
        if (!t)
                return NULL;
        if (t->running) {
                if (exchange_order_stop(t->exchange, wait_usec))
                        (void) pthread_join(t->thread, NULL);
                else
                        (void) pthread_detach(t->thread); /* it cleans up after itself when the resolver lets go */
                t->running = false;
        }
        t->network = network_free(t->network);
        t->connection = 0;
        forget_required(t);
        if (t->dispatching) {
                t->freed = true; /* the rest when transport_dispatch() is through with it */
                return NULL;
        }
        (void) exchange_unref(t->exchange);
        free(t);
        return NULL;
}
