"""Compile the common kernels ahead of their first use, or load them from the cache on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from daskaug.kernels import content, images, matrices, moments, philox


def _moments() -> None:
    moments.integer_moments(np.zeros((1, 1, 1, 3), np.uint8))
    moments.float_leaves(np.zeros((1, 1, 1, 3), np.float32))
    content.row_hashes(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1, np.int64))


_STEPS: dict[str, Callable[[], object]] = {
    "random numbers": philox.warm,
    "matrices": matrices.warm,
    "images": images.warm,
    "rounding": lambda: images.round_to_integer(np.zeros(1, np.float32), np.uint8),
    "statistics": _moments,
}


def warm() -> Iterator[tuple[str, float]]:
    """What fitting, streaming and materialising images of 8 bits and of float32 need.

    Yields
    ------
    name, seconds : str, float
        What has just been compiled or loaded, and how long that took. The first one includes loading numba.
    """
    for name, step in _STEPS.items():
        began = time.perf_counter()
        step()
        yield name, time.perf_counter() - began
