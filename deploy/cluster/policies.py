"""Stands in for a network that enforces NetworkPolicies: keeps a node's nftables as the policies of the cluster say.

    python -m deploy.cluster.policies PKI URL-OF-THE-API-SERVER

Every packet of a pod is routed through its node, and there it is let through or refused. Looks once a second, so a new
pod is open for that long. Not covered: IPv6, pods in the network of their node, connections that exist already.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.cluster.api import Api

Object = Mapping[str, Any]
Labels = Mapping[str, str]

EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Pod:
    """What policies know of a pod: where it is, what it is called, and its ports by their names."""

    address: str
    namespace: str
    labels: Labels
    ports: Mapping[str, int]

    @classmethod
    def of(cls, pod: Object) -> Pod:
        """Reads the API's object."""
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]
        ports = {port.get("name", ""): port["containerPort"] for one in containers for port in one.get("ports", ())}
        meta = pod["metadata"]
        return cls(pod["status"]["podIP"], meta["namespace"], meta.get("labels", {}), ports)


@dataclass(slots=True)
class Direction:
    """One side of the policies: whom they isolate, and which packets come through all the same."""

    kind: str
    own: str
    other: str
    isolated: set[str] = field(default_factory=set)
    allowed: list[str] = field(default_factory=list)


def matches(selector: Object, labels: Labels) -> bool:
    """Whether a label selector selects these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(one, labels) for one in selector.get("matchExpressions") or ())


def _meets(expression: Object, labels: Labels) -> bool:
    value, wanted = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"unknown operator {other}")


def ruleset(pods: Sequence[Pod], namespaces: Mapping[str, Labels], policies: Iterable[Object]) -> str:
    """Returns what nft is to be told.

    Args:
        pods: all that have an address of their own.
        namespaces: their labels, by name.
        policies: the API's objects.
    """
    directions = [Direction("Ingress", "daddr", "saddr"), Direction("Egress", "saddr", "daddr")]
    for policy in policies:
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        selector = spec.get("podSelector") or {}
        own = [pod for pod in pods if pod.namespace == namespace and matches(selector, pod.labels)]
        for direction in directions:
            if own and direction.kind in (spec.get("policyTypes") or ["Ingress"]):
                direction.isolated |= {pod.address for pod in own}
                for rule in spec.get(direction.kind.lower()) or ():
                    direction.allowed += _allowed(direction, rule, own, pods=pods, namespaces=namespaces)
    return _table(directions)


def _allowed(
    direction: Direction,
    rule: Object,
    own: Sequence[Pod],
    *,
    pods: Sequence[Pod],
    namespaces: Mapping[str, Labels],
) -> Iterator[str]:
    ends = own if direction.kind == "Ingress" else pods
    to = f"ip {direction.own} {_set(pod.address for pod in own)}"
    for peer in _peers(rule.get("from" if direction.kind == "Ingress" else "to"), own[0].namespace, pods, namespaces):
        for port in _ports(rule.get("ports"), ends):
            yield " ".join(part for part in (to, peer.replace("PEER", direction.other), port, "return") if part)


def _peers(
    listed: Sequence[Object] | None, namespace: str, pods: Sequence[Pod], namespaces: Mapping[str, Labels]
) -> Iterator[str]:
    """Yields matches of addresses, with PEER for which of a packet's two; an empty one is everybody."""
    if not listed:
        yield ""
        return
    found: set[str] = set()
    for peer in listed:
        if block := peer.get("ipBlock"):
            yield f"ip PEER {block['cidr']}" + (f" ip PEER != {_set(block['except'])}" if block.get("except") else "")
            continue
        for pod in pods:
            if "namespaceSelector" in peer:
                near = matches(peer["namespaceSelector"] or {}, namespaces.get(pod.namespace, {}))
            else:
                near = pod.namespace == namespace
            if near and matches(peer.get("podSelector") or {}, pod.labels):
                found.add(pod.address)
    if found:
        yield f"ip PEER {_set(found)}"


def _ports(listed: Sequence[Object] | None, ends: Sequence[Pod]) -> Iterator[str]:
    if not listed:
        yield ""
        return
    for one in listed:
        protocol, port = one.get("protocol", "TCP").lower(), one.get("port")
        if port is None:
            yield f"meta l4proto {protocol}"
        elif isinstance(port, int):
            yield f"{protocol} dport {port}" + (f"-{one['endPort']}" if "endPort" in one else "")
        elif numbers := {str(pod.ports[port]) for pod in ends if port in pod.ports}:
            yield f"{protocol} dport {_set(numbers)}"


def _table(directions: Sequence[Direction]) -> str:
    lines = ["table inet policies", "delete table inet policies", "table inet policies {"]
    for direction in directions:
        refusal = "counter reject with icmpx admin-prohibited"
        lines += [
            f" chain {direction.kind.lower()} {{",
            *(f"  {one}" for one in direction.allowed),
            f"  {refusal}",
            " }",
        ]
    lines += [" chain forward { type filter hook forward priority 0; policy accept;"]
    lines += ["  ct state established,related accept"]
    for direction in reversed(directions):
        if direction.isolated:
            lines.append(f"  ip {direction.own} {_set(direction.isolated)} jump {direction.kind.lower()}")
    return "\n".join([*lines, " }", "}"]) + "\n"


def _set(values: Iterable[str]) -> str:
    return "{ " + ", ".join(sorted(values)) + " }"


def read(api: Api) -> str:
    """Returns the rules for the cluster as it is now. Raises OSError."""
    living = [
        pod
        for pod in api.items("/api/v1/pods")
        if pod["status"].get("podIP")
        and pod["status"]["phase"] in ("Pending", "Running")
        and not pod["spec"].get("hostNetwork")
    ]
    namespaces = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in api.items("/api/v1/namespaces")}
    policies = api.items("/apis/networking.k8s.io/v1/networkpolicies")
    return ruleset([Pod.of(pod) for pod in living], namespaces, policies)


def main(pki: Path, url: str) -> None:
    """Goes on until it is ended."""
    api, last = Api(url, pki), ""
    while True:
        try:
            rules = read(api)
            if rules != last:
                subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
                last = rules
                print(time.strftime("%T"), rules, flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(time.strftime("%T"), error, flush=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
