# What the scripts of this folder share. To be sourced.
#
#   CLUSTER           its name, where several are to run beside each other (by default sightline)
#   SIGHTLINE_CACHE   where all is kept (by default ~/.cache/sightline)
# shellcheck shell=bash disable=SC2034

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CHECKOUT="$(cd "$HERE/../.." && pwd)"
# shellcheck source=versions.sh
source "$HERE/versions.sh"

CLUSTER="${CLUSTER:-sightline}"
SIGHTLINE_CACHE="${SIGHTLINE_CACHE:-$HOME/.cache/sightline}"
CACHE="$SIGHTLINE_CACHE/cluster"
BIN="$CACHE/bin-$(cat "$HERE/versions.sh" "$HERE/build.sh" "$HERE/pause/main.go" | sha256sum | cut -c1-12)"
STATE="$CACHE/state/$CLUSTER"
PKI="$STATE/pki" LOG="$STATE/log" RUN="$STATE/run"

# Itself, not what finds one by the home of whoever asks.
PYTHON="$(python3 -c 'import sys; print(sys.executable)')"

CONTROL=10.63.0.1          # the control plane; node N is 10.63.0.1N, and its pods 10.64.N.0/24
SERVICES=10.96.0.0/16
DNS=10.96.0.10
CGROUP="sightline-$CLUSTER"

die() {
    echo "$*" >&2
    exit 1
}

say() {
    printf '%5ds  %s\n' "$SECONDS" "$*"
}

# enter NAME COMMAND...: runs a command inside the control plane (`control`) or a node (`node1`, ...).
enter() {
    nsenter --target "$(<"$RUN/$1.ns")" --net --mount --pid --uts --ipc "${@:2}"
}

# Sets up the environment of clients and servers inside, which must not see the machine's own settings.
inside() {
    export PATH="$BIN:$PATH" KUBECONFIG="$STATE/admin.kubeconfig"
    # Caches of kubectl and helm go there.
    export HOME="$STATE/home"
    unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY SSL_CERT_FILE SSL_CERT_DIR
}

# start WHERE NAME COMMAND...: starts a server that goes on when the script is over.
start() {
    (inside && cd / && exec setsid nsenter --target "$(<"$RUN/$1.ns")" --net --mount --pid --uts --ipc "${@:3}") \
        >"$LOG/$2.log" 2>&1 </dev/null &
    echo $! >"$RUN/$2.pid"
}

# wait_for NAME SECONDS COMMAND...: waits until a command succeeds; gives up where the server of that name has ended.
wait_for() {
    local name="$1" until=$((SECONDS + $2))
    until "${@:3}" >/dev/null 2>&1; do
        kill -0 "$(<"$RUN/$name.pid")" 2>/dev/null || die "$name has ended:"$'\n'"$(tail -n 5 "$LOG/$name.log")"
        ((SECONDS < until)) || die "$name is not ready after $2 s:"$'\n'"$(tail -n 5 "$LOG/$name.log")"
        sleep 0.2
    done
}

kubectl() {
    (inside && enter control "$BIN/kubectl" "$@")
}

# libraries_below FOLDER: where programs that were unpacked there find their libraries, for LD_LIBRARY_PATH.
libraries_below() {
    find "$1/usr/lib" "$1/lib" -maxdepth 2 -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:
}

# fill FILE: prints it with the variables of the environment that it names.
fill() {
    python3 -c 'import os, string, sys; print(string.Template(open(sys.argv[1]).read()).substitute(os.environ), end="")' "$1"
}
