"""services/runtime/pool.py, over real servers on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from services.local.ports import free_ports
from services.runtime import pool as pool_module
from services.runtime.calls import call
from services.runtime.interceptor import Border
from services.runtime.pool import MISSES, Pool
from sightline.errors import DeadlineExceeded, InvalidArgument, Unavailable

INTERVAL = 0.05
TIMEOUT = 0.3
SOON = 5.0


class Replica:
    """A server that says its name, and can be made to hang or to refuse."""

    def __init__(self, name: str, address: str = "127.0.0.1:0") -> None:
        self.name, self.address = name, address
        self.asked = 0
        self.refuses: Exception | None = None
        self.answering, self.living = asyncio.Event(), asyncio.Event()
        self.answering.set()
        self.living.set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serves at its address, from the first time on the same."""
        self._server = grpc.aio.server(interceptors=[Border()], options=[("grpc.so_reuseport", 0)])
        unary: Any = grpc.unary_unary_rpc_method_handler
        handlers = {"Ask": unary(self._ask), "Probe": unary(self._probe)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
        host, _, _ = self.address.rpartition(":")
        self.address = f"{host}:{self._server.add_insecure_port(self.address)}"
        await self._server.start()

    async def kill(self) -> None:
        """Ends it, with all calls in flight."""
        if self._server:
            await self._server.stop(None)

    async def _ask(self, request: bytes, context: object) -> bytes:
        self.asked += 1
        await self.answering.wait()
        if self.refuses:
            raise self.refuses
        return self.name.encode()

    async def _probe(self, request: bytes, context: object) -> bytes:
        await self.living.wait()
        return b""


class Echo:
    """The backend of one replica."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._ask: Any = channel.unary_unary("/test.Echo/Ask")
        self._probe: Any = channel.unary_unary("/test.Echo/Probe")
        self._in_flight: set[asyncio.Future[bytes]] = set()

    async def probe(self, timeout: float) -> None:
        await call(self._probe, b"", asyncio.get_running_loop().time() + timeout)

    def fail(self, error: Exception) -> None:
        for future in self._in_flight:
            if not future.done():
                future.set_exception(error)

    async def ask(self, deadline: float) -> str:
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._in_flight.add(outcome)
        asking = asyncio.ensure_future(call(self._ask, b"", deadline))
        asking.add_done_callback(lambda done: _pass_on(done, outcome))
        try:
            return (await outcome).decode()
        finally:
            asking.cancel()
            self._in_flight.discard(outcome)


def _pass_on(done: asyncio.Future[Any], outcome: asyncio.Future[bytes]) -> None:
    if outcome.done() or done.cancelled():
        return
    error = done.exception()
    if error:
        outcome.set_exception(error)
    else:
        outcome.set_result(done.result())


async def ask(pool: Pool[Echo], seconds: float = SOON, where: Callable[[Echo], bool] = lambda _: True) -> str:
    deadline = asyncio.get_running_loop().time() + seconds
    return await pool.call(lambda echo, limit: echo.ask(limit), deadline=deadline, where=where)


@asynccontextmanager
async def pooled(*targets: str, alike: Callable[[Echo, Echo], bool] = lambda _, __: True) -> AsyncIterator[Pool[Echo]]:
    pool = Pool(targets, Echo, name="echo", interval=INTERVAL, timeout=TIMEOUT, alike=alike)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def counted(what: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"sightline_pool_{what}", {"pool": "echo", **labels}) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.01)


async def until_said(pool: Pool[Echo], names: set[str]) -> None:
    """Waits until just these replicas answer."""
    async with asyncio.timeout(SOON):
        while {await ask(pool) for _ in range(20)} != names:
            await asyncio.sleep(0.01)


async def in_flight(replica: Replica, asking: Awaitable[str]) -> asyncio.Future[str]:
    """Asks, and returns when the replica has the question."""
    before = replica.asked
    future = asyncio.ensure_future(asking)
    await until(lambda: replica.asked > before)
    return future


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as running:
        pair = Replica("a"), Replica("b")
        for replica in pair:
            await replica.start()
            running.push_async_callback(replica.kill)
        yield pair


@pytest.fixture
async def pool(replicas: tuple[Replica, Replica]) -> AsyncIterator[Pool[Echo]]:
    async with pooled(*(replica.address for replica in replicas)) as opened:
        yield opened


async def test_the_least_busy_replica_is_asked(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """Questions in flight are spread evenly, whoever answers faster."""
    a, b = replicas
    a.answering.clear()
    b.answering.clear()
    asking = [asyncio.create_task(ask(pool)) for _ in range(10)]
    await until(lambda: a.asked + b.asked == 10)
    assert (a.asked, b.asked) == (5, 5)
    b.answering.set()
    await until(lambda: sum(task.done() for task in asking) == 5)
    assert [await ask(pool) for _ in range(5)] == ["b"] * 5
    a.answering.set()
    await asyncio.gather(*asking)


async def test_idle_replicas_take_turns(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """Of replicas that are equally busy the one is asked that was asked longest ago."""
    first, *others = [await ask(pool) for _ in range(7)]
    assert [first, *others] == [first, others[0]] * 3 + [first]
    assert {first, others[0]} == {"a", "b"}


async def test_what_a_replica_leaves_unanswered_another_answers(
    replicas: tuple[Replica, Replica], pool: Pool[Echo]
) -> None:
    """A replica ends with questions in flight: the other answers them, and no more are sent to the first. Both are
    counted: what went on to another, and who is up."""
    a, b = replicas
    before = counted("failovers_total", reason="gone")
    a.answering.clear()
    asking = [asyncio.create_task(ask(pool)) for _ in range(6)]
    await until(lambda: a.asked == 3)
    await a.kill()
    assert await asyncio.gather(*asking) == ["b"] * 6
    await until(lambda: len(pool.up()) == 1)
    assert await ask(pool) == "b"
    assert a.asked == 3
    assert b.asked == 7
    assert counted("failovers_total", reason="gone") == before + 3
    assert [counted("replicas", state=state) for state in ("up", "down")] == [1, 1]


async def test_a_replica_that_came_back_is_asked_again(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """A replica that starts again at its address is found up by itself."""
    a, b = replicas
    await a.kill()
    await until(lambda: len(pool.up()) == 1)
    await a.start()
    await until(lambda: len(pool.up()) == 2)
    b.answering.clear()
    waiting = await in_flight(b, ask_until(pool, b))
    assert await ask(pool) == "a"
    b.answering.set()
    await waiting


async def ask_until(pool: Pool[Echo], replica: Replica) -> str:
    """Asks until this replica has been asked."""
    before = replica.asked
    while True:
        answer = await ask(pool)
        if replica.asked > before:
            return answer


async def test_a_question_never_waits_for_the_whole_deadline(
    replicas: tuple[Replica, Replica], pool: Pool[Echo]
) -> None:
    """A replica that lives but does not answer has half of the time; then the other is asked."""
    replicas[0].answering.clear()
    answers = await asyncio.gather(*(ask(pool, 1.0) for _ in range(4)))
    assert answers == ["b"] * 4
    assert replicas[0].asked == 2


async def test_a_silent_replica_is_given_up(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """A replica that gives no sign of life is down after two probes, long before deadlines pass; what is in flight on
    it is answered by the other; when it speaks again it is up again."""
    a, _ = replicas
    a.answering.clear()
    asking = [asyncio.create_task(ask(pool, 60.0)) for _ in range(4)]
    await until(lambda: a.asked == 2)
    a.living.clear()
    async with asyncio.timeout(SOON):
        assert await asyncio.gather(*asking) == ["b"] * 4
    assert len(pool.up()) == 1
    a.living.set()
    a.answering.set()
    await until(lambda: len(pool.up()) == 2)


async def test_one_missed_probe_is_forgiven(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """A replica that is silent for one probe alone stays up."""
    replicas[0].living.clear()
    await until(lambda: any(member.misses for member in pool.members))
    replicas[0].living.set()
    await until(lambda: not any(member.misses for member in pool.members))
    assert len(pool.up()) == 2


async def test_who_has_no_equal_is_given_more_time(replicas: tuple[Replica, Replica]) -> None:
    """A replica that no other can stand in for stays up for longer than one that another can, while it is silent."""
    async with pooled(*(replica.address for replica in replicas), alike=lambda _, __: False) as pool:
        replicas[0].living.clear()
        await until(lambda: any(member.misses > MISSES for member in pool.members))
        assert len(pool.up()) == 2
        await until(lambda: len(pool.up()) == 1)


async def test_a_replica_that_is_slow_at_first_is_waited_for(replicas: tuple[Replica, Replica]) -> None:
    """A pool that starts beside a replica that misses its first probe has it when the first question comes."""
    for replica in replicas:
        replica.living.clear()
    asyncio.get_running_loop().call_later(1.5 * TIMEOUT, replicas[0].living.set)
    asyncio.get_running_loop().call_later(1.5 * TIMEOUT, replicas[1].living.set)
    async with pooled(*(replica.address for replica in replicas)) as pool:
        assert len(pool.up()) == 2


async def test_errors_of_the_question_are_not_tried_again(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """What one replica refuses for a reason, no other is bothered with."""
    for replica in replicas:
        replica.refuses = InvalidArgument("no such thing", field="thing")
    with pytest.raises(InvalidArgument, match="no such thing"):
        await ask(pool)
    assert sum(replica.asked for replica in replicas) == 1


async def test_only_those_are_asked_that_can_answer(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """Callers choose among backends; where none will do, the question is Unavailable at once."""
    chosen = next(member.backend for member in pool.members if member.address == replicas[1].address)
    assert [await ask(pool, where=lambda echo: echo is chosen) for _ in range(4)] == ["b"] * 4
    with pytest.raises(Unavailable, match="no echo is up") as caught:
        await ask(pool, where=lambda _: False)
    assert caught.value.reason == "NO_ECHO"


async def test_nobody_there_is_unavailable(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """When all replicas are gone questions fail at once, without waiting for their deadlines."""
    for replica in replicas:
        await replica.kill()
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable):
            await ask(pool, 60.0)
        await until(lambda: not pool.up())
        with pytest.raises(Unavailable, match="no echo is up"):
            await ask(pool, 60.0)


async def test_a_deadline_is_a_deadline(replicas: tuple[Replica, Replica], pool: Pool[Echo]) -> None:
    """When nobody answers in time the question ends with its deadline."""
    for replica in replicas:
        replica.answering.clear()
    with pytest.raises(DeadlineExceeded):
        await ask(pool, 0.3)


NAME = "echo.test"


class Names:
    """A name server: one name, whose addresses change, and which can be gone; it knows no other name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.gone = False
        self.silent = 0  # for so many questions

    async def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        if self.silent:
            self.silent -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if self.gone or host != NAME:
            raise socket.gaierror("no name server")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


@pytest.fixture
async def named(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Names, str, list[Replica]]]:
    """A name, and three replicas at one port of addresses that it may have."""
    port = free_ports(1)[0]
    names = Names("127.0.0.2")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    async with AsyncExitStack() as running:
        found = [Replica(str(number), f"127.0.0.{number}:{port}") for number in (2, 3, 4)]
        for replica in found:
            await replica.start()
            running.push_async_callback(replica.kill)
        yield names, f"{NAME}:{port}", found


