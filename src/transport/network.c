/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/network.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "transport/link.h"
#include "transport/pace.h"
#include "transport/session.h"
#include "transport/tls.h"
#include "transport/tunnel.h"

enum {
        CHUNK = 8192,              /* bytes read at once */
        CHUNKS_PER_TURN = 32,      /* read so much, then look at everything else again */
        BLOCKED_IN_MAX = 64 << 10, /* read so much more while the broker does not read what we write */
        POLL_WAKE = 0,
        POLL_TIMER = 1,
        POLL_LINK = 2,
        GOODBYE_MSEC = 1000,       /* for DISCONNECT, when the order came without a time */
        LINGER_MSEC = 200,         /* for the broker to close after DISCONNECT */
        NOTICE_REPEAT_SEC = 86400, /* the same notice about the own certificate */
        OFFLINE_TEXT_MAX = ERROR_TEXT_MAX + 512,
};

typedef enum Phase {
        PHASE_WAITING,    /* for retry_at */
        PHASE_CONNECTING, /* the link is not up */
        PHASE_SESSION,    /* CONNECT is on its way, or more */
} Phase;

struct Network {
        Exchange *exchange;
        Settings *settings, *next_settings;
        SSL_CTX *tls; /* checked when the transport was made: for the first attempt only */
        Tunnel tunnel;
        int timer_fd;
        uint64_t timer_at; /* what it is set to */

        Phase phase;
        uint64_t retry_at, connect_by;
        unsigned failures; /* in a row, without a stable time in between */
        Link *link;
        Session *session;
        bool trimmed;
        bool cautious; /* the broker hung up on a SUBSCRIBE: find out which filter it was */

        Buf out; /* taken from the session, not yet taken by the link: from out_at on */
        size_t out_at;
        unsigned char in[CHUNK];
        bool read_more;    /* stopped reading before the link was empty */
        size_t blocked_in; /* read since the link stopped taking bytes */

        Bucket bucket;
        uint64_t publish_at; /* USEC_NEVER, or when the bucket gives the next token */

        char notice[TLS_NOTICE_MAX];
        uint64_t notice_at;
};

int network_new(Exchange *exchange, Settings *settings, SSL_CTX *tls, Network **ret) {
        Network *n = calloc(1, sizeof *n);

        if (!n)
                return -ENOMEM;
        n->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (n->timer_fd < 0) {
                int r = -errno;

                free(n);
                return r;
        }
        n->tunnel = TUNNEL_CLOSED;
        n->timer_at = n->publish_at = USEC_NEVER;
        n->exchange = exchange_ref(exchange);
        n->settings = settings;
        n->tls = tls;
        *ret = n;
        return 0;
}

static void drop_connection(Network *n) {
        n->session = session_free(n->session);
        n->link = link_free(n->link);
        buf_done(&n->out);
        n->out_at = n->blocked_in = 0;
        n->read_more = false;
        n->publish_at = USEC_NEVER;
}

Network *network_free(Network *n) {
        if (!n)
                return NULL;
        drop_connection(n);
        SSL_CTX_free(n->tls);
        tunnel_close(&n->tunnel);
        close_fd_p(&n->timer_fd);
        (void) settings_free(n->settings);
        (void) settings_free(n->next_settings);
        (void) exchange_unref(n->exchange);
        free(n);
        return NULL;
}

Exchange *network_exchange(const Network *n) {
        return n->exchange;
}

static void enter_phase(Network *n, Phase phase) {
        n->phase = phase;
}

/* ---- an attempt ---- */

static void take_settings(Network *n) {
        if (!n->next_settings)
                return;
        (void) settings_free(n->settings);
        n->settings = TAKE(n->next_settings);
        SSL_CTX_free(n->tls);
        n->tls = NULL;
}

