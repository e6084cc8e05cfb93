/* SPDX-License-Identifier: Apache-2.0 */
/* The library against a real broker, driven in each of its three ways. */
#include "client-rig.h"

/* ---- conversations, once for each way of driving ---- */

static void expect_request(Rig *service, const char *topic, const char *part) {
        Seen *s = rig_next(service);

        ck_assert_int_eq((int) s->event.type, TRANSPORT_MESSAGE);
        ck_assert_str_eq(s->event.topic, topic);
        ck_assert_msg(strstr(s->event.payload, part) != NULL, "%s has no %s", s->event.payload, part);
        ck_assert(!s->event.retained);
        seen_free(s);
}

START_TEST(requests_and_replies) {
        IotJobsOptions o = lib_options();
        IotJobsRequest first = { 0 }, second = { 0 };
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, lib_on_message, &l.ears, NULL), 0);
        ck_assert_int_eq(iotjobs_client_send_jobs_query(l.c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, NULL), -ENOTCONN);
        lib_connect(&l);
        ck_assert(iotjobs_client_is_online(l.c));
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_send_jobs_query(l.c, &first, IOTJOBS_TOPIC_GET_PENDING, NULL, NULL), 0);
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, &second, "j1", 3, true, NULL), 0);
        ck_assert_str_ne(first.used_token, "");
        ck_assert_str_ne(first.used_token, second.used_token);
        expect_request(&service, JOBS "get", first.used_token);
        expect_request(&service, JOBS "j1/get", "\"executionNumber\":3");
        service_say(&service, JOBS "get/accepted", "{\"timestamp\":1,\"inProgressJobs\":[],\"queuedJobs\":[]}");
        lib_expect_message(&l, JOBS "get/accepted");
        ck_assert_int_eq(iotjobs_client_flush(l.c, 10000, NULL), 0);
        ck_assert_int_eq(iotjobs_client_disconnect(l.c, NULL), 0);
        ck_assert_int_eq((int) lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE).retry_ms, -1);
        ck_assert(!iotjobs_client_is_online(l.c));
        ck_assert_int_eq(iotjobs_client_disconnect(l.c, NULL), -ENOTCONN);
        lib_connect(&l); /* subscriptions are still there */
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        service_say(&service, JOBS "notify", "{\"timestamp\":2,\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        lib_close(&l);
        rig_close(&service);
}
END_TEST

typedef struct Nest { /* a handler that makes a blocking call */
        Lib *lib;
        int result[8];
        size_t n;
} Nest;

static void on_nested(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Nest *nest = userdata;
        IotJobsError e = { 0 };

        if (nest->n == 0) {
                nest->result[nest->n++] = iotjobs_client_create_job_subscription(
                        c, lib_on_message, &nest->lib->ears, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED, "j1", &e);
                nest->result[nest->n++] = iotjobs_client_send_jobs_start_next(c, NULL, NULL, &e);
                nest->result[nest->n++] = iotjobs_client_flush(c, 10000, &e);
                nest->result[nest->n++] = iotjobs_client_dispatch(c);
                nest->result[nest->n++] = iotjobs_client_remove_job_subscription(
                        c, IOTJOBS_TOPIC_UPDATE, IOTJOBS_REPLY_ACCEPTED, "j1", &e);
        }
        lib_on_message(c, m, &nest->lib->ears);
}

START_TEST(blocking_calls_in_a_callback) {
        IotJobsOptions o = lib_options();
        Nest nest = { 0 };
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        nest.lib = &l;
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, on_nested, &nest, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         0);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        ck_assert_uint_eq(nest.n, 5);
        ck_assert_int_eq(nest.result[0], 0);
        ck_assert_int_eq(nest.result[1], 0);
        ck_assert_int_eq(nest.result[2], 0);
        ck_assert_int_eq(nest.result[3], -EBUSY);
        ck_assert_int_eq(nest.result[4], 0);
        expect_request(&service, JOBS "start-next", "clientToken");
        service_say(&service, JOBS "j1/update/accepted", "{}"); /* nobody's any more */
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        lib_close(&l);
        rig_close(&service);
}
END_TEST

typedef struct Reconnect {
        Lib *lib;
        int result[2];
        bool done;
} Reconnect;

