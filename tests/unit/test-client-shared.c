/* SPDX-License-Identifier: Apache-2.0 */
/* The library on a libmosquitto handle that the test owns and goes on using for itself. */
#include <iotjobs/mosquitto.h>
#include <mosquitto.h>

#include "client-rig.h"

typedef struct Owner { /* the application around it */
        struct mosquitto *mosq;
        Lib lib;
        pthread_mutex_t lock;
        int connects, messages, subscribes, publishes; /* that were its own */
        char topic[64];
        bool forwards; /* to the library */
} Owner;

static void count(Owner *o, int *what) {
        (void) pthread_mutex_lock(&o->lock);
        (*what)++;
        (void) pthread_mutex_unlock(&o->lock);
}

static int counted(Owner *o, const int *what) {
        int n;

        (void) pthread_mutex_lock(&o->lock);
        n = *what;
        (void) pthread_mutex_unlock(&o->lock);
        return n;
}

static void on_connect(struct mosquitto *m, void *userdata, int rc) {
        Owner *o = userdata;

        if (rc == 0)
                (void) mosquitto_subscribe(m, NULL, "app/#", 1);
        if (o->forwards)
                ck_assert(iotjobs_client_on_connect(o->lib.c, rc));
        count(o, &o->connects);
}

static void on_disconnect(struct mosquitto *m, void *userdata, int rc) {
        Owner *o = userdata;

        (void) m;
        if (o->forwards)
                (void) iotjobs_client_on_disconnect(o->lib.c, rc);
}

static void on_message(struct mosquitto *m, void *userdata, const struct mosquitto_message *message) {
        Owner *o = userdata;

        (void) m;
        if (!o->forwards || !iotjobs_client_on_message(o->lib.c, message))
                count(o, &o->messages);
}

static void on_subscribe(struct mosquitto *m, void *userdata, int mid, int n, const int *granted) {
        Owner *o = userdata;

        (void) m;
        if (!o->forwards || !iotjobs_client_on_subscribe(o->lib.c, mid, n, granted))
                count(o, &o->subscribes);
}

static void on_publish(struct mosquitto *m, void *userdata, int mid) {
        Owner *o = userdata;

        (void) m;
        if (!o->forwards || !iotjobs_client_on_publish(o->lib.c, mid))
                count(o, &o->publishes);
}

static void owner_open(Owner *o, Drive drive, int qos) {
        IotJobsOptions options = lib_options();
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };

        options.qos = qos;
        *o = (Owner){ .lock = PTHREAD_MUTEX_INITIALIZER, .forwards = true };
        (void) mosquitto_lib_init();
        o->mosq = mosquitto_new("owner", true, o);
        mosquitto_connect_callback_set(o->mosq, on_connect);
        mosquitto_disconnect_callback_set(o->mosq, on_disconnect);
        mosquitto_message_callback_set(o->mosq, on_message);
        mosquitto_subscribe_callback_set(o->mosq, on_subscribe);
        mosquitto_publish_callback_set(o->mosq, on_publish);
        (void) mosquitto_reconnect_delay_set(o->mosq, 1, 1, false);
        ck_assert_msg(iotjobs_client_new_on_mosquitto(&options, o->mosq, false, &c, &e) == 0, "%s", e.text);
        lib_adopt(&o->lib, c, drive);
}

static void owner_connect(Owner *o) {
        int rc = MOSQ_ERR_ERRNO;

        for (int i = 0; i < 1000 && rc != MOSQ_ERR_SUCCESS; i++) {
                rc = mosquitto_connect(o->mosq, "127.0.0.1", rig_broker_port, 60);
                if (rc != MOSQ_ERR_SUCCESS)
                        (void) poll(NULL, 0, 10);
        }
        ck_assert_int_eq(rc, MOSQ_ERR_SUCCESS);
        ck_assert_int_eq(mosquitto_loop_start(o->mosq), MOSQ_ERR_SUCCESS);
}

