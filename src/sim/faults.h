/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of `serve`, for tests: what happens to the service's requests and publications on their way. The seed decides. */
#pragma once

#include "sim/model.h"
#include "sim/options.h"

enum { FAULTS_DELAYED_MAX = 100000 }; /* publications that wait; more are lost */

typedef struct Faults Faults;

typedef int (*FaultsSend)(const char *topic, const char *payload, size_t len, void *userdata);

int faults_new(const Options *options, uint64_t seed, Faults **ret) MUST_USE;
Faults *faults_free(Faults *f);
bool faults_any(const Faults *f);

/* A request has come in: false = it is lost; *ret_code is what to answer instead (NONE = the truth). */
bool faults_request(Faults *f, ProtoCode *ret_code) MUST_USE;

/* A publication goes out at `now` (CLOCK_BOOTTIME, usec): through `send` at once, later, twice or never. Takes the payload
 * over (it is NULL afterwards) only if it is delayed. 0 or what send() returned, or -ENOMEM. */
int faults_publish(Faults *f, uint64_t now, ModelPublication *p, FaultsSend send, void *userdata) MUST_USE;

/* What was delayed until now or before. */
void faults_flush(Faults *f, uint64_t now, FaultsSend send, void *userdata);
uint64_t faults_deadline(const Faults *f); /* USEC_NEVER = nothing waits */
