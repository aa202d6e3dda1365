"""The local cluster, with a server of twenty lines in place of the services."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from services.local import probes
from services.local.cluster import ClusterError, LocalCluster
from services.local.ports import HOST, PortError, check_free, free_ports, is_free
from services.local.serving import Watcher, table
from services.local.state import read_state
from services.local.topology import Spec, Topology, plan

SERVER = """
import http.server, os, signal, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'# HELP calls_total Calls.\\ncalls_total{kind="a"} 2.0\\ncalls_total{kind="b"} 3.0\\nup 1.0\\n'
        self.send_response(200 if os.environ.get("SIGHTLINE_READY", "1") == "1" else 503)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

def leave(*_):
    print(sys.argv[2], "leaves", time.monotonic(), flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
print("hello from", sys.argv[2], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Make = Callable[..., LocalCluster]


def spec(name: str, role: str, program: str = SERVER) -> Spec:
    """Returns a process that serves health and nothing else."""
    port = free_ports(1)[0]
    command = (sys.executable, "-S", "-c", program, str(port), name)
    return Spec(name, role, command, f"{HOST}:{port}", f"{HOST}:{port}")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *specs: LocalCluster.of(specs, tmp_path / "run")


@pytest.fixture
def cluster(make: Make) -> Iterator[LocalCluster]:
    with make(spec("encoder-0", "encoder"), spec("searcher-0-0", "searcher"), spec("gateway-0", "gateway")) as running:
        yield running


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return holds()


def test_start_returns_when_all_are_ready(cluster: LocalCluster) -> None:
    """A cluster that has started answers at every health port."""
    assert all(process.is_ready() for process in cluster.processes.values())
    assert cluster.gateway == cluster.processes["gateway-0"].spec.address


def test_close_drains_callers_first(make: Make) -> None:
    """Gateways leave before those that they ask."""
    cluster = make(spec("searcher-0-0", "searcher"), spec("gateway-0", "gateway"))
    with cluster:
        pass
    left = {name: float(process.tail(1).split()[-1]) for name, process in cluster.processes.items()}
    assert left["gateway-0"] < left["searcher-0-0"]
    assert [process.returncode for process in cluster.processes.values()] == [0, 0]


def test_killed_process_restarts_on_its_port(cluster: LocalCluster) -> None:
    """A killed process is gone at once, and comes back where the others know it."""
    before = cluster.processes["searcher-0-0"].pid
    cluster.kill("searcher-0-0")
    assert not is_alive(before)
    with pytest.raises(ClusterError, match="does not run"):
        cluster.kill("searcher-0-0")
    cluster.restart("searcher-0-0")
    assert cluster.processes["searcher-0-0"].is_ready()
    assert cluster.processes["searcher-0-0"].pid != before


def test_stopped_process_hangs_until_it_is_resumed(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process keeps its port and answers nothing."""
    monkeypatch.setattr(probes, "TIMEOUT_SECONDS", 0.2)
    hung = cluster.processes["searcher-0-0"]
    cluster.stop("searcher-0-0")
    assert hung.is_running
    assert not hung.is_ready()
    cluster.resume("searcher-0-0")
    assert wait_until(hung.is_ready)


def test_close_ends_hanging_processes_too(make: Make) -> None:
    """A stopped process does not outlive its cluster."""
    with make(spec("searcher-0-0", "searcher")) as cluster:
        cluster.stop("searcher-0-0")
    assert not cluster.processes["searcher-0-0"].is_running


def test_terminate_lets_a_process_end_by_itself(cluster: LocalCluster) -> None:
    """A terminated process drains; its exit code is told."""
    cluster.terminate("encoder-0")
    assert cluster.wait_ended("encoder-0") == 0
    assert "leaves" in cluster.processes["encoder-0"].tail()


def test_restart_with_other_settings(cluster: LocalCluster) -> None:
    """A process can be restarted with other settings, and is not taken for ready before it says so."""
    cluster.restart("encoder-0", {"ready": 0}, wait=False)
    with pytest.raises(ClusterError, match="encoder-0 is not ready after 0 s"):
        cluster.wait_ready("encoder-0", seconds=0.3)
    cluster.restart("encoder-0", {"ready": 1})
    assert cluster.processes["encoder-0"].is_ready()


def test_process_that_fails_to_start_is_named_with_its_log(make: Make) -> None:
    """Where one process cannot start, the error has its last words and nothing is left running."""
    broken = spec("searcher-0-0", "searcher", "print('the store is on fire'); raise SystemExit(3)")
    cluster = make(spec("gateway-0", "gateway"), broken)
    with pytest.raises(ClusterError, match=r"searcher-0-0 ended with 3:\nthe store is on fire"):
        cluster.start()
    assert not any(process.is_running for process in cluster.processes.values())
    assert read_state(cluster.run_dir) == []


def test_metrics_are_read_by_name_and_label(cluster: LocalCluster) -> None:
    """Samples are found by their written name, and summed over labels."""
    samples = cluster.metrics("gateway-0")
    assert samples["up"] == 1.0
    assert samples['calls_total{kind="b"}'] == 3.0
    assert samples.total("calls_total") == 5.0
    assert samples.total("calls_total", kind="a") == 2.0
    assert samples.total("absent") == 0.0


def test_processor_time_is_told(cluster: LocalCluster) -> None:
    """The processor time of a process that has just started is small and not negative."""
    assert 0.0 <= cluster.cpu_seconds("gateway-0") < 30.0


def test_state_tells_what_runs(cluster: LocalCluster) -> None:
    """The state in the run folder says which process is ready, and which is gone."""
    cluster.kill("searcher-0-0")
    standings = {standing.name: standing.health_now for standing in read_state(cluster.run_dir)}
    assert standings == {"encoder-0": "ready", "searcher-0-0": "gone", "gateway-0": "ready"}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(cluster.run_dir))
    assert cluster.gateway in console.export_text()


def test_what_a_cluster_wrote_that_is_gone_is_not_believed(cluster: LocalCluster) -> None:
    """Where the owner is gone and another process has its id, no cluster runs."""
    file = cluster.run_dir / "cluster.json"
    written = json.loads(file.read_text())
    file.write_text(json.dumps({**written, "began": "1"}))
    assert read_state(cluster.run_dir) == []
    # Not of our parent: it may have begun in the same hundredth of a second.
    file.write_text(json.dumps({**written, "pid": written["processes"][0]["pid"]}))
    assert read_state(cluster.run_dir) == []
    file.write_text(json.dumps(written))
    assert len(read_state(cluster.run_dir)) == 3


def test_a_process_that_dies_at_once_is_started_ever_later(make: Make) -> None:
    """The first time at once, then after pauses that double up to half a minute; one that stayed up, at once again."""
    cluster = make(spec("encoder-0", "encoder", "raise SystemExit(3)"))
    cluster.run_dir.mkdir()
    process, now, starts = cluster.processes["encoder-0"], 1000.0, []
    process.start()
    shown = io.StringIO()
    watcher = Watcher(cluster, Console(file=shown, width=200), restart=True)
    for _ in range(10):
        before = process.pid
        assert process.wait(15)
        while process.pid == before:
            watcher.look(now)
            now += 0.5 if process.pid == before else 0.0
        starts.append(now)
    assert [later - earlier for earlier, later in pairwise(starts)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert "ended with 3. It is started again." in shown.getvalue()
    assert "It is started again in 8 s." in shown.getvalue()
    before = process.pid
    assert process.wait(15)
    watcher.look(now + 600)
    assert process.pid != before
    assert process.wait(15)


def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    """Where the owner is killed, its processes end too, hanging ones included."""
    program = f"""
import sys, time
from pathlib import Path
from services.local.cluster import LocalCluster
from services.local.topology import Spec
specs = [Spec(f"searcher-0-{{i}}", "searcher", ({sys.executable!r}, "-S", "-c", {SERVER!r}, str(port), "x"),
         f"{HOST}:{{port}}", f"{HOST}:{{port}}") for i, port in enumerate({free_ports(2)})]
cluster = LocalCluster.of(specs, Path({str(tmp_path)!r}))
cluster.start()
cluster.stop("searcher-0-1")
print(*[process.pid for process in cluster.processes.values()], flush=True)
time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 2
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids))


async def test_cluster_starts_from_a_coroutine(make: Make) -> None:
    """The cluster is an asynchronous context too, and its processes outlive the threads that it was started from."""
    async with make(spec("gateway-0", "gateway")) as cluster:
        assert cluster.processes["gateway-0"].is_ready()
    assert not cluster.processes["gateway-0"].is_running


def test_plan_names_and_wires_every_process(tmp_path: Path) -> None:
    """Gateways are told every encoder and every replica of every group; each searcher is told its group."""
    specs = {
        one.name: one
        for one in plan(
            Topology(groups=2, replicas=2, gateways=2, encoders=2),
            store="/data",
            model="models/emoji",
            run_dir=tmp_path,
            overrides={"gateway": {"max_batch": 1}, "searcher-1-1": {"max_batch": 2}},
            port=7700,
        )
    }
    assert list(specs) == [
        "redis",
        *("encoder-0", "encoder-1"),
        *("searcher-0-0", "searcher-0-1", "searcher-1-0", "searcher-1-1"),
        *("gateway-0", "gateway-1"),
    ]
    gateway, searcher = specs["gateway-0"].environment, specs["searcher-1-1"].environment
    assert gateway["SIGHTLINE_LISTEN"] == f"{HOST}:7700"
    assert len(gateway["SIGHTLINE_SEARCHERS"].split(",")) == 4
    assert gateway["SIGHTLINE_ENCODERS"] == ",".join(specs[f"encoder-{i}"].address for i in range(2))
    assert gateway["SIGHTLINE_REDIS_URL"].endswith(specs["redis"].address + "/0")
    assert (searcher["SIGHTLINE_GROUP"], searcher["SIGHTLINE_GROUPS"]) == ("1", "2")
    assert (gateway["SIGHTLINE_MAX_BATCH"], searcher["SIGHTLINE_MAX_BATCH"]) == ("1", "2")
    assert "SIGHTLINE_MAX_BATCH" not in specs["searcher-1-0"].environment
    assert searcher["OMP_NUM_THREADS"] == "1"
    ports = {one.address for one in specs.values()} | {one.health for one in specs.values()}
    assert len(ports) == 2 * len(specs) - 1


def test_taken_port_is_refused(cluster: LocalCluster) -> None:
    """A port that somebody listens on is refused by name."""
    port = int(cluster.gateway.rpartition(":")[2])
    assert not is_free(port)
    with pytest.raises(PortError, match=str(port)):
        check_free(port)
