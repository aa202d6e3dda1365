"""Makes a gateway's vocabulary of a thesaurus in SKOS.

    python -m training.vocabulary thesaurus.ttl --out vocabulary.csv
    python -m training.vocabulary thesaurus.rdf --out vocabulary.csv --to en

A concept's labels in one language are synonyms of each other; the preferred label of a concept that is broader is a
broader term. Concepts that match exactly share their labels. Hidden labels, such as misspellings, are understood and
never searched for. With `--to`, labels of all languages also mean those of the given one.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rdflib import Graph, Literal
from rdflib.namespace import SKOS
from rdflib.term import Node
from rdflib.util import guess_format

SYNONYM, BROADER = "synonym", "broader"
COLUMNS = ("text", "means", "relation")

_SPOKEN = (SKOS.prefLabel, SKOS.altLabel)


class Relation(NamedTuple):
    """What a text also means, and how."""

    text: str
    means: str
    relation: str


@dataclass(slots=True)
class _Concept:
    """Labels by language: those to search for, the preferred first, and those that are only understood."""

    spoken: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hidden: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def heard(self, language: str) -> list[str]:
        return [*self.spoken[language], *self.hidden[language]]


def read_graph(file: Path) -> Graph:
    """Reads Turtle, RDF/XML, N-Triples or JSON-LD, by the file's name. Raises ValueError where it is none of them."""
    kind = "json-ld" if file.suffix in (".json", ".jsonld") else guess_format(str(file))
    if kind is None:
        raise ValueError(f"{file}: its name must end as RDF does: .ttl, .rdf, .nt, .jsonld")
    graph = Graph()
    try:
        # Bytes: a path would be taken for an address that may be fetched.
        graph.parse(data=file.read_bytes(), format=kind, publicID=file.resolve().as_uri())
    except OSError:
        raise
    except Exception as error:  # as many kinds as there are parsers
        raise ValueError(f"{file}: cannot be read as {kind}: {error}") from error
    return graph


def relations(graph: Graph, languages: Sequence[str] = (), to: str = "") -> list[Relation]:
    """What the labels of a graph also mean, each pair once, synonyms before broader terms.

    Args:
        graph: of skos:Concepts.
        languages: only labels of these, by their first subtag (`de` of `de-AT`); all of them where there are none.
        to: a language whose labels those of all others mean too.
    """
    concepts = _concepts(graph)
    broader = _links(graph, SKOS.broader) | _turned(_links(graph, SKOS.narrower))
    same = _links(graph, SKOS.exactMatch) | _turned(_links(graph, SKOS.exactMatch))
    found = [*_synonyms(concepts, same, to), *_broader(concepts, broader, to)]
    chosen = [one for language, one in found if not languages or language in languages]
    return list(dict.fromkeys(one for one in chosen if one.text != one.means))


def write_table(found: Iterable[Relation], file: Path) -> int:
    """Writes the table that a gateway reads; returns how many rows it has."""
    rows = list(found)
    with file.open("w", encoding="utf-8", newline="") as opened:
        written = csv.writer(opened, delimiter="\t" if file.suffix == ".tsv" else ",", lineterminator="\n")
        written.writerow(COLUMNS)
        written.writerows(rows)
    return len(rows)


def _concepts(graph: Graph) -> dict[Node, _Concept]:
    found: defaultdict[Node, _Concept] = defaultdict(_Concept)
    for kind in (*_SPOKEN, SKOS.hiddenLabel):
        # Sorted, so that the same thesaurus gives the same table.
        for concept, label in sorted(graph.subject_objects(kind), key=str):
            if isinstance(label, Literal):
                labels = found[concept].hidden if kind == SKOS.hiddenLabel else found[concept].spoken
                labels[(label.language or "").split("-")[0]].append(str(label))
    return dict(sorted(found.items(), key=lambda one: str(one[0])))


def _synonyms(concepts: dict[Node, _Concept], same: set[tuple[Node, Node]], to: str) -> Iterator[tuple[str, Relation]]:
    pairs = [(name, name) for name in concepts]
    pairs += [(one, other) for one, other in sorted(same, key=str) if one in concepts and other in concepts]
    for one, other in pairs:
        yield from _means(concepts[one], concepts[other], SYNONYM, to, most=None)


def _broader(
    concepts: dict[Node, _Concept], broader: set[tuple[Node, Node]], to: str
) -> Iterator[tuple[str, Relation]]:
    for one, other in sorted(broader, key=str):
        if one in concepts and other in concepts:
            yield from _means(concepts[one], concepts[other], BROADER, to, most=1)


def _means(one: _Concept, other: _Concept, relation: str, to: str, most: int | None) -> Iterator[tuple[str, Relation]]:
    for language in sorted({*one.spoken, *one.hidden}):
        targets = other.spoken.get(language, [])[:most]
        if to and to != language:
            targets = [*targets, *other.spoken.get(to, [])[:most]]
        for text in one.heard(language):
            for means in targets:
                yield language, Relation(text, means, relation)


def _links(graph: Graph, kind: Node) -> set[tuple[Node, Node]]:
    return set(graph.subject_objects(kind))


def _turned(links: set[tuple[Node, Node]]) -> set[tuple[Node, Node]]:
    return {(other, one) for one, other in links}


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the table that the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thesaurus", type=Path, help="SKOS as Turtle, RDF/XML, N-Triples or JSON-LD")
    parser.add_argument("--out", type=Path, required=True, help="the table, .csv or .tsv")
    parser.add_argument("--languages", default="", help="such as en,de: labels of no other are taken")
    parser.add_argument("--to", default="", metavar="LANGUAGE", help="labels of all languages also mean those of this")
    given = parser.parse_args(arguments)
    try:
        if given.out.suffix not in (".csv", ".tsv"):
            raise ValueError(f"--out must be .csv or .tsv, is {given.out}")
        languages = [one.strip() for one in given.languages.split(",") if one.strip()]
        found = relations(read_graph(given.thesaurus), languages, given.to)
        if not found:
            raise ValueError(f"{given.thesaurus}: no concept has two labels of a language, or one that is broader")
        count = write_table(found, given.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count:,} relations of {len({one.text for one in found}):,} texts in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
