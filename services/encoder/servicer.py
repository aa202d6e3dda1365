"""EncoderService: messages in, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from services.encoder.engine import Engine, Tokens, check_text
from services.encoder.model import Description
from services.runtime.wire import error_to_message, vector_to_bytes
from sightline.errors import InvalidArgument, SightlineError, Unavailable
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from sightline.v1 import common_pb2

Context = grpc.aio.ServicerContext[Any, Any]
Vector = NDArray[np.float32]


class EncoderServicer(encoder_pb2_grpc.EncoderServiceServicer):
    """Answers once a model is there; until then it is Unavailable."""

    def __init__(self) -> None:
        self._loaded: tuple[Engine, Description] | None = None

    def open(self, engine: Engine, description: Description) -> None:
        """Begins to answer."""
        self._loaded = engine, description

    async def Encode(self, request: encoder_pb2.EncodeRequest, context: Context) -> encoder_pb2.EncodeResponse:
        engine, description = self._ready()
        now = asyncio.get_running_loop().time()
        tokens = await _tokens(engine, request.items)
        outcomes = await asyncio.gather(
            *(
                _encode(engine, item, tokens.get(place), now + item.remaining_ms / 1000 if item.remaining_ms else None)
                for place, item in enumerate(request.items)
            ),
            return_exceptions=True,
        )
        return _response(outcomes, description)

    async def Describe(self, request: encoder_pb2.DescribeRequest, context: Context) -> encoder_pb2.DescribeResponse:
        _, description = self._ready()
        preparation = description.preparation
        return encoder_pb2.DescribeResponse(
            model=_model(description),
            image_height=preparation.height,
            image_width=preparation.width,
            resize_mode=preparation.resize_mode,
            interpolation=preparation.interpolation,
            fill=preparation.fill,
            scope=description.scope,
            scope_note=description.scope_note,
        )

    def _ready(self) -> tuple[Engine, Description]:
        if self._loaded is None:
            raise Unavailable("the encoder is loading its model", reason="WARMING_UP")
        return self._loaded


async def _tokens(engine: Engine, items: Sequence[encoder_pb2.EncodeItem]) -> dict[int, Tokens | SightlineError]:
    """Returns the tokens of the texts, or what is wrong with them, by their place."""
    found: dict[int, Tokens | SightlineError] = {}
    texts: dict[int, str] = {}
    for place, item in enumerate(items):
        if item.WhichOneof("kind") == "text":
            try:
                texts[place] = check_text(item.text)
            except InvalidArgument as error:
                found[place] = error
    if texts:
        found.update(zip(texts, await engine.tokenise(list(texts.values())), strict=True))
    return found


async def _encode(
    engine: Engine, item: encoder_pb2.EncodeItem, tokens: Tokens | SightlineError | None, deadline: float | None
) -> Vector:
    match item.WhichOneof("kind"):
        case "text":
            if isinstance(tokens, SightlineError):
                raise tokens
            assert tokens is not None, "texts have been tokenised"
            return await engine.encode_tokens(tokens, deadline)
        case "image":
            return await engine.encode_image(item.image, deadline)
        case "pixels":
            return await engine.encode_pixels(item.pixels, deadline)
        case _:
            raise InvalidArgument("must be a text, an image or pixels", reason="ITEM_EMPTY", field="kind")


def _response(outcomes: Sequence[Vector | BaseException], description: Description) -> encoder_pb2.EncodeResponse:
    vectors = np.zeros((len(outcomes), description.dimension), dtype=np.float32)
    errors = []
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, Exception):
            errors.append(encoder_pb2.ItemError(index=place, error=error_to_message(outcome)))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            vectors[place] = outcome
    return encoder_pb2.EncodeResponse(vectors=vector_to_bytes(vectors), errors=errors, model=_model(description))


def _model(description: Description) -> common_pb2.Model:
    return common_pb2.Model(name=description.name, digest=description.digest, dimension=description.dimension)
