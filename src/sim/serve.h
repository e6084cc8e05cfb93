/* SPDX-License-Identifier: Apache-2.0 */
/* `iot-jobs-sim serve`: the model on a broker. */
#pragma once

#include "sim/options.h"

/* Runs until SIGINT or SIGTERM. Logging. Returns the exit code. */
int serve(const Options *o);
