/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"
#include "agent/server.h"
#include "agent/status.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/message_id.h"

enum {
        TIMER_ACCURACY_USEC = 1000,
        DROPPED_LINES_PER_SECOND = 5,
        SHORT_CONNECTION_USEC = 60 * 1000 * 1000,
        SHORT_CONNECTIONS_HINT = 3, /* so many in a row, all up to the last subscription, are no accident */
};

/* ---- what was dropped ---- */

/* Whoever can publish to our topics must not be able to fill the journal: a few lines a second, then their number. */
static void count_dropped(Agent *a, bool one_more) {
        uint64_t second = clock_boottime_usec() / USEC_PER_SEC;

        if (second != a->dropped_second) {
                if (a->dropped_silent > 0)
                        log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_MESSAGE_DROPPED, NULL, "%u more messages were dropped",
                                 a->dropped_silent);
                a->dropped_second = second;
                a->dropped_lines = a->dropped_silent = 0;
        }
        if (one_more && ++a->dropped_lines > DROPPED_LINES_PER_SECOND)
                a->dropped_silent++;
}

static void log_dropped(Agent *a, const char *what, const char *first, const char *second) {
        count_dropped(a, true);
        if (a->dropped_lines <= DROPPED_LINES_PER_SECOND)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_MESSAGE_DROPPED, NULL, "%s: %s%s%s", what, first,
                         second[0] ? ": " : "", second);
}

/* ---- events through the engine ---- */

static void arm_timer(Agent *a) {
        uint64_t deadline = engine_deadline(a->engine);

        if (deadline == USEC_NEVER) {
                (void) sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(a->timer, deadline);
        (void) sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

static void feed_one(Agent *a, EngineEvent *event) {
        EngineActions actions = {};
        int r;

        event->now = clock_boottime_usec();
        event->random = random_u64();
        r = engine_step(a->engine, event, &actions);
        if (r < 0) /* requests that were not made time out and are made again */
                log_error("an event could not be followed completely: %s", strerrordesc_np(-r));
        agent_perform(a, &actions);
        engine_actions_done(&actions);
}

void agent_feed(Agent *a, EngineEvent *event) {
        EngineSummary s;

        if (a->stepping) /* nothing calls back while actions are carried out */
                abort();
        a->stepping = true;
        feed_one(a, event);
        for (size_t i = 0; i < a->n_closed; i++) {
                EngineEvent closed = { .type = ENGINE_EVENT_RUNNER_CLOSED, .run = a->closed[i] };

                feed_one(a, &closed); /* may add to the list; bounded, the rest is found by its timeouts */
        }
        a->n_closed = 0;
        a->stepping = false;
        arm_timer(a);
        if (a->dropped_silent > 0)
                count_dropped(a, false);
        engine_summarize(a->engine, &s);
        status_update(a);
        server_changed(a->server);
        if (a->trim_wanted && s.synced && s.running + s.queued + s.reporting == 0) {
                a->trim_wanted = false;
                (void) malloc_trim(0); /* a handshake and a list leave a good deal behind */
        }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineEvent event = { .type = ENGINE_EVENT_TIMER };

        (void) source;
        (void) usec;
        agent_feed(userdata, &event);
        return 0;
}

/* ---- the cloud ---- */

static PolicyScope policy_scope(const Agent *a) {
        return (PolicyScope) {
                .region = a->config->region,
                .client_id = a->config->client_id,
                .thing = a->config->thing_name,
        };
}

static void went_online(Agent *a) {
        EngineEvent event = { .type = ENGINE_EVENT_ONLINE };

        a->online = true;
        a->retry_at = 0;
        a->online_since = clock_boottime_usec();
        a->trim_wanted = true;
        log_full(LOG_LEVEL_INFO, NULL, MESSAGE_ID_ONLINE, NULL, "connected to %s as %s, every subscription granted",
                 a->config->endpoint, a->config->client_id);
        agent_feed(a, &event);
}

/* Is this the end that a missing right brings about? The client itself backs off: its delays grow until a connection lasts. */
static void watch_policy(Agent *a, const IotJobsConnectionEvent *c, uint64_t online_usec) {
        PolicyEnd end = {
                .code = c->code,
                .topic = c->topic,
                .is_subscription = c->topic_is_subscription,
                .online_usec = online_usec,
        };
        PolicyScope scope = policy_scope(a);
        char text[POLICY_REPORT_MAX];

        if (policy_watch_end(&a->policy_watch, &scope, &end, text))
                log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_POLICY_LACKS, NULL, "%s", text);
}

static void go_offline(Agent *a, const char *why) {
        EngineEvent event = { .type = ENGINE_EVENT_OFFLINE };

        if (a->online || a->offline_since == 0)
                a->offline_since = clock_boottime_usec();
        a->online = false;
        a->certificate_text[0] = '\0'; /* looked at anew by the next attempt */
        (void) snprintf(a->offline_text, sizeof a->offline_text, "not connected (%.200s)", why);
        agent_feed(a, &event);
}

/* Said once for a series: two clients with one id throw each other out for ever. */
static void hint_at_client_id(Agent *a, uint64_t online_usec) {
        a->short_connections = online_usec < SHORT_CONNECTION_USEC ? a->short_connections + 1 : 0;
        if (a->short_connections == SHORT_CONNECTIONS_HINT)
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_OFFLINE, NULL,
                         "%u connections in a row were ended soon after they were up: does another client use the client id %s? "
                         "A broker ends the older of two connections with one id",
                         a->short_connections, a->config->client_id);
}

