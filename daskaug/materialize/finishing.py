"""What is looked at before a store is said to be complete."""

from __future__ import annotations

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.errors import StoreError
from daskaug.materialize.copies import Balanced, classes_of
from daskaug.materialize.job import Job
from daskaug.materialize.layout import SOURCE_HASH
from daskaug.materialize.place import Place
from daskaug.materialize.shard_task import array_of
from daskaug.statistics import Content

SLAB_ROWS = 2**20
"""Rows whose columns are read together."""


def check_counts(group: zarr.Group, job: Job, place: Place) -> None:
    """Count the rows of each epoch and, where classes are balanced, of each class in it.

    Raises
    ------
    StoreError
        Where there are more or fewer than there should be.
    """
    layout = job.layout
    epochs = np.zeros(layout.epochs, np.int64)
    classes: NDArray[np.int64] | None = None
    per_class = None
    if isinstance(job.copies, Balanced):
        classes = classes_of(job.columns.y)
        per_class = np.zeros((layout.epochs, int(classes.max()) + 1), np.int64)
    for start in range(0, layout.rows, SLAB_ROWS):
        rows = slice(start, min(start + SLAB_ROWS, layout.rows))
        epoch = np.asarray(array_of(group, "epoch")[rows])
        epochs += np.bincount(epoch, minlength=layout.epochs)
        if classes is not None and per_class is not None:
            np.add.at(per_class, (epoch, classes[np.asarray(array_of(group, "source_row")[rows])]), 1)
    if (epochs != layout.n).any():
        raise StoreError(f"{place} should have {layout.n} images of each epoch, and has {epochs.tolist()}.")
    if per_class is not None and isinstance(job.copies, Balanced) and (per_class != job.copies.largest).any():
        raise StoreError(
            f"{place} should have {job.copies.largest} images of each class in each epoch, and has "
            f"{per_class.tolist()}."
        )


def content_of_source(group: zarr.Group, job: Job) -> Content:
    """What the source held, as the hashes say that were taken while it was read."""
    shape, dtype = job.source.shape[1:], job.source.dtype.name
    content, last = Content.identity(shape, dtype), job.first_row - 1
    for start in range(0, job.layout.n, SLAB_ROWS):
        rows = slice(start, min(start + SLAB_ROWS, job.layout.n))
        numbers = np.asarray(array_of(group, "source_row")[rows])
        first = np.flatnonzero(np.diff(numbers, prepend=last))  # of the copies of a row that lie side by side
        hashes = np.asarray(array_of(group, SOURCE_HASH)[rows])[first]
        if len(first):
            content = content.merge(Content.of_hashes(hashes, int(numbers[first[0]]), shape, dtype))
        last = int(numbers[-1])
    return content
