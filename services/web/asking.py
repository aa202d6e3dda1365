"""What routes share: JSON read within limits, path segments that may hold slashes, lists of fields, deadlines."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.convertors import Convertor, register_url_convertor

from services.web.answers import ErrorBody
from sightline.errors import InvalidArgument

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong, or not now."},
    "5XX": {"model": ErrorBody, "description": "The service is at fault, or not all there."},
}
"""Documented of every route."""


class Segment(Convertor[str]):
    """One segment of a path as it was sent, decoded once: an id may hold a slash, sent as %2F."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        # What is no UTF-8 is refused by the route, which cannot be asked from here.
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        raise NotImplementedError("addresses are not built here")


register_url_convertor("segment", Segment())


class BoundedJson(Request):
    """A request whose JSON is neither nested without end nor full of NaN."""

    async def json(self) -> Any:
        """Parses the body. Raises JSONDecodeError."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as exc:
            raise json.JSONDecodeError(str(exc), "", 0) from exc


class Route(APIRoute):
    """A route that reads BoundedJson, and knows all its parameters: one that is misspelt is not passed over."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the handler."""
        handle = super().get_route_handler()
        known = [one.alias for one in self.dependant.query_params]
        is_strict = self.path.startswith("/v1/")  # probes may add what they like

        async def bounded(request: Request) -> Response:
            for name in request.query_params:
                if is_strict and name not in known:
                    message = f"there is no such parameter; there are: {', '.join(known) or 'none'}"
                    raise InvalidArgument(message, reason="UNKNOWN_PARAMETER", field=name[:100])
            return await handle(BoundedJson(request.scope, request.receive))

        return bounded


def _deadline(
    request: Request,
    x_timeout_ms: Annotated[
        int | None, Header(ge=1, le=600_000, description="Milliseconds after which an answer is of no use.")
    ] = None,
) -> float:
    return x_timeout_ms / 1000 if x_timeout_ms else float(request.app.state.default_timeout)


Timeout = Annotated[float, Depends(_deadline)]
"""Seconds that the request has."""

FieldList = Annotated[str, Query(max_length=4096, description="Image fields with commas between; all without it.")]


def listed(fields: str) -> list[str]:
    """Returns the names in a FieldList."""
    return [field.strip() for field in fields.split(",") if field.strip()]


def rpc(name: str) -> dict[str, Any]:
    """Marks a route as that of a public rpc, such as SearchService.Search."""
    return {"x-rpc": f"sightline.v1.{name}"}
