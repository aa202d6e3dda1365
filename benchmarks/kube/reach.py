"""Who reaches whom."""

from __future__ import annotations

import json
from collections.abc import Mapping

from benchmarks.kube.cluster import Object
from benchmarks.kube.place import Place

_CONNECT = """
import json, socket, sys
said = {}
for name, (host, port) in json.loads(sys.argv[1]).items():
    try:
        socket.create_connection((host, port), 3).close()
        said[name] = ""
    except OSError as error:
        said[name] = type(error).__name__ + " " + str(error)
print(json.dumps(said))
"""


def reached(place: Place, pod: str, targets: Mapping[str, tuple[str, int]]) -> dict[str, bool]:
    """Returns which of the addresses a pod can connect to, by their names."""
    command = ["exec", pod, "--", "python3", "-c", _CONNECT, json.dumps(targets)]
    said: dict[str, str] = json.loads(place.kubectl(*command, timeout=120))
    return {name: not error for name, error in said.items()}


def targets_of(pods: Mapping[str, Object]) -> dict[str, tuple[str, int]]:
    """Returns the first port of each pod, by its name."""
    return {
        name: (pod["status"]["podIP"], pod["spec"]["containers"][0]["ports"][0]["containerPort"])
        for name, pod in pods.items()
    }
