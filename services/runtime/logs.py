"""Logs: one JSON object a line, with the id of the request that it is about."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar

from services.runtime.tracing import trace_id

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served; set by the server's interceptor."""

caller: ContextVar[str] = ContextVar("caller", default="")
"""Who makes it, where callers have keys; set by the server's gate."""


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Keys: time, level, logger, message, request_id, trace_id, caller, error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identifier := request_id.get():
            line["request_id"] = identifier
        if trace := trace_id():
            line["trace_id"] = trace
        if name := caller.get():
            line["caller"] = name
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Sends all logs of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
