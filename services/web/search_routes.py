"""Search over HTTP: one question, several, or a stream of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.runtime.logs import request_id
from services.web import answers, questions
from services.web.asking import ERRORS, FieldList, Route, Timeout, listed, rpc
from services.web.streaming import Duplex, Lines
from services.web.translate import answer_to, outcome_to, request_of
from sightline import SearchClient, SearchRequest

STREAM = "/v1/search/stream"
_LINES = {"application/x-ndjson": {"schema": {"type": "string"}}}


def router(client: SearchClient, *, max_line: int, window: int) -> APIRouter:
    """Returns the routes of SearchService.

    Args:
        client: who is asked.
        max_line: bytes of one line of a stream.
        window: questions of one stream that are worked on at a time.
    """
    routes = APIRouter(route_class=Route, responses=ERRORS, tags=["search"])

    @routes.get("/v1/search", openapi_extra=rpc("SearchService.Search"), operation_id="search_text")
    async def search_text(
        *,
        timeout: Timeout,
        q: Annotated[str, Query(min_length=1, max_length=4096, description="Words in any language.")],
        collection: questions.CollectionName = "",
        top_k: Annotated[int, Query(ge=1, le=1000, description="How many hits.")] = 10,
        min_score: Annotated[
            float | None, Query(ge=-1, le=1, allow_inf_nan=False, description="Leave out hits that score less.")
        ] = None,
        fields: FieldList = "",
        generation: questions.Generation = 0,
        refuse_partial: Annotated[bool, Query(description="Fail rather than answer from some of the shards.")] = False,
    ) -> answers.SearchOut:
        """Finds the images nearest to words."""
        asked = SearchRequest(
            q,
            collection=collection,
            top_k=top_k,
            min_score=min_score,
            fields=listed(fields),
            generation=generation,
            refuse_partial=refuse_partial,
        )
        return await _answer(client, asked, timeout)

    @routes.post("/v1/search", openapi_extra=rpc("SearchService.Search"), operation_id="search")
    async def search(body: questions.SearchBody, timeout: Timeout) -> answers.SearchOut:
        """Finds the images nearest to a query of any kind."""
        return await _answer(client, request_of(body), timeout)

    @routes.post(
        "/v1/search/batch",
        openapi_extra=rpc("SearchService.SearchBatch"),
        operation_id="search_batch",
        response_model_exclude_none=True,
    )
    async def search_batch(body: questions.BatchBody, timeout: Timeout) -> answers.BatchOut:
        """Answers several questions. Each has an answer or an error of its own, in the order asked."""
        outcomes = await client.search_batch(
            [request_of(one) for one in body.requests], timeout=timeout, request_id=request_id.get()
        )
        return answers.BatchOut(items=[outcome_to(outcome) for outcome in outcomes])

    @routes.post(
        STREAM,
        openapi_extra={
            **rpc("SearchService.SearchStream"),
            "requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}},
        },
        operation_id="search_stream",
        response_class=Response,
        responses={200: {"content": _LINES, "description": "A StreamOut a line, in whatever order they are done."}},
    )
    async def search_stream(request: Request, timeout: Timeout) -> Duplex:
        """Answers a line of JSON (a StreamLine) for each line as it comes, in whatever order they are done."""
        lines = Lines(client, max_line=max_line, window=window, timeout=timeout)
        return Duplex(lines.answers(request.stream()))

    return routes


async def _answer(client: SearchClient, asked: SearchRequest, timeout: float) -> answers.SearchOut:
    found = await client.search(
        asked.query,
        collection=asked.collection,
        top_k=asked.top_k,
        min_score=asked.min_score,
        fields=asked.fields,
        filter=asked.filter,
        generation=asked.generation,
        refuse_partial=asked.refuse_partial,
        timeout=timeout,
        request_id=request_id.get(),
    )
    return answer_to(found)
