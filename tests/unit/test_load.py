"""benchmarks/load, without a cluster."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import report, scenarios
from benchmarks.load.generator import Call, Run
from benchmarks.load.payloads import payload
from benchmarks.load.scenario import Scenario, ScenarioError, read
from benchmarks.load.schedule import due
from benchmarks.load.showing import show
from sightline.v1 import search_pb2

APPLE = {"query": {"text": "apple"}}


def scenario(**keys: object) -> Scenario:
    return Scenario.model_validate({"data": APPLE} | {name.replace("_", "-"): one for name, one in keys.items()})


def times(**keys: object) -> list[float]:
    return [round(at, 6) for at in due(scenario(**keys))]


def test_a_rate_is_kept_from_its_first_call_on() -> None:
    """Calls of a rate are due one interval apart, the first after one interval, as ghz sends them."""
    assert times(rps=10, total=4) == [0.1, 0.2, 0.3, 0.4]
    assert times(rps=10, duration="350ms", duration_stop="wait") == [0.1, 0.2, 0.3]
    assert times(total=3) == [0.0, 0.0, 0.0]


def test_steps_go_up_and_stay() -> None:
    """Each step has as many calls as its rate and duration say, and the last rate stays."""
    steps = {"load_schedule": "step", "load_start": 2, "load_step": 2, "load_step_duration": "2s", "load_end": 6}
    at = times(total=60, **steps)
    counts = [sum(lasts < one <= lasts + 2 for one in at) for lasts in (0, 2, 4, 6)]
    assert counts == [4, 8, 12, 12]
    assert all(one < two for one, two in itertools.pairwise(at))


def test_steps_go_down_too() -> None:
    """A schedule may begin with its highest rate, and a line has steps of a second."""
    at = times(load_schedule="line", load_start=5, load_step=-2, load_end=1, total=12)
    assert [sum(second < one <= second + 1 for one in at) for second in range(5)] == [5, 3, 1, 1, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rsp": 3}, "rsp: Extra inputs"),
        ({"timeout": "5 seconds"}, "timeout: .*is no duration"),
        ({"call": "sightline.v1.ImageService/Get"}, "call: .*is not one of"),
        ({"data": []}, "data: is empty"),
        ({"duration": "3s"}, "duration-stop: must be wait"),
        ({"load-schedule": "step", "load-start": 1, "load-step": 1}, "load-step-duration: .*needs it"),
        ({"load-schedule": "line"}, "load-start and load-step"),
    ],
)
def test_what_makes_no_sense_is_named(wrong: dict[str, object], said: str, tmp_path: Path) -> None:
    """A configuration that is wrong, or says what only ghz knows, is refused with the key's name."""
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps({"data": APPLE} | wrong))
    with pytest.raises(ScenarioError, match=said):
        read(file)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    """A file that is missing, or no JSON, is named."""
    (tmp_path / "broken.json").write_text("{")
    for name, said in (("missing.json", "No such file"), ("broken.json", "no JSON object")):
        with pytest.raises(ScenarioError, match=f"{name}: {said}"):
            read(tmp_path / name)


def test_templates_are_filled_in_for_each_call() -> None:
    """ghz's templates make each call's text its own; entries without are sent in turn."""
    data = [APPLE, {"query": {"text": "{{.RequestNumber}} {{randomInt 5 6}} {{newUUID}} {{randomString 4}}"}}]
    make = payload(scenario(data=data))
    texts = [search_pb2.SearchRequest.FromString(make(number)[0]).query.text for number in range(4)]
    assert texts[0] == texts[2] == "apple"
    assert texts[1].startswith("1 5 ")
    assert texts[3].startswith("3 5 ")
    assert len(texts[1]) == len("1 5 ") + 36 + 1 + 4


@pytest.mark.parametrize("wrong", [{"query": {"text": "{{.WorkerID}}"}}, {"qeury": {}}, {"top_k": "many"}])
def test_data_that_are_no_messages_are_named(wrong: dict[str, Any]) -> None:
    """Data that the rpc does not take, and templates that only ghz fills in, are refused with their place."""
    with pytest.raises(ScenarioError, match=r"data\[1\]"):
        payload(scenario(data=[APPLE, wrong]))


