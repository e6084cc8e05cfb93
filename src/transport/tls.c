/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "transport/reason.h"
#include "transport/tls_key.h"

enum {
        DATE_MAX = 32,
        NAME_MAX_SHOWN = 160, /* of a certificate's subject, issuer or names */
        SECONDS_PER_DAY = 86400,
};

DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free)
DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(GENERAL_NAMES *, GENERAL_NAMES_free)

void tls_init(void) {
        (void) OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_SSL_STRINGS | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
                                        OPENSSL_INIT_NO_ATEXIT,
                                NULL);
}

/* ---- files ---- */

typedef struct File {
        char *data;
        size_t len;
} File;

static void file_done(File *f) {
        if (f->data)
                explicit_bzero(f->data, f->len); /* one of them is the private key */
        free(f->data);
}

static int read_descriptor(int fd, size_t size, File *f) {
        while (f->len < size) {
                ssize_t n = read(fd, f->data + f->len, size - f->len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                f->len += (size_t) n;
        }
        return 0;
}

/* A regular file (a link to one will do). Opened without waiting, so that a FIFO cannot hold the thread up. */
static int file_read(const char *key, const char *path, File *ret, Error *e) {
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(e, errno, "%s %s", key, path);
        if (!S_ISREG(st.st_mode))
                return error_set(e, EINVAL, "%s %s: not a regular file", key, path);
        if (st.st_size > TLS_FILE_MAX)
                return error_set(e, EFBIG, "%s %s: larger than %d bytes", key, path, TLS_FILE_MAX);
        ret->data = malloc((size_t) st.st_size + 1);
        if (!ret->data)
                return error_errno(e, ENOMEM, "%s %s", key, path);
        r = read_descriptor(fd, (size_t) st.st_size, ret);
        if (r < 0)
                return error_errno(e, -r, "%s %s", key, path);
        return 0;
}

static int file_open(const char *key, const char *path, File *f, BIO **ret, Error *e) {
        int r = file_read(key, path, f, e);

        if (r < 0)
                return r;
        *ret = BIO_new_mem_buf(f->data, (int) f->len);
        return *ret ? 0 : error_errno(e, ENOMEM, "%s %s", key, path);
}

/* OpenSSL would otherwise ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *userdata) {
        (void) buf, (void) size, (void) writing;
        *(bool *) userdata = true;
        return -1;
}

static bool at_end_of_pem(void) {
        unsigned long code = ERR_peek_last_error();

        return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

/* ---- context ---- */

static int load_ca(SSL_CTX *ctx, const char *path, Error *e) {
        File file __attribute__((cleanup(file_done))) = { 0 };
        BIO *bio CLEANUP(BIO_free) = NULL;
        X509_STORE *store = SSL_CTX_get_cert_store(ctx);
        size_t n = 0;
        int r = file_open("ca_file", path, &file, &bio, e);

        if (r < 0)
                return r;
        for (;;) {
                X509 *cert CLEANUP(X509_free) = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);

                if (!cert)
                        break;
                if (X509_STORE_add_cert(store, cert) != 1)
                        return error_set(e, ENOMEM, "ca_file %s: certificate %zu cannot be used", path,
                                         n + 1);
                n++;
        }
        if (n == 0)
                return error_set(e, EBADMSG, "ca_file %s: holds no certificate in PEM form", path);
        if (!at_end_of_pem())
                return error_set(e, EBADMSG, "ca_file %s: damaged after certificate %zu", path, n);
        ERR_clear_error();
        return 0;
}

static int load_certificate(SSL_CTX *ctx, const char *path, Error *e) {
        File file __attribute__((cleanup(file_done))) = { 0 };
        BIO *bio CLEANUP(BIO_free) = NULL;
        X509 *leaf CLEANUP(X509_free) = NULL;
        int r = file_open("cert_file", path, &file, &bio, e);

        if (r < 0)
                return r;
        leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (!leaf)
                return error_set(e, EBADMSG, "cert_file %s: holds no certificate in PEM form", path);
        if (SSL_CTX_use_certificate(ctx, leaf) != 1)
                return error_set(e, EBADMSG, "cert_file %s: the certificate cannot be used (too weak a key?)",
                                 path);
        for (;;) {
                X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);

                if (!next)
                        break;
                if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
                        X509_free(next);
                        return error_set(e, EBADMSG, "cert_file %s: its chain cannot be used", path);
                }
        }
        if (!at_end_of_pem())
                return error_set(e, EBADMSG, "cert_file %s: damaged behind the first certificate", path);
        ERR_clear_error();
        return 0;
}

