/* SPDX-License-Identifier: Apache-2.0 */
/* Each configure call and each parameter of a request has its refusal, which names the value and what would be right. Nothing
 * here connects. */
#include <errno.h>
#include <fcntl.h>
#include <iotjobs/iotjobs.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "certs.h"
#include "unit.h"

static IotJobsClient *make(bool websocket, bool v1) {
        IotJobsOptions o = iotjobs_options_default("unit", "lamp");
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };

        o.websocket = websocket;
        o.v1 = v1;
        ck_assert_msg(iotjobs_client_new(&o, &c, &e) == 0, "%s", e.text);
        return c;
}

/* `call` uses &e, and fails with this errno and a text with this part. It takes NULL for the error as well. */
#define REFUSED(code_, part, call)                                                                   \
        do {                                                                                         \
                IotJobsError e_ = { 0 }, *e = &e_;                                                   \
                int r_ = (call);                                                                     \
                ck_assert_msg(r_ == -(code_), "%s: %d %s", #call, r_, e_.text);                      \
                ck_assert_int_eq(e_.code, (code_));                                                  \
                ck_assert_msg(strstr(e_.text, (part)) != NULL, "%s: %s", #call, e_.text);            \
                e = NULL;                                                                            \
                ck_assert_int_eq((call), -(code_));                                                  \
        } while (0)
#define TAKEN(call)                                                                                  \
        do {                                                                                         \
                IotJobsError e_ = { 0 }, *e = &e_;                                                   \
                int r_ = (call);                                                                     \
                ck_assert_msg(r_ == 0 && e_.code == 0, "%s: %d %s", #call, r_, e_.text);             \
        } while (0)

static char *repeat(char c, size_t n) {
        char *text = calloc(1, n + 1);

        ck_assert_ptr_nonnull(text);
        memset(text, c, n);
        return text;
}

START_TEST(options) {
        IotJobsOptions o = iotjobs_options_default("unit", "lamp"), bad;
        char *long_id = repeat('x', 129), *long_thing = repeat('x', 129);
        IotJobsClient *c = NULL;

        ck_assert_int_eq(o.qos, 0);
        ck_assert_int_eq((int) o.protocol, IOTJOBS_MQTT_3_1_1);
        ck_assert(o.clean_session && !o.websocket && !o.v1);
#define BAD(change, part)                                                     \
        do {                                                                  \
                bad = o;                                                      \
                change;                                                       \
                REFUSED(EINVAL, part, iotjobs_client_new(&bad, &c, e));       \
                ck_assert_ptr_null(c);                                        \
        } while (0)
        BAD(bad.client_id = NULL, "client id: missing");
        BAD(bad.client_id = "", "client id: empty");
        BAD(bad.client_id = "$x", "reserved");
        BAD(bad.client_id = long_id, "129 bytes");
        BAD(bad.client_id = "\xff", "UTF-8");
        BAD(bad.client_id = "a\nb", "control character");
        BAD(bad.thing_name = NULL, "thing name: missing");
        BAD(bad.thing_name = "a/b", "\"a/b\"");
        BAD(bad.thing_name = long_thing, "128");
        BAD(bad.qos = 2, "qos: 2");
        BAD(bad.qos = -1, "qos: -1");
        BAD(bad.protocol = (IotJobsProtocol) 6, "protocol: 6");
        BAD(bad.reserved[1] = &o, "reserved");
        REFUSED(EINVAL, "options: missing", iotjobs_client_new(NULL, &c, e));
        free(long_id);
        free(long_thing);
        ck_assert_ptr_null(iotjobs_client_free(NULL));
}
END_TEST

START_TEST(endpoint_and_credentials) {
        char *long_text = repeat('x', 4097);
        IotJobsClient *c = make(false, false);

        REFUSED(EINVAL, "endpoint: missing", iotjobs_client_configure_endpoint(c, NULL, 1, e));
        REFUSED(EINVAL, "endpoint: missing", iotjobs_client_configure_endpoint(c, "", 1, e));
        REFUSED(EINVAL, "without scheme", iotjobs_client_configure_endpoint(c, "https://h", 1, e));
        REFUSED(EINVAL, "no host name", iotjobs_client_configure_endpoint(c, "a b", 1, e));
        REFUSED(E2BIG, "4097", iotjobs_client_configure_endpoint(c, long_text, 1, e));
        REFUSED(ERANGE, "port: 0", iotjobs_client_configure_endpoint(c, "h", 0, e));
        REFUSED(ERANGE, "65535", iotjobs_client_configure_endpoint(c, "h", 65536, e));
        REFUSED(EINVAL, "client: missing", iotjobs_client_configure_endpoint(NULL, "h", 1, e));
        TAKEN(iotjobs_client_configure_endpoint(c, "::1", 8883, e));
        REFUSED(E2BIG, "ALPN name", iotjobs_client_configure_alpn(c, long_text, e));
        TAKEN(iotjobs_client_configure_alpn(c, "", e));
        TAKEN(iotjobs_client_configure_alpn(c, NULL, e));
        REFUSED(EINVAL, "CA file: missing", iotjobs_client_configure_credentials(c, NULL, "k", "c", e));
        REFUSED(EINVAL, "certificate file: missing", iotjobs_client_configure_credentials(c, "ca", "k", "", e));
        REFUSED(EINVAL, "key file: missing", iotjobs_client_configure_credentials(c, "ca", NULL, "c", e));
        REFUSED(EINVAL, "control character", iotjobs_client_configure_credentials(c, "a\nb", "k", "c", e));
        REFUSED(E2BIG, "key file", iotjobs_client_configure_credentials(c, "ca", long_text, "c", e));
        REFUSED(EINVAL, "key URI: missing", iotjobs_client_configure_key_uri(c, "ca", NULL, NULL, "c", e));
        REFUSED(EINVAL, "certificate file: missing", iotjobs_client_configure_key_uri(c, "ca", "pkcs11:x", NULL, NULL, e));
        TAKEN(iotjobs_client_configure_key_uri(c, "ca", "pkcs11:object=x", NULL, "c", e));
        REFUSED(EINVAL, "only a WebSocket", iotjobs_client_configure_iam_credentials(c, "a", "b", NULL, e));
        REFUSED(EINVAL, "only a WebSocket", iotjobs_client_configure_iam_credentials_file(c, "f", NULL, e));
        REFUSED(EINVAL, "region: \"EU\"", iotjobs_client_configure_region(c, "EU", e));
        TAKEN(iotjobs_client_configure_region(c, NULL, e));
        (void) iotjobs_client_free(c);
        c = make(true, false);
        REFUSED(EINVAL, "access key id: missing", iotjobs_client_configure_iam_credentials(c, NULL, "b", NULL, e));
        REFUSED(EINVAL, "secret access key: missing", iotjobs_client_configure_iam_credentials(c, "a", "", NULL, e));
        REFUSED(EINVAL, "session token", iotjobs_client_configure_iam_credentials(c, "a", "b", "x\r\ny", e));
        TAKEN(iotjobs_client_configure_iam_credentials(c, "a", "b", "", e));
        REFUSED(EINVAL, "credentials file: missing", iotjobs_client_configure_iam_credentials_file(c, NULL, "p", e));
        TAKEN(iotjobs_client_configure_iam_credentials_file(c, "f", NULL, e));
        (void) iotjobs_client_free(c);
        free(long_text);
}
END_TEST

START_TEST(names_will_and_proxy) {
        char *long_text = repeat('x', 65536);
        IotJobsClient *c = make(false, false);

        REFUSED(EINVAL, "user name: missing", iotjobs_client_configure_username_password(c, NULL, "p", e));
        REFUSED(E2BIG, "65536", iotjobs_client_configure_username_password(c, long_text, NULL, e));
        REFUSED(E2BIG, "password", iotjobs_client_configure_username_password(c, "u", long_text, e));
        REFUSED(EINVAL, "UTF-8", iotjobs_client_configure_username_password(c, "\xc3", NULL, e));
        REFUSED(EINVAL, "control character", iotjobs_client_configure_username_password(c, "a\tb", NULL, e));
        TAKEN(iotjobs_client_configure_username_password(c, "u", "p", e));
        TAKEN(iotjobs_client_configure_username_password(c, NULL, NULL, e));
        REFUSED(EINVAL, "begins with '?'", iotjobs_client_configure_metrics(c, true, "SDK=x", e));
        REFUSED(E2BIG, "metrics", iotjobs_client_configure_metrics(c, true, memset(long_text, '?', 2000), e));
        TAKEN(iotjobs_client_configure_metrics(c, true, "?SDK=C", e));
        REFUSED(EINVAL, "without wildcards", iotjobs_client_configure_last_will(c, "a/#", "x", 1, 0, false, e));
        REFUSED(EINVAL, "without wildcards", iotjobs_client_configure_last_will(c, "", "x", 1, 0, false, e));
        REFUSED(EINVAL, "without wildcards", iotjobs_client_configure_last_will(c, "a\nb", "x", 1, 0, false, e));
        REFUSED(E2BIG, "65536", iotjobs_client_configure_last_will(c, "t", long_text, 65536, 0, false, e));
        REFUSED(EINVAL, "payload: missing", iotjobs_client_configure_last_will(c, "t", NULL, 1, 0, false, e));
        REFUSED(ERANGE, "QoS: 2", iotjobs_client_configure_last_will(c, "t", "x", 1, 2, false, e));
        TAKEN(iotjobs_client_configure_last_will(c, "t", "x", 1, 1, true, e));
        TAKEN(iotjobs_client_configure_last_will(c, "t", NULL, 0, 1, false, e));
        TAKEN(iotjobs_client_configure_last_will(c, NULL, NULL, 0, 0, false, e));
        REFUSED(EINVAL, "proxy", iotjobs_client_configure_proxy(c, "ftp://h:1", NULL, e));
        REFUSED(EINVAL, "no user name", iotjobs_client_configure_proxy(c, "http://h:1", "p", e));
        TAKEN(iotjobs_client_configure_proxy(c, "http://u:p%40@h:3128", "q", e));
        TAKEN(iotjobs_client_configure_proxy(c, NULL, NULL, e));
        (void) iotjobs_client_free(c);
        free(long_text);
}
END_TEST

START_TEST(numbers) {
        IotJobsClient *c = make(false, false);

        REFUSED(ERANGE, "min: 0", iotjobs_client_configure_reconnect(c, 0, 1, 1, e));
        REFUSED(ERANGE, "max: 4", iotjobs_client_configure_reconnect(c, 5, 4, 1, e));
        REFUSED(ERANGE, "stable: -1", iotjobs_client_configure_reconnect(c, 1, 1, -1, e));
        TAKEN(iotjobs_client_configure_reconnect(c, 1, 1, 0, e));
        REFUSED(ERANGE, "queue: -2", iotjobs_client_configure_offline_queue(c, -2, IOTJOBS_DROP_NEWEST, e));
        REFUSED(ERANGE, "10001", iotjobs_client_configure_offline_queue(c, 10001, IOTJOBS_DROP_NEWEST, e));
        REFUSED(EINVAL, "policy 7", iotjobs_client_configure_offline_queue(c, 1, (IotJobsDrop) 7, e));
        TAKEN(iotjobs_client_configure_offline_queue(c, -1, IOTJOBS_DROP_OLDEST, e));
        REFUSED(ERANGE, "draining rate: 0", iotjobs_client_configure_draining(c, 0, e));
        REFUSED(ERANGE, "1000", iotjobs_client_configure_draining(c, 1000.5, e));
        REFUSED(ERANGE, "nan", iotjobs_client_configure_draining(c, (double) NAN, e));
        TAKEN(iotjobs_client_configure_draining(c, 0.5, e));
        REFUSED(ERANGE, "publish rate", iotjobs_client_configure_publish_rate(c, 100001, e));
        REFUSED(ERANGE, "connect timeout: 0", iotjobs_client_configure_timeouts(c, 0, 1, e));
        REFUSED(ERANGE, "operation timeout: 3601", iotjobs_client_configure_timeouts(c, 1, 3601, e));
        REFUSED(ERANGE, "keep-alive: 29", iotjobs_client_configure_keep_alive(c, 29, e));
        REFUSED(ERANGE, "keep-alive: 1201", iotjobs_client_configure_keep_alive(c, 1201, e));
        REFUSED(EINVAL, "client: missing", iotjobs_client_configure_timeouts(NULL, 1, 1, e));
        (void) iotjobs_client_free(c);
        c = make(false, true);
        TAKEN(iotjobs_client_configure_keep_alive(c, 0, e));
        TAKEN(iotjobs_client_configure_keep_alive(c, 5, e));
        REFUSED(ERANGE, "keep-alive: 4, expected 5", iotjobs_client_configure_keep_alive(c, 4, e));
        REFUSED(ERANGE, "keep-alive: -1", iotjobs_client_configure_keep_alive(c, -1, e));
        TAKEN(iotjobs_client_configure_keep_alive(c, 65535, e));
        REFUSED(ERANGE, "65535", iotjobs_client_configure_keep_alive(c, 65536, e));
        (void) iotjobs_client_free(c);
}
END_TEST

/* ---- what does not go together: told by check, and by connect before anything is tried ---- */

static char dir[64];

static const char *path(const char *name) {
        static char paths[4][96];
        static unsigned next;
        char *p = paths[next++ % ELEMENTSOF(paths)];

        (void) snprintf(p, sizeof paths[0], "%s/%s", dir, name);
        return p;
}

static void make_files(void) {
        Authority ca = certs_authority("CA");

        unit_directory(dir, sizeof dir, "test-client");
        certs_write(dir, "ca", "pem", ca.cert, NULL, NULL);
        certs_leaf(&ca, dir, "client", "unit", NULL, 0, -CERTS_DAY, 365 * CERTS_DAY);
        certs_leaf(&ca, dir, "other", "other", NULL, 0, -CERTS_DAY, 365 * CERTS_DAY);
        certs_authority_done(&ca);
}

static void remove_files(void) {
        static const char *const names[] = { "ca.pem", "client.pem", "client.key", "other.pem", "other.key" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ck_assert_int_eq(unlink(path(names[i])), 0);
        ck_assert_int_eq(rmdir(dir), 0);
}

#define NOT_TOGETHER(part)                                                                        \
        do {                                                                                      \
                REFUSED(EINVAL, part, iotjobs_client_check(c, e));                                \
                REFUSED(EINVAL, part, iotjobs_client_connect(c, e));                              \
                REFUSED(EINVAL, part, iotjobs_client_connect_async(c, e));                        \
        } while (0)

START_TEST(combinations) {
        IotJobsClient *c = make(false, false);

        NOT_TOGETHER("endpoint: not set");
        TAKEN(iotjobs_client_configure_endpoint(c, "localhost", 8883, e));
        NOT_TOGETHER("CA file: not set");
        TAKEN(iotjobs_client_configure_plaintext(c, true, e));
        TAKEN(iotjobs_client_check(c, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("ca.pem"), path("client.key"), path("client.pem"), e));
        NOT_TOGETHER("plaintext");
        TAKEN(iotjobs_client_configure_plaintext(c, false, e));
        TAKEN(iotjobs_client_check(c, e));
        TAKEN(iotjobs_client_configure_username_password(c, "u?x=y", NULL, e));
        TAKEN(iotjobs_client_check(c, e));
        TAKEN(iotjobs_client_configure_metrics(c, true, NULL, e));
        NOT_TOGETHER("'?' of its own");
        (void) iotjobs_client_free(c);
        c = make(false, true);
        TAKEN(iotjobs_client_configure_endpoint(c, "localhost", 8883, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("ca.pem"), NULL, NULL, e));
        TAKEN(iotjobs_client_configure_username_password(c, "u?x=y", NULL, e));
        TAKEN(iotjobs_client_check(c, e)); /* v1: as that SDK does */
        (void) iotjobs_client_free(c);
}
END_TEST

START_TEST(websocket_combinations) {
        IotJobsClient *c = make(true, false);

        TAKEN(iotjobs_client_configure_endpoint(c, "x-ats.iot.eu-west-1.amazonaws.com", 443, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("ca.pem"), path("client.key"), path("client.pem"), e));
        NOT_TOGETHER("IAM credentials");
        TAKEN(iotjobs_client_configure_iam_credentials(c, "AKIDEXAMPLE", "secret", NULL, e));
        TAKEN(iotjobs_client_check(c, e));
        TAKEN(iotjobs_client_configure_endpoint(c, "iot.example.com", 443, e));
        NOT_TOGETHER("region");
        TAKEN(iotjobs_client_configure_region(c, "eu-west-1", e));
        TAKEN(iotjobs_client_check(c, e));
        TAKEN(iotjobs_client_configure_plaintext(c, true, e));
        NOT_TOGETHER("plaintext");
        (void) iotjobs_client_free(c);
}
END_TEST

START_TEST(files) {
        IotJobsClient *c = make(false, false);

        TAKEN(iotjobs_client_configure_endpoint(c, "localhost", 8883, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("missing.pem"), NULL, NULL, e));
        REFUSED(ENOENT, "missing.pem", iotjobs_client_check(c, e));
        REFUSED(ENOENT, "missing.pem", iotjobs_client_connect(c, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("ca.pem"), path("other.key"), path("client.pem"), e));
        REFUSED(EBADMSG, "other.key", iotjobs_client_check(c, e)); /* not the certificate's */
        (void) iotjobs_client_free(c);
}
END_TEST

static void on_message(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        (void) c;
        (void) m;
        (void) userdata;
}

static sem_t opening, may_open;

/* In place of the C library's: one file takes as long as the test wants, as a key in a slow token does. */
int open64(const char *file, int flags, ...) {
        mode_t mode = 0;
        va_list ap;

        va_start(ap, flags);
        if (flags & O_CREAT)
                mode = (mode_t) va_arg(ap, unsigned);
        va_end(ap);
        if (strstr(file, "/slow.pem")) {
                ck_assert_int_eq(sem_post(&opening), 0);
                ck_assert_int_eq(sem_wait(&may_open), 0);
        }
        return (int) syscall(SYS_openat, AT_FDCWD, file, flags, mode);
}

static void *check_in_thread(void *userdata) {
        ck_assert_int_eq(iotjobs_client_check(userdata, NULL), -ENOENT);
        return NULL;
}

static void *configure_in_thread(void *userdata) {
        TAKEN(iotjobs_client_configure_keep_alive(userdata, 90, e));
        return NULL;
}

START_TEST(a_slow_file_holds_nobody_up) {
        IotJobsClient *c = make(false, false);
        pthread_t checks, configures;

        ck_assert(sem_init(&opening, 0, 0) == 0 && sem_init(&may_open, 0, 0) == 0);
        TAKEN(iotjobs_client_configure_endpoint(c, "localhost", 8883, e));
        TAKEN(iotjobs_client_configure_credentials(c, path("slow.pem"), NULL, NULL, e));
        ck_assert_int_eq(pthread_create(&checks, NULL, check_in_thread, c), 0);
        ck_assert_int_eq(sem_wait(&opening), 0);
        ck_assert_int_eq(pthread_create(&configures, NULL, configure_in_thread, c), 0);
        ck_assert(!iotjobs_client_is_online(c));
        ck_assert_int_eq(iotjobs_client_dispatch(c), 0);
        REFUSED(ENOTCONN, "", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, e));
        TAKEN(iotjobs_client_create_job_subscription_async(c, NULL, on_message, NULL, IOTJOBS_TOPIC_NOTIFY,
                                                           IOTJOBS_REPLY_REQUEST, NULL, e));
        ck_assert_int_eq(pthread_tryjoin_np(configures, NULL), EBUSY); /* the configuration is being read */
        ck_assert_int_eq(sem_post(&may_open), 0);
        ck_assert_int_eq(pthread_join(configures, NULL), 0);
        ck_assert_int_eq(pthread_join(checks, NULL), 0);
        (void) iotjobs_client_free(c);
        (void) sem_destroy(&opening);
        (void) sem_destroy(&may_open);
}
END_TEST

/* ---- requests ---- */

static IotJobsUpdate update_of(const char *job) {
        return (IotJobsUpdate){ .job_id = job, .status = IOTJOBS_STATUS_IN_PROGRESS };
}

START_TEST(request_parameters) {
        static const IotJobsDetail twice[] = { { "a", "1" }, { "a", "2" } }, null[] = { { "a", NULL } },
                                   line[] = { { "a", "x\ny" } }, key[] = { { "a b", "x" } }, good[] = { { "a", "b" } };
        IotJobsDetail many[11];
        char keys[11][4], *long_token = repeat('t', 129), *longest_token = repeat('t', 128);
        IotJobsRequest common = { .client_token = long_token };
        IotJobsClient *c = make(false, (bool) _i);
        IotJobsStartNext s = { 0 };
        IotJobsUpdate u;

        TAKEN(iotjobs_client_configure_offline_queue(c, 1, IOTJOBS_DROP_OLDEST, e));
        for (int i = 0; i < 11; i++) {
                (void) snprintf(keys[i], sizeof keys[i], "k%d", i);
                many[i] = (IotJobsDetail){ keys[i], "v" };
        }
        REFUSED(EINVAL, "129 bytes", iotjobs_client_send_jobs_query(c, &common, IOTJOBS_TOPIC_GET_PENDING, NULL, e));
        ck_assert_str_eq(common.used_token, "");
        common.client_token = longest_token;
        ck_assert_int_eq(iotjobs_client_send_jobs_query(c, &common, IOTJOBS_TOPIC_GET_PENDING, NULL, NULL), 1);
        ck_assert_str_eq(common.used_token, longest_token);
        common.client_token = "\xff";
        REFUSED(EINVAL, "UTF-8", iotjobs_client_send_jobs_query(c, &common, IOTJOBS_TOPIC_GET_PENDING, NULL, e));
        REFUSED(EINVAL, "has none", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_START_NEXT, "j", e));
        REFUSED(EINVAL, "job id: missing", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_DESCRIBE, NULL, e));
        REFUSED(EINVAL, "status", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_UPDATE, "j", e));
        REFUSED(EINVAL, "notifications", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_NOTIFY, NULL, e));
        REFUSED(EINVAL, "type 7", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_WILDCARD, NULL, e));
        REFUSED(EINVAL, "request", iotjobs_client_send_jobs_query(c, NULL, (IotJobsTopicType) 42, NULL, e));
        REFUSED(EINVAL, "client: missing", iotjobs_client_send_jobs_query(NULL, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, e));
        REFUSED(EINVAL, "job id: missing", iotjobs_client_send_jobs_describe(c, NULL, "", 0, true, e));
        REFUSED(EINVAL, "jobId", iotjobs_client_send_jobs_describe(c, NULL, "+", 0, true, e));
        REFUSED(EINVAL, "jobId", iotjobs_client_send_jobs_describe(c, NULL, "a/b", 0, true, e));
        REFUSED(EINVAL, "129 characters", iotjobs_client_send_jobs_describe(c, NULL, long_token, 0, true, e));
        s.has_step_timeout = true;
        REFUSED(EINVAL, "stepTimeoutInMinutes: 0", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s.step_timeout_minutes = -1;
        REFUSED(EINVAL, "stepTimeoutInMinutes: -1", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s.step_timeout_minutes = 10081;
        REFUSED(EINVAL, "10080", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s = (IotJobsStartNext){ .details = good, .n_details = 1, .details_json = "{}" };
        REFUSED(EINVAL, "one of them", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s = (IotJobsStartNext){ .n_details = 1 };
        REFUSED(EINVAL, "announced", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s = (IotJobsStartNext){ .details_json = "[1]" };
        REFUSED(EINVAL, "statusDetails", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
        s.details_json = "{\"a\":1}";
        REFUSED(EINVAL, "statusDetails.a: a string", iotjobs_client_send_jobs_start_next(c, NULL, &s, e));
#define DETAILS(list, n, code, part)                                                             \
        do {                                                                                     \
                u = update_of("j");                                                              \
                u.details = (list);                                                              \
                u.n_details = (n);                                                               \
                REFUSED(code, part, iotjobs_client_send_jobs_update(c, NULL, &u, e));            \
        } while (0)
        DETAILS(twice, 2, EINVAL, "given twice");
        DETAILS(null, 1, EINVAL, "missing");
        DETAILS(line, 1, EINVAL, "statusDetails");
        DETAILS(key, 1, EINVAL, "statusDetails");
        DETAILS(many, 11, E2BIG, "10 pairs");
        for (int status = -1; status <= 9; status++) {
                u = update_of("j");
                u.status = (IotJobsStatus) status;
                if (status == IOTJOBS_STATUS_IN_PROGRESS || status == IOTJOBS_STATUS_FAILED ||
                    status == IOTJOBS_STATUS_SUCCEEDED || status == IOTJOBS_STATUS_REJECTED)
                        ck_assert_int_eq(iotjobs_client_send_jobs_update(c, NULL, &u, NULL), 1);
                else
                        REFUSED(EINVAL, "status", iotjobs_client_send_jobs_update(c, NULL, &u, e));
        }
        u = update_of("$next");
        REFUSED(EINVAL, "jobId", iotjobs_client_send_jobs_update(c, NULL, &u, e));
        REFUSED(EINVAL, "update: missing", iotjobs_client_send_jobs_update(c, NULL, NULL, e));
        (void) iotjobs_client_free(c);
        free(long_token);
        free(longest_token);
}
END_TEST

START_TEST(before_connecting) {
        IotJobsClient *c = make(false, false), *v1 = make(false, true);

        REFUSED(ENOTCONN, "not connected", iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, e));
        REFUSED(ENOTCONN, "not connected",
                iotjobs_client_create_job_subscription(c, on_message, NULL, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL,
                                                       e));
        REFUSED(EINVAL, "handler", iotjobs_client_create_job_subscription(c, NULL, NULL, IOTJOBS_TOPIC_NOTIFY,
                                                                          IOTJOBS_REPLY_REQUEST, NULL, e));
        REFUSED(EINVAL, "reply type",
                iotjobs_client_create_job_subscription_async(c, NULL, on_message, NULL, IOTJOBS_TOPIC_NOTIFY,
                                                             IOTJOBS_REPLY_ACCEPTED, NULL, e));
        REFUSED(EINVAL, "job id",
                iotjobs_client_create_job_subscription_async(v1, NULL, on_message, NULL, IOTJOBS_TOPIC_UPDATE,
                                                             IOTJOBS_REPLY_ACCEPTED, NULL, e));
        TAKEN(iotjobs_client_create_job_subscription_async(c, NULL, on_message, NULL, IOTJOBS_TOPIC_UPDATE,
                                                           IOTJOBS_REPLY_ACCEPTED, NULL, e));
        TAKEN(iotjobs_client_subscribe_all(c, on_message, NULL, e));
        REFUSED(EINVAL, "handler", iotjobs_client_subscribe_all(c, NULL, NULL, e));
        REFUSED(ENOTCONN, "not connected", iotjobs_client_disconnect(c, e));
        REFUSED(ENOTCONN, "not connected", iotjobs_client_disconnect_async(c, e));
        REFUSED(ENOTCONN, "not connected", iotjobs_client_flush(c, 1000, e));
        REFUSED(EINVAL, "negative", iotjobs_client_flush(c, -1, e));
        REFUSED(ENOTCONN, "not connected", iotjobs_client_reconnect(c, e));
        ck_assert(!iotjobs_client_is_online(c));
        ck_assert(!iotjobs_client_is_online(NULL));
        ck_assert_int_ge(iotjobs_client_fd(c), 0);
        ck_assert_int_eq(iotjobs_client_fd(NULL), -EINVAL);
        ck_assert_int_eq(iotjobs_client_timeout(NULL), -1);
        iotjobs_client_set_connection_handler(NULL, NULL, NULL);
        ck_assert_int_eq(iotjobs_client_dispatch(c), 0);
        REFUSED(EALREADY, "dispatch", iotjobs_client_start_thread(c, e));
        TAKEN(iotjobs_client_start_thread(v1, e));
        REFUSED(EALREADY, "thread", iotjobs_client_start_thread(v1, e));
        ck_assert_int_eq(iotjobs_client_dispatch(v1), -EBUSY);
        ck_assert_int_eq(iotjobs_client_dispatch(NULL), -EINVAL);
        (void) iotjobs_client_free(c);
        (void) iotjobs_client_free(v1);
}
END_TEST

static TCase *cases(void) {
        TCase *tc = tcase_create("configure");

        tcase_add_unchecked_fixture(tc, make_files, remove_files);
        tcase_add_test(tc, options);
        tcase_add_test(tc, endpoint_and_credentials);
        tcase_add_test(tc, names_will_and_proxy);
        tcase_add_test(tc, numbers);
        tcase_add_test(tc, combinations);
        tcase_add_test(tc, websocket_combinations);
        tcase_add_test(tc, files);
        tcase_add_test(tc, a_slow_file_holds_nobody_up);
        tcase_add_loop_test(tc, request_parameters, 0, 2);
        tcase_add_test(tc, before_connecting);
        return tc;
}

UNIT_MAIN("client-configure", cases())
