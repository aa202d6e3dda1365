"""A caller's trace goes through the whole cluster."""

from __future__ import annotations

import time

from services.local.topology import Topology
from sightline import Client
from tests.e2e.conftest import StartCluster
from tests.unit.test_tracing import BROUGHT, TRACE, Collector


async def test_a_question_is_one_trace_through_all_services(start_cluster: StartCluster) -> None:
    """Who brings trace context finds the gateway, the encoder and every searcher group in his trace."""
    collector = Collector()
    traced = {"otlp_endpoint": collector.endpoint}
    cluster = start_cluster(
        Topology(groups=2, encoders=1, redis=False), dict.fromkeys(("gateway", "encoder", "searcher"), traced)
    )
    async with Client(cluster.gateway, metadata={"traceparent": BROUGHT}) as client:
        await client.search("a red apple", top_k=3)
    cluster.close()  # which sends what is left

    spans = {span.span_id: span for span in collector.spans if span.trace_id.hex() == TRACE}
    collector.close()
    (asked,) = (span for span in spans.values() if span.name == "/sightline.v1.SearchService/Search" and span.kind == 2)
    below = [span for span in spans.values() if span.parent_span_id == asked.span_id]
    served = [span.name for one in below for span in spans.values() if span.parent_span_id == one.span_id]
    assert asked.parent_span_id.hex() == BROUGHT[36:52]
    assert served.count("/sightline.internal.v1.EncoderService/Encode") == 1
    assert served.count("/sightline.internal.v1.SearcherService/Search") == 2
    assert asked.start_time_unix_nano <= time.time_ns()
