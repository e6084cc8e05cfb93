/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the protocol as the public headers number them, and as proto/ does. */
#pragma once

#include <iotjobs/types.h>

#include "base/error.h"
#include "proto/topic.h"

IotJobsStatus status_to_public(ProtoStatus s); /* NONE is UNKNOWN: absent, or not known to this version */
ProtoStatus status_from_public(IotJobsStatus s); /* NONE: one that is not on the wire */
IotJobsCode code_to_public(ProtoCode c);
IotJobsTopicType kind_to_public(TopicKind k);
TopicKind kind_from_public(IotJobsTopicType t); /* UNRECOGNIZED also for WILDCARD and what is none */

/* The public error is base/error.h's Error under a name of its own; names.c checks that. NULL stays NULL. */
static inline Error *error_of(IotJobsError *e) {
        return (Error *) e;
}
