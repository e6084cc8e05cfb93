#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# health-check.sh - say how the device is; fail if it is not as well as the arguments want it
#
# Needs      nothing; systemd, rc-service or service to look at services.
# Arguments  [CHECK...]           none: the job succeeds if the device is there
#              disk=PERCENT        at most so much of the root file system is in use; disk=PATH:PERCENT of another one
#              memory=MIB          at least so much is available
#              load=NUMBER         at most that load average over five minutes
#              service=NAME        is running; also just NAME, and several names separated by spaces or commas
#            in the operation form: parameters disk, memory, load, service
# Returns    0    all checks passed
#            1    at least one did not
#            65   a check makes no sense
# Details    uptime, disk (in use of the root file system), memory (available)
set -u
LC_ALL=C
export LC_ALL

refuse() {
        printf '%s\n' "$*" >&2
        exit 65
}

bad() {
        printf 'NOT WELL: %s\n' "$*" >&2
        status=1
}

# ---- what there is ----

disk_used() { # PATH: percent
        df -P -- "$1" 2>/dev/null | awk 'NR == 2 { for (i = 4; i <= NF; i++) if ($i ~ /^[0-9]+%$/) { print $i + 0; exit } }'
}

memory_available() {
        awk '/^MemAvailable:/ { print int($2 / 1024); exit }' /proc/meminfo
}

is_running() {
        case $(systemctl is-system-running 2>/dev/null) in
        '' | offline | unknown)
                if command -v rc-service >/dev/null; then
                        rc-service "${1%.service}" status
                elif command -v service >/dev/null; then
                        service "${1%.service}" status
                else
                        "/etc/init.d/${1%.service}" status
                fi </dev/null >/dev/null 2>&1
                ;;
        *) systemctl is-active --quiet -- "$1" </dev/null ;;
        esac
}

# ---- what is wanted ----

number() { # NAME VALUE MAXIMUM
        case $2 in
        '' | *[!0-9]* | ??????????*) refuse "$1: a number from 0 to $3 expected, not \"$2\"" ;;
        esac
        [ "$2" -le "$3" ] || refuse "$1: a number from 0 to $3 expected, not $2"
}

check_disk() {
        place=/ most=$1
        case $1 in
        *:*) place=${1%:*} most=${1##*:} ;;
        esac
        case $place in
        /*) ;;
        *) refuse "disk: \"$place\" is not an absolute path" ;;
        esac
        number disk "$most" 100
        used=$(disk_used "$place")
        if [ -z "$used" ]; then
                bad "disk: $place is not there"
        elif [ "$used" -gt "$most" ]; then
                bad "disk: $used % of $place are in use, at most $most % should be"
        fi
}

check_memory() {
        number memory "$1" 99999999
        available=$(memory_available)
        [ "$available" -ge "$1" ] || bad "memory: $available MiB available, at least $1 MiB should be"
}

check_load() {
        case $1 in
        '' | .* | *[!0-9.]* | *.*.* | *. | ??????????*) refuse "load: a number expected, not \"$1\"" ;;
        esac
        read -r _ load _ </proc/loadavg
        awk -v load="$load" -v most="$1" 'BEGIN { exit load + 0 > most + 0 }' || bad "load: $load, at most $1 is wanted"
}

check_service() {
        case $1 in
        [!A-Za-z0-9_]* | *[!A-Za-z0-9:_.@\\-]*) refuse "service: \"$1\" is not the name of a service" ;;
        esac
        [ ${#1} -le 255 ] || refuse "service: a name of ${#1} characters; at most 255 are possible"
        is_running "$1" || bad "service: $1 is not running"
}

check_services() {
        set -f
        IFS=' ,
	'
        # shellcheck disable=SC2086 # to split is the intention, and "set -f" keeps patterns as they are
        set -- $1
        IFS=' '
        for name; do
                [ -z "$name" ] || check_service "$name"
        done
}

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
if [ $# -eq 0 ]; then
        set -- ${IOT_JOB_PARAM_disk:+"disk=$IOT_JOB_PARAM_disk"} ${IOT_JOB_PARAM_memory:+"memory=$IOT_JOB_PARAM_memory"} \
                ${IOT_JOB_PARAM_load:+"load=$IOT_JOB_PARAM_load"} ${IOT_JOB_PARAM_service:+"service=$IOT_JOB_PARAM_service"}
fi

{ true >&3; } 2>/dev/null || exec 3>/dev/null # started by hand
read -r uptime _ </proc/uptime
facts="uptime=${uptime%.*} s
disk=$(disk_used /)%
memory=$(memory_available) MiB"
printf '%s\n' "$facts"
printf '%s\n' "$facts" >&3

status=0
for check; do
        case $check in
        '') ;; # an optional parameter of a job template that was left out
        disk=*) check_disk "${check#*=}" ;;
        memory=*) check_memory "${check#*=}" ;;
        load=*) check_load "${check#*=}" ;;
        service=*) check_services "${check#*=}" ;;
        *=*) refuse "\"$check\": disk=, memory=, load= or service= expected" ;;
        *) check_services "$check" ;;
        esac
done
[ "$status" != 0 ] || echo "all is well"
exit "$status"