static void on_disconnect_me(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Reconnect *r = userdata;

        r->result[0] = iotjobs_client_disconnect(c, NULL);
        r->result[1] = iotjobs_client_connect(c, NULL);
        r->done = true;
        lib_on_message(c, m, &r->lib->ears);
}

START_TEST(disconnect_and_connect_in_a_callback) {
        IotJobsOptions o = lib_options();
        Reconnect again = { 0 };
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        again.lib = &l;
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, on_disconnect_me, &again, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         0);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        ck_assert(again.done);
        ck_assert_int_eq(again.result[0], 0);
        ck_assert_int_eq(again.result[1], 0);
        lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        lib_close(&l);
        rig_close(&service);
}
END_TEST

typedef struct FreeIt {
        Lib *lib;
        bool freed;
        pthread_mutex_t lock;
} FreeIt;

static void on_free_it(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        FreeIt *f = userdata;

        (void) m;
        if (f->lib->drive == DRIVE_SD_EVENT)
                iotjobs_sd_event_detach(&f->lib->glue);
        ck_assert_ptr_null(iotjobs_client_free(c));
        (void) pthread_mutex_lock(&f->lock);
        ck_assert(!f->freed); /* that callback was the last one */
        f->freed = true;
        (void) pthread_mutex_unlock(&f->lock);
}

static bool is_freed(FreeIt *f) {
        bool freed;

        (void) pthread_mutex_lock(&f->lock);
        freed = f->freed;
        (void) pthread_mutex_unlock(&f->lock);
        return freed;
}

START_TEST(free_in_a_callback) {
        IotJobsOptions o = lib_options();
        FreeIt f = { .lock = PTHREAD_MUTEX_INITIALIZER };
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        f.lib = &l;
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, on_free_it, &f, NULL), 0);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        for (int i = 0; i < 1000 && !is_freed(&f); i++)
                lib_turn(&l, 30);
        ck_assert(is_freed(&f));
        l.loop = sd_event_unref(l.loop);
        rig_close(&service);
}
END_TEST

/* ---- threads ---- */

typedef struct Slow {
        pthread_mutex_t lock;
        pthread_cond_t cond;
        bool inside, ended;
} Slow;

static void on_slow(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Slow *s = userdata;
        IotJobsError e = { 0 };

        (void) m;
        (void) pthread_mutex_lock(&s->lock);
        s->inside = true;
        (void) pthread_cond_broadcast(&s->cond);
        (void) pthread_mutex_unlock(&s->lock);
        /* Nobody answers this: it ends because the client is being freed. */
        while (iotjobs_client_flush(c, 60000, &e) != -ECANCELED)
                (void) sched_yield();
        (void) poll(NULL, 0, 50); /* whoever does not wait for the callback's end has time to show it */
        (void) pthread_mutex_lock(&s->lock);
        s->ended = true;
        (void) pthread_mutex_unlock(&s->lock);
}

START_TEST(free_waits_for_a_callback_in_another_thread) {
        Slow slow = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
        IotJobsOptions o = lib_options();
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, DRIVE_THREAD);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, on_slow, &slow, NULL), 0);
        lib_connect(&l);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        (void) pthread_mutex_lock(&slow.lock);
        while (!slow.inside)
                (void) pthread_cond_wait(&slow.cond, &slow.lock);
        (void) pthread_mutex_unlock(&slow.lock);
        lib_close(&l);
        ck_assert(slow.ended); /* no lock: nobody else is left */
        rig_close(&service);
}
END_TEST

static void *dispatcher(void *userdata) {
        Lib *l = userdata;
        struct pollfd p = { .fd = iotjobs_client_fd(l->c), .events = POLLIN };

        (void) poll(&p, 1, RIG_WAIT_SEC * 1000);
        (void) iotjobs_client_dispatch(l->c); /* one and no more: the client is freed meanwhile */
        return NULL;
}

START_TEST(free_waits_for_somebody_elses_dispatch) {
        Slow slow = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
        IotJobsOptions o = lib_options();
        pthread_t thread;
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, DRIVE_POLL);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, on_slow, &slow, NULL), 0);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(pthread_create(&thread, NULL, dispatcher, &l), 0);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        (void) pthread_mutex_lock(&slow.lock);
        while (!slow.inside)
                (void) pthread_cond_wait(&slow.cond, &slow.lock);
        (void) pthread_mutex_unlock(&slow.lock);
        lib_close(&l);
        ck_assert(slow.ended);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        rig_close(&service);
}
END_TEST

