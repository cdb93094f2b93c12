"""How far a long call is: a bar on a terminal, one display in a notebook, now and then a line in a log."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from daskaug.errors import ConfigError
from daskaug.stopping import uninterrupted

Tell = Callable[[int, int], None]
"""Called as ``(done, total)``."""

Progress = bool | Tell | None
"""What `progress` may be: True shows how far it is, False and None do not, and anything else is called."""

LINE_SECONDS = 10.0
"""Between two lines of a log, at least."""

LINE_SHARE = 0.01
"""Of the whole, between two lines of a log: a run of an hour has a hundred, not one for each shard."""

SILENT_SECONDS = 600.0
"""After so long there is a line, however little was done."""

DISPLAY_SECONDS = 0.2
"""Between two updates of a notebook, at least: each is a message."""


def check_progress(progress: Any) -> None:
    """Refuse what cannot be told anything, before any work.

    Raises
    ------
    ConfigError
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ConfigError(
            "`progress` must be True (show it), False, None or a function that is called as progress(done, total). "
            f"Received: progress={progress!r}."
        )


@dataclasses.dataclass
class Course:
    """How far something is, and the words for it.

    Attributes
    ----------
    what : str
        Name of the call.
    unit : str
        What is counted, in the plural.
    row_nbytes : int
        Decoded bytes of one of them; 0: bytes are not told.
    before : int
        How many were there when it began.
    passes : int
        How often everything is looked at; what is done and what is to be done are counted over all passes.
    is_at_most : bool
        It may be through before the end.
    clock : callable
        Seconds.
    done, total : int
        So far, and in all; None while that is not known.
    note : str
        What else is to be said.
    """

    what: str
    unit: str = "images"
    row_nbytes: int = 0
    before: int = 0
    passes: int = 1
    is_at_most: bool = False
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    total: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin, with what was there before."""
        self.done, self._began = self.before, self.clock()

    @property
    def share(self) -> float | None:
        """Part of the whole that is done; None where the whole is not known."""
        return None if self.is_at_most or self.total is None else self.done / max(self.total, 1)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self.clock() - self._began

    @property
    def counted(self) -> str:
        """As in "350 of 1,100 images"; of the pass, where there are several."""
        if self.total is None:
            return f"{self.done:,} {self.unit}" if self.done else "starting"
        number, of_pass = self._pass
        here = f"{self.done - number * of_pass:,} of {'at most ' if self.is_at_most else ''}{of_pass:,} {self.unit}"
        return f"pass {number + 1} of {self.passes}: {here}" if self.passes > 1 else here

    @property
    def _pass(self) -> tuple[int, int]:
        """Number of the pass from 0, and what is to be done in each."""
        of_pass = max(1, (self.total or 0) // self.passes)
        return min(self.done // of_pass, self.passes - 1), of_pass if self.total else 0

    @property
    def percent(self) -> str:
        """As in "32%"; never 100 before the end."""
        share = self.share
        return "" if share is None else f"{int(100 * share)}%"

    @property
    def pace(self) -> list[str]:
        """Counted things and bytes a second."""
        if self.done <= self.before:
            return []
        per_second = (self.done - self.before) / max(self.seconds, 1e-9)
        told = [f"{_number(per_second, 0)} {self.unit}/s"]
        return [*told, f"{_number(per_second * self.row_nbytes / 1e6, 1)} MB/s"] if self.row_nbytes else told

    @property
    def left(self) -> str:
        """As in "15 s left"; nothing where that is not known."""
        new = self.done - self.before
        if self.share is None or self.total is None or new <= 0 or self.done >= self.total:
            return ""
        return f"{duration((self.total - self.done) * self.seconds / new)} left"

    @property
    def line(self) -> str:
        """All of it, for a log."""
        counted = f"{self.counted} ({self.percent})" if self.percent else self.counted
        return f"{self.what}: {_joined([counted, self.note, *self.pace, self.left])}"

    @property
    def short(self) -> str:
        """What stands beside a bar; what matters less comes later, where it may be cut off."""
        return _joined([self.percent, self.left, *self.pace, self.counted, self.note])

    def last_line(self, error: BaseException | None) -> str:
        """What is left to be read.

        Parameters
        ----------
        error : exception, optional
            What ended it.
        """
        took = f"{self.seconds:.1f} s" if self.seconds < 10 else duration(self.seconds)
        if error is not None:
            how = "interrupted" if isinstance(error, KeyboardInterrupt) else f"stopped by {type(error).__name__}"
            at = f"at {self.counted} ({self.percent})" if self.percent else f"at {self.counted}"
            return f"{self.what}: {how} after {took}, {at if self.total is not None else 'before anything was done'}"
        of_each = self.done if self.passes == 1 or self.total is None else self._pass[1]
        counted = f"{of_each:,} {self.unit}"
        if self.is_at_most and self.total is not None and self.done < self.total:
            counted = f"{self.done:,} of {self.total:,} {self.unit} were enough"
        elif self.passes > 1:
            counted += f", {self.passes} passes"
        elif self.before:
            counted += f", {self.before:,} of them there before"
        return f"{self.what}: {_joined([counted, took, *self.pace])}"


class Display(Protocol):
    """Where progress is shown."""

    def show(self, course: Course) -> None:
        """Show it, or not, if it was shown a moment ago."""

    def close(self, line: str) -> None:
        """Leave one line, and everything else as it was."""


class Bar:
    """A bar on a terminal."""

    def __init__(self, console: Any, course: Course) -> None:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=min(len(course.what), 40))),
            BarColumn(bar_width=20, table_column=Column(min_width=8)),
            TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        )
        self._console = console
        self._rich = Progress(*columns, console=console, transient=True)
        self._task = self._rich.add_task(course.what, total=None, told=course.short)
        self._rich.start()

    def show(self, course: Course) -> None:
        """See :meth:`Display.show`."""
        total = None if course.share is None else course.total
        self._rich.update(self._task, completed=course.done, total=total, told=course.short)

    def close(self, line: str) -> None:
        """See :meth:`Display.close`."""
        try:
            self._rich.stop()
        finally:
            self._console.show_cursor(True)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Cell:
    """A display below a notebook's cell. It is plain HTML, so a stored notebook shows its last line without widgets."""

    def __init__(self, course: Course) -> None:
        from IPython.display import display

        self._shown = course.clock()
        self._handle = display(self._bundle(course), raw=True, display_id=True)

    def show(self, course: Course) -> None:
        """See :meth:`Display.show`."""
        now = course.clock()
        if now - self._shown >= DISPLAY_SECONDS:
            self._shown = now
            self._handle.update(self._bundle(course), raw=True)

    def close(self, line: str) -> None:
        """See :meth:`Display.close`."""
        self._handle.update({"text/plain": line, "text/html": f"<div>{html.escape(line)}</div>"}, raw=True)

    @staticmethod
    def _bundle(course: Course) -> dict[str, str]:
        share = course.share
        value = "" if share is None else f' value="{share:.4f}"'
        what, told = html.escape(course.what), html.escape(course.short)
        return {
            "text/plain": course.line,
            "text/html": f'<div>{what} <progress max="1"{value} aria-label="{what}"></progress> {told}</div>',
        }


