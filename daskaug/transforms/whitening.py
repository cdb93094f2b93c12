"""Applying ZCA whitening: by its factors where that is cheaper, by the matrix where that is."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LARGEST_MATRIX = 2**30
"""Bytes in float64 up to which the (d, d) matrix itself is made."""


class Directions(Protocol):
    """Orthonormal directions that lie somewhere else and are fetched by every process that needs them."""

    @property
    def shape(self) -> tuple[int, int]:
        """(d, rank)."""

    def load(self) -> NDArray[Any]:
        """The directions, (d, rank) float; read once by a process, and not to be written to."""


def uses_factors(features: int, rank: int) -> bool:
    """Whether two products with the factors take less work than one with the matrix, or the matrix is out of reach."""
    return 2 * rank < features or not allows_matrix(features)


def allows_matrix(features: int) -> bool:
    """Whether a matrix of these features is small enough to be made."""
    return 8 * features * features <= LARGEST_MATRIX


def flops_of_applying(features: int, rank: int) -> int:
    """Additions and multiplications for one image."""
    return 4 * features * rank if uses_factors(features, rank) else 2 * features * features


@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """The map x → U · diag(scale) · Uᵀ · x of flattened images.

    Parameters
    ----------
    directions : (d, rank) array or Directions
        U itself, or where it lies.
    scale : (rank,) float64
    """

    directions: NDArray[Any] | Directions
    scale: NDArray[np.float64]

    @property
    def features(self) -> int:
        """Length d of a flattened image."""
        return int(self.directions.shape[0])

    @property
    def rank(self) -> int:
        """Number of directions."""
        return int(self.directions.shape[1])

    def load(self) -> NDArray[Any]:
        """The directions, (d, rank) float."""
        return self.directions if isinstance(self.directions, np.ndarray) else self.directions.load()

    def matrix(self) -> NDArray[np.float64]:
        """Multiply the factors out: (d, d) float64, computed anew by each call."""
        # Not U · (scale · Uᵀ): the product of an array with its own transpose is symmetric to the last bit.
        root = self.load() * np.sqrt(self.scale)
        matrix: NDArray[np.float64] = root @ root.T
        return matrix


class Whitener:
    """Whitening in one dtype, ready to be applied.

    Parameters
    ----------
    whitening : Factors or (d, d) array
    dtype : numpy.dtype
        float32 or float64.
    """

    def __init__(self, whitening: Factors | NDArray[Any], dtype: np.dtype[Any]) -> None:
        self._factors: tuple[NDArray[Any], NDArray[Any]] | None = None
        if isinstance(whitening, Factors) and uses_factors(whitening.features, whitening.rank):
            self._factors = whitening.load().astype(dtype, copy=False), whitening.scale.astype(dtype)
        else:
            matrix = whitening.matrix() if isinstance(whitening, Factors) else whitening
            self._matrix = matrix.astype(dtype)

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        """Whiten images (b, ...) of this dtype, standardised as far as that comes before; returns another array."""
        flat = block.reshape(len(block), -1)
        if self._factors is None:
            product = flat @ self._matrix
        else:
            directions, scale = self._factors
            coordinates = flat @ directions
            coordinates *= scale
            product = coordinates @ directions.T
        whitened: NDArray[Any] = product.reshape(block.shape)
        return whitened