static void tell_certificate(Network *n, SSL_CTX *tls, uint64_t now) {
        char notice[TLS_NOTICE_MAX];

        if (!tls_own_certificate_notice(tls, n->settings, notice)) {
                n->notice[0] = '\0';
                return;
        }
        if (strcmp(notice, n->notice) == 0 && now - n->notice_at < NOTICE_REPEAT_SEC * USEC_PER_SEC)
                return;
        (void) exchange_push(n->exchange, &(TransportEvent){ .type = TRANSPORT_CERTIFICATE, .text = notice });
        exchange_flush(n->exchange); /* the resolver may take its time */
        memcpy(n->notice, notice, sizeof notice);
        n->notice_at = now;
}

/* Files, name, first SYN. Blocks in the resolver. */
static int begin_attempt(Network *n, Error *e) {
        SSL_CTX *tls = NULL;
        LinkAddresses addresses;
        uint64_t now;
        int r = 0;

        take_settings(n);
        if (n->tunnel.listener < 0)
                r = tunnel_open(&n->tunnel, e);
        if (r == 0 && n->settings->ca_file) {
                tls = TAKE(n->tls);
                if (!tls)
                        r = tls_context_new(n->settings, &tls, e);
                if (r == 0)
                        tell_certificate(n, tls, clock_boottime_usec());
        }
        if (r == 0)
                r = link_resolve(n->settings, &addresses, e);
        if (r == 0) {
                now = clock_boottime_usec();
                n->connect_by = now + n->settings->connect_timeout_usec;
                r = link_new(n->settings, tls, &addresses, now, &n->link, e);
        }
        SSL_CTX_free(tls);
        if (r == 0)
                enter_phase(n, PHASE_CONNECTING);
        return r;
}

static int connect_timeout(const Network *n, Error *e) {
        return error_set(e, ETIMEDOUT, "%s in %llu ms", link_stage(n->link),
                         (unsigned long long) (n->settings->connect_timeout_usec / USEC_PER_MSEC));
}

static int continue_connecting(Network *n, uint64_t now, Error *e) {
        int r = link_step(n->link, now, e);

        if (r < 0)
                return r;
        if (r == 0)
                return now >= n->connect_by ? connect_timeout(n, e) : 0;
        r = session_new(n->settings, &n->tunnel, n->exchange, n->cautious, now, &n->session, e);
        if (r < 0)
                return r;
        bucket_init(&n->bucket, n->settings->publish_rate);
        n->read_more = true; /* TLS may hold bytes that came with the handshake */
        enter_phase(n, PHASE_SESSION);
        return 0;
}

/* ---- a session ---- */

static bool write_blocked(const Network *n) {
        return n->out_at < n->out.len;
}

static bool may_read(Network *n) {
        return !exchange_full(n->exchange) && (!write_blocked(n) || n->blocked_in < BLOCKED_IN_MAX);
}

