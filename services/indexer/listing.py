"""What a store holds, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.store import Pointers, Store
from sightline.errors import FailedPrecondition, NotFound
from sightline.printable import printable


def describe_store(store: Store, collection: str | None) -> list[dict[str, Any]]:
    """Each collection that has generations, with its pointers, as plain values.

    Raises:
        NotFound: the one asked for has none.
        SightlineError: the store cannot be read.
    """
    names = store.collections() if collection is None else [collection]
    found = [one for one in (_collection(store, name) for name in names) if one["generations"]]
    if collection is not None and not found:
        raise NotFound(f"there is no collection {collection!r}")
    return found


def print_store(console: Console, collections: list[dict[str, Any]]) -> None:
    """Prints the collections as a table."""
    if not collections:
        console.print("The store holds no collection.")
        return
    table = Table("collection", "generation", "", "images", "shards", "index")
    table.add_column("model", overflow="fold")
    for collection in collections:
        for one in collection["generations"]:
            table.add_row(collection["name"], str(one["generation"]), one["state"], *_columns(one))
    console.print(table)
    for collection in collections:
        if fields := _fields(collection):
            console.print(f"{collection['name']}: {escape(fields)}", highlight=False, soft_wrap=True)


def _fields(collection: dict[str, Any]) -> str:
    """The attributes of the generation that is served, or of the latest where none is."""
    readable = [one for one in collection["generations"] if "error" not in one]
    served = [one for one in readable if one["generation"] == collection["current"]] or readable[-1:]
    attributes = served[0]["attributes"] if served else []
    return ", ".join(f"{printable(one['name'])} {one['type']} ({one['images']:,})" for one in attributes)


def _columns(generation: dict[str, Any]) -> tuple[str, ...]:
    if "error" in generation:
        return "", "", "", escape(f"unreadable: {generation['error']}")
    model = f"{generation['model']['name']} ({generation['model']['digest'][:8]})"
    return f"{generation['images']:,}", str(generation["shards"]), generation["index"], escape(model)


def _collection(store: Store, name: str) -> dict[str, Any]:
    pointers = store.pointers(name)
    return {
        "name": name,
        "current": pointers.current.generation if pointers.current else None,
        "previous": (pointers.current.previous or None) if pointers.current else None,
        "next": pointers.next,
        "generations": [_generation(store, name, number, pointers) for number in store.generations(name)],
    }


def _generation(store: Store, name: str, number: int, pointers: Pointers) -> dict[str, Any]:
    said: dict[str, Any] = {"generation": number, "state": _state(number, pointers)}
    try:
        manifest = store.manifest(name, number)
    except FailedPrecondition as exc:
        return said | {"error": str(exc)}
    return said | {
        "images": manifest.images,
        "shards": len(manifest.shards),
        "index": manifest.index,
        "model": asdict(manifest.model),
        "attributes": [asdict(attribute) for attribute in manifest.attributes],
    }


def _state(number: int, pointers: Pointers) -> str:
    current = pointers.current
    states = {pointers.next: "NEXT"}
    if current is not None:
        states |= {current.previous: "previous"} if current.previous not in states else {}
        states |= {current.generation: "CURRENT"}
    return states.get(number, "")
