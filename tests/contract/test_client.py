"""What every client promises: the fake, and the real one against a server. One suite for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from sightline import (
    FailedPrecondition,
    FakeClient,
    Filter,
    Image,
    ImageId,
    InvalidArgument,
    NotFound,
    SearchClient,
    SearchRequest,
    SearchResult,
    SightlineError,
    StoredImage,
    Unavailable,
    Weighted,
    attribute,
    image,
    text,
    vector,
)
from sightline._bags import DIMENSION
from sightline.client import Client
from sightline.results import AttributeField, AttributeType
from tests.sdk_server import Servicer, served

IMAGES = [
    Image("apple", "file:///a.png", "red apple", {"group": "fruit", "year": 2001}, 640, 480),
    Image("pear", "file:///p.png", "green pear", {"group": "fruit", "tags": ("sweet", "soft")}, 320, 240),
    Image("car", "https://example.org/c.jpg", "red car", {"fast": True, "price": 9.5}),
    Image("猫", caption="schwarze Katze"),
]


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient(IMAGES, thumbnails={"apple": b"the apple's file", "pear": b"the pear's file"}, generation=7)


@pytest.fixture(params=["fake", "real"])
async def client(request: pytest.FixtureRequest, fake: FakeClient) -> AsyncIterator[SearchClient]:
    if request.param == "fake":
        yield fake
        return
    async with served(Servicer(fake)) as address, Client(address) as real:
        yield real


def ids(result: SearchResult | SightlineError) -> list[str]:
    assert isinstance(result, SearchResult), result
    return [hit.id for hit in result]


async def test_words_find_the_image_that_they_describe(client: SearchClient) -> None:
    """Hits come best first, with the image as it was indexed and a cosine as the score."""
    result = await client.search("red apple")
    assert result[0].image == IMAGES[0]
    assert result[0].score == pytest.approx(1.0, abs=1e-6)
    assert ids(result) == ["apple", "car", "pear", "猫"]
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)


async def test_an_answer_says_how_it_came_about(client: SearchClient) -> None:
    """Coverage, generation, model, cache state and the caller's own request id come with every answer."""
    result = await client.search("red apple", request_id="mine-1")
    assert result.coverage.complete
    assert (result.coverage.shards_asked, result.coverage.images_searched) == (4, 4)
    assert (result.generation, result.model.name, result.cache, result.request_id) == (7, "fake", "miss", "mine-1")
    assert result.degraded == ()


async def test_top_k_and_min_score_bound_the_hits(client: SearchClient) -> None:
    """There are at most top_k hits, and none below min_score; none at all is an answer too."""
    assert ids(await client.search("red apple", top_k=1)) == ["apple"]
    assert ids(await client.search("red apple", min_score=0.4)) == ["apple", "car"]
    nothing = await client.search("zebra", min_score=0.4)
    assert (len(nothing), nothing.coverage.complete) == (0, True)


async def test_fields_choose_what_comes_with_a_hit(client: SearchClient) -> None:
    """Only the fields asked for are returned; the id always is."""
    hit = (await client.search("red apple", top_k=1, fields=["caption", "attributes.group"]))[0]
    assert hit.image == Image("apple", caption="red apple", attributes={"group": "fruit"})


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (attribute("group").equals("fruit"), ["apple", "pear"]),
        (~attribute("group").equals("fruit"), ["car", "猫"]),
        (attribute("group").one_of("fruit", "pet"), ["apple", "pear"]),
        (attribute("tags").equals("soft"), ["pear"]),
        (attribute("tags").one_of("hard", "sweet"), ["pear"]),
        (attribute("fast").equals(True), ["car"]),
        (attribute("year").equals(2001.0), ["apple"]),
        (attribute("year").equals(2001.5), []),
        (attribute("year").between(2000.5, 2001.5), ["apple"]),
        (attribute("price").between(9, 10), ["car"]),
        (attribute("price").between(less_than=9.5), []),
        (attribute("group").between("e", "g"), ["apple", "pear"]),
        (attribute("price").exists(False), ["apple", "pear", "猫"]),
        (attribute("price").exists() | attribute("tags").exists(), ["car", "pear"]),
        (attribute("group").equals("fruit") & ~attribute("tags").exists(), ["apple"]),
    ],
)
async def test_a_filter_leaves_only_what_meets_it(client: SearchClient, condition: Filter, found: list[str]) -> None:
    """Only images that meet the filter are found, as many as ever of them; what lacks an attribute meets no condition
    on it. The answer says how many there are."""
    result = await client.search("red apple", filter=condition)
    assert sorted(ids(result)) == found
    assert (result.coverage.images_searched, result.coverage.images_matched) == (4, len(found))


