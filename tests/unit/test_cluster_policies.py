from __future__ import annotations

from typing import Any

from deploy.cluster.policies import Pod, matches, ruleset

NAMESPACES = {"ours": {"name": "ours"}, "theirs": {"name": "theirs"}}
SEARCHER = Pod("10.0.0.1", "ours", {"component": "searcher"}, {"grpc": 7700})
GATEWAY = Pod("10.0.0.2", "ours", {"component": "gateway"}, {"grpc": 7700})
STRANGER = Pod("10.0.0.3", "theirs", {"component": "gateway"}, {})
PODS = [SEARCHER, GATEWAY, STRANGER]


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ours"}, "spec": spec}


def selecting(component: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"component": component}}}


def test_whom_no_policy_selects_is_open() -> None:
    """Without a policy nothing is refused."""
    assert "jump" not in ruleset(PODS, NAMESPACES, [])


def test_named_ports_are_those_of_the_pods_that_are_reached() -> None:
    """A pod of the same namespace gets to the port of that name, and nobody else to any."""
    rules = ruleset(
        PODS,
        NAMESPACES,
        [policy(**selecting("searcher"), ingress=[{"from": [selecting("gateway")], "ports": [{"port": "grpc"}]}])],
    )
    assert "ip daddr { 10.0.0.1 } ip saddr { 10.0.0.2 } tcp dport { 7700 } return" in rules
    assert "ip daddr { 10.0.0.1 } jump ingress" in rules
    assert "10.0.0.3" not in rules
    assert "jump egress" not in rules


def test_pods_of_other_namespaces_are_let_in_by_the_labels_of_these() -> None:
    """A namespace selector lets in pods of namespaces with these labels."""
    peer = {"namespaceSelector": {"matchLabels": {"name": "theirs"}}}
    rules = ruleset(PODS, NAMESPACES, [policy(**selecting("searcher"), ingress=[{"from": [peer]}])])
    assert "ip saddr { 10.0.0.3 } return" in rules


def test_egress_can_be_kept_to_a_range_of_addresses() -> None:
    """A block of addresses, without a part of it."""
    to = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}
    rules = ruleset(PODS, NAMESPACES, [policy(podSelector={}, policyTypes=["Egress"], egress=[{"to": [to]}])])
    assert "ip daddr 10.0.0.0/8 ip daddr != { 10.9.0.0/16 } return" in rules
    assert "ip saddr { 10.0.0.1, 10.0.0.2 } jump egress" in rules


def test_selectors_know_expressions() -> None:
    """In, NotIn, Exists and DoesNotExist."""
    labels = {"component": "searcher"}
    for operator, values, expected in (
        ("In", ["searcher", "encoder"], True),
        ("NotIn", ["searcher"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ):
        expression = {"key": "component", "operator": operator, "values": values}
        assert matches({"matchExpressions": [expression]}, labels) is expected
