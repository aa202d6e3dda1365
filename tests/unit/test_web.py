"""services/web: what HTTP adds to the SDK, over a fake of it."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FileDescriptor
from PIL import Image as Pictures
from pydantic import BaseModel
from starlette.testclient import TestClient

from services.runtime.health import Health
from services.web import answers
from services.web.__main__ import tls
from services.web.app import application, bordered
from services.web.settings import WebSettings
from sightline import FakeClient, Image, SightlineError, results
from sightline._filtering import MAX_DEPTH, MAX_VALUES
from sightline.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from sightline.filters import All, Equals, InRange
from sightline.queries import ImageId, Picture, Text, Vector, Weighted
from sightline.results import Collection
from sightline.v1 import collection_pb2, embed_pb2, image_pb2, search_pb2

SLASHED = "2024/red ?#%2F.png"
WEBP = b"RIFF\x04\x00\x00\x00WEBPVP8 "


def png(side: int = 8) -> bytes:
    file = BytesIO()
    Pictures.new("RGB", (side, side), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def fake() -> FakeClient:
    """Three images: one whose id needs care, one with a thumbnail, one whose original lies elsewhere."""
    images = [
        Image(SLASHED, uri="red.png", caption="red apple", attributes={"year": 2024, "tags": ("a", "b")}),
        Image("pear", uri="pear.svg", caption="green pear"),
        Image("far", uri="/etc/passwd", caption="far away"),
    ]
    return FakeClient(images, thumbnails={"pear": WEBP})


@pytest.fixture
def web(fake: FakeClient, tmp_path: Path) -> TestClient:
    """The web process's application, with originals below a folder."""
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "pear.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    return client_of(fake, originals=str(tmp_path))


def client_of(fake: FakeClient, **settings: Any) -> TestClient:
    told = WebSettings(gateway="nowhere:1", **settings)
    return TestClient(bordered(told, application(told, fake, Health())), raise_server_exceptions=False)


def test_every_public_rpc_has_its_route(web: TestClient) -> None:
    """OpenAPI names for each rpc of the contract the route that serves it."""
    files: list[FileDescriptor] = [one.DESCRIPTOR for one in (search_pb2, image_pb2, collection_pb2, embed_pb2)]
    rpcs = {m.full_name for file in files for s in file.services_by_name.values() for m in s.methods}
    document = web.get("/openapi.json").json()
    served = {route["x-rpc"] for path in document["paths"].values() for route in path.values() if "x-rpc" in route}
    assert served == rpcs


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (results.SearchResult, answers.SearchOut),
        (results.Image, answers.ImageOut),
        (results.Coverage, answers.CoverageOut),
        (results.Degradation, answers.DegradationOut),
        (results.Model, answers.ModelOut),
        (results.StageTimes, answers.TimesOut),
        (results.StoredImage, answers.StoredOut),
        (results.Collection, answers.CollectionOut),
        (results.AttributeField, answers.AttributeOut),
    ],
)
def test_http_tells_all_that_the_sdk_tells(value: Any, body: type[BaseModel]) -> None:
    """Each field of the SDK's answers is a field of the body that stands for it."""
    assert {field.name for field in fields(value)} <= set(body.model_fields)


def test_words_are_searched_by_address(web: TestClient, fake: FakeClient) -> None:
    """A search by GET answers hits, coverage, times and the rest, under the id that the caller gave."""
    reply = web.get("/v1/search", params={"q": "apple", "top_k": 1}, headers={"x-request-id": "r-7"})
    body = reply.json()
    assert [hit["id"] for hit in body["hits"]] == [SLASHED]
    assert body["hits"][0]["image"]["attributes"] == {"year": 2024, "tags": ["a", "b"]}
    assert body["coverage"] == {
        "shards_asked": 4,
        "shards_answered": 4,
        "images_searched": 3,
        "images_matched": 3,
        "complete": True,
    }
    assert (body["generation"], body["cache"], body["request_id"]) == (1, "miss", "r-7")
    assert reply.headers["x-request-id"] == "r-7"
    assert fake.asked[-1].query == Text("apple") or fake.asked[-1].query == "apple"