class Lines:
    """Lines of a log."""

    def __init__(self, print_line: Callable[[str], None], course: Course) -> None:
        self._print = print_line
        self._last, self._done, self._share = course.clock(), course.done, 0.0

    def show(self, course: Course) -> None:
        """See :meth:`Display.show`."""
        now = course.clock()
        if not self._is_due(course, now - self._last):
            return
        self._last, self._done, self._share = now, course.done, course.share or 0.0
        self._print(course.line)

    def _is_due(self, course: Course, silent: float) -> bool:
        if course.share == 1:  # the last line follows
            return False
        if silent < LINE_SECONDS or silent >= SILENT_SECONDS:
            return silent >= SILENT_SECONDS
        if course.share is None:  # a line for each tenth more
            return course.done >= 1.1 * self._done
        return course.share - self._share >= LINE_SHARE

    def close(self, line: str) -> None:
        """See :meth:`Display.close`."""
        self._print(line)


class Shown:
    """What is called by whoever makes progress.

    Parameters
    ----------
    tell : callable
        Called as ``tell(done, total)``.
    course : Course, optional
        What it is about, where it is shown.
    """

    def __init__(self, tell: Tell, course: Course | None = None) -> None:
        self._tell, self._course = tell, course

    def __call__(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._tell(done, total)

    @property
    def is_displayed(self) -> bool:
        """Whether notes are shown anywhere."""
        return self._course is not None

    def describe(self, **about: Any) -> None:
        """What is known now of what it is about: attributes of :class:`Course`. It begins only now."""
        if self._course is not None:
            for name, value in about.items():
                setattr(self._course, name, value)
            self._course.begin()

    def note(self, text: str) -> None:
        """What else is to be said, the next time."""
        if self._course is not None:
            self._course.note = text


@contextlib.contextmanager
def showing(progress: Progress, what: str, **about: Any) -> Iterator[Shown | None]:
    """What is to be called with what is done and what is to be done; nothing where nobody wants to know.

    Parameters
    ----------
    progress : bool, callable or None
        True: show it where this runs, on a terminal, in a notebook, or else as lines on the standard error. At the end,
        at an error and at an interrupt, the display is put away and one line left; what was raised goes on unchanged.
        What this yields may be passed on to a call that comes here again: there is one display, by the first name.
    what : str
        Name of the call.
    **about
        Of :class:`Course`.
    """
    check_progress(progress)
    if isinstance(progress, Shown):
        progress.describe(**about)
        yield progress
        return
    if not isinstance(progress, bool):
        yield None if progress is None else Shown(progress)
        return
    if not progress:
        yield None
        return
    course = Course(what, **about)
    display = display_for(course)

    def tell(done: int, total: int) -> None:
        course.done, course.total = done, total
        display.show(course)

    try:
        yield Shown(tell, course)
    except BaseException as error:
        with uninterrupted():
            display.close(course.last_line(error))
        raise
    with uninterrupted():
        display.close(course.last_line(None))


def display_for(course: Course) -> Display:
    """The one that suits where this process' messages go to."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        return Cell(course)
    # What rich calls a terminal can be a log in colour, if the environment says so.
    if getattr(sys.stderr, "isatty", bool)() and not console.is_dumb_terminal:
        return Bar(console, course)
    return Lines(lambda line: print(line, file=sys.stderr, flush=True), course)


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, as far as they matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if value >= 10 else f"{value:.2g}"


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)
