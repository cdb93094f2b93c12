"""Bodies of tasks on a cluster, which break off when nobody wants their result any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distributed

from daskaug.execution.bodies import call, call_on_parts
from daskaug.stopping import GivenUp


def call_there(function: Callable[..., Any], reader: Any, args: tuple[Any, ...]) -> Any:
    """See :func:`daskaug.execution.bodies.call`."""
    try:
        return call(function, reader, args, _whether_dropped())
    except GivenUp:
        # Nothing for a log. Should somebody want the same task again by now, it is run again.
        raise distributed.Reschedule from None


def call_on_parts_there(
    function: Callable[..., Any], assembly: Callable[[list[Any]], Any], parts: list[Any], args: tuple[Any, ...]
) -> Any:
    """See :func:`daskaug.execution.bodies.call_on_parts`."""
    try:
        return call_on_parts(function, assembly, parts, args, _whether_dropped())
    except GivenUp:
        raise distributed.Reschedule from None


def _whether_dropped() -> Callable[[], bool]:
    """Asks whether the scheduler has told this worker to drop the task that this thread is about."""
    worker = distributed.get_worker()
    key, tasks = worker.get_current_task(), worker.state.tasks

    def is_dropped() -> bool:
        task = tasks.get(key)
        return task is None or task.state == "cancelled"

    return is_dropped
