#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# reboot.sh - boot the device anew; the job succeeds when the device is back
#
# Needs      handlers.reboot_command to work: by default "systemctl reboot".
# Arguments  none
# Returns    194  please reboot: the runner sees to it when no other job runs, and starts this step again afterwards
#            0    the device has been booted anew
#            65   there are arguments
set -u

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
if [ $# -gt 0 ]; then
        printf 'no arguments expected, not "%s"\n' "$*" >&2
        exit 65
fi

if [ "${IOT_JOB_PHASE-}" = post-reboot ]; then
        echo "the device has been booted anew"
        exit 0
fi
echo "asking for a reboot"
exit 194
