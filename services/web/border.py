"""The border of the HTTP server: limits, ids, headers, times, and errors that nobody else has told."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime import tracing
from services.runtime.logs import request_id
from services.runtime.metrics import SECONDS
from services.web.errors import reply
from sightline.errors import InternalError, InvalidArgument, ResourceExhausted, SightlineError

log = logging.getLogger("sightline.web")

MAX_REQUEST_ID = 128
BODY_SECONDS = 30.0
"""A body that takes longer to arrive is given up."""
MAX_CONNECTIONS_KNOWN = 8192

http_seconds = Histogram(
    "sightline_web_request_seconds", "Time to answer a request.", ["route", "method", "status"], buckets=SECONDS
)

# The page needs nothing from elsewhere and no program but its own; `trusted-types` keeps text from becoming markup.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Border:
    """Wraps an ASGI application.

    Args:
        app: the application; it sees paths as they were sent, so that an id may hold a slash as %2F.
        max_body: bytes of one request, streams excepted.
        max_calls: requests at a time; one more is refused at once.
        connection_age: seconds after which a connection is ended by its next reply, so that callers find new replicas.
        streams: paths whose bodies are read as they come.
    """

    def __init__(
        self, app: ASGIApp, *, max_body: int, max_calls: int, connection_age: float, streams: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._max_body, self._max_calls, self._streams = max_body, max_calls, frozenset(streams)
        self._ages = Ages(connection_age)
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["path"] = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"]
        request_id.set(_header(scope, b"x-request-id")[:MAX_REQUEST_ID] or secrets.token_hex(8))
        span = tracing.serving(f"HTTP {scope['method']}", _header(scope, b"traceparent"))
        answer = _Answer(send, last=self._ages.is_old(scope.get("client")))
        began = time.perf_counter()
        self._in_flight += 1
        try:
            await self._serve(scope, receive, answer)
        except SightlineError as error:
            await answer.refuse(error, scope, receive)
        except Exception as error:
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            await answer.refuse(
                InternalError("an internal error; the log has more under this request id"), scope, receive
            )
        finally:
            self._in_flight -= 1
            route = getattr(scope.get("route"), "path", "page")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            http_seconds.labels(route, method, answer.status).observe(time.perf_counter() - began)
            span.ended("OK" if 0 < answer.status < 500 else str(answer.status))

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if self._in_flight > self._max_calls:
            raise ResourceExhausted(f"{self._max_calls:,} requests are served already", reason="TOO_MANY_CALLS")
        if scope["path"] in self._streams:
            await self._app(scope, receive, answer)
            return
        body = await self._body(scope, receive)
        gone = asyncio.create_task(_until_gone(receive))
        work = asyncio.ensure_future(self._app(scope, _replay(body, gone), answer))
        try:
            # Who has hung up is not worked for.
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            gone.cancel()
            work.cancel()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        told = _header(scope, b"content-length")
        if told.isdecimal() and int(told) > self._max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._collected(receive)
        except TimeoutError as exc:
            message = f"the body did not arrive within {BODY_SECONDS:g} s"
            raise InvalidArgument(message, reason="SLOW_BODY", field="body") from exc

    async def _collected(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > self._max_body:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(f"may have at most {self._max_body:,} bytes", reason="BODY_TOO_LARGE", field="body")


class Ages:
    """When connections began, by the caller's address."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._began: OrderedDict[object, float] = OrderedDict()

    def is_old(self, client: object) -> bool:
        """Whether this connection should end with the next reply; if so, it is forgotten."""
        now = time.monotonic()
        began = self._began.setdefault(client, now)
        if now - began > self._limit:
            del self._began[client]
            return True
        if len(self._began) > MAX_CONNECTIONS_KNOWN:
            self._began.popitem(last=False)
        return False


class _Answer:
    """Sends an answer on with the headers that all have, and knows whether it has begun."""

    def __init__(self, send: Send, *, last: bool) -> None:
        self._send, self._last = send, last
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._headers(message["headers"])}
        await self._send(message)

    async def refuse(self, error: SightlineError, scope: Scope, receive: Receive) -> None:
        """Tells an error, unless something was told already."""
        if not self.status:
            await reply(error)(scope, receive, self)

    def _headers(self, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in own}
        common = {**HEADERS, "x-request-id": request_id.get(), "cache-control": "no-store"}
        if self._last:
            common["connection"] = "close"
        return [
            *own,
            *((k.encode(), v.encode("latin-1", "replace")) for k, v in common.items() if k.encode() not in given),
        ]


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, gone: asyncio.Task[None]) -> Callable[[], Awaitable[Message]]:
    """Returns a `receive` that gives the body once, and then waits for the caller to hang up."""
    left = [body]

    async def receive() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    return receive
