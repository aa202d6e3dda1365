"""How many searcher groups there are, while their number changes under way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable


def groups_to_ask(replicas: Iterable[tuple[int, int]], shards: int) -> int:
    """Returns the number of groups that a query is split over.

    While the number changes, replicas of the old and of the new one are there. Those that miss a group would leave out
    shards, so the ones that miss none are asked, and of two such the ones that are more.

    Args:
        replicas: group and number of groups of each replica that can answer; at least one.
        shards: of the collection. Groups beyond it hold none of them.
    """
    present: dict[int, set[int]] = defaultdict(set)
    count: Counter[int] = Counter()
    for group, groups in replicas:
        present[groups].add(group)
        count[groups] += 1

    def whole(groups: int) -> bool:
        return present[groups].issuperset(range(min(groups, shards)))

    return max(count, key=lambda groups: (whole(groups), count[groups], groups))
