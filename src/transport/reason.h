/* SPDX-License-Identifier: Apache-2.0 */
/* Words for the numbers of MQTT and of libmosquitto (whose own texts have gaps in 2.0.11). */
#pragma once

#include "base/macro.h"

/* Replace what is not printable ASCII by '?': texts of a peer must not reach a terminal or a log as they are. */
void reason_clean(char *text);

/* CONNACK of MQTT 3.1 and 3.1.1 (protocol 3, 4), or a reason code of MQTT 5. Never NULL. */
const char *reason_connack(int protocol, unsigned code);
/* Any reason code of MQTT 5, or SUBACK 0x80 of the older ones. Never NULL. */
const char *reason_code(unsigned code);
/* A MOSQ_ERR_… of libmosquitto. Never NULL. */
const char *reason_mosquitto(int rc);
