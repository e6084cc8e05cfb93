#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a container without systemd. It does for the agent what systemd does elsewhere: starts it again when it
# ends, while handlers go on, and ends both sides in the right order. HUP to the container reloads the agent.
# Usage: start.sh [OPTION OF iot-jobs-agent]...
agent='' stop=''
trap 'stop=yes; [ -z "$agent" ] || kill -TERM "$agent" 2>/dev/null' TERM INT
trap '[ -z "$agent" ] || kill -HUP "$agent" 2>/dev/null' HUP

runners() {
        for comm in /proc/[0-9]*/comm; do
                # A process may be gone before it is read.
                read -r name <"$comm" && [ "$name" = iot-jobs-runner ] && pid=${comm%/comm} && echo "${pid#/proc/}"
        done 2>/dev/null
}

status=0
while [ -z "$stop" ]; do
        iot-jobs-agent --log=stderr "$@" &
        agent=$!
        [ -z "$stop" ] || kill -TERM "$agent"
        # A signal that is caught ends the wait, not the agent.
        while kill -0 "$agent" 2>/dev/null; do
                wait "$agent"
                status=$?
        done
        # The last wait may have been such a one; of an agent it has told about, a shell may know nothing more (127).
        wait "$agent" 2>/dev/null
        code=$?
        [ "$code" = 127 ] || status=$code
        agent=''
        case $status in
        2 | 78) break ;; # wrong options, wrong configuration: no new start mends that
        esac
        [ -n "$stop" ] || sleep 5 &
        wait $!
done

# A runner that is told to stop first writes "interrupted", which the next start of the container reports, then ends its handler.
for pid in $(runners); do
        kill -TERM "$pid" 2>/dev/null
done
while [ -n "$(runners)" ]; do
        sleep 0.1
done
exit "$status"
