"""Generations that could not be loaded: why, and when to try again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from services.searcher.published import Key
from services.store import Manifest
from sightline.errors import SightlineError, Unavailable

_REFUSED_AGAIN = (10.0, 300.0)
_UNAVAILABLE_AGAIN = (1.0, 30.0)
"""Seconds until the second try, doubling up to the most."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a generation is not loaded.

    Attributes:
        error: what went wrong.
        manifest: what it said then; None where it could not be read.
        tries: how often it was tried.
        again: when to try again, on the clock of `Refusals`.
    """

    error: SightlineError
    manifest: Manifest | None
    tries: int
    again: float


class Refusals:
    """Remembers failures to load, so that a bad generation is not read again and again.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refused: dict[Key, Refusal] = {}

    def add(self, key: Key, error: SightlineError, manifest: Manifest | None) -> Refusal:
        """Notes a failed try."""
        tries = self._refused[key].tries + 1 if key in self._refused else 1
        first, most = _UNAVAILABLE_AGAIN if isinstance(error, Unavailable) else _REFUSED_AGAIN
        again = self._clock() + min(first * 2.0 ** min(tries - 1, 30), most)
        self._refused[key] = Refusal(error, manifest, tries, again)
        return self._refused[key]

    def get(self, key: Key) -> Refusal | None:
        """Returns why a generation is not loaded; None where it was not tried, or is."""
        return self._refused.get(key)

    def reason(self, key: Key) -> str:
        """Returns the stable word of why a generation is not loaded; empty where it was not tried, or is."""
        refusal = self._refused.get(key)
        return refusal.error.reason if refusal else ""

    def final(self, key: Key) -> bool:
        """Returns whether the generation itself was found at fault, rather than the way to it."""
        refusal = self._refused.get(key)
        return refusal is not None and not isinstance(refusal.error, Unavailable)

    def due(self, key: Key) -> bool:
        """Returns whether to try a generation now."""
        refusal = self._refused.get(key)
        return refusal is None or self._clock() >= refusal.again

    def of(self, collection: str) -> dict[int, str]:
        """Returns, by number, why generations of a collection were found at fault."""
        return {
            key[1]: str(self._refused[key].error) for key in self._refused if key[0] == collection if self.final(key)
        }

    def changed(self, read: Callable[[Key], Manifest]) -> list[Key]:
        """Returns those whose manifest is another one now. Blocks as `read` does."""
        return [key for key, refusal in list(self._refused.items()) if _differs(refusal, key, read)]

    def forget(self, keys: Iterable[Key]) -> None:
        """Forgets failures, so that these are tried at once where somebody points to them."""
        for key in keys:
            self._refused.pop(key, None)

    def keep(self, keys: Collection[Key]) -> None:
        """Forgets all others."""
        self.forget([key for key in self._refused if key not in keys])


def _differs(refusal: Refusal, key: Key, read: Callable[[Key], Manifest]) -> bool:
    try:
        return read(key) != refusal.manifest
    except SightlineError:
        return False  # it cannot be read yet: it is tried again when it is due