static void went_offline(Agent *a, const IotJobsConnectionEvent *c) {
        uint64_t online_usec = a->online ? clock_boottime_usec() - a->online_since + 1 : 0;
        int64_t tenths = (c->retry_ms + 50) / 100;

        log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_OFFLINE, NULL, "not connected: %s; next attempt in %" PRId64 ".%" PRId64 " s",
                 c->text, tenths / 10, tenths % 10);
        watch_policy(a, c, online_usec);
        if (online_usec > 0)
                hint_at_client_id(a, online_usec);
        a->retry_at = c->retry_ms < 0 ? 0 : clock_boottime_usec() + (uint64_t) c->retry_ms * USEC_PER_MSEC;
        go_offline(a, c->text);
}

static void was_refused(Agent *a, const IotJobsConnectionEvent *c) {
        PolicyScope scope = policy_scope(a);
        Buf statement CLEANUP_BUF = {};

        if (policy_statement(&scope, POLICY_SUBSCRIBE, c->topic, &statement) < 0)
                buf_clear(&statement);
        a->online = false;
        (void) snprintf(a->offline_text, sizeof a->offline_text, "subscription refused (%.200s)", c->topic);
        log_full(LOG_LEVEL_ERROR, NULL, MESSAGE_ID_SUBSCRIPTION_REFUSED, NULL,
                 "the broker refuses the subscription to %s: %s. Does the IoT policy have %s, and the same for iot:Receive?",
                 c->topic, c->text, statement.data ? statement.data : "iot:Subscribe for it");
}

static void was_dropped(Agent *a, const char *topic, const char *text) {
        EngineEvent event = { .type = ENGINE_EVENT_DROPPED };

        if (!topic || strstr(text, topic))
                log_dropped(a, "dropped, asking the service anew", text, "");
        else
                log_dropped(a, "dropped, asking the service anew", topic, text);
        agent_feed(a, &event);
}