def test_everything_of_a_question_arrives(web: TestClient, fake: FakeClient) -> None:
    """Texts, pictures, ids, vectors, weights, filters and options reach the SDK as they were sent."""
    vector = np.arange(512, dtype="<f4") + 1
    terms: list[dict[str, Any]] = [
        {"weight": 1, "text": "apple"},
        {"weight": 0.5, "image": base64.b64encode(WEBP).decode()},
        {"weight": -1, "image_id": "pear"},
        {"weight": 2, "vector": vector.tolist()},
        {"weight": 2, "vector": base64.b64encode(vector.tobytes()).decode()},
    ]
    condition = {
        "all": [{"attribute": "tags", "equals": "a"}, {"attribute": "year", "range": {"at_least": 1, "less_than": 9}}]
    }
    options = {"top_k": 2, "min_score": -0.5, "fields": ["caption"], "generation": 1, "refuse_partial": True}
    web.post("/v1/search", json={"query": {"weighted": terms}, "collection": "fake", "filter": condition, **options})
    asked = fake.asked[-1]
    assert asked.query == Weighted(
        [(1, Text("apple")), (0.5, Picture(WEBP)), (-1, ImageId("pear")), *[(2, Vector(vector.tobytes()))] * 2]
    )
    assert asked.filter == All((Equals("tags", "a"), InRange("year", 1, 9)))
    assert (asked.top_k, asked.min_score, asked.fields) == (2, -0.5, ["caption"])
    assert (asked.collection, asked.generation, asked.refuse_partial) == ("fake", 1, True)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"query": {"text": "x"}, "top_k": 1001}, "top_k", "1000"),
        ({"query": {"text": "x", "image_id": "y"}}, "query", "exactly one"),
        ({"query": {}}, "query", "exactly one"),
        ({"query": {"image": "no base64!"}}, "query.image", "base64"),
        ({"query": {"weighted": [{"weight": 1}]}}, "query.weighted[0]", "exactly one"),
        ({"query": {"text": "x"}, "nonsense": 1}, "nonsense", "not permitted"),
        ({"query": {"text": "x"}, "filter": {"attribute": "a"}}, "filter", "exactly one"),
        ({"query": {"text": "x"}, "filter": {"exists": True}}, "filter", "exactly one"),
        ({"query": {"text": "x"}, "filter": {"attribute": "yaer", "exists": True}}, "filter.attribute", "'yaer'"),
        (
            {"query": {"text": "x"}, "filter": {"any": [{"none": [{"attribute": "year", "in": [1, ""]}]}]}},
            "filter.any[0].none[0].in[1]",
            "year",
        ),
    ],
)
def test_bad_questions_name_the_field(web: TestClient, body: dict[str, Any], field: str, says: str) -> None:
    """What is wrong with a question is told with its field and the limit, in the one shape of errors."""
    reply = web.post("/v1/search", json=body)
    told = reply.json()
    assert reply.status_code == 400
    assert set(told) == {"code", "reason", "message", "field", "request_id"}
    assert (told["code"], told["field"]) == ("INVALID_ARGUMENT", field)
    assert says in told["message"]


def test_misspelt_parameters_are_told(web: TestClient) -> None:
    """A parameter that no route has is refused with those that there are; probes may be asked with any."""
    reply = web.get("/v1/search", params={"q": "apple", "topk": 3})
    told = reply.json()
    assert (reply.status_code, told["reason"], told["field"]) == (400, "UNKNOWN_PARAMETER", "topk")
    assert "top_k" in told["message"]
    assert web.get("/healthz?from=probe").status_code == 200


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{", b'{"query": {"text": "\\ud800"}}', b"\xff", b'{"query": NaN}']
)
def test_what_is_no_json_is_refused(web: TestClient, content: bytes) -> None:
    """Bodies that are nested without end, cut off, or no UTF-8 are refused as such."""
    reply = web.post("/v1/search", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["reason"]) == (400, "NOT_JSON")