async def test_pictures_ids_and_vectors_are_queries_too(client: SearchClient, tmp_path: Path) -> None:
    """A picture is given by its bytes or its path, an image of the collection by its id, a vector as an array."""
    (tmp_path / "pear.webp").write_bytes(b"the pear's file")
    [row] = await client.embed(["green pear"])
    for query in (b"the pear's file", tmp_path / "pear.webp", ImageId("pear"), row, row.tolist()):
        assert ids(await client.search(query, top_k=1)) == ["pear"]


async def test_mixtures_add_and_steer_away(client: SearchClient) -> None:
    """A mixture written as arithmetic is the one written as weights, and a negative weight steers away."""
    mixed = text("red") - 2 * text("apple") + 0.5 * ImageId("pear")
    listed = Weighted([(1.0, "red"), (-2.0, "apple"), (0.5, ImageId("pear"))])
    assert mixed == listed
    result = await client.search(mixed)
    assert result.hits == (await client.search(listed)).hits
    assert ids(result)[0] == "car"
    assert ids(result)[-1] == "apple"


async def test_a_batch_answers_each_question_for_itself(client: SearchClient) -> None:
    """The answers come in the order of the questions, and one that fails fails alone."""
    first, second, third = await client.search_batch(
        ["green pear", SearchRequest("red", collection="elsewhere"), SearchRequest("red car", top_k=1)]
    )
    assert ids(first)[0] == "pear"
    assert isinstance(second, NotFound)
    assert (second.field, second.reason) == ("collection", "NO_COLLECTION")
    assert ids(third) == ["car"]


async def test_a_stream_answers_many_questions(client: SearchClient) -> None:
    """Any number of questions may be asked of a stream, each with options and errors of its own."""
    async with client.stream() as stream:
        assert ids(await stream.search("green pear", top_k=2)) == ["pear", "apple"]
        with pytest.raises(InvalidArgument):
            await stream.search("red", top_k=1001)
        assert ids(await stream.search(ImageId("car"), top_k=1)) == ["car"]


async def test_questions_that_come_are_answered_as_they_are_done(client: SearchClient) -> None:
    """An iteration over questions gives for each its place and its answer or its error, and does not end at one."""

    async def questions() -> AsyncIterator[str | SearchRequest]:
        for n in range(40):
            yield SearchRequest("red apple", top_k=0) if n == 11 else f"red car {n}"

    answers = {answer.index: answer async for answer in client.search_stream(questions(), window=8)}
    assert sorted(answers) == list(range(40))
    assert isinstance(answers[11].outcome, InvalidArgument)
    with pytest.raises(InvalidArgument):
        _ = answers[11].result
    assert all(ids(answers[n].result)[0] == "car" for n in range(40) if n != 11)


async def test_what_the_questions_raise_reaches_the_caller(client: SearchClient) -> None:
    """Where the iterator of questions breaks, the iteration over the answers ends with its exception."""

    async def questions() -> AsyncIterator[str]:
        yield "red apple"
        raise RuntimeError("the file of questions is gone")

    with pytest.raises(RuntimeError, match="gone"):
        _ = [answer async for answer in client.search_stream(questions())]


