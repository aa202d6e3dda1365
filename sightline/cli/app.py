"""The commands: what is asked, and in which form the answer is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from rich.console import Console, RenderableType

from sightline.cli import tables
from sightline.cli.asking import REFUSED, ask, build_query, filter_of
from sightline.cli.connecting import Service, connecting
from sightline.cli.grid import draw_grid
from sightline.cli.standing import Standing, standings
from sightline.cli.terminal import can_draw, draw_pictures
from sightline.results import SearchResult, StoredImage
from sightline.surface import SearchClient

app = typer.Typer(
    help="Searches images by words, by pictures, or by mixtures of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _picture_file(given: Path | None) -> Path | None:
    if given and given.suffix.lower() not in Image.registered_extensions():
        raise typer.BadParameter(f"{given.name} does not end like a picture; try {given.stem}.png")
    if given and not given.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {given.absolute().parent}")
    return given


CollectionOption = Annotated[str, typer.Option(help="The collection; not needed where there is just one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
PicturesOption = Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw pictures in the terminal.")]


@app.command()
@connecting
def search(
    words: Annotated[str | None, typer.Argument(metavar="WORDS", help="What to look for, in any language.")] = None,
    *,
    image: Annotated[list[Path] | None, typer.Option(help="A picture that hits should resemble. Repeatable.")] = None,
    id: Annotated[list[str] | None, typer.Option(help="An image of the collection, as --image. Repeatable.")] = None,
    minus: Annotated[list[str] | None, typer.Option(help="Words to steer away from. Repeatable.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="How many hits.")] = 10,
    min_score: Annotated[float | None, typer.Option(help="Leave out hits that score less, -1 to 1.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only images that meet this, such as 'price<50' or 'tags=v-neck'. Repeatable: all must hold."
        ),
    ] = None,
    collection: CollectionOption = "",
    as_json: JsonOption = False,
    save: Annotated[
        Path | None, typer.Option(callback=_picture_file, help="Save the hits as one labelled picture.")
    ] = None,
    fonts: Annotated[
        list[Path] | None, typer.Option(envvar="SIGHTLINE_FONTS", help="A folder of fonts for --save. Repeatable.")
    ] = None,
    pictures: PicturesOption = True,
    service: Service,
) -> None:
    """Finds the images nearest to words, pictures, or a mixture of them.

    --where takes NAME = | != | < | <= | > | >= VALUE, NAME in VALUE,VALUE,… or NAME exists; also "not in" and "not
    exists". `sightline status --json` lists a collection's attributes. An image that lacks one meets only !=, "not in"
    and "not exists".
    """
    query = build_query(words, image or (), id or (), minus or ())
    console = Console()
    drawn = pictures and not as_json and can_draw()

    async def question(client: SearchClient) -> SearchResult:
        return await client.search(
            query,
            collection=collection,
            top_k=top_k,
            min_score=min_score,
            filter=await filter_of(client, where or (), collection),
            thumbnails=drawn or save is not None,
        )

    result = ask(service, question)
    _show(console, _result_as_json(result) if as_json else None, result)
    if drawn:
        named = ((hit.thumbnail, f"{rank} {hit.image.caption or hit.id}") for rank, hit in enumerate(result, 1))
        draw_pictures(console, list(named))
    if save:
        title = " ".join([words or "", *(f"-{word}" for word in minus or ())]).strip() or "the pictures most alike"
        cells = [(hit.thumbnail, hit.image.caption or hit.id, hit.score) for hit in result]
        _write(save, lambda: draw_grid([(title, cells)], font_folders=fonts or ()).save(save))


@app.command()
@connecting
def get(
    id: Annotated[str, typer.Argument(metavar="ID", help="The image's id.")],
    *,
    collection: CollectionOption = "",
    as_json: JsonOption = False,
    save: Annotated[Path | None, typer.Option(help="Save the thumbnail, a WebP file.")] = None,
    pictures: PicturesOption = True,
    service: Service,
) -> None:
    """Shows what is stored of one image."""
    stored = ask(service, lambda client: client.get(id, collection=collection, thumbnail=True))
    console = Console()
    _show(console, _stored_as_json(stored) if as_json else None, tables.image(stored))
    if pictures and not as_json and can_draw():
        draw_pictures(console, [(stored.thumbnail, "")])
    if save:
        _write(save, lambda: save.write_bytes(stored.thumbnail))


@app.command()
@connecting
def status(*, as_json: JsonOption = False, service: Service) -> None:
    """Shows whether the gateway is ready, what can be searched, and whether all of it answers; fails where not."""

    async def question(client: SearchClient) -> tuple[bool, list[Standing]]:
        return await client.serving(), await standings(client)

    serving, listed = ask(service, question)
    console = Console()
    if not as_json:
        state = "[green]ready[/green]" if serving else "[yellow]not ready[/yellow]"
        console.print(f"The gateway at {service.address} is {state}.")
    known = {"address": service.address, "serving": serving, "collections": [one.as_json() for one in listed]}
    _show(console, known if as_json else None, tables.collections(listed))
    if not serving or any(one.missing for one in listed):
        raise typer.Exit(REFUSED)


def _show(console: Console, document: dict[str, Any] | None, renderable: RenderableType) -> None:
    """Prints the document as JSON; where there is none, what is for people."""
    if document is None:
        console.print(renderable)
    else:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _result_as_json(result: SearchResult) -> dict[str, Any]:
    document = asdict(result)
    for hit in document["hits"]:
        del hit["thumbnail"]
    document["coverage"]["complete"] = result.coverage.complete
    return document


def _stored_as_json(stored: StoredImage) -> dict[str, Any]:
    return {"image": asdict(stored.image), "thumbnail_bytes": len(stored.thumbnail), "generation": stored.generation}


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        typer.echo(f"{path}: {error.strerror}", err=True)
        raise typer.Exit(REFUSED) from None
    typer.echo(f"Saved {path}", err=True)
