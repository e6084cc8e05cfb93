/* SPDX-License-Identifier: Apache-2.0 */
/* Is this JWS from someone the device trusts, for this device and this job, now? */
#pragma once

#include "verify/keys.h"

/* With a "kid" the key of that name, else every key of the right kind. 0 and *ret (caller: jws_done; its payload may be
 * looked at now) with the name of the key in ret_kid; -EINVAL with the fault; -ENOMEM. */
int verify_jws(const char *text, size_t len, const TrustedKeys *keys, const JwsExpected *expected, Jws *ret,
               char ret_kid[static JWS_KID_MAX + 1], JwsFault *fault) MUST_USE;