async def test_a_name_server_that_is_silent_at_first_is_asked_again(named: tuple[Names, str, list[Replica]]) -> None:
    """A pool that starts while the name server cannot tell has the replicas when the first question comes."""
    names, target, _ = named
    names.silent = 2
    async with pooled(target) as pool:
        assert await ask(pool) == "2"


async def test_a_name_stands_for_all_its_addresses(named: tuple[Names, str, list[Replica]]) -> None:
    """Addresses that a name gets are asked, those that it loses no more; what these have in flight they may finish."""
    names, target, (two, _, _) = named
    async with pooled(target) as pool:
        assert await ask(pool) == "2"
        names.addresses = ["127.0.0.3", "127.0.0.4"]
        two.answering.clear()
        asking = await in_flight(two, ask(pool))
        await until(lambda: len(pool.staying()) == 2 and len(pool.up()) == 3)
        assert {await ask(pool) for _ in range(20)} == {"3", "4"}
        two.answering.set()
        assert await asking in {"2", "3", "4"}


async def test_what_left_its_name_answers_while_nobody_in_it_can(named: tuple[Names, str, list[Replica]]) -> None:
    """A replica that its name no longer has is asked where all that it has are down, and no more once one is up."""
    names, target, (_, three, _) = named
    async with pooled(target) as pool:
        await three.kill()
        names.addresses = ["127.0.0.3"]
        await until(lambda: any(member.leaving for member in pool.members))
        assert await ask(pool) == "2"
        await three.start()
        await until(lambda: sum(member.up for member in pool.members) == 2)
        assert {await ask(pool) for _ in range(20)} == {"3"}


