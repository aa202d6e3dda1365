"""What those count who read the store."""

from __future__ import annotations

from prometheus_client import Gauge

store_read_timestamp_seconds = Gauge(
    "sightline_store_read_timestamp_seconds", "When all pointers were last read from the store, in seconds since 1970."
)
store_read_timestamp_seconds.set_to_current_time()  # whoever has not read it yet has waited since it was started
