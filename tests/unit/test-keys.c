/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that never leave their token: one made inside a SoftHSM token and two inside a software TPM connect to a real broker that
 * wants a client certificate. */
#include "certs.h"
#include "transport-rig.h"

#include <fcntl.h>
#include <openssl/ssl.h>

#include "transport/tls_key.h"

enum { ARGS_MAX = 24, PORT_TRIES = 50, FIRST_PORT = 20000, PORT_PAIRS = 6000 };

/* libp11 0.4.12 loses a few bytes for each URI that it does not take. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
        return "leak:pkcs11.so";
}

static Authority authority;
static pid_t tpm_pid;

/* Run a program to its end: words parted by blanks. */
static int run_program(const char *line) {
        char copy[1024], *argv[ARGS_MAX + 1] = { 0 }, *save = NULL;
        size_t n = 0;
        int status = -1;
        pid_t pid;

        (void) snprintf(copy, sizeof copy, "%s", line);
        for (char *word = strtok_r(copy, " ", &save); word && n < ARGS_MAX; word = strtok_r(NULL, " ", &save))
                argv[n++] = word;
        pid = fork();
        if (pid == 0) {
                int log = open(rig_path("programs.log"), O_WRONLY | O_CREAT | O_APPEND, 0600);

                (void) dup2(log, STDOUT_FILENO);
                (void) dup2(log, STDERR_FILENO);
                (void) execvp(argv[0], argv);
                _exit(127);
        }
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        return status;
}

#define must_run(...)                                                                                                  \
        do {                                                                                                           \
                char line_[1024];                                                                                      \
                (void) snprintf(line_, sizeof line_, __VA_ARGS__);                                                     \
                ck_assert_msg(run_program(line_) == 0, "%s", line_);                                                   \
        } while (0)

static void write_text(const char *name, const char *text) {
        FILE *f = fopen(rig_path(name), "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(text, f), 0);
        ck_assert_int_eq(fclose(f), 0);
}

/* Everybody's: an authority, a broker that asks for a certificate of it. */
static void setup(void) {
        char conf[1024];

        rig_make_dir();
        authority = certs_authority("ca");
        certs_write(rig_dir, "ca", "pem", authority.cert, NULL, NULL);
        certs_leaf(&authority, rig_dir, "server", "server", "IP:127.0.0.1", 0, -CERTS_DAY, 100 * CERTS_DAY);
        rig_broker_port = rig_free_port();
        (void) snprintf(conf, sizeof conf,
                        "listener %u 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n%scafile %s\n"
                        "certfile %s\nkeyfile %s\nrequire_certificate true\n",
                        rig_broker_port, geteuid() == 0 ? "user root\n" : "", rig_path("ca.pem"),
                        rig_path("server.pem"), rig_path("server.key"));
        write_text("mosquitto.conf", conf);
        rig_broker_pid = fork();
        if (rig_broker_pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) execl("/usr/sbin/mosquitto", "mosquitto", "-c", rig_path("mosquitto.conf"), (char *) NULL);
                _exit(127);
        }
        ck_assert_int_gt(rig_broker_pid, 0);
}

static void teardown(void) {
        if (tpm_pid > 0) {
                (void) kill(tpm_pid, SIGTERM);
                (void) waitpid(tpm_pid, NULL, 0);
        }
        tpm_pid = 0;
        rig_broker_stop();
        certs_authority_done(&authority);
        rig_remove_dir();
}

/* DIR/NAME.pem: a certificate for the public half of this key. */
static void certify(const char *name, char *uri) {
        const Settings s = { .key_uri = uri };
        TlsKey token = { 0 };
        Error e = { 0 };
        EVP_PKEY *key;
        X509 *cert;

        ck_assert_msg(tls_key_load(&s, &token, &e) == 0, "%s", e.text);
        key = token.key;
        cert = certs_blank(key, name, -CERTS_DAY, 100 * CERTS_DAY);
        (void) X509_set_issuer_name(cert, X509_get_subject_name(authority.cert));
        ck_assert_int_gt(X509_sign(cert, authority.key, EVP_sha256()), 0);
        certs_write(rig_dir, name, "pem", cert, NULL, NULL);
        X509_free(cert);
        EVP_PKEY_free(key);
}

static TransportConfig key_config(const char *name, const char *uri) {
        TransportConfig c = rig_config(rig_broker_port);
        char file[64];

        (void) snprintf(file, sizeof file, "%s.pem", name);
        c.ca_file = rig_path("ca.pem");
        c.cert_file = rig_path(file);
        c.key_uri = uri;
        return c;
}

