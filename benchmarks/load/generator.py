"""Sends a scenario's calls when they are due, each from a thread of its own, so that none waits for another.

Threads, since a call that blocks has the shortest way from the socket to the clock that Python has: no event loop
stands between, whose turns would be counted as the server's. What is sent was serialised before, what comes back is
read after.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from typing import TypeAlias

import grpc

from benchmarks.load.payloads import payload
from benchmarks.load.scenario import Scenario, ScenarioError
from benchmarks.load.schedule import due

MOST_IN_FLIGHT = 1000
"""Calls in flight of an open loop; the next is sent late, and seen to be."""

CONNECT_SECONDS = 10.0

_Ask: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Times are seconds on one clock; the status is Go's name of the code, as ghz writes it.

    Attributes:
        due: when it should have been sent.
        sent: when it was.
        ended: when its answer was there, or its error.
        request: what was sent: one message, or those of a stream.
        answers: what came back.
    """

    due: float
    sent: float
    ended: float
    status: str
    error: str = ""
    request: Sequence[bytes] = field(default=(), repr=False)
    answers: Sequence[bytes] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a scenario: its calls as they ended, and how long it took.

    Attributes:
        began: the start on the calls' clock.
        began_at: the same in seconds since 1970.
        seconds: until the last call ended.
        cancelled: whether Ctrl-C ended it.
    """

    scenario: Scenario
    calls: Sequence[Call] = field(repr=False)
    began: float
    began_at: float
    seconds: float
    cancelled: bool = False


def generate(scenario: Scenario) -> Run:
    """Runs a scenario until its last call has ended.

    Raises:
        ScenarioError: its data are no messages, or nobody answers at its host.
    """
    messages = payload(scenario)
    at_once = MOST_IN_FLIGHT if scenario.async_ else scenario.concurrency
    room, calls, cancelled = BoundedSemaphore(at_once), list[Call](), False

    def ended(task: Future[Call]) -> None:
        room.release()
        calls.append(task.result())

    with _asks(scenario) as asks, _uncollected(), ThreadPoolExecutor(at_once) as threads:
        began_at, began = time.time(), time.perf_counter()
        try:
            for number, after in enumerate(due(scenario)):
                request = messages(number)
                time.sleep(max(0.0, began + after - time.perf_counter()))
                room.acquire()
                task = threads.submit(_timed, asks[number % len(asks)], request, began + after)
                task.add_done_callback(ended)
        except KeyboardInterrupt:
            cancelled = True
    seconds = max((call.ended for call in calls), default=time.perf_counter()) - began
    return Run(scenario, calls, began, began_at, seconds, cancelled)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collecting garbage would stop all threads, and be counted as the server's time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _timed(ask: _Ask, request: Sequence[bytes], due_at: float) -> Call:
    sent = time.perf_counter()
    try:
        answers = ask(request)
    except grpc.RpcError as error:
        ended = time.perf_counter()
        status = status_name(error.code())
        return Call(due_at, sent, ended, status, f"rpc error: code = {status} desc = {error.details()}", request)
    return Call(due_at, sent, time.perf_counter(), "OK", "", request, answers)


def status_name(code: grpc.StatusCode) -> str:
    """Returns Go's name of a code: InvalidArgument."""
    if code is grpc.StatusCode.OK:
        return "OK"
    return "Canceled" if code is grpc.StatusCode.CANCELLED else "".join(map(str.capitalize, code.name.split("_")))


@contextmanager
def _asks(scenario: Scenario) -> Iterator[list[_Ask]]:
    """One function for each connection."""
    with ExitStack() as opened:
        channels = [opened.enter_context(_channel(scenario)) for _ in range(scenario.connections)]
        for channel in channels:
            try:
                grpc.channel_ready_future(channel).result(CONNECT_SECONDS)
            except grpc.FutureTimeoutError:
                raise ScenarioError(f"host: nobody answers at {scenario.host!r}") from None
        yield [_ask(scenario, channel) for channel in channels]


def _channel(scenario: Scenario) -> grpc.Channel:
    options: list[tuple[str, object]] = [
        ("grpc.use_local_subchannel_pool", 1),  # else connections to one address are shared
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    if scenario.lb_strategy:
        options.append(("grpc.lb_policy_name", scenario.lb_strategy))
    if scenario.insecure:
        return grpc.insecure_channel(scenario.host, options)
    files = (Path(one).read_bytes() if one else None for one in (scenario.cacert, scenario.key, scenario.cert))
    return grpc.secure_channel(scenario.host, grpc.ssl_channel_credentials(*files), options)


def _ask(scenario: Scenario, channel: grpc.Channel) -> _Ask:
    metadata, timeout = tuple(scenario.metadata.items()), scenario.timeout or None
    # Bytes in, bytes out.
    if scenario.method != "SearchStream":
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(scenario.path)
        return lambda request: [unary(request[0], timeout=timeout, metadata=metadata)]
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(scenario.path)
    return lambda request: [*stream(_paced(request, scenario.stream_interval), timeout=timeout, metadata=metadata)]


def _paced(messages: Iterable[bytes], interval: float) -> Iterator[bytes]:
    for number, message in enumerate(messages):
        if number:
            time.sleep(interval)
        yield message
