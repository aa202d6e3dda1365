"""What may vary in an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from services.encoder.backends import Backend
from services.runtime.settings import Settings


class EncoderSettings(Settings):
    """An encoder's settings."""

    component: ClassVar[str] = "encoder"

    model: str = Field(
        description="A folder with open_clip_config.json and weights, or with an export of training.export; a "
        "configuration file; open_clip's name of an architecture; or hf-hub: and a repository, which is downloaded."
    )
    pretrained: str = Field(
        "", description="Weights beside a name or a configuration: a file, or open_clip's tag, which is downloaded."
    )
    backend: Backend = Field(
        "auto",
        description="What computes: torch; onnx, for folders with an export, on a CPU; or auto: onnx for these, unless "
        "torch is installed and could use a GPU.",
    )
    device: str = Field(
        "auto",
        pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
        description="auto (a GPU where there is one), cpu, cuda or cuda:N.",
    )
    threads: int = Field(0, ge=0, le=256, description="Threads that the model computes with on a CPU; 0: one a core.")

    max_text_tokens: int = Field(
        0, ge=0, le=1_048_576, description="Tokens in one batch of texts; 0: 512 on a CPU, 16,384 on a GPU."
    )
    max_image_batch: int = Field(0, ge=0, le=4096, description="Pictures in one batch; 0: 8 on a CPU, 64 on a GPU.")
    queue_capacity: int = Field(1024, ge=1, le=1_000_000, description="Texts that may wait; more are refused at once.")
    image_queue_capacity: int = Field(256, ge=1, le=65_536, description="Pictures that may wait, in the same way.")
    decode_threads: int = Field(2, ge=1, le=64, description="Threads that decode image files.")
    max_image_bytes: int = Field(10 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Bytes of one image file.")
    max_image_pixels: int = Field(64_000_000, ge=1, le=1_000_000_000, description="Pixels of one image.")
    translate: Path | None = Field(
        None,
        description="A folder with a translation model of CTranslate2: texts in a language that it knows are "
        "translated before the model reads them. Needs the extra encoder-translate.",
    )
    translate_certainty: float = Field(
        0.8, ge=0, le=1, description="Texts whose language is less probable than this are read as they are."
    )
    remembered_texts: int = Field(65_536, ge=1, le=10_000_000, description="Texts whose tokens are remembered.")
