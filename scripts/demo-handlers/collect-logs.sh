#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Takes far too long, and leaves a child that ignores SIGTERM: a cancel ends both.
(trap '' TERM && exec sleep 600) &
echo "packing three weeks of logs"
sleep 600
