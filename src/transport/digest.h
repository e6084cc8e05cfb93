/* SPDX-License-Identifier: Apache-2.0 */
/* Digests from OpenSSL for the modules that only compute. Each: false = OpenSSL cannot (its error queue is emptied). */
#pragma once

#include "base/macro.h"
#include "proto/sigv4.h"

enum { DIGEST_SHA1_SIZE = 20 };

extern const Sigv4Digests digest_sigv4;
bool digest_sha1(const void *data, size_t len, unsigned char ret[static DIGEST_SHA1_SIZE]) MUST_USE;
