"""Collections, vectors and health over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.runtime.health import Health
from services.web import answers, questions
from services.web.asking import ERRORS, Route, Timeout, rpc
from services.web.translate import collection_to
from sightline import SearchClient


def router(client: SearchClient, health: Health) -> APIRouter:
    """Returns the routes of CollectionService and EmbedService, and those that probes ask."""
    routes = APIRouter(route_class=Route, responses=ERRORS)

    @routes.get(
        "/v1/collections",
        openapi_extra=rpc("CollectionService.List"),
        operation_id="list_collections",
        tags=["collections"],
    )
    async def list_collections(timeout: Timeout) -> answers.CollectionsOut:
        """Lists all collections, by name."""
        found = await client.collections(timeout=timeout)
        return answers.CollectionsOut(collections=[collection_to(one) for one in found])

    @routes.get(
        "/v1/collections/{collection:segment}",
        openapi_extra=rpc("CollectionService.Get"),
        operation_id="get_collection",
        tags=["collections"],
    )
    async def get_collection(
        collection: Annotated[str, Path(max_length=63)], timeout: Timeout
    ) -> answers.CollectionOut:
        """Returns one collection, with the attributes that its images have."""
        return collection_to(await client.collection(collection, timeout=timeout))

    @routes.post("/v1/embed", openapi_extra=rpc("EmbedService.Embed"), operation_id="embed", tags=["vectors"])
    async def embed(body: questions.EmbedBody, timeout: Timeout) -> answers.EmbedOut:
        """Returns the unit vectors of texts and images, in the order asked."""
        texts = [one.text for one in body.inputs if one.text is not None]
        images = [one.image for one in body.inputs if one.image is not None]
        rows = await client.embed(texts, images, timeout=timeout)
        words, pictures = iter(rows[: len(texts)]), iter(rows[len(texts) :])
        ordered = [next(words) if one.text is not None else next(pictures) for one in body.inputs]
        return answers.EmbedOut(vectors=[row.tolist() for row in ordered], dimension=rows.shape[1])

    @routes.get("/healthz", tags=["health"])
    async def healthz() -> answers.StateOut:
        """Tells that this process lives."""
        return answers.StateOut(status="alive")

    @routes.get("/readyz", tags=["health"])
    async def readyz(response: Response) -> answers.StateOut:
        """Tells whether this process takes requests: a fact of its own, whatever the gateways do."""
        response.status_code = 200 if health.ready else 503
        return answers.StateOut(status="ready" if health.ready else "not ready")

    return routes
