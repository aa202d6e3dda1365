"""Images over HTTP: what is known of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from services.web import answers, questions
from services.web.asking import ERRORS, FieldList, Route, Timeout, listed, rpc
from services.web.translate import stored_item_to, stored_to
from sightline import SearchClient
from sightline.errors import Unimplemented

Collection = Annotated[str, Path(max_length=63)]
Id = Annotated[str, Path(max_length=512, description="An id; its slashes are sent as %2F.")]

IMAGES = "/v1/collections/{collection:segment}/images"
IMAGE = IMAGES + "/{id:segment}"


def router(client: SearchClient) -> APIRouter:
    """Returns the routes of ImageService."""
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
        generation: questions.Generation = 0,
    ) -> answers.StoredOut:
        """Returns what is known of one image."""
        stored = await client.get(
            id,
            collection=collection,
            thumbnail=thumbnail,
            fields=listed(fields),
            generation=generation,
            timeout=timeout,
        )
        return stored_to(stored)

    @routes.post(
        IMAGES + "/batch",
        openapi_extra=rpc("ImageService.BatchGet"),
        operation_id="get_images",
        response_model_exclude_none=True,
    )
    async def get_images(collection: Collection, body: questions.ImagesBody, timeout: Timeout) -> answers.ImagesOut:
        """Returns what is known of several images. Each id has an image or an error of its own, in the order asked."""
        outcomes = await client.get_many(
            body.ids,
            collection=collection,
            thumbnails=body.thumbnails,
            fields=body.fields,
            generation=body.generation,
            timeout=timeout,
        )
        return answers.ImagesOut(items=[stored_item_to(outcome) for outcome in outcomes])

    @routes.post(IMAGES, openapi_extra=rpc("ImageService.Upsert"), operation_id="upsert_images", status_code=501)
    async def upsert_images(collection: Collection) -> answers.ErrorBody:
        """Adds or replaces images: not served; collections change by publishing a generation."""
        raise Unimplemented("collections change by publishing a generation", reason="READ_ONLY")

    @routes.delete(IMAGES, openapi_extra=rpc("ImageService.Delete"), operation_id="delete_images", status_code=501)
    async def delete_images(collection: Collection) -> answers.ErrorBody:
        """Removes images: not served; collections change by publishing a generation."""
        raise Unimplemented("collections change by publishing a generation", reason="READ_ONLY")

    return routes
