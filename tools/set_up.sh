#!/usr/bin/env bash
# Makes .venv with the pinned versions of what these extras of the package need.
#
#     tools/set_up.sh EXTRA[,EXTRA...]
#
# Needs Python 3.11 or newer and nothing else: where there is no uv, it keeps one of its own in the cache.
set -euo pipefail
trap 'echo "Setting up failed: the reason is above. Once it is mended, the same make goes on from here." >&2' EXIT
cd "$(dirname "$0")/.."

cache="${SIGHTLINE_CACHE:-$HOME/.cache/sightline}"
export PATH="$PATH:$cache/uv/bin"
# Some networks sign with an authority of their own, which only the system knows.
[[ ! -s /etc/ssl/certs/ca-certificates.crt ]] || export UV_SYSTEM_CERTS=1

python_of_the_system() {
    for candidate in python3 python3.{14,13,12,11} python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Sightline needs Python 3.11 or newer on PATH." >&2
    return 1
}

# Debian's Python comes without pip and venv; its package of pip's wheel does, and a wheel runs as it is.
pip_of_a_wheel() {
    tools/unpack_debs.sh python3-pip-whl >&2
    compgen -G "/usr/share/python-wheels/pip-*.whl" || compgen -G "$cache/debian/usr/share/python-wheels/pip-*.whl"
}

provide_uv() {
    command -v uv >/dev/null && return
    echo "Fetching uv into $cache/uv"
    if "$python" -m venv "$cache/uv" >/dev/null 2>&1; then
        "$cache/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv
    else
        rm -rf "$cache/uv"
        "$python" "$(pip_of_a_wheel)/pip" install --quiet --disable-pip-version-check --ignore-installed \
            --root-user-action=ignore --prefix "$cache/uv" uv
        [[ -d "$cache/uv/bin" ]] || mv "$cache/uv/local/bin" "$cache/uv/bin"
    fi
}

python="$(python_of_the_system)"
provide_uv
[[ -x .venv/bin/python ]] || uv venv --quiet --python "$(command -v "$python")" .venv
echo "Installing sightline[$1] into .venv (the first time, this downloads what it needs)"
uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --editable ".[$1]"
# What relevance is held against. Of its own needs (Java among them) the part that we call uses none but torch and tqdm.
if [[ ",$1," == *,dev,* ]]; then
    uv pip install --quiet --python .venv/bin/python --no-deps clip_benchmark==1.6.2
fi
trap - EXIT
