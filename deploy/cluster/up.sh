#!/usr/bin/env bash
# Starts a real Kubernetes cluster that only this machine knows of, in network, mount and process namespaces of its own.
#
#     NODES=2 deploy/cluster/up.sh        so many nodes, each with containerd, runc, kubelet and kube-proxy
#     FAKE=1 NODES=0 deploy/cluster/up.sh no node at all, but a kwok that keeps those which a test makes up
#
# CLUSTER names it where several run beside each other. Needs root. deploy/cluster/down.sh ends it without a trace.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
for part in pki control_plane node addons; do
    # shellcheck source=/dev/null
    source "$HERE/$part.sh"
done
NODES="${NODES:-2}" FAKE="${FAKE:-0}"

main() {
    local number
    [[ ! -e "$RUN/control.ns" ]] || die "the cluster $CLUSTER is up already, or was not taken down: deploy/cluster/down.sh"
    [[ "$(id -u)" == 0 ]] || die "only root may make the namespaces that the cluster is closed off by"
    "$HERE/build.sh" >/dev/null
    mkdir -p "$LOG" "$RUN" "$STATE/home"
    ((NODES == 0)) || make_own_images
    make_keys "$NODES"
    start_control_plane
    for ((number = 1; number <= NODES; number++)); do start_node "$number" "$NODES"; done
    for ((number = 1; number <= NODES; number++)); do
        await_node "$number"
        start "node$number" "policies-node$number" env PYTHONPATH="$CHECKOUT" "$PYTHON" -m deploy.cluster.policies \
            "$PKI" "https://$CONTROL:6443"
    done
    [[ "$FAKE" == 0 ]] || start_fake_nodes
    if ((NODES)); then
        start_dns
        start_metrics_server
    fi
    say "up. Use deploy/cluster/in.sh control kubectl, and end it with deploy/cluster/down.sh"
}

main