/* The library goes first: the handle must outlive it. Its thread stops before that, so that nothing is forwarded any more. */
static void owner_close(Owner *o) {
        (void) mosquitto_disconnect(o->mosq);
        (void) mosquitto_loop_stop(o->mosq, false);
        lib_close(&o->lib);
        mosquitto_destroy(o->mosq);
        (void) mosquitto_lib_cleanup();
}

static void wait_for(Owner *o, const int *what, int n) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;

        while (counted(o, what) < n && clock_boottime_usec() < until)
                (void) poll(NULL, 0, 2);
        ck_assert_int_ge(counted(o, what), n);
}

static void both_work(Owner *o, Rig *service, int messages) {
        IotJobsClient *c = o->lib.c;
        int published = counted(o, &o->publishes);
        Seen *s;

        ck_assert_int_eq(iotjobs_client_send_jobs_query(c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, NULL), 0);
        ck_assert_int_eq(iotjobs_client_flush(c, 20000, NULL), 0);
        s = rig_next(service);
        ck_assert_str_eq(s->event.topic, JOBS "get");
        seen_free(s);
        service_say(service, JOBS "get/accepted", "{\"inProgressJobs\":[],\"queuedJobs\":[]}");
        lib_expect_message(&o->lib, JOBS "get/accepted");
        ck_assert_int_eq(mosquitto_publish(o->mosq, NULL, "app/hello", 2, "hi", 1, false), MOSQ_ERR_SUCCESS);
        wait_for(o, &o->messages, messages);
        wait_for(o, &o->publishes, published + 1); /* and the library's are not counted as the owner's */
        ck_assert_int_eq(counted(o, &o->publishes), published + 1);
}

START_TEST(both_keep_working_through_a_broker_restart) {
        IotJobsError e = { 0 };
        Rig service;
        Owner o;

        owner_open(&o, (Drive) _i, 1);
        ck_assert_int_eq(iotjobs_client_configure_endpoint(o.lib.c, "h", 1, &e), -EOPNOTSUPP);
        ck_assert_int_eq(iotjobs_client_connect(o.lib.c, &e), -EOPNOTSUPP);
        ck_assert_int_eq(iotjobs_client_subscribe_all(o.lib.c, lib_on_message, &o.lib.ears, &e), 0);
        ck_assert_int_eq(iotjobs_client_send_jobs_query(o.lib.c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, &e), -ENOTCONN);
        owner_connect(&o);
        lib_expect_event(&o.lib, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_subscribe_all(o.lib.c, lib_on_message, &o.lib.ears, &e), -EISCONN);
        service_open(&service);
        both_work(&o, &service, 1);
        rig_close(&service);
        rig_broker_stop();
        lib_expect_event(&o.lib, IOTJOBS_CONNECTION_OFFLINE);
        ck_assert(!iotjobs_client_is_online(o.lib.c));
        rig_broker_start();
        lib_expect_online(&o.lib);
        service_open(&service);
        both_work(&o, &service, 2);
        wait_for(&o, &o.subscribes, 2);
        ck_assert_int_eq(counted(&o, &o.subscribes), 2); /* its own two, none of the library's */
        rig_close(&service);
        owner_close(&o);
}
END_TEST

START_TEST(blocking_and_asynchronous_subscriptions) {
        IotJobsError e = { 0 };
        Rig service;
        Owner o;
        int id;

        owner_open(&o, (Drive) _i, 1);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(o.lib.c, lib_on_message, &o.lib.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ENOTCONN);
        ck_assert_int_eq(iotjobs_client_create_job_subscription_async(o.lib.c, lib_on_ack, lib_on_message, &o.lib.ears,
                                                                      IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST,
                                                                      NULL, &e),
                         0);
        owner_connect(&o);
        lib_expect_event(&o.lib, IOTJOBS_CONNECTION_ONLINE);
        lib_wait_acks(&o.lib, 1);
        ck_assert_msg(iotjobs_client_create_job_subscription(o.lib.c, lib_on_message, &o.lib.ears, IOTJOBS_TOPIC_NOTIFY,
                                                             IOTJOBS_REPLY_REQUEST, NULL, &e) == 0,
                      "%s", e.text);
        id = iotjobs_client_create_job_subscription_async(o.lib.c, lib_on_ack, lib_on_message, &o.lib.ears,
                                                          IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED, "+", &e);
        ck_assert_int_gt(id, 0);
        lib_wait_acks(&o.lib, 2);
        ck_assert_int_eq(o.lib.ears.last_id, id);
        service_open(&service);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&o.lib, JOBS "notify");
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(o.lib.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, &e),
                         0);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        service_say(&service, JOBS "j/update/accepted", "{}");
        lib_expect_message(&o.lib, JOBS "j/update/accepted");
        rig_close(&service);
        owner_close(&o);
}
END_TEST

