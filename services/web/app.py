"""The ASGI application: routes over the SDK, the page, and one shape of errors."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from services.runtime.health import Health
from services.runtime.settings import addresses
from services.web import file_routes, image_routes, other_routes, search_routes
from services.web.border import Border
from services.web.errors import of_status, of_validation, reply
from services.web.originals import Originals
from services.web.settings import WebSettings
from services.web.thumbnails import Thumbnails
from sightline import SearchClient
from sightline.errors import InternalError, SightlineError

PAGE = Path(__file__).parent / "static"
DESCRIPTION = "Text-to-image search. The contract is that of `protos/sightline/v1`, as JSON."


class Page(StaticFiles):
    """The page's own files; callers ask whether they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Returns a file."""
        found = await super().get_response(path, scope)
        found.headers["cache-control"] = "no-cache"
        return found


def application(settings: WebSettings, client: SearchClient, health: Health) -> FastAPI:
    """Returns the application.

    Args:
        settings: limits and times.
        client: who is asked.
        health: whether this process takes requests.
    """
    # The framework's own pages of documentation load programs from elsewhere.
    app = FastAPI(title="Sightline", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.state.default_timeout = settings.default_timeout_seconds
    originals = Originals(
        addresses(settings.originals),
        max_bytes=settings.originals_max_bytes,
        timeout=settings.originals_timeout_seconds,
    )
    thumbnails = Thumbnails(client, capacity=settings.max_concurrent_calls, timeout=settings.default_timeout_seconds)
    app.include_router(search_routes.router(client, max_line=settings.max_body_bytes, window=settings.stream_window))
    app.include_router(image_routes.router(client))
    app.include_router(file_routes.router(client, thumbnails, originals))
    app.include_router(other_routes.router(client, health))
    app.mount("/", Page(directory=PAGE, html=True))
    app.add_exception_handler(SightlineError, _tell)
    app.add_exception_handler(RequestValidationError, _tell)
    app.add_exception_handler(HTTPException, _tell)
    app.add_exception_handler(Exception, _tell)  # its log line is the border's
    if origins := addresses(settings.cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["content-type", "x-request-id", "x-timeout-ms"],
            expose_headers=["x-request-id"],
        )
    return app


def bordered(settings: WebSettings, app: FastAPI) -> Border:
    """Returns the application behind its border."""
    return Border(
        app,
        max_body=settings.max_body_bytes,
        max_calls=settings.max_concurrent_calls,
        connection_age=settings.max_connection_age_seconds,
        streams=[search_routes.STREAM],
    )


async def _tell(request: Request, fault: Exception) -> JSONResponse:
    match fault:
        case SightlineError():
            return reply(fault)
        case RequestValidationError():
            return reply(of_validation(fault.errors()))
        case HTTPException():
            error = of_status(fault.status_code, str(fault.detail))
            return reply(error, fault.headers)
    return reply(InternalError("an internal error; the log has more under this request id"))