static int read_key(const char *path, EVP_PKEY **ret, Error *e) {
        File file __attribute__((cleanup(file_done))) = { 0 };
        BIO *bio CLEANUP(BIO_free) = NULL;
        bool asked = false;
        int r = file_open("key_file", path, &file, &bio, e);

        if (r < 0)
                return r;
        *ret = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
        if (!*ret && asked)
                return error_set(e, EBADMSG, "key_file %s: is encrypted; expected a key without a passphrase", path);
        if (!*ret)
                return error_set(e, EBADMSG, "key_file %s: holds no private key in PEM form", path);
        return 0;
}

static int use_key(SSL_CTX *ctx, const Settings *s, EVP_PKEY *key, Error *e) {
        const char *what = s->key_uri ? "key_uri" : "key_file ", *name = s->key_uri ? "" : s->key_file;

        if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
                return error_set(e, EBADMSG, "%s%s: does not belong to the certificate in cert_file %s", what, name,
                                 s->cert_file);
        if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
                return error_set(e, EBADMSG, "%s%s: the key cannot be used", what, name);
        ERR_clear_error();
        return 0;
}

static int load_key(SSL_CTX *ctx, const Settings *s, Error *e) {
        EVP_PKEY *key CLEANUP(EVP_PKEY_free) = NULL;
        int r = read_key(s->key_file, &key, e);

        return r == 0 ? use_key(ctx, s, key, e) : r;
}

static int set_alpn(SSL_CTX *ctx, const char *name, Error *e) {
        unsigned char wire[256];
        size_t len = strlen(name);

        wire[0] = (unsigned char) len;
        memcpy(wire + 1, name, len);
        if (SSL_CTX_set_alpn_protos(ctx, wire, (unsigned) len + 1) != 0)
                return error_set(e, ENOMEM, "alpn %s: cannot be set", name);
        return 0;
}

/* Record the first thing that is wrong; OpenSSL's own verdict stands. */
static int on_verify(int ok, X509_STORE_CTX *store);

/* `key`: from a token, NULL = none. */
static int context_fill(SSL_CTX *ctx, const Settings *s, EVP_PKEY *key, Error *e) {
        int r;

        if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
                return error_set(e, EPROTO, "TLS 1.2 or later is not available");
        SSL_CTX_set_read_ahead(ctx, 1); /* one system call for a record, or for many, instead of two each */
        (void) SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                             SSL_MODE_RELEASE_BUFFERS);
        (void) SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
        (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
        /* What the operator put into ca_file is trusted, an intermediate too. */
        (void) X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
        r = load_ca(ctx, s->ca_file, e);
        if (r == 0 && s->cert_file)
                r = load_certificate(ctx, s->cert_file, e);
        if (r == 0 && s->key_file)
                r = load_key(ctx, s, e);
        if (r == 0 && key)
                r = use_key(ctx, s, key, e);
        if (r == 0 && s->alpn)
                r = set_alpn(ctx, s->alpn, e);
        return r;
}

static int limit_to_pkcs1(SSL_CTX *ctx, Error *e) {
        if (SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != 1 ||
            SSL_CTX_set1_client_sigalgs_list(ctx, "RSA+SHA256:RSA+SHA384:RSA+SHA512") != 1)
                return error_set(e, EPROTO, "key_uri: TLS 1.2 with RSA signatures is not available");
        return 0;
}

int tls_context_new(const Settings *s, SSL_CTX **ret, Error *e) {
        TlsKey token = { 0 };
        EVP_PKEY *key CLEANUP(EVP_PKEY_free) = NULL;
        SSL_CTX *ctx CLEANUP(SSL_CTX_free) = NULL;
        int r = s->key_uri ? tls_key_load(s, &token, e) : 0;

        if (r < 0)
                return r;
        key = token.key;
        ctx = SSL_CTX_new(TLS_client_method());
        if (!ctx) {
                ERR_clear_error();
                return error_set(e, ENOMEM, "OpenSSL gives no TLS context");
        }
        r = context_fill(ctx, s, key, e);
        if (r == 0 && token.pkcs1_only)
                r = limit_to_pkcs1(ctx, e);
        ERR_clear_error();
        if (r < 0)
                return r;
        *ret = TAKE(ctx);
        return 0;
}

