"""Which column of a table is what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from services.indexer.rows import AttributeValue
from services.indexer.sources.checks import ATTRIBUTES_LIMIT, check_name, short
from services.indexer.sources.source import SourceOptions
from sightline.errors import InvalidArgument

# The first of these that a table has, in whatever case, is taken.
URI = ("uri", "url", "image_url", "image", "image_path", "path", "file", "file_name", "filename")
CAPTION = ("caption", "text", "title", "description")
ID = ("id",)

# The types that they may have, where types are known.
_TEXTS = ("", "string")
_IDS = (*_TEXTS, "int")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what.

    Attributes:
        uri, id, caption: the columns that have them; empty where there is none.
        attributes: the only ones that become attributes; None: all others.
        ignored: those that never do.
        types: what attributes are declared to be.
        guessed: what the columns of a text table look like; int makes room for double there.
    """

    uri: str
    id: str
    caption: str
    attributes: tuple[str, ...] | None = None
    ignored: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)
    guessed: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, str]:
        """The columns that give uri, id and caption."""
        return {role: name for role in ("uri", "id", "caption") if (name := getattr(self, role))}

    def is_attribute(self, name: str) -> bool:
        """Whether a column becomes an attribute."""
        if name and name in (self.uri, self.id, self.caption):
            return self.attributes is not None and name in self.attributes
        return name not in self.ignored if self.attributes is None else name in self.attributes

    def of(self, record: Mapping[str, AttributeValue]) -> list[str]:
        """The columns of a record that become attributes, in its order."""
        return [name for name in record if self.is_attribute(name)]


def choose(
    names: Mapping[str, str],
    options: SourceOptions,
    *,
    ids: tuple[str, ...] = ID,
    ignored: Iterable[str] = (),
    left_out: Mapping[str, str] = MappingProxyType({}),
    is_open: bool = False,
    needs_uri: bool = True,
) -> Columns:
    """Finds out which column is what; what the options name goes first.

    Args:
        names: the columns that can be attributes, with their types where these are known, else with nothing.
        ids: how a column of ids may be called.
        ignored: names that never become attributes by themselves.
        left_out: columns that can be nothing, and why, for those who ask for one.
        is_open: whether rows may have others than `names`, so that one which is asked for need not be among them.

    Raises:
        InvalidArgument: a column that is asked for or needed is not there, or has no sound name.
    """
    known = list(names)
    there_are = f"there are {_told(known)}" + (f", but not {_told(left_out.items())}" if left_out else "")
    texts = [name for name in known if names[name] in _TEXTS]
    wanted = (("--uri-column", options.uri), ("--id-column", options.id), ("--caption-column", options.caption))
    asked = [*wanted, *(("--attribute", name) for name in options.attributes or ())]
    asked += [("--type", name) for name in options.types]
    for option, name in asked:
        if name and name not in known and not is_open:
            message = f"there is no column {short(name)!r} that it could be; {there_are}"
            raise InvalidArgument(message, field=option)
    columns = Columns(
        uri=options.uri or _first(texts, URI),
        id=options.id or _first([name for name in known if names[name] in _IDS], ids),
        caption=options.caption or _first(texts, CAPTION),
        attributes=options.attributes,
        ignored=frozenset(ignored),
        types=dict(options.types),
    )
    if not columns.uri and needs_uri and not is_open:
        message = f"say which column has the pictures' addresses; {there_are}"
        raise InvalidArgument(message, field="--uri-column")
    if not is_open:
        _check_attributes(columns.of(dict.fromkeys(known, "")))
    return columns


def _first(known: list[str], wanted: tuple[str, ...]) -> str:
    folded = {name.casefold(): name for name in reversed(known)}
    return next((folded[name] for name in wanted if name in folded), "")


def _check_attributes(names: list[str]) -> None:
    if len(names) > ATTRIBUTES_LIMIT:
        raise InvalidArgument(
            f"there may be {ATTRIBUTES_LIMIT} attributes, the source has {len(names):,} columns; choose some",
            field="--attribute",
        )
    for name in names:
        check_name(name)


def _told(names: Collection[str | tuple[str, str]]) -> str:
    """Names, or names with what is wrong with them, in a sentence."""
    told = [short(name) if isinstance(name, str) else f"{short(name[0])} ({short(name[1])})" for name in names]
    shown = ", ".join(told[:20])
    return (shown + (f" and {len(told) - 20:,} more" if len(told) > 20 else "")) or "none"
