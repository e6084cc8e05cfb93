/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL 3 calls engines and keys with methods deprecated, but Debian 12 has no PKCS#11 provider, only the engine, and its TPM
 * provider needs the latter. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "transport/tls_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "base/fileio.h"
#include "transport/digest.h"
#include "transport/reason.h"

#define PKCS11_SCHEME   "pkcs11:"
#define PIN_FILE        "pin-source="
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

enum {
        NAME_MAX_SIZE = 33, /* of an engine or provider */
        PREFERENCE_MAX = 64,
        HOMES_MAX = 4,
        EC_SIGNATURE_MAX = 160, /* DER, of curves of up to 521 bits */
        SHOWN_MAX = 160,        /* of a URI in a text */
        REASONS_MAX = 240,
        PIN_FILE_MAX = 4096,
        PIN_INCORRECT = 0xA0, /* CKR_PIN_… of PKCS#11 */
        PIN_LOCKED = 0xA4,
};

DEFINE_CLEANUP(OSSL_STORE_CTX *, OSSL_STORE_close)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)

/* Engines belong to the process, and what stands behind a provider is not fit for threads: tpm2 has one conversation with the
 * TPM. Held while a key is loaded, signs, or goes. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- texts ---- */

/* A URI up to where a PIN may stand. */
static void format_uri(const char *uri, char ret[static SHOWN_MAX]) {
        const char *pin = strcasestr(uri, "pin-"), *query = strchr(uri, '?');
        size_t len = strlen(uri);

        if (pin)
                len = MIN_OF(len, (size_t) (pin - uri));
        if (query)
                len = MIN_OF(len, (size_t) (query - uri));
        while (len > 0 && (uri[len - 1] == ';' || uri[len - 1] == '&'))
                len--;
        (void) snprintf(ret, SHOWN_MAX, "%.*s", (int) MIN_OF(len, (size_t) SHOWN_MAX - 1), uri);
        reason_clean(ret);
}

/* Everything that OpenSSL and the module have complained about, oldest first; empties the queue. Says whether the PIN was
 * among it. */
static bool take_reasons(char ret[static REASONS_MAX]) {
        bool pin = false;
        size_t at = 0;

        ret[0] = '\0';
        for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error()) {
                const char *text = ERR_reason_error_string(code);
                int reason = ERR_GET_REASON(code);

                if (text && strstr(text, "PIN") && (reason == PIN_INCORRECT || reason == PIN_LOCKED))
                        pin = true;
                if (!text || strstr(ret, text) || at + strlen(text) + 3 > REASONS_MAX)
                        continue;
                at += (size_t) snprintf(ret + at, REASONS_MAX - at, "%s%s", at > 0 ? ", " : "", text);
        }
        reason_clean(ret);
        return pin;
}

static const char *package_of(const char *name) {
        if (strcmp(name, "pkcs11") == 0)
                return " (on Debian in the package libengine-pkcs11-openssl)";
        if (strcmp(name, "tpm2") == 0)
                return " (on Debian in the package tpm2-openssl)";
        return "";
}

/* ---- PINs that were refused ---- */

static unsigned char refused[SIGV4_DIGEST_SIZE]; /* of the last such URI and its PIN file; under the lock */
static bool any_refused;

/* The name behind pin-source=, with or without "file:". */
static bool find_pin_file(const char *uri, char *ret, size_t size) {
        const char *from = strstr(uri, PIN_FILE);
        size_t len;

        if (!from)
                return false;
        from += strlen(PIN_FILE);
        if (strncmp(from, "file:", 5) == 0)
                from += 5;
        if (strncmp(from, "//", 2) == 0)
                from += 2;
        len = strcspn(from, "&;?");
        return len > 0 && snprintf(ret, size, "%.*s", (int) len, from) < (int) size;
}

