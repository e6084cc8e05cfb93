# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of iot-jobsctl for bash; bash-completion finds it as completions/iot-jobsctl. Needs nothing of that package.

# The options of a command; without one, all that may stand before it.
_iot_jobsctl_options() {
        case $1 in
        status | list | watch | pause | resume | handlers) echo "--name --config --json" ;;
        show | cancel) echo "--name --config --json --execution" ;;
        history) echo "--name --config --json --lines" ;;
        run) echo "--name --config --json --set" ;;
        sign) echo "--json --key --kid --thing --job --expires" ;;
        *) echo "--name --config --json --help --version" ;;
        esac
}

# The jobs that the agent in question knows, if it can be asked.
_iot_jobsctl_jobs() {
        timeout 2 iot-jobsctl list "$@" 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_iot_jobsctl_names() {
        local f

        for f in /etc/iot-jobs/*.conf; do
                f=${f##*/}
                [ "$f" = '*.conf' ] || echo "${f%.conf}"
        done
}

_iot_jobsctl_files() {
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_iot_jobsctl() {
        local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' word i
        local -a which=()

        COMPREPLY=()
        for ((i = 1; i < COMP_CWORD; i++)); do
                word=${COMP_WORDS[i]}
                case $word in
                --name | --config)
                        which=("$word" "${COMP_WORDS[i + 1]}")
                        i=$((i + 1))
                        ;;
                --set | --execution | --lines | --key | --kid | --thing | --job | --expires) i=$((i + 1)) ;;
                -*) ;;
                *) [ -n "$verb" ] || verb=$word ;;
                esac
        done
        case $previous in
        --name)
                mapfile -t COMPREPLY < <(compgen -W "$(_iot_jobsctl_names)" -- "$current")
                return
                ;;
        --config | --key)
                _iot_jobsctl_files "$current"
                return
                ;;
        --set | --execution | --lines | --kid | --thing | --job | --expires) return ;;
        esac
        if [[ $current == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "$(_iot_jobsctl_options "$verb")" -- "$current")
                return
        fi
        case $verb in
        '') mapfile -t COMPREPLY < <(compgen -W "status list show history watch cancel pause resume run handlers sign" -- "$current") ;;
        show | cancel) mapfile -t COMPREPLY < <(compgen -W "$(_iot_jobsctl_jobs "${which[@]}")" -- "$current") ;;
        run | sign) _iot_jobsctl_files "$current" ;;
        esac
}

complete -F _iot_jobsctl iot-jobsctl
