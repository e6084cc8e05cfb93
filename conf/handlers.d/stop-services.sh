#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stop-services.sh - stop services until they are started again, or until the next boot
#
# Needs      systemd, or one of rc-service, service and /etc/init.d; mostly root.
# Arguments  NAME...              separated by spaces or commas, in one argument or in several
#                                 in the operation form: parameter services
# Returns    0    all of them are down
#            1    at least one could not be stopped
#            65   a name is no service's, or is the agent itself
set -u
LC_ALL=C
export LC_ALL

verb=stop

# ---- from here on the same in start-services.sh, stop-services.sh and restart-services.sh ----

refuse() {
        printf '%s\n' "$*" >&2
        exit 65
}

check_name() {
        case $1 in
        [!A-Za-z0-9_]* | *[!A-Za-z0-9:_.@\\-]*) refuse "services: \"$1\" is not the name of a service" ;;
        *.target | *.slice | *.scope | *.device | *.mount | *.automount | *.swap) refuse "services: $1 is no service" ;;
        esac
        [ ${#1} -le 255 ] || refuse "services: a name of ${#1} characters; at most 255 are possible"
        if [ "$verb" = stop ]; then
                case $1 in
                iot-jobs-agent | iot-jobs-agent.service | iot-jobs-agent@*)
                        refuse "services: $1 is what takes the jobs: stopped by a job, it could not be started by one again"
                        ;;
                esac
        fi
}

# What "systemctl start" takes for done can have ended a moment later.
came_up() {
        case $(systemctl show --property=ActiveState --property=SubState -- "$1" | tr '\n' ' ') in
        *ActiveState=failed* | *SubState=auto-restart*) return 1 ;;
        esac
}

by_systemd() {
        bad=
        systemctl --no-ask-password "$verb" -- "$@" </dev/null || bad=yes
        if [ "$verb" != stop ] && [ -z "$bad" ]; then
                sleep 1
                for name; do
                        came_up "$name" || bad="$bad $name"
                done
        fi
        [ -n "$bad" ] || return 0
        systemctl --no-pager --lines=0 status -- "$@" </dev/null >&2
        return 1
}

by_script() {
        set -- "${1%.service}"
        if command -v rc-service >/dev/null; then
                rc-service "$1" "$verb"
        elif command -v service >/dev/null; then
                service "$1" "$verb"
        elif [ -x "/etc/init.d/$1" ]; then
                "/etc/init.d/$1" "$verb"
        else
                printf 'there is no systemd, rc-service or service here, and no /etc/init.d/%s\n' "$1" >&2
                return 1
        fi </dev/null
}

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
[ $# -gt 0 ] || set -- "${IOT_JOB_PARAM_services-}"
set -f
IFS=' ,
	'
# shellcheck disable=SC2048,SC2086 # to split is the intention, and "set -f" keeps patterns as they are
set -- $*
IFS=' '
for name; do
        shift
        [ -n "$name" ] || continue
        check_name "$name"
        set -- "$@" "$name"
done
[ $# -gt 0 ] || refuse "services: no name given"

# A service that is started here must not hold the handler's progress channel.
exec 3>&-
printf '%s: %s\n' "$verb" "$*"
case $(systemctl is-system-running 2>/dev/null) in
'' | offline | unknown)
        status=0
        for name; do
                if ! by_script "$name"; then
                        printf '%s: could not %s it\n' "$name" "$verb" >&2
                        status=1
                fi
        done
        exit $status
        ;;
*)
        by_systemd "$@"
        exit
        ;;
esac
