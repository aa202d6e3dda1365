"""The pictures of a shard by what they look like, so that equal ones are found over all shards."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from services.indexer.chunks import pack

_ROWS = 4096
_SCHEMA = pa.schema([("digest", pa.uint64()), ("id", pa.string())])


@dataclass(slots=True)
class Twins:
    """Digests and ids, packed as they come."""

    _digests: list[int] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _packed: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, digest: int, identifier: str) -> None:
        """Notes one picture."""
        self._digests.append(digest)
        self._ids.append(identifier)
        if len(self._ids) == _ROWS:
            self._pack()

    def to_bytes(self) -> bytes:
        """All of them, as a file."""
        self._pack()
        return pack(_SCHEMA, self._packed)

    def _pack(self) -> None:
        columns = [pa.array(self._digests, pa.uint64()), pa.array(self._ids, pa.string())]
        self._packed.append(pa.record_batch(columns, _SCHEMA))
        self._digests, self._ids = [], []


def column(data: bytes, name: str) -> pa.ChunkedArray:
    """`digest`, uint64, or `id` of all pictures in such a file."""
    return pa.ipc.open_stream(data).read_all()[name]
