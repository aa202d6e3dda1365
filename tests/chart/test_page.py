"""What docs/kubernetes.md tells a reader to type; the bar `cluster` runs all of it."""

from __future__ import annotations

import re
import subprocess

import yaml

from benchmarks.charts.rendering import of_kind, render
from benchmarks.kube.page import PAGE, blocks

NOT_RUN = ("docker build", "helm install adapter")
_FILE = re.compile(r"^cat >(\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def test_its_commands_are_sound_shell() -> None:
    """Each block of commands can be pasted into a shell."""
    assert len(blocks()) >= 8
    for block in blocks():
        read = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert read.stderr == "", block


def test_what_is_not_run_is_known() -> None:
    """Of the page's commands only those are not run that need an engine, a registry or a chart of others."""
    fences = re.findall(r"^```(\S*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    unmarked = [text for language, text in fences if language not in ("sh", "yaml")]
    assert [one for one in unmarked if not any(known in one for known in NOT_RUN)] == []
    assert len(unmarked) == len(NOT_RUN)


def test_its_values_make_a_release_that_builds_a_collection() -> None:
    """The chart takes the page's files of values, and makes a Job of the build that they name."""
    files = dict(pair for block in blocks() for pair in _FILE.findall(block))
    values = [yaml.safe_load(files[name]) for name in ("search.yaml", "photos.yaml")]
    objects = render(values[0] | values[1])
    names = [one["metadata"]["name"] for one in of_kind(objects, "Job")]
    assert any("photos" in name for name in names)
    assert of_kind(objects, "Deployment")
