from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys

import numpy as np

from benchmarks.emoji import COLLECTION
from benchmarks.kube.checked import Asked, judge, load
from benchmarks.kube.place import PROGRAMS
from benchmarks.oracle import Oracle, unit
from services.local.cluster import LocalCluster

TEXTS = ["red apple", "snowman", "volcano"]


def dumped(cluster: LocalCluster) -> tuple[int, Oracle, Oracle]:
    """The generation in the store, brute force over it, and over vectors that are not those of their pictures."""
    dump = [sys.executable, str(PROGRAMS / "dump.py"), cluster.store, COLLECTION, "0"]
    said = json.loads(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    rows = np.frombuffer(base64.b64decode(said["vectors"]), "<f4").reshape(len(said["ids"]), -1)
    return said["generation"], Oracle(said["ids"], unit(rows)), Oracle(said["ids"], unit(rows[::-1]))


def test_load_is_judged_by_what_lies_in_the_store(cluster: LocalCluster) -> None:
    """Steady load gets right answers of every kind; by another collection's vectors, all of them would be wrong."""
    generation, right, wrong = dumped(cluster)
    asked = Asked(TEXTS, right.ids, right.dimension)
    with load([sys.executable], f"dns:///{cluster.gateway}", asked, rate=50, calls=60) as answered:
        pass
    verdict = judge(answered, {generation: right})
    assert (verdict.calls, verdict.whole, answered.asked) == (60, True, 60)
    assert judge(answered, {generation: wrong}).wrong
    assert judge(answered, {}).wrong


def test_what_is_asked_over_http_is_judged_apart(web_cluster: LocalCluster) -> None:
    """A tenth as many are asked of the page over HTTP, and are as right; by vectors of others they would be wrong."""
    generation, right, wrong = dumped(web_cluster)
    asked, [page] = Asked(TEXTS, right.ids, right.dimension), web_cluster.addresses("web")
    address = f"dns:///{web_cluster.addresses('gateway')[0]}"
    with load([sys.executable], address, asked, rate=50, calls=60, http=f"http://{page}") as answered:
        pass
    verdict = judge(answered, {generation: right}, answered.http)
    assert (verdict.calls, verdict.whole, answered.asked) == (6, True, 66)
    assert judge(answered, {generation: wrong}, answered.http).wrong
    assert judge(answered, {generation: right}).calls == 60


def test_a_refused_connection_is_a_failed_call(cluster: LocalCluster) -> None:
    """Who is refused over HTTP does not ask again, and answers over gRPC are as right as ever."""
    generation, right, _ = dumped(cluster)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        page = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        asked = Asked(TEXTS, right.ids, right.dimension)
        with load([sys.executable], f"dns:///{cluster.gateway}", asked, rate=50, calls=20, http=page) as answered:
            pass
    verdict = judge(answered, {generation: right}, answered.http)
    assert (verdict.calls, verdict.errors.total(), verdict.whole) == (2, 2, False)
    assert "refused" in verdict.first_error
    assert judge(answered, {generation: right}).whole
