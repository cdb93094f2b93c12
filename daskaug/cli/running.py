"""What commands have in common: how errors and warnings are told, in the words of the command line."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

_OTHER_NAMES = {"storage_options": "storage_option", "zca_whitening": "zca"}
"""Arguments in Python that an option has another name for."""

_IN_GIGABYTES = {"memory_budget"}
"""Options in other units than the arguments, which are bytes."""

_VALUE = (
    r"(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|\((?P<several>[^()]*)\)|(?P<plain>\d+(?:[,_]\d{3})+|[-\w.]*\w))?"
    r"(?!\.\.\.|[\w\[({'\"/<])"
)

_CALL = re.compile(r"`?(?<![\w.])(fit|ingest|materialize|replay|verify)\((?:\.\.\.)?\)`?")

_running: list[Any] = []
"""The context of the command that runs; warnings may come from any thread."""


class Command(TyperCommand):
    """A command that tells errors as one paragraph, with exit code 1, and warnings as a line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        _running.append(ctx)
        try:
            with _told_warnings(), _reported(str(self.name)):
                return super().invoke(ctx)
        finally:
            _running.pop()


@contextlib.contextmanager
def _told_warnings() -> Iterator[None]:
    """Warnings without the code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"warning: {in_options(str(message))}", err=True)
        yield


@contextlib.contextmanager
def _reported(command: str) -> Iterator[None]:
    """Of an error that nobody foresaw its kind and the task are told too."""
    from daskaug.cards.escaping import as_text
    from daskaug.errors import DaskaugError

    try:
        yield
    except (typer.Exit, typer.Abort):  # on purpose
        raise
    except Exception as error:  # the outermost edge: a user gets a paragraph, and the kind of what nobody foresaw
        kind = "" if isinstance(error, DaskaugError | OSError) else f"{type(error).__name__}: "
        told = " ".join([str(error), *getattr(error, "__notes__", ())])
        typer.echo(f"daskaug {command}: {kind}{in_options(as_text(' '.join(told.split())))}", err=True)
        raise typer.Exit(1) from error


def in_options(text: str) -> str:
    """What is said of arguments in Python, said of options of the command that runs.

    ``on_error='skip'`` becomes ``--on-error skip``, an argument's name in backticks its option, and ``verify()``
    becomes ``daskaug verify``. What the user has written stays as it is.
    """
    if not _running:
        return text
    context = _running[-1]
    command = context.command
    options = {str(p.name): p for p in command.params if p.opts[0].startswith("--")}
    options |= {name: options[other] for name, other in _OTHER_NAMES.items() if other in options}
    own = sorted({word for word in map(str, _flat(context.params.values())) if re.search("[=`(]", word)}, key=len)
    for number, word in enumerate(reversed(own)):
        text = text.replace(word, f"\0{number}\0")
    if options:
        names = "|".join(sorted(options, key=len, reverse=True))
        text = re.sub(rf"`({names})`", lambda found: options[found[1]].opts[0], text)
        text = re.sub(rf"(?<![\w./=-])({names})={_VALUE}", lambda found: _written(options[found[1]], found), text)
    called = {("ingest", "materialize"): "ingest"}
    text = _CALL.sub(lambda found: f"`daskaug {called.get((str(command.name), found[1]), found[1])}`", text)
    text = text.replace("`recheck`", "--recheck")  # which commands speak of that do not have
    for number, word in enumerate(reversed(own)):
        text = text.replace(f"\0{number}\0", word)
    return text


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        yield from _flat(value) if isinstance(value, list | tuple) else (value,)


def _written(option: Any, found: re.Match[str]) -> str:
    name, plain = str(option.opts[0]), found["plain"]
    if plain in ("None", "False"):
        return str(option.secondary_opts[0]) if plain == "False" and option.secondary_opts else f"no {name}"
    quoted = next((found[kind] for kind in ("single", "double", "several") if found[kind] is not None), None)
    value = plain if quoted is None else quoted.replace(",", "") if found["several"] is not None else quoted
    if option.name in _IN_GIGABYTES and re.fullmatch(r"-?[\d_,.]+(e[-+]?\d+)?", value or ""):
        value = f"{math.ceil(float(value.replace(',', '')) / 1e6) / 1e3:g}"
    return name if value in (None, "", "True") else f"{name} {value}"