typedef struct Crowd {
        IotJobsClient *c;
        int id, failures;
} Crowd;

static void *crowd_main(void *userdata) {
        Crowd *w = userdata;
        IotJobsError e = { 0 };
        char job[16];

        for (int i = 0; i < 10; i++) {
                (void) snprintf(job, sizeof job, "j%d-%d", w->id, i);
                w->failures += iotjobs_client_create_job_subscription(w->c, lib_on_message, NULL, IOTJOBS_TOPIC_DESCRIBE,
                                                                      IOTJOBS_REPLY_REJECTED, job, &e) < 0;
                w->failures += iotjobs_client_send_jobs_describe(w->c, NULL, job, 0, false, &e) < 0;
                w->failures += iotjobs_client_flush(w->c, 20000, &e) < 0;
                w->failures += iotjobs_client_remove_job_subscription(w->c, IOTJOBS_TOPIC_DESCRIBE,
                                                                      IOTJOBS_REPLY_REJECTED, job, &e) < 0;
        }
        return NULL;
}

START_TEST(many_threads_call_at_once) {
        IotJobsOptions o = lib_options();
        pthread_t threads[4];
        Crowd crowd[4];
        Lib l;

        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        lib_connect(&l);
        for (int i = 0; i < 4; i++) {
                crowd[i] = (Crowd){ .c = l.c, .id = i };
                ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
                ck_assert_int_eq(crowd[i].failures, 0);
        }
        lib_close(&l);
}
END_TEST

/* ---- subscriptions ---- */

START_TEST(asynchronous_subscriptions) {
        IotJobsOptions o = lib_options();
        Rig service;
        int id;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        /* Before connecting: made with the connection, before ONLINE. */
        ck_assert_int_eq(iotjobs_client_create_job_subscription_async(l.c, lib_on_ack, lib_on_message, &l.ears,
                                                                      IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL,
                                                                      NULL),
                         0);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(lib_acks(&l), 1);
        ck_assert_int_eq(l.ears.last_granted, 1);
        id = iotjobs_client_create_job_subscription_async(l.c, lib_on_ack, lib_on_message, &l.ears, IOTJOBS_TOPIC_DESCRIBE,
                                                          IOTJOBS_REPLY_WILDCARD, NULL, NULL);
        ck_assert_int_gt(id, 0);
        lib_wait_acks(&l, 2);
        ck_assert_int_eq(l.ears.last_id, id);
        /* The same filter again: answered at once, by another handler from now on. */
        id = iotjobs_client_create_job_subscription_async(l.c, lib_on_ack, lib_on_message, &l.ears, IOTJOBS_TOPIC_DESCRIBE,
                                                          IOTJOBS_REPLY_WILDCARD, "+", NULL);
        lib_wait_acks(&l, 3);
        ck_assert_int_eq(l.ears.last_id, id);
        /* The own request comes back by "#", and is passed over. */
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, NULL, "j1", 0, true, NULL), 0);
        expect_request(&service, JOBS "j1/get", "clientToken");
        service_say(&service, JOBS "j1/get/accepted", "{\"timestamp\":1}");
        lib_expect_message(&l, JOBS "j1/get/accepted");
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(l.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         0);
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(l.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         -ENOENT);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        service_say(&service, JOBS "j1/get/rejected", "{\"code\":\"ResourceNotFound\"}");
        lib_expect_message(&l, JOBS "j1/get/rejected");
        lib_close(&l);
        rig_close(&service);
}
END_TEST

START_TEST(everything_is_subscribed_again) {
        IotJobsOptions o = lib_options();
        Rig service;
        Lib l;

        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, lib_on_message, &l.ears, NULL), 0);
        lib_connect(&l);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, lib_on_message, &l.ears, NULL), -EISCONN);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, lib_on_message, &l.ears, IOTJOBS_TOPIC_WILDCARD,
                                                                IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         0);
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(l.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         -EBUSY);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        rig_broker_stop();
        lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, lib_on_message, &l.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         -ENOTCONN);
        rig_broker_start();
        lib_expect_online(&l);
        service_open(&service);
        service_say(&service, JOBS "notify", "{\"jobs\":{}}");
        lib_expect_message(&l, JOBS "notify");
        lib_expect_message(&l, JOBS "notify"); /* two subscriptions take it: to each once */
        service_say(&service, JOBS "start-next/accepted", "{}");
        lib_expect_message(&l, JOBS "start-next/accepted");
        lib_expect_message(&l, JOBS "start-next/accepted");
        lib_close(&l);
        rig_close(&service);
}
END_TEST

