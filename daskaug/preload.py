"""Prepare scheduler and workers of a dask cluster for daskaug, when they start.

``dask scheduler --preload daskaug.preload`` and ``dask worker --preload daskaug.preload ...``; or, before the cluster
is made, ``dask.config.set({"distributed.worker.preload": ["daskaug.preload"]})``, and the same for
``distributed.scheduler.preload``.

A worker compiles the kernels, instead of in its first task, limits BLAS to one thread, and tells the scheduler its
versions. The cache of kernels on disk is shared by all workers that see the same folder (``DASKAUG_CACHE_DIR``); those
that start with an empty one each compile, side by side. A scheduler compares workers that join with itself, and
has daskaug's page in its dashboard (:mod:`daskaug.dashboard`) unless ``daskaug.dashboard`` is false. Clients compare
all of them with themselves, and try whether workers can open source and target, preloaded or not.
"""

from __future__ import annotations

import logging
from typing import Any

from daskaug.execution import preloading
from daskaug.kernels.warming import warm

_logger = logging.getLogger(__name__)

preloading.announce_page()


def dask_setup(service: Any) -> None:
    """Called by dask before a worker takes its first task, or a scheduler its first worker.

    Parameters
    ----------
    service : distributed.Worker or distributed.Scheduler
    """
    preloading.set_up(service)
    if preloading.is_worker(service):
        seconds = sum(seconds for _, seconds in warm())
        _logger.info("daskaug's kernels are ready, after %.2f s", seconds)


def dask_teardown(service: Any) -> None:
    """Called by dask at the end."""
    preloading.tear_down(service)
