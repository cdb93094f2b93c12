"""Bodies of tasks on a cluster: they break off when nobody wants their result any more, and may be measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import distributed

from daskaug.execution.bodies import call, call_on_parts
from daskaug.execution.metrics import measured
from daskaug.stopping import GivenUp


class Bodies(NamedTuple):
    """What a cluster's tasks call, with the arguments of the functions in :mod:`daskaug.execution.bodies`."""

    call: Callable[..., Any]
    call_on_parts: Callable[..., Any]


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
    """Asks whether the scheduler has told this worker to drop the task that this thread is about.

    In an executor other than distributed's own threads (another process, say) the worker is out of reach, and the task
    goes on to its end.
    """
    try:
        worker = distributed.get_worker()
    except ValueError:
        return lambda: False
    key, tasks = worker.get_current_task(), worker.state.tasks

    def is_dropped() -> bool:
        task = tasks.get(key)
        return task is None or task.state == "cancelled"

    return is_dropped


def _measured_call(*args: Any) -> Any:
    with measured(tells=False):
        return call_there(*args)


def _measured_call_on_parts(*args: Any) -> Any:
    with measured(tells=False):
        return call_on_parts_there(*args)


def _telling_call(*args: Any) -> Any:
    with measured(tells=True):
        return call_there(*args)


def _telling_call_on_parts(*args: Any) -> Any:
    with measured(tells=True):
        return call_on_parts_there(*args)


PLAIN = Bodies(call_there, call_on_parts_there)
MEASURED = Bodies(_measured_call, _measured_call_on_parts)
"""For distributed's fine performance metrics."""

TELLING = Bodies(_telling_call, _telling_call_on_parts)
"""For those and for our page."""
