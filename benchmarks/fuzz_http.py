"""The HTTP half of the bar `fuzz`: whatever an OpenAPI allows, and what it does not, sent to a web process over a real
cluster. Nothing may be a server error, and every reply must be as the document says."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from sightline import SyncClient

SEED = 14
TIMEOUT = 60.0
NOT_SERVED = {"upsert_images": 501, "delete_images": 501}
"""What the contract has and this version does not do says so: that is no fault."""
TOO_LATE = 504
HURRIED_MS = 1000
"""Who allows less than this may be told that it was not enough: that is no fault either, and counted apart."""

CHECKS = (
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)


@schemathesis.serializer("application/x-ndjson")
def _lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


def http_half(proof: Proof, cluster: LocalCluster, examples: int) -> None:
    """Sends about this many requests to the web process of a cluster that serves a collection.

    Args:
        proof: what was seen goes there.
        cluster: one with a web process; its first collection is asked for half of the time.
        examples: requests, divided among the operations, half of them right by the document and half of them wrong.
    """
    load_all_checks()
    home = str(cluster.web).rstrip("/")
    document = schemathesis.openapi.from_url(f"{home}/openapi.json", timeout=TIMEOUT)
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    known = _known(cluster)
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        for operation in operations:
            for mode in GenerationMode:
                share = max(1, examples // (len(operations) * len(GenerationMode)))
                faults = _drive(
                    operation.as_strategy(generation_mode=mode),
                    home=home,
                    session=session,
                    known=known,
                    count=share,
                    allowed=NOT_SERVED.get(str(operation.definition.raw.get("operationId"))),
                    statuses=statuses,
                )
                name = f"{operation.method.upper()} {operation.path}, {mode.value}"
                proof.expect(f"faults of {name}", faults, [])
        alive = session.get(f"{home}/readyz", timeout=TIMEOUT).status_code
    proof.expect("the process afterwards", alive, 200)
    proof.figures["HTTP requests"] = sum(statuses.values())
    proof.figures["HTTP statuses"] = {str(status): count for status, count in sorted(statuses.items())}


def _known(cluster: LocalCluster) -> dict[str, str]:
    """Words that lead past the first check: a collection, and an image of it."""
    with SyncClient(cluster.gateway) as client:
        collection = client.collections()[0].name
        return {"collection": collection, "id": client.search("a", collection=collection, top_k=1)[0].id}


def _drive(
    strategy: Any,
    *,
    home: str,
    session: requests.Session,
    known: dict[str, str],
    count: int,
    allowed: int | None,
    statuses: Counter[int],
) -> list[str]:
    """Sends `count` requests of a kind; returns what was wrong with the replies. Of server errors only `allowed` is."""
    faults: list[str] = []
    turns = itertools.count()

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def send(case: Case[Any]) -> None:
        if next(turns) % 2:
            case.path_parameters = {
                name: known.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        response = case.call(base_url=home, session=session, timeout=TIMEOUT)
        statuses[response.status_code] += 1
        if response.status_code >= 500 and response.status_code != allowed and not _too_late(case, response):
            faults.append(f"{response.status_code}: {case.as_curl_command()[:500]}")
        try:
            case.validate_response(response, checks=list(CHECKS))
        except FailureGroup as failures:
            faults.extend(f"{failure.title}: {failure.message}"[:500] for failure in failures.exceptions)

    with suppress(Unsatisfiable):  # an operation that takes nothing can be told nothing wrong
        send()
    return faults[:3]


def _too_late(case: Case[Any], response: Any) -> bool:
    """Whether a request was told that the time which it allowed itself has passed."""
    given = str(dict(case.headers or {}).get("x-timeout-ms", ""))
    return response.status_code == TOO_LATE and given.isdecimal() and int(given) < HURRIED_MS
