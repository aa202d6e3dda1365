"""The gate before the border: calls to our own services show a key, where the server was given keys.

Health and reflection stay open: probes have no keys, and the contract is public anyway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.runtime.interceptor import Handler, refuse
from services.runtime.keys import REFUSALS, Caller, Keys
from services.runtime.logs import caller
from services.runtime.metrics import caller_calls_total, refused_total
from sightline.errors import SightlineError

OURS = "/sightline."


class Gate(grpc.aio.ServerInterceptor):
    """Lets calls pass whose key may use the service.

    A stream ends when its key is withdrawn: questions that were read before are answered.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        for reason in REFUSALS:
            refused_total.labels(reason)
        for name in keys.names():
            caller_calls_total.labels(name, "OK")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        if not method.startswith(OURS):
            return await continuation(handler_call_details)
        sent = dict(handler_call_details.invocation_metadata or ())
        try:
            known = self._keys.caller(str(sent.get("authorization", "")), short_name(method.split("/")[1]))
        except SightlineError as error:
            refused_total.labels(error.reason).inc()
            return _refusal(error)
        caller.set(known.name)
        handler = await continuation(handler_call_details)
        return self._watched(handler, known) if handler and handler.request_streaming else handler

    def _watched(self, handler: Handler, known: Caller) -> Handler:
        methods: Any = handler  # typed for synchronous servers

        async def read(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for request in requests:
                self._keys.check(known)
                yield request

        async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for answer in methods.stream_stream(read(requests), context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)


def short_name(service: str) -> str:
    """Returns a service as files of keys name it: sightline.v1.SearchService is search."""
    return service.rpartition(".")[2].removesuffix("Service").lower()


def _refusal(error: SightlineError) -> Handler:
    """As a stream, so that nothing of the call is read."""

    async def refused(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        await refuse(context, error)
        yield  # never: it makes this a stream

    return grpc.stream_stream_rpc_method_handler(refused)
