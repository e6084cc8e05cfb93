#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A handler of the demonstration: it only says what a real one would do. $1 = packages, separated by spaces.
for package in $1; do
        echo "would install $package"
done
