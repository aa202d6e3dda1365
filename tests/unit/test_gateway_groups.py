from __future__ import annotations

from services.gateway.groups import groups_to_ask


def tier(groups: int, *present: int) -> list[tuple[int, int]]:
    return [(group, groups) for group in present]


def test_the_number_is_what_replicas_say() -> None:
    """Where all agree, that many groups are asked, present or not."""
    assert groups_to_ask(tier(2, 0, 1), shards=4) == 2
    assert groups_to_ask(tier(3, 1), shards=4) == 3


def test_groups_of_which_none_is_missing_are_preferred_to_more_replicas() -> None:
    """A rollout to three groups goes on being answered by the two old ones until each new group has a replica."""
    assert groups_to_ask([*tier(2, 0, 1), *tier(3, 0, 0, 1, 1)], shards=4) == 2
    assert groups_to_ask([*tier(2, 1), *tier(3, 0, 1, 2)], shards=4) == 3


def test_of_two_whole_tiers_the_larger_is_asked() -> None:
    """Old and new groups beside each other: those with more replicas."""
    assert groups_to_ask([*tier(2, 0, 0, 1, 1), *tier(3, 0, 1, 2)], shards=4) == 2
    assert groups_to_ask([*tier(2, 0, 1), *tier(3, 0, 0, 1, 1, 2, 2)], shards=4) == 3


def test_groups_that_hold_no_shard_are_not_missed() -> None:
    """With fewer shards than groups, only those that hold one must be there."""
    assert groups_to_ask([*tier(1, 0, 0, 0), *tier(8, 0, 1)], shards=2) == 1
    assert groups_to_ask([*tier(2, 0), *tier(8, 0, 1)], shards=2) == 8


def test_whole_groups_that_leave_are_preferred_to_others_with_gaps() -> None:
    """Old groups that are about to go are asked on until the new ones miss none, and no longer."""
    old, new = tier(2, 0, 1), tier(3, 0, 1)
    assert groups_to_ask([*old, *new], shards=4, staying=new) == 2
    whole = tier(3, 0, 1, 2)
    assert groups_to_ask([*tier(2, 0, 0, 1, 1), *whole], shards=4, staying=whole) == 3
