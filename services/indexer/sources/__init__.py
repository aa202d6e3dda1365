"""Where pictures come from, anywhere that fsspec reaches: folders, tables, archives, and ready-made embeddings."""

from services.indexer.sources.opening import open_source
from services.indexer.sources.source import KINDS, Part, Source, SourceOptions

__all__ = ["KINDS", "Part", "Source", "SourceOptions", "open_source"]
