"""Load on a cluster by ghz's configurations, each answer checked; and what came of it, ours or ghz's.

    python -m benchmarks.load run benchmarks/ghz/miss.json --host 127.0.0.1:7700 --output miss.json
    python -m benchmarks.load show miss.json ghz.json

`run` ends with 1 where an answer is wrong or there is none, and with 2 where it was told something that makes no sense.
docs/load.md says how to read it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.load import report, scenario
from benchmarks.load.checking import check, oracle_at
from benchmarks.load.generator import generate
from benchmarks.load.showing import show


def main(arguments: list[str] | None = None) -> int:
    """Does what the command line says; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.do(given))
    except (scenario.ScenarioError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    changed: dict[str, Any] = {name: getattr(given, name) for name in ("host", "rps", "total", "duration", "timeout")}
    asked = scenario.read(given.scenario, **{name: one for name, one in changed.items() if one is not None})
    if not asked.host:
        raise scenario.ScenarioError("--host: which gateway, as host:port?")
    oracle = oracle_at(asked, given.pictures) if given.pictures else None
    run = generate(asked)
    checks = None if given.unchecked else check(run, oracle)
    if given.output:
        report.write(run, checks, given.output)
    print(show(report.of_json(report.as_json(run, checks))))
    answered = any(not call.error for call in run.calls)
    return 0 if answered and not (checks and (checks.wrong or checks.unanswered)) else 1


def _show(given: argparse.Namespace) -> int:
    print("\n\n".join(show(report.read(file)) for file in given.reports))
    return 0


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.load", description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(required=True, metavar="run|show")
    run = commands.add_parser("run", help="send a scenario's calls when they are due, and check each answer")
    run.set_defaults(do=_run)
    run.add_argument("scenario", type=Path, help="a configuration of ghz in JSON, such as benchmarks/ghz/miss.json")
    run.add_argument("--host", help="the gateway, host:port or dns:///name:port; where it is not in the scenario")
    run.add_argument("--rps", type=int, help="calls a second, instead of the scenario's")
    run.add_argument("--total", type=int, help="calls in all, instead of the scenario's")
    run.add_argument("--duration", help="for how long calls are sent, such as 30s, instead of a number of calls")
    run.add_argument("--timeout", help="how long one call may take, such as 5s, instead of the scenario's")
    run.add_argument(
        "--pictures", type=Path, help="the list that was indexed: answers are held against brute force over it"
    )
    run.add_argument("--unchecked", action="store_true", help="check no answers")
    run.add_argument("--output", "-o", type=Path, help="where to write the report, as ghz's JSON")
    shown = commands.add_parser("show", help="show reports of this or of ghz (--format json)")
    shown.set_defaults(do=_show)
    shown.add_argument("reports", type=Path, nargs="+", help="reports in JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