/* Driven by the test itself, without a thread of libmosquitto's: its on_publish comes out of mosquitto_publish(). */
START_TEST(a_handle_that_its_owner_pumps) {
        IotJobsError e = { 0 };
        Owner o;

        owner_open(&o, DRIVE_POLL, (int) _i);
        for (int i = 0; i < 1000 && mosquitto_connect(o.mosq, "127.0.0.1", rig_broker_port, 60) != MOSQ_ERR_SUCCESS; i++)
                (void) poll(NULL, 0, 10);
        for (int i = 0; i < 1000 && !iotjobs_client_is_online(o.lib.c); i++)
                ck_assert_int_eq(mosquitto_loop(o.mosq, 10, 1), MOSQ_ERR_SUCCESS);
        ck_assert_int_eq(iotjobs_client_send_jobs_start_next(o.lib.c, NULL, NULL, &e), 0);
        if (_i == 1) {
                ck_assert_int_eq(iotjobs_client_flush(o.lib.c, 0, &e), -ETIMEDOUT);
                for (int i = 0; i < 1000 && iotjobs_client_flush(o.lib.c, 0, &e) != 0; i++)
                        ck_assert_int_eq(mosquitto_loop(o.mosq, 10, 1), MOSQ_ERR_SUCCESS);
        }
        ck_assert_int_eq(iotjobs_client_flush(o.lib.c, 0, &e), 0);
        ck_assert_int_eq(counted(&o, &o.publishes), 0);
        /* A blocking call in the thread that would have to pump: refused by time, and nothing is left of it. */
        ck_assert_int_eq(iotjobs_client_configure_timeouts(o.lib.c, 1, 1, &e), 0);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(o.lib.c, lib_on_message, &o.lib.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ETIMEDOUT);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "notify"));
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(o.lib.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ENOENT);
        (void) mosquitto_disconnect(o.mosq);
        lib_close(&o.lib);
        mosquitto_destroy(o.mosq);
}
END_TEST

START_TEST(what_is_not_ours_is_told) {
        struct mosquitto_message m = { .topic = (char[]){ "app/hello" } };
        IotJobsOptions options = lib_options();
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };
        Owner o;

        ck_assert_int_eq(iotjobs_client_new_on_mosquitto(&options, NULL, false, &c, &e), -EINVAL);
        owner_open(&o, DRIVE_POLL, 1);
        ck_assert_int_eq(iotjobs_client_subscribe_all(o.lib.c, lib_on_message, &o.lib.ears, &e), 0);
        ck_assert(!iotjobs_client_on_message(o.lib.c, &m));
        m.topic = (char[]){ JOBS "j/get" }; /* a Jobs topic, and nobody subscribed to it */
        ck_assert(!iotjobs_client_on_message(o.lib.c, &m));
        m.topic = (char[]){ "$aws/things/lamp2/jobs/notify" };
        ck_assert(!iotjobs_client_on_message(o.lib.c, &m));
        m.topic = (char[]){ JOBS "notify" };
        m.retain = true;
        ck_assert(iotjobs_client_on_message(o.lib.c, &m));
        ck_assert_str_eq(lib_expect_event(&o.lib, IOTJOBS_CONNECTION_DROPPED).topic, JOBS "notify");
        m.retain = false;
        m.payload = (char[]){ "{\"jobs\":" };
        m.payloadlen = 8;
        ck_assert(iotjobs_client_on_message(o.lib.c, &m));
        lib_expect_message(&o.lib, JOBS "notify"); /* with a fault: see test-client-parts */
        ck_assert(!iotjobs_client_on_subscribe(o.lib.c, 7, 1, (int[]){ 1 }));
        ck_assert(!iotjobs_client_on_publish(o.lib.c, 7));
        lib_close(&o.lib);
        mosquitto_destroy(o.mosq);
}
END_TEST

