# Keys, certificates and kubeconfigs of a cluster. To be sourced.
# shellcheck shell=bash

_key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key" 2>/dev/null
}

_authority() {
    _key "$1"
    openssl req -x509 -new -key "$PKI/$1.key" -days 30 -subj "/CN=$1" -out "$PKI/$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# certificate NAME AUTHORITY SUBJECT USAGE [NAMES]
_certificate() {
    local names="${5:+subjectAltName=$5}"
    _key "$1"
    openssl req -new -key "$PKI/$1.key" -subj "$3" -out "$PKI/$1.csr"
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -CAcreateserial -days 30 -out "$PKI/$1.crt" \
        -extfile <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n%s\n' "$4" "$names") 2>/dev/null
    rm "$PKI/$1.csr"
}

_kubeconfig() {
    cat >"$STATE/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: $CLUSTER, cluster: {server: "https://$CONTROL:6443", certificate-authority: "$PKI/ca.crt"}}]
users: [{name: $1, user: {client-certificate: "$PKI/$1.crt", client-key: "$PKI/$1.key"}}]
contexts: [{name: $1, context: {cluster: $CLUSTER, user: $1}}]
current-context: $1
YAML
}

# make_keys NODES: of the control plane and of so many nodes.
make_keys() {
    local system=/CN=system node
    mkdir -p "$PKI" && chmod 700 "$PKI"
    _authority ca
    _authority front-proxy-ca
    _certificate apiserver ca /CN=kube-apiserver serverAuth \
        "IP:$CONTROL,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    _certificate metrics ca /CN=metrics serverAuth \
        "IP:127.0.0.1,DNS:localhost,DNS:metrics-server.kube-system.svc,DNS:custom-metrics.kube-system.svc"
    _certificate admin ca /O=system:masters/CN=admin clientAuth
    _certificate controllers ca $system:kube-controller-manager clientAuth
    _certificate scheduler ca $system:kube-scheduler clientAuth
    _certificate proxy ca $system:kube-proxy clientAuth
    _certificate kwok ca /CN=kwok serverAuth "IP:$CONTROL,DNS:localhost"
    _certificate front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
    openssl genrsa -out "$PKI/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/accounts.key" -pubout -out "$PKI/accounts.pub" 2>/dev/null
    for ((node = 1; node <= $1; node++)); do
        _certificate "node$node" ca "/O=system:nodes$system:node:node$node" serverAuth,clientAuth "IP:${CONTROL}$node,DNS:node$node"
        _kubeconfig "node$node"
    done
    for name in admin controllers scheduler proxy; do _kubeconfig "$name"; done
}
