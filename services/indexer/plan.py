"""What a build is: everything that decides its bytes, settled before its first stage and the same for all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from services.indexer.ports import EncoderModel
from services.indexer.sources import SourceOptions
from services.pictures import Preparation

CHUNK = 1024
FORMAT = 1

_NAMES = {"index": "--index", "shards": "--shards", "scope": "--scope", "chunk": "--chunk"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built.

    Attributes:
        collection: what it is a generation of.
        shards: how many shards the images are spread over by their ids.
        index: a FAISS factory string; `Flat` is exact.
        scope: what the source is declared to be, such as `emoji`; empty where it is not.
        chunk: rows that are read and encoded, and begun again after a kill, as one.
        source: its address, and `options` what was said of it.
    """

    collection: str
    shards: int = 4
    index: str = "Flat"
    scope: str = ""
    chunk: int = CHUNK
    source: str = ""
    options: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True, slots=True)
class Begun:
    """A build that has begun, as its work folder tells all stages.

    Attributes:
        fingerprint: of the source as it was then.
        kind: of the source.
        parts: how many the source has.
        rows: how many rows, where that is cheap to know.
        types: of attributes, where they are known before any row is read.
        model: whose vectors they will be.
        passed_over: files of a folder that are no pictures by their names.
        generation: the number that was claimed.
        sealed: whether the generation is there, so that only tidying is left.
    """

    plan: Plan
    fingerprint: str
    kind: str
    parts: int
    rows: int | None
    types: Mapping[str, str]
    model: EncoderModel
    passed_over: int = 0
    generation: int = 0
    sealed: bool = False

    def to_json(self) -> bytes:
        """As it lies in the work folder."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Reads what `to_json` wrote. Raises ValueError, KeyError or TypeError where it is something else."""
        record = json.loads(data)
        if record.pop("format") != FORMAT:
            raise ValueError("another format")
        plan, model = record.pop("plan"), record.pop("model")
        chosen = plan["options"]["attributes"]
        options = SourceOptions(**plan.pop("options") | {"attributes": None if chosen is None else tuple(chosen)})
        model["preparation"] = Preparation(**model["preparation"])
        return cls(plan=Plan(**plan, options=options), model=EncoderModel(**model), **record)

    def differences(self, other: Begun) -> dict[str, str]:
        """What another build differs in from this one, by name, and how; empty where both make the same bytes."""
        found = {
            _NAMES.get(
                one.name, one.name
            ): f"was {getattr(self.plan, one.name)!r}, is {getattr(other.plan, one.name)!r}"
            for one in fields(Plan)
            if getattr(self.plan, one.name) != getattr(other.plan, one.name)
        }
        if self.model.digest != other.model.digest:
            found["model"] = f"was {self.model.name}, is {other.model.name}"
        if not found and (self.fingerprint, self.parts) != (other.fingerprint, other.parts):
            found["source"] = "has changed since"
        return found

    def token(self, where: str) -> bytes:
        """What a generation's number is claimed with; the same for all processes of a build, and however often it is
        begun again. Two builds in different work folders have different ones."""
        said: dict[str, Any] = {"collection": self.plan.collection, "source": self.plan.source, "work": where}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest().encode() + b"\n"
