"""What the documentation says of the chart; the bar `cluster` runs what docs/kubernetes.md tells a reader to type."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.charts.rendering import CHART, CHECKOUT, Object, of_kind, pod_templates, render
from benchmarks.kube.page import PAGE, blocks

NOT_RUN = ("docker build", "helm install adapter")
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
# Said to Helm, or named in a sentence: `redis.maxMemory`, `searcher.pods.spread.node: DoNotSchedule`.
_SET = re.compile(r"--set(?:-json|-string)? [\"']?([\w.-]+)=")
_NAMED = re.compile(r"`([a-z]\w*(?:\.[A-Za-z]\w*)+)(?=[`:=])")
# Files, entries of Secrets, and a value of another chart.
OTHERS = {"encoder.py", "image.onnx", "tls.crt", "tls.key", "prometheus.url"}
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


def test_what_its_values_ask_of_a_cluster() -> None:
    """The page says how much its first values ask for, and how much more its build does."""
    files = dict(pair for block in blocks() for pair in _FILE.findall(block))
    objects = render(yaml.safe_load(files["search.yaml"]) | yaml.safe_load(files["photos.yaml"]))
    serving, building = (asked(of_kind(objects, kind)) for kind in ("Deployment", "Job"))
    said = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "for {:g} cores, {:.1f} GiB of memory and {:g} GiB of ephemeral storage".format(*serving) in said
    assert "for {:g} cores, {:g} GiB and {:g} GiB more".format(*building) in said


def asked(objects: list[Object]) -> list[float]:
    """What all replicas of workloads ask for together: cores, GiB of memory, GiB of ephemeral storage."""
    units = {"": 1, "m": 1 / 1000, "Mi": 1 / 1024, "Gi": 1}
    sums = dict.fromkeys(("cpu", "memory", "ephemeral-storage"), 0.0)
    for one, template in pod_templates(objects):
        for name, quantity in template["spec"]["containers"][0]["resources"]["requests"].items():
            number = quantity.rstrip("mMGi")
            sums[name] += float(number) * units[quantity.removeprefix(number)] * one["spec"].get("replicas", 1)
    return list(sums.values())


def named(page: Path) -> Iterator[str]:
    """The values that a page names."""
    text = page.read_text(encoding="utf-8")
    yield from _SET.findall(text)
    yield from (path for path in _NAMED.findall(text) if path.partition(".")[0] in SCHEMA["properties"])


def is_known(path: str) -> bool:
    """Whether the schema has such a value; maps with keys of the user's own have any."""
    node: Any = SCHEMA
    for name in path.split("."):
        node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        kinds = node.get("patternProperties", {}).items()
        fits = (one for pattern, one in kinds if re.search(pattern, name))
        node = node.get("properties", {}).get(name) or next(fits, node.get("additionalProperties"))
        if not isinstance(node, dict):
            return False
    return True


@pytest.mark.parametrize("page", [page for page in PAGES if any(named(page))], ids=lambda page: page.name)
def test_values_that_a_page_names_exist(page: Path) -> None:
    """Each value that the documentation names, in a command or in a sentence, is one of the chart or of a workload."""
    unknown = {path for path in named(page) if not is_known(path) and not is_known(f"gateway.{path}")}
    assert unknown - OTHERS == set()


def test_values_that_do_not_exist_are_noticed() -> None:
    """A value that the chart does not have is found out, at whatever depth."""
    known = ("searcher.pods.rollout.maxSurge", "encoder.pools.t4.settings.max_text_tokens", "store.env.AWS_REGION")
    assert [is_known(path) for path in known] == [True, True, True]
    assert not any(map(is_known, ("searchers.groups", "searcher.pods.surge", "gateway.settings.pollSeconds")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_values_files_of_the_pages_are_taken(page: Path) -> None:
    """Each piece of a values file in the documentation makes a release."""
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        values = yaml.safe_load(block)
        if values.keys() <= SCHEMA["properties"].keys():
            assert render({"store": {"url": "s3://bucket/index"}, **values})
