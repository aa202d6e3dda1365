from __future__ import annotations

from deploy.cluster.custom_metrics import Rule

CONCURRENCY = {
    "seriesQuery": 'sightline_rpc_seconds_sum{namespace!="",pod!=""}',
    "resources": {"overrides": {"kubernetes_namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
    "name": {"matches": "^(.*)_rpc_seconds_sum$", "as": "${1}_concurrency"},
    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)",
}


def test_a_rule_is_asked_for_the_pods_of_an_autoscaler() -> None:
    """The adapter's marks become the series, matchers for namespace and pods, and the label to group by."""
    assert Rule.of(CONCURRENCY).promql("ours", ["a", "b"]) == (
        'sum(rate(sightline_rpc_seconds_sum{kubernetes_namespace="ours",pod=~"a|b"}[1m])) by (pod)'
    )


def test_a_metric_is_called_as_its_rule_says() -> None:
    """What matched is put in where the new name says so; without a name it is the series itself."""
    assert Rule.of(CONCURRENCY).metric == "sightline_concurrency"
    assert Rule.of({**CONCURRENCY, "name": {}}).metric == "sightline_rpc_seconds_sum"


def test_labels_may_follow_a_template() -> None:
    """A template names the label of every resource."""
    rule = Rule.of({**CONCURRENCY, "resources": {"template": "kube_<<.Resource>>"}})
    assert rule.labels == {"namespace": "kube_namespace", "pod": "kube_pod"}
