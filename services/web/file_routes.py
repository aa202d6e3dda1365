"""Files over HTTP: thumbnails from the index, and originals from where they lie, with entity tags and ranges."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from services.web import questions
from services.web.asking import ERRORS, Route, Timeout
from services.web.errors import reply
from services.web.image_routes import IMAGE, Collection, Id
from services.web.media import media_type
from services.web.originals import Originals
from services.web.ranges import matches, span_of
from services.web.thumbnails import Thumbnails
from sightline import SearchClient
from sightline.errors import InvalidArgument

IfNoneMatch = Annotated[str | None, Header(description="An entity tag that the caller has.")]

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_FILE = {"schema": {"type": "string", "format": "binary"}}
_UNCHANGED: Responses = {304: {"description": "The caller has it already."}}
_THUMBNAIL: Responses = {200: {"description": "A WebP file.", "content": {"image/webp": _FILE}}, **_UNCHANGED}
_ORIGINAL: Responses = {
    200: {"description": "The file.", "content": {"image/*": _FILE}},
    206: {"description": "A part of the file.", "content": {"image/*": _FILE}},
    **_UNCHANGED,
}
# An original is somebody else's file: opened by itself, it must not be able to do anything.
_SEALED = "default-src 'none'; sandbox"


def router(client: SearchClient, thumbnails: Thumbnails, originals: Originals) -> APIRouter:
    """Returns the routes of an image's files."""
    routes = APIRouter(route_class=Route, responses=ERRORS, tags=["images"])

    @routes.head(f"{IMAGE}/thumbnail", include_in_schema=False)
    @routes.get(f"{IMAGE}/thumbnail", operation_id="get_thumbnail", response_class=Response, responses=_THUMBNAIL)
    async def get_thumbnail(
        collection: Collection,
        id: Id,
        timeout: Timeout,
        generation: questions.Generation = 0,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Returns the thumbnail: its longer side has at most 256 pixels. One of a named generation never changes."""
        stored = await thumbnails.get(collection, id, generation, timeout)
        digest = hashlib.blake2b(stored.thumbnail, digest_size=8).hexdigest()
        etag = f'"{stored.generation}-{digest}"'
        lasting = "public, max-age=31536000, immutable" if generation else "public, no-cache"
        headers = {"etag": etag, "cache-control": lasting}
        if matches(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        kind = media_type(stored.thumbnail[:32]) or "application/octet-stream"
        return Response(stored.thumbnail, headers=headers, media_type=kind)

    @routes.head(f"{IMAGE}/original", include_in_schema=False)
    @routes.get(f"{IMAGE}/original", operation_id="get_original", response_class=Response, responses=_ORIGINAL)
    async def get_original(
        *,
        request: Request,
        collection: Collection,
        id: Id,
        timeout: Timeout,
        generation: questions.Generation = 0,
        range: Annotated[str | None, Header(description="One range of bytes.")] = None,
        if_range: Annotated[str | None, Header(description="The range counts only where this tag still holds.")] = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Returns the original from where it lies, where the operator allows that place."""
        stored = await client.get(id, collection=collection, fields=["uri"], generation=generation, timeout=timeout)
        original = await originals.open(stored.image.uri)
        headers = {
            "accept-ranges": "bytes",
            "cache-control": "private, no-cache",
            "content-security-policy": _SEALED,
            "content-disposition": "inline",
        }
        if original.etag:
            headers["etag"] = original.etag
        if matches(if_none_match, original.etag):
            return Response(status_code=304, headers=headers)
        try:
            span = span_of(range if if_range in (None, original.etag) else None, original.size)
        except InvalidArgument as exc:
            return reply(exc, {"content-range": f"bytes */{original.size}"})
        headers["content-length"] = str(span.end - span.start)
        if span.partial:
            headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{span.size}"
        status = 206 if span.partial else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=original.type)
        chunks = originals.read(original, span.start, span.end)
        return StreamingResponse(chunks, status, headers, media_type=original.type)

    return routes
