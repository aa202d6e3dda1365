#!/usr/bin/env bash
# Runs a command inside the cluster, from where alone it can be reached.
#
#     deploy/cluster/in.sh control kubectl get pods -A
#     deploy/cluster/in.sh node1 ctr -n k8s.io images ls
#
# Files must be named by absolute paths.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -ge 2 ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ -s "$RUN/$1.ns" ]] || die "no cluster is up that has a $1: run deploy/cluster/up.sh"
where="$1"
shift
inside
# As the control plane is: else pods at work keep whoever looks at them from being answered.
exec nice --adjustment=-10 nsenter --target "$(<"$RUN/$where.ns")" --net --mount --pid --uts --ipc "$@"
