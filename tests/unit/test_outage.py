"""What a log says of something that fails again and again."""

from __future__ import annotations

import logging

import pytest

from services.runtime.outage import Outage


def test_an_outage_is_said_once_a_minute_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is said at once, others once a minute, and the end with how long it took."""
    now = 100.0
    outage = Outage(logging.getLogger("test"), "it fails", "it works again", lambda: now)
    caplog.set_level("INFO")
    outage.worked()
    for number in range(150):
        outage.failed(ValueError(f"no. {number}"))
        now += 1
    outage.worked()
    outage.worked()
    assert [record.getMessage() for record in caplog.records] == [
        "it fails: no. 0",
        "it fails: no. 60",
        "it fails: no. 120",
        "it works again, after 150 s",
    ]
