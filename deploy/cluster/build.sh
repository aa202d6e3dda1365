#!/usr/bin/env bash
# Builds all that the cluster consists of from Go modules, once, and gathers it in one folder of the cache; prints it.
# On two idle cores this takes about half an hour. Needs Go; runc and nft come from Debian packages.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export CGO_ENABLED=0 GOFLAGS=-trimpath
PARALLEL="${PARALLEL:-2}"

# tool PACKAGE VERSION [FOLDER]: builds a command that its module can build by itself.
tool() {
    local made
    made="$("$CHECKOUT/tools/go_tool.sh" "$1" "$2")"
    mkdir -p "$MAKING/${3:-}"
    ln -sf "$made" "$MAKING/${3:-.}/"
}

# own NAME FOLDER GO-BUILD-ARGUMENTS...: builds a command inside a module of ours, and keeps it in a folder of the cache.
own() {
    local name="$1" folder="$CACHE/$2"
    if [[ ! -x "$folder/$name" ]]; then
        echo "Building $name (once)" >&2
        mkdir -p "$folder"
        go build -p "$PARALLEL" -o "$folder/$name.making" "${@:3}" >&2
        mv "$folder/$name.making" "$folder/$name"
    fi
    ln -sf "$folder/$name" "$MAKING/"
}

# Kubernetes replaces its own parts by folders beside it, which only a module of ours may do for it.
kubernetes() {
    local module="$CACHE/modules/kubernetes-$KUBERNETES" version="k8s.io/component-base/version" source command
    mkdir -p "$module" && cd "$module"
    if [[ ! -f go.sum ]]; then
        source="$(cd "$(mktemp -d)" && go mod download -json "k8s.io/kubernetes@$KUBERNETES" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')"
        {
            printf 'module sightline-cluster\n\ngo %s\n\ntool (\n' "$(sed -n 's/^go //p' "$source")"
            printf '\tk8s.io/kubernetes/cmd/%s\n' "${KUBERNETES_COMMANDS[@]}"
            printf ')\n\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$KUBERNETES"
            sed -n "s#^[[:space:]]*\(k8s.io/[^ ]*\) => ./staging/src/.*#\t\1 => \1 v0.${KUBERNETES#v1.}#p" "$source"
            echo ")"
        } >go.mod
        go mod tidy >&2
    fi
    local minor="${KUBERNETES#v1.}"
    local flags="-s -w -X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
    for command in "${KUBERNETES_COMMANDS[@]}"; do
        own "$command" "kubernetes-$KUBERNETES" -ldflags "$flags" "k8s.io/kubernetes/cmd/$command"
    done
}

etcd() {
    local module="$CACHE/modules/etcd-$ETCD"
    mkdir -p "$module" && cd "$module"
    if [[ ! -f go.sum ]]; then
        printf 'module etcd\n\ngo 1.26\n\ntool go.etcd.io/etcd/server/v3\n\nrequire go.etcd.io/etcd/server/v3 %s\n' "$ETCD" >go.mod
        go mod tidy >&2
    fi
    own etcd "etcd-$ETCD" -ldflags "-s -w" go.etcd.io/etcd/server/v3
}

# debian PACKAGE PROGRAM...: the system's own programs, else those of a package, which is unpacked and not installed.
debian() {
    local package="$1" root="$SIGHTLINE_CACHE/debian" program
    shift
    for program in "$@"; do
        command -v "$program" >/dev/null || "$CHECKOUT/tools/unpack_debs.sh" "$package" >&2
        if command -v "$program" >/dev/null; then
            ln -sf "$(command -v "$program")" "$MAKING/"
        else
            ln -sf "$(find "$root" -path "*bin/$program" | head -n 1)" "$MAKING/"
        fi
    done
}

# with_libraries PROGRAM: lets one that was unpacked find what was unpacked with it.
with_libraries() {
    local program
    program="$(readlink -f "$MAKING/$1")"
    [[ "$program" == "$SIGHTLINE_CACHE"/* ]] || return 0
    rm "$MAKING/$1"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$(libraries_below "$SIGHTLINE_CACHE/debian")" "$program" >"$MAKING/$1"
    chmod +x "$MAKING/$1"
}

main() {
    command -v go >/dev/null || die "go is not on PATH: the cluster cannot be built"
    local name
    for name in unshare nsenter ip openssl curl; do
        command -v "$name" >/dev/null || die "$name is not on PATH (Debian packages util-linux, iproute2, openssl, curl)"
    done
    if [[ -d "$BIN" ]]; then
        echo "$BIN"
        return
    fi
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    flock 9
    MAKING="$(mktemp -d "$CACHE/making.XXXXXX")"
    trap 'rm -rf "$MAKING"' EXIT
    KUBERNETES_COMMANDS=(kubectl kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
    debian runc runc
    debian nftables nft
    with_libraries runc
    with_libraries nft
    debian redis-server redis-server redis-cli
    debian prometheus prometheus
    tool helm.sh/helm/v4/cmd/helm "$HELM"
    tool github.com/bojand/ghz/cmd/ghz "$GHZ"
    for name in containerd containerd-shim-runc-v2 ctr; do
        tool "github.com/containerd/containerd/v2/cmd/$name" "$CONTAINERD"
    done
    for name in main/loopback main/ptp ipam/host-local; do
        tool "github.com/containernetworking/plugins/plugins/$name" "$CNI_PLUGINS" cni
    done
    (kubernetes)
    (etcd)
    tool github.com/coredns/coredns "$COREDNS"
    tool sigs.k8s.io/metrics-server/cmd/metrics-server "$METRICS_SERVER"
    tool sigs.k8s.io/kwok/cmd/kwok "$KWOK"
    tool github.com/versity/versitygw/cmd/versitygw "$VERSITYGW"
    (cd "$HERE/pause" && go build -ldflags "-s -w" -o "$MAKING/pause" main.go)
    mv "$MAKING" "$BIN"
    echo "$BIN"
}

main
