#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An exit code other than 0 fails the job; the end of both output streams goes into its status.
echo "checking sensor ${IOT_JOB_PARAM_sensor:?}"
echo "no answer on bus 1, address 0x76" >&2
exit 4
