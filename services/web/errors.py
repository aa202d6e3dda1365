"""Errors as HTTP: one table of statuses, one shape of body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse

from services.runtime.codes import NAMES
from services.runtime.logs import request_id
from sightline.errors import InvalidArgument, NotFound, SightlineError

STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 409, 12: 501, 14: 503, 16: 401}
"""The table: the gRPC code of an error to the status of its reply; 500 for the rest."""

STATUS_OF_REASON = {
    "BODY_TOO_LARGE": 413,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_A_PICTURE": 415,
    "RANGE_NOT_SATISFIABLE": 416,
    "SLOW_BODY": 408,
}
"""Where HTTP has a status of its own for what is at fault."""

_UNSAID = re.compile(r"\.(?:condition|filters|terms|values)(?=[.\[]|$)")
"""What the messages of the contract have between the fields that a body names."""


def status_of(error: SightlineError) -> int:
    """Returns the HTTP status that stands for the error."""
    return STATUS_OF_REASON.get(error.reason) or STATUS.get(error.code, 500)


def body_of(error: SightlineError) -> dict[str, str]:
    """Returns the error as every body shows it."""
    return {
        "code": NAMES.get(error.code, "UNKNOWN"),
        "reason": error.reason,
        "message": error.message,
        "field": _UNSAID.sub("", error.field),
        "request_id": request_id.get(),
    }


def reply(error: SightlineError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns the reply that tells the error."""
    return JSONResponse(body_of(error), status_of(error), dict(headers or {}))


def of_validation(faults: Sequence[Mapping[str, Any]]) -> InvalidArgument:
    """Returns the first fault of a request that is not as its schema says; `field` is its path, `query.terms[2]`."""
    fault = faults[0]
    if fault["type"] == "json_invalid":
        return InvalidArgument(f"the body is not JSON: {fault['ctx']['error']}", reason="NOT_JSON", field="body")
    _, *path = fault["loc"]  # begins with where it was: body, query, path or header
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return InvalidArgument(
        str(fault["msg"]).removeprefix("Value error, "), reason=str(fault["type"]).upper(), field=field or "body"
    )


def of_status(status: int, detail: str) -> SightlineError:
    """Returns the error for what the framework refuses by itself."""
    if status == 404:
        return NotFound("there is nothing at this address", reason="NO_ROUTE")
    if status == 405:
        return InvalidArgument("this address does not take the method", reason="METHOD_NOT_ALLOWED")
    return InvalidArgument(detail, field="body")
