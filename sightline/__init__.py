"""Sightline: text-to-image search as a cluster. This package is its client.

::

    async with Client("localhost:7700") as client:
        result = await client.search("red apple")
        mixed = await client.search(text("red dress") + 0.5 * image(Path("mine.jpg")) - text("stripes"))
"""

from sightline.client import Client
from sightline.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SightlineError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from sightline.fake import FakeClient
from sightline.filters import Filter, attribute
from sightline.queries import ImageId, SearchRequest, Weighted, image, text, vector
from sightline.results import (
    Answer,
    CacheState,
    Collection,
    Coverage,
    Degradation,
    Hit,
    Image,
    Model,
    SearchResult,
    StageTimes,
    StoredImage,
)
from sightline.security import Tls
from sightline.stream import SearchStream
from sightline.surface import SearchClient
from sightline.sync import SyncClient

__all__ = [
    "Answer",
    "CacheState",
    "Client",
    "Collection",
    "Coverage",
    "DeadlineExceeded",
    "Degradation",
    "FailedPrecondition",
    "FakeClient",
    "Filter",
    "Hit",
    "Image",
    "ImageId",
    "InternalError",
    "InvalidArgument",
    "Model",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "SearchClient",
    "SearchRequest",
    "SearchResult",
    "SearchStream",
    "SightlineError",
    "StageTimes",
    "StoredImage",
    "SyncClient",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Weighted",
    "attribute",
    "image",
    "text",
    "vector",
]
