"""Folders that take long to make, and are made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from training.sources import cache_folder


def kept(name: str, make: Callable[[Path], None], *, fresh: bool = False) -> Path:
    """Returns the folder of a name, made where it is not there. It gets its name when it is whole, so that one that was
    cut off is never taken for it.

    Args:
        name: of the folder, below that of downloads; says everything that decides what is in it.
        make: fills an empty folder, which is renamed afterwards.
        fresh: make it anew.
    """
    folder = cache_folder() / name
    if folder.exists() and not fresh:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        make(making)
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    except OSError:
        if not folder.exists():  # or somebody else was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
