#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Progress on descriptor 3: a number is the percentage, key=value a detail, other text says what is going on.
echo "image=${IOT_JOB_PARAM_image:?}" >&3
for stage in downloading verifying writing switching; do
        echo "$stage" >&3
        echo "$stage ${IOT_JOB_PARAM_image}"
        for _ in 1 2 3 4 5; do
                done=$((${done:-0} + 5))
                echo "$done%" >&3
                sleep 0.15
        done
done
