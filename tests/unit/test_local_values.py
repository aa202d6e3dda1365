"""The chart's values, read for the processes of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.local.__main__ import main
from services.local.checks import OptionError
from services.local.values import Values, as_text, read_values


def values(folder: Path, *contents: dict[str, Any]) -> Values:
    """Reads values from files."""
    files = [folder / f"{number}.yaml" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(yaml.safe_dump(content))
    return read_values(files)


def test_settings_are_those_of_the_file(tmp_path: Path) -> None:
    """Each role has its settings as text, over the chart's own; a later file lies over an earlier one."""
    first = {"gateway": {"settings": {"poll_seconds": 2, "cache_bytes": 134217728}}}
    second = {"gateway": {"settings": {"poll_seconds": 0.25, "cache_bytes": None}}}
    read = values(tmp_path, first, second)
    assert read.settings["gateway"] == {"poll_seconds": "0.25"}
    assert read.settings["encoder"] == {"model": "models/emoji"}


def test_pools_lay_their_settings_over_the_block(tmp_path: Path) -> None:
    """A pool of encoders has the settings of the block, and its own over them."""
    pools = {"b": {"settings": {"threads": 1}}, "a": {}}
    read = values(tmp_path, {"encoder": {"settings": {"threads": 4}, "pools": pools}})
    assert {name: pool["threads"] for name, pool in read.pools.items()} == {"a": "4", "b": "1"}


def test_the_store_comes_with_what_lies_beside_it(tmp_path: Path) -> None:
    """Where the store is, and how it is reached, are read too."""
    read = values(tmp_path, {"store": {"url": "s3://bucket/index", "env": {"AWS_ENDPOINT_URL": "http://store:7070"}}})
    assert read.store == "s3://bucket/index"
    assert read.environment == {"AWS_ENDPOINT_URL": "http://store:7070"}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (3, "3"), (2.0, "2"), (0.05, "0.05"), (1e-05, "0.00001"), ("a", "a")]
)
def test_a_value_is_written_as_the_chart_writes_it(value: object, text: str) -> None:
    """Numbers in full, without an exponent and without a fraction that is none."""
    assert as_text(value) == text


@pytest.mark.parametrize("name", ["poll_second", "encoders"])
def test_what_no_process_knows_is_refused(tmp_path: Path, name: str) -> None:
    """A setting that is none, or one that is filled in anyway, is named."""
    with pytest.raises(OptionError, match=f"gateway.settings.{name} is no setting"):
        values(tmp_path, {"gateway": {"settings": {name: 1}}})


def test_a_store_must_be_said_somewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --store and without one in the values, nothing is started."""
    (tmp_path / "values.yaml").write_text("{}")
    assert main(["up", "--values", str(tmp_path / "values.yaml")]) == 1
    assert "--store: say where the generations are" in capsys.readouterr().out


def test_a_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, or is no YAML, is named."""
    assert main(["up", "--values", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in " ".join(capsys.readouterr().out.split())
