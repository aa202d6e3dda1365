"""A vocabulary helps where words are known to it alone, and harms nowhere else: a thesaurus of one half of the emoji,
searched in the other.

The thesaurus is what Unicode CLDR says of half of the pictures, with all that training never read, in SKOS and through
the product's own reader. The collection that is searched holds the other half only, so that no relation names a picture
that can be found: what helps is what words mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rdflib import RDF, Graph, Literal, URIRef
from rdflib.namespace import SKOS

from benchmarks.emoji import MODEL, draw, read
from benchmarks.proof import Proof
from services.encoder.onnx_model import load
from services.gateway.settings import GatewaySettings
from services.gateway.vocabulary import Vocabulary, read_vocabulary
from sightline.queries import Text
from training.emoji import key_of, picture_id
from training.evaluation.comparison import compare
from training.evaluation.evaluating import Plan, evaluate
from training.evaluation.local import LocalModel
from training.evaluation.queries import Query, QuerySet
from training.judge import QUERY_SETS
from training.texts import LANGUAGES, Phrase, phrases
from training.vocabulary import read_graph, relations, write_table

GAIN, CHANGE, P = 0.10, 0.01, 0.05
ONLY_IN_VOCABULARY = "held-out keywords that the vocabulary knows"
_PLAN = Plan(depth=10, cutoffs=(1, 10))


@dataclass(frozen=True, slots=True)
class Change:
    """hit@10 of a set of queries without and with the vocabulary, and p of the paired randomisation test."""

    queries: int
    expanded: int
    before: float
    after: float
    p: float


def bar() -> dict[str, object]:
    """All held-out queries that have a right picture in the half that is searched, and a quarter of the own names."""
    files = {picture.id: str(picture.file) for picture in read(draw())}
    spoken, searched = halves(list(files))
    subject = LocalModel(load(str(MODEL), threads=1), {one: files[one] for one in searched})
    vocabulary = of_pictures(spoken, share=GatewaySettings.model_fields["vocabulary_share"].default)
    proof, asked = Proof(), sets(vocabulary, searched)
    changes = {name: measure(queries, vocabulary, subject) for name, queries in asked.items()}
    judge(proof, changes)
    seen = changes[ONLY_IN_VOCABULARY]
    return proof.outcome(
        f"{seen.queries:,} queries whose words only the vocabulary knows: hit@10 {seen.before:.3f} → {seen.after:.3f} "
        f"(p {seen.p:.4f}); "
        + ", ".join(f"{name} {one.before:.3f} → {one.after:.3f}" for name, one in changes.items() if one is not seen)
    )


def halves(ids: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The pictures that the vocabulary speaks of, and those that are searched: by their digests alone."""
    spoken = {one for one in ids if hashlib.md5(b"half" + one.encode(), usedforsecurity=False).digest()[0] % 2 == 0}
    return frozenset(spoken), frozenset(ids) - spoken


def of_pictures(ids: Collection[str], share: float, languages: Sequence[str] = LANGUAGES) -> Vocabulary:
    """The gateway's vocabulary of what CLDR says of pictures, by way of SKOS in Turtle."""
    keys = [key_of(one) for one in sorted(ids)]
    with TemporaryDirectory() as folder:
        thesaurus, table = Path(folder) / "emoji.ttl", Path(folder) / "emoji.csv"
        graph_of(phrases(keys, languages)).serialize(thesaurus, "turtle", encoding="utf-8")
        write_table(relations(read_graph(thesaurus)), table)
        return read_vocabulary(table, share)


def graph_of(said: Iterable[Phrase]) -> Graph:
    """A concept for each picture: its name in each language is the preferred label, its keywords are others."""
    graph, kinds = Graph(), {"name": SKOS.prefLabel, "keyword": SKOS.altLabel}
    for phrase in said:
        concept = URIRef(f"urn:emoji:{picture_id(phrase.picture)}")
        graph.add((concept, RDF.type, SKOS.Concept))
        graph.add((concept, kinds[phrase.kind], Literal(phrase.text, lang=phrase.language)))
    return graph


def sets(vocabulary: Vocabulary, searched: Collection[str]) -> Mapping[str, tuple[Query, ...]]:
    """The judge's queries that can be answered, those that only the vocabulary knows apart from the others."""
    found: dict[str, tuple[Query, ...]] = {}
    for name, asked in QUERY_SETS.items():
        queries = tuple(
            Query(f"{name}/{one.language}/{one.text}", one.text, dict.fromkeys(sorted(right), 1), one.language)
            for one in asked()
            if (right := one.right & frozenset(searched))
        )
        if name == "held-out keywords":
            found[ONLY_IN_VOCABULARY] = tuple(query for query in queries if vocabulary.knows(query.text))
            queries = tuple(query for query in queries if not vocabulary.knows(query.text))
        found[name] = queries[::4] if name == "own names" else queries
    return found


def measure(queries: Sequence[Query], vocabulary: Vocabulary, subject: LocalModel) -> Change:
    """Asks all queries as they are and expanded."""
    parts = [vocabulary.expand(query.text) for query in queries]
    expanded = [
        replace(query, terms=tuple((weight, Text(text)) for weight, text in of))
        for query, of in zip(queries, parts, strict=True)
    ]
    before, after = (evaluate(QuerySet("", tuple(asked)), subject, _PLAN) for asked in (queries, expanded))
    found = compare(before, after).differences["hit@10"]
    return Change(len(queries), sum(len(of) > 1 for of in parts), found.before, found.after, found.p)


def judge(proof: Proof, changes: Mapping[str, Change]) -> None:
    """Words that only the vocabulary knows must gain, and every other set of queries stays within a point."""
    proof.figures |= {name: asdict(seen) for name, seen in changes.items()}
    known = changes[ONLY_IN_VOCABULARY]
    proof.holds("hit@10 gains ten points where only the vocabulary knows", known.after - known.before >= GAIN)
    proof.holds("and not by chance", known.p < P)
    for name, seen in changes.items():
        if name != ONLY_IN_VOCABULARY:
            proof.holds(f"{name}: hit@10 changes by at most a point", abs(seen.after - seen.before) <= CHANGE)
