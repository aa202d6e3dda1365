"""The border of every server: errors become statuses, calls get ids and are timed. The one place where they do."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from services.runtime import tracing
from services.runtime.logs import caller, request_id
from services.runtime.metrics import CallMetrics, caller_calls_total, calls_of
from services.runtime.wire import status_details
from sightline.errors import InternalError, InvalidArgument, SightlineError

log = logging.getLogger("sightline.rpc")

STATUS = {status.value[0]: status for status in grpc.StatusCode}
"""The table: the code of an error to the status of the call."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic to the type checker alone
MAX_REQUEST_ID = 128
EARLY = 0.005
"""Seconds before its deadline from which a call that is cancelled counts as late."""


class Border(grpc.aio.ServerInterceptor):
    """Wraps every method of a server, once."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler | None] = {}
        self._last_call = time.monotonic()

    @property
    def quiet_for(self) -> float:
        """Seconds since the last call began."""
        return time.monotonic() - self._last_call

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        self._last_call = time.monotonic()
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._wrapped[method] = _wrap(handler, method)
        return self._wrapped[method]


def _wrap(handler: Handler, method: str) -> Handler:
    methods: Any = handler  # typed for synchronous servers
    counts = calls_of(method)
    codecs = {
        "request_deserializer": _tolerant(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    if methods.unary_unary:
        return grpc.unary_unary_rpc_method_handler(_unary(methods.unary_unary, method, counts), **codecs)
    if methods.stream_stream:
        return grpc.stream_stream_rpc_method_handler(_stream(methods.stream_stream, method, counts), **codecs)
    return handler  # health.Watch, which is not ours


@dataclass(frozen=True)
class _Malformed:
    """Bytes that are no message of the kind that the method takes."""

    why: str


def _tolerant(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Left alone, gRPC answers malformed bytes with UNKNOWN and a traceback in the log, as if the fault were ours."""

    def read(data: bytes) -> Any:
        try:
            return deserializer(data) if deserializer else data
        except DecodeError as error:
            return _Malformed(str(error))

    return read if deserializer else None


def _sound(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise InvalidArgument(f"not a message of this method: {request.why}", reason="MALFORMED_MESSAGE")
    return request


def _unary(call: Callable[..., Awaitable[Any]], method: str, counts: CallMetrics) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        began, span = time.perf_counter(), _begin(context, method)
        code = "CANCELLED"
        try:
            reply = await call(_sound(request), context)
            code = "OK"
            return reply
        except asyncio.CancelledError:
            code = _cut_off(context)
            raise
        except Exception as fault:
            refused = known(fault, method)
            code = STATUS[refused.code].name
        finally:
            counts.took(code, time.perf_counter() - began)
            _count(counts, code)
            span.ended(code)
        return await refuse(context, refused)  # when counted: who has the answer finds it in the metrics

    return guarded


def _stream(
    call: Callable[..., AsyncIterator[Any]], method: str, counts: CallMetrics
) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        span = _begin(context, method)
        code = "CANCELLED"
        try:
            async for reply in call(_all_sound(requests), context):
                yield reply
            code = "OK"
            return
        except asyncio.CancelledError:
            code = _cut_off(context)
            raise
        except Exception as fault:
            refused = known(fault, method)
            code = STATUS[refused.code].name
        finally:
            _count(counts, code)
            span.ended(code)
        await refuse(context, refused)

    return guarded


def _cut_off(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """gRPC ends a call whose deadline has passed as if its caller had hung up."""
    remaining = context.time_remaining()
    return "CANCELLED" if remaining is None or remaining > EARLY else "DEADLINE_EXCEEDED"


async def _all_sound(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _sound(request)


def _count(counts: CallMetrics, code: str) -> None:
    counts.ended(code)
    if name := caller.get():
        caller_calls_total.labels(name, code).inc()


def _begin(context: grpc.aio.ServicerContext[Any, Any], method: str) -> tracing.Served:
    given = traceparent = ""
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            given = str(value)
        elif key == tracing.HEADER:
            traceparent = str(value)
    request_id.set(given[:MAX_REQUEST_ID] or secrets.token_hex(8))
    return tracing.serving(method, traceparent)


def known(fault: Exception, method: str) -> SightlineError:
    """Returns the error of the tree that a caller is told of, and logs those that are ours."""
    if isinstance(fault, grpc.aio.AbortError):
        raise fault
    if not isinstance(fault, SightlineError):
        log.error("%s failed", method, exc_info=fault)
        return InternalError("an internal error; the log has more under this request id")
    if isinstance(fault, InternalError):
        log.error("%s failed: %s", method, fault)
    return fault


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: SightlineError) -> NoReturn:
    """Ends a call with the status of an error, and the error in its details."""
    await context.abort(STATUS[error.code], str(error), (("grpc-status-details-bin", status_details(error)),))
    raise asyncio.CancelledError  # abort always raises; this tells the type checker