def test_filters_are_nested_so_deep_and_no_deeper(web: TestClient) -> None:
    """A filter may be as deep as the contract has it; one more level is refused by that limit."""
    condition: dict[str, Any] = {"attribute": "tags", "exists": True}
    for _ in range(MAX_DEPTH - 1):
        condition = {"none": [condition]}
    assert web.post("/v1/search", json={"query": {"text": "x"}, "filter": condition}).status_code == 200
    told = web.post("/v1/search", json={"query": {"text": "x"}, "filter": {"none": [condition]}}).json()
    assert (told["reason"], str(MAX_DEPTH) in told["message"]) == ("FILTER_TOO_DEEP", True)


def test_a_list_of_values_is_as_long_as_the_contract_has_it(web: TestClient) -> None:
    """As many values as the contract allows are taken; one more is refused, and named."""
    for count, status in ((MAX_VALUES, 200), (MAX_VALUES + 1, 400)):
        condition = {"attribute": "year", "in": list(range(count))}
        reply = web.post("/v1/search", json={"query": {"text": "x"}, "filter": condition})
        assert reply.status_code == status
    assert "filter" in reply.json()["field"]


@pytest.mark.parametrize("files", [{"gateway_ca": "missing.pem"}, {"gateway_cert": "missing.pem"}])
def test_a_wrong_certificate_is_told_at_the_start(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A process whose files for TLS are wrong says which settings to look at, and ends with 2."""
    with pytest.raises(SystemExit) as ended:
        tls(WebSettings.model_validate({"gateway": "localhost:1", **files}))
    assert ended.value.code == 2
    assert "SIGHTLINE_GATEWAY_CA" in capsys.readouterr().err


def test_bodies_have_a_limit(fake: FakeClient) -> None:
    """A body that is too large is refused with 413, whether or not it says how large it is."""
    web = client_of(fake, max_body_bytes=1024)
    for content in (b"x" * 2000, iter([b"x" * 1000, b"x" * 1000])):
        reply = web.post("/v1/search", content=content, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["reason"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("gone"), 404, "NOT_FOUND"),
        (FailedPrecondition("not now"), 409, "FAILED_PRECONDITION"),
        (ResourceExhausted("full"), 429, "RESOURCE_EXHAUSTED"),
        (InternalError("broken"), 500, "INTERNAL"),
        (Unavailable("nobody"), 503, "UNAVAILABLE"),
        (DeadlineExceeded("late"), 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_errors_of_the_service_keep_their_meaning(
    web: TestClient, fake: FakeClient, error: SightlineError, status: int, code: str
) -> None:
    """Each gRPC code has its HTTP status, and the message comes with it."""
    fake.fail(error)
    reply = web.get("/v1/collections")
    assert (reply.status_code, reply.json()["code"], reply.json()["message"]) == (status, code, error.message)


def test_a_fault_of_ours_tells_nothing_of_its_inside(fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is an internal error under the request's id, without its text."""
    monkeypatch.setattr(fake, "collections", lambda **_: 1 / 0)
    reply = client_of(fake).get("/v1/collections", headers={"x-request-id": "r-9"})
    assert (reply.status_code, reply.json()["request_id"]) == (500, "r-9")
    assert "division" not in reply.text


def test_a_batch_has_an_outcome_for_each(web: TestClient) -> None:
    """An item of a batch has an answer or an error of its own, in the order asked."""
    asked = [{"query": {"text": "pear"}}, {"query": {"image_id": "nobody"}}]
    first, second = web.post("/v1/search/batch", json={"requests": asked}).json()["items"]
    assert (first["response"]["hits"][0]["id"], set(first)) == ("pear", {"response"})
    assert (second["error"]["code"], set(second)) == ("NOT_FOUND", {"error"})


def test_a_stream_answers_line_by_line(web: TestClient) -> None:
    """Each line is answered under its own name, and a line that makes no sense harms no other."""
    lines = [
        {"correlation_id": "a", "request": {"query": {"text": "pear"}}},
        {"correlation_id": "b", "request": {"query": {"text": "pear"}, "top_k": 0}},
        {"correlation_id": "c", "request": {"query": {"image_id": "nobody"}}},
    ]
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"nonsense\n"
    reply = web.post("/v1/search/stream", content=content)
    answers = [json.loads(line) for line in reply.text.splitlines()]
    named = {answer["correlation_id"]: answer for answer in answers if answer["correlation_id"]}
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert named["a"]["response"]["hits"][0]["id"] == "pear"
    assert named["c"]["error"]["code"] == "NOT_FOUND"
    assert sorted(answer["error"]["field"] for answer in answers if not answer["correlation_id"]) == [
        "line",
        "request.top_k",
    ]


def test_images_are_found_by_ids_of_any_kind(web: TestClient) -> None:
    """An id may hold slashes, question marks and percent signs; unknown ones are told as such."""
    path = "/v1/collections/fake/images/2024%2Fred%20%3F%23%252F.png"
    assert web.get(path).json()["image"]["id"] == SLASHED
    assert web.get("/v1/collections/fake/images/nobody").status_code == 404
    assert web.get("/v1/collections/fake/images/%FF").json()["field"] == "id"
    both = web.post("/v1/collections/fake/images/batch", json={"ids": ["pear", "nobody"], "thumbnails": True}).json()
    assert base64.b64decode(both["items"][0]["response"]["thumbnail"]) == WEBP
    assert both["items"][1]["error"]["code"] == "NOT_FOUND"


def test_thumbnails_are_kept_by_whoever_has_them(web: TestClient) -> None:
    """A thumbnail has a strong tag; one of a named generation never changes, and others are asked for again."""
    path = "/v1/collections/fake/images/pear/thumbnail"
    fresh, fixed = web.get(path), web.get(f"{path}?generation=1")
    assert (fresh.content, fresh.headers["content-type"]) == (WEBP, "image/webp")
    assert fresh.headers["etag"].startswith('"1-')
    assert "no-cache" in fresh.headers["cache-control"]
    assert "immutable" in fixed.headers["cache-control"]
    again = web.get(path, headers={"if-none-match": fresh.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert web.head(path).headers["content-length"] == str(len(WEBP))
    assert web.get("/v1/collections/fake/images/far/thumbnail").json()["reason"] == "NO_THUMBNAIL"


def test_originals_are_passed_on_whole_and_in_parts(web: TestClient) -> None:
    """An original comes as it is, by its true type, whole or by range, and only when it has changed."""
    path, data = "/v1/collections/fake/images/2024%2Fred%20%3F%23%252F.png/original", png()
    whole = web.get(path)
    assert (whole.content, whole.headers["content-type"]) == (data, "image/png")
    assert "sandbox" in whole.headers["content-security-policy"]
    for asked, start, end in (("bytes=2-5", 2, 6), ("bytes=-4", len(data) - 4, len(data)), ("bytes=5-", 5, len(data))):
        part = web.get(path, headers={"range": asked})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
    beyond = web.get(path, headers={"range": "bytes=999999-"})
    assert (beyond.status_code, beyond.json()["reason"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    assert web.get(path, headers={"range": "bytes=2-5", "if-range": '"other"'}).status_code == 200
    assert web.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    head = web.head(path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(data)))


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "../outside.png",
        "file:///etc/passwd",
        "link.png",
        "http://127.0.0.1:1/x.png",
        "s3://bucket/x.png",
        "zip://x.png::file:///etc/passwd",
        "red.png\n",
        "",
    ],
)
def test_originals_lie_below_their_roots(tmp_path: Path, uri: str) -> None:
    """Whatever an image's uri says, nothing outside the operator's roots is read: no path, link, scheme or chain."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "red.png").write_bytes(png())
    (tmp_path / "outside.png").write_bytes(png())
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "outside.png")
    web = client_of(FakeClient([Image("it", uri=uri)]), originals=str(tmp_path / "in"))
    told = web.get("/v1/collections/fake/images/it/original")
    assert (told.status_code, told.json()["code"]) == (404, "NOT_FOUND")


def test_originals_are_off_unless_told(fake: FakeClient) -> None:
    """Without a root no original is served."""
    path = "/v1/collections/fake/images/far/original"
    assert client_of(fake).get(path).json()["reason"] == "ORIGINAL_NOT_SERVED"


def test_originals_that_are_no_pictures_are_not_passed_on(web: TestClient, tmp_path: Path) -> None:
    """Files that are no pictures by their first bytes, programs in SVG among them, and oversized ones are refused."""
    told = web.get("/v1/collections/fake/images/pear/original")
    assert (told.status_code, told.json()["reason"]) == (415, "NOT_A_PICTURE")
    (tmp_path / "large.png").write_bytes(png() + bytes(5000))
    small = client_of(FakeClient([Image("it", uri="large.png")]), originals=str(tmp_path), originals_max_bytes=1024)
    assert small.get("/v1/collections/fake/images/it/original").status_code == 415


def test_what_is_not_served_says_so(web: TestClient) -> None:
    """Changes are part of the contract and not of this version; unknown addresses and methods are told as such."""
    for refused in (web.post("/v1/collections/fake/images"), web.delete("/v1/collections/fake/images")):
        assert (refused.status_code, refused.json()["reason"]) == (501, "READ_ONLY")
    assert web.get("/v1/nothing").json()["reason"] == "NO_ROUTE"
    assert web.put("/v1/embed").json()["reason"] == "METHOD_NOT_ALLOWED"


def test_vectors_come_in_the_order_asked(web: TestClient, fake: FakeClient) -> None:
    """Texts and pictures may be mixed; each vector stands where its input stood."""
    inputs = [{"text": "red"}, {"image": base64.b64encode(WEBP).decode()}, {"text": "apple"}]
    body = web.post("/v1/embed", json={"inputs": inputs}).json()
    alone = [web.post("/v1/embed", json={"inputs": [one]}).json()["vectors"][0] for one in inputs]
    assert (body["vectors"], body["dimension"]) == (alone, 512)


def test_every_answer_is_guarded(web: TestClient) -> None:
    """Page, data and errors alike carry a policy that allows nothing from elsewhere, and are never sniffed."""
    for path in ("/", "/app.js", "/v1/collections", "/v1/nothing", "/openapi.json"):
        headers = web.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert (
        "access-control-allow-origin" not in web.get("/v1/collections", headers={"origin": "https://a.example"}).headers
    )


def test_other_origins_read_answers_where_told(fake: FakeClient) -> None:
    """With the setting, and only then, pages of the origins that it names may read answers."""
    web = client_of(fake, cors_origins="https://a.example")
    for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
        assert (
            web.get("/v1/collections", headers={"origin": origin}).headers.get("access-control-allow-origin") == allowed
        )


def test_deadlines_come_with_the_request(web: TestClient, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has the time that its header says, or the setting's; times out of bounds are refused."""
    given: list[object] = []
    ask = fake.collections

    async def asked(*, timeout: float | None = None) -> list[Collection]:
        given.append(timeout)
        return await ask()

    monkeypatch.setattr(fake, "collections", asked)
    web.get("/v1/collections", headers={"x-timeout-ms": "250"})
    web.get("/v1/collections")
    assert given == [0.25, 5.0]
    assert web.get("/v1/collections", headers={"x-timeout-ms": "0"}).json()["field"] == "x-timeout-ms"


def test_a_full_process_says_so(fake: FakeClient) -> None:
    """More requests than a process may serve at a time are refused at once."""
    told = WebSettings(gateway="nowhere:1", max_concurrent_calls=1)
    border = bordered(told, application(told, fake, Health()))
    border._in_flight = 1
    reply = TestClient(border).get("/v1/collections")
    assert (reply.status_code, reply.json()["reason"]) == (429, "TOO_MANY_CALLS")


def test_readiness_is_a_fact_of_the_process(fake: FakeClient) -> None:
    """The process is ready when it says so, whatever becomes of the gateways."""
    health, told = Health(), WebSettings(gateway="nowhere:1")
    web = TestClient(bordered(told, application(told, fake, health)))
    assert (web.get("/healthz").status_code, web.get("/readyz").status_code) == (200, 503)
    health.ready = True
    fake.fail(Unavailable("gone"))
    assert web.get("/readyz").json() == {"status": "ready"}
