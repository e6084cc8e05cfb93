/* SPDX-License-Identifier: Apache-2.0 */
/* What runs in the network thread: connect, keep a session going, wait, connect again, for ever. */
#pragma once

#include <openssl/types.h>

#include "transport/exchange.h"
#include "transport/settings.h"

typedef struct Network Network;

/* Takes a reference of the exchange; owns settings and tls (a context made from them, or NULL for plain TCP) on success. */
int network_new(Exchange *exchange, Settings *settings, SSL_CTX *tls, Network **ret) MUST_USE;
Network *network_free(Network *n);
DEFINE_CLEANUP(Network *, network_free)

Exchange *network_exchange(const Network *n);
/* Until the exchange orders a stop. */
void network_run(Network *n);
