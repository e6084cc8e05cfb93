# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by scripts/demo, scripts/test and scripts/bench; sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
export DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
# Nothing of the caller's service manager or library overrides reaches the programs under test.
unset INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID LISTEN_FDS LISTEN_PID CREDENTIALS_DIRECTORY \
      STATE_DIRECTORY RUNTIME_DIRECTORY IOT_JOBS_RUNNER

# What is needed to build and to run a broker.
# shellcheck disable=SC2034 # for the scripts that source this
build_packages=(gcc libc6-dev meson ninja-build pkg-config python3 libmosquitto-dev libssl-dev libjansson-dev libsystemd-dev
                libconfig-dev libwslay-dev check mosquitto openssl)
# Programs that the shipped handlers use, in the variants that are tested.
# shellcheck disable=SC2034 # for the scripts that source this
handler_packages=(curl wget busybox jq)
# What the connection is tested against: proxies, tokens and a TPM in software. (A user needs only the one for his key.)
# shellcheck disable=SC2034 # for the scripts that source this
peer_packages=(websockify tinyproxy-bin softhsm2 opensc libengine-pkcs11-openssl swtpm tpm2-tools tpm2-openssl)

die() {
        printf '%s: %s\n' "${0##*/}" "$*" >&2
        exit 1
}

# Root's commands, through sudo where needed.
as_root() {
        if [ "$(id -u)" = 0 ]; then
                "$@"
        elif command -v sudo >/dev/null; then
                sudo -- "$@"
        else
                die "must install packages: run it as root, or install sudo"
        fi
}

missing_packages() {
        local p
        for p in "$@"; do
                dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || printf '%s\n' "$p"
        done
}

# install_packages LOG PACKAGE...: without recommended packages, and without starting or enabling the broker's own service.
# An existing policy-rc.d is respected and left as it is; ours lives only as long as the installation.
install_packages() {
        local log=$1 guard=/usr/sbin/policy-rc.d ours='' masked='' status=0 missing
        shift
        mapfile -t missing < <(missing_packages "$@")
        [ "${#missing[@]}" -gt 0 ] || return 0
        command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
        printf 'Installing %s\n' "${missing[*]}"
        if [ ! -e "$guard" ]; then
                printf '#!/bin/sh\n# iot-jobs-agent: services stay down while packages are installed\nexit 101\n' |
                        as_root tee "$guard" >/dev/null && as_root chmod 755 "$guard" && ours=yes
        fi
        if [[ " ${missing[*]} " = *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
                as_root systemctl mask --runtime --quiet mosquitto.service && masked=yes
        fi
        {
                as_root apt-get update || echo "apt-get update failed; trying with the lists at hand"
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
        } </dev/null >>"$log" 2>&1 || status=$?
        [ -z "$ours" ] || as_root rm -f "$guard"
        [ -z "$masked" ] || as_root systemctl unmask --runtime --quiet mosquitto.service
        # Installing also enables: what `systemctl disable` would do, where there may be no systemctl.
        [[ " ${missing[*]} " != *" mosquitto "* ]] || as_root rm -f /etc/systemd/system/multi-user.target.wants/mosquitto.service
        if [ "$status" != 0 ]; then
                tail -n 20 "$log" >&2
                die "packages could not be installed; the whole story is in $log"
        fi
}

# configure DIR OPTION...: make or update a build directory; a broken one is made afresh.
configure() {
        local dir=$1
        shift
        if [ -f "$dir/build.ninja" ] && meson setup --reconfigure "$dir" "$@"; then
                return 0
        fi
        if [ -e "$dir" ]; then
                find "$dir" -mindepth 1 -maxdepth 1 ! -name test-logs -exec rm -rf {} +
        fi
        meson setup "$dir" "$@"
}
