"""A store on a plain web server: it is served from, and never written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.index import Cache, load
from services.store import Pointer, Pointers, Store
from sightline.errors import FailedPrecondition, Unavailable
from tests.corpus import Corpus, publish
from tests.unit.serving import web_server


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_is_served_from(tmp_path: Path, ranges: bool) -> None:
    """Generations that were built in a folder are read from a web server of it, with ranges or without."""
    publish(Store(str(tmp_path / "store")), "c", Corpus.random(40))
    with web_server(tmp_path / "store", ranges=ranges) as server:
        store = Store(server.url)
        assert (store.collections(), store.pointers("c")) == (["c"], Pointers(Pointer(1), None))
        manifest = store.manifest("c", 1)
        assert load(store, manifest, range(len(manifest.shards)), cache=Cache(tmp_path / "cache")).images == 40
        for write in (lambda: store.set_next("c", 1), lambda: store.begin("c")):
            with pytest.raises(FailedPrecondition, match="can only be read"):
                write()


def test_a_web_server_that_is_gone_is_unavailable() -> None:
    """Nobody who listens is an error, and no empty store."""
    with pytest.raises(Unavailable, match="Cannot connect"):
        Store("http://127.0.0.1:9/index", timeout=10).collections()