static bool digest_pin(const char *uri, unsigned char ret[static SIGV4_DIGEST_SIZE]) {
        Buf text CLEANUP_BUF = { 0 };
        char path[PIN_FILE_MAX], *pin = NULL;
        size_t len = 0;
        bool good;

        buf_puts(&text, uri);
        if (find_pin_file(uri, path, sizeof path)) {
                int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

                if (fd >= 0 && file_read_fd(fd, PIN_FILE_MAX, &pin, &len) == 0)
                        buf_append(&text, pin, len);
        }
        good = buf_error(&text) == 0 && digest_sigv4.sha256(text.data, text.len, ret);
        if (pin)
                explicit_bzero(pin, len);
        free(pin);
        if (text.data)
                explicit_bzero(text.data, text.len);
        return good;
}

static bool was_refused(const char *uri) {
        unsigned char digest[SIGV4_DIGEST_SIZE];

        return any_refused && digest_pin(uri, digest) && memcmp(digest, refused, sizeof digest) == 0;
}

/* ---- engine ---- */

/* The functional reference that a key needs is never given back: the module must outlive every key made with it, and a
 * second one costs nothing. After a failure it is given back, so that the next attempt begins afresh. */
static int load_from_engine(ENGINE *engine, const char *name, const char *uri, TlsKey *ret, Error *e) {
        char shown[SHOWN_MAX], reasons[REASONS_MAX];

        format_uri(uri, shown);
        /* The pkcs11 engine writes to stderr otherwise; others do not know the command. */
        (void) ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, 1);
        ERR_clear_error();
        if (ENGINE_init(engine) != 1) {
                (void) take_reasons(reasons);
                return error_set(e, ENODEV, "key_uri %s: the OpenSSL engine %s does not start (%s)", shown, name,
                                 reasons);
        }
        *ret = (TlsKey){ .key = ENGINE_load_private_key(engine, uri, (UI_METHOD *) (uintptr_t) UI_null(), NULL) };
        if (ret->key)
                return 0;
        (void) ENGINE_finish(engine);
        if (take_reasons(reasons)) {
                any_refused = digest_pin(uri, refused);
                return error_set(e, EACCES, "key_uri %s: the token refuses the PIN (%s)", shown, reasons);
        }
        return error_set(
                e, ENOENT,
                "key_uri %s: engine %s finds no such key (%s); expected a token that is there, the right object, and "
                "a PIN by pin-value or pin-source",
                shown, name, reasons);
}

/* ---- provider ---- */

/* A library context of its own for each provider, so that the token is asked for nothing but its keys (providers also offer
 * digests and random numbers, and are slow at both) and the rest of the process never meets it. One for all keys, since some
 * TPMs can be opened only once; made afresh when it fails while no key is in it. */
typedef struct Home {
        char name[NAME_MAX_SIZE]; /* "" = free */
        OSSL_LIB_CTX *context;
        OSSL_PROVIDER *standard, *provider;
        unsigned keys; /* that live in it */
} Home;

static Home homes[HOMES_MAX]; /* under the lock */

/* The last thing that happens to a key: it no longer needs its context. */
static void on_key_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int idx, long argl, void *argp) {
        Home *home = ptr; /* the lock is held */

        (void) parent, (void) data, (void) idx, (void) argl, (void) argp;
        if (home)
                home->keys--;
}

static int move_in(EVP_PKEY *key, Home *home) {
        static int index = -1; /* under the lock */

        if (index < 0)
                index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, NULL, on_key_free);
        if (index < 0 || EVP_PKEY_set_ex_data(key, index, home) != 1)
                return -ENOMEM;
        home->keys++;
        return 0;
}

/* Half-open ones too. */
static void close_home(Home *home) {
        if (home->provider)
                (void) OSSL_PROVIDER_unload(home->provider);
        if (home->standard)
                (void) OSSL_PROVIDER_unload(home->standard);
        OSSL_LIB_CTX_free(home->context);
        *home = (Home){ 0 };
}

/* After a failure: what the provider holds (a connection to a TPM that is gone) may be the reason. false: keys are in it. */
static bool leave_home(Home *home) {
        if (home->keys > 0)
                return false;
        close_home(home);
        return true;
}

