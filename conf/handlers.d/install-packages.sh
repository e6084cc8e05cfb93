#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install-packages.sh - install packages, or bring them to the newest version there is
#
# Needs      apt-get, dnf, yum or opkg (the first of them that is there); root.
# Arguments  NAME[=VERSION]...    separated by spaces or commas, in one argument or in several; dnf writes NAME-VERSION
#                                 in the operation form: parameter packages
# Returns    0    all of them are installed
#            1    no: unknown package, no room, a package's own script failed ...
#            65   a name is no package's
#            75   another program holds the lock of the package manager, or the packages' server cannot be reached
#
# Questions are answered as the maintainer of a package would, configuration files that were changed stay as they are. An
# installation that an earlier one left half done is finished first.
# Details    packages=NAME VERSION, ...
set -u
LC_ALL=C
export LC_ALL

verb=install

# apt-get takes NAME for a regular expression if there is no such package and it has one of these characters in it.
check_exact() {
        for name; do
                case $name in
                *[.+]*)
                        base=${name%%[:=]*}
                        apt-cache pkgnames -- "$base" | grep -Fqx -e "$base" && continue
                        [ -z "$offline" ] || later "$base is not in the lists of packages, and the packages' server cannot be reached"
                        fail "there is no package $base"
                        ;;
                esac
        done
}

update_lists() {
        case $manager in
        apt) run_apt update ;;
        dnf) ;; # does so by itself
        opkg) run opkg update ;;
        esac
}

install_packages() {
        echo "updating the lists of packages" >&3
        if ! update_lists; then
                ! said "$locked" || give_up
                echo "the lists of packages could not be updated, going on with those at hand"
        fi
        ! said "$away" || offline=yes # apt-get calls that a success
        echo "installing" >&3
        case $manager in
        apt) check_exact "$@" && run_apt install -- "$@" ;;
        dnf) run_dnf --setopt=best=True install -- "$@" ;; # without it, an older version that is there is good enough
        opkg) run opkg install "$@" ;;
        esac || give_up
        told=
        for name; do
                told="$told${told:+, }${name%%[:=]*} $(version "${name%%=*}")"
        done
        printf 'installed: %s\n' "$told"
        printf 'packages=%s\n' "$told" >&3
}

# ---- from here on the same in install-packages.sh and remove-packages.sh ----

refuse() {
        printf '%s\n' "$*" >&2
        exit 65
}

later() {
        printf '%s: to be tried again later\n' "$*" >&2
        exit 75
}

fail() {
        printf '%s\n' "$*" >&2
        exit 1
}

# Neither an option, nor a file, a pattern, a group, or apt's "NAME-", which would turn an installation into a removal.
check_name() {
        case $1 in
        [!A-Za-z0-9]* | *[!A-Za-z0-9+._:=~^-]* | *-) refuse "packages: \"$1\" is not the name of a package" ;;
        *[=^~]*) [ "$verb" = install ] || refuse "packages: \"$1\": a name without a version expected" ;;
        esac
        [ ${#1} -le 256 ] || refuse "packages: a name of ${#1} characters; at most 256 are possible"
}

# run COMMAND...: without questions; what it says on standard error is kept in $errors. Packages can start services, which must
# not hold the handler's progress channel.
run() {
        "$@" </dev/null 2>"$errors" 3>&-
        status=$?
        cat "$errors" >&2
        return "$status"
}

said() {
        grep -Eiq -e "$1" -- "$errors"
}

locked='could not (get|open) lock|unable to (lock|acquire)|is locked by|exit_on_lock|could not lock|another app is'
away='temporary failure (resolving|in name)|could( not|n.t) (resolve|connect)|unable to connect|cannot initiate the'
away="$away connection|connection (failed|refused|reset|timed out)|network is unreachable|no route to host|timeout was reached"
away="$away|wget returned 4|failed to connect|curl error \\([67]\\)|curl error \\(28\\)"

# Explain the failure that $errors and $status tell of, and end.
give_up() {
        if said "$locked" || { [ "$manager" = dnf ] && [ "$status" = 200 ]; }; then
                later "another program is installing or removing packages"
        elif said 'sub-process .*dpkg returned an error'; then
                fail "$manager: a package's own script failed"
        elif [ -n "$offline" ] || said "$away"; then
                later "the packages' server cannot be reached"
        fi
        fail "$manager failed with exit code $status"
}

apt_get() { # without a terminal, there are no moving percentages
        run apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

run_apt() {
        apt_get "$@" && return
        said 'dpkg was interrupted' || return
        echo "an earlier installation was cut off; finishing it first"
        run dpkg --force-confdef --force-confold --configure -a || return
        apt_get "$@"
}

# dnf 4 and yum wait for a lock for ever, unless told otherwise; dnf 5 does not, and does not know the setting.
run_dnf() {
        case $("$dnf" --version 2>/dev/null) in
        dnf5*) run "$dnf" -y "$@" ;;
        *) run "$dnf" -y --setopt=exit_on_lock=True "$@" ;;
        esac
}

# version NAME: of a package that is there, if only by half; nothing for any other. NAME is no pattern here.
version() {
        case $manager in
        apt)
                dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$1" 2>/dev/null |
                        sed -n -e '/^not-installed /d' -e '/^config-files /d' -e 's/^[^ ]* //p' | head -n 1
                ;;
        dnf) rpm -q --qf '%{VERSION}-%{RELEASE}\n' -- "$1" 2>/dev/null | grep -v ' ' | head -n 1 ;;
        opkg) opkg list-installed "$1" 2>/dev/null | awk -v name="$1" '$1 == name { print $3; exit }' ;;
        esac
}

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
[ $# -gt 0 ] || set -- "${IOT_JOB_PARAM_packages-}"
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
[ $# -gt 0 ] || refuse "packages: no name given"

manager='' dnf=dnf offline=''
for program in apt-get dnf yum opkg; do
        if command -v "$program" >/dev/null; then
                case $program in
                apt-get) manager=apt ;;
                yum) manager=dnf dnf=yum ;;
                *) manager=$program ;;
                esac
                break
        fi
done
[ -n "$manager" ] || fail "none of apt-get, dnf, yum and opkg is here"

export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
{ true >&3; } 2>/dev/null || exec 3>/dev/null # started by hand
errors=$(mktemp "${IOT_JOB_WORKDIR:-${TMPDIR:-/tmp}}/packages.XXXXXX") || exit 1
trap 'rm -f -- "$errors"' EXIT
trap 'exit 143' TERM INT HUP

"$verb"_packages "$@"
