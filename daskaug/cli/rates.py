"""How fast a long command is and how long it will take: a bar on a terminal, lines of a log elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import typer

LINE_SECONDS = 5.0
"""Between two lines of a log."""


class Rate:
    """Images and bytes a second, and the time that is left.

    Parameters
    ----------
    row_nbytes : int
        Decoded bytes of an image.
    before : int
        Images that were there when it began.
    clock : callable
        Seconds.
    """

    def __init__(self, row_nbytes: int, before: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._row_nbytes, self._before, self._clock = row_nbytes, before, clock
        self._began = clock()

    def told(self, done: int, total: int) -> str:
        """The numbers in words."""
        images = max(0, done - self._before) / max(self._clock() - self._began, 1e-9)
        left = f"{duration((total - done) / images)} left" if images and done < total else ""
        rate = f"{images:,.0f} images/s, {images * self._row_nbytes / 1e6:,.1f} MB/s"
        return f"{rate}, {left}" if left else rate


@contextlib.contextmanager
def rates(command: str, row_nbytes: int, before: int) -> Iterator[Callable[[int, int], None]]:
    """Show how far the command is; yields what is to be called with (images done, images in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    rate, console = Rate(row_nbytes, before), Console(stderr=True)
    if not console.is_terminal:
        yield lines_of(command, rate)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(command, total=None, told="")
        yield lambda done, total: progress.update(task, completed=done, total=total, told=rate.told(done, total))


def lines_of(command: str, rate: Rate, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """A line every few seconds, and one at the end."""
    last = clock()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done < total and clock() - last < LINE_SECONDS:
            return
        last = clock()
        share = f"{done / total:.0%}" if total else "100%"
        typer.echo(f"{command}: {done:,} of {total:,} images ({share}), {rate.told(done, total)}", err=True)

    return progress


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, as far as they matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
