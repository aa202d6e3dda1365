"""A short sample of the bar `single-flight`: the same questions, asked by fewer callers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.single_flight import prove, serving


def test_identical_queries_are_answered_once(pictures: Path, tmp_path: Path) -> None:
    """Identical queries in flight cost one encode and one search a group, a first caller who leaves fails nobody, and a
    hit in either cache reports its own request id, state and times."""
    with serving(tmp_path, pictures) as cluster:
        proof = prove(cluster, 60)

    assert proof.faults == []
