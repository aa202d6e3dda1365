"""What may vary in a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.runtime.settings import Settings


class GatewaySettings(Settings):
    """A gateway's settings."""

    component: ClassVar[str] = "gateway"

    store: str = Field(description="Where the generations are: a folder, or any fsspec URL.")
    encoders: str = Field(description="Encoders, host:port with commas between; every address of a name is a replica.")
    searchers: str = Field(description="Searchers of all groups, in the same form; each says which group it is.")
    redis_url: SecretStr | None = Field(None, description="Redis that the gateways share as a cache; none without it.")

    tls_cert: Path | None = Field(
        None, description="The server's certificate chain, a PEM file; in the clear without it."
    )
    tls_key: Path | None = Field(None, description="Its private key, a PEM file.", validate_default=True)
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file: callers must show a certificate that one of these has signed.",
        validate_default=True,
    )
    keys: Path | None = Field(None, description="File with the keys of callers; anybody may call without it.")

    default_timeout_seconds: float = Field(5.0, gt=0, le=600, description="Deadline of calls that bring none.")
    store_timeout_seconds: float = Field(30.0, gt=0, le=600, description="How long the store may stay silent.")
    poll_seconds: float = Field(1.0, gt=0, le=60, description="How often to look which generation is current.")
    probe_seconds: float = Field(1.0, gt=0, le=60, description="How often to ask each replica for a sign of life.")
    probe_timeout_seconds: float = Field(1.0, gt=0, le=60, description="How long it may take to give one.")

    encode_batch: int = Field(64, ge=1, le=1024, description="Texts that one call to an encoder carries at the most.")
    encode_lanes: int = Field(2, ge=1, le=64, description="Such calls in flight to one encoder.")
    search_batch: int = Field(64, ge=1, le=1024, description="Queries that one call to a searcher carries at the most.")
    search_lanes: int = Field(2, ge=1, le=64, description="Such calls in flight to one searcher.")
    queue_capacity: int = Field(1024, ge=1, le=1_000_000, description="Queries that may queue before one replica.")
    stream_window: int = Field(64, ge=1, le=4096, description="Questions of one stream that are worked on at a time.")

    cache_bytes: int = Field(64 * 1024 * 1024, ge=0, description="Bytes of answers to hold in the process; 0 for none.")
    cache_ttl_seconds: float = Field(3600, gt=0, description="How long Redis holds an answer, give or take a tenth.")
    redis_timeout_seconds: float = Field(0.05, gt=0, le=10, description="Redis that takes longer is a miss.")

    @field_validator("tls_key")
    @classmethod
    def _key_goes_with_a_certificate(cls, key: Path | None, others: ValidationInfo) -> Path | None:
        if (key is None) != (others.data.get("tls_cert") is None):
            raise ValueError("a certificate and its key are given together")
        return key

    @field_validator("tls_client_ca")
    @classmethod
    def _callers_show_certificates_over_tls(cls, ca: Path | None, others: ValidationInfo) -> Path | None:
        if ca and others.data.get("tls_cert") is None:
            raise ValueError("callers can show certificates over TLS only: give SIGHTLINE_TLS_CERT too")
        return ca
