"""What a run of load is: ghz's configuration, as far as both of us read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

SERVICE = "sightline.v1.SearchService"
METHODS = ("Search", "SearchBatch", "SearchStream")

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


def _key(name: str) -> str:
    return name.strip("_").replace("_", "-")


class ScenarioError(Exception):
    """A configuration that makes no sense; the message names the file, the key and what is wrong."""


def _seconds(text: object) -> object:
    """Reads Go's durations, `1m30s`, as seconds."""
    if not isinstance(text, str):
        return text
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("is no duration such as 500ms, 20s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Schedule = Literal["const", "step", "line"]


class Scenario(BaseModel):
    """One run, under ghz's names with hyphens. What ghz knows and this does not is refused rather than passed over.

    Times are in seconds. Of `total` and `duration`, the second counts where it is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_key)

    name: str = ""
    call: str = f"{SERVICE}/Search"
    host: str = ""
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]] = Field(repr=False)
    tags: Mapping[str, str] = Field(default_factory=dict)

    total: int = Field(200, ge=1)
    duration: Seconds = 0.0
    duration_stop: Literal["close", "wait"] = "close"
    async_: bool = False
    concurrency: int = Field(50, ge=1)
    connections: int = Field(1, ge=1)
    lb_strategy: Literal["", "pick_first", "round_robin"] = ""
    timeout: Seconds = 20.0

    rps: int = Field(0, ge=0)
    load_schedule: Schedule = "const"
    load_start: int = Field(0, ge=0)
    load_step: int = 0
    load_end: int = Field(0, ge=0)
    load_step_duration: Seconds = 0.0
    load_max_duration: Seconds = 0.0

    stream_interval: Seconds = 0.0
    count_errors: bool = False
    insecure: bool = False
    cacert: str = ""
    cert: str = ""
    key: str = ""
    metadata: Mapping[str, str] = Field(default_factory=dict)
    reflect_metadata: Mapping[str, str] = Field(default_factory=dict)

    @property
    def method(self) -> str:
        """The rpc's own name: Search, SearchBatch or SearchStream."""
        return re.split("[./]", self.call)[-1]

    @property
    def path(self) -> str:
        """The rpc's path on the wire."""
        return f"/{SERVICE}/{self.method}"

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The data as a list: of calls that are made in turn, or of what each stream is sent."""
        return [self.data] if isinstance(self.data, Mapping) else self.data

    @model_validator(mode="after")
    def _makes_sense(self) -> Scenario:
        if self.path.strip("/").replace("/", ".") != self.call.replace("/", ".") or self.method not in METHODS:
            raise ValueError(f"call: {self.call} is not one of {', '.join(f'{SERVICE}/{one}' for one in METHODS)}")
        if not self.messages:
            raise ValueError("data: is empty")
        if self.duration and self.duration_stop != "wait":
            raise ValueError("duration-stop: must be wait, so that no call is cut off and counted as an error")
        if self.load_schedule != "const" and not (self.load_start and self.load_step):
            raise ValueError("load-start and load-step: a schedule of steps or a line needs both")
        if self.load_schedule == "step" and not self.load_step_duration:
            raise ValueError("load-step-duration: a schedule of steps needs it")
        return self


def read(file: Path, **changed: object) -> Scenario:
    """Reads a configuration; `changed` are keys, with underscores, that are to be other than in the file.

    Raises:
        ScenarioError: the file cannot be read or makes no sense.
    """
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
        return Scenario.model_validate(given | {_key(name): one for name, one in changed.items()})
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors())
        raise ScenarioError(f"{file}: {'; '.join(wrong)}") from error
    except (ValueError, TypeError) as error:
        raise ScenarioError(f"{file}: no JSON object: {error}") from error
