#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A handler of the demonstration: it only says what a real one would do. $1 = URL, $2 = path.
echo "would download $1"
echo "would write it to $2"
