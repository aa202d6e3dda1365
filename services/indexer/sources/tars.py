"""Webdataset archives, as img2dataset writes them: `00000.tar` with `000000012.jpg`, `.json` and `.txt` side by side.

Only headers and texts are read here; a picture is later read from the archive by its range of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from typing import Any, BinaryIO

from services.indexer.places import Place, read_through, readable
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import CAPTION_LIMIT, URI_LIMIT, attributes_of, id_of, text_of
from services.indexer.sources.columns import Columns, choose
from services.indexer.sources.jsonl import parse_object
from services.indexer.sources.members import Member, members
from services.indexer.sources.source import WEBDATASET, Source, SourceOptions
from sightline.errors import InvalidArgument, SightlineError

IMAGES = frozenset(["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif"])
# What img2dataset notes of its own work; the caption is in the .txt as well.
NOTES = frozenset(["key", "status", "error_message", "exif", "md5", "sha256", "sha512", "width", "height"])
TEXT = ".txt"
TEXT_LIMIT = 1 << 20
# Samples that are looked at to find out which keys there are.
LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """The files of an archive that belong together, since they differ only in their endings.

    Attributes:
        key: their common name.
        image: the picture; None where there is none.
        record: what the `.json` says, and the text of the `.txt` under its ending.
        fault: what is wrong with the sample; empty where nothing is.
    """

    key: str
    image: Member | None = None
    record: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar file."""

    name: str
    table: Place
    columns: Columns
    total: int | None = field(default=None, init=False)

    def rows(self) -> Iterator[Row | Refusal]:
        """A row for each sample."""
        for found in _samples(self.table):
            yield found if isinstance(found, Refusal) else self._row(found)

    def _row(self, sample: Sample) -> Row | Refusal:
        image, record, columns = sample.image, sample.record, self.columns
        address = _address(self.table, image.name if image else sample.key)
        if image is None or sample.fault:
            return Refusal(address, sample.fault or "there is no picture beside these files")
        try:
            return Row(
                id=id_of(record, columns.id) or sample.key,
                uri=text_of(record, columns.uri, URI_LIMIT) or address,
                location=self.table.path if self.table.is_local else self.table.url,
                caption=text_of(record, columns.caption, CAPTION_LIMIT),
                attributes=attributes_of({name: record[name] for name in columns.of(record)}, columns.types),
                span=(image.start, image.size),
            )
        except SightlineError as exc:
            return Refusal(address, str(exc))


def open_tars(tables: Sequence[tuple[str, Place]], options: SourceOptions) -> Source:
    """Archives, each a part; which keys their `.json` files have is found out from the first samples."""
    first = islice(chain.from_iterable(_samples(table) for _, table in tables), LOOKED_AT)
    records = [sample.record for sample in first if isinstance(sample, Sample)]
    names = {name: "" for record in records for name in record}
    nested = sorted({name for record in records for name, value in record.items() if isinstance(value, dict)} - NOTES)
    if TEXT in names:
        options = replace(options, caption=options.caption or TEXT)
    ignored = [*NOTES, *nested, TEXT, *(["caption"] if TEXT in names else [])]
    columns = choose(names, options, ids=(), ignored=ignored, is_open=True)
    left_out = {name: "an object" for name in nested if not columns.is_attribute(name)}
    archives = [Archive(name, table, columns) for name, table in tables]
    return Source(WEBDATASET, archives, columns.named, columns.types, left_out)


def _samples(table: Place) -> Iterator[Sample | Refusal]:
    with readable(table.url):
        if not table.serves_ranges():
            raise InvalidArgument(f"the server of {table.url} does not serve ranges; copy it first", field="source")
        opened = table.open()
    with opened as file:
        found = read_through(table.url, members(file))
        for key, group in groupby(found, lambda one: one if isinstance(one, str) else _split(one.name)[0]):
            files = list(islice(group, 100))
            if isinstance(files[0], str):
                yield Refusal(table.url, f"the archive {files[0]}")
            elif any(_split(one.name)[1] for one in files if isinstance(one, Member)):
                with readable(table.url):
                    sample = _sample(file, key, [one for one in files if isinstance(one, Member)])
                yield sample


def _sample(file: BinaryIO, key: str, files: Sequence[Member]) -> Sample:
    image: Member | None = None
    record: dict[str, Any] = {}
    for member in files:
        ending = _split(member.name)[1].casefold()
        if member.fault:
            return Sample(key, image, record, f"{member.name} {member.fault}")
        if ending in IMAGES:
            image = image or member
        elif ending in ("json", "txt"):
            try:
                record |= _read(file, member, ending)
            except SightlineError as exc:
                return Sample(key, image, record, f"{member.name}: {exc}")
    return Sample(key, image, record)


def _read(file: BinaryIO, member: Member, ending: str) -> dict[str, Any]:
    if member.size > TEXT_LIMIT:
        raise InvalidArgument(f"may have at most {TEXT_LIMIT:,} bytes, has {member.size:,}")
    file.seek(member.start)
    data = file.read(member.size)
    if ending == "json":
        # Where pandas has no value, img2dataset writes NaN.
        return parse_object(data, "it", constant=lambda _: None)
    try:
        return {TEXT: data.decode("utf-8").strip()}
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"not UTF-8 at byte {exc.start}") from exc


def _split(name: str) -> tuple[str, str]:
    """A member's key and its ending: at the first dot of the last part of its path, as webdataset has it."""
    folder, slash, file = name.rpartition("/")
    key, _, ending = file.partition(".")
    return f"{folder}{slash}{key}", ending if key else ""


def _address(table: Place, member: str) -> str:
    """Where a member is, as fsspec opens it."""
    return f"tar://{member}::{table.url}"
