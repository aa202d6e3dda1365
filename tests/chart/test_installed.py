"""The question that `helm test` asks an installation."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.charts.rendering import CHART, CHECKOUT
from sightline import FakeClient, Image
from tests.sdk_server import Servicer, served_apart


def ask(address: str) -> subprocess.CompletedProcess[str]:
    """Runs it as the pod does."""
    script = (CHART / "files" / "installed.py").read_text(encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env={"GATEWAY": address},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_searches_all_that_is_published() -> None:
    """Where every shard answers, the test says how much was searched; where some do not, it fails."""
    fake = FakeClient([Image("a", caption="red apple")], collection="fruit", generation=3)
    with served_apart(Servicer(fake)) as address:
        whole = ask(address)
        fake.lose_shards(1)
        partial = ask(address)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "fruit: 1 images of generation 3" in whole.stdout
    assert partial.returncode == 1
    assert partial.stderr.startswith("Unavailable: ")


def test_it_fails_where_nobody_answers() -> None:
    """Where no gateway answers, the test fails with a sentence."""
    asked = ask("127.0.0.1:1")
    assert asked.returncode == 1
    assert asked.stderr.startswith("Unavailable: ")
