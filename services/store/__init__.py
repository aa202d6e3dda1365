"""Generations at rest: names, manifests, pointers. What is in the files is the business of services.index.

Building and publishing:

    store = Store("file:///data/index")
    draft = store.begin("emoji")
    trained = index.train("Flat", dimension, sample)           # once; shared by all shards
    for shard in range(shards):
        images = index.write_shard(draft.folder(shard), rows_by_id(shard), trained, types)
        draft.seal(shard, images)
    manifest = draft.publish(model, index="Flat", attributes=attributes)
    store.set_next("emoji", manifest.generation)               # searchers load it beside the old one
    store.commit_current("emoji", store.pointers("emoji").current, Pointer(manifest.generation, previous=7))
    store.set_next("emoji", None)
"""

from services.store.draft import Draft
from services.store.filterable import check_filterable
from services.store.manifest import ATTRIBUTES_FILE, FORMAT, AttributeField, File, Manifest, Model, Shard
from services.store.names import check_collection, check_id, shard_of
from services.store.store import Pointer, Pointers, Store
from services.store.transfer import verify

__all__ = [
    "ATTRIBUTES_FILE",
    "FORMAT",
    "AttributeField",
    "Draft",
    "File",
    "Manifest",
    "Model",
    "Pointer",
    "Pointers",
    "Shard",
    "Store",
    "check_collection",
    "check_filterable",
    "check_id",
    "shard_of",
    "verify",
]