static void on_connection(const IotJobsConnectionEvent *c, void *userdata) {
        Agent *a = userdata;

        switch (c->type) {
        case IOTJOBS_CONNECTION_ONLINE:
                went_online(a);
                return;
        case IOTJOBS_CONNECTION_OFFLINE:
                went_offline(a, c);
                return;
        case IOTJOBS_CONNECTION_REFUSED:
                was_refused(a, c);
                return;
        case IOTJOBS_CONNECTION_DROPPED:
                was_dropped(a, c->topic, c->text);
                return;
        case IOTJOBS_CONNECTION_CERTIFICATE:
                (void) snprintf(a->certificate_text, sizeof a->certificate_text, "%.190s", c->text);
                log_full(LOG_LEVEL_WARNING, NULL, MESSAGE_ID_CERTIFICATE_EXPIRES, NULL, "%s", c->text);
                return;
        }
}

static void on_message(const char *topic, const ProtoMessage *m, void *userdata) {
        EngineEvent event = { .type = ENGINE_EVENT_MESSAGE, .message = m };
        Agent *a = userdata;

        if (m->passed_over[0]) /* asking again would bring the same */
                log_dropped(a, "an entry cannot be used, ignoring it", topic, m->passed_over);
        agent_feed(a, &event);
}

static void on_unusable(const char *topic, const char *why, void *userdata) {
        was_dropped(userdata, topic, why);
}

static const CloudHandlers cloud_handlers = {
        .connection = on_connection,
        .message = on_message,
        .unusable = on_unusable,
};

/* ---- signals ---- */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Agent *a = userdata;

        (void) source;
        (void) si;
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Stopping; running handlers go on");
        return sd_event_exit(a->event, 0);
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        (void) source;
        (void) si;
        (void) userdata;
        /* Runners say what they have to say on their connection; here they are only buried. */
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        return 0;
}

/* The new client begins before the old one goes: what cannot be set up changes nothing. */
static int replace_cloud(Agent *a, const Config *fresh, Error *e) {
        Cloud *cloud CLEANUP(cloud_free) = NULL;
        int r = cloud_new(fresh, &cloud_handlers, a, &cloud, e);

        if (r >= 0)
                r = cloud_start(cloud, a->event, e);
        if (r < 0)
                return r;
        (void) cloud_free(a->cloud);
        a->cloud = TAKE(cloud);
        log_full(LOG_LEVEL_INFO, NULL, MESSAGE_ID_OFFLINE, NULL, "not connected: connecting anew with the new configuration");
        go_offline(a, "connecting anew with the new configuration");
        return 0;
}

static int apply_config(Agent *a, const Config *fresh, Error *e) {
        EngineConfig ec;
        int r;

        if (strcmp(fresh->thing_name, a->config->thing_name) != 0)
                return error_set(e, EINVAL, "thing_name changed from %s to %s: that needs a restart", a->config->thing_name,
                                 fresh->thing_name);
        r = replace_cloud(a, fresh, e);
        if (r < 0)
                return r;
        agent_engine_config(fresh, &ec);
        EngineEvent event = { .type = ENGINE_EVENT_RELOAD, .config = &ec };
        agent_feed(a, &event);
        return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Agent *a = userdata;
        Config *fresh CLEANUP(config_free) = NULL;
        Error e = {};

        (void) source;
        (void) si;
        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_usec());
        if (agent_load_config(a->config_path, &fresh) < 0)
                log_error("configuration not reloaded, the old one stays");
        else if (apply_config(a, fresh, &e) < 0)
                log_error("configuration not reloaded, the old one stays: %s", e.text);
        else {
                (void) config_free(a->config);
                a->config = TAKE(fresh);
                log_set_level(a->config->log_level);
                pool_retire(a);
                log_full(LOG_LEVEL_INFO, NULL, MESSAGE_ID_CONFIG_RELOADED, NULL, "configuration and certificates read again%s",
                         secure_getenv("CREDENTIALS_DIRECTORY") ? /* the copies that systemd made at the start */
                         "; what LoadCredential= hands over is as it was at the start: once renewed it needs systemctl restart" : "");
        }
        (void) sd_notify(0, "READY=1");
        return 0;
}

/* ---- life ---- */

