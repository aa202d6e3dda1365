"""Shards: their files, and the search in them. The only importer of FAISS."""

from services.index.building import Row, Trained, check_factory, train, write_shard

__all__ = ["Row", "Trained", "check_factory", "train", "write_shard"]
