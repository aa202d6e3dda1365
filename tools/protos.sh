#!/usr/bin/env bash
# Writes the Python stubs of protos/ into a folder (by default the checkout); `--check` only tells whether they differ.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

generate() {
    python -m grpc_tools.protoc -I protos --python_out="$1" --grpc_python_out="$1" \
        --mypy_out=quiet:"$1" --mypy_grpc_out=quiet:"$1" $(find protos -name '*.proto' | sort)
}

if [[ "${1:-}" == --check ]]; then
    fresh="$(mktemp -d)"
    trap 'rm -rf "$fresh"' EXIT
    generate "$fresh"
    for file in $(cd "$fresh" && find . -type f) $(find ./sightline -name '*_pb2*.py*' -not -path '*/__pycache__/*'); do
        cmp "$fresh/$file" "$file" || { echo "The stubs differ from protos/: run make protos" >&2; exit 1; }
    done
else
    generate "${1:-.}"
fi
