"""Taking away: generations that nothing points to, and whole collections."""

from __future__ import annotations

from services.indexer.work import PLAN, Work
from services.store import Store, check_collection
from services.store.files import Files
from sightline.errors import FailedPrecondition, NotFound


def work_of(store: Store, collection: str) -> Work:
    """The work folder of a collection's builds, where they are not told of another one.

    Raises InvalidArgument where there can be no such collection.
    """
    return Work(f"{store.url.rstrip('/')}/{check_collection(collection)}/work", name="work")


def prune(store: Store, collection: str, keep: int = 0) -> list[int]:
    """Removes the generations that neither CURRENT nor NEXT names, with their reports; returns their numbers.

    The generation before CURRENT stays, for a rollback. Numbers are never used again.

    Args:
        store: where they are.
        collection: whose.
        keep: how many generations stay at least, where there are as many.

    Raises:
        NotFound: there is no such collection.
    """
    pointers = store.pointers(collection)
    generations = store.generations(collection)
    if not generations and pointers.current is None:
        raise NotFound(f"there is no collection {collection!r}", reason="NO_COLLECTION")
    current = pointers.current
    named = {pointers.next, *((current.generation, current.previous) if current else ())}
    # The latest may be what was built a moment ago, on its way to be NEXT.
    surplus = [number for number in generations[:-1] if number not in named][: max(0, len(generations) - keep)]
    for number in surplus:
        store.remove(collection, number)
        store.discard(collection, f"reports/{number:08d}.html")
    return surplus


def sweep(store: Store, collection: str, work: Work, generation: int) -> None:
    """Removes what builds that began before a generation, and never ended, have left beside its work folder."""
    beside, _, own = work.url.rstrip("/").rpartition("/")
    for name in Files(beside, 60.0, conditional=False).names(""):
        left = Work(f"{beside}/{name}")
        if name == own or (begun := left.begun()) is None or begun.plan.collection != collection:
            continue
        if begun.generation < generation:
            if begun.generation not in store.generations(collection):
                store.draft(collection, begun.generation).discard()
            left.clear()


def drop(store: Store, collection: str, *, force: bool = False) -> None:
    """Drops a collection: CURRENT says so, by a conditional write, and then its files are removed.

    Searchers keep what they have loaded until gateways have noticed. Another collection may be built under the name;
    its generations go on counting where these ended.

    Args:
        store: where it is.
        collection: its name.
        force: whether to take away what a build has begun and not ended; one that still runs fails.

    Raises:
        NotFound: there is no such collection.
        FailedPrecondition: a build has begun in it, or CURRENT moved meanwhile.
    """
    pointers, generations = store.pointers(collection), store.generations(collection)
    is_there = bool(generations) or pointers.current is not None
    work = work_of(store, collection)
    begun = work.begun() if not force else None
    if begun is not None and not begun.sealed:
        message = f"a build of {collection} has begun and not ended: let it end, or --force"
        raise FailedPrecondition(message, reason="BUILD_BEGUN")
    if not is_there and work.read(PLAN) is None:
        raise NotFound(f"there is no collection {collection!r}", reason="NO_COLLECTION")
    if is_there:
        store.drop(collection, pointers.current)
    for number in generations:
        store.remove(collection, number)
    work.clear()
    store.discard(collection, "reports")
