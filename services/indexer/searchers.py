"""The searchers as a committer sees them: the only place of the indexer that speaks their protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import grpc

from services.indexer.ports import SearcherStatus
from services.runtime.calls import call
from sightline.errors import SightlineError
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc


class SearcherReplicas:
    """All searchers behind a list of `host:port`, where a name stands for all its addresses; a ports.Searchers."""

    def __init__(self, targets: Sequence[str], *, timeout: float = 3.0) -> None:
        self._targets, self._timeout = targets, timeout

    async def statuses(self, collection: str) -> list[SearcherStatus]:
        """What each searcher says, by address. Names are resolved anew each time: replicas come and go."""
        found = await asyncio.gather(*(self._resolve(target) for target in self._targets))
        lost = [one for one in found if isinstance(one, SearcherStatus)]
        addresses = sorted({address for one in found if not isinstance(one, SearcherStatus) for address in one})
        return [*lost, *await asyncio.gather(*(self._ask(address, collection) for address in addresses))]

    async def _resolve(self, target: str) -> set[str] | SearcherStatus:
        host, _, port = target.rpartition(":")
        try:
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError as exc:
            return SearcherStatus(target, error=f"the name is not known: {exc.strerror or exc}")
        return {f"[{to[0]}]:{port}" if family == socket.AF_INET6 else f"{to[0]}:{port}" for family, *_, to in infos}

    async def _ask(self, address: str, collection: str) -> SearcherStatus:
        deadline = asyncio.get_running_loop().time() + self._timeout
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = searcher_pb2_grpc.SearcherServiceStub(channel)
            try:
                status = await call(stub.Status, searcher_pb2.StatusRequest(), deadline)
            except SightlineError as exc:
                return SearcherStatus(address, error=exc.message)
        return _status(address, collection, status)


def _status(address: str, collection: str, status: searcher_pb2.StatusResponse) -> SearcherStatus:
    loaded = next((one for one in status.collections if one.collection == collection), None)
    return SearcherStatus(
        address=address,
        group=status.group,
        groups=status.groups,
        loaded=frozenset(loaded.generations if loaded else ()),
        refused={one.generation: one.reason for one in loaded.refused} if loaded else {},
    )
