"""How work is run: on the active distributed client where there is one, otherwise on threads of this process."""

from __future__ import annotations

from daskaug.execution.blas import single_threaded_blas
from daskaug.execution.bodies import as_loaded
from daskaug.execution.current import check_workers, current_executor
from daskaug.execution.executor import Executor, Pending, run_ordered, threads_executor
from daskaug.execution.following import NOBODY, Follower, followed

__all__ = [
    "NOBODY",
    "Executor",
    "Follower",
    "Pending",
    "as_loaded",
    "check_workers",
    "current_executor",
    "followed",
    "run_ordered",
    "single_threaded_blas",
    "threads_executor",
]
