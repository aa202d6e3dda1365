#!/usr/bin/env bash
# Serves the custom metrics API in a cluster that up.sh has started, from the rules of prometheus-adapter in a ConfigMap.
#
#     deploy/cluster/custom_metrics.sh URL-OF-PROMETHEUS NAMESPACE/CONFIGMAP       ends a former one
#     deploy/cluster/custom_metrics.sh off
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/addons.sh"

[[ $# -ge 1 ]] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
# An API that is registered and has no server would hold up the end of every namespace.
kubectl delete apiservice v1beta2.custom.metrics.k8s.io --ignore-not-found >/dev/null
if [[ -s "$RUN/custom-metrics.pid" ]] && grep -qa custom_metrics "/proc/$(<"$RUN/custom-metrics.pid")/cmdline" 2>/dev/null; then
    kill -- "-$(<"$RUN/custom-metrics.pid")"
fi
rm -f "$RUN/custom-metrics.pid"
[[ "$1" != off ]] || exit 0
start control custom-metrics env PYTHONPATH="$CHECKOUT" "$CHECKOUT/.venv/bin/python" -m deploy.cluster.custom_metrics \
    "$PKI" "https://$CONTROL:6443" "$1" "$2"
apply custom-metrics.yaml
wait_for custom-metrics 60 kubectl wait --for=condition=Available apiservice/v1beta2.custom.metrics.k8s.io --timeout=1s
