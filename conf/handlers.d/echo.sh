#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# echo.sh - say something in the journal: the smallest job that shows that a device takes jobs
#
# Needs      nothing.
# Arguments  TEXT...              in the operation form: parameter text
# Returns    0
set -u

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
[ $# -gt 0 ] || set -- "${IOT_JOB_PARAM_text-}"

printf '%s\n' "$*"
