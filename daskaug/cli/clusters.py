"""Where a command runs: the option that all commands that compute have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

HELP = (
    "Who does the work: address of a dask scheduler, or threads, processes[:N], ssh:HOST,HOST, slurm:N, kubernetes:N; "
    "by default DASKAUG_SCHEDULER, or daskaug.scheduler in dask's configuration."
)

Scheduler = Annotated[str | None, typer.Option("--scheduler", metavar="ADDRESS|RECIPE", help=HELP, show_default=False)]


@contextlib.contextmanager
def cluster(scheduler: str | None) -> Iterator[None]:
    """The workers of a scheduler, for as long as the command runs; says where its dashboard is."""
    from daskaug.execution.connecting import connected

    with connected(scheduler) as client:
        if client is not None:
            from daskaug.execution.links import dashboard_link

            typer.echo(str(dashboard_link(client)), err=True)
        yield
