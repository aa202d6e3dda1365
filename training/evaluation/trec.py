"""Query sets in the formats of TREC: topics and qrels.

Topics are lines of `id TAB text`, or the classic `<top>` blocks with `<num>` and `<title>`. A line of qrels is
`topic 0 image grade`, with white space between; grades below 1 say that an image is wrong.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from training.evaluation.lines import BadLine
from training.evaluation.queries import GRADE_LIMIT, TEXT_LIMIT, Query, QuerySet

_TOPIC = re.compile(r"<num>\s*(?:Number:)?\s*(?P<id>\S+?)\s*(?:</num>)?\s*<title>(?P<text>[^<]*)", re.IGNORECASE)


def read_trec(topics: Path, qrels: Path) -> QuerySet:
    """Reads topics and their judgments; a topic without any right answer is left out, as trec_eval leaves it out.

    Raises:
        BadLine: a line is wrong, a judgment is of no topic, or no topic has a right answer.
        OSError: a file cannot be read.
    """
    texts = dict(_topics(topics))
    right: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for number, topic, image, grade in _judgments(qrels):
        if topic not in texts:
            raise BadLine(qrels, number, "topic", f"{topic!r} is no topic of {topics.name}")
        if grade > 0:
            right[topic][image] = grade
    queries = tuple(Query(topic, text, right[topic]) for topic, text in texts.items() if topic in right)
    if not queries:
        raise BadLine(qrels, 0, "", "no topic has a right answer")
    left_out = len(texts) - len(queries)
    about = f"{topics.name}, judged by {qrels.name}"
    return QuerySet(f"{about}; {left_out} topics without right answers left out" if left_out else about, queries)


def _topics(file: Path) -> Iterator[tuple[str, str]]:
    content = _content(file)
    found = (
        [(0, match["id"], match["text"].strip()) for match in _TOPIC.finditer(content)]
        if "<top>" in content.lower()
        else [(number, *_tabbed(file, number, line)) for number, line in _lines(content)]
    )
    seen: set[str] = set()
    for number, topic, text in found:
        if not text or len(text.encode()) > TEXT_LIMIT:
            raise BadLine(file, number, "text", f"of topic {topic!r} must have 1 to {TEXT_LIMIT:,} bytes")
        if topic in seen:
            raise BadLine(file, number, "topic", f"{topic!r} comes twice")
        seen.add(topic)
        yield topic, text
    if not seen:
        raise BadLine(file, 0, "", "has no topics")


def _tabbed(file: Path, number: int, line: str) -> tuple[str, str]:
    topic, tab, text = line.partition("\t")
    if not tab or not topic.strip():
        raise BadLine(file, number, "", "must be the id of a topic, a tab, and its text")
    return topic.strip(), text.strip()


def _judgments(file: Path) -> Iterator[tuple[int, str, str, int]]:
    for number, line in _lines(_content(file)):
        fields = line.split()
        if len(fields) != 4:
            raise BadLine(file, number, "", f"must have 4 fields (topic, 0, image, grade), has {len(fields)}")
        try:
            grade = int(fields[3])
        except ValueError:
            raise BadLine(file, number, "grade", f"must be a whole number, is {fields[3][:32]!r}") from None
        if grade > GRADE_LIMIT:
            raise BadLine(file, number, "grade", f"may be {GRADE_LIMIT:,} at most")
        yield number, fields[0], fields[2], grade


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadLine(file, 0, "", f"not UTF-8 at byte {exc.start}") from exc


def _lines(content: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip())