def test_scenarios_are_those_that_are_written() -> None:
    """The scenario files, in benchmarks and in the chart, are what the program writes: `python -m
    benchmarks.load.scenarios` after a change."""
    for folder in scenarios.FOLDERS:
        written = {file.stem: file.read_text(encoding="utf-8") for file in folder.glob("*.json")}
        assert written == {name: scenarios.as_text(one) for name, one in scenarios.scenarios().items()}


def test_scenarios_are_what_they_are_called() -> None:
    """Each scenario is one that we run too; of the mix about half comes again, of the errors three in ten fail."""
    read_again = {file.stem: read(file) for file in scenarios.FOLDERS[0].glob("*.json")}
    assert {"miss", "hit", "zipf", "batch", "stream", "steps", "errors"} == set(read_again)
    assert all(payload(one)(0) for one in read_again.values())
    fresh = [scenarios.NEW in str(one) for one in read_again["zipf"].messages]
    assert 0.4 < sum(fresh) / len(fresh) < 0.6
    assert all(scenarios.NEW in str(one) for one in read_again["miss"].messages)
    steps = read_again["steps"]
    assert steps.total == sum(rate * steps.load_step_duration for rate in range(10, 51, 10))


def a_run(stalled_until: float = 0.0) -> Run:
    """Ten calls, ten a second, each of 20 ms; the last fails, and from the fifth on none is sent before a moment."""
    asked = scenario(rps=10, total=10, name="made up")
    calls = []
    for number, at in enumerate(due(asked)):
        sent = 100 + (max(at, stalled_until) if number >= 4 else at)
        error = "rpc error: code = NotFound desc = nothing" if number == 9 else ""
        calls.append(Call(100 + at, sent, sent + 0.02, "NotFound" if error else "OK", error))
    return Run(asked, calls, 100.0, 1_700_000_000.0, 1.02)


def test_reports_are_read_as_they_are_written(tmp_path: Path) -> None:
    """What a report says of a run is what the run was."""
    file = tmp_path / "report.json"
    report.write(a_run(), None, file)
    read_again = report.read(file)

    assert (read_again.name, read_again.calls, read_again.seconds) == ("made up", 10, 1.02)
    assert read_again.rate == pytest.approx(10 / 1.02)
    assert read_again.statuses == {"OK": 9, "NotFound": 1}
    assert read_again.latency(50) == pytest.approx(0.02)
    assert (read_again.sent.size, read_again.failed.size) == (9, 1)
    assert read_again.late.max() < 1e-5


def test_reports_have_all_that_those_of_ghz_have() -> None:
    """A report has ghz's keys, with counts that add up."""
    made = report.as_json(a_run())
    keys = {"name", "endReason", "date", "options", "count", "total", "average", "fastest", "slowest", "rps"}
    keys |= {"errorDistribution", "statusCodeDistribution", "latencyDistribution", "histogram", "details", "tags"}
    assert keys <= set(made)
    assert sum(bucket["count"] for bucket in made["histogram"]) == 9
    assert [one["percentage"] for one in made["latencyDistribution"]] == [10, 25, 50, 75, 90, 95, 99]
    assert set(made["details"][0]) == {"timestamp", "latency", "error", "status"}


def test_a_call_that_was_sent_late_counts_from_when_it_was_due() -> None:
    """Latencies from the schedule hold what a caller waited before the call was sent; those from the send do not."""
    seen = report.of_json(report.as_json(a_run(stalled_until=0.8)))
    assert seen.sent.max() == pytest.approx(0.02, abs=1e-4)
    assert seen.late.max() == pytest.approx(0.3, abs=1e-4)
    assert seen.scheduled.max() == pytest.approx(0.32, abs=1e-4)


def test_timestamps_of_ghz_are_read(tmp_path: Path) -> None:
    """Reports of ghz have nanoseconds, with as many digits as are not 0."""
    made = report.as_json(a_run())
    for number, one in enumerate(made["details"]):
        one["timestamp"] = f"2026-11-28T20:52:28.{f'{792365651 + 10_000_000 * number}'.rstrip('0')}Z"
    assert report.of_json(made).calls == 10
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json is no report of ghz"):
        report.read(tmp_path / "other.json")


def test_reports_are_shown() -> None:
    """People see rate, statuses, both kinds of latencies and errors."""
    said = show(report.of_json(report.as_json(a_run())))
    for part in ("made up: 10 calls", "NotFound 1, OK 9", "from the send", "from when it was due", "1 × rpc error"):
        assert part in said
