"""A short sample of the HTTP half of the bar `fuzz`."""

from __future__ import annotations

from benchmarks.fuzz_http import http_half
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster


def test_whatever_is_sent_is_answered_as_documented(web_cluster: LocalCluster) -> None:
    """Requests that OpenAPI allows, and some that it does not, never meet a server error, and every reply is as the
    document says."""
    proof = Proof()

    http_half(proof, web_cluster, 64)

    assert proof.faults == []


def test_what_begins_before_the_end_is_finished(web_cluster: LocalCluster) -> None:
    """A web process that is told to stop drains and ends well, and is back on its port."""
    web_cluster.terminate("web-0")
    assert web_cluster.wait_ended("web-0") == 0
    web_cluster.restart("web-0")
    assert web_cluster.processes["web-0"].is_ready()
