/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: what iot-jobsctl asks, and who may. Every size and time is bounded (control/control.h), nothing waits for a
 * client, and all of it comes after the jobs: a client can be slow, silent, or hostile, and no job notices. */
#pragma once

#include "agent/agent.h"

typedef struct Server Server;

/* On the socket that systemd hands over, whose owner, group and mode say who may look; or on one of our own in the directory of the
 * agent's lock, for our user alone. Changing anything is for root, and on the own socket for our user. Where there can be
 * no socket the agent does without: said in the log. -ENOMEM and the like. */
int server_new(Agent *a, Server **ret) MUST_USE;
Server *server_free(Server *s);
DEFINE_CLEANUP(Server *, server_free)

/* Something may have changed that a watch shows. */
void server_changed(Server *s);
/* What a runner says on the connection of LINK_ASK; that it is gone. */
void server_take_answer(Server *s, const WireMessage *m);
void server_lost_runner(Server *s);
