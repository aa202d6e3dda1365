"""Calls to other processes of ours: their failures come back as errors of the tree."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from services.runtime.wire import ERROR_TYPE
from sightline.errors import SightlineError, Unavailable, error_for
from sightline.internal.v1 import splice_pb2
from sightline.v1 import common_pb2


async def call(method: Any, request: Any, deadline: float | None) -> Any:
    """Calls a unary method.

    Args:
        method: of a stub.
        request: its message.
        deadline: in `loop.time()` seconds.

    Raises:
        SightlineError: what the other side answered, or Unavailable where it did not.
    """
    timeout = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0.0)
    try:
        return await method(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    except grpc.aio.UsageError as error:  # the channel was closed meanwhile
        raise Unavailable(str(error)) from error


def from_rpc_error(error: grpc.aio.AioRpcError) -> SightlineError:
    """Returns the error that a failed call stands for."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in splice_pb2.RpcStatus.FromString(value).details:
                if detail.type_url == ERROR_TYPE:
                    sent = common_pb2.Error.FromString(detail.value)
                    return error_for(sent.code, sent.message, reason=sent.reason, field=sent.field)
    return error_for(error.code().value[0], error.details() or "")
