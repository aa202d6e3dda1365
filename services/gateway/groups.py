"""How many searcher groups there are, while their number changes under way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable


def groups_to_ask(
    replicas: Iterable[tuple[int, int]], shards: int, *, staying: Iterable[tuple[int, int]] | None = None
) -> int:
    """Returns the number of groups that a query is split over.

    While the number changes, replicas of the old and of the new one are there. Those that miss a group would leave out
    shards, so the ones that miss none are asked: without those that are leaving if that is possible, else with them.
    Of two such the ones that are more.

    Args:
        replicas: group and number of groups of each replica that can answer; at least one.
        shards: of the collection. Groups beyond it hold none of them.
        staying: those of them that are not about to go; all where it is None.
    """
    able = list(replicas)
    numbers = {groups for _, groups in able}
    if len(numbers) == 1:
        return numbers.pop()
    staying = able if staying is None else list(staying)
    count = Counter(groups for _, groups in staying)
    everywhere, surely = _groups_there(able), _groups_there(staying)

    def worth(groups: int) -> tuple[bool, bool, int, int]:
        needed = range(min(groups, shards))
        return surely[groups].issuperset(needed), everywhere[groups].issuperset(needed), count[groups], groups

    return max(numbers, key=worth)


def _groups_there(replicas: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """The groups that are there, by how many there are."""
    found: dict[int, set[int]] = defaultdict(set)
    for group, groups in replicas:
        found[groups].add(group)
    return found
