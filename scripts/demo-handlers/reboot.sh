#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A handler of the demonstration: it only says what a real one would do.
echo "would reboot $IOT_JOB_THING now"
