/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of a connection: a context made from files that are read afresh each time, a session that OpenSSL itself
 * checks against the host name, and sentences for what can go wrong. */
#pragma once

#include <openssl/ssl.h>

#include "transport/settings.h"

enum {
        TLS_FILE_MAX = 1 << 20,   /* a PEM file */
        TLS_OWN_EXPIRY_DAYS = 30, /* warn about the own certificate so long before its end */
        TLS_NOTICE_MAX = 512,
};

/* Before the first use of OpenSSL in the process: without its tables of error texts (64 KiB of private memory; the sentences
 * that matter are ours) and without its exit handler, which would take things away from a network thread left behind. */
void tls_init(void);

/* Context from s->ca_file, cert_file, key_file or key_uri, alpn. Each file is read once, into memory, and everything in it is checked
 * here: readable, PEM, key and certificate belong together. 0, or negative errno with the file and the problem in e. */
int tls_context_new(const Settings *s, SSL_CTX **ret, Error *e) MUST_USE;

/* Is the own certificate near its end, past it, or not valid yet? Fills ret with a sentence that names file and dates and
 * returns true. */
bool tls_own_certificate_notice(SSL_CTX *ctx, const Settings *s, char ret[static TLS_NOTICE_MAX]);

/* What the verification and the peer said about one session; lives as long as the SSL. */
typedef struct TlsSession {
        SSL *ssl;
        const Settings *settings; /* borrowed */
        bool settled;             /* the handshake is over */
        int verify_code;          /* X509_V_…; 0 = nothing wrong */
        char verify_text[ERROR_TEXT_MAX];
} TlsSession;

/* A client session on a connected, non-blocking socket. SNI is the configured host, unless that is an address. The object
 * must not move in memory. */
int tls_session_open(TlsSession *t, SSL_CTX *ctx, const Settings *s, int fd, Error *e) MUST_USE;
void tls_session_close(TlsSession *t);

/* After the handshake: let go of what only the handshake needed (the trusted certificates). */
void tls_session_settle(TlsSession *t);

/* Turn the failure of the last SSL_… call (SSL_get_error() = `code`, errno as the call left it) into a sentence. Empties
 * OpenSSL's error queue. Returns negative errno. */
int tls_explain(const TlsSession *t, int code, int saved_errno, Error *e);
