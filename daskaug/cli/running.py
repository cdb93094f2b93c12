"""What commands have in common: how errors are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def reported(command: str) -> Iterator[None]:
    """An error as one paragraph, and exit code 1; of what nobody foresaw, the kind of error and the task too."""
    from daskaug.cards.escaping import as_text
    from daskaug.errors import DaskaugError

    try:
        yield
    except (typer.Exit, typer.Abort):  # on purpose
        raise
    except Exception as error:
        kind = "" if isinstance(error, DaskaugError | OSError) else f"{type(error).__name__}: "
        told = " ".join([str(error), *getattr(error, "__notes__", ())])
        typer.echo(f"daskaug {command}: {kind}{as_text(' '.join(told.split()))}", err=True)
        raise typer.Exit(1) from error
