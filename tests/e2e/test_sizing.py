"""What each tier needs, measured in short; `make prove BAR=sizing` does it in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import sizing
from benchmarks.sizing import MILLION, Searcher
from benchmarks.variations import DIMENSION


def test_what_an_image_adds_is_told_from_what_a_process_needs_in_any_case() -> None:
    """Of two sizes, the difference is the images', and the rest is the process'."""
    small = Searcher(images=1_000, disk=2_000_000, memory=80_000_000 + 3_000_000, cpu=1e-4)
    large = Searcher(images=5_000, disk=10_000_000, memory=80_000_000 + 15_000_000, cpu=2e-4)
    told = sizing.of_an_image(small, large)
    assert told[MILLION] == 3.0
    assert told["GB on disk of a million images"] == 2.0
    assert told["MB of memory without images"] == 80.0


def test_a_searcher_of_more_images_takes_more(tmp_path: Path) -> None:
    """A real searcher's memory, files and processor time grow with its images."""
    drawn = np.random.default_rng(1).standard_normal((20_000, DIMENSION)).astype(np.float32)
    images = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    small, large = (
        sizing.measured(tmp_path, "Flat", images[:size], queries=64, rounds=1) for size in (1_000, len(images))
    )
    assert large.disk > 15 * small.disk
    assert large.memory - small.memory > images[1_000:].nbytes / 2
    assert large.cpu > small.cpu
