/* SPDX-License-Identifier: Apache-2.0 */
/* Members that requests and replies have in common, for the decoders of proto/. PURE.
 * As the getters of base/json.h: 1 = present, 0 = absent or null (nothing written), negative errno with text in e. */
#pragma once

#include "base/json.h"
#include "proto/message.h"

/* A JSON number or its digits as a string, 0…INT64_MAX. */
int reader_number(const json_t *o, const char *name, const char *where, int64_t *ret, Error *e) MUST_USE;
int reader_token(const json_t *o, char ret[static LIMIT_CLIENT_TOKEN + 1], Error *e) MUST_USE;

/* statusDetails as a device may send it: every published limit, -EINVAL otherwise, -ENOMEM. `{}` counts as absent. */
int reader_details_checked(const json_t *o, ProtoDetails *ret, Error *e) MUST_USE;
/* statusDetails as the service reports it: what is no string, and pairs past LIMIT_DETAILS_PAIRS, are passed over. */
int reader_details(const json_t *o, const char *where, ProtoDetails *ret, Error *e) MUST_USE;
