"""ZCA whitening through the products of the samples with each other (n × n), for fewer samples than features.

With the centred images as the rows of X and X·Xᵀ = V·S²·Vᵀ, the directions are U = Xᵀ·V·S⁻¹: no d × d matrix appears.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskaug.statistics.whitening.factors import Matrix, Vector, kept_directions, share, spread

# A float32 sum of 1,024 products of values up to 128 stays within 2^24, so every step of the product is exact.
EXACT_FEATURES = 1024

# Features that are converted to floats at a time.
BAND_FEATURES = 4096

_SHIFTS = {"bool": 0, "int8": 0, "uint8": 128}


class Centre(NamedTuple):
    """What images are centred by.

    Attributes
    ----------
    mean : (c,) float64
        Of each channel.
    image_shape : tuple of int
        (h, w, c) or (c, h, w).
    data_format : str
    """

    mean: Vector
    image_shape: tuple[int, int, int]
    data_format: str

    @property
    def features(self) -> int:
        """Length d of a flattened image."""
        return math.prod(self.image_shape)

    @property
    def spread(self) -> Vector:
        """One number for each value of a flattened image, (d,) float64."""
        return spread(self.mean, self.image_shape, self.data_format)


def products_of_samples(a: NDArray[Any], b: NDArray[Any] | None, centre: Centre) -> Matrix:
    """Products of each image of one block with each of another, about the channel mean.

    Parameters
    ----------
    a : (m, ...) array
        Images of any real dtype.
    b : (k, ...) array of the same dtype, or None
        None: `a` with itself.
    centre : Centre

    Returns
    -------
    (m, k) float64
        For bool and 8-bit images sums of integers that are exact, moved to the mean afterwards; for others of
        centred float64 values.
    """
    flat = a.reshape(len(a), -1)
    other = None if b is None else b.reshape(len(b), -1)
    if a.dtype.name in _SHIFTS:
        return _exact_products(flat, other, centre, _SHIFTS[a.dtype.name])
    mean = centre.spread
    products = np.zeros((len(flat), len(flat if other is None else other)))
    for start in range(0, flat.shape[1], BAND_FEATURES):
        band = slice(start, start + BAND_FEATURES)
        left = flat[:, band].astype(np.float64)
        left -= mean[band]
        # NumPy sees that both factors are one array and computes half of the product (BLAS syrk).
        right = left
        if other is not None:
            right = other[:, band].astype(np.float64)
            right -= mean[band]
        products += left @ right.T
    return products


def _exact_products(a: NDArray[Any], b: NDArray[Any] | None, centre: Centre, shift: int) -> Matrix:
    """a : (m, d), b : (k, d) 8-bit.  Exact products about `shift`, then about the mean."""
    channels = len(centre.mean)
    products = np.zeros((len(a), len(a if b is None else b)))
    sums_a, sums_b = np.zeros((len(a), channels)), np.zeros((products.shape[1], channels))
    # (d, c) of zeros and ones: which channel a value belongs to
    belongs = np.stack([spread(row, centre.image_shape, centre.data_format) for row in np.eye(channels)], axis=1)
    belongs = belongs.astype(np.float32)
    for start in range(0, a.shape[1], EXACT_FEATURES):
        band = slice(start, start + EXACT_FEATURES)
        left = a[:, band].astype(np.float32)
        left -= np.float32(shift)
        sums_a += left @ belongs[band]
        if b is None:
            products += left @ left.T
            continue
        right = b[:, band].astype(np.float32)
        right -= np.float32(shift)
        sums_b += right @ belongs[band]
        products += left @ right.T
    if b is None:
        sums_b = sums_a
    pixels = a.shape[1] // channels
    # First to the nearest integers, which rounds nothing, so that no digits cancel in the second step.
    whole = np.round(centre.mean) - shift
    products = _moved(products, sums_a, sums_b, whole, pixels)
    rest = centre.mean - shift - whole
    return _moved(products, sums_a - pixels * whole, sums_b - pixels * whole, rest, pixels)


def _moved(products: Matrix, a: Matrix, b: Matrix, offset: Vector, pixels: int) -> Matrix:
    """Products about another centre: `offset` (c,) is subtracted from every pixel.  a, b : (m, c), (k, c) sums."""
    products -= (a @ offset)[:, np.newaxis]
    products -= (b @ offset - pixels * float(offset @ offset))[np.newaxis]
    return products


class Spectrum(NamedTuple):
    """The directions as seen from the samples.

    Attributes
    ----------
    variances : (k,) float64
        n times the variance along each kept direction, descending.
    weights : (n, k) float64
        U = Xᵀ · weights.
    captured : float
        Share of the variance in the kept directions.
    """

    variances: Vector
    weights: Matrix
    captured: float


def spectrum_of_samples(products: Matrix, features: int, *, rank: int | None, fraction: float | None) -> Spectrum:
    """Decompose the products of all samples.

    Parameters
    ----------
    products : (n, n) float64
        About the channel mean, symmetric.
    features : int
        d.
    rank, fraction
        As for :func:`~daskaug.statistics.whitening.factors.kept_directions`.
    """
    from scipy.linalg import eigh

    samples = len(products)
    total = float(np.trace(products))
    options: dict[str, Any] = {"driver": "evd"}
    if rank is not None and rank < samples // 4 and fraction is None:
        options = {"driver": "evr", "subset_by_index": (samples - rank, samples - 1)}
    eigenvalues, vectors = eigh(products.T, check_finite=False, **options)
    variances = eigenvalues[::-1]
    kept = kept_directions(variances, total, samples, features, rank=rank, fraction=fraction)
    variances = variances[:kept]
    weights = np.ascontiguousarray(vectors[:, ::-1][:, :kept])
    weights /= np.sqrt(variances)
    # Rounding leaves weak directions a little oblique to strong ones; one step of Newton's straightens them.
    gram = weights.T @ (products @ weights)
    weights = weights @ (1.5 * np.eye(kept) - 0.5 * gram)
    return Spectrum(variances, weights, share(float(variances.sum()), total))


def weighted_images(block: NDArray[Any], weights: Matrix, centre: Centre, features: slice) -> Matrix:
    """What a block adds to some rows of U.

    Parameters
    ----------
    block : (b, ...) array
    weights : (b, k) float64
        Of these images.
    centre : Centre
    features : slice
        Which rows of U.

    Returns
    -------
    (rows, k) float64
    """
    flat, mean = block.reshape(len(block), -1)[:, features], centre.spread[features]
    out = np.empty((flat.shape[1], weights.shape[1]))
    for start in range(0, flat.shape[1], BAND_FEATURES):
        band = slice(start, start + BAND_FEATURES)
        centred = flat[:, band].astype(np.float64)
        centred -= mean[band]
        out[band] = centred.T @ weights
    return out
