/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 1 << 18, REQUEST_MAX = 16384, DAY_SEC = 86400, BINARY = 2, CLOSE = 8 };

struct Front {
        pthread_t thread;
        SSL_CTX *tls;
        int listener, ca_fd, port;
};

typedef struct Tunnel {
        SSL *tls;
        int plain;
        unsigned char in[FRAME_MAX];
        size_t n;
} Tunnel;

/* ---- a certificate of its own, which is its own CA ---- */

static X509 *make_certificate(EVP_PKEY *key) {
        X509 *cert = X509_new();
        X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        bool good = cert && names && ca && X509_set_version(cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
                    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_SEC) &&
                    X509_gmtime_adj(X509_getm_notAfter(cert), 90L * DAY_SEC) && X509_set_pubkey(cert, key) &&
                    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                               (const unsigned char *) "golden", -1, -1, 0) &&
                    X509_set_issuer_name(cert, X509_get_subject_name(cert)) && X509_add_ext(cert, names, -1) &&
                    X509_add_ext(cert, ca, -1) && X509_sign(cert, key, EVP_sha256()) > 0;

        X509_EXTENSION_free(names);
        X509_EXTENSION_free(ca);
        if (good)
                return cert;
        X509_free(cert);
        return NULL;
}

static bool write_certificate(Front *f, X509 *cert) {
        FILE *out;
        bool good;

        f->ca_fd = memfd_create("golden-ca", MFD_CLOEXEC);
        out = f->ca_fd < 0 ? NULL : fdopen(dup(f->ca_fd), "w");
        if (!out)
                return false;
        good = PEM_write_X509(out, cert) == 1;
        return fclose(out) == 0 && good;
}

static bool make_identity(Front *f) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *cert = key ? make_certificate(key) : NULL;
        bool good;

        f->tls = SSL_CTX_new(TLS_server_method());
        good = cert && f->tls && SSL_CTX_use_certificate(f->tls, cert) == 1 && SSL_CTX_use_PrivateKey(f->tls, key) == 1 &&
               write_certificate(f, cert);
        X509_free(cert);
        EVP_PKEY_free(key);
        return good;
}

/* ---- the upgrade ---- */

static bool read_request(SSL *tls, char ret[static REQUEST_MAX]) {
        size_t n = 0;

        while (n + 1 < REQUEST_MAX) {
                int got = SSL_read(tls, ret + n, 1);

                if (got <= 0)
                        return false;
                n += (size_t) got;
                ret[n] = '\0';
                if (n >= 4 && strcmp(ret + n - 4, "\r\n\r\n") == 0)
                        return true;
        }
        return false;
}

static bool answer_request(SSL *tls, const char *request) {
        static const char field[] = "\r\nSec-WebSocket-Key: ";
        const char *key = strcasestr(request, field);
        unsigned char digest[EVP_MAX_MD_SIZE], accept[64];
        char text[256];
        int n;

        /* RFC 6455, section 1.3 */
        if (!key || strncmp(request, "GET /mqtt", 9) != 0 || !strcasestr(request, "\r\nSec-WebSocket-Protocol: mqtt\r\n"))
                return false;
        n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + sizeof field - 1);
        if (EVP_Digest(text, (size_t) n, digest, NULL, EVP_sha1(), NULL) != 1)
                return false;
        (void) EVP_EncodeBlock(accept, digest, 20);
        n = snprintf(text, sizeof text,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     (const char *) accept);
        return SSL_write(tls, text, n) == n;
}

/* ---- frames ---- */

