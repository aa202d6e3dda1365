"""The whole cluster on this machine.

python -m services.local up --store data/store --model models/emoji
python -m services.local status
python -m services.local indexer build ~/Pictures --collection photos --publish
python -m services.local demo
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from services.local.checks import OptionError, check, empty
from services.local.cluster import ClusterError, LocalCluster
from services.local.ports import PortError, check_free, is_free
from services.local.serving import running, table, watch
from services.local.state import read_state, read_whereabouts
from services.local.topology import Topology
from services.local.values import Values, read_values

RUN_DIR = Path(".run")
MODEL = "models/emoji"
EMPTY = """
Nothing is published in this store yet, so that nothing can be searched. In another terminal, index pictures:
  python -m services.local indexer build FOLDER --collection NAME --publish"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    options = parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        _settle(options)
        check(options)
        return int({"up": up, "status": status, "indexer": indexer, "demo": demo}[options.command](options, console))
    except (ClusterError, OptionError, PortError) as fault:
        console.print(str(fault), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


def up(options: argparse.Namespace, console: Console) -> int:
    """Starts a cluster and serves until Ctrl-C."""
    _refuse_second(options.run_dir)
    values = options.read
    topology = Topology(
        groups=options.groups,
        replicas=options.replicas,
        gateways=options.gateways,
        encoders=options.encoders,
        redis=options.redis,
        encoder_threads=options.encoder_threads,
        webs=options.webs,
    )
    cluster = LocalCluster(
        store=options.store,
        model=options.model or MODEL,
        run_dir=options.run_dir,
        topology=topology,
        overrides=_overrides(options, values),
        variables=values.environment if values and options.store == values.store else None,
        port=check_free(options.port),
        web_port=options.web_port if is_free(options.web_port) else 0,
    )
    with running(cluster, console):
        console.print(table(options.run_dir))
        if cluster.web:
            console.print(f"\nThe page: {cluster.web}")
        if empty(options.store):
            console.print(EMPTY, markup=False)
        console.print(f"\nLogs are in {options.run_dir}. Ctrl-C drains and stops all.")
        watch(cluster, console, restart=options.restart)
    return 0


def status(options: argparse.Namespace, console: Console) -> int:
    """Shows the cluster that runs in a folder; fails where a process of it is not ready."""
    shown = table(options.run_dir)
    console.print(shown or f"No cluster runs in {options.run_dir}.")
    standings = read_state(options.run_dir)
    return 0 if standings and all(standing.health_now == "ready" for standing in standings) else 1


def indexer(options: argparse.Namespace, console: Console) -> int:
    """Runs the indexer, told where the store, the encoders and the searchers of the cluster are."""
    whereabouts = read_whereabouts(options.run_dir)
    if whereabouts is None:
        raise ClusterError(f"no cluster runs in {options.run_dir}: start one with python -m services.local up")
    command = [sys.executable, "-m", "services.indexer", *options.arguments]
    return subprocess.run(command, env={**os.environ, **whereabouts}, check=False).returncode


def demo(options: argparse.Namespace, console: Console) -> int:
    """Shows the bundled model on the bundled pictures."""
    from services.local.demo import run  # noqa: PLC0415 - needs the extras of the SDK's command line

    _refuse_second(RUN_DIR)
    cache = Path(os.environ.get("SIGHTLINE_CACHE") or Path.home() / ".cache" / "sightline")
    return run(
        started=options.started,
        port=options.port,
        web_port=options.web_port,
        run_dir=RUN_DIR,
        data=options.data,
        fonts=[cache / "debian" / "usr" / "share"],
        console=console,
    )


def _settle(options: argparse.Namespace) -> None:
    """Reads the values, and fills in what the command line does not say."""
    if options.command != "up":
        return
    values = options.read = read_values(options.values) if options.values else None
    options.store = options.store or (values.store if values else "")
    if not options.store:
        raise OptionError("--store: say where the generations are" + (", or store.url in the values" if values else ""))
    if options.encoders is None:
        options.encoders = len(values.pools) if values else 1


def _overrides(options: argparse.Namespace, values: Values | None) -> dict[str, dict[str, str]]:
    """Settings by role and by encoder: those of the values, and over them those that the command line names."""
    said: dict[str, dict[str, str]] = {"encoder": {}, "web": {}}
    if options.model is not None:
        said["encoder"] = {"model": _path_or_name(options.model), "pretrained": _path_or_name(options.pretrained or "")}
    elif options.pretrained is not None:
        said["encoder"] = {"pretrained": _path_or_name(options.pretrained)}
    if options.encoder_threads:
        said["encoder"]["threads"] = str(options.encoder_threads)
    if options.originals is not None:
        said["web"] = {"originals": ",".join(map(_path_or_name, options.originals.split(",")))}
    if values is None:
        return said
    read = {role: {**settings, **said.get(role, {})} for role, settings in values.settings.items()}
    pools = list(values.pools.values())
    return read | {
        f"encoder-{number}": {**pools[number % len(pools)], **said["encoder"]} for number in range(options.encoders)
    }


def _path_or_name(given: str) -> str:
    """Processes run in a folder of their own, so that a path must not depend on where we are."""
    return str(Path(given).resolve()) if given and Path(given).exists() else given


def _refuse_second(run_dir: Path) -> None:
    if read_state(run_dir):
        raise ClusterError(f"a cluster runs in {run_dir.resolve()} already: python -m services.local status")


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    top = argparse.ArgumentParser("python -m services.local", description="The whole cluster on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    _add_up(commands.add_parser("up", help="start a cluster and serve until Ctrl-C"))
    shown = commands.add_parser("status", help="show the cluster that runs")
    shown.add_argument("--run-dir", type=Path, default=RUN_DIR, help="its folder (default: .run)")
    told = commands.add_parser("indexer", help="run the indexer, told where the cluster that runs is")
    told.add_argument("--run-dir", type=Path, default=RUN_DIR, help="the cluster's folder (default: .run)")
    told.add_argument("arguments", nargs=argparse.REMAINDER, help="build, publish, rollback or list, and their options")
    demonstrated = commands.add_parser("demo", help="index the emoji, answer six queries, then serve until Ctrl-C")
    demonstrated.add_argument("--started", type=float, default=0.0, help="when set-up began, in seconds since 1970")
    demonstrated.add_argument("--port", type=int, default=7700, help="the gateway's port; 0 for any")
    _add_web_port(demonstrated)
    demonstrated.add_argument(
        "--data", type=Path, default=Path(".cache/demo"), help="where pictures and index are kept"
    )
    return top


def _add_up(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", default="", help="URL or folder of the store")
    command.add_argument(
        "--values",
        action="append",
        type=Path,
        metavar="FILE",
        help="values of the chart: their settings, pools and store; may be repeated",
    )
    command.add_argument("--model", help=f"an open_clip name or a folder (default: {MODEL})")
    command.add_argument("--pretrained", help="weights: a checkpoint file, or a tag of open_clip")
    command.add_argument("--groups", type=int, default=2, help="searcher groups (default: 2)")
    command.add_argument("--replicas", type=int, default=1, help="searchers in each group (default: 1)")
    command.add_argument("--gateways", type=int, default=1, help="gateways (default: 1)")
    command.add_argument("--encoders", type=int, help="encoders (default: 1, or one of each pool of the values)")
    command.add_argument(
        "--encoder-threads", type=int, default=0, help="CPU threads of each (default: cores / encoders)"
    )
    command.add_argument("--redis", action=argparse.BooleanOptionalAction, default=True, help="share a Redis")
    command.add_argument("--port", type=int, default=7700, help="the first gateway's port; 0 for any (default: 7700)")
    command.add_argument("--webs", type=int, default=1, help="web processes, for HTTP and the page (default: 1)")
    _add_web_port(command)
    command.add_argument(
        "--originals", help="folders and URLs whose pictures the page may show in full, with commas between"
    )
    command.add_argument("--run-dir", type=Path, default=RUN_DIR, help="folder for logs and state (default: .run)")
    command.add_argument("--restart", action="store_true", help="start processes again that end by themselves")


def _add_web_port(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--web-port", type=int, default=7780, help="the page's port; another where it is in use (default: 7780)"
    )


if __name__ == "__main__":
    sys.exit(main())
