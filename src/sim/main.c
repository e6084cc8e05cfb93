/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobs-sim: a local AWS IoT Jobs service. */
#include <stdio.h>

#include "base/log.h"
#include "sim/operator.h"
#include "sim/options.h"
#include "sim/serve.h"

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv) {
        static Options options; /* parsed arguments */
        Error e = {};
        int r = options_parse(argc, argv, &options, &e);

        if (r < 0) {
                fprintf(stderr, "iot-jobs-sim: %s\nTry 'iot-jobs-sim --help'.\n", e.text);
                return EXIT_USAGE;
        }
        if (r > 0)
                return EXIT_SUCCESS;
        log_open("iot-jobs-sim", LOG_TARGET_AUTO);
        return options.verb == VERB_SERVE ? serve(&options) : operate(&options);
}
