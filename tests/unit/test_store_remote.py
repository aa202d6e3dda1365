"""What file systems are told of stores over a network."""

from __future__ import annotations

import fsspec.config
import pytest

from services.store.remote import hidden, options, without_secrets


def test_a_call_that_hangs_leaves_time_for_another() -> None:
    """Within the time of one call, a connection that is silent is given up and another tried."""
    told = options("s3://bucket/folder", 4)["config_kwargs"]
    assert (told["connect_timeout"], told["read_timeout"]) == (2, 2)
    assert options("s3://bucket/folder", 600)["config_kwargs"]["read_timeout"] == 15
    assert told["retries"]["total_max_attempts"] > 1


def test_listings_are_never_cached() -> None:
    """What others publish is seen."""
    for url in ("s3://bucket/folder", "/data", "https://example/x"):
        assert options(url, 1)["use_listings_cache"] is False


def test_what_fsspec_is_configured_with_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's own settings of the S3 client are kept, and win."""
    own = {"config_kwargs": {"read_timeout": 99, "s3": {"addressing_style": "path"}}}
    monkeypatch.setitem(fsspec.config.conf, "s3", own)
    told = options("s3://bucket/folder", 4)["config_kwargs"]
    assert (told["read_timeout"], told["connect_timeout"]) == (99, 2)
    assert told["s3"] == {"addressing_style": "path"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host/x@y", "https://host/x@y"),
        ("https://host/x", "https://host/x"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("/data/a@b", "/data/a@b"),
    ],
)
def test_urls_are_shown_without_their_secrets(url: str, shown: str) -> None:
    """The name and the password of a URL are in no message, and the rest is as it was."""
    assert hidden(url) == shown
    assert without_secrets(f"cannot open {url}", url) == f"cannot open {shown}"
