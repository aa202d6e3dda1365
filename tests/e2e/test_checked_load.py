from __future__ import annotations

import base64
import json
import subprocess
import sys

import numpy as np

from benchmarks.emoji import COLLECTION
from benchmarks.kube.checked import Asked, judge, load
from benchmarks.kube.place import PROGRAMS
from benchmarks.oracle import Oracle, unit
from services.local.cluster import LocalCluster


def test_load_is_judged_by_what_lies_in_the_store(cluster: LocalCluster) -> None:
    """Steady load gets right answers of every kind; by another collection's vectors, all of them would be wrong."""
    dump = [sys.executable, str(PROGRAMS / "dump.py"), cluster.store, COLLECTION, "0"]
    said = json.loads(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    rows = np.frombuffer(base64.b64decode(said["vectors"]), "<f4").reshape(len(said["ids"]), -1)
    right, wrong = Oracle(said["ids"], unit(rows)), Oracle(said["ids"], unit(rows[::-1]))
    asked = Asked(["red apple", "snowman", "volcano"], said["ids"], right.dimension)
    with load([sys.executable], f"dns:///{cluster.gateway}", asked, rate=50, calls=60) as answered:
        pass
    verdict = judge(answered, {said["generation"]: right})
    assert (verdict.calls, verdict.whole) == (60, True)
    assert judge(answered, {said["generation"]: wrong}).wrong
    assert judge(answered, {}).wrong
