"""Tasks on the blocks of a dask graph, as part of that graph."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dask.base
from dask.delayed import delayed

from daskaug.sources.base import BlockReader


def values(
    function: Callable[..., Any],
    tasks: list[tuple[BlockReader, tuple[Any, ...]]],
    name: str,
    body: Callable[..., Any],
) -> list[Any]:
    """The results of tasks as values that dask can compute.

    Parameters
    ----------
    function, tasks, name
        As of :meth:`daskaug.execution.Executor.run_graph`.
    body : callable
        Of the tasks: :func:`daskaug.execution.bodies.call_on_parts`, or one like it.
    """
    run = delayed(body, pure=False)
    shared = delayed(function, name=f"{name}-function-{uuid.uuid4().hex}", traverse=False)
    return [
        run(shared, reader.assembly(), reader.parts(), args, dask_key_name=f"{name}-{uuid.uuid4().hex}")
        for reader, args in tasks
    ]


def run_on_threads(results: list[Any], threads: int) -> Iterator[Any]:
    """Compute all of them on threads of this process."""
    yield from dask.base.compute(*results, scheduler="threads", num_workers=threads)
