/* SPDX-License-Identifier: Apache-2.0 */
/* Job documents as the service sees them. PURE. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* One JSON object by the grammar of RFC 8259, valid UTF-8, nothing else. As lenient as a service may be: duplicate
 * keys, numbers of any size and lone surrogate escapes pass, because their bytes travel unchanged inside a message
 * that stays well-formed. Nesting up to DOCUMENT_DEPTH_MAX. 0 or -EINVAL with the offset in e. */
enum { DOCUMENT_DEPTH_MAX = 256 };
int document_check(const char *text, size_t len, Error *e) MUST_USE;

typedef struct DocumentParameter {
        const char *name, *value;
} DocumentParameter;

/* Replace each ${aws:iot:parameter:NAME} of a job template by the parameter's value, escaped as part of a JSON
 * string; by nothing when no such parameter is given. A parameter that occurs nowhere is an error (a mistyped name
 * would vanish silently). 0, -EINVAL with the name in e, -ENOMEM. */
int document_fill(const char *text, size_t len, const DocumentParameter *parameter, size_t n, Buf *ret,
                  Error *e) MUST_USE;
