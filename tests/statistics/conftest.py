from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_digits


def _tiles(pictures: list[np.ndarray], size: int) -> np.ndarray:
    """Cut photographs (h, w, 3) into (n, size, size, 3)."""
    cut = []
    for picture in pictures:
        rows, columns = picture.shape[0] // size, picture.shape[1] // size
        grid = picture[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
        cut.append(grid.swapaxes(1, 2).reshape(-1, size, size, 3))
    return np.concatenate(cut)


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Photographs, each (h, w, 3) uint8."""
    return [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]


@pytest.fixture(scope="session")
def tiles(photographs: list[np.ndarray]) -> np.ndarray:
    """Tiles of the photographs, (n, 32, 32, 3) uint8."""
    return _tiles(photographs, 32)


@pytest.fixture(scope="session")
def small_tiles(photographs: list[np.ndarray]) -> np.ndarray:
    """Tiles of the photographs, (n, 8, 8, 3) uint8."""
    return _tiles(photographs, 8)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """scikit-learn's handwritten digits, (1797, 8, 8, 1) uint8, grey levels 0 to 16."""
    return load_digits().images.astype(np.uint8)[..., None]
