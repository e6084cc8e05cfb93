#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# download-file.sh - fetch a file and put it in its place: whole, or not at all
#
# Needs      curl or wget (curl is preferred; the wget of busybox cannot resume without a digest, nor fetch https without one);
#            room for the file in the working directory (state_directory), and beside PATH if that is another file system.
# Arguments  URL PATH [OPTION=VALUE...]
#              URL             http:// or https://, special characters percent-encoded
#              PATH            of the file, absolute, in a directory that exists; or that directory, for a file named as the URL ends
#              sha256=HEX      what the file must be; sha384 and sha512 too
#              owner=USER[:GROUP], mode=OCTAL
#                              if absent, as the file there is that it replaces; else the handler's user, and 644
#            in the operation form: parameters url, path, sha256 (sha384, sha512), owner, mode
# Returns    0    the file is there, and on the disk
#            1    no: not found, wrong digest, certificate not trusted, disk full ...
#            65   arguments that make no sense
#            75   the network or the server is away, or the URL is refused and could have run out (once: the document is read
#                 afresh, with a new presigned URL). What has arrived is kept and the rest is asked for next time.
#
# A transfer that breaks off is resumed, if the server can and if it is sure to be the same file: by the digest, or by the
# server's ETag or Last-Modified. From https, a redirect to http is refused.
# Progress   percent, where the server tells the size
set -u
LC_ALL=C
export LC_ALL

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

# ---- arguments ----

check_url() {
        case $1 in
        '') refuse "url: missing" ;;
        *[!!-~]* | *[\"\\]*) refuse "url: only printable ASCII without blanks, quotes and backslashes, anything else percent-encoded" ;;
        http://[!/]* | https://[!/]*) ;;
        *) refuse "url: http:// or https:// expected" ;;
        esac
}

check_path() {
        case $1 in
        '') refuse "path: missing" ;;
        *[[:cntrl:]]*) refuse "path: has a control character in it" ;;
        /*) ;;
        *) refuse "path: \"$1\" is not absolute" ;;
        esac
        [ ! -d "$1" ] || name_by_url "$1"
        case $path in
        */ | */. | */..) refuse "path: \"$path\" is a directory that is not there" ;;
        esac
        [ ! -d "$path" ] || refuse "path: $path is a directory; the path of a file expected"
        [ ! -e "$path" ] || [ -f "$path" ] || refuse "path: $path is not a regular file"
}

# name_by_url DIRECTORY: $path becomes a file in there. Where the URL ends in anything but a plain name nobody has to guess.
name_by_url() {
        name=${url%%[?#]*}
        name=${name#*://}
        case $name in
        */*) name=${name##*/} ;;
        *) name='' ;;
        esac
        case $name in
        '' | .* | *[!A-Za-z0-9._+~=@,-]*) refuse "path: $1 is a directory, and the URL does not end in a plain file name; give the whole path" ;;
        esac
        path=${1%/}/$name
}

take_digest() { # ALGORITHM HEX DIGITS
        [ -z "$algorithm" ] || refuse "$1: one digest is enough"
        algorithm=$1
        digest=$(printf %s "$2" | tr A-F a-f)
        case $digest in
        *[!0-9a-f]*) refuse "$1: $3 hexadecimal digits expected, not \"$2\"" ;;
        esac
        [ "${#digest}" = "$3" ] || refuse "$1: $3 hexadecimal digits expected, not ${#digest}"
}

take_owner() {
        case $1 in
        '') ;;
        [!A-Za-z0-9_]* | *[!A-Za-z0-9_.:-]* | *:*:* | *:) refuse "owner: USER or USER:GROUP expected, not \"$1\"" ;;
        esac
        owner=$1
}

take_mode() {
        case $1 in
        '' | [0-7][0-7][0-7] | 0[0-7][0-7][0-7]) mode=$1 ;;
        *) refuse "mode: three octal digits expected, not \"$1\"" ;;
        esac
}

