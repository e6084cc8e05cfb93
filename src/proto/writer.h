/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text onto a Buf, for the encoders of proto/. PURE. Commas come by themselves: a name that does not follow an
 * opening bracket gets one. A failed append is remembered by the Buf. */
#pragma once

#include "base/buf.h"
#include "proto/message.h"

void writer_open(Buf *b, const char *name, char bracket); /* name NULL: the root, or an array's element */
void writer_close(Buf *b, char bracket);
void writer_string(Buf *b, const char *name, const char *text); /* malformed bytes become U+FFFD */
void writer_int(Buf *b, const char *name, int64_t value);
void writer_bool(Buf *b, const char *name, bool value);
void writer_raw(Buf *b, const char *name, const char *json, size_t len); /* as it is */
void writer_details(Buf *b, const ProtoDetails *d);                      /* nothing if empty */
/* Hand the finished text over: 0, or -ENOMEM and *ret as it was. */
int writer_finish(Buf *b, Buf *ret) MUST_USE;
