#!/usr/bin/env bash
# Ends the cluster that up.sh has started, and leaves nothing of it: no process, mount, network, cgroup or file.
# What was built stays in the cache, for the next time. KEEP=logs keeps its logs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# With the first process of a namespace the kernel ends all others in it, and drops its mounts and networks.
end_namespaces() {
    local file first
    for file in "$RUN"/node*.ns "$RUN/control.ns"; do
        [[ -s "$file" ]] || continue
        first="$(<"$file")"
        # The number may be another's by now.
        [[ "$(readlink "/proc/$first/exe" 2>/dev/null)" == */pause ]] || continue
        kill -KILL "$first"
        while [[ -d "/proc/$first" ]]; do sleep 0.05; done
    done
}

remove_cgroups() {
    local folder tries
    for folder in /sys/fs/cgroup/*/"$CGROUP" "/sys/fs/cgroup/$CGROUP"; do
        for ((tries = 0; tries < 50; tries++)); do
            [[ -d "$folder" ]] || break
            find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
        [[ ! -d "$folder" ]] || die "$folder could not be removed"
    done
}

end_namespaces
remove_cgroups
if [[ "${KEEP:-}" == logs ]]; then
    find "$STATE" -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf {} + 2>/dev/null || true
else
    rm -rf "$STATE"
fi
