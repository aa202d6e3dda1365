"""Everything that can go wrong, as one small tree.

    SightlineError
    ├── InvalidArgument      the request is wrong; `field` names what, the message names the limit
    ├── Unauthenticated      no key, or one that the service does not know
    ├── PermissionDenied     a key that may not do this
    ├── NotFound             no such collection or image
    ├── FailedPrecondition   right request, wrong moment: generation not loaded, nothing published, another model
    ├── ResourceExhausted    a queue is full; slow down
    ├── DeadlineExceeded     the answer would come too late
    ├── Unavailable          nobody there to answer; trying again may help
    ├── Unimplemented        part of the contract that this version does not do
    └── InternalError        a fault of ours

Services raise these, one interceptor turns them into gRPC statuses, and the SDK turns those back into these.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DeadlineExceeded",
    "FailedPrecondition",
    "InternalError",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "SightlineError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "error_for",
]


class SightlineError(Exception):
    """Why a call, or one item of it, failed.

    Attributes:
        code: the gRPC status code, by number.
        reason: a stable word for programs, such as ``TOP_K_OUT_OF_RANGE``.
        message: a sentence for people.
        field: the request's field at fault, such as ``query.text``; empty where no field is.
    """

    code: ClassVar[int] = 2
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, reason: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidArgument(SightlineError):
    """The request is wrong whoever answers it."""

    code = 3
    default_reason = "INVALID_ARGUMENT"


class DeadlineExceeded(SightlineError):
    """The answer would come too late."""

    code = 4
    default_reason = "DEADLINE_EXCEEDED"


class NotFound(SightlineError):
    """There is no such collection or image."""

    code = 5
    default_reason = "NOT_FOUND"


class PermissionDenied(SightlineError):
    """The service knows the caller's key, which may not do this."""

    code = 7
    default_reason = "PERMISSION_DENIED"


class ResourceExhausted(SightlineError):
    """A queue is full. Not to be tried again at once."""

    code = 8
    default_reason = "QUEUE_FULL"


class FailedPrecondition(SightlineError):
    """The request is right, but not in the present state of the system."""

    code = 9
    default_reason = "FAILED_PRECONDITION"


class Unimplemented(SightlineError):
    """A part of the contract that this version does not do."""

    code = 12
    default_reason = "UNIMPLEMENTED"


class InternalError(SightlineError):
    """A fault of ours. The log has more under the same request id."""

    code = 13
    default_reason = "INTERNAL"


class Unavailable(SightlineError):
    """Nobody there to answer. Trying again may help."""

    code = 14
    default_reason = "UNAVAILABLE"


class Unauthenticated(SightlineError):
    """The service asks for a key, and got none that it knows."""

    code = 16
    default_reason = "UNAUTHENTICATED"


_BY_CODE: dict[int, type[SightlineError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        DeadlineExceeded,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        FailedPrecondition,
        Unimplemented,
        InternalError,
        Unavailable,
        Unauthenticated,
    )
}


def error_for(code: int, message: str, *, reason: str = "", field: str = "") -> SightlineError:
    """Returns the error of the tree that stands for the gRPC status `code`; InternalError for those that have none."""
    return _BY_CODE.get(code, InternalError)(message, reason=reason, field=field)
