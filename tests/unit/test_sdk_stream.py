"""Streams through everything that can happen to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sightline import (
    Client,
    DeadlineExceeded,
    FakeClient,
    Image,
    InternalError,
    ResourceExhausted,
    SearchRequest,
    SearchResult,
    Unavailable,
    Unimplemented,
)
from tests.sdk_server import Servicer, served


@pytest.fixture
def servicer() -> Servicer:
    return Servicer(FakeClient([Image("apple", caption="red apple"), Image("pear", caption="green pear")]))


@pytest.fixture
async def client(servicer: Servicer) -> AsyncIterator[Client]:
    async with served(servicer) as address, Client(address, timeout=10) as client:
        yield client


async def test_a_stream_reopens_when_the_server_ends_it(servicer: Servicer, client: Client) -> None:
    """A server may end a stream whenever it likes: no question is lost, none is answered twice."""
    servicer.stream_length = 3
    answers = [answer async for answer in client.search_stream([f"pear {n}" for n in range(20)], window=8)]
    assert sorted(answer.index for answer in answers) == list(range(20))
    assert all(answer.result[0].id == "pear" for answer in answers)
    assert servicer.streams >= 7  # more where an end overtakes an answer, which is then asked for again


async def test_an_idle_stream_that_was_ended_opens_again_when_needed(servicer: Servicer, client: Client) -> None:
    """Between two questions the server may end the stream; nothing is opened until the second."""
    servicer.stream_length = 1
    async with client.stream() as stream:
        await stream.search("apple")
        await asyncio.sleep(0.1)
        assert servicer.streams == 1
        await stream.search("apple")
        assert servicer.streams == 2


async def test_a_stream_outlives_its_connections(servicer: Servicer) -> None:
    """Connections that the server ends for their age, with their streams, lose no question."""
    async with (
        served(servicer, max_connection_age_ms=150, max_connection_age_grace_ms=50) as address,
        Client(address) as client,
        client.stream() as stream,
    ):
        for _ in range(25):
            results = await asyncio.gather(*(stream.search("apple") for _ in range(4)))
            assert all(result[0].id == "apple" for result in results)
            await asyncio.sleep(0.03)
    assert servicer.streams > 2


async def test_unanswered_questions_survive_a_server_that_goes_away(servicer: Servicer) -> None:
    """A question put while the server is gone, or unanswered when it goes, is answered once it is back."""
    servicer.silent = True
    async with served(servicer) as address:
        client = Client(address, timeout=10)
        stream = client.stream()
        before = asyncio.create_task(stream.search("apple"))
        await asyncio.sleep(0.2)
    after = asyncio.create_task(stream.search("pear"))
    await asyncio.sleep(0.2)
    servicer.silent = False
    async with served(servicer, listen=address):
        assert (await before)[0].id == "apple"
        assert (await after)[0].id == "pear"
        await stream.close()
        await client.close()


async def test_each_question_has_a_deadline_of_its_own(servicer: Servicer, client: Client) -> None:
    """One that is not answered in time fails, whatever the others do, and says how long it waited."""
    servicer.silent = True
    async with client.stream(timeout=5) as stream:
        patient = asyncio.create_task(stream.search("apple"))
        with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
            await stream.search("pear", timeout=0.2)
        assert not patient.done()
        patient.cancel()


async def test_a_deadline_names_why_nobody_answered() -> None:
    """Where no server is there until the deadline, the error says so."""
    async with Client("127.0.0.1:1") as client, client.stream(timeout=0.4) as stream:
        with pytest.raises(DeadlineExceeded, match="does not answer") as caught:
            await stream.search("apple")
    assert isinstance(caught.value.__cause__, Unavailable)


async def test_a_refusal_of_the_whole_stream_reaches_every_question(servicer: Servicer, client: Client) -> None:
    """What trying again would not mend is raised at once: a stream not implemented, a server that is full."""
    for refusal in (Unimplemented("no streams here"), ResourceExhausted("too many streams"), InternalError("a bug")):
        servicer.stream_error = refusal
        async with client.stream() as stream:
            outcomes = await asyncio.gather(*(stream.search("apple") for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(refusal)] * 3


async def test_the_window_bounds_what_is_in_flight(servicer: Servicer, client: Client) -> None:
    """No more questions than the window are unanswered; the rest waits, within its own deadline."""
    servicer.silent = True
    async with client.stream(window=2) as stream:
        asking = [asyncio.create_task(stream.search("apple", timeout=0.5)) for _ in range(5)]
        await asyncio.sleep(0.2)
        assert servicer.received == 2
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(outcome, DeadlineExceeded) for outcome in outcomes)


async def test_slow_readers_hold_the_questions_back(client: Client) -> None:
    """Questions are not read faster than their answers are taken, so that endless ones may be asked."""
    read = 0

    async def questions() -> AsyncIterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "apple"

    answers = client.search_stream(questions(), window=4)
    for _ in range(10):
        assert (await anext(answers)).result[0].id == "apple"
    await asyncio.sleep(0.1)
    assert read <= 15
    await answers.aclose()


async def test_closing_leaves_nobody_waiting(servicer: Servicer, client: Client) -> None:
    """Whoever waits when the stream is closed gets Unavailable, and so does whoever asks later."""
    servicer.silent = True
    stream = client.stream()
    waiting = asyncio.create_task(stream.search("apple"))
    await asyncio.sleep(0.1)
    await stream.close()
    for attempt in (waiting, stream.search("apple")):
        with pytest.raises(Unavailable) as caught:
            await attempt
        assert caught.value.reason == "STREAM_CLOSED"


async def test_a_closed_client_ends_its_streams(servicer: Servicer, client: Client) -> None:
    """Where the client is closed under a stream, its questions fail at once."""
    servicer.silent = True
    stream = client.stream()
    waiting = asyncio.create_task(stream.search("apple"))
    await asyncio.sleep(0.1)
    await client.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 2)
    await stream.close()


async def test_whoever_leaves_disturbs_nobody(client: Client) -> None:
    """A caller who cancels gives its place in the window to the next."""
    async with client.stream(window=1) as stream:
        for _ in range(5):
            leaving = asyncio.create_task(stream.search("apple"))
            await asyncio.sleep(0)
            leaving.cancel()
        result: SearchResult = await stream.answer(SearchRequest("pear", top_k=1))
    assert result[0].id == "pear"