static int no_provider(const char *name, const char *shown, Error *e) {
        char reasons[REASONS_MAX];

        (void) take_reasons(reasons);
        return error_set(e, ENODEV, "key_uri %s: OpenSSL has neither an engine nor a provider %s that starts%s (%s)",
                         shown, name, package_of(name), reasons);
}

static int find_home(const char *name, const char *shown, Home **ret, Error *e) {
        Home *empty = NULL;

        for (size_t i = 0; i < HOMES_MAX; i++) {
                if (strcmp(homes[i].name, name) == 0) {
                        *ret = &homes[i];
                        return 0;
                }
                if (homes[i].name[0] == '\0')
                        empty = &homes[i];
        }
        if (!empty)
                return error_set(e, EMFILE, "engine: more than %d different providers in one process", HOMES_MAX);
        empty->context = OSSL_LIB_CTX_new();
        empty->standard = empty->context ? OSSL_PROVIDER_load(empty->context, "default") : NULL;
        ERR_clear_error();
        empty->provider = empty->standard ? OSSL_PROVIDER_load(empty->context, name) : NULL;
        if (!empty->provider) {
                close_home(empty);
                return no_provider(name, shown, e);
        }
        (void) snprintf(empty->name, sizeof empty->name, "%s", name);
        *ret = empty;
        return 0;
}

/* ---- a provider's key in OpenSSL's default context ----
 * A provider's key can sign only where its provider is asked for, and then it is asked for everything: for the check of the
 * server's signature, too, and tpm2's fails at that. So TLS gets a key of the old kind, whose one private operation is ours. */

static const EVP_MD *digest_of_length(size_t len) {
        switch (len) {
        case 32:
                return EVP_sha256();
        case 48:
                return EVP_sha384();
        case 64:
                return EVP_sha512();
        default:
                return NULL;
        }
}

/* What a wrapped key carries. */
typedef struct Token {
        EVP_PKEY *key;
        Home *home;
} Token;

/* The token's signature of a digest; `padding` 0 = none (not RSA). */
static bool sign_unlocked(const Token *t, int padding, const unsigned char *digest, size_t len, unsigned char *ret,
                          size_t *ret_len) {
        EVP_PKEY_CTX *c CLEANUP(EVP_PKEY_CTX_free) = NULL;
        const EVP_MD *md = digest_of_length(len);
        char preference[PREFERENCE_MAX];

        (void) snprintf(preference, sizeof preference, "?provider=%s", t->home->name);
        c = EVP_PKEY_CTX_new_from_pkey(t->home->context, t->key, preference);
        return c && md && EVP_PKEY_sign_init(c) == 1 && EVP_PKEY_CTX_set_signature_md(c, md) == 1 &&
               (padding == 0 || EVP_PKEY_CTX_set_rsa_padding(c, padding) == 1) &&
               EVP_PKEY_sign(c, ret, ret_len, digest, len) == 1;
}

static bool sign_digest(const Token *t, int padding, const unsigned char *digest, size_t len, unsigned char *ret,
                        size_t *ret_len) {
        bool good;

        (void) pthread_mutex_lock(&lock);
        good = sign_unlocked(t, padding, digest, len, ret, ret_len);
        (void) pthread_mutex_unlock(&lock);
        return good;
}

static void on_wrapper_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int idx, long argl, void *argp) {
        Token *t = ptr;

        (void) parent, (void) data, (void) idx, (void) argl, (void) argp;
        if (!t)
                return;
        (void) pthread_mutex_lock(&lock);
        EVP_PKEY_free(t->key);
        (void) pthread_mutex_unlock(&lock);
        free(t);
}

static int ec_index = -1, rsa_index = -1; /* under the lock when they are made */

static ECDSA_SIG *ec_sign_sig(const unsigned char *digest, int len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *ec) {
        const Token *t = EC_KEY_get_ex_data(ec, ec_index);
        unsigned char der[EC_SIGNATURE_MAX];
        const unsigned char *at = der;
        size_t der_len = sizeof der;

        (void) kinv, (void) r;
        if (!t || len < 0 || !sign_digest(t, 0, digest, (size_t) len, der, &der_len))
                return NULL;
        return d2i_ECDSA_SIG(NULL, &at, (long) der_len);
}