/* The first frame of what came goes on. 1, 0 where it is not whole, -1 at the end. */
static int take_frame(Tunnel *t) {
        size_t head = 6, len;

        if (t->n < 2)
                return 0;
        len = t->in[1] & 0x7F;
        if (len == 126) {
                head = 8;
                len = t->n < 4 ? FRAME_MAX : (size_t) t->in[2] << 8 | t->in[3];
        } else if (len == 127) {
                head = 14;
                len = 0;
                for (size_t i = 2; i < 10 && t->n >= 10; i++)
                        len = len << 8 | t->in[i];
        }
        if (!(t->in[1] & 0x80) || (t->in[0] & 0xF) == CLOSE || (t->n >= head && len > FRAME_MAX - head))
                return -1; /* a client masks */
        if (t->n < head || t->n < head + len)
                return 0;
        for (size_t i = 0; i < len; i++)
                t->in[head + i] ^= t->in[head - 4 + i % 4];
        if ((t->in[0] & 0xF) <= BINARY && send(t->plain, t->in + head, len, MSG_NOSIGNAL) != (ssize_t) len)
                return -1;
        memmove(t->in, t->in + head + len, t->n - head - len);
        t->n -= head + len;
        return 1;
}

static bool from_client(Tunnel *t) {
        int r;

        do {
                int n = t->n < sizeof t->in ? SSL_read(t->tls, t->in + t->n, (int) (sizeof t->in - t->n)) : 0;

                if (n <= 0)
                        return false;
                t->n += (size_t) n;
                while ((r = take_frame(t)) > 0)
                        ;
        } while (r == 0 && SSL_pending(t->tls) > 0);
        return r == 0;
}

static bool to_client(Tunnel *t) {
        unsigned char frame[2 + 125] = { 0x80 | BINARY };
        ssize_t n = read(t->plain, frame + 2, 125);

        if (n <= 0)
                return false;
        frame[1] = (unsigned char) n;
        return SSL_write(t->tls, frame, (int) n + 2) == (int) n + 2;
}

static void carry(Tunnel *t) {
        struct pollfd p[] = { { .fd = SSL_get_fd(t->tls), .events = POLLIN }, { .fd = t->plain, .events = POLLIN } };
        bool on = true;

        while (on && poll(p, 2, -1) > 0) {
                if (p[0].revents)
                        on = from_client(t);
                if (on && p[1].revents)
                        on = to_client(t);
        }
}

static void serve_one(Front *f, int fd, Tunnel *t) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t) f->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        char request[REQUEST_MAX];

        t->n = 0;
        t->tls = SSL_new(f->tls);
        t->plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (t->tls && SSL_set_fd(t->tls, fd) == 1 && SSL_accept(t->tls) == 1 && read_request(t->tls, request) &&
            answer_request(t->tls, request) && connect(t->plain, (struct sockaddr *) &at, sizeof at) == 0)
                carry(t);
        SSL_free(t->tls);
        (void) close(t->plain);
        (void) close(fd);
}

static void *serve(void *userdata) {
        Front *f = userdata;
        Tunnel *t = calloc(1, sizeof *t);
        int fd;

        while (t && (fd = accept(f->listener, NULL, NULL)) >= 0)
                serve_one(f, fd, t);
        free(t);
        return NULL;
}

/* ---- for the caller ---- */

Front *front_start(int port, int *ret_port, char ret_ca_file[static FRONT_PATH_MAX]) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof at;
        Front *f = calloc(1, sizeof *f);

        if (!f)
                return NULL;
        f->port = port;
        f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (f->listener < 0 || bind(f->listener, (struct sockaddr *) &at, sizeof at) < 0 || listen(f->listener, 4) < 0 ||
            getsockname(f->listener, (struct sockaddr *) &at, &size) < 0 || !make_identity(f) ||
            pthread_create(&f->thread, NULL, serve, f) != 0)
                return NULL; /* the program ends */
        *ret_port = ntohs(at.sin_port);
        (void) snprintf(ret_ca_file, FRONT_PATH_MAX, "/proc/self/fd/%d", f->ca_fd);
        return f;
}

void front_stop(Front *f) {
        (void) shutdown(f->listener, SHUT_RDWR);
        (void) pthread_join(f->thread, NULL);
        (void) close(f->listener);
        (void) close(f->ca_fd);
        SSL_CTX_free(f->tls);
        free(f);
}
