"""What a task does, wherever it runs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from daskaug import stopping
from daskaug.execution.blas import single_threaded_blas
from daskaug.sources.base import BlockReader


def call(
    function: Callable[..., Any],
    reader: BlockReader,
    args: tuple[Any, ...],
    is_given_up: Callable[[], bool] = lambda: False,
) -> Any:
    """Body of a task: load the block and work on it; an error says which rows it was about.

    A function with a true attribute `uses_blas` runs with one BLAS thread: the executor's own threads are enough.

    Raises
    ------
    GivenUp
        Soon after `is_given_up` comes true.
    """
    try:
        with stopping.watched(is_given_up), _blas_for(function):
            stopping.check()
            block = reader.load()
            stopping.check()
            return function(block, *args)
    except Exception as error:
        error.add_note(f"This happened in a daskaug task on {reader!r}.")
        raise


def _blas_for(function: Callable[..., Any]) -> contextlib.AbstractContextManager[Any]:
    return single_threaded_blas() if getattr(function, "uses_blas", False) else contextlib.nullcontext()


def as_loaded(block: Any) -> Any:
    """What a task works with that only reads."""
    return block


def call_on_parts(
    function: Callable[..., Any],
    assembly: Callable[[list[Any]], Any],
    parts: list[Any],
    args: tuple[Any, ...],
    is_given_up: Callable[[], bool] = lambda: False,
) -> Any:
    """Body of a task on blocks of a graph, which dask has computed."""
    return call(function, ComputedReader(assembly, parts), args, is_given_up)


@dataclasses.dataclass(frozen=True, eq=False)
class ComputedReader(BlockReader):
    """Rows that are put together from computed blocks of a graph."""

    assemble: Callable[[list[Any]], Any]
    computed: list[Any]

    def load(self) -> Any:
        """See :meth:`BlockReader.load`."""
        return self.assemble(self.computed)

    def __repr__(self) -> str:
        return repr(self.assemble)
