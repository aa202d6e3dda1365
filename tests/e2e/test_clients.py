"""The bar `clients`, over a gateway of the shared cluster and one beside it with TLS and keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.clients import (
    Guarded,
    guarded,
    prove_command_line,
    prove_end,
    prove_guard,
    prove_language,
    prove_silence,
)
from benchmarks.ends import NEWEST, OLDEST
from benchmarks.languages import LANGUAGES, Lacking, Language
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster


@pytest.fixture(scope="module")
def gateway(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(cluster, tmp_path_factory.mktemp("guarded")) as started:
        yield started


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda one: one.name)
def test_the_quick_starts_work(language: Language, cluster: LocalCluster, gateway: Guarded) -> None:
    """The examples of docs/clients.md, by the steps that stand there, list, search by words and by a vector, and read
    why they are refused: in the clear, and over TLS with a key."""
    proof = Proof()
    try:
        prove_language(language, cluster.gateway, gateway, proof)
    except Lacking as lacking:
        pytest.skip(str(lacking))
    assert proof.faults == []


@pytest.mark.parametrize("end", [OLDEST, NEWEST])
def test_the_sdk_works_at_both_ends_of_what_it_states(end: str, cluster: LocalCluster, gateway: Guarded) -> None:
    """The wheel lists, searches, streams and is refused beside the oldest and the newest versions that it allows."""
    proof = Proof()
    try:
        prove_end(end, cluster.gateway, gateway, proof)
    except Lacking as lacking:
        pytest.skip(str(lacking))
    assert proof.faults == []


def test_the_command_line_shows_a_key(gateway: Guarded) -> None:
    """Options and variables tell the command line whom to trust and who calls, and what it prints has no key in it."""
    proof = Proof()
    prove_command_line(gateway, proof)
    assert proof.faults == []


async def test_the_guard_follows_its_files(gateway: Guarded) -> None:
    """Callers without a right are refused with a reason; certificates and keys that change are in force without a
    restart, and broken ones are not."""
    proof = Proof()
    await prove_guard(gateway, proof)
    assert proof.faults == []


async def test_a_gateway_that_hangs_is_noticed(cluster: LocalCluster) -> None:
    """A call to a gateway that falls silent ends long before its deadline, and the gateway is used again afterwards."""
    proof = Proof()
    await prove_silence(cluster, "gateway-1", proof)
    assert proof.faults == []
