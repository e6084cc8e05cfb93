/* SPDX-License-Identifier: Apache-2.0 */
/* The cloud side of the agent's shell: one client of libiotjobs in the agent's loop, with the configuration, the messages and the
 * requests translated between its public types and those of the engine. Nothing else of the agent knows the library. */
#pragma once

#include <iotjobs/iotjobs.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "config/config.h"
#include "proto/message.h"

typedef struct CloudHandlers {
        void (*connection)(const IotJobsConnectionEvent *event, void *userdata);
        /* `m` and what it points to is borrowed for the call. Not to be given to proto_message_done(). */
        void (*message)(const char *topic, const ProtoMessage *m, void *userdata);
        void (*unusable)(const char *topic, const char *why, void *userdata); /* a message that had to be dropped */
} CloudHandlers;

typedef struct Cloud Cloud;

/* A client that is configured, each setting checked by itself, and subscribed to all a device listens to. 0, or negative errno
 * with the setting in e. */
int cloud_new(const Config *c, const CloudHandlers *handlers, void *userdata, Cloud **ret, Error *e) MUST_USE;
/* Do the settings go together, are the files good? 0, or negative errno with the setting or file in e. */
int cloud_check(Cloud *cloud, Error *e) MUST_USE;
/* The same, and then dispatch from this loop and connect, for ever. */
int cloud_start(Cloud *cloud, sd_event *loop, Error *e) MUST_USE;
/* DISCONNECT, for which it waits at most a second. No handler is called any more. NULL is fine; returns NULL. */
Cloud *cloud_free(Cloud *cloud);
DEFINE_CLEANUP(Cloud *, cloud_free)

/* 0; -ENOTCONN, -ENOBUFS: not now, and nothing is kept; -EINVAL and the like: e says which value. */
int cloud_send(Cloud *cloud, const ProtoRequest *r, Error *e) MUST_USE;
