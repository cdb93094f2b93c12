"""What a fit of ZCA whitening comes to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.transforms.whitening import Directions, Factors

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitening:
    """A ZCA matrix U · diag(scale) · Uᵀ, kept as its factors.

    Parameters
    ----------
    directions : (d, rank) array or Directions
        Orthonormal directions, largest variance first; a direction runs over the pixels of an image in its own layout.
        Many of them lie in a Zarr array, in float32.
    scale : (rank,) float64
        √n / (s + ε) of each direction, s the singular values of the centred data.
    epsilon : float
        The ε of that formula (``zca_epsilon``).
    route : str
        How it was computed: ``"features"``, ``"samples"`` or ``"randomized"``; ``"svd"`` for Keras' own way.
    captured : float
        Share of the variance about the channel mean that lies in these directions, 0 to 1.
    error : float
        Bound on the relative error of a direction's variance, by its residual; 0 for the routes that are exact but for
        rounding.

    References
    ----------
    Bell, Sejnowski, "The 'independent components' of natural scenes are edge filters", Vision Research 37 (1997), for
    ZCA; Keras 3.15, ``ImageDataGenerator.fit``, for √n / (s + ε).
    """

    directions: NDArray[Any] | Directions
    scale: Vector
    epsilon: float
    route: str = "features"
    captured: float = 1.0
    error: float = 0.0

    @property
    def u(self) -> NDArray[Any]:
        """The directions, (d, rank); read from their store where they lie in one."""
        return self.factors.load()

    @property
    def factors(self) -> Factors:
        """What applying needs."""
        return Factors(self.directions, self.scale)

    @property
    def features(self) -> int:
        """Length d of a flattened image."""
        return int(self.directions.shape[0])

    @property
    def rank(self) -> int:
        """Number of directions that were kept."""
        return int(self.directions.shape[1])

    def matrix(self) -> Matrix:
        """Multiply the factors out, anew by each call.

        Returns
        -------
        (d, d) float64
            U · diag(scale) · Uᵀ.
        """
        return self.factors.matrix()

    def truncated(self, rank: int, captured: float) -> Whitening:
        """The first `rank` directions, which hold this share of the variance."""
        if rank == self.rank:
            return self
        directions = np.ascontiguousarray(self.u[:, :rank])
        return dataclasses.replace(self, directions=directions, scale=self.scale[:rank], captured=captured)


def share(part: float, total: float) -> float:
    """A share of the variance; 1 where only noise of rounding is missing, or where nothing varies."""
    return min(part / total, 1.0) if total > 0 and part < total * (1 - 1e-12) else 1.0


def kept_directions(
    variances: Vector, total: float, samples: int, features: int, *, rank: int | None, fraction: float | None
) -> int:
    """How many of the directions are kept.

    Parameters
    ----------
    variances : (m,) float64
        n times the variance along each direction (squared singular values), descending.
    total : float
        Their sum over all directions, also those that are not among these.
    samples, features : int
        n and d.
    rank : int or None
        Keep at most so many.
    fraction : float or None
        Keep as few as hold this share of the variance.

    Notes
    -----
    Directions with s ≤ s_max · √(max(n, d) · 2⁻⁵²) are noise of rounding and are dropped in any case; Keras amplifies
    them.
    """
    if not len(variances) or not variances[0] > 0:
        return 0
    singular = np.sqrt(np.maximum(variances, 0.0))
    kept = int(np.count_nonzero(singular > singular[0] * np.sqrt(max(samples, features) * 2.0**-52)))
    if rank is not None:
        kept = min(kept, rank)
    if fraction is not None and fraction < 1:
        # A rounding error must not decide whether one more direction is needed.
        reached = np.cumsum(variances[:kept]) >= fraction * total * (1 - 1e-12)
        kept = int(np.argmax(reached)) + 1 if reached.any() else kept
    return kept


def scale_of(variances: Vector, samples: int, *, epsilon: float, rescale: float) -> Vector:
    """√n / (s·|rescale| + ε) of each direction, from its squared singular value s²."""
    return np.asarray(math.sqrt(samples) / (np.sqrt(np.maximum(variances, 0.0)) * abs(rescale) + epsilon), np.float64)


def spread(channels: Vector, image_shape: tuple[int, int, int], data_format: str) -> Vector:
    """One number for each channel (c,) as one for each value of a flattened image (d,)."""
    height, width = image_shape[:2] if data_format == "channels_last" else image_shape[1:]
    repeat = np.tile if data_format == "channels_last" else np.repeat
    return np.asarray(repeat(channels, height * width), np.float64)


def whitening_from_svd(flat: NDArray[Any], epsilon: float) -> Whitening:
    """Whitening from the centred images themselves, with every direction kept, as Keras does it.

    Parameters
    ----------
    flat : (n, d) float array
        Centred images, flattened.
    epsilon : float
        Added to the singular values.

    References
    ----------
    Keras 3.15, ``ImageDataGenerator.fit``.
    """
    u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
    scale = math.sqrt(len(flat)) / (s.astype(np.float64) + epsilon)
    return Whitening(u.astype(np.float64), scale, epsilon, route="svd")
