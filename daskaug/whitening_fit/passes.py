"""A pass over the images that are whitened: which rows a task reads, and what it makes of them first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.execution import Executor, run_ordered
from daskaug.progress import Tell
from daskaug.sources import BlockReader, Source
from daskaug.statistics.whitening.plan import PASS_NBYTES
from daskaug.statistics.whitening.samples import BAND_FEATURES
from daskaug.transforms.block import BlockTransform

FEWEST_ROWS = 64
"""Images below which adding up the results would take longer than computing them."""

Keys = tuple[Any, int]
"""Sample ids and epoch: what the draws of some images depend on."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Consecutive rows of the source in one epoch."""

    start: int
    stop: int
    epoch: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """What is fitted on.

    Attributes
    ----------
    source : Source
    rows : (start, stop)
    ids : (n,) integers
        Sample ids of all rows of the source.
    rounds : int
        Epochs.
    dtype : numpy.dtype
        Of what is fitted on.
    transform : BlockTransform or None
        What is done to the images first.
    memory : int
        Bytes that the images of all tasks may take in a pass.
    """

    source: Source
    rows: tuple[int, int]
    ids: Any
    rounds: int
    dtype: np.dtype[Any]
    transform: BlockTransform | None = None
    memory: int = 0

    def __len__(self) -> int:
        return (self.rows[1] - self.rows[0]) * self.rounds

    @property
    def features(self) -> int:
        """Values of an image."""
        return int(np.prod(self.source.shape[1:]))

    def cut(self, length: int) -> list[Rows]:
        """All of them, at most `length` at a time; chunks are left whole where they are not longer."""
        natural = self.source.natural_rows
        step = max(1, length - length % natural if length >= natural else length)
        start, stop = self.rows
        return [
            Rows(max(first, start), min(first + step, stop), epoch)
            for epoch in range(self.rounds)
            for first in range(start - start % step, stop, step)
        ]

    def stretches(self, executor: Executor) -> list[Rows]:
        """All of them, cut for one pass: few enough for a task that everybody has something to do."""
        fair = -(-len(self) // (2 * executor.parallelism))
        growth = 0.0 if self.transform is None else self.dtype.itemsize / self.source.dtype.itemsize
        # An image as it is read and decoded, what it is transformed to, and a band of it in floats.
        row = 2 * self.source.row_nbytes * (1 + growth) + np.dtype(np.float64).itemsize * BAND_FEATURES
        most = min(self.memory // (executor.parallelism * row), PASS_NBYTES // self.source.row_nbytes)
        return self.cut(max(1, min(int(most), max(fair, FEWEST_ROWS))))

    def reader(self, rows: Rows) -> BlockReader:
        """What a task needs for some of them."""
        return self.source.reader(rows.start, rows.stop)

    def keys(self, rows: Rows) -> Keys:
        """What the draws of some of them depend on."""
        return self.ids[rows.start : rows.stop], rows.epoch


@dataclasses.dataclass(frozen=True, eq=False)
class PassTask:
    """What the tasks of a pass have in common."""

    transform: BlockTransform | None
    uses_blas = True

    def see(self, block: NDArray[Any], keys: Keys) -> NDArray[Any]:
        """A block as it is fitted on."""
        return block if self.transform is None else self.transform(block, *keys)


def run_pass(
    executor: Executor, task: Callable[..., Any], tasks: Iterable[tuple[BlockReader, tuple[Any, ...]]]
) -> Iterator[Any]:
    """Results in the order of the tasks. Each is large, so few of them may wait."""
    return run_ordered(executor, task, tasks, name="daskaug-zca", window=executor.parallelism + 1)


class Count:
    """Images seen, over all passes. The first pass is over when this begins."""

    def __init__(self, progress: Tell | None, samples: int, passes: int) -> None:
        self._progress, self._done, self._all = progress, samples, samples * passes

    def add(self, images: int) -> None:
        """Tell that so many more were seen."""
        self._done += images
        if self._progress is not None:
            self._progress(min(self._done, self._all), self._all)
