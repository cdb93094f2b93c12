"""Writing a materialised store, shard by shard."""

from __future__ import annotations

import os
from typing import Any

from daskaug.errors import StoreError
from daskaug.execution import current_executor
from daskaug.materialize.appending import append as append_rows
from daskaug.materialize.filling import Filling, Report
from daskaug.materialize.job import Job
from daskaug.materialize.place import Place, StoreLike
from daskaug.materialize.planning import refuse_misfit
from daskaug.progress import Progress, check_progress

__all__ = ["Job", "Report", "materialize"]


def materialize(
    job: Job,
    store: StoreLike | Place,
    *,
    codec: Any = None,
    storage_options: dict[str, Any] | None = None,
    recheck: bool = False,
    append: bool = False,
    progress: Progress = None,
) -> Report:
    """Write what is not there yet; see :meth:`daskaug.ImageDataGenerator.materialize`.

    Parameters
    ----------
    job : Job
    store : path, URL or Zarr store
    codec : str or Zarr codec, optional
    storage_options : dict, optional
        For a URL: what its file system needs.
    recheck : bool
        Read every shard that is there, and redo those whose content is not what was written.
    append : bool
        The store was made of the first rows of the source: write the others too.
    progress : bool or callable, optional
        True: show it; or ``progress(rows done, rows in all)``.

    Raises
    ------
    StoreError
        Where the store holds something else, or cannot be written to.
    """
    check_progress(progress)
    place = Place.of(store, storage_options)
    executor = current_executor()
    if executor.is_remote and place.is_in_memory:
        raise StoreError(
            f"{place} lies in the memory of this process, and the tasks run on {executor.description}, which cannot "
            "see it. Choose a place that all workers see, or close the client."
        )
    source = os.path.abspath(job.source.locator.removeprefix("file://"))
    target = None if place.plain is None else os.path.abspath(place.plain)
    if target is not None and source in (target, f"{target}/images"):
        raise StoreError(f"{place} is where the images come from. Choose another place for what is made of them.")
    filling = Filling(job, place, codec, recheck, progress)
    refuse_misfit(job, place, codec=codec, append=append)
    return append_rows(filling) if append else filling.run()
