"""The rules for names: of collections, of images, and of the shard that an image lies in."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from sightline.errors import InvalidArgument

MAX_ID_BYTES = 512
HASH = "blake2b64"
"""The hash that spreads images over shards, by the name that manifests give it."""

_COLLECTION = re.compile(r"[a-z0-9-]{1,63}")


def check_id(identifier: str, *, field: str = "id") -> bytes:
    """Returns the id as UTF-8.

    Raises:
        InvalidArgument: it is empty, longer than 512 bytes, or holds a control character; names `field`.
    """
    try:
        encoded = identifier.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument("an id is UTF-8; this one holds half of a surrogate pair", field=field) from exc
    if not 1 <= len(encoded) <= MAX_ID_BYTES:
        message = f"an id has 1 to {MAX_ID_BYTES} bytes of UTF-8, this one {len(encoded)}"
        raise InvalidArgument(message, reason="ID_LENGTH", field=field)
    if any(unicodedata.category(character) == "Cc" for character in identifier):
        raise InvalidArgument("an id has no control characters", reason="ID_CHARACTERS", field=field)
    return encoded


def check_collection(name: str, *, field: str = "collection") -> str:
    """Returns the collection's name.

    Raises:
        InvalidArgument: it is not 1 to 63 lower-case letters, digits and hyphens; names `field`.
    """
    if not is_collection(name):
        message = f"a collection's name is 1 to 63 lower-case letters, digits and hyphens, not {name[:80]!r}"
        raise InvalidArgument(message, reason="COLLECTION_NAME", field=field)
    return name


def is_collection(name: str) -> bool:
    """Returns whether a collection may have this name."""
    return _COLLECTION.fullmatch(name) is not None


def shard_of(identifier: str, shards: int) -> int:
    """Returns the shard, 0 to `shards` - 1, that the image lies in: the same in every process and for ever."""
    digest = hashlib.blake2b(identifier.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards
