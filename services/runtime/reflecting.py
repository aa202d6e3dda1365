"""Reflection that finds methods too, by which ghz and others ask for what they call."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor


class Descriptors:
    """A descriptor pool of what was generated, for reflection.

    The contract of reflection counts `package.Service.Method` among the symbols, protobuf's own pool does not: its
    FindFileContainingSymbol knows services and messages alone.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name
        """Returns the file that declares a symbol. Raises KeyError where none does."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            declared = self._pool.FindServiceByName(service)
            if method not in declared.methods_by_name:
                raise
            return declared.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
