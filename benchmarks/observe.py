"""`make observe`: the demonstration's pictures in a cluster under load, with a real Prometheus, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType

from benchmarks.emoji import CHECKOUT, draw
from benchmarks.every_kind import RATE, EveryKind
from benchmarks.observed import KEY, Observed, observed
from services.local.ports import is_free

FOLDER = CHECKOUT / ".cache" / "observe"
SCRAPE_SECONDS = 5.0
PORTS = {"prometheus": 9090, "gateway": 7700, "web": 7780}


def main() -> int:
    """Serves until Ctrl-C, and stops all."""
    signal.signal(signal.SIGTERM, _interrupt)
    wanted = {name: port if is_free(port) else 0 for name, port in PORTS.items()}
    print("Starting the cluster and Prometheus; the first time, the pictures are drawn and indexed.", flush=True)
    try:
        with observed(FOLDER, draw(), seconds=SCRAPE_SECONDS, ports=wanted) as seen:
            print(_told(seen), flush=True)
            asyncio.run(_ask(seen))
    except KeyboardInterrupt:
        pass  # while it was starting
    print("Stopped.")
    return 0


async def _ask(seen: Observed) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with EveryKind(seen):
        await stop.wait()


def _told(seen: Observed) -> str:
    lines = [
        f"Prometheus   http://{seen.prometheus.address}   alerts are under /alerts",
        f"the page     {seen.cluster.web}",
        *(f"gateway      {address}" for address in seen.cluster.gateways),
        "",
        f"About {RATE:g} questions a second are asked, some of them wrong. Ask yourself, with the key of this cluster:",
        f'  SIGHTLINE_KEY={KEY} .venv/bin/sightline search "red apple" --address {seen.cluster.gateway}',
        f"Hurt it: processes are listed in {seen.cluster.run_dir / 'cluster.json'}.",
        "Grafana: add this Prometheus, and import deploy/helm/sightline/dashboards/sightline.json.",
        "Ctrl-C stops all.",
    ]
    return "\n".join(lines)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
