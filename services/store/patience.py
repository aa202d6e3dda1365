"""Calls that may hang, with an end: a store that falls silent must not take its readers with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sightline.errors import Unavailable

T = TypeVar("T")

MAX_SILENT = 64
"""Calls that may be under way, those given up included: each holds a thread until the store lets go of it."""


class Patience:
    """Runs blocking calls, each on a daemon thread, and gives up on those that take too long.

    Args:
        seconds: how long a call may take unless it says otherwise.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(MAX_SILENT)

    def run(self, call: Callable[[], T], what: str, *, seconds: float | None = None) -> T:
        """Returns the call's value, or raises its error.

        Args:
            call: what to run.
            what: what errors say was not answered.
            seconds: how long it may take.

        Raises:
            Unavailable: it took too long (STORE_TIMEOUT).
        """
        limit = self._seconds if seconds is None else seconds
        if not self._free.acquire(timeout=limit):
            raise _silent(what, limit)
        answer: Future[T] = Future()
        threading.Thread(target=self._answer, args=(answer, call), name="store", daemon=True).start()
        try:
            return answer.result(limit)
        except TimeoutError as exc:
            raise _silent(what, limit) from exc

    def _answer(self, answer: Future[T], call: Callable[[], T]) -> None:
        try:
            answer.set_result(call())
        except BaseException as exc:  # carried to the caller, whatever it is
            answer.set_exception(exc)
        finally:
            self._free.release()


def _silent(what: str, seconds: float) -> Unavailable:
    return Unavailable(f"{what}: the store did not answer within {seconds:g} s", reason="STORE_TIMEOUT")
