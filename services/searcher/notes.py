"""What a searcher last knew of the store, beside its copies of shards: enough to start while the store is silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.store import Manifest, Pointer, Pointers
from services.store.manifest import parse_manifest
from services.store.writing import LocalWriter
from sightline.errors import SightlineError

log = logging.getLogger("sightline.notes")


@dataclass(frozen=True, slots=True)
class Noted:
    """What was known of a collection: where its pointers were, and the manifests of what they point to."""

    pointers: Pointers
    manifests: Mapping[int, Manifest]


class Notes:
    """Keeps what is known in a file. One that cannot be written or read is as good as none.

    Args:
        file: where.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written: dict[str, Noted] = {}

    def read(self) -> dict[str, Noted]:
        """Returns what was written last, by collection; nothing where there is nothing that can be read."""
        try:
            written = json.loads(self._file.read_bytes())
            return {name: _parse(record) for name, record in written.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SightlineError) as error:
            log.warning("%s is of no use: %s", self._file, error)
            return {}

    def write(self, known: Mapping[str, Noted]) -> None:
        """Replaces what is written, where it is not that already."""
        if known == self._written:
            return
        record = {name: _record(noted) for name, noted in known.items()}
        try:
            LocalWriter().write(str(self._file), json.dumps(record).encode())
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error)
        self._written = dict(known)


def _record(noted: Noted) -> dict[str, object]:
    current = noted.pointers.current
    return {
        "current": [current.generation, current.previous] if current else None,
        "next": noted.pointers.next,
        "manifests": _texts(noted.manifests.values()),
    }


def _texts(manifests: Iterable[Manifest]) -> list[str]:
    return [manifest.to_json().decode() for manifest in manifests]


def _parse(record: dict[str, object]) -> Noted:
    current, following, texts = record["current"], record["next"], record["manifests"]
    if not isinstance(texts, list) or not isinstance(current, list | None) or not isinstance(following, int | None):
        raise ValueError("it is none of ours")
    manifests = [parse_manifest(text.encode()) for text in texts]
    pointer = Pointer(int(current[0]), int(current[1])) if current else None
    return Noted(Pointers(pointer, following), {one.generation: one for one in manifests})
