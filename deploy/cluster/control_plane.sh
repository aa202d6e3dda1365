# The control plane: etcd, API server, controllers, scheduler. To be sourced.
# shellcheck shell=bash

# make_namespaces NAME: namespaces of its own, held by the pause program, whose end is the end of all that is in them.
make_namespaces() {
    local child=""
    unshare --net --mount --pid --uts --ipc --fork --mount-proc --propagation private "$BIN/pause" </dev/null >/dev/null 2>&1 &
    for ((tries = 0; tries < 100; tries++)); do
        child="$(cat "/proc/$!/task/$!/children" 2>/dev/null || true)"
        child="${child% }"
        [[ -n "$child" && "$(cat "/proc/$child/comm" 2>/dev/null)" == pause ]] && break
        sleep 0.05
    done
    [[ -n "$child" ]] || die "no namespaces could be made for $1 (are you root?)"
    echo "$child" >"$RUN/$1.ns"
    enter "$1" hostname "$1"
    enter "$1" ip link set lo up
}

# Pods together weigh as much as eight processes: whoever is to tell them what to do weighs more.
FIRST=(nice --adjustment=-10)

start_control_plane() {
    make_namespaces control
    enter control sh -ec "ip link add nodes type bridge; ip addr add $CONTROL/24 dev nodes; ip link set nodes up
        mount -t tmpfs tmpfs /run"
    start control etcd "${FIRST[@]}" "$BIN/etcd" --name control --data-dir "$STATE/etcd" --unsafe-no-fsync
    wait_for etcd 60 enter control curl --noproxy "*" -fs http://127.0.0.1:2379/health

    start control apiserver "${FIRST[@]}" "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=0.0.0.0 --advertise-address="$CONTROL" --service-cluster-ip-range="$SERVICES" \
        --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
        --service-account-key-file="$PKI/accounts.pub" --service-account-signing-key-file="$PKI/accounts.key" \
        --service-account-issuer=https://kubernetes.default.svc \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$PKI/front-proxy-client.crt" --proxy-client-key-file="$PKI/front-proxy-client.key" \
        --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI/ca.crt" \
        --kubelet-client-certificate="$PKI/admin.crt" --kubelet-client-key="$PKI/admin.key"
    wait_for apiserver 120 kubectl get --raw /readyz
    say "API server ready"

    # Autoscalers and dead nodes are looked at often, so that tests need not wait for minutes.
    start control controllers "${FIRST[@]}" "$BIN/kube-controller-manager" --leader-elect=false \
        --use-service-account-credentials=true \
        --kubeconfig="$STATE/controllers.kubeconfig" --authentication-kubeconfig="$STATE/controllers.kubeconfig" \
        --authorization-kubeconfig="$STATE/controllers.kubeconfig" --service-account-private-key-file="$PKI/accounts.key" \
        --root-ca-file="$PKI/ca.crt" --flex-volume-plugin-dir="$STATE/flexvolume" \
        --node-monitor-period=1s --node-monitor-grace-period=20s \
        --horizontal-pod-autoscaler-sync-period=2s --horizontal-pod-autoscaler-downscale-stabilization=10s \
        --horizontal-pod-autoscaler-initial-readiness-delay=1s --horizontal-pod-autoscaler-cpu-initialization-period=5s
    start control scheduler "${FIRST[@]}" "$BIN/kube-scheduler" --leader-elect=false \
        --kubeconfig="$STATE/scheduler.kubeconfig" \
        --authentication-kubeconfig="$STATE/scheduler.kubeconfig" --authorization-kubeconfig="$STATE/scheduler.kubeconfig"
    # Pods are refused before it exists.
    wait_for controllers 60 kubectl get serviceaccount default
}