async def test_images_are_read_by_id(client: SearchClient) -> None:
    """An image comes with all its fields, with its thumbnail where that is asked for, and with its generation."""
    assert await client.get("apple") == StoredImage(IMAGES[0], b"", 7)
    assert (await client.get("apple", thumbnail=True)).thumbnail == b"the apple's file"
    assert (await client.get("猫", fields=["caption"])).image.caption == "schwarze Katze"
    with pytest.raises(NotFound, match="nobody"):
        await client.get("nobody")


async def test_many_images_are_read_at_once(client: SearchClient) -> None:
    """Each id has its image or its error, in the order asked."""
    found = await client.get_many(["car", "nobody", "pear"], thumbnails=True)
    assert isinstance(found[0], StoredImage)
    assert found[0].image == IMAGES[2]
    assert isinstance(found[1], NotFound)
    assert isinstance(found[2], StoredImage)
    assert found[2].thumbnail == b"the pear's file"


async def test_lists_may_be_longer_than_a_call(client: SearchClient) -> None:
    """Ids, questions and texts of any number come back as one list, in their order, each with its own outcome."""
    names = [*(["apple", "pear", "nobody"] * 400), "car"]
    found = await client.get_many(names)
    assert [one.image.id if isinstance(one, StoredImage) else "nobody" for one in found] == names
    files = await client.get_many(names[:130], thumbnails=True)
    assert [one.thumbnail for one in files if isinstance(one, StoredImage)].count(b"the pear's file") == 43
    outcomes = await client.search_batch([SearchRequest("red car", top_k=n % 3) for n in range(600)])
    assert [isinstance(one, InvalidArgument) for one in outcomes] == [n % 3 == 0 for n in range(600)]
    rows = await client.embed(["red apple"] * 300 + ["green pear"], [b"the pear's file"])
    assert rows.shape == (302, DIMENSION)
    np.testing.assert_allclose(rows[-1], rows[-2], atol=1e-6)
    assert await client.get_many([]) == await client.search_batch([]) == []


async def test_an_error_names_its_place_in_the_whole_list(client: SearchClient) -> None:
    """Where a text of a long list is wrong, the error's field counts from the beginning of the list."""
    with pytest.raises(InvalidArgument) as caught:
        await client.embed([*(["red"] * 299), ""])
    assert caught.value.field.startswith("inputs[299]")
    with pytest.raises(InvalidArgument):
        await client.embed()


async def test_thumbnails_come_with_the_hits(client: SearchClient) -> None:
    """Hits have their thumbnails where these are asked for, with the search or afterwards."""
    result = await client.search("green pear", thumbnails=True)
    assert [(hit.id, hit.thumbnail) for hit in result][:2] == [
        ("pear", b"the pear's file"),
        ("apple", b"the apple's file"),
    ]
    assert (result[2].thumbnail, result[3].thumbnail) == (b"", b"")
    plain = await client.search("green pear")
    assert plain[0].thumbnail == b""
    assert (await client.with_thumbnails(plain)).hits == result.hits


async def test_collections_are_described(client: SearchClient) -> None:
    """A collection says its size, shards, generation, model and attributes; another name is not found."""
    [only] = await client.collections()
    assert only == await client.collection() == await client.collection("fake")
    assert (only.images, only.shards, only.generation, only.model.dimension) == (4, 4, 7, DIMENSION)
    assert AttributeField("group", AttributeType.STRING, 2) in only.attributes
    with pytest.raises(NotFound):
        await client.collection("other")


