/* SPDX-License-Identifier: Apache-2.0 */
/* A client on a libmosquitto handle of the caller's. With the lock held, which is let go around every call into libmosquitto:
 * it may run the caller's callbacks in the same thread, and those forward to us. */
#pragma once

#include "client/core.h"

/* 0, -ENOTCONN, -E2BIG, -ENOMEM, -EIO. */
int shared_publish(IotJobsClient *c, const char *topic, const void *payload, size_t len) MUST_USE;
/* Ask for this one subscription now, where the handle is connected; else it waits. 0, -ENOMEM, -EIO. */
int shared_subscribe(IotJobsClient *c, unsigned sub_id) MUST_USE;
void shared_unsubscribe(IotJobsClient *c, const char *filter);
bool shared_connected(const IotJobsClient *c);
void shared_tick(IotJobsClient *c, uint64_t now);
uint64_t shared_deadline(const IotJobsClient *c);
Shared *shared_free(Shared *s);
