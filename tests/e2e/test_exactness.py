"""A short sample of the bar `exactness`: real processes, the bundled model, some of the pictures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.emoji import read
from benchmarks.exactness import prove
from benchmarks.ways import WAYS
from services.local.cluster import LocalCluster


def test_merged_answers_equal_brute_force(cluster: LocalCluster, pictures: Path, tmp_path: Path) -> None:
    """However a collection is sharded and grouped, and in whatever way it is asked, the answer is that of brute force
    over all vectors."""
    chosen = read(pictures)[::60]
    texts, files = [one.caption for one in chosen], [one.file.read_bytes() for one in chosen]

    tally = prove(tmp_path, cluster.addresses("encoder")[0], pictures, texts, files, shards=(1, 3), groups=(2,))

    assert tally.faults == []
    assert tally.answers == 5 * len(chosen) * 2 * len(WAYS)
    assert tally.score_error < 1e-5
