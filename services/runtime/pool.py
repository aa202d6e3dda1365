"""The replicas of a tier, as their caller sees them: who is there, who is least busy, and who to ask when one fails.

A name is resolved to all its addresses, again and again, and each address has a channel of its own. Every replica is
probed about once a second by a call that its event loop must answer: one that refuses is down at once, one that falls
silent after two probes, and whatever was in flight on it fails and is tried again elsewhere within its deadline.

A replica whose address has left its name is asked only where nobody else can answer: names tell who is meant to serve,
probes who does. So a caller that comes back from being cut off, and finds the names of replicas that it has no
connection to yet instead of those that it has, goes on with the latter.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import grpc

from services.runtime.metrics import PoolMetrics
from sightline.errors import DeadlineExceeded, SightlineError, Unavailable

log = logging.getLogger("sightline.pool")

LEAVING_SECONDS = 30.0
"""How long an address that has left its name is kept, and then how long calls may go on to it."""

MISSES = 2
"""Probes in a row that must go unanswered before a replica counts as silent."""

LAST_MISSES = 6
"""As many where nobody else could answer: likelier the machine is busy then, and there is nothing to gain."""

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The pool itself decides who is asked again, and a replica that came back must be noticed within a second.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Without the ping time-out, keepalive never notices a peer that is stopped rather than gone.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class Backend(Protocol):
    """One replica, behind its own protocol."""

    async def probe(self, timeout: float) -> None:
        """Asks for a sign of life and remembers what it says; raises a SightlineError where there is none."""

    def fail(self, error: Exception) -> None:
        """Fails all that is in flight."""


B = TypeVar("B", bound=Backend)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Member(Generic[B]):
    """One replica of the pool."""

    address: str
    channel: grpc.aio.Channel
    backend: B
    up: bool = False
    misses: int = 0
    outstanding: int = 0
    asked: float = field(default_factory=random.random)  # when last, counted in calls of the pool; below 1 never yet
    prompt: asyncio.Event = field(default_factory=asyncio.Event)  # set to probe at once
    probing: asyncio.Task[None] | None = None
    leaving: asyncio.Task[None] | None = None  # while its name does not have its address


class Pool(Generic[B]):
    """The replicas behind a list of targets.

    Args:
        targets: `host:port` each; every address of a name is a replica.
        connect: makes the backend of one channel.
        interval: seconds between probes, and between resolutions of the names.
        timeout: seconds that a probe may take.
        alike: whether one backend can answer for another.
        changed: told the backends that are up, whenever a probe has ended.
    """

    def __init__(
        self,
        targets: Sequence[str],
        connect: Callable[[grpc.aio.Channel], B],
        *,
        name: str,
        interval: float = 1.0,
        timeout: float = 1.0,
        alike: Callable[[B, B], bool] = lambda _, __: True,
        changed: Callable[[Sequence[B]], None] = lambda _: None,
    ) -> None:
        self._alike, self._changed, self._metrics = alike, changed, PoolMetrics(name)
        self._targets, self._connect, self._name = targets, connect, name
        self._interval, self._timeout = interval, timeout
        self._members: dict[str, Member[B]] = {}
        self._addresses: dict[str, set[str]] = {}  # by target, as last resolved
        self._unresolved: set[str] = set()  # targets of which the name server has said nothing
        self._closing: set[asyncio.Task[None]] = set()
        self._resolving: asyncio.Task[None] | None = None
        self._calls = 0

    async def start(self) -> None:
        """Resolves the names and probes every replica, until each has answered or refused, or was silent too often.

        So one that is only slow to answer is not missing when the first call comes.
        """
        for _ in range(LAST_MISSES):
            await self._resolve()
            await self.probe()
            if not self._unresolved and not any(one.misses and not one.up for one in self._members.values()):
                break
            await asyncio.sleep(self._interval / 20)
        self._resolving = asyncio.create_task(self._keep_resolving())

    async def close(self) -> None:
        """Closes all channels."""
        if self._resolving:
            self._resolving.cancel()
        members, self._members = list(self._members.values()), {}
        for member in members:
            _stay(member)
        await asyncio.gather(*self._closing, *(_close(member, self._timeout) for member in members))

    async def probe(self) -> None:
        """Asks every replica for a sign of life now, so that what is known of them is not older than this call."""
        await asyncio.gather(*(self._probe(member) for member in self._members.values()))

    @property
    def members(self) -> Collection[Member[B]]:
        """All replicas known, whether up or down, those that are leaving among them."""
        return self._members.values()

    def up(self) -> list[B]:
        """The backends that are up, those that are leaving among them."""
        return [member.backend for member in self._members.values() if member.up]

    def staying(self) -> list[B]:
        """Those of `up` whose names have them."""
        return [member.backend for member in self._members.values() if member.up and not member.leaving]

    async def call(
        self,
        ask: Callable[[B, float], Awaitable[T]],
        *,
        deadline: float,
        where: Callable[[B], bool] = lambda _: True,
        whom: str = "",
    ) -> T:
        """Asks the least busy replica, of several the one that was asked longest ago, and the next where it fails.

        While another is left to ask, a replica has half of the remaining time, so that one that hangs cannot use up
        the deadline.

        Args:
            ask: asks a backend, with a deadline of its own in `loop.time()` seconds.
            deadline: of the whole call.
            where: which backends can answer.
            whom: what an error calls them, where that is not just the name of the pool.

        Raises:
            Unavailable: none can, or all that could failed.
            DeadlineExceeded: the deadline passed.
            SightlineError: whatever else a replica answered; that is not tried again.
        """
        loop = asyncio.get_running_loop()
        tried: set[Member[B]] = set()
        last: SightlineError = Unavailable(f"no {whom or self._name} is up", reason=f"NO_{self._name.upper()}")
        while able := [m for m in self._members.values() if m.up and m not in tried and where(m.backend)]:
            if tried:
                self._metrics.moved_on(slow=isinstance(last, DeadlineExceeded))
            member = min(_preferred(able), key=lambda m: (m.outstanding, m.asked))
            now = loop.time()
            limit = deadline if len(able) == 1 else now + (deadline - now) / 2
            self._calls += 1
            member.asked = self._calls
            member.outstanding += 1
            try:
                return await ask(member.backend, limit)
            except Unavailable as error:
                last = error
                member.prompt.set()
            except DeadlineExceeded as error:
                if limit == deadline or loop.time() >= deadline:
                    raise
                last = error
                member.prompt.set()
            finally:
                member.outstanding -= 1
            tried.add(member)
        raise last

    async def _keep_resolving(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._resolve()

    async def _resolve(self) -> None:
        await asyncio.gather(*(self._resolve_one(target) for target in self._targets))
        found = set().union(*self._addresses.values())
        for address in found - self._members.keys():
            self._add(address)
        for address, member in self._members.items():
            if address in found:
                _stay(member)
            elif not member.leaving:
                member.leaving = asyncio.create_task(self._leave(member))
        self._count()

    async def _resolve_one(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            # A name without an address, or a name server that is gone, must not take away replicas that are there:
            # those that are not fail their probes anyway.
            log.debug("cannot resolve %s: %s", target, error)
            if error.errno == socket.EAI_AGAIN:
                self._unresolved.add(target)
            else:
                self._unresolved.discard(target)
            return
        self._unresolved.discard(target)
        self._addresses[target] = {
            f"[{to[0]}]:{port}" if family == socket.AF_INET6 else f"{to[0]}:{port}" for family, *_, to in infos
        }

    def _add(self, address: str) -> None:
        channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        member = Member(address, channel, self._connect(channel))
        self._members[address] = member
        member.probing = asyncio.create_task(self._keep_probing(member))

    async def _leave(self, member: Member[B]) -> None:
        await asyncio.sleep(LEAVING_SECONDS)
        del self._members[member.address]
        self._count()
        closing = asyncio.create_task(_close(member, LEAVING_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _keep_probing(self, member: Member[B]) -> None:
        while True:
            await self._probe(member)
            member.prompt.clear()
            try:
                await asyncio.wait_for(member.prompt.wait(), self._interval)
            except TimeoutError:
                continue
            # Prompted by failures: many of them must not become many probes.
            await asyncio.sleep(self._interval / 20)

    async def _probe(self, member: Member[B]) -> None:
        try:
            await member.backend.probe(self._timeout)
        except DeadlineExceeded as error:
            member.misses += 1
            if member.misses >= (MISSES if self._has_another(member) else LAST_MISSES):
                self._down(member, error)
        except SightlineError as error:
            self._down(member, error)
        else:
            if not member.up:
                log.info("%s %s is up", self._name, member.address)
            member.up, member.misses = True, 0
        self._count()

    def _has_another(self, member: Member[B]) -> bool:
        others = (one for one in self._members.values() if one.up and one is not member)
        return any(self._alike(one.backend, member.backend) for one in others)

    def _down(self, member: Member[B], error: SightlineError) -> None:
        if member.up:
            log.warning("%s %s is down: %s", self._name, member.address, error)
        member.up = False
        member.backend.fail(Unavailable(f"{self._name} {member.address} fell silent"))

    def _count(self) -> None:
        self._metrics.replicas(member.up for member in self._members.values() if not member.leaving)
        self._changed(self.staying())


def _preferred(members: Sequence[Member[B]]) -> Sequence[Member[B]]:
    """Those whose names have them, where there are such."""
    return [member for member in members if not member.leaving] or members


def _stay(member: Member[B]) -> None:
    if member.leaving:
        member.leaving.cancel()
        member.leaving = None


async def _close(member: Member[B], grace: float) -> None:
    if member.probing:
        member.probing.cancel()
    await member.channel.close(grace=grace)