async def test_texts_and_images_become_unit_vectors(client: SearchClient) -> None:
    """Vectors come as float32 rows, the texts' first; one bad input is the error of the call."""
    rows = await client.embed(["red apple", "green pear"], [b"the pear's file"])
    assert rows.dtype == np.float32
    assert rows.shape == (3, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(rows[1], rows[2], atol=1e-6)
    with pytest.raises(InvalidArgument):
        await client.embed(["red", ""])


async def test_a_ready_service_says_so(client: SearchClient) -> None:
    """Whoever waits for a service asks whether it is serving."""
    assert await client.serving()


@pytest.mark.parametrize(
    ("query", "options", "error", "field"),
    [
        ("", {}, InvalidArgument, "query.text"),
        ("x" * 5000, {}, InvalidArgument, "query.text"),
        ("red", {"top_k": 0}, InvalidArgument, "top_k"),
        ("red", {"top_k": 10**6}, InvalidArgument, "top_k"),
        (np.full(DIMENSION, np.nan), {}, InvalidArgument, "query.vector"),
        (np.ones(3), {}, InvalidArgument, "query.vector"),
        (text("red") - text("red"), {}, InvalidArgument, "query"),
        (ImageId("nobody"), {}, NotFound, "query.image_id"),
        ("red", {"collection": "other"}, NotFound, "collection"),
        ("red", {"generation": 6}, FailedPrecondition, "generation"),
        ("red", {"filter": attribute("colour").equals("red")}, InvalidArgument, "filter.condition.attribute"),
        ("red", {"filter": attribute("year").equals("2001")}, InvalidArgument, "filter.condition.equals"),
        ("red", {"filter": attribute("tags").between("a")}, InvalidArgument, "filter.condition.range"),
        ("red", {"filter": attribute("group").one_of()}, InvalidArgument, "filter.condition.in.values"),
        ("red", {"filter": attribute("price").equals(float("nan"))}, InvalidArgument, "filter.condition.equals"),
        (
            "red",
            {"filter": attribute("fast").exists() & attribute("group").one_of("fruit", 7)},
            InvalidArgument,
            "filter.all.filters[1].condition.in.values[1]",
        ),
    ],
)
async def test_bad_questions_name_their_field(
    client: SearchClient, query: object, options: dict[str, object], error: type[SightlineError], field: str
) -> None:
    """What the service refuses is raised as an error of the tree, with the field at fault and a reason."""
    with pytest.raises(error) as caught:
        await client.search(query, **options)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert caught.value.reason != "UNKNOWN"


async def test_what_is_no_query_is_refused_before_it_is_sent(client: SearchClient, tmp_path: Path) -> None:
    """A file that is not there and a table of numbers are mistakes of the program, raised as Python's own errors."""
    with pytest.raises(FileNotFoundError):
        await client.search(tmp_path / "nothing.png")
    with pytest.raises(TypeError, match="one row"):
        await client.search(np.ones((2, DIMENSION)))
    with pytest.raises(TypeError, match="one row"):
        await client.search(None)  # type: ignore[arg-type]


async def test_partial_answers_are_flagged_or_refused(client: SearchClient, fake: FakeClient) -> None:
    """An answer from some of the shards says so; whoever refuses such answers gets Unavailable."""
    fake.lose_shards(1)
    result = await client.search("red apple")
    assert not result.coverage.complete
    assert result.degraded[0].reason == "SHARDS_MISSING"
    with pytest.raises(Unavailable):
        await client.search("red apple", refuse_partial=True)
    fake.recover()
    assert (await client.search("red apple", refuse_partial=True)).coverage.complete


async def test_the_fake_fails_when_told(client: SearchClient, fake: FakeClient) -> None:
    """A number of calls, or those for one query, can be made to fail with any error of the tree."""
    fake.fail(InvalidArgument("no", reason="TOLD", field="query"), times=1)
    with pytest.raises(InvalidArgument, match="no"):
        await client.get("apple")
    assert await client.get("apple")
    fake.fail(NotFound("never heard", reason="TOLD"), query="red car")
    with pytest.raises(NotFound) as caught:
        await client.search("red car")
    assert caught.value.reason == "TOLD"
    assert ids(await client.search("red apple"))


async def test_questions_are_recorded_by_the_fake(client: SearchClient, fake: FakeClient) -> None:
    """A test can look at what was asked."""
    await client.search(image(b"the pear's file"), top_k=3)
    await client.search(vector(np.ones(DIMENSION)))
    assert [asked.top_k for asked in fake.asked] == [3, 10]
    assert fake.asked[0].query == image(b"the pear's file")
