"""A short sample of the bar `exactness`: real processes, the bundled model, some of the pictures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.emoji import draw, read, some
from benchmarks.exactness import prove
from benchmarks.ways import WAYS


def test_merged_answers_equal_brute_force(tmp_path: Path) -> None:
    """However a collection is sharded and grouped, and in whatever way it is asked, the answer is that of brute force
    over all vectors."""
    source = some(draw(), 20, tmp_path)
    pictures = read(source)[::15]
    texts, files = [one.caption for one in pictures], [one.file.read_bytes() for one in pictures]

    tally = prove(tmp_path, source, texts, files, shards=(1, 3), groups=(2,))

    assert tally.faults == []
    assert tally.answers == 5 * len(pictures) * 2 * len(WAYS)
    assert tally.score_error < 1e-5
