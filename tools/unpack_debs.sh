#!/usr/bin/env bash
# Unpacks Debian packages into the cache, without root and without installing anything.
#
#     tools/unpack_debs.sh PACKAGE...
#
# They land in $SIGHTLINE_CACHE/debian (by default ~/.cache/sightline/debian), each with those of its dependencies that
# the system lacks. A package that the system has installed, or that was unpacked before, is left alone.
set -euo pipefail

cache="${SIGHTLINE_CACHE:-$HOME/.cache/sightline}"
root="$cache/debian"
stamps="$root/.unpacked"
apt="$cache/apt"

# The file that a package is wanted for, so that whoever has no apt can put it there by hand.
file_of() {
    case "$1" in
        fonts-noto-color-emoji) echo usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ;;
        unicode-cldr-core) echo usr/share/unicode/cldr/common ;;
        unicode-data) echo usr/share/unicode/emoji/emoji-test.txt ;;
        redis-server) echo usr/bin/redis-server ;;
        chromium) echo usr/lib/chromium/chromium ;;
        prometheus) echo usr/bin/prometheus ;;
        *) echo "usr/share/doc/$1" ;;
    esac
}

is_there() {
    [[ -e "$stamps/$1" || -e "/$(file_of "$1")" || -e "$root/$(file_of "$1")" ]] && return 0
    [[ "$1" =~ ^(redis-server|chromium|prometheus)$ ]] && command -v "$1" >/dev/null
}

missing_of() {
    for package in "$@"; do is_there "$package" || echo "$package"; done
}

explain_by_hand() {
    echo "This machine has no apt-get to fetch these files with. Please provide them by hand:" >&2
    for package in "$@"; do echo "  $root/$(file_of "$package")   (from the Debian package $package)" >&2; done
    echo "SIGHTLINE_CACHE chooses another folder than $cache. A redis-server, a chromium or a prometheus on PATH is used as it is." >&2
    exit 1
}

# apt with lists of its own: a fresh machine has none, and without root the system's cannot be renewed.
private_apt() {
    "$1" -c "$apt/apt.conf" "${@:2}"
}

renew_private_lists() {
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/apt.conf" <<CONF
Dir::State "$apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
    private_apt apt-get -qq update
}

system_apt() {
    "$1" -o APT::Sandbox::User=root "${@:2}"
}

# Names the packages and those of their dependencies that are not installed.
with_dependencies() {
    "$1" apt-get -qq --simulate --no-install-recommends install "${@:2}" | awk '$1 == "Inst" { print $2 }'
}

download_with() {
    local wanted
    wanted="$(with_dependencies "$@")" && [[ -n "$wanted" ]] || return 1
    # shellcheck disable=SC2086  # one word a package
    "$1" apt-get -qq download $wanted
}

fetch() (
    downloads="$apt/downloads.$$"
    mkdir -p "$downloads" "$stamps"
    trap 'rm -rf "$downloads"' EXIT
    cd "$downloads"
    if ! download_with system_apt "$@" >log 2>&1; then
        rm -f ./*.deb
        if ! { renew_private_lists && download_with private_apt "$@"; } >log 2>&1; then
            echo "apt-get could not fetch $*:" >&2
            tail -n 15 log >&2
            return 1
        fi
    fi
    for deb in ./*.deb; do dpkg-deb --extract "$deb" "$root"; done
    for package in "$@"; do touch "$stamps/$package"; done
    echo "Unpacked $* into $root"
)

main() {
    [[ $# -gt 0 ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
    mapfile -t missing < <(missing_of "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    { command -v apt-get && command -v dpkg-deb; } >/dev/null || explain_by_hand "${missing[@]}"
    mkdir -p "$apt"
    exec 9>"$apt/lock"
    flock 9
    mapfile -t missing < <(missing_of "$@")
    [[ ${#missing[@]} -eq 0 ]] || fetch "${missing[@]}"
}

main "$@"