/* The connection is its owner's; what waits for it, and for how long, is the library's. */
START_TEST(configuration_is_the_owners) {
        Owner o;
        IotJobsClient *c;
        IotJobsError e = { 0 };

        owner_open(&o, DRIVE_POLL, 1);
        c = o.lib.c;
#define OWNERS(call)                                                                      \
        do {                                                                              \
                e = (IotJobsError){ 0 };                                                  \
                ck_assert_int_eq((call), -EOPNOTSUPP);                                    \
                ck_assert_int_eq(e.code, EOPNOTSUPP);                                     \
                ck_assert_str_ne(e.text, "");                                             \
        } while (0)
        OWNERS(iotjobs_client_configure_endpoint(c, "h", 1, &e));
        OWNERS(iotjobs_client_configure_alpn(c, "mqtt", &e));
        OWNERS(iotjobs_client_configure_credentials(c, "ca", "key", "cert", &e));
        OWNERS(iotjobs_client_configure_key_uri(c, "ca", "pkcs11:object=x", NULL, "cert", &e));
        OWNERS(iotjobs_client_configure_iam_credentials(c, "a", "b", NULL, &e));
        OWNERS(iotjobs_client_configure_iam_credentials_file(c, "f", NULL, &e));
        OWNERS(iotjobs_client_configure_region(c, "eu-west-1", &e));
        OWNERS(iotjobs_client_configure_username_password(c, "u", "p", &e));
        OWNERS(iotjobs_client_configure_metrics(c, true, NULL, &e));
        OWNERS(iotjobs_client_configure_last_will(c, "t", "x", 1, 0, false, &e));
        OWNERS(iotjobs_client_configure_proxy(c, "http://h:1", NULL, &e));
        OWNERS(iotjobs_client_configure_reconnect(c, 1, 1, 1, &e));
        OWNERS(iotjobs_client_configure_publish_rate(c, 1, &e));
        OWNERS(iotjobs_client_configure_keep_alive(c, 60, &e));
        OWNERS(iotjobs_client_configure_plaintext(c, true, &e));
        OWNERS(iotjobs_client_check(c, &e));
        OWNERS(iotjobs_client_connect(c, &e));
        OWNERS(iotjobs_client_connect_async(c, &e));
        OWNERS(iotjobs_client_disconnect(c, &e));
        OWNERS(iotjobs_client_disconnect_async(c, &e));
        OWNERS(iotjobs_client_reconnect(c, &e));
        ck_assert_int_eq(iotjobs_client_configure_offline_queue(c, 1, IOTJOBS_DROP_OLDEST, &e), 0);
        ck_assert_int_eq(iotjobs_client_configure_draining(c, 1, &e), 0);
        ck_assert_int_eq(iotjobs_client_configure_timeouts(c, 1, 1, &e), 0);
        lib_close(&o.lib);
        mosquitto_destroy(o.mosq);
}
END_TEST

static TCase *cases(void) {
        TCase *tc = tcase_create("shared");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_broker_setup, rig_broker_teardown);
        tcase_add_loop_test(tc, both_keep_working_through_a_broker_restart, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, blocking_and_asynchronous_subscriptions, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, a_handle_that_its_owner_pumps, 0, 2);
        return tc;
}

static TCase *quiet_cases(void) {
        TCase *tc = tcase_create("quiet");

        tcase_add_test(tc, what_is_not_ours_is_told);
        tcase_add_test(tc, configuration_is_the_owners);
        return tc;
}

UNIT_MAIN("client-shared", cases(), quiet_cases())
