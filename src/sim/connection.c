/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/connection.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/clock.h"

enum {
        CLIENT_ID_MAX = sizeof "iot-jobs-sim-" + CONNECTION_NAME_MAX,
        CONNACK_OLD_VERSION = 1, /* "unacceptable protocol version" of MQTT 3.1 and 3.1.1 */
        REASON_VERSION = 0x84,   /* "unsupported protocol version" of MQTT 5 */
};

void connection_random_name(char ret[static CONNECTION_NAME_MAX]) {
        (void) snprintf(ret, CONNECTION_NAME_MAX, "%016" PRIx64, random_u64());
}

static TransportConfig connection_config(const Options *o, const char *name, const char *const *filters, int protocol,
                                         char client_id[static CLIENT_ID_MAX]) {
        (void) snprintf(client_id, CLIENT_ID_MAX, "iot-jobs-sim-%s", name);
        return (TransportConfig){
                .host = o->host,
                .port = o->port,
                .client_id = client_id,
                .protocol = protocol,
                .no_local = true,
                .clean_session = true,
                .qos = 1,
                .keep_alive_sec = 60,
                .ca_file = o->ca_file,
                .cert_file = o->cert_file,
                .key_file = o->key_file,
                .username = o->user,
                .password = o->password,
                .connect_timeout_usec = CONNECTION_ATTEMPT_USEC,
                .operation_timeout_usec = CONNECTION_ATTEMPT_USEC,
                .reconnect_min_usec = 100 * USEC_PER_MSEC,
                .reconnect_max_usec = 5 * USEC_PER_SEC,
                .stable_usec = 5 * USEC_PER_SEC,
                .filters = filters,
        };
}

int connection_new(const Options *o, const char *name, const char *const *filters, int protocol, Transport **ret,
                   Error *e) {
        char client_id[CLIENT_ID_MAX];
        TransportConfig config = connection_config(o, name, filters, protocol, client_id);

        return transport_new(&config, ret, e);
}

int connection_change(Transport *t, const Options *o, const char *name, const char *const *filters, int protocol,
                      Error *e) {
        char client_id[CLIENT_ID_MAX];
        TransportConfig config = connection_config(o, name, filters, protocol, client_id);

        return transport_reconfigure(t, &config, true, e);
}

bool connection_protocol_refused(const TransportEvent *event) {
        return event->code == CONNACK_OLD_VERSION || event->code == REASON_VERSION;
}

uint64_t wall_usec(void) {
        struct timespec t;

        if (clock_gettime(CLOCK_REALTIME, &t) < 0)
                abort();
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

int connection_signals(void) {
        sigset_t set;
        int fd;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

int connection_wait(const Transport *t, int signals, uint64_t until, bool *ret_signal) {
        struct pollfd fds[] = { { .fd = transport_fd(t), .events = POLLIN },
                                { .fd = signals, .events = POLLIN } };
        struct timespec timeout, *limit = NULL;
        uint64_t now;

        *ret_signal = false;
        if (until != USEC_NEVER) {
                now = clock_boottime_usec();
                until = until > now ? until - now : 0;
                timeout.tv_sec = (time_t) (until / USEC_PER_SEC);
                timeout.tv_nsec = (long) (until % USEC_PER_SEC) * 1000;
                limit = &timeout;
        }
        if (ppoll(fds, ELEMENTSOF(fds), limit, NULL) < 0)
                return errno == EINTR ? 0 : -errno;
        *ret_signal = fds[1].revents != 0;
        return 0;
}
