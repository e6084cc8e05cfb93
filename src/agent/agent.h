/* SPDX-License-Identifier: Apache-2.0 */
/* The one owner of everything in iot-jobs-agent: configuration, event loop, cloud client, engine, runner connections.
 * One thread; the network has one of its own inside libiotjobs. */
#pragma once

#include <systemd/sd-event.h>

#include "agent/cloud.h"
#include "agent/policy.h"
#include "config/config.h"
#include "engine/engine.h"

typedef struct Agent Agent;
typedef struct Link Link;
typedef struct Server Server; /* server.h */
typedef struct Spare Spare; /* pool.c */

/* One connection to one runner. */
struct Link {
        Agent *agent;
        uint32_t run; /* the engine's number; 0 = inventory, or LINK_ASK */
        int fd;
        sd_event_source *io;
        Spare *spare; /* whose process it leads to; NULL = one that systemd started */
        Link *next;
};

struct Agent {
        Config *config;
        const char *config_path;
        const char *log_argument; /* handed to runners as it was given to us, or NULL */
        int lock_fd;
        sd_event *event;
        sd_event_source *timer;
        Cloud *cloud;
        Engine *engine;
        Server *server;
        Link *links;
        Spare *spares; /* every runner that we started and have not let go */
        sd_event_source *spare_timer;
        uint64_t spare_used; /* CLOCK_BOOTTIME when the last link to one was closed */
        bool stepping;          /* inside engine_step() and its actions */
        uint32_t closed[256];   /* runs whose connection broke while actions were carried out */
        size_t n_closed;
        bool online;
        uint64_t started_at, online_since, offline_since; /* CLOCK_BOOTTIME */
        uint64_t retry_at;          /* of the connection; 0 = one is under way */
        unsigned short_connections; /* in a row */
        PolicyWatch policy_watch;
        char offline_text[256]; /* why not connected */
        char certificate_text[192]; /* near its end, as the current connection found it; "" = good */
        char status[768];       /* the last STATUS= */
        bool trim_wanted;       /* give memory back at the next quiet moment */
        bool socket_warned;     /* the runner socket's absence was logged */
        uint64_t dropped_second; /* of the newest lines about dropped messages */
        unsigned dropped_lines, dropped_silent;
};

/* setup.c: configuration → what the parts take */
int agent_load_config(const char *path, Config **ret);
void agent_engine_config(const Config *c, EngineConfig *ret);
/* The directory of lock and control socket: our own where systemd gives one, else the configured one. A descriptor, or negative
 * errno. */
int agent_open_directory(const Config *c) MUST_USE;
/* One agent per thing and runtime directory. 0, -EBUSY, or negative errno with the path in e. */
int agent_lock(const Config *c, int *ret_fd, Error *e) MUST_USE;

/* agent.c */
int agent_new(Config *config, const char *config_path, const char *log_argument, Agent **ret, Error *e) MUST_USE;
Agent *agent_free(Agent *a);
DEFINE_CLEANUP(Agent *, agent_free)
int agent_run(Agent *a) MUST_USE; /* until SIGTERM or SIGINT; exit code or negative errno */
void agent_feed(Agent *a, EngineEvent *event); /* one event through the engine; fills in now and random */

/* perform.c: carries out, decides nothing */
void agent_perform(Agent *a, const EngineActions *actions);

/* link.c */
#define LINK_ASK UINT32_MAX /* the run number of what the control socket asks of a runner; the engine's count never comes so far */
void link_hold(Agent *a, uint32_t run, bool hold); /* listen to it again when that is over */
int link_send(Agent *a, uint32_t run, const WireMessage *m);
void link_close(Agent *a, uint32_t run);
void link_close_all(Agent *a);

/* pool.c: runners of the agent's own, each for one run after the other */
int pool_connect(Agent *a, int *ret_fd, Spare **ret) MUST_USE; /* to one that is free, or a new one */
void pool_release(Agent *a, Spare *s);                         /* the connection is closed */
void pool_retire(Agent *a);                                    /* no other run for those there are: they may be outdated */
void pool_done(Agent *a);                                      /* behind link_close_all() */
