/* SPDX-License-Identifier: Apache-2.0 */
/* What the three examples have in common: command line, connection, the way to say that something failed. */
#pragma once

#include <iotjobs/iotjobs.h>

typedef struct Arguments {
        const char *host, *ca, *cert, *key, *thing, *client_id, *region;
        const char *job; /* for the examples that ask for one */
        int port;
        bool websocket;
} Arguments;

/* Ends the program with a usage message if the command line is wrong. */
Arguments arguments_parse(int argc, char **argv);

/* A client for these arguments, configured and not yet connected. Ends the program if that cannot be. */
IotJobsClient *client_for(const Arguments *a, int qos);

/* "WHAT: reason", exit 1. */
_Noreturn void fail(const char *what, const IotJobsError *e);

/* Block SIGINT and SIGTERM, which end the examples; before any thread starts. A descriptor that becomes readable when one came. */
int end_signals(void);
/* Wait for one. */
void wait_for_end(int fd);
