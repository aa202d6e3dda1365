#!/usr/bin/env bash
# Fetches the source of a Go module, once, and prints where it is: some bring files that no package of Python has.
#
#     tools/go_module.sh MODULE VERSION        tools/go_module.sh github.com/kedacore/keda/v2 v2.21.0
#
# It is kept where Go keeps modules. Needs go on PATH.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
command -v go >/dev/null || { echo "go is not on PATH: $1 cannot be fetched" >&2; exit 3; }
cd / # outside of any module
go mod download -json "$1@$2" | sed -nE 's/^\t"Dir": "(.*)",?$/\1/p'