# handlers.device_client_args puts the document's user, emptied, before the arguments.
[ $# -eq 0 ] || [ -n "$1" ] || shift
if [ $# -eq 0 ]; then
        set -- "${IOT_JOB_PARAM_url-}" "${IOT_JOB_PARAM_path-}" \
                ${IOT_JOB_PARAM_sha256+"sha256=$IOT_JOB_PARAM_sha256"} ${IOT_JOB_PARAM_sha384+"sha384=$IOT_JOB_PARAM_sha384"} \
                ${IOT_JOB_PARAM_sha512+"sha512=$IOT_JOB_PARAM_sha512"} \
                ${IOT_JOB_PARAM_owner+"owner=$IOT_JOB_PARAM_owner"} ${IOT_JOB_PARAM_mode+"mode=$IOT_JOB_PARAM_mode"}
fi
[ $# -ge 2 ] || refuse "arguments: URL PATH [OPTION=VALUE...] expected"
url=$1 path=$2 algorithm='' digest='' owner='' mode=''
shift 2
check_url "$url"
check_path "$path"
for option; do
        case $option in
        '') ;; # an optional parameter of a job template that was left out
        sha256=*) take_digest sha256 "${option#*=}" 64 ;;
        sha384=*) take_digest sha384 "${option#*=}" 96 ;;
        sha512=*) take_digest sha512 "${option#*=}" 128 ;;
        owner=*) take_owner "${option#*=}" ;;
        mode=*) take_mode "${option#*=}" ;;
        *) refuse "\"$option\": sha256=, sha384=, sha512=, owner= or mode= expected" ;;
        esac
done
shown=${url%%[?#]*} # what stands behind may be a credential, and so may what stands before an @
case ${shown#*://} in
*@*) shown=${shown%%://*}://${shown##*@} ;;
esac

# ---- where the parts go ----

{ true >&3; } 2>/dev/null || exec 3>/dev/null # started by hand
made='' placed='' client='' reporter=''
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
        [ -z "$client" ] || kill "$client" 2>/dev/null
        [ -z "$reporter" ] || kill "$reporter" 2>/dev/null
        [ -z "$placed" ] || rm -f -- "$placed"
        [ -z "$made" ] || rm -rf -- "$made"
}
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

work=${IOT_JOB_WORKDIR-}
if [ -z "$work" ]; then
        made=$(mktemp -d "${TMPDIR:-/tmp}/download-file.XXXXXX") || exit 1
        work=$made
fi
# Steps share the working directory.
part=$work/download-${IOT_JOB_STEP:-1}.part
origin=$work/download-${IOT_JOB_STEP:-1}.url      # where the part comes from
first=$work/download-${IOT_JOB_STEP:-1}.headers   # of the answer that it began with
resumed=$work/download-${IOT_JOB_STEP:-1}.resumed # of a later answer
problem=$work/download-${IOT_JOB_STEP:-1}.problem # what the client says

size_of() {
        stat -c %s -- "$1" 2>/dev/null || echo 0
}

is_right() {
        [ -n "$digest" ] && [ "$("${algorithm}sum" <"$1" | cut -d' ' -f1)" = "$digest" ]
}

drop_part() {
        rm -f -- "$part" "$first" "$resumed"
}

# Own the file and give it its mode: before it gets its name.
dress() {
        if [ -n "$owner" ]; then
                chown -- "$owner" "$1" || refuse "owner: the file cannot be given to $owner"
        fi
        chmod -- "$mode" "$1" || exit 1
}

place() {
        placed=$(mktemp "$directory/.iot-jobs.XXXXXX") || exit 1
        mv -f -- "$part" "$placed" || fail "$directory: the file cannot be written there"
        dress "$placed"
        sync -- "$placed" 2>/dev/null || sync
        mv -f -- "$placed" "$path" || exit 1
        placed=
        sync -- "$directory" 2>/dev/null || sync
        ! command -v restorecon >/dev/null || restorecon -- "$path"
}

finish() {
        printf '%s\n' "$1"
        printf 'size=%s\n100%%\n' "$(size_of "$path")" >&3
        exit 0
}

# ---- transfer ----

# read_headers FILE: of the last answer in it: $status, $validator (what tells one version of the file from another, if that can
# be told), $start (where the answer begins), $total (size of the whole file), $downgraded.
read_headers() {
        status='' validator='' start='' total='' downgraded=''
        [ -s "$1" ] || return 0
        found=$(awk '
                { sub(/\r$/, ""); sub(/^ +/, "") }
                match($0, /HTTP\/[0-9.]+ [0-9][0-9][0-9]/) {
                        split(substr($0, RSTART), word, " ")
                        status = word[2]; tag = date = from = size = ""
                        next
                }
                {
                        colon = index($0, ":")
                        name = tolower(substr($0, 1, colon - 1)); value = substr($0, colon + 1)
                        gsub(/^[ \t]+|[ \t]+$/, "", value)
                }
                name == "etag" && value !~ /^W\// { tag = value }
                name == "last-modified" { date = value }
                name == "content-length" && size == "" { size = value }
                name == "content-range" && value ~ /^bytes [0-9]+-[0-9]+\/[0-9]+$/ {
                        split(value, word, /[ \/-]/); from = word[2]; size = word[4]
                }
                name == "location" && tolower(value) ~ /^http:/ { downgraded = "yes" }
                END {
                        if (size !~ /^[0-9]+$/ || length(size) > 15) size = ""
                        print status; print (tag != "" ? tag : date); print from; print size; print downgraded
                }' "$1")
        {
                read -r status
                read -r validator
                read -r start
                read -r total
                read -r downgraded
        } <<END
$found
END
}

# start_client OFFSET: fetch the rest of $part, with the headers of the answer to $answer. The URL goes by standard input: a
# command line is for everyone to see.
start_curl() {
        protocols='=http,https'
        case $url in https:*) protocols='=https' ;; esac
        if [ "$1" = 0 ]; then set --; else set -- --continue-at "$1"; fi
        curl --disable --config - --silent --show-error --fail --globoff --location --max-redirs 10 --proto '=http,https' \
                --proto-redir "$protocols" --connect-timeout 30 --speed-limit 1 --speed-time 60 --dump-header "$answer" \
                --output "$part" "$@" 3>&- 2>"$problem" <<END &
url = "$url"
END
        client=$!
}

start_wget() {
        if [ "$1" = 0 ]; then set --; rm -f -- "$part"; else set -- --continue; fi
        wget --no-config --no-verbose --server-response --output-file="$answer" --no-netrc --no-hsts --no-cookies --tries=1 \
                --timeout=60 --max-redirect=10 --output-document="$part" "$@" --input-file=- 3>&- 2>"$problem" <<END &
$url
END
        client=$!
}

# Without -T, which makes the one of Debian 12 crash; by itself it gives up after 15 min without a byte.
start_busybox() {
        if [ "$1" = 0 ]; then set --; rm -f -- "$part"; else set -- -c; fi
        wget -q -S -O "$part" "$@" -- "$url" 3>&- 2>"$answer" </dev/null &
        client=$!
}

start_client() {
        case $program in
        curl) start_curl "$1" ;;
        wget) start_wget "$1" ;;
        busybox) start_busybox "$1" ;;
        esac
}

