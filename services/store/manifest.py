"""What a generation consists of. A generation exists from the moment that its manifest does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, TypeVar

from services.store.names import HASH
from sightline.errors import FailedPrecondition

FORMAT = 1
METRIC = "inner_product"
ATTRIBUTES_FILE = "attributes.arrow"
"""The file of a shard that filters are applied to. Generations of before there were filters have none, and are of the
same format: whoever knows no filters reads the others as they are."""

ATTRIBUTE_TYPES = ("string", "int", "double", "bool", "strings")
MAX_SHARDS = 65_536
MAX_DIMENSION = 65_536

T = TypeVar("T")


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

    @property
    def types(self) -> dict[str, str]:
        """The type of each attribute by name."""
        return {one.name: one.type for one in self.attributes}

    @property
    def filterable(self) -> bool:
        """Whether every shard has a table of attributes."""
        return all(any(file.name == ATTRIBUTES_FILE for file in shard.files) for shard in self.shards)

    def to_json(self) -> bytes:
        """Returns the manifest as JSON, the same bytes for equal manifests."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Reads a manifest.

    Raises:
        FailedPrecondition: reason BAD_MANIFEST: it is no JSON, a field is missing or wrong, or it is of a format,
            metric or hash that this version does not read.
    """
    try:
        record = _Record(json.loads(data), "")
    except (ValueError, RecursionError) as exc:
        raise FailedPrecondition(f"the manifest is not JSON: {exc}", reason="BAD_MANIFEST") from exc
    record.known("format", FORMAT)
    record.known("metric", METRIC)
    record.known("hash", HASH)
    manifest = Manifest(
        collection=record.text("collection"),
        generation=record.number("generation", 1),
        model=_model(record.record("model")),
        images=record.number("images"),
        shards=tuple(_shard(one) for one in record.records("shards")),
        index=record.text("index"),
        attributes=tuple(_attribute(one) for one in record.records("attributes")),
    )
    _check_shards(manifest)
    return manifest


def _model(record: _Record) -> Model:
    dimension = record.number("dimension", 1, MAX_DIMENSION)
    return Model(record.text("name"), record.text("digest"), dimension, record.text("scope", empty=True))


def _attribute(record: _Record) -> AttributeField:
    kind = record.text("type")
    if kind not in ATTRIBUTE_TYPES:
        record.refuse("type", f"is {kind!r}, none of {', '.join(ATTRIBUTE_TYPES)}")
    return AttributeField(record.text("name"), kind, record.number("images"))


def _shard(record: _Record) -> Shard:
    files = tuple(_file(one) for one in record.records("files"))
    return Shard(record.number("index"), record.number("images"), files)


def _file(record: _Record) -> File:
    name, sha256 = record.text("name"), record.text("sha256")
    # A name that leads elsewhere would be opened there.
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        record.refuse("name", f"is {name!r}, no plain file name")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        record.refuse("sha256", "is no hex digest of 64 digits")
    return File(name, record.number("size"), sha256)


def _check_shards(manifest: Manifest) -> None:
    numbers = [shard.index for shard in manifest.shards]
    if not 1 <= len(numbers) <= MAX_SHARDS or numbers != list(range(len(numbers))):
        _refuse(f"shards are numbered {numbers[:8]}…, not 0 to n - 1")
    if (total := sum(shard.images for shard in manifest.shards)) != manifest.images:
        _refuse(f"images is {manifest.images}, but the shards have {total}")


class _Record:
    """A JSON object whose fields are read with a check; `where` is its place in the manifest, for messages."""

    def __init__(self, value: Any, where: str) -> None:
        self._where = where
        if not isinstance(value, dict):
            _refuse(f"{where or 'it'} is no object")
        self._fields: Mapping[str, Any] = value

    def text(self, name: str, *, empty: bool = False) -> str:
        value = self._get(name, str)
        return value if value or empty else self.refuse(name, "is empty")

    def number(self, name: str, least: int = 0, most: int = 2**63 - 1) -> int:
        value = self._get(name, int)
        if isinstance(value, bool) or not least <= value <= most:
            self.refuse(name, f"is {value!r}, not {least} to {most}")
        return value

    def record(self, name: str) -> _Record:
        return _Record(self._get(name, dict), self._path(name))

    def records(self, name: str) -> list[_Record]:
        return [_Record(one, f"{self._path(name)}[{place}]") for place, one in enumerate(self._get(name, list))]

    def known(self, name: str, value: int | str) -> None:
        found = self._fields.get(name)
        if found != value or type(found) is not type(value):
            self.refuse(name, f"is {found!r}; this version reads {value!r}")

    def refuse(self, name: str, fault: str) -> NoReturn:
        _refuse(f"{self._path(name)} {fault}")

    def _get(self, name: str, kind: type[T]) -> T:
        if name not in self._fields:
            self.refuse(name, "is missing")
        value = self._fields[name]
        if not isinstance(value, kind):
            self.refuse(name, f"is {str(value)[:80]!r}, not of type {kind.__name__}")
        return value

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name


def _refuse(fault: str) -> NoReturn:
    raise FailedPrecondition(f"the manifest cannot be used: {fault}", reason="BAD_MANIFEST")
