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

/* Room for the resolver's and OpenSSL's deepest calls; pages that are not touched cost nothing. */
enum { STACK_SIZE = 512 << 10 };

struct Transport {
        Exchange *exchange;
        Network *network; /* until the thread has it */
        pthread_t thread;
        bool running;
        uint64_t connection; /* the one whose ONLINE event was handed out; 0 = none */
        bool dispatching, freed;
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
        r = t ? exchange_new(&exchange) : -ENOMEM;
        if (r == 0)
                r = network_new(exchange, settings, tls, &t->network);
        if (r < 0) {
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

void transport_dispatch(Transport *t, TransportHandler handler, void *userdata) {
        Event *e = exchange_take_events(t->exchange);

        t->dispatching = true;
        while (e) {
                Event *next = e->next;

                if (e->public.type == TRANSPORT_ONLINE)
                        t->connection = e->connection;
                else if (e->public.type == TRANSPORT_OFFLINE)
                        t->connection = 0;
                if (!t->freed)
                        handler(&e->public, userdata);
                exchange_event_done(t->exchange, e);
                e = next;
        }
        t->dispatching = false;
        if (t->freed) {
                (void) exchange_unref(t->exchange);
                free(t);
        }
}

int transport_publish(Transport *t, const char *topic, const void *payload, size_t len) {
        if (t->connection == 0)
                return -ENOTCONN;
        return exchange_publish(t->exchange, t->connection, topic, payload, len);
}

int transport_reconfigure(Transport *t, const TransportConfig *config, bool now, Error *e) {
        Settings *s = NULL;
        SSL_CTX *tls CLEANUP(SSL_CTX_free) = NULL;
        int r = check_config(config, &s, &tls, e);

        if (r < 0)
                return r;
        exchange_order_settings(t->exchange, s, now);
        return 0;
}

Transport *transport_free(Transport *t, uint64_t wait_usec) {
        if (!t)
                return NULL;
        if (t->running) {
                if (exchange_order_stop(t->exchange, wait_usec))
                        (void) pthread_join(t->thread, NULL);
                else
                        (void) pthread_detach(
                                t->thread); /* it cleans up after itself when the resolver lets go */
                t->running = false;
        }
        t->network = network_free(t->network);
        t->connection = 0;
        if (t->dispatching) {
                t->freed = true; /* the rest when transport_dispatch() is through with it */
                return NULL;
        }
        (void) exchange_unref(t->exchange);
        free(t);
        return NULL;
}
