/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of transport and client share: a configuration for the loopback, a real broker as a child, events as a
 * queue that is waited for, and host names that only exist here. */
#pragma once

#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "fake-broker.h"
#include "transport/transport.h"

enum { RIG_WAIT_SEC = 30, RIG_MSEC = 1000 };

static inline TransportConfig rig_config(uint16_t port) {
        static const char *const filters[] = { "test/#", NULL };

        return (TransportConfig){
                .host = "127.0.0.1",
                .port = port,
                .client_id = "unit",
                .protocol = 4,
                .clean_session = true,
                .qos = 1,
                .keep_alive_sec = 60,
                .connect_timeout_usec = 20 * USEC_PER_SEC,
                .operation_timeout_usec = 20 * USEC_PER_SEC,
                .reconnect_min_usec = 1 * RIG_MSEC,
                .reconnect_max_usec = 20 * RIG_MSEC,
                .stable_usec = 3600 * USEC_PER_SEC,
                .filters = filters,
        };
}

/* ---- names ----
 * The transport asks getaddrinfo(); the one in this program is found first. It knows numeric addresses and:
 *   broker.test, sub.broker.test      127.0.0.1
 *   dead-first.test  127.0.0.2, 127.0.0.1
 *   stuck.test       does not return before rig_release_resolver()
 *   anything else    no such name */

static int rig_resolver_gate[2] = { -1, -1 };

static inline void rig_release_resolver(void) {
        ck_assert_int_eq(write(rig_resolver_gate[1], "x", 1), 1);
}

static inline struct addrinfo *rig_address(const char *text, uint16_t port, struct addrinfo *next) {
        struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in));
        struct sockaddr_in *at = (struct sockaddr_in *) (a + 1);

        at->sin_family = AF_INET;
        at->sin_port = htons(port);
        if (inet_pton(AF_INET, text, &at->sin_addr) != 1) {
                free(a);
                return NULL;
        }
        *a = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_addrlen = sizeof *at };
        a->ai_addr = (struct sockaddr *) at;
        a->ai_next = next;
        return a;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret) {
        uint16_t port = (uint16_t) atoi(service);
        char byte;

        *ret = rig_address(node, port, NULL);
        if (*ret)
                return 0;
        if (hints->ai_flags & AI_NUMERICHOST)
                return EAI_NONAME;
        if (strcmp(node, "stuck.test") == 0 && read(rig_resolver_gate[0], &byte, 1) != 1)
                return EAI_FAIL;
        if (strcmp(node, "broker.test") == 0 || strcmp(node, "sub.broker.test") == 0 ||
            strcmp(node, "stuck.test") == 0)
                *ret = rig_address("127.0.0.1", port, NULL);
        else if (strcmp(node, "dead-first.test") == 0)
                *ret = rig_address("127.0.0.2", port, rig_address("127.0.0.1", port, NULL));
        return *ret ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list) {
        while (list) {
                struct addrinfo *next = list->ai_next;

                free(list);
                list = next;
        }
}

/* ---- events ---- */

typedef struct Seen {
        struct Seen *next;
        TransportEvent event; /* strings copied */
} Seen;

typedef struct Rig {
        Transport *t;
        Seen *first, **tail;
} Rig;

static inline char *rig_copy(const char *text, size_t len) {
        char *copy = text ? calloc(1, len + 1) : NULL;

        if (copy)
                memcpy(copy, text, len);
        return copy;
}

static inline void rig_on_event(const TransportEvent *event, void *userdata) {
        Rig *rig = userdata;
        Seen *s = calloc(1, sizeof *s);

        s->event = *event;
        s->event.topic = rig_copy(event->topic, event->topic ? strlen(event->topic) : 0);
        s->event.text = rig_copy(event->text, event->text ? strlen(event->text) : 0);
        s->event.payload = rig_copy(event->payload, event->payload_len);
        ck_assert_int_eq(event->payload[event->payload_len], '\0');
        *rig->tail = s;
        rig->tail = &s->next;
}

static inline void rig_open(Rig *rig, const TransportConfig *config) {
        Error e = { 0 };

        *rig = (Rig){ .tail = NULL };
        rig->tail = &rig->first;
        ck_assert_msg(transport_new(config, &rig->t, &e) == 0, "%s", e.text);
        ck_assert_int_eq(transport_start(rig->t), 0);
}

static inline void seen_free(Seen *s) {
        free((void *) (uintptr_t) s->event.topic);
        free((void *) (uintptr_t) s->event.text);
        free((void *) (uintptr_t) s->event.payload);
        free(s);
}

static inline void rig_close(Rig *rig) {
        ck_assert_ptr_null(transport_free(rig->t, RIG_WAIT_SEC * USEC_PER_SEC));
        while (rig->first) {
                Seen *s = rig->first;

                rig->first = s->next;
                seen_free(s);
        }
}

/* Put what has come into the queue, without waiting longer than this for something to come. */
static inline void rig_collect(Rig *rig, int wait_msec) {
        struct pollfd p = { .fd = transport_fd(rig->t), .events = POLLIN };

        if (poll(&p, 1, wait_msec) > 0)
                transport_dispatch(rig->t, rig_on_event, rig);
}

