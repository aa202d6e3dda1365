"""What a generation consists of. A generation exists from the moment that its manifest does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from services.store.names import HASH
from sightline.errors import FailedPrecondition

FORMAT = 1
METRIC = "inner_product"
ATTRIBUTE_TYPES = ("string", "int", "double", "bool", "strings")


@dataclass(frozen=True, slots=True)
class Model:
    """The model that made the vectors.

    Attributes:
        name: for people.
        digest: hex digest of its weights and preprocessing; models are the same where their digests are.
        dimension: length of its vectors.
        scope: what it is for where it is not for pictures in general, such as `emoji`; else empty.
    """

    name: str
    digest: str
    dimension: int
    scope: str = ""


@dataclass(frozen=True, slots=True)
class AttributeField:
    """An attribute of the images: its name, its type (one of ATTRIBUTE_TYPES), and how many images have it."""

    name: str
    type: str
    images: int


@dataclass(frozen=True, slots=True)
class File:
    """A file of a shard: its name in the shard's folder, its bytes, and its SHA-256 as hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: its number, how many images it has, and its files by name."""

    index: int
    images: int
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generation of a collection.

    Attributes:
        collection, generation: which one this is.
        model: what made its vectors.
        images: how many there are in all shards.
        shards: by number, none missing.
        index: FAISS factory string; `Flat` is exact.
        metric: `inner_product` of unit vectors.
        hash: what spreads images over shards; see `shard_of`.
        attributes: by name.
        format: of the files; a reader refuses those that it does not know.
    """

    collection: str
    generation: int
    model: Model
    images: int
    shards: tuple[Shard, ...]
    index: str = "Flat"
    metric: str = METRIC
    hash: str = HASH
    attributes: tuple[AttributeField, ...] = ()
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Returns the manifest as JSON, the same bytes for equal manifests."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Reads a manifest.

    Raises:
        FailedPrecondition: reason BAD_MANIFEST: it is no JSON, a field is missing or wrong, or it is of a format,
            metric or hash that this version does not read.
    """
    raise NotImplementedError
