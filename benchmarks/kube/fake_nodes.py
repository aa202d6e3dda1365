"""Nodes that are nothing but entries of the API server, which kwok keeps alive: of every class that a fleet has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.kube.cluster import Object

ZONES = ("zone-a", "zone-b", "zone-c")


@dataclass(frozen=True, slots=True)
class NodeClass:
    """So many nodes that are alike, in all zones.

    Attributes:
        name: of the class; nodes are called by it.
        number: how many.
        product: what the GPU's vendor calls it; none on plain nodes.
        devices: what pods may ask for, by name.
    """

    name: str
    number: int
    product: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)

    def nodes(self) -> list[Object]:
        """Returns the nodes. Those with GPUs keep away whoever does not ask for one, as in any cloud."""
        return [self._node(number) for number in range(self.number)]

    def _node(self, number: int) -> Object:
        name = f"{self.name}-{number}"
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": ZONES[number % len(ZONES)],
            **({"nvidia.com/gpu.product": self.product, "nvidia.com/gpu.present": "true"} if self.product else {}),
        }
        room = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "200Gi"}
        room |= {device: str(count) for device, count in self.devices.items()}
        taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}] if self.product else []
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "spec": {"taints": taints, "providerID": f"fake://{name}"},
            "status": {"allocatable": room, "capacity": room},
        }
