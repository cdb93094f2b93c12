"""The command line: ``daskaug``."""

from __future__ import annotations

from typing import Annotated

import typer

from daskaug._version import __version__
from daskaug.cli.files import check, ingest
from daskaug.cli.fitting import fit
from daskaug.cli.making import materialize, plan, preview
from daskaug.cli.running import Command
from daskaug.cli.small import demo, migrate, warmup
from daskaug.cli.stores import info, replay, verify

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


for _command in (
    demo, ingest, check, fit, preview, plan, materialize, verify, replay, info, migrate, warmup,
):  # fmt: skip
    app.command(cls=Command)(_command)


def main() -> None:
    """Entry point of the command ``daskaug``."""
    app()
