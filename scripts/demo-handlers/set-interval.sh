#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Parameters of the operation form are environment variables: no parsing, no quoting trouble.
echo "interval is now ${IOT_JOB_PARAM_seconds:?} s, unit ${IOT_JOB_PARAM_unit:-none}, enabled: ${IOT_JOB_PARAM_enabled:-false}"
echo "sample_interval=${IOT_JOB_PARAM_seconds}" >&3