/* ---- dates and names ---- */

static int64_t asn1_seconds(const ASN1_TIME *t) {
        struct tm tm;

        if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
                return 0;
        return (int64_t) timegm(&tm);
}

static void format_date(int64_t seconds, char ret[static DATE_MAX]) {
        time_t t = (time_t) seconds;
        struct tm tm;

        if (!gmtime_r(&t, &tm) || strftime(ret, DATE_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
                (void) snprintf(ret, DATE_MAX, "an unknown date");
}

static void format_name(const X509_NAME *name, char *ret, size_t size) {
        BIO *bio CLEANUP(BIO_free) = BIO_new(BIO_s_mem());
        char *data = NULL;
        long n = 0;

        /* RFC 2253 form; escapes control and non-ASCII characters. */
        if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
                n = BIO_get_mem_data(bio, &data);
        (void) snprintf(ret, size, "%.*s", (int) n, data ? data : "");
        reason_clean(ret);
        if (ret[0] == '\0')
                (void) snprintf(ret, size, "(no name)");
}

bool tls_own_certificate_notice(SSL_CTX *ctx, const Settings *s, char ret[static TLS_NOTICE_MAX]) {
        X509 *cert = SSL_CTX_get0_certificate(ctx);
        int64_t now = clock_wall_sec(), from, to;
        char date[DATE_MAX], today[DATE_MAX];

        if (!cert)
                return false;
        from = asn1_seconds(X509_get0_notBefore(cert));
        to = asn1_seconds(X509_get0_notAfter(cert));
        format_date(now, today);
        if (now > to) {
                format_date(to, date);
                (void) snprintf(ret, TLS_NOTICE_MAX,
                                "client certificate %s expired on %s (this device's clock says %s)",
                                s->cert_file, date, today);
                return true;
        }
        if (now < from) {
                format_date(from, date);
                (void) snprintf(ret, TLS_NOTICE_MAX,
                                "client certificate %s is valid only from %s (this device's clock says %s)",
                                s->cert_file, date, today);
                return true;
        }
        if (to - now < (int64_t) TLS_OWN_EXPIRY_DAYS * SECONDS_PER_DAY) {
                format_date(to, date);
                (void) snprintf(ret, TLS_NOTICE_MAX, "client certificate %s expires on %s, in %lld days",
                                s->cert_file, date, (long long) ((to - now) / SECONDS_PER_DAY));
                return true;
        }
        return false;
}

/* The name of one entry, byte by byte, since it may hold a NUL; "" for kinds that are no host. */
static void format_alt_name(const GENERAL_NAME *name, char *ret, size_t size) {
        const ASN1_STRING *value = name->type == GEN_DNS     ? name->d.dNSName
                                   : name->type == GEN_IPADD ? name->d.iPAddress
                                                             : NULL;
        const unsigned char *bytes = value ? ASN1_STRING_get0_data(value) : NULL;
        size_t len = value ? (size_t) ASN1_STRING_length(value) : 0;
        size_t n = MIN_OF(len, size - 1);

        ret[0] = '\0';
        if (!value)
                return;
        if (name->type == GEN_IPADD) {
                if (len == 4 || len == 16)
                        (void) inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, ret, (socklen_t) size);
                return;
        }
        for (size_t i = 0; i < n; i++)
                ret[i] = bytes[i] == '\0' ? '?' : (char) bytes[i];
        ret[n] = '\0';
        reason_clean(ret);
}

/* The DNS names and addresses of a certificate, for the sentence that says whom it is for. */
static void format_alt_names(X509 *cert, char *ret, size_t size) {
        GENERAL_NAMES *names CLEANUP(GENERAL_NAMES_free) =
                X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
        size_t at = 0;

        for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
                char one[NAME_MAX_SHOWN / 2];

                format_alt_name(sk_GENERAL_NAME_value(names, i), one, sizeof one);
                if (one[0] == '\0' || at + strlen(one) + 3 > size)
                        continue;
                at += (size_t) snprintf(ret + at, size - at, "%s%s", at > 0 ? ", " : "", one);
        }
        if (at == 0)
                (void) snprintf(ret, size, "no host at all");
}

/* ---- verification ---- */