/* ---- offline ---- */

START_TEST(requests_wait_for_the_connection) {
        IotJobsOptions o = lib_options();
        Rig service;
        Lib l;

        service_open(&service);
        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        ck_assert_int_eq(iotjobs_client_configure_offline_queue(l.c, 2, IOTJOBS_DROP_OLDEST, NULL), 0);
        ck_assert_int_eq(iotjobs_client_configure_draining(l.c, 5, NULL), 0);
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, NULL, "one", 0, true, NULL), 1);
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, NULL, "two", 0, true, NULL), 1);
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, NULL, "three", 0, true, NULL), 1);
        ck_assert_int_eq(iotjobs_client_configure_offline_queue(l.c, 2, IOTJOBS_DROP_NEWEST, NULL), 0);
        ck_assert_int_eq(iotjobs_client_send_jobs_describe(l.c, NULL, "four", 0, true, NULL), -ENOBUFS);
        lib_connect(&l);
        /* "three" still waits for its turn, so this one waits behind it. */
        ck_assert_int_ge(iotjobs_client_send_jobs_describe(l.c, NULL, "five", 0, true, NULL), 0);
        ck_assert_int_eq(iotjobs_client_flush(l.c, 20000, NULL), 0);
        expect_request(&service, JOBS "two/get", "{");
        expect_request(&service, JOBS "three/get", "{");
        expect_request(&service, JOBS "five/get", "{");
        lib_close(&l);
        rig_close(&service);
}
END_TEST

START_TEST(connecting_fails_once_and_for_all) {
        IotJobsOptions o = lib_options();
        IotJobsError e = { 0 };
        Heard h;
        Lib l;

        lib_open(&l, &o, rig_broker_port, (Drive) _i);
        lib_connect(&l); /* so the broker is up, and can be stopped */
        ck_assert_int_eq(iotjobs_client_disconnect(l.c, &e), 0);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE);
        rig_broker_stop();
        ck_assert_int_eq(iotjobs_client_connect(l.c, &e), -ECONNREFUSED);
        ck_assert_int_eq(e.code, ECONNREFUSED);
        ck_assert_ptr_nonnull(strstr(e.text, "127.0.0.1"));
        ck_assert_int_eq(iotjobs_client_reconnect(l.c, &e), -ENOTCONN);
        ck_assert(!lib_take(&l, &h)); /* the result said it all */
        ck_assert_int_eq(iotjobs_client_connect_async(l.c, &e), 0);
        ck_assert_int_eq(iotjobs_client_connect(l.c, &e), -EALREADY);
        ck_assert_int_ge((int) lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE).retry_ms, 0);
        rig_broker_start();
        lib_expect_online(&l);
        ck_assert_int_eq(iotjobs_client_reconnect(l.c, &e), 0);
        lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE);
        lib_expect_online(&l);
        ck_assert_int_eq(iotjobs_client_disconnect_async(l.c, &e), 0);
        lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE);
        ck_assert_int_eq(iotjobs_client_disconnect_async(l.c, &e), -ENOTCONN);
        lib_close(&l);
}
END_TEST

/* ---- a server that does not do what is asked ---- */

static void script_refuse(Fake *f) {
        if (!fake_accept_mqtt(f))
                return;
        for (int i = 0; i < 2; i++) {
                Packet p = fake_expect(f, 8);

                fake_suback(f, &p, 0);
        }
        fake_drain(f);
}

START_TEST(refused_subscriptions_are_not_kept) {
        IotJobsOptions o = lib_options();
        IotJobsError e = { 0 };
        Fake f = { 0 };
        Lib l;

        fake_start(&f, script_refuse);
        lib_open(&l, &o, f.port, (Drive) _i);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, lib_on_message, &l.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -EACCES);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "notify"));
        ck_assert_ptr_nonnull(strstr(e.text, "0x80"));
        ck_assert_int_gt(iotjobs_client_create_job_subscription_async(l.c, lib_on_ack, lib_on_message, &l.ears,
                                                                      IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST,
                                                                      NULL, &e),
                         0);
        lib_wait_acks(&l, 1);
        ck_assert_int_eq(l.ears.last_granted, 128);
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(l.c, IOTJOBS_TOPIC_NOTIFY, IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ENOENT);
        ck_assert_int_eq(iotjobs_client_remove_job_subscription(l.c, IOTJOBS_TOPIC_NOTIFY_NEXT, IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ENOENT);
        ck_assert(iotjobs_client_is_online(l.c));
        lib_close(&l);
        fake_stop(&f);
}
END_TEST

