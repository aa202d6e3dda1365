"""Manifests: what they say, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.store import AttributeField, File, Manifest, Model, Shard
from services.store.manifest import parse_manifest
from sightline.errors import FailedPrecondition

MANIFEST = Manifest(
    collection="emoji",
    generation=7,
    model=Model("small", "ab" * 32, 256, "emoji"),
    images=3,
    shards=(Shard(0, 2, (File("vectors.f32", 2048, "0" * 64),)), Shard(1, 1, ())),
    attributes=(AttributeField("group", "string", 3),),
)


def test_a_manifest_comes_back_as_it_was_written() -> None:
    """Reading a manifest gives the manifest, and equal manifests are equal bytes."""
    written = MANIFEST.to_json()
    assert parse_manifest(written) == MANIFEST
    assert parse_manifest(written).to_json() == written


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.pop(name)


def _with(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.update(fields)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_with(format=2), "format is 2; this version reads 1"),
        (_with(format=True), "format is True"),
        (_with(metric="l2"), "metric is 'l2'"),
        (_with(hash="md5"), "hash is 'md5'"),
        (_without("format"), "format is None"),
        (_without("model"), "model is missing"),
        (_with(model={"name": "m", "digest": "d", "scope": "", "dimension": 0}), "model.dimension is 0"),
        (_with(model=[]), "model is '\\[\\]', not of type dict"),
        (_with(generation="7"), "generation is '7'"),
        (_with(images=4), "images is 4, but the shards have 3"),
        (_with(shards=[]), "not 0 to n - 1"),
        (_with(shards=[{"index": 1, "images": 3, "files": []}]), "not 0 to n - 1"),
        (_with(shards=[{"index": 0, "images": 3, "files": ["a"]}]), "shards\\[0\\].files\\[0\\] is no object"),
        (_with(attributes=[{"name": "a", "type": "date", "images": 1}]), "attributes\\[0\\].type is 'date'"),
    ],
)
def test_a_manifest_of_another_kind_is_refused_with_the_reason(
    change: Callable[[dict[str, Any]], object], fault: str
) -> None:
    """A foreign format, a missing field and a wrong field are each named."""
    record = json.loads(MANIFEST.to_json())
    change(record)
    with pytest.raises(FailedPrecondition, match=fault) as caught:
        parse_manifest(json.dumps(record).encode())
    assert caught.value.reason == "BAD_MANIFEST"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_manifest_cannot_name_files_elsewhere(name: str) -> None:
    """The files of a shard lie in the shard's folder."""
    record = json.loads(MANIFEST.to_json())
    record["shards"][0]["files"][0]["name"] = name
    with pytest.raises(FailedPrecondition, match="name is"):
        parse_manifest(json.dumps(record).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"[" * 100_000, MANIFEST.to_json()[:-100]])
def test_what_is_no_manifest_at_all_is_refused(data: bytes) -> None:
    """Bytes that are no JSON object are no manifest."""
    with pytest.raises(FailedPrecondition) as caught:
        parse_manifest(data)
    assert caught.value.reason == "BAD_MANIFEST"
