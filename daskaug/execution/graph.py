"""Tasks on the blocks of a dask graph, as part of that graph."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dask.base
from dask.delayed import delayed

from daskaug.execution.bodies import call_on_parts
from daskaug.sources.base import BlockReader


def values(function: Callable[..., Any], tasks: list[tuple[BlockReader, tuple[Any, ...]]], name: str) -> list[Any]:
    """The results of tasks as values that dask can compute."""
    body = delayed(call_on_parts, pure=False)
    shared = delayed(function, name=f"{name}-function-{uuid.uuid4().hex}", traverse=False)
    return [
        body(shared, reader.assembly(), reader.parts(), args, dask_key_name=f"{name}-{uuid.uuid4().hex}")
        for reader, args in tasks
    ]


def run_on_threads(results: list[Any], threads: int) -> Iterator[Any]:
    """Compute all of them on threads of this process."""
    yield from dask.base.compute(*results, scheduler="threads", num_workers=threads)
