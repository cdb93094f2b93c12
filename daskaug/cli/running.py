"""What commands have in common: how errors are told."""

from __future__ import annotations

import contextlib
import contextvars
import math
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

_WITHIN = {"ingest": "ingest"}
"""Commands that do their work by a method of another name."""

_OTHER_NAMES = {"storage_options": "storage_option"}
"""Arguments in Python that an option has another name for."""

_IN_GIGABYTES = {"memory_budget"}
"""Options in other units than the arguments, which are bytes."""

_CALL = re.compile(r"(?<![\w.])(fit|ingest|materialize|replay|verify)\((?:\.\.\.)?\)")

_running: contextvars.ContextVar[TyperCommand | None] = contextvars.ContextVar("running", default=None)


class Command(TyperCommand):
    """A command that tells errors as one paragraph, and ends with exit code 1 then."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        token = _running.set(self)
        try:
            with _reported(str(self.name)):
                return super().invoke(ctx)
        finally:
            _running.reset(token)


@contextlib.contextmanager
def _reported(command: str) -> Iterator[None]:
    """Of an error that nobody foresaw its kind and the task are told too."""
    from daskaug.cards.escaping import as_text
    from daskaug.errors import DaskaugError

    try:
        yield
    except (typer.Exit, typer.Abort):  # on purpose
        raise
    except Exception as error:
        kind = "" if isinstance(error, DaskaugError | OSError) else f"{type(error).__name__}: "
        told = " ".join([str(error), *getattr(error, "__notes__", ())])
        typer.echo(f"daskaug {command}: {kind}{in_options(as_text(' '.join(told.split())))}", err=True)
        raise typer.Exit(1) from error


def in_options(text: str) -> str:
    """What is said of arguments in Python, said of options of the command that runs.

    ``on_error='skip'`` becomes ``--on-error skip``, an argument's name in backticks its option, and ``verify()``
    becomes ``daskaug verify``.
    """
    command = _running.get()
    if command is None:
        return text
    options = {str(p.name): p for p in command.params if p.opts[0].startswith("--")}
    options |= {name: options[other] for name, other in _OTHER_NAMES.items() if other in options}
    if options:
        names = "|".join(sorted(options, key=len, reverse=True))
        text = re.sub(rf"`({names})`", lambda found: options[found[1]].opts[0], text)
        value = r"(?:'(?P<quoted>[^']+)'|(?P<plain>\d+(?:[,_]\d{3})+|[-\w.]*\w))?(?![\w\[({'])"
        text = re.sub(rf"(?<![\w./=-])({names})={value}", lambda found: _written(options[found[1]], found), text)
    return _CALL.sub(lambda found: f"`daskaug {_WITHIN.get(str(command.name), found[1])}`", text)


def _written(option: Any, found: re.Match[str]) -> str:
    name: str = option.opts[0]
    if found["plain"] in (None, "True", "None") and found["quoted"] is None:
        return name
    if found["plain"] == "False" and option.secondary_opts:
        return str(option.secondary_opts[0])
    value = found["quoted"] or found["plain"]
    if option.name in _IN_GIGABYTES and re.fullmatch(r"[\d_,]+", value):
        value = f"{math.ceil(int(value.replace(',', '')) / 1e6) / 1e3:g}"
    return f"{name} {value}"
