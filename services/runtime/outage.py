"""Says that something which is asked again and again fails: at once, then now and then, and when that is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

AGAIN_SECONDS = 60.0


class Outage:
    """Keeps the log readable while something is out of order.

    Args:
        log: where to say it.
        failing: what is said, before the error.
        over: what is said when it works again.
        clock: seconds that only grow.
    """

    def __init__(
        self, log: logging.Logger, failing: str, over: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._failing, self._over, self._clock = log, failing, over, clock
        self._began: float | None = None
        self._said = 0.0

    def failed(self, error: Exception) -> None:
        """Notes a failure."""
        now = self._clock()
        if self._began is None or now - self._said >= AGAIN_SECONDS:
            self._said = now
            self._log.warning("%s: %s", self._failing, error)
        self._began = now if self._began is None else self._began

    def worked(self) -> None:
        """Notes a success."""
        if self._began is not None:
            self._log.info("%s, after %.0f s", self._over, self._clock() - self._began)
        self._began = None
