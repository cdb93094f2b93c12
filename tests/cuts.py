"""Images that a fit reads in blocks of any sizes, and the fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskaug import ImageDataGenerator, Statistics
from daskaug.planning.blocks import Plan
from daskaug.sources.base import Source
from tests import pictures

N = 173
"""Images that :func:`chunkings` cuts."""


class Cut(Source):
    """Images in memory that a plan cuts at given places, as if they lay in chunks of such sizes."""

    locator = "images cut for a test"
    natural_rows = 1

    def __init__(self, x: NDArray, cuts: tuple[int, ...]) -> None:
        self._x, self._cuts = x, cuts
        self.shape, self.dtype = x.shape, x.dtype

    def read(self, start: int, stop: int) -> NDArray:
        return self._x[start:stop]

    def plan(self, start: int, stop: int, target_nbytes: int = 0) -> Plan:
        return Plan(start, stop, cuts=tuple(cut for cut in self._cuts if start < cut < stop))


def chunkings(number: int) -> list[tuple[int, ...]]:
    state = np.random.RandomState(11)
    return [
        tuple(sorted(state.choice(np.arange(1, N), state.randint(1, 40), replace=False).tolist()))
        for _ in range(number)
    ]


def both_kinds() -> dict[str, NDArray]:
    """N tiles of photographs, by their dtype: one that is summed exactly, and one that is not."""
    x = pictures.tiles(16, N)
    return {"uint8": x, "float32": np.sqrt(x).astype(np.float32)}


def fit(x: object, **options) -> Statistics:
    statistics = ImageDataGenerator(featurewise_center=True).fit(x, **options).statistics
    assert statistics is not None
    return statistics
