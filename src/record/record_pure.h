/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of record/: the line format that records and tombstones share. PURE. */
#pragma once

#include <jansson.h>

#include "record/record.h"

enum { RECORD_CRC_LEN = 8 };

/* Append `CRC SP JSON LF`. 0, -ENOMEM. */
int record_line_append(Buf *b, const json_t *o) MUST_USE;
/* The line at data. 0, *ret (caller owns) and the line's length with its LF; -EBADMSG (torn, or not what was written),
 * -ENOMEM. */
int record_line_parse(const char *data, size_t len, json_t **ret, size_t *ret_len) MUST_USE;

json_t *record_details_json(const ProtoDetails *d);                                /* NULL = no memory */
int record_details_parse(const json_t *o, ProtoDetails *ret) MUST_USE; /* member "details": 0, -EBADMSG, -ENOMEM */

/* Bytes without an intact first line: can they be what a crash left of writing one? Then nothing was ever promised. */
bool record_is_torn(const char *data, size_t len);
