"""From the store into memory: copied where it is far, checked in any case, mapped, warmed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from services.index.generation import LoadedGeneration
from services.index.segment import Segment, required_files
from services.store import Manifest, Shard, Store, verify
from sightline.errors import FailedPrecondition, SightlineError

ABANDONED_SECONDS = 3600.0
"""A copy that has not grown for so long is nobody's any more."""


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
            segments[number] = Segment(folder, shard, manifest.model.dimension, manifest.index, manifest.types)
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
        final.parent.mkdir(parents=True, exist_ok=True)
        for left in (copy for copy in final.parent.glob("*.tmp") if not _is_growing(copy)):
            shutil.rmtree(left, ignore_errors=True)
        # A copy that is cut off is never taken for a whole one: it gets its name last. Until then its name is like no
        # other, also of a process with the same id in another container.
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f"{final.name}.", suffix=".tmp"))
        partial.chmod(0o755)
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
        """Removes the copies of all other generations of a collection, unless a process is making one at the moment.

        What is still mapped stays readable.
        """
        kept = {f"{generation:08d}" for generation in keep}
        for folder in self._at(collection, 0).parent.glob("*"):
            if folder.name not in kept and not any(map(_is_growing, folder.glob("*.tmp"))):
                shutil.rmtree(folder, ignore_errors=True)

    def _at(self, collection: str, generation: int) -> Path:
        return self._folder / collection / f"{generation:08d}"


def _is_growing(partial: Path) -> bool:
    """Whether a copy that has no name yet may still be somebody's."""
    try:
        changed = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
    except OSError:  # it has just got its name, or been removed
        return True
    return time.time() - changed < ABANDONED_SECONDS


def _verified(folder: Path, shard: Shard) -> Path:
    for file in shard.files:
        verify(folder, file)
    return folder
