#!/usr/bin/env bash
# Builds a command of a Go module, once, and prints where it is.
#
#     tools/go_tool.sh PACKAGE VERSION        tools/go_tool.sh github.com/fullstorydev/grpcurl/cmd/grpcurl v1.9.3
#
# It is kept in $SIGHTLINE_CACHE/go (by default ~/.cache/sightline/go), by name and version. Needs go on PATH.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
package="$1" version="$2"
cache="${SIGHTLINE_CACHE:-$HOME/.cache/sightline}/go"
# A path may end in the module's major version, which is not the command's name.
name="$(sed -E 's#/v[0-9]+$##; s#.*/##' <<<"$package")"
folder="$cache/$name-$version"

if [[ ! -x "$folder/$name" ]]; then
    command -v go >/dev/null || { echo "go is not on PATH: $name cannot be built" >&2; exit 3; }
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [[ ! -x "$folder/$name" ]]; then
        echo "Building $name $version (once)" >&2
        making="$(mktemp -d "$cache/making.XXXXXX")"
        trap 'rm -rf "$making"' EXIT
        GOBIN="$making" GOFLAGS=-trimpath CGO_ENABLED=0 go install "$package@$version" >&2
        mkdir -p "$folder"
        mv "$making/$name" "$folder/$name"
    fi
fi
echo "$folder/$name"
