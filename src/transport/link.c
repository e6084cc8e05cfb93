/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "transport/http.h"
#include "transport/proxy.h"
#include "transport/tls.h"
#include "transport/upgrade.h"
#include "transport/websocket.h"

enum {
        PORT_TEXT_MAX = 6,
        ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN + 320, /* with the proxy's name */
        DIALOG_CHUNK = 1024,
};

typedef enum LinkStage {
        LINK_CONNECTING,
        LINK_PROXY, /* CONNECT is on its way, or its answer */
        LINK_HANDSHAKE,
        LINK_UPGRADE, /* the WebSocket request is on its way, or its answer */
        LINK_UP,
} LinkStage;

/* One HTTP request and its answer, while it lasts. */
typedef struct Dialog {
        Buf request;
        size_t sent;
        HttpAnswer answer;
        uint64_t body_by; /* 0 = the head is not complete */
        size_t body_len;
        unsigned char nonce[UPGRADE_NONCE_SIZE];
} Dialog;

struct Link {
        const Settings *settings;
        SSL_CTX *tls; /* NULL = plain */
        LinkStage stage;
        LinkAddresses addresses;
        int fd[LINK_ADDRESSES_MAX]; /* attempts under way; -1 = not begun or over */
        int error[LINK_ADDRESSES_MAX];
        size_t n_begun;
        uint64_t next_begin; /* begin with the next address then, if none has answered */

        int socket; /* the one that answered */
        char address[ADDRESS_TEXT_MAX];
        char waiting[ADDRESS_TEXT_MAX]; /* "no TCP connection to …" */
        Dialog *dialog;                 /* LINK_PROXY, LINK_UPGRADE */
        Websocket *websocket;           /* LINK_UP, NULL = none */
        TlsSession session;
        int handshake_wants; /* SSL_ERROR_WANT_READ or _WRITE */
        bool read_wants_write, write_wants_read;
};

/* ---- names ---- */

/* Keep the resolver's order inside a family and take turns between them, beginning with its first choice. */
static void alternate(const struct addrinfo *list, LinkAddresses *ret) {
        const struct addrinfo *next[2] = { list, list };
        int family[2] = { list->ai_family, list->ai_family == AF_INET6 ? AF_INET : AF_INET6 };

        ret->n = 0;
        while (ret->n < LINK_ADDRESSES_MAX && (next[0] || next[1])) {
                for (size_t turn = 0; turn < 2; turn++) {
                        const struct addrinfo *a = next[turn];

                        while (a && a->ai_family != family[turn])
                                a = a->ai_next;
                        if (a && ret->n < LINK_ADDRESSES_MAX) {
                                memcpy(&ret->at[ret->n], a->ai_addr, a->ai_addrlen);
                                ret->len[ret->n++] = a->ai_addrlen;
                        }
                        next[turn] = a ? a->ai_next : NULL;
                }
        }
}

int link_check(const Settings *s, Error *e) {
        return s->websocket ? upgrade_check(s, e) : 0;
}

int link_resolve(const Settings *s, LinkAddresses *ret, Error *e) {
        const char *host = s->proxy_host ? s->proxy_host : s->host, *whose = s->proxy_host ? "proxy's " : "";
        uint16_t port = s->proxy_host ? s->proxy_port : s->port;
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
        struct addrinfo *list = NULL;
        char service[PORT_TEXT_MAX];
        int r;

        (void) snprintf(service, sizeof service, "%u", port);
        r = getaddrinfo(host, service, &hints, &list);
        if (r == EAI_NONAME) {
                /* Not a numeric address. (Asked separately: this way the resolver is not even loaded for one.) */
                hints.ai_flags = AI_NUMERICSERV;
                r = getaddrinfo(host, service, &hints, &list);
        }
        if (r == EAI_SYSTEM)
                return error_errno(e, errno, "cannot look up the %sname %s", whose, host);
        if (r != 0)
                return error_set(e, EHOSTUNREACH, "cannot look up the %sname %s: %s", whose, host, gai_strerror(r));
        alternate(list, ret);
        freeaddrinfo(list);
        if (ret->n == 0)
                return error_set(e, EHOSTUNREACH, "the %sname %s has no IP address", whose, host);
        return 0;
}