/* The next event; the caller frees it with seen_free(). */
static inline Seen *rig_next(Rig *rig) {
        uint64_t until = clock_boottime_usec() + RIG_WAIT_SEC * USEC_PER_SEC;
        Seen *s;

        while (!rig->first && clock_boottime_usec() < until)
                rig_collect(rig, 100);
        s = rig->first;
        ck_assert_msg(s != NULL, "no event came");
        rig->first = s->next;
        if (!rig->first)
                rig->tail = &rig->first;
        return s;
}

static inline void rig_expect(Rig *rig, TransportEventType type) {
        Seen *s = rig_next(rig);

        ck_assert_msg(s->event.type == type, "event %d (%s), expected %d", (int) s->event.type,
                      s->event.text ? s->event.text : "", (int) type);
        seen_free(s);
}

/* …whose text holds `part`. */
static inline void rig_expect_text(Rig *rig, TransportEventType type, const char *part) {
        Seen *s = rig_next(rig);

        ck_assert_msg(s->event.type == type && s->event.text && strstr(s->event.text, part),
                      "event %d (%s), expected %d with \"%s\"", (int) s->event.type,
                      s->event.text ? s->event.text : "", (int) type, part);
        seen_free(s);
}

static inline void rig_expect_message(Rig *rig, const char *topic, const char *payload) {
        Seen *s = rig_next(rig);

        ck_assert_msg(s->event.type == TRANSPORT_MESSAGE, "event %d (%s)", (int) s->event.type,
                      s->event.text ? s->event.text : "");
        ck_assert_str_eq(s->event.topic, topic);
        ck_assert_str_eq(s->event.payload, payload);
        ck_assert_uint_eq(s->event.payload_len, strlen(payload));
        seen_free(s);
}

/* ---- a directory, and a real broker in it ---- */

static char rig_dir[64];

static inline void rig_make_dir(void) {
        unit_directory(rig_dir, sizeof rig_dir, "test-transport");
}

static inline void rig_remove_dir(void) {
        char *const argv[] = { (char[]){ "rm" }, (char[]){ "-rf" }, rig_dir, NULL };
        pid_t pid;

        if (posix_spawnp(&pid, "rm", NULL, NULL, argv, NULL) == 0)
                (void) waitpid(pid, NULL, 0);
}

static inline const char *rig_path(const char *name) {
        static char paths[8][160];
        static unsigned next;
        char *path = paths[next++ % ELEMENTSOF(paths)];

        (void) snprintf(path, sizeof paths[0], "%s/%s", rig_dir, name);
        return path;
}

static pid_t rig_broker_pid;
static uint16_t rig_broker_port;

/* A port that was free a moment ago. */
static inline uint16_t rig_free_port(void) {
        uint16_t port;
        int fd = fake_listen("127.0.0.1", 0, 1, &port);

        (void) close(fd);
        return port;
}

/* With the configuration that is there. */
static inline void rig_broker_start_again(void) {
        const char *conf = rig_path("mosquitto.conf");

        rig_broker_pid = fork();
        if (rig_broker_pid == 0) {
                sigset_t none;

                /* Whoever runs the tests may ignore or block what ends a broker; both would go through exec. */
                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                (void) signal(SIGTERM, SIG_DFL);
                (void) signal(SIGHUP, SIG_DFL);
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) execl("/usr/sbin/mosquitto", "mosquitto", "-c", conf, (char *) NULL);
                _exit(127);
        }
        ck_assert_int_gt(rig_broker_pid, 0);
}

/* `more`: lines for the listener. */
static inline PRINTF_LIKE(1, 2) void rig_broker_start_with(const char *more, ...) {
        FILE *f = fopen(rig_path("mosquitto.conf"), "we");
        va_list ap;

        ck_assert_ptr_nonnull(f);
        (void) fprintf(f,
                       "allow_anonymous true\npersistence false\nlog_type none\nmax_queued_messages 0\n"
                       "listener %u 127.0.0.1\n",
                       rig_broker_port);
        va_start(ap, more);
        (void) vfprintf(f, more, ap);
        va_end(ap);
        ck_assert_int_eq(fclose(f), 0);
        rig_broker_start_again();
}

static inline void rig_broker_start(void) {
        rig_broker_start_with("%s", "");
}

static inline void rig_broker_stop(void) {
        if (rig_broker_pid > 0) {
                (void) kill(rig_broker_pid, SIGTERM);
                (void) waitpid(rig_broker_pid, NULL, 0);
        }
        rig_broker_pid = 0;
}

static inline void rig_broker_setup(void) {
        rig_make_dir();
        rig_broker_port = rig_free_port();
        rig_broker_start();
}

static inline void rig_broker_teardown(void) {
        rig_broker_stop();
        rig_remove_dir();
}

/* Through the refusals while the broker comes up, to ONLINE. */
static inline void rig_expect_online(Rig *rig) {
        for (;;) {
                Seen *s = rig_next(rig);
                TransportEventType type = s->event.type;

                seen_free(s);
                if (type == TRANSPORT_ONLINE)
                        return;
                ck_assert_int_eq((int) type, TRANSPORT_OFFLINE);
        }
}
