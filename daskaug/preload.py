"""Have a dask worker compile the kernels when it starts, instead of in its first task.

Either ``dask worker --preload daskaug.preload ...``, or, before the cluster is made,
``dask.config.set({"distributed.worker.preload": ["daskaug.preload"]})``. The cache on disk is shared by all workers
that see the same folder (``DASKAUG_CACHE_DIR``); those that start with an empty one each compile, side by side.
"""

from __future__ import annotations

import logging

from daskaug.kernels.warming import warm

_logger = logging.getLogger(__name__)


def dask_setup(worker: object) -> None:
    """Compile, or load from the cache on disk; dask calls it before the worker takes its first task.

    Parameters
    ----------
    worker : distributed.Worker
        Not used.
    """
    seconds = sum(seconds for _, seconds in warm())
    _logger.info("daskaug's kernels are ready, after %.2f s", seconds)
