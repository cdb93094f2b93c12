"""The command line: ``daskaug``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daskaug._version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Out-of-core statistics, augmentation and materialised data sets for images.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"daskaug {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the stores and the contact sheet.")] = Path(
        "daskaug-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 2026,
) -> None:
    """Fit, augment, stream and materialise real images, and draw a contact sheet."""
    from daskaug.demo import run
    from daskaug.errors import DaskaugError

    try:
        run(out, seed)
    except DaskaugError as error:
        typer.echo(f"daskaug demo: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the command ``daskaug``."""
    app()
