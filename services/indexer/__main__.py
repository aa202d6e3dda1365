"""The indexer's command line: `python -m services.indexer build|inspect|publish|rollback|list|prune|drop`.

A build in one process is `build`; in several at once it is `build --part i/n` in each of them. Or it is its stages, one
after the other: `read`, `encode`, `train`, `fill` and `seal`, each in as many processes as you like.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from services.indexer.builds import app as builds_app
from services.indexer.collections import app as collections_app
from services.indexer.commands import told
from services.indexer.once import Note


def _note(_: object, once: str) -> None:
    """After a command that has not failed."""
    if once:
        with told():
            Note(once).write()


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False, result_callback=_note
)


@app.callback()
def main(
    once: Annotated[
        str, typer.Option("--once", help="URL of a note: nothing is done where it is, else it is written at the end.")
    ] = "",
) -> None:
    """See --help of each command."""
    with told():
        if once and Note(once).is_there():
            Console().print(escape(f"done before, says {once}"), highlight=False, soft_wrap=True)
            raise typer.Exit(0)


app.registered_commands += builds_app.registered_commands + collections_app.registered_commands

if __name__ == "__main__":
    app()