# What a failure of a client means: "away" is worth another try.
meaning_of() {
        case $program-$1 in
        *-0) echo ok ;;
        curl-[567] | curl-16 | curl-18 | curl-28 | curl-35 | curl-52 | curl-55 | curl-56 | curl-92) echo away ;;
        curl-22) echo status ;;
        curl-23) echo disk ;;
        curl-33) echo changed ;;
        wget-3) echo disk ;;
        wget-4) echo away ;;
        wget-6 | wget-8) echo status ;;
        busybox-*)
                case $status in
                [45]??) echo status ;;
                *) if df -P -- "$work" | awk 'NR == 2 { exit $4 > 0 }'; then echo disk; else echo away; fi ;;
                esac
                ;;
        *) echo failed ;;
        esac
}

# What the client says about it, without the line that repeats the URL.
why() {
        cat "$problem" "$answer" 2>/dev/null | grep -e '^curl: ' -e '^wget: ' -e failed -e 'rror' | grep -v '://' | tail -n 1
}

report_progress() {
        trap 'kill "$nap" 2>/dev/null; exit 0' TERM
        told='' nap=''
        # A signal that comes at once can be lost in the shell that is just being forked.
        while kill -0 "$client" 2>/dev/null; do
                sleep 1 &
                nap=$!
                wait "$nap"
                read_headers "$answer"
                case $status in 2??) ;; *) continue ;; esac
                now=$(size_of "$part")
                if [ "${total:-0}" -gt 0 ]; then
                        now=$((now * 100 / total))%
                else
                        now="$((now / 1024)) KiB"
                fi
                [ "$now" = "$told" ] || printf '%s\n' "$now" >&3
                told=$now
        done
}

# One transfer, from $have on. Sets $code, and what read_headers() sets.
transfer() {
        if [ "$have" = 0 ]; then
                answer=$first
                printf '%s\n' "$shown" >"$origin"
        else
                answer=$resumed
        fi
        : >"$answer" || exit 1
        start_client "$have"
        report_progress &
        reporter=$!
        wait "$client"
        code=$?
        client=
        kill "$reporter" 2>/dev/null
        wait "$reporter"
        reporter=
        read_headers "$answer"
}

# ---- the story ----

if command -v curl >/dev/null; then
        program=curl