static void format_address(const struct sockaddr_storage *at, char ret[static INET6_ADDRSTRLEN]) {
        const void *p = at->ss_family == AF_INET6 ? (const void *) &((const struct sockaddr_in6 *) at)->sin6_addr
                                                  : (const void *) &((const struct sockaddr_in *) at)->sin_addr;

        if (!inet_ntop(at->ss_family, p, ret, INET6_ADDRSTRLEN))
                ret[0] = '\0';
}

/* ---- connecting ---- */

/* Nothing here may fail the connection: a kernel without one of them still connects. */
static void set_options(int fd, const Settings *s) {
        const int on = 1;
        /* As long as the keep-alive takes to notice: a dead path shows even while data waits to be sent. */
        const unsigned user_timeout = s->watch_sec * 1500U + 5000U;

        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
}

static void begin(Link *l, uint64_t now) {
        size_t i = l->n_begun++;
        const struct sockaddr *at = (const struct sockaddr *) &l->addresses.at[i];
        int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

        l->next_begin = now;
        if (fd < 0) {
                l->error[i] = errno;
                return;
        }
        set_options(fd, l->settings);
        if (connect(fd, at, l->addresses.len[i]) < 0 && errno != EINPROGRESS) {
                l->error[i] = errno;
                close_fd_p(&fd);
                return;
        }
        l->fd[i] = fd;
        l->next_begin = now + LINK_STAGGER_MSEC * USEC_PER_MSEC;
}

static bool any_under_way(const Link *l) {
        for (size_t i = 0; i < l->n_begun; i++)
                if (l->fd[i] >= 0)
                        return true;
        return false;
}

static void begin_more(Link *l, uint64_t now) {
        while (l->n_begun < l->addresses.n && (!any_under_way(l) || now >= l->next_begin))
                begin(l, now);
}

int link_new(const Settings *s, void *tls, const LinkAddresses *addresses, uint64_t now, Link **ret, Error *e) {
        Link *l = calloc(1, sizeof *l);

        if (!l)
                return error_errno(e, ENOMEM, "connection");
        l->settings = s;
        l->addresses = *addresses;
        l->socket = -1;
        for (size_t i = 0; i < LINK_ADDRESSES_MAX; i++)
                l->fd[i] = -1;
        if (tls && SSL_CTX_up_ref(tls) == 1)
                l->tls = tls;
        if (s->proxy_host)
                (void) snprintf(l->waiting, sizeof l->waiting, "no TCP connection to the proxy %s:%u", s->proxy_host,
                                s->proxy_port);
        else
                (void) snprintf(l->waiting, sizeof l->waiting, "no TCP connection");
        begin_more(l, now);
        *ret = l;
        return 0;
}

static void end_dialog(Link *l) {
        Dialog *d = TAKE(l->dialog);

        if (!d)
                return;
        if (d->request.data)
                explicit_bzero(d->request.data, d->request.len); /* a password or a signature */
        buf_done(&d->request);
        http_answer_done(&d->answer);
        free(d);
}

Link *link_free(Link *l) {
        if (!l)
                return NULL;
        end_dialog(l);
        (void) websocket_free(l->websocket);
        tls_session_close(&l->session);
        SSL_CTX_free(l->tls);
        for (size_t i = 0; i < LINK_ADDRESSES_MAX; i++)
                close_fd_p(&l->fd[i]);
        close_fd_p(&l->socket);
        free(l);
        return NULL;
}

/* Every address failed: one sentence with each one's reason. */
static int explain_refusals(const Link *l, Error *e) {
        const Settings *s = l->settings;
        Buf text CLEANUP_BUF = { 0 };

        for (size_t i = 0; i < l->addresses.n; i++) {
                char address[INET6_ADDRSTRLEN];
                const char *why = strerrordesc_np(l->error[i]);

                format_address(&l->addresses.at[i], address);
                buf_printf(&text, "%s%s: %s", i > 0 ? ", " : "", address, why ? why : "unknown error");
        }
        if (s->proxy_host)
                return error_set(e, l->error[0], "cannot connect to the proxy %s:%u (%s)", s->proxy_host, s->proxy_port,
                                 text.data ? text.data : "");
        return error_set(e, l->error[0], "cannot connect (%s)", text.data ? text.data : "");
}

/* 1 = attempt i is connected, 0 = still under way, negative: over. */
static int look_at(Link *l, size_t i) {
        struct pollfd p = { .fd = l->fd[i], .events = POLLOUT };
        socklen_t size = sizeof l->error[i];

        if (poll(&p, 1, 0) <= 0)
                return 0;
        if (getsockopt(l->fd[i], SOL_SOCKET, SO_ERROR, &l->error[i], &size) < 0)
                l->error[i] = errno;
        if (l->error[i] == 0)
                return 1;
        close_fd_p(&l->fd[i]);
        l->fd[i] = -1;
        return -l->error[i];
}