/* Until the link is empty. What TLS has decrypted already is seen by no poll, so stopping early is remembered. */
static int pump_in(Network *n, uint64_t now, Error *e) {
        n->read_more = true;
        for (int i = 0; i < CHUNKS_PER_TURN && may_read(n); i++) {
                ssize_t got = link_read(n->link, n->in, sizeof n->in, e);
                int r;

                if (got < 0)
                        return (int) got;
                if (got == 0) {
                        n->read_more = false;
                        return 0;
                }
                if (write_blocked(n))
                        n->blocked_in += (size_t) got;
                r = session_receive(n->session, n->in, (size_t) got, now, e);
                exchange_flush(n->exchange); /* the owner may begin while we read on */
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Everything the session has to say, as far as the link takes it. */
static int pump_out(Network *n, uint64_t now, Error *e) {
        int r;

        for (;;) {
                if (!write_blocked(n)) {
                        n->out_at = n->blocked_in = 0;
                        buf_clear(&n->out);
                        r = session_take_output(n->session, &n->out, now, e);
                        if (r < 0 || n->out.len == 0)
                                return r;
                }
                while (write_blocked(n)) {
                        ssize_t taken = link_write(n->link, n->out.data + n->out_at, n->out.len - n->out_at, e);

                        if (taken <= 0)
                                return (int) taken;
                        n->out_at += (size_t) taken;
                }
                r = session_output_sent(n->session, e);
                if (r < 0)
                        return r;
        }
}

/* Hand over what waits, as far as the limits go: several publications leave in one write. */
static int publish_waiting(Network *n, uint64_t now, bool limited, Error *e) {
        n->publish_at = USEC_NEVER;
        while (session_can_publish(n->session) && !write_blocked(n) && exchange_first_publication(n->exchange)) {
                uint64_t wait = limited ? bucket_take(&n->bucket, now) : 0;
                int r;

                if (wait > 0) {
                        n->publish_at = now + wait;
                        break;
                }
                r = session_publish(n->session, exchange_take_publication(n->exchange), now, e);
                if (r == 0 && session_output_full(n->session))
                        r = pump_out(n, now, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Is there a reason to be woken by a publication? */
static bool wants_publications(const Network *n) {
        return n->phase == PHASE_SESSION && session_can_publish(n->session) && !write_blocked(n) &&
               n->publish_at == USEC_NEVER;
}

/* The broker's last words (an alert, a CONNACK) say more than a broken pipe. */
static int explain_broken_write(Network *n, uint64_t now, int r, Error *e) {
        Error last = { 0 };
        int read = pump_in(n, now, &last);

        if (read >= 0 || last.code == 0)
                return r;
        if (e)
                *e = last;
        return read;
}

static int continue_session(Network *n, uint64_t now, bool readable, Error *e) {
        bool reading = !exchange_full(n->exchange);
        int r = 0;

        if (readable || n->read_more)
                r = pump_in(n, now, e);
        if (r == 0)
                r = session_tick(n->session, now, reading, e);
        if (r == 0 && session_state(n->session) == SESSION_CONNECTING && now >= n->connect_by)
                r = connect_timeout(n, e);
        if (r < 0)
                return r;
        r = publish_waiting(n, now, true, e);
        if (r == 0)
                r = pump_out(n, now, e);
        if (r < 0)
                return explain_broken_write(n, now, r, e);
        if (session_state(n->session) == SESSION_READY && !n->trimmed) {
                n->trimmed = true;
                (void) malloc_trim(0); /* the handshake needed much more memory than what comes now */
        }
        return 0;
}

/* ---- the end of a connection ---- */

static void format_offline(const Network *n, const Error *why, SessionLast last, const char *topic,
                           char ret[static OFFLINE_TEXT_MAX]) {
        static const char *const behind[] = {
                [SESSION_LAST_NOTHING] = NULL,
                [SESSION_LAST_SUBSCRIBE] = "without an answer to SUBSCRIBE",
                [SESSION_LAST_PUBLISH] = "without an answer to PUBLISH",
                [SESSION_LAST_SENT] = "right after PUBLISH",
        };
        const char *address = n->link ? link_address(n->link) : "";
        int at;

        at = snprintf(ret, OFFLINE_TEXT_MAX, "%s:%u%s%s%s: %s", n->settings->host, n->settings->port,
                      address[0] ? " (" : "", address, address[0] ? ")" : "", why->text);
        if (behind[last] && at > 0 && at < OFFLINE_TEXT_MAX)
                (void) snprintf(ret + at, (size_t) (OFFLINE_TEXT_MAX - at), ", %s %s", behind[last], topic);
}

/* What the broker may have taken offence at. */
static SessionLast find_last(const Network *n, uint64_t now, const Error *why, const char **ret_topic) {
        bool hung_up = why->code == ECONNRESET || why->code == EPIPE;
        SessionLast last = n->session ? session_last(n->session, now, ret_topic) : SESSION_LAST_NOTHING;

        /* With a reason given, or without a hang-up, the last publication has nothing to do with it. */
        if (last == SESSION_LAST_SENT && (!hung_up || session_reason(n->session) != 0)) {
                *ret_topic = NULL;
                return SESSION_LAST_NOTHING;
        }
        return last;
}

static uint64_t backoff(Network *n, uint64_t now) {
        uint64_t since = n->session ? session_online_since(n->session) : 0;

        if (since != 0 && now - since >= n->settings->stable_usec)
                n->failures = 0;
        n->failures++;
        return pace_backoff(n->settings->reconnect_min_usec, n->settings->reconnect_max_usec, n->failures,
                            random_u64());
}

/* Tell, tear everything down, and wait. `delay` USEC_NEVER: as the backoff says. */
static void go_offline(Network *n, uint64_t now, const Error *why, uint64_t delay) {
        bool hung_up = why->code == ECONNRESET || why->code == EPIPE;
        char text[OFFLINE_TEXT_MAX];
        const char *topic = NULL;
        SessionLast last = find_last(n, now, why, &topic);

        if (delay == USEC_NEVER)
                delay = backoff(n, now);
        n->cautious = hung_up && last == SESSION_LAST_SUBSCRIBE;
        format_offline(n, why, hung_up ? last : SESSION_LAST_NOTHING, topic, text);
        exchange_set_offline(n->exchange);
        (void) exchange_push(n->exchange, &(TransportEvent){ .type = TRANSPORT_OFFLINE,
                                                             .text = text,
                                                             .topic = topic,
                                                             .is_subscription = last == SESSION_LAST_SUBSCRIBE,
                                                             .code = n->session ? session_reason(n->session) : 0,
                                                             .error = why->code,
                                                             .retry_usec = delay });
        exchange_flush(n->exchange);
        drop_connection(n);
        n->trimmed = false;
        n->retry_at = now + delay;
        enter_phase(n, PHASE_WAITING);
}

static void wait_for(int fd, short events, uint64_t until) {
        struct pollfd p = { .fd = fd, .events = events };
        uint64_t now = clock_boottime_usec();

        if (now < until)
                (void) poll(&p, 1, (int) ((until - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC));
}

/* Send what waits and DISCONNECT, then give the broker a moment to close: a socket closed with bytes unread sends RST,
 * which may overtake the DISCONNECT. */
static void say_goodbye(Network *n, uint64_t until) {
        uint64_t linger;

        if (n->phase != PHASE_SESSION || session_state(n->session) == SESSION_CONNECTING)
                return;
        (void) publish_waiting(n, clock_boottime_usec(), false, NULL);
        session_disconnect(n->session);
        while (clock_boottime_usec() < until) {
                if (pump_out(n, clock_boottime_usec(), NULL) < 0)
                        return;
                if (!write_blocked(n))
                        break;
                wait_for(link_fd(n->link), link_write_events(n->link), until);
        }
        link_shutdown(n->link);
        linger = MIN_OF(until, clock_boottime_usec() + LINGER_MSEC * USEC_PER_MSEC);
        while (clock_boottime_usec() < linger) {
                ssize_t r = link_read(n->link, n->in, sizeof n->in, NULL);

                if (r < 0)
                        return;
                if (r == 0)
                        wait_for(link_fd(n->link), POLLIN, linger);
        }
}

static void reconnect_now(Network *n) {
        uint64_t now;

        say_goodbye(n, clock_boottime_usec() + GOODBYE_MSEC * USEC_PER_MSEC);
        now = clock_boottime_usec();
        if (n->phase == PHASE_WAITING)
                n->retry_at = now;
        else
                go_offline(n, now, &(Error){ .code = ESHUTDOWN, .text = "connecting again with a new configuration" },
                           0);
}

static void follow_subscriptions(Network *n) {
        uint64_t now = clock_boottime_usec();
        Error e = { 0 };

        if (n->phase == PHASE_SESSION && session_sync(n->session, now, &e) < 0)
                go_offline(n, now, &e, USEC_NEVER);
}

/* ---- the loop ---- */

/* false: stop. */
static bool follow_orders(Network *n) {
        Orders orders;

        exchange_take_orders(n->exchange, &orders);
        if (orders.settings) {
                (void) settings_free(n->next_settings);
                n->next_settings = orders.settings;
        }
        if (orders.stop) {
                say_goodbye(n, orders.stop_by_usec);
                return false;
        }
        if (orders.reconnect)
                reconnect_now(n);
        else if (orders.subscriptions)
                follow_subscriptions(n);
        return true;
}

static void advance(Network *n, bool readable) {
        uint64_t now = clock_boottime_usec();
        Error e = { 0 };
        int r = 0;

        switch (n->phase) {
        case PHASE_WAITING:
                if (now < n->retry_at || exchange_full(n->exchange))
                        return;
                r = begin_attempt(n, &e);
                break;
        case PHASE_CONNECTING:
                r = continue_connecting(n, now, &e);
                if (r == 0 && n->phase == PHASE_SESSION)
                        r = continue_session(n, now, true, &e);
                break;
        case PHASE_SESSION:
                r = continue_session(n, now, readable, &e);
                break;
        }
        if (r < 0)
                go_offline(n, clock_boottime_usec(), &e, USEC_NEVER);
}

static uint64_t next_deadline(Network *n) {
        bool full = exchange_full(n->exchange);
        uint64_t at = USEC_NEVER;

        switch (n->phase) {
        case PHASE_WAITING:
                return full ? USEC_NEVER : n->retry_at;
        case PHASE_CONNECTING:
                return MIN_OF(n->connect_by, link_deadline(n->link));
        case PHASE_SESSION:
                at = MIN_OF(n->publish_at, session_deadline(n->session, !full));
                if (session_state(n->session) == SESSION_CONNECTING)
                        at = MIN_OF(at, n->connect_by);
                break;
        }
        return at;
}

/* One timer on CLOCK_BOOTTIME, so that time asleep counts. A deadline that has moved away is left to expire for nothing: with
 * each message the next PINGREQ moves. */
static void set_timer(Network *n, uint64_t at) {
        struct itimerspec spec = { 0 };

        if (at >= n->timer_at)
                return;
        n->timer_at = at;
        spec.it_value.tv_sec = (time_t) (at / USEC_PER_SEC);
        spec.it_value.tv_nsec = (long) (at % USEC_PER_SEC) * 1000;
        if (at == 0)
                spec.it_value.tv_nsec = 1; /* all zero would mean "off" */
        if (timerfd_settime(n->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                abort();
}

static size_t fill_link_poll(Network *n, struct pollfd *ret) {
        short events = 0;

        if (n->phase == PHASE_CONNECTING)
                return link_poll(n->link, ret);
        if (n->phase != PHASE_SESSION)
                return 0;
        if (may_read(n))
                events |= link_read_events(n->link);
        if (write_blocked(n))
                events |= link_write_events(n->link);
        /* Without events poll would still report a hang-up, at once and again and again. */
        if (events == 0)
                return 0;
        *ret = (struct pollfd){ .fd = link_fd(n->link), .events = events };
        return 1;
}

/* Sleep until something is to be done. Returns whether the link has something. */
static bool wait_for_work(Network *n, bool *ret_orders) {
        struct pollfd p[POLL_LINK + LINK_POLL_MAX];
        size_t count = POLL_LINK;
        bool at_once = n->phase == PHASE_SESSION && n->read_more && may_read(n), readable = false;
        uint64_t expirations;
        int r;

        *ret_orders = false;
        p[POLL_WAKE] = (struct pollfd){ .fd = exchange_wake_fd(n->exchange), .events = POLLIN };
        p[POLL_TIMER] = (struct pollfd){ .fd = n->timer_fd, .events = POLLIN };
        count += fill_link_poll(n, p + POLL_LINK);
        set_timer(n, next_deadline(n));
        exchange_flush(n->exchange);
        at_once = !exchange_sleep(n->exchange, wants_publications(n)) || at_once;
        r = poll(p, (nfds_t) count, at_once ? 0 : -1);
        exchange_wake(n->exchange);
        if (r < 0)
                return false; /* EINTR, ENOMEM: look at everything and come back */
        if (p[POLL_TIMER].revents != 0 && read(n->timer_fd, &expirations, sizeof expirations) == sizeof expirations)
                n->timer_at = USEC_NEVER;
        *ret_orders = p[POLL_WAKE].revents != 0;
        for (size_t i = POLL_LINK; i < count; i++)
                readable = readable || p[i].revents != 0;
        return readable;
}

void network_run(Network *n) {
        bool orders = true, readable = false;

        for (;;) {
                if (orders && !follow_orders(n))
                        break;
                advance(n, readable);
                readable = wait_for_work(n, &orders);
        }
        exchange_flush(n->exchange);
}