elif ! command -v wget >/dev/null; then
        fail "neither curl nor wget is here"
else
        case $(wget --version 2>/dev/null) in
        'GNU Wget'*) program=wget ;;
        *)
                program=busybox
                case $url in
                https:*) [ -n "$digest" ] || fail "this wget does not check certificates: sha256 is needed, or curl" ;;
                esac
                ;;
        esac
fi

[ -z "$algorithm" ] || command -v "${algorithm}sum" >/dev/null || fail "$algorithm: there is no ${algorithm}sum here"
directory=${path%/*}
directory=${directory:-/}
[ -d "$directory" ] || fail "path: there is no directory $directory"
if [ -f "$path" ] && [ ! -L "$path" ]; then
        [ -n "$owner" ] || [ "$(id -u)" != 0 ] || owner=$(stat -c %u:%g -- "$path")
        [ -n "$mode" ] || mode=$(stat -c %a -- "$path")
        case $mode in
        ????) mode=${mode#?} ;; # what comes from the network is never set-user-ID
        esac
fi
mode=${mode:-644}
if [ -f "$path" ] && [ ! -L "$path" ] && is_right "$path"; then
        dress "$path"
        finish "$path is there already, with the right digest"
fi
# Better to know now than after an hour.
placed=$(mktemp "$directory/.iot-jobs.XXXXXX") || fail "path: $directory cannot be written to"
dress "$placed"
rm -f -- "$placed"
placed=

printf 'fetching %s\n' "$shown"
if [ ! -f "$part" ] || [ "$(cat "$origin" 2>/dev/null)" != "$shown" ]; then
        drop_part
fi
tries=3 furthest=0 pieced='' code=0
while :; do
        read_headers "$first"
        known=$validator
        have=$(size_of "$part")
        if [ "$have" -gt 0 ] && [ "$have" = "${total:-$have}" ]; then
                # All of it, perhaps: the power went just then.
                if is_right "$part" || { [ -z "$digest" ] && [ -n "$known" ] && [ -n "$total" ]; }; then
                        break
                fi
        fi
        if [ "$have" -gt 0 ] && [ -z "$digest" ] && { [ -z "$known" ] || [ "$program" = busybox ]; }; then
                drop_part
                have=0
        fi
        [ "$have" = 0 ] || printf 'going on behind %s bytes\n' "$have"
        transfer

        case $url in
        https:*) [ -z "$downgraded" ] || { drop_part; fail "the server redirects from https to http: refused"; } ;;
        esac
        meaning=$(meaning_of "$code")
        case $meaning-$status in
        ok-416 | status-416 | status-412) meaning=changed ;;
        esac
        if [ "$have" -gt 0 ] && [ -n "$status" ]; then
                pieced=yes
                case $meaning-$status in
                status-*) ;;
                *-206)
                        if [ "$start" != "$have" ]; then
                                meaning=changed
                        elif [ -n "$known" ] && [ "$validator" != "$known" ]; then
                                # With a digest, a server that does not say is no reason.
                                [ -n "$digest" ] && [ -z "$validator" ] || meaning=changed
                        fi
                        ;;
                *) meaning=changed ;;
                esac
        fi
        case $meaning in
        ok)
                if [ -z "$digest" ] || is_right "$part"; then
                        break
                fi
                drop_part
                [ -n "$pieced" ] || fail "$algorithm: the file on the server is another one"
                pieced=''
                echo "the parts do not fit together: from the start again"
                ;;
        changed)
                drop_part
                pieced=''
                echo "the server has another file now, or cannot resume: from the start again"
                ;;
        away)
                printf 'the transfer broke off: %s\n' "$(why)" >&2
                ;;
        disk) fail "the file cannot be written to $work: $(why)" ;;
        status)
                case $status in
                408 | 425 | 429 | 5??) echo "the server answers $status" >&2 ;;
                400 | 403)
                        [ "${IOT_JOB_ATTEMPT:-1}" != 1 ] || later "the server answers $status"
                        fail "the server answers $status"
                        ;;
                *) fail "the server answers $status" ;;
                esac
                ;;
        *) fail "$program failed with exit code $code: $(why)" ;;
        esac

        # Whoever gets further may go on for ever; three tries in a row that do not are enough for now.
        have=$(size_of "$part")
        if [ "$have" -gt "$furthest" ]; then
                furthest=$have tries=3
        fi
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || later "the file could not be fetched"
        sleep $((3 - tries))
done

place
finish "fetched $path"
