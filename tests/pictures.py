"""Real images for the tests: what ships inside scikit-learn and scikit-image."""

from __future__ import annotations

import functools

import numpy as np

from daskaug import demo


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8, 1) uint8 and the labels."""
    images, labels = demo.load_digits()
    images.flags.writeable = False
    return images, labels


@functools.cache
def photographs() -> list[np.ndarray]:
    """Some (h, w, 3) uint8."""
    from skimage import data

    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]


@functools.cache
def tiles(size: int = 32, limit: int = 200) -> np.ndarray:
    """(n, size, size, 3) uint8 tiles of photographs, shuffled once and for all, read-only."""
    cut = np.concatenate([demo.tiles_of(photograph, size) for photograph in photographs()])
    chosen = cut[np.random.RandomState(0).permutation(len(cut))[:limit]]
    chosen.flags.writeable = False
    return chosen