static int add_signals(Agent *a) {
        int r = sd_event_add_signal(a->event, NULL, SIGTERM, on_stop, a);

        if (r >= 0)
                r = sd_event_add_signal(a->event, NULL, SIGINT, on_stop, a);
        if (r >= 0)
                r = sd_event_add_signal(a->event, NULL, SIGHUP, on_reload, a);
        if (r >= 0)
                r = sd_event_add_signal(a->event, NULL, SIGCHLD, on_child, a);
        return r;
}

static int set_up_loop(Agent *a) {
        int r = sd_event_default(&a->event);

        if (r >= 0)
                r = add_signals(a);
        if (r >= 0)
                r = sd_event_add_time(a->event, &a->timer, CLOCK_BOOTTIME, 0, TIMER_ACCURACY_USEC, on_timer, a);
        if (r >= 0)
                r = sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
        if (r >= 0) /* fed from this loop: a loop that hangs is seen */
                r = sd_event_set_watchdog(a->event, true);
        return r;
}

static int set_up_parts(Agent *a, Error *e) {
        EngineConfig ec;
        char prefix[ENGINE_TOKEN_PREFIX_MAX];
        int r;

        r = agent_lock(a->config, &a->lock_fd, e);
        if (r < 0)
                return r;
        r = cloud_new(a->config, &cloud_handlers, a, &a->cloud, e);
        if (r < 0)
                return r;
        agent_engine_config(a->config, &ec);
        (void) snprintf(prefix, sizeof prefix, "%016" PRIx64 "%016" PRIx64, random_u64(), random_u64());
        r = engine_new(&ec, prefix, &a->engine);
        return r < 0 ? error_errno(e, -r, "cannot set up the engine") : 0;
}

int agent_new(Config *config, const char *config_path, const char *log_argument, Agent **ret, Error *e) {
        Agent *a CLEANUP(agent_free) = calloc(1, sizeof *a);
        int r;

        if (!a) {
                (void) config_free(config);
                return error_errno(e, ENOMEM, "cannot start");
        }
        a->config = config;
        a->config_path = config_path;
        a->log_argument = log_argument;
        a->lock_fd = -1;
        a->started_at = a->offline_since = clock_boottime_usec();
        (void) snprintf(a->offline_text, sizeof a->offline_text, "connecting");
        r = set_up_parts(a, e);
        if (r < 0)
                return r;
        r = set_up_loop(a);
        if (r < 0)
                return error_errno(e, -r, "cannot set up the event loop");
        r = server_new(a, &a->server);
        if (r < 0)
                return error_errno(e, -r, "cannot set up the control socket");
        r = cloud_start(a->cloud, a->event, e);
        if (r < 0)
                return r;
        *ret = TAKE(a);
        return 0;
}

Agent *agent_free(Agent *a) {
        if (!a)
                return NULL;
        a->server = server_free(a->server);
        link_close_all(a);
        pool_done(a);
        (void) cloud_free(a->cloud); /* SIGTERM ends the agent within 2 s, whatever the network does */
        (void) engine_free(a->engine);
        sd_event_source_disable_unref(a->timer);
        (void) sd_event_unref(a->event);
        close_fd_p(&a->lock_fd);
        (void) config_free(a->config);
        free(a);
        return NULL;
}

int agent_run(Agent *a) {
        EngineEvent start = { .type = ENGINE_EVENT_START };
        int r;

        /* Ready does not wait for the network: it may be days away, and handlers may be what repairs it. */
        (void) sd_notify(0, "READY=1");
        log_full(LOG_LEVEL_INFO, NULL, MESSAGE_ID_AGENT_STARTED, NULL, "serving thing %s at %s:%" PRId64,
                 a->config->thing_name, a->config->endpoint, a->config->port);
        agent_feed(a, &start);
        r = sd_event_loop(a->event);
        if (r >= 0)
                log_full(LOG_LEVEL_INFO, NULL, MESSAGE_ID_AGENT_STOPPED, NULL, "stopped on request; running handlers go on");
        return r;
}
