"""Crops of real photographs, in memory."""

from __future__ import annotations

import numpy as np

from daskaug.demo import load_photographs

NUMBER = {32: 4096, 96: 1024, 224: 256, 512: 64}
"""Images of each size; all in all about 50 MB, so that no processor's cache holds them."""


def photograph_crops(n: int, size: int) -> np.ndarray:
    """`n` crops of photographs, some of them mirrored: (n, size, size, 3) uint8, always the same."""
    photographs = [photograph for photograph in load_photographs() if min(photograph.shape[:2]) >= size]
    state = np.random.RandomState(0)
    crops = np.empty((n, size, size, 3), np.uint8)
    for crop in crops:
        photograph = photographs[state.randint(len(photographs))]
        y, x = (state.randint(extent - size + 1) for extent in photograph.shape[:2])
        cut = photograph[y : y + size, x : x + size]
        crop[...] = cut[:, ::-1] if state.randint(2) else cut
    return crops
