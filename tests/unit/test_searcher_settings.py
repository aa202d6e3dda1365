"""A searcher's settings, and how one is put together from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.runtime.settings import load
from services.searcher.__main__ import SERVICE, build
from services.searcher.settings import SearcherSettings
from services.store import Store
from tests.corpus import Corpus, publish


def test_a_group_beyond_the_groups_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Group 2 of 2 does not exist: the report names the variable."""
    for name, value in {"STORE": "/tmp", "GROUP": "2", "GROUPS": "2"}.items():
        monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    with pytest.raises(SystemExit):
        load(SearcherSettings)
    assert "SIGHTLINE_GROUPS: Value error, group is 2" in capsys.readouterr().err


def test_a_group_alone_needs_its_groups() -> None:
    """Group 1 of the one group that is there unless said otherwise does not exist either."""
    with pytest.raises(ValidationError, match="group is 1"):
        SearcherSettings(store="/tmp", group=1)


def test_the_cache_is_no_folder_that_others_can_make_first() -> None:
    """Copies go to a folder of the system's own unless said otherwise, whatever TMPDIR is."""
    assert SearcherSettings(store="/tmp").cache_dir == Path("/var/cache/sightline")


async def test_a_searcher_is_built_from_settings_alone(tmp_path: Path) -> None:
    """Given a store, the searcher loads what is published there and nothing of other groups."""
    store = Store(str(tmp_path))
    publish(store, "c", Corpus.random(50), shards=3)
    searcher = build(SearcherSettings(store=store.url, group=1, groups=2, cache_dir=tmp_path / "cache"))
    await searcher.warm()
    status = await searcher.servicer.Status(None, None)  # type: ignore[arg-type]
    assert [(one.collection, list(one.generations)) for one in status.collections] == [("c", [1])]
    await searcher.close()
    assert SERVICE == "sightline.internal.v1.SearcherService"
