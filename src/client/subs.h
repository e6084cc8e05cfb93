/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriptions of a client: filter, handler, and how far the broker has got with each. PURE. */
#pragma once

#include <iotjobs/jobs.h>
#include <iotjobs/topic.h>

#include "base/macro.h"

enum { SUBS_MAX = 48 }; /* AWS takes 50 a connection */

typedef enum SubState {
        SUB_WANTED,  /* not asked for on this connection */
        SUB_ASKED,   /* SUBSCRIBE is out */
        SUB_GRANTED,
        SUB_REFUSED, /* kept, and refused on this connection: asked again slowly */
} SubState;

typedef struct Sub {
        char filter[IOTJOBS_TOPIC_MAX];
        IotJobsTopicType type;
        IotJobsReplyType reply;
        IotJobsMessageHandler handler;
        void *userdata;
        unsigned id;   /* > 0; in the order they were made */
        SubState state;
        bool required; /* not online without it; never given up */
        bool kept;     /* was granted once: made again at each connect, and told if refused */
        int granted;   /* QoS, where it is granted */
        int mid;       /* shared handle: packet id of the SUBSCRIBE that asks for it */
} Sub;

typedef struct Subs { /* zero-initialise */
        Sub *list[SUBS_MAX]; /* owned; in the order of their ids */
        size_t n;
        unsigned last_id;
} Subs;

/* NULL where there is none. What is returned is valid until it is removed. */
Sub *subs_find(Subs *s, const char *filter);
Sub *subs_find_id(Subs *s, unsigned id);
/* The first one with an id above `after` that takes this topic. */
Sub *subs_next_match(Subs *s, const char *topic, unsigned after);
/* A new one in state WANTED. 0 and *ret (the table owns it), -ENOSPC, -ENOMEM. */
int subs_add(Subs *s, const char *filter, Sub **ret) MUST_USE;
void subs_remove(Subs *s, Sub *sub);
void subs_done(Subs *s);

/* Does `filter` take `topic`? aws: "a/#" does not take "a". A wildcard does not take the first level of a topic that begins
 * with '$'. What is no filter ("a#", "a/#/b", "") takes nothing. */
bool filter_matches(const char *filter, const char *topic, bool aws);