async def test_what_comes_back_into_its_name_stays(named: tuple[Names, str, list[Replica]]) -> None:
    """A replica that its name has again before it is given up keeps its connection, and is asked as before."""
    names, target, _ = named
    async with pooled(target) as pool:
        [member] = pool.members
        names.addresses = ["127.0.0.3"]
        await until(lambda: bool(member.leaving))
        names.addresses = ["127.0.0.2", "127.0.0.3"]
        await until(lambda: not member.leaving and len(pool.up()) == 2)
        assert member in pool.members
        await until_said(pool, {"2", "3"})


async def test_what_left_its_name_is_given_up_in_time(
    named: tuple[Names, str, list[Replica]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while nothing is kept of a replica that its name has no more."""
    monkeypatch.setattr(pool_module, "LEAVING_SECONDS", 0.1)
    names, target, _ = named
    async with pooled(target) as pool:
        names.addresses = ["127.0.0.3"]
        await until(lambda: [member.address.partition(":")[0] for member in pool.members] == ["127.0.0.3"])
        await until_said(pool, {"3"})


async def test_a_name_server_that_is_gone_takes_nobody_away(named: tuple[Names, str, list[Replica]]) -> None:
    """While names cannot be resolved, the replicas that were known are asked."""
    names, target, _ = named
    async with pooled(target) as pool:
        names.gone = True
        await asyncio.sleep(4 * INTERVAL)
        assert await ask(pool) == "2"


async def test_a_name_without_addresses_hides_no_other(named: tuple[Names, str, list[Replica]]) -> None:
    """A target that does not resolve, as a service without ready replicas, keeps no other target from being asked."""
    _, target, _ = named
    async with pooled("nobody.test:1", target) as pool:
        assert await ask(pool) == "2"


async def test_a_question_outlives_the_replica_that_left(replicas: tuple[Replica, Replica]) -> None:
    """Where a channel is closed under a question, the question is tried elsewhere, not cancelled."""
    one, other = replicas
    async with pooled(one.address, other.address) as pool:
        one.answering.clear()
        other.answering.clear()
        asking = asyncio.ensure_future(ask(pool))
        await until(lambda: one.asked + other.asked > 0)
        busy, idle = (one, other) if one.asked else (other, one)
        member = next(member for member in pool.members if member.address == busy.address)
        idle.answering.set()
        await member.channel.close(grace=0)
        assert await asking == idle.name


async def test_the_last_replica_is_given_up_later(replicas: tuple[Replica, Replica]) -> None:
    """A replica that is slow to give a sign of life is asked on where nobody else is up, and given up in the end."""
    alone, _ = replicas
    async with pooled(alone.address) as pool:
        alone.living.clear()
        await asyncio.sleep((MISSES + 1) * (INTERVAL + TIMEOUT))
        assert await ask(pool) == alone.name
        await until(lambda: not pool.up())
        with pytest.raises(Unavailable):
            await ask(pool)