static void describe_verify(TlsSession *t, int code, X509 *cert) {
        char subject[NAME_MAX_SHOWN], issuer[NAME_MAX_SHOWN], names[NAME_MAX_SHOWN], date[DATE_MAX],
                today[DATE_MAX];
        char *ret = t->verify_text;
        size_t size = sizeof t->verify_text;

        format_date(clock_wall_sec(), today);
        if (cert) {
                format_name(X509_get_subject_name(cert), subject, sizeof subject);
                format_name(X509_get_issuer_name(cert), issuer, sizeof issuer);
                format_alt_names(cert, names, sizeof names);
        } else {
                subject[0] = issuer[0] = names[0] = '\0';
        }
        if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH) {
                (void) snprintf(ret, size, "the server's certificate is not for %s (it is for %s)",
                                t->settings->host, names);
        } else if (code == X509_V_ERR_CERT_HAS_EXPIRED && cert) {
                format_date(asn1_seconds(X509_get0_notAfter(cert)), date);
                (void) snprintf(ret, size,
                                "the server's certificate (%s) expired on %s; this device's clock says %s",
                                subject, date, today);
        } else if (code == X509_V_ERR_CERT_NOT_YET_VALID && cert) {
                format_date(asn1_seconds(X509_get0_notBefore(cert)), date);
                (void) snprintf(
                        ret, size,
                        "the server's certificate (%s) is valid only from %s; this device's clock says %s",
                        subject, date, today);
        } else if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                   code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                   code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
                   code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
                   code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
                   code == X509_V_ERR_CERT_SIGNATURE_FAILURE) {
                (void) snprintf(
                        ret, size,
                        "the server's certificate (%s, issued by %s) does not come from a CA in ca_file %s",
                        subject, issuer, t->settings->ca_file);
        } else {
                (void) snprintf(ret, size, "the server's certificate (%s) is not acceptable: %s", subject,
                                X509_verify_cert_error_string(code));
        }
}

static int on_verify(int ok, X509_STORE_CTX *store) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        TlsSession *t = SSL_get_app_data(ssl);

        if (!ok && t->verify_code == X509_V_OK) {
                t->verify_code = X509_STORE_CTX_get_error(store);
                describe_verify(t, t->verify_code, X509_STORE_CTX_get_current_cert(store));
        }
        return ok;
}

/* ---- session ---- */

static bool is_address(const char *host) {
        unsigned char any[16];

        return inet_pton(AF_INET, host, any) == 1 || inet_pton(AF_INET6, host, any) == 1;
}

static int set_expected_host(SSL *ssl, const char *host, Error *e) {
        X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

        /* No common name, no "w*.example", no name with a NUL in it: what OpenSSL refuses is refused. */
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (is_address(host)) {
                if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1)
                        return error_set(e, ENOMEM, "host %s: cannot be set for the certificate check", host);
                return 0;
        }
        if (X509_VERIFY_PARAM_set1_host(param, host, 0) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1)
                return error_set(e, EINVAL, "host %s: cannot be a name in a certificate", host);
        return 0;
}

int tls_session_open(TlsSession *t, SSL_CTX *ctx, const Settings *s, int fd, Error *e) {
        int r;

        *t = (TlsSession){ .settings = s };
        ERR_clear_error();
        t->ssl = SSL_new(ctx);
        if (!t->ssl)
                return error_set(e, ENOMEM, "OpenSSL gives no TLS session");
        SSL_set_app_data(t->ssl, t);
        r = set_expected_host(t->ssl, s->host, e);
        if (r < 0)
                return r;
        if (SSL_set_fd(t->ssl, fd) != 1)
                return error_set(e, ENOMEM, "OpenSSL does not take the socket");
        SSL_set_connect_state(t->ssl);
        return 0;
}

void tls_session_close(TlsSession *t) {
        SSL_free(t->ssl);
        t->ssl = NULL;
        ERR_clear_error();
}

void tls_session_settle(TlsSession *t) {
        X509_STORE *empty = X509_STORE_new();

        t->settled = true;
        if (empty)
                SSL_CTX_set_cert_store(SSL_get_SSL_CTX(t->ssl), empty);
}

/* ---- explanations ---- */

