"""The contract with callers of any language: what was promised stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.contract import CONTRACT, PROTOS, breaks, compiled

COMMON, SEARCH = "common.proto", "search.proto"


def test_the_protos_keep_the_contract() -> None:
    """The protos have everything that the committed descriptor set has, as it is there, and the set is up to date."""
    checked = subprocess.run([sys.executable, "tools/contract.py", "--check"], cwd=PROTOS.parent, check=False)
    assert checked.returncode == 0


def changed(folder: Path, file: str, old: str, new: str) -> list[str]:
    """Returns what breaks when some words of a proto are others."""
    shutil.copytree(PROTOS, folder, dirs_exist_ok=True)
    proto = folder / "sightline" / "v1" / file
    text = proto.read_text()
    assert old in text
    proto.write_text(text.replace(old, new))
    return breaks(FileDescriptorSet.FromString(CONTRACT.read_bytes()), FileDescriptorSet.FromString(compiled(folder)))


@pytest.mark.parametrize(
    ("file", "old", "new", "broken"),
    [
        (COMMON, "string caption = 3;", "", "field 3 of sightline.v1.Image"),
        (COMMON, "string caption = 3;", "string title = 3;", "field 3 of sightline.v1.Image"),
        (COMMON, "string caption = 3;", "string caption = 9;", "field 3 of sightline.v1.Image"),
        (COMMON, "string caption = 3;", "bytes caption = 3;", "field 3 of sightline.v1.Image"),
        (COMMON, "string caption = 3;", "repeated string caption = 3;", "field 3 of sightline.v1.Image"),
        (COMMON, "string caption = 3;", 'string caption = 3 [json_name = "title"];', "field 3 of sightline.v1.Image"),
        (COMMON, "map<string, Value> attributes = 4;", "map<string, string> attributes = 4;", "AttributesEntry"),
        (SEARCH, "optional uint32 top_k = 3;", "uint32 top_k = 3;", "field 3 of sightline.v1.SearchRequest"),
        (SEARCH, "CACHE_STATE_JOINED = 4;", "CACHE_STATE_SHARED = 4;", "value 4 of sightline.v1.CacheState"),
        (SEARCH, "stream SearchStreamRequest", "SearchStreamRequest", "rpc sightline.v1.SearchService/SearchStream"),
        (SEARCH, "rpc Search(", "rpc Find(", "rpc sightline.v1.SearchService/Search"),
        (SEARCH, "service SearchService", "service FindService", "service sightline.v1.SearchService"),
    ],
)
def test_whatever_breaks_callers_is_seen(tmp_path: Path, file: str, old: str, new: str, broken: str) -> None:
    """A field, value, rpc or service that goes, or becomes another, is named."""
    assert any(broken in line for line in changed(tmp_path, file, old, new))


def test_additions_break_nothing(tmp_path: Path) -> None:
    """New fields, values, messages and rpcs are welcome."""
    assert changed(tmp_path, COMMON, "string caption = 3;", "string caption = 3;\n  string alt_text = 30;") == []
    assert changed(tmp_path, SEARCH, "// One question.", "message New { int32 one = 1; }\n// One question.") == []
    rpc = "rpc Other(SearchRequest) returns (SearchResponse);\n  rpc SearchBatch("
    assert changed(tmp_path, SEARCH, "rpc SearchBatch(", rpc) == []
    assert changed(tmp_path, SEARCH, "CACHE_STATE_JOINED = 4;", "CACHE_STATE_JOINED = 4;\n  CACHE_STATE_NEW = 5;") == []
