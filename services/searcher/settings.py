"""What may vary of a searcher."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from services.runtime.settings import Settings


class SearcherSettings(Settings):
    """Settings of one searcher."""

    component: ClassVar[str] = "searcher"

    store: str = Field(description="Where the generations are: a folder, or any fsspec URL.")
    group: int = Field(0, ge=0, description="This searcher's group: it serves the shards s with s mod groups = group.")
    groups: int = Field(1, ge=1, le=4096, description="How many groups there are.", validate_default=True)
    cache_dir: Path = Field(
        Path("/var/cache/sightline"),
        description="Where shards are copied to from a store that is not a local disk; must be writable.",
    )
    store_timeout_seconds: float = Field(30.0, gt=0, le=600, description="How long the store may stay silent.")
    poll_seconds: float = Field(1.0, ge=0.05, le=60, description="How often to look for other generations.")
    linger_seconds: float = Field(
        15.0, ge=0, le=3600, description="How long a generation that nothing points to is kept for those who still ask."
    )
    max_batch: int = Field(64, ge=1, le=4096, description="The most queries that are searched together.")
    queue_capacity: int = Field(2048, ge=1, le=1_000_000, description="Queries that may wait; more are refused.")
    threads: int = Field(1, ge=1, le=256, description="Threads that FAISS uses for one batch.")

    @field_validator("groups")
    @classmethod
    def _above_group(cls, groups: int, info: ValidationInfo) -> int:
        if info.data.get("group", 0) >= groups:
            raise ValueError(f"group is {info.data['group']}, so there must be more groups than that")
        return groups
