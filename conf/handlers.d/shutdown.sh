#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# shutdown.sh - switch the device off, a minute from now, so that the job's success can still be reported
#
# Needs      systemd and its "shutdown". Elsewhere "poweroff", and handlers.override with on_interrupt = "rerun" for this handler:
#            nothing outlives a handler there, so the job goes on until the power is off, and succeeds when the device is on again.
#            To cancel the job does not cancel a shutdown that is scheduled: "shutdown -c" does.
# Arguments  [MINUTES]            1 to 1440, 1 if absent; in the operation form: parameter minutes
# Returns    0    scheduled; or the device has been off and is on again
#            1    could not be scheduled
#            65   MINUTES is not such a number
set -u

refuse() {
        printf '%s\n' "$*" >&2
        exit 65
}

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
[ $# -le 1 ] || refuse "one argument expected, the minutes until then, not $#"
minutes=${1-${IOT_JOB_PARAM_minutes-}}
minutes=${minutes:-1}
case $minutes in
[!1-9]* | *[!0-9]* | ?????*) refuse "minutes: 1 to 1440 expected, not \"$minutes\"" ;;
esac
[ "$minutes" -le 1440 ] || refuse "minutes: 1 to 1440 expected, not $minutes"

case $(systemctl is-system-running 2>/dev/null) in
'' | offline | unknown) ;;
*)
        shutdown -P "+$minutes" </dev/null || exit 1
        echo "the device will be switched off in $minutes min"
        exit 0
        ;;
esac

mark=${IOT_JOB_WORKDIR:-.}/shutdown-boot-id
boot_id=$(cat /proc/sys/kernel/random/boot_id) || exit 1
if [ "${IOT_JOB_PHASE-}" = rerun ] && [ -s "$mark" ] && [ "$(cat "$mark")" != "$boot_id" ]; then
        echo "the device has been off and is on again"
        exit 0
fi
if ! command -v poweroff >/dev/null; then
        echo "neither systemd nor a program \"poweroff\" is here: cannot switch the device off" >&2
        exit 1
fi
echo "$boot_id" >"$mark" || exit 1
echo "the device will be switched off in $minutes min"
sleep "$((minutes * 60))"
sync
poweroff </dev/null || exit 1
sleep 300
echo "poweroff was called, and the device is still on" >&2
exit 1
