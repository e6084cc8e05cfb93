#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A handler of the demonstration: it only says what a real one would do. $1 = services, separated by spaces.
for service in $1; do
        echo "would restart $service"
done
