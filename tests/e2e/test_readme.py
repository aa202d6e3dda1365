"""What the README tells callers to do, done."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.local.cluster import LocalCluster

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "127.0.0.1:7700"


def block(language: str, containing: str) -> str:
    """Returns the one block of the README in this language that contains some words."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [found] = [code for tongue, code in blocks if tongue == language and containing in code]
    return str(found)


def test_the_python_example_prints_hits(cluster: LocalCluster) -> None:
    """The README's program runs as it stands, and prints three hits with their captions."""
    program = block("python", "Client").replace(ADDRESS, cluster.gateway)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(-?\d\.\d{3}  .+\n){3}", done.stdout)


def test_the_grpcurl_example_works_without_our_files(cluster: LocalCluster) -> None:
    """A caller who knows only what reflection tells can ask the README's question, as grpcurl does."""
    said = re.search(r"-d '(.+)' \S+ (\S+)/(\S+)", block("", "grpcurl"))
    assert said is not None
    body, service, method = said.groups()
    with grpc.insecure_channel(cluster.gateway) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        rpc = pool.FindServiceByName(service).FindMethodByName(method)
        request = json_format.Parse(body, GetMessageClass(rpc.input_type)())
        reply: Any = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(rpc.output_type).FromString,
        )(request, timeout=30)
    assert len(reply.hits) == 3
    assert reply.coverage.shards_answered == reply.coverage.shards_asked > 0


def test_the_commands_of_the_demo_work(cluster: LocalCluster, tmp_path: Path) -> None:
    """The README's searches run, and --save writes a picture."""
    script = Path(sys.executable).with_name("sightline")
    for line in block("", "manzana").splitlines():
        command = [str(script), *shlex.split(line)[1:], "--address", cluster.gateway]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_readme_links_to_exists() -> None:
    """Every file and picture that the README points to is in the tree."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert "docs/demo-grid.png" in links
    assert [link for link in links if not (README.parent / link).exists()] == []