static int ec_sign(int type, const unsigned char *digest, int len, unsigned char *ret, unsigned *ret_len,
                   const BIGNUM *kinv, const BIGNUM *r, EC_KEY *ec) {
        ECDSA_SIG *sig = ec_sign_sig(digest, len, kinv, r, ec);
        int n = sig ? i2d_ECDSA_SIG(sig, &ret) : 0;

        (void) type;
        ECDSA_SIG_free(sig);
        *ret_len = n > 0 ? (unsigned) n : 0;
        return n > 0;
}

static int rsa_sign(int type, const unsigned char *digest, unsigned len, unsigned char *ret, unsigned *ret_len,
                    const RSA *rsa) {
        const Token *t = RSA_get_ex_data(rsa, rsa_index);
        size_t n = (size_t) RSA_size(rsa);

        (void) type;
        if (!t || !sign_digest(t, RSA_PKCS1_PADDING, digest, len, ret, &n))
                return 0;
        *ret_len = (unsigned) n;
        return 1;
}

static const EC_KEY_METHOD *ec_method(void) {
        static EC_KEY_METHOD *method; /* under the lock, for good */
        int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);

        if (!method && (method = EC_KEY_METHOD_new(EC_KEY_OpenSSL()))) {
                EC_KEY_METHOD_get_sign(method, NULL, &setup, NULL);
                EC_KEY_METHOD_set_sign(method, ec_sign, setup, ec_sign_sig);
                ec_index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, on_wrapper_free);
        }
        return ec_index >= 0 ? method : NULL;
}

static const RSA_METHOD *rsa_method(void) {
        static RSA_METHOD *method; /* under the lock, for good */

        if (!method && (method = RSA_meth_dup(RSA_get_default_method()))) {
                (void) RSA_meth_set_sign(method, rsa_sign);
                (void) RSA_meth_set_flags(method, RSA_METHOD_FLAG_NO_CHECK);
                rsa_index = RSA_get_ex_new_index(0, NULL, NULL, NULL, on_wrapper_free);
        }
        return rsa_index >= 0 ? method : NULL;
}

/* The public half, in the default context. */
static EVP_PKEY *public_half(EVP_PKEY *token) {
        unsigned char *der = NULL;
        const unsigned char *at;
        int len = i2d_PUBKEY(token, &der);
        EVP_PKEY *key;

        at = der;
        key = len > 0 ? d2i_PUBKEY(NULL, &at, len) : NULL;
        OPENSSL_free(der);
        return key;
}

static bool dress(EVP_PKEY *public, EVP_PKEY *ret, Token *t) {
        EC_KEY *ec = EVP_PKEY_is_a(public, "EC") ? EVP_PKEY_get1_EC_KEY(public) : NULL;
        RSA *rsa = EVP_PKEY_is_a(public, "RSA") ? EVP_PKEY_get1_RSA(public) : NULL;
        bool good = false;

        if (ec)
                good = ec_method() && EC_KEY_set_method(ec, ec_method()) == 1 && EVP_PKEY_set1_EC_KEY(ret, ec) == 1 &&
                       EC_KEY_set_ex_data(ec, ec_index, t) == 1;
        if (rsa)
                good = rsa_method() && RSA_set_method(rsa, rsa_method()) == 1 && EVP_PKEY_set1_RSA(ret, rsa) == 1 &&
                       RSA_set_ex_data(rsa, rsa_index, t) == 1;
        EC_KEY_free(ec);
        RSA_free(rsa);
        return good;
}

/* Takes a reference of `token`. */
static EVP_PKEY *wrap(EVP_PKEY *token, Home *home) {
        EVP_PKEY *public CLEANUP(EVP_PKEY_free) = public_half(token), *ret CLEANUP(EVP_PKEY_free) = EVP_PKEY_new();
        Token *t = calloc(1, sizeof *t);

        if (!public || !ret || !t || EVP_PKEY_up_ref(token) != 1) {
                free(t);
                return NULL;
        }
        *t = (Token){ .key = token, .home = home };
        if (dress(public, ret, t))
                return TAKE(ret);
        EVP_PKEY_free(token);
        free(t);
        return NULL;
}

