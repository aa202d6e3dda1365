"""The demonstration: what it does again, and what it finds done."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.local import demo
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from services.store import Store
from tests.corpus import Corpus, publish


def test_pictures_are_indexed_again_where_the_store_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published is not indexed twice; where the store was removed on its own, it is indexed anew."""
    builds: list[Sequence[str]] = []
    store = tmp_path / "store"

    def build(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        builds.append(command)
        publish(Store(str(store)), demo.COLLECTION, Corpus.random(4))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", build)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / ".stamp").write_text("drawn")
    nobody = Topology(0, 0, 0, 0, redis=False)
    cluster = LocalCluster(store=str(store), model="", run_dir=tmp_path / "run", topology=nobody)
    for expected in (1, 1):
        demo._index(cluster, tmp_path)
        assert len(builds) == expected
    shutil.rmtree(store)
    demo._index(cluster, tmp_path)
    assert len(builds) == 2
