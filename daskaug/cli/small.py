"""``daskaug demo``, ``migrate`` and ``warmup``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daskaug.cli.clusters import Scheduler, cluster


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the stores and the contact sheet.")] = Path(
        "daskaug-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 2026,
    scheduler: Scheduler = None,
) -> None:
    """Fit, augment, stream and materialise real images, and draw a contact sheet."""
    from daskaug.demo import run

    with cluster(scheduler):
        run(out, seed)


def migrate(
    call: Annotated[str, typer.Argument(metavar="CALL|SCRIPT.py", help="A call in quotes, or the path of a script.")],
) -> None:
    """Say what differs from Keras for an ImageDataGenerator(...) call or a script. Nothing of it is run."""
    from daskaug.migration import explain, explain_file

    typer.echo(explain_file(call) if call.endswith(".py") else explain(call))


def warmup() -> None:
    """Compile the kernels, or load them from the cache, so that the first batch need not."""
    from daskaug.kernels.compile import cache_directory
    from daskaug.kernels.warming import warm

    total = 0.0
    for name, seconds in warm():
        typer.echo(f"{name:16}{seconds:6.2f} s")
        total += seconds
    typer.echo(f"{'all':16}{total:6.2f} s   {cache_directory()}")
