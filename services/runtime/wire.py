"""What crosses every border: vectors as bytes, errors as messages, and the names of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from google.protobuf import descriptor_pool
from numpy.typing import NDArray

from sightline._channel import ERROR_TYPE
from sightline.errors import InternalError, InvalidArgument, SightlineError, error_for
from sightline.internal.v1 import splice_pb2
from sightline.v1 import common_pb2


def vector_to_bytes(vector: NDArray[np.float32]) -> bytes:
    """Returns the vector, or the rows of a matrix one after the other, as little-endian float32."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def vector_from_bytes(data: bytes, dimension: int, *, field: str) -> NDArray[np.float32]:
    """Returns float32 [dimension].

    Raises:
        InvalidArgument: `data` is not `dimension` finite numbers; names `field`.
    """
    if len(data) != 4 * dimension:
        raise InvalidArgument(
            f"a vector has {dimension} float32 values here ({4 * dimension} bytes), got {len(data)} bytes",
            reason="WRONG_DIMENSION",
            field=field,
        )
    vector = np.frombuffer(data, dtype="<f4")
    if not np.isfinite(vector).all():
        raise InvalidArgument("a vector holds finite numbers only", reason="NOT_FINITE", field=field)
    return vector


def error_to_message(error: Exception) -> common_pb2.Error:
    """Returns the message that stands for the error. What is not of our tree is an internal error, without its text."""
    known = error if isinstance(error, SightlineError) else InternalError("an internal error; the log has more")
    return common_pb2.Error(code=known.code, reason=known.reason, message=known.message, field=known.field)


def error_from_message(message: common_pb2.Error) -> SightlineError:
    """Returns the error that the message stands for."""
    return error_for(message.code, message.message, reason=message.reason, field=message.field)


def status_details(error: SightlineError) -> bytes:
    """Returns the `grpc-status-details-bin` of the error: a google.rpc.Status that holds a sightline.v1.Error."""
    detail = splice_pb2.AnyDetail(type_url=ERROR_TYPE, value=error_to_message(error).SerializeToString())
    return splice_pb2.RpcStatus(code=error.code, message=str(error), details=[detail]).SerializeToString()


def methods_of(services: Iterable[str]) -> Iterator[str]:
    """Yields the methods of services, as calls name them."""
    for name in services:
        service = descriptor_pool.Default().FindServiceByName(name)
        yield from (f"/{name}/{method.name}" for method in service.methods)
