/* SPDX-License-Identifier: Apache-2.0 */
/* The operator verbs: they reach the service through the broker. */
#pragma once

#include "sim/options.h"

/* Prints results to stdout and what is wrong to stderr. Returns the exit code. */
int operate(const Options *o);