static int explain_alert(const TlsSession *t, int alert, Error *e) {
        /* OpenSSL 3.0 has no text for the one that TLS 1.3 sends most. */
        const char *name = alert == SSL_AD_CERTIFICATE_REQUIRED ? "certificate required"
                                                                : SSL_alert_desc_string_long(alert);

        switch (alert) {
        case SSL_AD_BAD_CERTIFICATE:
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
        case SSL_AD_CERTIFICATE_REVOKED:
        case SSL_AD_CERTIFICATE_EXPIRED:
        case SSL_AD_CERTIFICATE_UNKNOWN:
        case SSL_AD_UNKNOWN_CA:
        case SSL_AD_ACCESS_DENIED:
                if (t->settings->cert_file)
                        return error_set(e, EACCES,
                                         "the server refused the client certificate %s (alert: %s)",
                                         t->settings->cert_file, name);
                break;
        case SSL_AD_CERTIFICATE_REQUIRED:
        case SSL_AD_HANDSHAKE_FAILURE:
                if (!t->settings->cert_file)
                        return error_set(e, EACCES,
                                         "the server wants a client certificate: set cert_file and key_file "
                                         "(alert: %s)",
                                         name);
                break;
        case SSL_AD_NO_APPLICATION_PROTOCOL:
                return error_set(e, EPROTO, "the server does not know the ALPN protocol \"%s\"",
                                 t->settings->alpn ? t->settings->alpn : "");
        case SSL_AD_UNRECOGNIZED_NAME:
                return error_set(e, EPROTO, "the server does not know the name %s", t->settings->host);
        case SSL_AD_PROTOCOL_VERSION:
                return error_set(e, EPROTO, "the server speaks neither TLS 1.2 nor 1.3");
        default:
                break;
        }
        return error_set(e, EPROTO, "the server ended TLS with alert: %s", name);
}

/* What OpenSSL finds wrong by itself; without its own table. */
static const char *library_reason(int reason) {
        static const struct {
                int reason;
                const char *text;
        } known[] = {
                { SSL_R_UNSUPPORTED_PROTOCOL, "the server speaks neither TLS 1.2 nor 1.3" },
                { SSL_R_WRONG_VERSION_NUMBER, "the server does not speak TLS" },
                { SSL_R_UNEXPECTED_MESSAGE, "the server does not speak TLS" },
                { SSL_R_PACKET_LENGTH_TOO_LONG, "the server does not speak TLS" },
                { SSL_R_BAD_PACKET_LENGTH, "the server does not speak TLS" },
                { SSL_R_DH_KEY_TOO_SMALL, "the server's Diffie-Hellman key is too small" },
                { SSL_R_WRONG_SIGNATURE_TYPE, "the server signs with an algorithm that is not acceptable" },
                { SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED,
                  "the server lacks secure renegotiation (RFC 5746)" },
                { SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "what the server sent was damaged on the way" },
                { SSL_R_NO_CIPHERS_AVAILABLE, "OpenSSL's configuration leaves no cipher to use" },
                { SSL_R_NO_PROTOCOLS_AVAILABLE, "OpenSSL's configuration leaves no TLS version to use" },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (known[i].reason == reason)
                        return known[i].text;
        return NULL;
}

static int explain_library(const TlsSession *t, unsigned long code, Error *e) {
        enum {
                ALERT_OFFSET = 1000
        }; /* OpenSSL's SSL_AD_REASON_OFFSET: reasons above it are alerts from the peer */
        int reason = ERR_GET_REASON(code);
        const char *text;

        if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
                if (reason > ALERT_OFFSET && reason < ALERT_OFFSET + 256)
                        return explain_alert(t, reason - ALERT_OFFSET, e);
                if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
                        return error_set(
                                e, ECONNRESET, "%s",
                                t->settled ? "the broker closed the connection (without close_notify)"
                                           : "the server closed the connection during the TLS handshake");
                text = library_reason(reason);
                if (text)
                        return error_set(e, EPROTO, "%s", text);
        }
        text = ERR_reason_error_string(code);
        return error_set(e, EPROTO, "TLS error %lX%s%s (`openssl errstr %lX` explains)", code,
                         text ? " " : "", text ? text : "", code);
}

int tls_explain(const TlsSession *t, int code, int saved_errno, Error *e) {
        unsigned long first = ERR_peek_error();
        int r;

        if (t->verify_code != X509_V_OK)
                r = error_set(e, EACCES, "%s", t->verify_text);
        else if (code == SSL_ERROR_ZERO_RETURN)
                r = error_set(e, ECONNRESET, "the broker closed the connection");
        else if (first != 0)
                r = explain_library(t, first, e);
        else if (saved_errno != 0)
                r = error_errno(e, saved_errno, "%s", t->settled ? "connection" : "TLS handshake");
        else
                r = error_set(e, ECONNRESET, "the server closed the connection");
        ERR_clear_error();
        return r;
}
