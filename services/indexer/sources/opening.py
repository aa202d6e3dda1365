"""Opens a source of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.indexer.places import Place
from services.indexer.schema import Schema
from services.indexer.sources.delimited import open_csv
from services.indexer.sources.embeddings import in_number_order, open_clip_retrieval, open_npy
from services.indexer.sources.finding import find
from services.indexer.sources.folder import open_folder
from services.indexer.sources.jsonl import open_jsonl
from services.indexer.sources.parquet import open_parquet
from services.indexer.sources.source import (
    CLIP_RETRIEVAL,
    CSV,
    JSONL,
    KINDS,
    NPY,
    PARQUET,
    WEBDATASET,
    Source,
    SourceOptions,
)
from services.indexer.sources.tars import open_tars
from sightline.errors import InvalidArgument

_NOTHING_SAID = SourceOptions()
_TABLES: dict[str, Callable[[Sequence[tuple[str, Place]], SourceOptions], Source]] = {
    CSV: open_csv,
    JSONL: open_jsonl,
    PARQUET: open_parquet,
    WEBDATASET: open_tars,
}
_MATRICES = {CLIP_RETRIEVAL: open_clip_retrieval, NPY: open_npy}


def open_source(source: str, options: SourceOptions = _NOTHING_SAID) -> Source:
    """Opens a folder of pictures, tables of their addresses, archives of them, or ready-made embeddings.

    Args:
        source: a path or any fsspec URL, also with `*`, `?`, `[…]` or `{000..123}`.
        options: what kind it is, and which column is what, where that is not to be found out.

    Raises:
        NotFound: there is nothing at `source`.
        InvalidArgument: it is no such thing, is broken as a whole, or the options do not fit it.
        Unavailable: it cannot be read.
    """
    if options.kind not in ("", *KINDS):
        raise InvalidArgument(f"may be {', '.join(KINDS)}, not {options.kind!r}", field="--source-kind")
    Schema(options.types)
    found = find(source, options.kind)
    if found.folder is not None:
        return open_folder(found.folder)
    if found.kind in _MATRICES:
        return _MATRICES[found.kind](in_number_order(found.places), found.beside, options)
    return _TABLES[found.kind](found.files, options)
