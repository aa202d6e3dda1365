"""Traces: whoever brings W3C trace context finds us in his trace, in our spans and in our logs.

Without an endpoint nothing of OpenTelemetry is loaded, and the context is only passed on. A call that carries many
questions has one span, in the trace of the first of them that is recorded, with links to the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

HEADER = "traceparent"
_FORM = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

current: ContextVar[str] = ContextVar("traceparent", default="")
"""The context of what is being served, as its header is written; empty where there is none."""

_now: ContextVar[Span | None] = ContextVar("span", default=None)


class _Tracing:
    """What this process records with; set once, when it starts."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.provider: TracerProvider | None = None


_tracing = _Tracing()


class MissingExtra(Exception):
    """Traces are asked for where OpenTelemetry is not installed."""


def start(component: str, version: str, endpoint: str, share: float) -> None:
    """Records spans from now on.

    Args:
        component: the name of the service.
        version: of this installation.
        endpoint: where spans go, by OTLP over gRPC: `http://host:4317`.
        share: of the traces that begin here, how many are recorded; callers who bring a trace decide for themselves.

    Raises:
        MissingExtra: the extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(f"needs the extra otel: {error}") from error
    named = {"service.name": f"sightline-{component}", "service.version": version}
    provider = TracerProvider(resource=Resource.create(named), sampler=ParentBased(TraceIdRatioBased(share)))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"))))
    _tracing.provider, _tracing.tracer = provider, provider.get_tracer("sightline")


def stop() -> None:
    """Sends what is left, and records nothing more."""
    if _tracing.provider:
        _tracing.provider.shutdown()
    _tracing.provider = _tracing.tracer = None


class Served:
    """What is being served: a span of a server, or nothing where none is recorded."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def ended(self, code: str) -> None:
        """Ends it, with the code of its status."""
        if self._span:
            _end(self._span, code)


_UNRECORDED = Served()


def serving(name: str, traceparent: str) -> Served:
    """Begins to serve a call; `traceparent` is what it brought."""
    known = traceparent if _FORM.fullmatch(traceparent) else ""
    current.set(known)
    if _tracing.tracer is None:
        return _UNRECORDED
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    span = _tracing.tracer.start_span(name, context=_read(known), kind=SpanKind.SERVER)
    current.set(_written(span))
    _now.set(span)
    return Served(span)


def is_recorded() -> bool:
    """Whether what is being served has a span to note something in."""
    return _now.get() is not None


def note(name: str, **attributes: str | int | float) -> None:
    """Adds an event to the span of what is being served."""
    span = _now.get()
    if span and span.is_recording():
        span.add_event(name, attributes)


class Calling:
    """A call to another process, for one question or for many; `with` it is under way.

    Args:
        name: what its span is called.
        traces: the contexts of the questions.

    Attributes:
        metadata: to send with it.
    """

    def __init__(self, name: str, traces: Sequence[str]) -> None:
        brought = list(dict.fromkeys(trace for trace in traces if trace))
        recorded = [trace for trace in brought if int(trace[-2:], 16) & 1]
        self._span = _started(name, recorded) if recorded and _tracing.tracer else None
        sent = _written(self._span) if self._span else (recorded or brought or [""])[0]
        self.metadata: tuple[tuple[str, str], ...] = ((HEADER, sent),) if sent else ()
        self._count = len(traces)

    def __enter__(self) -> Self:
        if self._span:
            self._span.set_attribute("sightline.items", self._count)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._span:
            _end(self._span, "OK" if error is None else type(error).__name__)


def trace_id() -> str:
    """Returns the id of the trace of what is being served; empty where there is none."""
    return current.get()[3:35]


def headers() -> Mapping[str, str]:
    """Returns what to send with a call that is made for what is being served."""
    return {HEADER: traceparent} if (traceparent := current.get()) else {}


def _started(name: str, traces: Sequence[str]) -> Span:
    from opentelemetry.trace import Link, SpanKind, get_current_span  # noqa: PLC0415

    assert _tracing.tracer, "looked at before"
    links = [Link(get_current_span(_read(one)).get_span_context()) for one in traces[1:]]
    return _tracing.tracer.start_span(name, context=_read(traces[0]), kind=SpanKind.CLIENT, links=links)


def _read(traceparent: str) -> Context:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({HEADER: traceparent}, Context())


def _written(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _end(span: Span, code: str) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    attributes: dict[str, Any] = {"rpc.response.status_code": code}
    span.set_attributes(attributes)
    if code != "OK":
        span.set_status(StatusCode.ERROR, code)
    span.end()