static void script_break(Fake *f) {
        if (!fake_accept_mqtt(f) || fake_expect(f, 8).type != 8)
                return;
        fake_hang_up(f);
        /* Again: what was waited for is not asked for, the next packet is a request. */
        if (!fake_accept_mqtt(f) || fake_expect(f, 3).type != 3)
                return;
        fake_drain(f);
}

START_TEST(a_broken_connection_ends_the_wait) {
        IotJobsOptions o = lib_options();
        IotJobsError e = { 0 };
        Fake f = { 0 };
        Lib l;

        o.qos = 0;
        fake_start(&f, script_break);
        lib_open(&l, &o, f.port, (Drive) _i);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, lib_on_message, &l.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ENOTCONN);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "notify"));
        ck_assert_str_eq(lib_expect_event(&l, IOTJOBS_CONNECTION_OFFLINE).topic, JOBS "notify");
        lib_expect_online(&l);
        ck_assert_int_eq(iotjobs_client_send_jobs_query(l.c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, &e), 0);
        ck_assert_int_eq(iotjobs_client_flush(l.c, 20000, &e), 0);
        lib_close(&l);
        fake_stop(&f);
}
END_TEST

static void script_silent(Fake *f) {
        if (fake_accept_mqtt(f))
                fake_drain(f);
        if (fake_accept_mqtt(f))
                fake_drain(f);
}

START_TEST(no_answer_ends_by_time) {
        IotJobsOptions o = lib_options();
        IotJobsError e = { 0 };
        Fake f = { 0 };
        Lib l;

        fake_start(&f, script_silent);
        lib_open(&l, &o, f.port, (Drive) _i);
        ck_assert_int_eq(iotjobs_client_configure_timeouts(l.c, 1, 1, NULL), 0);
        lib_connect(&l);
        ck_assert_int_eq(iotjobs_client_create_job_subscription(l.c, lib_on_message, &l.ears, IOTJOBS_TOPIC_NOTIFY,
                                                                IOTJOBS_REPLY_REQUEST, NULL, &e),
                         -ETIMEDOUT);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "notify"));
        (void) iotjobs_client_disconnect(l.c, NULL);
        lib_connect(&l); /* the subscription is gone, so it is online at once */
        ck_assert_int_eq(iotjobs_client_send_jobs_query(l.c, NULL, IOTJOBS_TOPIC_GET_PENDING, NULL, &e), 0);
        ck_assert_int_eq(iotjobs_client_flush(l.c, 10, &e), -ETIMEDOUT); /* no PUBACK */
        ck_assert_int_eq(iotjobs_client_disconnect(l.c, &e), -ETIMEDOUT);
        ck_assert(!iotjobs_client_is_online(l.c));
        lib_close(&l);
        fake_stop(&f);
}
END_TEST

static void script_refuse_required(Fake *f) {
        size_t seen = 0;

        if (!fake_accept_mqtt(f))
                return;
        while (seen < 10) {
                Packet p = fake_expect(f, 8);

                if (p.type != 8)
                        return;
                fake_suback(f, &p, seen == 0 ? 3 : -1);
                seen += fake_count_filters(&p);
        }
        fake_drain(f);
}

START_TEST(a_required_one_that_is_refused_fails_the_connect) {
        IotJobsOptions o = lib_options();
        IotJobsError e = { 0 };
        Fake f = { 0 };
        Lib l;

        fake_start(&f, script_refuse_required);
        lib_open(&l, &o, f.port, (Drive) _i);
        ck_assert_int_eq(iotjobs_client_subscribe_all(l.c, lib_on_message, &l.ears, &e), 0);
        ck_assert_int_eq(iotjobs_client_connect(l.c, &e), -EACCES);
        ck_assert_ptr_nonnull(strstr(e.text, JOBS "get/rejected"));
        ck_assert_int_eq(iotjobs_client_disconnect(l.c, &e), -ENOTCONN); /* nothing goes on */
        lib_close(&l);
        fake_stop(&f);
}
END_TEST

