"""What may vary in an encoder."""

from __future__ import annotations

from pydantic import Field

from services.runtime.settings import Settings


class EncoderSettings(Settings):
    """An encoder's settings."""

    model: str = Field(
        description="A model of open_clip by name, a folder with open_clip_config.json, or a .json file."
    )
    pretrained: str = Field("", description="Weights: a checkpoint file, or a tag that open_clip fetches from its hub.")
    device: str = Field("auto", pattern="^(auto|cpu|cuda(:[0-9]+)?)$", description="auto, cpu, cuda or cuda:N.")
    threads: int = Field(0, ge=0, le=256, description="Threads that the model computes with on a CPU; 0: one a core.")
    max_text_tokens: int = Field(2048, ge=77, le=65536, description="Tokens in one batch of texts at the most.")
    max_image_batch: int = Field(16, ge=1, le=1024, description="Pictures in one batch at the most.")
    queue_capacity: int = Field(1024, ge=1, le=1_000_000, description="Texts, and pictures, that may queue.")
    decode_threads: int = Field(2, ge=1, le=64, description="Threads that decode image files and tokenise texts.")
