"""What may vary in a web process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from services.runtime.settings import Settings


class WebSettings(Settings):
    """A web process's settings."""

    component: ClassVar[str] = "web"

    listen: str = Field("0.0.0.0:7780", description="Address of the HTTP port, host:port.")
    gateway: str = Field(description="The gateways: host:port, or any gRPC target; every address of a name is used.")
    gateway_ca: Path | None = Field(
        None,
        description="Speak TLS to the gateways, and trust the certificates of this PEM file; in the clear without it.",
    )
    gateway_cert: Path | None = Field(None, description="A certificate to show to the gateways, a PEM file.")
    gateway_cert_key: Path | None = Field(None, description="Its private key, a PEM file.")
    gateway_key: SecretStr = Field(
        SecretStr(""), description="The key to call the gateways with, where they ask for one."
    )
    default_timeout_seconds: float = Field(5.0, gt=0, le=600, description="Deadline of requests that bring none.")
    max_body_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="Bytes of one request, or of one line of a stream."
    )
    stream_window: int = Field(64, ge=1, le=4096, description="Questions of one stream that are worked on at a time.")
    originals: str = Field(
        "",
        description="Folders and URLs below which originals may be read, with commas between; none without it.",
    )
    originals_max_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="Originals that are larger are not passed on."
    )
    originals_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="How long the place of an original may stay silent."
    )
    cors_origins: str = Field(
        "", description="Origins whose pages may read answers, with commas between, or *; only our own without it."
    )
