"""A generation while it is being built."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.store.files import Files
from services.store.manifest import AttributeField, File, Manifest, Model, Shard
from services.store.transfer import checksum
from services.store.writing import sync_folder
from sightline.errors import FailedPrecondition

CLAIM = "CLAIM"
"""The file that holds a generation's number from the moment that it is begun."""


def shard_name(shard: int) -> str:
    """Returns the name of a shard's folder."""
    return f"shard-{shard:04d}"


class Draft:
    """A generation that is being built. It is none until `publish`; one that is given up is never served.

    On a local disk the files are written where they stay; elsewhere they are written here and brought there.

    Attributes:
        collection, generation: what it will be.
    """

    def __init__(self, files: Files, home: str, collection: str, generation: int) -> None:
        self.collection, self.generation = collection, generation
        self._files, self._home = files, home
        self._in_place = files.local is not None
        self._folder = files.local / home if files.local else Path(tempfile.mkdtemp(prefix="sightline-draft-"))
        self._shards: dict[int, Shard] = {}

    def folder(self, shard: int) -> Path:
        """Returns the local folder, made and empty, for the files of a shard."""
        folder = self._folder / shard_name(shard)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self._shards.pop(shard, None)
        return folder

    def seal(self, shard: int, images: int) -> Shard:
        """Checksums the files in the shard's folder and brings them to the store; `images` is how many it has."""
        folder = self._folder / shard_name(shard)
        files = tuple(self._keep(shard, path) for path in sorted(folder.iterdir()))
        if self._in_place:
            sync_folder(folder)
            sync_folder(folder.parent)
        else:
            shutil.rmtree(folder)
        self._shards[shard] = Shard(shard, images, files)
        return self._shards[shard]

    def adopt(self, shard: Shard) -> None:
        """Takes over a shard of this generation that another process has sealed."""
        self._shards[shard.index] = shard

    def publish(self, model: Model, *, index: str = "Flat", attributes: Sequence[AttributeField] = ()) -> Manifest:
        """Writes the manifest over all sealed shards: from now on the generation exists, and can be pointed to.

        Raises:
            FailedPrecondition: the sealed shards are not 0 to n - 1 (SHARDS_MISSING).
        """
        shards = tuple(self._shards[number] for number in sorted(self._shards))
        if not shards or [shard.index for shard in shards] != list(range(len(shards))):
            message = f"the shards {sorted(self._shards)} are sealed; all from 0 to n - 1 must be"
            raise FailedPrecondition(message, reason="SHARDS_MISSING")
        images = sum(shard.images for shard in shards)
        named = tuple(sorted(attributes, key=lambda attribute: attribute.name))
        manifest = Manifest(self.collection, self.generation, model, images, shards, index, attributes=named)
        self._files.write(f"{self._home}/manifest.json", manifest.to_json())
        self.close()
        return manifest

    def discard(self) -> None:
        """Removes what was built. The number stays used."""
        for name in self._files.names(self._home):
            if name != CLAIM:
                self._files.remove(f"{self._home}/{name}")
        self.close()

    def close(self) -> None:
        """Removes what lies on this machine of a generation that lies elsewhere."""
        if not self._in_place:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, shard: int, path: Path) -> File:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        if not self._in_place:
            self._files.upload(path, f"{self._home}/{shard_name(shard)}/{path.name}")
        return File(path.name, path.stat().st_size, checksum(path))
