"""services/runtime/tracing: trace context in, out and in logs, and spans where they are asked for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.runtime import tracing
from services.runtime.logs import JsonLines
from services.runtime.tracing import Calling, current, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BROUGHT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_RECORDED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as any collector of OTLP does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector, to which this process sends its spans."""
    running = Collector()
    tracing.start("test", "1", running.endpoint, 0.0)
    yield running
    tracing.stop()
    running.close()


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    token = current.set("")
    yield
    current.reset(token)


def test_context_is_passed_on_where_nothing_is_recorded() -> None:
    """Without an endpoint a caller's context goes on to the next process, and into the logs."""
    serving("Search", BROUGHT).ended("OK")
    record = logging.LogRecord("sightline.x", logging.INFO, __file__, 1, "found", (), None)

    assert Calling("Encode", [current.get()]).metadata == (("traceparent", BROUGHT),)
    assert tracing.headers() == {"traceparent": BROUGHT}
    assert json.loads(JsonLines().format(record))["trace_id"] == TRACE


@pytest.mark.parametrize("nonsense", ["", "x", BROUGHT[:-1], BROUGHT.replace(TRACE, "0" * 32), f"{BROUGHT}-\r\nx: y"])
def test_what_is_no_context_is_forgotten(nonsense: str) -> None:
    """A header that is not as W3C has it is neither logged nor passed on."""
    serving("Search", nonsense).ended("OK")
    assert current.get() == ""
    assert Calling("Encode", [current.get()]).metadata == ()


def test_opentelemetry_is_not_loaded_unless_it_is_asked_for() -> None:
    """A process without an endpoint imports nothing of OpenTelemetry, and its calls no more than they had."""
    code = (
        "import sys, services.runtime.server; from services.runtime.tracing import Calling, serving;"
        f"serving('a', '{BROUGHT}').ended('OK'); Calling('b', ['{BROUGHT}']);"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_call_is_a_span_in_its_callers_trace(collector: Collector) -> None:
    """What a caller records is recorded here too, below his span; errors are errors."""
    served = serving("Search", BROUGHT)
    tracing.note("answered", source="MISS")
    served.ended("UNAVAILABLE")
    tracing.stop()

    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, "00f067aa0ba902b7", "Search")
    assert [event.name for event in span.events] == ["answered"]
    assert (span.status.code, span.status.message) == (2, "UNAVAILABLE")


def test_a_call_for_many_is_in_the_trace_of_the_first_and_linked_to_the_others(collector: Collector) -> None:
    """A batch has one span; who is not recorded has no part in it, and the next process is told the span."""
    with Calling("Encode", ["", NOT_RECORDED, BROUGHT, OTHER, BROUGHT]) as calling:
        sent = dict(calling.metadata)["traceparent"]
    tracing.stop()

    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert [link.trace_id.hex() for link in span.links] == [OTHER[3:35]]
    assert sent == f"00-{TRACE}-{span.span_id.hex()}-01"


def test_who_does_not_record_is_not_recorded(collector: Collector) -> None:
    """Where the caller decided against it, or nobody did and the share is 0, there are no spans."""
    for brought in (NOT_RECORDED, ""):
        serving("Search", brought).ended("OK")
    assert Calling("Encode", [NOT_RECORDED]).metadata == (("traceparent", NOT_RECORDED),)
    tracing.stop()
    assert collector.spans == []
