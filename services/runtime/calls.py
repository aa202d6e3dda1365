"""Calls to other processes of ours: their failures come back as errors of the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from sightline._channel import sent_error
from sightline.errors import SightlineError, Unavailable, error_for

BROKEN = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED)
"""What gRPC itself calls the end of a call whose server stops or whose connection breaks: another replica may answer.
Faults of a server of ours come with an error inside."""


async def call(method: Any, request: Any, deadline: float | None, metadata: Sequence[tuple[str, str]] = ()) -> Any:
    """Calls a unary method.

    Args:
        method: of a stub.
        request: its message.
        deadline: in `loop.time()` seconds.
        metadata: sent with it.

    Raises:
        SightlineError: what the other side answered, or Unavailable where it did not.
    """
    timeout = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0.0)
    try:
        return await method(request, timeout=timeout, metadata=tuple(metadata) or None)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    except grpc.aio.UsageError as error:
        raise Unavailable("the connection was closed before the call") from error
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        # Nobody cancelled us: the channel was closed under the call.
        raise Unavailable("the connection was closed under the call") from error


def from_rpc_error(error: grpc.aio.AioRpcError) -> SightlineError:
    """Returns the error that a failed call stands for."""
    if sent := sent_error(error):
        return sent
    code, details = error.code(), error.details() or "without a word"
    if code in BROKEN:
        return Unavailable(f"the call broke off ({code.name}): {details}", reason="CALL_BROKEN")
    return error_for(code.value[0], details)
