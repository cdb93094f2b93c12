"""What commands have in common: how errors are told, and how far they have come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import typer


@contextlib.contextmanager
def reported(command: str) -> Iterator[None]:
    """An error as one paragraph, and exit code 1; of what nobody foresaw, the kind of error and the task too."""
    from daskaug.errors import DaskaugError

    try:
        yield
    except (typer.Exit, typer.Abort):  # on purpose
        raise
    except Exception as error:
        kind = "" if isinstance(error, DaskaugError | OSError) else f"{type(error).__name__}: "
        told = " ".join([str(error), *getattr(error, "__notes__", ())])
        typer.echo(f"daskaug {command}: {kind}{' '.join(told.split())}", err=True)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, and what moves it."""
    with _bar(description) as (progress, task):
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def _bar(description: str) -> Iterator[tuple[Any, Any]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(description, total=None)


@contextlib.contextmanager
def running_mean() -> Iterator[tuple[Callable[[Any], None], Callable[[int, int], None]]]:
    """A bar with the mean so far and, where blocks come in random order, how near it is; and what moves it."""
    with _bar("fit") as (bar, task):

        def monitor(running: Any) -> None:
            near = [""] * len(running.mean)
            if running.interval is not None:
                near = [f" ± {half:.2g}" for half in running.interval.mean]
            means = ", ".join(f"{mean:.5g}{half}" for mean, half in zip(running.mean[:4], near, strict=False))
            bar.update(task, description=f"mean {means}")

        yield monitor, lambda done, total: bar.update(task, completed=done, total=total)