static void format_peer(Link *l, size_t i) {
        const Settings *s = l->settings;
        char address[INET6_ADDRSTRLEN];

        format_address(&l->addresses.at[i], address);
        if (s->proxy_host)
                (void) snprintf(l->address, sizeof l->address, "through the proxy %s:%u at %s", s->proxy_host,
                                s->proxy_port, address);
        else
                (void) snprintf(l->address, sizeof l->address, "%s", address);
}

/* ---- from stage to stage ---- */

static int begin_dialog(Link *l, Error *e) {
        Dialog *d = calloc(1, sizeof *d);
        int r = 0;

        if (!d)
                return error_errno(e, ENOMEM, "connection");
        l->dialog = d;
        if (l->stage == LINK_PROXY) {
                proxy_request(l->settings, &d->request);
        } else {
                random_bytes(d->nonce, sizeof d->nonce);
                r = upgrade_request(l->settings, d->nonce, clock_wall_sec(), &d->request, e);
        }
        return r == 0 && buf_error(&d->request) < 0 ? error_errno(e, ENOMEM, "connection") : r;
}

static int enter_stage(Link *l, LinkStage stage, Error *e) {
        l->stage = stage;
        switch (stage) {
        case LINK_PROXY:
        case LINK_UPGRADE:
                return begin_dialog(l, e);
        case LINK_HANDSHAKE:
                l->handshake_wants = SSL_ERROR_WANT_WRITE;
                return tls_session_open(&l->session, l->tls, l->settings, l->socket, e);
        case LINK_CONNECTING:
        case LINK_UP:
                break;
        }
        return 0;
}

/* What comes after a stage, over what the connection does not need. */
static int enter_next_stage(Link *l, Error *e) {
        if (l->stage == LINK_CONNECTING && l->settings->proxy_host)
                return enter_stage(l, LINK_PROXY, e);
        if (l->stage < LINK_HANDSHAKE && l->tls)
                return enter_stage(l, LINK_HANDSHAKE, e);
        if (l->stage < LINK_UPGRADE && l->settings->websocket)
                return enter_stage(l, LINK_UPGRADE, e);
        return enter_stage(l, LINK_UP, e);
}

static int choose(Link *l, size_t i, Error *e) {
        l->socket = TAKE_FD(l->fd[i]);
        for (size_t other = 0; other < l->n_begun; other++) {
                close_fd_p(&l->fd[other]);
                l->fd[other] = -1;
        }
        format_peer(l, i);
        return enter_next_stage(l, e);
}

static int step_connecting(Link *l, uint64_t now, Error *e) {
        for (size_t i = 0; i < l->n_begun; i++) {
                int r = l->fd[i] >= 0 ? look_at(l, i) : 0;

                if (r == 1)
                        return choose(l, i, e);
                if (r < 0)
                        l->next_begin = now; /* no reason to wait any longer with the next one */
        }
        begin_more(l, now);
        if (l->n_begun == l->addresses.n && !any_under_way(l))
                return explain_refusals(l, e);
        return 0;
}

/* ---- bytes, below WebSocket ---- */

/* A broker without TCP_NODELAY holds its second small packet back until the first is acknowledged, and the kernel would
 * delay that by 40 ms. The option does not last, hence after each read. */
