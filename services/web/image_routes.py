"""Images over HTTP: what is known of them, their thumbnails and their originals."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.web import bodies
from services.web.asking import ERRORS, Route, Timeout, rpc
from services.web.media import media_type
from services.web.originals import Originals
from services.web.ranges import matches, span_of
from services.web.thumbnails import Thumbnails
from services.web.translate import stored_item_to, stored_to
from sightline import SearchClient
from sightline.errors import Unimplemented

Collection = Annotated[str, Path(max_length=63)]
Id = Annotated[str, Path(max_length=512, description="An id; its slashes are sent as %2F.")]
IfNoneMatch = Annotated[str | None, Header(description="An entity tag that the caller has.")]
FieldList = Annotated[str, Query(max_length=4096, description="Image fields with commas between; all without it.")]

IMAGES = "/v1/collections/{collection:segment}/images"
IMAGE = IMAGES + "/{id:segment}"

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
    """Returns the routes of ImageService, and those of files."""
    routes = APIRouter(route_class=Route, responses=ERRORS, tags=["images"])

    @routes.get(
        IMAGE, openapi_extra=rpc("ImageService.Get"), operation_id="get_image", response_model_exclude_none=True
    )
    async def get_image(
        *,
        collection: Collection,
        id: Id,
        timeout: Timeout,
        fields: FieldList = "",
        thumbnail: bool = False,
        generation: bodies.Generation = 0,
    ) -> bodies.StoredOut:
        """Returns what is known of one image."""
        wanted = [field.strip() for field in fields.split(",") if field.strip()]
        stored = await client.get(
            id, collection=collection, thumbnail=thumbnail, fields=wanted, generation=generation, timeout=timeout
        )
        return stored_to(stored)

    @routes.post(
        IMAGES + "/batch",
        openapi_extra=rpc("ImageService.BatchGet"),
        operation_id="get_images",
        response_model_exclude_none=True,
    )
    async def get_images(collection: Collection, body: bodies.ImagesBody, timeout: Timeout) -> bodies.ImagesOut:
        """Returns what is known of several images. Each id has an image or an error of its own, in the order asked."""
        outcomes = await client.get_many(
            body.ids,
            collection=collection,
            thumbnails=body.thumbnails,
            fields=body.fields,
            generation=body.generation,
            timeout=timeout,
        )
        return bodies.ImagesOut(items=[stored_item_to(outcome) for outcome in outcomes])

    @routes.head(f"{IMAGE}/thumbnail", include_in_schema=False)
    @routes.get(f"{IMAGE}/thumbnail", operation_id="get_thumbnail", response_class=Response, responses=_THUMBNAIL)
    async def get_thumbnail(
        collection: Collection,
        id: Id,
        timeout: Timeout,
        generation: bodies.Generation = 0,
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
        generation: bodies.Generation = 0,
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
        span = span_of(range if if_range in (None, original.etag) else None, original.size)
        headers["content-length"] = str(span.end - span.start)
        if span.partial:
            headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{span.size}"
        status = 206 if span.partial else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=original.type)
        chunks = originals.read(original, span.start, span.end)
        return StreamingResponse(chunks, status, headers, media_type=original.type)

    @routes.post(IMAGES, openapi_extra=rpc("ImageService.Upsert"), operation_id="upsert_images", status_code=501)
    async def upsert_images(collection: Collection) -> bodies.ErrorBody:
        """Adds or replaces images: not served; collections change by publishing a generation."""
        raise Unimplemented("collections change by publishing a generation", reason="READ_ONLY")

    @routes.delete(IMAGES, openapi_extra=rpc("ImageService.Delete"), operation_id="delete_images", status_code=501)
    async def delete_images(collection: Collection) -> bodies.ErrorBody:
        """Removes images: not served; collections change by publishing a generation."""
        raise Unimplemented("collections change by publishing a generation", reason="READ_ONLY")

    return routes
