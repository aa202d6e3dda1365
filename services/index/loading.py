"""From the store into memory: copied where it is far, checked in any case, mapped, warmed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from services.index.generation import LoadedGeneration
from services.index.segment import Segment, required_files
from services.store import Manifest, Shard, Store, verify
from sightline.errors import FailedPrecondition, SightlineError


def load(
    store: Store, manifest: Manifest, shards: Iterable[int], *, cache: Cache | None = None, verified: bool = True
) -> LoadedGeneration:
    """Loads some shards of a generation, checks and warms them. Blocks.

    Args:
        store: where it lies. On a disk of this machine its files are mapped where they are.
        manifest: of the generation.
        shards: the numbers of those to load.
        cache: where to copy the files to; needed where the store is not a local disk.
        verified: compare checksums.

    Raises:
        FailedPrecondition: files are missing, truncated or changed (CORRUPT_GENERATION), or there is no cache.
        Unavailable: the store fell silent.
    """
    segments: dict[int, Segment] = {}
    for number in shards:
        shard = manifest.shards[number]
        try:
            folder = _place(store, manifest, shard, cache, verified)
            segments[number] = Segment(folder, shard, manifest.model.dimension, manifest.index)
        except SightlineError as exc:
            # Which file of which shard, said once for all of them.
            raise type(exc)(f"shard {number}: {exc.message}", reason=exc.reason, field=exc.field) from exc
    loaded = LoadedGeneration(manifest, segments)
    loaded.warm()
    return loaded


def _place(store: Store, manifest: Manifest, shard: Shard, cache: Cache | None, verified: bool) -> Path:
    listed = {file.name for file in shard.files}
    if missing := [name for name in required_files(manifest.index) if name not in listed]:
        message = f"the manifest lists no {', '.join(missing)}"
        raise FailedPrecondition(message, reason="CORRUPT_GENERATION")
    folder = store.local_folder(manifest.collection, manifest.generation, shard.index)
    if folder is None and cache is None:
        raise FailedPrecondition("a store that is no local disk needs a cache_dir to copy to", reason="NO_CACHE")
    if folder is None and cache is not None:
        return cache.bring(store, manifest, shard)
    assert folder is not None
    for file in shard.files if verified else ():
        verify(folder, file)
    return folder


class Cache:
    """Copies of shards on a local disk: `<folder>/<collection>/<generation>/shard-0003`. Processes may share it.

    Args:
        folder: where to keep them; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def bring(self, store: Store, manifest: Manifest, shard: Shard) -> Path:
        """Returns the folder of a copy of the shard whose checksums are right; copies it if there is none yet."""
        final = self._at(manifest.collection, manifest.generation) / f"shard-{shard.index:04d}"
        if final.exists():
            try:
                return _verified(final, shard)
            except FailedPrecondition:
                shutil.rmtree(final, ignore_errors=True)
        # A copy that is cut off is never taken for a whole one: it gets its name last.
        partial = final.with_name(f"{final.name}.{os.getpid()}.tmp")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for file in shard.files:
                store.fetch(manifest.collection, manifest.generation, shard.index, file, partial / file.name)
            _verified(partial, shard)
            partial.rename(final)
        except OSError:
            if not final.exists():
                raise
            return _verified(final, shard)  # another process was first
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def prune(self, collection: str, keep: Collection[int]) -> None:
        """Removes the copies of all other generations of a collection. What is still mapped stays readable."""
        for folder in self._at(collection, 0).parent.glob("*"):
            if folder.name not in {f"{generation:08d}" for generation in keep}:
                shutil.rmtree(folder, ignore_errors=True)

    def _at(self, collection: str, generation: int) -> Path:
        return self._folder / collection / f"{generation:08d}"


def _verified(folder: Path, shard: Shard) -> Path:
    for file in shard.files:
        verify(folder, file)
    return folder
