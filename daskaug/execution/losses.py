"""What is told when workers died of a task."""

from __future__ import annotations

from typing import Any

from daskaug.errors import DaskaugError, SourceError, StoreError
from daskaug.sources.base import BlockReader

_REMEDIES = {
    "daskaug-fit": "Pass a smaller `memory_budget`, or store the images in smaller chunks",
    "daskaug-materialize": "Pass smaller shards (`shard_rows`), or store the images in smaller chunks",
    "daskaug-flow": "Pass a smaller `batch_size`, or store the images in smaller chunks",
    "daskaug-fetch": "Pass a smaller `batch_size`, or store the images in smaller chunks",
}


class Work:
    """What a task was to do, kept until its result is there.

    Parameters
    ----------
    reader : BlockReader
    name : str
        Of the task in the dashboard.
    """

    def __init__(self, reader: BlockReader, name: str) -> None:
        self._name = name
        # Pixels that travel are not to be kept here as well.
        self._about: BlockReader | str = repr(reader) if reader.carried_nbytes else reader
        self._nbytes = reader.nbytes

    def error(self, killed: Any) -> DaskaugError:
        """What ``distributed.KilledWorker`` means for who asked for it.

        Parameters
        ----------
        killed : distributed.KilledWorker
            The scheduler has given the task to so many workers, and each of them died.

        Returns
        -------
        StoreError or SourceError
            The first while a store is written.
        """
        worker, deaths = killed.last_worker, killed.allowed_failures + 1
        size = "" if self._nbytes is None else f" ({self._nbytes:,} bytes decoded)"
        limit = int(getattr(worker, "memory_limit", 0) or 0)
        memory = f"a memory limit of {limit:,} bytes" if limit else "no memory limit"
        remedy = _REMEDIES.get(self._name, "Work on smaller blocks")
        kind = StoreError if self._name == "daskaug-materialize" else SourceError
        return kind(
            f"{deaths} workers died, one after the other, of a task on {self._about!s}{size}. The last one, "
            f"{worker.address}, has {memory} for {worker.nthreads} thread(s), and most likely needed more. {remedy}; "
            "or use fewer threads per worker, or give workers more memory (dask worker --memory-limit). The log of "
            "that worker may say more."
        )
