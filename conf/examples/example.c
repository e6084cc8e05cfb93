/* SPDX-License-Identifier: Apache-2.0 */
#include "example.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char usage[] =
        "Usage: %s --host NAME --ca FILE --thing NAME [OPTION]...\n"
        "\n"
        "  --host NAME        endpoint (aws iot describe-endpoint --endpoint-type iot:Data-ATS)\n"
        "  --port NUMBER      8883, or 443 with --websocket, if not given\n"
        "  --ca FILE          certificates of the authorities that may have signed the endpoint's (PEM)\n"
        "  --cert FILE        certificate of the device (PEM)\n"
        "  --key FILE         its private key (PEM)\n"
        "  --thing NAME       name of the thing\n"
        "  --client-id NAME   MQTT client id; the thing name if not given\n"
        "  --websocket        MQTT over WebSocket, signed with the AWS credentials of the environment\n"
        "                     (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or of ~/.aws/credentials\n"
        "  --region NAME      AWS region to sign for; from the host name if not given\n"
        "  --job ID           job to ask for, where the example asks for one\n";

_Noreturn void fail(const char *what, const IotJobsError *e) {
        (void) fprintf(stderr, "%s: %s\n", what, e->text);
        exit(EXIT_FAILURE);
}

Arguments arguments_parse(int argc, char **argv) {
        enum { HOST = 1, PORT, CA, CERT, KEY, THING, CLIENT_ID, WEBSOCKET, REGION, JOB };
        static const struct option options[] = {
                { "host", required_argument, NULL, HOST },   { "port", required_argument, NULL, PORT },
                { "ca", required_argument, NULL, CA },       { "cert", required_argument, NULL, CERT },
                { "key", required_argument, NULL, KEY },     { "thing", required_argument, NULL, THING },
                { "client-id", required_argument, NULL, CLIENT_ID },
                { "websocket", no_argument, NULL, WEBSOCKET },
                { "region", required_argument, NULL, REGION },
                { "job", required_argument, NULL, JOB },     { NULL, 0, NULL, 0 },
        };
        Arguments a = { .job = "$next" };

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                const char **to = c == HOST        ? &a.host
                                  : c == CA        ? &a.ca
                                  : c == CERT      ? &a.cert
                                  : c == KEY       ? &a.key
                                  : c == THING     ? &a.thing
                                  : c == CLIENT_ID ? &a.client_id
                                  : c == REGION    ? &a.region
                                  : c == JOB       ? &a.job
                                                   : NULL;

                if (to)
                        *to = optarg;
                else if (c == PORT)
                        a.port = (int) strtol(optarg, NULL, 10); /* the library says what is wrong with a bad one */
                else if (c == WEBSOCKET)
                        a.websocket = true;
                else
                        optind = argc + 1;
        }
        if (optind != argc || !a.host || !a.ca || !a.thing) {
                (void) fprintf(stderr, usage, argv[0]);
                exit(2);
        }
        if (!a.client_id)
                a.client_id = a.thing;
        if (a.port == 0)
                a.port = a.websocket ? 443 : 8883;
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        return a;
}

IotJobsClient *client_for(const Arguments *a, int qos) {
        IotJobsOptions options = iotjobs_options_default(a->client_id, a->thing);
        IotJobsClient *c = NULL;
        IotJobsError e = { 0 };

        options.qos = qos;
        options.websocket = a->websocket;
        if (iotjobs_client_new(&options, &c, &e) < 0)
                fail("new client", &e);
        if (iotjobs_client_configure_endpoint(c, a->host, a->port, &e) < 0)
                fail("endpoint", &e);
        if (iotjobs_client_configure_credentials(c, a->ca, a->key, a->cert, &e) < 0)
                fail("credentials", &e);
        if (a->region && iotjobs_client_configure_region(c, a->region, &e) < 0)
                fail("region", &e);
        return c;
}

int end_signals(void) {
        sigset_t set;
        int fd;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0) {
                perror("signalfd");
                exit(EXIT_FAILURE);
        }
        return fd;
}

void wait_for_end(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        while (poll(&p, 1, -1) <= 0)
                ;
}
