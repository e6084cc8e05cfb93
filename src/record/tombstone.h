/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of record/: writing tombstones. */
#pragma once

#include "record/record.h"

/* Append one, durable, and prune the file now and then. On failure nothing is added. */
int record_tombstone_add(RecordStore *s, const JobKey *key, ProtoStatus status, const ProtoDetails *details,
                         Error *e) MUST_USE;
