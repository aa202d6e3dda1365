"""Settings: what may vary, described where it is declared, read from the environment once, in `__main__`."""

from __future__ import annotations

import sys
from typing import ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SIGHTLINE_"


class Settings(BaseSettings):
    """What every process has. A field `drain_seconds` is read from SIGHTLINE_DRAIN_SECONDS.

    Attributes:
        component: what metrics and traces call the process.
    """

    component: ClassVar[str] = "process"

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    listen: str = Field("0.0.0.0:7700", description="Address of the gRPC port, host:port.")
    health_listen: str = Field("0.0.0.0:7790", description="Address of the plain port for /healthz, /readyz, /metrics.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    drain_seconds: float = Field(
        5.0, ge=0, le=300, description="On SIGTERM: how long to go on serving while names expire."
    )
    grace_seconds: float = Field(20.0, ge=0, le=600, description="Then: how long calls in flight may take to finish.")
    max_concurrent_calls: int = Field(4096, ge=1, description="Calls at a time; one more is refused at once.")
    max_connection_age_seconds: float = Field(
        90.0, ge=1, le=86400, description="Connections end after this, so that callers find new replicas."
    )
    otlp_endpoint: str = Field(
        "",
        description="Where traces go, by OTLP over gRPC: http://host:4317; nowhere without it. Needs the extra otel.",
    )
    trace_share: float = Field(
        0.01, ge=0, le=1, description="Share of what is served that is traced, where its caller does not decide."
    )


S = TypeVar("S", bound=Settings)


def load(kind: type[S]) -> S:
    """Reads the settings from the environment; where some are wrong, names them all and exits with 2."""
    try:
        return kind()
    except ValidationError as error:
        for fault in error.errors():
            name = PREFIX + "_".join(str(part) for part in fault["loc"]).upper()
            print(f"{name}: {fault['msg']}{_given(kind, fault)}", file=sys.stderr)
        sys.exit(2)


def _given(kind: type[Settings], fault: ErrorDetails) -> str:
    """Returns what was given, for the report, unless it was nothing or is a secret."""
    declared = kind.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    secret = declared is None or "Secret" in str(declared.annotation)
    return "" if secret or fault["type"] == "missing" else f" (got {fault['input']!r})"


def addresses(listed: str) -> tuple[str, ...]:
    """Returns the host:port entries of a comma-separated list."""
    return tuple(entry.strip() for entry in listed.split(",") if entry.strip())
