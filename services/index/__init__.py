"""Shards: their files, and the search in them. The only importer of FAISS."""

from services.index.building import Row, Trained, check_factory, train, write_shard
from services.index.engine import use_threads
from services.index.generation import Hits, LoadedGeneration
from services.index.loading import Cache, load

__all__ = [
    "Cache",
    "Hits",
    "LoadedGeneration",
    "Row",
    "Trained",
    "check_factory",
    "load",
    "train",
    "use_threads",
    "write_shard",
]