/* Twice, since the files and the key are read anew for each connection. */
static void expect_works(const TransportConfig *c) {
        Error e = { 0 };
        Rig rig;

        rig_open(&rig, c);
        rig_expect_online(&rig);
        ck_assert_int_eq(transport_publish(rig.t, "test/a", "x", 1), 0);
        rig_expect_message(&rig, "test/a", "x");
        ck_assert_msg(transport_reconfigure(rig.t, c, true, &e) == 0, "%s", e.text);
        rig_expect(&rig, TRANSPORT_OFFLINE);
        rig_expect_online(&rig);
        rig_close(&rig);
}

static void expect_refused(const TransportConfig *c, const char *part) {
        Transport *t = NULL;
        Error e = { 0 };

        ck_assert_int_lt(transport_new(c, &t, &e), 0);
        ck_assert_msg(strstr(e.text, part) != NULL, "%s\nhas no \"%s\"", e.text, part);
        ck_assert_msg(!strstr(e.text, "9999") && !strstr(e.text, "1234"), "%s", e.text);
}

/* ---- PKCS#11 ---- */

static char softhsm_module[64];

static void setup_token(void) {
        static const char *const places[] = { "/usr/lib/softhsm/libsofthsm2.so",
                                              "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so" };
        char conf[256];

        setup();
        for (size_t i = 0; i < ELEMENTSOF(places) && softhsm_module[0] == '\0'; i++)
                if (access(places[i], R_OK) == 0)
                        (void) snprintf(softhsm_module, sizeof softhsm_module, "%s", places[i]);
        (void) snprintf(conf, sizeof conf, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
                        rig_path("tokens"));
        ck_assert_int_eq(mkdir(rig_path("tokens"), 0700), 0);
        write_text("softhsm2.conf", conf);
        write_text("pin", "1234");
        (void) setenv("SOFTHSM2_CONF", rig_path("softhsm2.conf"), 1);
        must_run("softhsm2-util --init-token --free --label device --pin 1234 --so-pin 5678");
        must_run(
                "pkcs11-tool --module %s --login --pin 1234 --token-label device --keypairgen --key-type EC:prime256v1 "
                "--label ec --id 01",
                softhsm_module);
        must_run("pkcs11-tool --module %s --login --pin 1234 --token-label device --keypairgen --key-type rsa:2048 "
                 "--label rsa "
                 "--id 02",
                 softhsm_module);
}

START_TEST(key_in_a_pkcs11_token) {
        static const char *const names[] = { "ec", "rsa" };
        char uri[512];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                TransportConfig c;

                (void) snprintf(uri, sizeof uri, "pkcs11:token=device;object=%s;type=private?pin-source=file:%s",
                                names[i], rig_path("pin"));
                certify(names[i], uri);
                c = key_config(names[i], uri);
                expect_works(&c);
        }
}
END_TEST

START_TEST(what_is_wrong_with_a_token_is_named) {
        char right[512], file[512];
        TransportConfig c;

        (void) snprintf(right, sizeof right, "pkcs11:token=device;object=ec?pin-value=1234");
        c = key_config("ec", "pkcs11:token=nothing;object=ec?pin-value=1234");
        certify("ec", right);
        expect_refused(&c, "key_uri pkcs11:token=nothing;object=ec: engine pkcs11 finds no such key");
        c.key_uri = "pkcs11:token=device;object=nothing?pin-value=1234";
        expect_refused(&c, "key_uri pkcs11:token=device;object=nothing: engine pkcs11 finds no such key");
        c.key_uri = "pkcs11:nonsense";
        expect_refused(&c, "engine pkcs11 finds no such key (");
        (void) snprintf(file, sizeof file, "pkcs11:token=device;object=ec?pin-source=file:%s", rig_path("absent"));
        c.key_uri = file;
        expect_refused(&c, "key_uri pkcs11:token=device;object=ec: ");
        c.key_uri = right;
        c.engine = "nosuchengine";
        expect_refused(&c, "neither an engine nor a provider nosuchengine");
        c.engine = "../engine";
        expect_refused(&c, "engine: expected the name");
        c.engine = "pkcs11";
        certs_leaf(&authority, rig_dir, "other", "other", NULL, 0, -CERTS_DAY, CERTS_DAY);
        c.cert_file = rig_path("other.pem");
        expect_refused(&c, "key_uri: does not belong to the certificate in cert_file");
}
END_TEST

/* A token locks itself after a few wrong PINs; and a corrected file is enough to go on. */
START_TEST(a_refused_pin_is_not_tried_again) {
        TransportConfig c;
        char uri[512];

        certs_leaf(&authority, rig_dir, "ec", "ec", NULL, 0, -CERTS_DAY, CERTS_DAY);
        write_text("pin", "9999");
        (void) snprintf(uri, sizeof uri, "pkcs11:token=device;object=ec?pin-source=file:%s", rig_path("pin"));
        c = key_config("ec", uri);
        expect_refused(&c, "the token refuses the PIN");
        expect_refused(&c, "refused this PIN before");
        expect_refused(&c, "refused this PIN before");
        write_text("pin", "1234");
        certify("ec", uri);
        expect_works(&c);
}
END_TEST

