/* SPDX-License-Identifier: Apache-2.0 */
/* The request to an HTTP proxy for a way to the broker (CONNECT), and what its answer means. PURE. */
#pragma once

#include "transport/http.h"
#include "transport/settings.h"

/* Appends the request, with Basic authentication where there is a user name. */
void proxy_request(const Settings *s, Buf *ret);
/* 0 = from here on the bytes are the broker's; else negative errno with the proxy's name, its answer and what to do in e. */
int proxy_judge(const Settings *s, const HttpAnswer *a, Error *e) MUST_USE;