static void acknowledge_now(const Link *l) {
        const int on = 1;

        (void) setsockopt(l->socket, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static ssize_t plain_read(Link *l, void *buf, size_t size, Error *e) {
        ssize_t n = recv(l->socket, buf, size, MSG_DONTWAIT);

        if (n > 0)
                return n;
        if (n == 0)
                return error_set(e, ECONNRESET, "%s closed the connection",
                                 l->stage == LINK_PROXY ? "the proxy" : "the broker");
        if (errno == EAGAIN || errno == EINTR) {
                acknowledge_now(l);
                return 0;
        }
        return error_errno(e, errno, "connection");
}

static ssize_t stream_read(void *userdata, void *buf, size_t size, Error *e) {
        Link *l = userdata;
        int n, code, saved;

        if (!l->session.ssl)
                return plain_read(l, buf, size, e);
        ERR_clear_error();
        errno = 0;
        l->read_wants_write = false;
        n = SSL_read(l->session.ssl, buf, (int) MIN_OF(size, (size_t) INT32_MAX));
        saved = errno;
        if (n > 0)
                return n;
        code = SSL_get_error(l->session.ssl, n);
        if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
                l->read_wants_write = code == SSL_ERROR_WANT_WRITE;
                acknowledge_now(l);
                return 0;
        }
        return tls_explain(&l->session, code, saved, e);
}

static ssize_t plain_write(Link *l, const void *data, size_t len, Error *e) {
        ssize_t n = send(l->socket, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
                return n;
        if (errno == EAGAIN || errno == EINTR)
                return 0;
        return error_errno(e, errno, "connection");
}

static ssize_t stream_write(void *userdata, const void *data, size_t len, Error *e) {
        Link *l = userdata;
        int n, code, saved;

        if (!l->session.ssl)
                return plain_write(l, data, len, e);
        ERR_clear_error();
        errno = 0;
        l->write_wants_read = false;
        n = SSL_write(l->session.ssl, data, (int) MIN_OF(len, (size_t) INT32_MAX));
        saved = errno;
        if (n > 0)
                return n;
        code = SSL_get_error(l->session.ssl, n);
        if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
                l->write_wants_read = code == SSL_ERROR_WANT_READ;
                return 0;
        }
        return tls_explain(&l->session, code, saved, e);
}

/* ---- HTTP ---- */

static const char *dialog_peer(const Link *l) {
        return l->stage == LINK_PROXY ? "the proxy" : "the server";
}

/* The head says yes: what follows is no longer HTTP. `rest` are bytes that came with it. */
static int accept_answer(Link *l, const char *rest, size_t rest_len, Error *e) {
        const WebsocketBelow below = { .read = stream_read, .write = stream_write, .userdata = l };

        if (l->stage == LINK_UPGRADE) {
                if (websocket_new(&below, rest, rest_len, &l->websocket) < 0)
                        return error_errno(e, ENOMEM, "WebSocket");
        } else if (rest_len > 0) {
                /* Nobody behind the proxy speaks before we do. */
                return error_set(e, EPROTO, "the proxy %s:%u sent %zu bytes behind its answer", l->settings->proxy_host,
                                 l->settings->proxy_port, rest_len);
        }
        end_dialog(l);
        return enter_next_stage(l, e);
}

static int judge(const Link *l, Error *e) {
        const Dialog *d = l->dialog;

        return l->stage == LINK_PROXY ? proxy_judge(l->settings, &d->answer, e)
                                      : upgrade_judge(l->settings, d->nonce, clock_wall_sec(), &d->answer, e);
}

/* 1 = the dialog is over, with success; 0 = more is needed. */
static int take_answer(Link *l, const char *data, size_t len, uint64_t now, Error *e) {
        Dialog *d = l->dialog;
        size_t used = 0;
        int r;

        if (d->body_by == 0) {
                r = http_feed_head(&d->answer, dialog_peer(l), data, len, &used, e);
                if (r <= 0)
                        return r;
                if (judge(l, NULL) == 0) {
                        r = accept_answer(l, data + used, len - used, e);
                        return r < 0 ? r : 1;
                }
                d->body_by = now + LINK_BODY_MSEC * USEC_PER_MSEC;
        }
        d->body_len += len - used;
        if (http_feed_body(&d->answer, data + used, len - used) || d->body_len > LINK_BODY_MAX)
                return judge(l, e);
        return 0;
}

/* A peer that answers before it has read everything may close: its answer says more than the broken write. */
static int send_request(Link *l, Error *e) {
        Dialog *d = l->dialog;

        while (d->sent < d->request.len) {
                ssize_t n = stream_write(l, d->request.data + d->sent, d->request.len - d->sent, e);

                if (n <= 0)
                        return (int) n;
                d->sent += (size_t) n;
        }
        return 0;
}

static int explain_silence(const Link *l, int r, Error *e) {
        if (l->dialog->body_by != 0)
                return judge(l, e);
        if (r == -ECONNRESET && l->stage == LINK_PROXY)
                return error_set(e, ECONNRESET, "the proxy %s:%u closed the connection without an answer",
                                 l->settings->proxy_host, l->settings->proxy_port);
        if (r == -ECONNRESET)
                return error_set(e, ECONNRESET,
                                 "the server closed the connection without an answer to the WebSocket request");
        return r;
}

static int step_dialog(Link *l, uint64_t now, Error *e) {
        Error broken = { 0 };
        int written = send_request(l, &broken);

        for (;;) {
                char buf[DIALOG_CHUNK];
                ssize_t n = stream_read(l, buf, sizeof buf, e);
                int r;

                if (n < 0)
                        return explain_silence(l, (int) n, e);
                if (n == 0)
                        break;
                r = take_answer(l, buf, (size_t) n, now, e);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        if (l->dialog->body_by != 0 && now >= l->dialog->body_by)
                return judge(l, e);
        if (written < 0 && e)
                *e = broken;
        return written;
}

/* ---- steps ---- */

static int step_handshake(Link *l, Error *e) {
        int r, code, saved;

        ERR_clear_error();
        errno = 0;
        r = SSL_do_handshake(l->session.ssl);
        saved = errno;
        if (r == 1) {
                tls_session_settle(&l->session);
                return enter_next_stage(l, e);
        }
        code = SSL_get_error(l->session.ssl, r);
        if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
                l->handshake_wants = code;
                return 0;
        }
        return tls_explain(&l->session, code, saved, e);
}

int link_step(Link *l, uint64_t now, Error *e) {
        int r = 0;

        if (l->stage == LINK_CONNECTING)
                r = step_connecting(l, now, e);
        if (r == 0 && l->stage == LINK_PROXY)
                r = step_dialog(l, now, e);
        if (r == 0 && l->stage == LINK_HANDSHAKE)
                r = step_handshake(l, e);
        if (r == 0 && l->stage == LINK_UPGRADE)
                r = step_dialog(l, now, e);
        if (r < 0)
                return r;
        return l->stage == LINK_UP ? 1 : 0;
}

size_t link_poll(const Link *l, struct pollfd ret[static LINK_POLL_MAX]) {
        size_t n = 0;

        switch (l->stage) {
        case LINK_CONNECTING:
                for (size_t i = 0; i < l->n_begun; i++)
                        if (l->fd[i] >= 0)
                                ret[n++] = (struct pollfd){ .fd = l->fd[i], .events = POLLOUT };
                break;
        case LINK_PROXY:
        case LINK_UPGRADE:
                ret[n] = (struct pollfd){ .fd = l->socket, .events = link_read_events(l) };
                if (l->dialog->sent < l->dialog->request.len)
                        ret[n].events |= link_write_events(l);
                n++;
                break;
        case LINK_HANDSHAKE:
                ret[n++] = (struct pollfd){ .fd = l->socket,
                                            .events = l->handshake_wants == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN };
                break;
        case LINK_UP:
                break;
        }
        return n;
}

uint64_t link_deadline(const Link *l) {
        if (l->stage == LINK_CONNECTING && l->n_begun < l->addresses.n)
                return l->next_begin;
        return l->dialog && l->dialog->body_by != 0 ? l->dialog->body_by : USEC_NEVER;
}

const char *link_stage(const Link *l) {
        switch (l->stage) {
        case LINK_CONNECTING:
                return l->waiting;
        case LINK_PROXY:
                return "the proxy made no connection";
        case LINK_UPGRADE:
                return "no answer to the WebSocket request";
        case LINK_HANDSHAKE:
                return "the TLS handshake did not end";
        case LINK_UP:
                break;
        }
        return "no CONNACK";
}

const char *link_address(const Link *l) {
        return l->address;
}

/* ---- bytes ---- */

int link_fd(const Link *l) {
        return l->socket;
}

short link_read_events(const Link *l) {
        bool writes = l->read_wants_write || (l->websocket && websocket_wants_write(l->websocket));

        return writes ? POLLIN | POLLOUT : POLLIN;
}

short link_write_events(const Link *l) {
        return l->write_wants_read ? POLLIN : POLLOUT;
}

ssize_t link_read(Link *l, void *buf, size_t size, Error *e) {
        return l->websocket ? websocket_read(l->websocket, buf, size, e) : stream_read(l, buf, size, e);
}

ssize_t link_write(Link *l, const void *data, size_t len, Error *e) {
        return l->websocket ? websocket_write(l->websocket, data, len, e) : stream_write(l, data, len, e);
}

void link_shutdown(Link *l) {
        if (l->websocket)
                websocket_close(l->websocket);
        if (l->stage == LINK_UP && l->tls)
                (void) SSL_shutdown(l->session.ssl);
        ERR_clear_error();
        if (l->socket >= 0)
                (void) shutdown(l->socket, SHUT_WR);
}
