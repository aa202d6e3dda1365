"""EncoderService: messages in, messages out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from services.encoder.engine import Engine, Vector
from services.encoder.ports import Card
from services.runtime.wire import error_to_message, vector_to_bytes
from sightline.errors import InvalidArgument, SightlineError, Unavailable
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from sightline.v1 import common_pb2

MAX_ITEMS = 1024

log = logging.getLogger("sightline.encoder")

Context = grpc.aio.ServicerContext[Any, Any]


class EncoderServicer(encoder_pb2_grpc.EncoderServiceServicer):
    """Answers once an engine is there; until then it is Unavailable."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def open(self, engine: Engine) -> None:
        """Begins to answer."""
        self._engine = engine

    async def Encode(self, request: encoder_pb2.EncodeRequest, context: Context) -> encoder_pb2.EncodeResponse:
        engine = self._ready()
        if not 1 <= len(request.items) <= MAX_ITEMS:
            message = f"must be 1 to {MAX_ITEMS:,} of them, got {len(request.items):,}"
            raise InvalidArgument(message, reason="COUNT_OUT_OF_RANGE", field="items")
        now = asyncio.get_running_loop().time()
        remaining = context.time_remaining()
        until = None if remaining is None else now + remaining
        if all(item.WhichOneof("kind") == "pixels" for item in request.items):
            return _response(await _encode_stack(engine, request.items, now, until), engine.card)
        outcomes = await asyncio.gather(
            *(_encode(engine, item, f"items[{place}]", now, until) for place, item in enumerate(request.items)),
            return_exceptions=True,
        )
        return _response(outcomes, engine.card)

    async def Describe(self, request: encoder_pb2.DescribeRequest, context: Context) -> encoder_pb2.DescribeResponse:
        card = self._ready().card
        return encoder_pb2.DescribeResponse(
            model=_model(card),
            image_height=card.preparation.height,
            image_width=card.preparation.width,
            resize_mode=card.preparation.resize_mode,
            interpolation=card.preparation.interpolation,
            fill=card.preparation.fill,
            scope=card.scope,
            scope_note=card.scope_note,
            reading=card.reading,
        )

    def _ready(self) -> Engine:
        if self._engine is None:
            raise Unavailable("the encoder is loading its model", reason="WARMING_UP")
        return self._engine


async def _encode_stack(
    engine: Engine, items: Sequence[encoder_pb2.EncodeItem], now: float, until: float | None
) -> Sequence[Vector | Exception]:
    """Encodes prepared pictures together, within the call's deadline and the earliest of their own."""
    own = [now + item.remaining_ms / 1000 for item in items if item.remaining_ms]
    deadline = min([*own, *([until] if until is not None else [])], default=None)
    fields = [f"items[{place}].pixels" for place in range(len(items))]
    try:
        return await engine.stack([item.pixels for item in items], deadline, fields=fields)
    except SightlineError as error:
        return [error] * len(items)


async def _encode(engine: Engine, item: encoder_pb2.EncodeItem, field: str, now: float, until: float | None) -> Vector:
    """Encodes one item, within its own deadline and the call's."""
    own = now + item.remaining_ms / 1000 if item.remaining_ms else None
    deadline = min((one for one in (own, until) if one is not None), default=None)
    match item.WhichOneof("kind"):
        case "text":
            return await engine.text(item.text, deadline, field=f"{field}.text")
        case "image":
            return await engine.image(item.image, deadline, field=f"{field}.image")
        case "pixels":
            return await engine.pixels(item.pixels, deadline, field=f"{field}.pixels")
        case _:
            raise InvalidArgument("must be a text, an image or pixels", reason="ITEM_EMPTY", field=field)


def _response(outcomes: Sequence[Vector | BaseException], card: Card) -> encoder_pb2.EncodeResponse:
    vectors = np.zeros((len(outcomes), card.dimension), dtype=np.float32)
    errors = []
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, Exception):
            if not isinstance(outcome, SightlineError):
                log.error("item %d failed", place, exc_info=outcome)
            errors.append(encoder_pb2.ItemError(index=place, error=error_to_message(outcome)))
        elif isinstance(outcome, BaseException):
            raise outcome  # cancellation is no answer
        else:
            vectors[place] = outcome
    return encoder_pb2.EncodeResponse(vectors=vector_to_bytes(vectors), errors=errors, model=_model(card))


def _model(card: Card) -> common_pb2.Model:
    return common_pb2.Model(name=card.name, digest=card.digest, dimension=card.dimension)