/* More than the library keeps comes while a call in a callback waits: it ends all the same, and what was lost is told. */
enum { FLOOD = 60, FLOOD_BYTES = 100 << 10 };

static void script_flood(Fake *f) {
        char *payload = calloc(1, FLOOD_BYTES);
        Packet p;

        if (!fake_bring_online(f) || !fake_publish(f, JOBS "notify", "{}", 2, 1))
                return;
        do {
                p = fake_packet(f); /* PUBACKs in between */
        } while (p.type == 4);
        memset(payload, ' ', FLOOD_BYTES);
        for (int i = 0; i < FLOOD && p.type == 8; i++)
                if (!fake_publish(f, JOBS "notify", payload, FLOOD_BYTES, (uint16_t) (2 + i)))
                        fake_fail(f, "the client does not read");
        fake_suback(f, &p, -1);
        free(payload);
        fake_drain(f);
}

typedef struct Flood {
        Lib *lib;
        int result;
        size_t n;
} Flood;

static void on_flood(IotJobsClient *c, const IotJobsMessage *m, void *userdata) {
        Flood *flood = userdata;

        if (m->payload_len == 2)
                flood->result = iotjobs_client_create_job_subscription(c, lib_on_message, NULL, IOTJOBS_TOPIC_NOTIFY_NEXT,
                                                                       IOTJOBS_REPLY_REQUEST, NULL, NULL);
        flood->n++;
}

START_TEST(a_flood_is_bounded) {
        IotJobsOptions o = lib_options();
        Flood flood = { .result = 1 };
        Fake f = { 0 };
        Lib l;

        fake_start(&f, script_flood);
        lib_open(&l, &o, f.port, (Drive) _i);
        flood.lib = &l;
        ck_assert_int_eq(iotjobs_client_create_job_subscription_async(l.c, NULL, on_flood, &flood, IOTJOBS_TOPIC_NOTIFY,
                                                                      IOTJOBS_REPLY_REQUEST, NULL, NULL),
                         0);
        lib_connect(&l);
        lib_expect_event(&l, IOTJOBS_CONNECTION_ONLINE);
        ck_assert_ptr_nonnull(strstr(lib_expect_event(&l, IOTJOBS_CONNECTION_DROPPED).text, "messages came while"));
        ck_assert_int_eq(flood.result, 0);
        lib_close(&l);
        ck_assert_uint_gt(flood.n, 30);
        ck_assert_uint_lt(flood.n, FLOOD);
        fake_stop(&f);
}
END_TEST

static TCase *script_cases(void) {
        TCase *tc = tcase_create("script");

        tcase_set_timeout(tc, 120);
        tcase_add_loop_test(tc, refused_subscriptions_are_not_kept, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, a_broken_connection_ends_the_wait, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, no_answer_ends_by_time, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, a_required_one_that_is_refused_fails_the_connect, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, a_flood_is_bounded, 0, DRIVE_COUNT);
        return tc;
}

static TCase *driven_cases(void) {
        TCase *tc = tcase_create("driven");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_broker_setup, rig_broker_teardown);
        tcase_add_loop_test(tc, requests_and_replies, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, blocking_calls_in_a_callback, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, disconnect_and_connect_in_a_callback, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, free_in_a_callback, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, asynchronous_subscriptions, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, everything_is_subscribed_again, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, requests_wait_for_the_connection, 0, DRIVE_COUNT);
        tcase_add_loop_test(tc, connecting_fails_once_and_for_all, 0, DRIVE_COUNT);
        return tc;
}

static TCase *thread_cases(void) {
        TCase *tc = tcase_create("threads");

        tcase_set_timeout(tc, 120);
        tcase_add_checked_fixture(tc, rig_broker_setup, rig_broker_teardown);
        tcase_add_test(tc, free_waits_for_a_callback_in_another_thread);
        tcase_add_test(tc, free_waits_for_somebody_elses_dispatch);
        tcase_add_loop_test(tc, many_threads_call_at_once, 0, DRIVE_COUNT);
        return tc;
}

UNIT_MAIN("client", script_cases(), driven_cases(), thread_cases())