/* ---- TPM ---- */

/* The control port is the one behind the server's. */
static uint16_t start_tpm(void) {
        char server[64], control[64], state[192];

        for (int i = 0; i < PORT_TRIES; i++) {
                /* Two in a row, from where no connection gets its own port. */
                uint16_t port = (uint16_t) (FIRST_PORT + (getpid() + i) % PORT_PAIRS * 2);
                int status;

                (void) snprintf(server, sizeof server, "type=tcp,port=%u", port);
                (void) snprintf(control, sizeof control, "type=tcp,port=%u", port + 1);
                (void) snprintf(state, sizeof state, "dir=%s", rig_dir);
                tpm_pid = fork();
                if (tpm_pid == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        (void) execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--ctrl", control,
                                      "--server", server, "--flags", "not-need-init,startup-clear", (char *) NULL);
                        _exit(127);
                }
                ck_assert_int_gt(tpm_pid, 0);
                for (int wait = 0; wait < 500; wait++) {
                        struct sockaddr_in at = { .sin_family = AF_INET,
                                                  .sin_port = htons((uint16_t) (port + 1)),
                                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
                        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                        bool up = connect(fd, (const struct sockaddr *) &at, sizeof at) == 0;

                        (void) close(fd);
                        if (waitpid(tpm_pid, &status, WNOHANG) == tpm_pid)
                                break;
                        if (up)
                                return port;
                        (void) usleep(20000);
                }
        }
        ck_abort_msg("no software TPM");
        return 0;
}

static void setup_tpm(void) {
        char where[64];

        setup();
        (void) snprintf(where, sizeof where, "swtpm:host=127.0.0.1,port=%u", start_tpm());
        (void) setenv("TPM2TOOLS_TCTI", where, 1);
        (void) setenv("TPM2OPENSSL_TCTI", where, 1);
        (void) setenv("TSS2_LOG", "all+none", 1);
}

START_TEST(key_behind_a_tpm_handle) {
        char uri[] = "handle:0x81000001";
        TransportConfig c;

        must_run(
                "tpm2_createprimary -Q -C o -G ecc -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth -c %s",
                rig_path("primary"));
        must_run("tpm2_evictcontrol -Q -C o -c %s 0x81000001", rig_path("primary"));
        must_run("tpm2_flushcontext -t");
        certify("tpm", uri);
        c = key_config("tpm", uri);
        expect_works(&c);
        c.key_uri = "handle:0x81000002";
        expect_refused(&c, "key_uri handle:0x81000002: provider tpm2 finds no such key");
}
END_TEST

START_TEST(key_in_a_tss2_file) {
        static const char *const kinds[] = { "EC -pkeyopt group:P-256", "RSA -pkeyopt bits:2048" };
        TransportConfig c;
        char uri[512];

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                must_run("openssl genpkey -provider tpm2 -algorithm %s -out %s", kinds[i], rig_path("tss2.pem"));
                (void) snprintf(uri, sizeof uri, "file:%s", rig_path("tss2.pem"));
                certify("tpm", uri);
                c = key_config("tpm", uri);
                expect_works(&c);
        }
        c.key_uri = "file:/nowhere.pem";
        expect_refused(&c, "key_uri file:/nowhere.pem: provider tpm2 finds no such key");
}
END_TEST

START_TEST(no_tpm_is_named) {
        TransportConfig c;

        certs_leaf(&authority, rig_dir, "tpm", "tpm", NULL, 0, -CERTS_DAY, CERTS_DAY);
        (void) setenv("TPM2OPENSSL_TCTI", "swtpm:host=127.0.0.1,port=1", 1);
        c = key_config("tpm", "handle:0x81000001");
        expect_refused(&c, "neither an engine nor a provider tpm2 that starts (on Debian in the package tpm2-openssl)");
}
END_TEST

static TCase *token_cases(void) {
        TCase *tc = tcase_create("pkcs11");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, setup_token, teardown);
        tcase_add_test(tc, key_in_a_pkcs11_token);
        tcase_add_test(tc, what_is_wrong_with_a_token_is_named);
        tcase_add_test(tc, a_refused_pin_is_not_tried_again);
        return tc;
}

static TCase *tpm_cases(void) {
        TCase *tc = tcase_create("tpm");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, setup_tpm, teardown);
        tcase_add_test(tc, key_behind_a_tpm_handle);
        tcase_add_test(tc, key_in_a_tss2_file);
        tcase_add_test(tc, no_tpm_is_named);
        return tc;
}

UNIT_MAIN("keys", token_cases(), tpm_cases())
