# What a cluster has beside its nodes: DNS, metrics, network policies, fake nodes. To be sourced.
# shellcheck shell=bash

# apply FILE: creates or changes what a manifest of ours says.
apply() {
    export DNS CA
    CA="$(base64 -w0 <"$PKI/ca.crt")"
    fill "$HERE/manifests/$1" | kubectl apply --server-side --force-conflicts -f - >/dev/null
}

# Images of programs that a cluster itself needs, or its tests: each of a few programs and nothing else.
make_own_images() {
    mkdir -p "$CACHE/programs"
    _image pause "$BIN/pause"
    _image coredns "$BIN/coredns"
    _image versitygw "$BIN/versitygw"
    _image redis "$BIN/redis-server" "$BIN/redis-cli"
    _image prometheus "$BIN/prometheus"
    _image ghz "$BIN/ghz"
}

_image() {
    local name="$1" archive="$CACHE/programs/$1.tar" root="$SIGHTLINE_CACHE/debian" libraries
    shift
    [[ ! "$archive" -nt "$BIN" ]] || return 0
    libraries="$(libraries_below "$root")"
    LD_LIBRARY_PATH="$libraries" python3 "$HERE/archive.py" "localhost/$name:sightline" "$archive" "$@"
}

start_dns() {
    apply coredns.yaml
    wait_for apiserver 90 kubectl -n kube-system rollout status deployment/coredns --timeout=1s
    say "DNS ready"
}

start_metrics_server() {
    start control metrics-server "$BIN/metrics-server" --kubeconfig="$STATE/admin.kubeconfig" "$@" \
        --authentication-kubeconfig="$STATE/admin.kubeconfig" --authorization-kubeconfig="$STATE/admin.kubeconfig" \
        --bind-address=127.0.0.1 --secure-port=4443 --tls-cert-file="$PKI/metrics.crt" --tls-private-key-file="$PKI/metrics.key" \
        --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI/ca.crt" \
        --metric-resolution=10s --kubelet-request-timeout=5s
    # Registered only now: namespaces cannot be deleted while an API is registered whose server does not run.
    apply metrics-server.yaml
    wait_for metrics-server 120 kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=1s
    say "metrics-server ready"
}

# Nodes without a machine: a process tells the API server that they, and all pods on them, are well.
start_fake_nodes() {
    local module stage file configs=()
    # The stages that pods and nodes go through come with its module.
    module="$(cd / && go mod download -json "sigs.k8s.io/kwok@$KWOK" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')"
    for stage in node/fast node/heartbeat-with-lease pod/general; do
        for file in "$module/kustomize/stage/$stage"/*.yaml; do
            [[ "$(basename "$file")" == kustomization.yaml ]] || configs+=(--config "$file")
        done
    done
    start control kwok "$BIN/kwok" --kubeconfig="$STATE/admin.kubeconfig" "${configs[@]}" \
        --manage-all-nodes=false --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake \
        --node-ip="$CONTROL" --node-port=10247 --server-address="$CONTROL:10247" --cidr=10.80.0.0/12 \
        --tls-cert-file="$PKI/kwok.crt" --tls-private-key-file="$PKI/kwok.key" --node-lease-duration-seconds=40
    wait_for kwok 60 enter control curl --noproxy "*" -fsk "https://$CONTROL:10247/healthz"
    say "fake nodes can be made"
}
