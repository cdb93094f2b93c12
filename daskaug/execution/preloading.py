"""What a scheduler and its workers do about daskaug when they start. Imported only where distributed already is."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import dask.config
import distributed
from distributed.diagnostics.plugin import SchedulerPlugin

from daskaug.dashboard.plugin import DashboardPlugin, is_wanted
from daskaug.execution.agreement import FACTS, differences, facts
from daskaug.execution.blas import single_threaded_blas

log = logging.getLogger("daskaug")

ROUTES = "distributed.scheduler.http.routes"
"""Modules that a scheduler imports just before it makes its dashboard."""

PAGE = "daskaug.dashboard.routes"

_held: dict[int, contextlib.ExitStack] = {}


def announce_page() -> None:
    """Have the schedulers that this process will start make their dashboards with our page in it."""
    routes = list(dask.config.get(ROUTES, []))
    if is_wanted() and PAGE not in routes:
        dask.config.set({ROUTES: [*routes, PAGE]})


class JoiningWorkers(SchedulerPlugin):
    """Compares each preloaded worker that joins with the scheduler, and says in its log where versions differ."""

    name = "daskaug-joining-workers"

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Called by the scheduler."""
        told = scheduler.workers[worker].extra.get(FACTS)
        if not isinstance(told, dict):
            return
        serious, slight = differences(told["versions"], facts()["versions"])
        for level, found in ((logging.ERROR, serious), (logging.WARNING, slight)):
            if found:
                log.log(level, "Worker %s on %s differs from the scheduler: %s", worker, told["host"], ", ".join(found))


def is_worker(service: Any) -> bool:
    """Whether it is a worker that is being started, and not a scheduler or a nanny."""
    return isinstance(service, distributed.Worker)


def set_up(service: Any) -> None:
    """Have a worker tell its versions and hold BLAS to one thread, or a scheduler look at workers that join.

    Parameters
    ----------
    service : distributed.Worker, distributed.Scheduler or distributed.Nanny
        Nothing is done for the last one.
    """
    if isinstance(service, distributed.Scheduler):
        service.add_plugin(JoiningWorkers(), name=JoiningWorkers.name)
        if is_wanted():
            page = DashboardPlugin()
            page.begin(service)
            service.add_plugin(page, name=page.name)
    elif is_worker(service):
        # The worker's threads are enough; a limit for each task would be set and lifted all the time.
        held = _held[id(service)] = contextlib.ExitStack()
        held.enter_context(single_threaded_blas())
        own = facts()
        service.startup_information[FACTS] = lambda _: own


def tear_down(service: Any) -> None:
    """Give BLAS its threads back: a worker may be a thread of somebody's process."""
    held = _held.pop(id(service), None)
    if held is not None:
        held.close()