/* ---- loading from a provider ---- */

static EVP_PKEY *first_key(OSSL_STORE_CTX *store) {
        while (!OSSL_STORE_eof(store)) {
                OSSL_STORE_INFO *info = OSSL_STORE_load(store);
                EVP_PKEY *key = NULL;

                if (!info)
                        return NULL;
                if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
                        key = OSSL_STORE_INFO_get1_PKEY(info);
                OSSL_STORE_INFO_free(info);
                if (key)
                        return key;
        }
        return NULL;
}

static EVP_PKEY *open_key(const Home *home, const char *uri) {
        OSSL_STORE_CTX *store CLEANUP(OSSL_STORE_close) = NULL;
        char preference[PREFERENCE_MAX];

        (void) snprintf(preference, sizeof preference, "?provider=%s", home->name);
        store = OSSL_STORE_open_ex(uri, home->context, preference, UI_null(), NULL, NULL, NULL, NULL);
        if (!store || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
                return NULL;
        return first_key(store);
}

static int load_from_provider(const char *name, const char *uri, TlsKey *ret, Error *e) {
        EVP_PKEY *key CLEANUP(EVP_PKEY_free) = NULL, *wrapped = NULL;
        char shown[SHOWN_MAX], reasons[REASONS_MAX];
        Home *home = NULL;
        bool again = true;

        format_uri(uri, shown);
        while (!key) {
                int r = find_home(name, shown, &home, e);

                if (r < 0)
                        return r;
                key = open_key(home, uri);
                if (key)
                        break;
                (void) take_reasons(reasons);
                if (!leave_home(home) || !again)
                        return error_set(e, ENOENT, "key_uri %s: provider %s finds no such key (%s)", shown, name,
                                         reasons);
                again = false;
        }
        if (move_in(key, home) == 0)
                wrapped = wrap(key, home);
        if (!wrapped) {
                (void) take_reasons(reasons);
                return error_set(e, ENOTSUP, "key_uri %s: the key is neither for ECDSA nor for RSA (%s)", shown,
                                 reasons);
        }
        *ret = (TlsKey){ .key = wrapped, .pkcs1_only = EVP_PKEY_is_a(wrapped, "RSA") };
        return 0;
}

/* ---- both ---- */

static int load(const char *name, const char *uri, TlsKey *ret, Error *e) {
        ENGINE *engine;
        int r;

        (void) OPENSSL_init_crypto(OPENSSL_INIT_ENGINE_DYNAMIC, NULL);
        engine = ENGINE_by_id(name);
        if (!engine) {
                ERR_clear_error();
                return load_from_provider(name, uri, ret, e);
        }
        r = load_from_engine(engine, name, uri, ret, e);
        (void) ENGINE_free(engine);
        return r;
}

int tls_key_load(const Settings *s, TlsKey *ret, Error *e) {
        bool token = strncasecmp(s->key_uri, PKCS11_SCHEME, strlen(PKCS11_SCHEME)) == 0;
        const char *name = s->engine ? s->engine : token ? "pkcs11" : "tpm2";
        char shown[SHOWN_MAX];
        int r;

        /* Names, not paths: OpenSSL looks for DIRECTORY/NAME.so. */
        if (strspn(name, NAME_CHARACTERS) != strlen(name) || strlen(name) >= NAME_MAX_SIZE)
                return error_set(e, EINVAL,
                                 "engine: expected the name of an OpenSSL engine or provider, of letters and digits");
        (void) pthread_mutex_lock(&lock);
        if (was_refused(s->key_uri)) {
                format_uri(s->key_uri, shown);
                r = error_set(e, EACCES,
                              "key_uri %s: the token has refused this PIN before, and it is not tried again so that "
                              "the token "
                              "does not lock itself: correct the PIN",
                              shown);
        } else {
                r = load(name, s->key_uri, ret, e);
        }
        (void) pthread_mutex_unlock(&lock);
        ERR_clear_error();
        return r;
}
