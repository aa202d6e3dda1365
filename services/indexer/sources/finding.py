"""Which files a source names, and what kind of source they are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.indexer.places import Place, is_http, locate, readable
from services.indexer.sources.source import CLIP_RETRIEVAL, CSV, FOLDER, JSONL, NPY, PARQUET, WEBDATASET
from services.indexer.sources.tars import IMAGES
from sightline.errors import InvalidArgument, NotFound

_ENDINGS = {
    CSV: (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    JSONL: (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    PARQUET: (".parquet", ".pq"),
    WEBDATASET: (".tar",),
    NPY: (".npy",),
}
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAX_BRACES = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a source names: files in order, each with a name of its own, or a folder whose files are pictures.

    Attributes:
        kind: one of KINDS.
        files: the tables, archives or matrices.
        folder: what was named, where it is a folder.
        beside: the Parquet files that say what rows of matrices are.
    """

    kind: str
    files: Sequence[tuple[str, Place]] = ()
    folder: Place | None = None
    beside: Sequence[Place] = ()

    @property
    def places(self) -> list[Place]:
        """The files without their names."""
        return [place for _, place in self.files]


def find(source: str, kind: str) -> Found:
    """Finds out what is at an address: a file, a folder, or files by a pattern of `*`, `?`, `[…]` or `{000..123}`.

    Args:
        source: where to look.
        kind: one of KINDS, where the caller says it; else it is found out.

    Raises:
        NotFound: there is nothing.
        InvalidArgument: nothing says what kind it is, or several things do.
        Unavailable: it cannot be listed.
    """
    if braces := _BRACES.search(source):
        places = [locate(source[: braces.start()] + number + source[braces.end() :]) for number in _numbers(braces)]
        return _files(source, places, kind)
    place = locate(source)
    if kind != FOLDER and (kind or kind_of(place)) and _is_file(place):
        return _files(source, [place], kind)
    with readable(place.url):
        if place.fs.isdir(place.path):
            return _folder(place, kind)
        if place.fs.isfile(place.path):
            raise InvalidArgument(_unknown(source, place), field="source")
        found = sorted(place.fs.glob(place.path)) if _has_pattern(place) else []
    if not found:
        raise NotFound(f"there is nothing at {source!r}")
    return _files(source, [place.at(path) for path in found], kind)


def kind_of(place: Place) -> str:
    """The kind of source that a file's name says it is; empty where it says none."""
    name = place.name.casefold()
    return next((kind for kind, endings in _ENDINGS.items() if name.endswith(endings)), "")


def _is_file(place: Place) -> bool:
    if is_http(place.fs) and "." not in place.name:  # web servers answer for a folder as they do for a file
        return False
    with readable(place.url):
        return bool(place.fs.isfile(place.path))


def _has_pattern(place: Place) -> bool:
    return any(mark in place.path for mark in ("*[" if is_http(place.fs) else "*?["))


def _numbers(braces: re.Match[str]) -> list[str]:
    first, last = int(braces[1]), int(braces[2])
    if not first <= last < first + _MAX_BRACES:
        raise InvalidArgument(f"{braces[0]} must count up, by at most {_MAX_BRACES:,}", field="source")
    return [str(number).zfill(len(braces[1])) for number in range(first, last + 1)]


def _unknown(source: str, place: Place) -> str:
    if place.name.casefold().endswith(_PACKED):
        return f"{source!r} is packed as a whole, so that no part of it can be read by itself: unpack it"
    endings = ", ".join(ending for group in _ENDINGS.values() for ending in group if not ending.endswith(".gz"))
    return f"{source!r} is neither a folder nor a file that ends in {endings}; --source-kind says what it is"


def _files(source: str, places: Sequence[Place], kind: str) -> Found:
    """The files that were named, without those that stand beside archives and matrices to tell of them."""
    kinds = {kind_of(place) for place in places} - {""}
    kind = kind or _one_kind(source, kinds)
    if kind in kinds:
        places = [place for place in places if kind_of(place) == kind]
    if kind in (NPY, CLIP_RETRIEVAL):
        folders = list(dict.fromkeys(posixpath.dirname(place.path) for place in places))
        if posixpath.basename(folders[0]) == "img_emb":
            kind, folders = CLIP_RETRIEVAL, [posixpath.join(posixpath.dirname(folders[0]), "metadata")]
        return _matrices(kind, places, [place for folder in folders for place in _listing(places[0].at(folder))])
    return Found(kind, _named(places))


def _folder(folder: Place, kind: str) -> Found:
    listed = _listing(folder)
    kinds = {kind_of(place) for place in listed} - {""}
    subfolder = next((place for place in listed if place.name == "img_emb" and folder.fs.isdir(place.path)), None)
    is_pictures = any(posixpath.splitext(place.name)[1].casefold().removeprefix(".") in IMAGES for place in listed)
    if kind == CLIP_RETRIEVAL or (not kind and subfolder is not None):
        metadata = _listing(folder.at(f"{folder.path.rstrip('/')}/metadata"))
        return _matrices(CLIP_RETRIEVAL, _npys(_listing(subfolder or folder), "img_emb"), [*listed, *metadata])
    if kind == FOLDER or (not kind and (is_pictures or not kinds)):
        return Found(FOLDER, folder=folder)
    kind = kind or _one_kind(folder.url, kinds)
    if kind == NPY:
        return _matrices(kind, _npys(listed), listed)
    files = [place for place in listed if kind_of(place) == kind]
    if not files:
        raise NotFound(f"there is no {kind} in {folder.url}")
    return Found(kind, _named(files))


def _matrices(kind: str, vectors: Sequence[Place], beside: Sequence[Place]) -> Found:
    if not vectors:
        raise NotFound(f"there is no .npy file where {kind} embeddings should be")
    begin = "metadata" if kind == CLIP_RETRIEVAL else ""
    tables = [place for place in beside if kind_of(place) == PARQUET and place.name.startswith(begin)]
    return Found(kind, _named(vectors), beside=tables)


def _npys(listed: Sequence[Place], begin: str = "") -> list[Place]:
    return [place for place in listed if kind_of(place) == NPY and place.name.startswith(begin)]


def _one_kind(source: str, kinds: set[str]) -> str:
    """Archives and matrices are what their folder is; the tables beside them tell of them."""
    for kind in (WEBDATASET, NPY):
        if kind in kinds:
            return kind
    if len(kinds) != 1:
        found = ", ".join(sorted(kinds)) or "nothing that is known"
        raise InvalidArgument(f"{source!r} holds {found}; --source-kind says which to take", field="source")
    return kinds.pop()


def _listing(folder: Place) -> list[Place]:
    """What lies in a folder and is not hidden, by path; nothing where there is no such folder."""
    try:
        with readable(folder.url):
            paths = folder.fs.ls(folder.path, detail=False)
    except NotFound:
        return []
    places = [folder.at(str(path).rstrip("/")) for path in sorted(set(paths))]
    return [place for place in places if not place.name.startswith(".")]


def _named(places: Sequence[Place]) -> list[tuple[str, Place]]:
    """Each file with its path from the folder that they have in common."""
    if len(places) == 1:
        return [(places[0].name, places[0])]
    common = posixpath.commonpath([posixpath.dirname(place.path) for place in places])
    return [(posixpath.relpath(place.path, common), place) for place in places]
