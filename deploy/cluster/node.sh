# One node: containerd, kubelet, kube-proxy, and what keeps them from touching the machine. To be sourced.
# shellcheck shell=bash

CONTROLLERS=(cpu cpuacct cpuset memory devices freezer blkio pids systemd)
# Settings of the whole machine that a kubelet would write: it finds plain files over them, with the values that it wants.
KERNEL=(vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000)

# start_node NUMBER OF
start_node() {
    local number="$1" name="node$1" home="$STATE/node$1"
    mkdir -p "$home"/{var-lib,var-log,kernel,cni,containerd}
    make_namespaces "$name"
    _connect "$number" "$2"
    _shield "$name" "$home"
    _make_cgroups "$name"
    _configure "$number" "$home"
    start "$name" "containerd-$name" "${IN_CGROUP[@]}" "$BIN/containerd" -c "$home/containerd.toml"
    wait_for "containerd-$name" 60 enter "$name" "$BIN/ctr" version
    import_images "$name"
    start "$name" "kubelet-$name" "${IN_CGROUP[@]}" "$BIN/kubelet" --config="$home/kubelet.yaml" \
        --kubeconfig="$STATE/$name.kubeconfig" --root-dir=/var/lib/kubelet --hostname-override="$name" --node-ip="$CONTROL$number"
    start "$name" "proxy-$name" "$BIN/kube-proxy" --config="$home/proxy.yaml"
}

# import_images NODE: brings in the images of programs, and those of Sightline that deploy/images.py has built last.
import_images() {
    local archive
    while read -r archive; do
        enter "$1" "$BIN/ctr" -n k8s.io images import --local "$archive" >>"$LOG/images-$1.log" 2>&1 ||
            die "$archive could not be imported: $(tail -n 2 "$LOG/images-$1.log")"
    done < <(ls "$CACHE/programs"/*.tar && sed -n 's/.*"archive": "\(.*\)".*/\1/p' "$CACHE/images/images.json")
    say "$1: images imported"
}

# await_node NUMBER
await_node() {
    local name="node$1" pods="10.64.$1.0/24"
    wait_for "kubelet-$name" 90 kubectl get node "$name"
    kubectl patch node "$name" -p "{\"spec\": {\"podCIDR\": \"$pods\", \"podCIDRs\": [\"$pods\"]}}" >/dev/null
    kubectl label --overwrite node "$name" "topology.kubernetes.io/zone=zone-$1" >/dev/null
    wait_for "kubelet-$name" 90 kubectl wait --for=condition=Ready "node/$name" --timeout=1s
    say "$name ready"
}

# One wire to the control plane; pods of the other nodes are behind those. No wire leads to the machine's own network.
_connect() {
    local number="$1" of="$2" name="node$1" other
    # From outside, where the number of the other namespace's process is known.
    nsenter --target "$(<"$RUN/control.ns")" --net ip link add "$name" type veth peer name eth0 netns "$(<"$RUN/$name.ns")"
    enter control ip link set "$name" master nodes up
    enter "$name" sh -ec "ip addr add $CONTROL$number/24 dev eth0; ip link set eth0 up; ip route add default via $CONTROL
        echo 1 >/proc/sys/net/ipv4/ip_forward"
    for ((other = 1; other <= of; other++)); do
        ((other == number)) || enter "$name" ip route add "10.64.$other.0/24" via "$CONTROL$other"
    done
    enter control ip route add "10.64.$number.0/24" via "$CONTROL$number"
    # Clients in the control plane reach services through the first node.
    ((number > 1)) || enter control ip route add "$SERVICES" via "${CONTROL}1"
}

_shield() {
    local setting path
    for setting in "${KERNEL[@]}"; do
        path="$2/kernel/$(tr / . <<<"${setting%=*}")"
        echo "${setting#*=}" >"$path"
        [[ ! -e "/proc/sys/${setting%=*}" ]] || enter "$1" mount --bind "$path" "/proc/sys/${setting%=*}"
    done
    enter "$1" sh -ec "mount --make-rshared /; mount -t tmpfs tmpfs /run
        mount --bind $2/var-lib /var/lib; mount --bind $2/var-log /var/log"
}

# Leaves the words that start a process in the node's cgroup in IN_CGROUP. Its pods are in another beside that.
_make_cgroups() {
    local controller folder own="$CGROUP/$1-system"
    IN_CGROUP=()
    # With cgroup v2 nothing is to be made: a kubelet makes what it needs.
    [[ -d /sys/fs/cgroup/memory ]] || return 0
    for controller in "${CONTROLLERS[@]}"; do
        folder="/sys/fs/cgroup/$controller"
        mkdir -p "$folder/$CGROUP/$1" "$folder/$own"
        # All pods together are one beside each process that is in no cgroup, and that weighs 1024.
        [[ "$controller" != cpu ]] || echo 8192 >"$folder/$CGROUP/cpu.shares"
        [[ "$controller" == cpuset ]] || continue
        for below in "$CGROUP" "$CGROUP/$1" "$own"; do
            for what in cpus mems; do cat "$folder/cpuset.$what" >"$folder/$below/cpuset.$what"; done
        done
    done
    # shellcheck disable=SC2016 # expanded by that shell
    IN_CGROUP=(sh -c 'own="$1"; shift
        for of in cpu cpuacct memory pids systemd; do echo $$ >"/sys/fs/cgroup/$of/$own/cgroup.procs"; done
        exec "$@"' sh "$own")
}

_configure() {
    local number="$1" home="$2" name="node$1" file
    export NODE="$name" NODE_HOME="$home" NODE_ADDRESS="$CONTROL$number" NODE_PODS="10.64.$number.0/24"
    export BIN PKI STATE CGROUP DNS
    for file in containerd.toml kubelet.yaml proxy.yaml cni/pods.conflist; do
        fill "$HERE/node/$(basename "$file")" >"$home/$file"
    done
    echo "nameserver $DNS" >"$home/resolv.conf"
}
